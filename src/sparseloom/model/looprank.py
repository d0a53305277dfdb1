"""Format ranks as Sparseloop sees them: each stands for loops of the nest (convention ``loop-ranks``).

Source: Timeloop's representation-analyzer.cpp and format-models, read at ee66b62; the units of CP and RLE under
``loop-ranks`` are inferred from the outputs of the MICRO 2022 artifact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, MappingError
from sparseloom.fibertree import hypergeometric
from sparseloom.fibertree.density import Density, FixedStructured, Uniform
from sparseloom.fibertree.diagonal import Banded
from sparseloom.mapping.batch import IntArray
from sparseloom.mapping.details import FormatDetails, RankDetails

FloatArray = NDArray[np.float64]


Box = tuple[int, ...]
"""Extents in the ranks of a tensor."""


@dataclass(frozen=True)
class NestLoop:
    """A loop of the complete nest, those of one iteration included: rank number, bound, level (0 outermost), axis."""

    rank: int
    bound: int
    level: int
    axis: str

    @property
    def temporal(self) -> bool:
        return not self.axis


@dataclass(frozen=True)
class LoopRank:
    """One rank of a tile's format: fibers of ``length`` elements; ``fiber`` and ``element`` are the boxes of the
    tensor that one of each takes. The ``boundary`` rank is counted even if it has one element."""

    kind: str
    length: int
    fiber: Box
    element: Box
    boundary: bool
    metadata_bits: int
    payload_bits: int

    @property
    def trivial(self) -> bool:
        return self.length == 1 and not self.boundary


def points(projection: IntArray, extents: IntArray) -> int:
    """Points of a tensor's box over a range of each rank of the iteration space."""
    return math.prod(box(projection, extents))


def box(projection: IntArray, extents: IntArray) -> Box:
    """A tensor's box over a range of each rank of the iteration space; 1 in the rows of ``projection`` beyond its
    ranks."""
    return tuple(int(extent) for extent in projection @ (extents - 1) + 1)


def assign(
    form: FormatDetails,
    loops: Sequence[NestLoop],
    projection: IntArray,
    inner: IntArray,
    child_ranks: tuple[LoopRank, ...] | None,
    widths: tuple[int, int],
    names: Sequence[str],
    where: str,
) -> tuple[LoopRank, ...]:
    """The ranks of a tile, lowest first.

    ``loops``, innermost first, are those from above the child up to the level, over ranks that index the tensor;
    ``inner`` [D] the coordinates of the child's tile (all 1 without a child). ``child_ranks`` are those of the child's
    format, ``()`` if it has none: the ranks below the level's own are the child's. They are None if the format here
    does not compress, if the child's tile is a single point, or if there is no child: then all ranks are the level's
    own. ``widths`` are the level's default metadata word and the width of its metadata rows, ``names`` those of the
    ranks of the iteration space.

    Where ranks are given from the innermost on, Timeloop takes the first of several loops in a rank for its whole
    fiber.

    Raises MappingError when the format has too few ranks for the loops, or not those of the child's.
    """
    ranks = form.ranks[::-1]
    boundary = 0 if form.inner_to_outer else len(ranks) - 1
    found: list[LoopRank] = []
    extents = inner.copy()
    if child_ranks is not None:
        whole = box(projection, inner)
        below = child_ranks or (LoopRank(ranks[0].kind, math.prod(whole), whole, (1,) * len(whole), False, 0, 0),)
        _check_child(ranks, below, where)
        for place, rank in enumerate(below):
            metadata, payload = _bits(ranks[place], *widths)
            found.append(replace(rank, boundary=place == boundary, metadata_bits=metadata, payload_bits=payload))
        items = [(loop.rank, loop.bound) for loop in loops]
    else:
        extents = np.ones_like(inner)
        items = _widened(loops, inner)
    given = _given(form, ranks, len(found), [item for item in items if item[1] > 1], names, where)
    for place in range(len(found), len(ranks)):
        element = found[-1].fiber if found else (1,) * len(projection)
        fiber, spanned = extents.copy(), np.ones_like(inner)
        for nth, (rank_number, bound) in enumerate(given[place]):
            spanned[rank_number] *= bound
            extents[rank_number] *= bound
            fiber[rank_number] *= bound if nth == 0 or not form.inner_to_outer else 1
        whole, bits = box(projection, fiber), _bits(ranks[place], *widths)
        found.append(LoopRank(ranks[place].kind, points(projection, spanned), whole, element, place == boundary, *bits))
    return tuple(found)


def _check_child(ranks: Sequence[RankDetails], below: Sequence[LoopRank], where: str) -> None:
    """Tiles that are compressed here and held further in must be cut there as they are here."""
    found, wanted = [rank.kind for rank in ranks[: len(below)]], [rank.kind for rank in below]
    if found != wanted:
        here, child = (", ".join(kinds[::-1]) for kinds in (found, wanted))
        what = f"{where}: the lowest ranks of the format are {here}, those of the level inside it are {child}"
        fix = "end the format with the ranks of the inner one: no tile is cut anew on its way"
        raise MappingError(Fault(what, fix=fix))


def _widened(loops: Sequence[NestLoop], inner: IntArray) -> list[tuple[int, int]]:
    """The innermost loop of each rank also takes the coordinates further in."""
    items, seen = [], set[int]()
    for loop in loops:
        items.append((loop.rank, loop.bound * (1 if loop.rank in seen else int(inner[loop.rank]))))
        seen.add(loop.rank)
    return items


def _given(
    form: FormatDetails,
    ranks: Sequence[RankDetails],
    first: int,
    items: list[tuple[int, int]],
    names: Sequence[str],
    where: str,
) -> dict[int, list[tuple[int, int]]]:
    """The non-trivial loops that each rank takes: one, and with a flattening rule all that follow in the rule."""
    places = list(range(first, len(ranks)))
    if not form.inner_to_outer:
        places, items = places[::-1], items[::-1]
    given: dict[int, list[tuple[int, int]]] = {place: [] for place in places}
    k = 0
    for place in places:
        rule = ranks[place].flattened
        while k < len(items) and (rule is None or names[items[k][0]] in rule):
            given[place].append(items[k])
            k += 1
            if rule is None:
                break
    if k < len(items):
        what = f"{where}: the format has {len(ranks)} ranks, {len(items) - k} loops are left without one"
        raise MappingError(Fault(what, fix="give the format more ranks, or flatten loops into one"))
    return given


def _bits(rank: RankDetails, word_bits: int, row_bits: int) -> tuple[int, int]:
    """Widths of a rank's metadata and payload units, widened to divide a metadata row."""
    metadata = rank.metadata_bits
    if metadata is None:
        metadata = 1 if rank.kind in ("B", "UB") else word_bits
    payload = word_bits if rank.payload_bits is None else rank.payload_bits
    return _divisor(metadata, row_bits), _divisor(payload, row_bits)


def _divisor(bits: int, row_bits: int) -> int:
    while bits and bits < row_bits and row_bits % bits:
        bits += 1
    return bits


def points_empty(density: Uniform | FixedStructured, count: int) -> float:
    """P(``count`` points are empty), where only their number matters."""
    if isinstance(density, Uniform):
        return float(density.joint_empty(min(count, density.points)))
    return max(0.0, 1.0 - count * density.density)


def empty_chance(density: Density, sample: Box, tile: Box, occupancy: FloatArray) -> FloatArray:
    """P(a box of ``sample`` in a tile of ``tile`` that holds ``occupancy`` nonzeros is empty), for each occupancy.

    Densities without a rule for a given occupancy use that of the fixed-structured one.
    """
    points = math.prod(tile)
    inside = min(points, math.prod(sample))
    if isinstance(density, Uniform):
        return hypergeometric.empty_probability(points, occupancy, inside)
    if isinstance(density, Banded):
        return np.array([_band_empty(density, sample, tile, int(each)) for each in occupancy])
    return np.maximum(0.0, 1.0 - inside * occupancy / points)


@lru_cache(maxsize=1 << 14)
def _band_empty(density: Banded, sample: Box, tile: Box, occupancy: int) -> float:
    """The share of empty boxes in the first tile of the matrix that has the occupancy."""
    (rows, columns), (height, width) = density.tensor_shape, tile[:2]
    top, left = np.meshgrid(np.arange(0, rows, height), np.arange(0, columns, width), indexing="ij")
    held = density.worst_occupancy((top, left), (top + height, left + width))
    there = np.argwhere(held == occupancy)
    if not len(there):
        return 0.0 if occupancy else 1.0
    i, j = there[0]
    starts = np.arange(0, height, sample[0]) + i * height, np.arange(0, width, sample[1]) + j * width
    low = np.meshgrid(*starts, indexing="ij")
    return float((density.worst_occupancy(low, [low[0] + sample[0], low[1] + sample[1]]) == 0).mean())


def expected_units(
    ranks: tuple[LoopRank, ...], density: Density, tile: Box, occupancy: FloatArray, chance: FloatArray, ceil: bool
) -> FloatArray:
    """Mean metadata and payload units of each rank, lowest first, [ranks, 2], over the occupancies of a tile.

    ``ceil`` counts coordinates and runs among nonempty fibers and rounds them up (the public build), else
    among all fibers (the artifact's).
    """
    units = np.zeros((len(ranks), 2))
    fibers = 1
    for place in range(len(ranks) - 1, -1, -1):
        rank = ranks[place]
        if rank.trivial:
            continue
        nonempty_fibers = fibers * (1 - empty_chance(density, rank.fiber, tile, occupancy))
        nonempty = rank.length * (1 - empty_chance(density, rank.element, tile, occupancy))
        metadata, payload = _units(rank, fibers, nonempty_fibers, nonempty, ceil)
        units[place] = np.sum(metadata * chance), np.sum(payload * chance)
        fibers *= rank.length
    lowest = next((place for place, rank in enumerate(ranks) if not rank.trivial), None)
    if lowest is not None:
        units[lowest, 1] = 0.0
    return units


def _units(
    rank: LoopRank, fibers: int, nonempty_fibers: FloatArray, nonempty: FloatArray, ceil: bool
) -> tuple[FloatArray, FloatArray]:
    stored = nonempty_fibers * np.ceil(nonempty - 1e-9)
    length = rank.length
    if rank.kind == "B":
        return nonempty_fibers * length, stored
    if rank.kind == "CP":
        return (stored if ceil else fibers * nonempty), stored
    if rank.kind == "RLE":
        runs = nonempty_fibers * nonempty if ceil else fibers * nonempty
        return runs, runs
    if rank.kind == "UOP":
        return np.zeros_like(nonempty), nonempty_fibers * (length + 1)
    if rank.kind == "UB":
        whole = np.full_like(nonempty, float(fibers * length))
        return whole, whole
    return np.zeros_like(nonempty), np.zeros_like(nonempty)
