"""The sums of one tensor at one level.

Sections 3 to 7 of docs/oracle.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from sparseloom.arch.actions import DATA_ACTIONS, OUTCOMES
from sparseloom.sim.judge import ACTUAL, GATED, SKIPPED
from sparseloom.sim.nest import IntArray
from sparseloom.sim.store import Metadata

FATES = (ACTUAL, GATED, SKIPPED)
"""What becomes of a word on its way, by number; the least number of several is the best."""

ByOutcome = dict[str, dict[str, int]]


def _zeros() -> ByOutcome:
    return {action: dict.fromkeys(OUTCOMES, 0) for action in DATA_ACTIONS}


def _no_blocks() -> dict[str, dict[str, Fraction]]:
    return {action: dict.fromkeys(OUTCOMES, Fraction(0)) for action in DATA_ACTIONS}


@dataclass(frozen=True)
class Account:
    """Sums of one tensor at one level: ``words``, ``blocks`` (accesses, in shares), metadata ``bits`` by action and
    outcome, and metadata ``units`` likewise, ``[n_format_ranks, 2]`` (metadata, payload)."""

    units: dict[str, dict[str, IntArray]]
    words: ByOutcome = field(default_factory=_zeros)
    blocks: dict[str, dict[str, Fraction]] = field(default_factory=_no_blocks)
    bits: ByOutcome = field(default_factory=_zeros)

    @property
    def block_accesses(self) -> dict[str, dict[str, float]]:
        """``blocks`` as floats."""
        return {action: {o: float(shares[o]) for o in OUTCOMES} for action, shares in self.blocks.items()}

    def book(self, action: str, outcome: str, words: int, blocks: Fraction) -> None:
        self.words[action][outcome] += words
        self.blocks[action][outcome] += blocks

    def book_metadata(self, action: str, outcome: str, metadata: Metadata, times: int) -> None:
        self.units[action][outcome] += metadata.units * times
        self.bits[action][outcome] += metadata.bits * times
