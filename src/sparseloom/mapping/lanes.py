"""Spatial skipping: lanes that would be idle take other work, so a nest may have more logical lanes than there are.

A tensor that is kept compressed, or that a ``spatial-skipping`` feature thins by its leaders, needs children only for
elements that are not empty. Source: Timeloop's sparse analysis of spatial instances at ee66b62; thesis 4.9.1 for the
design that uses it (STC).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sparseloom.arch.features import SPATIAL_SKIPPING
from sparseloom.mapping.mapping import Loop, Mapping, check
from sparseloom.mapping.batch import IntArray, Problem


class Thinned(NamedTuple):
    """What is left of a level's spatial loops for a tensor: the mean share of children in use, and of lanes along X and Y
    the most that can be in use at once."""

    used: float = 1.0
    lanes_x: float = 1.0
    lanes_y: float = 1.0


Thinning = dict[tuple[int, int], Thinned]
"""By level and tensor number."""


@dataclass(frozen=True)
class _Placed:
    rank: int
    loop: Loop
    level: int

    @property
    def bound(self) -> int:
        return self.loop.bound


def thin(problem: Problem, mapping: Mapping) -> Thinning:
    """Where a design with spatial skipping thins the spatial loops of a mapping; empty for other designs."""
    safs = [saf for saf in problem.design.features.safs if saf.kind == SPATIAL_SKIPPING]
    if not safs:
        return {}
    number = {rank: d for d, rank in enumerate(problem.ranks)}
    nest = [
        _Placed(number[loop.rank], loop, depth)
        for depth, level in enumerate(mapping.levels)
        for loop in (*level.temporal, *level.spatial)
    ][::-1]
    found: Thinning = {}
    for t, name in enumerate(problem.tensors):
        for depth in range(len(mapping.levels)):
            keeper = next((k for k in range(depth, -1, -1) if name in mapping.levels[k].keep), None)
            if keeper is not None and problem.design.features.format_of(mapping.levels[keeper].level, name):
                found[depth, t] = _thinned(problem, nest, depth, t, None)
    for saf in safs:
        depth = problem.design.architecture.index(saf.level)
        for target, leaders in ((saf.target, saf.leaders), *saf.alternatives):
            t = problem.tensors.index(target)
            held = any(target in level.keep for level in mapping.levels[depth + 1 :])
            shares = [_thinned(problem, nest, depth, problem.tensors.index(x), t if held else None) for x in leaders]
            found[depth, t] = Thinned(*(math.prod(column) for column in zip(*shares, strict=True)))
    return found


def _thinned(problem: Problem, nest: list[_Placed], depth: int, source: int, target: int | None) -> Thinned:
    """How far the nonempty elements of ``source`` thin the spatial loops of a level, for a follower ``target`` that is held
    further in."""
    indexes = problem.projections.any(axis=1)
    used, lanes, first = 1.0, {"X": 1.0, "Y": 1.0}, True
    element = np.ones(len(problem.ranks), np.int64)
    for i, placed in enumerate(nest):
        fiber = element.copy()
        fiber[placed.rank] *= placed.bound
        here = placed.level == depth and placed.loop.axis and placed.bound > 1
        if here and indexes[source, placed.rank]:
            whole, part = fiber.copy(), element.copy()
            if target is not None and indexes[target, placed.rank]:
                for wider in nest[i + 1 :]:
                    moves = not wider.loop.axis and wider.bound > 1 and indexes[target, wider.rank]
                    if wider.level < depth or moves:
                        break
                    if not wider.loop.axis:
                        whole[wider.rank] *= wider.bound
                        part[wider.rank] *= wider.bound
            if first:
                used, first = 1 - _empty(problem, source, part), False
            lanes[placed.loop.axis] *= _most_elements(problem, source, whole, part) / placed.bound
        element = fiber
    return Thinned(used, lanes["X"], lanes["Y"])


def _box(problem: Problem, t: int, extents: IntArray) -> list[int]:
    shape = problem.workload.density(problem.tensors[t]).tensor_shape
    box = problem.projections[t][: len(shape)] @ (np.minimum(extents, problem.shape) - 1) + 1
    return [int(x) for x in box]


def _empty(problem: Problem, t: int, extents: IntArray) -> float:
    """P(a tile of these coordinates is empty), over all its places where they matter."""
    density, box = problem.workload.density(problem.tensors[t]), _box(problem, t, extents)
    if not density.coordinate_dependent:
        return float(density.empty_probability([0] * len(box), box))
    occupancies, chances = density.occupancy_distribution(box)
    return float(chances[occupancies == 0].sum())


def _most_elements(problem: Problem, t: int, fiber: IntArray, element: IntArray) -> int:
    """Elements of a fiber that can be nonempty at once."""
    whole, part = _box(problem, t, fiber), _box(problem, t, element)
    worst = int(problem.workload.density(problem.tensors[t]).worst_occupancy([0] * len(whole), whole))
    return min(math.prod(whole) // math.prod(part), worst)


def lane_shares(problem: Problem, thinning: Thinning) -> list[tuple[float, float]]:
    """For each level, the share of its spatial loops along X and Y that the tensor thinned least needs lanes for."""
    tensors = range(len(problem.tensors))
    found = []
    for depth in range(len(problem.design.architecture.levels)):
        here = [thinning.get((depth, t), Thinned()) for t in tensors]
        found.append((max(s.lanes_x for s in here), max(s.lanes_y for s in here)))
    return found


def check_mapping(problem: Problem, mapping: Mapping) -> Thinning:
    """Refuse an illegal mapping, lanes that are never needed at once left out; returns what is thinned.

    Raises MappingError with every fault.
    """
    levels = problem.design.architecture.names
    plausible = tuple(level.level for level in mapping.levels) == levels
    known = all(loop.rank in problem.workload.shape for loop in mapping.loops)
    thinning = thin(problem, mapping) if plausible and known else {}
    check(mapping, problem.workload, problem.design.architecture, lane_shares(problem, thinning))
    return thinning
