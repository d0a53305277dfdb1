"""Choices: one node of each rank, and what follows from all of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparseloom.kernel import inlined, kernel
from sparseloom.mapping.batch import BoolArray, IntArray
from sparseloom.mapping.nodes import RankNodes

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Choices:
    """K choices at a ``stage``: ``nodes`` [D, K] of the ``ranks`` there, or groups of nodes."""

    stage: int
    ranks: Sequence[RankNodes]
    nodes: IntArray

    def __len__(self) -> int:
        return int(self.nodes.shape[1])

    def __getitem__(self, some: IntArray) -> Choices:
        return Choices(self.stage, self.ranks, self.nodes[:, some])

    @cached_property
    def number(self) -> IntArray:
        """The number of the tile that is left, in its grid, [K]."""
        found = np.zeros(len(self), np.int64)
        for rank, own in zip(self.ranks, self.nodes, strict=True):
            if len(rank.number) > 1:
                found += rank.number[own]
        return found

    @cached_property
    def packed(self) -> tuple[IntArray, IntArray]:
        """Where the nodes of each rank begin [D], and the bounds of the last stage of all nodes, [M, 3]."""
        return packed(self.ranks)

    def looped(self, ranks: Sequence[int]) -> BoolArray:
        """Whether some ``ranks`` have a loop at the last stage, [len(ranks), K]."""
        found = [self.ranks[d].looped[self.nodes[d]] for d in ranks]
        return np.stack(found) if found else np.zeros((0, len(self)), np.bool_)

    @property
    def turned(self) -> BoolArray:
        """Whether a rank has a temporal loop at the last stage, [D, K]."""
        return np.stack([rank.turned[own] for rank, own in zip(self.ranks, self.nodes, strict=True)])

    @property
    def sure(self) -> FloatArray:
        """For which share of the computes these loops replace tiles, [D, K]."""
        return np.stack([rank.sure[own] for rank, own in zip(self.ranks, self.nodes, strict=True)])

    @property
    def lanes(self) -> FloatArray:
        """The product of the spatial bounds of the last stage, [K]."""
        return self._product([rank.lanes for rank in self.ranks])

    @property
    def points(self) -> FloatArray:
        """Points that the first of all lanes goes through, [K]."""
        return self._product([rank.points for rank in self.ranks])

    @property
    def whole(self) -> FloatArray:
        """Points of these that are in tiles that are not cut short, [K]."""
        return self._product([rank.whole for rank in self.ranks])

    def _product(self, values: Sequence[FloatArray | IntArray]) -> FloatArray:
        found = np.ones(len(self))
        for each, own in zip(values, self.nodes, strict=True):
            if len(each) > 1 or each[0] != 1:
                found *= each[own]
        return found


@dataclass(frozen=True)
class Chosen:
    """K choices of what follows prefixes: the number ``parent`` [K] of the prefix of each, the product ``lanes`` [K] of all its
    spatial bounds, and the ``least`` [K] value that comes of it."""

    parent: IntArray
    choices: Choices
    lanes: FloatArray
    least: FloatArray

    def __getitem__(self, some: IntArray) -> Chosen:
        return Chosen(self.parent[some], self.choices[some], self.lanes[some], self.least[some])

    @classmethod
    def joined(cls, parts: Sequence[Chosen]) -> Chosen:
        """Those of several, one after the other."""
        first = parts[0].choices
        nodes = np.concatenate([each.choices.nodes for each in parts], axis=1)
        parent, lanes, least = (
            np.concatenate([getattr(each, name) for each in parts]) for name in ("parent", "lanes", "least")
        )
        return cls(parent, Choices(first.stage, first.ranks, nodes), lanes, least)


Promising = Callable[[Chosen], FloatArray]
"""The least value that comes of choices, [K]: 0 where nothing is known, infinite where they are not worth making prefixes of."""


def packed(ranks: Sequence[RankNodes]) -> tuple[IntArray, IntArray]:
    """The bounds of the nodes of all ``ranks``, as :attr:`Choices.packed`."""
    starts = np.cumsum([0, *(len(rank.bounds) for rank in ranks)])[:-1]
    return starts, np.concatenate([rank.bounds for rank in ranks])


def all_choices(
    low: IntArray, high: IntArray, ranks: Sequence[RankNodes], fanout: tuple[int, int], most: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """For each of N rows all choices of nodes from ``low`` [D, N] up to ``high`` [D, N] with spatial bounds within a ``fanout``
    along X and along Y: the row of each [K] and the nodes [D, K]; ``most`` of them at a time."""
    starts, bounds = packed(ranks)
    # ranks that always have their first node, without lanes, need not be gone through
    lanes = np.array([rank.lanes[0] for rank in ranks])
    some = np.flatnonzero((low != 0).any(axis=1) | (high != 1).any(axis=1) | (lanes > 1))
    some = some if some.size else np.array([0])
    low, high, starts = low[some], high[some], starts[some]
    now, made, child = np.zeros(2, np.int64), np.ones((len(some) + 1, 2), np.int64), np.full(len(some), -1)
    while now[0] < low.shape[1]:
        row, nodes = np.empty(most, np.int64), np.zeros((len(ranks), most), np.int64)
        count = _choose(low, high, starts, bounds, np.array(fanout), some, now, child, made, row, nodes)
        if count:
            yield row[:count], nodes[:, :count]


@kernel
def _choose(
    low: IntArray, high: IntArray, starts: IntArray, bounds: IntArray, fanout: IntArray, some: IntArray, now: IntArray,
    child: IntArray, made: IntArray, row: IntArray, nodes: IntArray,
) -> int:  # fmt: skip
    """Fill ``row`` [K] and the nodes of ``some`` ranks in ``nodes`` [D, K]; returns how many there were. It goes on ``now`` (the
    row, and the rank whose next node is looked at) from each rank's ``child``; the ranks before it have ``made`` [., 2] lanes."""
    n, d = now
    found, ranks = 0, len(child)
    while n < low.shape[1]:
        if d == 0 and child[0] < low[0, n]:
            if _is_sole(low, high, n):
                found += _choose_sole(low, starts, bounds, fanout, some, n, found, row, nodes)
                n += 1
                if found == len(row):
                    break
                continue
            child[0] = low[0, n]
        if child[d] >= high[d, n]:
            if d == 0:
                n += 1
                child[0] = -1
            else:
                d -= 1
                child[d] += 1
            continue
        for axis in range(2):
            made[d + 1, axis] = made[d, axis] * bounds[starts[d] + child[d], 1 + axis]
        if made[d + 1, 0] > fanout[0] or made[d + 1, 1] > fanout[1]:
            child[d] += 1
        elif d + 1 < ranks:
            d += 1
            child[d] = low[d, n]
        else:
            row[found] = n
            for k in range(ranks):
                nodes[some[k], found] = child[k]
            found += 1
            child[d] += 1
            if found == len(row):
                break
    now[0], now[1] = n, d
    return found


@inlined
def _is_sole(low: IntArray, high: IntArray, n: int) -> bool:
    """Whether a row has one choice of nodes."""
    sole = True
    for d in range(len(low)):
        sole &= high[d, n] - low[d, n] == 1
    return sole


@inlined
def _choose_sole(
    low: IntArray, starts: IntArray, bounds: IntArray, fanout: IntArray, some: IntArray, n: int, found: int, row: IntArray,
    nodes: IntArray,
) -> int:  # fmt: skip
    """Write the one choice of a row; returns 1 if it is within the fan-out."""
    along_x = along_y = 1
    for d in range(len(low)):
        along_x *= bounds[starts[d] + low[d, n], 1]
        along_y *= bounds[starts[d] + low[d, n], 2]
        nodes[some[d], found] = low[d, n]
    row[found] = n
    return 1 if along_x <= fanout[0] and along_y <= fanout[1] else 0
