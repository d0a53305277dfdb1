"""The thesis' validation, Table 4.3, with this model: every row of it, beside the thesis' own error.

Source: Wu, thesis, 4.8.3; the published numbers and their sources are in the data file beside the designs. None of them
is used in computing.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sparseloom import document
from sparseloom.report import eyeriss, eyeriss_v2, tensor_core
from sparseloom.report.reported import Claim, reported
from sparseloom.report.row import Row
from sparseloom.results.table import WIDTH, number, table

HEADER = ("design", "what", "unit", "note", "paper", "thesis", "ours", "error", "theirs", "")
NO_SCNN = (
    "no runtime activities are published: the authors' simulator that the thesis compares with is not public; Fig. "
    "4-7 shows bars without numbers"
)


@dataclass(frozen=True)
class Validation:
    """The rows in the thesis' order, and the sources of what they are compared with."""

    rows: tuple[Row, ...]
    sources: Mapping[str, str]

    def __str__(self) -> str:
        notes = list(dict.fromkeys(row.note for row in self.rows if row.note))
        lines = [_cells(row, notes.index(row.note) + 1 if row.note else 0) for row in self.rows]
        count = {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in _VERDICTS}
        said = ", ".join(f"{many} {verdict}" for verdict, many in count.items() if many)
        listed = "\n".join(_paragraph(f"{i}. {note}") for i, note in enumerate(notes, start=1))
        return "\n\n".join((table(HEADER, lines, texts=4), f"against the thesis' error: {said}", f"notes\n{listed}"))

    def to_dict(self) -> dict[str, object]:
        """The rows, each with its verdict, and the sources, as JSON holds them."""
        return {"rows": [{**asdict(row), "verdict": row.verdict} for row in self.rows], "sources": dict(self.sources)}

    def to_json(self, path: Path) -> None:
        """Write a JSON file, at once or not at all. Raises InputError when the file cannot be written."""
        document.write(path, json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


_VERDICTS = ("better", "equal", "worse", "no data")


def validate(masks: Path | None = None) -> Validation:
    """Evaluate every row. ``masks`` is a folder with masks of MobileNet layers, see :mod:`sparseloom.report.mask`.

    Raises InputError for masks that cannot be read or do not fit their layer.
    """
    claims = reported()
    return Validation(tuple(_rows(claims, masks)), {name: claim.source for name, claim in claims.items()})


def _rows(claims: Mapping[str, Claim], masks: Path | None) -> Iterator[Row]:
    scnn = claims["scnn-activities"]
    yield Row("scnn", "runtime activities", thesis_error=scnn.thesis_error, note=NO_SCNN)
    yield from eyeriss_v2.rows(claims, masks)
    yield from tensor_core.dstc_rows(claims["dstc-latency"])
    yield from eyeriss.rows(claims)
    yield from tensor_core.stc_rows(claims["stc-speedup"])


def _cells(row: Row, note: int) -> tuple[str, ...]:
    values = (row.paper, row.thesis, row.ours)
    shown = ("" if value is None else number(round(value, 4) if value < 10 else value) for value in values)
    errors = ("" if error is None else f"{100 * error:.1f} %" for error in (row.error, row.thesis_error))
    return (row.design, row.what, row.unit, f"[{note}]" if note else "", *shown, *errors, row.verdict)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="   ")
