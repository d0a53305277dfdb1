"""The energies of a whole design at one technology, from what it says it is made of."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from sparseloom.arch.actions import EnergyTable
from sparseloom.arch.blocks import Block, blocks
from sparseloom.arch.design import Design
from sparseloom.arch.technology import Technology


def estimated(design: Design, technology: Technology) -> Design:
    """The design with estimated energies in place of those it has. The energy of an action is the sum of what the blocks that it
    uses take; the table keeps these as its parts.

    Raises ArchitectureError where something cannot be estimated, with all reasons.
    """
    found = blocks(design, technology)
    architecture = design.architecture
    levels = tuple(replace(level, energy=_table(level.name, found, technology)) for level in architecture.levels)
    compute = replace(architecture.compute, energy=_table(architecture.compute.name, found, technology))
    return replace(design, architecture=replace(architecture, levels=levels, compute=compute))


def _table(level: str, found: tuple[Block, ...], technology: Technology) -> EnergyTable:
    parts = {block.name: dict(block.prices_pj[level]) for block in found if level in block.prices_pj}
    total = defaultdict[str, float](float)
    for prices in parts.values():
        for action, energy_pj in prices.items():
            total[action] += energy_pj
    sources = dict.fromkeys(block.estimate.source for block in found if level in block.prices_pj)
    return EnergyTable(dict(total), f"{', '.join(sources)}; {technology}" if sources else "", parts)
