"""What hardware for one pattern can exploit of a tensor that follows another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseloom.errors import PatternError
from sparseloom.fibertree.pattern import Pattern
from sparseloom.fibertree.sparsity import Chain, Sparsity, block, exploited, obeys, pattern_of

STC = Pattern.parse("dense; C0(2:4)")
S2TA = Pattern.parse("C0({G<=4}:8)")
HIGHLIGHT = Pattern.parse("dense; C1(2:{2<=H<=8})->C0(2:{2<=H<=4})")
ANY = Pattern.parse("unstructured")

rules = st.integers(1, 5).flatmap(lambda h: st.tuples(st.integers(1, h), st.just(h)))
chains = st.lists(rules, min_size=1, max_size=2).map(tuple)


@pytest.mark.parametrize(
    ("supported", "given_", "seen"),
    [
        (STC, "dense", "dense"),
        (STC, "0.1", "dense"),
        (STC, "C0(2:4)", "C0(2:4)"),
        (STC, "C1(2:4)->C0(2:4)", "C0(2:4)"),
        (STC, "C0(4:8)", "dense"),
        (STC, "C0(1:4)", "C0(2:4)"),
        (S2TA, "C0(2:4)", "C0(4:8)"),
        (S2TA, "C0(1:4)", "C0(2:8)"),
        (S2TA, "dense", None),
        (S2TA, "0.3", None),
        (HIGHLIGHT, "C1(2:6)->C0(2:3)", "C1(2:6)->C0(2:3)"),
        (HIGHLIGHT, "C0(2:4)", "C1(2:2)->C0(2:4)"),
        (HIGHLIGHT, "0.2", "dense"),
        (ANY, "0.2", "0.2 unstructured"),
        (ANY, "C1(2:4)->C0(2:4)", "0.25 unstructured"),
    ],
)
def test_a_design_sees_the_sparsest_pattern_it_supports(supported, given_, seen) -> None:
    found = exploited(supported, Sparsity.parse(given_))
    assert (None if found is None else str(found)) == seen


@given(given_=chains, wanted=chains, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_a_tensor_of_a_pattern_obeys_all_that_the_pattern_implies(given_: Chain, wanted: Chain, seed: int) -> None:
    """Random tensors of one pattern obey the other wherever that is said; and where blocks nest and it is denied, some tensor does
    not."""
    length = 2 * int(np.lcm(block(given_), block(wanted)))
    says = obeys(Sparsity(1.0, given_), wanted)
    rng = np.random.default_rng(seed)
    source, target = pattern_of(given_, "K"), pattern_of(wanted, "K")
    found = [target.obeys(source.draw(("K",), (length,), rng), ("K",)) for _ in range(30)]
    if says:
        assert all(found)


@given(chain=chains)
def test_a_pattern_implies_itself_and_its_looser_ones(chain: Chain) -> None:
    assert obeys(Sparsity(1.0, chain), chain)
    assert obeys(Sparsity(1.0, chain), tuple((min(g + 1, h), h) for g, h in chain))
    assert not obeys(Sparsity(), ((1, 2),))
    assert obeys(Sparsity(0.0), chain)


@pytest.mark.parametrize(
    "text", ["C0({G<=2}:4)", "C(unconstrained)->R->S", "dense; C0(2:4)", "C0(2:4)->R0(1:2)", "1.5", "C0(2:"]
)
def test_what_is_no_single_pattern_along_one_rank_is_refused(text) -> None:
    with pytest.raises(PatternError, match=r"how to fix|between 0 and 1"):
        Sparsity.parse(text)


def test_a_sparsity_prints_as_it_is_read() -> None:
    for text in ("dense", "C1(2:4)->C0(2:4)", "C0(2:8)"):
        assert str(Sparsity.parse(text)) == text
    assert str(Sparsity.parse("0.4")) == "0.4 unstructured"
