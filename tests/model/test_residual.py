"""The walk over a nest as Timeloop takes it: with perfect factors it finds what the closed form counts."""

from math import prod

import numpy as np
import pytest
from tests.sim.toys import workload

from sparseloom.arch.design import Design
from sparseloom.arch.features import Features
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.details import Tiling
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.model.collapse import served_by_level
from sparseloom.model.conventions import MICRO22
from sparseloom.model.dataflow import count_dense
from sparseloom.model.looprank import NestLoop
from sparseloom.model.residual import imperfect, walk
from sparseloom.workload.einsum import Einsum

EINSUMS = (
    "O[m,p] = I[p+r] * W[m,r]",
    "O[m,p] = I[2*p+r] * W[m,r]",
    "Z[m,n] = A[m,k] * B[k,n]",
    "O[p,q] = I[p+r,q+s] * W[r,s]",
)


def _levels(rng: np.random.Generator, ranks: list[str], names: list[str]) -> list[LevelMapping]:
    """Two or three levels with loops over some of the ranks each, those along X inside those along Y."""
    found = []
    for depth in range(rng.integers(2, 4)):
        temporal = [Loop(rank, int(rng.integers(2, 5))) for rank in rng.permutation(ranks) if rng.random() < 0.5]
        spatial = [
            Loop(rank, int(rng.integers(2, 4)), str(rng.choice(["X", "Y"]))) for rank in ranks if rng.random() < 0.25
        ]
        spatial.sort(key=lambda loop: loop.axis, reverse=True)
        found.append(LevelMapping(f"L{depth}", tuple(temporal), tuple(spatial), frozenset(names)))
    return found


def _problem(einsum: str, levels: list[LevelMapping]) -> Problem:
    shape = {rank: prod(Mapping(tuple(levels)).bounds(rank)) for rank in Einsum.parse(einsum).ranks}
    storages, x, y = [], 1, 1
    for level in levels:
        storages.append(StorageLevel(level.level, mesh_x=x, mesh_y=y))
        x *= prod(loop.bound for loop in level.spatial if loop.axis == "X")
        y *= prod(loop.bound for loop in level.spatial if loop.axis == "Y")
    compute = ComputeLevel("MAC", mesh_x=x, mesh_y=y)
    return Problem(workload(einsum, **shape), Design(Architecture(tuple(storages), compute), Features()))


@pytest.mark.parametrize("seed", range(40))
def test_the_walk_over_a_perfect_nest_finds_what_the_closed_form_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    einsum = EINSUMS[seed % len(EINSUMS)]
    names = [tensor.name for tensor in Einsum.parse(einsum).tensors]
    levels = _levels(rng, list(Einsum.parse(einsum).ranks), names)
    problem = _problem(einsum, levels)
    number = {rank: d for d, rank in enumerate(problem.ranks)}
    loops = [
        NestLoop(number[loop.rank], loop.bound, depth, loop.axis)
        for depth, level in enumerate(levels)
        for loop in (*level.temporal, *level.spatial)
    ][::-1]
    alone, forgetful = (frozenset(name for name in names if rng.random() < 0.25) for _ in range(2))
    tilings = [Tiling((), (), no_link_transfer=alone, no_temporal_reuse=forgetful)] * len(levels)
    dense = count_dense(problem, MappingBatch.of(problem, [Mapping(tuple(levels))]), MICRO22)
    walked = walk(problem, loops, tilings, last=False)
    assert not imperfect(problem, loops)
    assert walked.computes * dense.instances[0, -1] == dense.computes
    for t in range(len(names)):
        served = served_by_level(problem, dense, loops, tilings, t)
        for field in ("reads", "receive", "forward"):
            assert getattr(walked, field)[:, t] == pytest.approx(getattr(served, field)), (names[t], field)
