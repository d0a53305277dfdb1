"""The slowest instance at a barrier: exact where tensors are known, near the mean of draws where they are random."""

from dataclasses import replace
from itertools import islice
from statistics import fmean

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import bdtr
from tests.generators import Case, cases, with_actual_data
from tests.model.counts import differences

from sparseloom.arch.design import Design
from sparseloom.arch.features import Features, Saf
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.errors import ArchitectureError
from sparseloom.fibertree.density import Uniform
from sparseloom.fibertree.format import Format
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.model.batch import evaluate_batch
from sparseloom.model.draws import evaluate_draws
from sparseloom.model.evaluate import evaluate
from sparseloom.model.waiting import slowest
from sparseloom.sim.loopnest import draw_tensors, execute
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.workload import Workload


def with_barrier(case: Case, at: int) -> Case:
    architecture = case.design.architecture
    levels = tuple(replace(level, barrier=depth == at) for depth, level in enumerate(architecture.levels))
    return replace(case, design=replace(case.design, architecture=replace(architecture, levels=levels)))


@settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck), deadline=None)
@given(cases(max_points=120, lanes=True), st.integers(0, 2**16), st.integers(0, 3))
def test_known_tensors_wait_as_the_oracle_does(drawn: Case, seed: int, at: int) -> None:
    tensors = draw_tensors(drawn.workload, np.random.default_rng(seed))
    known = with_barrier(with_actual_data(drawn, tensors), at % len(drawn.mapping.levels))
    run = execute(known.workload, known.design, known.mapping, tensors)
    assert differences(evaluate(known.workload, known.design, known.mapping), run) == {}


def array(features: Features, barrier: str, lanes: int) -> Design:
    """Sixteen elements, each with so many lanes."""
    levels = (
        StorageLevel("DRAM"),
        StorageLevel("PE", mesh_x=16, barrier=barrier == "PE"),
        StorageLevel("operands", mesh_x=16),
    )
    return Design(Architecture(levels, ComputeLevel("MAC", mesh_x=16 * lanes)), features)


SHAPE = {"M": 32, "K": 32, "N": 16}
CASES = {
    "an element at a time": (
        Features(
            formats={"operands": {"A": Format.parse("CP(M,K)")}},
            safs=(Saf("operands", "skipping", "B", ("A",)), Saf("operands", "skipping", "Z", ("A",))),
        ),
        LevelMapping("PE", temporal=(Loop("K", 32),), keep=frozenset("ABZ")),
        LevelMapping("operands", temporal=(Loop("N", 16),), keep=frozenset("ABZ")),
        1,
    ),
    "both operands": (
        Features(
            formats={"operands": {"A": Format.parse("CP(M,K)"), "B": Format.parse("CP(K,N)")}},
            safs=(
                Saf("operands", "skipping", "A", ("B",)),
                Saf("operands", "skipping", "B", ("A",)),
                Saf("operands", "skipping", "Z", ("A", "B")),
            ),
        ),
        LevelMapping("PE", temporal=(Loop("K", 32),), keep=frozenset("ABZ")),
        LevelMapping("operands", temporal=(Loop("N", 16),), keep=frozenset("ABZ")),
        1,
    ),
    "packed": (
        Features(safs=(Saf("operands", "position-skipping", "A"), Saf("operands", "position-skipping", "B"))),
        LevelMapping("PE", temporal=(Loop("K", 32),), keep=frozenset("ABZ")),
        LevelMapping("operands", temporal=(Loop("N", 4),), spatial=(Loop("N", 4, "X"),), keep=frozenset("ABZ")),
        4,
    ),
}


@pytest.mark.parametrize("density", [0.1, 0.4, 0.8])
@pytest.mark.parametrize("kind", CASES)
def test_random_tensors_take_the_mean_time_of_draws(kind: str, density: float) -> None:
    features, element, operands, lanes = CASES[kind]
    outside = LevelMapping("DRAM", temporal=(Loop("M", 2),), spatial=(Loop("M", 16, "X"),), keep=frozenset("ABZ"))
    mapping, einsum = Mapping((outside, element, operands)), Einsum.parse("Z[m,n] = A[m,k] * B[k,n]")
    densities = {
        "A": Uniform((32, 32), density),
        "B": Uniform((32, 16), 0.5 if kind != "an element at a time" else 1.0),
    }
    workload, design = Workload(einsum, SHAPE, densities), array(features, "PE", lanes)
    result = evaluate(workload, design, mapping)
    drawn = fmean(each.cycles for each in islice(evaluate_draws(workload, design, mapping, seed=1), 60))
    assert result.cycles == pytest.approx(drawn, rel=0.04)
    free = evaluate(workload, array(features, "", lanes), mapping)
    assert free.cycles < drawn
    problem = Problem(workload, design)
    assert evaluate_batch(problem, MappingBatch.of(problem, [mapping])).cycles[0] == result.cycles


@pytest.mark.parametrize(
    ("instances", "steps", "density"), [(4, 10, 0.2), (64, 100, 0.1), (64, 100, 0.9), (256, 30, 0.5), (16, 40_000, 0.3)]
)
def test_the_slowest_of_binomial_times(instances: int, steps: int, density: float) -> None:
    variance = (1 - density) / density / steps
    found = slowest(np.array([instances]), np.array([density]), np.array([variance]))[0]
    times = np.random.default_rng(3).binomial(steps, density, (5_000, instances)).max(axis=1)
    assert found == pytest.approx(times.mean() / (steps * density), rel=0.01)


def test_the_mean_of_the_largest_follows_from_the_distribution() -> None:
    """Against SciPy's binomial distribution, every number of it, on either side of what counts as continuous."""
    rng = np.random.default_rng(5)
    instances, chance = rng.choice([2, 3, 64, 4096], 80), rng.choice([0.001, 0.1, 0.5, 0.99], 80)
    steps = np.floor(10 ** rng.uniform(0, 5.5, 80))
    found = slowest(instances, chance, (1 - chance) / chance / steps)
    for n, p, m, most in zip(instances.tolist(), chance.tolist(), steps.tolist(), found.tolist(), strict=True):
        m = max((1 - p) / p / ((1 - p) / p / m), 1.0)
        upper = np.arange(min(m, m * p + 12 * np.sqrt(m * p) + 60))
        assert most == pytest.approx((1 - bdtr(upper, int(m + 1e-6), p) ** n).sum() / (m * p), rel=3e-6)


def test_one_barrier_at_most() -> None:
    with pytest.raises(ArchitectureError, match="barriers at A and B"):
        Architecture((StorageLevel("A", barrier=True), StorageLevel("B", barrier=True)), ComputeLevel("MAC"))
