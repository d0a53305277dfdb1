"""The tree of components: levels, instances, meshes, classes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sparseloom.timeloop import TimeloopInput

Texts = dict[str, str]
Load = Callable[[Texts], TimeloopInput]
Faults = Callable[[Texts], list[str]]

V04 = """\
architecture:
  version: 0.4
  nodes:
  - !Container
    name: chip
    attributes: {technology: 45nm, datawidth: 8}
  - !Component
    name: Main
    class: DRAM
    attributes: {width: 64}
  - !Container
    name: column
    spatial: {meshX: 4}
  - !Container
    name: PE
    spatial: {meshY: 2}
    constraints: {spatial: {permutation: [M]}}
  - !Parallel
    nodes:
    - !Component
      name: a_spad
      class: storage
      attributes: {depth: 8, width: 8}
    - !Component
      name: z_spad
      class: smartbuffer_RF
      attributes: {depth: 4, width: 16, datawidth: 16}
  - !Component
    name: mac
    class: intmac
"""
V04_PARSED = """\
architecture:
  version: '0.4'
  subtree:
  - name: chip_top_level
    attributes: {version: '0.4', technology: 45nm}
    local:
    - {name: 'Main[1..1]', class: DRAM, attributes: {width: 64, datawidth: 8, meshX: 1, meshY: 1}}
    - {name: 'inter_column_spatial[1..1]', class: dummy_storage, attributes: {width: 1, depth: 1, datawidth: 1}}
    - {name: 'inter_PE_spatial[1..4]', class: dummy_storage, attributes: {width: 1, depth: 1, datawidth: 1, meshX: 4}}
    - {name: 'a_spad[1..8]', class: storage, attributes: {depth: 8, width: 8, datawidth: 8, meshX: 4, meshY: 2}}
    - {name: 'z_spad[1..8]', class: smartbuffer_RF, attributes: {depth: 4, width: 16, datawidth: 16, meshX: 4}}
    - {name: 'mac[1..8]', class: intmac, attributes: {datawidth: 8, meshX: 4, meshY: 2}}
"""


def test_ranges_multiply_down_the_tree_and_meshes_divide_them(toy: Texts, load_texts: Load) -> None:
    architecture = load_texts(toy).design.architecture
    assert architecture.names == ("Main", "Buffer")
    assert [(level.mesh_x, level.mesh_y) for level in architecture.levels] == [(1, 1), (2, 2)]
    assert (architecture.compute.name, architecture.compute.mesh_x, architecture.compute.mesh_y) == ("MAC", 4, 2)


def test_instances_without_a_mesh_lie_along_x(toy: Texts, load_texts: Load) -> None:
    toy["arch.yaml"] = toy["arch.yaml"].replace("          meshX: 2\n", "").replace(", meshX: 4", "")
    toy["map.yaml"] = toy["map.yaml"].replace(", split: 1", "")
    architecture = load_texts(toy).design.architecture
    assert (architecture.levels[1].mesh_x, architecture.levels[1].mesh_y) == (4, 1)
    assert (architecture.compute.mesh_x, architecture.compute.mesh_y) == (8, 1)


def test_mesh_that_is_not_the_number_of_instances_is_refused_with_both_numbers(toy: Texts, faults: Faults) -> None:
    toy["arch.yaml"] = toy["arch.yaml"].replace("meshX: 2\n", "meshX: 3\n").replace("meshX: 4", "meshX: 4, meshY: 4")
    assert faults(toy) == [
        "arch.yaml:13: Buffer has 4 instances, its mesh is 3 along one side @ "
        "architecture.subtree[0].subtree[0].local[0]"
        " | write Buffer[0..N-1] with N instances, or mend meshX and meshY",
        "arch.yaml:22: MAC has 8 instances, its mesh is 4 x 4 = 16 @ architecture.subtree[0].subtree[0].local[1]"
        " | write MAC[0..N-1] with N instances, or mend meshX and meshY",
    ]


def test_classes_that_neither_store_nor_compute_are_left_out_with_a_note(toy: Texts, load_texts: Load) -> None:
    adder = "      - {name: Adder, class: intadder, attributes: {anything: 3}}\n"
    toy["arch.yaml"] = toy["arch.yaml"].replace("      - name: MAC", f"{adder}      - name: MAC")
    found = load_texts(toy)
    assert found.design.architecture.names == ("Main", "Buffer")
    (note,) = (note for note in found.notes if "Adder" in note)
    assert note.endswith(
        "component Adder of class intadder is left out: "
        "Timeloop knows classes with DRAM, SRAM, regfile, smartbuffer, storage, mac, compute"
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Buffer\n", "Main\n", "2 components are named Main @ architecture | give each a name of its own"),
        ("PE[0..3]", "PE[3..0]", "the range of 'PE[3..0]' ends at 0, before 3 @ "
         "architecture.subtree[0].subtree[0].name | "
         "write Name[0..N-1]"),
        ("MAC[0..1]", "'[0..1]'", "'[0..1]' has no name before its range @ "
         "architecture.subtree[0].subtree[0].local[1].name | write Name[0..N-1]"),
        ("class: intmac", "class: intadder", "the architecture has no compute component @ architecture | "
         "a class contains one of mac, compute"),
        ("class: DRAM", "classs: DRAM", "unknown key 'classs' of the component @ "
         "architecture.subtree[0].local[0].classs | did you mean 'class'?"),
        ("datawidth: 16\n", "data_width: 16\n", "unknown key 'data_width' of the storage attributes @ "
         "architecture.subtree[0].subtree[0].local[0].attributes.data_width | did you mean 'datawidth'?"),
        ("version: 0.3", "version: 0.5", "unknown version 0.5 @ architecture.version | versions 0.2, 0.3, 0.4 are "
         "read"),
        ("  version: 0.3\n", "", "the architecture has no version @ architecture | "
         "add `version:` with one of 0.2, 0.3, 0.4"),
        ("  subtree:\n  - name: chip", "  nodes:\n  - name: chip", "'nodes' is not a key of version 0.3 @ "
         "architecture.nodes | version 0.3 writes `subtree:`"),
        ("local:\n    - name: Main", "local: 5\n    junk:\n    - name: Main", "'5' stands where a list is expected @ "
         "architecture.subtree[0].local | write `- item` lines"),
    ],
)  # fmt: skip
def test_fault_in_the_tree_is_shown_with_its_place_and_a_way_out(
    toy: Texts, faults: Faults, old: str, new: str, expected: str
) -> None:
    assert toy["arch.yaml"].count(old) == 1
    toy["arch.yaml"] = toy["arch.yaml"].replace(old, new)
    assert expected in [fault.split(": ", 1)[1] for fault in faults(toy)]


def test_two_branches_are_refused(toy: Texts, faults: Faults) -> None:
    toy["arch.yaml"] += "    - name: other\n      local: []\n"
    assert faults(toy)[0] == (
        "arch.yaml:10: the tree branches into 2 subtrees, at arch.yaml:11 and arch.yaml:25 @ "
        "architecture.subtree[0].subtree | keep one: levels form a chain"
    )


def test_storage_inside_compute_and_a_second_compute_are_refused(toy: Texts, faults: Faults) -> None:
    toy["arch.yaml"] += (
        "      - {name: Late, class: SRAM, attributes: {depth: 1, meshX: 2}}\n"
        "      - {name: MAC2[0..1], class: mac, attributes: {meshX: 4}}\n"
    ).replace("MAC2[0..1]", "'MAC2[0..1]'")
    texts = [fault.split(": ", 1)[1] for fault in faults(toy)]
    assert texts == [
        "storage Late stands inside compute MAC @ architecture.subtree[0].subtree[0].local[2] | compute units are "
        "innermost",
        "two compute components, MAC and MAC2 @ architecture.subtree[0].subtree[0].local[3] | keep one of them",
    ]


def _v04(toy: Texts, arch: str) -> Texts:
    mapping = """\
mapping:
- {target: Main, type: temporal, factors: [K=6, N=4], permutation: [K, N, M]}
- {target: column, type: spatial, factors: M=4, permutation: MNK}
- {target: PE, type: spatial, factors: M=2, permutation: NKM, split: 0}
"""
    if arch is V04_PARSED:
        mapping = mapping.replace("column", "inter_column_spatial").replace("PE", "inter_PE_spatial")
        mapping += "- {target: inter_column_spatial, type: bypass, bypass: [A, B, Z]}\n"
        mapping += "- {target: inter_PE_spatial, type: bypass, bypass: [A, B, Z]}\n"
    return {"arch.yaml": arch, "problem.yaml": toy["problem.yaml"], "map.yaml": mapping}


def test_v04_nodes_and_the_front_ends_tree_give_the_same_values(toy: Texts, load_texts: Load) -> None:
    nodes, parsed = load_texts(_v04(toy, V04)), load_texts(_v04(toy, V04_PARSED))
    assert nodes.design == parsed.design
    assert nodes.mapping == parsed.mapping
    assert nodes.details == parsed.details


def test_v04_fan_out_stands_where_the_node_is_and_holds_nothing(toy: Texts, load_texts: Load) -> None:
    found = load_texts(_v04(toy, V04))
    names = ("Main", "inter_column_spatial", "inter_PE_spatial", "a_spad", "z_spad")
    assert found.design.architecture.names == names
    meshes = [(level.mesh_x, level.mesh_y) for level in found.design.architecture.levels]
    assert meshes == [(1, 1), (1, 1), (4, 1), (4, 2), (4, 2)]
    assert found.design.architecture.compute.mesh_y == 2
    assert found.mapping is not None
    assert [len(level.keep) for level in found.mapping.levels] == [3, 0, 0, 3, 3]
    assert found.design.name == "chip"


def test_v04_container_attributes_are_inherited_unless_the_component_has_its_own(toy: Texts, load_texts: Load) -> None:
    architecture = load_texts(_v04(toy, V04)).design.architecture
    assert [level.word_bits for level in architecture.levels] == [8, 1, 1, 8, 16]
    assert architecture.compute.word_bits == 8


def test_v04_fan_out_inside_parallel_nodes_is_refused(toy: Texts, faults: Faults) -> None:
    arch = V04.replace("      class: storage\n", "      class: storage\n      spatial: {meshX: 2}\n")
    assert faults(_v04(toy, arch)) == [
        "arch.yaml:23: 'a_spad' fans out inside parallel nodes @ architecture.nodes[4].nodes[0].spatial | "
        "fan out before them"
    ]


def test_a_component_that_is_not_enabled_is_left_out(toy: Texts, load_texts: Load) -> None:
    arch = V04.replace("      class: smartbuffer_RF\n", "      class: smartbuffer_RF\n      enabled: false\n")
    found = load_texts(_v04(toy, arch))
    assert found.design.architecture.names[-1] == "a_spad"
    assert any(note.endswith("component z_spad is not enabled and is left out") for note in found.notes)


def test_tags_other_than_the_three_are_refused(toy: Texts, faults: Faults) -> None:
    (fault,) = faults(_v04(toy, V04.replace("!Parallel", "!Hierarchical")))
    assert fault == (
        "arch.yaml:18: tag !Hierarchical is not allowed @ architecture.nodes[4] | "
        "allowed here: !Component, !Container, !Parallel"
    )
