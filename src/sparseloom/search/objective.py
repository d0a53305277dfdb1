"""What makes one mapping better than another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.design import Design
from sparseloom.errors import Fault, InputError, suggest

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """A value to make small, of energy in pJ and cycles; it grows with both, or with one of them and not with the other.
    ``energies``: it is nothing without energies."""

    name: str
    unit: str
    of: Callable[[FloatArray, FloatArray], FloatArray]
    energies: bool = True

    def keys(self, energy_pj: FloatArray, cycles: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """What mappings are compared by, first things first: the value, then the energy, then the cycles."""
        return self.of(energy_pj, cycles), energy_pj, cycles

    def require_energies(self, design: Design) -> None:
        """Raises InputError where the objective is about energy and nothing in the design costs any: all mappings are equal."""
        tables = [design.architecture.compute.energy, *(level.energy for level in design.architecture.levels)]
        if self.energies and not any(any(table.energies_pj.values()) for table in tables):
            what = f"the objective {self.name} is about energy, and the files give no energies"
            raise InputError(
                Fault(
                    what,
                    path="objective",
                    fix="give them, or estimate them with --node 45, or use --objective cycles or --energy-table NAME",
                )
            )


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("edp", "pJ x cycles", lambda energy_pj, cycles: energy_pj * cycles),
        Objective("energy", "pJ", lambda energy_pj, cycles: energy_pj),
        Objective("cycles", "cycles", lambda energy_pj, cycles: cycles, energies=False),
    )
}


def require_budget(budget_s: float, gap: float = 0.0) -> None:
    """Raises InputError for a budget that is not above 0 seconds, and for a gap below 0."""
    if not gap >= 0:
        raise InputError(Fault(f"the gap is {100 * gap:g} %", path="gap", fix="give 0% or more"))
    if not budget_s > 0:
        raise InputError(Fault(f"the budget is {budget_s:g} s", path="budget", fix="give more than 0 s"))


def objective(name: str, others: tuple[str, ...] = ()) -> Objective:
    """The objective of a name. Raises InputError for one that does not exist; ``others``: what else may be asked for where it was
    given."""
    if name not in OBJECTIVES:
        known = (*OBJECTIVES, *others)
        raise InputError(Fault(f"unknown objective '{name}'", path="objective", fix=suggest(name, known)))
    return OBJECTIVES[name]
