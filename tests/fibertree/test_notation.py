"""Errors of the pattern notation show where they are."""

import pytest

from sparseloom.errors import PatternError
from sparseloom.fibertree.pattern import Pattern


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("", 0, "expected a rank, found the end"),
        ("RS->", 4, "expected a rank, found the end"),
        ("C0(2:4", 6, "expected ')', found the end"),
        ("C0(5:4)", 3, "G is 5 but H is only 4"),
        ("C0({G<=9}:8)", 3, "G is 9 but H is only 8"),
        ("C0(2;4)", 4, "expected ':', found ';4)'"),
        ("C0(x:4)", 3, "expected G or a number, found 'x:4)'"),
        ("C0({3<=G<=2}:4)", 3, "no G lies between 3 and 2"),
        ("C0({G<8}:8)", 5, "expected '<=', found '<8}:8)'"),
        ("C0({G<=8:8)", 8, "expected '}', found ':8)'"),
        ("C0(2:{2<=G<=4})", 9, "expected H, found 'G<=4})'"),
        ("dense; ", 7, "expected a rank, found the end"),
        ("dense -> C0(2:4)", 6, "expected '->', ';' or the end, found '->'"),
        ("C(unconstrained)->R(unconstrained)", 18, "only one rank may be unconstrained"),
        ("C0(2:0)", 5, "H is at least 1"),
        ("C0=0", 3, "a size is at least 1"),
        ("block(M:0)", 8, "a size is at least 1"),
        ("block(M 8)", 8, "expected ':', found '8)'"),
        ("dbb(C: 9/8)", 7, "9 of 8: a block cannot keep more than it has"),
        ("permdiag(M: 4)", 10, "expected ',', found ':'"),
        ("permdiag(M,C: 4, k=[1,2)", 23, "expected ']', found ')'"),
        ("C0(2:4)) -> C1", 7, "expected '->', ';' or the end, found ')'"),
        ("RS=>C1", 3, "expected a number, found '>C1'"),
    ],
)
def test_a_syntax_error_shows_its_place_with_a_caret(text: str, at: int, message: str) -> None:
    with pytest.raises(PatternError) as caught:
        Pattern.parse(text)
    lines = caught.value.faults[0].what.split("\n")
    assert lines[0].startswith("cannot read the pattern: ")
    assert message in lines[0]
    assert lines[1:] == [f"  {text}", "  " + " " * at + "^"]
    assert "RS->C1->C0(2:4)" in caught.value.faults[0].fix
