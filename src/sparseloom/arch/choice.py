"""What a design leaves open: ``{choose: [v1, v2]}`` in place of any value, and the variants that the choices make together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Any, Final, Generic, TypeVar

from sparseloom.document import Node, Plain
from sparseloom.errors import Fault, InputError

KEY: Final = "choose"

MOST: Final = 10_000
"""Variants that may be searched together."""

_OPEN: Final = "a choice is left open"
_FIX: Final = (
    "choose one of the alternatives here, or let `sparseloom map` search them for a workload, by edp, energy or cycles"
)

AValue = TypeVar("AValue")


@dataclass(frozen=True)
class Choice:
    """One alternative, as ``text`` in YAML, in place of what is left open at a key ``path``, which stands at ``where``."""

    path: str
    text: str
    where: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"

    @property
    def fault(self) -> Fault:
        """That it is left open."""
        return Fault(_OPEN, self.where, self.path, _FIX)


@dataclass(frozen=True)
class Variant(Generic[AValue]):
    """What is left of something open by these ``choices``; all variants of it have choices at the same paths."""

    choices: tuple[Choice, ...]
    value: AValue


def variants(node: Node) -> tuple[Variant[Node], ...]:
    """All that the choices in ``node`` make together, in the order of the file, the last choice varying fastest; without any, the
    node itself. Choices inside an alternative make several alternatives of it. What is left keeps its line and key path.

    Raises InputError for every ``choose`` that is not a list of alternatives alone, or where there are too many variants.
    """
    faults = list(_faults(node))
    if not faults and (number := _number(node)) > MOST:
        what = f"the choices make {number:,} variants, at most {MOST:,} can be searched"
        faults = [node.fault(what, "leave less open, or search for parts of it one after the other")]
    if faults:
        raise InputError(faults)
    return tuple(_variants(node, node.path))


def left_open(node: Node) -> list[Fault]:
    """A fault for each choice in ``node``, but for those inside of alternatives."""
    if _is_open(node):
        return [node.fault(_OPEN, _FIX)]
    return [fault for child in _children(node) for fault in left_open(child)]


def _is_open(node: Node) -> bool:
    return isinstance(node.value, dict) and KEY in node.value


def _children(node: Node) -> list[Node]:
    if isinstance(node.value, dict):
        return list(node.value.values())
    return node.value if isinstance(node.value, list) else []


def _faults(node: Node) -> Iterator[Fault]:
    if _is_open(node):
        listed = node.value[KEY]
        if not isinstance(listed.value, list) or not listed.value:
            what = f"`{KEY}` has no alternative" if isinstance(listed.value, list) else f"`{KEY}` is not a list"
            yield listed.fault(what, f"write {{{KEY}: [v1, v2]}}")
        for key, beside in node.value.items():
            if key != KEY:
                yield beside.fault(f"'{key}' stands beside `{KEY}`", "move it into the alternatives")
    for child in _children(node):
        yield from _faults(child)


def _number(node: Node) -> int:
    if _is_open(node):
        return sum(map(_number, node.value[KEY].value))
    return prod(map(_number, _children(node)))


def _variants(node: Node, root: str) -> Iterator[Variant[Node]]:
    if _is_open(node):
        path = node.path.removeprefix(root).removeprefix(".") or root
        for alternative in node.value[KEY].value:
            for inner in _variants(alternative, root):
                yield Variant((Choice(path, flow(inner.value.plain()), node.where),), inner.value)
        return
    for some in product(*(tuple(_variants(child, root)) for child in _children(node))):
        choices = tuple(choice for each in some for choice in each.choices)
        values: Any = [each.value for each in some]
        if isinstance(node.value, dict):
            values = dict(zip(node.value, values, strict=True))
        yield Variant(choices, replace(node, value=values) if choices else node)


def flow(value: Plain) -> str:
    """A value of a file on one line, as YAML writes it.

    >>> flow({"A": "CP(K)", "sizes": [1, 2], "free": None, "gating": True})
    '{A: CP(K), sizes: [1, 2], free: null, gating: true}'
    """
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {flow(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def choosable(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema ``schema`` with a choice in place of any value inside of what it describes."""
    found = dict(schema)
    for key, inside in schema.items():
        if key == "properties":
            found[key] = {name: _or_choice(each) for name, each in inside.items()}
        elif key == "$defs":
            found[key] = {name: choosable(each) for name, each in inside.items()}
        elif key == "anyOf":
            found[key] = [choosable(each) for each in inside]
        elif key == "prefixItems":
            found[key] = [_or_choice(each) for each in inside]
        elif key in ("items", "additionalProperties") and isinstance(inside, dict):
            found[key] = _or_choice(inside)
    return found


def _or_choice(schema: dict[str, Any]) -> dict[str, Any]:
    one = choosable(schema)
    choice = {
        "type": "object",
        "properties": {KEY: {"type": "array", "items": one, "minItems": 1}},
        "required": [KEY],
        "additionalProperties": False,
    }
    return {"anyOf": [one, choice]}
