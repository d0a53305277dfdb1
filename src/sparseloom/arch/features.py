"""The three sparse acceleration features (SAFs) and where a design has them.

Source: Wu, "Sparseloop" thesis, 3.2; Wu et al., MICRO 2022, section III.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sparseloom.errors import ArchitectureError, Fault, suggest
from sparseloom.fibertree.format import Format

GATING, SKIPPING = "gating", "skipping"
SPATIAL_SKIPPING, POSITION_SKIPPING = "spatial-skipping", "position-skipping"
SAF_KINDS = (GATING, SKIPPING, SPATIAL_SKIPPING, POSITION_SKIPPING)


@dataclass(frozen=True)
class Saf:
    """At storage level ``level``, accesses to the follower ``target`` are eliminated where a leader's tile is empty.

    ``kind`` is ``gating`` (the cycle is spent), ``skipping`` (it is not), ``spatial-skipping`` (lanes that would be
    idle take other work; ``leaders`` decide which) or ``position-skipping`` (the target's own nonzeros are packed into
    the lanes; no leaders). ``alternatives`` are other (target, leaders) pairs of the same unit, of which the one that
    saves the most energy is used. A double-sided intersection is two features, one each way.
    """

    level: str
    kind: str
    target: str
    leaders: tuple[str, ...] = ()
    alternatives: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        """Raises ArchitectureError for a kind that does not exist."""
        if self.kind not in SAF_KINDS:
            fix = suggest(self.kind, SAF_KINDS)
            raise ArchitectureError(
                Fault(f"unknown kind of feature '{self.kind}' at {self.level}", path="kind", fix=fix)
            )

    @property
    def ways(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """All (target, leaders) pairs, its own first."""
        return (self.target, self.leaders), *self.alternatives


@dataclass(frozen=True)
class Features:
    """All the features of a design.

    ``formats[level][tensor]`` is the representation format a level keeps a tensor in (absent: uncompressed without
    metadata). ``safs`` are the storage features. ``compute_gating`` gates a compute that has a zero operand;
    ``compute_skipping`` skips one whose operands do not arrive together. ``decompression`` and ``compression`` name the
    levels that can turn a compressed tile from their parent into an uncompressed one, and back.
    """

    formats: Mapping[str, Mapping[str, Format]] = field(default_factory=dict)
    safs: tuple[Saf, ...] = ()
    compute_gating: bool = False
    compute_skipping: bool = False
    decompression: frozenset[str] = frozenset()
    compression: frozenset[str] = frozenset()

    def format_of(self, level: str, tensor: str) -> Format | None:
        return self.formats.get(level, {}).get(tensor)
