"""Directives of a mapping: order, axes, what is kept, and what contradicts itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sparseloom.arch.hierarchy import Network
from sparseloom.mapping.mapping import Loop, check
from sparseloom.timeloop import TimeloopInput

Texts = dict[str, str]
Load = Callable[[Texts], TimeloopInput]
Faults = Callable[[Texts], list[str]]


def _with(toy: Texts, old: str, new: str) -> Texts:
    assert toy["map.yaml"].count(old) == 1
    return {**toy, "map.yaml": toy["map.yaml"].replace(old, new)}


def test_loops_are_turned_outermost_first_and_trivial_ones_dropped(toy: Texts, load_texts: Load) -> None:
    found = load_texts(toy)
    assert found.mapping is not None
    main, buffer = found.mapping.levels
    assert main.temporal == (Loop("M", 2), Loop("K", 3))
    assert buffer.temporal == (Loop("M", 2), Loop("K", 2))
    check(found.mapping, found.workload, found.design.architecture)


def test_loops_below_the_split_run_along_x_the_others_along_y(toy: Texts, load_texts: Load) -> None:
    found = load_texts(toy)
    assert found.mapping is not None
    assert found.mapping.levels[0].spatial == (Loop("N", 2, "Y"), Loop("M", 2, "X"))
    assert found.mapping.levels[1].spatial == (Loop("N", 2, "X"),)


def test_tilings_hold_every_dimension_in_its_order(toy: Texts, load_texts: Load) -> None:
    tiling = load_texts(toy).details.tiling["Main"]
    assert tiling.temporal == (Loop("N", 1), Loop("M", 2), Loop("K", 3))
    assert tiling.spatial == (Loop("K", 1, "Y"), Loop("N", 2, "Y"), Loop("M", 2, "X"))


def test_tensors_that_are_not_bypassed_are_kept_and_only_bypassed_ones_stream(toy: Texts, load_texts: Load) -> None:
    found = load_texts(_with(toy, "stream: [B]", "stream: [A, B]"))
    assert found.mapping is not None
    assert found.mapping.levels[0].keep == frozenset("ABZ")
    assert (found.mapping.levels[1].keep, found.mapping.levels[1].stream) == (frozenset("AZ"), frozenset("B"))


@pytest.mark.parametrize("permutation", ["KMN", "K M N", "'K, M, N'", "[K, M, N]", "KM N"])
def test_permutations_are_written_in_several_ways(toy: Texts, load_texts: Load, permutation: str) -> None:
    texts = _with(toy, "permutation: KMN", f"permutation: {permutation}")
    assert load_texts(texts).mapping == load_texts(toy).mapping


def test_dimensions_that_a_permutation_leaves_out_lie_outside(toy: Texts, load_texts: Load) -> None:
    found = load_texts(_with(toy, "permutation: KMN", "permutation: K"))
    assert [loop.rank for loop in found.details.tiling["Main"].temporal] == ["N", "M", "K"]
    assert found.notes[-1].endswith("the permutation of Main leaves out M, N: put outside the others, in this order")


def test_factor_zero_and_imperfect_factors_are_resolved(toy: Texts, load_texts: Load) -> None:
    found = load_texts(_with(toy, "M2 N1 K3", "M2 N1 K0"))
    assert found.mapping == load_texts(toy).mapping
    texts = _with(_with(toy, "M2 N1 K3", "M2 N1 K2"), "M=2 N=1 K=2", "'M=2 N=1 K=4,2'")
    found = load_texts(texts)
    assert found.mapping is not None
    assert found.mapping.bounds("K") == (2, 4)
    check(found.mapping, found.workload, found.design.architecture)


def test_levels_without_directives_have_no_loops_and_keep_everything(toy: Texts, load_texts: Load) -> None:
    mapping = "mapping:\n- {target: Main, type: temporal, factors: M8 N4 K6, permutation: KMN}\n"
    found = load_texts({**toy, "map.yaml": mapping})
    assert found.mapping is not None
    buffer = found.mapping.levels[1]
    assert (buffer.temporal, buffer.spatial, buffer.keep) == ((), (), frozenset("ABZ"))
    assert [loop.rank for loop in found.details.tiling["Buffer"].temporal] == ["K", "N", "M"]


def test_exclusions_are_kept_as_details_and_bar_multicast_where_all_operands_are_named(
    toy: Texts, load_texts: Load
) -> None:
    texts = _with(toy, "split: 1", "split: 1, no_link_transfer: [A], no_multicast_no_reduction: [A, B, Z]")
    found = load_texts(_with(texts, "permutation: NKM", "permutation: NKM, no_temporal_reuse: [Z]"))
    tilings = found.details.tiling
    assert tilings["Main"].no_link_transfer == frozenset("A")
    assert tilings["Main"].no_multicast_no_reduction == frozenset("ABZ")
    assert tilings["Buffer"].no_temporal_reuse == frozenset("Z")
    assert [level.network for level in found.design.architecture.levels] == [Network(False, False), Network()]
    assert found.notes == ("Buffer: Z are not to be reused over time; only Timeloop's conventions know that",)


def test_barring_one_operand_from_multicast_is_noted_as_out_of_our_terms(toy: Texts, load_texts: Load) -> None:
    found = load_texts(_with(toy, "split: 1", "split: 1, no_multicast_no_reduction: [A]"))
    assert found.design.architecture.levels[0].network == Network()
    assert found.notes == ("Main: A alone are not to be multicast; our network multicasts all operands or none",)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("M2 N1 K3", "M2 N1 K2", "1: the factors of K make 2 x 1 x 2 x 1 = 4, its size is 6 @ mapping | raise a "
         "factor"),
        ("M2 N1 K3", "M3 N1 K3", "1: the factors of M make 3 x 2 x 2 x 1 = 12, its size is 8 @ mapping | "
         "lower a factor, or write the last visit's iterations: M=4,2"),
        ("M=2 N=1 K=2", "'M=2 N=1 K=2,1'", "4: the last visit of K=2 has 2 iterations, 1 are written @ "
         "mapping[2].factors | "
         "write K=2,2, or choose factors that make 6"),
        ("M2 N1 K3", "M2 N1 Q3", "2: unknown dimension 'Q' in the factors @ mapping[0].factors | known names: M, N, K"),
        ("permutation: KMN", "permutation: KMQ", "2: unknown dimension 'Q' in the permutation @ "
         "mapping[0].permutation | "
         "known names: M, N, K"),
        ("permutation: KMN", "permutation: KMM", "2: dimension M occurs twice in the permutation @ "
         "mapping[0].permutation | keep one of them"),
        ("Buffer, type: bypass", "Bufer, type: bypass", "6: unknown level 'Bufer' @ mapping[4].target | "
         "did you mean 'Buffer'?"),
        ("type: bypass", "type: bypas", "6: unknown type of directive 'bypas' @ mapping[4].type | did you mean "
         "'bypass'?"),
        ("bypass: [B]", "bypass: [B, C]", "6: unknown data-space 'C' @ mapping[4].bypass[1] | known names: A, B, Z"),
        ("bypass: [B]", "bypass: [B, A]", "6: Buffer is to keep A and to bypass it @ mapping[4] | "
         "name it in one of the lists"),
        ("target: Main, type: spatial", "target: Buffer, type: spatial", "5: a second spatial directive for "
         "Buffer, the "
         "first is at map.yaml:3 @ mapping[3] | keep one of them"),
        (", permutation: KMN", ", permuttion: KMN", "2: unknown key 'permuttion' of the temporal loops @ "
         "mapping[0].permuttion | "
         "did you mean 'permutation'?"),
        ("target: Main, type: temporal, ", "type: temporal, ", "2: required key 'target' is missing @ mapping[0] | "
         "add `target:`"),
        ("split: 1", "split: one", "3: 'one' stands where a number is expected @ mapping[1].split"),
    ],
)  # fmt: skip
def test_fault_in_a_directive_is_shown_with_its_place_and_a_way_out(
    toy: Texts, faults: Faults, old: str, new: str, expected: str
) -> None:
    assert f"map.yaml:{expected}" in faults(_with(toy, old, new))


def test_two_directives_on_what_a_level_keeps_are_refused(toy: Texts, faults: Faults) -> None:
    toy["map.yaml"] += "- {target: Buffer, type: datatype, bypass: [A]}\n"
    assert faults(toy) == [
        "map.yaml:7: a second directive on what Buffer keeps, the first is at map.yaml:6 @ mapping[5] | merge the two"
    ]


def test_spatial_loops_over_a_single_child_are_refused(toy: Texts, faults: Faults) -> None:
    toy["arch.yaml"] = toy["arch.yaml"].replace("MAC[0..1]", "MAC").replace("meshX: 4", "meshX: 2")
    assert faults(toy) == [
        "map.yaml:5: Buffer has one child, its spatial directive has N=2 @ mapping[3] | "
        "give the level below more instances, or make the factors 1"
    ]
