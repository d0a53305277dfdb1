"""Timeloop's constraints of mapspaces: directives for each level, as :mod:`sparseloom.mapping.constraints` has them.

They stand under ``architecture_constraints``, ``mapspace_constraints`` and ``mapspace``, in one file or several, and hold together.
A factor 0 is the whole dimension, ``M<=8`` the most. A permutation, innermost first, pins its dimensions as the innermost loops;
those it leaves out are free outside of them. Dimensions before the ``split`` of a spatial permutation run along X, those after it
along Y; without a split every dimension may run along either. Tensors that no directive names are kept or
bypassed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace
from typing import Final

from sparseloom.arch.hierarchy import Architecture
from sparseloom.document import Node
from sparseloom.errors import suggest
from sparseloom.mapping.constraints import Constraints, LevelConstraints, Limit
from sparseloom.timeloop.factors import factors
from sparseloom.timeloop.mapping import BYPASS, SPATIAL, TEMPORAL, TYPES, find_level, permuted_names
from sparseloom.timeloop.problem import Problem
from sparseloom.timeloop.reader import Reader

PARALLELISM: Final = "parallelism"
_KINDS: Final = {**TYPES, "utilization": PARALLELISM, "parallelism": PARALLELISM}
_SECTIONS: Final = {
    TEMPORAL: "temporal loops",
    SPATIAL: "spatial loops",
    BYPASS: "bypass",
    PARALLELISM: "parallelism",
}


@dataclass
class _Found:
    """What was read so far."""

    levels: dict[str, LevelConstraints]
    shares: dict[str, float] = field(default_factory=dict)


def read_constraints(
    nodes: Sequence[Node], architecture: Architecture, problem: Problem, reader: Reader
) -> Constraints:
    """The constraints under some top-level keys. What contradicts what was said before is a fault, as is an unknown name."""
    found = _Found({name: LevelConstraints() for name in architecture.names})
    for node in nodes:
        for item in _directives(node, reader):
            _directive(item, found, architecture, problem, reader)
    least, most = found.shares.get("min", 0.0), found.shares.get("max", 1.0)
    return Constraints(found.levels, least, most)


def _directives(node: Node, reader: Reader) -> Iterable[Node]:
    """The directives of a section: a list, or a list under ``targets`` or under a name that ``constraints`` gives."""
    if isinstance(node.value, dict):
        named = node.get("constraints")
        inner = node.get("targets")
        if inner is None and named is not None:
            key = named.value if isinstance(named.value, str) else ""
            inner = node.get(f"constraints_{key}", key) if key else named
        if inner is None:
            reader.fault(node, "there are no constraints here", "give them as a list under `targets:`")
            return []
        return reader.items(inner)
    return reader.items(node)


def _directive(node: Node, found: _Found, architecture: Architecture, problem: Problem, reader: Reader) -> None:
    word = reader.text(node.get("type"))
    kind = _KINDS.get(word or "")
    if kind is None:
        if word is None:
            reader.require(node, {}, "type")
        else:
            reader.fault(node.get("type") or node, f"unknown type of constraint '{word}'", suggest(word, _KINDS))
        return
    fields = reader.fields(node, _SECTIONS[kind])
    if kind == PARALLELISM:
        for key in ("min", "max"):
            share = reader.number(fields.get(key))
            if share is not None:
                found.shares[key] = share
        return
    if not reader.require(node, fields, "target"):
        return
    target = find_level(fields["target"], found.levels, reader)
    if target is None:
        return
    level = found.levels[target]
    if kind == BYPASS:
        names = {
            key: frozenset(reader.names(fields.get(key), problem.tensors or None, "data-space"))
            for key in ("keep", "bypass", "stream")
        }
        found.levels[target] = replace(
            level, keep=level.keep | names["keep"], bypass=level.bypass | names["bypass"],
            stream=level.stream | names["stream"],
        )  # fmt: skip
        return
    limits = _limits(fields.get("factors"), problem, reader)
    order = permuted_names(fields.get("permutation"), problem.dimensions, reader)
    for name in order:
        if name not in problem.dimensions:
            what = f"unknown dimension '{name}' in the permutation"
            reader.fault(fields["permutation"], what, suggest(name, problem.dimensions))
    ranks = [problem.ranks[name] for name in order if name in problem.ranks]
    inner = level.inner if kind == TEMPORAL else level.inner_spatial
    if ranks:
        if inner and inner != tuple(reversed(ranks)):
            reader.fault(node, f"a second order of {target}'s {kind} loops", "keep one of them")
        inner = tuple(reversed(ranks))
    if kind == TEMPORAL:
        temporal = _both(node, target, level.temporal, limits, reader)
        found.levels[target] = replace(level, temporal=temporal, inner=inner)
        return
    axes = dict(level.axes)
    split = reader.integer(fields.get("split"))
    if split is not None:
        axes |= {
            problem.ranks[name]: "X" if i < split else "Y" for i, name in enumerate(order) if name in problem.ranks
        }
        if split <= len(order):
            axes |= {rank: "Y" for rank in problem.ranks.values() if rank not in ranks}
    spatial = _both(node, target, level.spatial, limits, reader)
    found.levels[target] = replace(level, spatial=spatial, axes=axes, inner_spatial=inner)


def _limits(node: Node | None, problem: Problem, reader: Reader) -> dict[str, Limit]:
    found: dict[str, Limit] = {}
    for item, match in factors(node, True, reader):
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
