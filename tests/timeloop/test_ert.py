"""Energies: raw, and as our own tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sparseloom.arch.actions import DATA_ACTIONS, OUTCOMES
from sparseloom.timeloop import TimeloopInput
from sparseloom.timeloop.ert import COMPUTE_ACTIONS, STORAGE_ACTIONS, component_name, energy_table

Texts = dict[str, str]
Load = Callable[[Texts], TimeloopInput]
Faults = Callable[[Texts], list[str]]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("system.SM.Subpartition[0..3].PE[0..255].LRF", "LRF"),
        ("chip.PE[0..3].MAC[0..1]", "MAC"),
        ("chip_top_level.mac[1..168]", "mac"),
        ("DRAM", "DRAM"),
    ],
)
def test_component_is_the_last_part_of_its_path(path: str, name: str) -> None:
    assert component_name(path) == name


def test_largest_energy_over_argument_variants_is_taken(toy: Texts, load_texts: Load) -> None:
    found = load_texts(toy)
    assert found.details.ert["Buffer"] == {"read": 3.0, "write": 2.0, "gated_read": 0.25, "metadata_read": 0.5}
    energy = found.design.architecture.levels[1].energy
    assert energy.energies_pj == {"read": 3.0, "fill": 2.0, "update": 2.0, "gated_read": 0.25, "metadata_read": 0.5}
    assert energy.source == "Timeloop ERT, ERT.yaml"
    assert found.design.architecture.compute.energy.energies_pj == {"compute": 0.75, "gated_compute": 0.125}


def test_every_action_of_ours_has_names_in_the_table() -> None:
    kinds = [f"{data}{action}" for data in ("", "metadata_") for action in DATA_ACTIONS]
    names = {kind if outcome == "actual" else f"{outcome}_{kind}" for kind in kinds for outcome in OUTCOMES}
    assert set(STORAGE_ACTIONS) == names
    assert set(COMPUTE_ACTIONS) == {"compute", "gated_compute", "skipped_compute"}


def test_gated_and_skipped_actions_never_fall_back_to_actual_ones() -> None:
    energies = energy_table({"read": 5.0, "write": 4.0, "idle": 1.0}, compute=False, file="e.yaml").energies_pj
    assert energies == {"read": 5.0, "fill": 4.0, "update": 4.0}
    energies = energy_table(
        {"gated_write": 2.0, "random_fill": 3.0, "update": 6.0, "write": 4.0}, False, ""
    ).energies_pj
    assert energies == {"fill": 3.0, "update": 6.0, "gated_fill": 2.0, "gated_update": 2.0}
    assert energy_table({"mac": 1.0, "mult_random": 2.0}, compute=True, file="").energies_pj == {"compute": 2.0}


def test_version_02_maps_components_to_actions(toy: Texts, load_texts: Load) -> None:
    toy["arch.yaml"] = toy["arch.yaml"].replace("version: 0.3", "version: 0.2")
    toy["ERT.yaml"] = """\
ERT:
  version: 0.2
  tables:
    chip.Main: {read: 100, write: 110}
    chip.PE[0..3].Buffer:
      read: [{arguments: {data_delta: 0}, energy: 1}, {arguments: {data_delta: 1}, energy: 3}]
    chip.PE[0..3].MAC[0..1]: {mac_random: 0.75}
"""
    found = load_texts(toy)
    assert found.version == "0.2"
    assert found.details.ert == {
        "Main": {"read": 100.0, "write": 110.0},
        "Buffer": {"read": 3.0},
        "MAC": {"mac_random": 0.75},
    }


def test_missing_tables_and_tables_of_nobody_are_noted(toy: Texts, load_texts: Load) -> None:
    toy["ERT.yaml"] = toy["ERT.yaml"].replace("chip.Main", "chip.Mian")
    assert [note.partition("ERT.yaml:1: ")[2] or note for note in load_texts(toy).notes] == [
        "the ERT has a table for Mian, which is no level of the architecture",
        "the ERT has no table for Main: its energies are 0 pJ",
    ]
    del toy["ERT.yaml"]
    assert load_texts(toy).notes == ("no ERT is given: the files have no energies",)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("energy: 100", "energy: much", "5: 'much' stands where a number is expected @ "
         "ERT.tables[0].actions[0].energy"),
        ("energy: 100", "energy: -1", "5: '-1' stands where 0 or more is expected @ ERT.tables[0].actions[0].energy"),
        ("energy: 100", "enrgy: 100", "5: required key 'energy' is missing @ ERT.tables[0].actions[0] | add `energy:`"),
        ("name: chip.Main", "name: chip.Buffer", "6: two energy tables are for a component named Buffer @ "
         "ERT.tables[1].name | give each component a name of its own"),
        ("  tables:", "  tabels:", "1: required key 'tables' is missing @ ERT | add `tables:`"),
    ],
)  # fmt: skip
def test_fault_in_the_tables_is_shown_with_its_place(
    toy: Texts, faults: Faults, old: str, new: str, expected: str
) -> None:
    assert toy["ERT.yaml"].count(old) == 1
    toy["ERT.yaml"] = toy["ERT.yaml"].replace(old, new)
    assert f"ERT.yaml:{expected}" in faults(toy)
