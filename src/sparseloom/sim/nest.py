"""The loop nest laid out: every instance and every step of every level, and the iteration points below each of them.

Section 1 of docs/oracle.md. Levels are numbered from 0, the outermost storage, to S, the compute units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.mapping import Loop, Mapping
from sparseloom.workload.einsum import TensorAccess
from sparseloom.workload.workload import Workload

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Box = tuple[tuple[int, int], ...]
"""A range of coordinates (low, high), half open, for each rank."""


@dataclass(frozen=True)
class PlacedLoop:
    """A loop with its place: it stands at ``level`` and advances its rank's coordinate by ``step``."""

    loop: Loop
    level: int
    step: int

    @property
    def temporal(self) -> bool:
        return not self.loop.axis


@dataclass(frozen=True)
class View:
    """What a level sees of the nest.

    ``low`` and ``high`` are ``[instances, steps, ranks]``: the smallest existing coordinate of every iteration rank at
    an instance and a step, and one more than the largest. ``active`` is ``[instances, steps]``: whether a point exists
    there.
    """

    low: IntArray
    high: IntArray
    active: BoolArray

    @property
    def instances(self) -> int:
        return len(self.active)

    @property
    def steps(self) -> int:
        return int(self.active.shape[1])

    def points(self, instance: int, step: int) -> Box:
        """The iteration points below an active instance at a step, a range for each rank."""
        low, high = self.low[instance, step].tolist(), self.high[instance, step].tolist()
        return tuple(zip(low, high, strict=True))

    def hull(self, instances: Iterable[int], steps: slice) -> Box:
        """The smallest ranges that hold all existing points of several instances over several steps."""
        rows = list(instances)
        active = self.active[rows, steps]
        low, high = self.low[rows, steps][active].min(axis=0), self.high[rows, steps][active].max(axis=0)
        return tuple(zip(low.tolist(), high.tolist(), strict=True))


@dataclass(frozen=True)
class Nest:
    """A mapping laid out. ``views[l]`` belongs to level l, the last one to the compute units."""

    ranks: tuple[str, ...]
    loops: tuple[PlacedLoop, ...]
    views: tuple[View, ...]

    @property
    def compute(self) -> int:
        """The number of the compute level."""
        return len(self.views) - 1

    def computes(self) -> Iterator[tuple[int, int]]:
        """Every compute instance and step at which there is a point."""
        return ((int(instance), int(step)) for instance, step in np.argwhere(self.views[-1].active))

    def digits(self, instance: int, step: int) -> tuple[int, ...]:
        """The digits of all loops, in their order, at a compute instance and step."""
        rest = {True: step, False: instance}
        found = []
        for placed in reversed(self.loops):
            rest[placed.temporal], digit = divmod(rest[placed.temporal], placed.loop.bound)
            found.append(digit)
        return tuple(reversed(found))

    def descendants(self, outer: int, inner: int) -> int:
        """Instances of level ``inner`` in one instance of level ``outer``; they are numbered one after the other."""
        return self.views[inner].instances // self.views[outer].instances

    def substeps(self, outer: int, inner: int) -> int:
        """Steps of level ``inner`` in one step of level ``outer``; they are numbered one after the other."""
        return self.views[inner].steps // self.views[outer].steps

    def project(self, points: Box, access: TensorAccess) -> Box:
        """A tensor's box over ``points``: from the smallest to the largest coordinate of each rank, holes included."""
        at = dict(zip(self.ranks, points, strict=True))
        return tuple(
            (
                sum(term.coefficient * at[term.rank][0] for term in index.terms),
                sum(term.coefficient * (at[term.rank][1] - 1) for term in index.terms) + 1,
            )
            for index in access.projections
        )


def lay_out(mapping: Mapping, workload: Workload) -> Nest:
    """Number all instances and steps of a mapping that passed :func:`sparseloom.mapping.mapping.check`."""
    loops = _place(mapping)
    shape = np.array([workload.shape[rank] for rank in workload.ranks], dtype=np.int64)
    views = tuple(_view(loops, level, workload.ranks, shape) for level in range(len(mapping.levels) + 1))
    return Nest(workload.ranks, loops, views)


def _place(mapping: Mapping) -> tuple[PlacedLoop, ...]:
    """All loops, outermost first; a loop's step is the product of the bounds of its rank's loops inside it."""
    placed: list[PlacedLoop] = []
    inside: dict[str, int] = {}
    for level in reversed(range(len(mapping.levels))):
        here = mapping.levels[level]
        for loop in reversed((*here.temporal, *here.spatial)):
            placed.append(PlacedLoop(loop, level, inside.get(loop.rank, 1)))
            inside[loop.rank] = placed[-1].step * loop.bound
    return tuple(reversed(placed))


def _view(loops: tuple[PlacedLoop, ...], level: int, ranks: tuple[str, ...], shape: IntArray) -> View:
    outside = [loop for loop in loops if loop.level < level]
    inside = [loop.loop for loop in loops if loop.level >= level]
    by_instance = _starts([loop for loop in outside if not loop.temporal], ranks)
    by_step = _starts([loop for loop in outside if loop.temporal], ranks)
    low = by_instance[:, None, :] + by_step[None, :, :]
    span = np.array([prod(loop.bound for loop in inside if loop.rank == rank) for rank in ranks], dtype=np.int64)
    return View(low, np.minimum(low + span, shape), np.all(low < shape, axis=-1))


def _starts(loops: list[PlacedLoop], ranks: tuple[str, ...]) -> IntArray:
    """``[choices of digits, ranks]``: the coordinates at which each choice of digits starts, as the nest runs."""
    choices = list(product(*(range(loop.loop.bound) for loop in loops)))
    starts = np.zeros((len(choices), len(ranks)), dtype=np.int64)
    for row, digits in zip(starts, choices, strict=True):
        for digit, loop in zip(digits, loops, strict=True):
            row[ranks.index(loop.loop.rank)] += digit * loop.step
    return starts
