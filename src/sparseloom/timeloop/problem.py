"""Timeloop's problem: dimensions, data-spaces with their projections, sizes and densities, as a workload."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from sparseloom.document import Node, parse
from sparseloom.errors import suggest
from sparseloom.fibertree.density import Density
from sparseloom.timeloop.density import read_density
from sparseloom.timeloop.dialect import SECTIONS
from sparseloom.timeloop.reader import Reader
from sparseloom.workload.einsum import Einsum, Projection, TensorAccess, Term
from sparseloom.workload.workload import Workload

_NAME: Final = re.compile(r"[A-Za-z_]\w*")

CNN_LAYER: Final = """
name: CNN-Layer
dimensions: [C, K, R, S, N, P, Q]
coefficients:
- {name: Wstride, default: 1}
- {name: Hstride, default: 1}
- {name: Wdilation, default: 1}
- {name: Hdilation, default: 1}
data-spaces:
- {name: Weights, projection: [[[C]], [[K]], [[R]], [[S]]]}
- {name: Inputs, projection: [[[N]], [[C]], [[R, Wdilation], [P, Wstride]], [[S, Hdilation], [Q, Hstride]]]}
- {name: Outputs, projection: [[[N]], [[K]], [[Q]], [[P]]], read-write: true}
"""
"""Source: Timeloop, problem-shapes/cnn-layer.yaml."""

SHAPES: Final = {"cnn-layer": CNN_LAYER}
"""The shapes that files before v0.4 may call by a name."""


@dataclass(frozen=True)
class Problem:
    """A problem as read. ``ranks`` gives the workload's rank for each dimension that a data-space mentions; ``tensors``
    are the data-spaces in the order of the file. ``workload`` is None if the problem has faults."""

    workload: Workload | None
    dimensions: tuple[str, ...]
    ranks: dict[str, str]
    sizes: dict[str, int]
    tensors: tuple[str, ...]


def read_problem(node: Node, reader: Reader) -> Problem:
    """Read the value of the top-level key ``problem``."""
    before = len(reader.faults)
    shape, instance, sizes_at = _parts(node, reader)
    if shape is None:
        return Problem(None, (), {}, {}, ())
    fields = reader.fields(shape, "shape")
    reader.require(shape, fields, "dimensions", "data_spaces")
    dimensions = reader.names(fields.get("dimensions"), None, "dimension")
    for dimension in dimensions:
        if not _NAME.fullmatch(dimension):
            reader.fault(
                shape, f"'{dimension}' is not a name of a dimension", "write a letter, then letters and digits"
            )
    coefficients = _coefficients(fields.get("coefficients"), reader)
    sizes, values, densities = _instance(instance, sizes_at, dimensions, coefficients, reader)
    ranks = _ranks(shape, dimensions, reader)
    spaces = _spaces(fields.get("data_spaces"), ranks, values, reader)
    title = reader.text(fields.get("name")) or ""
    tensors = tuple(space.name for space in spaces)
    complete = all(space.access is not None for space in spaces)
    used = {rank for space in spaces if space.access is not None for rank in space.access.iteration_ranks}
    kept = {d: rank for d, rank in ranks.items() if rank in used}
    for dimension in dimensions:
        if dimension not in kept and sizes.get(dimension, 1) > 1 and spaces and complete:
            what = f"dimension {dimension} of size {sizes[dimension]} occurs in no data-space"
            reader.fault(sizes_at, what, "put it into a projection, or give it size 1")
    extents = {kept[d]: n for d, n in sizes.items() if d in kept}
    workload = _workload(shape, title, spaces, extents, densities, len(reader.faults) == before, reader)
    return Problem(workload, dimensions, kept, sizes, tensors)


def _parts(node: Node, reader: Reader) -> tuple[Node | None, dict[str, Node], Node]:
    """The shape, the instance's entries, and where those stand."""
    if not isinstance(node.value, dict):
        reader.fields(node, "problem")
        return None, {}, node
    inline = reader.dialect.inline_instance and "instance" not in node.value
    keys = SECTIONS["problem"]
    beside = {key: child for key, child in node.value.items() if key not in keys} if inline else {}
    fields = reader.fields(node, "problem", known=beside)
    if reader.dialect.shape:
        fields.setdefault("shape", replace(node, value=reader.dialect.shape))
    if not reader.require(node, fields, "shape", *(() if inline else ("instance",))):
        return None, {}, node
    shape, instance = _shape(fields["shape"], reader), fields.get("instance", node)
    if "instance" in fields:
        reader.fields(instance, "instance", known=instance.value if isinstance(instance.value, dict) else ())
        return shape, dict(instance.value) if isinstance(instance.value, dict) else {}, instance
    return shape, beside, node


def _shape(node: Node, reader: Reader) -> Node | None:
    """The shape that is written out, or that of a name; None, with a fault, if no shape has that name."""
    if not isinstance(node.value, str) or not reader.dialect.inline_instance:
        return node
    if node.value not in SHAPES:
        reader.fault(node, f"unknown shape '{node.value}'", f"{suggest(node.value, SHAPES)}; or write its dimensions")
        return None
    return replace(parse(SHAPES[node.value], node.file), line=node.line, path=node.path)


def _coefficients(node: Node | None, reader: Reader) -> dict[str, int | None]:
    """Coefficients by name, with their default values."""
    found: dict[str, int | None] = {}
    for item in reader.items(node):
        fields = reader.fields(item, "coefficient")
        name = reader.text(fields.get("name")) if reader.require(item, fields, "name") else None
        if name is not None:
            found[name] = reader.integer(fields.get("default"), 1)
    return found


def _instance(
    entries: dict[str, Node],
    node: Node,
    dimensions: tuple[str, ...],
    coefficients: dict[str, int | None],
    reader: Reader,
) -> tuple[dict[str, int], dict[str, int | None], dict[str, Node]]:
    """Sizes of the dimensions, values of the coefficients (None where a fault was found), density nodes of tensors."""
    sizes: dict[str, int] = {}
    values = dict(coefficients)
    densities: dict[str, Node] = {}
    for key, child in entries.items():
        if key in dimensions:
            sizes[key] = reader.integer(child, 1) or 0
        elif key in coefficients:
            values[key] = reader.integer(child, 1)
        elif key == "densities":
            if isinstance(child.value, dict):
                densities = child.value
            elif child.value is not None:
                reader.fault(
                    child, f"'{child.plain()}' stands where densities are expected", "write `Tensor: density` lines"
                )
        else:
            fix = suggest(key, [*dimensions, *coefficients, "densities", *(["instance"] if node.get("shape") else [])])
            reader.fault(child, f"'{key}' is neither a dimension nor a coefficient of the shape", fix)
    for dimension in dimensions:
        if dimension not in sizes:
            reader.fault(node, f"dimension {dimension} has no size", f"add `{dimension}: N` to the instance")
    for name, default in coefficients.items():
        if default is None and name not in entries:
            reader.fault(
                node, f"coefficient {name} has neither a default nor a value", f"add `{name}: N` to the instance"
            )
    return {d: n for d, n in sizes.items() if n}, values, densities


def _ranks(shape: Node, dimensions: tuple[str, ...], reader: Reader) -> dict[str, str]:
    """Our rank for each dimension: the name in capitals."""
    ranks: dict[str, str] = {}
    for dimension in dimensions:
        rank = dimension.upper()
        if rank in ranks.values():
            reader.fault(shape, f"two dimensions differ from {rank} only in case", "rename one")
        ranks[dimension] = rank
    return ranks


@dataclass(frozen=True)
class _Space:
    """A data-space; ``access`` is None if its projection has faults."""

    name: str
    access: TensorAccess | None
    output: bool


def _spaces(node: Node | None, ranks: dict[str, str], values: dict[str, int | None], reader: Reader) -> list[_Space]:
    found: list[_Space] = []
    for item in reader.items(node):
        fields = reader.fields(item, "data-space")
        if not reader.require(item, fields, "name", "projection"):
            continue
        name = reader.text(fields["name"])
        projections = [_projection(rank, ranks, values, reader) for rank in reader.items(fields["projection"])]
        complete = [Projection(terms) for terms in projections if terms]
        output = bool(reader.flag(fields.get("read_write")))
        if name is not None:
            whole = len(complete) == len(projections)
            found.append(_Space(name, TensorAccess(name, tuple(complete)) if whole else None, output))
    return found


def _projection(
    node: Node, ranks: dict[str, str], values: dict[str, int | None], reader: Reader
) -> tuple[Term, ...] | None:
    """The sum for one tensor rank: a list of ``[dimension]`` and ``[dimension, coefficient]``; None if faulty."""
    terms = [_term(term, ranks, values, reader) for term in reader.items(node)]
    if not terms and isinstance(node.value, list):
        reader.fault(node, "a projection without terms", "write [ [K] ]")
    return tuple(term for term in terms if term is not None) if terms and None not in terms else None


def _term(node: Node, ranks: dict[str, str], values: dict[str, int | None], reader: Reader) -> Term | None:
    parts = [reader.text(part) for part in reader.items(node)]
    if None in parts or not isinstance(node.value, list):
        return None
    if not 1 <= len(parts) <= 2:
        reader.fault(node, f"a term has {len(parts)} parts", "write [dimension] or [dimension, coefficient]")
        return None
    dimension, coefficient = parts[0], parts[1] if len(parts) == 2 else None
    if dimension not in ranks:
        reader.fault(node, f"unknown dimension '{dimension}'", suggest(str(dimension), ranks))
        return None
    if coefficient is None:
        return Term(ranks[dimension])
    if coefficient not in values:
        reader.fault(
            node, f"unknown coefficient '{coefficient}'", suggest(coefficient, values) or "add it to `coefficients`"
        )
        return None
    value = values[coefficient]
    return None if value is None else Term(ranks[dimension], value)


def _workload(
    node: Node,
    title: str,
    spaces: list[_Space],
    shape: dict[str, int],
    given: dict[str, Node],
    sound: bool,
    reader: Reader,
) -> Workload | None:
    results = [space.name for space in spaces if space.output]
    if len(results) != 1 and spaces:
        found = ", ".join(results) or "none"
        reader.fault(
            node, f"one data-space is to be read-write, here {found}", "mark the result with `read-write: true`"
        )
    if not spaces and sound:
        reader.fault(node, "the shape has no data-spaces", "list the operands and the result")
    names = [space.name for space in spaces]
    for name, child in given.items():
        if spaces and name not in names:
            reader.fault(child, f"a density is given for unknown data-space {name}", suggest(name, names))
    if not sound or len(results) != 1:
        return None
    outputs = [space.access for space in spaces if space.output and space.access is not None]
    operands = tuple(space.access for space in spaces if not space.output and space.access is not None)
    workload = reader.attempt(node, lambda: Workload(Einsum(outputs[0], operands), shape, name=title))
    if workload is None:
        return None
    densities: dict[str, Density] = {}
    known = {name: child for name, child in given.items() if name in names}
    for name, child in known.items():
        density = read_density(child, name, workload.tensor_shape(name), reader)
        if density is not None:
            densities[name] = density
    return Workload(workload.einsum, shape, densities, name=title) if len(densities) == len(given) else None
