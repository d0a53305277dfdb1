"""Bands and permuted diagonals against enumeration."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fibertree.placements import check_statistics

from sparseloom.errors import PatternError
from sparseloom.fibertree.diagonal import Banded, PermutedDiagonal

RNG = np.random.default_rng(0)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 7))
def test_a_band_is_counted_exactly_in_every_box(rows: int, columns: int, half_width: int) -> None:
    band = [[abs(i - j) <= half_width for j in range(columns)] for i in range(rows)]
    check_statistics(Banded((rows, columns), half_width), [np.array(band)])
    assert Banded((rows, columns), half_width).draw(RNG).tolist() == band


def test_a_large_band_has_the_nonzeros_of_sparseloops_formula() -> None:
    size, w = 10_000, 37
    band = Banded((size, size), w)
    nonzeros = size + 2 * sum(size - u for u in range(1, w + 1))
    assert int(band.worst_occupancy([0, 0], [size, size])) == nonzeros
    occupancies, shares = band.occupancy_distribution([16, 48])
    assert float(occupancies @ shares) * 625 * -(-size // 48) == pytest.approx(nonzeros)


@pytest.mark.parametrize(
    ("shape", "ranks", "size", "k"),
    [
        ((4, 4), (0, 1), 2, (0, 1, 1, 0)),
        ((4, 2, 6), (2, 0), 2, (1,)),
        ((3, 6), (0, 1), 3, (2, 1)),
        ((2, 2), (0, 1), 1, ()),
    ],
)
def test_given_diagonals_are_counted_exactly(
    shape: tuple[int, ...], ranks: tuple[int, int], size: int, k: tuple[int, ...]
) -> None:
    density = PermutedDiagonal(shape, ranks, size, k)
    check_statistics(density, [density.draw(RNG)])


@pytest.mark.parametrize(
    ("shape", "ranks", "size"),
    [((4, 4), (0, 1), 2), ((3, 2, 6), (0, 2), 3), ((4, 2, 4), (2, 0), 2), ((4, 8), (0, 1), 4)],
)
def test_random_diagonals_equal_the_count_over_all_k(shape: tuple[int, ...], ranks: tuple[int, int], size: int) -> None:
    density = PermutedDiagonal(shape, ranks, size)
    every = product(range(size), repeat=density.blocks[0] * density.blocks[1])
    check_statistics(density, [PermutedDiagonal(shape, ranks, size, k).draw(RNG) for k in every])


def test_column_is_row_plus_k_modulo_the_size() -> None:
    mask = PermutedDiagonal((4, 8), (0, 1), 4, (1, 3)).draw(RNG)
    for row in range(4):
        assert np.flatnonzero(mask[row]).tolist() == [(row + 1) % 4, 4 + (row + 3) % 4]


def test_a_kernel_under_a_point_is_dense() -> None:
    mask = PermutedDiagonal((4, 4, 3, 3), (0, 1), 2).draw(np.random.default_rng(1))
    assert (mask.all(axis=(2, 3)) == mask.any(axis=(2, 3))).all()
    assert (mask[:, :, 0, 0].reshape(4, 2, 2).sum(axis=2) == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((6, 4), (0, 1), 4), "of 4 does not divide the 6 coordinates of rank 0"),
        (((4, 4), (0, 1), 2, (0, 1)), "2 values of k were given for 4 blocks"),
        (((4, 4), (0, 1), 2, (2,)), "k is not between 0 and 1"),
    ],
)
def test_diagonals_that_do_not_fit_are_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(PatternError, match=message):
        PermutedDiagonal(*arguments)


def test_a_band_needs_two_ranks_and_a_width() -> None:
    with pytest.raises(PatternError, match="a band needs a tensor of 2 ranks, this one has 3"):
        Banded((4, 4, 4), 1)
    with pytest.raises(PatternError, match="half width -1 is negative"):
        Banded((4, 4), -1)
