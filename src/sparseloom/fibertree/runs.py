"""Expected placeholders of run-length encoded ranks.

An element takes its j-th placeholder if it is nonempty and at least the ``j * 2**r`` elements before it in its fiber
are empty. So the expectation is the sum, over j and over the elements with that many predecessors, of
``P(the run is empty) - P(the run and the element are empty)``.

Along one rank of the tensor a run is a box, and the sum is exact for every density. Over flattened ranks a run wraps,
and is no box: it is exact where only the number of points matters (Uniform, say) and for ActualData; for other densities the
run is cut into rows along its innermost rank, which are taken to be empty independently of each other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.count import pieces
from sparseloom.fibertree.density import Dense, Density, FixedStructured, Uniform
from sparseloom.fibertree.elements import Elements, elements
from sparseloom.fibertree.fiber import Geometry, IntArray, digits, largest_fiber

FloatArray = NDArray[np.float64]

NEVER = 1e-20
"""Runs less likely than this, and all longer ones, are left out."""
TOGETHER = 16
"""Lengths of runs that are looked at in one go."""


def expected_placeholders(
    density: Density, geometry: Geometry, rank: int, bits: int, low: IntArray, high: IntArray
) -> FloatArray:
    """Expected placeholders of ``rank`` with run lengths of ``bits``, for boxes ``[n_tensor_ranks, n_boxes]``."""
    reach = 2**bits
    fiber, element = geometry.table[rank], geometry.table[rank + 1]
    axes = np.flatnonzero(fiber != element).tolist()
    boxes = low.shape[1]
    if not boxes or not axes or largest_fiber(geometry, rank, rank, low, high).max() <= reach:
        return np.zeros(boxes)
    if len(axes) > 1:
        if isinstance(density, Dense | FixedStructured | Uniform) and all(element[axis] == 1 for axis in axes):
            return _by_points(density, elements(low, high, fiber, each=False), axes, reach, boxes)
        return _by_fiber(density, geometry, rank, reach, low, high)
    step = int(element[axes[0]]) or 1
    if density.coordinate_dependent:
        each = elements(low, high, element, each=True)
        return _along_each(density, each, axes[0], (int(fiber[axes[0]]), step), reach, low)
    return _along(density, elements(low, high, fiber, each=False), axes[0], step, reach, boxes)


def _gain(
    density: Density, table: Elements, axis: int, edges: tuple[IntArray, IntArray, IntArray]
) -> tuple[FloatArray, float]:
    """P(run empty) - P(run and next element empty) for runs between edges along ``axis``; and the largest P(run)."""
    start, middle, end = edges
    low, high = list(table.low), list(table.high)
    low[axis], high[axis] = start, middle
    run = density.empty_probability(tuple(low), tuple(high))
    high[axis] = end
    return run - density.empty_probability(tuple(low), tuple(high)), float(run.max(initial=0.0))


def _some(table: Elements, chosen: NDArray[np.bool_]) -> Elements:
    return Elements(table.box[chosen], table.low[:, chosen], table.high[:, chosen], table.count[chosen])


def _along(density: Density, fibers: Elements, axis: int, step: int, reach: int, boxes: int) -> FloatArray:
    """Along one rank, where statistics depend on extents alone: few kinds of positions in each kind of fiber."""
    total = np.zeros(boxes)
    for zeros in itertools.count(reach, reach):
        size = pieces(fibers.low[axis], fibers.high[axis], step)
        if (size <= zeros).any():
            fibers, size = _some(fibers, size > zeros), size[size > zeros]
        if not fibers.box.size:
            return total
        low, high = fibers.low[axis], fibers.high[axis]
        likeliest = 0.0
        first = np.full_like(size, zeros)
        positions = [(first, size - zeros)]
        if step > 1:  # the first element of a fiber, and the last, can be partial
            last = (size - 1 > zeros).astype(np.int64)
            positions = [(first, last * 0 + 1), (first + 1, np.maximum(0, size - 2 - zeros)), (size - 1, last)]
        for position, times in positions:
            edges = [np.clip((low // step + position + shift) * step, low, high) for shift in (-zeros, 0, 1)]
            gain, likely = _gain(density, fibers, axis, (edges[0], edges[1], edges[2]))
            total += fibers.total(gain * times * fibers.count, boxes)
            likeliest = max(likeliest, likely)
        if likeliest < NEVER:
            return total
    return total


def _along_each(
    density: Density, table: Elements, axis: int, steps: tuple[int, int], reach: int, low: IntArray
) -> FloatArray:
    """Along one rank, element by element."""
    total = np.zeros(low.shape[1])
    outer, step = steps
    first = low[axis][table.box]
    if outer:
        first = np.maximum(first, table.low[axis] // outer * outer)
    for zeros in itertools.count(reach, reach):
        chosen = table.low[axis] // step - first // step >= zeros
        table, first = _some(table, chosen), first[chosen]
        if not table.box.size:
            return total
        start = np.maximum(first, (table.low[axis] // step - zeros) * step)
        gain, likely = _gain(density, table, axis, (start, table.low[axis], table.high[axis]))
        total += table.total(gain, total.size)
        if likely < NEVER:
            return total
    return total


def _by_points(
    density: Dense | FixedStructured | Uniform, fibers: Elements, axes: list[int], reach: int, boxes: int
) -> FloatArray:
    """Over flattened ranks cut into single coordinates, where only the number of points matters."""
    extents = fibers.high - fibers.low
    size = np.prod(extents[axes], axis=0)
    points = np.prod(extents, axis=0) // size
    total = np.zeros(boxes)
    longest, stride = int(size.max()), reach * TOGETHER
    for start in range(reach, longest, stride):
        zeros = np.arange(start, min(start + stride, longest), reach)[:, None]
        run = density.joint_empty(zeros * points)
        gain = (run - density.joint_empty((zeros + 1) * points)) * np.maximum(0, size - zeros)
        total += fibers.total(gain.sum(axis=0) * fibers.count, boxes)
        if np.max(run[-1], initial=0.0, where=size > zeros[-1]) < NEVER:
            break
    return total


def _by_fiber(density: Density, geometry: Geometry, rank: int, reach: int, low: IntArray, high: IntArray) -> FloatArray:
    """Over flattened ranks, fiber by fiber; boxes that no density can tell apart are done once."""
    if not density.coordinate_dependent:
        coarsest = [next((s for s in steps if s), 1) for steps in zip(*geometry.steps, strict=True)]
        start = low % np.array(coarsest)[:, None]
        low, high = start, high - low + start
    kinds, which = np.unique(np.concatenate([low, high]), axis=1, return_inverse=True)
    totals = np.zeros(kinds.shape[1])
    for kind, corner in enumerate(kinds.T):
        box = corner.reshape(2, -1, 1)
        fibers = elements(box[0], box[1], geometry.table[rank], each=True)
        for one in range(fibers.box.size):
            row = _ordered(geometry, rank, fibers.low[:, [one]], fibers.high[:, [one]])
            totals[kind] += row.placeholders(density, reach)
    return totals[which.reshape(-1)]


def _ordered(geometry: Geometry, rank: int, low: IntArray, high: IntArray) -> _Wrapped:
    """The elements of one fiber in the order in which they are stored."""
    table = elements(low, high, geometry.table[rank + 1], each=True)
    keys = digits(geometry, rank, table.low)
    order = np.lexsort(keys[::-1])
    varying = [part.axis for part, key in zip(geometry.parts[rank], keys, strict=True) if (key != key[0]).any()]
    return _Wrapped(table.low[:, order], table.high[:, order], varying[-1] if varying else 0)


@dataclass(frozen=True, eq=False)
class _Wrapped:
    """The elements of a fiber over flattened ranks, in order; rows run along ``axis``."""

    low: IntArray
    high: IntArray
    axis: int

    def placeholders(self, density: Density, reach: int) -> float:
        size = self.low.shape[1]
        empty = _PointsEmpty(self, density) if isinstance(density, Uniform) else _RowsEmpty(self, density)
        total = 0.0
        for zeros in range(reach, size, reach):
            last = np.arange(zeros, size)
            run = empty(last - zeros, last)
            total += float((run - empty(last - zeros, last + 1)).sum())
            if run.max() < NEVER:
                break
        return total


class _PointsEmpty:
    """P(elements start to end, half open, are empty) where only the number of points matters."""

    def __init__(self, fiber: _Wrapped, density: Uniform) -> None:
        self._density = density
        self._points = np.concatenate([[0], np.cumsum(np.prod(fiber.high - fiber.low, axis=0))])

    def __call__(self, start: IntArray, end: IntArray) -> FloatArray:
        return self._density.joint_empty(self._points[end] - self._points[start])


class _RowsEmpty:
    """P(elements start to end, half open, are empty), as the product over the rows they lie in."""

    def __init__(self, fiber: _Wrapped, density: Density) -> None:
        self._fiber, self._density = fiber, density
        others = np.arange(len(fiber.low)) != fiber.axis
        size = fiber.low.shape[1]
        new = np.ones(size, np.bool_)
        new[1:] = (np.diff(fiber.low[others]) != 0).any(axis=0) | (
            fiber.low[fiber.axis, 1:] != fiber.high[fiber.axis, :-1]
        )
        starts = np.flatnonzero(new)
        ends = np.append(starts[1:], size)
        row = np.cumsum(new) - 1
        self._row, self._starts, self._ends = row, starts, ends
        whole = self._box(starts, ends)
        self._never = np.concatenate([[0], np.cumsum(whole <= 0)])
        self._log = np.concatenate([[0.0], np.cumsum(np.log(np.where(whole > 0, whole, 1.0)))])

    def _box(self, start: IntArray, end: IntArray) -> FloatArray:
        low, high = self._fiber.low[:, start], self._fiber.high[:, start]
        high[self._fiber.axis] = self._fiber.high[self._fiber.axis, end - 1]
        return self._density.empty_probability(tuple(low), tuple(high))

    def __call__(self, start: IntArray, end: IntArray) -> FloatArray:
        first, last = self._row[start], self._row[end - 1]
        head = self._box(start, np.minimum(end, self._ends[first]))
        tail = np.where(first == last, 1.0, self._box(self._starts[last], end))
        inner = np.maximum(last, first + 1)
        between = np.exp(self._log[inner] - self._log[first + 1])
        return head * tail * np.where(self._never[inner] > self._never[first + 1], 0.0, between)
