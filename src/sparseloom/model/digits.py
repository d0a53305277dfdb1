"""Classes of one rank's digits: which positions of its loops bring tiles of one form, and how many each stands for.

A rank's loops are the digits of its coordinate. With perfect bounds all tiles have one form, and here is how it changes from
one advancing loop to the next; what imperfect bounds make of them is in :mod:`sparseloom.model.tails`.
"""

from __future__ import annotations

from sparseloom.kernel import inlined
from sparseloom.model.nests import BOUND, RANK, STEP

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
def whole_classes(nest, n, perfect, modulus, role, free, looked, carry, side, indexed, classes, uncut, own):
    """Write the class of each rank whose tiles nothing cuts short to ``own[d]`` and 1 to ``classes``, only of ranks where that is 0
    and which have one: all whose first coordinate has one residue by ``modulus``.

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
            classes[d] = 1 if uncut[d] else 0


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
def sole_axis(d, projection):
    """The tensor rank of which a rank is the index by itself, -1 if there is none or it is of several."""
    found = -1
    for r in range(len(projection)):
        if projection[r, d]:
            for other in range(projection.shape[1]):
                if found >= 0 or projection[r, other] != (1 if other == d else 0):
                    return -1
            found = r
    return found


@inlined
def changes(begin, extent, shift, before, step, whole):
    """Whether an interval that was ``before`` long and moved by ``shift`` to ``begin`` is another one in steps of ``step``."""
    if step == 1:
        return shift != 0 or before != extent
    if step >= whole or (shift == 0 and before == extent):
        return False
    first, last = begin % step - shift, (begin + extent - 1) % step - (extent + shift - before)
    return first < 0 or first >= step or last < 0 or last >= step


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
