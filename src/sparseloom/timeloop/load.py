"""Timeloop and Sparseloop files of versions 0.2, 0.3 and 0.4 and before, in one file or many, as our own values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparseloom.arch.design import Design
from sparseloom.arch.hierarchy import Architecture
from sparseloom.document import Node
from sparseloom.errors import InputError
from sparseloom.mapping.constraints import NONE, Constraints
from sparseloom.mapping.details import Tiling, TimeloopDetails
from sparseloom.mapping.mapping import Mapping
from sparseloom.timeloop.architecture import Tree, read_architecture
from sparseloom.timeloop.constraints import read_constraints
from sparseloom.timeloop.design import Parts, build_design
from sparseloom.timeloop.ert import Tables, read_ert
from sparseloom.timeloop.ignored import Ignored
from sparseloom.timeloop.mapping import read_mapping
from sparseloom.timeloop.problem import Problem, read_problem
from sparseloom.timeloop.reader import Reader
from sparseloom.timeloop.sections import read_sections
from sparseloom.timeloop.sparse import read_sparse
from sparseloom.workload.workload import Workload


@dataclass(frozen=True)
class TimeloopInput:
    """What a set of Timeloop files says.

    ``mapping`` is None when none was given; the design then has no formats, as Timeloop's stand for loops of a mapping
    (:func:`~sparseloom.timeloop.format.clean_formats` makes them). ``details`` holds what only Timeloop's conventions
    need; ``ignored`` every key that stood in the files and is not used; ``notes`` what a user should know about the
    reading.
    """

    version: str
    workload: Workload
    design: Design
    mapping: Mapping | None
    details: TimeloopDetails
    ignored: tuple[Ignored, ...] = ()
    notes: tuple[str, ...] = ()
    constraints: Constraints = NONE


def load(paths: Sequence[str | Path], searching: bool = False) -> TimeloopInput:
    """Read files that hold an architecture and a problem, and may hold a mapping, sparse optimizations and an ERT; for
    ``searching`` constraints too, which are passed over else.

    Raises InputError with every fault of all files, each with file:line and key path: an unreadable file, a section
    that is missing or given twice, an unknown key or name, a value of the wrong kind, numbers that contradict each
    other.
    """
    sections = read_sections(paths, searching)
    reader = sections.reader
    architecture = sections.found.get("architecture")
    before = len(reader.faults)
    tree = read_architecture(architecture, reader) if architecture is not None else Tree("")
    sound = len(reader.faults) == before and architecture is not None
    hardware = _architecture(tree, architecture, reader) if sound and architecture is not None else None
    problem = _problem(sections.found.get("problem"), reader)
    sparse_node = sections.found.get("sparse_optimizations")
    names = hardware.names if hardware is not None else None
    compute = tree.compute.name if tree.compute is not None else ""
    sparse = read_sparse(sparse_node, tree.sparse, names, compute, problem, reader)
    tables = read_ert(sections.found["ERT"], reader) if "ERT" in sections.found else {}
    mapped = _mapping(sections.found.get("mapping"), hardware, tree, problem, reader)
    constraints = NONE
    if searching and hardware is not None and problem.dimensions:
        constraints = read_constraints(sections.constraints, tree, hardware, problem, reader)
    if reader.faults or hardware is None or problem.workload is None:
        raise InputError(dict.fromkeys(reader.faults))
    details = TimeloopDetails(
        levels=dict(tree.details or {}),
        compute_class=tree.compute_class,
        dimensions=problem.dimensions,
        tensors=problem.tensors,
        formats=sparse.formats,
        tiling=mapped[1] if mapped else {},
        ert=_known_tables(tables, hardware, reader),
        sparse=sparse.given,
    )
    mapping = mapped[0] if mapped else None
    parts = Parts(hardware, tree, sparse, problem.workload, mapping, details, sections.found.get("ERT"), searching)
    design = build_design(parts, reader)
    if design is None:
        raise InputError(reader.faults)
    notes, ignored = tuple(reader.notes), tuple(reader.ignored)
    return TimeloopInput(
        reader.dialect.version, problem.workload, design, mapping, details, ignored, notes, constraints
    )


def _problem(node: Node | None, reader: Reader) -> Problem:
    if node is None:
        return Problem(None, (), {}, {}, ())
    return read_problem(node, reader)


def _architecture(tree: Tree, node: Node, reader: Reader) -> Architecture | None:
    compute = tree.compute
    return None if compute is None else reader.attempt(node, lambda: Architecture(tree.levels, compute))


def _mapping(
    node: Node | None, hardware: Architecture | None, tree: Tree, problem: Problem, reader: Reader
) -> tuple[Mapping, dict[str, Tiling]] | None:
    if node is None:
        reader.notes.append("no mapping is given: the design has no formats until it has one")
        return None
    if hardware is None or not problem.dimensions:
        return None
    return read_mapping(node, hardware, dict(tree.details or {}), problem, reader)


def _known_tables(tables: Tables, hardware: Architecture, reader: Reader) -> Tables:
    """The energy tables of components that exist, with a note on each other."""
    names = (*hardware.names, hardware.compute.name)
    for name in tables:
        if name not in names:
            reader.notes.append(f"the ERT has a table for {name}, which is no level of the architecture")
    return {name: tables[name] for name in names if name in tables}
