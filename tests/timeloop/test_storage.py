"""Sizes of a storage component: words, blocks, clusters, capacities, bandwidths."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sparseloom.arch.hierarchy import StorageLevel
from sparseloom.timeloop import LevelDetails, TimeloopInput

Texts = dict[str, str]
Load = Callable[[Texts], TimeloopInput]
Faults = Callable[[Texts], list[str]]


def _with(toy: Texts, attributes: str) -> Texts:
    head, _, rest = toy["arch.yaml"].partition("{width: 64,")
    tail = rest.partition("}")[2]
    return {**toy, "arch.yaml": f"{head}{{{attributes}}}{tail}"}


def _main(toy: Texts, load_texts: Load, attributes: str) -> tuple[StorageLevel, LevelDetails]:
    found = load_texts(_with(toy, attributes))
    return found.design.architecture.levels[0], found.details.levels["Main"]


@pytest.mark.parametrize(
    ("attributes", "block", "cluster"),
    [
        ("width: 64, datawidth: 8", 8, 1),
        ("width: 64, datawidth: 8, block-size: 4", 4, 2),
        ("width: 64, datawidth: 8, cluster-size: 2", 4, 2),
        ("width: 64, datawidth: 8, block_size: 2, cluster_size: 4", 2, 4),
        ("datawidth: 8, n_words: 4", 4, 1),
        ("memory_width: 64, word_width: 32", 2, 1),
        ("data_storage_width: 32", 2, 1),
        ("word-bits: 8", 1, 1),
    ],
)
def test_width_is_word_bits_times_block_times_cluster(
    toy: Texts, load_texts: Load, attributes: str, block: int, cluster: int
) -> None:
    level, details = _main(toy, load_texts, attributes)
    assert (level.block_words, details.cluster_size) == (block, cluster)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ("entries: 100", 100),
        ("depth: 10, width: 64", 40),
        ("memory_depth: 10, block-size: 2", 20),
        ("sizeKB: 2", 1024),
        ("sizeKB: 0.5, datawidth: 8", 512),
        ("depth: 0, entries: 0", 0),
        ("width: 64", None),
    ],
)
def test_size_comes_from_entries_depth_or_kilobytes(
    toy: Texts, load_texts: Load, attributes: str, words: int | None
) -> None:
    level, details = _main(toy, load_texts, attributes)
    assert (level.capacity_words, details.size_words) == (words, words)


def test_multiple_buffering_divides_data_and_metadata(toy: Texts, load_texts: Load) -> None:
    attributes = "entries: 101, metadata_storage_depth: 7, metadata_storage_width: 3, multiple_buffering: 2"
    level, details = _main(toy, load_texts, attributes)
    assert (level.capacity_words, level.metadata_capacity_bits, details.size_words) == (50, 10, 101)
    assert (level.metadata_width_bits, details.multiple_buffering) == (3, 2.0)


def test_metadata_of_an_unbounded_level_is_unbounded(toy: Texts, load_texts: Load) -> None:
    level, details = _main(toy, load_texts, "width: 64, metadata_storage_width: 60, metadata_datawidth: 5")
    assert (level.metadata_capacity_bits, level.metadata_width_bits, details.metadata_word_bits) == (None, 60, 5)


def test_one_bandwidth_is_half_to_reads_and_half_to_writes(toy: Texts, load_texts: Load) -> None:
    level, _ = _main(toy, load_texts, "bandwidth: 6, shared_bandwidth: 5")
    assert (level.read_words_per_cycle, level.write_words_per_cycle, level.shared_words_per_cycle) == (3, 3, 5)
    level, _ = _main(toy, load_texts, "read_bandwidth: 2, write_bandwidth: 4")
    assert (level.read_words_per_cycle, level.write_words_per_cycle, level.shared_words_per_cycle) == (2, 4, None)


def test_rules_that_only_timeloop_knows_are_kept_as_details(toy: Texts, load_texts: Load) -> None:
    attributes = "entries: 8, min_utilization: 0.5, allow_overbooking: true, reduction_supported: false"
    found = load_texts(_with(toy, f"{attributes}, compression_supported: true, network_fill_latency: 3"))
    details = found.details.levels["Main"]
    assert details.min_utilization == 0.5
    for what in ("overbooking is not modelled", "a level that cannot reduce is not modelled"):
        assert any(what in note for note in found.notes), found.notes
    assert (details.fill_latency_cycles, details.class_name) == (3.0, "DRAM")
    assert found.design.features.compression == frozenset({"Main"})
    assert found.design.features.decompression == frozenset()


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("width: 64, datawidth: 8, block-size: 4, cluster-size: 4",
         "word bits 8 x block 4 x cluster 4 = 128 are not the width, 64 @ {}.width | width = word bits x block x "
          "cluster"),
        ("width: 20, datawidth: 16",
         "word bits 16 = 16 do not divide the width, 20 @ {}.width | width = word bits x block x cluster"),
        ("datawidth: 8, word-bits: 16", "word_bits is 16 and datawidth is 8, the same attribute @ {}.datawidth | "
         "keep one of them"),
        ("block-size: 4, block_size: 4", "key 'block_size' occurs in two spellings, also at arch.yaml:9 @ "
         "{}.block_size | "
         "keep one of them"),
        ("bandwidth: 0", "a bandwidth of 0 words per cycle @ {}.bandwidth | leave the key out for an unbounded one"),
        ("depth: many", "'many' stands where a number is expected @ {}.depth"),
        ("depth: 1.5", "'1.5' stands where a whole number is expected @ {}.depth"),
        ("datawidth: 0", "'0' stands where 1 or more is expected @ {}.datawidth"),
        ("allow_overbooking: maybe", "'maybe' stands where true or false is expected @ {}.allow_overbooking"),
        ("entries: .inf", "'inf' stands where a number is expected @ {}.entries"),
    ],
)  # fmt: skip
def test_attributes_that_contradict_each_other_are_refused(
    toy: Texts, faults: Faults, attributes: str, expected: str
) -> None:
    path = "architecture.subtree[0].local[0].attributes"
    assert faults(_with(toy, attributes)) == [f"arch.yaml:9: {expected.format(path)}"]
