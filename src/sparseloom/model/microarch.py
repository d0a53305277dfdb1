"""Step three: what the sparse traffic costs on the hardware, in energy and cycles, and whether the tiles fit.

All numbers are arrays over a batch of B mappings. Their meaning is docs/oracle.md, sections 7 and 8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.actions import DATA_ACTIONS, OUTCOMES
from sparseloom.arch.hierarchy import StorageLevel
from sparseloom.model.gather import ACTUAL, BITS, BLOCKS, REACHING, UNSKIPPED, WORDS, Moved
from sparseloom.model.sparse import Tiles
from sparseloom.results.actions import Outcomes

FloatArray = NDArray[np.float64]

Energy = Callable[[str, str], float]
"""Energy in pJ of an action with an outcome."""

Prices = Mapping[str, FloatArray]
"""Energies [2 x 4] by action: see :func:`prices_of`."""

PORTS = ("read", "write", "shared")


@dataclass(frozen=True)
class Share:
    """What one tensor does at one level: what moves by action, ``None`` for an action that does not occur, and what is
    held of it. ``instances`` [B] are those used on average."""

    read: Moved | None
    fill: Moved | None
    update: Moved | None
    tiles: Tiles
    instances: FloatArray
    streamed: bool = False

    def moved(self, action: str) -> Moved | None:
        moved: Moved | None = getattr(self, action)
        return moved


@dataclass(frozen=True)
class LevelCost:
    """Energy of each tensor [B], the cycles that each of :data:`PORTS` asks for [3, B] (0 for an unbounded one)."""

    energy_pj: Mapping[str, FloatArray]
    port_cycles: FloatArray

    @property
    def cycles(self) -> FloatArray:
        return np.asarray(self.port_cycles.max(axis=0))


def outcomes(action: str, stages: Sequence[float]) -> Outcomes:
    """Outcomes of an action of which so much reaches each stage; a fill that does not arrive is absent, not gated or skipped."""
    actual = stages[ACTUAL]
    if not any(stages):
        return _NOTHING
    if action == "fill":
        return Outcomes(actual)
    return Outcomes(actual, max(stages[UNSKIPPED] - actual, 0.0), max(stages[REACHING] - stages[UNSKIPPED], 0.0))


_NOTHING = Outcomes(0.0, 0.0, 0.0)


def price(level: StorageLevel, shares: Mapping[str, Share], instances: FloatArray, prices: Prices) -> LevelCost:
    """Energy and cycles of one level whose ``instances`` [B] are used, at its ``prices``."""
    energies = {name: _energy(share, prices) for name, share in shares.items()}
    return LevelCost(energies, _port_cycles(level, shares, instances))


def _energy(share: Share, prices: Prices) -> FloatArray:
    total = np.zeros(share.instances.shape)
    for action in DATA_ACTIONS:
        moved = share.moved(action)
        if moved is not None:
            total = total + energy_of(moved, prices[action])
    return total


def energy_of(moved: Moved, prices: FloatArray) -> FloatArray:
    """Energy in pJ of what moves in an action of these ``prices``, [B]."""
    table = moved.kinds[:, BLOCKS : BITS + 1]
    # not `@`, whose last digit depends on how many mappings there are
    return moved.each(np.einsum("ij,j->i", table.reshape(len(table), -1), prices))


def prices_of(level: StorageLevel, energy: Energy) -> Prices:
    """Energy in pJ of a block, and of a bit of metadata, that reaches each stage, by action."""
    width = level.metadata_width_bits
    return {
        action: np.concatenate(
            [
                _stage_prices(energy, action, action),
                np.array(_stage_prices(energy, action, f"metadata_{action}")) / width if width else np.zeros(4),
            ]
        )
        for action in DATA_ACTIONS
    }


def _stage_prices(energy: Energy, action: str, priced: str) -> list[float]:
    """Energy by stage, so that the outcomes of an action have theirs (see :func:`outcomes`)."""
    if action == "fill":
        return [0.0, 0.0, 0.0, energy(priced, "actual")]
    actual, gated, skipped = (energy(priced, outcome) for outcome in OUTCOMES)
    return [0.0, skipped, gated - skipped, actual - gated]


def _port_cycles(level: StorageLevel, shares: Mapping[str, Share], instances: FloatArray) -> FloatArray:
    """Cycles that the bandwidths ask for: actual and gated words, and metadata in words."""
    bandwidths = (level.read_words_per_cycle, level.write_words_per_cycle, level.shared_words_per_cycle)
    if not any(bandwidths):
        return np.zeros((len(PORTS), *instances.shape))
    read, written = np.zeros(instances.shape), np.zeros(instances.shape)
    for share in shares.values():
        for action in DATA_ACTIONS:
            moved = share.moved(action)
            if moved is not None:
                words = port_words(moved, action, level)
                if action == "read":
                    read = read + words
                else:
                    written = written + words
    moved_words = (read, written, read + written)
    # where a leader without nonzeros leaves no lane to use, one goes through its metadata
    instances = np.where(instances > 0, instances, 1.0)
    return np.array(
        [
            words / (instances * bandwidth) if bandwidth is not None else np.zeros(instances.shape)
            for words, bandwidth in zip(moved_words, bandwidths, strict=True)
        ]
    )


def port_words(moved: Moved, action: str, level: StorageLevel) -> FloatArray:
    """Actual and gated words, and metadata in words, that an action takes through the ports of a level, [B]."""
    last = ACTUAL if action == "fill" else UNSKIPPED
    return moved.each(moved.kinds[:, WORDS, last] + moved.kinds[:, BITS, last] / level.word_bits)


@dataclass(frozen=True)
class Holding:
    """What a level has to hold, in ``words`` or in ``bits of metadata``: ``held`` [B] by tensor, and its ``room``."""

    unit: str
    room: int | None
    held: Mapping[str, FloatArray]

    @property
    def fits(self) -> NDArray[np.bool_]:
        """Whether all of it fits, [B]."""
        total = sum(self.held.values(), np.zeros(1))
        return np.asarray(total <= (np.inf if self.room is None else self.room), np.bool_)


def holdings(level: StorageLevel, shares: Mapping[str, Share]) -> tuple[Holding, Holding]:
    """The largest tiles and the largest metadata that the level has to hold."""
    kept = {name: share.tiles for name, share in shares.items() if not share.streamed}
    words = {name: tiles.worst_words for name, tiles in kept.items()}
    bits = {name: tiles.worst_bits for name, tiles in kept.items()}
    return (
        Holding("words", level.capacity_words, words),
        Holding("bits of metadata", level.metadata_capacity_bits, bits),
    )


def whole_cycles(cycles: FloatArray) -> FloatArray:
    """Up to the next whole cycle; a rest below a millionth of a cycle is noise of the arithmetic."""
    return np.ceil(np.round(cycles, 6))
