"""The tree of ranks that a sparsity rule prunes: an order of ranks, flattened and split, some of which keep G of H."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, PatternError
from sparseloom.fibertree.tile import IntArray, Interval, split_interval

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Part:
    """A digit of the coordinate of tensor rank number ``rank``: ``shape`` values, one every ``stride`` coordinates."""

    rank: int
    shape: int
    stride: int = 1


@dataclass(frozen=True)
class Level:
    """One rank of the tree, flattened from ``parts`` (first the slowest).

    Each of its fibers keeps ``kept`` coordinates, chosen uniformly at random and independently of the other fibers;
    None keeps all.
    """

    parts: tuple[Part, ...]
    kept: int | None = None

    @property
    def shape(self) -> int:
        return math.prod(part.shape for part in self.parts)

    @property
    def prunes(self) -> bool:
        return self.kept is not None and self.kept < self.shape


@dataclass(frozen=True)
class Tree:
    """The points of a tensor as a tree of levels, outermost first.

    Raises PatternError if the parts of a rank do not make up its shape (both numbers are named), or do not run from
    coarse to fine, or if a level keeps more coordinates than it has.
    """

    tensor_shape: tuple[int, ...]
    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        faults = [fault for rank in range(len(self.tensor_shape)) for fault in _rank_faults(self, rank)]
        for level in self.levels:
            if level.kept is not None and not 0 <= level.kept <= level.shape:
                what = f"a fiber of {level.shape} coordinates cannot keep {level.kept}"
                faults.append(Fault(what, fix=f"keep between 0 and {level.shape}"))
        if faults:
            raise PatternError(faults)

    def parts(self, rank: int) -> list[Part]:
        return [part for level in self.levels for part in level.parts if part.rank == rank]

    @property
    def density(self) -> Fraction:
        """Nonzeros / points when every fiber keeps as many as its level says."""
        ruled = [level for level in self.levels if level.kept is not None]
        return math.prod((Fraction(level.kept or 0, level.shape) for level in ruled), start=Fraction(1))

    def unfold(self, tensor: NDArray[Scalar]) -> NDArray[Scalar]:
        """The tensor with one axis for each level."""
        digits = [part.shape for rank in range(len(self.tensor_shape)) for part in self.parts(rank)]
        return tensor.reshape(digits).transpose(self._order()).reshape([level.shape for level in self.levels])

    def fold(self, unfolded: NDArray[Scalar]) -> NDArray[Scalar]:
        """The inverse of :meth:`unfold`."""
        digits = [part.shape for level in self.levels for part in level.parts]
        return unfolded.reshape(digits).transpose(np.argsort(self._order())).reshape(self.tensor_shape)

    def _order(self) -> list[int]:
        """For each part in the order of the levels: its place among the tensor's digits."""
        first, count = [], 0
        for rank in range(len(self.tensor_shape)):
            first.append(count)
            count += len(self.parts(rank))
        seen = [0] * len(self.tensor_shape)
        order = []
        for part in (part for level in self.levels for part in level.parts):
            order.append(first[part.rank] + seen[part.rank])
            seen[part.rank] += 1
        return order

    def simplified(self) -> Tree:
        """The same tree with rules that keep all dropped, levels without a rule merged, and parts rejoined."""
        levels: list[Level] = []
        for level in self.levels:
            parts = tuple(part for part in level.parts if part.shape > 1)
            kept = level.kept if level.prunes else None
            if kept is None and levels and levels[-1].kept is None:
                levels[-1] = Level(_joined(levels[-1].parts + parts))
            elif parts or kept is not None:
                levels.append(Level(parts or level.parts, kept))
        shown = {part.rank for level in levels for part in level.parts}
        missing = tuple(Part(rank, 1) for rank in range(len(self.tensor_shape)) if rank not in shown)
        return replace(self, levels=(Level(missing), *levels) if missing else tuple(levels))


def _joined(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    joined: dict[int, Part] = {}
    for part in parts:
        upper = joined.get(part.rank)
        joined[part.rank] = part if upper is None else Part(part.rank, upper.shape * part.shape, part.stride)
    return tuple(joined.values())


def _rank_faults(tree: Tree, rank: int) -> Iterable[Fault]:
    parts = tree.parts(rank)
    shape = tree.tensor_shape[rank]
    size = math.prod(part.shape for part in parts)
    strides = [math.prod(part.shape for part in parts[i + 1 :]) for i in range(len(parts))]
    if size != shape or not parts:
        yield Fault(f"the parts of rank {rank} have {size} coordinates, the rank has {shape}", fix="make them equal")
    elif strides != [part.stride for part in parts]:
        yield Fault(f"the parts of rank {rank} do not run from coarse to fine", fix="name the highest part first")


Box = dict[int, Interval]


def children(level: Level, box: Box) -> list[tuple[IntArray, Box]]:
    """The coordinates of a level's fiber that a box touches, by kind: how many, and the box inside each."""
    kinds = [split_interval(box[part.rank], part.stride) for part in level.parts]
    found = []
    for choice in product(*kinds):
        count = np.asarray(math.prod((n for n, _ in choice), start=np.asarray(1, dtype=np.int64)))
        inside = {part.rank: interval for part, (_, interval) in zip(level.parts, choice, strict=True)}
        if count.any():
            found.append((count, box | inside))
    return found
