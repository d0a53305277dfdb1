"""With statistics instead of tensors the model's counts are the means of the oracle's over random draws.

A sample mean must lie within a 99.9 % interval around the model's count, by Student's t with the sample's standard
error, corrected for the number of counts that a case compares (Bonferroni). A count that no draw changes must be met
exactly.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from numpy.typing import NDArray
from scipy import stats
from tests.generators import Case, cases
from tests.model.counts import (
    Counts,
    counted_by_model,
    counted_by_oracle,
    energy_by_model,
    energy_by_oracle,
    held_by_model,
    held_by_oracle,
)
from tests.model.machines import case
from tests.sim.toys import level, workload

from sparseloom.fibertree.density import Density, FixedStructured, Uniform
from sparseloom.fibertree.pattern import Pattern
from sparseloom.fibertree.structured import Block, Channel
from sparseloom.model.evaluate import evaluate
from sparseloom.model.occupancy import joint_nonempty
from sparseloom.results import Result
from sparseloom.sim.loopnest import Execution, draw_tensors, execute
from sparseloom.workload.workload import Workload

CONFIDENCE = 0.999


def sparse(plain: Workload, **densities: Density) -> Workload:
    return Workload(plain.einsum, plain.shape, densities)


MATMUL = workload("Z[m,n] = A[m,k] * B[k,n]", M=4, K=4, N=2)
THREE_OPERANDS = "Z[i,r] = T[i,j,k] * B[j,r] * C[k,r]"
THREE = workload(THREE_OPERANDS, I=2, J=3, K=3, R=2)
CONV = workload("O[p] = I[p+r] * W[r]", P=4, R=3)
ROWS = workload("Z[m] = A[m,k]", M=4, K=4)
PRODUCT = workload("Z[m] = A[m,k] * B[k]", M=2, K=8)


def column_of_a_leader() -> Case:
    return case(
        sparse(MATMUL, A=Uniform((4, 4), 0.25), B=Uniform((4, 2), 0.5)),
        [level("L0", "ABZ", "n2 k4 m4"), level("L1", "B")],
        ["0 skipping B A"],
        {"L0": {"A": "UOP(M)-CP(K)", "B": "B(K,N)"}, "L1": {"B": "CP(K,N)"}},
        compute_gating=True,
    )


def features_on_one_path_with_different_leaders() -> Case:
    return case(
        sparse(THREE, T=Uniform((2, 3, 3), 0.2), B=Uniform((3, 2), 0.5), C=Uniform((3, 2), 0.4)),
        [level("L0", "TBCZ", "j3 r2"), level("L1", "BC", "k3 i2")],
        ["0 skipping B T", "1 gating B C", "1 skipping Z T C"],
        {"L0": {"B": "CP(J,R)"}, "L1": {"B": "B(J,R)", "C": "RLE(K,R)"}},
    )


def double_sided_at_two_levels() -> Case:
    return case(
        sparse(MATMUL, A=Uniform((4, 4), 0.25), B=Uniform((4, 2), 0.4)),
        [level("L0", "ABZ", "k2 n2 m2"), level("L1", "AB", "m2 k2")],
        ["0 skipping A B", "0 skipping B A", "1 gating A B", "1 gating B A"],
        {"L0": {"A": "B(M)-B(K)"}, "L1": {"A": "CP(M,K)", "B": "CP(K,N)"}},
    )


def rows_and_columns_of_a_leader() -> Case:
    """B[j] is read for all k, C[k] for all j: a compute's leader tiles are a row and a column of T, which overlap."""
    return case(
        sparse(THREE, T=Uniform((2, 3, 3), 0.12), B=Uniform((3, 2), 0.7)),
        [level("L0", "TBCZ", "r2 i2", "j3 k3")],
        ["0 skipping B T", "0 skipping C T"],
    )


def shifted_tiles_of_a_leader() -> Case:
    """C is read for two i that are two apart, B for two neighbours: [0, 3) or [1, 4), and [0, 2) or [2, 4) of T's first
    rank. How the two lie to each other differs from compute to compute."""
    return case(
        sparse(workload(THREE_OPERANDS, I=4, J=2, K=2, R=1), T=Uniform((4, 2, 2), 0.15), C=Uniform((2, 1), 0.5)),
        [level("L0", "TBCZ", "j2", "i2"), level("L1", "B", "k2 i2"), level("L2", "B")],
        ["1 skipping B T", "0 skipping C T", "0 gating B C"],
        compute_gating=True,
    )


def windows_of_several_receivers() -> Case:
    return case(
        sparse(CONV, I=Uniform((6,), 0.4), W=Uniform((3,), 0.4)),
        [level("L0", "IWO", "p2", "p2 r3"), level("L1", "I")],
        ["0 skipping I W", "0 gating W I"],
        {"L0": {"I": "RLE(PR)", "W": "CP(R)"}},
    )


def unaligned_tiles_of_two_of_four() -> Case:
    pattern = Pattern.parse("M->K1->K0(2:4)")
    return case(
        sparse(PRODUCT, A=pattern.density_model(("M", "K"), (2, 8)), B=Uniform((8,), 0.5)),
        [level("L0", "ABZ", "m2 k3"), level("L1", "AB", "k3")],
        ["0 skipping B A", "1 skipping B A", "0 gating A B"],
        {"L0": {"A": "UOP(M)-B(K)"}, "L1": {"A": "CP(M,K)"}},
    )


def pruned_channels() -> Case:
    return case(
        sparse(MATMUL, A=Channel((4, 4), 1, 0.5), B=Uniform((4, 2), 0.5), Z=Uniform((4, 2), 0.5)),
        [level("L0", "ABZ", "m2 k4 n2"), level("L1", "ABZ", "m2")],
        ["0 skipping B A", "1 gating Z A"],
        {"L0": {"Z": "CP(M,N)", "A": "B(K)-B(M)"}, "L1": {"Z": "B(M,N)"}},
    )


def blocks_of_two_by_two() -> Case:
    return case(
        sparse(MATMUL, A=Block((4, 4), (0, 1), (2, 2), 0.5), B=Block((4, 2), (0,), (2,), 0.5)),
        [level("L0", "ABZ", "m4 n2 k2"), level("L1", "AB", "k2")],
        ["0 skipping B A", "1 gating A B"],
        {"L0": {"A": "CP(M,K)", "B": "UB(K)-CP(N)"}},
        compute_skipping=True,
    )


def tensor_that_leads_itself() -> Case:
    return case(
        sparse(ROWS, A=Uniform((4, 4), 0.2)),
        [level("L0", "AZ", "m4 k2"), level("L1", "A", "k2")],
        ["0 skipping A A", "1 gating A A", "0 skipping Z A"],
        {"L0": {"A": "UOP(M)-B(K)"}, "L1": {"A": "CP(M,K)"}},
    )


def lanes_that_two_of_four_leave() -> Case:
    """Each row of A has two nonzeros in four: half of the eight lanes."""
    pattern = Pattern.parse("M->K1->K0(2:4)")
    return case(
        sparse(PRODUCT, A=pattern.density_model(("M", "K"), (2, 8)), B=Uniform((8,), 0.5)),
        [level("L0", "ABZ", "m2", "k8")],
        ["0 spatial-skipping B A", "0 spatial-skipping Z A"],
        {"L0": {"A": "UOP(M)-CP(K)"}},
        compute_gating=True,
    )


def receivers_that_idle() -> Case:
    return case(
        sparse(MATMUL, A=Uniform((4, 4), 0.3), B=Uniform((4, 2), 0.5)),
        [level("L0", "ABZ", "k2", "m4"), level("L1", "BZ", "n2 k2")],
        ["0 spatial-skipping B A", "1 gating B A"],
        {"L0": {"A": "B(M)-B(K)", "B": "CP(K,N)"}, "L1": {"B": "CP(K,N)"}},
        compute_gating=True,
    )


def outer_products_of_packed_tensors() -> Case:
    return case(
        sparse(workload("Z[m,n] = A[m,k] * B[k,n]", M=6, K=4, N=4), A=Uniform((6, 4), 0.5), B=Uniform((4, 4), 0.5)),
        [level("L0", "ABZ", "k4"), level("L1", "ABZ", "m3 n2", "m2 n2")],
        ["1 position-skipping A", "1 position-skipping B", "1 skipping Z A B"],
        {"L0": {"A": "CP(M,K)", "B": "CP(K,N)"}, "L1": {"A": "B(K,M)", "B": "CP(K,N)"}},
    )


def tensors_that_pass_through() -> Case:
    outer, middle, inner = level("L0", "ABZ", "k2"), level("L1", "A", "m2", "m2"), level("L2", "BZ", "k2 n2")
    return case(
        sparse(MATMUL, A=Uniform((4, 4), 0.3), B=Uniform((4, 2), 0.5)),
        [outer, replace(middle, stream=frozenset("BZ")), inner],
        ["0 skipping B A", "0 skipping Z A"],
        {"L0": {"B": "CP(K,N)"}, "L2": {"B": "B(K,N)"}},
    )


FIXED = (
    column_of_a_leader,
    features_on_one_path_with_different_leaders,
    double_sided_at_two_levels,
    rows_and_columns_of_a_leader,
    shifted_tiles_of_a_leader,
    windows_of_several_receivers,
    unaligned_tiles_of_two_of_four,
    pruned_channels,
    blocks_of_two_by_two,
    tensor_that_leads_itself,
    lanes_that_two_of_four_leave,
    receivers_that_idle,
    outer_products_of_packed_tensors,
    tensors_that_pass_through,
)


@dataclass(frozen=True)
class Sample:
    """Values [draws, names] of the oracle, and the model's; the busiest compute instance's cycles of each draw."""

    names: tuple[str, ...]
    drawn: NDArray[np.float64]
    said: NDArray[np.float64]
    busiest: NDArray[np.float64]

    @property
    def reach(self) -> NDArray[np.float64]:
        """How far a sample mean may lie from the true one."""
        count = len(self.drawn)
        quantile = stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / len(self.names), count - 1)
        return np.asarray(quantile * self.drawn.std(axis=0, ddof=1) / math.sqrt(count) + 1e-9 * (1 + abs(self.said)))

    def misses(self) -> dict[str, tuple[float, float, float]]:
        """What the model says, the sample mean and how far it may be off, where it is further off."""
        mean = self.drawn.mean(axis=0)
        off = np.flatnonzero(abs(mean - self.said) > self.reach)
        return {self.names[i]: (float(self.said[i]), float(mean[i]), float(self.reach[i])) for i in off}


def sampled(
    case_of: Case, draws: int, by_model: Callable[[Result], Counts], by_oracle: Callable[[Execution], Counts]
) -> Sample:
    """The model's values and those of ``draws`` runs. No run may hold more than the model's worst case."""
    layer, design, mapping = case_of.workload, case_of.design, case_of.mapping
    result = evaluate(layer, design, mapping)
    said, worst, rng = by_model(result), held_by_model(result), np.random.default_rng(7)
    drawn, busiest = [], []
    for _ in range(draws):
        run = execute(layer, design, mapping, draw_tensors(layer, rng))
        assert all(held <= worst[name] for name, held in held_by_oracle(run).items())
        found = by_oracle(run)
        drawn.append([found.get(name, 0.0) for name in said])
        busiest.append(run.compute_cycles_busiest)
        assert not {name for name, value in found.items() if value and name not in said}
    return Sample(tuple(said), np.array(drawn, dtype=np.float64), np.array(list(said.values())), np.array(busiest))


@pytest.mark.parametrize("build", FIXED, ids=lambda build: build.__name__)
def test_mean_counts_and_energies_of_random_tensors_are_the_models(build: Callable[[], Case]) -> None:
    def both(result: Result) -> Counts:
        return counted_by_model(result) | {f"pJ {name}": pj for name, pj in energy_by_model(result).items()}

    def all_of(run: Execution) -> Counts:
        return counted_by_oracle(run) | {f"pJ {name}": pj for name, pj in energy_by_oracle(run).items()}

    sample = sampled(build(), 100, both, all_of)
    assert sample.misses() == {}
    assert (sample.drawn.std(axis=0) > 0).any()


@settings(
    max_examples=10,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(cases(densities=("uniform", "structured"), max_points=16, max_levels=3))
def test_mean_counts_of_generated_cases_are_the_models(drawn: Case) -> None:
    # fixed-structured tensors obey their model for runs of the flattened tensor only
    models = {
        name: Uniform(model.tensor_shape, model.density) if isinstance(model, FixedStructured) else model
        for name, model in drawn.workload.densities.items()
    }
    drawn = replace(drawn, workload=replace(drawn.workload, densities=models))
    assert sampled(drawn, 60, counted_by_model, counted_by_oracle).misses() == {}


def test_busiest_instance_is_the_one_that_expects_most() -> None:
    """Of four units that take a row each, one turns out to have more than it expects."""
    layer = sparse(ROWS, A=Uniform((4, 4), 0.5))
    spread = case(layer, [level("L0", "AZ", "k4", "m4")], ["0 skipping A A"])
    result = evaluate(spread.workload, spread.design, spread.mapping)
    sample = sampled(spread, 50, counted_by_model, counted_by_oracle)
    assert result.compute.cycles_busiest == pytest.approx(2)
    assert result.compute.cycles_busiest == pytest.approx(result.compute.cycles_mean)
    assert sample.busiest.mean() > 2
    assert (sample.busiest >= 2).all()


@pytest.mark.parametrize("build", [lanes_that_two_of_four_leave, outer_products_of_packed_tensors])
def test_the_first_lane_is_as_busy_as_the_model_says_on_average(build: Callable[[], Case]) -> None:
    packed = build()
    result = evaluate(packed.workload, packed.design, packed.mapping)
    busiest = sampled(packed, 200, counted_by_model, counted_by_oracle).busiest
    reach = stats.t.ppf(1 - (1 - CONFIDENCE) / 2, len(busiest) - 1) * busiest.std(ddof=1) / math.sqrt(len(busiest))
    assert abs(busiest.mean() - result.compute.cycles_busiest) <= reach + 1e-9


# ---------------------------------------------------------------------------------------------------------------------
# Several tiles of one tensor.


def _boxes(*corners: tuple[tuple[int, ...], tuple[int, ...]]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    return [(np.array(low)[:, None], np.array(high)[:, None]) for low, high in corners]


@pytest.mark.parametrize("nonzeros", [1, 2, 4, 7])
@pytest.mark.parametrize(
    "corners",
    [
        (((0, 0), (1, 4)), ((0, 0), (3, 1))),  # a row and a column
        (((0, 0), (2, 2)), ((1, 1), (3, 4)), ((0, 1), (3, 2))),
        (((0, 0), (1, 2)), ((2, 1), (3, 4))),  # apart
        (((0, 0), (3, 4)), ((1, 1), (2, 3)), ((0, 2), (2, 4)), ((1, 0), (3, 3))),  # one around the others
    ],
)
def test_joint_chance_of_overlapping_tiles_is_that_of_all_placements(
    corners: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...], nonzeros: int
) -> None:
    shape, hits = (3, 4), 0
    placements = list(combinations(list(np.ndindex(shape)), nonzeros))
    for points in placements:
        hits += all(
            any(all(a <= x < b for a, x, b in zip(low, point, high, strict=True)) for point in points)
            for low, high in corners
        )
    chance = joint_nonempty(Uniform(shape, nonzeros / 12), _boxes(*corners))
    assert np.asarray(chance) == pytest.approx(hits / len(placements), abs=1e-12)


def test_joint_chance_of_structured_tiles_is_at_most_that_of_the_least_likely() -> None:
    columns = Channel((3, 4), 1, 0.5)
    row, column = _boxes(((0, 0), (1, 4)), ((0, 0), (3, 1)))
    alone = 1 - columns.empty_probability(list(column[0]), list(column[1]))
    assert joint_nonempty(columns, [row, column]) == pytest.approx(alone)  # a row is never empty here


def test_overlapping_tiles_of_a_structured_leader_are_named_as_an_assumption() -> None:
    uniform = rows_and_columns_of_a_leader()
    columns = replace(uniform, workload=sparse(THREE, T=Channel((2, 3, 3), 2, 0.5)))
    said = [evaluate(each.workload, each.design, each.mapping).assumptions for each in (uniform, columns)]
    note = "T: of its tiles by which two operands are judged, the one most likely empty decides"
    assert [note in assumptions for assumptions in said] == [False, True]
