"""Mappings that are one to an edge: their transfers are the same, so that those of the first are counted for all.

An edge sees little of a nest: how large its tiles are, how often they change, and in which order where a transfer depends on
the one before. So few of the mappings of a mapspace differ to it. :func:`group` writes what each nest is to an edge as a key
and finds the different ones; equal keys bring equal classes (:mod:`sparseloom.model.products`), not only alike ones.
"""

from __future__ import annotations

import numpy as np

from sparseloom.kernel import borrowed, inlined, kernel
from sparseloom.mapping.batch import BoolArray, IntArray
from sparseloom.model.digits import FIRST, MERGED, ORIGIN, REST, SPREAD, TILE, TIME, changes, sole_axis
from sparseloom.model.nests import BOUND, RANK, STEP, Nests
from sparseloom.model.products import common_extent, part_begin
from sparseloom.model.roles import needs_order, set_roles, settles, sliding_ranks
from sparseloom.model.task import Task

LENGTH, ROUGH, ALIGNED, GROUPS, ASIDE, MEMBERS, OTHERS, STEPS, REST_OF_KEY = range(9)
"""What a key begins with: twice its length, and 1 more where the order of loops matters; the ranks, as bits, of which it has all
loops, and those of them that are aligned; what products say of the other ranks (see :func:`_add_totals`)."""

FEW = 256
"""Kinds from which on it is asked whether there are few of them: not if more than 19 of 20 mappings differ. To tell one from the
others takes less than a tenth of the time of its transfers."""

MANY = 256
"""Kinds by their loops from which on it is worth the time to compare them by their steps."""


def alike(nests: Nests, some: IntArray, task: Task, also: IntArray) -> tuple[IntArray, IntArray] | None:
    """Of the mappings ``some`` of ``nests`` the places [K] of those that are the first of their kind to the edge of ``task``, and
    for each which of those it is like, [N]; None if they are many (see :data:`FEW`). Tiles of the levels ``also`` are told
    apart, too.

    Where the order of loops matters, those of the same loops come first, which takes little; then, of these, those whose steps
    bring the same, which takes more.
    """
    found = _kinds(nests, some, task, also, False)
    if not task.before or (found is not None and len(found[0]) < MANY):
        return found
    if found is None:
        return _kinds(nests, some, task, also, True)
    first, index = found
    fewer = _kinds(nests, some[first], task, also, True)
    return found if fewer is None else (first[fewer[0]], fewer[1][index])


def _kinds(
    nests: Nests, some: IntArray, task: Task, also: IntArray, by_steps: bool
) -> tuple[IntArray, IntArray] | None:
    """As :func:`alike`, by loops or ``by_steps`` alone."""
    ranks, slots = nests.perfect.shape[1], nests.loops.shape[2]
    of_loops = (slots + 1) * (2 + 2 * len(task.whole) + len(task.watch)) if by_steps else 0
    width = REST_OF_KEY + ranks * (2 + len(task.judges) + len(also)) + 4 * slots + of_loops
    keys = np.empty((len(some), width), np.int64)
    first, index = np.empty(len(some), np.int64), np.empty(len(some), np.int64)
    room = np.full(1 << (2 * len(some)).bit_length(), -1, np.int32)
    found = _group(
        some, nests.loops, nests.count, nests.perfect, nests.aligned, nests.tile, nests.regular, nests.inwards, *task, also,
        by_steps, keys, first, index, room,
    )  # fmt: skip
    return None if found < 0 else (first[:found], index)


def alike_in_tiles(nests: Nests, some: IntArray, level: int, indexed: BoolArray) -> tuple[IntArray, IntArray]:
    """As :func:`alike` of what follows from the nominal coordinates of ranks ``indexed`` [D] in a tile of ``level``, always."""
    first, index = np.empty(len(some), np.int64), np.empty(len(some), np.int64)
    room = np.full(1 << (2 * len(some)).bit_length(), -1, np.int32)
    keys = np.empty((len(some), indexed.sum()), np.int64)
    found = _group_tiles(some, nests.tile, nests.inwards, level, indexed, keys, first, index, room)
    return first[:found], index


@kernel
def _group_tiles(some, tile, inwards, level, indexed, keys, first, index, room):
    """Write ``first`` and ``index``; returns how many kinds there are."""
    found = 0
    key, hashes = np.empty(keys.shape[1], np.int64), np.empty(len(keys), np.int64)
    for place in range(len(some)):
        b = some[place]
        if place and some[place - 1] == b - 1 and inwards[b] >= level:
            index[place] = index[place - 1]
            continue
        length = 0
        for d in range(len(indexed)):
            if indexed[d]:
                key[length] = tile[b, level, d]
                length += 1
        index[place] = _known(length, key, keys, hashes, room, found)
        if index[place] == found:
            first[found] = place
            found += 1
    return found


@kernel
def _group(
    some, loops, count, perfect, aligned, tile, regular, inwards, projection, indexed, window, parent, child, levels,
    merge, judges, looked, watch, splits, parts, modulus, whole, side, steps, before, also, by_steps, keys, first, index, room,
):  # fmt: skip
    """Write ``first`` and ``index``; returns how many kinds there are, -1 for many (see :data:`FEW`)."""
    dims, slots = len(indexed), loops.shape[2]
    role, free, key = np.empty(slots, np.int64), np.empty(slots, np.int64), np.empty(keys.shape[1], np.int64)
    lone, within = np.empty(dims, np.bool_), np.zeros(len(window), np.int64)
    # where the bounds of a rank's loops are multiplied in a key, by what these are to the edge, and where its spans stand
    at, spans = np.full((SPREAD + 1, dims), -1, np.int64), np.full((len(judges), dims), -1, np.int64)
    length = REST_OF_KEY
    for d in range(dims):
        lone[d] = modulus[d] == 1 or sole_axis(d, projection) >= 0
        for r in range(len(window)):
            if window[r] and projection[r, d] != 0:
                within[r] |= 1 << d
        for kind, there in ((TILE, child < levels), (SPREAD, steps)):
            if indexed[d] and there:
                at[kind, d] = length
                length += 1
        for k in range(len(judges)):
            if looked[k, d]:
                spans[k, d] = length
                length += 1
    hashes = np.empty(len(keys), np.int64)
    return _group_in(
        some, loops, count, perfect, aligned, tile, regular, inwards, projection, indexed, window, parent, child, levels,
        merge, judges, watch, splits, parts, modulus, whole, side, before, also, by_steps, keys, first, index, room, role, free,
        key, key.view(np.float64), lone, at, spans, hashes, length, within, np.empty(len(watch) + 1, np.bool_),
        np.empty((2, 2 * len(window) + len(watch)), np.int64), np.empty((2, len(window)), np.int64),
    )  # fmt: skip


@kernel
def _group_in(
    some, loops, count, perfect, aligned, tile, regular, inwards, projection, indexed, window, parent, child, levels,
    merge, judges, watch, splits, parts, modulus, whole, side, before, also, by_steps, keys, first, index, room, role, free, key,
    totals, lone, at, spans, hashes, begin, within, settled, rows, moves,
):  # fmt: skip
    """As :func:`_group`, which owns the room: what is borrowed has to be another's."""
    loops, count, perfect, aligned = borrowed(loops), borrowed(count), borrowed(perfect), borrowed(aligned)
    tile, inwards = borrowed(tile), borrowed(inwards)
    projection, indexed, window = borrowed(projection), borrowed(indexed), borrowed(window)
    judges, modulus, lone, spans = borrowed(judges), borrowed(modulus), borrowed(lone), borrowed(spans)
    keys, role, free, key, totals = borrowed(keys), borrowed(role), borrowed(free), borrowed(key), borrowed(totals)
    at, room, hashes = borrowed(at), borrowed(room), borrowed(hashes)
    rows, moves, settled = borrowed(rows), borrowed(moves), borrowed(settled)
    watch, splits, parts, whole = borrowed(watch), borrowed(splits), borrowed(parts), borrowed(whole)
    dims, found, known, sliding = len(indexed), 0, 0, sliding_ranks(projection, window)
    simple = True
    for d in range(dims):
        simple = simple and (modulus[d] == 1 or lone[d])
    for place in range(len(some)):
        b = some[place]
        if place and some[place - 1] == b - 1 and inwards[b] >= child:
            index[place] = index[place - 1]
            continue
        nest, n = loops[b], count[b]
        if set_roles(nest, n, indexed, parent, child, levels, merge, judges, role, free):
            rough = uneven = 0
            if not (regular[b] and simple):
                rough, uneven = _rough(perfect[b], aligned[b], lone, modulus, within)
            key[ROUGH], key[ALIGNED] = rough, 0
            for d in range(dims if rough else 0):
                key[ALIGNED] |= (rough >> d & 1 and aligned[b, d]) << d
            ordered = before and (len(watch) > 0 or needs_order(nest, n, perfect[b], indexed, sliding, role))
            length = _add_totals(
                nest, n, rough, indexed, side, sliding if merge else 0, len(watch) > 0, role, free, at, spans, begin, key,
                totals,
            )  # fmt: skip
            if by_steps and ordered and not rough:
                length = _add_rows(
                    nest, n, at, perfect[b], indexed, projection, window, watch, splits, parts, whole, child < levels, side, role,
                    settled, length, key, totals, rows, moves,
                )  # fmt: skip
            elif ordered or rough:
                length = _add_loops(
                    nest, n, rough, perfect[b], uneven, ordered, projection, indexed, window, watch, whole, child < levels, role,
                    free, settled, length, key,
                )  # fmt: skip
            key[LENGTH] = 2 * length + ordered
        else:
            key[LENGTH], key[1] = -1, place
            length = 2
        for level in also:
            for d in range(dims):
                if indexed[d]:
                    key[length] = tile[b, level, d]
                    length += 1
        if not (known < found and _same(length, key, keys[known])):
            known = _known(length, key, keys, hashes, room, found)
        if known == found:
            if found >= FEW and 20 * found >= 19 * place:
                return -1
            first[found] = place
            found += 1
        index[place] = known
    return found


@inlined
def _rough(perfect, aligned, lone, modulus, within):
    """The ranks, as bits, whose classes do not follow from products, or of which one of the same window is such; and those whose
    bounds are not perfect."""
    rough = uneven = 0
    for d in range(len(perfect)):
        uneven |= (not perfect[d]) << d
        if not (perfect[d] and (modulus[d] == 1 or (lone[d] and aligned[d]))):
            rough |= 1 << d
    for r in range(len(within)):
        if within[r] & rough:
            rough |= within[r]
    return rough, uneven


@inlined
def _add_totals(nest, n, rough, indexed, side, merged, watched, role, free, at, spans, begin, key, totals):
    """Write what products say of ranks that are not ``rough``, of which a key has all loops around the tile; returns its length.
    ``totals`` are the same key as floats: they do not overflow. Receivers are told apart in ``merged`` ranks, given as bits;
    what never changes is brought at the first step, so that steps count where that is ``watched``."""
    groups = aside = members = others = steps = 1.0
    for k in range(REST_OF_KEY, begin):
        key[k] = 1
    length = begin
    for i in range(n):
        d, kind, bound = nest[RANK, i], role[i], nest[BOUND, i]
        if rough and rough >> d & 1:
            if kind == TILE and at[TILE, d] >= 0:
                key[at[TILE, d]] *= bound
            continue
        if kind == TILE:
            if at[TILE, d] >= 0:
                key[at[TILE, d]] *= bound
        elif kind == TIME:
            groups *= bound
            if indexed[d] or side != FIRST:
                aside *= bound
            if watched:
                steps *= bound
        elif kind == MERGED:
            members *= bound
        elif kind != REST:
            groups *= bound
            if side != ORIGIN:
                aside *= bound
            if kind == SPREAD:
                if at[SPREAD, d] >= 0:
                    key[at[SPREAD, d]] *= bound
                elif not indexed[d]:
                    others *= bound
                if merged >> d & 1:
                    key[length], key[length + 1], key[length + 2], key[length + 3] = -2, d, bound, nest[STEP, i]
                    length += 4
        if free[i]:
            for k in range(len(spans)):
                if free[i] >> k & 1 and spans[k, d] >= 0:
                    key[spans[k, d]] += nest[STEP, i] * (bound - 1)
    totals[GROUPS], totals[ASIDE], totals[MEMBERS] = groups, aside, members
    totals[OTHERS], totals[STEPS] = others, steps
    return length


@inlined
def _add_rows(
    nest, n, at, perfect, indexed, projection, window, watch, splits, parts, whole, hold, side, role, settled, length, key,
    totals, rows, moves,
):  # fmt: skip
    """Add to a key what becomes of the child's tile when one loop after the other advances, from the innermost outwards, up to
    the one with which all changes that ever does: how many steps bring a tile that has so much in common with the one before,
    begins there in a part, and is another one in what is watched. Returns its length. For ranks that are not rough.

    ``rows`` [2, 2 R + W]: common extents, where in a part the tile begins, what is changed; first as loops inside bring them by
    themselves. ``moves`` [2, R]: extents of the tile, and how far these loops have gone."""
    ranks, first, idle = len(window), length, -1
    steps = aside = 1.0
    for i in range(n):
        if role[i] == TIME:
            steps *= nest[BOUND, i]
            if side != FIRST or indexed[nest[RANK, i]]:
                aside *= nest[BOUND, i]
    settled[len(watch)] = False
    for w in range(len(watch)):
        settled[w] = watch[w, 1] >= whole[watch[w, 0]]
    rows[0] = 0
    for r in range(ranks):
        moves[0, r], moves[1, r] = 1, 0
        for d in range(len(indexed) if hold else 0):
            if projection[r, d]:
                moves[0, r] += projection[r, d] * (key[at[TILE, d]] - 1)
        rows[0, r] = moves[0, r] if hold else 0
    for i in range(n - 1, -1, -1):
        if role[i] != TIME:
            continue
        d, bound, step = nest[RANK, i], nest[BOUND, i], nest[STEP, i]
        if (indexed[d] or idle < 0) and settles(
            nest, n, i, role, perfect, projection, window, watch, whole, hold, settled
        ):
            break
        counted = side != FIRST or indexed[d]
        steps /= bound
        aside /= bound if counted else 1
        if not indexed[d] and idle >= 0:
            totals[idle] += steps * (bound - 1)
            totals[idle + 1] += aside * (bound - 1) if counted else 0.0
            continue
        rows[1] = rows[0]
        for r in range(ranks if indexed[d] else 0):
            if projection[r, d]:
                stride = projection[r, d] * step
                _set_axis(rows[1], r, moves[0, r], stride - moves[1, r], stride, hold, watch, splits, parts, whole)
                moves[1, r] += stride * (bound - 1)
                _set_axis(rows[0], r, moves[0, r], -moves[1, r], 0, hold, watch, splits, parts, whole)
        found = _add_row(
            rows[1], ranks, steps * (bound - 1), aside * (bound - 1) if counted else 0.0, first, length, key, totals
        )
        idle = -1 if indexed[d] else found
        length = max(length, found + 2 + rows.shape[1])
    rows[1] = 0
    rows[1, 2 * ranks :] = 1
    found = _add_row(rows[1], ranks, steps, aside, first, length, key, totals)
    return max(length, found + 2 + rows.shape[1])


@inlined
def _set_axis(row, r, extent, shift, low, hold, watch, splits, parts, whole):
    """Write what is common, where in a part it begins, and what is changed in tensor rank ``r`` of a tile that moved by ``shift``,
    and begins at ``low`` if residues matter."""
    low = low % parts[r] if parts[r] > 1 else 0
    row[r] = common_extent(extent, extent, shift) if hold else 0
    for w in range(len(watch)):
        if watch[w, 0] == r:
            changed = changes(low, extent, shift, extent, watch[w, 1], whole[r])
            row[len(row) - len(watch) + w] = 1 if changed else 0
    row[(len(row) - len(watch)) // 2 + r] = part_begin(low, extent, r, splits, whole)


@inlined
def _add_row(row, ranks, steps, aside, first, length, key, totals):
    """Add the steps of a row to those of an equal one in a key from ``first`` on, or at its end; returns where it stands. Tiles
    that have nothing in common in one rank have nothing in common."""
    for r in range(ranks):
        if row[r] == 0:
            row[:ranks] = 0
            break
    found = first
    while found < length:
        k = 0
        while k < len(row) and key[found + 2 + k] == row[k]:
            k += 1
        if k == len(row):
            totals[found] += steps
            totals[found + 1] += aside
            return found
        found += 2 + len(row)
    totals[length], totals[length + 1] = steps, aside
    for k in range(len(row)):
        key[length + 2 + k] = row[k]
    return length


@inlined
def _add_loops(
    nest, n, rough, perfect, uneven, ordered, projection, indexed, window, watch, whole, hold, role, free, settled, length, key
):  # fmt: skip
    """Add to a key, from the innermost loop outwards, those of ``rough`` ranks and, in so far as order matters, the temporal ones:
    up to the one with which all changes that ever does. Those that follow one another are one loop: over ranks that do not index
    the tensor, and, where no part is watched, over one rank. Returns its length."""
    begin, settled[len(watch)] = length, False
    for w in range(len(watch)):
        settled[w] = watch[w, 1] >= whole[watch[w, 0]]
    inside = ordered
    for at in range(n - 1, -1, -1):
        d, bound = nest[RANK, at], nest[BOUND, at]
        inside = inside and not (
            role[at] == TIME
            and not uneven
            and settles(nest, n, at, role, perfect, projection, window, watch, whole, hold, settled)
        )
        if role[at] == TILE:
            continue
        if rough >> d & 1:
            key[length], key[length + 1] = d, bound
            key[length + 2], key[length + 3] = role[at] + 8 * free[at], nest[STEP, at]
            length += 4
        elif inside and role[at] == TIME:
            rank, step = (d if indexed[d] else -1), (nest[STEP, at] if indexed[d] else 0)
            last = length - 4
            if (
                last >= begin
                and key[last] == rank
                and key[last + 2] == -1
                and (rank < 0 or (len(watch) == 0 and step == key[last + 1] * key[last + 3]))
            ):
                key[last + 1] *= bound
            else:
                key[length], key[length + 1], key[length + 2], key[length + 3] = rank, bound, -1, step
                length += 4
    return length


@inlined
def _same(length, key, other):
    k = 0
    while k < length and other[k] == key[k]:
        k += 1
    return k == length


@inlined
def _known(length, key, keys, hashes, room, found):
    """Which of the ``keys`` that are ``found`` is this one; if none is, ``found``, which it will be."""
    code, odd = np.int64(0), np.int64(0x1E3779B97F4A7C15)
    for k in range(length):
        code += (key[k] ^ (key[k] >> 33)) * odd
        odd += 0x4657CB37B369C032
    code ^= code >> 31
    place = code & (len(room) - 1)
    while room[place] >= 0:
        other = room[place]
        if hashes[other] == code and _same(length, key, keys[other]):
            return other
        place = (place + 1) & (len(room) - 1)
    room[place], hashes[found] = found, code
    for k in range(length):
        keys[found, k] = key[k]
    return found
