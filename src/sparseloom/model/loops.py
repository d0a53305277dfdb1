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
    """Lower the ``least`` to what loops over ``turned`` ranks need, the innermost over one of some ``leads``, of a class ``kind``."""
    own, (still, moves) = loops.replaced[kind], steps
    paid = _same(loops, still, turned, after[kind] + loops.wide[own].sum(axis=0))
    spared = _same(loops, still, turned, after[0] + loops.once[1, own].sum())
    by_turned = loops.replaces[list(turned)].any(axis=0)
    known: dict[bytes, FloatArray] = {}
    for before, around in enumerate(loops.replaced):
        key = (around & (own | by_turned)).tobytes()
        if key not in known:
            moved = tuple(np.flatnonzero(~around & by_turned).tolist())
            bounds = (
                _bound(loops, moves, turned, (lead, last), (paid, spared), (own, around))
                for lead in leads
                for last in _last(loops, moves, turned, (lead, moved))
            )
            known[key] = np.maximum.reduce(list(bounds))
        total = known[key] + loops.both[~own & around].sum(axis=0) + loops.once[1, ~own & ~around].sum()
        np.minimum(least[before], total, out=least[before])


def _last(loops: Loops, moves: list[_Some], turned: tuple[int, ...], choice: tuple[int, tuple[int, ...]]) -> list[int]:
    """Ranks but the one that leads whose loops move some tensors, for some computes alone; -1 if there are none."""
    lead, moved = choice
    some = [d for d in turned if d != lead and loops.replaces[d, list(moved)].any() and moves[d].sure.min() < 1]
    return some or [-1]


def _bound(
    loops: Loops, moves: list[_Some], turned: tuple[int, ...], chosen: tuple[int, int], inside: tuple[FloatArray, FloatArray],
    tensors: tuple[BoolArray, BoolArray],
) -> FloatArray:  # fmt: skip
    """The least, by tile before, of what is ``inside`` (for computes for which the innermost loop replaces tiles, and for the
    others) and of what loops over ``turned`` ranks move: that over the rank ``chosen`` first is the innermost, and that over the one
    ``chosen`` last moves what it does not replace.

    ``tensors`` are those that the innermost loop replaces, and those that loops around replace in any case.
    """
    (lead, last), (own, around) = chosen, tensors
    shape = tuple(loops.here_shape.tolist())
    # paid by tensors that are moved: for all computes, for those for which the last is sure, the lead is not, both
    always, by_last, spared, by_both = np.zeros((4, loops.both.shape[1]))
    for t, more in enumerate(loops.both - loops.once[1, :, None]):
        others = [d for d in turned if loops.replaces[d, t] and d != lead]
        if own[t] and around[t]:
            spared += more
        elif last in others:
            (by_both if own[t] else by_last)[:] += more
        elif others and not around[t]:
            surest = np.maximum.reduce([_surest(moves, d, shape) for d in others])
            (spared if own[t] else always)[:] += more * surest
    values = []
    for each in inside if moves[lead].sure.min() < 1 else inside[:1]:
        for d in turned:
            if d not in chosen:
                each = along(each, d, moves[d].begin, moves[d].after, np.ones(len(moves[d].after)))
        values.append(_apart(each, lead, last))
    found = np.full(_apart(always.reshape(shape), lead, last).shape, np.inf)
    more = np.stack([_apart(part.reshape(shape), lead, last) for part in (by_last, spared, by_both)])
    first, second = moves[lead], moves[last] if last >= 0 else _IDLE
    _jointly(
        values[0],
        values[-1],
        more,
        first.begin,
        first.after,
        first.sure,
        second.begin,
        second.after,
        second.sure,
        found,
    )
    return _together(found, shape, lead, last) + always


_IDLE = _Some(np.array([0, 1]), np.array([0]), np.array([0.0]))
"""The step of a rank that there is not."""


def _apart(values: FloatArray, lead: int, last: int) -> FloatArray:
    """With the axes of two ranks at the end, the others as one [R, lead, last]; one of a single step where there is no ``last``."""
    if last < 0:
        moved = np.moveaxis(values, lead, -1)[..., None]
    else:
        moved = np.moveaxis(values, (lead, last), (-2, -1))
    return np.ascontiguousarray(moved).reshape(-1, *moved.shape[-2:])


def _together(values: FloatArray, shape: tuple[int, ...], lead: int, last: int) -> FloatArray:
    """The inverse of :func:`_apart`, flat."""
    ends = [lead, *([last] if last >= 0 else [])]
    rest = [size for d, size in enumerate(shape) if d not in ends]
    return np.moveaxis(values.reshape(*rest, *(shape[d] for d in ends)), range(-len(ends), 0), ends).ravel()


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
def _jointly(
    paid: FloatArray, spared: FloatArray, more: FloatArray, begin: IntArray, to: IntArray, sure: FloatArray,
    last_begin: IntArray, last_to: IntArray, last_sure: FloatArray, found: FloatArray,
) -> None:  # fmt: skip
    """The least over the steps of two ranks, the last two axes: of what is ``paid`` where the loop of the first replaces tiles and
    ``spared`` elsewhere, and of what is paid ``more``: where the loop of the second moves tensors, where the first does not
    replace them, and where both is so."""
    for r in range(len(found)):
        for i in range(found.shape[1]):
            for k in range(found.shape[2]):
                least, by_last, by_spared, by_both = np.inf, more[0, r, i, k], more[1, r, i, k], more[2, r, i, k]
                for j in range(begin[i], begin[i + 1]):
                    left = 1 - sure[j]
                    for m in range(last_begin[k], last_begin[k + 1]):
                        value = paid[r, to[j], last_to[m]]
                        # nothing fits where it is infinite, whatever is spared
                        if left > 0 and value < np.inf:
                            value = sure[j] * value + left * (
                                spared[r, to[j], last_to[m]] + by_spared + last_sure[m] * by_both
                            )
                        least = min(least, value + last_sure[m] * by_last)
                found[r, i, k] = least


@kernel
def after_loops(
    loops: Loops, before: IntArray, number: IntArray, turned: BoolArray, sure: FloatArray, kind: IntArray, share: FloatArray,
    after: FloatArray, found: FloatArray,
) -> None:  # fmt: skip
    """The least with temporal loops from tiles ``before`` [N] to tiles ``number`` [N], over ranks that are ``turned`` [D, N] and are so
    ``sure`` [D, N] to replace tiles, inside of loops of some ``kind`` [N] that do so for a ``share`` [N] of the computes."""
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
