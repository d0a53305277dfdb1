"""Timeloop's architecture: a tree of storage and compute components, as levels outermost first.

v0.2 and v0.3 nest ``subtree`` and ``local``; ``Name[0..N-1]`` multiplies the instances of all below. v0.4 lists
``nodes``; a node with ``spatial: {meshX, meshY}`` multiplies itself and all after it, and a level without storage of
its own stands where the fan-out is (Timeloop's front end writes the same tree out as ``subtree``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from sparseloom.arch.hierarchy import ComputeLevel, StorageLevel
from sparseloom.document import Node
from sparseloom.mapping.details import LevelDetails
from sparseloom.timeloop.reader import Reader
from sparseloom.timeloop.storage import FANOUT_CLASS, read_storage

STORAGE_CLASSES: Final = ("DRAM", "SRAM", "regfile", "smartbuffer", "storage")
COMPUTE_CLASSES: Final = ("mac", "compute")
"""A component is storage if its class contains one of the former, else compute if it contains one of the latter."""

_RANGE: Final = re.compile(r"^(?P<name>.*?)(?:\[(?P<first>\d{1,15})\.\.(?P<last>\d{1,15})\])?$", re.DOTALL)


@dataclass(frozen=True)
class Component:
    """A component found in the tree. ``mesh`` counts its instances along X and Y, None if only ``count`` is known."""

    node: Node
    name: str
    count: int
    mesh: tuple[int, int] | None
    attributes: Node


@dataclass(frozen=True)
class Tree:
    """An architecture as read. ``levels`` are outermost first, without energies; ``sparse`` holds the sparse
    optimizations that stand at the components themselves (v0.4); ``compression`` names the levels that can compress,
    ``decompression`` those that can decompress."""

    name: str
    levels: tuple[StorageLevel, ...] = ()
    compute: ComputeLevel | None = None
    compute_class: str = ""
    details: dict[str, LevelDetails] | None = None
    sparse: tuple[tuple[str, Node], ...] = ()
    compression: frozenset[str] = frozenset()
    decompression: frozenset[str] = frozenset()


def read_architecture(node: Node, reader: Reader) -> Tree:
    """Read the value of the top-level key ``architecture``."""
    fields = reader.fields(node, "architecture")
    fields.pop("version", None)
    allowed = reader.dialect.children
    for key in ("nodes", "subtree"):
        if key in fields and key not in allowed:
            fix = f"version {reader.dialect.version} writes `{allowed[0]}:`"
            reader.fault(fields.pop(key), f"'{key}' is not a key of version {reader.dialect.version}", fix)
    if len(fields) != 1:
        found = f"it has {' and '.join(sorted(fields))}" if fields else "it has neither components nor levels"
        reader.fault(node, f"the architecture wants one of {', '.join(allowed)}; {found}", f"add `{allowed[0]}:`")
        return Tree("")
    if "nodes" in fields:
        name, components = _nodes(fields["nodes"], reader)
    else:
        name, components = _subtree(fields["subtree"], reader)
    return _assemble(node, name, components, reader)


def _subtree(node: Node, reader: Reader) -> tuple[str, list[Component]]:
    """Components of nested subtrees, outermost first, and the name of the top."""
    name, count, found = "", 1, list[Component]()
    branch: Node | None = node
    while branch is not None:
        here, branch = _one_branch(branch, reader), None
        if here is None:
            break
        fields = reader.fields(here, "subtree")
        title, many = _named(fields.get("name"), here, reader)
        name, count = name or title, count * many
        for item in reader.items(fields.get("local")):
            component = _component(item, reader.fields(item, "component"), count, reader)
            if component is not None:
                found.append(component)
        branch = fields.get("subtree")
    suffix = reader.dialect.top_suffix
    return (name.removesuffix(suffix) if suffix else name), found


def _one_branch(node: Node, reader: Reader) -> Node | None:
    branches = reader.items(node)
    if len(branches) > 1:
        lines = " and ".join(branch.where for branch in branches[:2])
        reader.fault(
            node, f"the tree branches into {len(branches)} subtrees, at {lines}", "keep one: levels form a chain"
        )
    return branches[0] if branches else None


def _named(node: Node | None, parent: Node, reader: Reader) -> tuple[str, int]:
    """A name without its range, and how many instances the range stands for."""
    if node is None:
        reader.fault(parent, "required key 'name' is missing", "add `name:`")
        return "", 1
    match = _RANGE.match(reader.text(node) or "")
    if match is None or not match["name"]:
        if node.value is not None and not isinstance(node.value, (list, dict)):
            reader.fault(node, f"'{node.value}' has no name before its range", "write Name[0..N-1]")
        return "", 1
    if match["first"] is None:
        return match["name"], 1
    count = int(match["last"]) - int(match["first"]) + 1
    if count < 1:
        reader.fault(
            node, f"the range of '{node.value}' ends at {match['last']}, before {match['first']}", "write Name[0..N-1]"
        )
        return match["name"], 1
    return match["name"], count


def _component(node: Node, fields: dict[str, Node], count: int, reader: Reader) -> Component | None:
    name, many = _named(fields.get("name"), node, reader)
    if fields.get("enabled") is not None and reader.flag(fields["enabled"]) is False:
        reader.note(node, f"component {name} is not enabled and is left out")
        return None
    attributes = fields.get("attributes") or Node({}, node.file, node.line, node.path)
    if attributes.value is None:
        attributes = replace(attributes, value={})
    if not name or not reader.require(node, fields, "class"):
        return None
    return Component(node, name, count * many, None, attributes)


def _nodes(node: Node, reader: Reader) -> tuple[str, list[Component]]:
    """Components of a v0.4 node list, outermost first, and the name of the first container."""
    walk = _NodeWalk(reader)
    for item in reader.items(node):
        walk.visit(item)
    return walk.name, walk.found


class _NodeWalk:
    """Goes down a list of nodes with the mesh and the attributes that hold so far."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.name, self.found = reader, "", list[Component]()
        self.mesh, self.shared = (1, 1), dict[str, Node]()

    def visit(self, node: Node, parallel: bool = False) -> None:
        fields = self.reader.fields(node, "node")
        if "nodes" in fields:
            for item in self.reader.items(fields["nodes"]):
                self.visit(item, parallel=True)
            return
        title, many = _named(fields.get("name"), node, self.reader)
        if many != 1:
            self.reader.fault(node, f"'{title}' has a range in its name", "version 0.4 writes `spatial: {meshX: N}`")
        self.fan_out(node, title, fields.get("spatial"), parallel)
        if "class" in fields:
            self.add(node, fields)
        elif parallel:
            self.reader.fault(
                node, f"container {title} stands inside parallel nodes", "only components may stand there"
            )
        else:
            self.name = self.name or title
            self.shared |= self.attributes(fields.get("attributes"))

    def fan_out(self, node: Node, title: str, spatial: Node | None, parallel: bool) -> None:
        if spatial is None:
            return
        fields = self.reader.fields(spatial, "spatial")
        x, y = (self.reader.integer(fields.get(key), 1) or 1 for key in ("meshX", "meshY"))
        if x * y > 1 and parallel:
            self.reader.fault(spatial, f"'{title}' fans out inside parallel nodes", "fan out before them")
        elif x * y > 1:
            values = {key: Node(1, node.file, node.line, node.path) for key in ("width", "depth", "datawidth")}
            values["class"] = Node(FANOUT_CLASS, node.file, node.line, node.path)
            dummy = Node(values, node.file, node.line, node.path)
            name = self.reader.dialect.fanout_level.format(title)
            self.found.append(Component(dummy, name, self.mesh[0] * self.mesh[1], self.mesh, _without_class(dummy)))
            self.mesh = (self.mesh[0] * x, self.mesh[1] * y)

    def add(self, node: Node, fields: dict[str, Node]) -> None:
        component = _component(node, fields, self.mesh[0] * self.mesh[1], self.reader)
        if component is not None:
            own = self.attributes(component.attributes)
            inherited = {key: child for key, child in self.shared.items() if key not in own}
            merged = replace(component.attributes, value={**inherited, **own})
            self.found.append(replace(component, mesh=self.mesh, attributes=merged))

    def attributes(self, node: Node | None) -> dict[str, Node]:
        if node is None or node.value is None:
            return {}
        if isinstance(node.value, dict):
            return node.value
        self.reader.fault(node, f"'{node.value}' stands where attributes are expected", "write `key: value` lines")
        return {}


def _without_class(node: Node) -> Node:
    return replace(node, value={key: child for key, child in node.value.items() if key != "class"})


def _assemble(node: Node, name: str, components: list[Component], reader: Reader) -> Tree:
    tree = _Assembly(reader)
    for component in components:
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
        name, tuple(tree.levels), tree.compute, tree.compute_class, tree.details, tuple(tree.sparse),
        frozenset(tree.compression), frozenset(tree.decompression),
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
        class_name = self.reader.text(component.node.value["class"])
        if class_name is None:
            return
        if any(word in class_name for word in STORAGE_CLASSES):
            self.add_storage(component, class_name)
        elif any(word in class_name for word in COMPUTE_CLASSES):
            self.add_compute(component, class_name)
        else:
            kinds = ", ".join((*STORAGE_CLASSES, *COMPUTE_CLASSES))
            text = f"component {component.name} of class {class_name} is left out: Timeloop knows classes with {kinds}"
            self.reader.note(component.node, text)
            return
        self.names.append(component.name)
        sparse = component.node.get("sparse_optimizations", "sparse-optimizations")
        if sparse is not None and sparse.value is not None:
            self.sparse.append((component.name, sparse))

    def add_storage(self, component: Component, class_name: str) -> None:
        if self.compute is not None:
            what = f"storage {component.name} stands inside compute {self.compute.name}"
            self.reader.fault(component.node, what, "compute units are innermost")
        fields = self.reader.fields(component.attributes, "storage attributes")
        mesh = self.mesh(component, fields)
        level, details = read_storage(component.name, class_name, mesh, fields, component.attributes, self.reader)
        self.levels.append(level)
        self.details[component.name] = details
        for key, names in (
            ("compression_supported", self.compression),
            ("decompression_supported", self.decompression),
        ):
            if self.reader.flag(fields.get(key)):
                names.add(component.name)

    def add_compute(self, component: Component, class_name: str) -> None:
        fields = self.reader.fields(component.attributes, "compute attributes")
        x, y = self.mesh(component, fields)
        bits = self.reader.integer(first(fields, "word_bits", "word_width", "datawidth"), 1)
        if self.compute is not None:
            what = f"two compute components, {self.compute.name} and {component.name}"
            self.reader.fault(component.node, what, "keep one of them")
        self.compute, self.compute_class = ComputeLevel(component.name, bits or 16, x, y), class_name

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
        fix = f"write {component.name}[0..N-1] with N instances, or mend meshX and meshY"
        self.reader.fault(component.node, what, fix)
        return count, 1


def first(fields: dict[str, Node], *keys: str) -> Node | None:
    """The value of the first of several spellings of one attribute."""
    return next((fields[key] for key in keys if key in fields), None)
