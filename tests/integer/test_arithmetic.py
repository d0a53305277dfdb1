"""Integer layers against plain loops and exact fractions."""

from fractions import Fraction
from itertools import product as every
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.errors import WorkloadError
from sparseloom.integer import arithmetic
from sparseloom.integer.arithmetic import Windows, average_factor, require_accumulator, shifted


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-8, 20))
def test_a_shift_divides_by_a_power_of_two_and_rounds_halves_up(value: int, shift: int) -> None:
    exact = Fraction(value) / Fraction(2) ** shift
    assert shifted(np.array([value]), shift)[0] == floor(exact + Fraction(1, 2))


@pytest.mark.parametrize(
    ("window", "factor"),
    [((3, 3), (7, 64)), ((5, 5), (10, 256)), ((6, 6), (7, 256)), ((7, 7), (21, 1024)), ((14, 14), (21, 4096))],
)
def test_means_of_the_windows_that_the_source_names(window: tuple[int, int], factor: tuple[int, int]) -> None:
    found, shift = average_factor(*window)
    assert Fraction(found, 2**shift) == Fraction(*factor)


@given(st.integers(1, 20), st.integers(1, 20))
def test_means_of_other_windows_are_within_a_two_hundredth(rows: int, columns: int) -> None:
    factor, shift = average_factor(rows, columns)
    if rows != columns or rows not in (3, 5, 6, 7, 14):
        assert abs(factor / 2**shift * rows * columns - 1) <= 1 / 127
        assert factor < 128


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 4]), st.integers(1, 2), st.integers(0, 2))
def test_a_convolution_is_the_sum_over_its_window(seed: int, groups: int, stride: int, padding: int) -> None:
    rng = np.random.default_rng(seed)
    values, weights = rng.integers(-128, 128, (2, 4, 5, 6)), rng.integers(-128, 128, (8, 4 // groups, 3, 2))
    found = arithmetic.convolution(values, weights, Windows((3, 2), (stride, stride), (padding, padding)), groups)
    padded = np.pad(values, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows, columns = ((5 + 2 * padding - 3) // stride + 1, (6 + 2 * padding - 2) // stride + 1)
    assert found.shape == (2, 8, rows, columns)
    for n, m, p, q in every(range(2), range(8), range(rows), range(columns)):
        first = m // (8 // groups) * (4 // groups)
        seen = padded[n, first : first + 4 // groups, p * stride : p * stride + 3, q * stride : q * stride + 2]
        assert found[n, m, p, q] == (seen * weights[m]).sum()


def test_sums_of_different_positions_are_aligned_to_the_finest() -> None:
    total, position = arithmetic.added([(np.array([3]), 2), (np.array([5]), 4)])
    assert (total.tolist(), position) == ([17], 4)


def test_padding_never_is_the_largest_of_a_window() -> None:
    values = np.full((1, 1, 2, 2), -100)
    assert (arithmetic.max_pool(values, Windows((2, 2), (2, 2), (1, 1))) == -100).all()


def test_sums_that_could_leave_the_accumulator_are_refused_with_both_numbers() -> None:
    weights = np.full((1, 140_000), 127)
    with pytest.raises(WorkloadError, match=r"reach 2,275,840,000, an accumulator of 32 bits holds 2,147,483,647"):
        require_accumulator("fc", weights, np.zeros(0, np.int64), 0)
    require_accumulator("fc", weights[:, :100_000], np.array([127]), 15)
