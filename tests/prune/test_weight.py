"""Weights by the ranks that patterns name, in whichever order a framework stores them."""

from __future__ import annotations

from itertools import permutations
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune.placement import Choice, plan
from sparseloom.prune.weight import Weight

ORDERS = [
    order
    for ranks in (("M", "C"), ("M", "C", "S"), ("M", "C", "R", "S"), ("M", "C", "T", "R", "S"))
    for order in permutations(ranks)
]
HWIO, OIHW = ("R", "S", "C", "M"), ("M", "C", "R", "S")


def weight_of(stored: tuple[str, ...], sizes: tuple[int, ...], groups: int = 1) -> Weight:
    return Weight("layer", "weight", "conv", stored, sizes, groups)


@st.composite
def weights(draw: st.DrawFn) -> Weight:
    """Of any order of axes, small sizes, in 1 to 3 groups."""
    stored, groups = draw(st.sampled_from(ORDERS)), draw(st.integers(1, 3))
    sizes = tuple(draw(st.integers(1, 3)) * (groups if rank == "M" else 1) for rank in stored)
    return weight_of(stored, sizes, groups)


def numbered(weight: Weight) -> np.ndarray:
    return np.arange(prod(weight.sizes)).reshape(weight.sizes)


@given(weights())
def test_seen_and_as_stored_are_inverses(weight: Weight) -> None:
    tensor = numbered(weight)
    seen = weight.seen(tensor)
    assert seen.shape == weight.shape
    np.testing.assert_array_equal(weight.as_stored(seen), tensor)
    other = np.arange(weight.points).reshape(weight.shape)
    np.testing.assert_array_equal(weight.seen(weight.as_stored(other)), other)


@given(weights())
def test_every_point_is_seen_at_its_coordinates(weight: Weight) -> None:
    """M of a tensor counts group by group: filter m of group g is stored at g * (M / groups) + m."""
    tensor, seen = numbered(weight), weight.seen(numbered(weight))
    filters = weight.sizes[weight.stored.index("M")] // weight.groups
    for place in np.ndindex(seen.shape):
        at = dict(zip(weight.ranks, place, strict=True))
        at["M"] += at.pop("G", 0) * filters
        assert all(at[rank] == 0 for rank in ("R", "S") if rank not in weight.stored)
        assert seen[place] == tensor[tuple(at[rank] for rank in weight.stored)]


@given(weights())
def test_ranks_are_groups_filters_channels_and_the_kernel_of_as_many_points(weight: Weight) -> None:
    deep = ("T",) if "T" in weight.stored else ()
    assert weight.ranks == (*(("G",) if weight.groups > 1 else ()), "M", "C", *deep, "R", "S")
    assert prod(weight.shape) == weight.points == prod(weight.sizes)


@pytest.mark.parametrize(
    ("stored", "sizes", "groups", "ranks", "shape"),
    [
        (("M", "C"), (10, 84), 1, "MCRS", (10, 84, 1, 1)),
        (("C", "M"), (84, 10), 1, "MCRS", (10, 84, 1, 1)),
        (HWIO, (3, 5, 16, 32), 1, "MCRS", (32, 16, 3, 5)),
        (OIHW, (32, 8, 3, 5), 2, "GMCRS", (2, 16, 8, 3, 5)),
        (("M", "C", "S"), (4, 6, 7), 1, "MCRS", (4, 6, 1, 7)),
        (("M", "C", "T", "R", "S"), (4, 6, 2, 3, 5), 1, "MCTRS", (4, 6, 2, 3, 5)),
        (("T", "R", "S", "C", "M"), (2, 3, 5, 6, 4), 2, "GMCTRS", (2, 2, 6, 2, 3, 5)),
    ],
)
def test_shapes_of_stored_tensors(
    stored: tuple[str, ...], sizes: tuple[int, ...], groups: int, ranks: str, shape: tuple[int, ...]
) -> None:
    weight = weight_of(stored, sizes, groups)
    assert weight.ranks == tuple(ranks)
    assert weight.shape == shape


def test_a_rank_may_be_stored_as_several_axes_the_outer_one_first() -> None:
    """Channels in fours, innermost: channel 4 c1 + c0."""
    weight = weight_of(("M", "C1", "R", "S", "C0"), (2, 3, 3, 3, 4))
    assert weight.shape == (2, 12, 3, 3)
    tensor = numbered(weight)
    seen = weight.seen(tensor)
    for m, c, r, s in np.ndindex(seen.shape):
        assert seen[m, c, r, s] == tensor[m, c // 4, r, s, c % 4]
    np.testing.assert_array_equal(weight.as_stored(seen), tensor)


def test_groups_may_be_an_axis_of_their_own() -> None:
    """Then M counts the filters of one group."""
    for stored, sizes in ((("G", "M", "C"), (2, 4, 8)), (("C", "G", "M"), (8, 2, 4))):
        weight = weight_of(stored, sizes, groups=2)
        assert (weight.ranks, weight.shape) == (("G", "M", "C", "R", "S"), (2, 4, 8, 1, 1))
        tensor = numbered(weight)
        seen = weight.seen(tensor)
        for g, m, c, r, s in np.ndindex(seen.shape):
            at = {"G": g, "M": m, "C": c, "R": r, "S": s}
            assert seen[g, m, c, r, s] == tensor[tuple(at[rank] for rank in stored)]
        np.testing.assert_array_equal(weight.as_stored(seen), tensor)


@pytest.mark.parametrize(
    ("module", "parameter", "name"),
    [
        ("conv1", "weight", "conv1"),
        ("layer4.0.conv", "weight", "layer4.0.conv"),
        ("dense", "kernel", "dense"),
        ("attention", "in_proj_weight", "attention.in_proj"),
        ("attention", "q_proj_weight", "attention.q_proj"),
        ("", "in_proj_weight", "in_proj"),
    ],
)
def test_a_weight_is_named_by_its_module_and_by_its_parameter_where_there_are_several(
    module: str, parameter: str, name: str
) -> None:
    assert Weight(module, parameter, "linear", ("M", "C"), (4, 4)).name == name


@pytest.mark.parametrize(
    ("sizes", "groups", "depthwise"),
    [((8, 1, 3, 3), 8, True), ((16, 1, 3, 3), 8, True), ((8, 2, 3, 3), 4, False), ((8, 1, 3, 3), 1, False)],
)
def test_depthwise_is_one_channel_in_each_of_several_groups(
    sizes: tuple[int, ...], groups: int, depthwise: bool
) -> None:
    assert weight_of(OIHW, sizes, groups).depthwise is depthwise


@pytest.mark.parametrize(
    ("text", "density"),
    [
        ("C0(2:4)", None),
        ("C1(1:2)->C0(2:4)", None),
        ("block(M:4, C:4)", 0.5),
        ("CRS(unconstrained)", 0.3),
        ("C->RS(2:6)", None),
        ("permdiag(M,C: 4)", None),
        ("unstructured", 0.37),
    ],
)
@pytest.mark.parametrize("stored", [HWIO, ("C", "S", "M", "R"), ("S", "M", "R", "C")])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_mask_does_not_depend_on_how_a_weight_is_stored(
    stored: tuple[str, ...], text: str, density: float | None, groups: int
) -> None:
    """So a rule along C acts on C, wherever it is stored."""
    sizes = dict(zip(OIHW, (16, 8, 2, 3), strict=True))
    usual = weight_of(OIHW, tuple(sizes.values()), groups)
    other = weight_of(stored, tuple(sizes[rank] for rank in stored), groups)
    values = np.random.default_rng(0).standard_normal(usual.sizes)
    moved = [OIHW.index(rank) for rank in stored]
    pattern = Pattern.parse(text)
    masks = [
        plan([weight], (pattern, density), Choice(first=True))[0].mask(tensor)
        for weight, tensor in ((usual, values), (other, values.transpose(moved)))
    ]
    assert masks[1].shape == other.sizes
    np.testing.assert_array_equal(masks[0].transpose(moved), masks[1])


def test_two_of_four_are_kept_along_the_channels_of_a_kernel_stored_by_rows() -> None:
    weight = weight_of(HWIO, (3, 3, 8, 4))
    (placement,) = plan([weight], (Pattern.parse("C0(2:4)"), None), Choice(first=True))
    values = np.random.default_rng(1).standard_normal(weight.sizes)
    mask = placement.mask(values)
    assert (mask.reshape(3, 3, 2, 4, 4).sum(axis=3) == 2).all()
    fours = np.abs(values).reshape(3, 3, 2, 4, 4)
    second = np.sort(fours, axis=3)[:, :, :, 2:3]
    np.testing.assert_array_equal(mask.reshape(fours.shape), fours >= second)


def test_groups_are_pruned_each_by_itself() -> None:
    """Whole channels of each filter: a group does not see the channels of another."""
    weight = weight_of(OIHW, (4, 4, 3, 3), 2)
    (placement,) = plan([weight], (Pattern.parse("MC(unconstrained)->R->S"), 0.5), Choice(first=True))
    values = np.ones(weight.sizes)
    values[:2] = 100.0  # the first group is larger, and keeps no more than half all the same
    mask = placement.mask(values)
    assert mask[:2].mean() == mask[2:].mean() == 0.5
