"""On which weights a pattern is put, by which rule, and what its masks keep there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparseloom.errors import InputError
from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune.placement import Asked, Choice, Placement, plan
from sparseloom.prune.weight import Weight

EVERY = Choice(first=True)


def asked(text: str, density: float | None = None) -> Asked:
    return Pattern.parse(text), density


def conv(name: str, filters: int, channels: int, side: int = 3, groups: int = 1) -> Weight:
    return Weight(name, "weight", "conv", ("M", "C", "R", "S"), (filters, channels // groups, side, side), groups)


def linear(name: str, outputs: int, inputs: int) -> Weight:
    return Weight(name, "weight", "linear", ("M", "C"), (outputs, inputs))


def only(weight: Weight, text: str, density: float | None = None, pad: bool = True) -> Placement:
    (placement,) = plan([weight], asked(text, density), Choice(first=True, pad=pad))
    return placement


def normal(weight: Weight, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(weight.sizes)


NETWORK = (
    conv("stem", 32, 3),
    conv("layer1.depth", 32, 32, groups=32),
    conv("layer1.point", 64, 32, side=1),
    conv("layer2.grouped", 64, 64, groups=2),
    linear("head", 12, 64),
)


def rules(placements: Sequence[Placement]) -> dict[str, str]:
    return {p.weight.name: p.rule if p.pattern is None else "pruned" for p in placements}


def test_the_first_layer_and_depthwise_layers_stay_dense_by_rules_that_say_so() -> None:
    found = plan(NETWORK, asked("C0(2:4)"))
    assert [p.weight for p in found] == list(NETWORK)
    assert rules(found) == {
        "stem": "the first layer",
        "layer1.depth": "depthwise: its groups have one channel",
        "layer1.point": "pruned",
        "layer2.grouped": "pruned",
        "head": "pruned",
    }


def test_the_first_layer_is_pruned_if_asked_for() -> None:
    found = plan(NETWORK, asked("C0(2:4)"), EVERY)
    assert rules(found)["stem"] == "pruned"
    assert found[0].rule == "C padded from 3 to 4"


def test_a_shared_weight_stays_dense_and_names_the_other() -> None:
    shared = replace(linear("decoder", 64, 64), tied="embedding.weight")
    found = plan((*NETWORK, shared), asked("C0(2:4)"))
    assert (found[-1].pattern, found[-1].rule) == (None, "shared with embedding.weight")


def test_only_and_skip_are_searched_for_in_the_names() -> None:
    found = rules(plan(NETWORK, asked("C0(2:4)"), Choice(only="layer|stem", skip="grouped$")))
    assert found == {
        "stem": "the first layer",
        "layer1.depth": "depthwise: its groups have one channel",
        "layer1.point": "pruned",
        "layer2.grouped": "among 'grouped$', which are left out",
        "head": "not among 'layer|stem'",
    }


def test_layers_that_the_pattern_does_not_fit_stay_dense_and_say_both_numbers() -> None:
    found = plan(NETWORK, asked("C->RS(4:9)"))
    assert rules(found)["layer2.grouped"] == "pruned"
    for name in ("layer1.point", "head"):
        assert rules(found)[name].startswith("does not fit: rank RS has 1 coordinates, its rule 4:9 is for 9")


def test_a_pattern_of_a_layer_overrides_every_rule() -> None:
    layers = {name: asked("C0(1:4)") for name in ("stem", "head")} | {"layer1.depth": asked("unstructured", 0.5)}
    found = plan(NETWORK, asked("C0(2:4)"), Choice(only="point", skip="head"), layers)
    patterns = {p.weight.name: p.pattern and str(p.pattern) for p in found}
    assert patterns == {
        "stem": "C0(1:4)",
        "layer1.depth": "unstructured",
        "layer1.point": "C0(2:4)",
        "layer2.grouped": None,
        "head": "C0(1:4)",
    }
    assert found[1].density == 0.5


def test_a_pattern_of_a_shared_weight_may_be_asked_for_by_name() -> None:
    shared = replace(linear("decoder", 64, 64), tied="embedding.weight")
    found = plan((*NETWORK, shared), asked("C0(2:4)"), layers={"decoder": asked("C0(1:4)")})
    assert str(found[-1].pattern) == "C0(1:4)"


def test_layers_that_do_not_exist_and_expressions_that_cannot_be_read_are_named_together() -> None:
    with pytest.raises(InputError) as caught:
        plan(NETWORK, asked("C0(2:4)"), Choice(only="(", skip="["), {"haed": asked("C0(1:4)")})
    texts = [str(fault) for fault in caught.value.faults]
    assert len(texts) == 3
    assert "the model has no weight haed" in texts[0]
    assert "did you mean 'head'?" in texts[0]
    assert "cannot read the expression '('" in texts[1]
    assert "cannot read the expression '['" in texts[2]


@pytest.mark.parametrize("text", ["K0(2:4)", "M0K0(2:4)", "permdiag(M,K: 4)", "block(K:4, C:4)"])
def test_a_pattern_of_unknown_ranks_fits_no_layer(text: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(NETWORK, asked(text, 0.5 if "block" in text else None))
    assert all("K" in str(fault) for fault in caught.value.faults)
    assert len({str(fault) for fault in caught.value.faults}) == len(caught.value.faults)


def test_a_pattern_that_fits_no_layer_says_why() -> None:
    with pytest.raises(InputError, match="rank RS has 1 coordinates, its rule 4:9 is for 9"):
        plan([linear("a", 4, 4), linear("b", 4, 4)], asked("C->RS(4:9)"))


def test_a_model_where_rules_leave_nothing_to_prune_is_refused_with_the_rules() -> None:
    with pytest.raises(InputError, match="no weight is left to prune of 5") as caught:
        plan(NETWORK, asked("C0(2:4)"), Choice(only="stem|depth"))
    assert "the first layer" in str(caught.value)
    assert "depthwise" in str(caught.value)


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(InputError, match="no weight is left to prune of 0"):
        plan([], asked("C0(2:4)"))


def test_blocks_on_a_convolution_go_through_the_kernel() -> None:
    """8 x 8 blocks are 8 x h x w x 8."""
    placement = only(conv("a", 32, 16), "block(M:8, C:8)", 0.5)
    mask = placement.mask(normal(placement.weight))
    blocks = mask.reshape(4, 8, 2, 8, 9).transpose(0, 2, 1, 3, 4).reshape(8, -1)
    assert (blocks.all(axis=1) == blocks.any(axis=1)).all()
    assert blocks.all(axis=1).sum() == 4


def test_blocks_of_a_convolution_are_kept_by_the_sum_over_all_their_points() -> None:
    weight = conv("a", 16, 16)
    values = normal(weight)
    mask = only(weight, "block(M:8, C:8)", 0.25).mask(values)
    sums = np.abs(values).reshape(2, 8, 2, 8, 9).sum(axis=(1, 3, 4))
    best = np.unravel_index(sums.argmax(), sums.shape)
    assert mask.sum() == 8 * 8 * 9
    assert mask[8 * best[0], 8 * best[1], 0, 0]


@pytest.mark.parametrize(
    ("weight", "text", "density", "padded", "rule"),
    [
        (linear("a", 5, 6), "C0(2:4)", None, (5, 8, 1, 1), "C padded from 6 to 8"),
        (linear("a", 5, 20), "C1(3:4)->C0(2:4)", None, (5, 32, 1, 1), "C padded from 20 to 32"),
        (linear("a", 10, 12), "block(M:8, C:8)", 0.5, (16, 16, 1, 1), "M padded from 10 to 16, C padded from 12 to 16"),
        (linear("a", 10, 12), "permdiag(M,C: 4)", None, (12, 12, 1, 1), "M padded from 10 to 12"),
        (conv("a", 8, 12, groups=2), "C0(2:4)", None, (2, 4, 8, 3, 3), "C padded from 6 to 8"),
        (linear("a", 8, 8), "C0(2:4)", None, (8, 8, 1, 1), ""),
        (linear("a", 5, 7), "unstructured", 0.5, (5, 7, 1, 1), ""),
    ],
)
def test_ranks_that_a_pattern_does_not_divide_are_padded(
    weight: Weight, text: str, density: float | None, padded: tuple[int, ...], rule: str
) -> None:
    placement = only(weight, text, density)
    assert (placement.padded, placement.rule) == (padded, rule)
    mask = placement.mask(normal(weight))
    assert mask.shape == weight.sizes
    assert placement.obeys(mask)


def test_without_padding_a_layer_that_is_not_divided_stays_dense() -> None:
    found = plan([linear("a", 4, 6), linear("b", 4, 8)], asked("C0(2:4)"), Choice(first=True, pad=False))
    assert found[0].pattern is None
    assert "C padded from 6 to 8" in found[0].rule
    assert str(found[1].pattern) == "C0(2:4)"
    with pytest.raises(InputError, match="C padded from 6 to 8"):
        only(linear("a", 4, 6), "C0(2:4)", pad=False)


def test_padding_is_never_kept_before_a_value_so_that_the_last_fiber_is_denser() -> None:
    """Of 6 channels the first four keep two, the other two both: 4 of 6 remain."""
    placement = only(linear("a", 5, 6), "C0(2:4)")
    mask = placement.mask(normal(placement.weight))
    assert (mask[:, :4].sum(axis=1) == 2).all()
    assert mask[:, 4:].all()
    zeros = placement.mask(np.zeros((5, 6)))
    assert (zeros.sum(axis=1) == 4).all()


def test_padding_of_two_ranks_leaves_the_density_that_can_be_counted() -> None:
    """C1(3:4)->C0(2:4) on 20 of 32 channels: 3 of 4 blocks of 2, then one block of 2: 8 of 20."""
    placement = only(linear("a", 3, 20), "C1(3:4)->C0(2:4)")
    mask = placement.mask(normal(placement.weight))
    assert (mask[:, :16].sum(axis=1) == 6).all()
    assert (mask[:, 16:].sum(axis=1) == 2).all()


def test_a_block_at_the_edge_is_judged_by_its_own_points() -> None:
    """Not by the zeros that make it whole: its mean is the largest."""
    weight = linear("a", 8, 10)
    values = np.full(weight.sizes, 2.0)
    values[:, 8:] = 3.0
    mask = only(weight, "block(M:8, C:8)", 0.5).mask(values)
    assert mask[:, 8:].all()
    assert not mask[:, :8].any()
    values[:, 8:] = 1.9
    assert only(weight, "block(M:8, C:8)", 0.5).mask(values)[:, :8].all()


@pytest.mark.parametrize("norm", ["rms", "l2"])
def test_the_edge_is_judged_by_its_own_squares_under_norms_of_squares(norm: str) -> None:
    weight = linear("a", 1, 6)
    values = np.array([[2.0, 2.0, 2.0, 2.0, 2.9, 0.5]])  # the mean square of the edge is 4.33, of its mean 2.89
    mask = only(weight, "block(M:1, C:4)", 0.5).mask(values, norm)  # type: ignore[arg-type]
    assert mask.tolist() == [[False] * 4 + [True] * 2]
    assert only(weight, "block(M:1, C:4)", 0.5).mask(values).tolist() == [[True] * 4 + [False] * 2]


def test_a_block_at_the_edge_is_judged_by_its_own_variance() -> None:
    weight = linear("a", 4, 6)
    values = np.zeros(weight.sizes)
    values[:, :4] = np.sqrt(0.9) * np.where(np.arange(4) % 2, 1, -1)
    values[:, 4:] = [1, -1]
    mask = only(weight, "block(M:4, C:4)", 0.5).mask(values, "variance")
    assert mask.tolist() == [[False] * 4 + [True] * 2] * 4
    values[:, 4:] *= 0.9
    assert only(weight, "block(M:4, C:4)", 0.5).mask(values, "variance")[:, :4].all()


def test_a_set_of_patterns_takes_the_first_that_divides() -> None:
    assert str(only(linear("a", 4, 16), "C1(2:{2<=H<=8})->C0(2:{2<=H<=4})", 0.25).pattern) == "C1(2:4)->C0(2:4)"
    assert str(only(linear("a", 4, 24), "C0(2:4); C0(3:6)", 0.5).pattern) == "C0(2:4)"
    assert str(only(linear("a", 4, 18), "C0(2:4); C0(3:6)", 0.5).pattern) == "C0(3:6)"


def test_where_none_of_a_set_divides_the_one_with_the_least_padding_is_taken() -> None:
    pattern = "C0(4:8); C0(2:4)"
    assert str(only(linear("a", 4, 8), pattern, 0.5).pattern) == "C0(4:8)"
    placement = only(linear("a", 4, 9), pattern, 0.5)
    assert (str(placement.pattern), placement.padded[1]) == ("C0(2:4)", 12)


def test_a_set_may_hold_dense_and_the_density_says_which() -> None:
    assert str(only(linear("a", 4, 8), "dense; C0({G<=2}:4)", 1.0).pattern) == "dense"
    assert str(only(linear("a", 4, 8), "dense; C0({G<=2}:4)", 0.25).pattern) == "C0(1:4)"


@pytest.mark.parametrize(
    ("text", "density"),
    [("C0({G<=2}:4)", None), ("C0({G<=2}:4)", 0.3), ("unstructured", None), ("unstructured", 1.5), ("C0(2:4)", 0.4)],
)
def test_a_density_that_is_missing_or_none_of_the_pattern_is_refused(text: str, density: float | None) -> None:
    with pytest.raises(InputError, match="densit"):
        plan(NETWORK, asked(text, density))


SINGLE = [
    ("C0(2:4)", None),
    ("C1(3:4)->C0(2:4)", None),
    ("RS->C1->C0(2:4)", None),
    ("CRS(unconstrained)", 0.3),
    ("C(unconstrained)->R->S", 0.3),
    ("C->RS(4:9)", None),
    ("dbb(C: 3/8)", None),
    ("block(M:4, C:4)", 0.4),
    ("permdiag(M,C: 4)", None),
    ("unstructured", 0.37),
    ("dense", None),
]


@pytest.mark.parametrize(("text", "density"), SINGLE)
@pytest.mark.parametrize("weight", [conv("a", 16, 16), conv("a", 16, 32, groups=2), conv("a", 6, 9)])
def test_masks_drawn_and_by_importance_obey_and_keep_units_whole(
    weight: Weight, text: str, density: float | None
) -> None:
    placement = only(weight, text, density)
    units = placement.units()
    assert units.shape == weight.sizes
    for mask in (placement.mask(normal(weight)), placement.drawn(np.random.default_rng(0))):
        assert mask.shape == weight.sizes
        assert mask.dtype == np.bool_
        assert placement.obeys(mask)
        kept = np.zeros(units.max() + 1, np.bool_)
        kept[units[mask]] = True
        np.testing.assert_array_equal(kept[units], mask)


@pytest.mark.parametrize(("text", "density"), SINGLE)
def test_the_pattern_of_a_tensor_that_is_divided_is_obeyed_as_the_pattern_says(
    text: str, density: float | None
) -> None:
    weight = conv("a", 16, 32, groups=2)
    placement = only(weight, text, density)
    assert placement.pattern is not None
    mask = placement.mask(normal(weight))
    assert placement.pattern.obeys(weight.seen(mask), weight.ranks)


@pytest.mark.parametrize(
    ("text", "density", "shape"),
    [
        ("C0(2:4)", None, (3, 6)),
        ("C0(2:4)", None, (3, 8)),
        ("block(M:4, C:4)", 0.5, (6, 6)),
        ("permdiag(M,C: 4)", None, (6, 6)),
    ],
)
def test_a_mask_with_a_point_too_many_or_half_a_unit_does_not_obey(
    text: str, density: float | None, shape: tuple[int, int]
) -> None:
    placement = only(linear("a", *shape), text, density)
    mask = placement.mask(np.random.default_rng(0).standard_normal(shape))
    rows, columns = np.nonzero(~mask)
    mask[rows[0], columns[0]] = True
    assert not placement.obeys(mask)


def test_fewer_points_than_the_rule_allows_obey_at_the_edge_too() -> None:
    placement = only(linear("a", 3, 6), "C0(2:4)")
    assert placement.obeys(np.zeros((3, 6), np.bool_))
    mask = placement.mask(np.random.default_rng(0).standard_normal((3, 6)))
    mask[:, 5] = False
    assert placement.obeys(mask)


def test_drawn_masks_follow_their_generator_alone() -> None:
    placement = only(conv("a", 16, 16), "C0(2:4)")
    masks = [placement.drawn(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


@given(seed=st.integers(0, 1000), share=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
@pytest.mark.parametrize(("text", "density"), [entry for entry in SINGLE if entry[0] != "permdiag(M,C: 4)"])
def test_a_share_of_the_pruning_is_a_mask_of_the_eased_pattern(
    text: str, density: float | None, seed: int, share: float
) -> None:
    weight = conv("a", 8, 16)
    placement = only(weight, text, density)
    assert placement.pattern is not None
    mask = placement.mask(normal(weight, seed), share=share)
    pattern, free = placement.pattern.eased(share, placement.density)
    assert replace(placement, pattern=pattern, density=free).obeys(mask)
    assert share > 0 or mask.all()


def test_masks_of_a_given_importance_are_chosen_by_it() -> None:
    placement = only(linear("a", 1, 4), "C0(2:4)")
    values, importance = np.array([[4.0, 3.0, 2.0, 1.0]]), np.array([[1.0, 2.0, 3.0, 4.0]])
    assert placement.mask(values, importance=importance).tolist() == [[False, False, True, True]]


def test_a_weight_that_stays_dense_keeps_everything() -> None:
    dense = plan(NETWORK, asked("C0(2:4)"))[0]
    assert dense.mask(np.zeros(dense.weight.sizes)).all()
    assert dense.drawn(np.random.default_rng(0)).all()
    assert dense.obeys(np.zeros(dense.weight.sizes, np.bool_))
    assert (dense.units() == 0).all()
    assert dense.padded == dense.weight.shape
