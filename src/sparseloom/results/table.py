"""A result as text for people, at most 120 columns wide, and as a data frame."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sparseloom.results.actions import LevelActions, Outcomes, TensorActions

if TYPE_CHECKING:
    import polars

    from sparseloom.results.result import Result

WIDTH = 120
LEVEL_WIDTH, TENSOR_WIDTH = 24, 16
_SINGULAR = {"reads": "read", "fills": "fill", "updates": "update"}


def text(result: Result) -> str:
    """The result as a page: what it costs, what every level did, the loop nest, and what was assumed."""
    parts = [_head(result), _fit(lambda limit: _actions(result, limit)), _fit(lambda limit: _levels(result, limit))]
    if result.loopnest:
        parts.append(result.loopnest.rstrip())
    for title in ("assumptions", "ignored", "notes"):
        if items := getattr(result, title):
            parts.append("\n".join((title, *(_bullet(item) for item in items))))
    return "\n\n".join(parts)


def number(value: float, limit: float = 1e15) -> str:
    """``value`` with thousands separators, fractions to about four figures; from ``limit`` on in powers of ten.

    >>> number(1234567), number(1234.56), number(0.25), number(2e15)
    ('1,234,567', '1,234.6', '0.25', '2.000e+15')
    """
    if abs(value) >= limit:
        return f"{value:.3e}"
    size = abs(value)
    if abs(value - round(value)) <= 1e-9 * size:  # the rounding of sums of expected values is no fraction
        return f"{value:,.0f}"
    return f"{value:,.1f}" if size >= 1000 else f"{value:.2f}" if size >= 10 else f"{value:.4g}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int | Collection[int]) -> str:
    """Aligned columns two spaces apart, the first ``texts`` of them, or those of these numbers, to the left, the others to the
    right."""
    left = range(texts) if isinstance(texts, int) else texts
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]
    lines = (
        "  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in (header, *rows)
    )
    return "\n".join(line.rstrip() for line in lines)


def shorten(name: str, width: int = LEVEL_WIDTH) -> str:
    """``name``, its middle left out when it is longer than ``width``.

    >>> shorten("inter_PE_column_spatial_buffer", 16)
    'inter_PE…_buffer'
    """
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}…{name[len(name) - tail :]}"


def _fit(build: Callable[[float], str]) -> str:
    """The widest way to write numbers with which the table that ``build(limit)`` makes is no wider than a page."""
    found = ""
    for limit in (1e15, 1e9, 1e6):
        found = build(limit)
        if max(len(line) for line in found.splitlines()) <= WIDTH:
            break
    return found


def _head(result: Result) -> str:
    of = " on ".join(filter(None, (result.workload, result.design))) or "result"
    conventions = f", conventions {result.conventions}" if result.conventions else ""
    computes = result.computes
    counts = [f"{number(getattr(computes, o))} {o}" for o in ("actual", "gated", "skipped")]
    lines = [
        f"{of} ({result.origin}{conventions})",
        f"cycles       {number(result.cycles)}{_interval(result, 'cycles')}",
        f"energy       {number(result.energy_pj)} pJ{_interval(result, 'energy_pj')}",
        f"utilization  {100 * result.utilization:.1f} %{_interval(result, 'utilization', lambda share: f'{100 * share:.1f}')}",
        f"computes     {', '.join((*counts, f'{number(result.compute.absent)} absent'))}",
    ]
    if result.bottleneck:
        lines.append(_wrap(f"bottleneck   {result.bottleneck}", " " * 13))
    return "\n".join(lines)


def _interval(result: Result, key: str, write: Callable[[float], str] = number) -> str:
    if key not in result.intervals:
        return ""
    low, high = result.intervals[key]
    return f"  (between {write(low)} and {write(high)})"


def _actions(result: Result, limit: float) -> str:
    header = ("level", "tensor", "action", "actual", "gated", "skipped", "metadata", "tile", "energy pJ")
    rows = [row for level in result.levels.values() for row in _level_rows(level, limit)]
    compute, write = result.compute, partial(number, limit=limit)
    counts = [write(n) for n in (compute.outcomes.actual, compute.outcomes.gated, compute.outcomes.skipped)]
    rows.append((shorten(compute.name), "", "compute", *counts, "", "", write(compute.energy_pj)))
    return table(header, rows, texts=3)


def _level_rows(level: LevelActions, limit: float) -> Iterator[tuple[str, ...]]:
    """A row for each action that happened; the level, the tile and the energy stand in the first row of theirs."""
    name = shorten(level.name)
    for tensor_name, tensor in level.tensors.items():
        tile = "streams" if tensor.streamed else number(tensor.tile_words, limit)
        first = (shorten(tensor_name, TENSOR_WIDTH), tile, number(tensor.energy_pj, limit))
        for action, outcomes, units in _happened(tensor):
            counts = [number(n, limit) for n in (outcomes.actual, outcomes.gated, outcomes.skipped)]
            metadata = number(units.actual, limit) if units else ""
            yield (name, first[0], action, *counts, metadata, *first[1:])
            name, first = "", ("", "", "")


def _happened(tensor: TensorActions) -> list[tuple[str, Outcomes, Outcomes | None]]:
    """Action, words, units over all format ranks (None without a format); at least one row, so that none is hidden."""
    metadata = tensor.metadata()
    rows: list[tuple[str, Outcomes, Outcomes | None]] = []
    for action, outcomes in tensor.data().items():
        units = sum((rank.units for rank in metadata[action]), Outcomes()) if metadata[action] else None
        if outcomes.total or (units and units.total):
            rows.append((_SINGULAR[action], outcomes, units))
    return rows or [("none", Outcomes(), None)]


def _levels(result: Result, limit: float) -> str:
    header = ("level", "bound by", "cycles", "instances", "stored", "capacity", "energy pJ")
    rows = [_level_row(level, limit) for level in result.levels.values()]
    compute = result.compute
    instances = f"{number(compute.instances_used, limit)} of {number(compute.instances, limit)}"
    cycles, energy = number(compute.cycles_busiest, limit), number(compute.energy_pj, limit)
    rows.append((shorten(compute.name), "compute", cycles, instances, "", "", energy))
    return table(header, rows, texts=2)


def _level_row(level: LevelActions, limit: float) -> tuple[str, ...]:
    stored = sum(tensor.worst_words for tensor in level.tensors.values() if not tensor.streamed)
    return (
        shorten(level.name),
        level.bandwidth_bound or "nothing",
        number(level.cycles, limit),
        number(level.instances_used, limit),
        number(stored, limit),
        "unbounded" if level.capacity_words is None else number(level.capacity_words, limit),
        number(level.energy_pj, limit),
    )


def _bullet(item: str) -> str:
    return _wrap(f"- {item}", "  ")


def _wrap(line: str, indent: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent=indent)


def frame(result: Result) -> polars.DataFrame:
    """See :meth:`sparseloom.results.Result.to_frame`."""
    import polars

    types = {
        "level": polars.String,
        "tensor": polars.String,
        "action": polars.String,
        "kind": polars.String,
        "rank": polars.Int64,
        "outcome": polars.String,
        "count": polars.Float64,
    }
    return polars.DataFrame(list(_frame_rows(result)), schema=types, orient="row")


def _frame_rows(result: Result) -> Iterator[tuple[str | int | float | None, ...]]:
    for level in result.levels.values():
        for name, tensor in level.tensors.items():
            for action, kind, rank, outcomes in _tensor_counts(tensor):
                for outcome, count in _items(outcomes):
                    yield (level.name, name, action, kind, rank, outcome, count)
    for outcome, count in _items(result.compute.outcomes):
        yield (result.compute.name, None, "compute", "data", None, outcome, count)


def _tensor_counts(tensor: TensorActions) -> Iterator[tuple[str, str, int | None, Outcomes]]:
    for action, outcomes in tensor.data().items():
        yield (_SINGULAR[action], "data", None, outcomes)
    for action, ranks in tensor.metadata().items():
        for i, rank in enumerate(ranks):
            yield (_SINGULAR[action], "metadata", i, rank.metadata)
            yield (_SINGULAR[action], "payload", i, rank.payload)


def _items(outcomes: Outcomes) -> tuple[tuple[str, float], ...]:
    pairs = (("actual", outcomes.actual), ("gated", outcomes.gated), ("skipped", outcomes.skipped))
    return tuple((name, float(count)) for name, count in pairs)
