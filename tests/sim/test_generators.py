"""The random cases of the property tests reach what they are meant to test."""

from collections import Counter

from hypothesis import HealthCheck, given, settings
from tests.generators import Case, cases, features_of, with_actual_data

from sparseloom.fibertree.density import ActualData
from sparseloom.mapping.mapping import check

DRAWS = 250
WANTED = (
    "imperfect bound",
    "sliding window",
    "stride or dilation",
    "bypass",
    "multicast",
    "network without multicast",
    "spatial reduction",
    "network without reduction",
    "double-sided",
    "double-sided at two levels",
    "several leaders",
    "feature at an outer level",
    "feature on the output",
    "gating",
    "skipping",
    "compute gating",
    "compute skipping",
    "block of several words",
    "two-rank format",
    "flattened rank",
    "split rank",
    "unaligned tile",
    "4 levels",
    "Uniform",
    "ActualData",
    "Channel",
    "Block",
    "sparse output",
)


def test_random_cases_fit_together_and_reach_every_feature() -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=DRAWS, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(cases())
    def count(case: Case) -> None:
        check(case.mapping, case.workload, case.design.architecture)
        assert case.workload.computes <= 400
        counts.update(features_of(case))

    count()
    rare = {name: counts[name] for name in WANTED if counts[name] * 1000 < 10 * DRAWS}
    assert not rare, f"fewer than 10 of 1,000 draws: {rare}"


@settings(max_examples=30)
@given(cases(densities=("dense", "uniform"), plain=True, max_points=60, max_levels=2))
def test_limits_of_the_draws_hold(case: Case) -> None:
    assert case.workload.computes <= 60
    assert len(case.mapping.levels) <= 2
    assert {type(density).__name__ for density in case.workload.densities.values()} <= {"Uniform"}
    assert not case.design.features.formats
    assert not case.design.features.safs


def test_tensors_as_densities_leave_nothing_random() -> None:
    import numpy as np

    from sparseloom.sim.loopnest import draw_tensors

    @settings(max_examples=20)
    @given(cases())
    def fixed(case: Case) -> None:
        tensors = draw_tensors(case.workload, np.random.default_rng(1))
        again = with_actual_data(case, tensors)
        for name, density in again.workload.densities.items():
            assert isinstance(density, ActualData)
            assert np.array_equal(density.mask, tensors[name] != 0)

    fixed()
