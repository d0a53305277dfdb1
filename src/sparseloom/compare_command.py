"""What `sparseloom compare` does: search, show how far it is, print, write."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from sparseloom import document
from sparseloom.arch.technology import Technology
from sparseloom.errors import INTERRUPTED, Fault, InputError
from sparseloom.report.comparison import Comparison, compare, text
from sparseloom.search.objective import objective as objective_of
from sparseloom.search.objective import require_budget
from sparseloom.workload.network import Network


def compare_designs(
    network: str,
    designs: list[str],
    weights: str | None,
    activations: str | None,
    objective: str,
    budget_s: float,
    node_nm: float,
    jobs: int,
    fresh: bool,
    sweep: bool,
    json_path: Path | None,
    output: Path | None,
) -> int:
    """Compare, print and write; an exit code."""
    require_budget(budget_s)
    objective_of(objective)
    if not designs:
        raise InputError(Fault("no designs are named", path="designs", fix="as --designs tc,stc,highlight"))
    console = Console(stderr=True)
    with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task(f"{network} on {len(designs)} designs", total=None)

        def watch(found: Comparison, left: int) -> None:
            done = sum(len(each.outcomes) + len(each.refusals) for each in (found, *found.sweep))
            progress.update(bar, completed=done, total=done + left)

        found = compare(
            _network(network), designs, weights, activations,
            objective=objective, budget_s=budget_s, technology=Technology(node_nm), jobs=jobs or os.cpu_count() or 1,
            fresh=fresh, sweep=sweep, watch=watch,
        )  # fmt: skip
    if json_path is not None:
        document.write(json_path, json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n")
    if output is not None:
        found.to_html(output)
        print(f"the page is {output}", file=sys.stderr)
    print(text(found))
    return INTERRUPTED if found.interrupted else 0


def _network(name: str) -> Network | str:
    """The network of a file, or the name of a published one."""
    if not name.endswith((".yaml", ".yml")):
        return name
    from sparseloom.workload.network_file import read

    return read(name)
