"""A design's parts, what it supports and what it allows of its mappings, as rows of text under a head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from sparseloom.arch.component import Component, kind_of
from sparseloom.arch.design import Design
from sparseloom.arch.hierarchy import ComputeLevel, StorageLevel
from sparseloom.mapping.constraints import Constraints, LevelConstraints, Limit

Row = tuple[str, ...]
NOTHING = "-"


def component_rows(design: Design) -> list[Row]:
    """What levels, the compute unit and all else are made of; no rows for a design that does not say."""
    found = list(_components(design))
    return [("part", "instances", "made of", "used by"), *found] if found else []


def _components(design: Design) -> Iterator[Row]:
    levels: tuple[StorageLevel | ComputeLevel, ...] = (*design.architecture.levels, design.architecture.compute)
    for level in levels:
        if level.component is not None:
            yield level.name, f"{level.instances:,}", component_text(level.component), NOTHING
        if isinstance(level, StorageLevel) and level.metadata_component is not None:
            yield f"{level.name} metadata", f"{level.instances:,}", component_text(level.metadata_component), NOTHING
    for unit in design.units:
        used = "; ".join(f"{level}: {', '.join(actions)}" for level, actions in unit.used_by.items())
        yield unit.name, f"{unit.instances:,}", component_text(unit.component), used or NOTHING


def component_text(component: Component) -> str:
    """As ``sram (width_bits 512, depth 4096, banks 2, ports 2)``."""
    values = ", ".join(f"{each.name} {getattr(component, each.name)}" for each in fields(component))
    return f"{kind_of(component)} ({values})" if values else kind_of(component)


def support_rows(design: Design) -> list[Row]:
    """Which patterns of an operand the design exploits, in which formats; no rows for one that says nothing of them."""
    found = [
        (
            tensor,
            str(support.pattern),
            "as in the levels" if support.formats is None else _pairs(support.formats) if support.formats else "none",
            ", ".join(support.unused) or NOTHING,
        )
        for tensor, supports in design.supports.items()
        for support in supports
    ]
    return [("operand", "pattern", "formats", "units that stand still"), *found] if found else []


def constraint_rows(constraints: Constraints) -> list[Row]:
    """What each level allows of a mapping; no rows where all is free. Levels under ``wider`` say so."""
    found = [_constraint_row(name, level) for name, level in constraints.levels.items()]
    found += [_constraint_row(f"{name}, wider", level) for name, level in constraints.wider.items()]
    head = ("level", "temporal", "innermost", "spatial", "innermost in space", "axes", "keeps", "bypasses")
    return [head, *found] if found else []


def _constraint_row(name: str, level: LevelConstraints) -> Row:
    return (
        name,
        _limits(level.temporal),
        " ".join(level.inner) or NOTHING,
        _limits(level.spatial),
        " ".join(level.inner_spatial) or NOTHING,
        _pairs(level.axes),
        ", ".join(sorted(level.keep)) or NOTHING,
        ", ".join(sorted(level.bypass)) or NOTHING,
    )


def _limits(limits: Mapping[str, Limit]) -> str:
    return ", ".join(f"{rank} {limit}" for rank, limit in limits.items()) or NOTHING


def _pairs(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in pairs.items()) or NOTHING
