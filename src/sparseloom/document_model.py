"""A node of a file against a pydantic model: every difference as a fault with its line, key path and fix.

Imports pydantic: load it on demand only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from sparseloom import document
from sparseloom.document import Node
from sparseloom.errors import Fault, InputError, SparseloomError, suggest

Source = str | Path | Node
"""A file, or a node of one that was read."""

LARGEST = 2**53
"""No whole number in a file is above this."""

Count = Annotated[int, Field(strict=True, ge=1, le=LARGEST)]
Size = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
Bits = Annotated[int, Field(strict=True, ge=1, le=2**20)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Energy = Annotated[float, Field(strict=True, ge=0, le=1e15, allow_inf_nan=False)]
Rate = Annotated[float, Field(strict=True, gt=0, le=1e15, allow_inf_nan=False)]
Switch = Annotated[bool, Field(strict=True)]
Name = Annotated[str, Field(strict=True, min_length=1, max_length=200)]

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_VALUES: dict[str, tuple[str, str]] = {
    "int_type": ("{value} is not a whole number", "write a number without a point, 64"),
    "int_from_float": ("{value} is not a whole number", "write a number without a point, 64"),
    "float_type": ("{value} is not a number", "write a number, 0.5"),
    "finite_number": ("{value} is not a finite number", "write a number, 0.5"),
    "bool_type": ("{value} is not true or false", "write true or false"),
    "string_type": ("{value} is not text", "write text, in quotes if it looks like a number"),
    "greater_than_equal": ("{value} is below {ge}", "write {ge} or more"),
    "greater_than": ("{value} is not above {gt}", "write more than {gt}"),
    "less_than_equal": ("{value} is above {le}", "write {le} or less"),
    "less_than": ("{value} is not below {lt}", "write less than {lt}"),
    "literal_error": ("{value} is not known here", "write {expected}"),
    "model_type": ("{value} is not a mapping", "write `key: value` lines"),
    "dict_type": ("{value} is not a mapping", "write `key: value` lines"),
    "list_type": ("{value} is not a list", "write it in brackets, [a, b]"),
    "tuple_type": ("{value} is not a list", "write it in brackets, [a, b]"),
    "string_too_short": ("the text is empty", "write at least one character"),
    "string_too_long": ("the text is longer than {max_length} characters", "shorten it"),
    "too_short": ("a list of {actual_length} is too short", "write at least {min_length}"),
    "too_long": ("a list of {actual_length} is too long", "write at most {max_length}"),
}


class FileModel(BaseModel):
    """What a mapping of a file may hold: unknown keys are errors, and nothing changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


AModel = TypeVar("AModel", bound=FileModel)


def section(source: Source, key: str) -> Node:
    """The node under the top-level ``key`` of a file.

    Raises InputError when the file cannot be read or has no such key.
    """
    top = source if isinstance(source, Node) else document.read(source)
    found = top.get(key)
    if found is None:
        there = ", ".join(top.value) if isinstance(top.value, dict) else str(top.value)
        raise InputError(top.fault(f"there is no `{key}:` here, the keys are {there or 'none'}", f"add `{key}:`"))
    return found


def validate(model: type[AModel], node: Node) -> AModel:
    """``node`` as a ``model``. Raises InputError with a fault for every key that is missing, unknown or wrong."""
    try:
        return model.model_validate(node.plain())
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
        raise InputError([_fault(model, node, detail) for detail in details]) from None


def _fault(model: type[BaseModel], node: Node, detail: ErrorDetails) -> Fault:
    steps = detail["loc"]
    at = node.at(steps)
    if detail["type"] == "missing":
        parent = node.at(steps[:-1])
        return Fault("required field missing", parent.where, join(parent.path, steps[-1:]), f"add `{steps[-1]}:`")
    if detail["type"] == "extra_forbidden":
        known = _fields(model, steps[:-1])
        what, path = f"unknown field '{steps[-1]}'", node.at(steps[:-1]).path
        return Fault(what, at.where, path, suggest(str(steps[-1]), known))
    what, fix = _VALUES.get(detail["type"], (detail["msg"].replace("{", "(").replace("}", ")"), ""))
    words = {**detail.get("ctx", {}), "value": _short(detail["input"])}
    return Fault(what.format(**words), at.where, _path(node, steps), fix.format(**words))


def _path(node: Node, steps: tuple[str | int, ...]) -> str:
    """The key path along ``steps``: that of the file as far as it goes, which is another where a choice stood."""
    there = [step for k, step in enumerate(steps) if node.at(steps[: k + 1]) is not node.at(steps[:k])]
    return join(node.at(steps).path, steps[len(there) :])


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fields(model: type[BaseModel], steps: Sequence[str | int]) -> list[str]:
    """The field names of the model that stands at ``steps`` inside ``model``."""
    here: object = model
    for step in steps:
        inside = _models(here)
        named = [m.model_fields[str(step)].annotation for m in inside if str(step) in m.model_fields]
        here = named[0] if named else here
    return [name for found in _models(here) for name in found.model_fields]


def _models(annotation: object) -> list[type[BaseModel]]:
    """The models an annotation holds: of ``tuple[Level, ...] | None``, Level."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def join(path: str, steps: Sequence[str | int]) -> str:
    """A key path with ``steps`` added: ``levels`` and ``(0, "name")`` make ``levels[0].name``."""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path


def split(path: str) -> tuple[str | int, ...]:
    """The steps of a key path: ``levels[0].name`` makes ``("levels", 0, "name")``."""
    return tuple(int(match[1]) if match[1] else match[2] for match in _STEP.finditer(path))


def place(node: Node, fault: Fault) -> Fault:
    """A fault that was raised without a place, shown at the deepest key that its path leads to below ``node``."""
    if fault.where:
        return fault
    at = node.at(split(fault.path))
    return replace(fault, where=at.where, path=at.path)


@contextmanager
def gather(faults: list[Fault], node: Node) -> Iterator[None]:
    """Add the faults of an error raised inside to ``faults``, each placed at ``node``."""
    try:
        yield
    except SparseloomError as error:
        faults.extend(place(node, fault) for fault in error.faults)


def file_schema(key: str, model: type[BaseModel], title: str) -> dict[str, Any]:
    """The JSON Schema of a file that holds ``model`` under ``key``."""
    inner = model.model_json_schema()
    shared = inner.pop("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "properties": {key: inner},
        "required": [key],
        "$defs": shared,
    }
