"""The importance of payloads, and patterns on the way to a model: choices, multiples, payloads, eased rules, units."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparseloom.errors import PatternError
from sparseloom.fibertree.alternative import Norm
from sparseloom.fibertree.pattern import Pattern

Array = NDArray[np.float64]
MATRIX = ("M", "C")
KERNEL = ("M", "C", "R", "S")
BLOCK, CHANNEL = "block(M:4, C:2)", "C(unconstrained)->R->S"

BY_NUMPY: dict[Norm, Callable[[Array], float]] = {
    "mean": lambda points: float(np.abs(points).mean()),
    "rms": lambda points: float(np.sqrt((points**2).mean())),
    "l1": lambda points: float(np.abs(points).sum()),
    "l2": lambda points: float(np.linalg.norm(points)),
    "variance": lambda points: float(points.var()),
}
"""Of the points of one payload, from the words of the docstring."""


def best_blocks(scores: Array, kept: int) -> NDArray[np.bool_]:
    """The ``kept`` largest scores; of equals, those of the lower coordinates."""
    found = np.zeros(scores.size, np.bool_)
    found[np.argsort(-scores.ravel(), kind="stable")[:kept]] = True
    return found.reshape(scores.shape)


def blocks_of(values: Array, height: int, width: int) -> Array:
    """[block rows, block columns, points of a block]."""
    rows, columns = values.shape
    cut = values.reshape(rows // height, height, columns // width, width).transpose(0, 2, 1, 3)
    return cut.reshape(rows // height, columns // width, -1)


def expected_blocks(values: Array, height: int, width: int, kept: int, score: Callable[[Array], float]) -> Array:
    cut = blocks_of(values, height, width)
    scores = np.array([[score(points) for points in row] for row in cut])
    return np.kron(best_blocks(scores, kept), np.ones((height, width))).astype(bool)


@st.composite
def matrices(draw: st.DrawFn) -> Array:
    """8 x 8 small whole numbers: means, squares and variances of 8 of them have no rounding."""
    return np.array(draw(st.lists(st.integers(-9, 9), min_size=64, max_size=64)), np.float64).reshape(8, 8)


@pytest.mark.parametrize("norm", ["mean", "l1", "variance"])
@given(values=matrices(), kept=st.integers(0, 8))
def test_blocks_are_kept_by_their_norm_counted_by_numpy(norm: Norm, values: Array, kept: int) -> None:
    found = Pattern.parse(BLOCK).mask(values, MATRIX, kept / 8, norm=norm)
    np.testing.assert_array_equal(found, expected_blocks(values, 4, 2, kept, BY_NUMPY[norm]))


@pytest.mark.parametrize("norm", ["rms", "l2"])
@given(values=matrices(), kept=st.integers(0, 8))
def test_blocks_are_kept_by_their_sums_of_squares(norm: Norm, values: Array, kept: int) -> None:
    """Roots order alike, but round; sums of squares of whole numbers do not."""
    found = Pattern.parse(BLOCK).mask(values, MATRIX, kept / 8, norm=norm)
    np.testing.assert_array_equal(found, expected_blocks(values, 4, 2, kept, lambda points: float((points**2).sum())))


@given(values=matrices(), kept=st.integers(0, 8))
def test_variance_of_the_whole_is_about_the_mean_of_the_tensor(values: Array, kept: int) -> None:
    centre = values.mean()  # of 64 whole numbers: no rounding
    found = Pattern.parse(BLOCK).mask(values, MATRIX, kept / 8, norm="variance-whole")
    expected = expected_blocks(values, 4, 2, kept, lambda points: float(((points - centre) ** 2).mean()))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "text", [BLOCK, CHANNEL, "M1C1(unconstrained)->M0C0=2x4->RS", "C1(1:2)->C0=2->RS", "C(2:4)->RS"]
)
@given(seed=st.integers(0, 10**6), density=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_payloads_of_one_size_are_chosen_alike_by_mean_and_l1_and_by_rms_and_l2(
    text: str, seed: int, density: float
) -> None:
    values = np.random.default_rng(seed).standard_normal((8, 4, 3, 3))
    pattern = Pattern.parse(text)
    free = density if pattern.any_degree else None
    masks = {norm: pattern.mask(values, KERNEL, free, norm=norm) for norm in ("mean", "l1", "rms", "l2")}
    np.testing.assert_array_equal(masks["mean"], masks["l1"])
    np.testing.assert_array_equal(masks["rms"], masks["l2"])


@pytest.mark.parametrize("norm", list(BY_NUMPY))
def test_channels_of_each_filter_are_kept_by_their_kernels(norm: Norm) -> None:
    values = np.random.default_rng(5).standard_normal((3, 4, 3, 3))
    found = Pattern.parse(CHANNEL).mask(values, KERNEL, 0.5, norm=norm)
    for row, mask in zip(values, found, strict=True):
        kept = best_blocks(np.array([BY_NUMPY[norm](kernel) for kernel in row]), 2)
        np.testing.assert_array_equal(mask, np.broadcast_to(kept[:, None, None], mask.shape))


def test_mean_and_rms_differ_where_a_block_has_one_large_point() -> None:
    values = np.array([[9.0, 0.0, 3.0, 3.0], [0.0, 0.0, 3.0, 3.0]])
    pattern = Pattern.parse("block(M:2, C:2)")
    assert pattern.mask(values, MATRIX, 0.5, norm="mean")[0].tolist() == [False, False, True, True]
    assert pattern.mask(values, MATRIX, 0.5, norm="rms")[0].tolist() == [True, True, False, False]


def test_a_block_of_equal_points_has_no_variance_of_its_own_but_one_about_the_tensor() -> None:
    values = np.array([[8.0, 8.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0]])  # the mean is 2
    pattern = Pattern.parse("block(M:1, C:2)")
    assert pattern.mask(values, MATRIX, 0.25, norm="variance")[0].tolist() == [False, False, True, True] + [False] * 4
    assert pattern.mask(values, MATRIX, 0.25, norm="variance-whole")[0].tolist() == [True, True] + [False] * 6


@pytest.mark.parametrize("norm", ["variance", "variance-whole"])
def test_the_variance_of_a_single_point_is_about_the_mean_of_the_tensor(norm: Norm) -> None:
    values = np.array([[5.0, 4.0, 0.0, 7.0]])  # the mean is 4
    assert Pattern.parse("C0(2:4)").mask(values, MATRIX, norm=norm)[0].tolist() == [False, False, True, True]
    assert Pattern.parse("C0(2:4)").mask(values, MATRIX)[0].tolist() == [True, False, False, True]


def lower_to_higher(values: Array, rules: list[tuple[int, int]], score: Callable[[Array], float]) -> NDArray[np.bool_]:
    """A fiber pruned by rules along its rank, the lowest first, in plain loops: (G, H) of the lowest rank comes first."""
    left, stride = values.astype(np.float64).copy(), 1
    kept = np.ones(left.size, np.bool_)
    for most, shape in rules:
        for start in range(0, left.size, stride * shape):
            parts = [slice(start + n * stride, start + (n + 1) * stride) for n in range(shape)]
            scores = np.array([score(left[part]) if stride > 1 else abs(left[part][0]) for part in parts])
            for part, stays in zip(parts, best_blocks(scores, most), strict=True):
                if not stays:
                    left[part], kept[part] = 0.0, False
        stride *= shape
    return kept


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("C1(3:4)->C0(2:4)", [(2, 4), (3, 4)]),
        ("C1(2:4)->C0(1:4)", [(1, 4), (2, 4)]),
        ("C2(1:2)->C1(2:4)->C0(1:2)", [(1, 2), (2, 4), (1, 2)]),
    ],
)
@given(data=st.data())
def test_ranks_are_pruned_lower_to_higher_as_by_hand(
    text: str, rules: list[tuple[int, int]], data: st.DataObject
) -> None:
    numbers = data.draw(st.lists(st.integers(-9, 9), min_size=32, max_size=32))
    values = np.array(numbers, np.float64).reshape(2, 16)
    found = Pattern.parse(text).mask(values, MATRIX)
    for row, mask in zip(values, found, strict=True):
        np.testing.assert_array_equal(mask, lower_to_higher(row, rules, BY_NUMPY["l1"]))


@given(values=matrices(), norm=st.sampled_from(["mean", "rms"]))
def test_a_higher_rank_counts_what_the_lower_rule_has_left(values: Array, norm: Norm) -> None:
    """C1(1:2)->C0(2:4) on 8 coordinates."""

    def score(points: Array) -> float:
        return float((np.abs(points) ** (1 if norm == "mean" else 2)).sum())

    found = Pattern.parse("C1(1:2)->C0(2:4)").mask(values, MATRIX, norm=norm)
    for row, mask in zip(values, found, strict=True):
        np.testing.assert_array_equal(mask, lower_to_higher(row, [(2, 4), (1, 2)], score))


def test_what_the_lower_rule_removed_does_not_count_above() -> None:
    values = np.array([[5.0, 5.0, 0.0, 0.0, 4.0, 4.0, 4.0, 4.0]])
    assert Pattern.parse("C1(1:2)->C0(2:4)").mask(values, MATRIX)[0].tolist() == [True, True] + [False] * 6
    assert Pattern.parse("C1(1:2)->C0=4").mask(values, MATRIX)[0].tolist() == [False] * 4 + [True] * 4


def test_the_variance_of_a_higher_rank_is_of_what_is_left_with_zeros() -> None:
    """Of (6, 6, 0, 0) it is 9, of (5, -3, 0, 0) 8.25; of the two that are left alone it would be 0 and 16. The mean of the
    tensor is 2, so that 6, 6 and 5, -3 are farthest from it."""
    values = np.array([[6.0, 6.0, 1.0, 1.0, 5.0, -3.0, 0.0, 0.0]])
    assert (
        Pattern.parse("C1(1:2)->C0(2:4)").mask(values, MATRIX, norm="variance")[0].tolist()
        == [True, True] + [False] * 6
    )


@given(values=matrices(), norm=st.sampled_from(list(BY_NUMPY)))
def test_permuted_diagonals_are_chosen_by_sums_of_squares_whatever_the_norm(values: Array, norm: Norm) -> None:
    found = Pattern.parse("permdiag(M,C: 4)").mask(values, MATRIX, norm=norm)
    for i, j in product(range(0, 8, 4), repeat=2):
        block = values[i : i + 4, j : j + 4]
        places = [[(row, (row + k) % 4) for row in range(4)] for k in range(4)]
        sums = [sum(block[place] ** 2 for place in diagonal) for diagonal in places]
        expected = np.zeros((4, 4), np.bool_)
        expected[tuple(np.transpose(places[int(np.argmax(sums))]))] = True
        np.testing.assert_array_equal(found[i : i + 4, j : j + 4], expected)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("text", ["C0(2:4)", BLOCK, "permdiag(M,C: 4)", "dense"])
def test_values_that_are_no_numbers_are_counted_and_refused(wrong: float, text: str) -> None:
    values = np.ones((8, 8))
    values[1, 2] = values[7, 7] = wrong
    with pytest.raises(PatternError, match="2 of 64 values are NaN or infinite"):
        Pattern.parse(text).mask(values, MATRIX, 0.5 if text == BLOCK else None)


def test_a_given_importance_that_is_no_number_is_refused_too() -> None:
    importance = np.full((8, 8), np.nan)
    with pytest.raises(PatternError, match="64 of 64"):
        Pattern.parse("C0(2:4)").mask(np.ones((8, 8)), MATRIX, importance=importance)


def test_a_given_importance_takes_the_place_of_the_magnitude() -> None:
    values, importance = np.array([[4.0, 3.0, 2.0, 1.0]]), np.array([[1.0, 2.0, 3.0, 4.0]])
    found = Pattern.parse("C0(2:4)").mask(values, MATRIX, importance=importance)
    assert found[0].tolist() == [False, False, True, True]


def test_a_given_importance_below_zero_is_the_least() -> None:
    """Only a value has a magnitude; an importance stands as it is given."""
    importance = np.array([[-5.0, 1.0, 2.0, 3.0]])
    found = Pattern.parse("C0(2:4)").mask(np.ones((1, 4)), MATRIX, importance=importance)
    assert found[0].tolist() == [False, False, True, True]


PATTERNS: tuple[tuple[str, tuple[int, ...], float | None], ...] = (
    ("C0(2:4)", (2, 8, 3, 3), None),
    ("C1(3:4)->C0(2:4)", (2, 16, 1, 3), None),
    ("RS->C1->C0(2:4)", (2, 8, 3, 3), None),
    ("CRS(unconstrained)", (3, 4, 3, 3), 0.3),
    (CHANNEL, (3, 4, 3, 3), 0.5),
    ("C->RS(4:9)", (2, 3, 3, 3), None),
    ("block(M:4, C:2)", (8, 4, 1, 1), 0.4),
    ("M1C1(unconstrained)->M0C0=4x2->RS", (8, 4, 3, 3), 0.4),
    ("permdiag(M,C: 4)", (8, 4, 3, 3), None),
    ("unstructured", (4, 4, 3, 3), 0.37),
    ("dense", (2, 3, 1, 1), None),
    ("C1(1:2)->C0=2->RS", (2, 4, 3, 3), None),
)
"""Single patterns, tensors M x C x R x S that they divide, and densities where they are free."""


@pytest.mark.parametrize(("text", "shape", "density"), PATTERNS)
def test_points_of_a_unit_are_kept_or_removed_together_in_masks_and_draws(
    text: str, shape: tuple[int, ...], density: float | None
) -> None:
    pattern, rng = Pattern.parse(text), np.random.default_rng(0)
    units = pattern.units(KERNEL, shape)
    assert units.shape == shape
    assert units.min() >= 0
    for _ in range(5):
        drawn = pattern.draw(KERNEL, shape, rng, density)
        for mask in (drawn, pattern.mask(rng.standard_normal(shape), KERNEL, density)):
            for unit in np.unique(units):
                assert len(np.unique(mask[units == unit])) == 1


@pytest.mark.parametrize(("text", "shape", "density"), PATTERNS)
def test_units_are_as_large_as_they_can_be_no_two_always_go_together(
    text: str, shape: tuple[int, ...], density: float | None
) -> None:
    """Points that no draw of many tells apart have the same number; those of one permuted diagonal go together by its k."""
    pattern, rng = Pattern.parse(text), np.random.default_rng(0)
    units = pattern.units(KERNEL, shape)
    if not pattern.alternatives[0].any_degree and pattern.degrees() == (Fraction(1),):
        assert len(np.unique(units)) == 1
        return
    draws = np.stack([pattern.draw(KERNEL, shape, rng, density).ravel() for _ in range(80)])
    alike = np.unique(draws, axis=1, return_inverse=True)[1].ravel()
    numbers = [len(np.unique(units.ravel()[alike == group])) for group in np.unique(alike)]
    assert max(numbers) == (4 if "permdiag" in text else 1)


@pytest.mark.parametrize(
    ("text", "shape", "points"),
    [
        ("C0(2:4)", (2, 8, 3, 3), 1),
        ("C1(3:4)->C0(2:4)", (2, 16, 1, 1), 1),
        (CHANNEL, (2, 8, 3, 3), 9),
        ("block(M:8, C:8)", (16, 8, 1, 1), 64),
        ("M1C1(unconstrained)->M0C0=8x8->RS", (16, 8, 3, 3), 576),
        ("permdiag(M,C: 4)", (8, 4, 3, 3), 9),
        ("C->RS(4:9)", (2, 3, 3, 3), 1),
    ],
)
def test_units_have_the_points_of_a_block_a_channel_or_one(text: str, shape: tuple[int, ...], points: int) -> None:
    numbers = np.unique(Pattern.parse(text).units(KERNEL, shape), return_counts=True)[1]
    assert set(numbers.tolist()) == {points}


def test_units_methods_refuse_several_patterns() -> None:
    several = Pattern.parse("dense; C0(2:4)")
    for call in (
        lambda: several.units(MATRIX, (4, 4)),
        lambda: several.multiples(MATRIX),
        lambda: several.eased(0.5),
    ):
        with pytest.raises(PatternError, match="several patterns"):
            call()


@pytest.mark.parametrize(
    ("text", "multiples"),
    [
        ("C0(2:4)", (1, 4, 1, 1)),
        ("C1(3:4)->C0(2:4)", (1, 16, 1, 1)),
        ("dbb(C: 3/8)", (1, 8, 1, 1)),
        ("block(M:16, C:4)", (16, 4, 1, 1)),
        ("permdiag(M,C: 4)", (4, 4, 1, 1)),
        ("unstructured", (1, 1, 1, 1)),
        (CHANNEL, (1, 1, 1, 1)),
        ("dense", (1, 1, 1, 1)),
    ],
)
def test_multiples_are_the_products_of_the_rules_along_a_rank(text: str, multiples: tuple[int, ...]) -> None:
    assert Pattern.parse(text).multiples(KERNEL) == dict(zip(KERNEL, multiples, strict=True))


@pytest.mark.parametrize(("text", "density"), [(text, density) for text, _, density in PATTERNS])
@given(times=st.tuples(st.integers(1, 3), st.integers(1, 3)))
@settings(max_examples=10)
def test_a_tensor_of_multiples_takes_the_pattern(text: str, density: float | None, times: tuple[int, int]) -> None:
    pattern = Pattern.parse(text)
    needed = pattern.multiples(KERNEL)
    shape = (needed["M"] * times[0], needed["C"] * times[1], 3, 3)
    assert pattern.density_model(KERNEL, shape, density).tensor_shape == shape


@pytest.mark.parametrize("text", ["C0(2:4)", "C1(3:4)->C0(2:4)", "block(M:4, C:2)", "permdiag(M,C: 4)"])
@given(shape=st.tuples(st.integers(1, 20), st.integers(1, 20)))
@settings(max_examples=30)
def test_a_tensor_of_no_multiples_does_not_take_the_pattern(text: str, shape: tuple[int, int]) -> None:
    pattern = Pattern.parse(text)
    assume(any(size % n for size, n in zip(shape, pattern.multiples(MATRIX).values(), strict=True)))
    with pytest.raises(PatternError, match="multiples of"):
        pattern.density_model(MATRIX, shape, 0.5 if pattern.any_degree else None)


@pytest.mark.parametrize("call", ["multiples", "units"])
@pytest.mark.parametrize("text", ["K0(2:4)", "permdiag(M,K: 4)"])
def test_ranks_that_the_tensor_does_not_have_are_refused(call: str, text: str) -> None:
    arguments = (MATRIX,) if call == "multiples" else (MATRIX, (4, 4))
    with pytest.raises(PatternError, match="K"):
        getattr(Pattern.parse(text), call)(*arguments)


def test_choices_are_single_patterns_of_the_density_the_finest_grain_first() -> None:
    found = Pattern.parse("dense; C1(2:{2<=H<=8})->C0(2:{2<=H<=4})").choices(0.25)
    assert all(len(choice.alternatives) == 1 and choice.degrees() == (Fraction(1, 4),) for choice in found)
    shapes = {(a, b) for a, b in product(range(2, 9), range(2, 5)) if Fraction(4, a * b) == Fraction(1, 4)}
    assert {str(choice) for choice in found} == {f"C1(2:{a})->C0(2:{b})" for a, b in shapes}
    assert str(found[0]) == "C1(2:4)->C0(2:4)"  # prunes the lowest rank most


def test_a_free_pattern_is_a_choice_for_any_density_behind_those_that_have_it() -> None:
    several = Pattern.parse("unstructured; C0({G<=2}:4)")
    assert [str(choice) for choice in several.choices(0.25)] == ["C0(1:4)", "unstructured"]
    assert [str(choice) for choice in several.choices(0.3)] == ["unstructured"]


def test_choices_without_a_density_need_a_pattern_of_one() -> None:
    assert [str(choice) for choice in Pattern.parse("C0(2:4)").choices()] == ["C0(2:4)"]
    with pytest.raises(PatternError, match="several densities"):
        Pattern.parse("C0({G<=2}:4)").choices()
    with pytest.raises(PatternError, match="has no density"):
        Pattern.parse("C0({G<=2}:4)").choices(0.3)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("block(M:8, C:8)", "M1C1(unconstrained)->M0C0=8x8->RS"),
        ("C1(unconstrained)->C0=4->R", "C1(unconstrained)->C0=4->R->S"),
        ("C0(2:4)", "C0(2:4)"),
        (CHANNEL, CHANNEL),
        ("unstructured", "unstructured"),
        ("permdiag(M,C: 4)", "permdiag(M,C: 4)"),
        ("dense", "dense"),
    ],
)
def test_a_payload_takes_the_ranks_that_are_not_named(text: str, printed: str) -> None:
    assert str(Pattern.parse(text).with_payload(KERNEL, ("R", "S"))) == printed


def test_blocks_with_a_payload_are_kept_or_removed_through_the_kernel() -> None:
    values = np.random.default_rng(0).standard_normal((16, 16, 3, 3))
    pattern = Pattern.parse("block(M:8, C:8)").with_payload(KERNEL, ("R", "S"))
    found = pattern.mask(values, KERNEL, 0.5)
    sums = np.abs(values).reshape(2, 8, 2, 8, 9).sum(axis=(1, 3, 4))
    expected = np.kron(best_blocks(sums, 2), np.ones((8, 8), np.bool_))
    np.testing.assert_array_equal(found, np.broadcast_to(expected[..., None, None], found.shape))


@pytest.mark.parametrize("shape", [1, 2, 3, 4, 7, 8, 9, 16])
def test_an_eased_rule_keeps_more_on_a_straight_line_rounded_up(shape: int) -> None:
    """All G of H over up to 12 epochs, against fractions."""
    for kept, steps in product(range(shape + 1), range(1, 13)):
        for step in range(steps + 1):
            expected = math.ceil(shape - Fraction(step, steps) * (shape - kept))
            assert str(Pattern.parse(f"C0({kept}:{shape})").eased(step / steps)[0]) == f"C0({expected}:{shape})"


@pytest.mark.parametrize(("text", "shape", "density"), PATTERNS)
def test_eased_patterns_go_from_dense_to_the_pattern_itself_and_never_keep_less(
    text: str, shape: tuple[int, ...], density: float | None
) -> None:
    pattern = Pattern.parse(text)
    values = np.random.default_rng(0).standard_normal(shape)
    last, free = pattern.eased(1.0, density)
    assert last == pattern
    assert free == (None if density is None else pytest.approx(density))
    found = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        eased, own = pattern.eased(share, density)
        mask = eased.mask(values, KERNEL, own)
        assert eased.obeys(mask, KERNEL)
        found.append(mask.mean())
    assert found[0] == (0.25 if "permdiag" in text else 1.0)
    assert found == sorted(found, reverse=True)


def test_a_free_density_eases_on_a_straight_line_below_what_the_rules_leave() -> None:
    assert Pattern.parse("unstructured").eased(0.25, 0.2)[1] == pytest.approx(0.8)
    eased, density = Pattern.parse("C1(unconstrained)->C0(2:4)").eased(0.5, 0.25)
    assert str(eased) == "C1(unconstrained)->C0(3:4)"
    assert density == pytest.approx(0.75 * 0.75)


def test_a_permuted_diagonal_has_nothing_to_loosen() -> None:
    pattern = Pattern.parse("permdiag(M,C: 4)")
    assert pattern.eased(0.0) == (pattern, None)
