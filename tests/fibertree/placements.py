"""The executable meaning of a density: all equally likely masks, and statistics counted over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, product
from math import comb, prod

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparseloom.fibertree.density import Density
from sparseloom.fibertree.tree import Level, Part, Tree

Mask = NDArray[np.bool_]


def uniform_masks(shape: tuple[int, ...], nonzeros: int) -> Iterator[Mask]:
    for chosen in combinations(range(prod(shape)), nonzeros):
        mask = np.zeros(prod(shape), dtype=np.bool_)
        mask[list(chosen)] = True
        yield mask.reshape(shape)


def tree_masks(tree: Tree) -> Iterator[Mask]:
    """Every choice of kept coordinates in every fiber of every level."""
    shapes = [level.shape for level in tree.levels]
    options: list[list[Mask]] = []
    for depth, level in enumerate(tree.levels):
        fibers = prod(shapes[:depth])
        kept = level.shape if level.kept is None else level.kept
        subsets = [[c in chosen for c in range(level.shape)] for chosen in combinations(range(level.shape), kept)]
        tail = (1,) * (len(shapes) - depth - 1)
        options.append([np.reshape(fiber, (*shapes[: depth + 1], *tail)) for fiber in product(subsets, repeat=fibers)])
    for choice in product(*options):
        mask = np.ones(shapes, dtype=np.bool_)
        for kept_at in choice:
            mask &= kept_at
        yield tree.fold(mask)


def number_of_masks(tree: Tree) -> int:
    total, fibers = 1, 1
    for level in tree.levels:
        total *= comb(level.shape, level.shape if level.kept is None else level.kept) ** fibers
        fibers *= level.shape
    return total


def check_statistics(density: Density, masks: Iterable[Mask]) -> None:
    """All four statistics of ``density``, for every box and every tile, against counts over the masks."""
    placed = np.array(list(masks))
    shape = density.tensor_shape
    assert placed.shape[1:] == shape
    assert abs(placed.mean() - density.density) < 1e-12
    boxes = list(product(*[[(a, b) for a in range(s + 1) for b in range(a, s + 1)] for s in shape]))
    low = [np.array([box[rank][0] for box in boxes]) for rank in range(len(shape))]
    high = [np.array([box[rank][1] for box in boxes]) for rank in range(len(shape))]
    counts = np.array([_counted(placed, box) for box in boxes])
    np.testing.assert_allclose(density.empty_probability(low, high), (counts == 0).mean(axis=1), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(density.expected_occupancy(low, high), counts.mean(axis=1), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(density.worst_occupancy(low, high), counts.max(axis=1))
    for extents in product(*[range(1, s + 2) for s in shape]):
        _check_distribution(density, placed, extents)


def _counted(placed: NDArray[np.bool_], box: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    inside = placed[(slice(None), *(slice(low, high) for low, high in box))]
    return inside.reshape(len(placed), -1).sum(axis=1)


def _check_distribution(density: Density, placed: NDArray[np.bool_], extents: tuple[int, ...]) -> None:
    size = prod(density.tensor_shape) + 1
    histograms = []
    for at in product(*[range(0, s, e) for s, e in zip(density.tensor_shape, extents, strict=True)]):
        if density.coordinate_dependent or not any(at):
            counts = _counted(placed, tuple((a, a + e) for a, e in zip(at, extents, strict=True)))
            histograms.append(np.bincount(counts, minlength=size) / len(placed))
    stated = np.zeros(size)
    occupancies, probabilities = density.occupancy_distribution(extents)
    assert (np.diff(occupancies) > 0).all()
    stated[occupancies] = probabilities
    np.testing.assert_allclose(stated, np.mean(histograms, axis=0), rtol=1e-11, atol=1e-14)


@st.composite
def trees(draw: st.DrawFn, most_masks: int = 300) -> Tree:
    """Small trees: ranks split and flattened at will, levels that keep any number, few placements."""
    digits = draw(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=3))
    left = [
        [Part(rank, size, prod(sizes[i + 1 :])) for i, size in enumerate(sizes)] for rank, sizes in enumerate(digits)
    ]
    levels: list[Level] = []
    while any(left):
        rank = draw(st.sampled_from([rank for rank, parts in enumerate(left) if parts]))
        part = left[rank].pop(0)
        if levels and rank not in [p.rank for p in levels[-1].parts] and draw(st.booleans()):
            levels[-1] = Level((*levels[-1].parts, part))
        else:
            levels.append(Level((part,)))
    tree = Tree(tuple(prod(sizes) for sizes in digits), tuple(levels))
    for depth, level in enumerate(levels):
        kept = draw(st.one_of(st.none(), st.integers(0, level.shape)))
        ruled = Tree(tree.tensor_shape, (*tree.levels[:depth], Level(level.parts, kept), *tree.levels[depth + 1 :]))
        if number_of_masks(ruled) <= most_masks:
            tree = ruled
    return tree
