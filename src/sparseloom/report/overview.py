"""Several results in one table: what an architect looks at first."""

from __future__ import annotations

from collections.abc import Mapping

from sparseloom.results.result import Result
from sparseloom.results.table import table

HEAD = ("case", "design", "cycles", "energy uJ", "used", "computes", "gated", "skipped or absent", "bound by")


def text(results: Mapping[str, Result]) -> str:
    """A line for each result: cycles, energy, utilisation, computes, and what sets the cycles."""
    return table(HEAD, [_row(name, result) for name, result in results.items()], (0, 1, len(HEAD) - 1))


def _row(name: str, result: Result) -> tuple[str, ...]:
    lost = result.compute.absent + result.computes.skipped
    bound = next((level.name for level in result.levels.values() if level.cycles >= result.cycles), result.compute.name)
    return (
        name, result.design, f"{result.cycles:,.0f}", f"{result.energy_pj / 1e6:,.1f}", f"{result.utilization:.0%}",
        f"{result.computes.actual:,.0f}", f"{result.computes.gated:,.0f}", f"{lost:,.0f}", bound,
    )  # fmt: skip
