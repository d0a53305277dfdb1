"""The thesis's own small examples, through the model, with known tensors and with random ones of the same density.

Source: Wu, thesis (2023), Fig. 3-3, 3-4 and 4-6. The expected values are derived in the tests.
"""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from tests.sim.toys import B_BY_A, DOT, DOT_MAPPING, DOT_VALUES, design, level, workload

from sparseloom.arch.features import Saf
from sparseloom.arch.hierarchy import Network, StorageLevel
from sparseloom.fibertree.density import ActualData, Density, Uniform
from sparseloom.fibertree.format import Format
from sparseloom.mapping.mapping import Mapping
from sparseloom.model.evaluate import evaluate
from sparseloom.results import Outcomes, Result
from sparseloom.workload.workload import Workload

GATE_B_BY_A = Saf("Buffer", "gating", "B", ("A",))


def near(outcomes: Outcomes, actual: float, gated: float, skipped: float) -> bool:
    return (outcomes.actual, outcomes.gated, outcomes.skipped) == pytest.approx((actual, gated, skipped))


def sparse(plain: Workload, **densities: Density) -> Workload:
    return Workload(plain.einsum, plain.shape, densities)


# ---------------------------------------------------------------------------------------------------------------------
# Fig. 3-3 and 3-4: a dot product of A = 0 0 c d 0 f and B, where B[2] = 0. A keeps 3 of 6 values, B 5 of 6; two pairs
# of nonzeros meet. Drawn at random, a pair meets with probability 1/2 * 5/6: 2.5 of six.

KNOWN = sparse(DOT, **{name: ActualData(values != 0) for name, values in DOT_VALUES.items()})
RANDOM = sparse(DOT, A=Uniform((6,), 3 / 6), B=Uniform((6,), 5 / 6))
EITHER = pytest.mark.parametrize(("layer", "meeting"), [(KNOWN, 2), (RANDOM, 2.5)], ids=["known", "random"])


def dot(layer: Workload, **features: object) -> Result:
    return evaluate(layer, design(StorageLevel("Buffer"), **features), DOT_MAPPING)


@EITHER
def test_dense_processing_reads_and_computes_everything(layer: Workload, meeting: float) -> None:
    result = dot(layer)
    assert near(result.computes, 6, 0, 0)
    assert result.cycles == 6
    buffer = result.levels["Buffer"].tensors
    assert near(buffer["A"].reads, 6, 0, 0)
    assert near(buffer["B"].reads, 6, 0, 0)
    assert near(buffer["Z"].updates, 6, 0, 0)
    assert near(buffer["Z"].reads, 5, 0, 0)  # the first partial sum is none


@EITHER
def test_gated_compute_idles_where_an_operand_is_zero(layer: Workload, meeting: float) -> None:
    result = dot(layer, compute_gating=True)
    assert near(result.computes, meeting, 6 - meeting, 0)
    assert result.cycles == 6
    assert near(result.levels["Buffer"].tensors["B"].reads, 6, 0, 0)


@EITHER
def test_gating_b_by_a_gates_half_of_the_reads_and_computes(layer: Workload, meeting: float) -> None:
    result = dot(layer, safs=(GATE_B_BY_A,))
    assert near(result.levels["Buffer"].tensors["A"].reads, 6, 0, 0)
    assert near(result.levels["Buffer"].tensors["B"].reads, 3, 3, 0)
    assert near(result.computes, 3, 3, 0)
    assert result.cycles == 6


@EITHER
def test_skipping_b_by_a_saves_half_of_the_cycles(layer: Workload, meeting: float) -> None:
    result = dot(layer, safs=(B_BY_A,))
    assert near(result.levels["Buffer"].tensors["A"].reads, 6, 0, 0)
    assert near(result.levels["Buffer"].tensors["B"].reads, 3, 0, 3)
    assert near(result.computes, 3, 0, 0)
    assert result.compute.absent == pytest.approx(3)
    assert result.cycles == 3


@EITHER
def test_coordinates_with_skipping_and_gated_compute_take_three_steps(layer: Workload, meeting: float) -> None:
    result = dot(layer, safs=(B_BY_A,), compute_gating=True, formats={"Buffer": {"A": Format.parse("CP(K):3")}})
    buffer = result.levels["Buffer"].tensors
    assert near(buffer["A"].reads, 3, 0, 0)  # compressed: its zeros are not there to be read
    assert near(buffer["B"].reads, 3, 0, 3)
    assert near(result.computes, meeting, 3 - meeting, 0)  # a nonzero of A beside a zero of B is gated
    assert result.compute.absent == pytest.approx(3)
    assert result.cycles == 3
    (coordinates,) = buffer["A"].metadata_reads
    assert near(coordinates.metadata, 3, 0, 0)
    assert buffer["A"].worst_words == 3
    assert buffer["A"].worst_metadata_bits == 3 * 3


# ---------------------------------------------------------------------------------------------------------------------
# Fig. 4-6: B rests in a latch of one word. A is 4 by 3 with 3 nonzeros; the known one has an empty column.

MATMUL = workload("Z[m,n] = A[m,k] * B[k,n]", M=4, K=3, N=2)
ONE_EMPTY_COLUMN = ActualData(np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]))
THREE_OF_TWELVE = Uniform((4, 3), 3 / 12)
COLUMN_NOT_EMPTY = 1 - Fraction(comb(12 - 4, 3), comb(12, 3))
"""That none of the 3 nonzeros lies among the 4 points of a column has C(8, 3) of C(12, 3) ways."""
BY_COLUMN = pytest.mark.parametrize(
    ("density", "passing"),
    [(ONE_EMPTY_COLUMN, 2 / 3), (THREE_OF_TWELVE, float(COLUMN_NOT_EMPTY))],
    ids=["known", "random"],
)


def latched(order: str, density: Density) -> Result:
    machine = design(StorageLevel("Buffer"), StorageLevel("Latch", capacity_words=1), safs=(B_BY_A,))
    mapping = Mapping((level("Buffer", "ABZ", order), level("Latch", "B")))
    return evaluate(sparse(MATMUL, A=density), machine, mapping)


@pytest.mark.parametrize("density", [ONE_EMPTY_COLUMN, THREE_OF_TWELVE], ids=["known", "random"])
def test_leader_tile_is_one_value_where_k_runs_innermost(density: Density) -> None:
    # B moves at each of the 24 steps, and one value of four lets it pass
    result = latched("m4 n2 k3", density)
    assert near(result.levels["Buffer"].tensors["B"].reads, 6, 0, 18)
    assert near(result.levels["Latch"].tensors["B"].fills, 6, 0, 0)
    assert near(result.levels["Latch"].tensors["B"].reads, 6, 0, 0)
    assert near(result.computes, 6, 0, 0)
    assert result.compute.absent == pytest.approx(18)
    assert result.cycles == 6


@BY_COLUMN
def test_leader_tile_is_a_column_where_m_runs_innermost(density: Density, passing: float) -> None:
    # B moves 6 times, each for the 4 computes of a column of A
    assert pytest.approx(41 / 55) == COLUMN_NOT_EMPTY
    result = latched("n2 k3 m4", density)
    assert near(result.levels["Buffer"].tensors["B"].reads, 6 * passing, 0, 6 * (1 - passing))
    assert near(result.levels["Latch"].tensors["B"].fills, 6 * passing, 0, 0)
    assert near(result.levels["Latch"].tensors["B"].reads, 24 * passing, 0, 0)
    assert near(result.computes, 24 * passing, 0, 0)
    assert result.compute.absent == pytest.approx(24 * (1 - passing))


@BY_COLUMN
def test_leader_tile_of_a_multicast_read_is_what_all_receivers_use(density: Density, passing: float) -> None:
    # four units, one for each m, take B[k,n] together; without multicast each takes it for one value of A
    mapping = Mapping((level("Buffer", "ABZ", "n2 k3", "m4"),))
    layer = sparse(MATMUL, A=density)
    together = evaluate(layer, design(StorageLevel("Buffer"), macs=4, safs=(B_BY_A,)), mapping)
    assert near(together.levels["Buffer"].tensors["B"].reads, 6 * passing, 0, 6 * (1 - passing))
    assert near(together.computes, 24 * passing, 0, 0)
    apart = design(StorageLevel("Buffer", network=Network(multicast=False)), macs=4, safs=(B_BY_A,))
    assert near(evaluate(layer, apart, mapping).levels["Buffer"].tensors["B"].reads, 6, 0, 18)
