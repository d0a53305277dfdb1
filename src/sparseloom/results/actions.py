"""Counts of actions, and their cost, at every place where they happen.

All counts are totals over the instances of a level. They are whole numbers from the oracle and from actual data, and
expected values from a statistical model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcomes:
    """How often an action happened (``actual``), idled for its cycle (``gated``) or took no cycle (``skipped``).

    >>> Outcomes(8, gated=2) + Outcomes(1, skipped=1)
    Outcomes(actual=9, gated=2, skipped=1)
    """

    actual: float = 0
    gated: float = 0
    skipped: float = 0

    @property
    def total(self) -> float:
        return self.actual + self.gated + self.skipped

    def __add__(self, other: Outcomes) -> Outcomes:
        return Outcomes(self.actual + other.actual, self.gated + other.gated, self.skipped + other.skipped)


@dataclass(frozen=True)
class RankUnits:
    """Units that moved of one rank of a format: ``metadata`` (bits of a bitmask, coordinates, run lengths) and
    ``payload`` (offsets to the rank below), each of the width that the format gives it."""

    metadata: Outcomes = Outcomes()
    payload: Outcomes = Outcomes()

    @property
    def units(self) -> Outcomes:
        """Metadata and payload units together."""
        return self.metadata + self.payload


@dataclass(frozen=True)
class TensorActions:
    """One tensor at one level that keeps it, or that it streams through.

    ``reads`` serve the level's children, ``fills`` bring tiles in from the parent, ``updates`` bring results from the
    children; each counts words. ``metadata_reads``, ``metadata_fills`` and ``metadata_updates`` hold the units of each
    rank of the tensor's format here, topmost rank first; without a format they are empty.

    Of one instance's tile: ``tile_words`` counts the points, nonzero or not; ``expected_words`` and ``worst_words``
    what is stored of them; ``worst_metadata_bits`` the largest metadata. ``energy_pj`` is that of all actions here.
    ``instances`` used, on average. A ``streamed`` tensor passes through and occupies nothing.
    """

    reads: Outcomes = Outcomes()
    fills: Outcomes = Outcomes()
    updates: Outcomes = Outcomes()
    metadata_reads: tuple[RankUnits, ...] = ()
    metadata_fills: tuple[RankUnits, ...] = ()
    metadata_updates: tuple[RankUnits, ...] = ()
    tile_words: float = 0
    expected_words: float = 0
    worst_words: float = 0
    worst_metadata_bits: float = 0
    energy_pj: float = 0.0
    instances: float = 1
    streamed: bool = False

    def data(self) -> dict[str, Outcomes]:
        """Words by action: ``reads``, ``fills``, ``updates``."""
        return {"reads": self.reads, "fills": self.fills, "updates": self.updates}

    def metadata(self) -> dict[str, tuple[RankUnits, ...]]:
        """Units of each format rank by action, as :meth:`data`."""
        return {"reads": self.metadata_reads, "fills": self.metadata_fills, "updates": self.metadata_updates}


@dataclass(frozen=True)
class LevelActions:
    """A storage level: what it did with each tensor, and the cycles and energy that this took.

    ``capacity_words`` and ``metadata_capacity_bits`` are per instance, ``None`` for unbounded. ``cycles`` is what the
    level's bandwidths ask for; ``bandwidth_bound`` names the one that asks for most (``read``, ``write``, ``shared``),
    empty when all are unbounded.
    """

    name: str
    tensors: Mapping[str, TensorActions] = field(default_factory=dict)
    cycles: float = 0
    energy_pj: float = 0.0
    instances_used: float = 1
    capacity_words: int | None = None
    metadata_capacity_bits: int | None = None
    bandwidth_bound: str = ""


@dataclass(frozen=True)
class ComputeActions:
    """The compute units. ``absent`` computes never reached a unit: the dense nest has ``outcomes.total + absent``.

    ``cycles_busiest`` is the actual and gated computes of the busiest instance, ``cycles_mean`` their mean over the
    instances used. ``instances`` exist, ``instances_used`` work, on average.
    """

    name: str
    outcomes: Outcomes = Outcomes()
    absent: float = 0
    energy_pj: float = 0.0
    cycles_busiest: float = 0
    cycles_mean: float = 0
    instances: int = 1
    instances_used: float = 1
