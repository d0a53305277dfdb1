"""The fibers and elements of a fibertree as a table of boxes, for many boxes of a tensor at once.

Where the statistics of a box depend on its extents alone, boxes of the same extents share a line of the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.count import count_elements, list_elements
from sparseloom.fibertree.fiber import IntArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Elements:
    """Elements of a rank: line i stands for ``count[i]`` elements of box ``box[i]``, each shaped like [low, high).

    ``low``, ``high``: integers ``[n_tensor_ranks, n_lines]``.
    """

    box: IntArray
    low: IntArray
    high: IntArray
    count: IntArray

    def total(self, values: FloatArray, boxes: int) -> FloatArray:
        """The sum of ``values`` (one for each line) over the lines of each of the ``boxes``."""
        return np.bincount(self.box, weights=values, minlength=boxes).astype(np.float64, copy=False)


def elements(low: IntArray, high: IntArray, steps: IntArray, each: bool) -> Elements:
    """Cut boxes, integers ``[n_tensor_ranks, n_boxes]``, at ``steps``; ``each``: a line for each element, in order."""
    start = count_elements(steps[None], each, low, high)
    return Elements(
        np.repeat(np.arange(low.shape[1]), np.diff(start)), *list_elements(steps[None], each, low, high, start)
    )
