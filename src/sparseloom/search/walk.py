"""The mappings of a mapspace one after the other, all evaluated in full: a search without bounds, for what one evaluation costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sparseloom.mapping.batch import MappingBatch
from sparseloom.mapping.mapping import Mapping
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import Tree
from sparseloom.model.batch import CHUNK, in_chunks
from sparseloom.search.mapper import fitting
from sparseloom.search.objective import objective


@dataclass(frozen=True)
class Walk:
    """How many mappings were ``evaluated``, how many of them are ``valid``, and of these the best ``mapping`` (None: there is none)
    with its ``value`` of the objective."""

    evaluated: int
    valid: int
    value: float
    mapping: Mapping | None


def walk(space: Mapspace, goal: str = "edp", most: int = CHUNK) -> Walk:
    """Evaluate the mappings of a mapspace in full, ``most`` of them at most, and keep the best. Those whose data cannot fit are
    dropped as soon as it is seen; of the others it is seen when they are evaluated, and they are not valid."""
    done, problem, of = Walk(0, 0, np.inf, None), space.problem, objective(goal).of
    for batch in _batches(space):
        some = batch[: most - done.evaluated]
        for start, found in zip(range(0, len(some), CHUNK), in_chunks(problem, some), strict=True):
            values = np.where(found.valid, of(found.energy_pj, found.cycles), np.inf)
            best = int(values.argmin())
            counts = done.evaluated + len(values), done.valid + int(found.valid.sum())
            if values[best] < done.value:
                done = Walk(*counts, float(values[best]), some.mapping(problem, start + best))
            else:
                done = Walk(*counts, done.value, done.mapping)
        if done.evaluated == most:
            break
    return done


def _batches(space: Mapspace) -> Iterator[MappingBatch]:
    """The mappings whose data may fit, a chunk at a time."""
    tree = Tree(space)
    for keep in space.keeps:
        left, ready, many = [(0, tree.root)], list[MappingBatch](), 0
        while left:
            settled, prefixes = left.pop()
            prefixes = prefixes[fitting(tree, keep, settled, prefixes)]
            settled = tree.complete[prefixes.stage]
            if not len(prefixes):
                continue
            if prefixes.stage < len(tree.stages):
                left += [(settled, longer) for _, _, longer, _ in tree.following(prefixes)]
                continue
            ready.append(tree.batch(prefixes, keep))
            many += len(prefixes)
            if many >= CHUNK:
                yield MappingBatch.joined(ready)
                ready, many = [], 0
        if ready:
            yield MappingBatch.joined(ready)
