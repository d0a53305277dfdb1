"""Several results in one table: what an architect looks at first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sparseloom.results.result import Result

HEAD = ("case", "design", "cycles", "energy uJ", "used", "computes", "gated", "skipped or absent", "bound by")


def text(results: Mapping[str, Result]) -> str:
    """A line for each result: cycles, energy, utilisation, computes, and what sets the cycles."""
    return table([HEAD, *(_row(name, result) for name, result in results.items())], left=(0, 1, len(HEAD) - 1))


def table(rows: Sequence[Sequence[str]], left: Collection[int]) -> str:
    """Rows of cells, in columns; those of some numbers to the ``left``, the others, numbers, to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (
            cell.ljust(width) if k in left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(name: str, result: Result) -> tuple[str, ...]:
    lost = result.compute.absent + result.computes.skipped
    bound = next((level.name for level in result.levels.values() if level.cycles >= result.cycles), result.compute.name)
    return (
        name, result.design, f"{result.cycles:,.0f}", f"{result.energy_pj / 1e6:,.1f}", f"{result.utilization:.0%}",
        f"{result.computes.actual:,.0f}", f"{result.computes.gated:,.0f}", f"{lost:,.0f}", bound,
    )  # fmt: skip
