"""Timeloop's constraints of mapspaces: directives for each level, as :mod:`sparseloom.mapping.constraints` has them.

They stand under ``architecture_constraints``, ``mapspace_constraints``, ``mapspace`` and ``constraints``, in one file or several,
and at the nodes of a v0.4 architecture, and hold together. A factor 0 is the whole dimension, ``M<=8`` the most; ``factors_only``
makes 1 of all dimensions that it leaves out. A permutation, innermost first, pins its dimensions as the innermost loops;
those it leaves out are free outside of them. Dimensions before the ``split`` of a spatial permutation run along X, those after it
along Y; without a split every dimension may run along either. Tensors that no directive names are kept or bypassed;
``keep_only`` bypasses those that it leaves out. A number that is no factor of its dimension limits nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace
from typing import Final

from sparseloom.arch.hierarchy import Architecture
from sparseloom.document import Node
from sparseloom.errors import suggest
from sparseloom.mapping.constraints import FREE, Constraints, LevelConstraints, Limit
from sparseloom.timeloop.architecture import Tree
from sparseloom.timeloop.dialect import canonical
from sparseloom.timeloop.factors import factors
from sparseloom.timeloop.mapping import BYPASS, SPATIAL, TEMPORAL, TYPES, find_level, permuted_names
from sparseloom.timeloop.problem import Problem
from sparseloom.timeloop.reader import Reader
from sparseloom.timeloop.storage import stands_for_fanout

PARALLELISM: Final = "parallelism"
_KINDS: Final = {**TYPES, "utilization": PARALLELISM, "parallelism": PARALLELISM}
_SECTIONS: Final = {
    TEMPORAL: "temporal constraint",
    SPATIAL: "spatial constraint",
    BYPASS: "bypass constraint",
    PARALLELISM: "parallelism",
}
_BARS_REUSE: Final = ("no_reuse", "no_temporal_reuse", "no_multicast_no_reduction")
"""Keys that forbid what the search counts on: it cannot find the best mapping under them."""

_SETTINGS: Final = ("version", "template")
"""Keys of a ``mapspace`` that are no constraints."""


@dataclass
class _Found:
    """What was read so far; ``places`` has where the limit of a loop stands, by level, kind and rank."""

    levels: dict[str, LevelConstraints]
    shares: dict[str, float] = field(default_factory=dict)
    places: dict[tuple[str, str, str], Node] = field(default_factory=dict)

    def limits(self, name: str, kind: str) -> Table[str, Limit]:
        """The limits of a level's temporal or spatial loops."""
        return self.levels[name].temporal if kind == TEMPORAL else self.levels[name].spatial

    def limit(self, name: str, kind: str, limits: Table[str, Limit]) -> None:
        """Put ``limits`` in the place of those of a level's temporal or spatial loops."""
        level = self.levels[name]
        self.levels[name] = replace(level, temporal=limits) if kind == TEMPORAL else replace(level, spatial=limits)


def read_constraints(
    nodes: Sequence[Node], tree: Tree, architecture: Architecture, problem: Problem, reader: Reader
) -> Constraints:
    """The constraints under some top-level keys and at the nodes of ``tree``. What contradicts what was said before is a fault, as
    is an unknown name."""
    details = tree.details or {}
    found = _Found({name: LevelConstraints() for name in architecture.names})
    for name in found.levels:
        if stands_for_fanout(details[name], reader):
            found.levels[name] = _nothing(problem)
    for name, node in tree.constraints:
        _at_node(name, node, found, problem, reader)
    for node in nodes:
        for item in _directives(node, reader):
            _directive(item, found, problem, reader)
    _free_what_does_not_divide(found, problem, reader)
    least, most = found.shares.get("min", 0.0), found.shares.get("max", 1.0)
    return Constraints(found.levels, least, most)


def _nothing(problem: Problem) -> LevelConstraints:
    """The constraints of a level that Timeloop's front end puts where a fan-out is: no storage, no temporal loops."""
    limits = {rank: Limit.exactly(1) for rank in problem.ranks.values()}
    return LevelConstraints(limits, bypass=frozenset(problem.tensors))


def _directives(node: Node, reader: Reader) -> Iterable[Node]:
    """The directives of a section: a list, or a list under ``targets`` or under a name that ``constraints`` gives."""
    if not isinstance(node.value, dict):
        return reader.items(node)
    named, inner = node.get("constraints"), node.get("targets")
    if inner is None and named is not None:
        key = named.value if isinstance(named.value, str) else ""
        inner = node.get(f"constraints_{key}", key) if key else named
        if inner is None:
            names = [name.removeprefix("constraints_") for name in node.value if name.startswith("constraints_")]
            fix = suggest(key, names) or f"give them as a list under `constraints_{key}:`"
            reader.fault(named, f"there are no constraints '{key}'", fix)
            return []
    if inner is None and any(key not in _SETTINGS for key in node.value):
        reader.fault(node, "there are no constraints here", "give them as a list under `targets:`")
    return reader.items(inner)


def _directive(node: Node, found: _Found, problem: Problem, reader: Reader) -> None:
    """Read one directive of a list."""
    word = reader.text(node.get("type"))
    kind = _KINDS.get(word or "")
    if kind is None:
        if word is None:
            reader.require(node, {}, "type")
        else:
            reader.fault(node.get("type") or node, f"unknown type of constraint '{word}'", suggest(word, _KINDS))
        return
    fields = _fields(node, kind, reader)
    if kind == PARALLELISM:
        for key in ("min", "max"):
            share = reader.number(fields.get(key))
            if share is not None:
                found.shares[key] = share
    elif reader.require(node, fields, "target"):
        target = find_level(fields["target"], found.levels, reader)
        if target is not None:
            _limit_level(kind, target, node, fields, found, problem, reader)


def _at_node(name: str, node: Node, found: _Found, problem: Problem, reader: Reader) -> None:
    """Read the constraints at a node of a v0.4 architecture. Spatial ones are those of its fan-out."""
    for key, child in reader.fields(node, "node constraints").items():
        kind, fanout = TYPES[key], reader.dialect.fanout_level.format(name)
        target = name if name in found.levels and kind != SPATIAL else fanout
        if not child.value:
            continue
        fields = _fields(child, kind, reader)
        if target in found.levels:
            _limit_level(kind, target, child, fields, found, problem, reader)
        elif kind == SPATIAL:
            reader.note(child, f"{name} has no fan-out of its own: its spatial constraint limits nothing")
        else:
            reader.fault(child, f"{name} is no storage level: it has no {key} constraint", "give it to one")


def _fields(node: Node, kind: str, reader: Reader) -> dict[str, Node]:
    """The fields of a constraint; a fault for each that the search could not heed."""
    if not isinstance(node.value, dict):
        return reader.fields(node, _SECTIONS[kind])
    for key, child in node.value.items():
        if canonical(key) in _BARS_REUSE:
            what = f"'{key}' cannot be heeded: the search counts on reuse wherever loops allow it"
            reader.fault(child, what, "leave it out")
    heeded = {key: child for key, child in node.value.items() if canonical(key) not in _BARS_REUSE}
    return reader.fields(replace(node, value=heeded), _SECTIONS[kind])


def _limit_level(
    kind: str, target: str, node: Node, fields: dict[str, Node], found: _Found, problem: Problem, reader: Reader
) -> None:
    """Add what the ``fields`` of a constraint say to what was found for a level."""
    level = found.levels[target]
    if kind == BYPASS:
        found.levels[target] = _kept(level, fields, problem, reader)
        return
    limits = _limits(fields, problem, reader)
    order = permuted_names(fields.get("permutation"), problem.dimensions, reader)
    for name in order:
        if name not in problem.dimensions:
            what = f"unknown dimension '{name}' in the permutation"
            reader.fault(fields["permutation"], what, suggest(name, problem.dimensions))
    ranks = [problem.ranks[name] for name in order if name in problem.ranks]
    inner = level.inner if kind == TEMPORAL else level.inner_spatial
    if ranks and inner and inner != tuple(reversed(ranks)):
        reader.fault(node, f"a second order of {target}'s {kind} loops", "keep one of them")
    inner = tuple(reversed(ranks)) or inner
    if kind == TEMPORAL:
        found.levels[target] = replace(level, inner=inner)
    else:
        axes = {**level.axes, **_axes(fields, order, problem, reader)}
        found.levels[target] = replace(level, axes=axes, inner_spatial=inner)
    found.places |= {(target, kind, rank): node for rank in limits}
    found.limit(target, kind, _both(node, target, found.limits(target, kind), limits, reader))


def _axes(fields: dict[str, Node], order: list[str], problem: Problem, reader: Reader) -> dict[str, str]:
    """The axis of each rank that a split gives one."""
    split = reader.integer(fields.get("split"))
    if split is None:
        return {}
    rest = [name for name in problem.dimensions if name not in order] if split <= len(order) else []
    along = {name: "X" if place < split else "Y" for place, name in enumerate((*order, *rest))}
    return {problem.ranks[name]: axis for name, axis in along.items() if name in problem.ranks}


def _kept(level: LevelConstraints, fields: dict[str, Node], problem: Problem, reader: Reader) -> LevelConstraints:
    """A level's constraints with what a directive says of the tensors that it keeps."""
    names = {
        key: frozenset(reader.names(fields.get(key), problem.tensors or None, "data-space"))
        for key in ("keep", "keep_only", "bypass", "stream")
    }
    others = frozenset(problem.tensors) - names["keep_only"] if "keep_only" in fields else frozenset[str]()
    return replace(
        level, keep=level.keep | names["keep"] | names["keep_only"], bypass=level.bypass | names["bypass"] | others,
        stream=level.stream | names["stream"],
    )  # fmt: skip


def _limits(fields: dict[str, Node], problem: Problem, reader: Reader) -> dict[str, Limit]:
    only = "factors_only" in fields
    found = {rank: Limit.exactly(1) for rank in problem.ranks.values()} if only else dict[str, Limit]()
    for key in ("factors_only", "factors"):
        for item, match in factors(fields.get(key), True, reader):
            name, bound = match["dim"], int(match["bound"])
            if name not in problem.dimensions:
                reader.fault(item, f"unknown dimension '{name}' in the factors", suggest(name, problem.dimensions))
            elif name in problem.ranks:
                found[problem.ranks[name]] = _limit(match["sign"], bound)
    return found


def _limit(sign: str | None, bound: int) -> Limit:
    if bound == 0:
        return Limit(whole=True)
    return {"<=": Limit(1, bound), ">=": Limit(bound)}.get(sign or "=", Limit.exactly(bound))


def _both(
    node: Node, target: str, before: Table[str, Limit], more: dict[str, Limit], reader: Reader
) -> dict[str, Limit]:
    """Limits of one level that hold together."""
    found = dict(before)
    for rank, limit in more.items():
        if rank in found and found[rank] != limit:
            what = f"{target}: the bound of {rank} is limited to {limit}, and elsewhere to {found[rank]}"
            reader.fault(node, what, "keep one of them")
        found[rank] = limit
    return found


def _free_what_does_not_divide(found: _Found, problem: Problem, reader: Reader) -> None:
    """Drop the bounds that, together with those further in, are no factors of their dimension's size: Timeloop leaves those loops
    free.

    Source: Timeloop, src/util/numeric.cpp, factors of a number of which some are given.
    """
    for dimension, rank in problem.ranks.items():
        size, product = problem.sizes.get(dimension, 1), 1
        for name, kind in ((name, kind) for name in reversed(found.levels) for kind in (SPATIAL, TEMPORAL)):
            limits = found.limits(name, kind)
            limit = limits.get(rank, FREE)
            bound = limit.of(size)[0] if limit.whole or limit.least == limit.most else 1
            if size % (product * bound) == 0:
                product *= bound
                continue
            inside = f" beside the {product} further in" if product > 1 else ""
            text = f"{name}: {bound} is no factor of {dimension}={size}{inside}; its {kind} loop is left free"
            reader.note(found.places[name, kind, rank], text)
            found.limit(name, kind, {other: each for other, each in limits.items() if other != rank})
