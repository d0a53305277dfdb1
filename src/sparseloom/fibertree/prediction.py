"""How many units a format needs for boxes whose nonzeros are known by statistics only.

Expectations need P(an element is empty) alone: a fiber exists if the element above it is nonempty, so the expected
number of fibers is a sum of P over elements, by linearity. Where the statistics depend on a box's extents alone, the
elements of a rank have few different extents (whole intervals, and partial ones at the ends of the box), and a count
times P replaces the sum; otherwise elements are enumerated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseloom.fibertree.density import Density, clip_box
from sparseloom.fibertree.elements import Elements, elements
from sparseloom.fibertree.fiber import Geometry, IntArray, bind, corners, largest_fiber
from sparseloom.fibertree.format import PRUNING, Format
from sparseloom.fibertree.runs import expected_placeholders

FloatArray = NDArray[np.float64]
Count = FloatArray | IntArray | int

CHUNK = 1 << 21
"""Elements that are enumerated at a time."""


def expected_units(
    form: Format, density: Density, ranks: tuple[str, ...], low: Sequence[ArrayLike], high: Sequence[ArrayLike]
) -> FloatArray:
    """Expected metadata and payload units of each rank, ``[..., n_format_ranks, 2]``: the mean of encodings of draws.

    Boxes are clipped at the tensor's edges; a box without points has no units. Exact for every density up to rounding,
    but for placeholders of flattened RLE ranks, see :mod:`sparseloom.fibertree.runs`. Raises InputError for a format
    that does not fit the tensor.
    """
    geometry = bind(form, ranks)
    lows, highs, batch = _flat_boxes(density, ranks, low, high)
    result = np.zeros((lows.shape[1], len(form.ranks), 2))
    inside = np.flatnonzero((highs > lows).all(axis=0))
    step = _boxes_at_a_time(form, geometry, density, lows, highs)
    for start in range(0, inside.size, step):
        some = inside[start : start + step]
        result[some] = _Expectation(form, geometry, density, lows[:, some], highs[:, some]).units()
    return result.reshape(*batch, len(form.ranks), 2)


def _flat_boxes(
    density: Density, ranks: tuple[str, ...], low: Sequence[ArrayLike], high: Sequence[ArrayLike]
) -> tuple[IntArray, IntArray, tuple[int, ...]]:
    """Corners clipped at the tensor's edges, ``[n_tensor_ranks, n_boxes]``, and the shape of the batch."""
    lows, highs = corners(ranks, *clip_box(density.tensor_shape, low, high))
    batch = lows.shape[1:]
    shape = (len(ranks), math.prod(batch))
    return lows.reshape(shape), highs.reshape(shape), batch


def _boxes_at_a_time(form: Format, geometry: Geometry, density: Density, low: IntArray, high: IntArray) -> int:
    if not density.coordinate_dependent or not low.size:
        return max(1, int(low.shape[1]))
    enumerated = [place for place, rank in enumerate(form.ranks) if rank.kind == "RLE" or place < geometry.lowest]
    sizes = [int(largest_fiber(geometry, 0, low, high, below=place).max()) for place in enumerated]
    largest: int = max(sizes, default=1)
    return max(1, CHUNK // largest)


@dataclass(frozen=True, eq=False)
class _Expectation:
    """Expected counts of a batch of boxes, ``low``, ``high``: ``[n_tensor_ranks, n_boxes]``, all with points."""

    form: Format
    geometry: Geometry
    density: Density
    low: IntArray
    high: IntArray

    def units(self) -> FloatArray:
        boxes = self.low.shape[1]
        result = np.zeros((boxes, len(self.form.ranks), 2))
        # the boxes, or the elements of the innermost rank so far that prunes, and how many of them exist
        above = Elements(np.arange(boxes), self.low, self.high, np.ones(boxes, np.int64))
        exist = np.ones(boxes)
        for place, kind in enumerate(rank.kind for rank in self.form.ranks):
            lowest = place == self.geometry.lowest
            fibers = above.total(exist * above.inside(self.geometry.steps[place]), boxes) if kind == "UOP" else 0
            stored: FloatArray | int = 0
            if kind in ("B", "UB", "UOP"):
                stored = above.total(exist * above.inside(self.geometry.steps[place + 1]), boxes)
            nonempty: FloatArray | int = 0
            if kind in PRUNING and lowest:
                nonempty = self.density.expected_occupancy(tuple(self.low), tuple(self.high))
            elif kind in PRUNING:
                each = self.density.coordinate_dependent
                above = elements(self.low, self.high, self.geometry.steps[place + 1], each)
                exist = above.nonempty(self.density)
                nonempty = above.total(exist, boxes)
            if kind == "RLE":
                nonempty = nonempty + self._placeholders(place)
            metadata, payload = _units(kind, lowest, fibers, stored, nonempty)
            result[:, place, 0], result[:, place, 1] = metadata, payload
        return result

    def _placeholders(self, place: int) -> FloatArray | int:
        bits = self.form.ranks[place].metadata_bits
        if bits is None:
            return 0
        return expected_placeholders(self.density, self.geometry, place, bits, self.low, self.high)


def _units(kind: str, lowest: bool, fibers: Count, stored: Count, nonempty: Count) -> tuple[Count, Count]:
    """Metadata and payload units of a rank, of its existing fibers, their coordinates and its stored elements."""
    if kind == "UOP":
        return 0, np.asarray(stored) + fibers
    if kind in ("U", "UB"):
        return (stored if kind == "UB" else 0), 0
    return (stored if kind == "B" else nonempty), (0 if lowest else nonempty)


def worst_units(
    form: Format, density: Density, ranks: tuple[str, ...], low: Sequence[ArrayLike], high: Sequence[ArrayLike]
) -> IntArray:
    """Metadata and payload units of each rank that no tensor of the density exceeds, ``[..., n_format_ranks, 2]``.

    With K nonzeros at most in the box, at most K elements of a rank are nonempty, and at most K fibers exist below
    them, each as large as the largest. Of a run-length encoded rank with n coordinates in f fibers of at most L,
    placeholders are at most ``f * ((L - 1) // 2**r)``, and ``(n - K) // 2**r``. The bounds of different ranks need not
    be reached by the same tensor. Boxes are clipped at the tensor's edges.
    """
    geometry = bind(form, ranks)
    lows, highs, batch = _flat_boxes(density, ranks, low, high)
    most = density.worst_occupancy(tuple(lows), tuple(highs))
    result = np.zeros((lows.shape[1], len(form.ranks), 2), np.int64)
    above = -1
    for place, rank in enumerate(form.ranks):
        fibers = _most_pieces(geometry, above, place - 1, most, lows, highs)
        stored = _most_pieces(geometry, above, place, most, lows, highs)
        nonempty = np.minimum(stored, most)
        if rank.kind == "RLE" and rank.metadata_bits is not None:
            runs = (largest_fiber(geometry, place, lows, highs) - 1) // 2**rank.metadata_bits
            nonempty = nonempty + np.minimum(
                np.minimum(fibers, nonempty) * runs, (stored - nonempty) // 2**rank.metadata_bits
            )
        metadata, payload = _units(rank.kind, place == geometry.lowest, fibers, stored, nonempty)
        result[:, place, 0], result[:, place, 1] = metadata, payload
        above = place if rank.kind in PRUNING else above
    return result.reshape(*batch, len(form.ranks), 2)


def _most_pieces(geometry: Geometry, above: int, place: int, most: IntArray, low: IntArray, high: IntArray) -> IntArray:
    """The most elements of rank ``place`` (-1: the root) that exist below nonempty ones of ``above`` (-1: the box)."""
    total = largest_fiber(geometry, 0, low, high, below=place)
    if above < 0:
        return total
    parents = np.minimum(largest_fiber(geometry, 0, low, high, below=above), most)
    return np.minimum(total, parents * largest_fiber(geometry, above + 1, low, high, below=place))
