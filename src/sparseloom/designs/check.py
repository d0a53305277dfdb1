"""Everything that is wrong with files of ours, at once. Imports pydantic: load it on demand only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from sparseloom import document
from sparseloom.arch import file as design_file
from sparseloom.arch.design import Design
from sparseloom.designs.load import load, names
from sparseloom.document import Node
from sparseloom.document_model import place
from sparseloom.errors import Fault, InputError, MappingError, SparseloomError, suggest
from sparseloom.mapping import file as mapping_file
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.lanes import check_mapping
from sparseloom.workload import file as workload_file

KINDS: Final = ("workload", "design", "mapping")
"""The top-level keys of our files; a file may hold several."""

AValue = TypeVar("AValue")


def faults(*sources: str | Path | Node) -> list[Fault]:
    """Every fault of files of ours, or of nodes that were read; empty when all is well.

    ``design:`` may be the name of a published design. Where the files hold several kinds between them, these are
    checked against each other too: the design's tensors against the workload's, the mapping against both.
    """
    found: list[Fault] = []
    nodes = _kinds(_tops(sources, found), found)
    design = _try(_design, nodes.get("design"), found)
    workload = _try(workload_file.build, nodes.get("workload"), found)
    mapping = _try(mapping_file.build, nodes.get("mapping"), found)
    if design is None or workload is None:
        return found
    found += [place(nodes["design"], fault) for fault in mapping_file.name_faults(design, workload)]
    if mapping is not None:
        try:
            check_mapping(Problem(workload, design), mapping)
        except MappingError as error:
            found += [place(_level(nodes["mapping"], fault), replace(fault, path="")) for fault in error.faults]
    return found


def _try(build: Callable[[Node], AValue], node: Node | None, found: list[Fault]) -> AValue | None:
    if node is None:
        return None
    try:
        return build(node)
    except SparseloomError as error:
        found.extend(error.faults)
        return None


def _tops(sources: Sequence[str | Path | Node], found: list[Fault]) -> list[Node]:
    tops = []
    for source in sources:
        try:
            tops.append(source if isinstance(source, Node) else document.read(source))
        except InputError as error:
            found.extend(error.faults)
    return tops


def _kinds(tops: Sequence[Node], found: list[Fault]) -> Mapping[str, Node]:
    """The three kinds of all files; unknown keys and kinds given twice are faults."""
    nodes: dict[str, Node] = {}
    for top in tops:
        for key, node in top.value.items():
            if key not in KINDS:
                found.append(node.fault(f"unknown key '{key}'", suggest(key, KINDS)))
            elif key in nodes:
                found.append(node.fault(f"a second `{key}:`, the first is at {nodes[key].where}", "keep one of them"))
            else:
                nodes[key] = node
    return nodes


def _design(node: Node) -> Design:
    if not isinstance(node.value, str):
        return design_file.build(node)
    if node.value not in names():
        raise InputError(node.fault(f"no published design is called '{node.value}'", suggest(node.value, names())))
    return load(node.value)


def _level(node: Node, fault: Fault) -> Node:
    """The level of the mapping that the fault is about, else the whole mapping."""
    named = [item for item in node.value if item.at(("level",)).value == fault.path]
    return named[0] if named else node
