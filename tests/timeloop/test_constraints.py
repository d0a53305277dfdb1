"""Timeloop's constraints as ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sparseloom.errors import InputError
from sparseloom.mapping.constraints import Limit
from sparseloom.timeloop import TimeloopInput, load

Texts = dict[str, str]

CONSTRAINTS = """\
architecture_constraints:
  targets:
  - {target: Main, type: temporal, factors: K=1 M<=4, permutation: KN}
  - {target: Main, type: spatial, factors: N=0 K1, permutation: MNK, split: 1}
  - {target: Buffer, type: bypass, keep: [A], bypass: [B]}
mapspace_constraints:
  targets:
  - {target: Buffer, type: temporal, factors: N>=2}
  - {target: Buffer, type: utilization, min: 0.25}
"""


@pytest.fixture
def search(toy: Texts, tmp_path: Path) -> Callable[[str], TimeloopInput]:
    def read(constraints: str) -> TimeloopInput:
        texts = {name: text for name, text in toy.items() if not text.startswith("mapping")} | {
            "limits.yaml": constraints
        }
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        return load([tmp_path / name for name in texts], searching=True)

    return read


def test_factors_orders_axes_and_tensors_are_read(search) -> None:
    found = search(CONSTRAINTS).constraints
    main, buffer = found.of("Main"), found.of("Buffer")
    assert main.temporal == {"K": Limit(1, 1), "M": Limit(1, 4)}
    assert main.inner == ("N", "K")
    assert main.spatial == {"N": Limit(whole=True), "K": Limit(1, 1)}
    assert main.axes == {"M": "X", "N": "Y", "K": "Y"}
    assert (buffer.keep, buffer.bypass) == (frozenset("A"), frozenset("B"))
    assert buffer.temporal == {"N": Limit(2)}
    assert found.least_parallelism == 0.25


def test_constraints_are_passed_over_unless_a_mapping_is_searched(toy: Texts, tmp_path: Path) -> None:
    for name, text in {**toy, "limits.yaml": CONSTRAINTS}.items():
        (tmp_path / name).write_text(text)
    found = load([*(tmp_path / name for name in toy), tmp_path / "limits.yaml"])
    assert not found.constraints.levels or not any(level.temporal for level in found.constraints.levels.values())
    assert any("architecture_constraints is given and not used" in note for note in found.notes)


def test_the_older_section_names_its_constraints(search) -> None:
    found = search("mapspace:\n  constraints:\n  - {target: Main, type: temporal, factors: K1}\n").constraints
    assert found.of("Main").temporal == {"K": Limit(1, 1)}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("target: Main, type: temporal", "target: Mian, type: temporal", "unknown level 'Mian'"),
        ("type: utilization", "type: use", "unknown type of constraint 'use'"),
        ("K=1 M<=4", "K=1 J=4", "unknown dimension 'J' in the factors"),
        ("K=1 M<=4", "K=1 M~4", "'M~4' is not a factor"),
        ("permutation: KN}", "permutation: KJ}", "unknown dimension 'J' in the permutation"),
        ("keep: [A]", "keep: [C]", "unknown data-space 'C'"),
        (
            "target: Buffer, type: temporal, factors: N>=2",
            "target: Main, type: temporal, factors: K2",
            "is limited to 2",
        ),
        ("type: temporal, factors: N>=2", "type: temporal, factor: N2", "unknown key 'factor'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(search, before: str, after: str, words: str) -> None:
    assert before in CONSTRAINTS
    with pytest.raises(InputError) as error:
        search(CONSTRAINTS.replace(before, after))
    (fault,) = [fault for fault in error.value.faults if words in fault.what]
    assert "limits.yaml:" in fault.where


def test_mapper_settings_are_not_used_and_it_is_said_what_is(search) -> None:
    found = search(f"{CONSTRAINTS}mapper: {{algorithm: random, timeout: 100}}\n")
    note = "mapper is given and not used: the search is what --objective and --budget say"
    assert any(note in each for each in found.notes)


@pytest.mark.parametrize("key", ["no_temporal_reuse", "no-reuse"])
def test_what_bars_reuse_is_refused(search, key: str) -> None:
    changed = CONSTRAINTS.replace("factors: K=1 M<=4,", f"factors: K=1 M<=4, {key}: [A],")
    with pytest.raises(InputError, match=f"'{key}' cannot be heeded: the search counts on reuse") as error:
        search(changed)
    assert error.value.faults[0].path == f"architecture_constraints.targets[0].{key}"


def test_a_mapspace_of_settings_alone_limits_nothing(search) -> None:
    found = search("mapspace: {version: 0.4, template: uber}\n").constraints
    assert not found.of("Main").temporal


NODES = """\
architecture:
  version: 0.4
  nodes:
  - !Component
    name: Main
    class: DRAM
    attributes: {width: 16, datawidth: 16}
  - !Component
    name: Buffer
    class: storage
    attributes: {depth: 64, width: 16, datawidth: 16}
    constraints:
      dataspace: {keep: [A], bypass: [B]}
      temporal: {factors: [M=0, N<=2], permutation: [K, N]}
  - !Container
    name: PE
    spatial: {meshX: 2, meshY: 3}
    constraints:
      spatial: {factors_only: [N=2, K=3], permutation: [N, M, K], split: 2}
  - !Component
    name: Spad
    class: storage
    attributes: {depth: 8, width: 16, datawidth: 16}
    constraints:
      dataspace: {keep_only: [B]}
      temporal: {factors_only: []}
      spatial: {}
  - !Component
    name: mac
    class: intmac
"""


@pytest.fixture
def nodes(toy: Texts, tmp_path: Path) -> Callable[..., TimeloopInput]:
    def read(architecture: str = NODES, searching: bool = True) -> TimeloopInput:
        (tmp_path / "arch.yaml").write_text(architecture)
        (tmp_path / "problem.yaml").write_text(toy["problem.yaml"])
        return load([tmp_path / "arch.yaml", tmp_path / "problem.yaml"], searching)

    return read


def test_constraints_at_nodes_are_those_of_the_level(nodes) -> None:
    buffer = nodes().constraints.of("Buffer")
    assert (buffer.keep, buffer.bypass) == (frozenset("A"), frozenset("B"))
    assert buffer.temporal == {"M": Limit(whole=True), "N": Limit(1, 2)}
    assert buffer.inner == ("N", "K")


def test_spatial_constraints_at_a_node_are_those_of_its_fan_out(nodes) -> None:
    found = nodes().constraints.of("inter_PE_spatial")
    assert found.spatial == {"N": Limit.exactly(2), "K": Limit.exactly(3), "M": Limit.exactly(1)}
    assert found.axes == {"N": "X", "M": "X", "K": "Y"}


def test_only_means_that_all_others_are_1_or_bypassed(nodes) -> None:
    found = nodes().constraints.of("Spad")
    assert found.temporal == dict.fromkeys("MNK", Limit.exactly(1))
    assert (found.keep, found.bypass) == (frozenset("B"), frozenset("AZ"))


def test_a_level_that_stands_for_a_fan_out_keeps_nothing_and_has_no_temporal_loops(nodes) -> None:
    found = nodes().constraints.of("inter_PE_spatial")
    assert found.bypass == frozenset("ABZ")
    assert found.temporal == dict.fromkeys("MNK", Limit.exactly(1))


def test_constraints_at_nodes_are_ignored_unless_a_mapping_is_searched(nodes) -> None:
    found = nodes(searching=False)
    assert found.constraints.levels == {}
    assert len([each for each in found.ignored if each.path.endswith("constraints")]) == 3
    assert not [each for each in nodes().ignored if each.path.endswith("constraints")]


def test_a_spatial_constraint_without_a_fan_out_is_noted(nodes) -> None:
    found = nodes(NODES.replace("spatial: {}", "spatial: {factors: [M=1]}"))
    (note,) = (note for note in found.notes if "fan-out" in note)
    assert note.endswith("Spad has no fan-out of its own: its spatial constraint limits nothing")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{keep_only: [B]}", "{keep_onyl: [B]}",
         "arch.yaml:25: unknown key 'keep_onyl' of the bypass constraint @ "
         "architecture.nodes[3].constraints.dataspace.keep_onyl | did you mean 'keep_only'?"),
        ("split: 2}", "maximize_dims: [[N, K]]}",
         "arch.yaml:19: unknown key 'maximize_dims' of the spatial constraint @ "
         "architecture.nodes[2].constraints.spatial.maximize_dims | known names: factors, factors_only, no_link_transfer, "
         "permutation, split, target, type"),
        ("split: 2}", "no_reuse: [A]}",
         "arch.yaml:19: 'no_reuse' cannot be heeded: the search counts on reuse wherever loops allow it @ "
         "architecture.nodes[2].constraints.spatial.no_reuse | leave it out"),
        ("      spatial: {}", "      temporary: {}",
         "arch.yaml:27: unknown key 'temporary' of the node constraints @ "
         "architecture.nodes[3].constraints.temporary | did you mean 'temporal'?"),
        ("    class: intmac\n", "    class: intmac\n    constraints: {temporal: {factors: [M=1]}}\n",
         "arch.yaml:31: mac is no storage level: it has no temporal constraint @ "
         "architecture.nodes[4].constraints.temporal | give it to one"),
        ("keep: [A], bypass", "keep: [C], bypass",
         "arch.yaml:13: unknown data-space 'C' @ architecture.nodes[1].constraints.dataspace.keep[0] "
         "| known names: A, B, Z"),
    ],
)  # fmt: skip
def test_constraints_at_nodes_that_are_unknown_are_refused(nodes, tmp_path, old: str, new: str, expected: str) -> None:
    assert old in NODES
    with pytest.raises(InputError) as error:
        nodes(NODES.replace(old, new))
    shown = [str(fault).replace(f"{tmp_path}/", "").replace("\n  how to fix: ", " | ") for fault in error.value.faults]
    assert expected in shown
