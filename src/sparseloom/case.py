"""What a user's files hold together: a workload, a design and a mapping, in our own files or in Timeloop's.

Our own files have the keys ``workload:`` or ``network:``, ``design:``, ``mapping:`` and ``constraints:``, all in one file or spread
over several. ``design:`` and ``network:`` may be names of published ones. In place of a file, the name of a published case stands
for its file, and that of a design or network for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sparseloom.arch.choice import Variant
from sparseloom.arch.design import Design
from sparseloom.document import Node
from sparseloom.errors import Fault, InputError, MappingError, SparseloomError, suggest
from sparseloom.mapping.constraints import NONE, Constraints
from sparseloom.mapping.mapping import Mapping
from sparseloom.workload.network import Network
from sparseloom.workload.workload import Workload

if TYPE_CHECKING:
    from sparseloom.timeloop import TimeloopInput

SECTIONS = ("workload", "design", "mapping")

OWN_CONVENTIONS = "sparseloom"
CONVENTIONS = {
    "0.1": "sparseloop-micro22", "0.2": "sparseloop-micro22", "0.3": "sparseloop-micro22", "0.4": "timeloop-2025-03",
}  # fmt: skip
"""The profile of conventions of the tool that reads Timeloop's files, by their version."""


@dataclass(frozen=True)
class Case:
    """What files hold; ``None`` for what they lack.

    ``timeloop`` is what was read when the files are Timeloop's. ``places`` has the file:line of the mapping (under the empty
    name) and of each level in it. ``variants`` are those of a design with open choices, which is no design of its own (``design``
    is None); empty where nothing is left open. ``ignored`` says what the files hold that is not used,
    ``notes`` what a reader should know about how they were read.
    """

    workload: Workload | None
    design: Design | None
    mapping: Mapping | None
    constraints: Constraints = NONE
    network: Network | None = None
    timeloop: TimeloopInput | None = None
    places: Table[str, str] = field(default_factory=dict, compare=False)
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    variants: tuple[Variant[Design], ...] = ()

    @property
    def conventions(self) -> str:
        """The name of the profile by which the files' own tool counts."""
        return CONVENTIONS[self.timeloop.version] if self.timeloop is not None else OWN_CONVENTIONS

    def with_designs(self, change: Callable[[Design], Design]) -> Case:
        """The case with its design, or all variants of it, changed."""
        variants = tuple(replace(each, value=change(each.value)) for each in self.variants)
        return replace(self, design=change(self.design) if self.design is not None else None, variants=variants)

    def placed(self, error: SparseloomError) -> SparseloomError:
        """``error`` with its faults shown where the mapping of their level stands in the files, if they have no place yet."""
        return type(error)(_placed(error.faults, self.places))


def read(sources: Sequence[str | Path], searching: bool = False) -> Case:
    """What the files hold together, checked against each other. ``searching`` for a mapping: Timeloop's constraints are read too,
    and a mapping that they hold need not be one that the design allows.

    Raises InputError with every fault of every file: files that cannot be read, keys that are unknown or given twice,
    values of the wrong kind, parts that do not fit each other, our own and Timeloop's files mixed.
    """
    paths = [_source(source) for source in sources]
    nodes = _nodes(paths)
    foreign = [node for node in nodes if _is_timeloop(node)]
    own = [node for node in nodes if node not in foreign and _is_own(node)]
    places = _places(nodes)
    if not foreign:
        return replace(_own(paths, searching), places=places)
    if own:
        what = f"the file is one of our own, {foreign[0].file} is one of Timeloop's"
        raise InputError([Fault(what, node.file, fix="give files of one kind") for node in own])
    return _timeloop([path for path in paths if isinstance(path, Path)], places, searching)


def _source(source: str | Path) -> Path | Node:
    """A file; the name of something published, where no file is called so, stands for it."""
    from sparseloom import designs, document
    from sparseloom.workload import zoo

    path, name = Path(source), str(source)
    if path.exists():
        return path
    if name in designs.cases():
        return designs.case_file(name)
    for key, names in (("design", designs.names()), ("network", zoo.names())):
        if name in names:
            return document.parse(f"{key}: {name}", name)
    return path


def _nodes(paths: Sequence[Path | Node]) -> list[Node]:
    from sparseloom import document
    from sparseloom.timeloop.dialect import TAGS

    faults: list[Fault] = []
    nodes = []
    for path in paths:
        if isinstance(path, Node):
            nodes.append(path)
            continue
        try:
            nodes.append(document.read(path, TAGS))
        except InputError as error:
            faults += [_with_names(path, fault) for fault in error.faults]
    if faults:
        raise InputError(faults)
    return nodes


def _with_names(path: Path, fault: Fault) -> Fault:
    """``fault`` with a hint at what is published, if ``path`` may be meant as the name of something."""
    from sparseloom import designs
    from sparseloom.workload import zoo

    if path.exists() or path.suffix or len(path.parts) > 1:
        return fault
    known = [*designs.cases(), *designs.names(), *zoo.names()]
    return replace(fault, fix=f"{fault.fix}, or give a published case, design or network: {suggest(path.name, known)}")


def _is_timeloop(node: Node) -> bool:
    from sparseloom.timeloop import is_timeloop

    return is_timeloop(node)


def _is_own(node: Node) -> bool:
    mapping = node.get("mapping")
    levels = mapping.value if mapping is not None and isinstance(mapping.value, list) else []
    constraints = node.get("constraints")
    own = constraints is not None and constraints.get("levels", "parallelism") is not None
    return (
        own
        or node.get("workload", "design", "network") is not None
        or any(item.get("level") is not None for item in levels)
    )


def _places(nodes: Sequence[Node]) -> dict[str, str]:
    """Where the mapping and each of its levels stand."""
    found: dict[str, str] = {}
    for node in nodes:
        if (mapping := node.get("mapping")) is not None:
            found[""] = mapping.where
            for item in mapping.value if isinstance(mapping.value, list) else []:
                if (level := item.get("level", "target")) is not None:
                    found.setdefault(str(level.value), item.where)
    return found


def _placed(faults: Sequence[Fault], places: Table[str, str]) -> list[Fault]:
    whole = places.get("", "")
    return [fault if fault.where else replace(fault, where=places.get(fault.path, whole)) for fault in faults]


def _timeloop(paths: Sequence[Path], places: Table[str, str], searching: bool) -> Case:
    from sparseloom import timeloop

    found = timeloop.load(paths, searching)
    if found.mapping is not None and not searching:
        from sparseloom.mapping.batch import Problem
        from sparseloom.mapping.lanes import check_mapping

        try:
            check_mapping(Problem(found.workload, found.design), found.mapping)
        except MappingError as error:
            raise MappingError(_placed(error.faults, places)) from None
    ignored = tuple(dict.fromkeys(str(item) for item in found.ignored))
    return Case(
        found.workload, found.design, found.mapping, found.constraints,
        timeloop=found, places=places, ignored=ignored, notes=found.notes,
    )  # fmt: skip


def _own(paths: Sequence[Path | Node], searching: bool) -> Case:
    from sparseloom import designs, document
    from sparseloom.arch import choice
    from sparseloom.arch import file as design_file
    from sparseloom.designs.check import faults, meant
    from sparseloom.mapping import constraint_file
    from sparseloom.mapping import file as mapping_file
    from sparseloom.workload import file as workload_file

    if found := faults(*paths):
        raise InputError(found)
    tops = (path if isinstance(path, Node) else document.read(path) for path in paths)
    nodes = {key: node for top in tops for key, node in top.value.items()}
    workload, design, mapping = (nodes.get(key) for key in SECTIONS)
    constraints = nodes.get(constraint_file.KEY)
    given = workload_file.build(workload) if workload else None
    some: tuple[Variant[Design], ...] = ()
    allowed = constraint_file.build(constraints) if constraints else NONE
    if given is not None:
        allowed = meant(nodes, allowed, given.ranks)
    if design is not None and isinstance(design.value, str):
        some = (Variant((), designs.load(design.value)),)
        if constraints is None and searching:
            allowed = designs.constraints(design.value)
            allowed = allowed.only(given.ranks) if given is not None else allowed
    elif design is not None:
        some = tuple(Variant(each.choices, design_file.build(each.value)) for each in choice.variants(design))
    left_open = any(variant.choices for variant in some)
    return Case(
        given,
        some[0].value if some and not left_open else None,
        mapping_file.build(mapping) if mapping else None,
        allowed,
        _network(nodes.get("network")),
        variants=some if left_open else (),
    )


def _network(node: Node | None) -> Network | None:
    from sparseloom.workload import network_file, zoo

    if node is None:
        return None
    return zoo.load(node.value) if isinstance(node.value, str) else network_file.build(node)


def complete(case: Case, sources: Sequence[str | Path]) -> tuple[Workload, Design, Mapping]:
    """The three parts of a case. Raises InputError for each that the ``sources`` lack, and for each choice that is left open."""
    _require_settled(case)
    _require(case, sources, SECTIONS)
    assert case.workload is not None
    assert case.design is not None
    assert case.mapping is not None
    return case.workload, case.design, case.mapping


def problem(case: Case, sources: Sequence[str | Path]) -> tuple[Workload, tuple[Variant[Design], ...]]:
    """What to search a mapping for: a workload, and the variants of a design. Raises InputError for each part that the ``sources``
    lack."""
    _require(case, sources, SECTIONS[: 1 if case.variants else 2])
    assert case.workload is not None
    if case.variants:
        return case.workload, case.variants
    assert case.design is not None
    return case.workload, (Variant((), case.design),)


def design_of(case: Case, sources: Sequence[str | Path]) -> Design:
    """The design of a case. Raises InputError if the ``sources`` lack it, or leave choices open."""
    _require_settled(case)
    _require(case, sources, ("design",))
    assert case.design is not None
    return case.design


def _require_settled(case: Case) -> None:
    if case.variants:
        raise InputError([choice.fault for choice in case.variants[0].choices])


def _require(case: Case, sources: Sequence[str | Path], keys: Sequence[str]) -> None:
    where = ", ".join(map(str, sources))
    fix = "add it to the file, or give the file that holds it too; `sparseloom schema {}` says what it holds"
    missing = [key for key in keys if getattr(case, key) is None]
    if missing:
        raise InputError([Fault(f"there is no `{key}:`", where, fix=fix.format(key)) for key in missing])
