"""Classes of the digits of a rank whose tiles are not all alike, compiled.

An imperfect bound cuts tiles short only where digits stand at the rank's last coordinate (the *tail*). What a transfer sees of
the rank, its tile, the tile before, its group, a judge's transfer, is a *view*: some loops vary within it, the others stand at
a digit. Going from the outermost loop inwards, a view is that at the tail until, at a loop that stands, the digit leaves the
tail: below it nothing is cut any more; above it a loop further out that varies has to stay one below its own tail, or there
is nothing. So a view is known where it leaves, and what the digits inside are makes no difference to it. Digits are kept
apart until all views have left; those inside are counted at once.
"""

from __future__ import annotations

from sparseloom.kernel import inlined
from sparseloom.model.digits import (
    ASIDE,
    BACK,
    EXTENT,
    FIRST,
    GROUPS,
    KEPT,
    LENGTH,
    MEMBERS,
    MERGED,
    MOST_CLASSES,
    OLD,
    ORIGIN,
    RESIDUE,
    SIBLINGS,
    SPANS,
    SPREAD,
    TILE,
    TIME,
    changes,
    join,
)
from sparseloom.model.nests import BOUND, RANK, STEP, TAIL

NOW, BEFORE, STEPS, JUDGED = 1, 2, 4, 8
"""Views, as bits: the tile, or the group of a rank that does not index; the tile before; all groups of a step; from JUDGED on
each judge's transfer."""


@inlined
def cut_classes(
    nest, order, begin, end, role, free, looked, d, carry, side, indexed, ordered, steps, modulus, split, watch, splits, whole,
    states, masks, residues, own,
):  # fmt: skip
    """Write the classes of rank ``d`` to ``own[d]`` [MOST_CLASSES, SPANS + K] and return their number, -1 for too many.

    Terms are those of :func:`sparseloom.model.digits.whole_classes`; ``order[begin:end]`` are the rank's loops, outermost
    first. The old tile, siblings and residues (by ``modulus``) are kept if ``ordered``, ``steps`` and above 1. ``split`` is the
    tensor rank of which this one is the index by itself, -1 for none: then a residue stands for all that make no difference to
    the ``splits`` and what is watched. ``states`` [3, MOST_CLASSES + 3, SPANS + K], ``masks`` [4, MOST_CLASSES] and
    ``residues`` [L + 3, 2, modulus] are room for work.
    """
    inside, now, after = states[0], states[1], states[2]
    at_tail, above, row = inside[MOST_CLASSES], inside[MOST_CLASSES + 1], inside[MOST_CLASSES + 2]
    stands, pending, opened, open_after = masks[0], masks[1], masks[2], masks[3]
    views = NOW | (BEFORE if ordered and indexed else 0) | (STEPS if steps else 0)
    for k in range(len(looked)):
        if looked[k, d]:
            views |= JUDGED << k
    loops, old = end - begin, carry >= 0 and carry % 2 == 0
    shift = nest[STEP, carry // 2] if old and nest[RANK, carry // 2] == d else 0
    watch = watch[: len(watch) if old else 0]
    if views & ~STEPS == NOW and modulus == 1 and not (steps and _is_spread(order, begin, end, role)):
        found = _tiles_alone(nest, order, begin, end, role, carry, side, indexed, steps, shift, row, own[d])
        if found >= 0:
            return found
    extent = _look_inside(
        nest, order, begin, loops, role, free, d, carry, side, indexed, views, modulus, inside, stands, pending, residues, row,
    )  # fmt: skip
    row[RESIDUE] = shift if modulus == 1 else 0.0
    opened[0] = views & pending[0]
    if opened[0] == 0:
        return _close(row, inside, residues, 0, 0, 1, 0, modulus, False, split, shift, watch, splits, whole, own[d], 0)
    for k in range(len(row)):
        now[0, k] = row[k]
        at_tail[k] = above[k] = 0.0
    found, count = 0, 1
    for j in range(loops):
        i = order[begin + j]
        kind, step, tail = role[i], nest[STEP, i], nest[TAIL, i]
        low, high = _digits(kind, nest[BOUND, i], i, carry)
        zero_only = _counts_zero(kind, indexed, side)
        into = 0
        for c in range(count):
            leaving = opened[c] & stands[j]
            for branch in range(-1, 2):
                # below the tail, at it, above it; all digits at once where they make no difference
                start, stop = _some_digits(low, high, tail, branch)
                if leaving == 0:
                    start, stop = low, (high if branch == 0 else low)
                if start >= stop:
                    continue
                gone = leaving
                if branch == 0:
                    # where this loop advanced to its tail, the tile before was below it
                    gone = leaving & BEFORE if kind == TIME and 2 * i == carry else 0
                for k in range(len(row)):
                    row[k] = now[c, k]
                if gone and not _leave(row, gone, branch <= 0, indexed, extent, inside[j + 1], at_tail, above):
                    continue
                left = opened[c] & ~gone & pending[j + 1]
                if left == 0:
                    found = _close(
                        row, inside, residues, j + 1, start, stop, step, modulus, zero_only, split, shift, watch, splits, whole,
                        own[d], found,
                    )  # fmt: skip
                    if found < 0:
                        return -1
                    continue
                into = _keep_open(row, left, start, stop, step, modulus, zero_only, after, open_after, into)
                if into < 0:
                    return -1
        if into == 0:
            break
        count = into
        now, after = after, now
        opened, open_after = open_after, opened
        _stay(nest, i, kind, free, carry, views, inside[j + 1], at_tail, above)
    return found


@inlined
def _is_spread(order, begin, end, role):
    """Whether a loop of a rank spreads it over receivers of one step."""
    spread = False
    for at in range(begin, end):
        spread = spread or role[order[at]] == SPREAD
    return spread


@inlined
def _digits(kind, bound, i, carry):
    """The digits of a loop, first and after the last, at which transfers of the steps of ``carry`` begin."""
    if kind == TIME:
        return (1 if 2 * i == carry else 0), (bound if 2 * i <= carry else 1)
    return 0, (bound if kind >= SPREAD else 1)


@inlined
def _some_digits(low, high, tail, branch):
    """Of the digits from ``low`` to ``high`` those below the tail (``branch`` -1), at it (0), above it (1)."""
    if branch < 0:
        return low, min(high, tail)
    if branch > 0:
        return max(low, tail + 1), high
    return max(low, tail), min(high, tail + 1)


@inlined
def _counts_zero(kind, indexed, side):
    """Whether on the side only digit 0 is counted: of loops that repeat what was seen, or of other instances."""
    return (kind == TIME and not indexed) if side == FIRST else (side == ORIGIN and kind >= SPREAD)


@inlined
def _aside(times, first, zero_only):
    """How many of ``times`` digits, the ``first`` among them, are counted on the side."""
    return (1 if first == 0 else 0) if zero_only else times


@inlined
def _period(step, modulus):
    """Digits after which residues repeat."""
    period = 1
    while modulus > 1 and period * step % modulus:
        period += 1
    return period


@inlined
def _look_inside(
    nest, order, begin, loops, role, free, d, carry, side, indexed, views, modulus, inside, stands, pending, residues, row
):  # fmt: skip
    """Write what of each loop's position on inwards is the same for all digits outside it, and return the extent of a tile that
    nothing cuts short.

    ``inside[j]`` has for loops j on how many digits there are, and on the side, and what views have of these loops where
    they are whole; ``residues[j]`` [2, modulus] how many digits have each residue; ``stands[j]`` the views that can leave the
    tail at loop j, ``pending[j]`` at it or inside it; ``row`` what all views are at the tail.
    """
    judges = inside.shape[1] - SPANS
    extent = 1
    for k in range(len(row)):
        row[k] = inside[loops, k] = 1.0
    row[BACK] = inside[loops, BACK] = 0.0
    row[KEPT] = -1.0
    pending[loops] = 0
    residues[loops, :, :modulus] = 0.0
    residues[loops, :, 0] = 1.0
    for j in range(loops - 1, -1, -1):
        i = order[begin + j]
        kind, bound, step, tail = role[i], nest[BOUND, i], nest[STEP, i], nest[TAIL, i]
        reach = step * (bound - 1)
        low, high = _digits(kind, bound, i, carry)
        bits = views
        if high - low == 1 and low == tail:
            bits = views & BEFORE if low > 0 else 0
        for k in range(GROUPS, len(row)):
            inside[j, k] = inside[j + 1, k]
        inside[j, GROUPS] *= high - low
        inside[j, ASIDE] *= _aside(high - low, low, _counts_zero(kind, indexed, side))
        if kind == TILE:
            bits &= ~(NOW | BEFORE | STEPS)
            extent += reach
            row[EXTENT] += tail * step
        elif kind == MERGED:
            bits &= ~NOW
            row[MEMBERS] += tail * inside[j, MEMBERS]
            inside[j, MEMBERS] *= bound
        elif kind == SPREAD:
            bits &= ~STEPS
            row[SIBLINGS] += tail * inside[j, SIBLINGS]
            inside[j, SIBLINGS] *= bound
        elif kind == TIME and 2 * i > carry:
            bits &= ~BEFORE
            row[BACK] += tail * step
            inside[j, BACK] += reach
        for k in range(judges):
            if free[i] >> k & 1:
                bits &= ~(JUDGED << k)
                if views & JUDGED << k:
                    row[SPANS + k] += tail * step
                    inside[j, SPANS + k] += reach
        stands[j] = bits
        pending[j] = pending[j + 1] | bits
        if modulus > 1:
            zero_only = _counts_zero(kind, indexed, side)
            _add_digits(residues[j + 1], residues[j], low, high, step, modulus, zero_only, 0)
    if not indexed:
        extent = 1
        row[EXTENT] = 1.0
    if not views & STEPS:
        row[SIBLINGS] = 1.0
    row[OLD] = row[EXTENT]
    row[LENGTH] = (row[SIBLINGS] - 1) * extent + row[EXTENT] if indexed and views & STEPS else 1.0
    return extent


@inlined
def _add_digits(inner, found, start, stop, step, modulus, zero_only, base):
    """Write to ``found`` how many combinations, and on the side, have each residue, [2, modulus], of ``base``, digits ``start`` to
    ``stop`` of a loop and what is ``inner`` to it."""
    period = _period(step, modulus)
    found[:, :modulus] = 0.0
    for first in range(start, min(stop, start + period)):
        times = (stop - first + period - 1) // period
        aside = _aside(times, first, zero_only)
        at = (base + first * step) % modulus
        for residue in range(modulus):
            found[0, at] += times * inner[0, residue]
            found[1, at] += aside * inner[1, residue]
            at = at + 1 if at + 1 < modulus else 0


@inlined
def _leave(row, gone, below, indexed, extent, inner, at_tail, above):
    """Write to ``row`` what views become that leave the tail; returns whether there is anything at all."""
    if gone & NOW:
        if indexed:
            if not below:
                return False
            row[EXTENT] = extent
        else:
            row[MEMBERS] = at_tail[MEMBERS] + (inner[MEMBERS] if below else 0.0)
            if row[MEMBERS] == 0:
                return False
    if gone & BEFORE:
        row[OLD] = extent if below or above[OLD] > 0 else 0.0
        row[BACK] = at_tail[BACK] + inner[BACK] if below else above[BACK]
    if gone & STEPS:
        row[SIBLINGS] = at_tail[SIBLINGS] + (inner[SIBLINGS] if below else 0.0)
        row[LENGTH] = row[SIBLINGS] * extent if indexed else 1.0
    for k in range(len(row) - SPANS):
        if gone & JUDGED << k:
            row[SPANS + k] = at_tail[SPANS + k] + inner[SPANS + k] if below else above[SPANS + k]
    return True


@inlined
def _stay(nest, i, kind, free, carry, views, inner, at_tail, above):
    """Take a loop at the tail into what views are that leave it further in, below it (``at_tail``, beside what they have inside) or
    ``above`` it."""
    step, tail = nest[STEP, i], nest[TAIL, i]
    if kind == MERGED:
        at_tail[MEMBERS] += tail * inner[MEMBERS]
    elif kind == SPREAD:
        at_tail[SIBLINGS] += tail * inner[SIBLINGS]
    elif kind == TIME and 2 * i > carry:
        if tail > 0:
            above[OLD] = 1.0
            above[BACK] = at_tail[BACK] + (tail - 1) * step + inner[BACK]
        at_tail[BACK] += tail * step
    for k in range(len(inner) - SPANS):
        if views & JUDGED << k and free[i] >> k & 1:
            if tail > 0:
                above[SPANS + k] = at_tail[SPANS + k] + (tail - 1) * step + inner[SPANS + k]
            at_tail[SPANS + k] += tail * step


@inlined
def _tiles_alone(nest, order, begin, end, role, carry, side, indexed, steps, shift, row, own):
    """As :func:`cut_classes` where only tiles matter: all are whole but the last, if that is cut. Returns -1 where a group's
    receivers matter too."""
    extent, cut = 1.0, 1.0
    # combinations of digits inside, and on the side: all, those with a tile, and whether that at the tail is one
    all_groups = all_aside = groups = aside = 1.0
    last = last_aside = 1.0
    for at in range(end - 1, begin - 1, -1):
        i = order[at]
        kind, tail = role[i], nest[TAIL, i]
        if kind == TILE:
            extent += nest[STEP, i] * (nest[BOUND, i] - 1)
            cut += nest[STEP, i] * tail
            continue
        if kind == MERGED:
            return -1
        low, high = _digits(kind, nest[BOUND, i], i, carry)
        zero_only = _counts_zero(kind, indexed, side)
        below, reached = max(0, min(high, tail) - low), 1 if low <= tail < high else 0
        reached_aside = reached if not zero_only or tail == 0 else 0
        groups = below * all_groups + reached * groups
        aside = (_aside(below, low, zero_only) if below else 0) * all_aside + reached_aside * aside
        last, last_aside = reached * last, reached_aside * last_aside
        all_groups *= high - low
        all_aside *= _aside(high - low, low, zero_only)
    if not indexed:
        extent = cut = 1.0
    for k in range(len(row)):
        row[k] = 1.0
    row[BACK], row[KEPT] = 0.0, -1.0
    row[RESIDUE] = shift
    found = 0
    if extent == cut:
        last = last_aside = 0.0
    if groups > last:
        row[EXTENT], row[GROUPS], row[ASIDE] = extent, groups - last, aside - last_aside
        row[LENGTH] = extent if steps else 1.0
        found = join(own, found, row)
    if last > 0:
        row[EXTENT], row[GROUPS], row[ASIDE] = cut, last, last_aside
        row[LENGTH] = cut if steps else 1.0
        found = join(own, found, row)
    return found


@inlined
def _keep_open(row, left, start, stop, step, modulus, zero_only, after, open_after, into):
    """Write ``row``, of digits ``start`` to ``stop`` of a loop, to ``after`` from ``into`` on, one for each residue, with the views
    that are ``left``; returns how many are there, -1 for too many."""
    period = _period(step, modulus)
    for first in range(start, min(stop, start + period)):
        if into >= MOST_CLASSES:
            return -1
        times = (stop - first + period - 1) // period
        for k in range(len(row)):
            after[into, k] = row[k]
        after[into, GROUPS] *= times
        after[into, ASIDE] *= _aside(times, first, zero_only)
        if modulus > 1:
            after[into, RESIDUE] = (int(row[RESIDUE]) + first * step) % modulus
        open_after[into] = left
        into += 1
    return into


@inlined
def _close(
    row, inside, residues, j, start, stop, step, modulus, zero_only, split, shift, watch, splits, whole, own, found
):  # fmt: skip
    """Add the class ``row``, of digits ``start`` to ``stop`` of a loop and all digits of loops from ``j`` on, one for each residue;
    returns how many classes there are, -1 for too many."""
    groups, aside = row[GROUPS], row[ASIDE]
    if modulus == 1:
        row[GROUPS] = groups * (stop - start) * inside[j, GROUPS]
        row[ASIDE] = aside * _aside(stop - start, start, zero_only) * inside[j, ASIDE]
        return join(own, found, row) if row[GROUPS] > 0 else found
    each, alike = residues[len(residues) - 1], residues[len(residues) - 2]
    _add_digits(residues[j], each, start, stop, step, modulus, zero_only, int(row[RESIDUE]))
    if split >= 0:
        _representatives(alike, modulus, row, split, shift, watch, splits, whole[split])
        for residue in range(modulus):
            one = int(alike[0, residue])
            if one < residue:
                each[0, one] += each[0, residue]
                each[1, one] += each[1, residue]
                each[0, residue] = 0.0
    for residue in range(modulus):
        if each[0, residue] > 0 and found >= 0:
            row[RESIDUE], row[GROUPS], row[ASIDE] = residue, groups * each[0, residue], aside * each[1, residue]
            found = join(own, found, row)
    return found


@inlined
def _representatives(alike, modulus, row, split, shift, watch, splits, whole):
    """Write to ``alike[0]`` the first residue that makes no difference to each one: an interval that lies within one part of every
    split is as good as one at the part's beginning, if it moves to another part as often."""
    extent, before = int(row[EXTENT]), int(row[OLD])
    moved = shift - int(row[BACK])
    for residue in range(modulus):
        sign = 0
        for k in range(len(splits)):
            size = splits[k, 1]
            if splits[k, 0] == split and size < whole and residue % size + extent > size:
                sign = residue
        for w in range(len(watch)):
            if watch[w, 0] == split and watch[w, 1] > 1:
                sign = 2 * sign + changes(residue, extent, moved, before, watch[w, 1], whole)
        one = 0
        while alike[1, one] != sign and one < residue:
            one += 1
        alike[0, residue], alike[1, residue] = one, sign
