"""The shape of a file that `sparseloom compare --json` wrote, for checking. Imports pydantic: load it on demand only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[int | float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TotalPart(_Part):
    """The layers that all designs run, on one of them."""

    design: str
    layers: int
    refused: int
    cycles: Number
    energy_pj: Number
    utilization: Number
    padding: Number
    bottleneck: str
    area_um2: Number
    feature_share: Number
    gap: Number | None
    leakage_mw: Number
    leaked_pj: Number
    edp: Number


class BlockPart(_Part):
    """All instances of one component of a design; energies are of one."""

    name: str
    role: str
    instances: int
    area_um2: Number
    leakage_mw: Number
    energies_pj: dict[str, Number]
    source: str
    derivation: str


class DesignPart(_Part):
    """A design with its total."""

    name: str
    source: str
    total: TotalPart
    energy_by_block: dict[str, Number]
    blocks: list[BlockPart]


class ChargePart(_Part):
    """A part of the energy."""

    block: str
    level: str
    tensor: str
    action: str
    energy_pj: Number


class OutcomePart(_Part):
    """One kind of layer on one design."""

    design: str
    layers: Annotated[list[str], Field(min_length=1)]
    layer: str
    count: int
    counts: list[int]
    einsum: str
    shape: dict[str, int]
    swapped: bool
    seen: dict[str, str]
    padding: Number
    cycles: Number
    energy_pj: Number
    edp: Number
    leaked_pj: Number
    utilization: Number
    bottleneck: str
    bound_by: str
    computes: Number
    dram_bits: Number
    proven: bool
    gap: Number | None
    mapspace: int
    seconds: Number
    loopnest: str
    charges: list[ChargePart]


class RefusalPart(_Part):
    """Layers that a design does not run."""

    design: str
    layers: list[str]
    why: list[str]


class PointPart(_Part):
    """A point of a sweep."""

    weights: str
    density: Number
    family: bool
    layers: list[str]
    outcomes: list[OutcomePart]
    refused: list[RefusalPart]


class ComparisonFile(_Part):
    """A network on several designs."""

    format: Literal[1]
    network: str
    weights: str
    activations: str
    objective: str
    interrupted: bool
    technology: str
    layers: list[str]
    common: list[str]
    designs: list[DesignPart]
    outcomes: list[OutcomePart]
    refused: list[RefusalPart]
    sweep: list[PointPart]
