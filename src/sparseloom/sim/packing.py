"""Position skipping: the nonzeros of a tensor's tile take the lanes of a level one after the other, in passes.

Section 10 of docs/oracle.md.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass
from math import prod

from sparseloom.arch.features import POSITION_SKIPPING
from sparseloom.sim.judge import Feature
from sparseloom.sim.nest import BoolArray, Nest
from sparseloom.workload.einsum import TensorAccess
from sparseloom.workload.workload import Workload

Word = tuple[int, ...]
"""The coordinates of a word of a tensor."""
Compute = tuple[int, int]
"""A compute instance and step at which there is a point."""


@dataclass(frozen=True)
class Packing:
    """The nonzeros of a tensor's tiles at ``level`` in that level's lanes.

    ``loops`` are the spatial loops, by their places in the nest, whose digits make the lane. ``numbers`` holds for every
    compute the number of its word among the nonzeros of its tile, in the order of coordinates; computes of zeros are not in it.
    """

    access: TensorAccess
    level: int
    loops: tuple[int, ...]
    bounds: tuple[int, ...]
    numbers: Table[Compute, int]

    @property
    def lanes(self) -> int:
        return prod(self.bounds)

    def turn(self, compute: Compute) -> int:
        """The pass in which a compute takes place."""
        return self.numbers[compute] // self.lanes

    def lane(self, compute: Compute) -> dict[int, int]:
        """The digit of each of ``loops`` at the lane that a compute takes."""
        rest = self.numbers[compute] % self.lanes
        digits = {}
        for place, bound in zip(reversed(self.loops), reversed(self.bounds), strict=True):
            rest, digits[place] = divmod(rest, bound)
        return digits


def packings(
    nest: Nest, workload: Workload, features: tuple[Feature, ...], masks: Table[str, BoolArray]
) -> tuple[Packing, ...]:
    """One for each tensor and level of position skipping; a loop that indexes several of a level's belongs to the first."""
    taken: set[int] = set()
    wanted = dict.fromkeys((f.target, f.level) for f in features if f.kind == POSITION_SKIPPING)
    found = []
    for tensor, level in wanted:
        access = workload.tensor(tensor)
        loops = tuple(
            place
            for place, placed in enumerate(nest.loops)
            if placed.level == level
            and not placed.temporal
            and placed.loop.rank in access.iteration_ranks
            and place not in taken
        )
        taken.update(loops)
        bounds = tuple(nest.loops[place].loop.bound for place in loops)
        found.append(Packing(access, level, loops, bounds, _numbers(nest, access, level, masks[tensor])))
    return tuple(found)


def tile_of(nest: Nest, level: int, compute: Compute) -> tuple[int, int]:
    """The instance and step of ``level`` in which a compute lies."""
    instance, step = compute
    return instance // nest.descendants(level, nest.compute), step // nest.substeps(level, nest.compute)


def word_of(nest: Nest, access: TensorAccess, compute: Compute) -> Word:
    """The coordinates of the tensor's word that a compute uses."""
    return tuple(low for low, _ in nest.project(nest.views[-1].points(*compute), access))


def _numbers(nest: Nest, access: TensorAccess, level: int, mask: BoolArray) -> dict[Compute, int]:
    words = {compute: word_of(nest, access, compute) for compute in nest.computes()}
    present = {compute: word for compute, word in words.items() if mask[word]}
    tiles: dict[tuple[int, int], set[Word]] = {}
    for compute, word in present.items():
        tiles.setdefault(tile_of(nest, level, compute), set()).add(word)
    order = {tile: {word: number for number, word in enumerate(sorted(some))} for tile, some in tiles.items()}
    return {compute: order[tile_of(nest, level, compute)][word] for compute, word in present.items()}
