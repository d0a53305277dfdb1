"""What eliminates transfers of an average instance, with which chance (conventions ``target-loop`` and alternatives).

Source: Timeloop at ee66b62 (2022-07-21) and the outputs of the MICRO 2022 artifact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sparseloom.arch.features import GATING, SKIPPING, SPATIAL_SKIPPING, Saf
from sparseloom.fibertree.density import ActualData
from sparseloom.model.edge import Wanted
from sparseloom.model.energy import action_energy
from sparseloom.model.occupancy import Piece, stored_words
from sparseloom.model.path import Path, paths_of
from sparseloom.model.plan import positions
from sparseloom.model.targetloop import leader_tiles

if TYPE_CHECKING:
    from sparseloom.model.average import AverageInstance


@dataclass(frozen=True)
class Elimination:
    """A feature at work: ``chance`` that a transfer of ``target`` at ``level`` is lost, because of ``leaders``."""

    level: int
    target: int
    kind: str
    chance: float
    leaders: tuple[int, ...]


@dataclass(frozen=True)
class Eliminations:
    """The features of a design at work on an average instance."""

    average: AverageInstance

    @cached_property
    def at_work(self) -> dict[tuple[int, int], Elimination]:
        """The feature that acts on each tensor at each level: skipping over gating, of one kind the larger chance."""
        found: dict[tuple[int, int], Elimination] = {}
        for kind in (GATING, SKIPPING):
            for saf in self.average.problem.design.features.safs:
                if saf.kind == kind:
                    best = self._best(saf)
                    key = (best.level, best.target)
                    if key not in found or found[key].kind != kind or best.chance > found[key].chance:
                        found[key] = best
        return found

    def _best(self, saf: Saf) -> Elimination:
        """The alternative that saves most energy; the last of equals."""
        options = [self._elimination(saf, pair) for pair in saf.ways]
        return max(reversed(options), key=self._saving) if len(options) > 1 else options[0]

    def _saving(self, option: Elimination) -> float:
        """Energy of the reads that an alternative saves: of the words that go to the child, and of metadata in
        words."""
        storage = self.average.problem.design.architecture.levels[option.level]
        child = self.average.child(option.level, option.target)
        tile = self.average.tiles[child if child < self.average.levels else option.level, option.target]
        read = action_energy(
            self.average.conventions, storage.energy, self.average.details.ert.get(storage.name), "read", "actual"
        )
        metadata = (
            float(tile.units.sum()) * self.average.details.levels[storage.name].metadata_word_bits / storage.word_bits
        )
        return read / storage.block_words * (tile.words + metadata) * option.chance

    def _elimination(self, saf: Saf, pair: tuple[str, tuple[str, ...]]) -> Elimination:
        names = self.average.problem.tensors
        target, leaders = names.index(pair[0]), tuple(names.index(name) for name in pair[1])
        level = self.average.problem.design.architecture.index(saf.level)
        parent = level if self.average.batch.keep[level, target] else self.average.parent(level, target)
        assert parent is not None
        if any(isinstance(self.average.density(t), ActualData) for t in (target, *leaders)):
            return Elimination(parent, target, saf.kind, self._counted_chance(saf, pair), leaders)
        block_words = self.average.problem.design.architecture.levels[parent].block_words
        tiles = leader_tiles(
            self.average.loops, self.average.problem.projections, self.average.indexes, target, leaders, parent,
            self.average.child(level, target), self.average.levels, block_words, self.average.dimensions,
        )  # fmt: skip
        survival = math.prod(1 - self.average.empty_chance(t, extents) for t, extents in tiles.items())
        return Elimination(parent, target, saf.kind, 1 - survival, leaders)

    def _counted_chance(self, saf: Saf, pair: tuple[str, tuple[str, ...]]) -> float:
        """The share of stored words that the feature eliminates, counted in the actual tensors."""
        alone = Saf(saf.level, SKIPPING, *pair)
        paths = paths_of(self.average.problem, self.average.batch.keep, [alone])[
            self.average.problem.tensors.index(pair[0])
        ]
        judged: Path = next(path for path in paths if path.judges)
        form, density = (
            self.average.problem.format_of(judged.edge.parent, judged.tensor),
            self.average.density(judged.tensor),
        )
        compressed, ranks = bool(form and form.compressed), len(self.average.problem.rank_names(judged.tensor))
        involved = {judged.tensor, *(t for judge in judged.judges for t in judge.leaders)}
        wanted = Wanted(judges=(judged.edge,), positions=positions(self.average.problem, involved))
        stored = left = 0.0
        for rows in self.average.work.source.transfers(judged.edge, wanted):
            piece = Piece.of(rows.box, rows.overlap if judged.edge.hold else None, ranks)
            words = rows.groups * stored_words(density, compressed, piece)
            stored += float(words.sum())
            left += float(words @ self.average.work.survival(judged, rows)[:, -1])
        return 1 - left / stored if stored else 0.0

    def acting(self, t: int) -> list[tuple[int, str, float]]:
        """(level, kind, chance) of all that eliminates transfers of a tensor, outermost first."""
        found = [(depth, e.kind, e.chance) for (depth, tensor), e in self.at_work.items() if tensor == t]
        for saf in self.average.problem.design.features.safs:
            if saf.kind == SPATIAL_SKIPPING and saf.target == self.average.problem.tensors[t]:
                depth = self.average.problem.design.architecture.index(saf.level)
                found.append((depth, SPATIAL_SKIPPING, 1 - float(self.average.spatial[depth, t].used[0])))
        return sorted(found)

    def leaders(self, t: int) -> tuple[int, ...]:
        """Leaders of the innermost feature on an operand."""
        found = [(e.level, e.leaders) for (_, tensor), e in self.at_work.items() if tensor == t]
        names = self.average.problem.tensors
        for saf in self.average.problem.design.features.safs:
            if saf.kind == SPATIAL_SKIPPING and saf.target == names[t]:
                leaders = tuple(names.index(name) for name in saf.leaders)
                found.append((self.average.problem.design.architecture.index(saf.level), leaders))
        return max(found)[1] if found else ()
