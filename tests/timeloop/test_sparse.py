"""Sparse optimizations as written: formats, storage features, compute features."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sparseloom.arch.features import Saf
from sparseloom.timeloop import FormatDetails, RankDetails, TimeloopInput

Texts = dict[str, str]
Load = Callable[[Texts], TimeloopInput]
Faults = Callable[[Texts], list[str]]


def _with(toy: Texts, old: str, new: str) -> Texts:
    assert toy["sparse.yaml"].count(old) == 1
    return {**toy, "sparse.yaml": toy["sparse.yaml"].replace(old, new)}


def test_features_are_taken_with_their_alternatives(toy: Texts, load_texts: Load) -> None:
    features = load_texts(toy).design.features
    assert features.safs == (
        Saf("Buffer", "skipping", "B", ("A",), (("A", ("B",)),)),
        Saf("Buffer", "gating", "Z", ("A", "B")),
    )
    assert (features.compute_gating, features.compute_skipping) == (True, False)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("gating", "gating"),
        ("skipping", "skipping"),
        ("skipping-spatial", "spatial-skipping"),
        ("skipping_spatial", "spatial-skipping"),
        ("position-skipping", "position-skipping"),
    ],
)
def test_types_of_action_optimizations_have_our_names(toy: Texts, load_texts: Load, text: str, kind: str) -> None:
    found = load_texts(_with(toy, "type: gating, target: Z", f"type: {text}, target: Z"))
    assert found.design.features.safs[1].kind == kind


@pytest.mark.parametrize(
    ("text", "gating", "skipping"),
    [
        ("[{type: gating}, {type: skipping}]", True, True),
        ("[{type: gate-on-zero-operand}]", True, False),
        ("{gate-on-zero-operand: true, skip-on-not-aligned-operands: false}", True, False),
        ("[{skip_on_not_aligned_operands: true}]", False, True),
    ],
)
def test_compute_features_are_written_in_several_ways(
    toy: Texts, load_texts: Load, text: str, gating: bool, skipping: bool
) -> None:
    features = load_texts(_with(toy, "[{type: gating}]", text)).design.features
    assert (features.compute_gating, features.compute_skipping) == (gating, skipping)


def test_formats_are_kept_as_written(toy: Texts, load_texts: Load) -> None:
    texts = _with(toy, "format: RLE, metadata-word-bits: 4", "format: bitmask, metadata-word-bits: 2")
    texts = _with(texts, "- name: A\n", "- name: A\n        rank-application-order: inner-to-outer\n")
    found = load_texts(_with(texts, "format: UOP", "format: uop"))
    expected = FormatDetails((RankDetails("UOP", ("M", "K"), None, 5), RankDetails("B", None, 2)), inner_to_outer=True)
    assert found.details.formats == {"Main": {"A": expected}}
    assert found.details.sparse


@pytest.mark.parametrize("version", ["0.2", "0.3", "0.4"])
def test_misspelt_flattening_is_read_from_version_04_on(toy: Texts, load_texts: Load, version: str) -> None:
    texts = _with(toy, "flattened-rankIDs", "flattened_rankIDs")
    texts["arch.yaml"] = texts["arch.yaml"].replace("version: 0.3", f"version: {version}")
    found = load_texts(texts)
    rule = found.details.formats["Main"]["A"].ranks[0].flattened
    said = [each.reason for each in found.ignored if each.path.endswith("flattened_rankIDs")]
    if version == "0.4":
        assert (rule, said) == (("M", "K"), [])
    else:
        assert (rule, said) == (None, ["this version of Timeloop reads `flattened-rankIDs` only"])


@pytest.mark.parametrize("text", ["", "sparse_optimizations: {}\n", "sparse_optimizations: {targets: []}\n"])
def test_files_without_sparse_optimizations_say_so(toy: Texts, load_texts: Load, text: str) -> None:
    found = load_texts({**toy, "sparse.yaml": f"{text}globals: {{}}\n"})
    assert not found.details.sparse
    assert found.design.features.safs == ()


def test_sparse_optimizations_stand_at_components_in_version_04(toy: Texts, load_texts: Load) -> None:
    arch = """\
architecture:
  version: 0.4
  nodes:
  - !Container {name: chip}
  - !Component
    name: Main
    class: DRAM
    attributes: {width: 16}
    sparse_optimizations:
      representation_format:
        data_spaces:
        - {name: A, ranks: [{format: UOP}, {format: CP}]}
      action_optimization:
      - {type: gating, options: [{target: B, condition_on: [A]}]}
  - !Component
    name: mac
    class: compute
    sparse_optimizations: {compute_optimization: [{type: skipping}]}
"""
    mapping = "mapping:\n- {target: Main, type: temporal, factors: M8 N4 K6, permutation: KMN}\n"
    found = load_texts({"a.yaml": arch, "problem.yaml": toy["problem.yaml"], "map.yaml": mapping})
    assert found.design.features.safs == (Saf("Main", "gating", "B", ("A",)),)
    assert found.design.features.compute_skipping
    assert str(found.design.features.formats["Main"]["A"]) == "UOP(M)-CP(K)"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: Buffer", "name: Bufer", "10: unknown level 'Bufer' @ sparse_optimizations.targets[1].name | "
         "did you mean 'Buffer'?"),
        ("target: B,", "target: C,", "13: unknown data-space 'C' @ "
         "sparse_optimizations.targets[1].action-optimization[0].options[0].target | known names: A, B, Z"),
        ("type: skipping", "type: skiping", "12: unknown action optimization 'skiping' @ "
         "sparse_optimizations.targets[1].action-optimization[0].type | did you mean 'skipping'?"),
        ("format: RLE", "format: RLL", "9: unknown format 'RLL' @ "
         "sparse_optimizations.targets[0].representation-format."
         "data-spaces[0].ranks[1].format | did you mean 'RLE'?"),
        ("\n        - {format: UOP, payload-word-bits: 5, flattened-rankIDs: [[M, K]]}\n"
         "        - {format: RLE, metadata-word-bits: 4}", " []", "7: a format without ranks @ "
         "sparse_optimizations.targets[0].representation-format.data-spaces[0].ranks | list at least one"),
        ("metadata-word-bits: 4", "metadata-word-bits: 0", "9: '0' stands where 1 or more is expected @ "
         "sparse_optimizations.targets[0].representation-format.data-spaces[0].ranks[1].metadata-word-bits"),
        ("[[M, K]]", "[[M], [K]]", "8: one flattening rule is expected, 2 are given @ "
         "sparse_optimizations.targets[0].representation-format.data-spaces[0].ranks[0].flattened-rankIDs | "
         "write [ [C, R] ]"),
        ("- name: MAC", "- name: Main", "16: compute_optimization at storage Main @ "
         "sparse_optimizations.targets[2].compute-optimization | put it at MAC"),
        ("- name: Buffer", "- name: MAC", "11: action_optimization at MAC, which computes @ "
         "sparse_optimizations.targets[1].action-optimization | put it at a storage level"),
        ("target: Z, condition-on: [A, B]", "condition-on: [A, B]", "14: required key 'target' is missing @ "
         "sparse_optimizations.targets[1].action-optimization[1] | add `target:`"),
        ("target: Z,", "target: [Z, A],", "14: one target is expected, 2 are given @ "
         "sparse_optimizations.targets[1].action-optimization[1].target | write one feature for each"),
        ("target: Z,", "target: Z, options: [],", "14: both options and a target are given @ "
         "sparse_optimizations.targets[1].action-optimization[1] | keep one of them"),
        ("condition-on: [A, B]", "conditon-on: [A, B]", "14: unknown key 'conditon-on' of the action @ "
         "sparse_optimizations.targets[1].action-optimization[1].conditon-on | did you mean 'condition_on'?"),
    ],
)  # fmt: skip
def test_fault_is_shown_with_its_place_and_a_way_out(
    toy: Texts, faults: Faults, old: str, new: str, expected: str
) -> None:
    assert f"sparse.yaml:{expected}" in faults(_with(toy, old, new))


def test_second_format_of_a_tensor_at_a_level_is_refused(toy: Texts, faults: Faults) -> None:
    rank = "      - name: A\n        ranks: [{format: CP}]\n"
    texts = _with(toy, "  - name: Buffer\n", rank + "  - name: Buffer\n")
    (fault,) = faults(texts)
    assert fault.startswith("sparse.yaml:10: a second format of A at Main, the first is at sparse.yaml:6 @ ")
