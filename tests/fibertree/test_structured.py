"""Structured densities against the enumeration of every placement."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.fibertree.placements import check_statistics, tree_masks, trees

from sparseloom.errors import PatternError
from sparseloom.fibertree.density import Density
from sparseloom.fibertree.structured import Block, Channel, Hierarchical
from sparseloom.fibertree.tree import Level, Part, Tree


def _two_rank_hss(shape: int) -> Hierarchical:
    """C2 -> C1(3:4) -> C0(2:4)."""
    parts = Part(0, shape // 16, 16), Part(0, 4, 4), Part(0, 4)
    return Hierarchical((shape,), (Level(parts[:1]), Level(parts[1:2], 3), Level(parts[2:], 2)))


@settings(max_examples=60)
@given(trees())
def test_every_statistic_of_every_box_equals_the_count_over_all_placements(tree: Tree) -> None:
    assume(np.prod(tree.tensor_shape) <= 24)
    check_statistics(Hierarchical(tree.tensor_shape, tree.levels), tree_masks(tree))


@pytest.mark.parametrize(
    "density",
    [
        Block((4, 6), (0, 1), (2, 3), 0.5),
        Block((2, 4, 4), (1, 2), (2, 2), 0.25),
        Block((4, 2), (0,), (2,), 0.5),
        Channel((2, 4, 2), 1, 0.5),
        Channel((2, 4, 2), 1, 0.5, (0,)),
        Channel((2, 4, 2), 0, 1.0),
    ],
    ids=repr,
)
def test_channels_and_blocks_equal_the_count_over_all_placements(density: Block | Channel) -> None:
    check_statistics(density, tree_masks(density.tree))


def test_an_aligned_tile_of_two_of_four_always_holds_half() -> None:
    density = Hierarchical((32,), (Level((Part(0, 8, 4),)), Level((Part(0, 4),), 2)))
    occupancies, probabilities = density.occupancy_distribution([8])
    assert (occupancies.tolist(), probabilities.tolist()) == ([4], [1.0])
    assert density.empty_probability([0], [4]) == 0


def test_two_of_four_depends_on_where_the_box_is() -> None:
    density = Hierarchical((8,), (Level((Part(0, 2, 4),)), Level((Part(0, 4),), 2)))
    empty = density.empty_probability([np.array([0, 3])], [np.array([2, 5])])
    assert empty.tolist() == pytest.approx([1 / 6, 1 / 4])  # in one block: C(2,2)/C(4,2); across two: (1/2)^2
    assert density.coordinate_dependent


def test_two_rank_hss_of_the_thesis_by_hand() -> None:
    density = _two_rank_hss(32)
    assert density.density == 3 / 8
    # one C0 fiber of 4: its C1 coordinate is kept with 3/4, and then holds exactly 2
    occupancies, probabilities = density.occupancy_distribution([4])
    assert occupancies.tolist() == [0, 2]
    assert probabilities.tolist() == pytest.approx([1 / 4, 3 / 4])
    # two fibers of one C1 fiber of 4: at most one of the four is removed
    assert density.empty_probability([0], [8]) == pytest.approx(0, abs=1e-15)
    assert density.empty_probability([12], [20]) == pytest.approx(1 / 16)
    assert density.worst_occupancy([0], [16]) == 6


@pytest.mark.parametrize(
    "density",
    [
        _two_rank_hss(64),
        Hierarchical((6, 12), (Level((Part(0, 6),)), Level((Part(1, 3, 4),), 2), Level((Part(1, 4),), 1))),
        Hierarchical((4, 16), (Level((Part(1, 4, 4),)), Level((Part(0, 4), Part(1, 4)), 5))),
        Block((16, 12), (0, 1), (4, 2), 0.3),
        Channel((3, 9, 5), 1, 0.4, (0,)),
    ],
    ids=repr,
)
def test_draws_have_the_stated_statistics(density: Density) -> None:
    rng = np.random.default_rng(7)
    shape = np.array(density.tensor_shape)
    low = [rng.integers(0, s, 40) for s in shape]
    high = [x + rng.integers(1, s + 1, 40) for x, s in zip(low, shape, strict=True)]
    draws = [density.draw(rng) for _ in range(1500)]
    boxes = [tuple(slice(x[i], y[i]) for x, y in zip(low, high, strict=True)) for i in range(40)]
    counts = np.array([[int(mask[box].sum()) for mask in draws] for box in boxes])
    empty = density.empty_probability(low, high)
    error = np.sqrt(empty * (1 - empty) / len(draws))
    assert (abs((counts == 0).mean(axis=1) - empty) <= 5 * error + 1e-9).all()
    spread = counts.std(axis=1) / np.sqrt(len(draws))
    assert (abs(counts.mean(axis=1) - density.expected_occupancy(low, high)) <= 5 * spread + 1e-9).all()
    assert (counts.max(axis=1) <= density.worst_occupancy(low, high)).all()
    assert {int(mask.sum()) for mask in draws} == {round(density.density * shape.prod())}


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 60))
def test_a_batch_has_the_answers_of_its_boxes_one_by_one(extent: int, rows: int, start: int) -> None:
    levels = (Level((Part(0, 4),)), Level((Part(1, 4, 16),)), Level((Part(1, 4, 4),), 3), Level((Part(1, 4),), 2))
    density = Hierarchical((4, 64), levels)
    low, high = np.arange(start, start + 300) % 61, np.arange(start, start + 300) % 61 + extent
    for query in (density.empty_probability, density.worst_occupancy, density.expected_occupancy):
        batch = query([np.zeros(300, dtype=int), low], [np.full(300, rows), high])
        assert batch.shape == (300,)
        assert batch[17] == pytest.approx(query([0, low[17]], [rows, high[17]]))


def test_boxes_broadcast_against_each_other() -> None:
    density = Block((4, 6), (0, 1), (2, 3), 0.5)
    low = [np.arange(4)[:, None], np.arange(6)]
    for query in (density.empty_probability, density.worst_occupancy, density.expected_occupancy):
        assert query(low, [low[0] + 1, 6]).shape == (4, 6)


def test_large_unconstrained_ranks_over_a_rule_stay_finite() -> None:
    density = Hierarchical((4096,), (Level((Part(0, 1024, 4),), 512), Level((Part(0, 4),), 2)))
    one = density.empty_probability([0], [2])
    assert one == pytest.approx(1 - 0.5 * (1 - 1 / 6), rel=1e-9)
    # 100 values of 100 blocks far apart cannot be a box; 40 whole blocks are empty if none of them is kept
    ratio = np.prod([(512 - i) / (1024 - i) for i in range(40)])
    assert density.empty_probability([0], [160]) == pytest.approx(ratio, rel=1e-9)


def test_a_whole_rank_under_one_rule_depends_on_extents_alone() -> None:
    assert not Hierarchical((2, 9), (Level((Part(0, 2),)), Level((Part(1, 9),), 4))).coordinate_dependent
    assert not Channel((4, 4), 1, 0.5).coordinate_dependent
    assert Block((4, 4), (0, 1), (2, 2), 0.5).coordinate_dependent
    assert not Block((4, 4), (0, 1), (1, 1), 0.5).coordinate_dependent


def test_parts_that_do_not_make_up_the_rank_name_both_numbers() -> None:
    with pytest.raises(PatternError, match="the parts of rank 0 have 8 coordinates, the rank has 10"):
        Hierarchical((10,), (Level((Part(0, 2, 4),)), Level((Part(0, 4),), 2)))
    with pytest.raises(PatternError, match="do not run from coarse to fine"):
        Hierarchical((8,), (Level((Part(0, 4),)), Level((Part(0, 2, 4),))))
    with pytest.raises(PatternError, match="a fiber of 4 coordinates cannot keep 5"):
        Hierarchical((4,), (Level((Part(0, 4),), 5),))


def test_a_block_that_does_not_divide_its_rank_names_both_numbers() -> None:
    with pytest.raises(PatternError, match="a block of 4 does not divide the 6 coordinates of rank 1"):
        Block((4, 6), (0, 1), (4, 4), 0.5)
    with pytest.raises(PatternError, match=r"density 1\.5 is not between 0 and 1"):
        Channel((4, 6), 1, 1.5)


def test_equal_densities_are_equal_and_hash_alike() -> None:
    assert _two_rank_hss(32) == _two_rank_hss(32) != _two_rank_hss(64)
    assert hash(Block((4, 6), (0, 1), (2, 3), 0.5)) == hash(Block((4, 6), (0, 1), (2, 3), 0.5))
    assert Channel((2, 4), 1, 0.3).density == 0.5
