"""What becomes of the computes: step two where the words of all operands meet.

The meaning of every count is docs/oracle.md, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import SKIPPING
from sparseloom.mapping.batch import corner_of
from sparseloom.memory import remembered
from sparseloom.model.path import Judge, Path
from sparseloom.model.plan import of_computes
from sparseloom.model.source import Rows
from sparseloom.model.sparse import Filter

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Computes:
    """What becomes of the computes (docs/oracle.md, section 5), [B] each; ``busiest``: the actual and gated ones of the
    instance that expects most (of random tensors another one may turn out to have more), of each tile of a barrier."""

    actual: FloatArray
    gated: FloatArray
    skipped: FloatArray
    absent: FloatArray
    busiest: FloatArray


def filter_computes(
    work: Filter,
    paths: tuple[tuple[Path, ...], ...],
    gating: bool,
    skipping: bool,
    packed: frozenset[int] = frozenset(),
) -> Computes:
    """Classify every compute by what reached it and by the values of its operands, for a unit that gates or skips. Zeros of
    ``packed`` tensors never reach it."""
    _, points, wanted = of_computes(work.problem, paths[:-1], False)
    barrier = work.problem.design.architecture.barrier
    source, which = work.source.alike(points, wanted)
    judged, rows = compute_rows(work.of(source), paths[:-1])
    parts = classified(work.of(source), rows, judged, paths, gating, skipping, packed)
    counts = (np.bincount(rows.mapping, part * rows.receivers, source.mappings) for part in parts)
    totals = [*counts, source.busiest(parts[0] + parts[1], rows, barrier)]
    return Computes(*(np.asarray(total if which is None else total[which], np.float64) for total in totals))


def compute_rows(
    work: Filter, paths: tuple[tuple[Path, ...], ...], everywhere: bool = False
) -> tuple[tuple[Path, ...], Rows]:
    """What judges the words of some tensors on their ways, and the rows of all computes with a span for each; a row for each
    compute if its place matters ``everywhere``."""
    judged, points, wanted = of_computes(work.problem, paths, everywhere)
    (rows,) = work.source.transfers(points, wanted)
    return judged, rows


def classified(
    work: Filter,
    rows: Rows,
    judged: Sequence[Path],
    paths: tuple[tuple[Path, ...], ...],
    gating: bool,
    skipping: bool,
    packed: frozenset[int],
) -> FloatArray:
    """P(actual), P(gated), P(skipped) and P(absent) of the computes of each row, [4, N]; see :func:`filter_computes`."""
    operands = range(len(work.problem.tensors) - 1)
    judges = [(k, judge) for k, path in enumerate(judged) if path.tensor in operands for judge in path.judges]
    unskipped = unskipped_chance(work, rows, judged, operands)
    delivered = _broadcast(rows, work.joint(rows, judges))
    for t in packed:
        nonzero = nonzero_chance(work, rows, t)
        unskipped = unskipped * nonzero / np.where(nonzero > 0, np.maximum(delivered[t], nonzero), 1.0)
        delivered[t] = nonzero
    if work.conventions.gated_compute == "removed":
        unskipped = np.multiply.reduce(delivered, axis=0)
    actual, skipped, absent = _by_value(work, rows, delivered, paths, gating, skipping)
    return np.stack([actual, unskipped - actual - skipped - absent, skipped, absent + 1 - unskipped])


def unskipped_chance(work: Filter, rows: Rows, judged: Sequence[Path], tensors: Sequence[int]) -> FloatArray:
    """P(no word of some tensors was skipped on its way), [N]."""
    total = np.zeros(rows.groups.size)
    for nonempty, sign in _unskipped(tuple(judged), tuple(tensors)):
        total += sign * np.multiply.reduce(_broadcast(rows, work.joint(rows, nonempty)), axis=0)
    return total


def nonzero_chance(work: Filter, rows: Rows, t: int) -> FloatArray:
    """P(the word of a tensor that a compute uses is not zero), [N]."""
    low = corner_of(work.problem.projection(t), rows.box[0])
    return work.problem.densities[t].expected_occupancy(low, low + 1)


def drops_zeros(work: Filter, paths: tuple[Path, ...]) -> bool:
    """Whether the innermost level that keeps a tensor, with these edges, has a compressing format for it."""
    form = work.problem.format_of(paths[-1].edge.parent, paths[-1].tensor)
    return bool(form and form.compressed)


Nonempty = frozenset[tuple[int, Judge]]
"""The event that the leader tiles of some judges, each at the span of its number, all have a nonzero."""


@remembered
def _unskipped(
    judged: tuple[Path, ...], tensors: tuple[int, ...]
) -> tuple[tuple[tuple[tuple[int, Judge], ...], int], ...]:
    """The event that no word of some tensors is skipped on its way, as a sum of signed events.

    A word is skipped at an edge if everything further out let it pass and a skipping judge here does not: what is gated
    further out comes to no later judge.
    """
    total: dict[Nonempty, int] = {frozenset(): 1}
    for tensor in sorted({path.tensor for path in judged} & set(tensors)):
        passed: Nonempty = frozenset()
        kept: dict[Nonempty, int] = {frozenset(): 1}
        for k, path in enumerate(judged):
            if path.tensor == tensor:
                skips = passed | {(k, judge) for judge in path.judges if judge.kind == SKIPPING}
                kept[passed] = kept.get(passed, 0) - 1
                kept[skips] = kept.get(skips, 0) + 1
                passed = passed | {(k, judge) for judge in path.judges}
        product: dict[Nonempty, int] = {}
        for a, left in total.items():
            for b, right in kept.items():
                product[a | b] = product.get(a | b, 0) + left * right
        total = {event: sign for event, sign in product.items() if sign}
    return tuple((tuple(sorted(event, key=str)), sign) for event, sign in total.items())


def _broadcast(rows: Rows, chances: Sequence[FloatArray | float]) -> FloatArray:
    found = np.empty((len(chances), rows.groups.size))
    for t, chance in enumerate(chances):
        found[t] = chance
    return found


def _by_value(
    work: Filter, rows: Rows, delivered: FloatArray, paths: tuple[tuple[Path, ...], ...], gating: bool, skipping: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """P(actual), P(skipped) and P(absent for want of any operand) of the computes that are delivered; gated is the rest."""
    operands = range(len(work.problem.tensors) - 1)
    others = np.multiply.reduce(delivered[len(operands) :], axis=0)
    present, arriving, missing = others.copy(), others.copy(), others.copy()
    for t in operands:
        nonzero = nonzero_chance(work, rows, t)
        drops = drops_zeros(work, paths[t])
        present = present * nonzero
        arriving = arriving * (nonzero if drops else delivered[t])
        missing = missing * (delivered[t] - nonzero if drops else 0.0)
    reached = np.multiply.reduce(delivered, axis=0)
    apart = reached - arriving - missing
    zero = arriving - present
    actual = present + (0 if gating else zero) + (0 if gating or skipping else apart)
    return actual, apart if skipping else 0 * apart, missing
