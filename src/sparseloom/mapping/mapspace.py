"""All mappings of a workload on a design that its constraints allow: how many there are, each of them, and random ones.

Two mappings are the same if they have the same loops of more than one iteration in the same order at every level and keep the
same tensors; the order of a level's spatial loops makes no difference. A level has one temporal loop of a rank at most, and one
spatial one, along X or along Y.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from math import factorial, prod

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import SPATIAL_SKIPPING
from sparseloom.errors import Fault, MappingError
from sparseloom.mapping.batch import KINDS, BoolArray, MappingBatch, Problem
from sparseloom.mapping.chains import chains
from sparseloom.mapping.constraints import FREE, NONE, Constraints, LevelConstraints
from sparseloom.mapping.mapping import Mapping

IntArray = NDArray[np.int64]

Fits = Callable[[IntArray], BoolArray]
"""Which tiles [S, D, N], see :meth:`Mapspace.batches`, may fit, [N]."""

CHUNK = 8192
"""Mappings of a batch."""


@dataclass(frozen=True, eq=False)
class Mapspace:
    """The mappings of ``problem`` that ``constraints`` allow, with ``imperfect`` bounds or perfect ones alone.

    Raises MappingError, with what is in the way, where the constraints contradict each other, the design or the workload.
    """

    problem: Problem
    constraints: Constraints = NONE
    imperfect: bool = False

    def __post_init__(self) -> None:
        faults = [*_unknown(self.problem, self.constraints), *_unkept(self)]
        if not faults:
            faults = [fault for d in range(len(self.problem.ranks)) for fault in _no_chain(self, d)]
        if faults:
            raise MappingError(faults)

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Where loops may stand, outermost first: 3 * level + kind, as in :class:`MappingBatch`. A level spreads work only
        along axes with several children."""
        return tuple(
            3 * depth + kind
            for depth in range(len(self._levels))
            for kind in range(len(KINDS))
            if kind == 0 or self._fanout(depth, kind) > 1
        )

    @cached_property
    def chains(self) -> tuple[IntArray, ...]:
        """The bounds [N, places] that each rank's loops may have together."""
        found = []
        for d, rank in enumerate(self.problem.ranks):
            rows = chains(int(self.problem.shape[d]), self._limits(d), self.imperfect, self._axes)
            for depth, level in enumerate(self._levels):
                spread = [k for k, place in enumerate(self.places) if place // 3 == depth and place % 3]
                least = level.spatial.get(rank, FREE).of(int(self.problem.shape[d]))[0]
                rows = rows[rows[:, spread].prod(axis=1) >= least]
            found.append(rows)
        return tuple(found)

    @cached_property
    def _tiles(self) -> tuple[IntArray, ...]:
        """Of each rank's chains the coordinates in a tile of every level, at most the shape, [N, S]."""
        found = []
        for d, rows in enumerate(self.chains):
            inside = np.cumprod(rows[:, ::-1], axis=1)[:, ::-1]
            first = [self.places.index(3 * depth) for depth in range(len(self._levels))]
            found.append(np.minimum(inside[:, first], self.problem.shape[d]))
        return tuple(found)

    @cached_property
    def keeps(self) -> tuple[BoolArray, ...]:
        """Which tensors are kept where, [S, T]: every way that the constraints allow, most kept first."""
        tables = [np.ones((len(self._levels), len(self.problem.tensors)), np.bool_)]
        for depth, level in enumerate(self._levels):
            for t, name in enumerate(self.problem.tensors):
                if not depth or name in level.keep:
                    continue
                without = [table.copy() for table in tables]
                for table in without:
                    table[depth, t] = False
                tables = without if name in self._bypass(depth) else [*tables, *without]
        return tuple(tables)

    @cached_property
    def stream(self) -> BoolArray:
        """Tensors that pass through a level's storage where it bypasses them, [S, T]."""
        return np.array([[name in level.stream for name in self.problem.tensors] for level in self._levels])

    @cached_property
    def size(self) -> int:
        """How many mappings there are; tiles that do not fit are among them."""
        states = {(0,) * len(self._levels) + (1,) * (2 * len(self._levels)): 1}
        for d in range(len(self.problem.ranks)):
            kinds, counts = np.unique(self._kinds(d), axis=0, return_counts=True)
            found: dict[tuple[int, ...], int] = {}
            for state, ways in states.items():
                for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
                    ordered = [a + b for a, b in zip(state, kind[: len(self._levels)], strict=False)]
                    lanes = [a * b for a, b in zip(state[len(ordered) :], kind[len(ordered) :], strict=True)]
                    if self._within(lanes):
                        key = (*ordered, *lanes)
                        found[key] = found.get(key, 0) + ways * count
            states = found
        total = 0
        for state, ways in states.items():
            if self._parallel(prod(state[len(self._levels) :])):
                total += ways * prod(map(factorial, state[: len(self._levels)]))
        return total * len(self.keeps)

    def batches(self, keep: BoolArray, size: int = CHUNK, fits: Fits | None = None) -> Iterator[MappingBatch]:
        """All mappings that keep tensors as ``keep`` says, ``size`` or fewer at a time, of those whose tiles ``fits`` takes."""
        rest: list[MappingBatch] = []
        for block in self._blocks():
            for digits in block.digits():
                if fits is not None:
                    digits = digits[:, fits(block.tiles(digits))]
                if digits.size:
                    rest.append(block.batch(digits, keep))
                while sum(map(len, rest)) >= size:
                    whole = _joined(rest)
                    yield whole[:size]
                    rest = [whole[size:]]
        if sum(map(len, rest)):
            yield _joined(rest)

    def violations(self, mapping: Mapping) -> list[Fault]:
        """Every constraint that a mapping, which the design itself allows, breaks."""
        return list(_violations(self, mapping))

    @property
    def _levels(self) -> list[LevelConstraints]:
        return [self.constraints.of(level.name) for level in self.problem.design.architecture.levels]

    def _bypass(self, depth: int) -> frozenset[str]:
        holds = self.problem.design.architecture.levels[depth].holds
        others = frozenset(self.problem.tensors) - holds if holds is not None else frozenset()
        return self._levels[depth].bypass | others

    def _fanout(self, depth: int, kind: int) -> int:
        return self.problem.design.architecture.fanout(depth)[kind - 1]

    @cached_property
    def _most_lanes(self) -> list[int]:
        """The most that a level's spatial bounds along X and Y may make, [2 S]. Where spatial skipping gives idle lanes other
        work that follows from the tensors, and is seen when a mapping is evaluated."""
        skipping = {saf.level for saf in self.problem.design.features.safs if saf.kind == SPATIAL_SKIPPING}
        names = self.problem.design.architecture.names
        return [
            self._fanout(depth, kind) if names[depth] not in skipping else 1 << 62
            for depth in range(len(names))
            for kind in (1, 2)
        ]

    def most_lanes(self, depth: int) -> tuple[int, int]:
        """The most that a level's spatial bounds along X, and along Y, may make."""
        return self._most_lanes[2 * depth], self._most_lanes[2 * depth + 1]

    @property
    def parallelism(self) -> tuple[float, float]:
        units = self.problem.design.architecture.compute.instances
        most = self.constraints.most_parallelism
        return self.constraints.least_parallelism * units, most * units if most < 1 else np.inf

    def _parallel(self, used: int) -> bool:
        least, most = self.parallelism
        return least <= used <= most

    def _within(self, lanes: Sequence[int]) -> bool:
        return all(used <= most for used, most in zip(lanes, self._most_lanes, strict=True))

    @property
    def _axes(self) -> list[int]:
        """By place, a number that the two axes of one level share; 0 for temporal loops."""
        return [place // 3 + 1 if place % 3 else 0 for place in self.places]

    def _limits(self, d: int) -> list[tuple[int, int]]:
        """The least and the most bound of a rank's loop at every place; where it may run along X or Y, either may be 1."""
        rank, size = self.problem.ranks[d], int(self.problem.shape[d])
        limits = []
        for place in self.places:
            depth, kind = divmod(place, 3)
            level = self._levels[depth]
            least, most = (level.spatial if kind else level.temporal).get(rank, FREE).of(size)
            if kind:
                barred = level.axes.get(rank, KINDS[kind]) != KINDS[kind]
                least, most = 1, 1 if barred else min(most, self._most_lanes[2 * depth + kind - 1])
            limits.append((least, min(most, size)))
        return limits

    def _kinds(self, d: int) -> IntArray:
        """What of a rank's chains the number of mappings depends on, [N, 3 S]: whether its loop at each level is one of those
        whose order is free, and the bounds along X and Y."""
        rows, count = self.chains[d], len(self._levels)
        kinds = np.ones((len(rows), 3 * count), np.int64)
        kinds[:, :count] = 0
        for k, place in enumerate(self.places):
            depth, kind = divmod(place, 3)
            if kind:
                kinds[:, count + 2 * depth + kind - 1] = rows[:, k]
            elif self.problem.ranks[d] not in self._levels[depth].inner:
                kinds[:, depth] = rows[:, k] > 1
        return kinds

    @cached_property
    def _lanes(self) -> tuple[IntArray, ...]:
        """Of each rank's chains the bounds along X and Y of every level, [N, 2 S]."""
        return tuple(self._kinds(d)[:, len(self._levels) :] for d in range(len(self.problem.ranks)))

    def _blocks(self) -> Iterator[_Block]:
        """Parts of the mapspace in which the same ranks are to be ordered at each level."""
        by_order = []
        for d in range(len(self.problem.ranks)):
            kinds, which = np.unique(self._kinds(d)[:, : len(self._levels)], axis=0, return_inverse=True)
            by_order.append([(kind, np.flatnonzero(which == k)) for k, kind in enumerate(kinds)])
        for chosen in product(*by_order):
            free = np.array([kind for kind, _ in chosen]) > 0
            orders = [self._orders(depth, free[:, depth]) for depth in range(len(self._levels))]
            yield _Block(self, tuple(rows for _, rows in chosen), tuple(orders))

    def _orders(self, depth: int, free: BoolArray) -> IntArray:
        """The orders [N, D] of a level's temporal loops, outermost first, those of ``free`` ranks in every order."""
        ranks = self.problem.ranks
        inner = [ranks.index(name) for name in self._levels[depth].inner]
        idle = [d for d in range(len(ranks)) if not free[d] and d not in inner]
        return np.array([[*idle, *order, *inner] for order in permutations(np.flatnonzero(free).tolist())], np.int64)

    @cached_property
    def looped(self) -> tuple[IntArray, ...]:
        """By place, the ranks that may have a loop of more than one iteration there."""
        return tuple(
            np.array([d for d, rows in enumerate(self.chains) if (rows[:, k] > 1).any()], np.int64)
            for k in range(len(self.places))
        )


@dataclass(frozen=True)
class _Block:
    """Every combination of one of each rank's ``chains``, by number, and one of the ``orders`` [., D] of each level's loops."""

    space: Mapspace
    chains: tuple[IntArray, ...]
    orders: tuple[IntArray, ...]

    def digits(self) -> Iterator[IntArray]:
        """Combinations of chains that are within the fan-out and use as many compute units as they have to, [D, N]: numbers of
        rows of the mapspace's chains."""
        yield from self._joined(np.zeros((0, 1), np.int64), np.ones((1, 2 * len(self.orders)), np.int64))

    def _joined(self, digits: IntArray, lanes: IntArray) -> Iterator[IntArray]:
        """The combinations that begin with ``digits`` [k, N], whose spatial bounds make ``lanes`` [N, 2 S]."""
        space, d = self.space, len(digits)
        if d == len(self.chains):
            used, (least, most) = lanes.prod(axis=1), space.parallelism
            yield digits[:, (used >= least) & (used <= most)]
            return
        own, slice_ = self.chains[d], max(1, CHUNK // len(self.chains[d]))
        for start in range(0, digits.shape[1], slice_):
            part = slice(start, start + slice_)
            both = (lanes[part, None] * space._lanes[d][None, own]).reshape(-1, lanes.shape[1])
            count = len(lanes[part])
            more = np.concatenate([np.repeat(digits[:, part], len(own), axis=1), np.tile(own, count)[None]])
            fits = (both <= space._most_lanes).all(axis=1)
            if fits.any():
                yield from self._joined(more[:, fits], both[fits])

    def tiles(self, digits: IntArray) -> IntArray:
        """Nominal coordinates of each rank in a tile of every level, at most the shape, [S, D, N]."""
        return np.stack([rows[at] for rows, at in zip(self.space._tiles, digits, strict=True)]).transpose(2, 0, 1)

    def batch(self, digits: IntArray, keep: BoolArray) -> MappingBatch:
        """Every combination of ``digits`` [D, N] with the orders, these turning fastest."""
        space = self.space
        turns = np.indices([digits.shape[1], *map(len, self.orders)]).reshape(1 + len(self.orders), -1)
        ranks, bounds = [], []
        for k, place in enumerate(space.places):
            looped = space.looped[k]
            some = np.broadcast_to(looped, (turns.shape[1], len(looped)))
            if place % 3 == 0 and len(self.orders[place // 3]) > 1:
                order = self.orders[place // 3]
                some = order[np.isin(order, looped)].reshape(len(order), -1)[turns[1 + place // 3]]
            elif place % 3 == 0:
                order = self.orders[place // 3][0]
                some = np.broadcast_to(order[np.isin(order, looped)], some.shape)
            rows = np.empty((len(space.chains), digits.shape[1]), np.int64)
            for d in looped:
                rows[d] = space.chains[d][digits[d], k]
            ranks.append(some)
            bounds.append(rows[some, turns[0][:, None]])
        where = np.repeat(space.places, [len(looped) for looped in space.looped])
        return MappingBatch(
            np.concatenate(ranks, axis=1), np.concatenate(bounds, axis=1),
            np.broadcast_to(where, (turns.shape[1], len(where))), keep, space.stream & ~keep,
        )  # fmt: skip


def _joined(parts: Sequence[MappingBatch]) -> MappingBatch:
    rank, bound, place = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("rank", "bound", "place")
    )
    return MappingBatch(rank, bound, place, parts[0].keep, parts[0].stream)


def _unknown(problem: Problem, constraints: Constraints) -> Iterator[Fault]:
    """Levels, ranks and tensors that constraints name and the problem has not."""
    from sparseloom.errors import suggest

    names = problem.design.architecture.names
    for name, level in constraints.levels.items():
        if name not in names:
            yield Fault(f"constraints are given for unknown level {name}", path=name, fix=suggest(name, names))
        for rank in sorted({*level.temporal, *level.spatial, *level.inner, *level.axes} - set(problem.ranks)):
            yield Fault(
                f"{name}: a constraint is about unknown rank {rank}", path=name, fix=suggest(rank, problem.ranks)
            )
        for tensor in sorted({*level.keep, *level.bypass, *level.stream} - set(problem.tensors)):
            what = f"{name}: a constraint is about unknown tensor {tensor}"
            yield Fault(what, path=name, fix=suggest(tensor, problem.tensors))


def _unkept(space: Mapspace) -> Iterator[Fault]:
    for depth, level in enumerate(space.problem.design.architecture.levels):
        own, bypass = space._levels[depth], space._bypass(depth)
        for tensor in sorted(own.keep & bypass):
            where = "its constraints bar it" if tensor in own.bypass else f"it is built for {_names(level.holds)}"
            yield Fault(f"{level.name} has to keep {tensor}, and {where}", path=level.name, fix="drop one of the two")
        for tensor in sorted(bypass if not depth else ()):
            what = f"{level.name}, the outermost level, must not keep {tensor}"
            yield Fault(what, path=level.name, fix="let it: every tensor starts and ends there")


def _names(names: frozenset[str] | None) -> str:
    return ", ".join(sorted(names or ())) or "no tensor"


def _no_chain(space: Mapspace, d: int) -> Iterator[Fault]:
    """Why a rank has no chain, if it has none."""
    if len(space.chains[d]):
        return
    rank, size = space.problem.ranks[d], int(space.problem.shape[d])
    names = space.problem.design.architecture.names
    parts = []
    for depth, name in enumerate(names):
        level = space._levels[depth]
        for kind, limits in (("temporal", level.temporal), ("spatial", level.spatial)):
            if rank in limits:
                parts.append(f"{name} {kind} {limits[rank]}")
    bounds = "imperfect" if space.imperfect else "perfect"
    what = f"rank {rank}: no {bounds} bounds cover its {size} coordinates within {'; '.join(parts) or 'the fan-outs'}"
    yield Fault(what, path=rank, fix="loosen one of these, change the rank's shape, or allow imperfect bounds")


def _violations(space: Mapspace, mapping: Mapping) -> Iterator[Fault]:
    sizes = space.problem.workload.shape
    for depth, mapped in enumerate(mapping.levels):
        level = space._levels[depth]
        for kind, loops, limits in (
            ("temporal", mapped.temporal, level.temporal),
            ("spatial", mapped.spatial, level.spatial),
        ):
            for rank, limit in limits.items():
                bound = prod(loop.bound for loop in loops if loop.rank == rank)
                least, most = limit.of(sizes[rank])
                if not least <= bound <= most:
                    what = f"{mapped.level}: the {kind} bound of {rank} is {bound}, the constraint says {limit}"
                    yield Fault(what, path=mapped.level, fix="change the bound, or the constraint")
        order = [loop.rank for loop in mapped.temporal if loop.bound > 1]
        wanted = [rank for rank in order if rank not in level.inner] + [rank for rank in level.inner if rank in order]
        if order != wanted:
            what = f"{mapped.level}: loops are in the order {' '.join(order)}, constrained to {' '.join(wanted)}"
            yield Fault(what, path=mapped.level, fix="change the order, or the constraint")
        for loop in mapped.spatial:
            if loop.bound > 1 and level.axes.get(loop.rank, loop.axis) != loop.axis:
                what = f"{mapped.level}: {loop.rank} runs along {loop.axis}, constrained to {level.axes[loop.rank]}"
                yield Fault(what, path=mapped.level, fix="change the axis, or the constraint")
        for tensor in sorted(level.keep - mapped.keep):
            yield Fault(
                f"{mapped.level} bypasses {tensor}, which it has to keep", path=mapped.level, fix="keep it there"
            )
        for tensor in sorted(space._bypass(depth) & mapped.keep):
            yield Fault(
                f"{mapped.level} keeps {tensor}, which it has to bypass", path=mapped.level, fix="bypass it there"
            )
    used = prod(loop.bound for mapped in mapping.levels for loop in mapped.spatial)
    if not space._parallel(used):
        share = space.constraints
        units = space.problem.design.architecture.compute.instances
        what = (
            f"the mapping uses {used} of {units} compute units, constrained to a share of {share.least_parallelism:g} to "
            f"{share.most_parallelism:g}"
        )
        yield Fault(what, fix="change the spatial bounds, or the constraint")
