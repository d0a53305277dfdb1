"""Words, metadata, energy, cycles and capacity that a reader can derive by hand."""

import numpy as np
import pytest
from tests.sim.toys import B_BY_A, BUFFER, DOT, DOT_MAPPING, DOT_VALUES, DRAM, design, dot, level, moved, ones, workload

from sparseloom.arch.actions import EnergyTable
from sparseloom.arch.features import Saf
from sparseloom.arch.hierarchy import Network, StorageLevel
from sparseloom.errors import MappingError
from sparseloom.fibertree.format import Format
from sparseloom.mapping.mapping import Mapping
from sparseloom.sim.loopnest import execute

COMPRESSED = Format.parse("UOP(M)-CP(K):4/8")


def test_words_of_a_compressed_tile_are_its_nonzeros_at_the_level_that_compresses() -> None:
    # DRAM keeps A as it is; the buffer holds the nonzeros of each row: 2, then 0, then 1
    rows = workload("Z[m] = A[m,k]", M=3, K=4)
    values = {"A": np.array([[0, 5, 6, 0], [0, 0, 0, 0], [7, 0, 0, 0]])}
    mapping = Mapping((level("DRAM", "AZ", "m3"), level("Buffer", "AZ", "k4")))
    machine = design(DRAM, StorageLevel("Buffer", block_words=2), formats={"Buffer": {"A": COMPRESSED}})
    run = execute(rows, machine, mapping, values)
    assert moved(run, "DRAM", "A", "read") == (12, 0, 0)
    assert moved(run, "Buffer", "A", "fill") == (3, 0, 0)
    assert run.blocks["Buffer"]["A"]["fill"]["actual"] == 1 + 0 + 1
    # each fill stores the offsets of one row (2) and a coordinate for each nonzero
    assert run.metadata["Buffer"]["A"]["fill"]["actual"].tolist() == [[0, 6], [3, 0]]
    assert run.worst_words["Buffer"]["A"] == 2
    assert run.worst_words["DRAM"]["A"] == 12
    assert run.computes == {"actual": 3, "gated": 0, "skipped": 0, "absent": 9}


def test_rank_with_one_coordinate_is_navigated_once_for_each_new_coordinate() -> None:
    # single words of a full 2 x 2 tensor: two offsets for the row, one coordinate for the word
    square = workload("Z[m] = A[m,k]", M=2, K=2)
    machine = design(BUFFER, formats={"Buffer": {"A": Format.parse("UOP(M):/8-CP(K):4")}})
    by_rows = execute(square, machine, Mapping((level("Buffer", "AZ", "m2 k2"),)), ones(square))
    by_columns = execute(square, machine, Mapping((level("Buffer", "AZ", "k2 m2"),)), ones(square))
    assert by_rows.metadata["Buffer"]["A"]["read"]["actual"].tolist() == [[0, 2 * 2], [4, 0]]
    assert by_columns.metadata["Buffer"]["A"]["read"]["actual"].tolist() == [[0, 4 * 2], [4, 0]]
    assert by_columns.metadata_bits["Buffer"]["A"]["read"]["actual"] == 8 * 8 + 4 * 4


def test_metadata_of_a_leader_is_read_even_where_its_data_is_skipped() -> None:
    bitmask = {"Buffer": {"A": Format.parse("B(K)"), "B": Format.parse("B(K)")}}
    run = dot(formats=bitmask, safs=(B_BY_A, Saf("Buffer", "skipping", "A", ("B",))))
    # nonzeros of A at 2, 3, 5, of B everywhere but 2: A's word is skipped at 2, and a zero moves no word
    assert moved(run, "Buffer", "A", "read") == (2, 0, 1)
    assert run.metadata_bits["Buffer"]["A"]["read"] == {"actual": 6, "gated": 0, "skipped": 0}
    one_sided = dot(formats=bitmask, safs=(B_BY_A,))
    assert one_sided.metadata_bits["Buffer"]["B"]["read"] == {"actual": 3, "gated": 0, "skipped": 3}


def test_words_that_one_level_moves_at_one_step_share_blocks() -> None:
    # three units take three words of A and of B at the first step and two at the second: 2 + 1 blocks of 2 words
    layer = workload("Z[m] = A[m] * B[m]", M=5)
    machine = design(StorageLevel("Buffer", block_words=2), macs=3, safs=(B_BY_A,))
    mapping = Mapping((level("Buffer", "ABZ", "m2", "m3"),))
    run = execute(layer, machine, mapping, {"A": np.array([0, 4, 5, 6, 0]), "B": np.ones(5, int)})
    assert run.blocks["Buffer"]["A"]["read"] == {"actual": 3, "gated": 0, "skipped": 0}
    # one of the three words is skipped, then one of the two: the blocks are those of the dense step, in shares
    assert run.blocks["Buffer"]["B"]["read"]["actual"] == pytest.approx(2 / 3 * 2 + 1 / 2 * 1)
    assert run.blocks["Buffer"]["B"]["read"]["skipped"] == pytest.approx(1 / 3 * 2 + 1 / 2 * 1)
    assert run.blocks["Buffer"]["Z"]["update"]["actual"] == 3
    assert isinstance(run.blocks["Buffer"]["A"]["read"]["actual"], float)


def test_words_that_different_parents_move_share_no_block_and_each_receiver_fills_its_own() -> None:
    # DRAM reads 4 words of A in one block; each of two buffers fills 2, and reads 2 for its two units
    layer = workload("Z[m] = A[m] * B[k]", M=4, K=1)
    wide = design(StorageLevel("DRAM", block_words=4), StorageLevel("Buffer", mesh_x=2, block_words=3), macs=4)
    mapping = Mapping((level("DRAM", "ABZ", "", "m2"), level("Buffer", "AB", "", "m2")))
    run = execute(layer, wide, mapping, ones(layer))
    assert run.blocks["DRAM"]["A"]["read"]["actual"] == 1
    assert run.blocks["Buffer"]["A"]["fill"]["actual"] == 2
    assert run.blocks["Buffer"]["A"]["read"]["actual"] == 2
    # both buffers take the word of B from one read, and fill it apart
    assert run.blocks["DRAM"]["B"]["read"]["actual"] == 1
    assert run.blocks["Buffer"]["B"]["fill"]["actual"] == 2


def test_partial_sums_share_blocks_as_often_as_they_move() -> None:
    # M = 2 sums of K = 6 by three units: four steps, of one word each where the network reduces, else of three
    sums = workload("Z[m] = A[m,k]", M=2, K=6)
    mapping = Mapping((level("Buffer", "AZ", "m2 k2", "k3"),))
    reducing = StorageLevel("Buffer", block_words=2)
    plain = StorageLevel("Buffer", block_words=2, network=Network(spatial_reduction=False))
    reduced, unreduced = (execute(sums, design(level, macs=3), mapping, ones(sums)) for level in (reducing, plain))
    assert reduced.blocks["Buffer"]["Z"]["update"]["actual"] == 4 * 1
    assert unreduced.blocks["Buffer"]["Z"]["update"]["actual"] == 4 * 2
    # the first visit of each sum is elided
    assert reduced.blocks["Buffer"]["Z"]["read"]["actual"] == 2 * 1
    assert unreduced.blocks["Buffer"]["Z"]["read"]["actual"] == 2 * 1


def test_elided_words_take_no_part_in_a_block() -> None:
    # three sums at a time: at k = 0 nothing comes down, at k = 1 three words do
    layer = workload("Z[m] = A[k,m]", K=2, M=3)
    machine = design(StorageLevel("Buffer", block_words=2), macs=3)
    run = execute(layer, machine, Mapping((level("Buffer", "AZ", "k2", "m3"),)), ones(layer))
    assert run.blocks["Buffer"]["Z"]["update"]["actual"] == 2 + 2
    assert run.blocks["Buffer"]["Z"]["read"]["actual"] == 0 + 2


def test_a_level_stores_one_width_whatever_tile_moves() -> None:
    # K = 5 in tiles of 4 and 1: coordinates of all 5 take 3 bits at DRAM, those of a tile of 4 take 2 in the buffer
    layer = workload("Z[] = A[k]", K=5)
    coordinates = Format.parse("CP(K)")
    machine = design(DRAM, BUFFER, formats={"DRAM": {"A": coordinates}, "Buffer": {"A": coordinates}})
    run = execute(layer, machine, Mapping((level("DRAM", "AZ", "k2"), level("Buffer", "AZ", "k4"))), ones(layer))
    assert run.metadata_bits["DRAM"]["A"]["read"]["actual"] == 5 * 3
    assert run.metadata_bits["Buffer"]["A"]["fill"]["actual"] == 5 * 2
    assert run.metadata_bits["Buffer"]["A"]["read"]["actual"] == 5 * 2
    assert run.worst_metadata_bits == {"DRAM": {"A": 5 * 3, "Z": 0}, "Buffer": {"A": 4 * 2, "Z": 0}}


def test_nominal_tile_ends_where_the_tensor_does() -> None:
    # the loops span 9 of K, which would take 4 bits; the tensor has 7
    layer = workload("Z[] = A[k]", K=7)
    machine = design(BUFFER, formats={"Buffer": {"A": Format.parse("CP(K)")}})
    run = execute(layer, machine, Mapping((level("Buffer", "AZ", "k3 k3"),)), ones(layer))
    assert run.metadata_bits["Buffer"]["A"]["read"]["actual"] == 7 * 3


def test_energy_is_accesses_and_metadata_rows_and_computes() -> None:
    costs = EnergyTable({"read": 10.0, "skipped_read": 1.0, "update": 20.0, "metadata_read": 2.0})
    mac = EnergyTable({"compute": 5.0, "gated_compute": 0.5})
    storage = StorageLevel("Buffer", metadata_width_bits=6, energy=costs)
    coordinates = {"Buffer": {"A": Format.parse("CP(K):3")}}
    machine = design(storage, energy=mac, safs=(B_BY_A,), compute_gating=True, formats=coordinates)
    run = execute(DOT, machine, DOT_MAPPING, DOT_VALUES)
    assert run.storage_energy_pj["Buffer"]["A"] == 3 * 10 + 9 / 6 * 2
    assert run.storage_energy_pj["Buffer"]["B"] == 3 * 10 + 3 * 1
    assert run.storage_energy_pj["Buffer"]["Z"] == 6 * 20 + 5 * 10
    assert run.compute_energy_pj == 2 * 5 + 1 * 0.5
    assert run.energy_pj == 33 + 33 + 170 + 10.5


def test_cycles_are_those_of_the_narrowest_port() -> None:
    def cycles(**ports: float) -> int:
        machine = design(StorageLevel("Buffer", **ports), safs=(B_BY_A,))  # type: ignore[arg-type]
        return execute(DOT, machine, DOT_MAPPING, DOT_VALUES).cycles

    # 3 computes; reads: 6 of A, 3 of B (3 more are skipped), 5 of Z; 6 updates of Z
    assert cycles() == 3
    assert cycles(read_words_per_cycle=4) == 4  # 14 / 4
    assert cycles(write_words_per_cycle=1) == 6
    assert cycles(shared_words_per_cycle=2) == 10


def test_metadata_takes_bandwidth_in_words_of_the_level() -> None:
    machine = design(
        StorageLevel("Buffer", word_bits=8, read_words_per_cycle=1), formats={"Buffer": {"A": Format.parse("CP(K):4")}}
    )
    # 3 + 6 + 5 words, 3 coordinates of 4 bits: 15.5 cycles, rounded up
    assert execute(DOT, machine, DOT_MAPPING, DOT_VALUES).level_cycles["Buffer"] == 15.5
    assert execute(DOT, machine, DOT_MAPPING, DOT_VALUES).cycles == 16


def test_tiles_that_do_not_fit_name_the_level_the_tensors_and_a_way_out() -> None:
    machine = design(StorageLevel("Buffer", capacity_words=12))
    with pytest.raises(MappingError) as error:
        execute(DOT, machine, DOT_MAPPING, DOT_VALUES)
    assert str(error.value) == (
        "tiles need 13 words but Buffer holds 12 (A=6, B=6, Z=1) @ Buffer\n"
        "  how to fix: shrink the tile of A (the largest), or bypass Buffer for it"
    )
    compressed = {"Buffer": {"A": Format.parse("CP(K):3")}}
    small = design(StorageLevel("Buffer", capacity_words=10, metadata_capacity_bits=8), formats=compressed)
    with pytest.raises(MappingError, match="tiles need 9 bits of metadata but Buffer holds 8"):
        execute(DOT, small, DOT_MAPPING, DOT_VALUES)
