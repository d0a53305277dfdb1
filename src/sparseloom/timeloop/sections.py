"""The top-level sections of Timeloop's files: which files are Timeloop's, what is there, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sparseloom.document import Node, read
from sparseloom.errors import Fault, InputError
from sparseloom.timeloop.dialect import DIALECTS, TAGS, canonical, v01, v03
from sparseloom.timeloop.reader import Reader

CONSTRAINTS: Final = ("architecture_constraints", "mapspace_constraints", "mapspace", "constraints")
"""Sections that say which mappings are to be searched."""

OLD_ARCHITECTURE: Final = "arch"
"""The key of an architecture before version 0.2."""

_UNUSED: Final = ("mapper", *CONSTRAINTS)
_SIGNS: Final = {
    "architecture": ("version", "subtree", "nodes"),
    "problem": ("shape", "instance"),
    "sparse_optimizations": ("targets",),
    "ERT": ("tables",),
    "ART": ("tables",),
    "architecture_constraints": ("targets",),
    "mapspace_constraints": ("targets",),
    "mapper": ("algorithm", "timeout", "victory-condition", "victory_condition", "optimization-metrics"),
    OLD_ARCHITECTURE: ("storage", "arithmetic"),
}
"""Top-level keys of Timeloop's files, and keys below them of which one is there."""


def is_timeloop(node: Node) -> bool:
    """Whether a file is one of Timeloop's: it has one of Timeloop's sections, with keys as Timeloop has them."""
    mapping = node.get("mapping")
    if mapping is not None and isinstance(mapping.value, list):
        return any(item.get("target") is not None for item in mapping.value)
    return any(
        (section := node.get(name)) is not None and section.get(*keys) is not None for name, keys in _SIGNS.items()
    )


@dataclass
class Sections:
    """The top-level sections of all files, those that constrain a search, and the reader for their version."""

    found: dict[str, Node]
    constraints: list[Node]
    reader: Reader


def read_sections(paths: Sequence[str | Path], searching: bool = False) -> Sections:
    """Read all files; faults in them are left to the reader, so that those of the sections can follow. Constraints are passed over
    but for ``searching``."""
    faults: list[Fault] = []
    roots: list[Node] = []
    for path in paths:
        try:
            roots.append(read(path, TAGS))
        except InputError as error:
            faults += error.faults
    given = [(key, child) for root in roots for key, child in root.value.items()]
    declared = frozenset(
        name for key, child in given if canonical(key) == "compound_components" for name in _declared(child)
    )
    reader = Reader(v03, declared, searching)
    reader.faults += faults
    architectures = [(key, child) for key, child in given if key in ("architecture", OLD_ARCHITECTURE)]
    if architectures:
        _set_version(*architectures[0], reader)
    found: dict[str, Node] = {}
    constraints = [child for key, child in given if canonical(key) in CONSTRAINTS and child.value] if searching else []
    unused = "the search is what --objective and --budget say" if searching else _GIVEN
    for root in roots:
        _take(root, found, constraints, unused, reader)
    if not faults:
        _require_sections(found, paths, reader)
    return Sections(found, constraints, reader)


_GIVEN: Final = "the mapping is taken as it stands, and none is searched for"


def _take(root: Node, found: dict[str, Node], used: list[Node], unused: str, reader: Reader) -> None:
    """Add a file's sections to those found so far. Those ``used`` elsewhere are passed over; why others are ``unused`` is noted."""
    rest = {key: child for key, child in root.value.items() if not any(child is each for each in used)}
    for key, child in rest.items():
        if canonical(key) in _UNUSED and child.value:
            reader.note(child, f"{key} is given and not used: {unused}")
    for name, child in reader.fields(replace(root, value=rest), "top").items():
        key = "architecture" if name == OLD_ARCHITECTURE else name
        if child.value is None or (key == "mapping" and child.value == []):
            continue
        if key in found:
            what = f"a second {key}, the first is at {found[key].where}"
            reader.fault(child, what, f"give files with one {key} between them")
        else:
            found[key] = child


def _declared(node: Node) -> set[str]:
    """Names of attributes that compound components define."""
    classes = node.get("classes")
    items = classes.value if classes is not None and isinstance(classes.value, list) else []
    tables = (item.get("attributes") for item in items)
    return {name for table in tables if table is not None and isinstance(table.value, dict) for name in table.value}


def _set_version(key: str, architecture: Node, reader: Reader) -> None:
    if key == OLD_ARCHITECTURE:
        reader.dialect = v01
        return
    node = architecture.get("version")
    version = reader.text(node)
    if version in DIALECTS:
        reader.dialect = DIALECTS[version]
    elif node is None and isinstance(architecture.value, dict):
        reader.fault(
            architecture, "the architecture has no version", f"add `version:` with one of {', '.join(DIALECTS)}"
        )
    elif version is not None and node is not None:
        reader.fault(node, f"unknown version {version}", f"versions {', '.join(DIALECTS)} are read")


def _require_sections(found: dict[str, Node], paths: Sequence[str | Path], reader: Reader) -> None:
    missing = [key for key in ("architecture", "problem") if key not in found]
    if not missing:
        return
    files = ", ".join(str(path) for path in paths) or "no files"
    what = f"{' and '.join(missing)} missing in {files}"
    fix = "give the files with `architecture:` and `problem:`; `mapping:`, `sparse_optimizations:`, `ERT:` are optional"
    reader.faults.append(Fault(what, fix=fix))
