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

    if name not in names():
        raise InputError(Fault(f"no published design is called '{name}'", fix=suggest(name, names())))
    return read(_FOLDER / f"{name}.yaml")


def constraints(name: str) -> Constraints:
    """What the published design ``name`` allows of its mappings, as its source has it; nothing, where that says nothing."""
    from sparseloom import document
    from sparseloom.mapping.constraint_file import KEY, build

    node = document.read(_FOLDER / f"{name}.yaml").get(KEY)
    return build(node) if node is not None else NONE


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
