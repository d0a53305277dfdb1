"""Energy and cycles of what was counted.

Section 7 of docs/oracle.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as Table
from dataclasses import dataclass

from sparseloom.arch.actions import DATA_ACTIONS, OUTCOMES
from sparseloom.arch.design import Design
from sparseloom.arch.hierarchy import StorageLevel
from sparseloom.sim.account import Account
from sparseloom.sim.compute import Computes
from sparseloom.sim.judge import ACTUAL, GATED
from sparseloom.sim.lane import Lanes


@dataclass(frozen=True)
class Cost:
    """``instances_used`` by level name, compute included; ``level_cycles`` what each level alone needs, ``compute_cycles``
    the busiest compute instance, of every tile where there is a barrier; ``cycles`` of the run; ``storage_energy_pj`` by
    level, then tensor; ``compute_energy_pj``."""

    instances_used: dict[str, int]
    level_cycles: dict[str, float]
    compute_cycles: int
    cycles: int
    storage_energy_pj: dict[str, dict[str, float]]
    compute_energy_pj: float


def cost(design: Design, lanes: Lanes, accounts: Table[str, Table[str, Account]], computes: Computes) -> Cost:
    """Price the books. ``accounts`` are by level name, then tensor."""
    arch = design.architecture
    used = {name: lanes.used(level) for level, name in enumerate((*arch.names, arch.compute.name))}
    levels = {s.name: _level_cycles(s, accounts[s.name], used[s.name]) for s in arch.levels}
    energies = {s.name: {t: _energy_pj(s, a) for t, a in accounts[s.name].items()} for s in arch.levels}
    compute_pj = sum(computes.counts[o] * arch.compute.energy.pj("compute", o) for o in OUTCOMES)
    busiest = lanes.longest(computes.busy, arch.barrier)
    longest = max(float(busiest), *levels.values())
    return Cost(used, levels, busiest, _round_up(longest), energies, compute_pj)


def _energy_pj(level: StorageLevel, account: Account) -> float:
    """Block accesses, and metadata in units of the width of the metadata store, each with its energy."""
    total = 0.0
    for action in DATA_ACTIONS:
        for outcome in OUTCOMES:
            total += float(account.blocks[action][outcome]) * level.energy.pj(action, outcome)
            if level.metadata_width_bits:
                rows = account.bits[action][outcome] / level.metadata_width_bits
                total += rows * level.energy.pj(f"metadata_{action}", outcome)
    return total


def _level_cycles(level: StorageLevel, accounts: Table[str, Account], used: int) -> float:
    """Cycles that the level's bandwidths allow for its actual and gated words and metadata."""
    reads, fills, updates = (sum(_moved_words(level, a, action) for a in accounts.values()) for action in DATA_ACTIONS)
    ports = (
        (reads, level.read_words_per_cycle),
        (fills + updates, level.write_words_per_cycle),
        (reads + fills + updates, level.shared_words_per_cycle),
    )
    return max((words / (used * bandwidth) for words, bandwidth in ports if bandwidth is not None), default=0.0)


def _moved_words(level: StorageLevel, account: Account, action: str) -> float:
    words = sum(account.words[action][outcome] for outcome in (ACTUAL, GATED))
    bits = sum(account.bits[action][outcome] for outcome in (ACTUAL, GATED))
    return words + bits / level.word_bits


def _round_up(cycles: float) -> int:
    """Up to the next whole cycle; a rest below a millionth of a cycle is noise of the division."""
    return math.ceil(round(cycles, 6))
