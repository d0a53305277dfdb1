"""Timeloop's architecture: its components as levels, outermost first, over compute units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sparseloom.arch.hierarchy import ComputeLevel, StorageLevel
from sparseloom.document import Node
from sparseloom.mapping.details import LevelDetails
from sparseloom.timeloop.components import Component, Found, find_components
from sparseloom.timeloop.reader import Reader
from sparseloom.timeloop.storage import read_storage

STORAGE_CLASSES: Final = ("DRAM", "SRAM", "regfile", "smartbuffer", "storage")
COMPUTE_CLASSES: Final = ("mac", "compute")
"""A component is storage if its class contains one of the former, else compute if it contains one of the latter."""


@dataclass(frozen=True)
class Tree:
    """An architecture as read. ``levels`` are outermost first, without energies; ``sparse`` holds the sparse
    optimizations that stand at the components themselves (v0.4), ``constraints`` those of their nodes; ``compression`` names
    the levels that can compress, ``decompression`` those that can decompress."""

    name: str
    levels: tuple[StorageLevel, ...] = ()
    compute: ComputeLevel | None = None
    compute_class: str = ""
    details: dict[str, LevelDetails] | None = None
    sparse: tuple[tuple[str, Node], ...] = ()
    constraints: tuple[tuple[str, Node], ...] = ()
    compression: frozenset[str] = frozenset()
    decompression: frozenset[str] = frozenset()


def read_architecture(node: Node, reader: Reader) -> Tree:
    """Read the value of the top-level key ``architecture``, or ``arch`` before v0.2."""
    found = find_components(node, reader)
    return Tree("") if found is None else _assemble(node, found, reader)


def _assemble(node: Node, found: Found, reader: Reader) -> Tree:
    tree = _Assembly(reader)
    for component in found.components:
        tree.add(component)
    if not tree.levels:
        reader.fault(
            node, "the architecture has no storage component", f"a class contains one of {', '.join(STORAGE_CLASSES)}"
        )
    if tree.compute is None:
        reader.fault(
            node, "the architecture has no compute component", f"a class contains one of {', '.join(COMPUTE_CLASSES)}"
        )
    for title in sorted({n for n in tree.names if tree.names.count(n) > 1}):
        reader.fault(node, f"{tree.names.count(title)} components are named {title}", "give each a name of its own")
    return Tree(
        found.name, tuple(tree.levels), tree.compute, tree.compute_class, tree.details, tuple(tree.sparse),
        found.constraints, frozenset(tree.compression), frozenset(tree.decompression),
    )  # fmt: skip


class _Assembly:
    """Turns components into levels, one after the other, outermost first."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.levels, self.details = list[StorageLevel](), dict[str, LevelDetails]()
        self.compute: ComputeLevel | None = None
        self.compute_class = ""
        self.sparse, self.compression, self.decompression = list[tuple[str, Node]](), set[str](), set[str]()
        self.names: list[str] = []

    def add(self, component: Component) -> None:
        if any(word in component.class_name for word in STORAGE_CLASSES):
            self.add_storage(component)
        elif any(word in component.class_name for word in COMPUTE_CLASSES):
            self.add_compute(component)
        else:
            kinds, left_out = ", ".join((*STORAGE_CLASSES, *COMPUTE_CLASSES)), f"component {component.name} of class"
            text = f"{left_out} {component.class_name} is left out: Timeloop knows classes with {kinds}"
            self.reader.note(component.node, text)
            return
        self.names.append(component.name)
        sparse = component.node.get("sparse_optimizations", "sparse-optimizations")
        if sparse is not None and sparse.value is not None:
            self.sparse.append((component.name, sparse))

    def add_storage(self, component: Component) -> None:
        if self.compute is not None:
            what = f"storage {component.name} stands inside compute {self.compute.name}"
            self.reader.fault(component.node, what, "compute units are innermost")
        fields = self.reader.fields(component.attributes, "storage attributes")
        mesh = self.mesh(component, fields)
        level, details = read_storage(
            component.name, component.class_name, mesh, fields, component.attributes, self.reader
        )
        self.levels.append(level)
        self.details[component.name] = details
        for key, names in (
            ("compression_supported", self.compression),
            ("decompression_supported", self.decompression),
        ):
            if self.reader.flag(fields.get(key)):
                names.add(component.name)

    def add_compute(self, component: Component) -> None:
        fields = self.reader.fields(component.attributes, "compute attributes")
        x, y = self.mesh(component, fields)
        bits = self.reader.integer(first(fields, "word_bits", "word_width", "datawidth"), 1)
        if self.compute is not None:
            what = f"two compute components, {self.compute.name} and {component.name}"
            self.reader.fault(component.node, what, "keep one of them")
        self.compute, self.compute_class = ComputeLevel(component.name, bits or 16, x, y), component.class_name

    def mesh(self, component: Component, fields: dict[str, Node]) -> tuple[int, int]:
        """Instances along X and Y: from the tree, and from meshX and meshY, which must agree with it."""
        more = self.reader.integer(fields.get("instances"), 1) or 1
        count = component.count * more
        x, y = (self.reader.integer(fields.get(key), 1) for key in ("meshX", "meshY"))
        if component.mesh is not None and more == 1:
            x, y = x or component.mesh[0], y or component.mesh[1]
        if x is None and y is None:
            return count, 1
        if x is not None and y is not None and x * y == count:
            return x, y
        given = x or y or 1
        if (x is None or y is None) and count % given == 0:
            return (given, count // given) if y is None else (count // given, given)
        mesh = f"{x} x {y} = {x * y}" if x is not None and y is not None else f"{given} along one side"
        what = f"{component.name} has {count} instances, its mesh is {mesh}"
        fix = f"write {self.reader.dialect.instances.format(component.name)}, or mend meshX and meshY"
        self.reader.fault(component.node, what, fix)
        return count, 1


def first(fields: dict[str, Node], *keys: str) -> Node | None:
    """The value of the first of several spellings of one attribute."""
    return next((fields[key] for key in keys if key in fields), None)
