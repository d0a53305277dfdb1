"""The six abilities of a pattern: notation, degrees, mask, obeys, density model, draw; and that they agree."""

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.fibertree.placements import number_of_masks, tree_masks

from sparseloom.errors import PatternError
from sparseloom.fibertree.density import Dense, Uniform
from sparseloom.fibertree.diagonal import PermutedDiagonal
from sparseloom.fibertree.pattern import Pattern
from sparseloom.fibertree.structured import Block, Channel, Hierarchical

RANKS = ("M", "C", "R", "S")

TABLE_5_1 = {
    "CRS(unconstrained)": (),
    "C(unconstrained)->R->S": (),
    "C->RS(4:9)": (Fraction(4, 9),),
    "RS->C1->C0(2:4)": (Fraction(1, 2),),
    "RS->C1->C0(4:16)": (Fraction(1, 4),),
    "RS->C1->C0({G<=8}:8)": tuple(Fraction(g, 8) for g in range(8, 0, -1)),
    "RS->C2->C1(3:4)->C0(2:4)": (Fraction(3, 8),),  # also Fig. 5-3
}
"""Thesis, Table 5.1, and the densities that each row admits."""

TABLE_6_2 = {
    "dense": (Fraction(1),),  # TC, both operands; STC, operand B
    "dense; C0({G<=2}:4)": (Fraction(1), Fraction(1, 2), Fraction(1, 4)),  # STC, operand A
    "dense; unstructured": (Fraction(1),),  # DSTC, both operands; HighLight, operand B
    "C0({G<=4}:8)": tuple(Fraction(g, 8) for g in range(4, 0, -1)),  # S2TA, operand A
    "dense; C0({G<=8}:8)": tuple(Fraction(g, 8) for g in range(8, 0, -1)),  # S2TA, operand B
    "dense; C1(2:{2<=H<=8})->C0(2:{2<=H<=4})": tuple(  # HighLight, operand A
        Fraction(*d)
        for d in (
            *((1, 1), (2, 3), (1, 2), (4, 9), (2, 5), (1, 3), (2, 7), (4, 15), (1, 4), (2, 9), (1, 5), (4, 21)),
            *((1, 6), (1, 7), (1, 8)),
        )
    ),
}
"""Thesis, Table 6.2: what each design supports."""

OTHERS = (
    "C1(3:4)->C0(2:4)",
    "M1C1(unconstrained)->M0C0=8x8",
    "permdiag(M,C: 4)",
    "permdiag(M,C: 4, k=1)",
    "permdiag(M,C: 4, k=[0,1,2,3])",
    "C1(unconstrained)->C0(2:4)",
    "C1(2:4)->M->C0=2",
    "C1({2<=G<=3}:4)->C0(1:{H<=2})",
)


@pytest.mark.parametrize("text", [*TABLE_5_1, *TABLE_6_2, *OTHERS])
def test_a_pattern_prints_as_it_was_written_and_reads_back(text: str) -> None:
    pattern = Pattern.parse(text)
    assert str(pattern) == text
    assert Pattern.parse(str(pattern)) == pattern
    assert hash(Pattern.parse(text)) == hash(pattern)


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("CRS(Unconstrained)", "CRS(unconstrained)"),
        ("RS \u2192 C1 \u2192 C0( 2 : 4 )", "RS->C1->C0(2:4)"),
        ("C0(G\u22648:8)", "C0({G<=8}:8)"),
        ("C1(2:{2\u2264H\u22648})->C0(2:2<=H<=4)", "C1(2:{2<=H<=8})->C0(2:{2<=H<=4})"),
        ("Dense;unstructured sparse", "dense; unstructured"),
        ("block(M: 8, C:4)", "M1C1(unconstrained)->M0C0=8x4"),
        ("dbb(C: 3/8)", "C0(3:8)"),
        ("permdiag(M,C:4,k=[2])", "permdiag(M,C: 4, k=2)"),
    ],
)
def test_other_spellings_are_the_same_pattern(written: str, printed: str) -> None:
    assert str(Pattern.parse(written)) == printed


@pytest.mark.parametrize(("text", "degrees"), [*TABLE_5_1.items(), *TABLE_6_2.items()])
def test_degrees_of_the_tables_of_the_thesis(text: str, degrees: tuple[Fraction, ...]) -> None:
    pattern = Pattern.parse(text)
    assert pattern.degrees() == degrees
    assert pattern.any_degree == ("unconstrained" in text or "unstructured" in text)


def test_highlights_support_set_has_fifteen_degrees_of_its_twenty_one_pairs() -> None:
    pattern = Pattern.parse("C1(2:{2<=H<=8})->C0(2:{2<=H<=4})")
    assert len(pattern.alternatives[0].choices()) == 21
    assert len(pattern.degrees()) == 15
    assert len(Pattern.parse("C0(2:{2<=H<=16})").degrees()) == 15
    assert len(Pattern.parse("C1(4:{4<=H<=8})->C0(2:{2<=H<=4})").degrees()) == 12


def test_of_equal_degrees_the_finest_grain_is_chosen() -> None:
    pattern = Pattern.parse("C1(2:{2<=H<=8})->C0(2:{2<=H<=4})")
    assert str(pattern.at(0.5)) == "C1(2:2)->C0(2:4)"
    assert str(pattern.at(Fraction(4, 21))) == "C1(2:7)->C0(2:3)"
    assert str(Pattern.parse("dense; unstructured").at(0.3)) == "unstructured"


def test_a_choice_that_divides_the_tensor_is_preferred_to_one_that_does_not() -> None:
    pattern = Pattern.parse("C1(2:{2<=H<=8})->C0(2:{2<=H<=4})")
    assert str(pattern.at(Fraction(2, 5))) == "C1(2:5)->C0(2:2)"
    assert str(pattern.at(Fraction(1, 3))) == "C1(2:3)->C0(2:4)"
    halves = Pattern.parse("C0({2<=G<=3}:{4<=H<=6})")  # 2:4 does not divide 6, 3:6 does
    model = halves.density_model(("M", "C"), (2, 6), 0.5)
    assert isinstance(model, Hierarchical)
    assert [(level.shape, level.kept) for level in model.levels] == [(2, None), (6, 3)]
    assert halves.density_model(("C",), (6,), 0.50000001) == Uniform((6,), 0.5)
    with pytest.raises(PatternError, match="in multiples of 12, it has 10"):
        pattern.density_model(("C",), (10,), Fraction(1, 3))


@pytest.mark.parametrize("text", [*TABLE_5_1, *TABLE_6_2, *OTHERS])
def test_masks_and_draws_obey_and_have_the_density_of_the_model(text: str) -> None:
    pattern = Pattern.parse(text)
    shape = (8, 64, 3, 3) if "[" not in text else (8, 8, 3, 3)
    rng = np.random.default_rng(0)
    values = rng.normal(size=shape)
    for degree in (*pattern.degrees(), *([Fraction(1, 4), Fraction(1, 2)] if pattern.any_degree else [])):
        try:
            model = pattern.density_model(RANKS, shape, degree)
        except PatternError as error:
            assert "in multiples of" in str(error)  # noqa: PT017
            continue
        drawn, mask = pattern.draw(RANKS, shape, rng, degree), pattern.mask(values, RANKS, degree)
        assert pattern.obeys(drawn, RANKS)
        assert pattern.obeys(mask, RANKS)
        assert drawn.mean() == mask.mean() == pytest.approx(model.density)
        assert model.density == pytest.approx(float(degree))
        if not pattern.any_degree and degree != 1:
            assert not Pattern.parse(str(pattern.at(degree))).obeys(np.ones(shape, dtype=bool), RANKS)


@pytest.mark.parametrize(
    ("text", "ranks", "shape", "density"),
    [
        ("C0(2:4)", ("C",), (8,), None),
        ("C1(1:2)->C0(1:2)", ("C",), (8,), None),
        ("C->RS(2:4)", ("C", "R", "S"), (2, 2, 2), None),
        ("CR(unconstrained)", ("C", "R"), (3, 2), 0.5),
        ("C(unconstrained)->R", ("R", "C"), (2, 4), 0.5),
        ("R->C1->C0(1:2)", ("C", "R"), (4, 2), None),
        ("block(C:2, R:2)", ("C", "R"), (4, 4), 0.5),
        ("C1(unconstrained)->C0(1:2)", ("C",), (8,), 0.25),
    ],
)
def test_model_mask_and_obeys_agree_with_the_enumeration(
    text: str, ranks: tuple[str, ...], shape: tuple[int, ...], density: float | None
) -> None:
    """The model's placements are all masks of its size that obey; the mask is the most important of them."""
    pattern = Pattern.parse(text)
    model = pattern.density_model(ranks, shape, density)
    tree = pattern.alternatives[0].tree(ranks, shape, density)  # type: ignore[attr-defined]
    placements = {mask.tobytes() for mask in tree_masks(tree)}
    size, nonzeros = int(np.prod(shape)), round(model.density * np.prod(shape))
    obeying = set()
    for chosen in combinations(range(size), nonzeros):
        mask = np.zeros(size, dtype=np.bool_)
        mask[list(chosen)] = True
        if pattern.obeys(mask.reshape(shape), ranks):
            obeying.add(mask.tobytes())
    assert obeying == placements
    values = np.random.default_rng(5).normal(size=shape)
    assert pattern.mask(values, ranks, density).tobytes() in placements


def test_the_stated_statistics_are_those_of_a_random_flattened_rank() -> None:
    model = Pattern.parse("unstructured").density_model(RANKS, (4, 8, 3, 3), 0.25)
    assert model == Uniform((4, 8, 3, 3), 0.25)
    assert Pattern.parse("MCRS(unconstrained)").density_model(RANKS, (4, 8, 3, 3), 0.25) == model
    crs = Pattern.parse("CRS(unconstrained)").density_model(RANKS, (4, 8, 3, 3), 0.25)
    assert crs.empty_probability([0, 0, 0, 0], [1, 2, 3, 1]) == pytest.approx(
        float(Uniform((72,), 0.25).empty_probability([0], [6]))
    )
    assert isinstance(Pattern.parse("dense").density_model(RANKS, (4, 8, 3, 3)), Dense)


def test_models_of_patterns_equal_those_built_by_hand() -> None:
    box = ([0, 3, 0, 0], [5, 9, 2, 3])
    pairs = [
        (Pattern.parse("M->C(unconstrained)->R->S"), Channel((8, 16, 3, 3), 1, 0.25, (0,))),
        (Pattern.parse("block(M:4,C:2)"), Block((8, 16, 3, 3), (0, 1), (4, 2), 0.25)),
        (Pattern.parse("permdiag(M,C: 4)"), PermutedDiagonal((8, 16, 3, 3), (0, 1), 4)),
    ]
    for pattern, model in pairs:
        found = pattern.density_model(RANKS, (8, 16, 3, 3), 0.25)
        assert found.empty_probability(*box) == pytest.approx(float(model.empty_probability(*box)))
        assert found.worst_occupancy(*box) == model.worst_occupancy(*box)


def test_lowest_rank_is_pruned_first_and_then_payloads_by_their_mean() -> None:
    # C0(1:2) keeps 3, 4, 5, 2; C1(1:2) then keeps the larger of (3, 4) and of (5, 2)
    values = np.array([[3.0, -1.0], [0.5, -4.0], [5.0, 4.9], [1.0, 2.0]]).reshape(8)
    kept = Pattern.parse("C1(1:2)->C0(1:2)").mask(values, ("C",))
    assert np.flatnonzero(kept).tolist() == [3, 4]


def test_a_payload_is_judged_by_what_is_left_of_it() -> None:
    # before pruning the first payload is larger (3+3 > 5+0), after C0(1:2) the second is (5 > 3)
    values = np.array([3.0, 3.0, 5.0, 0.0])
    assert np.flatnonzero(Pattern.parse("C1(1:2)->C0(1:2)").mask(values, ("C",))).tolist() == [2]


def test_mean_and_rms_choose_differently() -> None:
    values = np.array([[3.0, 3.0], [5.0, 0.5]])
    pattern = Pattern.parse("C(1:2)->R")
    assert pattern.mask(values, ("C", "R"))[0].all()
    assert pattern.mask(values, ("C", "R"), norm="rms")[1].all()


def test_importance_replaces_magnitude() -> None:
    values, importance = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0])
    pattern = Pattern.parse("C0(2:4)")
    assert pattern.mask(values, ("C",)).tolist() == [True, True, False, False]
    assert pattern.mask(values, ("C",), importance=importance).tolist() == [False, False, True, True]
    with pytest.raises(PatternError, match=r"importance has shape \(3,\), the values have \(4,\)"):
        pattern.mask(values, ("C",), importance=importance[:3])


def test_of_equal_values_the_lower_coordinate_stays() -> None:
    assert Pattern.parse("C0(2:4)").mask(np.ones(4), ("C",)).tolist() == [True, True, False, False]


@given(st.integers(0, 2**32))
def test_a_one_rank_mask_keeps_the_largest_possible_sum(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=8)
    kept = np.abs(values[Pattern.parse("C0(2:4)").mask(values, ("C",))]).sum()
    best = sum(max(abs(a) + abs(b) for a, b in combinations(values[i : i + 4], 2)) for i in (0, 4))
    assert kept == pytest.approx(best)


@given(st.integers(0, 2**32))
def test_permuted_diagonals_keep_the_best_diagonal_of_each_block(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(4, 2))
    pattern = Pattern.parse("permdiag(M,C: 2)")
    masks = [PermutedDiagonal((4, 2), (0, 1), 2, k).draw(np.random.default_rng(0)) for k in product(range(2), repeat=2)]
    best = max(masks, key=lambda mask: float((values[mask] ** 2).sum()))
    assert (pattern.mask(values, ("M", "C")) == best).all()
    assert pattern.obeys(best, ("M", "C"))
    assert (Pattern.parse("permdiag(M,C: 2, k=1)").mask(values, ("M", "C")) == masks[3]).all()


def test_at_most_g_obeys_but_one_more_does_not() -> None:
    pattern = Pattern.parse("C0(2:4)")
    assert pattern.obeys([1, 1, 0, 0, 0, 0, 0, 1], ("C",))
    assert pattern.obeys(np.zeros(8), ("C",))
    assert not pattern.obeys([1, 1, 0, 0, 1, 1, 1, 0], ("C",))
    assert not pattern.obeys([0, 1, 1, 1, 1, 0, 0, 0], ("C",))


def test_every_rank_of_a_hierarchy_is_judged() -> None:
    pattern = Pattern.parse("C1(1:2)->C0(1:2)")
    assert pattern.obeys([0, 1, 0, 0], ("C",))
    assert not pattern.obeys([0, 1, 0, 1], ("C",))
    assert not pattern.obeys([1, 1, 0, 0], ("C",))


def test_what_lies_below_a_rule_is_kept_or_removed_whole() -> None:
    block = Pattern.parse("block(M:2,C:2)")
    mask = np.zeros((4, 4), dtype=bool)
    mask[:2, 2:] = True
    assert block.obeys(mask, ("M", "C"))
    mask[0, 2] = False
    assert not block.obeys(mask, ("M", "C"))
    channel = Pattern.parse("C(unconstrained)->R->S")
    assert channel.obeys(np.repeat([1, 0, 1], 4).reshape(3, 2, 2), ("C", "R", "S"))
    assert not channel.obeys(np.arange(12).reshape(3, 2, 2), ("C", "R", "S"))
    assert Pattern.parse("dense").obeys(np.ones((2, 2)), ("M", "C"))
    assert not Pattern.parse("dense").obeys(np.eye(2), ("M", "C"))


def test_a_tensor_obeys_a_support_set_if_it_obeys_one_of_its_rules() -> None:
    pattern = Pattern.parse("dense; C0(1:{2<=H<=3})")
    assert pattern.obeys([1, 0, 0, 1, 0, 0], ("C",))  # 1:3, also 1:2
    assert pattern.obeys([1, 0, 0, 1, 1, 0], ("C",))  # 1:2
    assert pattern.obeys([1, 0, 0, 0, 1, 0], ("C",))
    assert not pattern.obeys([1, 1, 0, 1, 0, 0], ("C",))
    assert pattern.obeys(np.ones(6), ("C",))
    assert pattern.obeys([1, 0, 0, 1], ("C",))  # 3 does not divide 4, 2 does


def test_ranks_can_be_reordered_flattened_split_and_have_long_names() -> None:
    rng = np.random.default_rng(0)
    mask = Pattern.parse("PRQS->C1->C0(1:2)").draw(("N", "C", "PR", "QS"), (2, 4, 3, 2), rng)
    assert (mask.reshape(2, 2, 2, 3, 2).sum(axis=2) == 1).all()
    mask = Pattern.parse("C->SR(4:9)").draw(("C", "R", "S"), (5, 3, 3), rng)
    assert (mask.sum(axis=(1, 2)) == 4).all()


def test_ranks_that_are_not_named_are_outermost() -> None:
    mask = Pattern.parse("C(unconstrained)->R->S").draw(RANKS, (50, 8, 2, 2), np.random.default_rng(0), 0.5)
    channels = mask.any(axis=(2, 3))
    assert (channels.sum(axis=1) == 4).all()
    assert len({row.tobytes() for row in channels}) > 20  # each filter has channels of its own


@settings(max_examples=40)
@given(st.data())
def test_any_g_of_h_on_two_ranks_agrees_with_itself(data: st.DataObject) -> None:
    h1, h0, outer, rest = (data.draw(st.integers(1, 4)) for _ in range(4))
    g1, g0 = data.draw(st.integers(0, h1)), data.draw(st.integers(0, h0))
    pattern = Pattern.parse(data.draw(st.sampled_from(["M->", ""])) + f"C1({g1}:{h1})->C0({g0}:{h0})")
    shape, ranks = (outer, rest * h1 * h0), ("M", "C")
    tree = pattern.alternatives[0].tree(ranks, shape)  # type: ignore[attr-defined]
    assume(number_of_masks(tree) <= 400)
    model = pattern.density_model(ranks, shape)
    masks = list(tree_masks(tree))
    assert all(pattern.obeys(mask, ranks) for mask in masks)
    low = data.draw(st.integers(0, shape[1] - 1))
    high = data.draw(st.integers(low, shape[1]))
    counts = np.array([mask[:1, low:high].sum() for mask in masks])
    assert float(model.empty_probability([0, low], [1, high])) == pytest.approx((counts == 0).mean(), abs=1e-12)
    assert float(model.expected_occupancy([0, low], [1, high])) == pytest.approx(counts.mean())
    assert int(model.worst_occupancy([0, low], [1, high])) == counts.max()
    assert Fraction(g1 * g0, h1 * h0) == pattern.degrees()[0]


@pytest.mark.parametrize(
    ("text", "ranks", "shape", "density", "message"),
    [
        ("C0(2:4)", ("C",), (6,), None, "C0(2:4) needs rank C in multiples of 4, it has 6 coordinates"),
        ("C0(2:4)", ("C",), (6,), None, "pad C with zeros to 8, or choose an H that divides 6"),
        ("RS(4:9)", ("R", "S"), (5, 5), None, "rank RS has 25 coordinates, its rule 4:9 is for 9"),
        ("C(2:4)", ("C",), (8,), None, "split it (C1->C0(2:4))"),
        ("K0(2:4)", ("M", "C"), (4, 4), None, "rank K0 of K0(2:4) is not made of the tensor's ranks"),
        ("C1(2:4)", ("C",), (4,), None, "name every part, the highest first: C1->C0"),
        ("C0->C1", ("C",), (4,), None, "name every part, the highest first: C1->C0"),
        ("C2->C1->C0(2:4)", ("C",), (16,), None, "part C1 of C2->C1->C0(2:4) has neither a G:H rule nor a size"),
        ("C->C0(1:2)", ("C",), (4,), None, "C->C0(1:2) names rank C twice"),
        ("M0C0=2(unconstrained)", ("M", "C"), (4, 4), 0.5, "has 2 parts, 1 sizes are given"),
        ("CRS(unconstrained)", RANKS, (1, 1, 1, 1), None, "give a density: any between 0 and 1"),
        ("dense; C0({G<=2}:4)", ("C",), (4,), None, "give a density: 1, 1/2 (0.5), 1/4 (0.25)"),
        ("C0(1:2)", ("C",), (4,), 0.3, "pattern C0(1:2) has no density 0.3"),
        ("C0(1:2)", ("C",), (4,), 1.3, "density 1.3 is not between 0 and 1"),
        ("C1(unconstrained)->C0(1:2)", ("C",), (4,), 0.8, "density 0.8 is above 0.5, the most that"),
        ("permdiag(M,K: 3)", ("M", "C"), (3, 3), None, "unknown rank K in permdiag(M,K: 3)"),
        ("permdiag(M,C: 3)", ("M", "C"), (4, 3), None, "needs rank M in multiples of 3, it has 4 coordinates"),
        ("C0(1:2)", ("C", "C"), (4, 4), None, "ranks C, C do not name the 2 ranks of the tensor"),
    ],
)
def test_a_pattern_that_does_not_fit_says_what_and_how_to_fix_it(
    text: str, ranks: tuple[str, ...], shape: tuple[int, ...], density: float | None, message: str
) -> None:
    with pytest.raises(PatternError) as caught:
        Pattern.parse(text).density_model(ranks, shape, density)
    assert message in str(caught.value)


def test_a_mask_that_no_rule_divides_is_refused_by_obeys() -> None:
    with pytest.raises(PatternError, match="in multiples of 4, it has 6 coordinates"):
        Pattern.parse("C0(2:4)").obeys(np.ones(6), ("C",))


def test_several_faults_are_reported_at_once() -> None:
    with pytest.raises(PatternError) as caught:
        Pattern.parse("X0(2:4)->Y").density_model(("M", "C"), (4, 4))
    assert len(caught.value.faults) == 2
