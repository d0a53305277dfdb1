"""The mappings of a mapspace one after the other, all evaluated in full: a search without bounds, for what one evaluation costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import BoolArray, MappingBatch
from sparseloom.mapping.choices import Chosen
from sparseloom.mapping.mapping import Mapping
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import Prefixes, Tree
from sparseloom.model.batch import CHUNK, in_chunks
from sparseloom.model.room import tiles_fit
from sparseloom.search.objective import objective

FloatArray = NDArray[np.float64]


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
        (found,) = in_chunks(problem, some)
        values = np.where(found.valid, of(found.energy_pj, found.cycles), np.inf)
        best = int(values.argmin())
        counts = done.evaluated + len(values), done.valid + int(found.valid.sum())
        if values[best] < done.value:
            done = Walk(*counts, float(values[best]), some.mapping(problem, best))
        else:
            done = Walk(*counts, done.value, done.mapping)
        if done.evaluated == most:
            break
    return done


def _batches(space: Mapspace) -> Iterator[MappingBatch]:
    """The mappings whose data may fit, :data:`CHUNK` at a time."""
    tree = Tree(space)
    for keep in space.keeps:
        ready, many = list[MappingBatch](), 0
        for batch in fitting_mappings(tree, keep):
            ready.append(batch)
            many += len(batch)
            while many >= CHUNK:
                all_ready = MappingBatch.joined(ready)
                yield all_ready[:CHUNK]
                ready, many = [all_ready[CHUNK:]], many - CHUNK
        if many:
            yield MappingBatch.joined(ready)


def fitting_mappings(tree: Tree, keep: BoolArray) -> Iterator[MappingBatch]:
    """The mappings of a tree, made of choices of bounds whose data may fit."""
    fits = [_fitting(tree, keep, stage) for stage in range(len(tree.stages) + 1)]

    def promising(some: Chosen) -> FloatArray:
        stage = some.choices.stage
        return np.where(tree.parallel(stage, some.lanes) & fits[stage][some.choices.number], 0.0, np.inf)

    def following(prefixes: Prefixes) -> Iterator[MappingBatch]:
        if prefixes.stage == len(tree.stages):
            yield tree.batch(prefixes, keep)
            return
        for _, _, longer, _ in tree.following(prefixes, promising):
            yield from following(longer)

    if fits[0].all():
        yield from following(tree.root)


def _fitting(tree: Tree, keep: BoolArray, stage: int) -> BoolArray:
    """Whether data and metadata can fit at the levels that have all of their loops outside at a stage, and not at the one before,
    by the number of the tile that is left. With imperfect bounds metadata depends on where tiles are cut, and is left open."""
    before = tree.complete[stage - 1] if stage else -1
    depths = range(before + 1, min(tree.complete[stage], len(keep) - 1) + 1)
    return tiles_fit(tree.space.problem, keep, depths, tree.grid(stage).smallest, metadata=not tree.space.imperfect)
