"""A whole design at one technology: energies that come from its blocks, and their areas."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sparseloom import designs
from sparseloom.arch.area import area
from sparseloom.arch.blocks import Role
from sparseloom.arch.component import Unit, component
from sparseloom.arch.energy import estimated
from sparseloom.arch.file import build, plain
from sparseloom.arch.technology import Technology
from sparseloom.document import parse
from sparseloom.errors import ArchitectureError, InputError

TECHNOLOGY = Technology()
TENSOR_CORES = ("stc", "stc-flexible", "stc-flexible-rle", "stc-flexible-rle-dual", "dstc")


@pytest.mark.parametrize("name", TENSOR_CORES)
def test_estimates_of_a_tensor_core_are_the_artifacts_energies(name) -> None:
    """DRAM's metadata is free in the artifact; its register file of 16 banks is within the tolerance of its component."""
    design = designs.load(name)
    found = estimated(design, TECHNOLOGY).architecture
    for level, own in zip(found.levels, design.architecture.levels, strict=True):
        for action, energy_pj in own.energy.energies_pj.items():
            if not action.startswith(("gated", "skipped")):
                tolerance = 0.31 if level.name == "RF" else 0.02
                assert level.energy.pj(action) == pytest.approx(energy_pj, rel=tolerance), (level.name, action)
    mac = found.compute.energy.parts["MAC"]
    assert mac["compute"] == pytest.approx(0.5608)
    assert mac["gated_compute"] == pytest.approx(0.01798, rel=1e-3)


SRAMS = {"shared_glb": 0.40, "weights_spad": 0.17, "weight_spad": 0.39}
"""Levels that are SRAM, and how far their estimates may be from the artifact's energies; all others are exact to its digits."""


@pytest.mark.parametrize("name", ["eyeriss", "eyeriss-v2-pe"])
def test_estimates_of_a_row_stationary_design_are_the_artifacts_energies(name) -> None:
    design = designs.load(name)
    found = estimated(design, TECHNOLOGY).architecture
    compared = set()
    for own, level in zip(design.architecture.levels, found.levels, strict=True):
        for action, energy_pj in own.energy.energies_pj.items():
            if action.startswith(("gated", "skipped")):
                continue
            block = f"{level.name} metadata" if action.startswith("metadata") else level.name
            tolerance = 2e-4 if block != level.name else SRAMS.get(level.name, 2e-4)
            assert level.energy.parts[block][action] == pytest.approx(energy_pj, rel=tolerance), (block, action)
            compared.add(level.name)
    assert compared == {level.name for level in found.levels} - {"DummyBuffer", "BackingStorage"}
    compute = design.architecture.compute
    for action, energy_pj in compute.energy.energies_pj.items():
        assert found.compute.energy.pj(action) == pytest.approx(energy_pj, rel=1e-3)


def test_what_lies_outside_of_an_element_costs_nothing() -> None:
    found = estimated(designs.load("eyeriss-v2-pe"), TECHNOLOGY).architecture.levels[0].energy
    assert set(found.energies_pj.values()) == {0.0}
    assert area(designs.load("eyeriss-v2-pe"), TECHNOLOGY).blocks[0].area_um2 == 0


def with_unit(used_by: dict[str, tuple[str, ...]], feature: bool = True):
    mux = component("mux", {"inputs": 4, "width_bits": 8})
    return replace(designs.load("tc"), units=(Unit("select", mux, 1024, used_by, 2.0, feature),))


def test_a_unit_adds_to_the_actions_that_use_it_and_is_a_part_of_them() -> None:
    plain_energy = estimated(designs.load("tc"), TECHNOLOGY).architecture.compute.energy
    energy = estimated(with_unit({"MAC": ("compute",)}), TECHNOLOGY).architecture.compute.energy
    one = component("mux", {"inputs": 4, "width_bits": 8}).estimate(TECHNOLOGY)
    assert energy.pj("compute") == pytest.approx(plain_energy.pj("compute") + 2 * one.pj("use"))
    assert energy.pj("compute", "gated") == pytest.approx(plain_energy.pj("compute", "gated") + 2 * one.pj("idle"))
    assert energy.parts["select"]["compute"] == pytest.approx(2 * one.pj("use"))
    for action, energy_pj in energy.energies_pj.items():
        assert energy_pj == pytest.approx(sum(part.get(action, 0.0) for part in energy.parts.values()))


def test_the_area_is_the_sum_of_its_blocks_and_knows_what_is_there_for_sparsity() -> None:
    found = area(with_unit({}), TECHNOLOGY)
    assert found.total_um2 == pytest.approx(sum(found.by_role().values()))
    select = next(block for block in found.blocks if block.name == "select")
    assert found.feature_share == pytest.approx(select.area_um2 / found.total_um2)
    assert found.by_role()[Role.COMPUTE] == pytest.approx(1024 * 332.25)
    assert area(with_unit({}, feature=False), TECHNOLOGY).feature_share == 0


def test_levels_that_do_not_say_what_they_are_made_of_are_named_together() -> None:
    design = designs.load("stc")
    levels = tuple(replace(level, component=None) for level in design.architecture.levels)
    bare = replace(design, architecture=replace(design.architecture, levels=levels))
    with pytest.raises(ArchitectureError) as raised:
        estimated(bare, TECHNOLOGY)
    assert [fault.path for fault in raised.value.faults] == ["DRAM", "SMEM", "RF", "LRF"]


def test_units_name_levels_and_actions_that_exist() -> None:
    with pytest.raises(ArchitectureError) as raised:
        with_unit({"MACS": ("compute",), "SMEM": ("compute",)})
    assert "select is used at unknown level MACS" in str(raised.value)
    assert "select is used by unknown action 'compute'" in str(raised.value)


def test_supports_name_units_and_levels_that_exist() -> None:
    from sparseloom.arch.design import Support
    from sparseloom.fibertree.pattern import Pattern

    support = Support(Pattern.parse("K0(2:4)"), {"SMEN": "CP(K0=H)"}, ("selection of A",))
    with pytest.raises(ArchitectureError) as raised:
        replace(designs.load("stc"), supports={"A": (support,)})
    assert [fault.what for fault in raised.value.faults] == [
        "a support of A names unknown unit selection of A",
        "a support of A names unknown level SMEN",
    ]
    assert "did you mean 'SMEM'?" in str(raised.value)


FILE = """
name: small
levels:
  - {name: DRAM, word_bits: 8, block_words: 8, component: {dram: {type: HBM2}}}
  - {name: GLB, word_bits: 8, block_words: 4, capacity_words: 4096, metadata_width_bits: 16, metadata_capacity_bits: 8192,
     component: {sram: {banks: 2}}, metadata_component: {regfile: {}}}
compute: {name: MAC, word_bits: 8, instances: [4, 1], component: {mac: {}}}
units:
  - {name: select, component: {mux: {inputs: 4, width_bits: 8}}, instances: 4, used_by: {MAC: [compute]}}
"""


def test_a_file_says_what_levels_are_made_of_and_sizes_follow_from_the_level() -> None:
    design = build(parse(FILE, "small.yaml"))
    glb = design.architecture.levels[1]
    assert glb.component == component("sram", {"width_bits": 32, "depth": 1024, "banks": 2})
    assert glb.metadata_component == component("regfile", {"width_bits": 16, "depth": 512})
    assert design.architecture.compute.component == component("mac", {"width_bits": 8})
    assert estimated(design, TECHNOLOGY).architecture.levels[0].energy.pj("read") == pytest.approx(64 * 3.9)


def test_what_is_written_is_read_again() -> None:
    design = build(parse(FILE, "small.yaml"))
    assert build(parse(json.dumps(plain(design)), "again.yaml")) == design


def test_faults_of_components_have_their_lines() -> None:
    text = FILE.replace("banks: 2", "bank: 2").replace("inputs: 4, width_bits: 8", "inputs: 4")
    with pytest.raises(InputError) as raised:
        build(parse(text, "small.yaml"))
    faults = {(fault.where, fault.what) for fault in raised.value.faults}
    assert ("small.yaml:6", "a sram has no parameter 'bank'") in faults
    assert ("small.yaml:9", "a mux needs width_bits") in faults
