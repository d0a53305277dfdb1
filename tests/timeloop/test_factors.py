"""Factors of directives, perfect and imperfect, against walking the loops."""

from __future__ import annotations

from itertools import product
from math import prod

from hypothesis import given
from hypothesis import strategies as st

from sparseloom.document import Node
from sparseloom.timeloop.dialect import v03
from sparseloom.timeloop.factors import Factor, Factors, bounds
from sparseloom.timeloop.reader import Reader


def _read(text: object) -> tuple[dict[str, tuple[int, int | None]], list[str]]:
    reader = Reader(v03)
    value = [Node(item, "m", 1) for item in text] if isinstance(text, list) else text
    found = Factors.read(Node(value, "m", 1), ("M", "C", "K10"), reader)
    return {d: (f.bound, f.residual) for d, f in found.items()}, [fault.what for fault in reader.faults]


def test_factors_are_written_in_several_ways() -> None:
    expected = {"M": (8, None), "C": (1, None)}
    for text in ("M8 C1", "M=8 C=1", "M = 8, C= 1", "M=8,C=1", " M 8  C 1 ", ["M=8", "C1"], ["M=8 C=1"]):
        assert _read(text) == (expected, [])
    assert _read("M=4,2 C=3,1 K10=12") == ({"M": (4, 2), "C": (3, 1), "K10": (12, None)}, [])


def test_text_that_is_no_factor_is_refused() -> None:
    assert _read("M=8 C") == ({"M": (8, None)}, ["'C' is not a factor"])
    assert _read("M<=8") == ({}, ["'M<=8' is not a factor"])
    assert _read("M=-1") == ({}, ["'M=-1' is not a factor"])
    assert _read("M=8x") == ({}, ["'M=8x' is not a factor"])
    assert _read("M=8 M=2") == ({"M": (8, None)}, ["dimension M has two factors"])
    assert _read("N=8") == ({}, ["unknown dimension 'N' in the factors"])
    assert _read("M=" + "9" * 5000)[0] == {}


def _last_visits(found: list[int], size: int) -> list[int]:
    """Iterations of each loop when all loops outside it are at their last, by walking every point below ``size``."""
    digits = [point for number, point in enumerate(product(*(range(bound) for bound in found))) if number < size]
    last = digits[-1]
    return [len({point[place] for point in digits if point[:place] == last[:place]}) for place in range(len(found))]


def _check(found: list[int], residuals: list[int | None], size: int) -> tuple[list[int], list[str]]:
    reader = Reader(v03)
    node = Node(None, "m", 1)
    chain = [(node, Factor(node, bound, residual)) for bound, residual in zip(found, residuals, strict=True)]
    return bounds(node, "M", size, chain, reader), [fault.what for fault in reader.faults]


@st.composite
def _loops(draw: st.DrawFn) -> tuple[list[int], int]:
    found = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    inner = prod(found[1:])
    return found, draw(st.integers(inner * (found[0] - 1) + 1, prod(found)))


@given(loops=_loops())
def test_residuals_of_the_walked_loops_are_taken(loops: tuple[list[int], int]) -> None:
    found, size = loops
    assert _check(found, list(_last_visits(found, size)), size) == (found, [])


@given(loops=_loops(), place=st.integers(0, 3), change=st.integers(1, 3))
def test_any_other_residual_is_refused_with_both_numbers(loops: tuple[list[int], int], place: int, change: int) -> None:
    found, size = loops
    place %= len(found)
    right = _last_visits(found, size)
    wrong: list[int | None] = [n + change if i == place else n for i, n in enumerate(right)]
    what = f"the last visit of M={found[place]} has {right[place]} iterations, {wrong[place]} are written"
    assert _check(found, wrong, size)[1] == [what]


@given(found=st.lists(st.integers(1, 4), min_size=1, max_size=4), size=st.integers(1, 300))
def test_factors_without_residuals_multiply_to_the_size(found: list[int], size: int) -> None:
    faults = _check(found, [None] * len(found), size)[1]
    assert (faults == []) == (prod(found) == size)


@given(found=st.lists(st.integers(1, 4), min_size=1, max_size=4), place=st.integers(0, 3))
def test_factor_zero_is_what_the_others_leave(found: list[int], place: int) -> None:
    place %= len(found)
    written = [0 if i == place else bound for i, bound in enumerate(found)]
    assert _check(written, [None] * len(found), prod(found)) == (found, [])


def test_factor_zero_that_leaves_no_whole_number_or_stands_twice_is_refused() -> None:
    assert _check([0, 4], [None, None], 6)[1] == ["factor 0 of M stands for 6 / 4, which is not whole"]
    assert _check([0, 0], [None, None], 6)[1] == ["dimension M has two factors 0, at m:1 and m:1"]
