"""The fibers and elements of a fibertree as a table of boxes, for many boxes of a tensor at once.

Where the statistics of a box depend on its extents alone, boxes of the same extents share a line of the table.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.density import Density
from sparseloom.fibertree.fiber import IntArray, Step, pieces

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

    def nonempty(self, density: Density) -> FloatArray:
        """Expected nonempty elements of each line."""
        return self.count * (1.0 - density.empty_probability(tuple(self.low), tuple(self.high)))

    def inside(self, steps: tuple[Step, ...]) -> IntArray:
        """Into how many pieces each element is cut at ``steps``."""
        product = np.ones(self.box.size, np.int64)
        for low, high, step in zip(self.low, self.high, steps, strict=True):
            if step is not None:
                product *= pieces(low, high, step)
        return product

    def total(self, values: FloatArray, boxes: int) -> FloatArray:
        """The sum of ``values`` (one for each line) over the lines of each of the ``boxes``."""
        return np.bincount(self.box, weights=values, minlength=boxes).astype(np.float64, copy=False)


def elements(low: IntArray, high: IntArray, steps: tuple[Step, ...], each: bool) -> Elements:
    """Cut boxes, integers ``[n_tensor_ranks, n_boxes]``, at ``steps``; ``each``: a line for each element, in order."""
    return _each_element(low, high, steps) if each else _classes(low, high, steps)


def _classes(low: IntArray, high: IntArray, steps: tuple[Step, ...]) -> Elements:
    axes = [_axis_classes(*axis) for axis in zip(low, high, steps, strict=True)]
    box = np.arange(low.shape[1])
    tables = []
    for combination in itertools.product(*axes):
        lows, highs = [low for low, _, _ in combination], [high for _, high, _ in combination]
        count = np.prod([times for _, _, times in combination], axis=0, dtype=np.int64) + np.zeros_like(box)
        some = slice(None) if len(count) and count.all() else count > 0
        shape = (len(low), box.size)
        tables.append((box[some], np.reshape(lows, shape)[:, some], np.reshape(highs, shape)[:, some], count[some]))
    return Elements(*(np.concatenate(column, axis=-1) for column in zip(*tables, strict=True)))


def _axis_classes(low: IntArray, high: IntArray, step: Step) -> list[tuple[IntArray, IntArray, IntArray]]:
    """The different intervals of ``step`` that [low, high) is cut into: low, high and how many of them there are."""
    if step is None:
        return [(low, high, np.ones_like(low))]
    if step == 1:
        return [(low, low + 1, high - low)]
    first, last = low // step, (high - 1) // step
    starts, ends = low % step != 0, high % step != 0
    whole = np.where(starts, first + 1, first)
    classes = [(whole * step, (whole + 1) * step, np.maximum(0, last + 1 - ends - whole))]
    if starts.any():
        classes.append((low, np.minimum(high, (first + 1) * step), starts.astype(np.int64)))
    if ends.any():
        apart = ends & ~(starts & (first == last))
        classes.append((np.maximum(low, last * step), high, apart.astype(np.int64)))
    return classes


def _each_element(low: IntArray, high: IntArray, steps: tuple[Step, ...]) -> Elements:
    counts = [pieces(*axis) for axis in zip(low, high, steps, strict=True)]
    total = np.prod(counts, axis=0, dtype=np.int64) if counts else np.ones(low.shape[1], np.int64)
    box = np.repeat(np.arange(low.shape[1]), total)
    left = np.arange(box.size) - np.repeat(np.cumsum(total) - total, total)
    lows, highs = np.empty((len(low), box.size), np.int64), np.empty((len(low), box.size), np.int64)
    for axis in reversed(range(len(steps))):
        place, step = left % counts[axis][box], steps[axis]
        left = left // counts[axis][box]
        start, end = low[axis][box], high[axis][box]
        lows[axis] = start if step is None else np.maximum(start, (start // step + place) * step)
        highs[axis] = end if step is None else np.minimum(end, (start // step + place + 1) * step)
    return Elements(box, lows, highs, np.ones(box.size, np.int64))
