import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.generators import cases

from sparseloom import designs
from sparseloom.arch.design import Design
from sparseloom.arch.features import SAF_KINDS, Saf
from sparseloom.arch.file import KINDS, build, parse_saf, plain, read, schema
from sparseloom.arch.hierarchy import Network
from sparseloom.document import parse
from sparseloom.errors import InputError
from sparseloom.fibertree.format import Format

TOY = """\
name: toy
source: made by hand
levels:
  - name: DRAM
    word_bits: 8
    block_words: 8
    metadata_width_bits: 64
    read_words_per_cycle: 0.5
    formats: {A: "UOP(M)-CP(K):4"}
    energy_pj: {read: 512, gated_metadata_read: 1e-5}
    energy_source: a guess
  - name: PE
    capacity_bits: 1024
    metadata_capacity_bits: 32
    instances: [4, 2]
    holds: [A, Z]
    multicast: false
    skipping: [Z <- A & B, A <-> B]
    gating: [B <- A | A <- B]
    position_skipping: [A]
    decompresses: true
    compresses: true
compute: {name: MAC, word_bits: 8, instances: [8, 2], gating: true, energy_pj: {compute: 0.5, skipped_compute: 0.1}}
"""


def toy(old: str = "", new: str = "") -> Design:
    assert old in TOY
    return build(parse(TOY.replace(old, new), "toy.yaml"))


def faults(old: str, new: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        toy(old, new)
    return [f"{f.where} {f.path}: {f.what}; {f.fix}" for f in caught.value.faults]


def test_a_design_is_read_with_its_levels_outermost_first(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text("design:\n" + "".join(f"  {line}\n" for line in TOY.splitlines()), encoding="utf-8")
    design = read(path)
    assert design == toy()
    dram, pe = design.architecture.levels
    assert (design.name, design.source) == ("toy", "made by hand")
    assert (dram.block_words, dram.capacity_words, dram.read_words_per_cycle, dram.holds) == (8, None, 0.5, None)
    assert (dram.energy.pj("read"), dram.energy.pj("metadata_read", "gated")) == (512, 1e-5)
    assert dram.energy.source == "a guess"
    assert (pe.word_bits, pe.capacity_words, pe.metadata_capacity_bits) == (16, 64, 32)
    assert (pe.mesh_x, pe.mesh_y, pe.network, pe.holds) == (4, 2, Network(False, True), frozenset("AZ"))
    assert design.architecture.fanout(0) == (4, 2)
    assert design.architecture.fanout(1) == (2, 1)
    assert design.architecture.compute.energy.pj("compute", "skipped") == 0.1


def test_the_features_are_those_that_are_written() -> None:
    features = toy().features
    assert features.formats == {"DRAM": {"A": Format.parse("UOP(M)-CP(K):4")}}
    assert features.safs == (
        Saf("PE", "gating", "B", ("A",), (("A", ("B",)),)),
        Saf("PE", "skipping", "Z", ("A", "B")),
        Saf("PE", "skipping", "A", ("B",)),
        Saf("PE", "skipping", "B", ("A",)),
        Saf("PE", "position-skipping", "A"),
    )
    assert (features.compute_gating, features.compute_skipping) == (True, False)
    assert features.decompression == features.compression == frozenset({"PE"})


tensors = st.text("ABCxyz_", min_size=1, max_size=4)
spaces = st.text(" ", max_size=2)


@given(st.lists(tensors, min_size=2, max_size=5, unique=True), st.sampled_from(SAF_KINDS[:3]), spaces)
def test_a_follower_and_its_leaders_are_read_whatever_the_spacing(names: list[str], kind: str, gap: str) -> None:
    text = f"{gap}{names[0]}{gap}<-{gap}" + f"{gap}&{gap}".join(names[1:]) + gap
    assert parse_saf(text, "PE", kind) == (Saf("PE", kind, names[0], tuple(names[1:])),)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("Z <- A & B", "Z -> A", "toy.yaml:18 levels[1].skipping[0]: 'Z -> A' is not a skipping feature"),
        ("Z <- A & B", "Z <- A &", "toy.yaml:18 levels[1].skipping[0]: 'Z <- A &' is not a skipping feature"),
        ("Z <- A & B", "Z", "toy.yaml:18 levels[1].skipping[0]: 'Z' is not a skipping feature"),
        ("A <-> B", "A <-> A", "toy.yaml:18 levels[1].skipping[1]: in 'A <-> A' a tensor leads itself"),
        ("Z <- A & B", "Z <- A & A", "toy.yaml:18 levels[1].skipping[0]: in 'Z <- A & A' a tensor leads itself"),
        ("skipping: [A]", "skipping: [A <- B]", "toy.yaml:20 levels[1].position_skipping[0]: 'A <- B' is not"),
        ("capacity_bits: 1024", "capacity_bits: 1030", "toy.yaml:13 levels[1].capacity_bits: capacity_bits 1030"),
        ("capacity_bits: 1024", "capacity_bits: 16, capacity_words: 1", "toy.yaml:13"),
        ("capacity_bits: 1024", "capacity_bits: -16", "toy.yaml:13 levels[1].capacity_bits: -16 is below 0"),
        ("word_bits: 8\n    block", "word_bits: 0\n    block", "toy.yaml:5 levels[0].word_bits: 0 is below 1"),
        ("0.5\n", "0\n", "toy.yaml:8 levels[0].read_words_per_cycle: 0 is not above 0"),
        ("0.5\n", ".inf\n", "toy.yaml:8 levels[0].read_words_per_cycle: inf is not a finite number"),
        ("UOP(M)-CP(K):4", "UOP(M)-XX(K)", "toy.yaml:9 levels[0].formats.A: unknown format kind 'XX'"),
        ("UOP(M)-CP(K):4", "UOP-CP", "toy.yaml:9 levels[0].formats.A: 'UOP-CP' leaves 2 ranks without a name"),
        ("{read: 512", "{write: 512", "toy.yaml:10 levels[0].energy_pj.write: DRAM: unknown action 'write'"),
        ("{read: 512", "{read: -1", "toy.yaml:10 levels[0].energy_pj.read: -1 is below 0"),
        ("{compute: 0.5", "{read: 0.5", "toy.yaml:23 compute.energy_pj.read: MAC: unknown action 'read'"),
        ("instances: [4, 2]", "instances: [4]", "toy.yaml:15 levels[1].instances[1]: required"),
        ("instances: [4, 2]", "instances: [3, 2]", "toy.yaml:23 compute: MAC has mesh_x 8, which the 3 of PE above"),
        ("[8, 2]", "[8, 1]", "toy.yaml:23 compute: MAC has mesh_y 1, which the 2 of PE above"),
        ("name: PE", "name: DRAM", "toy.yaml:3 levels: level name DRAM is used 2 times"),
        ("multicast: false", "multicast: no", "toy.yaml:17 levels[1].multicast: 'no' is not true or false"),
        ("compute: {name: MAC, ", "computer: {name: MAC, ", "toy.yaml:1 compute: required field missing"),
    ],
)
def test_a_design_that_cannot_be_is_a_fault_at_its_line(old: str, new: str, fault: str) -> None:
    if "capacity_words" in new:
        new = new.replace(", ", "\n    ")
    assert any(line.startswith(fault) for line in faults(old, new)), faults(old, new)


def test_all_faults_of_a_design_come_at_once() -> None:
    text = TOY.replace("Z <- A & B", "Z").replace("UOP(M)", "XXX(M)").replace("read: 512", "reed: 512")
    text = text.replace("instances: [8, 2]", "instances: [7, 2]")
    with pytest.raises(InputError) as caught:
        build(parse(text, "toy.yaml"))
    whats = [f"{fault.where} {fault.what}" for fault in caught.value.faults]
    assert {what.split()[0] for what in whats} == {"toy.yaml:10", "toy.yaml:9", "toy.yaml:18", "toy.yaml:23"}


def test_a_name_where_a_design_belongs_says_what_it_is() -> None:
    with pytest.raises(InputError, match="'eyeriss' is the name of a design, not a design"):
        read(parse("design: eyeriss"))


def test_the_schema_names_every_key_of_a_level_with_its_unit() -> None:
    found = schema()
    level = found["$defs"]["LevelModel"]
    assert {"capacity_bits", "capacity_words", "read_words_per_cycle", "energy_pj"} <= set(level["properties"])
    assert level["required"] == ["name"]
    assert found["properties"]["design"]["required"] == ["name", "levels", "compute"]


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_a_design_that_is_written_out_is_read_as_itself(case) -> None:
    features = case.design.features
    assume(all(target not in leaders for saf in features.safs for target, leaders in saf.ways))
    # a file lists features by level and kind
    order = {(level, kind): i for i, (level, kind) in enumerate(product(case.design.architecture.names, KINDS))}
    safs = tuple(sorted(features.safs, key=lambda saf: order[saf.level, saf.kind]))
    named = replace(case.design, name="any", features=replace(features, safs=safs))
    assert read(parse(json.dumps({"design": plain(named)}))) == named


@pytest.mark.parametrize("name", designs.names())
def test_a_published_design_that_is_written_out_is_read_as_itself(name: str) -> None:
    design = designs.load(name)
    assert read(parse(json.dumps({"design": plain(design)}))) == design
