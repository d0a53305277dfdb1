"""Spatial and position skipping: lanes that would be idle take other work.

With *spatial skipping* a nest may have more logical lanes than there are: a tensor that is kept compressed, or that the
feature thins by its leaders, needs children only for elements that are not empty. With *position skipping* the nonzeros of a
tensor's tile are packed into the lanes of the level that holds it.

All results are arrays over a batch of B mappings. Source: Timeloop's sparse analysis of spatial instances at ee66b62;
position skipping is inferred from the MICRO 2022 artifact's outputs; thesis 4.9.1 for the designs (STC, DSTC).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import POSITION_SKIPPING, SPATIAL_SKIPPING
from sparseloom.fibertree.density import Density, Exchangeable
from sparseloom.mapping.batch import IntArray, MappingBatch, Problem, extents_of
from sparseloom.mapping.mapping import Mapping, check

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Thinned:
    """What is left of a level's spatial loops for a tensor, [B] each: the mean share of children in use, of lanes along
    X and Y the most that can be in use at once, and how often a lane is in use if it is whenever any is, over the mean."""

    used: FloatArray
    lanes_x: FloatArray
    lanes_y: FloatArray
    load: FloatArray


Thinning = dict[tuple[int, int], Thinned]
"""By level and tensor number."""


def thin(problem: Problem, batch: MappingBatch, stored_leaders: bool = False) -> Thinning:
    """Where a design with spatial skipping thins the spatial loops; empty for other designs.

    ``stored_leaders``: as Timeloop has it, only leaders count that the level, or one outside it, keeps in a format, and tensors
    kept in a format thin the loops of every level, not only of those with the feature.
    """
    design = problem.design
    safs = [saf for saf in design.features.safs if saf.kind == SPATIAL_SKIPPING]
    skipping = {design.architecture.index(saf.level) for saf in safs}
    found: Thinning = {}
    if not safs:
        return found
    products = {
        depth: _Level.of(problem, batch, depth) for depth in (range(len(batch.keep)) if stored_leaders else skipping)
    }

    @cache
    def thinned(depth: int, source: int, target: int | None) -> Thinned:
        return _thinned(problem, products[depth], source, target)

    for t, name in enumerate(problem.tensors):
        for depth in products:
            keepers = np.flatnonzero(batch.keep[: depth + 1, t])
            if keepers.size and design.features.format_of(design.architecture.names[keepers[-1]], name):
                found[depth, t] = thinned(depth, t, None)
    for saf in safs:
        depth = design.architecture.index(saf.level)
        for target, leaders in saf.ways:
            t = problem.tensors.index(target)
            held = bool(batch.keep[depth + 1 :, t].any())
            sources = [
                problem.tensors.index(x) for x in leaders if not stored_leaders or _stored(problem, batch, depth, x)
            ]
            shares = [thinned(depth, x, t if held else None) for x in sources]
            ones = Thinned(*np.ones((len(_FIELDS), len(batch))))
            found[depth, t] = reduce(_both, shares) if shares else ones
    return found


def _both(a: Thinned, b: Thinned) -> Thinned:
    """What is left where two leaders thin a follower's loops."""
    return Thinned(*(getattr(a, name) * getattr(b, name) for name in _FIELDS))


def _stored(problem: Problem, batch: MappingBatch, depth: int, name: str) -> bool:
    """Whether a level, or one outside it, keeps a tensor in a format."""
    design, t = problem.design, problem.tensors.index(name)
    levels = zip(design.architecture.names[: depth + 1], batch.keep[: depth + 1, t], strict=True)
    return any(kept and design.features.format_of(level, name) for level, kept in levels)


_FIELDS = ("used", "lanes_x", "lanes_y", "load")


@dataclass(frozen=True)
class _Level:
    """The loops of one level of a batch as products, in the ``slots`` where any mapping has one: ``bound``, ``rank``, ``kind``
    [B, L] (bound 1 for loops of other levels); ``inside`` [L + 1, B, D] are coordinates of each rank that slots from i on cover,
    with all levels further in, ``repeats`` [L + 1, B, D] those that temporal slots before i do."""

    bound: IntArray
    rank: IntArray
    kind: IntArray
    inside: IntArray
    repeats: IntArray

    @classmethod
    def of(cls, problem: Problem, batch: MappingBatch, depth: int) -> _Level:
        level = batch.place // 3
        slots = np.flatnonzero((level == depth).any(axis=0))
        rank, kind = batch.rank[:, slots], batch.place[:, slots] % 3
        bound = np.where(level[:, slots] == depth, batch.bound[:, slots], 1)
        count, dims = len(batch), len(problem.ranks)
        inside = np.ones((len(slots) + 1, count, dims), np.int64)
        further = np.where(level > depth, batch.bound, 1)
        for d in range(dims):
            inside[-1, :, d] = np.prod(np.where(batch.rank == d, further, 1), axis=1)
        repeats, every = np.ones_like(inside), np.arange(count)
        for i in range(len(slots)):
            repeats[i + 1] = repeats[i]
            repeats[i + 1, every, rank[:, i]] *= np.where(kind[:, i] == 0, bound[:, i], 1)
        for i in range(len(slots) - 1, -1, -1):
            inside[i] = inside[i + 1]
            inside[i, every, rank[:, i]] *= bound[:, i]
        return cls(bound, rank, kind, inside, repeats)

    def repeated(self, at: tuple[IntArray, IntArray], follower: NDArray[np.bool_]) -> IntArray:
        """Coordinates over which temporal loops outside loops ``at`` repeat what a follower with these ranks holds, [M, D]."""
        moves = (self.kind == 0) & (self.bound > 1) & follower[self.rank]
        ends = np.where(moves, np.arange(1, self.bound.shape[1] + 1), 0)
        start = np.concatenate([np.zeros((len(ends), 1), np.int64), np.maximum.accumulate(ends, axis=1)], axis=1)[at]
        wide = self.repeats[at[1], at[0]] // self.repeats[start, at[0]]
        return np.asarray(np.where(follower[self.rank[at]][:, None], wide, 1))


def _thinned(problem: Problem, level: _Level, source: int, target: int | None) -> Thinned:
    """How far the nonempty elements of ``source`` thin the spatial loops of a level, for a follower ``target`` that is held
    further in."""
    indexes = np.asarray(problem.projections.any(axis=1), np.bool_)
    mapping, slot = np.nonzero((level.kind > 0) & (level.bound > 1) & indexes[source, level.rank])
    at = (mapping, slot)
    part, whole = level.inside[slot + 1, mapping], level.inside[slot, mapping]
    if target is not None:
        wide = level.repeated(at, indexes[target])
        part, whole = part * wide, whole * wide
    count = len(level.bound)
    used, some, lanes = np.ones(count), np.ones(count), np.ones((2, count))
    if mapping.size:
        outermost = np.flatnonzero(np.diff(mapping, prepend=-1))
        innermost = np.append(outermost[1:], mapping.size) - 1
        used[mapping[innermost]] = 1 - _empty(problem, source, part[innermost])
        some[mapping[outermost]] = 1 - _empty(problem, source, whole[outermost])
        shares = np.minimum(_most_elements(problem, source, whole, part) / level.bound[at], 1)
        np.multiply.at(lanes, (level.kind[at] - 1, mapping), shares)
    return Thinned(used, lanes[0], lanes[1], np.divide(some, used, out=np.ones(count), where=used > 0))


def _box(problem: Problem, t: int, extents: IntArray) -> list[IntArray]:
    """Extents of the tensor's box over coordinates [N, D] of the iteration ranks, one array for each tensor rank."""
    shape = problem.workload.density(problem.tensors[t]).tensor_shape
    return list(extents_of(problem.projections[t][: len(shape)], np.minimum(extents, problem.shape).T))


def _empty(problem: Problem, t: int, extents: IntArray) -> FloatArray:
    """P(a tile of these coordinates [N, D] is empty), over all its places where they matter."""
    density, box = problem.workload.density(problem.tensors[t]), _box(problem, t, extents)
    if not density.coordinate_dependent:
        return density.empty_probability([np.zeros_like(x) for x in box], box)
    return _over_distinct(density, box, lambda occupancies, chances: float(chances[occupancies == 0].sum()))


def _over_distinct(density: Density, box: list[IntArray], of: Callable[[IntArray, FloatArray], float]) -> FloatArray:
    """A number of the occupancy distribution of each box, computed once for each shape."""
    shapes, index = np.unique(np.stack(box), axis=1, return_inverse=True)
    numbers = np.array([of(*density.occupancy_distribution(shape.tolist())) for shape in shapes.T], np.float64)
    return np.asarray(numbers[index.ravel()])


def _most_elements(problem: Problem, t: int, fiber: IntArray, element: IntArray) -> FloatArray:
    """Elements of a fiber that can be nonempty at once."""
    whole, part = _box(problem, t, fiber), _box(problem, t, element)
    worst = problem.workload.density(problem.tensors[t]).worst_occupancy([np.zeros_like(x) for x in whole], whole)
    return np.asarray(np.minimum(np.prod(whole, axis=0) // np.prod(part, axis=0), worst), np.float64)


def lane_shares(problem: Problem, batch: MappingBatch, thinning: Thinning) -> FloatArray:
    """For each level, the share of its spatial loops along X and Y that the tensor thinned least needs lanes for, [S, 2, B]."""
    shares = np.ones((len(batch.keep), 2, len(batch)))
    for depth in {depth for depth, _ in thinning}:
        here = _of_tensors(problem, batch, thinning, depth)
        shares[depth, 0] = np.max([s.lanes_x for s in here], axis=0)
        shares[depth, 1] = np.max([s.lanes_y for s in here], axis=0)
    return shares


def lane_load(problem: Problem, batch: MappingBatch, thinning: Thinning, packed: Iterable[Packed] = ()) -> FloatArray:
    """How much more work the first lane has than the mean one would, if work moved up and nonzeros were ``packed``, [B]."""
    load = np.ones(len(batch))
    for depth in {depth for depth, _ in thinning}:
        load *= np.min([s.load for s in _of_tensors(problem, batch, thinning, depth)], axis=0)
    for each in packed:
        load = load * each.load
    return load


def _of_tensors(problem: Problem, batch: MappingBatch, thinning: Thinning, depth: int) -> list[Thinned]:
    """What is left of a level's spatial loops for every tensor."""
    ones = Thinned(*np.ones((len(_FIELDS), len(batch))))
    return [thinning.get((depth, t), ones) for t in range(len(problem.tensors))]


def within_fanout(problem: Problem, lanes: FloatArray, shares: FloatArray) -> NDArray[np.bool_]:
    """Whether there are as many lanes as spatial loops need, [B]: the shares [S, 2, B] (see :func:`lane_shares`) of ``lanes``
    [B, S, 2], the product of a level's bounds along X and Y."""
    limits = np.array([problem.design.architecture.fanout(depth) for depth in range(lanes.shape[1])])
    fits = np.ones(len(lanes), np.bool_)
    for depth, axis in np.ndindex(limits.shape):
        fits &= np.round(lanes[:, depth, axis] * shares[depth, axis]) <= limits[depth, axis]
    return fits


def check_mapping(
    problem: Problem, mapping: Mapping, stored_leaders: bool = False, unchecked: Iterable[int] = ()
) -> Thinning:
    """Refuse an illegal mapping, lanes that are never needed at once left out; returns what is thinned (B = 1, see
    :func:`thin`). The fan-out of the ``unchecked`` levels is left to the caller.

    Raises MappingError with every fault.
    """
    plausible = tuple(level.level for level in mapping.levels) == problem.design.architecture.names
    known = all(loop.rank in problem.workload.shape and loop.bound >= 1 for loop in mapping.loops)
    if not (plausible and known):
        check(mapping, problem.workload, problem.design.architecture)
    batch = MappingBatch.of(problem, [mapping])
    thinning = thin(problem, batch, stored_leaders)
    shares = lane_shares(problem, batch, thinning)[:, :, 0]
    shares[list(unchecked)] = 0
    check(mapping, problem.workload, problem.design.architecture, [(float(x), float(y)) for x, y in shares])
    return thinning


@dataclass(frozen=True)
class Packed:
    """A position-skipping tensor at a level, [B] each: the most ``lanes`` that can be in use, as a share; mean ``passes`` over
    them, and passes if the tile were full; the mean share of nonzeros. Tiles are boxes of extents ``tile`` [ranks, B] of a
    tensor with ``nonzeros``; its loops make ``width`` lanes."""

    lanes: FloatArray
    passes: FloatArray
    full_passes: FloatArray
    density: FloatArray
    nonzeros: Density
    width: IntArray
    tile: IntArray

    @property
    def load(self) -> FloatArray:
        """How much more work the first lane has than the mean one: that of every pass."""
        full = self.full_passes * self.density
        return np.divide(self.passes, full, out=np.ones_like(full), where=full > 0)

    @property
    def used(self) -> FloatArray:
        """The mean share of lanes in use while there is work, [B]."""

        def working(lanes: int, *tile: int) -> float:
            occupancy, chance = self.nonzeros.occupancy_distribution(tile)
            some = chance[occupancy > 0].sum()
            share = occupancy / (lanes * np.maximum(np.ceil(occupancy / lanes), 1))
            return float(share @ chance / some) if some else 1.0

        return np.array([working(*column) for column in np.stack([self.width, *self.tile]).T.tolist()])


def packing(problem: Problem, batch: MappingBatch, tile: IntArray) -> dict[tuple[int, int], Packed]:
    """Position-skipping tensors by level and number; ``tile`` [B, S + 1, D] are the coordinates of each level's tiles.

    A tile of K nonzeros fills m lanes in ceil(K / m) passes. A loop that indexes several tensors packed at a level makes lanes of
    the first.
    """
    found: dict[tuple[int, int], Packed] = {}
    taken = np.zeros(batch.bound.shape, np.bool_)
    indexes = np.asarray(problem.projections.any(axis=1), np.bool_)
    for saf in problem.design.features.safs:
        if saf.kind == POSITION_SKIPPING:
            t, depth = problem.tensors.index(saf.target), problem.design.architecture.index(saf.level)
            if (depth, t) in found:
                continue
            mine = (batch.place // 3 == depth) & (batch.place % 3 > 0) & indexes[t, batch.rank] & ~taken
            taken |= mine
            width = np.prod(np.where(mine, batch.bound, 1), axis=1)
            density, box = problem.workload.density(saf.target), _box(problem, t, tile[:, depth])
            points = np.prod(box, axis=0)
            most = density.worst_occupancy([np.zeros_like(x) for x in box], box)
            found[depth, t] = Packed(
                np.clip(most, 1, width) / width, _passes(density, width, box), np.ceil(points / width),
                density.expected_occupancy([np.zeros_like(x) for x in box], box) / points, density, width, np.stack(box),
            )  # fmt: skip
    return found


def _passes(density: Density, width: IntArray, box: list[IntArray]) -> FloatArray:
    """Mean of the passes that the nonzeros of tiles take over ``width`` lanes, [B]."""
    if isinstance(density, Exchangeable):
        return density.mean_parts(np.prod(box, axis=0), width)
    distinct, index = np.unique(np.stack([width, *box]), axis=1, return_inverse=True)
    return np.array([_mean_passes(density, *map(int, column)) for column in distinct.T])[index.ravel()]


@lru_cache(maxsize=1 << 16)
def _mean_passes(density: Density, lanes: int, *tile: int) -> float:
    occupancy, chance = density.occupancy_distribution(tile)
    return float(np.ceil(occupancy / lanes) @ chance)


def forget() -> None:
    """Empty what is remembered from one evaluation to the next."""
    _mean_passes.cache_clear()
