"""What files hold which sections: several files, one file, sections that are missing, twice, or somebody else's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sparseloom.document import parse
from sparseloom.timeloop import TimeloopInput, is_timeloop
from sparseloom.timeloop.dialect import TAGS

Texts = dict[str, str]
Load = Callable[[Texts], TimeloopInput]
Faults = Callable[[Texts], list[str]]


def test_one_file_says_the_same_as_many(toy: Texts, load_texts: Load) -> None:
    many = load_texts(toy)
    one = load_texts({"ERT.yaml": "".join(toy.values())})
    assert (one.workload, one.design, one.mapping, one.details) == (
        many.workload,
        many.design,
        many.mapping,
        many.details,
    )


@pytest.mark.parametrize("name", ["architecture", "problem", "mapping", "sparse_optimizations", "ERT"])
def test_second_section_is_refused_with_both_places(toy: Texts, faults: Faults, name: str) -> None:
    (file,) = (file for file, text in toy.items() if text.startswith(name))
    assert faults({**toy, "more.yaml": toy[file]}) == [
        f"more.yaml:1: a second {name}, the first is at {file}:1 @ {name} | give files with one {name} between them"
    ]


@pytest.mark.parametrize("mapping", ["mapping: []\n", "mapping:\n", "mapping: null\n"])
def test_empty_mapping_counts_as_absent(toy: Texts, load_texts: Load, mapping: str) -> None:
    assert load_texts({**toy, "more.yaml": mapping}).mapping == load_texts(toy).mapping
    assert load_texts({**toy, "map.yaml": mapping}).mapping is None


def test_missing_sections_are_named_with_the_files_that_are_needed(toy: Texts, faults: Faults) -> None:
    fix = "give the files with `architecture:` and `problem:`; `mapping:`, `sparse_optimizations:`, `ERT:` are optional"
    assert faults({"map.yaml": toy["map.yaml"]}) == [f"architecture and problem missing in map.yaml | {fix}"]
    del toy["problem.yaml"]
    assert f"problem missing in arch.yaml, map.yaml, sparse.yaml, ERT.yaml | {fix}" in faults(toy)
    assert faults({}) == [f"architecture and problem missing in no files | {fix}"]


def test_unreadable_files_are_told_with_the_faults_of_the_others(toy: Texts, faults: Faults) -> None:
    toy["problem.yaml"] = "problem: [\n"
    toy["map.yaml"] = toy["map.yaml"].replace("target: Buffer, type: bypass", "target: Bufer, type: bypass")
    toy["arch.yaml"] = toy["arch.yaml"].replace("width: 64", "width: wide")
    shown = faults(toy)
    assert shown[0].startswith("problem.yaml:2: not YAML: ")
    assert [fault.split(" | ")[0] for fault in shown[1:]] == [
        "arch.yaml:9: 'wide' stands where a number is expected @ architecture.subtree[0].local[0].attributes.width"
    ]


def test_faults_of_all_files_are_shown_together(toy: Texts, faults: Faults) -> None:
    toy["problem.yaml"] = toy["problem.yaml"].replace("M: 8", "M: eight").replace("[[[K]], [[N]]]", "[[[K]], [[L]]]")
    toy["map.yaml"] = toy["map.yaml"].replace("type: bypass", "type: bypas")
    toy["sparse.yaml"] = toy["sparse.yaml"].replace("type: skipping", "type: skiping")
    toy["ERT.yaml"] = toy["ERT.yaml"].replace("energy: 100", "energy: lots")
    places = [fault.split(": ")[0] for fault in faults(toy)]
    assert places == ["problem.yaml:10", "problem.yaml:7", "sparse.yaml:12", "ERT.yaml:5", "map.yaml:6"]


def test_unknown_section_is_refused_with_a_suggestion(toy: Texts, faults: Faults) -> None:
    toy["map.yaml"] = toy["map.yaml"].replace("mapping:", "maping:")
    assert faults(toy) == ["map.yaml:1: unknown key 'maping' of the top @ maping | did you mean 'mapping'?"]


def test_constraints_and_mapper_settings_are_ignored_and_noted(toy: Texts, load_texts: Load) -> None:
    toy["mapper.yaml"] = "mapper: {algorithm: random}\narchitecture_constraints: {targets: [{target: Main}]}\n"
    found = load_texts(toy)
    reason = "it guides the search for a mapping; the mapping is taken as it stands"
    assert [(each.path, each.reason) for each in found.ignored if each.where.count("mapper.yaml")] == [
        ("mapper", reason),
        ("architecture_constraints", reason),
    ]
    said = [note.split("mapper.yaml:")[1] for note in found.notes]
    tail = "is given and not used: the mapping is taken as it stands, and none is searched for"
    assert said == [f"1: mapper {tail}", f"2: architecture_constraints {tail}"]


def test_attributes_that_a_compound_component_declares_are_ignored(
    toy: Texts, load_texts: Load, faults: Faults
) -> None:
    toy["arch.yaml"] = toy["arch.yaml"].replace("width: 64,", "width: 64, lookup_tables: 3,")
    assert faults(toy)[0].startswith("arch.yaml:9: unknown key 'lookup_tables' of the storage attributes @ ")
    toy["compound.yaml"] = (
        "compound_components: {classes: [{name: SRAM_MD, attributes: {lookup_tables: must_specify}}]}\n"
    )
    (ignored,) = (each for each in load_texts(toy).ignored if each.path.endswith("lookup_tables"))
    assert ignored.reason == "a compound component declares it for the energy estimation, whose outcome is the ERT"
    assert str(ignored).endswith(f"arch.yaml:9: {ignored.path} is ignored in version 0.3: {ignored.reason}")


def test_timeloops_files_are_told_from_others(toy: Texts) -> None:
    assert all(is_timeloop(parse(text)) for text in toy.values())
    assert is_timeloop(parse("architecture: {version: 0.4, nodes: [!Container {name: x}]}", tags=TAGS))
    assert is_timeloop(parse("mapper: {algorithm: random}"))
    assert not is_timeloop(parse("architecture: {levels: [{name: DRAM}]}"))
    assert not is_timeloop(parse("mapping: [{level: DRAM, temporal: []}]"))
    assert not is_timeloop(parse("workload: {einsum: 'Z[m] = A[m]'}"))
