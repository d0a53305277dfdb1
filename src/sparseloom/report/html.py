"""What the pages have in common: a document that opens without a network, sections, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final


def beside(name: str) -> str:
    """A file beside this module."""
    return (Path(__file__).parent / name).read_text("utf-8")


def document(title: str, headline: str, given: Iterable[tuple[str, str]], sections: Iterable[str], scripts: str) -> str:
    """A page with a title, the result in a sentence, what was given, and sections; a policy forbids it to load anything."""
    return DOCUMENT.format(
        title=escape(title),
        headline=escape(headline),
        given=definitions(given),
        style=beside("page.css"),
        sections="\n".join(sections),
        scripts=scripts,
    )


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>" for term, text in pairs)


def section(name: str, title: str, *content: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{"".join(content)}</section>'


def table(head: Sequence[str], rows: Sequence[str], texts: Sequence[str]) -> str:
    """Rows below their heads, of which those of ``texts`` are to the left."""
    cells = "".join(f"<th{'' if name in texts else ' class=number'}>{escape(name)}</th>" for name in head)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def row(cells: Sequence[str], numbers: Sequence[int] = ()) -> str:
    tags = (f"<td{' class=number' if i in numbers else ''}>{escape(cell)}</td>" for i, cell in enumerate(cells))
    return f"<tr>{''.join(tags)}</tr>"


DOCUMENT: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';
 img-src data: blob:">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
<script>document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";</script>
</head>
<body>
<header><h1>{title}</h1><button id="theme" type="button" aria-label="light or dark">Dark</button>
<p class="headline">{headline}</p><dl class="given">{given}</dl></header>
<main>
{sections}
</main>
<footer></footer>
{scripts}
</body>
</html>
"""
