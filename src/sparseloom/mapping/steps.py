"""Tiles from stage to stage: what may be left of each rank after every stage of a mapping, whatever loops led there.

Many prefixes of mappings leave the same tile. What can be said of all that lies inside of it is found out once, for every point of
a grid that has an axis for each rank and the tiles that are possible at a stage along it. Where these are too many, tiles of nearly
the same size share a point: what is said of it holds for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseloom.kernel import inlined, kernel
from sparseloom.mapping.batch import BoolArray, IntArray

FloatArray = NDArray[np.float64]

MOST_STEPS = 30_000_000
"""Combinations of spatial steps from tile to tile that are followed at one stage at most; of wider stages nothing is known."""

MOST_POINTS = 50_000
"""Points of a grid, about; where there are more combinations of tiles, some share one."""

MOST_WORK = 8_000_000
"""Points of a grid, for each choice of ranks with temporal loops, that are looked at."""

EXACT = 12
"""Tiles of so many coordinates and fewer do not share a point with others."""

COARSE = 1.5
"""Where larger tiles share a point with others of so many times their size, small ones do too."""

LEAST_SURE = 1e-12
"""Of a loop that may replace nothing."""


@dataclass(frozen=True)
class RankSteps:
    """The tiles of one rank before a stage and after it.

    From tile number i before, rows ``begin[i]`` up to ``begin[i + 1]`` lead to tile number ``after``, [N]. Of all steps between
    tiles with these numbers: the fewest ``lanes`` along X and along Y [N, 2], and the ``most`` of both together; whether a
    temporal loop has ``turned``, so that the tile is smaller, and for which share of the computes at least it is ``sure`` to
    replace tiles; the least share of the tile before that whole tiles after it make (``whole``), and that one of them makes
    (``one``).
    """

    begin: IntArray
    after: IntArray
    lanes: IntArray
    most: IntArray
    turned: BoolArray
    sure: FloatArray
    whole: FloatArray
    one: FloatArray


@dataclass(frozen=True)
class Grid:
    """The tiles of each rank at a stage, in rising order, and the numbers of their combinations: those of the last rank vary
    fastest. Of all that are ``known`` a tile that is not among them has the number of the next larger one."""

    tiles: tuple[IntArray, ...]
    known: tuple[IntArray, ...]

    @classmethod
    def of(cls, tiles: Sequence[IntArray]) -> Grid:
        """The grid of the tiles [N] of each rank that are possible."""
        known, ratio = tuple(np.unique(each) for each in tiles), 1.0
        kept = known
        while prod(map(len, kept)) > MOST_POINTS:
            ratio *= 1.02
            kept = tuple(_thinned(each, ratio) for each in known)
        return cls(kept, known)

    @cached_property
    def first(self) -> tuple[IntArray, ...]:
        """Which of the ``known`` tiles is the smallest with each number, by rank."""
        return tuple(
            np.searchsorted(known, [0, *few[:-1]], side="right")
            for known, few in zip(self.known, self.tiles, strict=True)
        )

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(each) for each in self.tiles)

    @cached_property
    def strides(self) -> IntArray:
        """By how much the number of a combination rises with that of each tile, [D]."""
        return np.array([prod(self.shape[d + 1 :]) for d in range(len(self.shape))], np.int64)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @cached_property
    def points(self) -> IntArray:
        """The largest tiles of all combinations, [D, size]."""
        return np.stack([each.ravel() for each in np.meshgrid(*self.tiles, indexing="ij")])

    @cached_property
    def smallest(self) -> IntArray:
        """The smallest tiles of all combinations, [D, size]."""
        least = (known[first] for known, first in zip(self.known, self.first, strict=True))
        return np.stack([each.ravel() for each in np.meshgrid(*least, indexing="ij")])

    def number(self, tiles: IntArray) -> IntArray:
        """The numbers of some combinations [D, N], [N]."""
        at = [np.searchsorted(known, own) for known, own in zip(self.tiles, tiles, strict=True)]
        return np.asarray(self.strides @ np.stack(at))


def _thinned(tiles: IntArray, ratio: float) -> IntArray:
    """Those of rising tiles that are not followed by one up to so many times as large, of more than a few coordinates."""
    kept = [int(tiles[-1])]
    for tile in tiles[-2::-1].tolist():
        if tile * ratio < kept[-1] or (tile <= EXACT and ratio < COARSE):
            kept.append(tile)
    return np.array(kept[::-1])


def rank_steps(
    before: IntArray,
    after: IntArray,
    lanes: IntArray,
    turned: BoolArray,
    sure: FloatArray,
    known: tuple[IntArray, IntArray],
) -> RankSteps:
    """Steps between tiles ``before`` and ``after`` [N] of a rank, with ``lanes`` [N, 2], by the tiles ``known`` on both sides;
    where a temporal loop has ``turned``, and for which share of the computes it is ``sure`` to replace tiles."""
    rows = np.column_stack([np.searchsorted(known[0], before), np.searchsorted(known[1], after), turned, lanes > 1])
    order = np.lexsort(rows.T[::-1])
    rows = rows[order]
    first = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)])

    def least(values: FloatArray | IntArray) -> Any:
        return np.minimum.reduceat(values[order], first, axis=0)

    begin = np.searchsorted(rows[first, 0], np.arange(len(known[0]) + 1))
    return RankSteps(
        begin, rows[first, 1], least(lanes), -least(-lanes.prod(axis=1)), rows[first, 2] > 0, least(sure),
        least(before // after * after / before), least(after / before),
    )  # fmt: skip


def sure_of(whole: IntArray, tile: IntArray, size: int | IntArray, spread: bool | BoolArray) -> FloatArray:
    """For which share of the computes a temporal loop around tiles [N], which goes through ``whole`` [N] of a rank's
    coordinates, replaces tiles at every iteration, at least.

    It does so wherever it makes two iterations. Where loops around it are at their last, it may make one; and where lanes further
    in share the rank (``spread``), those that have no work in its last iteration keep their tile, which may be all but one.
    """
    last = size % whole
    last = np.where(last == 0, whole, last)
    kept = np.where(last <= tile, last, np.where(spread, np.maximum(2 * tile - last, 0), 0))
    return np.maximum(LEAST_SURE, 1 - kept / size)


def packed(steps: Sequence[RankSteps]) -> tuple[IntArray, IntArray, IntArray]:
    """Steps of all ranks as tables for kernels: where each rank's begin [D, longest + 1], the tiles after, and the lanes [N, 2]."""
    starts = np.cumsum([0, *(len(each.after) for each in steps)])
    begin = np.zeros((len(steps), max(len(each.begin) for each in steps)), np.int64)
    for d, each in enumerate(steps):
        begin[d, : len(each.begin)] = each.begin + starts[d]
    return begin, np.concatenate([each.after for each in steps]), np.concatenate([each.lanes for each in steps])


def least_before(grids: tuple[Grid, Grid], steps: Sequence[RankSteps], after: FloatArray) -> FloatArray:
    """The least value ``after`` a stage, by number of tile, that steps lead to from each tile before it."""
    # rank by rank: steps of one do not depend on those of the others
    values = after.reshape(grids[1].shape)
    for d, each in enumerate(steps):
        values = along(values, d, each.begin, each.after, np.ones(len(each.after)))
    return np.asarray(values.ravel())


def along(values: FloatArray, d: int, begin: IntArray, after: IntArray, times: FloatArray) -> FloatArray:
    """The least of so many ``times`` [N] the values that the steps of one rank lead to, by its tile before; it is axis ``d``."""
    if len(after) == values.shape[d] == len(begin) - 1 == 1 and times[0] == 1:
        return values
    outer, width = prod(values.shape[:d]), prod(values.shape[d + 1 :])
    found = np.full((outer, len(begin) - 1, width), np.inf)
    _along(values.reshape(outer, values.shape[d], width), begin, after, times, found)
    return found.reshape(*values.shape[:d], len(begin) - 1, *values.shape[d + 1 :])


@kernel
def _along(values: FloatArray, begin: IntArray, after: IntArray, times: FloatArray, found: FloatArray) -> None:
    for a in range(len(values)):
        for i in range(found.shape[1]):
            for j in range(begin[i], begin[i + 1]):
                for q in range(found.shape[2]):
                    found[a, i, q] = min(found[a, i, q], times[j] * values[a, after[j], q])


def idle_before(
    grids: tuple[Grid, Grid], steps: Sequence[RankSteps], most: tuple[int, int] | None, inside: tuple[int, int],
    after: FloatArray,
) -> FloatArray:  # fmt: skip
    """The fewest cycles that a tile takes the lane with most of it, for each of its points, beyond those if all lanes were
    busy: before a stage from those after it, by number.

    ``most``: the lanes along X and Y of a spatial stage; None for temporal loops, which leave what their bounds do not divide to
    lanes that are all busy. ``inside``: the lanes before and after the stage.
    """
    here, there = grids
    if most is None:
        values = after.reshape(there.shape)
        for d, each in enumerate(steps):
            values = along(values, d, each.begin, each.after, each.whole)
        return values.ravel()
    begin, to, lanes = packed(steps)
    least, part = np.full(here.size, np.inf), np.concatenate([each.one for each in steps])
    _share(np.array(here.shape), begin, to, lanes, part, there.strides, np.array(most), after + 1 / inside[1], least)
    return np.maximum(least - 1 / inside[0], 0.0)


@kernel
def _share(
    shape: IntArray, begin: IntArray, to: IntArray, lanes: IntArray, part: FloatArray, strides: IntArray, most: IntArray,
    after: FloatArray, least: FloatArray,
) -> None:  # fmt: skip
    """The least for each point with spatial loops within ``most`` lanes, of which each gets a part of the points."""
    last = len(shape) - 1
    at, child, made = np.zeros(last + 1, np.int64), np.zeros(last + 1, np.int64), np.ones((last + 2, 3), np.int64)
    for g in range(len(least)):
        first_step(shape, begin, g, at, child, made)
        while next_step(begin, at, child, to, lanes, strides, most, made):
            own = 1.0
            for d in range(last + 1):
                own *= part[child[d]]
            least[g] = min(least[g], own * after[made[last + 1, 2]])
            child[last] += 1


@kernel
def first_step(shape: IntArray, begin: IntArray, g: int, at: IntArray, child: IntArray, made: IntArray) -> None:
    """Put ``at`` [D] to the tiles of combination ``g``, and ``child`` [D] before the first combination of their steps."""
    for d in range(len(shape) - 1, -1, -1):
        at[d] = g % shape[d]
        g //= shape[d]
        child[d] = -1
    made[0, 2] = 0


@inlined
def next_step(
    begin: IntArray, at: IntArray, child: IntArray, to: IntArray, lanes: IntArray, strides: IntArray, most: IntArray,
    made: IntArray,
) -> bool:  # fmt: skip
    """Go on from the steps in ``child`` [D], and those themselves, to the next combination within ``most`` lanes; False where there
    is none. Of the first ranks, ``made`` [D + 1, 3] are the lanes along X and along Y, and the number of the tile after."""
    d = len(at) - 1
    while d > 0 and child[d] < 0:
        d -= 1
    if child[0] < 0:
        child[0] = begin[0, at[0]]
    while d >= 0:
        step = child[d]
        if step == begin[d, at[d] + 1]:
            child[d] = -1
            d -= 1
            if d >= 0:
                child[d] += 1
            continue
        made[d + 1, 0] = made[d, 0] * lanes[step, 0]
        made[d + 1, 1] = made[d, 1] * lanes[step, 1]
        if made[d + 1, 0] > most[0] or made[d + 1, 1] > most[1]:
            child[d] += 1
            continue
        made[d + 1, 2] = made[d, 2] + to[step] * strides[d]
        if d == len(at) - 1:
            return True
        d += 1
        child[d] = begin[d, at[d]]
    return False
