"""Classes of a tensor rank whose receivers differ: one by one for each sort of step.

Where bounds are imperfect, receivers of one parent may hold their tile already while others get a new one, and windows of
several ranks (p + r) may be equal or not. Then the receivers of a step are listed. Steps are few sorts: what matters of the
digits that all receivers share is where, from the outermost in, they first leave the rank's tail, and to which side. So are
receivers, by the digits that they do not share, where only one rank spreads them and it is not split.
"""

from __future__ import annotations

import numpy as np

from sparseloom.kernel import inlined
from sparseloom.model.digits import (
    ASIDE,
    BACK,
    EXTENT,
    GROUPS,
    KEPT,
    LENGTH,
    MEMBERS,
    OLD,
    PLACE,
    RESIDUE,
    SIBLINGS,
    SPREAD,
    TILE,
    TIME,
    join,
)
from sparseloom.model.nests import BOUND, RANK, STEP, TAIL

MOST_SORTS = 512
"""Sorts of steps of one rank."""
MOST_RECEIVERS = 1024
"""Receivers that one rank spreads over."""

EXISTS, OFFSET, TILE_EXTENT, OLD_OFFSET, OLD_EXTENT, MULTIPLE, ALIKE = range(7)
"""What is kept of a receiver of some sort of step: whether it exists; where its interval and the one before begin, from what all
receivers share; their extents; how many receivers are ALIKE. In place of a receiver's OFFSET and beyond, of a group in the same
columns, MULTIPLE receivers."""


@inlined
def main_rank(r, projection, looked):
    """The rank that stands for all that index tensor rank ``r`` when its receivers are listed; -1 if they cannot be."""
    main = -1
    for d in range(projection.shape[1]):
        if projection[r, d]:
            for k in range(len(looked)):
                if looked[k, d]:
                    return -1
            if (projection[:, d] != 0).sum() > 1:
                return -1
            if projection[r, d] == 1 and main < 0:
                main = d
    return main if (projection[r] != 0).sum() <= 2 else -1


@inlined
def listed_classes(
    nest, order, begin, r, main, projection, role, carry, merge, steps, part, sorts, lists, classes, own
):
    """Write the classes of tensor rank ``r`` to ``own[main]``, as if it were that rank's alone; returns whether they fit.

    ``sorts`` [2, MOST_SORTS, 2] and ``lists`` [3, MOST_SORTS, MOST_RECEIVERS, ALIKE + 1] are room for work. Other terms are
    those of :func:`sparseloom.model.digits.cut_classes`.
    """
    old = carry >= 0 and carry % 2 == 0
    other = main
    for d in range(projection.shape[1]):
        if projection[r, d] and d != main:
            other = d
            for k in range(own.shape[2]):
                own[d, 0, k] = 1.0
            own[d, 0, RESIDUE] = 0.0
            own[d, 0, KEPT] = -1.0
            own[d, 0, BACK] = nest[STEP, carry // 2] if old and nest[RANK, carry // 2] == d else 0
            classes[d] = 1
    lumped = other == main and part == 1
    count0, spread0 = _list_rank(
        nest, order, begin[main], begin[main + 1], role, carry, part, lumped, sorts[0], lists[0]
    )
    count1, spread1 = 1, 1
    factor = 0
    if other != main:
        factor = projection[r, other]
        count1, spread1 = _list_rank(
            nest, order, begin[other], begin[other + 1], role, carry, part, False, sorts[1], lists[1]
        )
    else:
        sorts[1, 0, 0], sorts[1, 0, 1] = 1, 0
        lists[1, 0, 0, :] = 0
        lists[1, 0, 0, EXISTS] = lists[1, 0, 0, TILE_EXTENT] = lists[1, 0, 0, OLD_EXTENT] = lists[1, 0, 0, ALIKE] = 1
    if count0 < 0 or count1 < 0 or spread0 * spread1 > MOST_RECEIVERS:
        return False
    found = 0
    row, groups = own[main, own.shape[1] - 1], lists[2, 0]
    moved = nest[STEP, carry // 2] if old and nest[RANK, carry // 2] == main else 0
    for a in range(count0):
        for b in range(count1):
            number = _list_groups(lists[0, a], spread0, lists[1, b], spread1, factor, merge and factor > 0, old, groups)
            siblings = length = held = 0
            for g in range(number):
                siblings += groups[g, ALIKE]
                length += groups[g, ALIKE] * groups[g, TILE_EXTENT]
                held += groups[g, ALIKE] * _common(groups, g) if old else 0
            base = sorts[0, a, 1] + factor * sorts[1, b, 1]
            for g in range(number):
                row[:] = 1.0
                row[GROUPS] = row[ASIDE] = float(sorts[0, a, 0]) * sorts[1, b, 0] * groups[g, ALIKE]
                row[RESIDUE] = (base + groups[g, OFFSET]) % part
                row[EXTENT] = groups[g, TILE_EXTENT]
                row[BACK] = 0.0
                row[MEMBERS] = groups[g, MULTIPLE]
                row[KEPT] = -1.0
                if old:
                    row[OLD] = groups[g, OLD_EXTENT]
                    row[BACK] = moved - (groups[g, OFFSET] - groups[g, OLD_OFFSET])
                if steps:
                    row[SIBLINGS], row[LENGTH], row[KEPT] = siblings, length, held
                found = join(own[main], found, row)
                if found < 0:
                    return False
    classes[main] = found
    return True


@inlined
def _common(groups, g):
    low = max(groups[g, OFFSET], groups[g, OLD_OFFSET])
    high = min(groups[g, OFFSET] + groups[g, TILE_EXTENT], groups[g, OLD_OFFSET] + groups[g, OLD_EXTENT])
    return max(0, high - low)


@inlined
def _list_groups(first, spread0, second, spread1, factor, merge, old, groups):
    """The groups of the receivers that two ranks spread over: those with equal intervals now and before, if ``merge``."""
    number = 0
    for s in range(spread0):
        for t in range(spread1 if first[s, EXISTS] else 0):
            if not second[t, EXISTS]:
                continue
            offset = first[s, OFFSET] + factor * second[t, OFFSET]
            extent = first[s, TILE_EXTENT] + factor * (second[t, TILE_EXTENT] - 1)
            before = first[s, OLD_OFFSET] + factor * second[t, OLD_OFFSET]
            had = first[s, OLD_EXTENT] + factor * (second[t, OLD_EXTENT] - 1)
            if not old:
                before = had = 0
            g = 0
            while merge and g < number:
                same = groups[g, OFFSET] == offset and groups[g, TILE_EXTENT] == extent
                if same and groups[g, OLD_OFFSET] == before and groups[g, OLD_EXTENT] == had:
                    break
                g += 1
            if merge and g < number:
                groups[g, MULTIPLE] += 1
                continue
            groups[number, OFFSET], groups[number, TILE_EXTENT] = offset, extent
            groups[number, OLD_OFFSET], groups[number, OLD_EXTENT] = before, had
            groups[number, MULTIPLE], groups[number, ALIKE] = 1, first[s, ALIKE] * second[t, ALIKE]
            number += 1
    return number


@inlined
def _list_rank(nest, order, begin, end, role, carry, part, lumped, sorts, lists):
    """The sorts of steps of one rank: for each how many steps and the residue of what receivers share (``sorts``), and its
    receivers (``lists``), of those that are alike one if they are ``lumped``. Returns how many sorts and receivers, -1 for too
    many."""
    receivers = 1
    for at in range(begin, end):
        if role[order[at]] == SPREAD:
            receivers *= nest[BOUND, order[at]]
    if receivers > MOST_RECEIVERS:
        return -1, receivers
    chosen = np.empty((2, 2 * (end - begin) + 1 if lumped else receivers), np.int64)
    receivers = _choose(nest, order, begin, end, role, receivers, lumped, chosen)
    found = 0
    residue = 0
    for at in range(begin, end + 1):
        if at == end:
            found = _add_sort(
                nest, order, begin, end, role, carry, part, end, 0, 1, residue, receivers, chosen, found, sorts, lists
            )
            break
        i = order[at]
        if not (role[i] == TIME or role[i] == PLACE) or (role[i] == TIME and 2 * i > carry):
            continue
        low, high, tail = 1 if role[i] == TIME and 2 * i == carry else 0, nest[BOUND, i], nest[TAIL, i]
        for side in range(2):
            start, stop = (low, min(high, tail)) if side == 0 else (max(low, tail + 1), high)
            if start < stop:
                found = _add_sort(
                    nest, order, begin, end, role, carry, part, at, start, stop - start, residue, receivers, chosen, found,
                    sorts, lists,
                )  # fmt: skip
            if found < 0:
                return -1, receivers
        if not low <= tail < high:
            break
        residue = (residue + tail * nest[STEP, i]) % part
    return found, receivers


@inlined
def _choose(nest, order, begin, end, role, receivers, lumped, chosen):
    """Write to ``chosen`` [2, N] the numbers of the receivers that are listed and how many are like each; returns how many there
    are. Those are alike whose digits leave the tail at the same loop to the same side."""
    if not lumped:
        for s in range(receivers):
            chosen[0, s], chosen[1, s] = s, 1
        return receivers
    found = number = 0
    inside = receivers
    for at in range(begin, end):
        i = order[at]
        if role[i] == SPREAD:
            inside //= nest[BOUND, i]
            if nest[TAIL, i] > 0:
                chosen[0, found], chosen[1, found] = number, nest[TAIL, i] * inside
                found += 1
            if nest[TAIL, i] < nest[BOUND, i] - 1:
                last = nest[BOUND, i] - 1
                chosen[0, found], chosen[1, found] = number + last * inside, (last - nest[TAIL, i]) * inside
                found += 1
            number += nest[TAIL, i] * inside
    chosen[0, found], chosen[1, found] = number, 1
    return found + 1


@inlined
def _add_sort(
    nest, order, begin, end, role, carry, part, leaves, start, times, residue, receivers, chosen, found, sorts,
    lists,
):  # fmt: skip
    """Add the sort of steps whose digits leave the tail at loop ``order[leaves]``, having one of ``times`` digits from ``start`` on
    there, and any further in; one sort for each residue by ``part``."""
    first = found
    if found >= MOST_SORTS:
        return -1
    for s in range(receivers):
        _receiver(nest, order, begin, end, role, carry, leaves, start, chosen[0, s], lists[first, s])
        lists[first, s, ALIKE] = chosen[1, s]
    # how many steps have each residue, by the digits that are left open, from the outermost in
    now, after = np.zeros(part, np.int64), np.zeros(part, np.int64)
    now[residue] = 1
    for at in range(leaves, end):
        i = order[at]
        if not (role[i] == TIME or role[i] == PLACE) or (role[i] == TIME and 2 * i > carry):
            continue
        low = start if at == leaves else (1 if role[i] == TIME and 2 * i == carry else 0)
        count = times if at == leaves else nest[BOUND, i] - low
        step = nest[STEP, i] % part
        if step == 0:
            now *= count
            continue
        period = 1
        while period * step % part:
            period += 1
        after[:] = 0
        for r in range(part):
            for digit in range(min(count, period) if now[r] > 0 else 0):
                after[(r + (low + digit) * step) % part] += now[r] * ((count - digit + period - 1) // period)
        now, after = after, now
    for r in range(part):
        if now[r] > 0:
            if found >= MOST_SORTS:
                return -1
            sorts[found, 0], sorts[found, 1] = now[r], r
            for s in range(receivers if found > first else 0):
                for k in range(lists.shape[2]):
                    lists[found, s, k] = lists[first, s, k]
            found += 1
    return found


@inlined
def _receiver(nest, order, begin, end, role, carry, leaves, start, number, entry):
    """Write receiver ``number`` at steps of a sort to ``entry``."""
    last = low = offset = 0
    for at in range(end - 1, begin - 1, -1):
        i = order[at]
        last += nest[TAIL, i] * nest[STEP, i]
        digit = 0
        if role[i] == SPREAD:
            digit = number % nest[BOUND, i]
            number //= nest[BOUND, i]
            offset += digit * nest[STEP, i]
        elif (role[i] == TIME and 2 * i <= carry) or role[i] == PLACE:
            digit = nest[TAIL, i] if at < leaves else (start if at == leaves else (1 if 2 * i == carry else 0))
        low += digit * nest[STEP, i]
    entry[EXISTS] = 1 if low <= last else 0
    old = low
    for at in range(begin, end):
        i = order[at]
        if 2 * i == carry and role[i] == TIME:
            old -= nest[STEP, i]
    for at in range(begin, end if entry[EXISTS] else begin):
        i = order[at]
        if role[i] == TIME and 2 * i > carry:
            old += min(nest[BOUND, i] - 1, (last - old) // nest[STEP, i]) * nest[STEP, i]
    entry[OFFSET] = offset
    entry[OLD_OFFSET] = offset - (low - old)
    entry[TILE_EXTENT] = _reach(nest, order, begin, end, role, low, last) - low + 1
    entry[OLD_EXTENT] = _reach(nest, order, begin, end, role, old, last) - old + 1


@inlined
def _reach(nest, order, begin, end, role, low, last):
    """The largest coordinate, ``last`` at most, of the tile that begins at ``low``."""
    reach = low
    for at in range(begin, end if low <= last else begin):
        i = order[at]
        if role[i] == TILE:
            reach += min(nest[BOUND, i] - 1, (last - reach) // nest[STEP, i]) * nest[STEP, i]
    return reach
