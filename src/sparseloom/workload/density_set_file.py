"""Published densities as a file: the ``densities:`` of a YAML file. Imports pydantic: load it on demand only."""

from __future__ import annotations

from pydantic import Field

from sparseloom.document_model import FileModel, Fraction, Name, Source, section, validate
from sparseloom.workload.density_set import DensitySet

KEY = "densities"


class DensitySetModel(FileModel):
    """Densities that one source gives for the layers of a network."""

    name: Name
    network: Name
    source: str
    confidence: str
    note: str = ""
    layers: dict[Name, dict[Name, Fraction]] = Field(description="nonzeros / points, by layer and tensor")


def read(source: Source) -> DensitySet:
    """The densities of a file. Raises InputError with every fault of the file, each with file:line, key path and fix."""
    return DensitySet(**dict(validate(DensitySetModel, section(source, KEY))))
