"""What a design allows of its mappings: limits of loops, their order, what is kept where, how much has to be in use.

Constraints name ranks and tensors and know no workload; :mod:`sparseloom.mapping.mapspace` applies them to one.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace

from sparseloom.errors import Fault, InputError


@dataclass(frozen=True)
class Limit:
    """The bounds that a loop may have: at least ``least``, at most ``most`` (None: any). ``whole``: all of the rank's coordinates,
    whatever the workload.

    Raises InputError for a limit that no bound meets.
    """

    least: int = 1
    most: int | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        if self.least < 1 or (self.most is not None and self.most < self.least):
            raise InputError(
                Fault(f"a bound cannot be at least {self.least} and at most {self.most}", fix="raise the most")
            )

    @classmethod
    def exactly(cls, bound: int) -> Limit:
        return cls(bound, bound)

    def of(self, size: int) -> tuple[int, int]:
        """The least and the most bound for a rank of ``size`` coordinates."""
        return (size, size) if self.whole else (self.least, size if self.most is None else self.most)

    def __str__(self) -> str:
        if self.whole:
            return "all"
        if self.least == self.most:
            return str(self.least)
        return f"{self.least}.." if self.most is None else f"{self.least}..{self.most}"


FREE = Limit()


@dataclass(frozen=True)
class LevelConstraints:
    """What one storage level allows.

    ``temporal`` and ``spatial`` limit the bounds of loops by rank; ranks that are not named are free. ``inner`` are the ranks whose
    temporal loops stand inside those of all other ranks, outermost first; the order of the others is free; ``inner_spatial`` are
    those of the spatial loops, whose order makes a difference only with spatial skipping. ``axes`` says along
    which axis a rank's spatial loop runs; the others run along either. ``keep`` names tensors that the level has to keep,
    ``bypass`` those that it must not; about others it may do either. ``stream``: tensors that pass through its
    storage where it bypasses them.
    """

    temporal: Table[str, Limit] = field(default_factory=dict)
    spatial: Table[str, Limit] = field(default_factory=dict)
    inner: tuple[str, ...] = ()
    inner_spatial: tuple[str, ...] = ()
    axes: Table[str, str] = field(default_factory=dict)
    keep: frozenset[str] = frozenset()
    bypass: frozenset[str] = frozenset()
    stream: frozenset[str] = frozenset()

    def only(self, ranks: Collection[str]) -> LevelConstraints:
        """Those that are about some ``ranks``."""
        return replace(
            self,
            temporal={rank: limit for rank, limit in self.temporal.items() if rank in ranks},
            spatial={rank: limit for rank, limit in self.spatial.items() if rank in ranks},
            inner=tuple(rank for rank in self.inner if rank in ranks),
            inner_spatial=tuple(rank for rank in self.inner_spatial if rank in ranks),
            axes={rank: axis for rank, axis in self.axes.items() if rank in ranks},
        )


@dataclass(frozen=True)
class Constraints:
    """What a design allows: ``levels`` by name, and the least and most share of the compute units that a mapping uses.
    ``wider`` has levels that allow more than a source of the constraints does: see :meth:`widened`."""

    levels: Table[str, LevelConstraints] = field(default_factory=dict)
    least_parallelism: float = 0.0
    most_parallelism: float = 1.0
    wider: Table[str, LevelConstraints] = field(default_factory=dict)

    def of(self, level: str) -> LevelConstraints:
        return self.levels.get(level, UNCONSTRAINED)

    def only(self, ranks: Collection[str]) -> Constraints:
        """Those that are about some ``ranks``, for a layer that has no others."""
        levels, wider = (
            {name: level.only(ranks) for name, level in some.items()} for some in (self.levels, self.wider)
        )
        return replace(self, levels=levels, wider=wider)

    def widened(self) -> Constraints:
        """All that is allowed, with the wider levels in place of those of the same names."""
        return replace(self, levels={**self.levels, **self.wider}, wider={})

    def multiples(self) -> dict[str, int]:
        """By rank, the product of the bounds that its loops must have: what its size has to be a multiple of."""
        found: dict[str, int] = {}
        for level in self.levels.values():
            for limits in (level.temporal, level.spatial):
                for rank, limit in limits.items():
                    if limit.least == limit.most:
                        found[rank] = found.get(rank, 1) * limit.least
        return found


UNCONSTRAINED = LevelConstraints()

NONE = Constraints()
