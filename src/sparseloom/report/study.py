"""A study: something published computed again, what was claimed of it, and whether that holds."""

from __future__ import annotations

import importlib
import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from sparseloom import document
from sparseloom.document_model import FileModel, section, validate
from sparseloom.errors import Fault, InputError, suggest
from sparseloom.report.reported import DATA
from sparseloom.results.table import WIDTH, table

STUDIES: Final[Mapping[str, str]] = {
    "fig3-1": "formats",
    "tab4-4": "compression",
    "fig4-7": "activities",
    "fig4-8": "element",
    "fig4-9": "latency",
    "fig4-11": "tensor_cores",
    "fig4-12": "bandwidth",
    "fig4-13": "dataflows",
    "fig6-1": "pruned",
    "fig6-2": "selection",
    "fig6-3": "muxing",
    "fig6-9": "synthetic",
    "fig6-10": "metrics",
    "fig6-12": "tax",
    "fig6-13": "dual",
    "scnn": "cartesian",
    "tab4-2": "speed",
}
"""By name, the module of this package whose ``study(jobs)`` computes it."""


VERDICTS: Final = ("pass", "fail", "reported")


class ClaimModel(FileModel):
    """One claim of a publication: see the head of the data file."""

    what: str
    value: float | None = None
    tolerance: float | None = None
    least: float | None = None
    most: float | None = None
    argument: str


class StudyModel(FileModel):
    """The claims of one study."""

    source: str
    claims: dict[str, ClaimModel] = Field(min_length=1)


@dataclass(frozen=True)
class Finding:
    """A claim beside what was computed. A claim that gives no bound is only reported."""

    what: str
    ours: float
    value: float | None
    tolerance: float | None
    least: float | None
    most: float | None
    argument: str

    @property
    def verdict(self) -> str:
        """One of :data:`VERDICTS`."""
        bounds = list[bool]()
        if self.value is not None and self.tolerance is not None:
            bounds.append(abs(self.ours - self.value) <= self.tolerance * abs(self.value) + 1e-12)
        if self.least is not None:
            bounds.append(self.ours >= self.least - 1e-12)
        if self.most is not None:
            bounds.append(self.ours <= self.most + 1e-12)
        return "reported" if not bounds else "pass" if all(bounds) else "fail"

    @property
    def published(self) -> str:
        """What the claim asks for, in figures."""
        if self.value is not None:
            within = f" within {100 * self.tolerance:g} %" if self.tolerance else ""
            return f"{self.value:,g}{within}"
        sides = [
            f"{word} {bound:,g}"
            for word, bound in (("at least", self.least), ("at most", self.most))
            if bound is not None
        ]
        return ", ".join(sides) or "-"


@dataclass(frozen=True)
class Chart:
    """Series over common places: ``bars`` beside each other or ``lines``."""

    kind: str
    places: Sequence[str | float]
    series: Mapping[str, Sequence[float | None]]
    x_label: str
    y_label: str
    log_y: bool = False


@dataclass(frozen=True)
class Part:
    """A table of a study."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Computed:
    """What a study's module computes: ``ours`` by the key of the claim, tables, a chart, and notes."""

    title: str
    ours: Mapping[str, float]
    parts: tuple[Part, ...] = ()
    chart: Chart | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """A study with its findings."""

    name: str
    source: str
    computed: Computed
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        return all(finding.verdict != "fail" for finding in self.findings)

    def verdicts(self) -> Counter[str]:
        """How many claims have each of :data:`VERDICTS`."""
        return Counter(finding.verdict for finding in self.findings)

    def __str__(self) -> str:
        return text(self)

    def to_json(self, path: str | Path) -> None:
        """Write a JSON file, at once or not at all. Raises InputError when it cannot be written."""
        document.write(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    def to_figure(self, path: str | Path) -> None:
        """Write its figure. Raises InputError for a study that has none, and a format that is not known."""
        from sparseloom.report.figures import FORMATS, chart

        if self.computed.chart is None:
            raise InputError(Fault(f"{self.name} has no figure", path="study", fix="leave -o out"))
        form = Path(path).suffix.removeprefix(".")
        if form not in FORMATS:
            raise InputError(Fault(f"'{form}' is not a format of figures", str(path), fix=f"give {', '.join(FORMATS)}"))
        chart(self.computed.chart).savefig(path, format=form, dpi=200)

    def to_dict(self) -> dict[str, Any]:
        """All of it as values for JSON."""
        return {
            "name": self.name,
            "source": self.source,
            "title": self.computed.title,
            "findings": [{**asdict(finding), "verdict": finding.verdict} for finding in self.findings],
            "tables": [asdict(part) for part in self.computed.parts],
            "chart": asdict(self.computed.chart) if self.computed.chart else None,
            "notes": list(self.computed.notes),
        }


def study(name: str, jobs: int = 1) -> Study:
    """Compute a study and hold it against what was claimed. Raises InputError for a name that is none of :data:`STUDIES`."""
    if name not in STUDIES:
        raise InputError(Fault(f"no study is called '{name}'", path="study", fix=suggest(name, STUDIES)))
    claimed = _claims(name)
    computed: Computed = importlib.import_module(f"sparseloom.report.{STUDIES[name]}").study(jobs)
    return Study(
        name, claimed.source, computed, tuple(_finding(key, claim, computed) for key, claim in claimed.claims.items())
    )


def _claims(name: str) -> StudyModel:
    return validate(StudyModel, section(DATA / "claims.yaml", "studies").at((name,)))


def _finding(key: str, claim: ClaimModel, computed: Computed) -> Finding:
    return Finding(
        claim.what, computed.ours[key], claim.value, claim.tolerance, claim.least, claim.most, claim.argument
    )


def text(found: Study) -> str:
    """The findings, the tables, the notes."""
    rows = [(each.what, each.published, written(each.ours), each.verdict) for each in found.findings]
    lines = [f"{found.name}: {found.computed.title}", "", table(("claim", "published", "ours", ""), rows, {0, 1, 3})]
    for part in found.computed.parts:
        lines += ["", part.title, table(part.header, part.rows, 1)]
    arguments = dict.fromkeys(f"{each.what}: {each.argument}" for each in found.findings)
    for title, items in (("tolerances, set before the run", arguments), ("notes", found.computed.notes)):
        if items:
            lines += ["", title, *(_bullet(item) for item in items)]
    lines += ["", _bullet(f"source: {found.source}")]
    return "\n".join(lines)


def written(value: float) -> str:
    """A value that was computed, to four figures; from a thousand on as a whole number."""
    return f"{value:,.0f}" if 1_000 <= abs(value) < 1e9 else f"{value:.4g}"


def _bullet(item: str) -> str:
    return textwrap.fill(f"- {item}", WIDTH, subsequent_indent="  ")
