"""How long instances wait for each other at a barrier: a tile takes as long as the slowest of them does.

Of known tensors the slowest instance of every tile is counted. Of random ones its time is a mean: the time of an instance has the
mean and the variance that follow from the tiles of its operands, and is taken to have the binomial distribution with these that
reaches from none to the time of full tiles; instances are taken to be independent of each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import SKIPPING, SPATIAL_SKIPPING
from sparseloom.fibertree.density import Density
from sparseloom.fibertree.distinct import distinct
from sparseloom.kernel import inlined, kernel
from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch, Problem, extents_of, of_problem
from sparseloom.mapping.lanes import Packed
from sparseloom.memory import forgotten

FloatArray = NDArray[np.float64]

Packings = Mapping[tuple[int, int], Packed]
"""Packed tensors by level and number."""


def longest(busy: FloatArray, instance: IntArray, step: IntArray) -> float:
    """The most ``busy`` computes that one instance has within a step, over all steps: of each compute its ``instance`` and its
    ``step``, [N]."""
    (steps, _), cell = np.unique(np.stack([step, instance]), axis=1, return_inverse=True)
    each = np.bincount(cell.ravel(), busy)
    _, begin = np.unique(steps, return_index=True)
    return float(np.maximum.reduceat(each, begin).sum())


@dataclass(frozen=True)
class _Operand:
    """What one operand makes the steps of an instance take, for B mappings: its mean as a ``share`` of the most [B], and its
    variance over the squared mean, ``error`` [B]; the loops [B, L] that lead to another tile of it at every step of an
    instance (``steps``), and those that lead to another instance's (``spread``)."""

    share: FloatArray
    error: FloatArray
    steps: BoolArray
    spread: BoolArray


def waiting(problem: Problem, batch: MappingBatch, tile: IntArray, packed: Packings) -> FloatArray:
    """The time of the slowest instance over that of the mean one, for a tile of the level with the barrier, [B]; 1 without one.

    ``tile`` [B, S + 1, D] are the coordinates of each level's tiles. The time of an instance is a sum over its steps of products
    of what each operand makes them take: 0 or 1 for single elements, passes over lanes for packed tiles. Where these vary
    independently from tile to tile, the variance of the sum over its squared mean is that of the product of some operands' errors
    over the number of tiles of them that the steps see, added up over all sets of operands (the analysis of variance).
    """
    found = _operands(problem, batch, tile, packed) if problem.design.architecture.barrier else []
    if not found:
        return np.ones(len(batch))
    variance = np.zeros(len(batch))
    for count in range(1, len(found) + 1):
        for some in combinations(found, count):
            error = np.prod([each.error for each in some], axis=0)
            tiles = _product(batch.bound, np.any([each.steps for each in some], axis=0))
            apart = _product(batch.bound, np.any([each.spread for each in some], axis=0)) > 1
            variance += np.where(apart, error / tiles, 0.0)
    spread = np.any([each.spread & (each.error > 0)[:, None] for each in found], axis=0)
    share = np.prod([each.share for each in found], axis=0)
    return slowest(_product(batch.bound, spread), share, variance)


def slowest(instances: IntArray, share: FloatArray, variance: FloatArray) -> FloatArray:
    """The expected time of the slowest of so many ``instances`` over the mean time, [B]: the mean is a ``share`` of the longest
    time that is possible, the ``variance`` one over the squared mean."""
    table = np.stack([instances, share.view(np.int64), variance.view(np.int64)])
    first, which = distinct(table)
    return np.asarray(_slowest(instances[first], share[first], variance[first])[which])


FAR = 32.0
"""Standard deviations of a binomial from which on it is as good as continuous."""


@kernel
def _slowest(instances: IntArray, share: FloatArray, variance: FloatArray) -> FloatArray:
    """As :func:`slowest`, one by one."""
    found = np.ones(len(share))
    for b in range(len(share)):
        if instances[b] <= 1 or variance[b] <= 0 or not 0 < share[b] < 1:
            continue
        trials = max((1 - share[b]) / share[b] / variance[b], 1.0)
        if np.sqrt(trials * share[b] * (1 - share[b])) > FAR:
            found[b] = _most_of_many(instances[b], trials, share[b]) / (trials * share[b])
            continue
        few, part = np.floor(trials), trials % 1
        found[b] = (1 - part) * _most_of_binomial(instances[b], few, share[b]) / (few * share[b])
        if part > 0:
            found[b] += part * _most_of_binomial(instances[b], few + 1, share[b]) / ((few + 1) * share[b])
    return found


@inlined
def _most_of_binomial(instances: int, trials: float, chance: float) -> float:
    """The mean of the largest of so many independent numbers with a binomial distribution: the sum of the chances that it is more
    than 0, 1, ... Weights follow from that of the likeliest number, one after the other."""
    spread, mode = np.sqrt(trials * chance * (1 - chance)), min(np.floor((trials + 1) * chance), trials)
    begin, end = max(0.0, np.floor(mode - 9 * spread - 20)), min(trials, np.ceil(mode + 9 * spread + 20))
    weights, odds = np.empty(int(end - begin) + 1), chance / (1 - chance)
    weights[int(mode - begin)] = total = 1.0
    for k in range(int(mode - begin), int(end - begin)):
        weights[k + 1] = weights[k] * (trials - begin - k) / (begin + k + 1) * odds
        total += weights[k + 1]
    for k in range(int(mode - begin), 0, -1):
        weights[k - 1] = weights[k] * (begin + k) / (trials - begin - k + 1) / odds
        total += weights[k - 1]
    found: float = begin
    up_to = 0.0
    for k in range(int(end - begin)):
        up_to += weights[k]
        found += 1 - min(up_to / total, 1.0) ** instances
    return found


@inlined
def _most_of_many(instances: int, trials: float, chance: float) -> float:
    """As :func:`_most_of_binomial` for a large spread and any number of ``trials``: as of a density, by Stirling's series, which is
    integrated by cubics through points an eighth of the spread apart."""
    spread, mean = np.sqrt(trials * chance * (1 - chance)), trials * chance
    step, before = spread / 8, 9 * 8
    density, total = np.zeros(2 * before + 1), 0.0
    for i in range(len(density)):
        at = mean + (i - before) * step
        other = trials - at
        if at > 0.5 and other > 0.5:
            exponent = at * np.log(mean / at) + other * np.log((trials - mean) / other)
            density[i] = np.exp(exponent - (1 / at + 1 / other) / 12) / np.sqrt(at * other)
        total += density[i]
    found: float = mean - (before - 1.5) * step
    up_to = 0.0
    for i in range(1, len(density) - 2):
        up_to += (13 * (density[i] + density[i + 1]) - density[i - 1] - density[i + 2]) / 24
        found += step * (1 - min(up_to / total, 1.0) ** instances)
    return found


def _operands(problem: Problem, batch: MappingBatch, tile: IntArray, packed: Packings) -> list[_Operand]:
    """The random operands whose zeros spare cycles."""
    barrier, depths = problem.design.architecture.barrier, len(batch.keep)
    level, temporal = batch.place // 3, batch.place % 3 == 0
    indexed = np.asarray(problem.projections.any(axis=1), np.bool_)
    lanes = ~temporal & ~np.isin(level, _thinned(problem))
    for depth, t in packed:
        lanes &= (level != depth) | ~indexed[t][batch.rank]
    found = list[_Operand]()
    for t in sorted(_leaders(problem) | {t for _, t in packed}):
        density, loops = problem.densities[t], indexed[t][batch.rank]
        if density.certain:
            continue
        box = np.asarray(extents_of(problem.projection(t), np.minimum(tile[:, barrier].T, problem.shape[:, None])))
        at, own = next(((depth, each) for (depth, name), each in packed.items() if name == t), (depths, None))
        steps = loops & temporal & (level >= barrier) & (level < at)
        if own is None:
            share, error = _over_distinct(density, np.ones(len(batch), np.int64), box)
            error = error * _product(batch.bound, steps)
        else:
            share, error = _over_distinct(density, own.width, own.tile)
            # the tiles of all instances make up the tensor, whose nonzeros are given
            error = error * (1 - np.prod(box, axis=0) / np.prod(density.tensor_shape))
        found.append(_Operand(share, error, steps, lanes & loops))
    return found


@of_problem
def _thinned(problem: Problem) -> list[int]:
    safs = (saf for saf in problem.design.features.safs if saf.kind == SPATIAL_SKIPPING)
    return sorted({problem.design.architecture.index(saf.level) for saf in safs})


@of_problem
def _leaders(problem: Problem) -> frozenset[int]:
    """The operands that lead some skipping."""
    ways = (way for saf in problem.design.features.safs if saf.kind in (SKIPPING, SPATIAL_SKIPPING) for way in saf.ways)
    names = {name for _, leaders in ways for name in leaders}
    return frozenset(t for t, name in enumerate(problem.tensors[:-1]) if name in names)


def _over_distinct(density: Density, lanes: IntArray, box: IntArray) -> tuple[FloatArray, FloatArray]:
    """The mean as a share of the most, and the variance over the squared mean, of the passes that the nonzeros of tiles with
    extents ``box`` [R, B] take over ``lanes`` [B], [B] each."""
    keys = np.stack([lanes, *box])
    first, which = distinct(keys)
    found = np.array([_moments(density, *column) for column in keys[:, first].T.tolist()])[which]
    return found[:, 0], found[:, 1]


@forgotten
@lru_cache(maxsize=1 << 16)
def _moments(density: Density, lanes: int, *tile: int) -> tuple[float, float]:
    occupancy, chance = density.occupancy_distribution(tile)
    passes = np.ceil(occupancy / lanes)
    mean = float(passes @ chance)
    variance = float((passes - mean) ** 2 @ chance)
    return mean / np.ceil(np.prod(tile) / lanes), variance / mean**2 if mean else 0.0


def _product(bounds: IntArray, some: BoolArray) -> IntArray:
    return np.asarray(np.where(some, bounds, 1).prod(axis=1))
