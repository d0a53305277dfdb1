"""A design in words: its levels, and its sparse features in the notation of thesis Table 3.2."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from sparseloom.arch.design import Design
from sparseloom.arch.features import GATING, POSITION_SKIPPING, SKIPPING, SPATIAL_SKIPPING, Saf
from sparseloom.arch.hierarchy import StorageLevel
from sparseloom.designs.parts import component_rows, constraint_rows, support_rows
from sparseloom.mapping.constraints import NONE, Constraints

_VERBS = {
    GATING: "Gate",
    SKIPPING: "Skip",
    SPATIAL_SKIPPING: "Spatial-Skip",
    POSITION_SKIPPING: "Position-Skip",
}


def describe(design: Design, allowed: Constraints = NONE) -> str:
    """The design as text: name, source, levels with sizes and instances, formats, features, and where it says so what it is made
    of, which patterns of its operands it exploits, and what is ``allowed`` of its mappings."""
    lines = [design.name, *textwrap.wrap(f"source: {design.source or 'not stated'}", 120, subsequent_indent="  "), ""]
    lines += _table(level_rows(design))
    lines += ["", f"Format           {format_row(design)}", f"Gating/Skipping  {feature_row(design)}"]
    parts = (
        ("made of", component_rows(design)),
        ("supports", support_rows(design)),
        ("mappings", constraint_rows(allowed)),
    )
    for title, rows in parts:
        lines += ["", title, *(f"  {line}" for line in _table(rows))] if rows else []
    return "\n".join(lines)


def format_row(design: Design) -> str:
    """The column "Format" of thesis Table 3.2: ``I/W: UOP-RLE O: U``, split where off chip and on chip differ.

    Off chip is the outermost level. A tensor with several formats on chip has them outermost first; a level that sees
    only the lower ranks of one (``RLE`` of ``UOP-RLE``) adds none. ``U`` is a tensor without a format.
    """
    tensors = _tensors(design)
    outer, *inner = design.architecture.names
    off = {name: _formats(design, name, [outer]) for name in tensors}
    on = {name: _formats(design, name, inner) for name in tensors}
    if off == on:
        return _joined(off)
    return f"offchip: {_joined(off)} onchip: {_joined(on)}"


def feature_row(design: Design) -> str:
    """The column "Gating/Skipping" of thesis Table 3.2: ``Innermost Storage: Skip W <- I; Gate Compute``.

    A feature's level is counted among those that hold its target, from the innermost: ``Innermost``,
    ``2nd-to-innermost``.
    """
    groups: dict[int, list[str]] = {}
    for safs, text in _texts(design.features.safs):
        groups.setdefault(min(_depth(design, saf) for saf in safs), []).append(text)
    parts = [f"{_ordinal(depth)} Storage: {', '.join(groups[depth])}" for depth in sorted(groups, reverse=True)]
    if design.features.compute_gating:
        parts.append("Gate Compute")
    if design.features.compute_skipping:
        parts.append("Skip Compute")
    return "; ".join(parts) or "none"


def _tensors(design: Design) -> tuple[str, ...]:
    """Every tensor the design names, in alphabetical order."""
    found = {name for formats in design.features.formats.values() for name in formats}
    for saf in design.features.safs:
        found |= {name for target, leaders in saf.ways for name in (target, *leaders)}
    for level in design.architecture.levels:
        found |= level.holds or frozenset()
    return tuple(sorted(found))


def _formats(design: Design, tensor: str, levels: Iterable[str]) -> str:
    """The kinds of the tensor's formats, outermost level first, without those that are the tail of one before."""
    found: list[str] = []
    for level in levels:
        form = design.features.format_of(level, tensor)
        if form is None:
            continue
        kinds = "-".join(rank.kind for rank in form.ranks)
        if not any(f"-{seen}".endswith(f"-{kinds}") for seen in found):
            found.append(kinds)
    return ", ".join(found) or "U"


def _joined(formats: dict[str, str]) -> str:
    """Tensors of one format together: ``A/B: B Z: U``."""
    groups: dict[str, list[str]] = {}
    for name, form in formats.items():
        groups.setdefault(form, []).append(name)
    ordered = sorted(groups, key=lambda form: form == "U")
    return " ".join(f"{'/'.join(groups[form])}: {form}" for form in ordered) or "U"


def _holds(level: StorageLevel, tensor: str) -> bool:
    return level.holds is None or tensor in level.holds


def _depth(design: Design, saf: Saf) -> int:
    """How many levels that hold the target lie inside the one whose accesses the feature eliminates."""
    levels = design.architecture.levels
    at = design.architecture.index(saf.level)
    holding = [i for i, level in enumerate(levels) if _holds(level, saf.target)]
    outside = [i for i in holding if i <= at]
    return sum(i > outside[-1] for i in holding) if outside else len(holding)


def _ordinal(depth: int) -> str:
    if depth == 0:
        return "Innermost"
    number = depth + 1
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}-to-innermost"


def _texts(safs: Sequence[Saf]) -> list[tuple[tuple[Saf, ...], str]]:
    """Features with their text: ``Skip A <-> B`` for two that lead each other; the others one by one."""
    left, found = list(safs), []
    while left:
        saf = left.pop(0)
        back = [other for other in left if _mutual(saf, other)][:1]
        for other in back:
            left.remove(other)
        text = f"{saf.target} <-> {saf.leaders[0]}" if back else " | ".join(_way(*way) for way in saf.ways)
        found.append(((saf, *back), f"{_VERBS[saf.kind]} {text}"))
    return found


def _mutual(one: Saf, other: Saf) -> bool:
    alone = not one.alternatives and not other.alternatives
    same = (one.level, one.kind) == (other.level, other.kind)
    return alone and same and one.leaders == (other.target,) and other.leaders == (one.target,)


def _way(target: str, leaders: tuple[str, ...]) -> str:
    return f"{target} <- {' & '.join(leaders)}" if leaders else target


def level_rows(design: Design) -> list[tuple[str, ...]]:
    """Every level with its sizes, formats and features, and the compute unit, under a head."""
    head = ("level", "instances", "word", "capacity", "block", "words a cycle", "formats", "gating / skipping")
    rows: list[tuple[str, ...]] = [head]
    for level in design.architecture.levels:
        formats = design.features.formats.get(level.name, {})
        rows.append(
            (
                level.name,
                f"{level.mesh_x} x {level.mesh_y}",
                f"{level.word_bits} bit",
                "unbounded" if level.capacity_words is None else f"{level.capacity_words} words",
                f"{level.block_words} words",
                _bandwidth(level),
                ", ".join(f"{name}: {form}" for name, form in sorted(formats.items())) or "-",
                ", ".join(text for safs, text in _texts(design.features.safs) if safs[0].level == level.name) or "-",
            )
        )
    compute, features = design.architecture.compute, design.features
    verbs = [verb for verb, on in (("Skip", features.compute_skipping), ("Gate", features.compute_gating)) if on]
    mesh = f"{compute.mesh_x} x {compute.mesh_y}"
    rows.append((compute.name, mesh, f"{compute.word_bits} bit", "-", "-", "-", "-", ", ".join(verbs) or "-"))
    return rows


def _bandwidth(level: StorageLevel) -> str:
    rates = {
        "read": level.read_words_per_cycle,
        "write": level.write_words_per_cycle,
        "shared": level.shared_words_per_cycle,
    }
    return ", ".join(f"{name} {rate:g}" for name, rate in rates.items() if rate is not None) or "unlimited"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
