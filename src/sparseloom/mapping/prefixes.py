"""Mappings built from the outermost loop inwards: prefixes, and what may follow each.

A mapping is made in stages, outermost first: the temporal loops of a level, then its spatial ones. A prefix has the loops of the
stages so far; of each rank it knows the coordinates in a tile of what lies further in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from math import prod
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import POSITION_SKIPPING, SPATIAL_SKIPPING
from sparseloom.kernel import inlined, kernel
from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch
from sparseloom.mapping.choices import Choices, Chosen, Promising, all_choices
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.nodes import Groups, RankNodes, rank_nodes
from sparseloom.mapping.steps import (
    MOST_STEPS,
    MOST_WORK,
    Grid,
    RankSteps,
    idle_before,
    least_before,
    rank_steps,
)

FloatArray = NDArray[np.float64]

CHUNK = 8192
"""Prefixes that are made together, about."""


@dataclass(frozen=True)
class Prefixes:
    """N prefixes with the loops of the first ``stage`` stages. ``node`` [N, D] numbers each rank's bounds so far (see
    :class:`Tree`); ``rank``, ``bound`` and ``place`` [N, L] are the loops, as in :class:`MappingBatch`; ``lanes`` [N] the product
    of the spatial bounds."""

    stage: int
    node: IntArray
    rank: IntArray
    bound: IntArray
    place: IntArray
    lanes: FloatArray

    def __len__(self) -> int:
        return len(self.node)

    def __getitem__(self, some: IntArray | BoolArray | slice) -> Prefixes:
        return Prefixes(
            self.stage, self.node[some], self.rank[some], self.bound[some], self.place[some], self.lanes[some]
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[Prefixes]) -> Prefixes:
        """Prefixes of one stage, one after the other."""
        if len(parts) == 1:
            return parts[0]
        arrays = zip(*((each.node, each.rank, each.bound, each.place, each.lanes) for each in parts), strict=True)
        return cls(parts[0].stage, *map(np.concatenate, arrays))


@dataclass(frozen=True, eq=False)
class Tree:
    """The prefixes of a mapspace; ``apart``: of those that do not differ in what tensors see of the order of loops, the first."""

    space: Mapspace
    apart: bool = False

    @cached_property
    def stages(self) -> tuple[tuple[int, bool], ...]:
        """The level of each stage, and whether it has spatial loops; only stages at which there may be loops."""
        return tuple(group for group, ranks in self.space.looped.items() if ranks)

    @cached_property
    def complete(self) -> tuple[int, ...]:
        """By number of stages made, how many levels have all of their loops."""
        return (*(depth for depth, _ in self.stages), len(self.space.problem.design.architecture.levels))

    @cached_property
    def spread(self) -> BoolArray:
        """Whether spatial loops of a level, or of one further in, may run over a rank, [S, D]."""
        looped = np.zeros((len(self.space.levels), len(self.space.problem.ranks)), np.bool_)
        for (depth, spatial), ranks in self.space.looped.items():
            if spatial:
                looped[: depth + 1, list(ranks)] = True
        return looped

    def ranks(self, stage: int) -> list[RankNodes]:
        """The nodes of each rank at a stage."""
        return self._nodes[stage][0]

    def grid(self, stage: int) -> Grid:
        """The tiles that may be left at a stage."""
        return self._nodes[stage][1]

    @cached_property
    def _nodes(self) -> list[tuple[list[RankNodes], Grid]]:
        """By stage, the nodes of each rank, and the grid of their tiles."""
        places, sizes = np.array(self.space.places), self.space.problem.shape.tolist()
        by_rank = [
            rank_nodes(chains, places, self.stages, size, self.spread[:, d])
            for d, (chains, size) in enumerate(zip(self.space.chains, sizes, strict=True))
        ]
        found = []
        for ranks in zip(*by_rank, strict=True):
            grid = Grid.of([rank.tile for rank in ranks])
            parts = zip(grid.strides, grid.tiles, ranks, strict=True)
            found.append((
                [rank.numbered(stride * np.searchsorted(known, rank.tile)) for stride, known, rank in parts], grid
            ))  # fmt: skip
        return found

    def _groups(self, stage: int) -> list[Groups]:
        """By rank, the nodes of a temporal stage in groups."""
        known = self._known_groups.get(stage)
        if known is None:
            pairs = zip(self.ranks(stage - 1), self.ranks(stage), strict=True)
            known = self._known_groups[stage] = [Groups.of(before, after) for before, after in pairs]
        return known

    @cached_property
    def _known_groups(self) -> dict[int, list[Groups]]:
        return {}

    @property
    def root(self) -> Prefixes:
        none = np.zeros((1, 0), np.int64)
        ranks = len(self.space.problem.ranks)
        return Prefixes(0, np.zeros((1, ranks), np.int64), none, none, none, np.ones(1))

    def tiles(self, prefixes: Prefixes) -> IntArray:
        """Coordinates of each rank in a tile of what lies further in, [D, N]."""
        ranks = self.ranks(prefixes.stage)
        return np.stack([rank.tile[at] for rank, at in zip(ranks, prefixes.node.T, strict=True)])

    def choices(self, prefixes: Prefixes) -> Choices:
        """The nodes that prefixes have come to."""
        return Choices(prefixes.stage, self.ranks(prefixes.stage), prefixes.node.T)

    def arrives(self, depth: int) -> int:
        """The stage after which all loops outside a level are there."""
        return sum(level < depth for level, _ in self.stages)

    def steps(self, stage: int) -> list[RankSteps]:
        """What may be left of each rank after a stage, by what was before."""
        return self._steps[stage]

    @cached_property
    def _steps(self) -> list[list[RankSteps]]:
        return [
            [self._rank_steps(d, stage) for d in range(len(self.space.chains))] for stage in range(len(self.stages))
        ]

    def _rank_steps(self, d: int, stage: int) -> RankSteps:
        before, after = self.ranks(stage)[d], self.ranks(stage + 1)[d]
        parent = np.repeat(np.arange(len(before.tile)), np.diff(before.begin))
        known = self.grid(stage).tiles[d], self.grid(stage + 1).tiles[d]
        return rank_steps(before.tile[parent], after.tile, after.bounds[:, 1:], after.turned, after.sure, known)

    def least_before(self, stage: int, after: FloatArray) -> FloatArray:
        """The least that some values of tiles after a stage come to for those before it, both by number."""
        grids = self.grid(stage), self.grid(stage + 1)
        return least_before(grids, self.steps(stage), after)

    def cycles(self, choices: Choices) -> FloatArray:
        """The fewest cycles in which the lane with most points can make them, one each, [N]."""
        idle, found = self._idle[choices.stage], choices.points / self._lanes_after(choices.stage)
        return np.asarray(found if idle is None else found + choices.whole * idle[choices.number])

    @cached_property
    def _idle(self) -> list[FloatArray | None]:
        """By stage, the fewest cycles of a tile for each point, beyond those if all lanes were busy, by its number in the grid;
        None where there are too many to look at."""
        found: list[FloatArray | None] = [np.zeros(1)]
        for stage in range(len(self.stages) - 1, -1, -1):
            depth, spatial = self.stages[stage]
            after = found[-1]
            if after is None or not self.followed(stage):
                found.append(None)
                continue
            most = self.space.most_lanes(depth) if spatial else None
            lanes = self._lanes_after(stage), self._lanes_after(stage + 1)
            grids = self.grid(stage), self.grid(stage + 1)
            found.append(idle_before(grids, self.steps(stage), most, lanes, after))
        return found[::-1]

    def followed(self, stage: int) -> bool:
        """Whether the tiles before a stage, and what may follow each, are few enough to look at one by one."""
        size, steps = self.grid(stage).size, self.steps(stage)
        if self.stages[stage][1]:
            return prod(len(each.after) for each in steps) <= MOST_STEPS
        return size << sum(bool(each.turned.any()) for each in steps) <= MOST_WORK

    def parallel(self, stage: int, lanes: FloatArray) -> BoolArray:
        """Whether as many compute units as constraints ask for can be in use, where the loops up to a stage use ``lanes`` [N]."""
        least, most = self.space.parallelism
        return (lanes * self._lanes_after(stage) >= least) & (lanes <= most)

    def _lanes_after(self, stage: int) -> int:
        """The most lanes of stages to come."""
        return prod(prod(self.space.most_lanes(depth)) for depth, spatial in self.stages[stage:] if spatial)

    def following(
        self, prefixes: Prefixes, promising: Promising | None = None
    ) -> Iterator[tuple[int, IntArray, Prefixes, FloatArray]]:
        """All prefixes of one stage more within the fan-out, of combinations of bounds that are ``promising``; some :data:`CHUNK`
        combinations at a time, and for each prefix the number of the one it follows, and the least value that comes of it; before
        these, the least such number of them and of all that are to come."""
        for some in _merged(self._combined(prefixes, promising)):
            made, parts, many = list[IntArray](), list[Prefixes](), 0
            for alike, orders in self._ordered(some.choices):
                made.append(np.repeat(alike, len(orders)))
                parts.append(self._longer(prefixes, some, alike, orders))
                many += len(parts[-1])
                if many >= CHUNK:
                    those = np.concatenate(made)
                    yield int(some.parent[0]), some.parent[those], Prefixes.joined(parts), some.least[those]
                    made, parts, many = [], [], 0
            if many:
                those = np.concatenate(made)
                yield int(some.parent[0]), some.parent[those], Prefixes.joined(parts), some.least[those]

    def _longer(self, prefixes: Prefixes, some: Chosen, alike: IntArray, orders: IntArray) -> Prefixes:
        """Prefixes with the choices that are ``alike`` [N], by number, each in all ``orders`` [P, loops]."""
        depth, spatial = self.stages[prefixes.stage]
        starts, bounds = some.choices.packed
        count, before = len(alike) * len(orders), prefixes.rank.shape[1]
        rank, bound, place = np.empty((3, count, before + orders.shape[1]), np.int64)
        node, lanes = np.empty((count, len(some.choices.nodes)), np.int64), np.empty(count)
        _lengthen(
            prefixes.rank, prefixes.bound, prefixes.place, some.parent, some.choices.nodes, some.lanes, alike, orders, starts,
            bounds, 3 * depth, spatial, rank, bound, place, node, lanes,
        )  # fmt: skip
        return Prefixes(prefixes.stage + 1, node, rank, bound, place, lanes)

    def _combined(self, prefixes: Prefixes, promising: Promising | None) -> Iterator[Chosen]:
        """Promising choices of what follows prefixes; with many nodes to a group, those of groups first."""
        stage, every = prefixes.stage, np.arange(len(prefixes))
        ranks = self.ranks(stage + 1)
        groups = None if promising is None or self.stages[stage][1] else self._groups(stage + 1)
        if groups is None or 2 * prod(len(each.first) - 1 for each in groups) > prod(len(each.tile) for each in ranks):
            spans = _spans([rank.begin for rank in self.ranks(stage)], prefixes.node.T)
            yield from self._chosen(prefixes, every, spans, ranks, promising)
            return
        spans = _spans([each.begin for each in groups], prefixes.node.T)
        for some in _merged(self._chosen(prefixes, every, spans, [each.least for each in groups], promising)):
            spans = _spans([each.first for each in groups], some.choices.nodes)
            yield from self._chosen(prefixes, some.parent, spans, ranks, promising)

    def _chosen(
        self, prefixes: Prefixes, parents: IntArray, spans: tuple[IntArray, IntArray], ranks: list[RankNodes],
        promising: Promising | None,
    ) -> Iterator[Chosen]:  # fmt: skip
        """Promising choices of nodes of ``ranks``, for each of ``parents`` [N] those from and up to some numbers, [D, N] each."""
        depth, spatial = self.stages[prefixes.stage]
        fanout = self.space.most_lanes(depth) if spatial else (1, 1)
        for row, nodes in all_choices(*spans, ranks, fanout, CHUNK):
            choices = Choices(prefixes.stage + 1, ranks, nodes)
            some = Chosen(parents[row], choices, prefixes.lanes[parents[row]] * choices.lanes, np.zeros(len(row)))
            if promising is not None:
                some = replace(some, least=promising(some))
                worth = some.least < np.inf
                some = some if worth.all() else some[np.flatnonzero(worth)]
            if len(some.parent):
                yield some

    def followers(self, prefixes: Prefixes) -> FloatArray:
        """How many combinations of bounds follow each prefix, [N]; the fan-out may not allow all."""
        found = np.ones(len(prefixes))
        for rank, node in zip(self.ranks(prefixes.stage), prefixes.node.T, strict=True):
            found *= rank.begin[node + 1] - rank.begin[node]
        return found

    def _ordered(self, choices: Choices) -> Iterator[tuple[IntArray, IntArray]]:
        """Groups of ``choices`` whose loops have the same orders, by number, and these [K, loops]: ranks, outermost first, idle
        ones before the others."""
        depth, spatial = self.stages[choices.stage - 1]
        ranks, free = self.space.looped[depth, spatial], sorted(self.space.free[depth, spatial])
        if len(free) <= 1:
            yield np.arange(len(choices)), np.array([ranks], np.int64)
            return
        looped = choices.looped(free)
        kinds, which = np.unique((1 << np.arange(len(free))) @ looped, return_inverse=True)
        fixed = [d for d in ranks if d not in free]
        for k in range(len(kinds)):
            some = np.flatnonzero(which == k)
            turned = [d for i, d in enumerate(free) if looped[i, some[0]]]
            idle = [d for d in free if d not in turned]
            orders = [(*order, *fixed) for order in permutations(turned)]
            if self.apart and not spatial and self._orders_seen is not None:
                # loops that are pinned inside of these can but hide differences
                first = {self._seen(order[: len(turned)]): order for order in reversed(orders)}
                orders = [order for order in orders if order in first.values()]
            yield some, np.array([[*idle, *order] for order in orders], np.int64)

    @cached_property
    def _orders_seen(self) -> list[tuple[frozenset[int], bool]] | None:
        """The ranks that index each tensor, and whether the order of all loops over them is seen; None if every order may make a
        difference.

        With perfect bounds, a tensor without sliding windows, and without a format whose upper ranks move by themselves, gets its
        whole tile anew whenever a loop that indexes it advances: how often follows from the ranks inside the innermost such
        loop alone.
        """
        problem = self.space.problem
        kinds = {saf.kind for saf in problem.design.features.safs}
        if self.space.imperfect or kinds & {SPATIAL_SKIPPING, POSITION_SKIPPING}:
            return None
        found = []
        for t, indexes in enumerate(problem.projections):
            forms = (problem.format_of(depth, t) for depth in range(len(problem.design.architecture.levels)))
            listed = any(form is not None and len(form.ranks) > 1 for form in forms)
            ranks = frozenset(np.flatnonzero(indexes.any(axis=0)).tolist())
            found.append((ranks, bool(problem.sliding[t]) or listed))
        return found

    def _seen(self, order: Sequence[int]) -> tuple[object, ...]:
        """What tensors see of temporal loops over ranks in an ``order``, outermost first."""
        found: list[object] = []
        for ranks, every in self._orders_seen or ():
            runs: list[object] = [frozenset[int]()]
            for d in reversed(order):
                if d in ranks:
                    runs += [d, frozenset[int]()]
                else:
                    runs[-1] = cast(frozenset[int], runs[-1]) | {d}
            found.append(tuple(runs) if every else runs[0])
        return tuple(found)

    def batch(self, prefixes: Prefixes, keep: BoolArray) -> MappingBatch:
        """The prefixes as mappings, what lies further in as one loop of each rank at the innermost level."""
        ranks = len(self.space.problem.ranks)
        rank, bound, place = prefixes.rank, prefixes.bound, prefixes.place
        if prefixes.stage < len(self.stages):
            every = np.broadcast_to(np.arange(ranks), (len(prefixes), ranks))
            rank = np.concatenate([rank, every], axis=1)
            bound = np.concatenate([bound, self.tiles(prefixes).T], axis=1)
            place = np.concatenate([place, np.full(every.shape, 3 * (len(keep) - 1))], axis=1)
        return MappingBatch(rank, bound, place, keep, self.space.stream & ~keep)

    def passing(self, prefixes: Prefixes) -> FloatArray:
        """Coordinates of each rank that loops pass while a word of each tensor stays in a level further in, at most, [T, D, N]:
        those of a tile, and of the temporal loops around it up to the first that leaves no word where it is. That is a loop over
        a rank of the tensor, but for one whose bounds waste iterations, as it may not advance for some receivers, and one of a
        sliding window, if its last position overlaps the first."""
        problem = self.space.problem
        found = np.repeat(self.tiles(prefixes)[None].astype(np.float64), len(problem.tensors), axis=0)
        _pass(prefixes.rank, prefixes.bound, prefixes.place, problem.projections, problem.shape, found)
        return found

    def shared(self, prefixes: Prefixes, parents: IntArray) -> FloatArray:
        """Receivers that one word of each tensor goes to together, at most, [T, N]: the lanes of levels from ``parents`` [T]
        on, but for those along the longest rank of each of its indexes."""
        found = np.ones((len(parents), len(prefixes)))
        _share(prefixes.rank, prefixes.bound, prefixes.place, self.space.problem.projections, parents, found)
        return found

    def mappings(self, keep: BoolArray) -> Iterator[MappingBatch]:
        """All mappings that keep tensors as ``keep`` says, a batch at a time."""
        least, most = self.space.parallelism
        left = [self.root]
        while left:
            prefixes = left.pop()
            if prefixes.stage == len(self.stages):
                used = (prefixes.lanes >= least) & (prefixes.lanes <= most)
                if used.any():
                    yield self.batch(prefixes[used], keep)
                continue
            left += [longer for _, _, longer, _ in self.following(prefixes)]


def _spans(begin: Sequence[IntArray], nodes: IntArray) -> tuple[IntArray, IntArray]:
    """Where what belongs to ``nodes`` [D, N] of each rank begins and ends, [D, N] each."""
    pairs = list(zip(begin, nodes, strict=True))
    return np.stack([own[at] for own, at in pairs]), np.stack([own[at + 1] for own, at in pairs])


def _merged(parts: Iterator[Chosen]) -> Iterator[Chosen]:
    """The same, some :data:`CHUNK` at a time."""
    kept, many = list[Chosen](), 0
    for each in parts:
        kept.append(each)
        many += len(each.parent)
        if many >= CHUNK:
            yield Chosen.joined(kept)
            kept, many = [], 0
    if many:
        yield Chosen.joined(kept)


@kernel
def _lengthen(
    ranks: IntArray, bounds: IntArray, places: IntArray, parent: IntArray, nodes: IntArray, used: FloatArray, alike: IntArray,
    orders: IntArray, starts: IntArray, own: IntArray, first: int, spatial: bool, rank: IntArray, bound: IntArray, place: IntArray,
    node: IntArray, lanes: FloatArray,
) -> None:  # fmt: skip
    """Write the loops of prefixes with those of a stage, whose places begin with ``first`` (see :meth:`Tree._longer`)."""
    before = ranks.shape[1]
    for a in range(len(alike)):
        choice = alike[a]
        p = parent[choice]
        for o in range(len(orders)):
            n = a * len(orders) + o
            for i in range(before):
                rank[n, i], bound[n, i], place[n, i] = ranks[p, i], bounds[p, i], places[p, i]
            for i in range(orders.shape[1]):
                d = orders[o, i]
                at = starts[d] + nodes[d, choice]
                kind = 0
                if spatial:
                    kind = 2 if own[at, 2] > 1 else 1
                rank[n, before + i], bound[n, before + i], place[n, before + i] = d, own[at, kind], first + kind
            for d in range(len(nodes)):
                node[n, d] = nodes[d, choice]
            lanes[n] = used[choice]


@kernel
def _pass(
    rank: IntArray, bound: IntArray, place: IntArray, projections: IntArray, shape: IntArray, found: FloatArray
) -> None:
    """Multiply what tiles pass by what the temporal loops around them do, see :meth:`Tree.passing`."""
    made, inside = np.empty(len(shape)), np.empty(len(shape))
    for n in range(len(rank)):
        tile = found[0, :, n].copy()
        made[:] = tile
        for i in range(rank.shape[1]):
            made[rank[n, i]] *= bound[n, i]
        for t in range(len(projections)):
            inside[:] = tile
            for i in range(rank.shape[1] - 1, -1, -1):
                d, times = rank[n, i], bound[n, i]
                if times > 1 and place[n, i] % 3 == 0:
                    if made[d] == shape[d] and _leaves(projections[t], d, times, inside):
                        break
                    found[t, d, n] *= times
                inside[d] *= times


@inlined
def _leaves(projection: IntArray, d: int, times: int, inside: FloatArray) -> bool:
    """Whether the first and the last of so many iterations of a loop over rank ``d``, around loops that cover the coordinates
    ``inside``, have no element of a tensor in common."""
    for row in projection:
        if row[d]:
            extent = 1.0
            for k in range(len(row)):
                extent += row[k] * (inside[k] - 1)
            if row[d] * (times - 1) * inside[d] >= extent:
                return True
    return False


@kernel
def _share(
    rank: IntArray, bound: IntArray, place: IntArray, projections: IntArray, parents: IntArray, found: FloatArray
) -> None:
    """Multiply the receivers of each tensor by the lanes that share its words, see :meth:`Tree.shared`."""
    lanes = np.empty(projections.shape[2])
    for n in range(len(rank)):
        for t in range(len(projections)):
            lanes[:] = 1
            for i in range(rank.shape[1]):
                if place[n, i] % 3 and place[n, i] // 3 >= parents[t]:
                    lanes[rank[n, i]] *= bound[n, i]
                    found[t, n] *= bound[n, i]
            for row in projections[t]:
                # places of a window overlap
                longest = 1.0
                for d in range(len(lanes)):
                    if row[d]:
                        longest = max(longest, lanes[d])
                found[t, n] /= longest
