"""Timeloop's formats over loops, as our formats over parts of tensor ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseloom.fibertree.fiber import bind, digits
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.timeloop import FormatDetails, LevelDetails, RankDetails, Tiling, TimeloopDetails, TimeloopInput
from sparseloom.timeloop.format import Digit, assigned, clean_formats
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.workload import Workload

Texts = dict[str, str]
Load = Callable[[Texts], TimeloopInput]


@dataclass(frozen=True)
class Nest:
    """A matrix product on two levels, the inner of which keeps A if ``inner`` is its format or True."""

    details: TimeloopDetails
    workload: Workload
    mapping: Mapping


def _complete(loops: list[Loop]) -> tuple[Loop, ...]:
    """With a trivial loop for each rank that has none, as every tiling has."""
    missing = [Loop(rank, 1) for rank in "MNK" if rank not in [loop.rank for loop in loops]]
    return (*missing, *loops)


def _nest(
    outer: list[Loop], inner: list[Loop], formats: dict[str, FormatDetails], keep: bool = True, bits: int = 0
) -> Nest:
    shape = {rank: prod(loop.bound for loop in (*outer, *inner) if loop.rank == rank) for rank in "MNK"}
    workload = Workload(Einsum.parse("Z[m,n] = A[m,k] * B[k,n]"), shape)
    tiling = {name: Tiling(_complete(loops)) for name, loops in (("L0", outer), ("L1", inner))}
    levels = {name: LevelDetails("storage", None, bits) for name in tiling}
    by_level = {level: {"A": form} for level, form in formats.items()}
    details = TimeloopDetails(levels, "mac", ("M", "N", "K"), ("A", "B", "Z"), by_level, tiling)
    mapped = (LevelMapping("L0", keep=frozenset("ABZ")), LevelMapping("L1", keep=frozenset("AB" if keep else "B")))
    return Nest(details, workload, Mapping(mapped))


def _format(*kinds: str, order: str = "outer", rules: dict[int, str] | None = None) -> FormatDetails:
    ranks = (RankDetails(kind, tuple(rules[i]) if rules and i in rules else None) for i, kind in enumerate(kinds))
    return FormatDetails(tuple(ranks), inner_to_outer=order == "inner")


def _clean(nest: Nest, level: str = "L0") -> str:
    return str(clean_formats(nest.details, nest.workload, nest.mapping)[level]["A"])


OUTER = [Loop("K", 2), Loop("N", 5), Loop("M", 4)]
INNER = [Loop("M", 3), Loop("K", 8)]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (_format("UOP", "UOP", "UOP", "CP"), "UOP(K1)-UOP(M1)-UOP(M0=3)-CP(K0=8)"),
        (_format("UOP", "UOP", "UOP", "CP", order="inner"), "UOP(K1)-UOP(M1)-UOP(M0=3)-CP(K0=8)"),
        (_format("UOP", "UOP", "UOP", "UOP", "CP"), "UOP(K1)-UOP(M1)-UOP(M0=3)-UOP(K0=8)-CP()"),
        (_format("UOP", "UOP", "UOP", "UOP", "CP", order="inner"), "UOP(K1)-UOP(M1)-UOP(M0=3)-CP(K0=8)"),
        (_format("UOP", "CP", rules={0: "MK", 1: "MK"}), "UOP(M,K)-CP()"),
        (_format("UOP", "CP", order="inner", rules={0: "MK", 1: "MK"}), "CP(M,K)"),
        (_format("UOP", "UOP", "CP", rules={1: "M"}), "UOP(K1)-UOP(M)-CP(K0=8)"),
        (_format("UOP", "UOP", "UOP", "UOP", "CP", rules={1: "K"}), "UOP(K1)-UOP(M1)-UOP(M0=3)-CP(K0=8)"),
        (_format("UOP", "UOP", "CP"), "UOP(K1)-UOP(M1)-CP(M0=3,K0=8)"),
        (_format("UOP", "UOP", "CP", order="inner"), "UOP(M1,K1)-UOP(M0=3)-CP(K0=8)"),
    ],
)  # fmt: skip
def test_loops_of_all_levels_are_given_to_ranks_if_no_inner_level_keeps_the_tensor(
    form: FormatDetails, expected: str
) -> None:
    assert _clean(_nest(OUTER, INNER, {"L0": form}, keep=False)) == expected


def test_child_without_a_format_is_one_flattened_rank_below() -> None:
    form = _format("UOP", "UOP", "RLE")
    assert _clean(_nest(OUTER, INNER, {"L0": form})) == "UOP(K1)-UOP(M1)-RLE(M0=3,K0=8)"


def test_ranks_of_a_child_with_a_format_are_the_lowest_ranks() -> None:
    outer, inner = _format("UOP", "UOP", "UOP", "B", order="inner"), _format("UOP", "B", order="inner")
    nest = _nest(OUTER, INNER, {"L0": outer, "L1": inner})
    assert _clean(nest) == "UOP(K1)-UOP(M1)-UOP(M0=3)-B(K0=8)"
    assert _clean(nest, "L1") == "UOP(M)-B(K)"


def test_child_that_holds_one_point_widens_the_loops_of_its_parent() -> None:
    trivial = [Loop("N", 3), Loop("M", 1), Loop("K", 1)]
    nest = _nest([*OUTER, Loop("K", 7)], trivial, {"L0": _format("UOP", "UOP", "CP"), "L1": _format("CP")})
    assert _clean(nest) == "UOP(K1)-UOP(M)-CP(K0=7)"
    assert _clean(nest, "L1") == "CP()"


def test_level_that_does_not_compress_takes_the_inner_loops_into_its_own() -> None:
    assert _clean(_nest(OUTER, INNER, {"L0": _format("UOP", "UOP", order="inner")})) == "UOP(K)-UOP(M)"


@pytest.mark.parametrize(("order", "left"), [("inner", Digit("K", 2, 8)), ("outer", Digit("K", 8, 1))])
def test_loops_without_a_rank_are_told(order: str, left: Digit) -> None:
    nest = _nest(OUTER, INNER, {"L0": _format("UOP", "UOP", "CP", order=order)}, keep=False)
    assert assigned(nest.details, nest.workload, nest.mapping, "L0", "A").left == (left,)


def test_open_widths_are_those_of_the_levels_metadata_words() -> None:
    nest = _nest(OUTER, INNER, {"L0": _format("UOP", "B", "RLE")}, bits=6)
    assert _clean(nest) == "UOP(K1):/6-B(M1)-RLE(M0=3,K0=8):6"


def test_rank_indexed_by_two_moving_ranks_is_not_split() -> None:
    shape = {"P": 6, "R": 3, "C": 2}
    workload = Workload(Einsum.parse("O[p] = I[c,p+r] * W[c,r]"), shape)
    loops = (Loop("C", 2), Loop("P", 6), Loop("R", 3))
    form = _format("UOP", "UOP", "CP")
    details = TimeloopDetails(
        {"L0": LevelDetails("DRAM")},
        "mac",
        ("P", "R", "C"),
        ("I", "W", "O"),
        {"L0": {"I": form}},
        {"L0": Tiling(loops)},
    )
    mapping = Mapping((LevelMapping("L0", loops, keep=frozenset("IWO")),))
    assert str(clean_formats(details, workload, mapping)["L0"]["I"]) == "UOP(C)-CP(PR)"


@st.composite
def _nests(draw: st.DrawFn) -> Nest:
    loops = st.lists(st.builds(Loop, st.sampled_from("MNK"), st.integers(1, 3)), max_size=4)
    outer, inner = draw(loops), draw(loops)
    kinds = draw(st.lists(st.sampled_from(["UOP", "B", "CP"]), min_size=1, max_size=5))
    rules = draw(st.dictionaries(st.integers(0, 4), st.sampled_from(["M", "K", "MK"]), max_size=3))
    form = _format(*kinds, order=draw(st.sampled_from(["outer", "inner"])), rules=rules)
    return _nest(outer, inner, {"L0": form}, keep=draw(st.booleans()))


@settings(max_examples=300)
@given(found=_nests())
def test_a_format_rank_tells_points_apart_as_the_loops_given_to_it_do(found: Nest) -> None:
    """Every point of A has indices of the loops; those of a rank's loops and its coordinate say the same."""
    form = clean_formats(found.details, found.workload, found.mapping)["L0"]["A"]
    given = assigned(found.details, found.workload, found.mapping, "L0", "A")
    geometry = bind(form, ("M", "K"))
    shape = [found.workload.shape[rank] for rank in "MK"]
    points = np.indices(shape).reshape(2, -1)
    taken = [digit for rank in given.ranks for digit in rank]
    assert prod(digit.bound for digit in taken) == prod(shape)
    assert sorted((d.rank, d.step * d.bound) for d in taken if d.rank == "M")[-1:] in ([], [("M", shape[0])])
    kept = [rank for place, rank in enumerate(given.ranks) if rank or place == len(given.ranks) - 1]
    for place, rank in enumerate(kept):
        coordinates = np.array(digits(geometry, place, points)).reshape(-1, points.shape[1])
        indices = [points["MK".index(d.rank)] // d.step % d.bound for d in rank]
        by_format = np.unique(coordinates, axis=1, return_inverse=True)[1] if len(coordinates) else None
        by_loops = np.unique(np.array(indices), axis=1, return_inverse=True)[1] if indices else None
        if by_format is None or by_loops is None:
            assert by_loops is None or not by_loops.any()
            assert by_format is None or not by_format.any()
        else:
            pairs = set(zip(by_format.ravel().tolist(), by_loops.ravel().tolist(), strict=True))
            assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_format_of_a_tensor_that_the_level_does_not_keep_is_noted_and_left_out(toy: Texts, load_texts: Load) -> None:
    toy["map.yaml"] = toy["map.yaml"].replace("keep: [A], bypass: [B], stream: [B]", "bypass: [A]")
    toy["sparse.yaml"] = (
        toy["sparse.yaml"]
        .replace("name: Main\n", "name: Buffer\n", 1)
        .replace("  - name: Buffer\n    action", "  - name: Main\n    action")
    )
    found = load_texts(toy)
    assert found.design.features.formats == {}
    assert found.notes[-1].endswith("sparse.yaml:6: Buffer has a format for A, which it does not keep")


def test_loops_without_a_rank_are_noted(toy: Texts, load_texts: Load) -> None:
    toy["sparse.yaml"] = toy["sparse.yaml"].replace(", flattened-rankIDs: [[M, K]]", "")
    found = load_texts(toy)
    assert str(found.design.features.formats["Main"]["A"]) == "UOP(M1,K1):/5-RLE(M0=2,K0=2):4"
    assert found.notes[-1].endswith("the format of A at Main has no rank for K=3, M=2: joined to the next rank")


def test_without_a_mapping_there_are_no_formats_and_a_note_says_so(toy: Texts, load_texts: Load) -> None:
    del toy["map.yaml"]
    found = load_texts(toy)
    assert (found.mapping, found.design.features.formats, dict(found.details.tiling)) == (None, {}, {})
    assert found.details.formats["Main"]["A"].ranks[1].kind == "RLE"
    assert found.notes == ("no mapping is given: the design has no formats until it has one",)
