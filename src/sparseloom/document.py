"""YAML text as nodes that remember their line: data only, no code, no tags, no expansion bombs; files written whole or not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparseloom.errors import Fault, InputError

MAX_BYTES = 32 * 2**20
MAX_NODES = 2_000_000
MAX_REPEATED = 100_000
"""Values that aliases may add to those that the file spells out."""

Plain = None | bool | int | float | str | list[Any] | dict[str, Any]


@dataclass(frozen=True)
class Node:
    """A value of a file with its place. ``value`` is a scalar, a list of nodes or a dict of nodes by key.

    ``path`` is the key path from the top (``levels[0].name``), ``tag`` a YAML tag if the text carried one that the
    caller allowed (``!Container``).
    """

    value: Any
    file: str
    line: int
    path: str = ""
    tag: str = ""

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"

    def plain(self) -> Plain:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value  # type: ignore[no-any-return]

    def get(self, *keys: str) -> Node | None:
        """The child under the first of ``keys`` that is present in a dict node, else None."""
        if isinstance(self.value, dict):
            for key in keys:
                if key in self.value:
                    return self.value[key]  # type: ignore[no-any-return]
        return None

    def at(self, path: tuple[str | int, ...]) -> Node:
        """The deepest node that exists along ``path``: where a fault about that path is to be shown."""
        node = self
        for step in path:
            value: Any = node.value
            within = isinstance(value, list) and isinstance(step, int) and step < len(value)
            if not within and not (isinstance(value, dict) and step in value):
                break
            node = value[step]
        return node

    def fault(self, what: str, fix: str = "") -> Fault:
        """A fault at this node."""
        return Fault(what, self.where, self.path, fix)


def read(path: str | Path, tags: frozenset[str] = frozenset()) -> Node:
    """Read one YAML file; the top must be a mapping.

    ``tags`` lists the tags that are accepted on mappings and ignored otherwise (``!Container``).
    Raises InputError, with file:line, for a file that is missing, not text, too large, not YAML, has a duplicate key, an
    alias that expands without end, or a tag that is not in ``tags``.
    """
    file = str(path)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise InputError(Fault(f"cannot read the file: {error.strerror}", file, fix="check the path")) from None
    if len(raw) > MAX_BYTES:
        raise InputError(Fault(f"the file has {len(raw)} bytes, the limit is {MAX_BYTES}", file, fix="split the file"))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        fix = "save it as UTF-8 text"
        raise InputError(Fault(f"byte 0x{raw[error.start]:02x} is not UTF-8 text", f"{file}:{line}", fix=fix)) from None
    return parse(text, file, tags)


def parse(text: str, file: str = "<text>", tags: frozenset[str] = frozenset()) -> Node:
    """As :func:`read`, from text."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise InputError(Fault(f"not YAML: {problem}", f"{file}:{line}", fix="mend the syntax on this line")) from None
    except RecursionError:
        raise InputError(Fault("the file nests too deeply", f"{file}:1", fix="flatten it")) from None
    except (YAMLError, ValueError) as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position if isinstance(position, int) else 0) + 1
        what = f"not YAML: {str(error).splitlines()[0]}"
        raise InputError(Fault(what, f"{file}:{line}", fix="mend the syntax on this line")) from None
    if root is None:
        raise InputError(Fault("the file is empty", f"{file}:1", fix="see `sparseloom schema` for what it may hold"))
    builder = _Builder(file, tags, yaml)
    try:
        node = builder.build(root, "", ())
    except RecursionError:
        raise InputError(Fault("the file nests too deeply", f"{file}:1", fix="flatten it")) from None
    if builder.faults:
        raise InputError(builder.faults)
    if not isinstance(node.value, dict):
        raise InputError(node.fault("the top of the file is not a mapping", fix="write `key: value` lines"))
    return node


class _Builder:
    """Turns the nodes of ruamel's composer into :class:`Node`, resolving scalars as YAML 1.2 does."""

    def __init__(self, file: str, tags: frozenset[str], yaml: Any) -> None:
        self.file, self.tags, self.faults = file, tags, list[Fault]()
        self.count, self.repeated, self.seen = 0, 0, set[int]()
        self.constructor = yaml.constructor

    def build(self, raw: Any, path: str, parents: tuple[int, ...]) -> Node:
        from ruamel.yaml.nodes import MappingNode, ScalarNode

        self.count += 1
        line = raw.start_mark.line + 1
        self.repeated += id(raw) in self.seen
        self.seen.add(id(raw))
        if self.count > MAX_NODES or self.repeated > MAX_REPEATED:
            many = (
                f"more than {MAX_NODES:,} values" if self.count > MAX_NODES else f"{MAX_REPEATED:,} values by aliases"
            )
            raise InputError(
                Fault(f"the file holds {many}", f"{self.file}:{line}", path, "write fewer values, without aliases")
            )
        if id(raw) in parents:
            raise InputError(Fault("an alias contains itself", f"{self.file}:{line}", path, "write the values out"))
        if isinstance(raw, ScalarNode):
            return Node(self._scalar(raw, path, line), self.file, line, path)
        tag = self._tag(raw, path, line)
        inside = (*parents, id(raw))
        if isinstance(raw, MappingNode):
            return Node(dict(self._items(raw, path, inside)), self.file, line, path, tag)
        items = [self.build(item, f"{path}[{i}]", inside) for i, item in enumerate(raw.value)]
        return Node(items, self.file, line, path, tag)

    def _items(self, raw: Any, path: str, inside: tuple[int, ...]) -> Iterator[tuple[str, Node]]:
        seen: dict[str, int] = {}
        for key_node, value_node in raw.value:
            line = key_node.start_mark.line + 1
            key = str(key_node.value)
            here = f"{path}.{key}" if path else key
            if key in seen:
                what = f"key '{key}' occurs again, first on line {seen[key]}"
                self.faults.append(Fault(what, f"{self.file}:{line}", here, "keep one of them"))
                continue
            seen[key] = line
            node = self.build(value_node, here, inside)
            yield key, Node(node.value, node.file, line, node.path, node.tag)

    def _tag(self, raw: Any, path: str, line: int) -> str:
        tag = str(getattr(raw.tag, "value", raw.tag) or "")
        if not tag.startswith("!") or tag == "!":
            return ""
        if tag not in self.tags:
            allowed = (
                f"allowed here: {', '.join(sorted(self.tags))}" if self.tags else "YAML is read as data, without tags"
            )
            self.faults.append(Fault(f"tag {tag} is not allowed", f"{self.file}:{line}", path, allowed))
        return tag

    def _scalar(self, raw: Any, path: str, line: int) -> Any:
        self._tag(raw, path, line)
        try:
            value = self.constructor.construct_object(raw, deep=True)
        except Exception as error:  # the constructor raises its own kinds for malformed scalars
            what = f"cannot read '{raw.value}': {str(error).splitlines()[0]}"
            self.faults.append(Fault(what, f"{self.file}:{line}", path, "quote it to make it text"))
            return None
        return value if isinstance(value, (bool, int, float, str, type(None))) else str(raw.value)


def write(path: str | Path, text: str) -> None:
    """Write a file: whatever happens, ``path`` holds either what it held before or all of ``text``.

    Raises InputError when the file cannot be written.
    """
    try:
        _replace(Path(path), text)
    except OSError as error:
        raise InputError(_unwritable(path, error.strerror or str(error))) from None


def make_folder(path: Path) -> None:
    """Make a folder if there is none. Raises InputError when that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(_unwritable(path, error.strerror or str(error))) from None


def require_writable(*paths: str | Path | None) -> None:
    """Check, before long work, that its results can be written. Raises InputError with a fault for each path that cannot be."""
    faults = []
    for path in (Path(path) for path in paths if path is not None):
        folder = path.resolve().parent
        if path.is_dir():
            faults.append(_unwritable(path, "it is a folder"))
        elif not folder.is_dir():
            faults.append(_unwritable(path, f"there is no folder {folder}"))
        elif not os.access(folder, os.W_OK):
            faults.append(_unwritable(path, f"{folder} may not be written"))
    if faults:
        raise InputError(faults)


def _unwritable(path: str | Path, why: str) -> Fault:
    fix = "give a path in a folder that exists and may be written"
    return Fault(f"cannot write the file: {why}", str(path), fix=fix)


def _replace(path: Path, text: str) -> None:
    """Write beside ``path`` and rename, so that no reader and no interruption sees half a file."""
    path = path.resolve()
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
