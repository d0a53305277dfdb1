"""Mappings built from the outermost level inwards: prefixes, and what may follow each.

A prefix of depth l has its loops at all levels outside l; of each rank it knows the coordinates in a tile of level l. The prefixes
of depth S, the number of levels, are the mappings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch
from sparseloom.mapping.mapspace import Mapspace

FloatArray = NDArray[np.float64]

CHUNK = 8192
"""Prefixes that are made together, about."""


@dataclass(frozen=True)
class Prefixes:
    """N prefixes of one ``depth``. ``node`` [N, D] numbers each rank's bounds so far (see :class:`Tree`); ``rank``, ``bound`` and
    ``place`` [N, L] are the loops, as in :class:`MappingBatch`; ``lanes`` [N] the product of the spatial bounds."""

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
            self.depth, self.node[some], self.rank[some], self.bound[some], self.place[some], self.lanes[some]
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
        return Prefixes(0, np.zeros((1, ranks), np.int64), none, none, none, np.ones(1))

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
        for some, orders in self._ordered(depth, bounds):
            each, turn = np.repeat(some, len(orders)), np.tile(np.arange(len(orders)), len(some))
            loops = self._loops(depth, bounds[:, each], orders[turn])
            before = (prefixes.rank, prefixes.bound, prefixes.place)
            rank, bound, place = (
                np.concatenate([old[parent[each]], new], axis=1) for old, new in zip(before, loops, strict=True)
            )
            used = prefixes.lanes[parent[each]] * lanes[each].prod(axis=1)
            yield parent[each], Prefixes(depth + 1, nodes[:, each].T, rank, bound, place, used)

    def _ordered(self, depth: int, bounds: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Groups of the prefixes with these ``bounds`` [D, N, 3] at a level whose loops have the same orders, and these
        [K, loops]: ranks of the temporal loops, outermost first, then of the spatial ones."""
        looped = [np.asarray(bounds[:, :, 0] > 1), np.asarray((bounds[:, :, 1:] > 1).any(axis=2))]
        free = [sorted(self.space.free[depth, spatial]) for spatial in (False, True)]
        bits = np.concatenate([own[some] for own, some in zip(looped, free, strict=True)])
        kinds, which = np.unique((1 << np.arange(len(bits))) @ bits, return_inverse=True)
        for k in range(len(kinds)):
            some = np.flatnonzero(which == k)
            orders = [
                self._orders(depth, spatial, [d for d in free[spatial] if looped[spatial][d, some[0]]])
                for spatial in (False, True)
            ]
            yield some, np.array([[*temporal, *spread] for temporal, spread in product(*orders)], np.int64)

    def _orders(self, depth: int, spatial: bool, turned: list[int]) -> list[tuple[int, ...]]:
        """The orders of a level's ranks, those ``turned`` in every order: outermost first, idle ones before them."""
        ranks, free = self.space.looped[depth, spatial], self.space.free[depth, spatial]
        idle = [d for d in ranks if d in free and d not in turned]
        fixed = [d for d in ranks if d not in free]
        return [(*idle, *order, *fixed) for order in permutations(turned)]

    def _loops(self, depth: int, bounds: IntArray, orders: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Ranks, bounds and places [N, loops] of a level's loops, whose ``bounds`` are [D, N, 3]."""
        each = np.arange(len(orders))[:, None]
        own = bounds[orders, each]
        spatial = np.arange(orders.shape[1]) >= len(self.space.looped[depth, False])
        kind = np.where(own[:, :, 2] > 1, 2, 1) * spatial
        return orders, np.take_along_axis(own, kind[:, :, None], axis=2)[:, :, 0], 3 * depth + kind

    def batch(self, prefixes: Prefixes, keep: BoolArray) -> MappingBatch:
        """The prefixes as mappings, what lies further in as one loop of each rank at the level they lead to."""
        ranks = len(self.space.problem.ranks)
        rank, bound, place = prefixes.rank, prefixes.bound, prefixes.place
        if prefixes.depth < self.depth:
            every = np.broadcast_to(np.arange(ranks), (len(prefixes), ranks))
            rank = np.concatenate([rank, every], axis=1)
            bound = np.concatenate([bound, self.tiles(prefixes).T], axis=1)
            place = np.concatenate([place, np.full(every.shape, 3 * prefixes.depth)], axis=1)
        return MappingBatch(rank, bound, place, keep, self.space.stream & ~keep)

    def passing(self, prefixes: Prefixes, indexes: BoolArray) -> FloatArray:
        """Coordinates of each rank that loops pass while a word of each tensor stays in a level further in, at most, [T, D, N]:
        those of a tile, and of the temporal loops around it up to the first over one of the ranks that index the tensor,
        ``indexes`` [T, D]."""
        tiles = self.tiles(prefixes).astype(np.float64)
        found = np.repeat(tiles[None], len(indexes), axis=0)
        every = np.arange(len(prefixes))
        for t, own in enumerate(indexes):
            stays = np.ones(len(prefixes), np.bool_)
            for i in range(prefixes.rank.shape[1] - 1, -1, -1):
                rank, bound, temporal = prefixes.rank[:, i], prefixes.bound[:, i], prefixes.place[:, i] % 3 == 0
                stays &= ~(own[rank] & (bound > 1) & temporal)
                found[t, rank, every] *= np.where(stays & temporal, bound, 1)
        return found

    def mappings(
        self, keep: BoolArray, fits: Callable[[int, IntArray], BoolArray] | None = None
    ) -> Iterator[MappingBatch]:
        """All mappings that keep tensors as ``keep`` says, a batch at a time, of those whose tiles [D, N] of every level
        ``fits`` takes."""
        least, most = self.space.parallelism
        left = [self.root]
        while left:
            prefixes = left.pop()
            if prefixes.depth == self.depth:
                used = (prefixes.lanes >= least) & (prefixes.lanes <= most)
                if used.any():
                    yield self.batch(prefixes[used], keep)
                continue
            if fits is not None:
                prefixes = prefixes[fits(prefixes.depth, self.tiles(prefixes))]
            ends = np.cumsum(self.counts(prefixes))
            if not len(ends):
                continue
            some = max(1, int(np.searchsorted(ends, CHUNK)))
            if some < len(prefixes):
                left.append(prefixes[some:])
            left += [longer for _, longer in self.following(prefixes[:some])]
