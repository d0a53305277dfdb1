"""The way of a tensor from one level that keeps it to the next, and what one may want to know of the transfers on it.

The meaning of every term is docs/oracle.md, sections 1 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import IntArray
from sparseloom.model.nests import KIND, LEVEL, RANK

BoolArray = NDArray[np.bool_]
Box = tuple[IntArray, IntArray]
"""Low and high corners of N boxes, [R, N] each."""


@dataclass(frozen=True, eq=False)
class Edge:
    """A tensor's way from level ``parent`` to level ``child``; ``levels`` (S) as child means compute. Equal to itself alone.

    ``projection`` [R, D] are the coefficients of the tensor's index; ``merge`` says that receivers with equal tiles form
    a group (multicast, or spatial reduction for the output).
    """

    parent: int
    child: int
    levels: int
    projection: IntArray
    merge: bool

    @property
    def hold(self) -> bool:
        """Whether the child holds a tile from one step to the next; compute does not."""
        return self.child < self.levels

    def indexes(self, d: int) -> bool:
        return bool(self.projection[:, d].any())

    def around(self, nest: IntArray, i: int) -> bool:
        """Whether loop ``i`` is a temporal loop around the child."""
        return bool(nest[KIND, i] == 0 and nest[LEVEL, i] < self.child)

    def between(self, nest: IntArray, i: int) -> bool:
        """Whether loop ``i`` spreads the children of one parent instance."""
        return bool(nest[KIND, i] != 0 and self.parent <= nest[LEVEL, i] < self.child)

    def period_loop(self, nest: IntArray) -> int:
        """The loop called q in the contract: the innermost temporal loop around the child that indexes the tensor.
        All loops for compute, whose periods are single steps; -1 if there is none."""
        if not self.hold:
            return int(nest.shape[1])
        moving = [i for i in range(nest.shape[1]) if self.around(nest, i) and self.indexes(int(nest[RANK, i]))]
        return max(moving, default=-1)

    def free(self, nest: IntArray, d: int) -> list[int]:
        """Loops over rank ``d`` whose digits vary within one transfer: in the tile, in the period, over the group."""
        last = self.period_loop(nest)
        loops = [i for i in range(nest.shape[1]) if nest[RANK, i] == d]
        shared = self.merge and not self.indexes(d)
        return [
            i for i in loops
            if nest[LEVEL, i] >= self.child or (nest[KIND, i] == 0 and i > last) or (shared and self.between(nest, i))
        ]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is wanted of the rows of an edge besides their counts and boxes. Equal to itself alone.

    ``judges``: edges whose spans are needed, in the ranks ``looked_at`` [K][D] (None: all); ``positions`` [D]: ranks whose places
    matter; ``offsets`` [D]: ranks for which it matters how the judges' spans lie to each other; ``watch``: (tensor rank, step)
    pairs whose :meth:`Rows.stays` is asked for; ``splits``: those at which formats cut the tensor; ``steps``: totals over
    steps; ``output``: first dense visits; ``origin``: receivers whose spatial digits are all 0.
    """

    judges: tuple[Edge, ...] = ()
    looked_at: tuple[BoolArray, ...] | None = None
    positions: BoolArray | None = None
    offsets: BoolArray | None = None
    watch: tuple[tuple[int, int], ...] = ()
    splits: tuple[tuple[int, int], ...] = ()
    steps: bool = False
    output: bool = False
    origin: bool = False

    def relevant(self, dims: int) -> BoolArray:
        """Ranks in which a judge's span is needed, [K, D]."""
        if self.looked_at is None:
            return np.ones((len(self.judges), dims), np.bool_)
        return np.array(self.looked_at, np.bool_).reshape(-1, dims)
