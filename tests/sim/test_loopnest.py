"""The oracle against numbers that a reader can derive by hand."""

import numpy as np
import pytest
from tests.sim.toys import B_BY_A, BUFFER, DOT, DOT_MAPPING, DOT_VALUES, DRAM, design, dot, level, moved, ones, workload

from sparseloom.arch.features import Saf
from sparseloom.arch.hierarchy import Network, StorageLevel
from sparseloom.errors import ArchitectureError, MappingError, WorkloadError
from sparseloom.fibertree.density import ActualData, Uniform
from sparseloom.fibertree.format import Format
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.sim.loopnest import Execution, draw_tensors, execute
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.workload import Workload

# ---------------------------------------------------------------------------------------------------------------------
# Thesis Fig. 3-3 and 3-4: a dot product of A = 0 0 c d 0 f and B, where B[2] = 0. Three nonzeros of A meet two of B.


def test_dense_dot_product_takes_six_steps_and_reads_everything() -> None:
    run = dot()
    assert run.computes == {"actual": 6, "gated": 0, "skipped": 0, "absent": 0}
    assert run.cycles == 6
    assert moved(run, "Buffer", "A", "read") == (6, 0, 0)
    assert moved(run, "Buffer", "B", "read") == (6, 0, 0)
    # six partial sums go up; the first needs no partial sum from the buffer
    assert moved(run, "Buffer", "Z", "update") == (6, 0, 0)
    assert moved(run, "Buffer", "Z", "read") == (5, 0, 0)
    assert run.output == 4 * 2 + 6 * 5
    assert run.exact


def test_gated_compute_idles_where_either_operand_is_zero() -> None:
    run = dot(compute_gating=True)
    assert run.computes == {"actual": 2, "gated": 4, "skipped": 0, "absent": 0}
    assert run.cycles == 6
    assert moved(run, "Buffer", "B", "read") == (6, 0, 0)


def test_gating_b_by_a_gates_reads_and_computes_but_saves_no_cycle() -> None:
    run = dot(safs=(Saf("Buffer", "gating", "B", ("A",)),))
    assert moved(run, "Buffer", "A", "read") == (6, 0, 0)
    assert moved(run, "Buffer", "B", "read") == (3, 3, 0)
    assert run.computes == {"actual": 3, "gated": 3, "skipped": 0, "absent": 0}
    assert run.cycles == 6


def test_skipping_b_by_a_saves_reads_and_cycles() -> None:
    run = dot(safs=(B_BY_A,))
    assert moved(run, "Buffer", "A", "read") == (6, 0, 0)
    assert moved(run, "Buffer", "B", "read") == (3, 0, 3)
    assert run.computes == {"actual": 3, "gated": 0, "skipped": 0, "absent": 3}
    assert run.cycles == 3
    assert run.exact


def test_coordinate_list_with_skipping_and_gated_compute_takes_three_steps() -> None:
    run = dot(safs=(B_BY_A,), compute_gating=True, formats={"Buffer": {"A": Format.parse("CP(K):3")}})
    assert moved(run, "Buffer", "A", "read") == (3, 0, 0)  # read(2), read(3), read(5)
    assert moved(run, "Buffer", "B", "read") == (3, 0, 3)  # B[2] = 0, B[3], B[5]
    assert run.computes == {"actual": 2, "gated": 1, "skipped": 0, "absent": 3}  # compute(c, 0) is gated
    assert run.cycles == 3
    assert run.metadata["Buffer"]["A"]["read"]["actual"].tolist() == [[3, 0]]
    assert run.metadata_bits["Buffer"]["A"]["read"]["actual"] == 3 * 3
    assert run.worst_words["Buffer"] == {"A": 3, "B": 6, "Z": 1}
    assert run.worst_metadata_bits["Buffer"] == {"A": 9, "B": 0, "Z": 0}


def test_both_operands_read_each_other() -> None:
    double_sided = (B_BY_A, Saf("Buffer", "skipping", "A", ("B",)))
    run = dot(safs=double_sided)
    assert moved(run, "Buffer", "A", "read") == (5, 0, 1)
    assert moved(run, "Buffer", "B", "read") == (3, 0, 3)
    assert run.computes == {"actual": 2, "gated": 0, "skipped": 0, "absent": 4}


def test_skipping_wins_over_gating_on_the_same_edge() -> None:
    run = dot(safs=(Saf("Buffer", "gating", "B", ("A",)), Saf("Buffer", "skipping", "B", ("A",))))
    assert moved(run, "Buffer", "B", "read") == (3, 0, 3)


def test_skipped_word_of_one_operand_beats_a_gated_word_of_the_other() -> None:
    # skip B <- A at 0, 1, 4; gate A <- B at 2
    run = dot(safs=(B_BY_A, Saf("Buffer", "gating", "A", ("B",))))
    assert run.computes == {"actual": 2, "gated": 1, "skipped": 0, "absent": 3}
    assert moved(run, "Buffer", "A", "read") == (5, 1, 0)


def test_operands_missing_from_compressed_storage_are_skipped_gated_or_computed() -> None:
    compressed = {"Buffer": {"A": Format.parse("B(K)"), "B": Format.parse("B(K)")}}
    values = {"A": np.array([1, 0, 0, 2, 3, 0]), "B": np.array([1, 0, 5, 0, 1, 0])}  # both, none, B, A, both, none

    def run(**features: object) -> dict[str, int]:
        storage = StorageLevel("Buffer")
        return execute(DOT, design(storage, formats=compressed, **features), DOT_MAPPING, values).computes

    assert run() == {"actual": 4, "gated": 0, "skipped": 0, "absent": 2}
    assert run(compute_gating=True) == {"actual": 2, "gated": 2, "skipped": 0, "absent": 2}
    assert run(compute_skipping=True) == {"actual": 2, "gated": 0, "skipped": 2, "absent": 2}
    assert run(compute_skipping=True, compute_gating=True) == {"actual": 2, "gated": 0, "skipped": 2, "absent": 2}


def test_alternative_of_a_feature_is_used_when_asked_for() -> None:
    either = Saf("Buffer", "skipping", "B", ("A",), alternatives=(("A", ("B",)),))
    machine = design(StorageLevel("Buffer"), safs=(either,))
    run = execute(DOT, machine, DOT_MAPPING, DOT_VALUES, alternatives={0: 1})
    assert moved(run, "Buffer", "A", "read") == (5, 0, 1)
    assert moved(run, "Buffer", "B", "read") == (6, 0, 0)
    with pytest.raises(ArchitectureError, match="alternative 2 of feature 0 is asked for, it has 1"):
        execute(DOT, machine, DOT_MAPPING, DOT_VALUES, alternatives={0: 2})


# ---------------------------------------------------------------------------------------------------------------------
# Thesis Fig. 4-6: B rests in a latch of one word. A's columns: 1 0 0 2, empty, 0 5 0 0.

MATMUL = workload("Z[m,n] = A[m,k] * B[k,n]", M=4, K=3, N=2)
A_WITH_AN_EMPTY_COLUMN = np.array([[1, 0, 0], [0, 0, 5], [0, 0, 0], [2, 0, 0]])


def latched(order: str) -> Execution:
    machine = design(StorageLevel("Buffer"), StorageLevel("Latch", capacity_words=1), safs=(B_BY_A,))
    mapping = Mapping((level("Buffer", "ABZ", order), level("Latch", "B")))
    return execute(MATMUL, machine, mapping, {"A": A_WITH_AN_EMPTY_COLUMN, "B": np.ones((3, 2), dtype=int)})


def test_leader_tile_is_one_value_where_k_runs_innermost() -> None:
    # B moves at each of the 24 steps; A has 3 nonzeros, each used for 2 columns of B
    run = latched("m4 n2 k3")
    assert moved(run, "Buffer", "B", "read") == (6, 0, 18)
    assert moved(run, "Latch", "B", "fill") == (6, 0, 0)
    assert moved(run, "Latch", "B", "read") == (6, 0, 0)
    assert run.computes == {"actual": 6, "gated": 0, "skipped": 0, "absent": 18}
    assert run.exact


def test_leader_tile_is_a_column_where_m_runs_innermost() -> None:
    # B moves 6 times, and only the 2 for the empty column are skipped; each serves 4 computes
    run = latched("n2 k3 m4")
    assert moved(run, "Buffer", "B", "read") == (4, 0, 2)
    assert moved(run, "Latch", "B", "fill") == (4, 0, 0)
    assert moved(run, "Latch", "B", "read") == (16, 0, 0)
    assert run.computes == {"actual": 16, "gated": 0, "skipped": 0, "absent": 8}
    assert run.exact


def test_leader_tile_of_a_multicast_read_spans_all_receivers() -> None:
    # four PEs, one for each m, take B[k,n] together: it is skipped for the empty column alone
    machine = design(StorageLevel("Buffer"), macs=4, safs=(B_BY_A,))
    mapping = Mapping((level("Buffer", "ABZ", "n2 k3", "m4"),))
    values = {"A": A_WITH_AN_EMPTY_COLUMN, "B": np.ones((3, 2), dtype=int)}
    run = execute(MATMUL, machine, mapping, values)
    assert moved(run, "Buffer", "B", "read") == (4, 0, 2)
    alone = design(StorageLevel("Buffer", network=Network(multicast=False)), macs=4, safs=(B_BY_A,))
    assert moved(execute(MATMUL, alone, mapping, values), "Buffer", "B", "read") == (6, 0, 18)


def test_stationary_operand_is_judged_over_the_whole_run() -> None:
    # Z[m] = A[m] * B[]-like: B[k] with K = 1 never moves again, so its leader is all of A
    scale = workload("Z[m] = A[m] * B[k]", M=3, K=1)
    machine = design(StorageLevel("Buffer"), StorageLevel("Latch"), safs=(B_BY_A,))
    mapping = Mapping((level("Buffer", "ABZ", "m3"), level("Latch", "B")))
    some = execute(scale, machine, mapping, {"A": np.array([0, 0, 1]), "B": np.array([2])})
    none = execute(scale, machine, mapping, {"A": np.array([0, 0, 0]), "B": np.array([2])})
    assert moved(some, "Buffer", "B", "read") == (1, 0, 0)
    assert moved(some, "Latch", "B", "read") == (3, 0, 0)
    assert moved(none, "Buffer", "B", "read") == (0, 0, 1)
    assert moved(none, "Latch", "B", "read") == (0, 0, 0)
    assert none.computes["absent"] == 3


# ---------------------------------------------------------------------------------------------------------------------
# Dense events.


def test_sliding_window_fetches_only_the_words_it_does_not_hold() -> None:
    conv = workload("O[p] = I[p+r] * W[r]", P=4, R=3)
    mapping = Mapping((level("DRAM", "IWO", "p4"), level("Buffer", "IWO", "r3")))
    run = execute(conv, design(DRAM, BUFFER), mapping, {"I": np.arange(1, 7), "W": np.array([1, 2, 3])})
    assert moved(run, "DRAM", "I", "read") == (3 + 1 + 1 + 1, 0, 0)
    assert moved(run, "Buffer", "I", "fill") == (6, 0, 0)
    assert moved(run, "Buffer", "I", "read") == (12, 0, 0)
    assert moved(run, "DRAM", "W", "read") == (3, 0, 0)
    assert moved(run, "DRAM", "O", "update") == (4, 0, 0)
    assert moved(run, "DRAM", "O", "read") == (0, 0, 0)
    assert moved(run, "Buffer", "O", "update") == (12, 0, 0)
    assert moved(run, "Buffer", "O", "read") == (12 - 4, 0, 0)
    assert run.worst_words["Buffer"] == {"I": 3, "W": 3, "O": 1}
    assert run.output.tolist() == [1 + 4 + 9, 2 + 6 + 12, 3 + 8 + 15, 4 + 10 + 18]
    assert run.exact


def test_box_of_a_strided_window_includes_its_holes() -> None:
    # p in {0, 1}, r in {0, 1}: I[0], I[1], I[3], I[4]; the box also holds I[2]
    conv = workload("O[p] = I[3*p+r] * W[r]", P=2, R=2)
    mapping = Mapping((level("DRAM", "IWO"), level("Buffer", "IWO", "p2 r2")))
    run = execute(conv, design(DRAM, BUFFER), mapping, {"I": np.ones(5, dtype=int), "W": np.ones(2, dtype=int)})
    assert moved(run, "DRAM", "I", "read") == (5, 0, 0)
    assert moved(run, "Buffer", "I", "read") == (4, 0, 0)


def test_imperfect_bound_shortens_the_last_tile() -> None:
    dot5 = workload("Z[] = A[k] * B[k]", K=5)
    mapping = Mapping((level("DRAM", "ABZ", "k2"), level("Buffer", "AZ", "k3")))
    run = execute(dot5, design(DRAM, StorageLevel("Buffer", block_words=3)), mapping, ones(dot5))
    assert sum(run.computes.values()) == 5
    assert moved(run, "DRAM", "A", "read") == (3 + 2, 0, 0)
    assert run.blocks["Buffer"]["A"]["fill"]["actual"] == 1 + 1
    assert run.blocks["Buffer"]["A"]["read"]["actual"] == 5
    # B bypasses the buffer, so DRAM serves the compute unit word by word
    assert "B" not in run.counts["Buffer"]
    assert moved(run, "DRAM", "B", "read") == (5, 0, 0)
    assert run.exact


def test_imperfect_spatial_bound_idles_a_unit_in_the_last_step() -> None:
    scale = workload("Z[m] = A[m]", M=5)
    run = execute(scale, design(BUFFER, macs=4), Mapping((level("Buffer", "AZ", "m2", "m3"),)), ones(scale))
    assert run.instances_used == {"Buffer": 1, "MAC": 3}
    assert run.compute_cycles_busiest == 2
    assert run.compute_cycles_mean == pytest.approx(5 / 3)


def test_tile_that_stays_while_another_rank_runs_moves_once() -> None:
    # B[k,n] does not depend on m: it stays while m runs inside, and comes again for each m outside
    matmul = workload("Z[m,n] = A[m,k] * B[k,n]", M=3, K=2, N=2)
    inside = Mapping((level("DRAM", "ABZ", "k2 m3"), level("Buffer", "B", "n2")))
    outside = Mapping((level("DRAM", "ABZ", "m3 k2"), level("Buffer", "B", "n2")))
    assert moved(execute(matmul, design(DRAM, BUFFER), inside, ones(matmul)), "Buffer", "B", "fill") == (4, 0, 0)
    assert moved(execute(matmul, design(DRAM, BUFFER), outside, ones(matmul)), "Buffer", "B", "fill") == (12, 0, 0)


def test_partial_sums_come_back_to_a_tile_that_left() -> None:
    # Z's tile of 2 words is visited for k = 0 and, after the other tile, again for k = 1
    matmul = workload("Z[m] = A[m,k]", M=4, K=2)
    mapping = Mapping((level("DRAM", "AZ", "k2 m2"), level("Buffer", "Z", "m2")))
    run = execute(matmul, design(DRAM, BUFFER), mapping, ones(matmul))
    assert moved(run, "DRAM", "Z", "update") == (8, 0, 0)
    assert moved(run, "DRAM", "Z", "read") == (4, 0, 0)
    assert moved(run, "Buffer", "Z", "fill") == (4, 0, 0)
    assert moved(run, "Buffer", "Z", "update") == (8, 0, 0)
    # the buffer's instance saw each word in the first visit, so the second reads what was filled
    assert moved(run, "Buffer", "Z", "read") == (4, 0, 0)
    assert run.exact


def test_one_read_serves_all_receivers_that_want_the_same_words() -> None:
    matvec = workload("Z[m] = A[m,k] * B[k]", M=3, K=4)
    mapping = Mapping((level("Buffer", "ABZ", "k4", "m3"),))
    together = execute(matvec, design(BUFFER, macs=3), mapping, ones(matvec))
    apart = execute(
        matvec, design(StorageLevel("Buffer", network=Network(multicast=False)), macs=3), mapping, ones(matvec)
    )
    assert moved(together, "Buffer", "B", "read") == (4, 0, 0)
    assert moved(together, "Buffer", "A", "read") == (12, 0, 0)
    assert moved(apart, "Buffer", "B", "read") == (12, 0, 0)


def test_network_between_decides_for_a_tensor_that_bypasses_a_level() -> None:
    # DRAM -> 1 buffer -> 3 PEs; B bypasses the buffer, whose network cannot multicast
    matvec = workload("Z[m] = A[m,k] * B[k]", M=3, K=4)
    mapping = Mapping((level("DRAM", "ABZ", "k4"), level("Buffer", "A", spatial="m3")))
    together = execute(matvec, design(DRAM, BUFFER, macs=3), mapping, ones(matvec))
    buffer = StorageLevel("Buffer", network=Network(multicast=False))
    apart = execute(matvec, design(DRAM, buffer, macs=3), mapping, ones(matvec))
    assert moved(together, "DRAM", "B", "read") == (4, 0, 0)
    assert moved(apart, "DRAM", "B", "read") == (12, 0, 0)


def test_receivers_below_different_parents_never_share() -> None:
    # two buffers of two PEs each: B[k] is read once by DRAM, filled in both buffers, read once in each
    matvec = workload("Z[m] = A[m,k] * B[k]", M=4, K=3)
    mapping = Mapping((level("DRAM", "ABZ", "k3", "m2"), level("Buffer", "B", "", "m2")))
    run = execute(matvec, design(DRAM, StorageLevel("Buffer", mesh_x=2), macs=4), mapping, ones(matvec))
    assert run.instances_used == {"DRAM": 1, "Buffer": 2, "MAC": 4}
    assert moved(run, "DRAM", "B", "read") == (3, 0, 0)
    assert moved(run, "Buffer", "B", "fill") == (6, 0, 0)
    assert moved(run, "Buffer", "B", "read") == (6, 0, 0)


def test_partial_sums_are_added_on_the_way_only_by_a_network_that_reduces() -> None:
    # M = 2 sums of K = 6, three units working on each
    sums = workload("Z[m] = A[m,k]", M=2, K=6)
    mapping = Mapping((level("Buffer", "AZ", "m2 k2", "k3"),))
    reduced = execute(sums, design(BUFFER, macs=3), mapping, ones(sums))
    assert moved(reduced, "Buffer", "Z", "update") == (4, 0, 0)
    assert moved(reduced, "Buffer", "Z", "read") == (2, 0, 0)
    plain = StorageLevel("Buffer", network=Network(spatial_reduction=False))
    unreduced = execute(sums, design(plain, macs=3), mapping, ones(sums))
    assert moved(unreduced, "Buffer", "Z", "update") == (12, 0, 0)
    assert moved(unreduced, "Buffer", "Z", "read") == (2, 0, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Several features, bypass, output.


def test_period_that_begins_without_a_transfer_is_judged_for_what_lies_inside_it() -> None:
    # I[1] comes at (p, r) = (0, 1) and is still there at (1, 0), where another W leads
    conv = workload("O[p] = I[p+r] * W[r]", P=2, R=2)
    mapping = Mapping((level("DRAM", "IWO", "p2 r2"), level("Buffer", "I")))
    machine = design(DRAM, BUFFER, safs=(Saf("DRAM", "skipping", "I", ("W",)),))
    late = execute(conv, machine, mapping, {"I": np.array([1, 2, 3]), "W": np.array([0, 5])})
    assert moved(late, "DRAM", "I", "read") == (2, 0, 1)  # I[0] is skipped for W[0]; nothing is booked at (1, 0)
    assert moved(late, "Buffer", "I", "fill") == (2, 0, 0)
    assert moved(late, "Buffer", "I", "read") == (2, 0, 0)
    assert late.computes == {"actual": 2, "gated": 0, "skipped": 0, "absent": 2}
    early = execute(conv, machine, mapping, {"I": np.array([1, 2, 3]), "W": np.array([5, 0])})
    assert moved(early, "DRAM", "I", "read") == (1, 0, 2)  # I[1] and I[2] are skipped for W[1]
    assert moved(early, "Buffer", "I", "read") == (
        2,
        0,
        0,
    )  # dense events stay: (1, 0) uses what (0, 1) would have brought
    assert early.computes == {"actual": 2, "gated": 0, "skipped": 0, "absent": 2}
    assert late.exact
    assert early.exact


def test_step_within_a_period_is_not_judged_again() -> None:
    # while I stays for m = 0 and 1, W[0,0] alone decides: W[1,0] = 0 would eliminate the second step
    conv = workload("O[m,p] = I[p+r] * W[m,r]", M=2, P=2, R=2)
    mapping = Mapping((level("DRAM", "IWO", "p2 r2 m2"), level("Buffer", "I")))
    machine = design(DRAM, BUFFER, safs=(Saf("DRAM", "skipping", "I", ("W",)),))
    run = execute(conv, machine, mapping, {"I": np.ones(3, int), "W": np.array([[5, 5], [0, 5]])})
    assert moved(run, "DRAM", "I", "read") == (3, 0, 0)
    assert moved(run, "Buffer", "I", "read") == (8, 0, 0)
    assert run.computes["actual"] == 8


@pytest.mark.parametrize(("multicast", "reached"), [(True, 8), (False, 6)])
def test_period_without_a_transfer_is_judged_for_a_group_of_receivers(multicast: bool, reached: int) -> None:
    # two buffers, m = 0 and 1; W[1,0] = 0 decides alone where each receiver is a group
    conv = workload("O[m,p] = I[p+r] * W[m,r]", M=2, P=2, R=2)
    mapping = Mapping((level("DRAM", "IWO", "p2 r2", "m2"), level("Buffer", "I")))
    dram = StorageLevel("DRAM", network=Network(multicast=multicast))
    machine = design(dram, StorageLevel("Buffer", mesh_x=2), macs=2, safs=(Saf("DRAM", "skipping", "I", ("W",)),))
    run = execute(conv, machine, mapping, {"I": np.ones(3, int), "W": np.array([[5, 5], [0, 5]])})
    # one by one, I[0] is skipped for m = 1, and so is what m = 1 would read at (p, r) = (1, 0)
    assert moved(run, "DRAM", "I", "read") == ((3, 0, 0) if multicast else (5, 0, 1))
    assert moved(run, "Buffer", "I", "read") == (reached, 0, 0)
    assert run.computes["actual"] == reached


def test_inner_transfer_is_actual_only_if_it_survives_the_outer_feature_too() -> None:
    # K = 4 in tiles of 2; A = 0 0 | 3 0: the first tile is skipped at DRAM, the second loses one word at the buffer
    dot4 = workload("Z[] = A[k] * B[k]", K=4)
    safs = (Saf("DRAM", "skipping", "B", ("A",)), Saf("Buffer", "gating", "B", ("A",)))
    mapping = Mapping((level("DRAM", "ABZ", "k2"), level("Buffer", "ABZ", "k2")))
    run = execute(dot4, design(DRAM, BUFFER, safs=safs), mapping, {"A": np.array([0, 0, 3, 0]), "B": np.ones(4, int)})
    assert moved(run, "DRAM", "B", "read") == (2, 0, 2)
    assert moved(run, "Buffer", "B", "fill") == (2, 0, 0)
    assert moved(run, "Buffer", "B", "read") == (1, 1, 0)
    assert run.computes == {"actual": 1, "gated": 1, "skipped": 0, "absent": 2}


def test_features_of_one_path_may_have_different_leaders() -> None:
    # C decides for whole rows of B at DRAM, A for single words at the buffer
    product = workload("Z[m,k] = A[m,k] * B[m,k] * C[m]", M=2, K=2)
    safs = (Saf("DRAM", "skipping", "B", ("C",)), Saf("Buffer", "skipping", "B", ("A",)))
    mapping = Mapping((level("DRAM", "ABCZ", "m2"), level("Buffer", "ABCZ", "k2")))
    values = {"A": np.array([[0, 0], [1, 0]]), "B": np.ones((2, 2), int), "C": np.array([0, 1])}
    run = execute(product, design(DRAM, BUFFER, safs=safs), mapping, values)
    assert moved(run, "DRAM", "B", "read") == (2, 0, 2)
    assert moved(run, "Buffer", "B", "read") == (1, 0, 1)
    assert run.computes == {"actual": 1, "gated": 0, "skipped": 0, "absent": 3}


def test_any_of_several_leaders_eliminates() -> None:
    product = workload("Z[k] = A[k] * B[k] * C[k]", K=4)
    values = {"A": np.array([0, 0, 1, 1]), "B": np.ones(4, int), "C": np.array([0, 1, 0, 1])}
    machine = design(BUFFER, safs=(Saf("Buffer", "skipping", "B", ("A", "C")),))
    run = execute(product, machine, Mapping((level("Buffer", "ABCZ", "k4"),)), values)
    assert moved(run, "Buffer", "B", "read") == (1, 0, 3)


def test_feature_at_a_level_that_bypasses_its_target_acts_where_the_target_comes_from() -> None:
    machine = design(DRAM, BUFFER, safs=(B_BY_A,))
    mapping = Mapping((level("DRAM", "ABZ", "k2"), level("Buffer", "A", "k3")))
    run = execute(DOT, machine, mapping, DOT_VALUES)
    assert moved(run, "DRAM", "B", "read") == (3, 0, 3)
    assert moved(run, "Buffer", "A", "read") == (6, 0, 0)


def test_feature_on_the_output_saves_updates_and_leaves_computes_alone() -> None:
    run = dot(safs=(Saf("Buffer", "skipping", "Z", ("A", "B")),))
    # the first visit, at k = 0, needs no read whatever becomes of it; A or B is zero at 0, 1, 2, 4
    assert moved(run, "Buffer", "Z", "update") == (2, 0, 4)
    assert moved(run, "Buffer", "Z", "read") == (2, 0, 3)
    assert run.computes["actual"] == 6


# ---------------------------------------------------------------------------------------------------------------------
# Lanes and streams.


def lanes_of_six(macs: int) -> Execution:
    """Six logical lanes, of which A, kept as coordinates, needs those of its three nonzeros."""
    safs = tuple(Saf("Buffer", "spatial-skipping", target, ("A",)) for target in "BZ")
    machine = design(BUFFER, macs=macs, safs=safs, formats={"Buffer": {"A": Format.parse("CP(K)")}})
    return execute(DOT, machine, Mapping((level("Buffer", "ABZ", "", "k6"),)), DOT_VALUES)


def test_spatial_skipping_needs_lanes_only_where_a_word_arrives() -> None:
    run = lanes_of_six(macs=3)
    assert run.instances_used["MAC"] == 3
    assert run.cycles == 1
    assert run.computes == {"actual": 3, "gated": 0, "skipped": 0, "absent": 3}
    assert moved(run, "Buffer", "B", "read") == (3, 0, 3)
    assert moved(run, "Buffer", "Z", "update") == (1, 0, 0)  # one for all lanes, none of whose tiles is empty together
    assert run.exact


def test_lanes_that_are_needed_at_once_and_are_not_there_are_refused() -> None:
    with pytest.raises(MappingError, match="Buffer has 2 children along X, the loop needs 3"):
        lanes_of_six(macs=2)


def test_a_zero_that_is_not_stored_needs_no_lane_though_its_partner_gates_it() -> None:
    skips = tuple(Saf("Buffer", "spatial-skipping", target, ("A",)) for target in "BZ")
    safs = (*skips, Saf("Buffer", "gating", "A", ("B",)))
    values = {"A": np.array([1, 0, 2, 0, 3, 0]), "B": np.array([4, 0, 0, 5, 6, 0])}
    machine = design(BUFFER, macs=3, safs=safs, formats={"Buffer": {"A": Format.parse("CP(K)")}})
    run = execute(DOT, machine, Mapping((level("Buffer", "ABZ", "", "k6"),)), values)
    assert run.instances_used["MAC"] == 3
    assert run.computes == {"actual": 2, "gated": 1, "skipped": 0, "absent": 3}
    assert run.exact


def test_receivers_that_idle_take_no_part_in_what_their_group_is_sent() -> None:
    layer = workload("Z[m] = A[m] * B[]", M=4)
    machine = design(
        DRAM, StorageLevel("Buffer", mesh_x=4), macs=4, safs=(Saf("DRAM", "spatial-skipping", "B", ("A",)),)
    )
    values = {"A": np.array([1, 0, 2, 0]), "B": np.array(3)}
    run = execute(layer, machine, Mapping((level("DRAM", "ABZ", "", "m4"), level("Buffer", "ABZ"))), values)
    assert moved(run, "DRAM", "B", "read") == (1, 0, 0)
    assert moved(run, "Buffer", "B", "fill") == (2, 0, 0)
    assert moved(run, "Buffer", "B", "read") == (2, 0, 0)
    assert run.computes["absent"] == 2
    assert run.instances_used["MAC"] == 4  # A and Z are not skipped: their words come to every lane


def test_position_skipping_reads_each_nonzero_once_for_each_pass_of_the_other_tensor() -> None:
    layer = workload("Z[m,n] = A[m] * B[n]", M=4, N=4)
    both = tuple(Saf("Buffer", "position-skipping", name) for name in "AB")
    machine = design(
        StorageLevel("Buffer", block_words=2), macs=4, safs=both, formats={"Buffer": {"A": Format.parse("B(M)")}}
    )
    mapping = Mapping((level("Buffer", "ABZ", "m2 n2", "m2 n2"),))
    values = {"A": np.array([1, 2, 0, 3]), "B": np.array([0, 5, 0, 6])}
    run = execute(layer, machine, mapping, values)
    assert run.computes == {"actual": 6, "gated": 0, "skipped": 0, "absent": 10}
    assert run.cycles == 2  # three nonzeros in two lanes, two in two: two passes by one
    assert run.instances_used["MAC"] == 4
    assert moved(run, "Buffer", "A", "read") == (3, 0, 0)
    assert moved(run, "Buffer", "B", "read") == (4, 0, 0)
    assert run.blocks["Buffer"]["A"]["read"]["actual"] == 2
    assert run.metadata["Buffer"]["A"]["read"]["actual"].tolist() == [[4, 0]]
    assert run.exact


def test_position_skipping_of_one_tensor_fills_lanes_in_turn() -> None:
    machine = design(BUFFER, macs=2, safs=(Saf("Buffer", "position-skipping", "A"),))
    run = execute(DOT, machine, Mapping((level("Buffer", "ABZ", "k3", "k2"),)), DOT_VALUES)
    assert run.computes["actual"] == 3
    assert run.compute_cycles_busiest == 2
    assert moved(run, "Buffer", "A", "read") == (3, 0, 0)
    assert moved(run, "Buffer", "B", "read") == (6, 0, 0)


def test_a_tensor_that_passes_through_is_written_and_read_and_occupies_nothing() -> None:
    middle, inner = (
        LevelMapping("Buffer", (), (Loop("K", 2, "X"),), frozenset("AZ"), frozenset("B")),
        level("PE", "ABZ"),
    )
    machine = design(
        DRAM, StorageLevel("Buffer", block_words=2, capacity_words=4), StorageLevel("PE", mesh_x=2), macs=2
    )
    run = execute(DOT, machine, Mapping((level("DRAM", "ABZ", "k3"), middle, inner)), DOT_VALUES)
    assert moved(run, "Buffer", "B", "fill") == moved(run, "Buffer", "B", "read") == (6, 0, 0)
    assert run.blocks["Buffer"]["B"]["read"]["actual"] == 3  # two words at each step
    assert "B" not in run.worst_words["Buffer"]


def test_partial_sums_that_pass_through_go_both_ways() -> None:
    middle = LevelMapping("Buffer", (Loop("K", 3),), (), frozenset("AB"), frozenset("Z"))
    run = execute(DOT, design(DRAM, BUFFER), Mapping((level("DRAM", "ABZ", "k2"), middle)), DOT_VALUES)
    assert moved(run, "Buffer", "Z", "read") == moved(run, "Buffer", "Z", "fill") == (11, 0, 0)
    assert moved(run, "DRAM", "Z", "update") == (6, 0, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Refusals and stimuli.


def test_position_skipping_packs_operands_only() -> None:
    with pytest.raises(ArchitectureError, match="position-skipping at Buffer is of the output Z"):
        dot(safs=(Saf("Buffer", "position-skipping", "Z"),))


def test_all_unknown_tensors_of_a_design_are_reported_together() -> None:
    with pytest.raises(ArchitectureError) as error:
        dot(safs=(Saf("Buffer", "skipping", "C", ("A",)),), formats={"Buffer": {"D": Format.parse("B(K)")}})
    assert [fault.what for fault in error.value.faults] == [
        "a skipping feature at Buffer is about unknown tensor C",
        "Buffer has a format for unknown tensor D",
    ]


def test_tensors_that_are_missing_misnamed_or_misshapen_are_reported_together() -> None:
    with pytest.raises(WorkloadError) as error:
        execute(DOT, design(BUFFER), DOT_MAPPING, {"A": np.ones(5), "C": np.ones(6)})
    assert [fault.what for fault in error.value.faults] == [
        "values given for unknown tensor C",
        "tensor A has values of shape (5,), the workload says (6,)",
        "operand B has no values",
    ]


def test_mask_given_for_the_output_decides_what_a_compressed_output_moves() -> None:
    scale = workload("Z[m] = A[m]", M=4)
    machine = design(BUFFER, formats={"Buffer": {"Z": Format.parse("B(M)")}})
    mapping = Mapping((level("Buffer", "AZ", "m4"),))
    half = {**ones(scale), "Z": np.array([1, 0, 1, 0])}
    assert moved(execute(scale, machine, mapping, ones(scale)), "Buffer", "Z", "update") == (4, 0, 0)
    assert moved(execute(scale, machine, mapping, half), "Buffer", "Z", "update") == (2, 0, 0)


def test_floating_point_values_are_compared_up_to_rounding() -> None:
    values = {"A": np.array([0.1, 0, 0.3, 0.7, 0, 0.9]), "B": np.array([0.3, 0.1, 0.2, 0, 1.1, 0.7])}
    run = execute(DOT, design(BUFFER), DOT_MAPPING, values)
    assert run.exact
    assert run.output == pytest.approx(0.03 + 0.06 + 0.63)


def test_drawn_tensors_are_nonzero_where_their_densities_say() -> None:
    mask = np.array([True, False, True, False])
    densities = {"A": Uniform((3, 4), 0.25), "B": ActualData(mask), "Z": Uniform((3,), 1 / 3)}
    layer = Workload(Einsum.parse("Z[m] = A[m,k] * B[k]"), {"M": 3, "K": 4}, densities)
    tensors = draw_tensors(layer, np.random.default_rng(0))
    assert np.count_nonzero(tensors["A"]) == 3
    assert (tensors["B"] != 0).tolist() == mask.tolist()
    assert sorted(tensors["Z"].tolist()) == [0, 0, 1]
    assert set(draw_tensors(workload("Z[m] = A[m]", M=2), np.random.default_rng(0))) == {"A"}
