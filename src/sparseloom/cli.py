"""The command line. Everything heavy is imported inside the command that needs it, so that `--help` is quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from sparseloom import __version__
from sparseloom.errors import Fault, InputError, SparseloomError

FAULT, INTERRUPTED = 2, 130
"""Exit codes: the input is at fault; the user interrupted."""

app = typer.Typer(
    help="Model sparse tensor accelerators: cycles, energy and every access of a mapping.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Files = Annotated[list[Path], typer.Argument(help="workload, design and mapping, or Timeloop's", metavar="FILES...")]
JsonPath = Annotated[Path | None, typer.Option("--json", metavar="PATH", help="write the result to this file too")]
Conventions = Annotated[str, typer.Option(metavar="PROFILE", help="rules of counting (the files' own when not given)")]
ResultPath = Annotated[Path, typer.Argument(help="a result that `evaluate --json` wrote")]


def main() -> None:
    """The `sparseloom` command: faults go to stderr with exit code 2, without a traceback."""
    try:
        _run()
    except SparseloomError as error:
        _complain(error)
        sys.exit(FAULT)
    except BrokenPipeError:
        # the reader of our output has gone: nothing to say, and Python must not try again when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _run() -> None:
    try:
        app()
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("interrupted", file=sys.stderr)
        raise
    finally:
        sys.stdout.flush()


def _complain(error: SparseloomError) -> None:
    for fault in error.faults:
        print(fault if fault.where else f"error: {fault}", file=sys.stderr)
    if len(error.faults) > 1:
        print(f"{len(error.faults)} faults", file=sys.stderr)


def _version(asked: bool) -> None:
    if asked:
        print(f"sparseloom {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    pass


@app.command()
def diff(
    first: ResultPath,
    second: ResultPath,
    tolerance: Annotated[float, typer.Option(help="relative difference that counts as none", min=0)] = 0.0,
) -> None:
    """Lay two results side by side: what differs, and by what factor. Exit code 1 if anything does."""
    from sparseloom.report.compare import difference, text
    from sparseloom.results.file import read

    results, faults = [], list[Fault]()
    for path in (first, second):
        try:
            results.append(read(path))
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)
    found = difference(results[0], results[1], tolerance)
    print(text(found, (str(first), str(second))))
    raise typer.Exit(1 if found else 0)


@app.command()
def schema(kind: Annotated[Literal["design", "workload", "mapping", "result"], typer.Argument()]) -> None:
    """Print the JSON Schema of a kind of file, for editors and other programs."""
    import importlib
    import json

    homes = {"design": "arch", "workload": "workload", "mapping": "mapping", "result": "results"}
    module = importlib.import_module(f"sparseloom.{homes[kind]}.file")
    print(json.dumps(module.schema(), indent=2))
