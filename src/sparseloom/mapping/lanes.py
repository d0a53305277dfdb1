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
from sparseloom.fibertree.distinct import distinct
from sparseloom.kernel import kernel
from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch, Problem, extents_of
from sparseloom.mapping.mapping import Mapping, check
from sparseloom.memory import forgotten

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
    depths = range(len(batch.keep)) if stored_leaders else skipping

    @cache
    def thinned(depth: int, source: int, target: int | None) -> Thinned:
        return _thinned(problem, batch, depth, source, target)

    for t, name in enumerate(problem.tensors):
        for depth in depths:
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


def _thinned(problem: Problem, batch: MappingBatch, depth: int, source: int, target: int | None) -> Thinned:
    """How far the nonempty elements of ``source`` thin the spatial loops of a level, for a follower ``target`` that is held
    further in."""
    indexes = np.asarray(problem.projections.any(axis=1), np.bool_)
    follower = indexes[target] if target is not None else np.zeros_like(indexes[source])
    count, ranks = len(batch), len(problem.ranks)
    table = np.empty((3 + 2 * ranks, batch.bound.size), np.int64)
    found, ends = _list_lanes(batch.rank, batch.bound, batch.place, depth, indexes[source], follower, table)
    used, some, lanes = np.ones(count), np.ones(count), np.ones((2, count))
    if found:
        mapping, kind, bound = table[:3, :found]
        whole, part = table[3 : 3 + ranks, :found], table[3 + ranks :, :found]
        outermost, innermost = ends
        used[mapping[innermost]] = 1 - _empty(problem, source, part[:, innermost])
        some[mapping[outermost]] = 1 - _empty(problem, source, whole[:, outermost])
        shares = np.minimum(_most_elements(problem, source, whole, part) / bound, 1)
        np.multiply.at(lanes, (kind - 1, mapping), shares)
    return Thinned(used, lanes[0], lanes[1], np.divide(some, used, out=np.ones(count), where=used > 0))


@kernel
def _list_lanes(
    rank: IntArray, bound: IntArray, place: IntArray, depth: int, indexed: BoolArray, follower: BoolArray, table: IntArray
) -> tuple[int, IntArray]:  # fmt: skip
    """Write a column of ``table`` [3 + 2 D, N] for each spatial loop of a level over an ``indexed`` rank, outermost first: its
    mapping, kind and bound, the coordinates of each rank that it covers with what is inside it, and those of one of its
    iterations. Where a loop is over a rank of the ``follower``, temporal loops of the level count that lie outside it but
    repeat what the follower holds. Returns how many there are, and the columns of the outermost and innermost ones, [2, M]."""
    found, ended, ranks = 0, 0, len(indexed)
    ends = np.empty((2, len(bound)), np.int64)
    inside, wide = np.empty(ranks, np.int64), np.empty(ranks, np.int64)
    for b in range(len(bound)):
        inside[:] = wide[:] = 1
        ends[0, ended] = found
        for i in range(bound.shape[1]):
            if place[b, i] // 3 >= depth:
                inside[rank[b, i]] *= bound[b, i]
        for i in range(bound.shape[1]):
            d, kind = rank[b, i], place[b, i] % 3
            if place[b, i] // 3 != depth or bound[b, i] == 1:
                continue
            listed = kind > 0 and indexed[d]
            for k in range(ranks if listed else 0):
                table[3 + k, found] = inside[k] * (wide[k] if follower[d] else 1)
            inside[d] //= bound[b, i]
            if listed:
                table[0, found], table[1, found], table[2, found] = b, kind, bound[b, i]
                for k in range(ranks):
                    table[3 + ranks + k, found] = inside[k] * (wide[k] if follower[d] else 1)
                found += 1
            elif kind == 0 and follower[d]:
                wide[:] = 1
            elif kind == 0:
                wide[d] *= bound[b, i]
        if found > ends[0, ended]:
            ends[1, ended] = found - 1
            ended += 1
    return found, ends[:, :ended]


def _box(problem: Problem, t: int, extents: IntArray) -> IntArray:
    """Extents [ranks, N] of the tensor's box over coordinates [D, N] of the iteration ranks."""
    return np.asarray(extents_of(problem.projection(t), np.minimum(extents, problem.shape[:, None])))


def _empty(problem: Problem, t: int, extents: IntArray) -> FloatArray:
    """P(a tile of these coordinates [D, N] is empty), over all its places where they matter."""
    density, box = problem.densities[t], _box(problem, t, extents)
    if not density.coordinate_dependent:
        return density.empty_probability(np.zeros(box.shape, np.int64), box)
    return _over_distinct(density, box, lambda occupancies, chances: float(chances[occupancies == 0].sum()))


def _over_distinct(density: Density, box: IntArray, of: Callable[[IntArray, FloatArray], float]) -> FloatArray:
    """A number of the occupancy distribution of each box, computed once for each shape."""
    first, index = distinct(box)
    numbers = np.array([of(*density.occupancy_distribution(shape)) for shape in box[:, first].T.tolist()], np.float64)
    return np.asarray(numbers[index])


def _most_elements(problem: Problem, t: int, fiber: IntArray, element: IntArray) -> FloatArray:
    """Elements of a fiber that can be nonempty at once."""
    whole, part = _box(problem, t, fiber), _box(problem, t, element)
    return np.asarray(problem.densities[t].most_nonempty(whole, part), np.float64)


def lane_shares(problem: Problem, batch: MappingBatch, thinning: Thinning) -> FloatArray:
    """For each level, the share of its spatial loops along X and Y that the tensor thinned least needs lanes for, [S, 2, B]."""
    shares = np.ones((len(batch.keep), 2, len(batch)))
    for depth in {depth for depth, _ in thinning}:
        here = _of_tensors(problem, batch, thinning, depth)
        shares[depth] = np.maximum.reduce([(s.lanes_x, s.lanes_y) for s in here])
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
    return np.asarray(_within(lanes, shares, limits))


@kernel
def _within(lanes: FloatArray, shares: FloatArray, limits: IntArray) -> NDArray[np.bool_]:
    fits = np.ones(len(lanes), np.bool_)
    for b in range(len(lanes)):
        for depth in range(len(limits)):
            for axis in range(2):
                fits[b] &= np.round(lanes[b, depth, axis] * shares[depth, axis, b]) <= limits[depth, axis]
    return fits


def check_mapping(
    problem: Problem, mapping: Mapping, stored_leaders: bool = False, unchecked: Iterable[int] = ()
) -> tuple[MappingBatch, Thinning]:
    """Refuse an illegal mapping, lanes that are never needed at once left out; returns it as a batch of one, and what is thinned
    (see :func:`thin`). The fan-out of the ``unchecked`` levels is left to the caller.

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
    check(mapping, problem.workload, problem.design.architecture, [(x, y) for x, y in shares.tolist()])
    return batch, thinning


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
    if not any(saf.kind == POSITION_SKIPPING for saf in problem.design.features.safs):
        return found
    taken = np.zeros(batch.bound.shape, np.bool_)
    indexes = np.asarray(problem.projections.any(axis=1), np.bool_)
    for saf in problem.design.features.safs:
        if saf.kind == POSITION_SKIPPING:
            t, depth = problem.tensors.index(saf.target), problem.design.architecture.index(saf.level)
            if (depth, t) in found:
                continue
            width = _take_lanes(batch.rank, batch.bound, batch.place, depth, indexes[t], taken)
            density, box = problem.workload.density(saf.target), _box(problem, t, tile[:, depth].T)
            points = np.prod(box, axis=0)
            most = density.worst_occupancy(np.zeros(box.shape, np.int64), box)
            found[depth, t] = Packed(
                np.clip(most, 1, width) / width, _passes(density, width, box), np.ceil(points / width),
                density.expected_occupancy(np.zeros(box.shape, np.int64), box) / points, density, width, box,
            )  # fmt: skip
    return found


@kernel
def _take_lanes(
    rank: IntArray, bound: IntArray, place: IntArray, depth: int, indexed: BoolArray, taken: BoolArray
) -> IntArray:
    """Take a level's spatial loops over ``indexed`` ranks that are not ``taken`` yet; returns their lanes, [B]."""
    width = np.ones(len(bound), np.int64)
    for b in range(len(bound)):
        for i in range(bound.shape[1]):
            if place[b, i] // 3 == depth and place[b, i] % 3 > 0 and indexed[rank[b, i]] and not taken[b, i]:
                width[b] *= bound[b, i]
                taken[b, i] = True
    return width


def _passes(density: Density, width: IntArray, box: IntArray) -> FloatArray:
    """Mean of the passes that the nonzeros of tiles take over ``width`` lanes, [B]."""
    if isinstance(density, Exchangeable):
        return density.mean_parts(np.prod(box, axis=0), width)
    keys = np.stack([width, *box])
    first, index = distinct(keys)
    return np.array([_mean_passes(density, *column) for column in keys[:, first].T.tolist()])[index]


@forgotten
@lru_cache(maxsize=1 << 16)
def _mean_passes(density: Density, lanes: int, *tile: int) -> float:
    occupancy, chance = density.occupancy_distribution(tile)
    return float(np.ceil(occupancy / lanes) @ chance)
