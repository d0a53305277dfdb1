"""Random mappings as arrays: all factorisations and loop orders that a design's fan-outs allow, perfect and imperfect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.mapping import Mapping

IntArray = NDArray[np.int64]


def draw(problem: Problem, like: Mapping, count: int, imperfect: float, rng: np.random.Generator) -> MappingBatch:
    """``count`` pairwise different mappings that keep what ``like`` keeps.

    Every level has a temporal loop over every rank, and a spatial one along each axis that has children. Of each rank, the
    prime factors are thrown on these places (perfect), or, for a share ``imperfect`` of the ranks, random bounds are drawn
    from the inside out (imperfect). Spatial bounds beyond the fan-out are drawn again; loops are ordered at random.
    """
    levels = problem.design.architecture.levels
    places = np.array(
        [
            3 * depth + kind
            for depth in range(len(levels))
            for kind in (0, 1, 2)
            if kind == 0 or _fans(problem, depth, kind)
        ]
    )
    found: list[tuple[IntArray, IntArray]] = []
    seen: set[bytes] = set()
    while len(found) < count:
        bounds = np.stack(
            [_factors(int(size), len(places), 4 * count, imperfect, rng) for size in problem.shape], axis=2
        )
        for b in np.flatnonzero(_fits(problem, places, bounds)):
            order = np.argsort(rng.random(bounds[b].shape), axis=1)
            key = bounds[b].tobytes() + np.where(np.take_along_axis(bounds[b], order, 1) > 1, order, -1).tobytes()
            if key not in seen and len(found) < count:
                seen.add(key)
                found.append((bounds[b], order))
    return _batch(problem, like, places, found)


def _fans(problem: Problem, depth: int, kind: int) -> bool:
    return problem.design.architecture.fanout(depth)[kind - 1] > 1


def _factors(size: int, places: int, count: int, imperfect: float, rng: np.random.Generator) -> IntArray:
    """Bounds [count, places], outermost first, that cover ``size`` and waste no iteration."""
    bounds = np.ones((count, places), np.int64)
    rest, prime = size, 2
    while rest > 1:
        if rest % prime:
            prime += 1
            continue
        rest //= prime
        bounds[np.arange(count), rng.integers(places, size=count)] *= prime
    odd = rng.random(count) < imperfect
    left = np.full(count, size)
    for place in range(places - 1, -1, -1):
        drawn = np.where(rng.random(count) < 0.5, 1, rng.integers(1, np.minimum(left, 16) + 1))
        bounds[odd, place] = drawn[odd] if place else left[odd]
        left = -(-left // np.where(odd, bounds[:, place], 1))
    return bounds


def _fits(problem: Problem, places: IntArray, bounds: IntArray) -> NDArray[np.bool_]:
    fits = np.ones(len(bounds), np.bool_)
    for k, place in enumerate(places):
        if place % 3:
            fanout = problem.design.architecture.fanout(int(place) // 3)[place % 3 - 1]
            fits &= bounds[:, k].prod(axis=1) <= fanout
    return fits


def _batch(problem: Problem, like: Mapping, places: IntArray, found: list[tuple[IntArray, IntArray]]) -> MappingBatch:
    bounds = np.stack([bound for bound, _ in found])
    order = np.stack([order for _, order in found])
    sorted_bounds = np.take_along_axis(bounds, order, 2)
    count, slots = len(found), bounds.shape[1] * bounds.shape[2]
    place = np.broadcast_to(np.repeat(places, bounds.shape[2]), (count, slots)).copy()
    kept = MappingBatch.of(problem, [like])
    return MappingBatch(order.reshape(count, slots), sorted_bounds.reshape(count, slots), place, kept.keep, kept.stream)
