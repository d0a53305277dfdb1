"""Published numbers with their sources, from the data file beside the designs. They are compared with, never computed
with. Imports pydantic: load it on demand only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from sparseloom import designs
from sparseloom.document_model import FileModel, section, validate

DATA = Path(designs.__file__).parent / "data"
"""The folder of the shipped data of comparisons."""


class ClaimModel(FileModel):
    """One published table, figure or sentence."""

    source: str
    paper: dict[str, float] = Field(default_factory=dict)
    thesis: dict[str, float] = Field(default_factory=dict)
    thesis_error: float | None = None


@dataclass(frozen=True)
class Claim:
    """What a ``source`` says: numbers of the ``paper`` and of the ``thesis``' model by layer or point, and the mean
    relative error that the thesis states."""

    source: str
    paper: Mapping[str, float] = field(default_factory=dict)
    thesis: Mapping[str, float] = field(default_factory=dict)
    thesis_error: float | None = None


def reported() -> Mapping[str, Claim]:
    """Every published claim by its name in the data file. Raises InputError for a file that is damaged."""
    node = section(DATA / "reported.yaml", "reported")
    claims = {name: validate(ClaimModel, claim) for name, claim in node.value.items()}
    return {name: Claim(m.source, m.paper, m.thesis, m.thesis_error) for name, m in claims.items()}
