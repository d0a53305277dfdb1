"""Trees of ranks: unfolding, folding, simplifying, and where boxes fall."""

from itertools import product

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.fibertree.placements import tree_masks, trees

from sparseloom.fibertree.tile import split_interval, tile_kinds
from sparseloom.fibertree.tree import Level, Part, Tree


def test_unfolding_puts_each_point_at_its_digits() -> None:
    """C1 -> R -> C0, of a tensor C=4, R=3."""
    tree = Tree((4, 3), (Level((Part(0, 2, 2),)), Level((Part(1, 3),)), Level((Part(0, 2),))))
    tensor = np.arange(12).reshape(4, 3)
    unfolded = tree.unfold(tensor)
    assert all(unfolded[c1, r, c0] == tensor[2 * c1 + c0, r] for c1, r, c0 in product(range(2), range(3), range(2)))


def test_a_flattened_level_runs_its_first_part_slowest() -> None:
    tree = Tree((2, 3), (Level((Part(1, 3), Part(0, 2))),))
    assert tree.unfold(np.array([[0, 1, 2], [3, 4, 5]])).tolist() == [0, 3, 1, 4, 2, 5]


@given(trees())
def test_folding_undoes_unfolding(tree: Tree) -> None:
    tensor = np.arange(np.prod(tree.tensor_shape)).reshape(tree.tensor_shape)
    assert (tree.fold(tree.unfold(tensor)) == tensor).all()


@given(trees(most_masks=60))
def test_a_simplified_tree_has_the_same_placements(tree: Tree) -> None:
    simple = tree.simplified()
    assert len(simple.levels) <= len(tree.levels) + 1
    assert simple.density == tree.density
    assert sorted(m.tobytes() for m in tree_masks(tree)) == sorted(m.tobytes() for m in tree_masks(simple))


def test_unruled_levels_merge_and_rejoin_the_parts_of_a_rank() -> None:
    levels = (Level((Part(0, 2, 4),)), Level((Part(1, 3),)), Level((Part(0, 2, 2),)), Level((Part(0, 2),), 1))
    simple = Tree((8, 3), levels).simplified()
    assert simple.levels == (Level((Part(0, 4, 2), Part(1, 3))), Level((Part(0, 2),), 1))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 7))
def test_an_interval_touches_stretches_in_three_ways(low: int, high: int, stride: int) -> None:
    assume(low <= high)
    covered = []
    for count, (start, end) in split_interval((np.asarray(low), np.asarray(high)), stride):
        covered += [(int(start), int(end))] * int(count)
    touched = sorted({c // stride for c in range(low, high)})
    stretches = [[c % stride for c in range(low, high) if c // stride == s] for s in touched]
    assert sorted(covered) == sorted((s[0], s[-1] + 1) for s in stretches)


@given(st.integers(1, 40), st.integers(1, 45), st.integers(1, 6))
def test_kinds_of_tiles_cover_the_rank(shape: int, extent: int, period: int) -> None:
    tiles = [(i % period, min(extent, shape - i)) for i in range(0, shape, extent)]
    kinds = tile_kinds(shape, extent, period)
    assert {(low, size): round(share * len(tiles)) for low, size, share in kinds} == {t: tiles.count(t) for t in tiles}
