"""A design: an architecture and the sparse acceleration features it implements."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparseloom.arch.features import SAF_KINDS, Features
from sparseloom.arch.hierarchy import Architecture
from sparseloom.errors import ArchitectureError, Fault, suggest


@dataclass(frozen=True)
class Design:
    """Hardware and its sparse features. ``source`` says which publication it describes.

    Raises ArchitectureError when a feature names a level that does not exist.
    """

    architecture: Architecture
    features: Features = field(default_factory=Features)
    name: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        names = self.architecture.names
        faults = [
            Fault(f"a format is given for unknown level {level}", path=f"formats.{level}", fix=suggest(level, names))
            for level in self.features.formats
            if level not in names
        ]
        for i, saf in enumerate(self.features.safs):
            if saf.level not in names:
                fix = suggest(saf.level, names)
                faults.append(
                    Fault(f"a {saf.kind} feature is at unknown level {saf.level}", path=f"safs[{i}].level", fix=fix)
                )
            if saf.kind not in SAF_KINDS:
                fix = suggest(saf.kind, SAF_KINDS)
                faults.append(Fault(f"unknown kind of feature {saf.kind}", path=f"safs[{i}].kind", fix=fix))
        if faults:
            raise ArchitectureError(faults)
