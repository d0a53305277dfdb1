"""What the temporal loops of one level pay for, between the tiles before them and the tiles after them.

Which words the loops move follows from three things: the tile before them, the tile after them, and the innermost loop, whose
tensors are replaced at every iteration. The least over all tiles after them is found rank by rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseloom.kernel import borrowed, inlined, kernel
from sparseloom.mapping.batch import BoolArray, IntArray
from sparseloom.mapping.steps import RankSteps, along

FloatArray = NDArray[np.float64]


class Loops(NamedTuple):
    """The temporal loops of a level, from a grid of tiles of ``here_shape`` [D] to one of ``there_shape`` [D].

    They may stand in an ``order``, outermost first, those that are ``pinned`` innermost. By rank: the ``classes`` [D], and the
    tensors that it ``replaces`` [D, T]; by class, those ``replaced`` [C, T]. What is moved is paid by ``wide`` [T, H] for each tile
    after them, by ``both`` [T, G] for each tile before them, and at least ``once`` [2, T] anyway.
    """

    here_shape: IntArray
    there_shape: IntArray
    order: IntArray
    pinned: BoolArray
    classes: IntArray
    replaced: BoolArray
    replaces: BoolArray
    wide: FloatArray
    both: FloatArray
    once: FloatArray


def least_before(loops: Loops, steps: Sequence[RankSteps], after: FloatArray) -> FloatArray:
    """The least before temporal loops by class of those around and number of tile [C, G], from that ``after`` them [C, H].

    By which ranks have a loop, and of what class the innermost is. Ranks are then apart: the best tile of each follows from those
    of the others. With imperfect bounds that is so for one rank whose loop is innermost and one whose loop moves tensors; where
    there are several, each gives a bound, and the largest counts.
    """
    still, turning = [_some(each, ~each.turned) for each in steps], [_some(each, each.turned) for each in steps]
    least = np.full((len(loops.replaced), loops.both.shape[1]), np.inf)
    for before, own in enumerate(loops.replaced):
        total = after[before] + loops.wide[own].sum(axis=0) + loops.once[1, ~own].sum()
        np.minimum(least[before], _same(loops, still, (), total).ravel(), out=least[before])
    active = [d for d in loops.order.tolist() if len(turning[d].after)]
    for count in range(1, len(active) + 1):
        for turned in combinations(active, count):
            for kind, leads in _innermost(loops, turned):
                _lower(loops, (still, turning), turned, kind, leads, after, least)
    return least


class _Some(NamedTuple):
    """Some of the steps of a rank, as :class:`RankSteps`."""

    begin: IntArray
    after: IntArray
    sure: FloatArray


def _some(steps: RankSteps, those: BoolArray) -> _Some:
    return _Some(np.concatenate([[0], np.cumsum(those)])[steps.begin], steps.after[those], steps.sure[those])


def _innermost(loops: Loops, turned: tuple[int, ...]) -> Iterator[tuple[int, list[int]]]:
    """The classes that the innermost of the loops over some ranks may be of, and which of the ranks are of it."""
    pinned = [d for d, fixed in zip(loops.order.tolist(), loops.pinned.tolist(), strict=True) if fixed and d in turned]
    may = pinned[-1:] or list(turned)
    for kind in sorted({int(loops.classes[d]) for d in may}):
        yield kind, [d for d in may if loops.classes[d] == kind]


def _lower(
    loops: Loops, steps: tuple[list[_Some], list[_Some]], turned: tuple[int, ...], kind: int, leads: list[int],
    after: FloatArray, least: FloatArray,
) -> None:  # fmt: skip
    """Lower the ``least`` to what loops over ``turned`` ranks need, the innermost over one of some ``leads``, of a class
    ``kind``."""
    own, (still, moves) = loops.replaced[kind], steps
    paid = _same(loops, still, turned, after[kind] + loops.wide[own].sum(axis=0))
    spared = _same(loops, still, turned, after[0] + loops.once[0, own].sum())
    by_turned = loops.replaces[list(turned)].any(axis=0)
    # where the loop that leads does not replace tiles, loops of other classes may
    unsure = [lead for lead in leads if moves[lead].sure.min() < 1]
    apart = {lead: (_turned(moves, turned, lead, paid), _turned(moves, turned, lead, spared)) for lead in unsure}
    known: dict[tuple[tuple[int, ...], tuple[int, ...]], FloatArray] = {}
    for before, around in enumerate(loops.replaced):
        moved = tuple(np.flatnonzero(~own & ~around & by_turned).tolist())
        again = tuple(np.flatnonzero(own & around).tolist()) if unsure else ()
        if (moved, again) not in known:
            bounds = [
                _bound(loops, moves, turned, (lead, last), (paid, spared), moved)
                for lead in leads
                for last in _last(loops, moves, turned, moved)
            ]
            bounds += [
                _bound_apart(loops, moves, turned, (lead, kind), inside, moved, again) for lead, inside in apart.items()
            ]
            known[moved, again] = np.maximum.reduce(bounds)
        total = known[moved, again] + loops.both[~own & around].sum(axis=0) + loops.once[1, ~own & ~around].sum()
        np.minimum(least[before], total, out=least[before])


def _turned(moves: list[_Some], turned: tuple[int, ...], lead: int, values: FloatArray) -> FloatArray:
    """Values by tile before the loops over ``turned`` ranks, but for that over the rank that leads [...]."""
    for d in turned:
        if d != lead:
            values = along(values, d, moves[d].begin, moves[d].after, np.ones(len(moves[d].after)))
    return values


def _bound_apart(
    loops: Loops, moves: list[_Some], turned: tuple[int, ...], innermost: tuple[int, int], inside: tuple[FloatArray, FloatArray],
    moved: tuple[int, ...], again: tuple[int, ...],
) -> FloatArray:  # fmt: skip
    """As :func:`_bound`, with what other loops move of the tensors of the ``innermost`` (its rank and class) for computes for which
    that does not replace them; loops around move those ``again``. The best tiles of the other ranks are then apart for both kinds
    of computes."""
    (lead, kind), (values, spared) = innermost, inside
    shape = tuple(loops.here_shape.tolist())
    more = np.full(loops.both.shape[1], (loops.once[1] - loops.once[0])[loops.replaced[kind]].sum())
    others = np.zeros(loops.both.shape[1])
    for t in (*moved, *np.flatnonzero(loops.replaced[kind]).tolist()):
        ranks = [d for d in turned if loops.replaces[d, t] and loops.classes[d] != kind]
        surest = [np.ones(1)] if t in again else [_surest(moves, d, shape) for d in ranks]
        if surest:
            (others if t in moved else more)[:] += (loops.both[t] - loops.once[1, t]) * np.maximum.reduce(surest)
    outer, width = int(np.prod(values.shape[:lead])), int(np.prod(values.shape[lead + 1 :]))
    found, flat = np.full((outer, shape[lead], width), np.inf), (outer, values.shape[lead], width)
    # more for the share of the others: all of it, less that of those for which the loop is sure
    _along(
        values.reshape(flat), spared.reshape(flat), -more.reshape(found.shape), moves[lead].begin, moves[lead].after,
        moves[lead].sure, True, True, found,
    )  # fmt: skip
    return np.asarray(found.ravel() + more + others)


def _last(loops: Loops, moves: list[_Some], turned: tuple[int, ...], moved: tuple[int, ...]) -> list[int]:
    """Ranks whose loops move tensors, for some computes alone; -1 if there are none."""
    return [d for d in turned if loops.replaces[d, list(moved)].any() and moves[d].sure.min() < 1] or [-1]


def _bound(
    loops: Loops, moves: list[_Some], turned: tuple[int, ...], chosen: tuple[int, int], inside: tuple[FloatArray, FloatArray],
    moved: tuple[int, ...],
) -> FloatArray:  # fmt: skip
    """The least, by tile before, of what is ``inside`` (for computes for which the innermost loop replaces tiles, and for the
    others) and of what loops over ``turned`` ranks move of tensors that are ``moved``: that over the rank ``chosen`` first
    leads, and that over the one ``chosen`` last moves tensors."""
    (lead, last), (values, spared) = chosen, inside
    shape = tuple(loops.here_shape.tolist())
    by_last, others = np.zeros(loops.both.shape[1]), np.zeros(loops.both.shape[1])
    for t in moved:
        more = loops.both[t] - loops.once[1, t]
        if last >= 0 and loops.replaces[last, t]:
            by_last += more
        else:
            others += more * np.maximum.reduce([_surest(moves, d, shape) for d in turned if loops.replaces[d, t]])
    for d in (lead, *(d for d in turned if d not in chosen), *([last] if last >= 0 else [])):
        if d not in chosen:
            values = along(values, d, moves[d].begin, moves[d].after, np.ones(len(moves[d].after)))
            continue
        outer, width = int(np.prod(values.shape[:d])), int(np.prod(values.shape[d + 1 :]))
        found = np.full((outer, shape[d], width), np.inf)
        flat = (outer, values.shape[d], width)
        _along(
            values.reshape(flat), (spared if d == lead else values).reshape(flat),
            (by_last if d == last else found).reshape(found.shape), moves[d].begin, moves[d].after, moves[d].sure,
            d == lead, d == last, found,
        )  # fmt: skip
        values = found.reshape(*values.shape[:d], shape[d], *values.shape[d + 1 :])
    return values.ravel() + others


def _surest(moves: list[_Some], d: int, shape: tuple[int, ...]) -> FloatArray:
    """For which share of the computes any loop of a rank replaces tiles at least, by tile before, [G]."""
    begin, sure = moves[d].begin, moves[d].sure
    least = np.array([sure[begin[i] : begin[i + 1]].min(initial=1.0) for i in range(len(begin) - 1)])
    ones = [1] * len(shape)
    ones[d] = len(least)
    return np.broadcast_to(least.reshape(ones), shape).ravel()


def _same(loops: Loops, still: list[_Some], turned: tuple[int, ...], values: FloatArray) -> FloatArray:
    """Values by tile after the loops [...], where ranks that are not ``turned`` keep the tile that they have before."""
    values = values.reshape(loops.there_shape.tolist())
    for d, each in enumerate(still):
        if d not in turned:
            values = along(values, d, each.begin, each.after, np.ones(len(each.after)))
    return values


@kernel
def _along(
    values: FloatArray, spared: FloatArray, more: FloatArray, begin: IntArray, to: IntArray, sure: FloatArray, mixes: bool,
    adds: bool, found: FloatArray,
) -> None:  # fmt: skip
    """The least over the steps of one rank, the axis in the middle: what some computes are spared is mixed in, or more added
    for the others, by the share for which the loop is sure."""
    for a in range(len(values)):
        for i in range(found.shape[1]):
            for j in range(begin[i], begin[i + 1]):
                k, share = to[j], sure[j]
                for q in range(found.shape[2]):
                    value = values[a, k, q]
                    # nothing fits where it is infinite, whatever is spared
                    if mixes and share < 1 and value < np.inf:
                        value = share * value + (1 - share) * spared[a, k, q]
                    if adds:
                        value += share * more[a, i, q]
                    found[a, i, q] = min(found[a, i, q], value)


@kernel
def after_loops(
    loops: Loops, before: IntArray, number: IntArray, turned: BoolArray, sure: FloatArray, kind: IntArray, share: FloatArray,
    after: FloatArray, found: FloatArray,
) -> None:  # fmt: skip
    """The least with temporal loops from tiles ``before`` [N] to tiles ``number`` [N], over ranks that are ``turned`` [D, N]
    and are so ``sure`` [D, N] to replace tiles, inside of loops of some ``kind`` [N] that do so for a ``share`` [N] of the
    computes."""
    order, pinned, classes = borrowed(loops.order), borrowed(loops.pinned), borrowed(loops.classes)
    replaced, replaces = borrowed(loops.replaced), borrowed(loops.replaces)
    wide, both, once = borrowed(loops.wide), borrowed(loops.both), borrowed(loops.once)
    moved, last = np.zeros(len(wide)), np.zeros(len(replaced))
    for n in range(len(found)):
        g, inner = before[n], number[n]
        if after[0, inner] == np.inf:
            found[n] = np.inf
            continue
        moved[:] = 0.0
        last[:] = 0.0
        any_loop, free = False, True
        for i in range(len(order) - 1, -1, -1):
            d = order[i]
            if turned[d, n]:
                any_loop = True
                for t in range(len(moved)):
                    if replaces[d, t]:
                        moved[t] = max(moved[t], sure[d, n])
                # the classes that the innermost loop may have
                if free:
                    last[classes[d]] = max(last[classes[d]], sure[d, n])
                    free = not pinned[i]
        args = (classes, replaced, replaces, wide, both, once, turned, sure, n, g, inner, any_loop, moved, last, after)
        none, own = _paid(0, *args), _paid(kind[n], *args)
        found[n] = none + share[n] * (own - none)


@inlined
def _paid(
    before: int, classes: IntArray, replaced: BoolArray, replaces: BoolArray, wide: FloatArray, both: FloatArray,
    once: FloatArray, turned: BoolArray, sure: FloatArray, n: int, g: int, inner: int, any_loop: bool, moved: FloatArray,
    last: FloatArray, after: FloatArray,
) -> float:  # fmt: skip
    """The least of all classes of the innermost loop, inside of loops of class ``before``."""
    least: float = np.inf
    if not any_loop:
        least = after[before, inner]
        for t in range(len(moved)):
            least += wide[t, inner] if replaced[before, t] else once[1, t]
        return least
    for c in range(len(last)):
        if last[c] > 0:
            share = last[c]
            total = share * after[c, inner] + (1 - share) * after[0, inner]
            for t in range(len(moved)):
                if replaced[c, t]:
                    total += share * wide[t, inner]
                    if share < 1:
                        # where it does not replace them, loops of other classes may
                        others = 1.0 if replaced[before, t] else 0.0
                        for d in range(len(classes)):
                            if turned[d, n] and classes[d] != c and replaces[d, t]:
                                others = max(others, sure[d, n])
                        total += (1 - share) * (others * both[t, g] + (1 - others) * once[1, t])
                elif replaced[before, t]:
                    total += both[t, g]
                else:
                    total += moved[t] * both[t, g] + (1 - moved[t]) * once[1, t]
            least = min(least, total)
    return least
