"""How many units a format needs for boxes whose nonzeros are known by statistics only.

Expectations need P(an element is empty) alone: a fiber exists if the element above it is nonempty, so the expected
number of fibers is a sum of P over elements, by linearity. Where the statistics depend on a box's extents alone, the
elements of a rank have few different extents (whole intervals, and partial ones at the ends of the box), and a count
times P replaces the sum; otherwise elements are enumerated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree import count
from sparseloom.fibertree.box import Corner, corners
from sparseloom.fibertree.density import Density
from sparseloom.fibertree.fiber import Geometry, IntArray, bind
from sparseloom.fibertree.format import KINDS, PRUNING, Format
from sparseloom.fibertree.runs import expected_placeholders
from sparseloom.memory import remembered

FloatArray = NDArray[np.float64]

CHUNK = 1 << 21
"""Elements that are enumerated at a time."""


LONGEST = 62
"""Bits of the longest run length that a 64-bit integer holds."""


class _Ranks(NamedTuple):
    """A format's ranks for the kernels of :mod:`sparseloom.fibertree.count`: the ``steps`` of its geometry, their ``kinds`` and
    ``bits`` of run lengths [P], and at which steps what exists of those that prune, but the lowest, is cut [Q, A]."""

    geometry: Geometry
    steps: IntArray
    kinds: IntArray
    bits: IntArray
    cuts: IntArray


@remembered
def _ranks(form: Format, ranks: tuple[str, ...]) -> _Ranks:
    geometry = bind(form, ranks)
    kinds = np.array([KINDS.index(rank.kind) for rank in form.ranks])
    # no fiber is longer than a run of LONGEST bits counts
    bits = [-1 if rank.metadata_bits is None else min(rank.metadata_bits, LONGEST) for rank in form.ranks]
    pruning = [place for place, rank in enumerate(form.ranks[:-1]) if rank.kind in PRUNING]
    return _Ranks(geometry, geometry.table, kinds, np.array(bits), geometry.table[[place + 1 for place in pruning]])


def expected_units(form: Format, density: Density, ranks: tuple[str, ...], low: Corner, high: Corner) -> FloatArray:
    """Expected metadata and payload units of each rank, ``[..., n_format_ranks, 2]``: the mean of encodings of draws.

    Boxes are clipped at the tensor's edges; a box without points has no units. Exact for every density up to rounding,
    but for placeholders of flattened RLE ranks, see :mod:`sparseloom.fibertree.runs`. Raises InputError for a format
    that does not fit the tensor.
    """
    known = _ranks(form, ranks)
    lows, highs, batch = corners(len(density.tensor_shape), low, high)
    lows, highs, inside = count.clip(np.array(density.tensor_shape, np.int64), lows, highs)
    if inside and not density.coordinate_dependent:
        return _expected_units(form, known, density, lows, highs).reshape(*batch, len(form.ranks), 2)
    result, places = np.zeros((lows.shape[1], len(form.ranks), 2)), np.flatnonzero((highs > lows).all(axis=0))
    step = _boxes_at_a_time(form, known, density, lows, highs)
    for start in range(0, places.size, step):
        some = places[start : start + step]
        result[some] = _expected_units(form, known, density, *np.ascontiguousarray([lows[:, some], highs[:, some]]))
    return result.reshape(*batch, len(form.ranks), 2)


def _boxes_at_a_time(form: Format, known: _Ranks, density: Density, low: IntArray, high: IntArray) -> int:
    if not density.coordinate_dependent or not low.size:
        return max(1, int(low.shape[1]))
    lowest = known.geometry.lowest
    enumerated = [place for place, rank in enumerate(form.ranks) if rank.kind == "RLE" or place < lowest]
    sizes = [int(count.largest_fibers(known.steps, 0, place, low, high).max()) for place in enumerated]
    largest: int = max(sizes, default=1)
    return max(1, CHUNK // largest)


_NOTHING = np.zeros(1, np.int64)


def _expected_units(form: Format, known: _Ranks, density: Density, low: IntArray, high: IntArray) -> FloatArray:
    """Expected units of boxes ``low``, ``high`` [n_tensor_ranks, n_boxes], all with points."""
    boxes, each = low.shape[1], density.coordinate_dependent
    start, lows, highs, exist = _NOTHING, low, high, np.zeros(0)
    if len(known.cuts):
        start = count.count_elements(known.cuts, each, low, high)
        lows, highs, times = count.list_elements(known.cuts, each, low, high, start)
        exist = times * (1.0 - density.empty_probability(lows, highs))
    occupancy, placeholders = np.zeros(boxes), np.zeros((len(form.ranks), boxes))
    if form.ranks[-1].kind in PRUNING:
        occupancy = density.expected_occupancy(low, high)
    for place, rank in enumerate(form.ranks):
        if rank.kind == "RLE" and rank.metadata_bits is not None:
            placeholders[place] = expected_placeholders(density, known.geometry, place, rank.metadata_bits, low, high)
    found = count.mean_units(known.steps, known.kinds, low, high, start, lows, highs, exist, occupancy, placeholders)
    return np.asarray(found)


def worst_units(form: Format, density: Density, ranks: tuple[str, ...], low: Corner, high: Corner) -> IntArray:
    """Metadata and payload units of each rank that no tensor of the density exceeds, ``[..., n_format_ranks, 2]``.

    The bounds of different ranks (see :func:`sparseloom.fibertree.count.most_units`) need not be reached by the same tensor.
    Boxes are clipped at the tensor's edges.
    """
    known = _ranks(form, ranks)
    lows, highs, batch = corners(len(density.tensor_shape), low, high)
    lows, highs, _ = count.clip(np.array(density.tensor_shape, np.int64), lows, highs)
    most = density.worst_occupancy(lows, highs)
    found = count.most_units(known.steps, known.kinds, known.bits, most, lows, highs)
    return np.asarray(found.reshape(*batch, len(form.ranks), 2))
