"""Classes of one rank's digits: which positions of its loops bring tiles of one form, and how many each stands for.

A rank's loops are the digits of its coordinate. With perfect bounds all tiles have one form. An imperfect bound cuts
tiles short only where all digits outside stand at the rank's last coordinate (the *tail*), so that what matters of a
digit is whether it is below its tail, at it or above it. Going from the innermost loop outwards, :func:`rank_classes`
keeps for each class of inner digits what every view of them would be if the digits outside were at the tail; if they are
below it, all is as in a perfect rank. Equal classes are joined at every loop, so they stay few.
"""

from __future__ import annotations

import numpy as np

from sparseloom.model.dataflow import BOUND, STEP, TAIL, kernel

TILE, TIME, REST, MERGED, SPREAD, PLACE = range(6)
"""What a loop is to an edge: inside the child's tile; temporal around it, up to the period's end or after; spatial between
parent and child, receivers of one group or of several; spatial outside the parent."""

PLAIN, FIRST, ORIGIN = range(3)
"""What is counted on the side: nothing, first dense visits, receivers whose spatial digits are 0."""

GROUPS, ASIDE, RESIDUE, EXTENT, OLD, BACK, MEMBERS, SIBLINGS, LENGTH, SPANS = range(10)
"""Columns of a class: how many groups, and on the side; residue of the tile's first coordinate; extent of the tile, and of the
tile before; how far loops inside the one that advances had gone; receivers of a group; groups that one parent serves at one
step, and the sum of their extents; from SPANS on the extents used with each judge's transfer."""

MOST_CLASSES = 96
"""Classes of one rank that are kept apart."""


@kernel
def rank_classes(nest, loops, role, free, judged, carry, side, indexed, ordered, steps, modulus, perfect, states, out):
    """Write the classes of a rank to ``out`` [MOST_CLASSES, SPANS + K] and return their number, -1 for too many.

    ``loops`` are the rank's loops in ``nest``, outermost first; ``free[k, i]`` says whether loop i varies within the k-th
    judge's transfer, ``judged[k]`` whether its extents are wanted. ``carry`` is the loop that advances: inside it
    temporal digits are 0, it is at 1 or more (-1: the first step, the number of loops: all steps). Old tile, siblings and
    residues (modulo ``modulus``) are kept if ``ordered``, ``steps`` and above 1. ``states`` is room for work.
    """
    whole = out[0]
    whole[:] = 1.0
    whole[RESIDUE] = whole[BACK] = 0.0
    exact = perfect
    if modulus > 1:
        for i in loops:
            if role[i] != TILE and role[i] != MERGED and role[i] != REST and nest[STEP, i] % modulus:
                exact = False
    now, after = states[0], states[1]
    count = 1
    if not exact:
        now[0] = whole
    for at in range(len(loops) - 1, -1, -1):
        i = loops[at]
        bound, step, tail, kind = nest[BOUND, i], nest[STEP, i], nest[TAIL, i], role[i]
        low, high = 0, bound
        if kind == TIME and carry < len(nest[BOUND]):
            if i == carry:
                low = 1
            elif i > carry:
                high = 1
        if not exact:
            if kind in (TILE, MERGED, REST):
                for c in range(count):
                    _within(now[c], whole, kind, step, tail, free, judged, i)
                    after[c] = now[c]
                found = count
            else:
                found = 0
                for c in range(count):
                    found = _digits(
                        now[c], whole, i, bound, step, tail, kind, low, high, free, judged, carry, side, indexed,
                        ordered, steps, modulus, after, found,
                    )  # fmt: skip
                    if found < 0:
                        return -1
            now, after = after, now
            count = found
        _grow(whole, i, kind, bound, step, low, high, free, judged, carry, side, indexed)
    if exact:
        _forget(whole, indexed, ordered, steps, judged)
        return 1
    found = 0
    for c in range(count):
        if now[c, EXTENT if indexed else MEMBERS] > 0 and now[c, GROUPS] > 0:
            found = join(after, found, now[c])
    for c in range(found):
        out[c] = after[c]
    return found


@kernel
def _forget(row, indexed, ordered, steps, judged):
    """Set what is not wanted to 1 (or 0), so that it keeps no classes apart."""
    if indexed:
        row[MEMBERS] = 1.0
    else:
        row[EXTENT] = row[LENGTH] = 1.0
    if not (indexed and ordered):
        row[OLD] = 1.0
        row[BACK] = 0.0
    if not steps:
        row[SIBLINGS] = row[LENGTH] = 1.0
    for k in range(len(judged)):
        if not judged[k]:
            row[SPANS + k] = 1.0


@kernel
def _aside(kind, side, indexed):
    """Whether what is counted on the side has digit 0 of such a loop only."""
    if side == FIRST:
        return kind == TIME and not indexed
    return side == ORIGIN and kind != TIME


@kernel
def _grow(whole, i, kind, bound, step, low, high, free, judged, carry, side, indexed):
    """Take a loop into the class of tiles that nothing cuts short."""
    reach = step * (bound - 1)
    for k in range(len(judged)):
        if free[k, i]:
            whole[SPANS + k] += reach
    if kind == TILE:
        whole[EXTENT] += reach
        whole[OLD] += reach
        whole[LENGTH] += reach
    elif kind == MERGED:
        whole[MEMBERS] *= bound
    elif kind != REST:
        whole[GROUPS] *= high - low
        whole[ASIDE] *= high - low if not _aside(kind, side, indexed) else (1 if low == 0 else 0)
        if kind == SPREAD:
            whole[SIBLINGS] *= bound
            whole[LENGTH] *= bound
        elif kind == TIME and i > carry:
            whole[BACK] += reach


@kernel
def _furthest(value, whole, step, tail):
    """Extent of a view in which a loop varies, at the tail; 0 if no digit exists."""
    if value > 0:
        return value + tail * step
    return whole + (tail - 1) * step if tail > 0 else 0.0


@kernel
def _within(row, whole, kind, step, tail, free, judged, i):
    """Take a loop that varies within a transfer, or is at 0 when it begins, into a class at the tail."""
    for k in range(len(judged)):
        if free[k, i]:
            row[SPANS + k] = _furthest(row[SPANS + k], whole[SPANS + k], step, tail)
        elif tail > 0:
            row[SPANS + k] = whole[SPANS + k]
    if kind == TILE:
        row[EXTENT] = _furthest(row[EXTENT], whole[EXTENT], step, tail)
        row[OLD] = _furthest(row[OLD], whole[OLD], step, tail)
        row[LENGTH] = _furthest(row[LENGTH], whole[LENGTH], step, tail)
    if kind == MERGED:
        row[MEMBERS] += tail * whole[MEMBERS]
    elif tail > 0:
        row[MEMBERS] = whole[MEMBERS]
    if tail > 0:
        row[SIBLINGS] = whole[SIBLINGS]


@kernel
def _digits(
    row, whole, i, bound, step, tail, kind, low, high, free, judged, carry, side, indexed, ordered, steps, modulus, into, found
):  # fmt: skip
    """The classes ``into`` which a loop of fixed digits splits a class: digits below the tail, at it, above it."""
    new = np.empty_like(row)
    zero_only = _aside(kind, side, indexed)
    for branch in range(3):
        start = low if branch == 0 else max(low, tail + (branch - 1))
        end = min(high, tail) if branch == 0 else (min(high, tail + 1) if branch == 1 else high)
        if start >= end:
            continue
        new[:] = row
        if branch == 0:
            new[RESIDUE + 1 :] = whole[RESIDUE + 1 :]
        elif branch == 2:
            new[RESIDUE + 1 :] = 0.0
        if kind == TIME and i > carry:
            if row[OLD] > 0:
                new[OLD] = row[OLD]
                new[BACK] = row[BACK] + tail * step
            elif tail > 0:
                new[OLD] = whole[OLD]
                new[BACK] = whole[BACK] + (tail - 1) * step
            else:
                new[OLD] = new[BACK] = 0.0
        elif i == carry and branch == 1:
            new[OLD] = whole[OLD]
            new[BACK] = whole[BACK]
        if kind == SPREAD:
            new[SIBLINGS] = row[SIBLINGS] + tail * whole[SIBLINGS]
            new[LENGTH] = row[LENGTH] + tail * whole[LENGTH]
        for k in range(len(judged)):
            if free[k, i]:
                new[SPANS + k] = _furthest(row[SPANS + k], whole[SPANS + k], step, tail)
        _forget(new, indexed, ordered, steps, judged)
        period = 1
        while period * step % modulus:
            period += 1
        for first in range(start, min(end, start + period)):
            times = (end - first + period - 1) // period
            new[RESIDUE] = (row[RESIDUE] + first * step) % modulus
            new[GROUPS] = row[GROUPS] * times
            new[ASIDE] = row[ASIDE] * (times if not zero_only else (1 if first == 0 else 0))
            found = join(into, found, new)
            if found < 0:
                return -1
    return found


@kernel
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
    if found == len(classes):
        return -1
    classes[found] = row
    return found + 1
