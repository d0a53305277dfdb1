"""Rows of the validation as tables and bars of a study."""

from __future__ import annotations

from collections.abc import Sequence

from sparseloom.report.row import Row
from sparseloom.report.study import Chart, Part
from sparseloom.results.table import number


def errors(rows: Sequence[Row]) -> list[float]:
    """The errors without their signs."""
    return [abs(row.error) for row in rows if row.error is not None]


def part(title: str, rows: Sequence[Row]) -> Part:
    """A table of what was measured, what the thesis' model says and what ours says."""
    lines = [
        (
            row.what,
            row.unit,
            *("" if value is None else number(round(value, 4)) for value in (row.paper, row.thesis, row.ours)),
            *("" if error is None else f"{error:.1%}" for error in (row.error, row.thesis_error)),
        )
        for row in rows
    ]
    return Part(title, ("what", "unit", "paper", "thesis", "ours", "error", "theirs"), lines)


def bars(rows: Sequence[Row], label: str, unit: float = 1.0) -> Chart:
    """A group for each row: the paper's value, the thesis' and ours, in so large a unit."""
    values = {
        "paper": [row.paper for row in rows],
        "thesis": [row.thesis for row in rows],
        "ours": [row.ours for row in rows],
    }
    series = {name: [None if each is None else each / unit for each in own] for name, own in values.items()}
    return Chart("bars", [row.what.split(", ")[1] for row in rows], series, "", label)
