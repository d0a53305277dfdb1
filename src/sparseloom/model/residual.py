"""A nest with imperfect factors as Timeloop walks it (convention ``three-visits``).

Of a temporal loop Timeloop runs the first iteration, the second one, which stands for all but the last, and the last one.
A loop is shorter, and a tile smaller, where every loop of its rank outside it is at its last iteration. One instance of
each level, the first, stands for all; its siblings need the same words, moved by their place. Source: Timeloop's
nest-analysis.cpp, read at ee66b62.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import Problem
from sparseloom.mapping.details import Tiling
from sparseloom.model.dataflow import DenseTraffic
from sparseloom.model.forwarding import Delta, Level, Part, difference, distinct, look_at, moved, served, words
from sparseloom.model.looprank import NestLoop

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Walked:
    """Words that one instance of each level ``reads``, its children ``receive`` from it together and ``forward`` to each
    other, [S, T] each, and the ``computes`` of one compute instance."""

    reads: FloatArray
    receive: FloatArray
    forward: FloatArray
    computes: float


def imperfect(problem: Problem, loops: Sequence[NestLoop]) -> bool:
    """Whether the bounds of some rank make more than its shape."""
    made = np.ones_like(problem.shape)
    for loop in loops:
        made[loop.rank] *= loop.bound
    return bool((made != problem.shape).any())


def as_walked(problem: Problem, loops: Sequence[NestLoop], dense: DenseTraffic, walked: Walked) -> DenseTraffic:
    """``dense`` as the walk sees it: instances as the bounds of spatial loops make them, all of them computing as the first
    one does."""
    instances = np.ones_like(dense.instances)
    for loop in loops:
        if not loop.temporal:
            instances[:, loop.level + 1 :] *= loop.bound
    computes = walked.computes * float(instances[0, -1])
    return replace(dense, instances=instances, computes=computes)


def walk(
    problem: Problem, loops: Sequence[NestLoop], tilings: Sequence[Tiling], last: bool = True, same_stride: bool = True
) -> Walked:
    """Walk the nest ``loops``, innermost first; ``tilings`` has that of each level, with Timeloop's directives.

    Without ``last`` the second iteration stands for the last one too, as in a perfect nest. ``same_stride`` is the
    convention of that name.
    """
    return _Walk(problem, loops, tilings, last, same_stride).run()


@dataclass(frozen=True)
class _Loop:
    rank: int
    bound: int
    step: int


class _Walk:
    """The state of a walk: where it is (``offset``, the first coordinate of each rank), what each level held and how it moved
    last, and what the children of each level received last."""

    def __init__(
        self, problem: Problem, loops: Sequence[NestLoop], tilings: Sequence[Tiling], last: bool, same_stride: bool
    ) -> None:
        self.problem, self.loops, self.tilings, self.last, self.same_stride = problem, loops, tilings, last, same_stride
        self.levels, self.tensors = len(tilings), range(len(problem.tensors))
        self.shape: list[int] = problem.shape.tolist()
        self.indexes: list[list[list[int]]] = problem.projections.tolist()
        self.offset = [0] * len(self.shape)
        self.held: dict[tuple[int, int], tuple[Part, tuple[int, ...] | None]] = {}
        self.received: dict[tuple[int, int], tuple[Delta | None, BoolArray]] = {}
        self.reads, self.receive, self.forward = np.zeros((3, self.levels, len(self.tensors)))
        self.computes = 0.0

    def run(self) -> Walked:
        self._temporal(0, 0, 1.0)
        return Walked(self.reads, self.receive, self.forward, self.computes)

    # ---- the nest

    @cached_property
    def _nest(self) -> tuple[list[list[_Loop]], list[list[_Loop]], list[list[int]]]:
        """Temporal and spatial loops of each level, outermost first, and the coordinates of its tile, [S + 1, D]."""
        temporal: list[list[_Loop]] = [[] for _ in range(self.levels)]
        spatial: list[list[_Loop]] = [[] for _ in range(self.levels)]
        tile = [[1] * len(self.shape) for _ in range(self.levels + 1)]
        steps = [1] * len(self.shape)
        for loop in self.loops:
            if loop.bound > 1:
                (temporal if loop.temporal else spatial)[loop.level].insert(
                    0, _Loop(loop.rank, loop.bound, steps[loop.rank])
                )
                steps[loop.rank] *= loop.bound
                for depth in range(loop.level + 1):
                    tile[depth][loop.rank] *= loop.bound
        return temporal, spatial, tile

    @cached_property
    def _places(self) -> dict[tuple[int, int], Level | None]:
        architecture, projections = self.problem.design.architecture, self.problem.projections
        return {
            (depth, t): look_at(list(self.loops), depth, self.levels, projections[t], architecture.fanout(depth)[0])
            for depth in range(self.levels)
            for t in self.tensors
        }

    def _iterations(self, loop: _Loop) -> int:
        return min(loop.bound, -(-(self.shape[loop.rank] - self.offset[loop.rank]) // loop.step))

    def _visits(self, iterations: int) -> Iterator[tuple[int, int, int]]:
        """Iterations that are run, how many each stands for, and for how many what it brings is counted."""
        yield 0, 1, 1
        if not self.last and iterations > 1:
            yield 1, iterations - 1, iterations - 1
        elif iterations == 2:
            yield 1, 1, 1
        elif iterations > 2:
            yield 1, iterations - 2, iterations - 1
            yield iterations - 1, 1, 0

    def _temporal(self, depth: int, place: int, times: float) -> None:
        """Run the temporal loops of a level from its ``place``-th on, for ``times`` iterations of those around them."""
        loops = self._nest[0][depth]
        if depth == self.levels - 1 and not self._nest[1][depth]:
            self._compute(times * math.prod(self._here(depth)))
        elif not loops:
            self._serve(depth, times, times)
        else:
            loop = loops[place]
            for index, standing, counted in self._visits(self._iterations(loop)):
                self.offset[loop.rank] += index * loop.step
                if place + 1 < len(loops):
                    self._temporal(depth, place + 1, times * standing)
                else:
                    self._serve(depth, times * standing, times * counted)
                self.offset[loop.rank] -= index * loop.step

    # ---- what moves

    def _compute(self, times: float) -> None:
        """A single compute unit takes a word of each tensor at every point."""
        self.computes += times
        self.reads[-1] += times
        self.receive[-1] += times

    def _serve(self, depth: int, times: float, counted: float) -> None:
        """Serve the children of a level: one child ``counted`` times, several ``times`` times."""
        child = depth + 1
        if child < self.levels:
            self._temporal(child, 0, times)
        else:
            self.computes += times
        for t in self.tensors:
            delta = self._delta(child, t)
            level = self._places[depth, t]
            if level is not None:
                self._spread(depth, t, level, delta, times)
            elif delta is not None:
                self.reads[depth, t] += words(delta) * counted
                self.receive[depth, t] += words(delta) * counted

    def _box(self, depth: int, t: int) -> Part:
        here, box = self._here(depth), []
        for row in self.indexes[t]:
            low = sum(factor * at for factor, at in zip(row, self.offset, strict=True) if factor)
            span = sum(factor * (extent - 1) for factor, extent in zip(row, here, strict=True) if factor)
            box.append((low, low + span + 1))
        return tuple(box)

    def _here(self, depth: int) -> list[int]:
        """Coordinates of the tile of a level, [D]."""
        tile = self._nest[2][depth]
        return [min(extent, size - low) for extent, size, low in zip(tile, self.shape, self.offset, strict=True)]

    def _delta(self, depth: int, t: int) -> Delta | None:
        """What the tile lacks: all of it after a move other than the one before."""
        now = self._box(depth, t)
        if depth == self.levels or self.problem.tensors[t] in self.tilings[depth].no_temporal_reuse:
            return now, None
        before, usual = self.held.get((depth, t), (None, None))
        move = _translation(before, now) if before is not None else None
        if self.same_stride and usual is not None and move != usual:
            self.held[depth, t] = now, None
            return now, None
        self.held[depth, t] = now, move
        return difference(now, before)

    def _spread(self, depth: int, t: int, level: Level, delta: Delta | None, times: float) -> None:
        """Serve several children; those that a neighbour can serve are left out if that saves reads."""
        name, tiling = self.problem.tensors[t], self.tilings[depth]
        here = self._existing(depth)
        before, had = self.received.get((depth, t), (None, here))
        self.received[depth, t] = delta, here
        if delta is None:
            return
        network = self.problem.reduction if t == len(self.problem.tensors) - 1 else self.problem.multicast
        shares = bool(network[depth]) and name not in tiling.no_multicast_no_reduction

        def reads(children: BoolArray) -> int:
            return distinct(level.offsets[children]) if shares else int(children.sum())

        left = here
        if before is not None and name not in tiling.no_link_transfer:
            gap = np.array([a[0] - b[0] for a, b in zip(delta[0], before[0], strict=True)], np.int64)
            if moved(before, gap) == delta:
                others = here & ~served(level, gap, had)
                left = others if reads(others) < reads(here) else here
        each = words(delta) * times
        self.reads[depth, t] += reads(left) * each
        self.receive[depth, t] += int(left.sum()) * each
        self.forward[depth, t] += int(here.sum() - left.sum()) * each

    def _existing(self, depth: int) -> BoolArray:
        """Which children of a level there are here, in the order of their numbers."""
        here = np.ones(1, np.bool_)
        for loop in self._nest[1][depth]:
            here = (here[:, None] & (np.arange(loop.bound) < self._iterations(loop))).ravel()
        return here


def _translation(before: Part, now: Part) -> tuple[int, ...]:
    """How far the centre moved, in whole coordinates, halves away from 0."""
    doubled = [sum(b) - sum(a) for a, b in zip(before, now, strict=True)]
    return tuple(int(math.copysign((abs(move) + 1) // 2, move)) for move in doubled)
