"""Structured sparsity: fibers of a tree that keep G of their H coordinates, at random and independently of each other.

One engine for hierarchical G:H rules, pruned channels and blocks. A box touches the coordinates of a split rank in at
most three ways (the first in part, the last in part, those between in full), so statistics of any box, aligned or not,
follow from a recursion over the levels with a few kinds of children each.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, PatternError
from sparseloom.fibertree.box import Corner, clip_box
from sparseloom.fibertree.density import (
    BoolArray,
    Density,
    FloatArray,
    IntArray,
    box_points,
    check_density,
    check_shape,
    whole,
)
from sparseloom.fibertree.distinct import distinct
from sparseloom.fibertree.occupancy import Occupancy, mixture
from sparseloom.fibertree.tile import tile_kinds
from sparseloom.fibertree.tree import Box, Level, Part, Tree, children
from sparseloom.memory import forgotten

Levels = tuple[Level, ...]
Number = TypeVar("Number", np.float64, np.int64)


class TreeDensity(Density):
    """Sparsity given by a tree of ranks. All statistics are exact."""

    @property
    @abstractmethod
    def tree(self) -> Tree:
        """The ranks in the order of the rule, outermost first."""

    @cached_property
    def _levels(self) -> Levels:
        return self.tree.simplified().levels

    @cached_property
    def periods(self) -> tuple[int, ...]:
        """Moving a box by this many coordinates of a rank changes nothing: the stride of the rank's highest part."""
        strides = {}
        for level in reversed(self._levels):
            strides.update({part.rank: part.stride for part in level.parts})
        return tuple(strides[rank] for rank in range(len(self.tensor_shape)))

    @property
    def coordinate_dependent(self) -> bool:
        return any(period > 1 for period in self.periods) and any(level.prunes for level in self._levels)

    def expected_occupancy(self, low: Corner, high: Corner) -> FloatArray:
        density = self.tree.density
        return np.asarray(box_points(self.tensor_shape, low, high) * density.numerator / density.denominator)

    def empty_probability(self, low: Corner, high: Corner) -> FloatArray:
        box, _ = self._box(low, high)
        return np.asarray(np.where(box_points(self.tensor_shape, low, high) == 0, 1.0, _empty(self._levels, box)))

    def worst_occupancy(self, low: Corner, high: Corner) -> IntArray:
        box, shape = self._box(low, high)
        return np.array(np.broadcast_to(_worst(self._levels, box), shape))

    def occupancy_distribution(self, extents: Sequence[int], whole: bool = False) -> tuple[IntArray, FloatArray]:
        """As :meth:`Density.occupancy_distribution`; of tiles alone that the end of the tensor does not cut, if ``whole``."""
        extents = [min(e, s) for s, e in zip(self.tensor_shape, extents, strict=True)]
        shape = [s // e * e if whole and e else s for s, e in zip(self.tensor_shape, extents, strict=True)]
        kinds = [tile_kinds(s, e, p) for s, e, p in zip(shape, extents, self.periods, strict=True)]
        if not self.coordinate_dependent:
            kinds = [[(0, min(s, e), 1.0)] for s, e in zip(self.tensor_shape, extents, strict=True)]
        parts = []
        for tile in product(*kinds):
            box = {r: (np.asarray(low), np.asarray(low + extent)) for r, (low, extent, _) in enumerate(tile)}
            parts.append((math.prod(weight for _, _, weight in tile), _occupancy(self._levels, box)))
        return mixture(parts).support()

    def most_nonempty(self, extents: IntArray, parts: IntArray) -> IntArray:
        """As :meth:`Density.most_nonempty`, of all tiles of the aligned tiling; where parts are what lies below some levels
        of the tree, by what the levels above keep."""
        first, index = distinct(np.concatenate([extents, parts]))
        tiles = zip(extents[:, first].T.tolist(), parts[:, first].T.tolist(), strict=True)
        return np.array([_most_nonempty(self, tuple(tile), tuple(part)) for tile, part in tiles], np.int64)[index]

    def draw(self, rng: np.random.Generator) -> BoolArray:
        shape = [level.shape for level in self.tree.levels]
        mask = np.ones(shape, dtype=np.bool_)
        for depth, level in enumerate(self.tree.levels):
            if level.prunes:
                score = rng.random(shape[: depth + 1])
                kept = score.argsort(axis=-1).argsort(axis=-1) < (level.kept or 0)
                mask &= kept.reshape(kept.shape + (1,) * (len(shape) - depth - 1))
        return self.tree.fold(mask)

    def above(self, parts: Sequence[int]) -> Hierarchical | None:
        """Where each part of a tensor, of so many coordinates in each rank, is nonempty: what is left of the tree when the levels
        below parts are taken away; None where parts are not what lies below some levels."""
        levels = self._levels
        for depth in range(len(levels), -1, -1):
            below = [1] * len(self.tensor_shape)
            for part in (part for level in levels[depth:] for part in level.parts):
                below[part.rank] *= part.shape
            if below == list(parts) and any(level.prunes for level in levels[:depth]):
                coarse = tuple(
                    Level(tuple(Part(p.rank, p.shape, p.stride // below[p.rank]) for p in level.parts), level.kept)
                    for level in levels[:depth]
                )
                return Hierarchical(tuple(s // b for s, b in zip(self.tensor_shape, below, strict=True)), coarse)
        return None

    def _box(self, low: Corner, high: Corner) -> tuple[Box, tuple[int, ...]]:
        """The box moved by whole periods towards the origin, and the shape of the answer."""
        lows, highs = clip_box(self.tensor_shape, low, high)
        moved = {}
        for rank, (x, y, period) in enumerate(zip(lows, highs, self.periods, strict=True)):
            start = x % period
            moved[rank] = (np.asarray(start), np.asarray(start + y - x))
        return moved, np.broadcast_shapes(*(x.shape for x in lows + highs))


def _once_each(of: Callable[[Levels, Box], NDArray[Number]], levels: Levels, box: Box) -> NDArray[Number]:
    """``of`` boxes of which many are alike in the ranks that ``levels`` have, computed once for each distinct one."""
    extents = {part.rank: part.shape * part.stride for level in reversed(levels) for part in level.parts}
    ends = [end for rank in extents for end in box[rank]]
    shape = np.broadcast_shapes(*(end.shape for end in ends))
    if math.prod(shape) <= 256:
        return of(levels, box)
    from sparseloom.fibertree.distinct import distinct

    columns = np.stack([np.broadcast_to(end, shape).ravel() for end in ends])
    first, back = distinct(columns)
    some = columns[:, first]
    boxes = {rank: (some[2 * i], some[2 * i + 1]) for i, rank in enumerate(extents)}
    return np.broadcast_to(of(levels, boxes), first.shape)[back].reshape(shape)


def _prunes_below(levels: Levels) -> bool:
    return any(level.prunes for level in levels[1:])


def _empty(levels: Levels, box: Box) -> FloatArray:
    """P(no nonzero in the box of one fiber of ``levels[0]``)."""
    if not levels:
        return np.zeros(())
    level, kinds = levels[0], children(levels[0], box)
    if not kinds:
        return np.ones(())
    if level.prunes and not _prunes_below(levels):
        touched = np.asarray(sum(count for count, _ in kinds))
        from sparseloom.fibertree import hypergeometric

        return hypergeometric.empty_probability(level.shape, level.kept or 0, touched)
    if level.prunes:
        return _once_each(_kept_empty, levels, box)
    empty = np.ones(())
    for count, inside in kinds:
        empty = np.asarray(empty * _empty(levels[1:], inside) ** count)
    return empty


def _binomial(n: IntArray, k: IntArray, share: float) -> FloatArray:
    """C(n, k) share^k (1 - share)^(n - k); 0 where k > n. The powers only keep the numbers small."""
    rest = np.maximum(n - k, 0)
    from sparseloom.fibertree import hypergeometric

    log = hypergeometric.log_factorial(n) - hypergeometric.log_factorial(k) - hypergeometric.log_factorial(rest)
    return np.asarray(np.where(k <= n, np.exp(log + k * math.log(share) + rest * math.log1p(-share)), 0.0))


def _kept_empty(levels: Levels, box: Box) -> FloatArray:
    """P(the kept children are all empty): the mean over all choices of ``kept`` children of the product of theirs.

    The coefficient of z^kept in the product over kinds of (1 + p z)^count, over C(shape, kept).
    """
    level, kinds = levels[0], children(levels[0], box)
    kept = level.kept or 0
    if kept == 0:
        return np.ones(())
    share = kept / level.shape
    k = np.arange(kept + 1, dtype=np.int64)
    untouched = np.asarray(level.shape - sum(count for count, _ in kinds))[..., None]
    total = _binomial(untouched, k, share)
    for count, inside in kinds:
        weights = _binomial(count[..., None], k, share) * _empty(levels[1:], inside)[..., None] ** k
        total = _truncated_product(total, weights)
    whole_fiber = _binomial(np.asarray(level.shape), np.asarray(kept), share)
    return np.asarray(np.minimum(total[..., kept] / whole_fiber, 1.0))


def _truncated_product(a: FloatArray, b: FloatArray) -> FloatArray:
    """The product of polynomials along the last axis, without the powers above their own."""
    terms = a.shape[-1]
    shape = (*np.broadcast_shapes(a.shape[:-1], b.shape[:-1]), terms)
    result = np.zeros(shape)
    for power in range(terms):
        if np.any(b[..., power]):
            result[..., power:] += a[..., : terms - power] * b[..., power, None]
    return result


@forgotten
@lru_cache(maxsize=1 << 14)
def _most_nonempty(density: TreeDensity, extents: tuple[int, ...], parts: tuple[int, ...]) -> int:
    """Of a tile of these extents, the most parts that can be nonempty at once."""
    coarse = density.above(parts)
    if coarse is not None:
        return worst_of_tiles(coarse, tuple(-(-size // part) for size, part in zip(extents, parts, strict=True)))
    return min(math.prod(extents) // math.prod(parts), worst_of_tiles(density, extents))


@forgotten
@lru_cache(maxsize=1 << 14)
def worst_of_tiles(density: TreeDensity, extents: tuple[int, ...]) -> int:
    """The most that any tile of the aligned tiling of the tensor by these extents holds."""
    if 0 in extents:
        return 0
    sizes = zip(density.tensor_shape, extents, density.periods, strict=True)
    kinds = [tile_kinds(size, extent, period) for size, extent, period in sizes]
    tiles = np.array([[(low, low + extent) for low, extent, _ in tile] for tile in product(*kinds)], np.int64)
    return int(density.worst_occupancy(tiles[:, :, 0].T, tiles[:, :, 1].T).max())


def _worst(levels: Levels, box: Box) -> IntArray:
    """The most nonzeros that the box can hold."""
    if not levels:
        return np.ones((), dtype=np.int64)
    if levels[0].prunes:
        return _once_each(_kept_worst, levels, box)
    total = np.zeros((), dtype=np.int64)
    for count, inside in children(levels[0], box):
        total = np.asarray(total + count * _worst(levels[1:], inside))
    return total


def _kept_worst(levels: Levels, box: Box) -> IntArray:
    """Every pruning fiber keeps the children that can hold the most."""
    kinds = children(levels[0], box)
    if not kinds:
        return np.zeros((), dtype=np.int64)
    pairs = [(count, _worst(levels[1:], inside)) for count, inside in kinds]
    shape = np.broadcast_shapes(*(x.shape for pair in pairs for x in pair))
    counts: IntArray = np.stack([np.broadcast_to(count, shape) for count, _ in pairs])
    mosts: IntArray = np.stack([np.broadcast_to(most, shape) for _, most in pairs])
    order = np.argsort(-mosts, axis=0)
    counts, mosts = np.take_along_axis(counts, order, 0), np.take_along_axis(mosts, order, 0)
    taken = np.minimum(np.cumsum(counts, axis=0), levels[0].kept or 0)
    return np.asarray((np.diff(taken, axis=0, prepend=0) * mosts).sum(axis=0))


def _occupancy(levels: Levels, box: Box) -> Occupancy:
    """The distribution of nonzeros in a single box of one fiber of ``levels[0]``."""
    if not levels:
        return Occupancy.certain(1)
    level, kinds = levels[0], children(levels[0], box)
    merged: list[tuple[int, Occupancy]] = []
    for count, inside in kinds:
        found = _occupancy(levels[1:], inside)
        same = next((i for i, (_, other) in enumerate(merged) if other.same(found)), None)
        if same is None:
            merged.append((int(count), found))
        else:
            merged[same] = (merged[same][0] + int(count), found)
    if level.prunes:
        return _kept_occupancy(level, sorted(merged, key=lambda kind: kind[0]))
    total = Occupancy.certain(0)
    for number, found in merged:
        total = total.plus(found.times(number))
    return total


def _chosen(population: int, kept: int, touched: int) -> list[tuple[int, float]]:
    from sparseloom.fibertree import hypergeometric

    counts, p = hypergeometric.distribution(population, kept, touched)
    return [(int(k), float(weight)) for k, weight in zip(counts, p, strict=True)]


def _kept_occupancy(level: Level, kinds: list[tuple[int, Occupancy]]) -> Occupancy:
    """Kind by kind: how many of the children left to choose from are of this kind, and what they hold together."""
    kept, left = level.kept or 0, level.shape
    by_kept: dict[int, Occupancy] = {0: Occupancy.certain(0)}
    for touched, found in kinds:
        parts: dict[int, list[tuple[float, Occupancy]]] = {}
        powers: dict[int, Occupancy] = {}
        for so_far, held in by_kept.items():
            for more, weight in _chosen(left, kept - so_far, touched):
                if more not in powers:
                    powers[more] = found.times(more)
                parts.setdefault(so_far + more, []).append((weight, held.plus(powers[more])))
        left -= touched
        by_kept = {total: mixture(choices) for total, choices in parts.items()}
    return mixture((1.0, held) for held in by_kept.values())


@dataclass(frozen=True)
class Hierarchical(TreeDensity):
    """Hierarchical structured sparsity: G of H on one or several ranks, split, flattened and ordered at will.

    ``levels`` are the ranks of the tree, outermost first; each fiber of a level with ``kept`` = G keeps exactly G
    coordinates, chosen uniformly at random, independently of all other fibers. A kept coordinate's payload follows the
    rules further in. The parts of a rank must multiply to its shape: a rank that H does not divide is refused, with the
    numbers (pad it with zeros first).

    Source: Wu, thesis (2023), "Systematic Modeling and Design of Sparse Deep Neural Network Accelerators", chapter 5.
    Exact for this placement.

    >>> two_of_four = Hierarchical((8,), (Level((Part(0, 2, 4),)), Level((Part(0, 4),), kept=2)))
    >>> [round(float(two_of_four.empty_probability([low], [low + 2])), 12) for low in (0, 3)]
    [0.166666666667, 0.25]
    """

    tensor_shape: tuple[int, ...]
    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        check_shape(self.tensor_shape)
        Tree(self.tensor_shape, self.levels)

    @property
    def tree(self) -> Tree:
        return Tree(self.tensor_shape, self.levels)

    @property
    def density(self) -> float:  # type: ignore[override]
        return float(self.tree.density)


@dataclass(frozen=True)
class Channel(TreeDensity):
    """Whole coordinates of one rank are zero, with everything below them: ``C(unconstrained)->R->S``.

    Of the coordinates of ``rank``, ``ceil(density * shape)`` are kept, uniformly at random, for each coordinate of
    the ``outer`` ranks anew; the other ranks lie below and are dense. ``density`` is then kept / shape.
    """

    tensor_shape: tuple[int, ...]
    rank: int
    density: float
    outer: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_shape(self.tensor_shape)
        shape = self.tensor_shape[self.rank]
        object.__setattr__(self, "density", kept_of(shape, self.density) / shape)

    @property
    def tree(self) -> Tree:
        shape = self.tensor_shape
        outer = tuple(Level((Part(rank, shape[rank]),)) for rank in self.outer)
        pruned = Level((Part(self.rank, shape[self.rank]),), kept_of(shape[self.rank], self.density))
        others = set(range(len(shape))) - {self.rank, *self.outer}
        return Tree(shape, (*outer, pruned, *(Level((Part(rank, shape[rank]),)) for rank in sorted(others))))


@dataclass(frozen=True)
class Block(TreeDensity):
    """Whole blocks are zero or dense: of all blocks, ``ceil(density * blocks)`` are kept, uniformly at random.

    ``blocks`` gives the block's coordinates in each of ``ranks``; other ranks lie outside, each coordinate of them with
    blocks of its own. ``density`` is then kept / blocks. Raises PatternError if a block does not divide its rank.
    """

    tensor_shape: tuple[int, ...]
    ranks: tuple[int, ...]
    blocks: tuple[int, ...]
    density: float

    def __post_init__(self) -> None:
        check_shape(self.tensor_shape)
        for rank, size in zip(self.ranks, self.blocks, strict=True):
            if size < 1 or self.tensor_shape[rank] % size:
                what = f"a block of {size} does not divide the {self.tensor_shape[rank]} coordinates of rank {rank}"
                raise PatternError(Fault(what, fix="choose a block that divides the rank, or pad the rank with zeros"))
        object.__setattr__(self, "density", kept_of(self._count, self.density) / self._count)

    @property
    def _count(self) -> int:
        return math.prod(self.tensor_shape[r] // b for r, b in zip(self.ranks, self.blocks, strict=True))

    @property
    def tree(self) -> Tree:
        shape = self.tensor_shape
        sizes = list(zip(self.ranks, self.blocks, strict=True))
        others = sorted(set(range(len(shape))) - set(self.ranks))
        upper = Level(tuple(Part(r, shape[r] // b, b) for r, b in sizes), kept_of(self._count, self.density))
        lower = Level(tuple(Part(r, b) for r, b in sizes))
        return Tree(shape, (*(Level((Part(r, shape[r]),)) for r in others), upper, lower))


def kept_of(shape: int, density: float) -> int:
    """Coordinates kept of a fiber without constraint: ``ceil(density * shape)``. Refuses a density outside [0, 1]."""
    check_density(density)
    return math.ceil(whole(float(density) * shape))
