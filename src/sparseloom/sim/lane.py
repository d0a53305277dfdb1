"""Where each compute takes place when lanes that would be idle take other work.

Section 10 of docs/oracle.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping as Table
from dataclasses import dataclass
from functools import cached_property
from math import prod

from sparseloom.sim.nest import BoolArray, Nest
from sparseloom.sim.packing import Compute, Packing

Place = tuple[int, ...]
"""Digits of spatial loops that name a physical instance."""


@dataclass(frozen=True)
class Lanes:
    """The physical lanes of a run: ``packings`` are those of position skipping, ``thinned`` the levels with spatial skipping.

    ``needed[compute instance, step]`` says whether a compute takes a cycle there, or some tensor has a word.
    """

    nest: Nest
    packings: tuple[Packing, ...]
    thinned: frozenset[int]
    needed: BoolArray

    def place(self, compute: Compute, level: int) -> Place | None:
        """The physical instance of ``level`` in which a compute lies, None without one."""
        if any(p.level < level and compute not in p.numbers for p in self.packings):
            return None
        digits = list(self.nest.digits(*compute))
        packed = {place: digit for p in self.packings if p.level < level for place, digit in p.lane(compute).items()}
        found = []
        for at, placed in enumerate(self.nest.loops):
            if placed.temporal or placed.level >= level:
                continue
            if at in self._thinned:
                needed = sorted(self._needed.get((at, self._around(at, digits)), ()))
                if digits[at] not in needed:
                    return None
                found.append(packed.get(at, needed.index(digits[at])))
            else:
                found.append(packed.get(at, digits[at]))
        return tuple(found)

    def used(self, level: int) -> int:
        """Physical instances of a level in which anything happens at any step; one at least."""
        places = {self.place(compute, level) for compute in self.nest.computes()} - {None}
        return max(1, len(places))

    def longest(self, computes: Iterable[Compute], barrier: int) -> int:
        """The most of some ``computes`` that one compute instance has within a step of the level ``barrier``, over all steps."""
        substeps = self.nest.substeps(barrier, self.nest.compute)
        steps = Counter((compute[1] // substeps, self.place(compute, self.nest.compute)) for compute in computes)
        most: dict[int, int] = {}
        for (step, _), count in steps.items():
            most[step] = max(most.get(step, 0), count)
        return sum(most.values())

    def shares(self, level: int) -> tuple[float, float]:
        """The share of a level's logical lanes along X and along Y that it needs at once."""
        most: dict[int, int] = {}
        for (at, _), needed in self._needed.items():
            most[at] = max(most.get(at, 1), len(needed))
        thinned = [(at, p.loop) for at, p in enumerate(self.nest.loops) if p.level == level and level in self.thinned]
        x, y = (prod(most.get(at, 1) / loop.bound for at, loop in thinned if loop.axis == axis) for axis in "XY")
        return x, y

    @cached_property
    def _thinned(self) -> tuple[int, ...]:
        """The loops, by their places in the nest, that spread the children of the thinned levels."""
        loops = enumerate(self.nest.loops)
        return tuple(at for at, p in loops if p.level in self.thinned and not p.temporal and p.loop.bound > 1)

    @cached_property
    def _needed(self) -> Table[tuple[int, Place], set[int]]:
        """For every spatial loop of the thinned levels, and for all digits around it, the digits under which a lane is needed."""
        found: dict[tuple[int, Place], set[int]] = {}
        for compute in self.nest.computes():
            if self.needed[compute]:
                digits = self.nest.digits(*compute)
                for at in self._thinned:
                    found.setdefault((at, self._around(at, digits)), set()).add(digits[at])
        return found

    def _around(self, at: int, digits: tuple[int, ...] | list[int]) -> Place:
        """The digits of the loops outside one: a lane's step and the lanes around it."""
        return tuple(digits[:at])
