"""Timeloop's mapping: directives for each level, as our loop nest and as the complete tilings Timeloop analyses.

A level has a temporal directive, a spatial one where it has several children, and one that says what it keeps.
Permutations are written innermost first; our loops are outermost first. In a spatial directive, the loops at the
first ``split`` places of the permutation run along X, the others along Y (no ``split``: all along X).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sparseloom.arch.hierarchy import Architecture
from sparseloom.document import Node
from sparseloom.errors import suggest
from sparseloom.mapping.details import LevelDetails, Tiling
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.timeloop.factors import Factors, bounds
from sparseloom.timeloop.problem import Problem
from sparseloom.timeloop.reader import Reader
from sparseloom.timeloop.storage import stands_for_fanout

TEMPORAL, SPATIAL, BYPASS = "temporal", "spatial", "bypass"
TYPES: Final = {TEMPORAL: TEMPORAL, SPATIAL: SPATIAL, BYPASS: BYPASS, "datatype": BYPASS, "dataspace": BYPASS}
"""A directive's type, and what it is."""

_SECTIONS: Final = {TEMPORAL: "temporal loops", SPATIAL: "spatial loops", BYPASS: "bypass"}
_SEPARATORS: Final = re.compile(r"[\s,]+")


@dataclass
class _Loops:
    """One temporal or spatial directive, read. ``permutation`` is complete and innermost first."""

    node: Node
    permutation: tuple[str, ...]
    factors: Factors
    split: int | None = None
    excluded: dict[str, frozenset[str]] = field(default_factory=dict)


@dataclass
class _Level:
    """The directives of one level."""

    temporal: _Loops | None = None
    spatial: _Loops | None = None
    keeps: Node | None = None
    bypass: frozenset[str] = frozenset()
    stream: frozenset[str] = frozenset()


def read_mapping(
    node: Node, architecture: Architecture, levels: dict[str, LevelDetails], problem: Problem, reader: Reader
) -> tuple[Mapping, dict[str, Tiling]] | None:
    """Read the value of the top-level key ``mapping``; None if it has faults.

    A tensor that no directive of a level mentions is kept there (v0.4's fan-out levels keep nothing unless told to). A
    factor 0 stands for what the other factors of the dimension leave of it. A dimension that a directive's factors
    leave out has factor 1 there; dimensions that its permutation leaves out lie outside the others, in the problem's
    order. A mapping that covers a dimension not at all or more than once is a fault; one that the hardware cannot run
    is not.
    """
    before = len(reader.faults)
    directives = {name: _Level() for name in architecture.names}
    for item in reader.items(node):
        _directive(item, directives, problem, reader)
    for name, level in directives.items():
        _check_fanout(name, level, architecture, reader)
    found = _bounds(node, directives, problem, reader)
    if len(reader.faults) > before:
        return None
    tilings = {name: _tiling(name, level, found, architecture, problem) for name, level in directives.items()}
    mapped = [_mapped(name, directives[name], tilings[name], levels, problem, reader) for name in directives]
    return Mapping(tuple(mapped)), tilings


def _directive(node: Node, levels: dict[str, _Level], problem: Problem, reader: Reader) -> None:
    kind_node = node.get("type")
    word = reader.text(kind_node)
    kind = TYPES.get(word or "")
    if kind is None:
        if kind_node is None:
            reader.require(node, {}, "type")
        elif word is not None:
            reader.fault(kind_node, f"unknown type of directive '{word}'", suggest(word, TYPES))
        return
    fields = reader.fields(node, _SECTIONS[kind])
    if not reader.require(node, fields, "target"):
        return
    target = find_level(fields["target"], levels, reader)
    if target is None:
        return
    level = levels[target]
    if kind == BYPASS:
        _keep(node, fields, target, level, problem, reader)
        return
    other = level.temporal if kind == TEMPORAL else level.spatial
    if other is not None:
        reader.fault(
            node, f"a second {kind} directive for {target}, the first is at {other.node.where}", "keep one of them"
        )
        return
    loops = _loops(node, fields, target, problem, reader)
    if kind == TEMPORAL:
        level.temporal = loops
    else:
        level.spatial = loops


def find_level(node: Node, levels: Iterable[str], reader: Reader) -> str | None:
    """The level a directive is for: its name, or in v0.4 the name of the node whose fan-out the level stands for."""
    name = reader.text(node)
    if name is None or name in levels:
        return name
    fanout = reader.dialect.fanout_level.format(name) if reader.dialect.fanout_level else ""
    if fanout in levels:
        return fanout
    reader.fault(node, f"unknown level '{name}'", suggest(name, levels))
    return None


def _keep(node: Node, fields: dict[str, Node], target: str, level: _Level, problem: Problem, reader: Reader) -> None:
    if level.keeps is not None:
        what = f"a second directive on what {target} keeps, the first is at {level.keeps.where}"
        reader.fault(node, what, "merge the two")
        return
    level.keeps = node
    tensors = problem.tensors or None
    keep = reader.names(fields.get("keep"), tensors, "data-space")
    level.bypass = frozenset(reader.names(fields.get("bypass"), tensors, "data-space"))
    level.stream = frozenset(reader.names(fields.get("stream"), tensors, "data-space"))
    for tensor in keep:
        if tensor in level.bypass:
            reader.fault(node, f"{target} is to keep {tensor} and to bypass it", "name it in one of the lists")


def _loops(node: Node, fields: dict[str, Node], target: str, problem: Problem, reader: Reader) -> _Loops:
    order = _permutation(fields.get("permutation"), target, problem, reader)
    factors = Factors.read(fields.get("factors"), problem.dimensions, reader)
    split = reader.integer(fields.get("split"))
    excluded = {
        key: frozenset(reader.names(child, problem.tensors or None, "data-space"))
        for key, child in fields.items()
        if key.startswith("no_")
    }
    return _Loops(node, order, factors, split, excluded)


def _permutation(node: Node | None, target: str, problem: Problem, reader: Reader) -> tuple[str, ...]:
    """All dimensions, innermost first: those that are written, then the others in the problem's order."""
    written = list[str]()
    for name in permuted_names(node, problem.dimensions, reader):
        if name not in problem.dimensions:
            if node is not None and problem.dimensions:
                reader.fault(node, f"unknown dimension '{name}' in the permutation", suggest(name, problem.dimensions))
        elif name in written:
            if node is not None:
                reader.fault(node, f"dimension {name} occurs twice in the permutation", "keep one of them")
        else:
            written.append(name)
    rest = [name for name in problem.dimensions if name not in written]
    if node is not None and written and rest:
        reader.note(
            node, f"the permutation of {target} leaves out {', '.join(rest)}: put outside the others, in this order"
        )
    return (*written, *rest)


def permuted_names(node: Node | None, dimensions: tuple[str, ...], reader: Reader) -> list[str]:
    """The names of a permutation: a list, names with blanks or commas between them, or single letters in a row."""
    if node is None or node.value is None:
        return []
    if isinstance(node.value, list):
        return [name for name in map(reader.text, node.value) if name is not None]
    pieces = [piece for piece in _SEPARATORS.split(reader.text(node) or "") if piece]
    if all(piece in dimensions for piece in pieces):
        return pieces
    return [letter for piece in pieces for letter in piece]


def _check_fanout(name: str, level: _Level, architecture: Architecture, reader: Reader) -> None:
    """Refuse loops over the children of a level that has a single one."""
    across, down = architecture.fanout(architecture.index(name))
    if level.spatial is None or across * down > 1:
        return
    loops = [f"{d}={f.bound}" for d, f in level.spatial.factors.items() if f.bound != 1]
    if loops:
        what = f"{name} has one child, its spatial directive has {' '.join(loops)}"
        reader.fault(level.spatial.node, what, "give the level below more instances, or make the factors 1")


def _bounds(node: Node, levels: dict[str, _Level], problem: Problem, reader: Reader) -> dict[tuple[int, str], int]:
    """The bound of every loop, by directive (its node's identity) and dimension."""
    found: dict[tuple[int, str], int] = {}
    nest = [loops for level in levels.values() for loops in (level.temporal, level.spatial) if loops is not None]
    for dimension, size in problem.sizes.items():
        chain = [(loops.node, loops.factors[dimension]) for loops in nest if dimension in loops.factors]
        for (at, _), bound in zip(chain, bounds(node, dimension, size, chain, reader), strict=True):
            found[id(at), dimension] = bound
    return found


def _tiling(
    name: str, level: _Level, found: dict[tuple[int, str], int], architecture: Architecture, problem: Problem
) -> Tiling:
    across, down = architecture.fanout(architecture.index(name))
    excluded = {
        **(level.temporal.excluded if level.temporal else {}),
        **(level.spatial.excluded if level.spatial else {}),
    }
    return Tiling(
        _nest(level.temporal, False, found, problem),
        _nest(level.spatial, True, found, problem) if across * down > 1 else (),
        **excluded,
    )


def _nest(loops: _Loops | None, spatial: bool, found: dict[tuple[int, str], int], problem: Problem) -> tuple[Loop, ...]:
    """The loops of one directive, outermost first, one for each dimension that a data-space mentions."""
    order = loops.permutation if loops else problem.dimensions
    split = len(order) if loops is None or loops.split is None else loops.split
    nest = []
    for place, dimension in enumerate(order):
        if dimension in problem.ranks:
            bound = found.get((id(loops.node), dimension), 1) if loops else 1
            axis = ("X" if place < split else "Y") if spatial else ""
            nest.append(Loop(problem.ranks[dimension], bound, axis))
    return tuple(reversed(nest))


def _mapped(
    name: str, level: _Level, tiling: Tiling, levels: dict[str, LevelDetails], problem: Problem, reader: Reader
) -> LevelMapping:
    tensors = frozenset(problem.tensors)
    nothing = level.keeps is None and stands_for_fanout(levels[name], reader)
    keep = frozenset[str]() if nothing else tensors - level.bypass
    return LevelMapping(
        name,
        tuple(loop for loop in tiling.temporal if loop.bound > 1),
        tuple(loop for loop in tiling.spatial if loop.bound > 1),
        keep,
        (level.stream & tensors) - keep,
    )
