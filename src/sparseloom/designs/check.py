"""Everything that is wrong with files of ours, at once. Imports pydantic: load it on demand only."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from sparseloom import document
from sparseloom.arch import choice
from sparseloom.arch import file as design_file
from sparseloom.arch.design import Design
from sparseloom.designs.load import load, names
from sparseloom.document import Node
from sparseloom.document_model import place
from sparseloom.errors import Fault, InputError, MappingError, SparseloomError, suggest
from sparseloom.mapping import constraint_file
from sparseloom.mapping import file as mapping_file
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.constraints import Constraints
from sparseloom.mapping.lanes import check_mapping
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.workload import file as workload_file
from sparseloom.workload import network_file, zoo
from sparseloom.workload.network import Network

KINDS: Final = ("workload", "network", "design", "mapping", "constraints")
"""The top-level keys of our files; a file may hold several."""

AValue = TypeVar("AValue")


def faults(*sources: str | Path | Node) -> list[Fault]:
    """Every fault of files of ours, or of nodes that were read; empty when all is well.

    ``design:`` may be the name of a published design. Where the files hold several kinds between them, these are
    checked against each other too: the design's tensors against the workload's, the mapping against both. Of a design with open
    choices every variant is; the constraints have to admit mappings of one.
    """
    found: list[Fault] = []
    nodes = _kinds(_tops(sources, found), found)
    variants = _variants(nodes.get("design"), found)
    workload = _try(workload_file.build, nodes.get("workload"), found)
    mapping = _try(mapping_file.build, nodes.get("mapping"), found)
    constraints = _try(constraint_file.build, nodes.get("constraints"), found)
    _try(_network, nodes.get("network"), found)
    if {"workload", "network"} <= set(nodes):
        found.append(nodes["network"].fault("there is a workload, too", "keep one of them"))
    if not variants or workload is None:
        return found
    across: list[Fault] = []
    for node, design in variants:
        for fault in mapping_file.name_faults(design, workload):
            across.append(place(_in_design(node, fault), replace(fault, path="")))
    problems = [Problem(workload, design) for _, design in variants]
    if constraints is not None and not found and not across:
        at, constraints = nodes["constraints"], meant(nodes, constraints, workload.ranks)
        across += [
            place(_mention(at, fault.path) or at, replace(fault, path="")) for fault in _bars(problems, constraints)
        ]
    if mapping is not None:
        for problem in problems:
            try:
                check_mapping(problem, mapping)
            except MappingError as error:
                across += [
                    place(_in_mapping(nodes["mapping"], fault), replace(fault, path="")) for fault in error.faults
                ]
    return [*found, *dict.fromkeys(across)]


def meant(nodes: Mapping[str, Node], constraints: Constraints, ranks: Collection[str]) -> Constraints:
    """What the ``constraints`` of files allow of a workload with some ``ranks``. Those that stand with a design in a file, and not
    with the workload, are for all that it may run: of ranks that are not there they say nothing."""
    files = {key: nodes[key].file for key in ("design", "constraints", "workload") if key in nodes}
    general = files.get("design") == files.get("constraints") != files.get("workload")
    return constraints.only(ranks) if general else constraints


def _variants(node: Node | None, found: list[Fault]) -> list[tuple[Node, Design]]:
    """Every variant of a design; none where one of them has a fault, or where there is no design."""
    faults: list[Fault] = []
    if node is not None and isinstance(node.value, str):
        designs = [(node, _try(_published, node, faults))]
    else:
        some = _try(choice.variants, node, faults) or ()
        designs = [(each.value, _try(design_file.build, each.value, faults)) for each in some]
    found.extend(dict.fromkeys(faults))
    return [] if faults else [(at, design) for at, design in designs if design is not None]


def _published(node: Node) -> Design:
    if node.value not in names():
        raise InputError(node.fault(f"no published design is called '{node.value}'", suggest(node.value, names())))
    return load(node.value)


def _bars(problems: Sequence[Problem], constraints: Constraints) -> list[Fault]:
    """Why the constraints admit no mapping of any of the problems."""
    faults: list[Fault] = []
    for problem in problems:
        try:
            Mapspace(problem, constraints)
        except MappingError as error:
            faults.extend(error.faults)
        else:
            return []
    return faults


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


def _network(node: Node) -> Network:
    if not isinstance(node.value, str):
        return network_file.build(node)
    if node.value not in zoo.names():
        raise InputError(node.fault(f"no network is called '{node.value}'", suggest(node.value, zoo.names())))
    return zoo.load(node.value)


def _in_mapping(node: Node, fault: Fault) -> Node:
    """The level of the mapping that the fault is about, or the outermost loop over its rank, else the whole mapping."""
    named: list[Node] = [item for item in node.value if item.at(("level",)).value == fault.path]
    return named[0] if named else _mention(node, fault.path) or node


def _in_design(node: Node, fault: Fault) -> Node:
    """The format of a level and tensor (``DRAM.A``) that the fault is about, or where its tensor is named first, else the whole
    design."""
    level, _, tensor = fault.path.partition(".")
    levels = node.at(("levels",)).value
    named: list[Node] = (
        [each for each in levels if each.at(("name",)).value == level] if isinstance(levels, list) else []
    )
    return named[0].at(("formats", tensor)) if tensor and named else _mention(node, fault.path) or node


def _mention(node: Node, word: str) -> Node | None:
    """The first scalar that holds ``word`` among others, or value of a key of that name."""
    if isinstance(node.value, dict):
        children = [(key, child) for key, child in node.value.items()]
    elif isinstance(node.value, list):
        children = [("", child) for child in node.value]
    else:
        return node if word and re.search(rf"\b{re.escape(word)}\b", str(node.value)) else None
    for key, child in children:
        found = child if word and key == word else _mention(child, word)
        if found is not None:
            return found
    return None
