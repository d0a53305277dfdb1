"""A design: an architecture and the sparse acceleration features it implements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sparseloom.arch.actions import COMPUTE_ACTIONS, STORAGE_ACTIONS
from sparseloom.arch.component import Unit
from sparseloom.arch.features import SAF_KINDS, Features
from sparseloom.arch.hierarchy import Architecture
from sparseloom.errors import ArchitectureError, Fault, suggest
from sparseloom.fibertree.pattern import Pattern


@dataclass(frozen=True)
class Support:
    """Patterns of an operand that a design can exploit, written for one rank (``C0({G<=2}:4)``), and the formats by level that it
    keeps such an operand in; None: those of its features. In a format ``K0=H`` stands for the blocks of the pattern's lowest
    rank. ``unused`` units do not switch with such an operand."""

    pattern: Pattern
    formats: Mapping[str, str] | None = None
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planar:
    """Layers are run by the places of their images, cut into parts: one for each of ``elements`` (columns, rows), which takes its
    places in ``lanes``. A window with strides is split into one for each ``residue``, as every input meets every weight there."""

    elements: tuple[int, int]
    lanes: int = 1
    residues: bool = False


@dataclass(frozen=True)
class Design:
    """Hardware and its sparse features. ``source`` says which publication it describes; ``units`` are what is neither a storage
    level nor a compute unit. ``supports`` says by tensor which patterns of an operand it can exploit (a tensor that is not named
    may be anything), ``swaps`` that it may take the operands of a product in either order, ``planar`` that it runs layers by the
    places of their images.

    Raises ArchitectureError when a feature, a unit or a support names a level, an action or a unit that does not exist.
    """

    architecture: Architecture
    features: Features = field(default_factory=Features)
    name: str = ""
    source: str = ""
    units: tuple[Unit, ...] = ()
    supports: Mapping[str, tuple[Support, ...]] = field(default_factory=dict)
    swaps: bool = False
    planar: Planar | None = None

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
        faults += _unit_faults(self)
        faults += _support_faults(self)
        if faults:
            raise ArchitectureError(faults)


def _unit_faults(design: Design) -> list[Fault]:
    unit_of = design.architecture.compute.name
    known = {**dict.fromkeys(design.architecture.names, STORAGE_ACTIONS), unit_of: COMPUTE_ACTIONS}
    taken = {*design.architecture.names, *(f"{name} metadata" for name in design.architecture.names), unit_of}
    faults = []
    for i, unit in enumerate(design.units):
        if unit.name in taken:
            fix = "give every unit a name of its own"
            faults.append(Fault(f"there are two parts called {unit.name}", path=f"units[{i}].name", fix=fix))
        taken.add(unit.name)
        for level, actions in unit.used_by.items():
            path = f"units[{i}].used_by.{level}"
            if level not in known:
                faults.append(
                    Fault(f"{unit.name} is used at unknown level {level}", path=path, fix=suggest(level, known))
                )
                continue
            faults += [
                Fault(f"{unit.name} is used by unknown action '{action}'", path=path, fix=suggest(action, known[level]))
                for action in actions
                if action not in known[level]
            ]
    return faults


def _support_faults(design: Design) -> list[Fault]:
    units, levels = [unit.name for unit in design.units], design.architecture.names
    faults = []
    for tensor, supports in design.supports.items():
        for i, support in enumerate(supports):
            path = f"supports.{tensor}[{i}]"
            for kind, named, known in (("unit", support.unused, units), ("level", support.formats or (), levels)):
                faults += [
                    Fault(f"a support of {tensor} names unknown {kind} {name}", path=path, fix=suggest(name, known))
                    for name in named
                    if name not in known
                ]
    return faults
