"""Dense, uniform, fixed-structured and actual-data densities."""

import time
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fibertree.placements import check_statistics, uniform_masks

from sparseloom.errors import PatternError
from sparseloom.fibertree.density import ActualData, Dense, FixedStructured, Uniform
from sparseloom.fibertree.hypergeometric import empty_probability

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@given(SHAPES, st.integers(0, 2**32))
def test_actual_data_counts_every_box(shape: tuple[int, ...], seed: int) -> None:
    mask = np.random.default_rng(seed).random(shape) < 0.4
    check_statistics(ActualData(mask), [mask])


@given(SHAPES)
def test_dense_fills_every_box(shape: tuple[int, ...]) -> None:
    check_statistics(Dense(shape), [np.ones(shape, dtype=np.bool_)])


@pytest.mark.parametrize(("shape", "nonzeros"), [((2, 3), 2), ((2, 2, 2), 3), ((7,), 1), ((2, 3), 0), ((2, 2), 4)])
def test_uniform_equals_the_count_over_all_placements(shape: tuple[int, ...], nonzeros: int) -> None:
    density = Uniform(shape, nonzeros / np.prod(shape))
    assert density.nonzeros == nonzeros
    check_statistics(density, uniform_masks(shape, nonzeros))


@given(st.integers(1, 2000), st.integers(0, 2000))
def test_a_density_of_whole_nonzeros_gives_just_these(points: int, nonzeros: int) -> None:
    nonzeros = min(nonzeros, points)
    assert Uniform((points,), nonzeros / points).nonzeros == nonzeros
    assert Uniform((points,), Fraction(nonzeros, points)).nonzeros == nonzeros


def test_uniform_rounds_nonzeros_up_and_states_the_density_it_has() -> None:
    density = Uniform((5, 5), 0.1)
    assert (density.nonzeros, density.density) == (3, 0.12)
    assert density.draw(np.random.default_rng(0)).sum() == 3
    assert Uniform((30,), 0.1).nonzeros == 3  # 0.1 * 30 is a little above 3 in floating point


def test_joint_empty_of_two_boxes_is_that_of_their_points() -> None:
    density = Uniform((4, 4), 0.25)
    masks = list(uniform_masks((4, 4), 4))
    both = np.mean([not mask[0, :2].any() and not mask[2:, 3].any() for mask in masks])
    assert float(density.joint_empty(4)) == pytest.approx(float(both))
    assert float(density.joint_empty(4)) == float(empty_probability(16, 4, 4))


@given(st.integers(1, 30), st.fractions(0, 1), st.integers(1, 30))
def test_fixed_structured_is_sparseloops(points: int, density: Fraction, extent: int) -> None:
    model = FixedStructured((points,), float(density))
    n = min(extent, points)
    x = n * density
    assert float(model.expected_occupancy([0], [extent])) == pytest.approx(float(x))
    assert float(model.empty_probability([0], [extent])) == pytest.approx(max(0.0, 1 - float(x)), abs=1e-12)
    occupancies, probabilities = model.occupancy_distribution([extent])
    assert float(occupancies @ probabilities) == pytest.approx(float(x))
    assert set(occupancies.tolist()) <= {int(x), int(x) + 1}
    if abs(x - round(x)) > 1e-9 or x == round(x):
        assert int(model.worst_occupancy([0], [extent])) == -(-x.numerator // x.denominator)


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 12), st.integers(1, 60))
def test_a_fixed_structured_draw_holds_floor_or_ceil_in_every_run(points: int, d: int, n: int, extent: int) -> None:
    density = FixedStructured((points,), min(n, d) / d)
    mask = density.draw(np.random.default_rng(0))
    runs = [int(mask[i : i + extent].sum()) for i in range(max(1, points - extent + 1))]
    assert set(runs) <= set(density.occupancy_distribution([extent])[0].tolist())


def test_fixed_structured_places_nonzero_i_at_floor_of_i_over_density() -> None:
    mask = FixedStructured((4, 5), 0.3).draw(np.random.default_rng(0))
    assert np.flatnonzero(mask).tolist() == [int(i / 0.3) for i in range(6)]


def test_draws_of_uniform_have_its_mean_and_empty_share() -> None:
    density, rng = Uniform((8, 8), 0.1), np.random.default_rng(3)
    tiles = np.array([density.draw(rng)[2:5, 1:6].sum() for _ in range(4000)])
    empty = float(density.empty_probability([2, 1], [5, 6]))
    assert abs((tiles == 0).mean() - empty) < 5 * np.sqrt(empty * (1 - empty) / 4000)
    assert abs(tiles.mean() - float(density.expected_occupancy([2, 1], [5, 6]))) < 5 * tiles.std() / np.sqrt(4000)


def test_boxes_are_clipped_to_the_tensor() -> None:
    for density in (Dense((4,)), Uniform((4,), 0.5), FixedStructured((4,), 0.5), ActualData(np.ones(4, dtype=bool))):
        assert density.expected_occupancy([2], [9]) == density.expected_occupancy([2], [4])
        assert density.empty_probability([4], [9]) == 1


def test_results_have_the_broadcast_shape() -> None:
    mask = np.random.default_rng(0).random((3, 4)) < 0.5
    for density in (Dense((3, 4)), Uniform((3, 4), 0.5), FixedStructured((3, 4), 0.5), ActualData(mask)):
        low = [np.zeros((5, 1), dtype=int), np.zeros(2, dtype=int)]
        for query in (density.empty_probability, density.expected_occupancy, density.worst_occupancy):
            assert query(low, [3, 4]).shape == (5, 2)
            assert query([0, 0], [3, 4]).shape == ()


def test_a_hundred_thousand_tiles_take_well_under_a_second() -> None:
    density, rng = Uniform((512, 1024), 0.3), np.random.default_rng(0)
    low = [rng.integers(0, s, 100_000) for s in density.tensor_shape]
    start = time.perf_counter()
    density.empty_probability(low, [x + 16 for x in low])
    assert time.perf_counter() - start < 0.5


def test_actual_data_is_equal_by_value_and_cannot_change() -> None:
    mask = np.eye(4, dtype=np.bool_)
    one, other = ActualData(mask), ActualData(mask.copy())
    mask[:] = False
    assert one == other
    assert hash(one) == hash(other)
    assert one != ActualData(np.eye(4, dtype=np.bool_)[:2])
    assert one != ActualData(mask)
    assert int(one.worst_occupancy([0, 0], [4, 4])) == 4
    with pytest.raises(ValueError, match="read-only"):
        one.draw(np.random.default_rng(0))[0, 0] = False


def test_densities_are_values() -> None:
    kinds = [(Dense((2, 3)), Dense((2, 3))), (Uniform((2, 3), 0.5), Uniform((2, 3), 0.5))]
    assert all(a == b and hash(a) == hash(b) for a, b in kinds)
    assert len({a for pair in kinds for a in pair}) == 2


@pytest.mark.parametrize(("kind", "density"), list(product((Uniform, FixedStructured), (-0.1, 1.1, float("nan")))))
def test_a_density_outside_zero_to_one_is_refused(kind: type, density: float) -> None:
    with pytest.raises(PatternError, match="is not between 0 and 1"):
        kind((4,), density)


def test_a_box_with_the_wrong_number_of_ranks_is_refused() -> None:
    with pytest.raises(PatternError, match="1 low and 2 high coordinates was given for a tensor of 2 ranks"):
        Uniform((4, 4), 0.5).empty_probability([0], [1, 1])


def test_a_rank_without_coordinates_is_refused() -> None:
    with pytest.raises(PatternError, match="has a rank without coordinates"):
        Dense((4, 0))
