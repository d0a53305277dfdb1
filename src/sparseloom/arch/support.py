"""What patterns of an operand a design can exploit, and the design as it is set up for one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

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


def set_up(design: Design, given: Mapping[str, Sparsity]) -> SetUp:
    """The design for operands of the ``given`` sparsities: of each it exploits the sparsest pattern that it supports and that the
    operand obeys, in the formats that it has for it. A tensor of which it says nothing it takes as it is, nonzeros anywhere.

    Raises ArchitectureError with every operand that it cannot run, and the patterns that it can.
    """
    faults, seen, formats = list[Fault](), dict[str, Sparsity](), dict(design.features.formats)
    for tensor, sparsity in given.items():
        supports = design.supports.get(tensor)
        if supports is None:
            seen[tensor] = Sparsity(sparsity.density)
            continue
        offers = [(found, each) for each in supports if (found := exploited(each.pattern, sparsity)) is not None]
        if not offers:
            known = "; ".join(str(each.pattern) for each in supports)
            what = f"{design.name} cannot run {tensor} that is {sparsity}"
            faults.append(Fault(what, path=tensor, fix=f"it supports {known}"))
            continue
        seen[tensor], support = min(offers, key=lambda offer: offer[0].density)
        if support.formats is not None:
            formats = _with_formats(formats, tensor, support, seen[tensor].chain)
    if faults:
        raise ArchitectureError(faults)
    return SetUp(replace(design, features=replace(design.features, formats=formats)), seen)


def _with_formats(
    formats: Mapping[str, Mapping[str, Format]], tensor: str, support: Support, chain: Chain
) -> dict[str, Mapping[str, Format]]:
    """``formats`` with those of a tensor for a chain in place of its own."""
    own = {level: Format.parse(bound(text, chain)) for level, text in (support.formats or {}).items()}
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
