"""What levels, compute units and sparse features are made of, and what an estimator says of it.

A component is a frozen value with its parameters as fields; its class is the estimator. The package has those of
:mod:`sparseloom.arch.memory` and :mod:`sparseloom.arch.datapath`; a user's own classes are found by the entry point group
:data:`GROUP`, by the name under which a file asks for them.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from sparseloom.arch.technology import Technology
from sparseloom.errors import ArchitectureError, Fault, suggest

GROUP: Final = "sparseloom.components"
"""The entry point group: ``name = "module:Class"``, with a subclass of :class:`Component`."""


@dataclass(frozen=True)
class Estimate:
    """What one instance of a component costs: ``energies_pj`` of one access or use, ``area_um2``, and ``leakage_mw`` of power
    that flows anyway.

    Storage has the energies ``read`` and ``write``, everything else ``use``; both have ``idle``, that of a cycle without one.
    ``source`` says where the numbers are from, ``derivation`` how they became these.
    """

    energies_pj: Mapping[str, float]
    area_um2: float
    leakage_mw: float = 0.0
    source: str = ""
    derivation: str = ""

    def pj(self, action: str) -> float:
        return self.energies_pj.get(action, 0.0)

    def times(self, number: float) -> Estimate:
        """So many of them, all of which are used at once."""
        energies = {action: number * energy for action, energy in self.energies_pj.items()}
        return dataclasses.replace(
            self, energies_pj=energies, area_um2=number * self.area_um2, leakage_mw=number * self.leakage_mw
        )

    def plus(self, other: Estimate) -> Estimate:
        """Both side by side; an action of one is an action of the other."""
        actions = {*self.energies_pj, *other.energies_pj}
        return Estimate(
            {action: self.pj(action) + other.pj(action) for action in sorted(actions)},
            self.area_um2 + other.area_um2,
            self.leakage_mw + other.leakage_mw,
            _joined(self.source, other.source),
            _joined(self.derivation, other.derivation),
        )

    def scaled(self, energy: float, area: float) -> Estimate:
        """At another node; what leaks is taken to scale with the energy."""
        energies = {action: energy * pj for action, pj in self.energies_pj.items()}
        return dataclasses.replace(
            self, energies_pj=energies, area_um2=area * self.area_um2, leakage_mw=energy * self.leakage_mw
        )

    def said(self, derivation: str) -> Estimate:
        return dataclasses.replace(self, derivation=derivation)


def _joined(first: str, second: str) -> str:
    return "; ".join(dict.fromkeys(part for part in (first, second) if part))


@dataclass(frozen=True)
class Component(ABC):
    """A piece of hardware; its fields are its parameters."""

    @abstractmethod
    def estimate(self, technology: Technology) -> Estimate:
        """What one instance costs. Raises ArchitectureError for parameters that the estimator has no numbers for."""

    @classmethod
    def parameters(cls) -> dict[str, dataclasses.Field[object]]:
        return {each.name: each for each in dataclasses.fields(cls)}


@dataclass(frozen=True)
class Unit:
    """Hardware of a design that is neither a storage level nor a compute unit: a multiplexer, an encoder, a shift buffer.

    There are ``instances`` in the whole design. ``used_by`` says which actions use one, by the name of a level or of the compute
    unit: ``{"PE": ("read",)}``; ``uses`` is how many uses one such action makes. ``feature``: it is there for sparsity alone.
    """

    name: str
    component: Component
    instances: int = 1
    used_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    uses: float = 1.0
    feature: bool = True


@cache
def kinds() -> Mapping[str, type[Component]]:
    """Every kind of component that is installed, by name. Raises ArchitectureError for an entry point that is none."""
    from importlib.metadata import entry_points

    found: dict[str, type[Component]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        loaded = point.load()
        if not (isinstance(loaded, type) and issubclass(loaded, Component)):
            what = f"the entry point {point.name} = {point.value} of {GROUP} is no component"
            raise ArchitectureError(Fault(what, fix="name a subclass of sparseloom.arch.component.Component"))
        found[point.name] = loaded
    return found


def kind_of(component: Component) -> str:
    """The name under which a file asks for a component. Raises ArchitectureError for one that no entry point names."""
    for name, made in kinds().items():
        if made is type(component):
            return name
    what = f"{type(component).__name__} is no installed kind of component"
    raise ArchitectureError(Fault(what, fix=f"name it in the entry point group {GROUP}"))


def component(kind: str, given: Mapping[str, object], usual: Mapping[str, object] | None = None) -> Component:
    """A component of a kind with the parameters ``given``; those of ``usual`` that it has and that are not given follow.

    Raises ArchitectureError for an unknown kind, and with every parameter that is unknown, missing or of another type.
    """
    if kind not in kinds():
        fix = suggest(kind, kinds()) or f"known kinds: {', '.join(kinds())}"
        raise ArchitectureError(Fault(f"unknown kind of component '{kind}'", fix=fix))
    made = kinds()[kind]
    known = made.parameters()
    values = {name: value for name, value in (usual or {}).items() if name in known} | dict(given)
    faults = [
        Fault(
            f"a {kind} has no parameter '{name}'", path=name, fix=suggest(name, known) or f"it has {', '.join(known)}"
        )
        for name in values
        if name not in known
    ]
    for name, parameter in known.items():
        if name in values and (why := _misfit(values[name], _type_name(parameter.type))):
            faults.append(Fault(f"{name} of a {kind} is {values[name]!r}", path=name, fix=f"give {why}"))
        elif name not in values and parameter.default is dataclasses.MISSING:
            faults.append(Fault(f"a {kind} needs {name}", path=name, fix=f"add {name}: a number"))
    if faults:
        raise ArchitectureError(faults)
    return made(**values)


def _type_name(stated: object) -> str:
    """``int`` of ``width_bits: int``, whether its module keeps annotations as text or not."""
    return stated.__name__ if isinstance(stated, type) else str(stated)


def _misfit(value: object, wanted: str) -> str:
    """What a parameter has to be, if it is not."""
    if wanted == "int":
        return (
            ""
            if isinstance(value, int) and not isinstance(value, bool) and value >= 1
            else "a whole number of 1 or more"
        )
    if wanted == "float":
        number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        return "" if number else "a number above 0"
    return "" if isinstance(value, str) else "text"
