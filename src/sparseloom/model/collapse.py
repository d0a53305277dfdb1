"""Dense words of each level as Timeloop collapses a nest into them (convention ``per-level``).

Timeloop looks at every level as if it served the next one, whether a tensor is kept there or not. Only then are the
levels that a tensor bypasses taken out: the level outside serves what they served, as often as the words it read were
shared before. Source: Timeloop's tiling.cpp, read at ee66b62 (2022-07-21), and at 4cf6d4c for the rule of first visits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.details import Tiling
from sparseloom.model.conventions import Conventions
from sparseloom.model.dataflow import DenseTraffic, count_dense
from sparseloom.model.forwarding import forwarded, look_at
from sparseloom.model.looprank import NestLoop, points
from sparseloom.model.residual import Walked, as_walked

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """What one instance of each level does for the next level in, one row a level: words it ``reads`` (once for all
    children that share them), words its children ``receive`` from it together, words they ``forward`` to each other,
    and how many ``children`` it has."""

    reads: FloatArray
    receive: FloatArray
    forward: FloatArray
    children: FloatArray


@dataclass(frozen=True)
class Words:
    """Dense words of one instance of a level, by action."""

    read: float
    fill: float
    update: float


def dense_words(
    problem: Problem,
    batch: MappingBatch,
    loops: Sequence[NestLoop],
    tilings: Sequence[Tiling],
    conventions: Conventions,
    walked: Walked | None = None,
) -> dict[tuple[int, int], Words]:
    """Dense words of the one mapping of ``batch``, by level and tensor number, at the levels that keep the tensor.

    ``loops`` is the complete nest, innermost first; ``tilings`` has that of each level, with Timeloop's directives;
    ``walked`` what a walk over the nest found, for nests with imperfect factors.
    """
    everywhere = replace(batch, keep=np.ones_like(batch.keep))
    dense = count_dense(problem, everywhere, conventions)
    if walked is not None:
        dense = as_walked(problem, loops, dense, walked)
    found: dict[tuple[int, int], Words] = {}
    for t in range(len(problem.tensors)):
        served = served_by_level(problem, dense, loops, tilings, t)
        if walked is not None:
            served = replace(
                served, reads=walked.reads[:, t], receive=walked.receive[:, t], forward=walked.forward[:, t]
            )
        sizes = [points(problem.projections[t], np.minimum(extents, problem.shape)) for extents in dense.tile[0, :-1]]
        output = t == len(problem.tensors) - 1
        firsts = _partitions(problem, batch, dense, t, sizes) if output else [0] * len(sizes)
        reread = conventions.first_visit == "read" or not output
        keep = [bool(each) for each in batch.keep[:, t]]
        for depth, words in _collapsed(served, dense.instances[0], keep, output, firsts, reread).items():
            found[depth, t] = words
    return found


def served_by_level(
    problem: Problem, dense: DenseTraffic, loops: Sequence[NestLoop], tilings: Sequence[Tiling], t: int
) -> Served:
    levels, name = len(problem.design.architecture.levels), problem.tensors[t]
    reads, receive, forward, children = np.zeros((4, levels))
    for depth, tiling in enumerate(tilings):
        instances = dense.instances[0, depth]
        arriving = dense.words.delivered[depth + 1, t] if depth + 1 < levels else dense.computes
        served = dense.words.raised if t == len(problem.tensors) - 1 else dense.words.served
        reads[depth], receive[depth] = served[depth, t] / instances, arriving / instances
        children[depth] = dense.instances[0, depth + 1] / instances
        held = depth + 1 == levels or name not in tilings[depth + 1].no_temporal_reuse
        if not held:
            share = reads[depth] / receive[depth]
            receive[depth] = _refetched(loops, depth, problem, dense, t) * children[depth]
            reads[depth] = receive[depth] * share
        if name not in tiling.no_link_transfer:
            width = problem.design.architecture.fanout(depth)[0]
            place = look_at(list(loops), depth, levels, problem.projections[t], width)
            gain = forwarded(place, held) if place is not None else None
            if gain is not None and gain.took:
                forward[depth], receive[depth], reads[depth] = (
                    gain.took,
                    receive[depth] - gain.took,
                    reads[depth] - gain.reads,
                )
        if name in tiling.no_multicast_no_reduction:
            reads[depth] = receive[depth]
    return Served(reads, receive, forward, children)


def _refetched(loops: Sequence[NestLoop], depth: int, problem: Problem, dense: DenseTraffic, t: int) -> float:
    """Words that arrive at a child of a level that holds nothing from one step to the next."""
    steps = math.prod(loop.bound for loop in loops if loop.temporal and loop.level <= depth)
    return float(steps * points(problem.projections[t], dense.tile[0, depth + 1]))


def _partitions(problem: Problem, batch: MappingBatch, dense: DenseTraffic, t: int, sizes: Sequence[int]) -> list[int]:
    """Words of the output that one instance of each level ever sees: each spatial level divides them by what its
    children hold together."""
    found = [sizes[0]]
    for depth in range(1, len(sizes)):
        together = dense.tile[0, depth].copy()
        for rank, bound, place in zip(batch.rank[0], batch.bound[0], batch.place[0], strict=True):
            if place // 3 == depth - 1 and place % 3:
                together[rank] *= bound
        together = np.minimum(together, problem.shape)
        found.append(found[-1] * sizes[depth] // points(problem.projections[t], together))
    return found


def _collapsed(
    served: Served, instances: FloatArray, keep: Sequence[bool], output: bool, firsts: Sequence[int], reread: bool
) -> dict[int, Words]:
    kept = [depth for depth, here in enumerate(keep) if here]
    found = {}
    for outside, depth, inside in zip([None, *kept], kept, [*kept[1:], len(keep)], strict=False):
        reads = served.reads[inside - 1]
        for passed in range(depth, inside - 1):
            reads *= served.children[passed] * served.reads[passed] / served.receive[passed]
        peers = arriving = 0.0
        if outside is not None:
            arriving = served.receive[depth - 1] / served.children[depth - 1]
            if outside == depth - 1:
                peers = served.forward[outside] / instances[depth]
        fill = arriving + peers
        if not reread and outside is not None:
            fill = _rounded(fill - firsts[depth])
        found[depth] = Words(
            _rounded(reads + peers - (firsts[depth] if output else 0)), fill, _rounded(reads) if output else 0.0
        )
    return found


def _rounded(count: float) -> float:
    return float(math.floor(count + 0.5))
