"""Sums and mixtures of counts against enumeration."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.fibertree.occupancy import Occupancy, mixture

COUNTS = st.builds(
    lambda start, weights: Occupancy(start, np.array(weights) / sum(weights)),
    st.integers(0, 5),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
)


def _table(occupancy: Occupancy) -> dict[int, float]:
    counts, p = occupancy.support()
    return dict(zip(counts.tolist(), p.tolist(), strict=True))


@given(COUNTS, st.integers(0, 4))
def test_copies_add_up_like_every_combination(one: Occupancy, copies: int) -> None:
    expected: dict[int, float] = {}
    for combination in product(_table(one).items(), repeat=copies):
        total = sum(count for count, _ in combination)
        expected[total] = expected.get(total, 0.0) + float(np.prod([p for _, p in combination]))
    assert _table(one.times(copies)) == pytest.approx(expected)


@given(COUNTS, COUNTS)
def test_a_mixture_weighs_its_parts(one: Occupancy, other: Occupancy) -> None:
    a, b = _table(one), _table(other)
    expected = {k: 0.25 * a.get(k, 0) + 0.75 * b.get(k, 0) for k in a.keys() | b.keys()}
    assert _table(mixture([(0.25, one), (0.75, other)])) == pytest.approx(expected)


@given(COUNTS, st.integers(0, 3))
def test_a_multiple_moves_every_count(one: Occupancy, factor: int) -> None:
    expected: dict[int, float] = {}
    for count, p in _table(one).items():
        expected[count * factor] = expected.get(count * factor, 0.0) + p
    assert _table(one.multiplied(factor)) == pytest.approx(expected)


def test_tails_below_the_limit_are_dropped() -> None:
    assert _table(Occupancy(3, np.array([1e-20, 0.5, 0.5, 1e-19])).trimmed()) == {4: 0.5, 5: 0.5}
