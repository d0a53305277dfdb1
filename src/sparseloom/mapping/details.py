"""What a Timeloop file says beyond our own values: needed to repeat Timeloop's conventions, and only for that."""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass, field

from sparseloom.fibertree.format import COMPRESSING
from sparseloom.mapping.mapping import Loop


@dataclass(frozen=True)
class LevelDetails:
    """Attributes of one storage level that our :class:`~sparseloom.arch.hierarchy.StorageLevel` has no place for.

    ``class_name`` is Timeloop's class; ``size_words`` the size before multiple buffering (None: unbounded);
    ``metadata_word_bits`` the default width of a metadata unit (``metadata_datawidth``, 0 when absent);
    ``cluster_size`` the instances that share one address; ``multiple_buffering`` divides the size; ``min_utilization``
    is the least share of the level that tiles have to fill; the latencies are cycles added to the total by the network above
    the level.
    """

    class_name: str
    size_words: int | None = None
    metadata_word_bits: int = 0
    cluster_size: int = 1
    multiple_buffering: float = 1.0
    min_utilization: float = 0.0
    fill_latency_cycles: float = 0.0
    drain_latency_cycles: float = 0.0


@dataclass(frozen=True)
class RankDetails:
    """One rank of a Timeloop format as written.

    ``kind`` is the format (B, CP, RLE, UOP, UB, U); ``flattened`` the iteration ranks of its flattening rule, None
    without one; the widths are None when the file leaves them to the level's default.
    """

    kind: str
    flattened: tuple[str, ...] | None = None
    metadata_bits: int | None = None
    payload_bits: int | None = None


@dataclass(frozen=True)
class FormatDetails:
    """A tensor's format at one level: ranks top first, and the order in which they are given to loops."""

    ranks: tuple[RankDetails, ...]
    inner_to_outer: bool = False

    @property
    def compressed(self) -> bool:
        """Whether some rank stores nonzeros only."""
        return any(rank.kind in COMPRESSING for rank in self.ranks)


@dataclass(frozen=True)
class Tiling:
    """All loops of one level, outermost first, with those of bound 1: Timeloop's format analysis needs their order.

    ``spatial`` is empty where the level has a single child: Timeloop has no spatial loops there. The sets name tensors
    that the directives of the same name exclude from neighbour forwarding, from multicast and spatial reduction, and
    from reuse over time.
    """

    temporal: tuple[Loop, ...]
    spatial: tuple[Loop, ...] = ()
    no_link_transfer: frozenset[str] = frozenset()
    no_multicast_no_reduction: frozenset[str] = frozenset()
    no_temporal_reuse: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TimeloopDetails:
    """Everything of a Timeloop input that only Timeloop's conventions need.

    ``levels`` and ``tiling`` have one entry for each storage level, outermost first (``tiling`` is empty without a
    mapping); ``formats[level][tensor]`` are the formats as written; ``ert[component][action]`` energies in pJ, the
    largest over an action's argument variants (an action that the table lacks is absent here); ``dimensions`` the
    problem's dimensions and ``tensors`` its data-spaces in the order of the file; ``sparse`` says whether the files
    have sparse optimizations at all: without them Timeloop ignores densities.
    """

    levels: Table[str, LevelDetails]
    compute_class: str
    dimensions: tuple[str, ...]
    tensors: tuple[str, ...]
    formats: Table[str, Table[str, FormatDetails]] = field(default_factory=dict)
    tiling: Table[str, Tiling] = field(default_factory=dict)
    ert: Table[str, Table[str, float]] = field(default_factory=dict)
    sparse: bool = False
