"""Positions and roundings against Python's exact fractions and a search over all positions."""

from fractions import Fraction
from math import floor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparseloom.integer.position import (
    HIGH,
    LOW,
    best_position,
    half_away,
    half_up,
    most_frequent,
    quantised,
    safe_position,
)

VALUES = arrays(np.float64, st.integers(1, 20), elements=st.floats(-100, 100, width=32))


@given(st.integers(-1000, 1000))
def test_halves_go_away_from_zero_for_parameters_and_up_for_activations(numerator: int) -> None:
    exact = Fraction(numerator, 4)
    away = (1 if exact >= 0 else -1) * floor(abs(exact) + Fraction(1, 2))
    assert half_away(float(exact)) == away
    assert half_up(float(exact)) == floor(exact + Fraction(1, 2))


@given(VALUES, st.integers(-4, 12), st.booleans())
def test_quantised_numbers_are_the_nearest_that_eight_bits_hold(
    values: np.ndarray, position: int, parameter: bool
) -> None:
    found = quantised(values, position, parameter)
    every = np.arange(LOW, HIGH + 1)
    nearest = np.abs(every[None] * 2.0**-position - values[:, None]).min(axis=1)
    assert np.allclose(np.abs(found * 2.0**-position - values), nearest, rtol=0, atol=1e-12)


@given(VALUES)
def test_at_the_safe_position_nothing_saturates_by_more_than_half_a_step_and_at_the_next_something_does(
    values: np.ndarray,
) -> None:
    position = safe_position(float(values.min()), float(values.max()))
    if position == 18:
        return
    for more, fits in ((0, True), (1, False)):
        scaled = values * 2.0 ** (position + more)
        assert bool(((scaled >= LOW - 0.5) & (scaled <= HIGH + 0.5)).all()) is fits


@given(VALUES, st.booleans())
def test_the_best_position_has_the_least_squared_error_of_its_five_candidates(
    values: np.ndarray, parameter: bool
) -> None:
    first = safe_position(float(values.min()), float(values.max()))
    errors = {
        position: float(((quantised(values, position, parameter) * 2.0**-position - values) ** 2).sum())
        for position in range(first, first + 5)
    }
    least = min(errors.values())
    assert best_position(values, parameter) == min(min(p for p, error in errors.items() if error == least), 12)
    assert best_position(values, parameter, candidates=1) == min(first, 12)


def test_zeros_have_the_largest_position() -> None:
    assert best_position(np.zeros(4), parameter=True) == 12


def test_the_most_frequent_position_wins_and_of_equals_the_first() -> None:
    assert most_frequent([5, 4, 4, 5, 5]) == 5
    assert most_frequent([3, 7, 7, 3]) == 3
