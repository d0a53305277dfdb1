"""Typed values out of nodes. What is wrong, ignored or worth a note is gathered, so that a user sees all of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from sparseloom.document import Node
from sparseloom.errors import Fault, SparseloomError, suggest
from sparseloom.timeloop.dialect import SECTIONS, Dialect, canonical
from sparseloom.timeloop.ignored import Ignored, reason

T = TypeVar("T")

LARGEST = 2**53
"""Integers above this are refused: they are no sizes of anything that can be built or counted exactly."""


class Reader:
    """Reads one set of files of one dialect.

    ``declared`` are attribute names that the files' compound components define: those are the energy estimation's.
    ``searching``: a mapping is searched for, so that constraints are read.
    """

    def __init__(self, dialect: Dialect, declared: frozenset[str] = frozenset(), searching: bool = False) -> None:
        self.dialect, self.declared, self.searching = dialect, declared, searching
        self.faults: list[Fault] = []
        self.ignored: list[Ignored] = []
        self.notes: list[str] = []

    def fault(self, node: Node, what: str, fix: str = "") -> None:
        self.faults.append(node.fault(what, fix))

    def note(self, node: Node, text: str) -> None:
        self.notes.append(f"{node.where}: {text}")

    def attempt(self, node: Node, make: Callable[[], T]) -> T | None:
        """The value that ``make`` makes; the faults it raises are gathered as faults of ``node``."""
        try:
            return make()
        except SparseloomError as error:
            for fault in error.faults:
                self.faults.append(Fault(fault.what, fault.where or node.where, node.path, fault.fix))
        return None

    def fields(self, node: Node, section: str, known: Iterable[str] = ()) -> dict[str, Node]:
        """The children of a mapping by canonical key; keys that are neither known nor ignored are faults."""
        if not isinstance(node.value, dict):
            self.fault(node, f"{_show(node)} stands where {section} keys are expected", "write `key: value` lines")
            return {}
        names = SECTIONS.get(section, frozenset()) | frozenset(known)
        found: dict[str, Node] = {}
        for key, child in node.value.items():
            why = self._why_ignored(section, key)
            name = key if key in names else canonical(key)
            if why and key not in known:
                self.ignored.append(Ignored(child.where, child.path, self.dialect.version, why))
            elif name not in names:
                self.fault(child, f"unknown key '{key}' of the {section}", suggest(name, sorted(names)))
            elif name in found:
                self.fault(
                    child, f"key '{key}' occurs in two spellings, also at {found[name].where}", "keep one of them"
                )
            else:
                found[name] = child
        return found

    def _why_ignored(self, section: str, key: str) -> str:
        why = reason(self.dialect.version, section, key)
        if (
            not why
            and section.endswith("attributes")
            and canonical(key) not in SECTIONS[section]
            and key in self.declared
        ):
            why = "a compound component declares it for the energy estimation, whose outcome is the ERT"
        return why

    def require(self, node: Node, fields: dict[str, Node], *keys: str) -> bool:
        """True if all ``keys`` are there; a fault for each that is not."""
        missing = [key for key in keys if key not in fields]
        for key in missing:
            self.fault(node, f"required key '{key}' is missing", f"add `{key}:`")
        return not missing

    def items(self, node: Node | None) -> list[Node]:
        """The items of a list; none for an absent or null node."""
        if node is None or node.value is None:
            return []
        if isinstance(node.value, list):
            return node.value
        self.fault(node, f"{_show(node)} stands where a list is expected", "write `- item` lines")
        return []

    def text(self, node: Node | None) -> str | None:
        """A name or word; numbers are taken as text."""
        if node is None:
            return None
        if isinstance(node.value, (str, int, float)) and not isinstance(node.value, bool) and str(node.value).strip():
            return str(node.value).strip()
        self.fault(node, f"{_show(node)} stands where a name is expected")
        return None

    def integer(self, node: Node | None, least: int = 0) -> int | None:
        """A whole number not below ``least``."""
        value = self.number(node, least)
        if value is None or node is None:
            return None
        if value != int(value) or value > LARGEST:
            self.fault(node, f"{_show(node)} stands where a whole number is expected")
            return None
        return int(value)

    def number(self, node: Node | None, least: float = 0) -> float | None:
        """A finite number not below ``least``."""
        if node is None:
            return None
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
            self.fault(node, f"{_show(node)} stands where a number is expected")
            return None
        if value < least:
            self.fault(node, f"{_show(node)} stands where {least} or more is expected")
            return None
        return value

    def flag(self, node: Node | None) -> bool | None:
        """A boolean; 0 and 1, and the words in any case, are taken."""
        if node is None:
            return None
        word = str(node.value).lower()
        if word in ("true", "1"):
            return True
        if word in ("false", "0"):
            return False
        self.fault(node, f"{_show(node)} stands where true or false is expected")
        return None

    def names(self, node: Node | None, known: Iterable[str] | None, kind: str) -> tuple[str, ...]:
        """A list of names (or one name), each of them ``known`` if that is given, none twice."""
        if node is None or node.value is None:
            return ()
        nodes = node.value if isinstance(node.value, list) else [node]
        found: list[str] = []
        for item in nodes:
            name = self.text(item)
            if name is None:
                continue
            if known is not None and name not in known:
                self.fault(item, f"unknown {kind} '{name}'", suggest(name, known))
            elif name in found:
                self.fault(item, f"{kind} {name} is named twice", "keep one of them")
            else:
                found.append(name)
        return tuple(found)


def _show(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    return "nothing" if node.value is None else f"'{node.value}'"


def _finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)
