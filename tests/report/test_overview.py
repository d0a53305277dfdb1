"""The table of several results."""

from __future__ import annotations

from sparseloom import case as cases
from sparseloom.model.evaluate import evaluate
from sparseloom.report.overview import HEAD, text


def test_a_table_has_a_line_for_each_result_with_its_cycles_and_what_bounds_them() -> None:
    case = cases.read(["coordinate-list-spmspm"])
    assert case.workload is not None
    assert case.design is not None
    assert case.mapping is not None
    result = evaluate(case.workload, case.design, case.mapping)
    head, line = text({"spmspm": result}).splitlines()
    assert head.split("  ")[0] == HEAD[0]
    assert f"{result.cycles:,}" in line
    assert line.startswith("spmspm  coordinate-list")
    slowest = max(result.levels.values(), key=lambda level: level.cycles)
    assert line.endswith(slowest.name if slowest.cycles > result.compute.cycles_busiest else result.compute.name)
