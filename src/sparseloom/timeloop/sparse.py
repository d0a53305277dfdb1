"""Timeloop's sparse optimizations: representation formats as written, storage features, compute features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sparseloom.arch.features import GATING, POSITION_SKIPPING, SKIPPING, SPATIAL_SKIPPING, Saf
from sparseloom.document import Node
from sparseloom.errors import suggest
from sparseloom.fibertree.format import KINDS
from sparseloom.mapping.details import FormatDetails, RankDetails
from sparseloom.timeloop.problem import Problem
from sparseloom.timeloop.reader import Reader

SAF_TYPES: Final = {
    "gating": GATING,
    "skipping": SKIPPING,
    "skipping-spatial": SPATIAL_SKIPPING,
    "spatial-skipping": SPATIAL_SKIPPING,
    "position-skipping": POSITION_SKIPPING,
}
"""Timeloop's type of an action optimization, and our kind of feature. ``position-skipping`` is known only from the
files of the Sparseloop artifact (MICRO 2022); no public build reads it."""

COMPUTE_TYPES: Final = {
    "gating": GATING,
    "gate-on-zero-operand": GATING,
    "skipping": SKIPPING,
    "skip-on-not-aligned-operands": SKIPPING,
}
_ORDERS: Final = ("outer-to-inner", "inner-to-outer")
_KIND_NAMES: Final = {"BITMASK": "B", **{kind: kind for kind in KINDS}}


@dataclass
class Sparse:
    """What was read. ``given`` says whether there was any target; ``places`` remembers where each format stands."""

    given: bool = False
    formats: dict[str, dict[str, FormatDetails]] = field(default_factory=dict)
    places: dict[tuple[str, str], Node] = field(default_factory=dict)
    safs: list[Saf] = field(default_factory=list)
    compute_gating: bool = False
    compute_skipping: bool = False


@dataclass(frozen=True)
class _Names:
    """What may be named; None where the section that defines it has faults of its own."""

    levels: tuple[str, ...] | None
    compute: str
    tensors: tuple[str, ...] | None
    dimensions: tuple[str, ...] | None
    ranks: dict[str, str]


def read_sparse(
    node: Node | None,
    at_levels: Iterable[tuple[str, Node]],
    levels: tuple[str, ...] | None,
    compute: str,
    problem: Problem,
    reader: Reader,
) -> Sparse:
    """Read the value of the top-level key ``sparse_optimizations``, and those that stand at components (v0.4)."""
    names = _Names(levels, compute, problem.tensors or None, problem.dimensions or None, problem.ranks)
    sparse = Sparse()
    if node is not None:
        for target in reader.items(reader.fields(node, "sparse").get("targets")):
            _target(target, None, sparse, names, reader)
    for level, target in at_levels:
        _target(target, level, sparse, names, reader)
    return sparse


def _target(node: Node, level: str | None, sparse: Sparse, names: _Names, reader: Reader) -> None:
    sparse.given = True
    fields = reader.fields(node, "sparse target")
    title = fields.get("name", fields.get("target"))
    if level is None:
        if title is None:
            reader.require(node, {}, "name")
            return
        level = reader.text(title)
        if level is None or names.levels is None:
            return
        if level not in names.levels and level != names.compute:
            reader.fault(title, f"unknown level '{level}'", suggest(level, [*names.levels, names.compute]))
            return
    at_compute = level == names.compute
    for key in ("representation_format", "action_optimization"):
        if key in fields and at_compute:
            reader.fault(fields.pop(key), f"{key} at {level}, which computes", "put it at a storage level")
    if "compute_optimization" in fields and not at_compute:
        reader.fault(
            fields.pop("compute_optimization"), f"compute_optimization at storage {level}", f"put it at {names.compute}"
        )
    if "representation_format" in fields:
        spaces = reader.fields(fields["representation_format"], "representation").get("data_spaces")
        for space in reader.items(spaces):
            _format(space, level, sparse, names, reader)
    for item in reader.items(fields.get("action_optimization")):
        _saf(item, level, sparse, names, reader)
    if "compute_optimization" in fields:
        _compute(fields["compute_optimization"], sparse, reader)


def _format(node: Node, level: str, sparse: Sparse, names: _Names, reader: Reader) -> None:
    fields = reader.fields(node, "tensor format")
    if not reader.require(node, fields, "name", "ranks"):
        return
    found = reader.names(fields["name"], names.tensors, "data-space")
    word = reader.text(fields.get("rank_application_order")) or _ORDERS[0]
    if word.replace("_", "-") not in _ORDERS:
        reader.fault(fields["rank_application_order"], f"unknown order '{word}'", suggest(word, _ORDERS))
    ranks = [_rank(item, names, reader) for item in reader.items(fields["ranks"])]
    if not ranks:
        reader.fault(fields["ranks"], "a format without ranks", "list at least one")
    complete = tuple(rank for rank in ranks if rank is not None)
    for tensor in found:
        if (level, tensor) in sparse.places:
            first = sparse.places[level, tensor].where
            reader.fault(node, f"a second format of {tensor} at {level}, the first is at {first}", "keep one of them")
        elif complete and len(complete) == len(ranks):
            details = FormatDetails(complete, word.replace("_", "-") == _ORDERS[1])
            sparse.formats.setdefault(level, {})[tensor] = details
            sparse.places[level, tensor] = node


def _rank(node: Node, names: _Names, reader: Reader) -> RankDetails | None:
    fields = reader.fields(node, "rank")
    if not reader.require(node, fields, "format"):
        return None
    word = reader.text(fields["format"])
    kind = _KIND_NAMES.get((word or "").upper())
    if kind is None:
        if word is not None:
            reader.fault(fields["format"], f"unknown format '{word}'", suggest(word.upper(), KINDS))
        return None
    return RankDetails(
        kind,
        _flattened(fields.get("flattened_rankIDs"), names, reader),
        reader.integer(fields.get("metadata_word_bits"), 1 if kind == "RLE" else 0),
        reader.integer(fields.get("payload_word_bits")),
    )


def _flattened(node: Node | None, names: _Names, reader: Reader) -> tuple[str, ...] | None:
    """The flattening rule of one rank, written as a list with one list of dimensions in it."""
    if node is None or node.value is None:
        return None
    rules = reader.items(node)
    if len(rules) != 1 or not isinstance(rules[0].value, list):
        reader.fault(node, f"one flattening rule is expected, {len(rules)} are given", "write [ [C, R] ]")
        return None
    found = reader.names(rules[0], names.dimensions, "dimension")
    return tuple(names.ranks.get(name, name) for name in found)


def _saf(node: Node, level: str, sparse: Sparse, names: _Names, reader: Reader) -> None:
    fields = reader.fields(node, "action")
    if not reader.require(node, fields, "type"):
        return
    word = (reader.text(fields["type"]) or "").replace("_", "-")
    kind = SAF_TYPES.get(word)
    if kind is None:
        if word:
            reader.fault(fields["type"], f"unknown action optimization '{word}'", suggest(word, SAF_TYPES))
        return
    if "options" in fields and ("target" in fields or "condition_on" in fields):
        reader.fault(node, "both options and a target are given", "keep one of them")
        return
    if "options" in fields:
        listed = [(item, reader.fields(item, "option")) for item in reader.items(fields["options"])]
    else:
        listed = [(node, fields)]
    options = [_option(item, each, names, reader) for item, each in listed]
    complete = [option for option in options if option is not None]
    if not options:
        reader.fault(fields["options"], "no option is given", "list a target and what it is conditioned on")
    if complete and len(complete) == len(options):
        (target, leaders), *others = complete
        sparse.safs.append(Saf(level, kind, target, leaders, tuple(others)))


def _option(node: Node, fields: dict[str, Node], names: _Names, reader: Reader) -> tuple[str, tuple[str, ...]] | None:
    if not reader.require(node, fields, "target"):
        return None
    target = reader.names(fields["target"], names.tensors, "data-space")
    leaders = reader.names(fields.get("condition_on"), names.tensors, "data-space")
    if len(target) == 1:
        return target[0], leaders
    if len(target) > 1:
        reader.fault(fields["target"], f"one target is expected, {len(target)} are given", "write one feature for each")
    return None


def _compute(node: Node, sparse: Sparse, reader: Reader) -> None:
    """A list of ``type: gating|skipping``, or flags ``gate-on-zero-operand: true``."""
    for item in node.value if isinstance(node.value, list) else [node]:
        fields = reader.fields(item, "compute action")
        kinds = []
        if "type" in fields:
            word = (reader.text(fields["type"]) or "").replace("_", "-")
            if word in COMPUTE_TYPES:
                kinds.append(COMPUTE_TYPES[word])
            elif word:
                reader.fault(fields["type"], f"unknown compute optimization '{word}'", suggest(word, COMPUTE_TYPES))
        for key in ("gate_on_zero_operand", "skip_on_not_aligned_operands"):
            if reader.flag(fields.get(key)):
                kinds.append(COMPUTE_TYPES[key.replace("_", "-")])
        sparse.compute_gating |= GATING in kinds
        sparse.compute_skipping |= SKIPPING in kinds
