"""Step three: what the sparse traffic costs on the hardware, in energy and cycles, and whether the tiles fit.

The meaning of every number is docs/oracle.md, sections 7 and 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sparseloom.arch.actions import DATA_ACTIONS, OUTCOMES
from sparseloom.arch.hierarchy import StorageLevel
from sparseloom.errors import Fault, MappingError
from sparseloom.model.sparse import ACTUAL, REACHING, UNSKIPPED, Moved
from sparseloom.results.actions import LevelActions, Outcomes, RankUnits, TensorActions


Energy = Callable[[str, str], float]


@dataclass(frozen=True)
class Share:
    """What one tensor does at one level: what moves by action, ``None`` for an action that does not occur, and what is
    held of it. ``filled`` is the traffic that arrives, of which only what is actual happens."""

    read: Moved | None
    fill: Moved | None
    update: Moved | None
    tile_words: float
    expected_words: float
    worst_words: float
    worst_metadata_bits: float
    streamed: bool = False
    instances: float = 0.0
    """Instances used on average, 0 for all that are used."""

    def moved(self, action: str) -> Moved | None:
        return {"read": self.read, "fill": self.fill, "update": self.update}[action]


def price(level: StorageLevel, shares: Mapping[str, Share], instances: float, energy: Energy) -> LevelActions:
    """Actions, energy and cycles of one level; ``energy`` is that of an action with an outcome, in pJ."""
    tensors = {name: _tensor(level, share, instances, energy) for name, share in shares.items()}
    bound, cycles = _bandwidth(level, shares, instances)
    return LevelActions(
        name=level.name,
        tensors=tensors,
        cycles=cycles,
        energy_pj=sum(actions.energy_pj for actions in tensors.values()),
        instances_used=instances,
        capacity_words=level.capacity_words,
        metadata_capacity_bits=level.metadata_capacity_bits,
        bandwidth_bound=bound,
    )


def overflows(level: StorageLevel, shares: Mapping[str, Share]) -> list[Fault]:
    """What does not fit into the level."""
    faults = []
    for unit, room, held in (
        ("words", level.capacity_words, {t: s.worst_words for t, s in shares.items() if not s.streamed}),
        ("bits of metadata", level.metadata_capacity_bits, {t: s.worst_metadata_bits for t, s in shares.items()}),
    ):
        if room is not None and sum(held.values()) > room:
            parts = ", ".join(f"{tensor}={amount:,.0f}" for tensor, amount in held.items() if amount)
            largest = max(held, key=lambda tensor: held[tensor])
            what = f"tiles need {sum(held.values()):,.0f} {unit} but {level.name} holds {room:,} ({parts})"
            fix = f"shrink the tile of {largest} (the largest), or bypass {level.name} for it"
            faults.append(Fault(what, path=level.name, fix=fix))
    return faults


def check_capacity(faults: list[Fault]) -> None:
    """Raises MappingError if there are any."""
    if faults:
        raise MappingError(faults)


def outcomes(action: str, stages: object) -> Outcomes:
    """Outcomes of an action from its stages [4]; a fill that does not arrive is absent, not gated or skipped."""
    reaching, unskipped, actual = (float(stages[k]) for k in (REACHING, UNSKIPPED, ACTUAL))  # type: ignore[index]
    if action == "fill":
        return Outcomes(actual)
    return Outcomes(actual, max(0.0, unskipped - actual), max(0.0, reaching - unskipped))


def _tensor(level: StorageLevel, share: Share, instances: float, energy: Energy) -> TensorActions:
    words = {action: Outcomes() for action in DATA_ACTIONS}
    metadata: dict[str, tuple[RankUnits, ...]] = {action: () for action in DATA_ACTIONS}
    total = 0.0
    for action in DATA_ACTIONS:
        moved = share.moved(action)
        if moved is None:
            continue
        words[action] = outcomes(action, moved.words)
        metadata[action] = tuple(
            RankUnits(outcomes(action, rank[0]), outcomes(action, rank[1])) for rank in moved.units
        )
        total += _energy(level, action, outcomes(action, moved.blocks), outcomes(action, moved.bits), energy)
    return TensorActions(
        words["read"], words["fill"], words["update"],
        metadata["read"], metadata["fill"], metadata["update"],
        share.tile_words, share.expected_words, share.worst_words, share.worst_metadata_bits,
        total, share.instances or instances, share.streamed,
    )  # fmt: skip


def _energy(level: StorageLevel, action: str, blocks: Outcomes, bits: Outcomes, energy: Energy) -> float:
    total = 0.0
    for outcome in OUTCOMES:
        total += getattr(blocks, outcome) * energy(action, outcome)
        if level.metadata_width_bits:
            rows = getattr(bits, outcome) / level.metadata_width_bits
            total += rows * energy(f"metadata_{action}", outcome)
    return total


def _bandwidth(level: StorageLevel, shares: Mapping[str, Share], instances: float) -> tuple[str, float]:
    """Which bandwidth asks for most cycles, and how many."""
    moved = dict.fromkeys(DATA_ACTIONS, 0.0)
    for share in shares.values():
        for action in DATA_ACTIONS:
            traffic = share.moved(action)
            if traffic is not None:
                words, bits = outcomes(action, traffic.words), outcomes(action, traffic.bits)
                moved[action] += words.actual + words.gated + (bits.actual + bits.gated) / level.word_bits
    written = moved["fill"] + moved["update"]
    ports = (
        ("read", moved["read"], level.read_words_per_cycle),
        ("write", written, level.write_words_per_cycle),
        ("shared", moved["read"] + written, level.shared_words_per_cycle),
    )
    asked = [(words / (instances * bandwidth), port) for port, words, bandwidth in ports if bandwidth is not None]
    cycles, port = max(asked, default=(0.0, ""))
    return port, cycles


def whole_cycles(cycles: float) -> int:
    """Up to the next whole cycle; a rest below a millionth of a cycle is noise of the arithmetic."""
    return math.ceil(round(cycles, 6))
