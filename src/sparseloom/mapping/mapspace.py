"""All mappings of a workload on a design that its constraints allow, and how many there are.

Two mappings are the same if they have the same loops of more than one iteration in the same order at every level and keep the
same tensors. A level has one temporal loop of a rank at most, and one spatial one, along X or along Y. The order of its spatial
loops makes a difference only with spatial skipping. :mod:`sparseloom.mapping.prefixes` lists the mappings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import factorial, prod

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import SPATIAL_SKIPPING
from sparseloom.errors import Fault, MappingError
from sparseloom.mapping.batch import KINDS, BoolArray, Problem
from sparseloom.mapping.chains import chains
from sparseloom.mapping.constraints import FREE, NONE, Constraints, LevelConstraints

IntArray = NDArray[np.int64]


UNLIMITED = 1 << 62
"""Lanes where spatial skipping gives those that are idle other work."""


@dataclass(frozen=True, eq=False)
class Mapspace:
    """The mappings of ``problem`` that ``constraints`` allow, with ``imperfect`` bounds, of all ranks or of some, or perfect
    ones alone.

    Raises MappingError, with what is in the way, where the constraints contradict each other, the design or the workload.
    """

    problem: Problem
    constraints: Constraints = NONE
    imperfect: bool | frozenset[str] = False

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
            for depth in range(len(self.levels))
            for kind in range(len(KINDS))
            if kind == 0 or self._fanout(depth, kind) > 1
        )

    @cached_property
    def chains(self) -> tuple[IntArray, ...]:
        """The bounds [N, places] that each rank's loops may have together."""
        found = []
        for d, rank in enumerate(self.problem.ranks):
            try:
                rows = chains(int(self.problem.shape[d]), self._limits(d), self._cut(rank), self._axes)
            except MappingError as error:
                raise MappingError(
                    [replace(fault, what=f"rank {rank}: {fault.what}") for fault in error.faults]
                ) from None
            for depth, level in enumerate(self.levels):
                spread = [k for k, place in enumerate(self.places) if place // 3 == depth and place % 3]
                least = level.spatial.get(rank, FREE).of(int(self.problem.shape[d]))[0]
                rows = rows[rows[:, spread].prod(axis=1) >= least]
            found.append(rows)
        return tuple(found)

    def _cut(self, rank: str) -> bool:
        """Whether the bounds of a rank may cut iterations short."""
        return self.imperfect if isinstance(self.imperfect, bool) else rank in self.imperfect

    @cached_property
    def keeps(self) -> tuple[BoolArray, ...]:
        """Which tensors are kept where, [S, T]: every way that the constraints allow, most kept first."""
        tables = [np.ones((len(self.levels), len(self.problem.tensors)), np.bool_)]
        for depth, level in enumerate(self.levels):
            for t, name in enumerate(self.problem.tensors):
                if not depth or name in level.keep:
                    continue
                without = [table.copy() for table in tables]
                for table in without:
                    table[depth, t] = False
                tables = without if name in self.bypass(depth) else [*tables, *without]
        return tuple(tables)

    @cached_property
    def stream(self) -> BoolArray:
        """Tensors that pass through a level's storage where it bypasses them, [S, T]."""
        return np.array([[name in level.stream for name in self.problem.tensors] for level in self.levels])

    @cached_property
    def size(self) -> int:
        """How many mappings there are; tiles that do not fit are among them."""
        groups = 2 * len(self.levels)
        states = {(0,) * groups + (1,) * groups: 1}
        for d in range(len(self.problem.ranks)):
            kinds, counts = np.unique(self._kinds(d), axis=0, return_counts=True)
            found: dict[tuple[int, ...], int] = {}
            for state, ways in states.items():
                for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
                    ordered = [a + b for a, b in zip(state[:groups], kind[:groups], strict=True)]
                    lanes = [a * b for a, b in zip(state[groups:], kind[groups:], strict=True)]
                    if all(used <= most for used, most in zip(lanes, self._most_lanes, strict=True)):
                        key = (*ordered, *lanes)
                        found[key] = found.get(key, 0) + ways * count
            states = found
        least, most = self.parallelism
        total = sum(
            ways * prod(map(factorial, state[:groups]))
            for state, ways in states.items()
            if least <= prod(state[groups:]) <= most
        )
        return total * len(self.keeps)

    @property
    def levels(self) -> list[LevelConstraints]:
        """The constraints of each storage level, outermost first."""
        return [self.constraints.of(level.name) for level in self.problem.design.architecture.levels]

    def bypass(self, depth: int) -> frozenset[str]:
        """Tensors that a level must not keep, by its constraints or because it is built for others."""
        holds = self.problem.design.architecture.levels[depth].holds
        others = frozenset(self.problem.tensors) - holds if holds is not None else frozenset()
        return self.levels[depth].bypass | others

    def _fanout(self, depth: int, kind: int) -> int:
        return self.problem.design.architecture.fanout(depth)[kind - 1]

    @cached_property
    def _most_lanes(self) -> list[int]:
        """The most that a level's spatial bounds along X and Y may make, [2 S]. Where spatial skipping gives idle lanes other
        work that follows from the tensors, and is seen when a mapping is evaluated."""
        return [
            self._fanout(depth, kind) if depth not in self.skipping else UNLIMITED
            for depth in range(len(self.levels))
            for kind in (1, 2)
        ]

    @cached_property
    def skipping(self) -> frozenset[int]:
        """Levels with spatial skipping."""
        design = self.problem.design
        return frozenset(
            design.architecture.index(saf.level) for saf in design.features.safs if saf.kind == SPATIAL_SKIPPING
        )

    def most_lanes(self, depth: int) -> tuple[int, int]:
        """The most that a level's spatial bounds along X, and along Y, may make."""
        return self._most_lanes[2 * depth], self._most_lanes[2 * depth + 1]

    @property
    def _counts_units(self) -> bool:
        """Whether it matters how many compute units are in use."""
        return self.constraints.least_parallelism > 0 or self.constraints.most_parallelism < 1

    @property
    def parallelism(self) -> tuple[float, float]:
        units = self.problem.design.architecture.compute.instances
        most = self.constraints.most_parallelism
        return self.constraints.least_parallelism * units, most * units if most < 1 else np.inf

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
            level = self.levels[depth]
            least, most = (level.spatial if kind else level.temporal).get(rank, FREE).of(size)
            if kind:
                barred = level.axes.get(rank, KINDS[kind]) != KINDS[kind]
                least, most = 1, 1 if barred else min(most, self._most_lanes[2 * depth + kind - 1])
            limits.append((least, min(most, size)))
        return limits

    def _kinds(self, d: int) -> IntArray:
        """What of a rank's chains the number of mappings depends on, [N, 4 S]: whether it has a loop whose order is free, temporal
        or spatial, at each level, and the bounds along X and Y."""
        rows, count = self.chains[d], len(self.levels)
        kinds = np.ones((len(rows), 4 * count), np.int64)
        kinds[:, : 2 * count] = 0
        for k, place in enumerate(self.places):
            depth, kind = divmod(place, 3)
            if kind and (self._most_lanes[2 * depth + kind - 1] < UNLIMITED or self._counts_units):
                kinds[:, 2 * count + 2 * depth + kind - 1] = rows[:, k]
            if d in self.free[depth, kind > 0]:
                kinds[:, 2 * depth + (kind > 0)] |= rows[:, k] > 1
        return kinds

    @cached_property
    def looped(self) -> dict[tuple[int, bool], tuple[int, ...]]:
        """By level and whether they are spatial, the ranks that may have a loop of more than one iteration, in their order where
        it is not free: those that constraints pin are the innermost."""
        found = {}
        for depth, level in enumerate(self.levels):
            for spatial in (False, True):
                some = [k for k, place in enumerate(self.places) if place // 3 == depth and (place % 3 > 0) == spatial]
                there = [d for d, rows in enumerate(self.chains) if (rows[:, some] > 1).any()]
                pinned = [self.problem.ranks.index(name) for name in (level.inner_spatial if spatial else level.inner)]
                rest = [d for d in there if d not in pinned]
                found[depth, spatial] = (*rest, *(d for d in pinned if d in there))
        return found

    @cached_property
    def free(self) -> dict[tuple[int, bool], frozenset[int]]:
        """Those of the :attr:`looped` ranks whose loops may stand in any order. That of spatial loops makes a difference only
        where lanes that would be idle take other work."""
        found = {}
        for (depth, spatial), ranks in self.looped.items():
            level = self.levels[depth]
            pinned = level.inner_spatial if spatial else level.inner
            fixed = spatial and depth not in self.skipping
            found[depth, spatial] = frozenset(d for d in ranks if not fixed and self.problem.ranks[d] not in pinned)
        return found


def _unknown(problem: Problem, constraints: Constraints) -> Iterator[Fault]:
    """Levels, ranks and tensors that constraints name and the problem has not."""
    from sparseloom.errors import suggest

    names = problem.design.architecture.names
    for name, level in constraints.levels.items():
        if name not in names:
            yield Fault(f"constraints are given for unknown level {name}", path=name, fix=suggest(name, names))
        for rank in sorted(
            {*level.temporal, *level.spatial, *level.inner, *level.inner_spatial, *level.axes} - set(problem.ranks)
        ):
            yield Fault(
                f"{name}: a constraint is about unknown rank {rank}", path=name, fix=suggest(rank, problem.ranks)
            )
        for tensor in sorted({*level.keep, *level.bypass, *level.stream} - set(problem.tensors)):
            what = f"{name}: a constraint is about unknown tensor {tensor}"
            yield Fault(what, path=name, fix=suggest(tensor, problem.tensors))


def _unkept(space: Mapspace) -> Iterator[Fault]:
    for depth, level in enumerate(space.problem.design.architecture.levels):
        own, bypass = space.levels[depth], space.bypass(depth)
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
        level = space.levels[depth]
        for kind, limits in (("temporal", level.temporal), ("spatial", level.spatial)):
            if rank in limits:
                parts.append(f"{name} {kind} {limits[rank]}")
    bounds = "imperfect" if space._cut(rank) else "perfect"
    what = f"rank {rank}: no {bounds} bounds cover its {size} coordinates within {'; '.join(parts) or 'the fan-outs'}"
    yield Fault(what, path=rank, fix="loosen one of these, change the rank's shape, or allow imperfect bounds")
