"""A user's function, named on the command line: ``mymodel.py:build`` or ``package.module:build``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from sparseloom.errors import Fault, InputError, SparseloomError, suggest


def resolve(text: str, what: str) -> Callable[[], Any]:
    """The function that ``file.py:name`` or ``module:name`` names; ``what`` it is for, in errors.

    Raises InputError for a file, module or name that does not exist, and for code that fails when it is loaded or called.
    """
    source, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier():
        raise InputError(Fault(f"'{text}' names no function for the {what}", fix="write file.py:function"))
    module = _module(source, what)
    if not hasattr(module, name):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise InputError(Fault(f"{source} has no {name}", fix=suggest(name, public) or "name a function of the file"))
    function = getattr(module, name)
    if not callable(function):
        raise InputError(Fault(f"{name} of {source} cannot be called", fix=f"write a function that returns the {what}"))

    def run() -> Any:
        with _blamed(f"{text} failed"):
            return function()

    return run


def _module(source: str, what: str) -> ModuleType:
    if not source.endswith(".py"):
        with _blamed(f"cannot import {source}"):
            return importlib.import_module(source)
    path = Path(source)
    if not path.is_file():
        raise InputError(Fault(f"there is no file {path}", fix=f"name the Python file that has the {what}"))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # its own imports may be files beside it
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules.setdefault(path.stem, module)  # for what is pickled by name, as the workers of a loader do
    with _blamed(f"cannot load {path}"):
        spec.loader.exec_module(module)
    return module


class _blamed:
    """Turns an error of a user's code into one that says where it was raised."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, SparseloomError) or not isinstance(error, Exception):
            return
        last = traceback.extract_tb(trace)[-1]
        detail = f"{type(error).__name__}: {error}"
        raise InputError(
            Fault(f"{self.what}: {detail}", where=f"{last.filename}:{last.lineno}", fix="mend this code")
        ) from error
