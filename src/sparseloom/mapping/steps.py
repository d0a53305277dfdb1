"""Tiles from stage to stage: what may be left of each rank after every stage of a mapping, whatever loops led there.

Many prefixes of mappings leave the same tile. What can be said of all that lies inside of it is found out once, for every point of
a grid that has an axis for each rank and the tiles that are possible at a stage along it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from sparseloom.kernel import kernel
from sparseloom.mapping.batch import IntArray

FloatArray = NDArray[np.float64]

MOST_STEPS = 30_000_000
"""Steps from tile to tile that are followed at one stage at most; of wider stages nothing is known."""


MOST_POINTS = 1_200_000
"""Combinations of tiles at one stage that are looked at one by one."""


@dataclass(frozen=True)
class RankSteps:
    """The tiles of one rank before a stage and after it.

    From tile number i before, rows ``begin[i]`` up to ``begin[i + 1]`` lead to tile number ``after`` with so many ``lanes`` along X
    and along Y, [N, 2], the fewest that do."""

    begin: IntArray
    after: IntArray
    lanes: IntArray


@dataclass(frozen=True)
class Grid:
    """The tiles of each rank at a stage, in rising order, and the numbers of their combinations: those of the last rank vary
    fastest."""

    tiles: tuple[IntArray, ...]

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
        """The tiles of all combinations, [D, size]."""
        return np.stack([each.ravel() for each in np.meshgrid(*self.tiles, indexing="ij")])

    def number(self, tiles: IntArray) -> IntArray:
        """The numbers of some combinations [D, N], [N]."""
        at = [np.searchsorted(known, own) for known, own in zip(self.tiles, tiles, strict=True)]
        return np.asarray(self.strides @ np.stack(at))


def rank_steps(before: IntArray, after: IntArray, lanes: IntArray, known: tuple[IntArray, IntArray]) -> RankSteps:
    """Steps between tiles ``before`` and ``after`` [N] with ``lanes`` [N, 2], of the tiles ``known`` on both sides."""
    rows = np.column_stack([np.searchsorted(known[0], before), np.searchsorted(known[1], after), lanes])
    rows = rows[np.lexsort(rows.T[::-1])]
    # of steps along the same axis the one with the fewest lanes
    kinds = np.column_stack([rows[:, :2], rows[:, 2:] > 1])
    _, first = np.unique(kinds, axis=0, return_index=True)
    rows = rows[np.sort(first)]
    begin = np.searchsorted(rows[:, 0], np.arange(len(known[0]) + 1))
    return RankSteps(begin, rows[:, 1], rows[:, 2:])


def packed(steps: Sequence[RankSteps]) -> tuple[IntArray, IntArray, IntArray]:
    """Steps of all ranks as tables for kernels: where each rank's begin [D, longest + 1], the tiles after, and the lanes [N, 2]."""
    starts = np.cumsum([0, *(len(each.after) for each in steps)])
    begin = np.zeros((len(steps), max(len(each.begin) for each in steps)), np.int64)
    for d, each in enumerate(steps):
        begin[d, : len(each.begin)] = each.begin + starts[d]
    return begin, np.concatenate([each.after for each in steps]), np.concatenate([each.lanes for each in steps])


def least_before(grids: tuple[Grid, Grid], steps: Sequence[RankSteps], after: FloatArray) -> FloatArray:
    """The least value ``after`` a stage, by number of tile, that steps lead to from each tile before it."""
    here, there = grids
    # rank by rank: steps of one do not depend on those of the others
    values = after.reshape(there.shape)
    for d, each in enumerate(steps):
        if len(each.after) > 1 or here.shape[d] != there.shape[d]:
            values = np.minimum.reduceat(values.take(each.after, axis=d), each.begin[:-1], axis=d)
    return np.asarray(values.ravel())


def cycles_before(
    grids: tuple[Grid, Grid], steps: Sequence[RankSteps], most: tuple[int, int] | None, inside: int, after: FloatArray
) -> FloatArray:
    """The fewest cycles that a whole tile takes the lane with most of it, before a stage, from those after it, by number.

    ``most``: the lanes along X and Y of a spatial stage; None for temporal loops, inside of which there are so many lanes
    ``inside``: what is left of a tile that its bounds do not divide keeps them all busy.
    """
    here, there = grids
    if most is not None:
        begin, to, lanes = packed(steps)
        least = np.full(here.size, np.inf)
        _share(np.array(here.shape), begin, to, lanes, there.strides, np.array(most), after, least)
        return least
    # cycles beyond those of lanes that are all busy are made once for each whole tile: a product over ranks
    beyond = (after - there.points.prod(axis=0, dtype=np.float64) / inside).reshape(there.shape)
    for d, each in enumerate(steps):
        before = np.repeat(np.arange(here.shape[d]), np.diff(each.begin))
        times = (here.tiles[d][before] // there.tiles[d][each.after]).reshape([-1, *[1] * (len(steps) - d - 1)])
        beyond = np.minimum.reduceat(times * beyond.take(each.after, axis=d), each.begin[:-1], axis=d)
    return np.asarray(here.points.prod(axis=0, dtype=np.float64) / inside + beyond.ravel())


@kernel
def _share(
    shape: IntArray, begin: IntArray, to: IntArray, lanes: IntArray, strides: IntArray, most: IntArray, after: FloatArray,
    least: FloatArray,
) -> None:  # fmt: skip
    """The least after spatial loops within ``most`` lanes."""
    ranks = len(shape)
    at, child = np.zeros(ranks, np.int64), np.zeros(ranks, np.int64)
    for g in range(len(least)):
        first_step(shape, begin, g, at, child)
        while True:
            x, y, inner = 1, 1, 0
            for d in range(ranks):
                inner += to[child[d]] * strides[d]
                x *= lanes[child[d], 0]
                y *= lanes[child[d], 1]
            if x <= most[0] and y <= most[1]:
                least[g] = min(least[g], after[inner])
            if not next_step(begin, at, child):
                break


@kernel
def first_step(shape: IntArray, begin: IntArray, g: int, at: IntArray, child: IntArray) -> None:
    """Put ``at`` to the tiles of combination ``g``, and ``child`` to the first step of each rank."""
    for d in range(len(shape) - 1, -1, -1):
        at[d] = g % shape[d]
        g //= shape[d]
        child[d] = begin[d, at[d]]


@kernel
def next_step(begin: IntArray, at: IntArray, child: IntArray) -> bool:
    """Go to the next combination of steps; False after the last."""
    for d in range(len(at) - 1, -1, -1):
        child[d] += 1
        if child[d] < begin[d, at[d] + 1]:
            return True
        child[d] = begin[d, at[d]]
    return False
