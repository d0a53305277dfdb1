"""The code of a page, run in its order in one folder.

A block that begins with ``# name.yaml`` (or ``.py``, ``.toml``) is a file. ``sh`` runs in bash, ``python`` here, with what earlier
blocks have named; ``text`` is what the block before has printed, ``...`` standing for anything. ``console`` is for reading alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from doctest import ELLIPSIS, OutputChecker
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w.-]+\.(?:yaml|py|toml))\n")


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Language and text of every fenced block."""
    return ((match[1], match[2]) for match in _FENCE.finditer(page))


def run(page: str, folder: Path) -> list[str]:
    """What every block that ran has printed. Raises AssertionError where one fails, or prints something else than it says."""
    names: dict[str, object] = {"__name__": "page"}
    printed: list[str] = []
    with _importable(folder):
        _run(page, folder, names, printed)
    return printed


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules of the folder can be imported meanwhile, and are forgotten."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]


def _run(page: str, folder: Path, names: dict[str, object], printed: list[str]) -> None:
    for language, text in blocks(page):
        if (named := _FILE.match(text)) is not None:
            (folder / named[1]).write_text(text, "utf-8")
            if named[1] == "pyproject.toml":
                _install(text, folder)
        elif language == "sh":
            printed.append(_shell(text, folder))
        elif language == "python":
            out = StringIO()
            with chdir(folder), redirect_stdout(out):
                exec(text, names)
            printed.append(out.getvalue())
        elif language == "text":
            got = "\n".join(line.rstrip() for line in printed[-1].splitlines()) + "\n"
            assert OutputChecker().check_output(text, got, ELLIPSIS), (
                f"the page says\n{text}\nand the block printed\n{got}"
            )
        else:
            assert language == "console", f"what is to be done with a block of '{language}'?\n{text}"


def _shell(text: str, folder: Path) -> str:
    command = folder / ".bin" / "sparseloom"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from sparseloom.cli import main; main()" "$@"\n')
    command.chmod(0o755)
    changed = {"PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": f"{ROOT / 'src'}:{folder}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env={**os.environ, **changed},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{text}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _install(text: str, folder: Path) -> None:
    """What pip notes of a project that is installed: its name and its entry points."""
    project = tomllib.loads(text)["project"]
    noted = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    noted.mkdir()
    (noted / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in points.items())
        for group, points in project["entry-points"].items()
    ]
    (noted / "entry_points.txt").write_text("\n".join(lines) + "\n")
