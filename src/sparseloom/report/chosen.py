"""What a search over the choices of a design found: what was chosen, and how every variant stands, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sparseloom.arch.choice import Choice, Variant
from sparseloom.arch.design import Design
from sparseloom.errors import MappingError
from sparseloom.report.mapped import finite
from sparseloom.results.table import shorten, table
from sparseloom.search.codesign import Chosen
from sparseloom.search.mapper import Best

Variants = Sequence[Variant[Design]]

TEXT_WIDTH = 40
"""Letters of an alternative in the table."""

MOST_ROWS = 100
"""Variants in the table."""


def text(variants: Variants, chosen: Chosen) -> str:
    """The choices of the best design, and a line for each variant, the best first; empty where nothing was open. A mapping was
    found."""
    choices = variants[chosen.number].choices
    if not choices:
        return ""
    heading = [f"chosen    {choice}" for choice in choices]
    paths = [choice.path.rpartition(".")[2] for choice in choices]
    names = [path if paths.count(path) == 1 else choice.path for path, choice in zip(paths, choices, strict=True)]
    head = (*(shorten(name, TEXT_WIDTH) for name in names), chosen.best.objective, "how it stands")
    order = sorted(range(len(variants)), key=lambda k: _rank(chosen.each[k]))
    rows = [(*_alternatives(variants[k].choices), *_standing(chosen, k)) for k in order[:MOST_ROWS]]
    rest = [f"and {len(order) - MOST_ROWS:,} more, all in the file of --json"] if len(order) > MOST_ROWS else []
    return "\n".join([*heading, "", table(head, rows, len(head)), *rest])


def json_values(variants: Variants, chosen: Chosen) -> dict[str, Any]:
    """The choices by their key path, and what is known of each variant; nothing where nothing was open."""
    if not variants[chosen.number].choices:
        return {}
    return {
        "choices": _by_path(variants[chosen.number]),
        "variants": [
            {"choices": _by_path(variant), **_known(found)}
            for variant, found in zip(variants, chosen.each, strict=True)
        ],
    }


def _by_path(variant: Variant[Design]) -> dict[str, str]:
    return {choice.path: choice.text for choice in variant.choices}


def _known(found: Best | MappingError) -> dict[str, Any]:
    if isinstance(found, MappingError):
        return {"faults": [fault.what for fault in found.faults]}
    return {key: finite(getattr(found, key)) for key in ("value", "bound", "proven", "size", "evaluated")}


def _rank(found: Best | MappingError) -> tuple[float, float, float, float]:
    """The best first, then those that may be good, at last those without mappings."""
    if isinstance(found, MappingError):
        return (float("inf"),) * 4
    return found.value, found.energy_pj, found.cycles, found.bound


def _alternatives(choices: Sequence[Choice]) -> Iterator[str]:
    return (shorten(choice.text, TEXT_WIDTH) for choice in choices)


def _standing(chosen: Chosen, number: int) -> tuple[str, str]:
    """The value of one variant, and how good that is."""
    found, best = chosen.each[number], chosen.best
    if isinstance(found, MappingError):
        return "-", f"no mapping: {found.faults[0].what}"
    value = "-" if found.mapping is None else f"{found.value:.6g}"
    if number == chosen.number:
        return value, f"the best: {found.statement}"
    if found.mapping is None and found.proven:
        return value, "no mapping fits"
    if found.mapping is not None and found.proven:
        return value, f"optimal, {found.value / best.value:.4g} times the best"
    if found.bound >= best.value:
        times = f"{found.bound / best.value:.4g}"
        return value, "not better" if times == "1" else f"not better: at least {times} times the best"
    return value, f"open: at least {found.bound:.6g}"
