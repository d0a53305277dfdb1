"""Mappings built from the outermost level inwards: prefixes, and what may follow each.

A prefix of depth l has its loops at all levels outside l; of each rank it knows the coordinates in a tile of level l. The prefixes
of depth S, the number of levels, are the mappings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch
from sparseloom.mapping.mapspace import Mapspace

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Prefixes:
    """N prefixes of one ``depth``. ``node`` [N, D] numbers each rank's bounds so far (see :class:`Tree`); ``rank``, ``bound``
    [N, L] and ``place`` [L] are the loops, as in :class:`MappingBatch`; ``lanes`` [N] the product of the spatial bounds."""

    depth: int
    node: IntArray
    rank: IntArray
    bound: IntArray
    place: IntArray
    lanes: FloatArray

    def __len__(self) -> int:
        return len(self.node)

    def __getitem__(self, some: IntArray | BoolArray | slice) -> Prefixes:
        return Prefixes(
            self.depth, self.node[some], self.rank[some], self.bound[some], self.place, self.lanes[some]
        )  # fmt: skip


@dataclass(frozen=True)
class _Rank:
    """The nodes of one depth of one rank: bounds of its loops outside, and coordinates ``tile`` [M] in a tile of that depth.

    ``bounds`` [M, 3] are those at the level just outside: temporal, along X, along Y. The nodes that may follow node m, one
    level further in, are ``begin[m]`` up to ``begin[m + 1]``.
    """

    tile: IntArray
    bounds: IntArray
    begin: IntArray


@dataclass(frozen=True, eq=False)
class Tree:
    """The prefixes of a mapspace."""

    space: Mapspace

    @property
    def depth(self) -> int:
        """Of mappings: the number of storage levels."""
        return len(self.space.problem.design.architecture.levels)

    @cached_property
    def _ranks(self) -> list[list[_Rank]]:
        """By rank and depth."""
        return [self._nodes(d) for d in range(len(self.space.problem.ranks))]

    def _nodes(self, d: int) -> list[_Rank]:
        chains, places = self.space.chains[d], np.array(self.space.places)
        size = int(self.space.problem.shape[d])
        inside = np.ones((len(chains), self.depth + 1), np.int64)
        for depth in range(self.depth - 1, -1, -1):
            inside[:, depth] = inside[:, depth + 1] * chains[:, places // 3 == depth].prod(axis=1)
        # sorted so that the chains of a prefix stand together
        keys = np.column_stack(
            [
                column
                for depth in range(self.depth)
                for column in (*chains[:, places // 3 == depth].T, inside[:, depth + 1])
            ]
        )
        order = np.lexsort(keys.T[::-1])
        chains, inside = chains[order], inside[order]
        first = np.zeros(len(chains), np.bool_)
        first[0] = True
        found: list[_Rank] = []
        starts = np.array([0])
        for depth in range(self.depth + 1):
            if depth:
                here = np.column_stack([chains[:, places // 3 == depth - 1], inside[:, depth]])
                first[1:] |= (here[1:] != here[:-1]).any(axis=1)
                following = np.flatnonzero(first)
                found[-1] = _Rank(
                    found[-1].tile, found[-1].bounds, np.searchsorted(following, [*starts, len(chains)])
                )  # fmt: skip
                starts = following
            bounds = np.ones((len(starts), 3), np.int64)
            for k in np.flatnonzero(places // 3 == depth - 1) if depth else ():
                bounds[:, places[k] % 3] = chains[starts, k]
            found.append(_Rank(np.minimum(inside[starts, depth], size), bounds, np.zeros(0, np.int64)))
        return found

    @property
    def root(self) -> Prefixes:
        none = np.zeros((1, 0), np.int64)
        ranks = len(self.space.problem.ranks)
        return Prefixes(0, np.zeros((1, ranks), np.int64), none, none, np.zeros(0, np.int64), np.ones(1))

    def tiles(self, prefixes: Prefixes) -> IntArray:
        """Coordinates of each rank in a tile of the level that the prefixes lead to, [D, N]."""
        ranks = (each[prefixes.depth] for each in self._ranks)
        return np.stack([rank.tile[at] for rank, at in zip(ranks, prefixes.node.T, strict=True)])

    def counts(self, prefixes: Prefixes) -> FloatArray:
        """At most so many prefixes follow each, orders of their loops not counted, [N]."""
        total = np.ones(len(prefixes))
        for d, ranks in enumerate(self._ranks):
            begin, node = ranks[prefixes.depth].begin, prefixes.node[:, d]
            total *= begin[node + 1] - begin[node]
        return total

    def following(self, prefixes: Prefixes) -> Iterator[tuple[IntArray, Prefixes]]:
        """All prefixes one level deeper within the fan-out, and for each the number of the one it follows."""
        depth = prefixes.depth
        most = self.space.most_lanes(depth)
        parent, nodes = np.arange(len(prefixes)), np.zeros((0, len(prefixes)), np.int64)
        lanes = np.ones((len(prefixes), 2), np.int64)
        for d, ranks in enumerate(self._ranks):
            begin, node = ranks[depth].begin, prefixes.node[parent, d]
            times = begin[node + 1] - begin[node]
            which = np.repeat(np.arange(len(parent)), times)
            own = np.arange(len(which)) - np.repeat(np.cumsum(times) - times - begin[node], times)
            both = lanes[which] * ranks[depth + 1].bounds[own, 1:]
            fits = (both <= most).all(axis=1)
            which, own, lanes = which[fits], own[fits], both[fits]
            parent, nodes = parent[which], np.concatenate([nodes[:, which], own[None]])
        bounds = np.stack([ranks[depth + 1].bounds[own] for ranks, own in zip(self._ranks, nodes, strict=True)])
        for some, orders in self._ordered(depth, bounds[:, :, 0] > 1):
            each = np.repeat(some, len(orders))
            order = np.tile(orders, (len(some), 1))
            yield (
                parent[each],
                self._longer(prefixes, parent[each], nodes[:, each].T, bounds[:, each], lanes[each], order),
            )

    def _ordered(self, depth: int, looped: BoolArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Groups of prefixes with loops over the same ranks [D, N], and the orders of these [K, ranks that may have loops here],
        outermost first."""
        ranks = self.space.problem.ranks
        inner = [ranks.index(name) for name in self.space.constraints.of(self._level(depth)).inner]
        free = np.array([d not in inner for d in range(len(ranks))])
        some = self.space.looped[self.space.places.index(3 * depth)]
        places = np.flatnonzero(free)
        kinds, which = np.unique((1 << np.arange(len(places))) @ looped[places], return_inverse=True)
        for k, kind in enumerate(kinds):
            active = kind >> np.arange(len(places)) & 1 > 0
            idle = places[~active].tolist()
            orders = np.array([[*idle, *order, *inner] for order in permutations(places[active].tolist())])
            yield np.flatnonzero(which == k), orders[np.isin(orders, some)].reshape(len(orders), len(some))

    def _level(self, depth: int) -> str:
        return self.space.problem.design.architecture.names[depth]

    def _longer(
        self, prefixes: Prefixes, parent: IntArray, node: IntArray, bounds: IntArray, lanes: IntArray, order: IntArray
    ) -> Prefixes:
        """Those of numbers ``parent`` [N] with loops of one level more: ``bounds`` [D, N, 3], temporal ones in an ``order``."""
        parts = [(3 * prefixes.depth, order)]
        for place, looped in zip(self.space.places, self.space.looped, strict=True):
            if place // 3 == prefixes.depth and place % 3:
                parts.append((place, np.broadcast_to(looped, (len(parent), len(looped)))))
        each = np.arange(len(parent))[:, None]
        return Prefixes(
            prefixes.depth + 1, node,
            np.concatenate([prefixes.rank[parent], *(rank for _, rank in parts)], axis=1),
            np.concatenate([prefixes.bound[parent], *(bounds[rank, each, place % 3] for place, rank in parts)], axis=1),
            np.concatenate([prefixes.place, *(np.full(rank.shape[1], place) for place, rank in parts)]),
            prefixes.lanes[parent] * lanes.prod(axis=1),
        )  # fmt: skip

    def batch(self, prefixes: Prefixes, keep: BoolArray) -> MappingBatch:
        """The prefixes as mappings, what lies further in as one loop of each rank at the level they lead to."""
        ranks = len(self.space.problem.ranks)
        rank, bound, place = prefixes.rank, prefixes.bound, prefixes.place
        if prefixes.depth < self.depth:
            every = np.broadcast_to(np.arange(ranks), (len(prefixes), ranks))
            rank = np.concatenate([rank, every], axis=1)
            bound = np.concatenate([bound, self.tiles(prefixes).T], axis=1)
            place = np.concatenate([place, np.full(ranks, 3 * prefixes.depth)])
        places = np.broadcast_to(place, rank.shape)
        return MappingBatch(rank, bound, places, keep, self.space.stream & ~keep)

    def passing(self, prefixes: Prefixes, indexes: BoolArray) -> FloatArray:
        """Coordinates of each rank that loops pass while a word of each tensor stays in a level further in, at most, [T, D, N]:
        those of a tile, and of the temporal loops around it up to the first over one of the ranks that index the tensor,
        ``indexes`` [T, D]."""
        tiles = self.tiles(prefixes).astype(np.float64)
        found = np.repeat(tiles[None], len(indexes), axis=0)
        every = np.arange(len(prefixes))
        for t, own in enumerate(indexes):
            stays = np.ones(len(prefixes), np.bool_)
            for i in range(len(prefixes.place) - 1, -1, -1):
                if prefixes.place[i] % 3 == 0:
                    rank, bound = prefixes.rank[:, i], prefixes.bound[:, i]
                    stays &= ~(own[rank] & (bound > 1))
                    found[t, rank, every] *= np.where(stays, bound, 1)
        return found
