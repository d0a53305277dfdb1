"""What `sparseloom reproduce all` does: compute every study, show how far it is, write after each, print."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from sparseloom.errors import INTERRUPTED, Fault, InputError
from sparseloom.report.studies import Studies, compute

SUFFIXES = (".html", ".htm")


def reproduce_all(jobs: int, json_path: Path | None, output: Path | None) -> int:
    """Compute, write and print; an exit code."""
    if output is not None and output.suffix not in SUFFIXES:
        raise InputError(Fault(f"'{output.suffix}' is not a page", str(output), fix="give a file that ends in .html"))
    console = Console(stderr=True)
    with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("studies")

        def watch(found: Studies) -> None:
            done = len(found.done)
            progress.update(
                bar, completed=done, total=done + len(found.left), description=next(iter(found.left), "all")
            )
            if not done:
                return
            if json_path is not None:
                found.to_json(json_path)
            if output is not None:
                found.to_html(output)

        found = compute(jobs or os.cpu_count() or 1, watch=watch)
    if output is not None and found.done:
        print(f"the page is {output}", file=sys.stderr)
    print(found)
    return INTERRUPTED if found.left else 0 if found.holds else 1
