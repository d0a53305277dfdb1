"""What a density model says of boxes given as rows: words that are stored, blocks that they fill, tiles that are empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.density import Density, Exchangeable
from sparseloom.fibertree.distinct import distinct
from sparseloom.mapping.batch import IntArray
from sparseloom.memory import forgotten
from sparseloom.model.edge import Box

FloatArray = NDArray[np.float64]
StepTotal = Callable[[FloatArray], FloatArray]


class Piece(NamedTuple):
    """What N transfers bring of a tensor, each: a ``box`` without the part of it that is ``held``, if any. The first ``ranks`` of
    their ranks are the tensor's own, at others every box has one coordinate. Boxes have ``extents`` [R, N] and ``whole`` points,
    of which so many are ``kept`` and so many ``points`` brought, [N]."""

    box: Box
    held: Box | None
    ranks: int
    extents: IntArray
    whole: IntArray
    kept: IntArray
    points: IntArray

    @classmethod
    def of(cls, box: Box, held: Box | None, ranks: int) -> Piece:
        extents = box[1] - box[0]
        whole = _product(extents)
        kept = np.zeros(whole.shape, np.int64) if held is None else _product(held[1] - held[0])
        return cls(box, held, ranks, extents, whole, kept, whole - kept)

    @property
    def low(self) -> IntArray:
        return self.box[0][: self.ranks]

    @property
    def high(self) -> IntArray:
        return self.box[1][: self.ranks]


def stored_words(density: Density, compressed: bool, piece: Piece) -> FloatArray:
    """Expected words that a level stores of what is brought: nonzeros where ``compressed``."""
    if not compressed or not piece.ranks:
        return piece.points.astype(np.float64)
    if isinstance(density, Exchangeable):
        return density.mean_of(piece.whole) - (density.mean_of(piece.kept) if piece.held is not None else 0)
    words = density.expected_occupancy(piece.low, piece.high)
    if piece.held is not None:
        words = words - density.expected_occupancy(*(end[: piece.ranks] for end in piece.held))
    return words


def own_blocks(density: Density, compressed: bool, piece: Piece, words: FloatArray, block_words: int) -> FloatArray:
    """Expected blocks of ``block_words`` that the stored ``words`` of pieces fill, each piece in an access of its own."""
    if block_words == 1:
        return words
    if not compressed or density.certain:
        return np.ceil(words / block_words)
    return _mean_blocks(density, piece.points, piece.extents[: piece.ranks], block_words)


def shared_blocks(
    density: Density,
    compressed: bool,
    piece: Piece,
    words: FloatArray,
    block_words: int,
    step_total: StepTotal,
    disjoint: bool,
) -> FloatArray:
    """As :func:`own_blocks`, where all words of one step are one access and every piece has its share of it.

    ``step_total`` sums a value of each piece over its step; ``disjoint`` says that pieces of a step have no points in common.
    Exact for known tensors, and for disjoint pieces of densities to which only the number of points matters; for others,
    where several pieces share an access, its words are taken at their mean.
    """
    if block_words == 1:
        return words
    if not compressed or density.certain:
        total_words = step_total(words)
        share = np.divide(words, total_words, out=np.zeros(words.shape), where=total_words > 0)
        return np.asarray(share * np.ceil(total_words / block_words - 1e-9))
    points = piece.points
    total = step_total(points.astype(np.float64))
    alone = total == points
    if alone.all():
        return _mean_blocks(density, points, piece.extents[: piece.ranks], block_words)
    if disjoint and isinstance(density, Exchangeable):
        blocks = _mean_blocks(density, total, piece.extents[: piece.ranks], block_words)
    else:
        blocks = np.ceil(step_total(words) / block_words - 1e-9)
        blocks[alone] = _mean_blocks(density, total[alone], piece.extents[: piece.ranks, alone], block_words)
    return np.asarray(np.divide(points, total, out=np.zeros(words.shape), where=total > 0) * blocks)


def _product(extents: IntArray) -> IntArray:
    """Points of boxes of ``extents`` [ranks, N]; 1 of a tensor without ranks."""
    points = extents[0] if len(extents) else np.ones(extents.shape[1:], np.int64)
    for extent in extents[1:]:
        points = points * extent
    return np.asarray(points)


def _mean_blocks(density: Density, points: FloatArray | IntArray, extents: IntArray, block_words: int) -> FloatArray:
    """Mean blocks of sets of ``points`` points; of the occupancy of tiles of ``extents`` where places matter."""
    keys = np.rint(points).astype(np.int64)[None]
    if not isinstance(density, Exchangeable):
        keys = np.concatenate([keys, extents])
    first, index = distinct(keys)
    if isinstance(density, Exchangeable):
        return density.mean_parts(keys[0, first], block_words)[index]
    means = [_mean_blocks_of(density, tuple(column), block_words) for column in keys[:, first].T.tolist()]
    return np.asarray(np.array(means)[index])


@forgotten
@lru_cache(maxsize=1 << 16)
def _mean_blocks_of(density: Density, key: tuple[int, ...], block_words: int) -> float:
    """Mean blocks of the nonzeros of a tile: ``key`` is how many points are counted, none or all, and its extents."""
    if key[0] == 0:
        return 0.0
    occupancies, chances = density.occupancy_distribution(key[1:])
    return float(np.ceil(occupancies / block_words) @ chances)


def joint_nonempty(density: Density, boxes: Sequence[Box]) -> FloatArray | float:
    """P(every one of ``boxes`` has a nonzero), for N boxes in each place of the sequence.

    Of boxes that lie in one another the smallest decides. Exact for known tensors, for nested boxes, and for any boxes
    where only the number of points matters (uniform). Of structured sparsity, boxes that merely overlap are taken as if
    the one that is least likely to have a nonzero implied the others, which is the most that the chance can be.
    """
    if not boxes:
        return 1.0
    if density.certain:
        return np.asarray(np.prod([1.0 - _empty(density, box) for box in boxes], axis=0))
    inner = _innermost(boxes)
    least = 1.0 - _empty(density, inner[0])
    for box in inner[1:]:
        least = np.minimum(least, 1.0 - _empty(density, box))
    if len(inner) == 1 or not isinstance(density, Exchangeable):
        return least
    return np.minimum(np.maximum(_all_nonempty(density, inner), 0.0), least)


def _empty(density: Density, box: Box) -> FloatArray:
    if isinstance(density, Exchangeable) and len(box[0]):
        return density.joint_empty(_product(box[1] - box[0]))
    return density.empty_probability(*box)


def _innermost(boxes: Sequence[Box]) -> list[Box]:
    """Those of ``boxes`` that have no other one of them inside."""
    found: list[Box] = []
    for box in boxes:
        if not any(_inside(other, box) for other in found):
            found = [*(other for other in found if not _inside(box, other)), box]
    return found


def _inside(a: Box, b: Box) -> bool:
    return bool((a[0] >= b[0]).all() and (a[1] <= b[1]).all())


def _all_nonempty(density: Exchangeable, boxes: Sequence[Box]) -> FloatArray:
    """P(every one of ``boxes`` has a nonzero) by inclusion and exclusion: the sum over all choices of boxes of
    (-1)^(their number) P(their union is empty)."""
    total = np.zeros(boxes[0][0].shape[1:])
    for union, sign in _unions(boxes):
        total += sign * density.joint_empty(union)
    return total


def _unions(boxes: Sequence[Box]) -> Iterator[tuple[IntArray, int]]:
    """Points of the union of every choice of ``boxes``, with the sign of the number chosen."""
    common = {}
    for chosen in range(1, 1 << len(boxes)):
        some = [box for k, box in enumerate(boxes) if chosen >> k & 1]
        extents: IntArray = np.min([high for _, high in some], axis=0) - np.max([low for low, _ in some], axis=0)
        common[chosen] = (-1) ** (len(some) + 1) * np.prod(np.maximum(extents, 0), axis=0)
    for chosen in range(1 << len(boxes)):
        parts = [points for part, points in common.items() if part & chosen == part]
        yield sum(parts, np.zeros(boxes[0][0].shape[1:], np.int64)), (-1) ** chosen.bit_count()
