"""A pruning in words: what was done to each weight, and what it did to the accuracy."""

from __future__ import annotations

from sparseloom.prune.record import PrunedWeight, Record
from sparseloom.results.table import number, shorten, table

_HEAD = ("weight", "shape", "pattern", "density", "nonzeros", "of", "rule")
_NAME, _PATTERN = 36, 40


def text(record: Record) -> str:
    """A line for each weight, their sum, channels that are dead, accuracies."""
    rows = [_row(weight) for weight in record.weights]
    nonzeros, points = (sum(getattr(w, what) for w in record.weights) for what in ("nonzeros", "points"))
    rows.append(("all", "", "", f"{record.density:.4f}", number(nonzeros), number(points), ""))
    parts = [table(_HEAD, rows, 3)]
    dead = [line for weight in record.weights for line in _dead(weight)]
    if dead:
        parts.append("\n".join(("dead channels", *dead)))
    parts.append("\n".join(("accuracy", *_accuracies(record))))
    if record.bits:
        parts.append(_bits(record))
    if record.notes:
        parts.append("\n".join(("notes", *(f"  {note}" for note in record.notes))))
    return "\n\n".join(parts)


def _row(weight: PrunedWeight) -> tuple[str, ...]:
    return (
        shorten(weight.name, _NAME), " x ".join(str(size) for size in weight.shape), shorten(weight.pattern, _PATTERN),
        f"{weight.density:.4f}", number(weight.nonzeros), number(weight.points), weight.rule,
    )  # fmt: skip


def _bits(record: Record) -> str:
    """What the weights take in 8 bits, by encoding, and what is left of the dense ones."""
    head = tuple(next(iter(record.bits.values())))
    sums = {encoding: sum(bits[encoding] for bits in record.bits.values()) for encoding in head}
    rows = [(shorten(name, _NAME), *(number(bits[encoding]) for encoding in head)) for name, bits in record.bits.items()]
    rows.append(("all", *(number(sums[encoding]) for encoding in head)))
    rows.append(("smaller by", *(f"{sums['dense'] / sums[encoding]:.2f}x" for encoding in head)))
    return table(("bits of", *head), rows, 1)


def _dead(weight: PrunedWeight) -> list[str]:
    kinds = (("outputs", weight.dead_outputs), ("inputs", weight.dead_inputs))
    return [
        f"  {weight.name}: {what} {', '.join(str(a) if a == b else f'{a}..{b}' for a, b in runs)}"
        for what, runs in kinds
        if runs
    ]


def _accuracies(record: Record) -> list[str]:
    lines = []
    for state, by_split in record.accuracies.items():
        lines.append(f"  {state:<8}" + ", ".join(f"{share * 100:.2f} % ({split})" for split, share in by_split.items()))
    if not any("test" in by_split for by_split in record.accuracies.values()):
        lines.append("  there is no test split: the validation split has guided choices, so that it flatters")
    return lines
