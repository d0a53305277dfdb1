"""Classes of one rank's digits: which positions of its loops bring tiles of one form, and how many each stands for.

A rank's loops are the digits of its coordinate. With perfect bounds all tiles have one form (:func:`whole_classes`). An
imperfect bound cuts tiles short only where all digits outside stand at the rank's last coordinate (the *tail*), so that
what matters of a digit is whether it is below its tail, at it or above it. Going from the innermost loop outwards,
:func:`cut_classes` keeps for each class of inner digits what every view of them would be if the digits outside were at the
tail; if they are below it, all is as in the whole class. Equal classes are joined at every loop, so they stay few.
"""

from __future__ import annotations

import numpy as np

from sparseloom.kernel import inlined
from sparseloom.model.nests import BOUND, RANK, STEP, TAIL

TILE, TIME, REST, MERGED, SPREAD, PLACE = range(6)
"""What a loop is to an edge: inside the child's tile; temporal around it, up to the period's end or after; spatial between
parent and child, receivers of one group or of several; spatial outside the parent."""

PLAIN, FIRST, ORIGIN = range(3)
"""What is counted on the side: nothing, first dense visits, receivers whose spatial digits are 0."""

GROUPS, ASIDE, RESIDUE, EXTENT, OLD, BACK, MEMBERS, SIBLINGS, LENGTH, KEPT, SPANS = range(11)
"""Columns of a class: how many groups, and on the side; residue of the tile's first coordinate; extent of the tile, and of the
tile before; how far loops inside the one that advances had gone; receivers of a group; groups that one parent serves at one
step, the sum of their extents, and of what these had in common with those before (-1: as the class has it, or all); from SPANS
on the extents used with each judge's transfer."""

MOST_CLASSES = 256
"""Classes of one rank that are kept apart."""


@inlined
def whole_classes(nest, n, perfect, modulus, role, free, looked, carry, side, indexed, states, classes, uncut, own):
    """Write the classes of each rank whose tiles nothing cuts short to ``own[d]``, one for each residue of its first coordinate
    by ``modulus``, and their number to ``classes``; only of ranks where that is 0.

    Where the modulus is 1, residues do not matter: the tiles of aligned loops do not cross parts, and the advancing loop
    tells which parts change. A rank with one class is ``uncut``: it needs no more than :func:`advance` and
    :func:`come_to_rest` for steps further out.

    Bit k of ``free[i]`` says whether loop i of the ``nest`` varies within the k-th judge's transfer, ``looked[k, d]`` whether
    its extent is wanted. ``carry`` says which steps: those at which loop carry / 2
    advances, if that is whole, which means that temporal digits inside the loop are 0 and its own is 1 or more; else all at
    which the loops inside carry / 2 are at 0 (-1: the first step alone, 2 n + 1: all steps).
    """
    judges = len(looked)
    stale = False
    for d in range(len(classes)):
        if classes[d] == 0 and perfect[d]:
            stale = True
            classes[d] = -1
            for k in range(SPANS + judges):
                own[d, 0, k] = 1.0
            own[d, 0, RESIDUE] = own[d, 0, BACK] = 0.0
            own[d, 0, KEPT] = -1.0
    for i in range(n if stale else 0):
        d = nest[RANK, i]
        if classes[d] >= 0:
            continue
        kind, bound, step = role[i], nest[BOUND, i], nest[STEP, i]
        reach = step * (bound - 1)
        if free[i]:
            for k in range(judges):
                if free[i] >> k & 1 and looked[k, d]:
                    own[d, 0, SPANS + k] += reach
        if kind == TILE:
            own[d, 0, EXTENT] += reach
        elif kind == MERGED:
            own[d, 0, MEMBERS] *= bound
        elif kind != REST:
            if modulus[d] > 1 and step % modulus[d]:
                classes[d] = -2
            if kind == TIME:
                if 2 * i > carry:
                    own[d, 0, BACK] += reach
                else:
                    times = bound - 1 if 2 * i == carry else bound
                    if 2 * i == carry:
                        own[d, 0, RESIDUE] = step
                    own[d, 0, GROUPS] *= times
                    if side != FIRST or indexed[d]:
                        own[d, 0, ASIDE] *= times
            else:
                own[d, 0, GROUPS] *= bound
                if side != ORIGIN:
                    own[d, 0, ASIDE] *= bound
                if kind == SPREAD:
                    own[d, 0, SIBLINGS] *= bound
    for d in range(len(classes)):
        if classes[d] < 0:
            own[d, 0, OLD] = own[d, 0, EXTENT]
            own[d, 0, LENGTH] = own[d, 0, SIBLINGS] * own[d, 0, EXTENT]
            uncut[d] = classes[d] == -1
            classes[d] = 1 if uncut[d] else _by_residue(nest, n, d, role, carry, modulus[d], states, own)


@inlined
def advance(nest, at, side, indexed, own):
    """Turn the class of an uncut rank at all steps at which loops inside ``at``, one of its loops, are at 0 into that of those
    at which ``at`` advances. Where first visits are on the side, a rank that does not index keeps those at ``at`` = 0."""
    d, bound = nest[RANK, at], nest[BOUND, at]
    own[d, 0, GROUPS] = own[d, 0, GROUPS] / bound * (bound - 1)
    own[d, 0, RESIDUE] = nest[STEP, at]
    if side != FIRST or indexed[d]:
        own[d, 0, ASIDE] = own[d, 0, ASIDE] / bound * (bound - 1)


@inlined
def come_to_rest(nest, at, side, indexed, own):
    """Turn the class that :func:`advance` left into that of all steps at which ``at`` and the loops inside it are at 0."""
    d, bound = nest[RANK, at], nest[BOUND, at]
    own[d, 0, GROUPS] /= bound - 1
    own[d, 0, BACK] += nest[STEP, at] * (bound - 1)
    own[d, 0, RESIDUE] = 0.0
    if side != FIRST or indexed[d]:
        own[d, 0, ASIDE] /= bound - 1


@inlined
def is_single(d, projection):
    """Whether a rank is an index of one tensor rank, by itself."""
    found = 0
    for r in range(len(projection)):
        if projection[r, d]:
            found += 1
            for other in range(projection.shape[1]):
                if projection[r, other] != (1 if other == d else 0):
                    return False
    return found == 1


@inlined
def _by_residue(nest, n, d, role, carry, modulus, states, own):
    """Split the only class of a rank by the residue of its first coordinate; returns how many there are, 0 for too many."""
    if modulus > MOST_CLASSES:
        return 0
    now, after = states[0, :, 0], states[1, :, 0]
    now[:modulus] = 0.0
    now[0] = 1.0
    for i in range(n):
        if nest[RANK, i] != d or not (role[i] == TIME or role[i] >= SPREAD):
            continue
        if role[i] == TIME and 2 * i > carry:
            continue
        step, low = nest[STEP, i] % modulus, 1 if role[i] == TIME and 2 * i == carry else 0
        if step == 0:
            continue
        after[:modulus] = 0.0
        digits = nest[BOUND, i] - low
        for residue in range(modulus):
            if now[residue] > 0:
                at = (residue + low * step) % modulus
                for first in range(min(digits, modulus)):
                    after[at] += now[residue] * ((digits - first + modulus - 1) // modulus)
                    at = (at + step) % modulus
        for residue in range(modulus):
            now[residue] = after[residue] / digits
    count = 0
    for residue in range(modulus - 1, -1, -1):
        count += now[residue] > 0
    at = count
    for residue in range(modulus - 1, -1, -1):
        if now[residue] > 0:
            at -= 1
            for k in range(GROUPS, own.shape[2]):
                own[d, at, k] = own[d, 0, k]
            own[d, at, GROUPS] = np.rint(own[d, 0, GROUPS] * now[residue])
            own[d, at, ASIDE] = np.rint(own[d, 0, ASIDE] * now[residue])
            own[d, at, RESIDUE] = residue
    return count


@inlined
def merge_residues(nest, n, d, carry, projection, watch, splits, whole, states, classes, own):
    """Join classes of rank ``d`` that differ in residues which make no difference: an interval that lies within one part of
    every split is as good as one at the part's beginning, if it then moves to another part as often (``watch``). The rank is
    an index of a tensor rank by itself."""
    r = 0
    while not projection[r, d]:
        r += 1
    found = 0
    for c in range(classes[d]):
        residue, extent = int(own[d, c, RESIDUE]), int(own[d, c, EXTENT])
        low = 0
        for k in range(len(splits)):
            size = splits[k, 1]
            if splits[k, 0] == r and size < whole[r] and residue % size + extent > size:
                low = residue
        sign = low
        if carry >= 0 and carry % 2 == 0:
            shift = int((nest[STEP, carry // 2] if nest[RANK, carry // 2] == d else 0) - own[d, c, BACK])
            for w in range(len(watch)):
                if watch[w, 0] == r and watch[w, 1] > 1:
                    moved = changes(residue, extent, shift, int(own[d, c, OLD]), watch[w, 1], whole[r])
                    sign = 2 * sign + (1 if moved else 0)
        into = 0
        while into < found:
            same = states[0, into, 0] == sign
            for k in range(EXTENT, own.shape[2]):
                same = same and own[d, into, k] == own[d, c, k]
            if same:
                break
            into += 1
        if into < found:
            own[d, into, GROUPS] += own[d, c, GROUPS]
            own[d, into, ASIDE] += own[d, c, ASIDE]
        else:
            for k in range(own.shape[2]):
                own[d, found, k] = own[d, c, k]
            states[0, found, 0] = sign
            found += 1
    classes[d] = found


@inlined
def changes(begin, extent, shift, before, step, whole):
    """Whether an interval that was ``before`` long and moved by ``shift`` to ``begin`` is another one in steps of ``step``."""
    if step == 1:
        return shift != 0 or before != extent
    if step >= whole:
        return False
    return (
        begin // step != (begin - shift) // step or (begin + extent - 1) // step != (begin - shift + before - 1) // step
    )


@inlined
def cut_classes(
    nest, order, begin, end, role, free, looked, d, carry, side, indexed, ordered, steps, modulus, states, own
):  # fmt: skip
    """Write the classes of rank ``d`` to ``own[d]`` [MOST_CLASSES, SPANS + K] and return their number, -1 for too many.

    As :func:`whole_classes`; ``order[begin:end]`` are the rank's loops, outermost first. Old tile, siblings and residues
    (modulo ``modulus``) are kept if ``ordered``, ``steps`` and above 1. ``states`` [2, MOST_CLASSES + 1, SPANS + K] is room for
    work.
    """
    now, after = states[0], states[1]
    whole, new = states[0, MOST_CLASSES], states[1, MOST_CLASSES]
    whole[:] = 1.0
    whole[RESIDUE] = whole[BACK] = 0.0
    whole[KEPT] = -1.0
    now[0] = whole
    residues = np.empty((2, modulus))
    count = 1
    for at in range(end - 1, begin - 1, -1):
        i = order[at]
        kind = role[i]
        if kind == TIME or kind >= SPREAD:
            count = _split(
                now, count, whole, nest, i, kind, free, looked, d, carry, side, indexed, ordered, steps, modulus, after, new,
                residues,
            )  # fmt: skip
            if count < 0:
                return -1
            now, after = after, now
        else:
            for c in range(count):
                _vary(now, c, whole, nest, i, kind, free, looked, d)
        _grow(whole, nest, i, kind, free, looked, d, carry)
    found = 0
    moving = carry >= 0 and carry % 2 == 0 and nest[RANK, carry // 2] == d
    for c in range(count):
        if now[c, EXTENT if indexed else MEMBERS] > 0 and now[c, GROUPS] > 0:
            for k in range(RESIDUE, now.shape[1]):
                new[k] = now[c, k]
            if indexed:
                new[MEMBERS] = 1.0
            else:
                new[EXTENT] = new[LENGTH] = 1.0
            if not (indexed and ordered):
                new[OLD] = new[BACK] = 1.0
            new[KEPT] = -1.0
            new[GROUPS] = now[c, GROUPS]
            new[ASIDE] = now[c, ASIDE]
            if modulus == 1:
                new[RESIDUE] = nest[STEP, carry // 2] if moving else 0.0
            found = join(own[d], found, new)
    return found


@inlined
def _grow(whole, nest, i, kind, free, looked, d, carry):
    """Take a loop into the class of tiles that nothing cuts short."""
    bound = nest[BOUND, i]
    reach = nest[STEP, i] * (bound - 1)
    for k in range(len(looked)):
        if free[i] >> k & 1 and looked[k, d]:
            whole[SPANS + k] += reach
    if kind == TILE:
        whole[EXTENT] += reach
        whole[OLD] += reach
        whole[LENGTH] += reach
    elif kind == MERGED:
        whole[MEMBERS] *= bound
    elif kind == SPREAD:
        whole[SIBLINGS] *= bound
        whole[LENGTH] *= bound
    elif kind == TIME and 2 * i > carry:
        whole[BACK] += reach


@inlined
def _furthest(value, whole, step, tail):
    """Extent of a view in which a loop varies, at the tail; 0 if no digit exists."""
    if value > 0:
        return value + tail * step
    return whole + (tail - 1) * step if tail > 0 else 0.0


@inlined
def _vary(now, c, whole, nest, i, kind, free, looked, d):
    """Take a loop that varies within a transfer, or is at 0 when it begins, into a class at the tail."""
    step, tail = nest[STEP, i], nest[TAIL, i]
    for k in range(len(looked)):
        if looked[k, d]:
            if free[i] >> k & 1:
                now[c, SPANS + k] = _furthest(now[c, SPANS + k], whole[SPANS + k], step, tail)
            elif tail > 0:
                now[c, SPANS + k] = whole[SPANS + k]
    if kind == TILE:
        now[c, EXTENT] = _furthest(now[c, EXTENT], whole[EXTENT], step, tail)
        now[c, OLD] = _furthest(now[c, OLD], whole[OLD], step, tail)
        now[c, LENGTH] = _furthest(now[c, LENGTH], whole[LENGTH], step, tail)
    if kind == MERGED:
        now[c, MEMBERS] += tail * whole[MEMBERS]
    elif tail > 0:
        now[c, MEMBERS] = whole[MEMBERS]
    if tail > 0:
        now[c, SIBLINGS] = whole[SIBLINGS]


@inlined
def _split(
    now,
    count,
    whole,
    nest,
    i,
    kind,
    free,
    looked,
    d,
    carry,
    side,
    indexed,
    ordered,
    steps,
    modulus,
    after,
    new,
    residues,
):
    """Write to ``after`` the classes into which a loop of fixed digits splits ``count`` classes: digits below the tail, at it,
    above it. Returns how many there are, -1 for too many."""
    tail, step = nest[TAIL, i], nest[STEP, i]
    low, high = 0, nest[BOUND, i]
    if kind == TIME and 2 * i == carry:
        low = 1
    elif kind == TIME and 2 * i > carry:
        high = 1
    # on the side only digit 0 is counted of loops that repeat what was seen, or of other instances
    zero_only = kind == TIME and not indexed if side == FIRST else side == ORIGIN and kind != TIME
    # below and above the tail, what the inner digits are often makes no difference
    alike = not (steps and kind == SPREAD) and not (indexed and ordered and kind == TIME and 2 * i > carry)
    for k in range(len(looked)):
        alike = alike and not (looked[k, d] and free[i] >> k & 1)
    period = 1
    while modulus > 1 and period * step % modulus:
        period += 1
    found = 0
    for branch in range(-1, 2):
        # below the tail, at it, above it
        start = max(low, tail + branch) if branch >= 0 else low
        end = min(high, tail) if branch < 0 else (min(high, tail + 1) if branch == 0 else high)
        if start >= end:
            continue
        if alike and branch != 0:
            _fix(now[0], whole, branch, nest, i, kind, free, looked, d, carry, indexed, ordered, steps, new)
            residues[:] = 0.0
            for c in range(count):
                residue = int(now[c, RESIDUE])
                for first in range(start, min(end, start + period)):
                    times = (end - first + period - 1) // period
                    at = (residue + first * step) % modulus if modulus > 1 else 0
                    residues[0, at] += now[c, GROUPS] * times
                    residues[1, at] += now[c, ASIDE] * (times if not zero_only else (1 if first == 0 else 0))
            for residue in range(modulus):
                if residues[0, residue] > 0 and found >= 0:
                    new[RESIDUE], new[GROUPS], new[ASIDE] = residue, residues[0, residue], residues[1, residue]
                    found = join(after, found, new)
        else:
            for c in range(count):
                _fix(now[c], whole, branch, nest, i, kind, free, looked, d, carry, indexed, ordered, steps, new)
                for first in range(start, min(end, start + period)):
                    times = (end - first + period - 1) // period
                    new[RESIDUE] = (int(now[c, RESIDUE]) + first * step) % modulus
                    new[GROUPS] = now[c, GROUPS] * times
                    new[ASIDE] = now[c, ASIDE] * (times if not zero_only else (1 if first == 0 else 0))
                    found = join(after, found, new) if found >= 0 else -1
        if found < 0:
            return -1
    return found


@inlined
def _fix(inner, whole, branch, nest, i, kind, free, looked, d, carry, indexed, ordered, steps, new):
    """Write to ``new`` what becomes of a class of ``inner`` digits where loop ``i`` is below the tail (``branch`` -1), at it (0),
    above it (1), but for its counts."""
    tail, step = nest[TAIL, i], nest[STEP, i]
    for k in range(EXTENT, len(new)):
        new[k] = whole[k] if branch < 0 else (inner[k] if branch == 0 else 0.0)
    if not indexed or not ordered:
        new[OLD] = 1.0
        new[BACK] = 0.0
    elif kind == TIME and 2 * i > carry:
        if inner[OLD] > 0:
            new[OLD] = inner[OLD]
            new[BACK] = inner[BACK] + tail * step
        elif tail > 0:
            new[OLD] = whole[OLD]
            new[BACK] = whole[BACK] + (tail - 1) * step
        else:
            new[OLD] = new[BACK] = 0.0
    elif 2 * i == carry and branch == 0:
        new[OLD] = whole[OLD]
        new[BACK] = whole[BACK]
    if not steps:
        new[SIBLINGS] = new[LENGTH] = 1.0
    elif kind == SPREAD:
        new[SIBLINGS] = inner[SIBLINGS] + tail * whole[SIBLINGS]
        new[LENGTH] = inner[LENGTH] + tail * whole[LENGTH]
    if indexed:
        new[MEMBERS] = 1.0
    else:
        new[EXTENT] = new[LENGTH] = 1.0
    new[KEPT] = -1.0
    for k in range(len(looked)):
        if not looked[k, d]:
            new[SPANS + k] = 1.0
        elif free[i] >> k & 1:
            new[SPANS + k] = _furthest(inner[SPANS + k], whole[SPANS + k], step, tail)


@inlined
def join(classes, found, row):
    """Add a class to those found, or its counts to an equal one. Returns how many there are, -1 for too many."""
    for c in range(found):
        same = True
        for k in range(RESIDUE, len(row)):
            if classes[c, k] != row[k]:
                same = False
                break
        if same:
            classes[c, GROUPS] += row[GROUPS]
            classes[c, ASIDE] += row[ASIDE]
            return found
    if found >= MOST_CLASSES:
        return -1
    for k in range(len(row)):
        classes[found, k] = row[k]
    return found + 1
