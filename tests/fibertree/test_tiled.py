"""A structured density by extents alone: means over the aligned tiles of the tensor, counted in all of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseloom.fibertree.density import Uniform
from sparseloom.fibertree.pattern import Pattern
from sparseloom.fibertree.tiled import Tiled

RANKS, SHAPE = ("M", "K"), (3, 48)
PATTERNS = ("K0(2:4)", "K1(2:4)->K0(2:4)", "K1(2:3)->K0(2:2)", "K0(1:3)", "K1(1:2)->K0(3:6)", "K1(2:4)->K0=4")


def tiled(text: str) -> Tiled:
    return Tiled(Pattern.parse(text).density_model(RANKS, SHAPE))  # type: ignore[arg-type]


def tiles(extents: tuple[int, int]):
    """Low and high corners of all tiles that the end of the tensor does not cut: those that it cuts are boxes of other extents."""
    return product(*[[(low, low + e) for low in range(0, s - e + 1, e)] for s, e in zip(SHAPE, extents, strict=True)])


@given(text=st.sampled_from(PATTERNS), m=st.integers(1, 3), k=st.integers(1, 48))
@settings(deadline=None)
def test_statistics_are_means_over_all_whole_aligned_tiles(text, m, k) -> None:
    density = tiled(text)
    found = list(tiles((m, k)))
    empty = [float(density.inner.empty_probability([a for a, _ in t], [b for _, b in t])) for t in found]
    most = [int(density.inner.worst_occupancy([a for a, _ in t], [b for _, b in t])) for t in found]
    assert float(density.empty_probability([0, 0], [m, k])) == pytest.approx(np.mean(empty), abs=1e-12)
    assert int(density.worst_occupancy([0, 0], [m, k])) == max(most)
    occupancy, chance = density.occupancy_distribution((m, k))
    assert chance.sum() == pytest.approx(1)
    mean = np.mean([float(density.inner.expected_occupancy([a for a, _ in t], [b for _, b in t])) for t in found])
    assert float(occupancy @ chance) == pytest.approx(mean)


@given(
    text=st.sampled_from(PATTERNS),
    parts=st.sampled_from([1, 2, 3, 4, 6, 8, 12, 16]),
    times=st.integers(1, 6),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_no_tensor_has_more_nonempty_parts_than_the_most(text, parts, times, seed) -> None:
    density = tiled(text)
    extent = parts * times
    if SHAPE[1] % extent:
        return
    most = density.most_nonempty(np.array([[1], [extent]]), np.array([[1], [parts]]))[0]
    mask = density.draw(np.random.default_rng(seed))
    nonempty = mask.reshape(SHAPE[0], -1, times, parts).any(axis=-1).sum(axis=-1)
    assert nonempty.max() <= most <= min(times, mask.size)


@pytest.mark.parametrize(
    ("text", "extent", "part", "most"),
    [
        ("K1(2:4)->K0(2:4)", 16, 4, 2),
        ("K1(2:4)->K0(2:4)", 16, 1, 4),
        ("K1(2:4)->K0(2:4)", 48, 4, 6),
        ("K0(2:4)", 16, 4, 4),
    ],
)
def test_blocks_of_an_upper_rank_are_counted_as_blocks(text, extent, part, most) -> None:
    assert tiled(text).most_nonempty(np.array([[1], [extent]]), np.array([[1], [part]])).tolist() == [most]


def test_other_densities_count_a_part_for_each_nonzero() -> None:
    found = Uniform((4, 8), 0.25).most_nonempty(np.array([[1, 4], [8, 8]]), np.array([[1, 1], [2, 2]]))
    assert found.tolist() == [4, 8]
