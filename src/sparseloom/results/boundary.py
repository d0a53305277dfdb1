"""The shape of a result file, for checking and for the JSON Schema. Imports pydantic: load it on demand only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int | float, Field(allow_inf_nan=False)]
RankName = Annotated[str, Field(pattern=r"^rank[0-9]{1,3}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OutcomesPart(_Part):
    """How often: done (actual), idled for the cycle (gated), saved with its cycle (skipped)."""

    actual: Count
    gated: Count
    skipped: Count


class RankPart(_Part):
    """Units of one format rank."""

    metadata: OutcomesPart = Field(description="bits of a bitmask, coordinates or run lengths")
    payload: OutcomesPart = Field(description="offsets to the rank below")


class MetadataPart(_Part):
    """Units of each format rank, rank0 the topmost; empty without a format."""

    reads: dict[RankName, RankPart]
    fills: dict[RankName, RankPart]
    updates: dict[RankName, RankPart]


class TensorPart(_Part):
    """One tensor at one level; words, totals over the level's instances."""

    reads: OutcomesPart = Field(description="words read to serve the levels below")
    fills: OutcomesPart = Field(description="words that came in from the level above")
    updates: OutcomesPart = Field(description="words of results that came from the levels below")
    metadata: MetadataPart
    tile_words: Count = Field(description="points of the tile of one instance, zero or not")
    expected_words: Count = Field(description="words stored of the tile, on average")
    worst_words: Count = Field(description="words stored of the tile, at most")
    worst_metadata_bits: Count = Field(description="metadata of the tile, at most")
    energy_pj: Count
    instances: Count = Field(description="instances used, on average")
    streamed: bool = Field(description="the tensor passes through and occupies nothing")


class SummaryPart(_Part):
    """One storage level as a whole."""

    cycles: Count = Field(description="cycles that the level's bandwidths ask for")
    energy_pj: Count
    instances_used: Count
    capacity_words: int | None = Field(description="of one instance; null: unbounded")
    metadata_capacity_bits: int | None = Field(description="of one instance; null: unbounded")
    bandwidth_bound: Literal["", "read", "write", "shared"] = Field(description="the bandwidth that asks for most")


class ComputePart(_Part):
    """The compute units."""

    name: str
    outcomes: OutcomesPart
    absent: Count = Field(description="computes of the dense loop nest that never reached a unit")
    energy_pj: Count
    cycles_busiest: Count = Field(description="actual and gated computes of the busiest instance")
    cycles_mean: Count = Field(description="their mean over the instances used")
    instances: int
    instances_used: Count


class ResultFile(_Part):
    """One evaluation of a mapping of a workload on a design. Energies in pJ; counts are totals over instances."""

    model_config = ConfigDict(title="Sparseloom result")

    format: Literal[1] = Field(description="version of this layout")
    origin: str = Field(description="the back end: model, loopnest")
    conventions: str = Field(description="the rules of counting")
    workload: str
    design: str
    cycles: Count
    energy_pj: Count
    utilization: Count = Field(description="of the compute units, in [0, 1]")
    computes: OutcomesPart
    compute: ComputePart
    levels: dict[str, dict[str, TensorPart]] = Field(description="level -> tensor -> actions, outermost level first")
    level_summary: dict[str, SummaryPart] = Field(description="the same levels as wholes")
    bottleneck: str = Field(description="what sets the cycles, in words")
    loopnest: str = Field(description="the mapping as a loop nest")
    assumptions: list[str] = Field(description="what the numbers rest on")
    ignored: list[str] = Field(description="what the input said and was not used")
    notes: list[str]
    intervals: dict[str, tuple[Count, Count]] = Field(
        description="lowest and highest, where only bounds are known or tensors were drawn"
    )
