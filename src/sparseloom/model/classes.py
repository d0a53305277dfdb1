"""Transfers of a whole batch of mappings as classes of alike ones, compiled.

:mod:`sparseloom.model.events` lists every transfer of one mapping; where a density does not depend on places, most of them
are alike. This kernel counts the classes of each mapping of a batch without listing: a rank whose bounds are perfect has one
class, an imperfect one few. The terms are those of the other module, so are the counts; a test holds them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch, Problem
from sparseloom.model.dataflow import BOUND, KIND, LEVEL, RANK, STEP, TAIL, fill_nest, kernel
from sparseloom.model.events import Edge

FloatArray = NDArray[np.float64]

MOST_CLASSES = 64
"""Classes of one rank of the iteration space that the kernel keeps apart."""


@dataclass(frozen=True)
class Classes:
    """Classes of the transfers of one edge over a batch, N of them in all.

    ``mapping`` numbers the mapping of a class. ``groups``, ``receivers`` and ``first`` are as in
    :class:`~sparseloom.model.events.Rows`, counts of all transfers of the class; ``extents`` [R, N] of the new box and
    ``overlap`` [R, N] of its part that the old one had (all 0 if none), ``changed`` [R, N] whether the interval of a
    tensor rank is another than before, ``spans`` [K, D, N] coordinates used with each judging edge's transfer.
    """

    mapping: IntArray
    groups: FloatArray
    receivers: FloatArray
    first: BoolArray
    extents: IntArray
    overlap: IntArray
    changed: BoolArray
    spans: IntArray


@dataclass(frozen=True)
class Steps:
    """Steps at which a parent instance serves its children, N sorts of them over a batch: ``count`` of each, in which
    ``points`` move (dense)."""

    mapping: IntArray
    count: FloatArray
    points: FloatArray


def edge_numbers(edges: tuple[Edge, ...]) -> IntArray:
    """[K, 3]: parent, child, whether receivers merge."""
    return np.array([(e.parent, e.child, e.merge) for e in edges], np.int64).reshape(-1, 3)


def classes(
    problem: Problem, batch: MappingBatch, edge: Edge, judges: tuple[Edge, ...], before: bool, output: bool
) -> Classes:
    """The classes of ``edge`` for every mapping of ``batch``.

    ``judges`` are the edges whose spans are wanted; ``before`` asks for what changed since the transfer before also for
    compute; ``output`` marks first dense visits in classes of their own.
    """
    room = 16 * len(batch) + 64
    ranks, dims = edge.projection.shape
    while True:
        table = np.empty((room, 4 + 3 * ranks + len(judges) * dims), np.float64)
        used = _emit_batch(
            batch.rank, batch.bound, batch.place, problem.shape, edge.projection, edge_numbers((edge,))[0], edge.levels,
            edge_numbers(judges), before, output, table,
        )  # fmt: skip
        if used <= room:
            break
        room = int(used * 1.1) + 64
    rows = table[:used].T
    boxes = rows[4 : 4 + 2 * ranks].astype(np.int64)
    return Classes(
        mapping=rows[0].astype(np.int64),
        groups=rows[1],
        receivers=rows[2],
        first=rows[3] > 0,
        extents=boxes[:ranks],
        overlap=boxes[ranks:],
        changed=rows[4 + 2 * ranks : 4 + 3 * ranks] > 0,
        spans=rows[4 + 3 * ranks :].astype(np.int64).reshape(len(judges), dims, used),
    )


@kernel
def _emit_batch(
    rank, bound, place, shape, projection, edge, levels, judges, before, output, table
):  # type: ignore[no-untyped-def]
    """Write the classes of all mappings to ``table``; returns how many there are, even if they do not fit."""
    nest = np.empty((6, bound.shape[1]), np.int64)
    used = 0
    for b in range(len(bound)):
        n = fill_nest(rank[b], bound[b], place[b], shape, nest)
        used = _emit(nest, n, shape, projection, edge, levels, judges, before, output, table, used, b)
    return used


@kernel
def _period_loop(nest, n, projection, child):  # type: ignore[no-untyped-def]
    """The innermost temporal loop around ``child`` that indexes the tensor, -1 without one."""
    last = -1
    for i in range(n):
        if nest[KIND, i] == 0 and nest[LEVEL, i] < child and projection[:, nest[RANK, i]].any():
            last = i
    return last


@kernel
def _emit(
    nest, n, shape, projection, edge, levels, judges, before, output, table, used, b
):  # type: ignore[no-untyped-def]
    parent, child, merge = edge
    ranks, dims = projection.shape
    hold = child < levels
    last = _period_loop(nest, n, projection, child) if hold else n
    lasts = np.empty(len(judges), np.int64)
    for k in range(len(judges)):
        lasts[k] = _period_loop(nest, n, projection, judges[k, 1]) if judges[k, 1] < levels else n
    free = np.empty((len(judges) + 1, n), np.bool_)
    for i in range(n):
        indexed = projection[:, nest[RANK, i]].any()
        free[-1, i] = _is_free(nest, i, indexed, parent, child, merge, last)
        for k in range(len(judges)):
            free[k, i] = _is_free(nest, i, indexed, judges[k, 0], judges[k, 1], judges[k, 2], lasts[k])
    if before or (hold and _needs_order(nest, n, shape, projection, child, last)):
        for carry in range(-1, n):
            if carry < 0 or (nest[KIND, carry] == 0 and nest[LEVEL, carry] < child and carry <= last):
                used = _emit_class(
                    nest, n, shape, projection, parent, child, merge, carry, hold, output, free, table, used, b
                )  # fmt: skip
        return used
    return _emit_class(nest, n, shape, projection, parent, child, merge, n, hold, output, free, table, used, b)


@kernel
def _is_free(nest, i, indexed, parent, child, merge, last):  # type: ignore[no-untyped-def]
    """Whether a loop's digit varies within one transfer: in the tile, in the period, over the group."""
    if nest[LEVEL, i] >= child:
        return True
    if nest[KIND, i] == 0:
        return i > last
    return merge and not indexed and nest[LEVEL, i] >= parent


@kernel
def _needs_order(nest, n, shape, projection, child, last):  # type: ignore[no-untyped-def]
    """Whether what a transfer brings depends on the loop that advanced: with a sliding window, or where an imperfect
    bound can leave a tile unchanged."""
    for r in range(projection.shape[0]):
        if (projection[r] > 0).sum() > 1:
            moving = 0
            for i in range(n):
                if projection[r, nest[RANK, i]] and nest[KIND, i] == 0 and nest[LEVEL, i] < child:
                    moving += 1
            if moving:
                return True
    for i in range(n):
        d = nest[RANK, i]
        if projection[:, d].any() and nest[KIND, i] == 0 and nest[LEVEL, i] < child and nest[TAIL, i] < nest[BOUND, i] - 1:
            return True
    return False


@kernel
def _emit_class(
    nest, n, shape, projection, parent, child, merge, carry, hold, output, free, table, used, b
):  # type: ignore[no-untyped-def]
    """Write the classes of the steps of ``carry`` (``n``: of all steps at once)."""
    ranks, dims = projection.shape
    judges = len(free) - 1
    width = 6 + judges
    own = np.empty((dims, MOST_CLASSES, width), np.float64)
    count = np.empty(dims, np.int64)
    for d in range(dims):
        count[d] = _rank_classes(nest, n, d, shape[d], parent, child, carry, output, projection[:, d].any(), free, own[d])
        if count[d] == 0:
            return used
    share = 1.0
    if merge:
        share = _merged_share(nest, n, projection, parent, child)
    total = 1
    for d in range(dims):
        total *= count[d]
    for number in range(total):
        if used < len(table):
            rest = number
            row = table[used]
            row[0], row[1], row[2], row[3] = b, share, 1.0, 1.0
            row[4 : 4 + ranks] = 1.0
            row[4 + ranks : 4 + 3 * ranks] = 0.0
            old = 1 if 0 <= carry < n else 0
            shift = np.zeros(ranks, np.int64)
            before = np.full(ranks, 1.0)
            for d in range(dims):
                c = own[d, rest % count[d]]
                rest //= count[d]
                row[1] *= c[0]
                row[2] *= c[1]
                row[3] *= c[2]
                for k in range(judges):
                    row[4 + 3 * ranks + k * dims + d] = c[6 + k]
                for r in range(ranks):
                    factor = projection[r, d]
                    if factor:
                        row[4 + r] += factor * (c[3] - 1)
                        before[r] += factor * (c[4] - 1)
                        shift[r] += factor * int(c[5])
            held = old
            for r in range(ranks):
                now = row[4 + r]
                common = min(now, before[r] - shift[r]) - max(0, -shift[r])
                row[4 + ranks + r] = common
                held = held and common > 0
                row[4 + 2 * ranks + r] = 1.0 if not old or shift[r] != 0 or before[r] != now else 0.0
            if not (held and hold):
                row[4 + ranks : 4 + 2 * ranks] = 0.0
        used += 1
    return used


@kernel
def _merged_share(nest, n, projection, parent, child):  # type: ignore[no-untyped-def]
    """Groups over receivers, for tensor ranks whose intervals several receivers have in common (p + r)."""
    from_rank = 1.0
    for r in range(projection.shape[0]):
        reach = 0
        members = 1
        spread = 0
        for d in range(projection.shape[1]):
            if projection[r, d]:
                wide = False
                for i in range(n):
                    if nest[RANK, i] == d and nest[KIND, i] != 0 and parent <= nest[LEVEL, i] < child:
                        reach += projection[r, d] * nest[STEP, i] * (nest[BOUND, i] - 1)
                        members *= nest[BOUND, i]
                        wide = True
                spread += wide
        if spread < 2:
            continue
        seen = np.zeros(reach + 1, np.bool_)
        seen[0] = True
        for i in range(n):
            if projection[r, nest[RANK, i]] and nest[KIND, i] != 0 and parent <= nest[LEVEL, i] < child:
                stride = projection[r, nest[RANK, i]] * nest[STEP, i]
                for at in range(reach, -1, -1):
                    for k in range(1, nest[BOUND, i]):
                        if at - k * stride >= 0 and seen[at - k * stride]:
                            seen[at] = True
        from_rank *= seen.sum() / members
    return from_rank


@kernel
def _rank_classes(nest, n, d, size, parent, child, carry, output, indexed, free, own):  # type: ignore[no-untyped-def]
    """The classes of one rank into ``own``: groups, receivers, first (1 if so), tile, old tile, shift, spans."""
    nominal = 1
    for i in range(n):
        if nest[RANK, i] == d:
            nominal *= nest[BOUND, i]
    if nominal == size:
        return _perfect_classes(nest, n, d, size, parent, child, carry, output, indexed, free, own)
    return _imperfect_classes(nest, n, d, size, parent, child, carry, output, indexed, free, own)


@kernel
def _perfect_classes(nest, n, d, size, parent, child, carry, output, indexed, free, own):  # type: ignore[no-untyped-def]
    groups = members = tile = 1
    first = 1
    shift = 0
    for i in range(n):
        if nest[RANK, i] != d:
            continue
        bound = nest[BOUND, i]
        if nest[LEVEL, i] >= child:
            tile *= bound
        elif free[-1, i]:
            if nest[KIND, i] != 0:
                members *= bound
        elif nest[KIND, i] != 0 or i < carry:
            groups *= bound
            if nest[KIND, i] == 0:
                first *= bound
        elif i == carry:
            groups *= bound - 1
            shift += nest[STEP, i]
        else:
            shift -= nest[STEP, i] * (bound - 1)
    for k in range(len(free) - 1):
        span = 1
        for i in range(n):
            if nest[RANK, i] == d and free[k, i]:
                span += nest[STEP, i] * (nest[BOUND, i] - 1)
        own[0, 6 + k] = own[1, 6 + k] = span
    split = output and not indexed
    own[0, 0], own[0, 1], own[0, 2] = groups, groups * members, 0.0 if split else 1.0
    own[0, 3], own[0, 4], own[0, 5] = tile, tile, shift
    if not split:
        return 1
    mine = 0 <= carry < n and nest[RANK, carry] == d
    if mine:
        return 1
    own[1, :] = own[0, :]
    own[1, 0], own[1, 1], own[1, 2] = groups / first, groups * members / first, 1.0
    if first == 1:
        own[0, :] = own[1, :]
        return 1
    own[0, 0] -= own[1, 0]
    own[0, 1] -= own[1, 1]
    return 2


@kernel
def _imperfect_classes(nest, n, d, size, parent, child, carry, output, indexed, free, own):  # type: ignore[no-untyped-def]
    """By listing the digits of the fixed loops; equal classes are joined as they come."""
    digits = np.zeros(n, np.int64)
    found = 0
    width = own.shape[1]
    row = np.empty(width, np.float64)
    while True:
        low = 0
        valid = True
        early = True
        for i in range(n):
            if nest[RANK, i] == d and not free[-1, i]:
                low += digits[i] * nest[STEP, i]
                if nest[KIND, i] == 0 and nest[LEVEL, i] < child:
                    early = early and digits[i] == 0
                    if i == carry and digits[i] == 0:
                        valid = False
        if valid and low < size:
            _class_row(nest, n, d, size, parent, child, carry, output and not indexed, early, free, low, digits, row)
            found = _join(own, found, row)
        i = n - 1
        while i >= 0:
            if nest[RANK, i] == d and not free[-1, i]:
                stuck = nest[KIND, i] == 0 and i > carry
                if not stuck:
                    digits[i] += 1
                    if digits[i] < nest[BOUND, i]:
                        break
                digits[i] = 0
            i -= 1
        if i < 0:
            return found


@kernel
def _class_row(
    nest, n, d, size, parent, child, carry, split, early, free, low, digits, row
):  # type: ignore[no-untyped-def]
    row[0] = 1.0
    row[1] = _members(nest, n, d, size, child, free, low)
    row[2] = 1.0 if not split or early else 0.0
    old = low - (nest[STEP, carry] if 0 <= carry < n and nest[RANK, carry] == d else 0)
    for i in range(n):
        if nest[RANK, i] == d and nest[KIND, i] == 0 and nest[LEVEL, i] < child and i > carry and not free[-1, i]:
            old += min(nest[BOUND, i] - 1, (size - 1 - old) // nest[STEP, i]) * nest[STEP, i]
    now_last, old_last = low, old
    for i in range(n):
        if nest[RANK, i] == d and nest[LEVEL, i] >= child:
            now_last += min(nest[BOUND, i] - 1, (size - 1 - now_last) // nest[STEP, i]) * nest[STEP, i]
            old_last += min(nest[BOUND, i] - 1, (size - 1 - old_last) // nest[STEP, i]) * nest[STEP, i]
    row[3], row[4], row[5] = now_last - low + 1, old_last - old + 1, low - old
    for k in range(len(free) - 1):
        start = 0
        for i in range(n):
            if nest[RANK, i] == d and not free[k, i]:
                start += digits[i] * nest[STEP, i]
        reach = start
        for i in range(n):
            if nest[RANK, i] == d and free[k, i]:
                reach += min(nest[BOUND, i] - 1, (size - 1 - reach) // nest[STEP, i]) * nest[STEP, i]
        row[6 + k] = reach - start + 1


@kernel
def _members(nest, n, d, size, child, free, low):  # type: ignore[no-untyped-def]
    """Receivers of a group that exist at its step: digits of its merged spatial loops that stay below the size."""
    merged = 1
    for i in range(n):
        if nest[RANK, i] == d and free[-1, i] and nest[KIND, i] != 0 and nest[LEVEL, i] < child:
            merged *= nest[BOUND, i]
    if merged == 1:
        return 1.0
    count = 0.0
    for number in range(merged):
        rest = number
        at = low
        for i in range(n):
            if nest[RANK, i] == d and free[-1, i] and nest[KIND, i] != 0 and nest[LEVEL, i] < child:
                at += rest % nest[BOUND, i] * nest[STEP, i]
                rest //= nest[BOUND, i]
        count += at < size
    return count


@kernel
def _join(own, found, row):  # type: ignore[no-untyped-def]
    """Add a class to those found, or its counts to an equal one."""
    for c in range(found):
        same = own[c, 1] / own[c, 0] == row[1]
        for k in range(2, len(row)):
            same = same and own[c, k] == row[k]
        if same:
            own[c, 0] += row[0]
            own[c, 1] += row[1]
            return found
    if found < len(own):
        own[found] = row
    return found + 1
