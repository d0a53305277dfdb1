"""What patterns of an operand a design can exploit, and the design as it is set up for one of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from sparseloom.arch.actions import EnergyTable
from sparseloom.arch.design import Design, Support
from sparseloom.errors import ArchitectureError, Fault
from sparseloom.fibertree.format import Format
from sparseloom.fibertree.sparsity import Chain, Sparsity, exploited

_OPEN: Final = re.compile(r"([A-Za-z]+)(\d+)=H")


@dataclass(frozen=True)
class SetUp:
    """A design set up for operands of these ``sparsities``, which are what it sees of them."""

    design: Design
    sparsities: Mapping[str, Sparsity]


_Way = tuple[str, Sparsity, Support | None]
"""A tensor, what the design sees of it, and by which of its supports."""


def set_ups(design: Design, given: Mapping[str, Sparsity]) -> list[SetUp]:
    """The ways in which a design can run operands of the ``given`` sparsities. Of each operand it sees the sparsest pattern that it
    supports and that the operand obeys, and where it supports nonzeros anywhere, these as another way: which is better depends on
    what they cost. A tensor of which the design says nothing it takes as it is, nonzeros anywhere.

    Raises ArchitectureError with every operand that it cannot run, and the patterns that it can.
    """
    faults, choices = list[Fault](), list[list[_Way]]()
    for tensor, sparsity in given.items():
        supports = design.supports.get(tensor)
        if supports is None:
            choices.append([(tensor, Sparsity(sparsity.density), None)])
            continue
        offers: list[_Way] = [
            (tensor, found, each) for each in supports if (found := exploited(each.pattern, sparsity)) is not None
        ]
        if not offers:
            known = "; ".join(str(each.pattern) for each in supports)
            what = f"{design.name} cannot run {tensor} that is {sparsity}"
            faults.append(Fault(what, path=tensor, fix=f"it supports {known}"))
        choices.append(_ways(offers))
    if faults:
        raise ArchitectureError(faults)
    return [_set_up(design, way) for way in product(*choices)]


def _ways(offers: list[_Way]) -> list[_Way]:
    """The sparsest of those with known places, and the sparsest with nonzeros anywhere if it is sparser still."""
    placed = sorted(
        (each for each in offers if each[1].chain or each[1].density == 1), key=lambda each: each[1].density
    )
    least = placed[0][1].density if placed else 1.0
    anywhere = [each for each in offers if not each[1].chain and each[1].density < least]
    return placed[:1] + anywhere[:1]


def _set_up(design: Design, way: tuple[_Way, ...]) -> SetUp:
    formats: Mapping[str, Mapping[str, Format]] = design.features.formats
    unused = set[str]()
    for tensor, sparsity, support in way:
        if support is not None:
            unused |= set(support.unused)
            if support.formats is not None:
                formats = _with_formats(formats, tensor, support.formats, sparsity.chain)
    ready = replace(design, features=replace(design.features, formats=formats))
    return SetUp(without(ready, unused), {tensor: sparsity for tensor, sparsity, _ in way})


def without(design: Design, unused: Collection[str]) -> Design:
    """The design with some of its blocks idle in every action that would use them."""
    if not unused:
        return design
    architecture = design.architecture
    levels = tuple(replace(level, energy=_idle(level.energy, unused)) for level in architecture.levels)
    compute = replace(architecture.compute, energy=_idle(architecture.compute.energy, unused))
    return replace(design, architecture=replace(architecture, levels=levels, compute=compute))


def _idle(table: EnergyTable, unused: Collection[str]) -> EnergyTable:
    parts = {
        block: {action: prices.get(f"gated_{action}", energy) for action, energy in prices.items()}
        if block in unused
        else prices
        for block, prices in table.parts.items()
    }
    change = {
        action: sum(parts[block].get(action, 0.0) - prices.get(action, 0.0) for block, prices in table.parts.items())
        for action in table.energies_pj
    }
    energies = {action: energy + change[action] for action, energy in table.energies_pj.items()}
    return replace(table, energies_pj=energies, parts=parts)


def _with_formats(
    formats: Mapping[str, Mapping[str, Format]], tensor: str, own_texts: Mapping[str, str], chain: Chain
) -> dict[str, Mapping[str, Format]]:
    """``formats`` with those of a tensor for a chain in place of its own."""
    own = {level: Format.parse(bound(text, chain)) for level, text in own_texts.items()}
    found: dict[str, Mapping[str, Format]] = {}
    for level in {**formats, **own}:
        table = {name: form for name, form in formats.get(level, {}).items() if name != tensor}
        table |= {tensor: own[level]} if level in own else {}
        if table:
            found[level] = table
    return found


def bound(text: str, chain: Chain) -> str:
    """A format in which ``K0=H`` stands for the blocks of a pattern's lowest rank, ``K1=H`` for those of the next, and so on.

    >>> bound("UOP(M,K2):/0-CP(K1=H)-CP(K0=H)", ((2, 8), (2, 4)))
    'UOP(M,K2):/0-CP(K1=8)-CP(K0=4)'
    """
    return _OPEN.sub(lambda match: f"{match[1]}{match[2]}={chain[-1 - int(match[2])][1]}", text)
