"""What a design is made of, block by block, and what each costs at one technology."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from sparseloom.arch.component import Component, Estimate
from sparseloom.arch.design import Design
from sparseloom.arch.hierarchy import ComputeLevel, StorageLevel
from sparseloom.arch.technology import Technology
from sparseloom.errors import ArchitectureError, Fault


class Role(Enum):
    """What a block is there for."""

    DATA = "data"
    METADATA = "metadata"
    COMPUTE = "compute"
    FEATURE = "sparse features"
    OTHER = "other"


@dataclass(frozen=True)
class Block:
    """All instances of one component of a design. ``estimate`` is of one of them; ``prices_pj`` is what one adds to actions, by
    level and action."""

    name: str
    role: Role
    component: Component
    instances: int
    estimate: Estimate
    prices_pj: Mapping[str, Mapping[str, float]]

    @property
    def area_um2(self) -> float:
        return self.instances * self.estimate.area_um2

    @property
    def leakage_mw(self) -> float:
        return self.instances * self.estimate.leakage_mw


def blocks(design: Design, technology: Technology) -> tuple[Block, ...]:
    """Every block of a design, outermost level first, then compute, then the units.

    Raises ArchitectureError with every level that does not say what it is made of, and every component that an estimator has no
    numbers for.
    """
    found, faults = list[Block](), list[Fault]()
    for name, role, instances, component, actions in _parts(design, faults):
        try:
            estimate = component.estimate(technology)
        except ArchitectureError as error:
            faults += [Fault(f"{name}: {fault.what}", path=name, fix=fault.fix) for fault in error.faults]
            continue
        prices = {
            level: {action: uses * estimate.pj(kind) for action, kind, uses in each} for level, each in actions.items()
        }
        found.append(Block(name, role, component, instances, estimate, prices))
    if faults:
        raise ArchitectureError(faults)
    return tuple(found)


_Action = tuple[str, str, float]
"""An action of a level, the action of a component that it takes, and how often."""

_Part = tuple[str, Role, int, Component, Mapping[str, list[_Action]]]


def _parts(design: Design, faults: list[Fault]) -> Iterator[_Part]:
    architecture, formatted = design.architecture, _formatted(design)
    for level in architecture.levels:
        if level.capacity_words == 0:
            continue
        if level.component is None:
            faults.append(_unsaid(level))
            continue
        yield level.name, Role.DATA, level.instances, level.component, {level.name: _storage("")}
        if level.metadata_component is not None:
            name = f"{level.name} metadata"
            yield name, Role.METADATA, level.instances, level.metadata_component, {level.name: _storage("metadata_")}
        elif level.name in formatted:
            what = f"{level.name} holds metadata and does not say in what"
            faults.append(Fault(what, path=level.name, fix="add `metadata_component:`"))
    unit = architecture.compute
    if unit.component is None:
        faults.append(_unsaid(unit))
    else:
        yield unit.name, Role.COMPUTE, unit.instances, unit.component, {unit.name: _used(("compute",), 1.0)}
    for each in design.units:
        role = Role.FEATURE if each.feature else Role.OTHER
        actions = {level: _used(names, each.uses) for level, names in each.used_by.items()}
        yield each.name, role, each.instances, each.component, actions


def _formatted(design: Design) -> set[str]:
    """The levels that keep something in a format, and so have metadata to store, if they store any."""
    supports = (each for own in design.supports.values() for each in own)
    named = {*design.features.formats, *(name for each in supports for name in each.formats or {})}
    return {level.name for level in design.architecture.levels if level.name in named and level.metadata_width_bits}


def _unsaid(level: StorageLevel | ComputeLevel) -> Fault:
    what = f"{level.name} does not say what it is made of, so nothing can be estimated of it"
    return Fault(what, path=level.name, fix="add `component:`, as {sram: {}} or {mac: {}}")


def _storage(kind: str) -> list[_Action]:
    """Reads read, fills and updates write; what is gated or skipped idles for a cycle."""
    found = list[_Action]()
    for action, taken in (("read", "read"), ("fill", "write"), ("update", "write")):
        found.append((f"{kind}{action}", taken, 1.0))
        found += [(f"{outcome}_{kind}{action}", "idle", 1.0) for outcome in ("gated", "skipped")]
    return found


def _used(actions: tuple[str, ...], uses: float) -> list[_Action]:
    """An action uses the component; a gated or skipped one leaves it idle."""
    found = [(action, "use", uses) for action in actions]
    return found + [(f"{outcome}_{action}", "idle", uses) for action in actions for outcome in ("gated", "skipped")]
