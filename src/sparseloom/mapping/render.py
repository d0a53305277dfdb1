"""A loop nest as text, a faulty loop marked where it stands."""

from __future__ import annotations

from collections.abc import Mapping as Table

from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping

LoopAt = tuple[int, int]
"""The place of a loop: its level, and its number among the level's temporal, then spatial loops."""


def render(mapping: Mapping, fault_at: Table[LoopAt, str] | None = None) -> str:
    """The loop nest, outermost loop first, two columns deeper with each loop; loops with bound 1 are left out.

    Where a rank has several loops, they are numbered, the outermost highest. ``fault_at`` gives loops to be marked, by
    place, with what is wrong with each; a marked loop is always shown.

    >>> from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
    >>> dram = LevelMapping("DRAM", (Loop("M", 4),), keep=frozenset("AZ"))
    >>> print(render(Mapping((dram, LevelMapping("PE", (), (Loop("K", 3, "X"),)))), {(1, 0): "PE has 2 children"}))
    [DRAM] keep A, Z
    [DRAM] for m in [0, 4)
    [PE]     keep nothing
    [PE]     parallel-for k in [0, 3) (X)
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ PE has 2 children
    """
    marks = dict(fault_at or {})
    names = _loop_names(mapping, marks)
    width = max((len(level.level) for level in mapping.levels), default=0) + 3
    lines, depth = [], 0
    for i, level in enumerate(mapping.levels):
        tag = f"[{level.level}]".ljust(width)
        lines.append(f"{tag}{'  ' * depth}{_kept(level)}")
        for j, loop in enumerate((*level.temporal, *level.spatial)):
            if (i, j) not in names:
                continue
            text = _text(loop, names[i, j])
            lines.append(f"{tag}{'  ' * depth}{text}")
            if (i, j) in marks:
                lines.append(f"{' ' * width}{'  ' * depth}{'^' * len(text)} {marks[i, j]}".rstrip())
            depth += 1
    return "\n".join(lines)


def _loop_names(mapping: Mapping, marks: Table[LoopAt, str]) -> dict[LoopAt, str]:
    """The loops to be shown, and the name of each one's variable."""
    shown: dict[str, list[LoopAt]] = {}
    for i, level in enumerate(mapping.levels):
        for j, loop in enumerate((*level.temporal, *level.spatial)):
            if loop.bound != 1 or (i, j) in marks:
                shown.setdefault(loop.rank, []).append((i, j))
    return {
        place: rank.lower() if len(places) == 1 else f"{rank.lower()}{len(places) - 1 - k}"
        for rank, places in shown.items()
        for k, place in enumerate(places)
    }


def _text(loop: Loop, name: str) -> str:
    if loop.axis:
        return f"parallel-for {name} in [0, {loop.bound}) ({loop.axis})"
    return f"for {name} in [0, {loop.bound})"


def _kept(level: LevelMapping) -> str:
    kept = f"keep {', '.join(sorted(level.keep)) or 'nothing'}"
    return f"{kept}, stream {', '.join(sorted(level.stream))}" if level.stream else kept
