"""All studies as one HTML page that opens without a network: claims with their verdicts, tables, charts and notes."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape
from typing import Final

from sparseloom import __version__
from sparseloom.report.html import beside, document, row, section, table
from sparseloom.report.studies import Studies
from sparseloom.report.study import VERDICTS, Chart, Finding, Part, Study, written

INK: Final = "#010203"
"""What charts are drawn in; on the page it is the colour of the text."""

GRID: Final = "#DDDDDD"


def page(found: Studies) -> str:
    """The page; plots are drawn here, so that nothing but the button for dark and light needs a script."""
    total = found.verdicts()
    given = [("version", __version__), ("studies", f"{len(found.done)} of {len(found.done) + len(found.left)}")]
    return document(
        "Published figures, computed again",
        f"{total['pass']} of {total['pass'] + total['fail']} claims hold, {total['fail'] or 'none'} "
        f"{'fail' if total['fail'] > 1 else 'fails'}; {total['reported']} more numbers are reported.",
        given,
        [_summary(found), *(_study(each) for each in found.done)],
        f"<script>{beside('theme.js')}</script>",
    )


def _summary(found: Studies) -> str:
    head = ("Study", "What", "Source", *(verdict.capitalize() for verdict in VERDICTS))
    rows = [
        f'<tr><th scope="row" class=short><a href="#{each.name}">{each.name}</a></th><td>{escape(each.computed.title)}</td>'
        f"<td class=soft>{escape(each.source)}</td>{''.join(_count(each, verdict) for verdict in VERDICTS)}</tr>"
        for each in found.done
    ]
    left = f"<p class=note>Interrupted: not computed are {', '.join(found.left)}.</p>" if found.left else ""
    note = (
        "<p class=note>Tolerances were set before a study was first computed; where something was known then, their argument says "
        "so. A claim without one is only reported.</p>"
    )
    return section("summary", "All studies", table(head, rows, texts=head[:3]), note, left)


def _count(each: Study, verdict: str) -> str:
    number = each.verdicts()[verdict]
    return f'<td class="number {verdict if number else ""}">{number or ""}</td>'


def _study(found: Study) -> str:
    computed = found.computed
    notes = "".join(f"<li>{escape(note)}</li>" for note in computed.notes)
    return section(
        found.name,
        f"{found.name}: {escape(computed.title)}",
        _claims(found.findings),
        f'<div class="chart">{drawing(computed.chart, found.name)}</div>' if computed.chart else "",
        *(_part(part) for part in computed.parts),
        f"<h3>Notes</h3><ul class=notes>{notes}</ul>" if notes else "",
        f"<p class=note>Source: {escape(found.source)}</p>",
    )


def _claims(findings: Sequence[Finding]) -> str:
    head = ("Claim", "Published", "Ours", "Verdict", "Tolerance because")
    rows = [
        f"<tr><td>{escape(each.what)}</td><td class=short>{escape(each.published)}</td><td class=number>{written(each.ours)}</td>"
        f'<td class="{each.verdict}">{each.verdict}</td><td class=soft>{escape(each.argument)}</td></tr>'
        for each in findings
    ]
    return table(head, rows, texts=("Claim", "Published", "Verdict", "Tolerance because"))


def _part(part: Part) -> str:
    """A table; columns whose cells are figures are to the right."""
    numbers = [i for i in range(1, len(part.header)) if all(_figure(line[i]) for line in part.rows)]
    texts = [name for i, name in enumerate(part.header) if i not in numbers]
    rows = [row(line, numbers) for line in part.rows]
    return f'<h3>{escape(part.title)}</h3><div class="part">{table(part.header, rows, texts)}</div>'


def _figure(cell: str) -> bool:
    return re.fullmatch(r"[-+]?[\d,.]*( ?%)?|-", cell) is not None


def drawing(chart: Chart, name: str) -> str:
    """A chart as SVG in the colours of the page. ``name`` tells its parts from those of other charts."""
    import matplotlib

    from sparseloom.report import figures

    with matplotlib.rc_context(
        {
            "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
            "svg.fonttype": "none", "svg.hashsalt": name,
        }
    ):  # fmt: skip
        file = io.StringIO()
        figures.chart(chart).savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()[file.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return svg.replace(INK, "currentColor").replace(GRID.lower(), "var(--line)").replace(GRID, "var(--line)")
