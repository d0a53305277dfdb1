import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparseloom.errors import InputError
from sparseloom.fibertree.density import ActualData, Density, FixedStructured, Uniform
from sparseloom.fibertree.encoding import encode
from sparseloom.fibertree.format import Format
from sparseloom.fibertree.prediction import expected_units, worst_units

RANKS = ("M", "K")
SHAPE = (3, 4)
FORMATS = [
    "U(M)-U(K)",
    "UOP(M)-CP(K)",
    "RLE(M,K):1",
    "RLE(K,M):2",
    "RLE(M):1-RLE(K):1",
    "UB(M)-B(K)",
    "CP(K1)-U(M)-RLE(K0=3):1",
    "B(K0=2)-UOP(M)",
    "RLE(K1,M):1-CP(K0=3)",
    "RLE(K1):1-RLE(M):1-UOP(K0=2)",
    "U(K2)-UOP(M)-UOP(K1=2)-RLE(K0=2):1",
    "RLE(K2,K1=2):1-B(M)-RLE(K0=2)",
    "RLE(K1,M,K0=2):1",
    "CP()-CP(M,K)-B()",
    "CP(K1)-U(K0=3)-UOP(M)",
]
BOXES = [((0, 0), (3, 4)), ((1, 1), (3, 4)), ((0, 1), (2, 4)), ((2, 3), (3, 4))]


def _part(mask, low, high):
    return mask[tuple(slice(x, y) for x, y in zip(low, high, strict=True))]


def _units(form, mask, low, high):
    return encode(form, _part(mask, low, high), RANKS, tuple(low)).units


def _placements(shape, nonzeros):
    size = math.prod(shape)
    for places in itertools.combinations(range(size), nonzeros):
        mask = np.zeros(size, np.bool_)
        mask[list(places)] = True
        yield mask.reshape(shape)


class Alternatives(Density):
    """One of several tensors, each as likely: a density whose meaning is plain, with nonzeros that depend on others."""

    coordinate_dependent = True

    def __init__(self, masks):
        self.masks = [ActualData(mask) for mask in masks]
        self.tensor_shape = self.masks[0].tensor_shape
        self.density = float(np.mean([mask.density for mask in self.masks]))

    def empty_probability(self, low, high):
        return np.mean([mask.empty_probability(low, high) for mask in self.masks], axis=0)

    def expected_occupancy(self, low, high):
        return np.mean([mask.expected_occupancy(low, high) for mask in self.masks], axis=0)

    def worst_occupancy(self, low, high):
        return np.max([mask.worst_occupancy(low, high) for mask in self.masks], axis=0)

    def occupancy_distribution(self, extents):
        raise AssertionError("formats need no distribution")

    def draw(self, rng):
        return self.masks[rng.integers(len(self.masks))].mask


class Independent(Alternatives):
    """Every point is nonzero with the same probability, whatever the others are."""

    coordinate_dependent = False

    def __init__(self, shape, density):
        self.tensor_shape, self.density = shape, density

    def empty_probability(self, low, high):
        return (1 - self.density) ** np.prod([y - x for x, y in zip(low, high, strict=True)], axis=0)

    def expected_occupancy(self, low, high):
        return self.density * np.prod([y - x for x, y in zip(low, high, strict=True)], axis=0)


@pytest.mark.parametrize("text", FORMATS)
@pytest.mark.parametrize("nonzeros", [1, 3])
def test_units_of_a_uniform_tensor_are_the_mean_over_all_placements(text, nonzeros):
    form, density = Format.parse(text), Uniform(SHAPE, nonzeros / math.prod(SHAPE))
    for low, high in BOXES:
        units = [_units(form, mask, low, high) for mask in _placements(SHAPE, nonzeros)]
        np.testing.assert_allclose(expected_units(form, density, RANKS, low, high), np.mean(units, axis=0), atol=1e-12)
        assert (np.max(units, axis=0) <= worst_units(form, density, RANKS, low, high)).all()


@pytest.mark.parametrize("text", ["RLE(K1):1-CP(K0=2)", "CP(K2)-RLE(K1=5):1-U(K0=2)", "B(K2)-RLE(K1=3,K0=2):1"])
@pytest.mark.parametrize(("low", "high"), [(0, 14), (1, 14), (0, 13), (1, 13), (3, 5)])
def test_long_runs_of_split_ranks_are_the_mean_over_all_placements(text, low, high):
    form, density = Format.parse(text), Uniform((14,), 2 / 14)
    units = [encode(form, mask[low:high], ("K",), (low,)).units for mask in _placements((14,), 2)]
    found = expected_units(form, density, ("K",), (low,), (high,))
    np.testing.assert_allclose(found, np.mean(units, axis=0), atol=1e-12)
    assert (np.max(units, axis=0) <= worst_units(form, density, ("K",), (low,), (high,))).all()


@pytest.mark.parametrize("text", FORMATS)
def test_units_of_independent_points_are_the_mean_over_all_tensors(text):
    form, shape, density = Format.parse(text), (2, 5), 0.3
    total = 0.0
    for values in itertools.product([False, True], repeat=10):
        weight = density ** sum(values) * (1 - density) ** (10 - sum(values))
        total = total + weight * _units(form, np.array(values).reshape(shape), (0, 1), shape)
    found = expected_units(form, Independent(shape, density), RANKS, (0, 1), shape)
    np.testing.assert_allclose(found, total, atol=1e-12)


@given(data=st.data(), mask=hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7)))
def test_units_of_actual_data_are_those_of_its_encoding(formats, data, mask):
    form, density = data.draw(formats(RANKS)), ActualData(mask)
    low = [data.draw(st.integers(0, size - 1)) for size in mask.shape]
    high = [data.draw(st.integers(x + 1, size)) for x, size in zip(low, mask.shape, strict=True)]
    units = _units(form, mask, low, high)
    assert expected_units(form, density, RANKS, low, high) == pytest.approx(units, abs=1e-12)
    assert (units <= worst_units(form, density, RANKS, low, high)).all()


@given(data=st.data(), shape=st.tuples(st.integers(1, 6), st.integers(1, 9)), seed=st.integers(0, 999))
def test_no_tensor_exceeds_the_worst_units(formats, data, shape, seed):
    form = data.draw(formats(RANKS))
    density = Uniform(shape, data.draw(st.floats(0, 1)))
    mask = density.draw(np.random.default_rng(seed))
    low = [data.draw(st.integers(0, size - 1)) for size in shape]
    high = [data.draw(st.integers(x + 1, size)) for x, size in zip(low, shape, strict=True)]
    worst = worst_units(form, density, RANKS, low, high)
    assert (_units(form, mask, low, high) <= worst).all()
    assert (expected_units(form, density, RANKS, low, high) <= worst + 1e-9).all()


@pytest.mark.parametrize(
    "text", [text for text in FORMATS if not text.startswith(("RLE(M,K)", "RLE(K,M)", "RLE(K1,M"))]
)
def test_units_of_alternatives_are_the_mean_of_their_encodings(text):
    rng = np.random.default_rng(7)
    masks = [rng.random((4, 7)) < share for share in (0.1, 0.3, 0.6)]
    form, density, low, high = Format.parse(text), Alternatives(masks), (1, 1), (4, 7)
    units = [_units(form, mask, low, high) for mask in masks]
    np.testing.assert_allclose(expected_units(form, density, RANKS, low, high), np.mean(units, axis=0), atol=1e-12)
    assert (np.max(units, axis=0) <= worst_units(form, density, RANKS, low, high)).all()


@pytest.mark.parametrize("text", FORMATS)
@pytest.mark.parametrize("kind", [Uniform, FixedStructured, ActualData])
def test_a_batch_of_boxes_has_the_units_of_each(text, kind):
    rng = np.random.default_rng(3)
    density = ActualData(rng.random((6, 9)) < 0.3) if kind is ActualData else kind((6, 9), 0.25)
    form, low, high = Format.parse(text), (np.array([0, 1, 5]), np.array([[0], [4]])), (6, np.array([[7], [9]]))
    for units in (expected_units, worst_units):
        batch = units(form, density, RANKS, low, high)
        assert batch.shape == (2, 3, len(form.ranks), 2)
        for i, j in np.ndindex(2, 3):
            one = units(form, density, RANKS, (low[0][j], low[1][i, 0]), (6, high[1][i, 0]))
            np.testing.assert_allclose(batch[i, j], one, atol=1e-12)


def test_boxes_are_clipped_at_the_edges_and_those_without_points_have_no_units():
    form, density = Format.parse("UOP(M)-CP(K)"), Uniform((4, 4), 0.5)
    low, high = (np.array([2, 2, 3]), 0), (np.array([9, 4, 3]), 4)
    for units in (expected_units, worst_units):
        clipped, whole, none = units(form, density, RANKS, low, high)
        assert np.array_equal(clipped, whole)
        assert not none.any()


def test_compressed_sparse_rows_of_a_uniform_matrix_by_hand():
    units = expected_units(Format.parse("UOP-CP", RANKS), Uniform((4, 8), 0.25), RANKS, (0, 0), (4, 8))
    assert units.tolist() == [[0, 5], [8, 0]]


def test_a_bitmask_under_coordinates_is_stored_for_nonempty_rows_only():
    density = Uniform((4, 8), 1 / 32)
    units = expected_units(Format.parse("CP(M)-B(K)"), density, RANKS, (0, 0), (4, 8))
    assert units == pytest.approx(np.array([[1, 1], [8, 0]]))


def test_runs_of_the_worst_tensor_take_as_many_placeholders_as_it_has_room_for():
    units = worst_units(Format.parse("RLE(K):2"), Uniform((16,), 1 / 16), ("K",), (0,), (16,))
    mask = np.zeros(16, np.bool_)
    mask[-1] = True
    assert units[0, 0] == 4 == encode(Format.parse("RLE(K):2"), mask, ("K",)).units[0, 0]


def test_default_run_lengths_need_no_placeholders():
    units = expected_units(Format.parse("RLE(K)"), Uniform((64,), 1 / 64), ("K",), (0,), (64,))
    assert units[0, 0] == pytest.approx(1)


def test_a_tensor_without_ranks_has_units():
    assert expected_units(Format.parse("CP()"), Uniform((), 1.0), (), (), ()).tolist() == [[1, 0]]


def test_a_format_for_other_ranks_is_refused():
    with pytest.raises(InputError, match="names rank N, the tensor has M, K"):
        expected_units(Format.parse("CP(N)"), Uniform((2, 2), 0.5), RANKS, (0, 0), (1, 1))


def test_a_run_length_wider_than_an_integer_needs_no_placeholders() -> None:
    wide, enough = (
        Format.parse(f"RLE(K):{bits}").worst_units(Uniform((40,), 0.1), ("K",), [0], [40]) for bits in (64, 6)
    )
    assert wide.tolist() == enough.tolist()


def test_boxes_of_small_integers_are_as_good() -> None:
    low, high = np.zeros((1, 3), np.int32), np.array([[1, 20, 40]], np.int32)
    of = Format.parse("B(K)").expected_units, Uniform((40,), 0.1), ("K",)
    assert of[0](*of[1:], low, high).tolist() == of[0](*of[1:], low.astype(np.int64), high.astype(np.int64)).tolist()


def test_runs_of_a_large_flattened_tensor_take_little_memory() -> None:
    shape = (1 << 15, 1 << 10)
    form, density = Format.parse("RLE(M,K):1"), FixedStructured(shape, 0.5)
    expected_units(form, density, RANKS, (0, 0), (2, 8))
    tracemalloc.start()
    try:
        units = expected_units(form, density, RANKS, (0, 0), shape)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert units[0, 0] >= density.density * shape[0] * shape[1]
    assert most < 1 << 20
