"""Step one of an average instance: the dense traffic of one mapping's loop nest.

The meaning of every count is docs/oracle.md, sections 1 and 2. They are sums over the classes that step two judges too. Timeloop
lets a tile keep words of the tile before only where it moves as it moved before (convention ``same-stride``): that is
counted here, for perfect nests, in the products of bounds that it amounts to. Source: Timeloop's nest-analysis.cpp at ee66b62.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import IntArray, MappingBatch, Problem
from sparseloom.model.conventions import Conventions
from sparseloom.model.edge import Edge, Wanted
from sparseloom.model.nests import BOUND, KIND, LEVEL, RANK, STEP, nest_of
from sparseloom.model.path import paths_of
from sparseloom.model.single import SingleMapping

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Dense:
    """Numbers [S, T] of a level and a tensor, totals over all instances.

    ``served``: what the level, as a parent, moves to its children (once a multicast group); ``raised``: what it takes from them
    of the output (once a group, or from every receiver where the network does not reduce); ``delivered``: what reaches the
    level as a child (every receiver); the ``first_`` ones are those at a first dense visit.
    """

    served: FloatArray
    raised: FloatArray
    delivered: FloatArray
    first_served: FloatArray
    first_delivered: FloatArray


@dataclass(frozen=True)
class DenseTraffic:
    """The ``words`` of a nest and the ``accesses`` in which they move, one of a parent for all words of a step, one of a child for
    each transfer; ``tile`` [1, S + 1, D]: nominal coordinates of each rank in a tile of a level (S: compute, 1),
    ``instances`` [1, S + 1]: those used, and ``computes``: points."""

    words: Dense
    accesses: Dense
    tile: IntArray
    instances: FloatArray
    computes: float


def count_dense(problem: Problem, batch: MappingBatch, conventions: Conventions) -> DenseTraffic:
    """Dense traffic of the one mapping of ``batch``; of a nest with imperfect factors, whatever the convention about reuse, that
    of tiles that keep what the tiles before them held."""
    source, nest = SingleMapping.of(problem, batch), nest_of(problem, batch)
    nests, (levels, tensors) = source.nests, batch.keep.shape
    words, accesses = (Dense(*np.zeros((5, levels, tensors))) for _ in range(2))
    by_stride = conventions.reuse == "same-stride" and bool(nests.perfect.all())
    for t in range(tensors):
        for path in paths_of(problem, batch.keep, ())[t]:
            edge, output = path.edge, t == tensors - 1
            for part in _by_stride(problem, nest, edge) if by_stride else _by_class(source, edge, output):
                reduced = part.groups if path.reduces else part.receivers
                _add(words, t, edge, output, part, reduced, part.points, part.points)
                _add(accesses, t, edge, output, part, part.groups, part.points / part.step_points, part.moves)
    return DenseTraffic(words, accesses, nests.tile, nests.instances, float(problem.workload.computes))


@dataclass(frozen=True)
class Part:
    """Of N classes of transfers: groups and receivers, those of either at a first dense visit, the words of a transfer, and all
    that its parent serves at the same step (1 where nothing moves)."""

    groups: FloatArray
    receivers: FloatArray
    first_groups: FloatArray
    first_receivers: FloatArray
    points: FloatArray
    step_points: FloatArray

    @property
    def moves(self) -> FloatArray:
        """1 where a transfer moves words."""
        return (self.points > 0).astype(np.float64)


def _add(
    found: Dense,
    t: int,
    edge: Edge,
    output: bool,
    part: Part,
    raising: FloatArray,
    parent: FloatArray,
    child: FloatArray,
) -> None:
    """Add what each transfer of ``part`` counts for at the ``parent`` and at the ``child``; ``raising``: how many raise words."""
    found.served[edge.parent, t] += float(part.groups @ parent)
    if output:
        found.raised[edge.parent, t] += float(raising @ parent)
        found.first_served[edge.parent, t] += float(part.first_groups @ parent)
    if edge.hold:
        found.delivered[edge.child, t] += float(part.receivers @ child)
    if edge.hold and output:
        found.first_delivered[edge.child, t] += float(part.first_receivers @ child)


def _by_class(source: SingleMapping, edge: Edge, output: bool) -> Iterator[Part]:
    """Transfers as step two sees them: a tile keeps whatever the tile before it held."""
    for rows in source.transfers(edge, Wanted(output=output, steps=True)):
        held = np.prod(rows.overlap[1] - rows.overlap[0], axis=0) if edge.hold else 0
        points = (np.prod(rows.box[1] - rows.box[0], axis=0) - held).astype(np.float64)
        total = rows.step_total(points, True)
        yield Part(
            rows.groups, rows.receivers, rows.first_groups, rows.first_receivers, points,
            np.where(total > 0, total, 1.0),
        )  # fmt: skip


def _by_stride(problem: Problem, nest: IntArray, edge: Edge) -> Iterator[Part]:
    """Transfers of a perfect nest, a class for each loop that advances: a tile keeps what the tile before it held if it moves as
    the innermost loop moves it, and else nothing."""
    projection, indexed = edge.projection, np.asarray(edge.projection.any(axis=0))[nest[RANK]]
    around = [i for i in range(nest.shape[1]) if edge.around(nest, i)]
    outside = np.flatnonzero((nest[KIND] > 0) & (nest[LEVEL] < edge.child))
    tile = np.ones(len(problem.shape), np.int64)
    inside = nest[:, nest[LEVEL] >= edge.child]
    np.multiply.at(tile, inside[RANK], inside[BOUND])
    extents = projection @ (tile - 1) + 1
    parents = float(np.prod(nest[BOUND, outside[nest[LEVEL, outside] < edge.parent]]))
    receivers = float(np.prod(nest[BOUND, outside]))
    groups = receivers * _distinct_share(problem, nest, edge, outside)
    bounds = [int(nest[BOUND, i]) for i in around]
    steps = np.array([1.0, *((bounds[k] - 1.0) * prod(bounds[:k]) for k in range(len(bounds)))])
    firsts = np.array([1.0, *(steps[k + 1] if indexed[around[k]] else 0.0 for k in range(len(bounds)))])
    for k, i in enumerate(around):
        if not indexed[i]:
            firsts[k + 2 :] /= nest[BOUND, i]
    kept = np.zeros(steps.size)
    shifts = [_shift(nest, projection, i, around[k + 1 :]) for k, i in enumerate(around)]
    for k, shift in enumerate(shifts):
        if edge.hold and (shift == shifts[-1]).all():
            kept[k + 1] = np.prod(np.maximum(extents - np.abs(shift), 0))
    words = np.prod(extents) - kept
    together = np.maximum(words * groups / parents, 1.0)
    yield Part(steps * groups, steps * receivers, firsts * groups, firsts * receivers, words, together)


def _shift(nest: IntArray, projection: IntArray, i: int, further_in: list[int]) -> IntArray:
    """How far a tile moves in each tensor rank as loop ``i`` advances and those ``further_in`` return from digit 1, [R]."""
    steps = [nest[STEP, i], *(-nest[STEP, k] for k in further_in)]
    return np.asarray(projection[:, nest[RANK, [i, *further_in]]] @ np.array(steps))


def _distinct_share(problem: Problem, nest: IntArray, edge: Edge, outside: IntArray) -> float:
    """Groups over receivers: receivers between parent and child whose tiles begin at the same corner are one group."""
    between = [i for i in outside.tolist() if edge.between(nest, i)]
    if not edge.merge or not between:
        return 1.0
    whole = edge.projection @ (problem.shape - 1) + 1
    place = np.cumprod([1, *whole[:-1]]) @ edge.projection
    corners = np.zeros(1, np.int64)
    for i in between:
        digits = np.arange(nest[BOUND, i]) * nest[STEP, i] * place[nest[RANK, i]]
        corners = np.unique(np.add.outer(corners, digits))
    return corners.size / prod(int(nest[BOUND, i]) for i in between)
