"""Mappings built from the outermost loop inwards: prefixes, and what may follow each.

A mapping is made in stages, outermost first: the temporal loops of a level, then its spatial ones. A prefix has the loops of the
stages so far; of each rank it knows the coordinates in a tile of what lies further in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from math import prod
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import POSITION_SKIPPING, SPATIAL_SKIPPING
from sparseloom.kernel import inlined, kernel
from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.nodes import RankNodes, rank_nodes
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

Promising = Callable[[IntArray, IntArray, FloatArray], BoolArray]
"""Which combinations of bounds are worth being made prefixes of, [K]: of each the number of the prefix that it follows [K], a
node of each rank [D, K], and the product of its spatial bounds [K]."""


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

    @cached_property
    def _ranks(self) -> list[list[RankNodes]]:
        """By rank and stage."""
        places, sizes = np.array(self.space.places), self.space.problem.shape.tolist()
        return [
            rank_nodes(chains, places, self.stages, size, self.spread[:, d])
            for d, (chains, size) in enumerate(zip(self.space.chains, sizes, strict=True))
        ]

    @property
    def root(self) -> Prefixes:
        none = np.zeros((1, 0), np.int64)
        ranks = len(self.space.problem.ranks)
        return Prefixes(0, np.zeros((1, ranks), np.int64), none, none, none, np.ones(1))

    def tiles(self, prefixes: Prefixes) -> IntArray:
        """Coordinates of each rank in a tile of what lies further in, [D, N]."""
        ranks = (each[prefixes.stage] for each in self._ranks)
        return np.stack([rank.tile[at] for rank, at in zip(ranks, prefixes.node.T, strict=True)])

    def arrives(self, depth: int) -> int:
        """The stage after which all loops outside a level are there."""
        return sum(level < depth for level, _ in self.stages)

    def grid(self, stage: int) -> Grid:
        """The tiles that may be left at a stage."""
        return self._grids[stage]

    @cached_property
    def _grids(self) -> list[Grid]:
        stages = range(len(self.stages) + 1)
        return [Grid.of([rank[stage].tile for rank in self._ranks]) for stage in stages]

    def steps(self, stage: int) -> list[RankSteps]:
        """What may be left of each rank after a stage, by what was before."""
        return self._steps[stage]

    @cached_property
    def _steps(self) -> list[list[RankSteps]]:
        return [[self._rank_steps(d, stage) for d in range(len(self._ranks))] for stage in range(len(self.stages))]

    def _rank_steps(self, d: int, stage: int) -> RankSteps:
        before, after = self._ranks[d][stage : stage + 2]
        parent = np.repeat(np.arange(len(before.tile)), np.diff(before.begin))
        known = self.grid(stage).tiles[d], self.grid(stage + 1).tiles[d]
        turned = after.bounds[:, 0] > 1
        return rank_steps(before.tile[parent], after.tile, after.bounds[:, 1:], turned, after.sure, known)

    def least_before(self, stage: int, after: FloatArray) -> FloatArray:
        """The least that some values of tiles after a stage come to for those before it, both by number."""
        grids = self.grid(stage), self.grid(stage + 1)
        return least_before(grids, self.steps(stage), after)

    def cycles(self, stage: int, nodes: IntArray) -> FloatArray:
        """The fewest cycles in which the lane with most points can make them, one each, with bounds of ``nodes`` [D, N]: [N]."""
        points, whole = np.ones(nodes.shape[1]), np.ones(nodes.shape[1])
        for rank, own in zip(self._ranks, nodes, strict=True):
            here = rank[stage]
            points *= here.points[own]
            whole *= here.whole[own] * here.tile[own]
        idle, found = self._idle[stage], points / self._lanes_after(stage)
        return np.asarray(found if idle is None else found + whole * idle[self.number(stage, nodes)])

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

    def _lanes_after(self, stage: int) -> int:
        """The most lanes of stages to come."""
        return prod(prod(self.space.most_lanes(depth)) for depth, spatial in self.stages[stage:] if spatial)

    def following(
        self, prefixes: Prefixes, promising: Promising | None = None
    ) -> Iterator[tuple[int, IntArray, Prefixes]]:
        """All prefixes of one stage more within the fan-out, of combinations of bounds that are ``promising``; some :data:`CHUNK`
        combinations at a time, and for each prefix the number of the one it follows; before these, the least such number of
        them and of all that are to come."""
        depth, spatial = self.stages[prefixes.stage]
        for parent, nodes, lanes in _merged(self._combined(prefixes, promising)):
            ranks = (each[prefixes.stage + 1] for each in self._ranks)
            bounds = np.stack([rank.bounds[own] for rank, own in zip(ranks, nodes, strict=True)])
            parents, parts, many = list[IntArray](), list[Prefixes](), 0
            for some, orders in self._ordered(depth, spatial, bounds):
                each, order = np.repeat(some, len(orders)), np.tile(orders, (len(some), 1))
                own = bounds[order, each[:, None]]
                kind = np.where(own[:, :, 2] > 1, 2, 1) if spatial else np.zeros(order.shape, np.int64)
                bound = np.take_along_axis(own, kind[:, :, None], axis=2)[:, :, 0]
                parents.append(parent[each])
                parts.append(Prefixes(
                    prefixes.stage + 1, nodes[:, each].T,
                    np.concatenate([prefixes.rank[parent[each]], order], axis=1),
                    np.concatenate([prefixes.bound[parent[each]], bound], axis=1),
                    np.concatenate([prefixes.place[parent[each]], 3 * depth + kind], axis=1), lanes[each],
                ))  # fmt: skip
                many += len(each)
                if many >= CHUNK:
                    yield int(parent[0]), np.concatenate(parents), Prefixes.joined(parts)
                    parents, parts, many = [], [], 0
            if many:
                yield int(parent[0]), np.concatenate(parents), Prefixes.joined(parts)

    def _combined(
        self, prefixes: Prefixes, promising: Promising | None
    ) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
        """Promising combinations of bounds: what each follows [K], its nodes [D, K], and the product of its spatial bounds."""
        after = prefixes.stage + 1
        spatial = self.stages[prefixes.stage][1]
        none = np.zeros((0, len(prefixes)), np.int64)
        for parent, nodes in self._nodes_after(prefixes, np.arange(len(prefixes)), none):
            lanes = prefixes.lanes[parent]
            if spatial:
                for rank, own in zip(self._ranks, nodes, strict=True):
                    lanes = lanes * rank[after].bounds[own, 1:].prod(axis=1)
            if promising is None:
                yield parent, nodes, lanes
                continue
            few = np.flatnonzero(promising(parent, nodes, lanes))
            if len(few):
                yield parent[few], nodes[:, few], lanes[few]

    def nodes(self, d: int, stage: int) -> RankNodes:
        """The nodes of a rank at a stage."""
        return self._ranks[d][stage]

    def number(self, stage: int, nodes: IntArray) -> IntArray:
        """The number of the tile that ``nodes`` [D, N] leave at a stage, in its grid, [N]."""
        found = np.zeros(nodes.shape[1], np.int64)
        for known, own in zip(self._parts_of_numbers[stage], nodes, strict=True):
            if len(known) > 1:
                found += known[own]
        return found

    @cached_property
    def _parts_of_numbers(self) -> list[list[IntArray]]:
        """By stage and rank, what each node contributes to the number of a tile."""
        found = []
        for stage in range(len(self.stages) + 1):
            grid, nodes = self.grid(stage), [rank[stage].tile for rank in self._ranks]
            found.append([
                stride * np.searchsorted(known, own)
                for stride, known, own in zip(grid.strides, grid.tiles, nodes, strict=True)
            ])  # fmt: skip
        return found

    def followers(self, prefixes: Prefixes) -> FloatArray:
        """How many combinations of bounds follow each prefix, [N]; the fan-out may not allow all."""
        found = np.ones(len(prefixes))
        for d, stages in enumerate(self._ranks):
            begin, node = stages[prefixes.stage].begin, prefixes.node[:, d]
            found *= begin[node + 1] - begin[node]
        return found

    def _nodes_after(
        self, prefixes: Prefixes, parent: IntArray, nodes: IntArray
    ) -> Iterator[tuple[IntArray, IntArray]]:
        """Combinations of one following node of each rank [D, N] that begin with ``nodes`` [k, N] of the first ranks, and the
        numbers of the prefixes that these follow."""
        d, stage = len(nodes), prefixes.stage
        depth, spatial = self.stages[stage]
        if d == len(self._ranks):
            yield parent, nodes
            return
        begin, node = self._ranks[d][stage].begin, prefixes.node[parent, d]
        times = begin[node + 1] - begin[node]
        ends = np.cumsum(times)
        start = 0
        while start < len(parent):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + CHUNK, side="right")))
            part = slice(start, stop)
            which = np.repeat(np.arange(start, stop), times[part])
            own = np.arange(len(which)) - np.repeat(ends[part] - times[part] - before - begin[node[part]], times[part])
            both = np.concatenate([nodes[:, which], own[None]])
            if spatial:
                lanes = np.ones((len(which), 2), np.int64)
                for k, some in enumerate(both):
                    lanes *= self._ranks[k][stage + 1].bounds[some, 1:]
                fits = (lanes <= self.space.most_lanes(depth)).all(axis=1)
                which, both = which[fits], both[:, fits]
            if len(which):
                yield from self._nodes_after(prefixes, parent[which], both)
            start = stop

    def _ordered(self, depth: int, spatial: bool, bounds: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Groups of the prefixes with these ``bounds`` [D, N, 3] of a stage whose loops have the same orders, and these [K, loops]:
        ranks, outermost first, idle ones before the others."""
        ranks, free = self.space.looped[depth, spatial], sorted(self.space.free[depth, spatial])
        looped = np.asarray((bounds[free] > 1).any(axis=2))
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
            left += [longer for _, _, longer in self.following(prefixes)]


def _merged(
    combinations: Iterator[tuple[IntArray, IntArray, FloatArray]],
) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
    """The same, some :data:`CHUNK` at a time."""
    kept, many = list[tuple[IntArray, IntArray, FloatArray]](), 0
    for each in combinations:
        kept.append(each)
        many += len(each[0])
        if many >= CHUNK:
            yield _joined(kept)
            kept, many = [], 0
    if many:
        yield _joined(kept)


def _joined(some: list[tuple[IntArray, IntArray, FloatArray]]) -> tuple[IntArray, IntArray, FloatArray]:
    parents, nodes, lanes = zip(*some, strict=True)
    return np.concatenate(parents), np.concatenate(nodes, axis=1), np.concatenate(lanes)


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
