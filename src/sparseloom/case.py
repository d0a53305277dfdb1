"""What a user's files hold together: a workload, a design and a mapping, in our own files or in Timeloop's.

Our own files have the keys ``workload:``, ``design:`` and ``mapping:``, all in one file or spread over several.
``design:`` may be the name of a published design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparseloom.arch.design import Design
from sparseloom.document import Node
from sparseloom.errors import Fault, InputError, suggest
from sparseloom.mapping.mapping import Mapping
from sparseloom.workload.workload import Workload

if TYPE_CHECKING:
    from sparseloom.timeloop import TimeloopInput

SECTIONS = ("workload", "design", "mapping")


@dataclass(frozen=True)
class Case:
    """Everything that one evaluation needs. ``timeloop`` is what was read when the files are Timeloop's.

    ``ignored`` says what the files hold that is not used, ``notes`` what a reader should know about how they were read.
    """

    workload: Workload
    design: Design
    mapping: Mapping
    timeloop: TimeloopInput | None = None
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read(paths: Sequence[str | Path]) -> Case:
    """The case that the files make together.

    Raises InputError with every fault of every file: files that cannot be read, keys that are unknown, missing or given
    twice, our own and Timeloop's files mixed.
    """
    nodes = _nodes(paths)
    foreign = [node for node in nodes if _is_timeloop(node)]
    if not foreign:
        return _native(nodes)
    if len(foreign) < len(nodes):
        own = next(node for node in nodes if node not in foreign)
        what = f"{own.file} is a file of our own, {foreign[0].file} is one of Timeloop's"
        raise InputError(Fault(what, own.file, fix="give files of one kind"))
    return _timeloop(paths)


def _nodes(paths: Sequence[str | Path]) -> list[Node]:
    from sparseloom import document
    from sparseloom.timeloop.dialect import TAGS

    faults: list[Fault] = []
    nodes = []
    for path in paths:
        try:
            nodes.append(document.read(path, TAGS))
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)
    return nodes


def _is_timeloop(node: Node) -> bool:
    from sparseloom.timeloop import is_timeloop

    return is_timeloop(node)


def _timeloop(paths: Sequence[str | Path]) -> Case:
    from sparseloom import timeloop

    found = timeloop.load(paths)
    if found.mapping is None:
        fix = "add the file that holds `mapping:`; to find a mapping is another program's work"
        raise InputError(Fault("the files have no mapping", ", ".join(map(str, paths)), "mapping", fix))
    ignored = tuple(str(item) for item in found.ignored)
    return Case(found.workload, found.design, found.mapping, found, ignored, tuple(found.notes))


def _native(nodes: Sequence[Node]) -> Case:
    from sparseloom.arch import file as design_file
    from sparseloom.mapping import file as mapping_file
    from sparseloom.workload import file as workload_file

    sections = _sections(nodes)
    design = sections["design"]
    return Case(
        workload_file.build(sections["workload"]),
        _published(design) if isinstance(design.value, str) else design_file.build(design),
        mapping_file.build(sections["mapping"]),
    )


def _published(node: Node) -> Design:
    from sparseloom import designs

    if node.value not in designs.names():
        what = f"no published design is called '{node.value}'"
        raise InputError(node.fault(what, suggest(node.value, designs.names())))
    return designs.load(node.value)


def _sections(nodes: Sequence[Node]) -> dict[str, Node]:
    """The node under each of the three keys, wherever it stands."""
    found: dict[str, Node] = {}
    faults = []
    for node in nodes:
        for key, child in node.value.items():
            if key not in SECTIONS:
                faults.append(child.fault(f"unknown key '{key}'", suggest(key, SECTIONS)))
            elif key in found:
                what = f"`{key}:` is given again, first at {found[key].where}"
                faults.append(child.fault(what, "keep one of them"))
            else:
                found[key] = child
    files = ", ".join(node.file for node in nodes)
    for key in SECTIONS:
        if key not in found:
            fix = f"add it, or a file that holds it; `sparseloom schema {key}` says what it holds"
            faults.append(Fault(f"there is no `{key}:`", files, fix=fix))
    if faults:
        raise InputError(faults)
    return found
