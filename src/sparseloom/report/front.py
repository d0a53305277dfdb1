"""A front of energy and cycles: as a table, as JSON, and as a folder of cases to evaluate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sparseloom import document
from sparseloom.arch.design import Design
from sparseloom.mapping import file as mapping_file
from sparseloom.report.mapped import case_file
from sparseloom.results import Result
from sparseloom.results.table import table
from sparseloom.search.pareto import Front
from sparseloom.workload.workload import Workload


def text(front: Front, results: Sequence[Result]) -> str:
    """A line for each point, of its ``results``, and whether these are all."""
    head = ("point", "cycles", "energy uJ", "pJ x cycles", "used", "bound by")
    rows = [
        (
            str(k), f"{result.cycles:,.0f}", f"{result.energy_pj / 1e6:,.3f}", f"{result.energy_pj * result.cycles:.4g}",
            f"{result.utilization:.0%}", result.bottleneck.partition(" asks for")[0],
        )
        for k, result in enumerate(results, 1)
    ]  # fmt: skip
    lines = [table(head, rows, (0, 5))] if rows else []
    return "\n".join([*lines, f"{front}; {front.size:,} mappings, {front.seconds:.1f} s"])


def json_text(front: Front, results: Sequence[Result]) -> str:
    """As JSON."""
    points = [
        {
            "energy_pj": point.energy_pj,
            "cycles": point.cycles,
            "mapping": mapping_file.text(point.mapping),
            "result": result.to_dict(),
        }
        for point, result in zip(front.points, results, strict=True)
        if point.mapping is not None
    ]
    values = {"size": front.size, "complete": front.complete, "seconds": front.seconds, "points": points}
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write(folder: Path, front: Front, workload: Workload, design: Design) -> None:
    """A case for each point, ``point-1.yaml`` on. Raises InputError when they cannot be written."""
    document.make_folder(folder)
    for k, point in enumerate(front.points, 1):
        document.write(folder / f"point-{k}.yaml", case_file(point, workload, design))
