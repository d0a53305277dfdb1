"""What a density model says of boxes given as rows: words that are stored, blocks that they fill, tiles that are empty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.density import Density
from sparseloom.mapping.batch import IntArray

FloatArray = NDArray[np.float64]
Box = tuple[IntArray, IntArray]
"""Low and high corners of N boxes, [R, N] each."""


def is_certain(density: Density) -> bool:
    """Whether the density is of one known tensor: every box has one possible occupancy."""
    from sparseloom.fibertree.density import ActualData, Dense
    from sparseloom.fibertree.diagonal import Banded

    return isinstance(density, ActualData | Dense | Banded)


def stored_words(density: Density, compressed: bool, box: Box, held: Box) -> FloatArray:
    """Expected words that a level stores of ``box`` without its part ``held``: nonzeros where ``compressed``."""
    if not len(box[0]):
        return np.ones(box[0].shape[1:])
    if not compressed:
        return np.asarray(np.prod(box[1] - box[0], axis=0) - np.prod(held[1] - held[0], axis=0), dtype=np.float64)
    return density.expected_occupancy(list(box[0]), list(box[1])) - density.expected_occupancy(*map(list, held))


def stored_blocks(density: Density, compressed: bool, box: Box, held: Box, block_words: int) -> FloatArray:
    """Expected blocks of ``block_words`` that the words of :func:`stored_words` fill, each box starting a block.

    Exact for known tensors and for densities that depend on extents alone, where only the number of points counts; for
    others the occupancy of a box is that of the tiles of its extents.
    """
    words = stored_words(density, compressed, box, held)
    if block_words == 1 or not compressed or is_certain(density):
        return np.ceil(words / block_words)
    points = np.prod(box[1] - box[0], axis=0) - np.prod(held[1] - held[0], axis=0)
    extents = box[1] - box[0]
    keys, index = np.unique(np.concatenate([points[None], extents]), axis=1, return_inverse=True)
    means = np.array([_mean_blocks(density, tuple(map(int, key)), block_words) for key in keys.T])
    return np.asarray(means[index.ravel()])


def _mean_blocks(density: Density, key: tuple[int, ...], block_words: int) -> float:
    points, extents = key[0], key[1:]
    if points == 0:
        return 0.0
    if not density.coordinate_dependent:
        extents = _extents_of(points, density.tensor_shape)
    occupancies, chances = density.occupancy_distribution(extents)
    return float(np.ceil(occupancies / block_words) @ chances)


def _extents_of(points: int, shape: Sequence[int]) -> tuple[int, ...]:
    """Extents of some box of ``points`` points, for a density to which only their number matters."""
    extents = [1] * len(shape)
    for r, size in enumerate(shape):
        extents[r] = int(np.gcd(points, size))
        points //= extents[r]
    if points > 1:
        raise ValueError(f"no box of {points} times {extents} points in {tuple(shape)}")
    return tuple(extents)


def joint_nonempty(density: Density, boxes: Sequence[Box]) -> FloatArray | float:
    """P(every one of ``boxes`` has a nonzero); of boxes that lie in one another the smallest decides.

    Exact for known tensors, for nested boxes, and for two overlapping boxes of a uniform tensor.
    """
    if not boxes:
        return 1.0
    chances = [1.0 - density.empty_probability(list(low), list(high)) for low, high in boxes]
    if is_certain(density):
        return np.asarray(np.prod(chances, axis=0))
    return np.asarray(np.min(chances, axis=0))
