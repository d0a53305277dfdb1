"""What the kernels that count classes are told: an edge, and what is wanted of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import BoolArray, IntArray, Problem, of_problem
from sparseloom.model.digits import FIRST, ORIGIN, PLAIN
from sparseloom.model.edge import Edge, Wanted

FloatArray = NDArray[np.float64]

MOST_ROWS = 4096
"""Classes of one mapping on one edge; a mapping with more is irregular."""


class Task(NamedTuple):
    """What the kernels need to know of an edge and of what is wanted. R tensor ranks, D iteration ranks, K judges.

    ``projection`` [R, D], and of its rows and columns: ``indexed`` [D] ranks, ``window`` [R] tensor ranks indexed by several.
    ``judges`` [K, 3 + D]: parent, child, whether it merges, and :func:`_windows`; ``looked`` [K, D]: ranks in which its
    span is wanted. ``watch``, ``splits`` [., 2]: tensor rank and step; ``parts`` [R], ``modulus`` [D]: what residues of
    tensor and iteration coordinates matter to the splits; ``whole`` [R]: coordinates of the tensor's ranks.
    """

    projection: IntArray
    indexed: BoolArray
    window: BoolArray
    parent: int
    child: int
    levels: int
    merge: bool
    judges: IntArray
    looked: BoolArray
    watch: IntArray
    splits: IntArray
    parts: IntArray
    modulus: IntArray
    whole: IntArray
    side: int
    steps: bool
    before: bool

    @property
    def width(self) -> int:
        """Numbers that describe a row."""
        ranks, dims = self.projection.shape
        return int(3 * ranks + len(self.watch) + len(self.judges) * dims + 1)


@of_problem
def task_of(problem: Problem, edge: Edge, wanted: Wanted, before: bool) -> Task:
    shape, projection, dims = problem.shape, edge.projection, edge.projection.shape[1]
    judges = [[j.parent, j.child, j.merge, *_windows(j)] for j in wanted.judges]
    splits = _table(wanted.splits, 2)
    whole = projection @ (shape - 1) + 1
    parts = np.ones_like(whole)
    for r, size in splits:
        parts[r] = np.lcm(parts[r], size) if size < whole[r] else parts[r]
    return Task(
        projection, np.asarray(projection.any(axis=0)), (projection > 0).sum(axis=1) > 1,
        edge.parent, edge.child, edge.levels, edge.merge, _table(judges, 3 + dims), wanted.relevant(dims),
        _table(wanted.watch, 2), splits, parts, np.lcm.reduce(np.where(projection > 0, parts[:, None], 1), axis=0), whole,
        ORIGIN if wanted.origin else FIRST if wanted.output else PLAIN, wanted.steps, before,
    )  # fmt: skip


def _table(rows: object, width: int) -> IntArray:
    return np.array(rows, np.int64).reshape(-1, width)


def _windows(edge: Edge) -> IntArray:
    """For each iteration rank, [D]: 0 if it does not index the tensor, 1 if it does so alone, and else a number above 1 that
    it shares with those whose sum is an index."""
    found = np.asarray(edge.projection.any(axis=0), np.int64)
    for r, row in enumerate(edge.projection > 0):
        if row.sum() > 1:
            found[row] = r + 2
    return found
