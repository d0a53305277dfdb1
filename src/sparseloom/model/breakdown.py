"""Where the energy of one mapping goes: by block of the design, level, tensor and action.

Energy is linear in its prices, so what moves, priced with the part that one block has of an action, is what that block takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sparseloom.arch.actions import DATA_ACTIONS, OUTCOMES, EnergyTable
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.mapping import Mapping
from sparseloom.model.batch import evaluate_batch
from sparseloom.model.microarch import energy_of, prices_of


@dataclass(frozen=True)
class Charge:
    """What ``block`` takes in all accesses of a ``tensor`` by an ``action`` at a ``level``; ``tensor`` is empty for computes."""

    block: str
    level: str
    tensor: str
    action: str
    energy_pj: float


def breakdown(problem: Problem, mapping: Mapping) -> tuple[Charge, ...]:
    """All energy of a mapping, under the clean conventions. Data and metadata of an action count together where one block serves
    both. A table without parts is one block with the name of its level.

    Raises what :func:`~sparseloom.model.batch.evaluate_batch` raises.
    """
    return tuple(charge for charge in _charges(problem, mapping) if charge.energy_pj)


def _charges(problem: Problem, mapping: Mapping) -> Iterator[Charge]:
    found = evaluate_batch(problem, MappingBatch.of(problem, [mapping]))
    for level in problem.design.architecture.levels:
        for block, table in _parts(level.name, level.energy):
            prices = prices_of(level, table.pj)
            for tensor, share in found.shares[level.name].items():
                for action in DATA_ACTIONS:
                    moved = share.moved(action)
                    if moved is not None:
                        yield Charge(block, level.name, tensor, action, float(energy_of(moved, prices[action])[0]))
    unit = problem.design.architecture.compute
    for block, table in _parts(unit.name, unit.energy):
        energy = sum(float(getattr(found.computes, outcome)[0]) * table.pj("compute", outcome) for outcome in OUTCOMES)
        yield Charge(block, unit.name, "", "compute", energy)


def _parts(level: str, table: EnergyTable) -> Iterator[tuple[str, EnergyTable]]:
    """The table of each block that has a part in a level's."""
    for block, energies_pj in (table.parts or {level: table.energies_pj}).items():
        yield block, EnergyTable(energies_pj)
