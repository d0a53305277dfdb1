"""The components of Timeloop's architectures, outermost first, in each of the ways to write them down.

v0.2 and v0.3 nest ``subtree`` and ``local``; ``Name[0..N-1]`` multiplies the instances of all below. v0.4 lists
``nodes``; a node with ``spatial: {meshX, meshY}`` multiplies itself and all after it, and a level without storage of
its own stands where the fan-out is (Timeloop's front end writes the same tree out as ``subtree``). Before v0.2 a list
``storage``, innermost first, stood beside ``arithmetic``, and what a component has stood at the component itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from sparseloom.document import Node
from sparseloom.timeloop.reader import Reader
from sparseloom.timeloop.storage import FANOUT_CLASS

_RANGE: Final = re.compile(r"^(?P<name>.*?)(?:\[(?P<first>\d{1,15})\.\.(?P<last>\d{1,15})\])?$", re.DOTALL)


@dataclass(frozen=True)
class Component:
    """A component found in an architecture. ``mesh`` counts its instances along X and Y, None if only ``count`` is known."""

    node: Node
    name: str
    class_name: str
    count: int
    mesh: tuple[int, int] | None
    attributes: Node


@dataclass(frozen=True)
class Found:
    """The components and the name of an architecture, and the constraints that stand at its nodes (v0.4), by the node's name."""

    name: str
    components: list[Component]
    constraints: tuple[tuple[str, Node], ...] = ()


def find_components(node: Node, reader: Reader) -> Found | None:
    """The components under the top-level key ``architecture`` or ``arch``; None, with a fault, if there is no tree of them."""
    if reader.dialect.lists_storage:
        return _lists(node, reader)
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
        return None
    return _nodes(fields["nodes"], reader) if "nodes" in fields else _subtree(fields["subtree"], reader)


def _lists(node: Node, reader: Reader) -> Found | None:
    """Components of the list before v0.2, and its compute units."""
    fields = reader.fields(node, "arch")
    if not reader.require(node, fields, "storage", "arithmetic"):
        return None
    levels = reader.items(fields["storage"])
    if not levels:
        reader.fault(fields["storage"], "there are no storage levels", "list at least one, the innermost first")
        return None
    found = [_listed(level, "storage", "", reader) for level in reversed(levels)]
    found.append(_listed(fields["arithmetic"], "compute", UNNAMED_COMPUTE, reader))
    return Found("", [component for component in found if component is not None])


UNNAMED_COMPUTE: Final = "MAC"
"""The name of compute units that have none."""


def _listed(node: Node, class_name: str, name: str, reader: Reader) -> Component | None:
    """A component whose name and attributes stand side by side; ``name`` if it has none of its own."""
    if not isinstance(node.value, dict):
        reader.fields(node, class_name)
        return None
    if "name" in node.value or not name:
        name, many = _named(node.value.get("name"), node, reader)
        if many != 1:
            reader.fault(node, f"'{name}' has a range in its name", f"write `instances: {many}`")
    attributes = replace(node, value={key: child for key, child in node.value.items() if key != "name"})
    return Component(node, name, class_name, 1, None, attributes) if name else None


def _subtree(node: Node, reader: Reader) -> Found:
    """Components of nested subtrees, named as the top is."""
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
    return Found(name.removesuffix(suffix) if suffix else name, found)


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
    class_name = reader.text(fields["class"]) if reader.require(node, fields, "class") else None
    return Component(node, name, class_name, count * many, None, attributes) if name and class_name else None


def _nodes(node: Node, reader: Reader) -> Found:
    """Components of a v0.4 node list, named as the first container is."""
    walk = _NodeWalk(reader)
    for item in reader.items(node):
        walk.visit(item)
    return Found(walk.name, walk.found, tuple(walk.constraints))


class _NodeWalk:
    """Goes down a list of nodes with the mesh and the attributes that hold so far."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.name, self.found = reader, "", list[Component]()
        self.mesh, self.shared = (1, 1), dict[str, Node]()
        self.constraints = list[tuple[str, Node]]()

    def visit(self, node: Node, parallel: bool = False) -> None:
        fields = self.reader.fields(node, "node", known=("constraints",) if self.reader.searching else ())
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
            self.limit(title, fields)
            self.shared |= self.attributes(fields.get("attributes"))

    def fan_out(self, node: Node, title: str, spatial: Node | None, parallel: bool) -> None:
        if spatial is None:
            return
        fields = self.reader.fields(spatial, "spatial")
        x, y = (self.reader.integer(fields.get(key), 1) or 1 for key in ("meshX", "meshY"))
        if x * y > 1 and parallel:
            self.reader.fault(spatial, f"'{title}' fans out inside parallel nodes", "fan out before them")
        elif x * y > 1:
            values = {key: replace(node, value=1) for key in ("width", "depth", "datawidth")}
            name, count = self.reader.dialect.fanout_level.format(title), self.mesh[0] * self.mesh[1]
            place = replace(node, value={})
            self.found.append(Component(place, name, FANOUT_CLASS, count, self.mesh, replace(node, value=values)))
            self.mesh = (self.mesh[0] * x, self.mesh[1] * y)

    def add(self, node: Node, fields: dict[str, Node]) -> None:
        component = _component(node, fields, self.mesh[0] * self.mesh[1], self.reader)
        if component is not None:
            own = self.attributes(component.attributes)
            inherited = {key: child for key, child in self.shared.items() if key not in own}
            merged = replace(component.attributes, value={**inherited, **own})
            self.found.append(replace(component, mesh=self.mesh, attributes=merged))
            self.limit(component.name, fields)

    def limit(self, name: str, fields: dict[str, Node]) -> None:
        if "constraints" in fields:
            self.constraints.append((name, fields["constraints"]))

    def attributes(self, node: Node | None) -> dict[str, Node]:
        if node is None or node.value is None:
            return {}
        if isinstance(node.value, dict):
            return node.value
        self.reader.fault(node, f"'{node.value}' stands where attributes are expected", "write `key: value` lines")
        return {}
