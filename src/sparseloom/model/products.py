"""The classes of a mapping's transfers, as products of the classes of its ranks, compiled.

For each loop that advances, every combination of one class of each rank is a class of transfers; equal ones are joined. What
the arguments mean is said in :class:`sparseloom.model.task.Task` and :func:`emit_batch`.
"""

from __future__ import annotations

import numpy as np

from sparseloom.kernel import borrowed, inlined, kernel
from sparseloom.model.digits import (
    ASIDE,
    BACK,
    EXTENT,
    FIRST,
    GROUPS,
    KEPT,
    LENGTH,
    MEMBERS,
    MOST_CLASSES,
    OLD,
    RESIDUE,
    SIBLINGS,
    SPANS,
    SPREAD,
    TIME,
    advance,
    changes,
    come_to_rest,
    sole_axis,
    whole_classes,
)
from sparseloom.model.nests import BOUND, RANK, STEP, set_by_rank
from sparseloom.model.receivers import ALIKE, MOST_RECEIVERS, MOST_SORTS, listed_classes, main_rank
from sparseloom.model.roles import always_moves, needs_order, outwards, set_roles, settles, sliding_ranks
from sparseloom.model.tails import cut_classes
from sparseloom.model.task import MOST_ROWS

ROW_GROUPS, ROW_ASIDE, ROW_RECEIVERS, ROW_POINTS = range(4)
"""What is counted of a row: groups, those on the side, receivers of a group, points of a step."""


@kernel
def emit_batch(
    some, loops, count, perfect, aligned, projection, indexed, window, parent, child, levels, merge, judges,
    looked, watch, splits, parts, modulus, whole, side, steps, before, counts, table, done, used, irregular,
):  # fmt: skip
    """Write the classes of mappings ``some`` to columns of ``counts`` [4, N] (see ROW_GROUPS) and ``table`` [:, N], as far as
    there is room; returns how many mappings are done and columns used. Every mapping has at least one.

    It begins with mapping ``done`` of those and column ``used``. A column of ``table``: extents [R], common extents [R], low [R],
    changed [W], spans [K, D], number of the mapping among ``some``.
    """
    ranks, dims = projection.shape
    columns, slots = SPANS + len(judges), loops.shape[2]
    # room to work in: classes of each rank, states of cut_classes; of each rank how many classes and which one is chosen; what
    # each loop is; the loops of each rank; how a row's box moves, and the row; hashed rows; sorts and lists of listed_classes
    own, states = np.empty((dims, MOST_CLASSES + 1, columns)), np.empty((3, MOST_CLASSES + 3, columns))
    masks, residues = np.empty((4, MOST_CLASSES), np.int64), np.empty((slots + 3, 2, modulus.max()))
    classes, chosen = np.empty(dims, np.int64), np.empty(dims, np.int64)
    role, free = np.empty(slots, np.int64), np.empty(slots, np.int64)
    order, begin = np.empty(slots, np.int64), np.empty(dims + 1, np.int64)
    moves, row = np.empty((2, ranks), np.int64), np.empty(len(table), np.int64)
    hashed = np.full(2 * MOST_ROWS, -1, np.int32)
    terms, within = _terms(projection)
    kept = MOST_SORTS if not perfect.all() and (steps or window.any()) else 1
    sorts, lists = np.empty((2, kept, 2), np.int64), np.empty((3, kept, MOST_RECEIVERS, ALIKE + 1), np.int64)
    return _emit(
        some, loops, count, perfect, aligned, projection, indexed, window, parent, child, levels, merge, judges,
        looked, watch, splits, parts, modulus, whole, side, steps, before, counts, table, done, used, irregular, own, states, masks,
        residues, classes, chosen, role, free, order, begin, moves, row, hashed, sorts, lists, terms, within,
    )  # fmt: skip


@kernel
def _emit(
    some, loops, count, perfect, aligned, projection, indexed, window, parent, child, levels, merge, judges,
    looked, watch, splits, parts, modulus, whole, side, steps, before, counts, table, done, used, irregular, own, states, masks,
    residues, classes, chosen, role, free, order, begin, moves, row, hashed, sorts, lists, terms, within,
):  # fmt: skip
    """As :func:`emit_batch`, which owns the room: what is borrowed has to be another's."""
    dims, sliding = len(indexed), sliding_ranks(projection, window)
    hold, split = child < levels, (window & (parts > 1)).any()
    settled, mains = np.zeros(len(watch) + 1, np.bool_), np.empty(len(window), np.int64)
    uncut, unit, split_of = np.zeros(dims, np.bool_), np.empty(dims, np.int64), np.empty(dims, np.int64)
    for d in range(dims):
        split_of[d] = sole_axis(d, projection)
    loops, count, perfect, aligned = borrowed(loops), borrowed(count), borrowed(perfect), borrowed(aligned)
    projection, indexed, window = borrowed(projection), borrowed(indexed), borrowed(window)
    judges, looked, watch, splits = borrowed(judges), borrowed(looked), borrowed(watch), borrowed(splits)
    parts, modulus, whole = borrowed(parts), borrowed(modulus), borrowed(whole)
    own, states, classes, chosen = borrowed(own), borrowed(states), borrowed(classes), borrowed(chosen)
    masks, residues = borrowed(masks), borrowed(residues)
    role, free, order, begin = borrowed(role), borrowed(free), borrowed(order), borrowed(begin)
    moves, hashed = borrowed(moves), borrowed(hashed)
    counts, table, sorts, lists = borrowed(counts), borrowed(table), borrowed(sorts), borrowed(lists)
    row, terms, within = borrowed(row), borrowed(terms), borrowed(within)
    for place in range(done, len(some)):
        b = some[place]
        nest, n = loops[b], count[b]
        start = used
        fits = set_roles(nest, n, indexed, parent, child, levels, merge, judges, role, free)
        ordered = before and (len(watch) > 0 or needs_order(nest, n, perfect[b], indexed, sliding, role))
        alike, share, by_window = _share_and_lists(
            nest, n, projection, window, within, perfect[b], role, looked, judges, split, merge, hold, ordered, steps, mains
        )  # fmt: skip
        fits = fits and alike
        set_by_rank(nest, n, order, begin)
        classes[:] = 0
        settled[:] = uncut[:] = False
        for d in range(dims):
            unit[d] = 1 if split_of[d] >= 0 and aligned[b, d] else modulus[d]
        at = outwards(role, n) if ordered else -1
        while fits:
            carry = 2 * at if at >= 0 else -1 if ordered else 2 * n + 1
            if (
                at >= 0
                and settles(nest, n, at, role, perfect[b], projection, window, watch, whole, hold, settled)
                and not by_window
            ):
                carry += 1
            moving = nest[RANK, at] if at >= 0 and carry % 2 == 0 else -1
            if moving >= 0 and uncut[moving]:
                advance(nest, at, side, indexed, own)
            fits = _set_classes(
                nest, n, order, begin, perfect[b], projection, indexed, mains, role, free, looked, watch, splits, parts,
                whole, merge, carry, side, ordered, steps, unit, split_of, states, masks, residues, classes, uncut, own,
                sorts, lists,
            )  # fmt: skip
            if fits:
                used = _multiply(
                    nest, n, terms, indexed, watch, splits, parts, whole, carry, side, hold, ordered, steps, share, counts,
                    table, start, used, place, own, classes, chosen, moves, row, hashed,
                )  # fmt: skip
                if used == table.shape[1]:
                    return place, start
                fits = used - start <= MOST_ROWS
            if moving < 0:
                break
            if uncut[moving]:
                come_to_rest(nest, at, side, indexed, own)
            else:
                classes[moving] = 0
            at = outwards(role, at)
            if at >= 0 and not uncut[nest[RANK, at]]:
                classes[nest[RANK, at]] = 0
        if not fits:
            irregular[b] = True
            used = start
        if used == start:
            counts[:, used] = 0.0
            table[:, used] = 0
            table[len(table) - 1, used] = place
            used += 1
    return len(some), used


@kernel
def _terms(projection):
    """The nonzero coefficients of a tensor's index, rank by rank: tensor rank, iteration rank, coefficient [3, T]; and the
    iteration ranks of each tensor rank as bits, [R]."""
    at = np.nonzero(projection)
    terms, within = np.empty((3, len(at[0])), np.int64), np.zeros(len(projection), np.int64)
    for k in range(len(at[0])):
        r, d = at[0][k], at[1][k]
        terms[0, k], terms[1, k], terms[2, k] = r, d, projection[r, d]
        within[r] |= 1 << d
    return terms, within


@inlined
def _share_and_lists(
    nest, n, projection, window, within, perfect, role, looked, judges, split, merge, hold, ordered, steps, mains
):  # fmt: skip
    """Set the main rank in ``mains`` of tensor ranks whose receivers are listed. Returns whether that fits the form, groups over
    receivers (see :func:`_merged_share`), and whether a window is listed."""
    mains[:] = -1
    spread = back = uneven = 0
    for i in range(n):
        spread |= (role[i] == SPREAD) << nest[RANK, i]
        # receivers beyond the tail of this loop keep what they had at the step before: the same as at the next, if that was at 0
        back |= (role[i] == TIME and not always_moves(nest, n, i, role)) << nest[RANK, i]
    for d in range(len(perfect)):
        uneven |= (not perfect[d]) << d
    fits, by_window, share = True, False, 1.0
    if spread == 0:
        return fits, share, by_window
    if merge:
        share = _merged_share(nest, n, projection, window, within, spread, mains, role)
    if uneven:
        for r in range(len(window)):
            if not (within[r] & spread and within[r] & uneven):
                continue
            slides = window[r] and (steps or share < 1.0)
            if slides or (steps and ordered and hold and within[r] & back & uneven):
                mains[r] = main_rank(r, projection, looked)
                fits = fits and mains[r] >= 0 and (hold or not ordered)
                by_window = by_window or (window[r] and mains[r] >= 0)
    if share < 1.0:
        share = _merged_share(nest, n, projection, window, within, spread, mains, role)
        fits = fits and (share == 1.0 or (len(judges) == 0 and not split))
    return fits, share, by_window


@inlined
def _set_classes(
    nest, n, order, begin, perfect, projection, indexed, mains, role, free, looked, watch, splits, parts, whole, merge, carry,
    side, ordered, steps, unit, split_of, states, masks, residues, classes, uncut, own, sorts, lists,
):  # fmt: skip
    """Write the classes of every rank that has none yet at the steps of ``carry``; returns whether there is room for all. Those of
    ``uncut`` ranks have to be of these steps already."""
    fits = True
    for r in range(len(mains)):
        if mains[r] >= 0 and fits and (carry < 0 or _is_stale(r, projection, classes)):
            fits = listed_classes(
                nest, order, begin, r, mains[r], projection, role, carry, merge, steps, parts[r], sorts, lists, classes, own
            )  # fmt: skip
    if not fits:
        return False
    whole_classes(nest, n, perfect, unit, role, free, looked, carry, side, indexed, classes, uncut, own)
    for d in range(len(indexed)):
        if classes[d] == 0:
            classes[d] = cut_classes(
                nest, order, begin[d], begin[d + 1], role, free, looked, d, carry, side, indexed[d], ordered, steps, unit[d],
                split_of[d], watch, splits, whole, states, masks, residues, own,
            )  # fmt: skip
            if classes[d] < 0:
                return False
    return True


@inlined
def _is_stale(r, projection, classes):
    """Whether the classes of some rank in the index of tensor rank ``r`` have to be made."""
    stale = False
    for d in range(len(classes)):
        stale = stale or (projection[r, d] != 0 and classes[d] == 0)
    return stale


@inlined
def _merged_share(nest, n, projection, window, within, spread, mains, role):
    """Groups over receivers, for tensor ranks whose intervals several receivers have in common (p + r), unless they are listed."""
    share = 1.0
    for r in range(len(window)):
        several = within[r] & spread
        if not window[r] or mains[r] >= 0 or not several & (several - 1):
            continue
        reach, members, loops = 0, 1, 0
        stride, bound = np.int64(0), np.int64(1)
        apart = 0
        for i in range(n):
            if role[i] == SPREAD and projection[r, nest[RANK, i]]:
                one = projection[r, nest[RANK, i]] * nest[STEP, i]
                if loops == 1:
                    # i s + j t is met again at i + t / g and j - s / g, g their greatest common divisor
                    both = _gcd(stride, one)
                    again = max(0, bound - one // both) * max(0, nest[BOUND, i] - stride // both)
                    apart = bound * nest[BOUND, i] - again
                stride, bound = one, nest[BOUND, i]
                reach += one * (bound - 1)
                members *= bound
                loops += 1
        share *= (apart if loops == 2 else _sums(nest, n, r, projection, role, reach)) / members
    return share


@inlined
def _gcd(a, b):
    while b:
        a, b = b, a % b
    return a


@inlined
def _sums(nest, n, r, projection, role, reach):
    """Different values, ``reach`` at most, of tensor rank ``r``'s index over the loops that spread it."""
    seen = np.zeros(reach + 1, np.bool_)
    seen[0] = True
    for i in range(n):
        if role[i] == SPREAD and projection[r, nest[RANK, i]]:
            stride = projection[r, nest[RANK, i]] * nest[STEP, i]
            for at in range(reach, -1, -1):
                for k in range(1, nest[BOUND, i]):
                    if at - k * stride >= 0 and seen[at - k * stride]:
                        seen[at] = True
    return seen.sum()


@inlined
def _multiply(
    nest, n, terms, indexed, watch, splits, parts, whole, carry, side, hold, ordered, steps, share, counts, table, start,
    used, place, own, classes, chosen, moves, row, hashed,
):  # fmt: skip
    """Write the classes of the steps of ``carry``: every combination of one class of each rank."""
    ranks, dims = len(whole), len(indexed)
    judges = own.shape[2] - SPANS
    old = carry >= 0 and carry % 2 == 0
    moving, stride = (nest[RANK, carry // 2], nest[STEP, carry // 2]) if old else (-1, 0)
    visited = old and side == FIRST and not indexed[moving]
    low = 2 * ranks
    spans = 3 * ranks + len(watch)
    combinations = 1
    for d in range(dims):
        chosen[d] = 0
        combinations *= classes[d]
    row[len(row) - 1] = place
    for _ in range(combinations):
        if used + 1 >= table.shape[1]:
            return table.shape[1]
        groups = aside = members = siblings = 1.0
        for d in range(dims):
            one = own[d, chosen[d]]
            groups *= one[GROUPS]
            aside *= one[ASIDE]
            members *= one[MEMBERS]
            siblings *= 1.0 if indexed[d] else one[SIBLINGS]
            for k in range(judges):
                row[spans + k * dims + d] = int(one[SPANS + k])
        for r in range(ranks):
            moves[0, r] = moves[1, r] = 0
            row[r] = 1
            row[low + r] = 0
        for k in range(terms.shape[1]):
            r, d, factor = terms[0, k], terms[1, k], terms[2, k]
            one = own[d, chosen[d]]
            row[r] += factor * (int(one[EXTENT]) - 1)
            if parts[r] > 1:
                row[low + r] += factor * int(one[RESIDUE])
            if ordered:
                moves[0, r] += factor * ((stride if moving == d else 0) - int(one[BACK]))
                moves[1, r] += factor * (int(one[OLD]) - 1)
        _finish(row, ranks, old, hold, moves, watch, splits, parts, whole)
        points = 0.0
        if steps:
            points = siblings * share * _step_points(row, terms, own, chosen, moves, ranks, old and hold)
        used = _add_row(
            counts, table, row, groups * share, 0.0 if visited else aside * share, members / share, points, start, used, hashed,
            combinations > 1 or ordered,
        )  # fmt: skip
        if combinations == 1:
            return used
        d = 0
        while d < dims:
            chosen[d] += 1
            if chosen[d] < classes[d]:
                break
            chosen[d] = 0
            d += 1
    return used


@inlined
def _finish(row, ranks, old, hold, moves, watch, splits, parts, whole):
    """Complete a row: the common extents of new and old box, none if they are disjoint or nothing is held; which intervals
    changed; and the low corner, 0 where the interval lies in one part of every split. ``moves`` [2, R] are how far the box
    moved and its last coordinate before."""
    low = 2 * ranks
    shared = old and hold
    for r in range(ranks):
        if shared:
            row[ranks + r] = common_extent(row[r], moves[1, r] + 1, moves[0, r])
            shared = row[ranks + r] > 0
        row[low + r] = row[low + r] % parts[r] if parts[r] > 1 else 0
    if not shared:
        for r in range(ranks):
            row[ranks + r] = 0
    for w in range(len(watch)):
        r, step = watch[w, 0], watch[w, 1]
        changed = True
        if old:
            changed = changes(row[low + r], row[r], moves[0, r], moves[1, r] + 1, step, whole[r])
        row[low + ranks + w] = 1 if changed else 0
    for r in range(ranks):
        row[low + r] = part_begin(row[low + r], row[r], r, splits, whole)


@inlined
def common_extent(extent, before, shift):
    """What an interval has in common with one that was ``before`` long and moved by ``shift``."""
    return max(0, min(extent, before - shift) - max(0, -shift))


@inlined
def part_begin(low, extent, r, splits, whole):
    """The residue at which an interval of tensor rank ``r`` begins, 0 where it lies in one part of every split."""
    inside = True
    for k in range(len(splits) if low > 0 else 0):
        if splits[k, 0] == r and splits[k, 1] < whole[r]:
            inside = inside and low % splits[k, 1] + extent <= splits[k, 1]
    return 0 if inside else low


@inlined
def _step_points(row, terms, own, chosen, moves, ranks, holds):
    """Points that all receivers of one parent instance get at a step, for tensor ranks whose receivers differ."""
    new = held = 1.0
    at = 0
    for r in range(ranks):
        members, added, kept = 1.0, 0.0, -1.0
        while at < terms.shape[1] and terms[0, at] == r:
            one = own[terms[1, at], chosen[terms[1, at]]]
            members *= one[SIBLINGS]
            added += terms[2, at] * (one[LENGTH] / one[SIBLINGS] - 1.0)
            kept = max(kept, one[KEPT])
            at += 1
        length = np.rint(members * (1.0 + added))
        new *= length
        if holds:
            common = common_extent(row[r], moves[1, r] + 1, moves[0, r])
            held *= kept if kept >= 0 else length if common == row[r] else members * common
    return new - (held if holds else 0.0)


@inlined
def _add_row(counts, table, row, groups, aside, receivers, points, start, used, hashed, others):
    """Add the counts of a row to those of an equal one from column ``start`` on, if there can be ``others``, or keep it as a class
    of its own; returns the columns used."""
    if others:
        key = 0
        for k in range(len(row)):
            key += row[k] * (8191 * k + 1)
        place = (key ^ (key >> 17)) & (len(hashed) - 1)
        while hashed[place] >= start:
            known = hashed[place]
            same = counts[ROW_RECEIVERS, known] == receivers and counts[ROW_POINTS, known] == points
            for k in range(len(row) if same else 0):
                if table[k, known] != row[k]:
                    same = False
                    break
            if same:
                counts[ROW_GROUPS, known] += groups
                counts[ROW_ASIDE, known] += aside
                return used
            place = (place + 1) & (len(hashed) - 1)
        if used - start <= MOST_ROWS:
            hashed[place] = used
    counts[ROW_GROUPS, used], counts[ROW_ASIDE, used] = groups, aside
    counts[ROW_RECEIVERS, used], counts[ROW_POINTS, used] = receivers, points
    for k in range(len(row)):
        table[k, used] = row[k]
    return used + 1
