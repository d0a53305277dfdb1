"""Pareto fronts: what nothing else is at least as good as in every respect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def front(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """The places of the ``points`` [N, K] that no other point is below in one coordinate and not above in any, sorted by their
    coordinates, first the first; of equal points the first.

    >>> import numpy as np
    >>> front(np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 2.0], [1.0, 2.0]])).tolist()
    [1, 0]
    """
    order = np.lexsort((np.arange(len(points)), *points.T[::-1]))
    kept: list[int] = []
    for place in order:
        if not any((points[other] <= points[place]).all() for other in kept):
            kept.append(int(place))
    return np.array(kept, np.int64)
