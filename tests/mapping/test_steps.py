"""Tiles from stage to stage, against enumerations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.mapping import steps
from sparseloom.mapping.steps import Grid, rank_steps, sure_of

TILES = st.lists(st.integers(1, 400), min_size=1, max_size=60).map(lambda some: np.unique(np.array(some)))


@given(st.lists(TILES, min_size=1, max_size=4))
def test_a_tile_has_the_number_of_the_next_one_that_is_kept(tiles) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "MOST_POINTS", 500)
        grid = Grid.of(tiles)
    assert grid.size <= 500
    for known, kept, first in zip(tiles, grid.tiles, grid.first, strict=True):
        number = np.searchsorted(kept, known)
        assert (kept[number] >= known).all()
        for k in range(len(kept)):
            assert known[number == k].min() == known[first[k]]
            assert known[number == k].max() == kept[k]


def test_few_tiles_are_all_kept() -> None:
    grid = Grid.of([np.array([1, 2, 4]), np.array([3, 3, 1])])
    assert [each.tolist() for each in grid.tiles] == [[1, 2, 4], [1, 3]]
    assert grid.points.tolist() == grid.smallest.tolist() == [[1, 1, 2, 2, 4, 4], [1, 3, 1, 3, 1, 3]]
    assert grid.number(np.array([[4, 1], [1, 3]])).tolist() == [4, 1]


def replaced(whole: int, tile: int, size: int, lanes: int) -> float:
    """The share of a rank's coordinates whose lane makes two iterations or more of a temporal loop around tiles, by going through
    all of them: each chunk of ``whole`` coordinates once, lanes side by side within a tile."""
    sure = 0
    own = tile // lanes
    for start in range(0, size, whole):
        chunk = range(start, min(start + whole, size))
        for lane in range(lanes):
            parts = [
                [c for c in range(at + lane * own, at + (lane + 1) * own) if c in chunk]
                for at in range(start, start + whole, tile)
            ]
            if sum(bool(part) for part in parts) > 1:
                sure += sum(map(len, parts))
    return sure / size


@given(st.integers(1, 6), st.integers(1, 4), st.integers(2, 5), st.integers(2, 60))
def test_a_loop_is_sure_to_replace_no_more_tiles_than_it_does(own, lanes, bound, size) -> None:
    tile = own * lanes
    whole = min(tile * bound, size)
    if -(-whole // tile) < 2:
        return
    spread = sure_of(np.array([whole]), np.array([tile]), size, True)[0]
    assert spread <= replaced(whole, tile, size, lanes) + 1e-9
    alone = sure_of(np.array([whole]), np.array([tile]), size, False)[0]
    assert spread <= alone
    assert alone == pytest.approx(replaced(whole, tile, size, 1), abs=1e-9)


def test_of_steps_between_the_same_numbers_the_least_of_each_is_kept() -> None:
    before, after = np.array([8, 7, 8, 8]), np.array([4, 4, 3, 8])
    lanes = np.array([[2, 1], [3, 1], [1, 1], [1, 1]])
    found = rank_steps(
        before, after, lanes, before > after, np.array([0.5, 0.25, 1.0, 1.0]), (np.array([8]), np.array([4, 8]))
    )
    # to 4 along X, to 4 (from 3) without lanes, to 8
    assert found.begin.tolist() == [0, 3]
    assert sorted(zip(found.after.tolist(), found.turned.tolist(), map(tuple, found.lanes.tolist()), strict=True)) == [
        (0, True, (1, 1)), (0, True, (2, 1)), (1, False, (1, 1)),
    ]  # fmt: skip
    along = found.after.tolist().index(0) if found.lanes[0, 0] > 1 else found.lanes[:, 0].tolist().index(2)
    assert found.sure[along] == 0.25
    assert found.one[along] == 0.5
    assert found.whole[along] == pytest.approx(4 / 7)
