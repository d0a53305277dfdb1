"""Pages that are made from the package at each build: one for every design, and the public names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import sparseloom
from sparseloom import designs, document
from sparseloom.arch.design import Design
from sparseloom.arch.file import KEY
from sparseloom.designs.describe import feature_row, format_row, level_rows
from sparseloom.designs.parts import Row, component_rows, constraint_rows, support_rows

FOLDER = "generated"
COPIED = ("CONTRIBUTING.md", "CHANGELOG.md")
EXTENDED = {
    "sparseloom.arch.component": ("Component", "Estimate", "Unit"),
    "sparseloom.arch.technology": ("Technology",),
    "sparseloom.fibertree.density": ("Density", "Exchangeable"),
    "sparseloom.report.comparison": ("Comparison", "Total"),
    "sparseloom.search.comparison": ("Contender",),
}
"""Names that are not those of the package itself: what one extends, and what `compare` returns."""
SAID = {
    "fibertree": "What sparse data is.",
    "workload": "What is computed.",
    "arch": "What hardware exists.",
    "mapping": "When and where.",
    "model": "What that costs.",
    "search": "Choosing.",
    "report": "What people look at.",
    "results": "What an evaluation gives.",
    "errors": "What was at fault.",
}
"""What the packages hold, as in ARCHITECTURE.md."""


def write(source: Path) -> None:
    """All pages, under the folder of the site's sources; those of an earlier build go."""
    folder = source / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    pages = {"api.md": api_page(), "designs.md": designs_table()}
    pages |= {f"designs/{name}.md": design_page(name) for name in designs.names()}
    pages |= {name.lower(): (source.parent / name).read_text("utf-8") for name in COPIED}
    for name, text in pages.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def designs_table() -> str:
    """All designs, with the way to their pages from the folder of the site's sources."""
    head = ("design", "compute units", "format", "gating / skipping", "exploits", "cases")
    return "\n".join(_table([head, *(_summary(designs.load(name)) for name in designs.names())]))


def _summary(design: Design) -> Row:
    patterns = [f"{row[0]}: {row[1]}" for row in support_rows(design)[1:] if row[1] != "dense"]
    units = f"{design.architecture.compute.instances:,}"
    exploits, cases = ", ".join(patterns) or "-", str(len(_cases(design.name)))
    link = f"[{design.name}]({FOLDER}/designs/{design.name}.md)"
    return link, units, format_row(design), feature_row(design), exploits, cases


def design_page(name: str) -> str:
    """All that is known of a design, and its file."""
    design, allowed = designs.find(name)
    cases = _cases(name)
    lines = [f"# {name}", "", design.source, "", "## Levels", "", *_table(level_rows(design)), ""]
    lines += [
        "As a row of thesis Table 3.2:",
        "",
        *_table([("format", "gating / skipping"), (format_row(design), feature_row(design))]),
    ]
    sections = {
        "Made of": component_rows(design),
        "Supports": support_rows(design),
        "Mappings": constraint_rows(allowed),
    }
    unsaid = {
        "Made of": "Its file does not say what it is made of, so it cannot be compared at another node.",
        "Supports": "Its file names no patterns: it takes operands as they are, nonzeros anywhere.",
        "Mappings": "Its source says nothing of its mappings: all are allowed.",
    }
    for title, rows in sections.items():
        lines += ["", f"## {title}", "", *(_table(rows) if rows else [unsaid[title]])]
    lines += ["", "## Energies", "", *_table(_energies(design))]
    commands = [f"sparseloom evaluate {case}" for case in cases] or [f"sparseloom describe {name}"]
    text = designs.design_file(name).read_text("utf-8").rstrip()
    lines += ["", "## To run", "", "```sh", *commands, "```", "", "## The file", "", "```yaml", text, "```", ""]
    return "\n".join(lines)


def _cases(name: str) -> list[str]:
    """The published cases of a design."""
    return [case for case in designs.cases() if document.read(designs.case_file(case)).at((KEY,)).value == name]


def _energies(design: Design) -> list[Row]:
    levels = (*design.architecture.levels, design.architecture.compute)
    unsaid = "none of its own: `compare` estimates them"
    return [("level", "source of the energies"), *((each.name, each.energy.source or unsaid) for each in levels)]


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """A table in Markdown."""
    head, *body = rows
    yield _line(head)
    yield _line(["---"] * len(head))
    for row in body:
        yield _line([_literal(cell) for cell in row])


def _literal(cell: str) -> str:
    """Notation as code, prose and links as they are."""
    notation = any(sign in cell for sign in ("->", "<-", "(", ":", "_")) and not cell.startswith("[")
    return f"`{cell}`" if notation else cell


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def api_page() -> str:
    """The public names by package, in the order of the flow."""
    lines, package = list[str](), ""
    for name in sparseloom.__all__:
        if name == "__version__":
            continue
        value = getattr(sparseloom, name)
        home = value.__module__.split(".")[1]
        if home != package:
            package = home
            lines += ["", f"## {home}", "", SAID[home]]
        lines += ["", *_documented("sparseloom", name, value)]
    lines += ["", "## To extend, and what comparisons are", ""]
    for module, names in EXTENDED.items():
        for name in names:
            lines += ["", *_documented(module, name, getattr(import_module(module), name))]
    return "\n".join((*lines, ""))


def _documented(module: str, name: str, value: object) -> list[str]:
    directive = (
        [f".. autoclass:: {module}.{name}", "   :members:"]
        if isinstance(value, type)
        else [f".. autofunction:: {module}.{name}"]
    )
    return ["```{eval-rst}", *directive, "```"]
