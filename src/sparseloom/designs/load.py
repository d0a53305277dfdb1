"""Published accelerators by name, each a data file beside this module, and cases to run on them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sparseloom.arch.design import Design
from sparseloom.errors import Fault, InputError, suggest
from sparseloom.mapping.constraints import NONE, Constraints

_FOLDER: Final = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the published designs, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load(name: str) -> Design:
    """The published design ``name``. Raises InputError for a name that is not one of :func:`names`."""
    from sparseloom.arch.file import read

    return read(design_file(name))


def design_file(name: str) -> Path:
    """The file of the published design ``name``. Raises InputError for a name that is not one of :func:`names`."""
    if name not in names():
        raise InputError(Fault(f"no published design is called '{name}'", fix=suggest(name, names())))
    return _FOLDER / f"{name}.yaml"


def constraints(name: str) -> Constraints:
    """What the published design ``name`` allows of its mappings, as its source has it; nothing, where that says nothing."""
    from sparseloom import document
    from sparseloom.mapping.constraint_file import KEY, build

    node = document.read(design_file(name)).get(KEY)
    return build(node) if node is not None else NONE


def find(name: str | Path) -> tuple[Design, Constraints]:
    """The published design ``name``, or that of a file (``.yaml`` or ``.yml``), with what it allows of its mappings: the file's
    ``constraints:``.

    Raises InputError for an unknown name, and with every fault of a file.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        return load(str(name)), constraints(str(name))
    return _read(path)


def _read(path: Path) -> tuple[Design, Constraints]:
    from sparseloom import document
    from sparseloom.arch import choice
    from sparseloom.arch.file import KEY as DESIGN
    from sparseloom.arch.file import build as design_of
    from sparseloom.designs.check import faults
    from sparseloom.mapping.constraint_file import KEY, build

    if found := faults(path):
        raise InputError(found)
    top = document.read(path)
    node, allowed = top.get(DESIGN), top.get(KEY)
    if node is None or isinstance(node.value, str):
        what = "there is no `design:` of its own in the file"
        raise InputError(Fault(what, str(path), fix="`sparseloom schema design` says what it holds"))
    [first, *_] = choice.variants(node)
    if first.choices:
        raise InputError([each.fault for each in first.choices])
    return design_of(first.value), build(allowed) if allowed is not None else NONE


def cases() -> tuple[str, ...]:
    """Names of the published cases, in alphabetical order: the name of a design, then what runs on it."""
    return tuple(sorted(path.stem for path in (_FOLDER / "cases").glob("*.yaml")))


def case_file(name: str) -> Path:
    """The file of the published case ``name``: a workload, a mapping, and the name of a design.

    Raises InputError for a name that is not one of :func:`cases`.
    """
    if name not in cases():
        raise InputError(Fault(f"no published case is called '{name}'", fix=suggest(name, cases())))
    return _FOLDER / "cases" / f"{name}.yaml"
