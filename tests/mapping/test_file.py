from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.generators import cases

from sparseloom.arch.design import Design
from sparseloom.arch.features import Features, Saf
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.document import parse
from sparseloom.errors import InputError
from sparseloom.fibertree.format import Format
from sparseloom.mapping.file import name_faults, parse_loop, read, schema, text
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.workload import Workload

TEXT = """\
mapping:
  - level: DRAM
    keep: [A, B, Z]
    temporal: [M 4, n 2]
  - level: PE
    keep: [Z]
    stream: [A]
    temporal: []
    spatial: [K 8 X, M 2 y]
"""


def faults(old: str, new: str) -> list[str]:
    assert old in TEXT
    with pytest.raises(InputError) as caught:
        read(parse(TEXT.replace(old, new), "m.yaml"))
    return [f"{f.where} {f.path}: {f.what}; {f.fix}" for f in caught.value.faults]


def test_a_mapping_is_read_with_its_loops_outermost_first(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(TEXT, encoding="utf-8")
    dram = LevelMapping("DRAM", (Loop("M", 4), Loop("N", 2)), (), frozenset("ABZ"))
    pe = LevelMapping("PE", (), (Loop("K", 8, "X"), Loop("M", 2, "Y")), frozenset("Z"), frozenset("A"))
    assert read(tmp_path / "m.yaml") == Mapping((dram, pe))


@given(st.text("ABCxyz_", min_size=1), st.integers(1, 2**53), st.sampled_from(["", "X", "Y"]))
def test_a_loop_is_read_as_it_is_written(rank: str, bound: int, axis: str) -> None:
    assert parse_loop(f" {rank}  {bound} {axis}", bool(axis)) == Loop(rank.upper(), bound, axis)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("M 4", "M4", "m.yaml:4 mapping[0].temporal[0]: 'M4' is not a temporal loop"),
        ("M 4", "M 4 X", "m.yaml:4 mapping[0].temporal[0]: 'M 4 X' is not a temporal loop"),
        ("K 8 X", "K 8", "m.yaml:9 mapping[1].spatial[0]: 'K 8' is not a spatial loop"),
        ("K 8 X", "K 8 Z", "m.yaml:9 mapping[1].spatial[0]: 'K 8 Z' is not a spatial loop"),
        ("M 4", "M -4", "m.yaml:4 mapping[0].temporal[0]: 'M -4' is not a temporal loop"),
        ("M 4", "M 0", "m.yaml:4 mapping[0].temporal[0]: 'M 0' has bound 0"),
        ("M 4", "M 99999999999999999999", "m.yaml:4 mapping[0].temporal[0]: 'M 99999999999999999999' has bound"),
        ("[M 4, n 2]", "M 4", "m.yaml:4 mapping[0].temporal: 'M 4' is not a list"),
        ("M 4", "4", "m.yaml:4 mapping[0].temporal[0]: 4 is not text"),
        ("- level: PE", "- levle: PE", "m.yaml:5 mapping[1].level: required field missing"),
        ("[A, B, Z]", "[A, A, Z]", "m.yaml:3 mapping[0].keep: DRAM names A 2 times in keep"),
        (TEXT[9:], " {}", "m.yaml:1 mapping: the mapping is not a list of levels"),
        (TEXT[9:], " []", "m.yaml:1 mapping: the mapping has no levels"),
        (TEXT[9:], " [PE]", "m.yaml:2 mapping[0]: 'PE' is not a mapping"),
    ],
)
def test_a_mapping_that_cannot_be_is_a_fault_at_its_line(old: str, new: str, fault: str) -> None:
    assert any(line.startswith(fault) for line in faults(old, new)), faults(old, new)


def test_all_faults_of_a_mapping_come_at_once() -> None:
    text = TEXT.replace("M 4", "M4").replace("K 8 X", "K 0 X").replace("n 2", "n two")
    with pytest.raises(InputError) as caught:
        read(parse(text, "m.yaml"))
    assert [fault.where for fault in caught.value.faults] == ["m.yaml:4", "m.yaml:4", "m.yaml:9"]


def test_the_schema_is_a_list_of_levels() -> None:
    found = schema()
    assert found["properties"]["mapping"]["type"] == "array"
    assert set(found["$defs"]["LevelMappingModel"]["properties"]) == {"level", "keep", "stream", "temporal", "spatial"}


ARCHITECTURE = Architecture((StorageLevel("DRAM"), StorageLevel("PE", holds=frozenset("Z"))), ComputeLevel("MAC"))


def design(format_text: str, leader: str) -> Design:
    formats = {"DRAM": {"A": Format.parse(format_text)}}
    return Design(ARCHITECTURE, Features(formats, (Saf("PE", "skipping", "Z", (leader,)),)))


WORKLOAD = Workload(Einsum.parse("Z[m] = A[m,k] * B[k]"), {"M": 2, "K": 3})


def test_a_design_that_names_the_workloads_tensors_and_ranks_fits_it() -> None:
    assert name_faults(design("UOP(M)-CP(K)", "B"), WORKLOAD) == []


def test_a_tensor_that_the_workload_lacks_is_named_beside_those_it_has() -> None:
    (fault,) = name_faults(design("UOP(M)-CP(K)", "Weights"), WORKLOAD)
    assert fault.what == "the design names tensor Weights, the workload has A, B, Z"
    assert fault.fix == "known names: A, B, Z"


def test_a_format_over_a_rank_that_the_tensor_lacks_is_a_fault() -> None:
    (fault,) = name_faults(design("UOP(M)-CP(C)", "B"), WORKLOAD)
    assert fault.what == "DRAM, A: format UOP(M)-CP(C) names rank C, the tensor has M, K"


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_a_mapping_that_is_written_out_is_read_as_itself(case) -> None:
    assert read(parse(text(case.mapping))) == case.mapping
