"""The hypergeometric distribution against exact fractions."""

from fractions import Fraction
from math import comb, lgamma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.fibertree import hypergeometric


@st.composite
def _urns(draw: st.DrawFn) -> tuple[int, int, int]:
    population = draw(st.one_of(st.integers(1, 40), st.integers(1, 4000)))
    return population, draw(st.integers(0, population)), draw(st.integers(0, population))


@given(_urns())
def test_empty_probability_has_ten_digits(urn: tuple[int, int, int]) -> None:
    population, marked, sample = urn
    exact = Fraction(comb(population - marked, sample), comb(population, sample))
    found = float(hypergeometric.empty_probability(population, marked, sample))
    assert found == pytest.approx(float(exact), rel=1e-10, abs=1e-300)


@given(_urns())
def test_distribution_is_exact_but_for_its_tails(urn: tuple[int, int, int]) -> None:
    population, marked, sample = urn
    occupancies, probabilities = hypergeometric.distribution(population, marked, sample)
    total = comb(population, sample)
    exact = [Fraction(comb(marked, k) * comb(population - marked, sample - k), total) for k in map(int, occupancies)]
    assert probabilities.tolist() == pytest.approx([float(p) for p in exact], rel=1e-10)
    assert probabilities.sum() == pytest.approx(1, rel=1e-14)
    assert float(1 - sum(exact)) < 1e-15
    assert float(occupancies @ probabilities) == pytest.approx(sample * marked / population, rel=1e-12)


def test_huge_populations_keep_their_digits() -> None:
    n = 2**52
    assert float(hypergeometric.empty_probability(n, 3, n // 4)) == pytest.approx(0.75**3, rel=1e-12)
    assert float(hypergeometric.empty_probability(n, n // 2, 3)) == pytest.approx(0.125, rel=1e-12)
    occupancies, probabilities = hypergeometric.distribution(n, n // 2, 10**6)
    assert float(occupancies @ probabilities) == pytest.approx(5e5, rel=1e-9)


def test_arrays_broadcast() -> None:
    found = hypergeometric.empty_probability(10, np.arange(4)[:, None], np.arange(3))
    assert found.shape == (4, 3)
    assert found[:, 0].tolist() == [1, 1, 1, 1]
    assert found[1, 2] == pytest.approx(0.8)


@given(st.integers(0, 10**7))
def test_log_factorial_is_that_of_the_gamma_function(n: int) -> None:
    assert float(hypergeometric.log_factorial(n)) == pytest.approx(lgamma(n + 1), rel=1e-13, abs=1e-13)
