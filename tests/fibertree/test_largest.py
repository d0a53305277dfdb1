"""Which coordinates a rule keeps, against a stable sort."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparseloom.fibertree.largest import largest

LENGTHS = st.one_of(st.integers(1, 32), st.integers(31, 34), st.integers(33, 90))
"""Fibers on both sides of 32 coordinates, where another way to find the largest begins."""


def by_sorting(values: NDArray[np.float64], kept: int) -> NDArray[np.bool_]:
    """The first ``kept`` of a stable sort, the largest first: of equals, the lower coordinate."""
    order = np.argsort(-values, axis=-1, kind="stable")
    found = np.zeros(values.shape, np.bool_)
    np.put_along_axis(found, order[..., :kept], True, axis=-1)
    return found


@st.composite
def fibers(draw: st.DrawFn) -> tuple[NDArray[np.float64], int]:
    """A few fibers, often with equal values, and how many to keep: none and all too."""
    length, count = draw(LENGTHS), draw(st.integers(1, 3))
    several = st.sampled_from([st.integers(0, 2), st.integers(-3, 3), st.floats(-1e300, 1e300)])
    values = draw(st.lists(draw(several), min_size=length * count, max_size=length * count))
    return np.array(values, np.float64).reshape(count, length), draw(st.integers(0, length))


@given(fibers())
def test_what_is_kept_are_the_first_of_a_stable_sort(case: tuple[NDArray[np.float64], int]) -> None:
    values, kept = case
    np.testing.assert_array_equal(largest(values, kept), by_sorting(values, kept))


@given(fibers())
def test_every_fiber_keeps_as_many_as_asked_and_none_that_is_left_out_is_larger(
    case: tuple[NDArray[np.float64], int],
) -> None:
    values, kept = case
    found = largest(values, kept)
    assert (found.sum(axis=-1) == kept).all()
    for fiber, mask in zip(values, found, strict=True):
        assert not mask.any() or mask.all() or fiber[mask].min() >= fiber[~mask].max()


@pytest.mark.parametrize("length", [1, 4, 32, 33, 200])
def test_of_equals_the_lower_coordinates_are_the_larger(length: int) -> None:
    for kept in (0, 1, length // 2, length):
        expected = np.arange(length) < kept
        np.testing.assert_array_equal(largest(np.full((2, length), 7.0), kept), [expected, expected])


@pytest.mark.parametrize("length", [5, 33])
def test_none_and_all_can_be_kept(length: int) -> None:
    values = np.random.default_rng(0).standard_normal((3, 2, length))
    assert not largest(values, 0).any()
    assert largest(values, length).all()


@pytest.mark.parametrize("length", [8, 40])
def test_zeros_of_either_sign_are_equal(length: int) -> None:
    values = np.zeros((1, length))
    values[0, ::2] = -0.0
    np.testing.assert_array_equal(largest(values, 3), by_sorting(np.zeros((1, length)), 3))


@pytest.mark.parametrize("length", [32, 33])
def test_infinite_values_are_the_largest_and_the_smallest(length: int) -> None:
    values = np.zeros((1, length))
    values[0, [3, length - 1]] = np.inf
    values[0, 0] = -np.inf
    assert np.flatnonzero(largest(values, 3)[0]).tolist() == [1, 3, length - 1]
    assert not largest(values, length - 1)[0, 0]


@pytest.mark.parametrize("length", [6, 36])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fibers_may_be_of_any_shape_order_and_width(length: int, dtype: type) -> None:
    """The last axis is the fiber, however the array lies in memory."""
    drawn = np.random.default_rng(1).integers(0, 4, (length, 2, 3, 5))
    values: NDArray[np.floating] = drawn.astype(dtype).transpose(2, 3, 1, 0)
    kept = length // 3
    found = largest(values, kept)
    assert found.shape == values.shape
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, by_sorting(values.astype(np.float64), kept))


def test_both_ways_keep_the_largest_sum_of_all_choices() -> None:
    """All choices of so many coordinates, tried out; the long way by zeros appended to the same fibers."""
    values = np.random.default_rng(2).random((20, 6))
    long = np.hstack([values, np.zeros((20, 60))])
    for kept in range(7):
        best = [max(sum(fiber[list(chosen)]) for chosen in combinations(range(6), kept)) for fiber in values]
        np.testing.assert_allclose((values * largest(values, kept)).sum(axis=-1), best)
        np.testing.assert_allclose((long * largest(long, kept)).sum(axis=-1), best)


def test_values_are_not_changed() -> None:
    for length in (7, 70):
        values = np.random.default_rng(3).random((4, length))
        before = values.copy()
        largest(values, 3)
        np.testing.assert_array_equal(values, before)
