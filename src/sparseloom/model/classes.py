"""Transfers of a whole batch of mappings as classes of alike ones, compiled.

:mod:`sparseloom.model.events` lists the transfers of one mapping; where densities do not depend on places, most of them
are alike. These kernels count the classes of each mapping of a batch without listing: a rank whose bounds are perfect has one
class, an imperfect one few. Terms and counts are those of the other module; a test holds the two together. Few
mappings do not fit the form (``irregular``) and are left to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import BoolArray, IntArray, Problem
from sparseloom.model.dataflow import BOUND, KIND, LEVEL, RANK, STEP, Nests, kernel
from sparseloom.model.events import Box, Edge, Wanted

FloatArray = NDArray[np.float64]

MOST_CLASSES = 64
"""Classes of one rank of the iteration space that are kept apart; a mapping with more is irregular."""

PLAIN, FIRST, ORIGIN = range(3)
"""What is counted on the side: nothing, first dense visits, receivers whose spatial digits are 0."""


@dataclass(frozen=True)
class Classes:
    """Classes of the transfers of one edge over a batch, N in all, sorted by mapping.

    ``groups``, ``receivers`` count the transfers of a class, ``side_groups``, ``side_receivers`` those of them that are
    first dense visits (or at the origin); ``extents`` [R, N] are those of the new box, ``common`` [R, N] of its part that
    the old one had; ``points`` are all that one parent instance serves at such a step; ``spans`` [K, D, N] the
    coordinates used with each judging edge's transfer.
    """

    mapping: IntArray
    starts: IntArray
    groups: FloatArray
    receivers: FloatArray
    side_groups: FloatArray
    side_receivers: FloatArray
    points: FloatArray
    extents: IntArray
    common: IntArray
    changed: dict[tuple[int, int], BoolArray]
    spans: IntArray

    @property
    def first_groups(self) -> FloatArray:
        return self.side_groups

    @property
    def first_receivers(self) -> FloatArray:
        return self.side_receivers

    @property
    def box(self) -> Box:
        return np.zeros_like(self.extents), self.extents

    @property
    def overlap(self) -> Box:
        return np.zeros_like(self.extents), self.common

    def span(self, k: int) -> Box:
        return np.zeros_like(self.spans[k]), self.spans[k]

    def stays(self, axis: int, step: int) -> BoolArray:
        return ~self.changed[axis, step]

    def step_total(self, values: FloatArray, merged: bool) -> FloatArray:
        own = np.prod(self.extents, axis=0) - np.prod(self.common, axis=0)
        total = np.divide(values * self.points, own, out=np.zeros(own.size), where=own > 0)
        return total if merged else np.asarray(total * self.receivers / np.maximum(self.groups, 1.0))

    def total(self, values: FloatArray) -> FloatArray:
        return np.asarray(np.add.reduceat(values, self.starts, axis=0))


@dataclass(frozen=True)
class ClassSource:
    """The transfers of a batch as a source of rows. ``irregular`` [B] is set for mappings that do not fit the form, as edges
    are asked for."""

    problem: Problem
    nests: Nests
    irregular: BoolArray = field(repr=False)

    @property
    def mappings(self) -> int:
        return len(self.nests.count)

    def transfers(self, edge: Edge, wanted: Wanted) -> Iterator[Classes]:
        """All classes of an edge."""
        if wanted.offsets is not None and wanted.offsets.any():
            self.irregular[:] = True
        ranks, dims = edge.projection.shape
        judges = np.array(
            [[j.parent, j.child, j.merge, *map(j.indexes, range(dims))] for j in wanted.judges], np.int64
        ).reshape(-1, 3 + dims)
        watch = np.array(wanted.watch, np.int64).reshape(-1, 2)
        splits = np.array(wanted.splits, np.int64).reshape(-1, 2)
        side = ORIGIN if wanted.origin else FIRST if wanted.output else PLAIN
        room = 4 * self.mappings + 64
        while True:
            table = np.empty((room, 6 + 2 * ranks + len(watch) + len(judges) * dims))
            used = _emit_batch(
                self.nests.loops, self.nests.count, self.problem.shape, edge.projection,
                np.array([edge.parent, edge.child, edge.merge]), edge.levels, judges, watch, splits, side, wanted.steps,
                table, self.irregular,
            )  # fmt: skip
            if used <= room:
                break
            room = used
        yield _classes(table[:used], ranks, dims, wanted)

    def tiles(self, edge: Edge, wanted: Wanted) -> tuple[Box, FloatArray, IntArray]:
        """The nominal tile of each mapping: none is larger."""
        extents = edge.projection @ (self.nominal(edge.child).T - 1) + 1
        return (np.zeros_like(extents), extents), np.ones(self.mappings), np.arange(self.mappings)

    def nominal(self, level: int) -> IntArray:
        return np.minimum(self.nests.tile[:, level], self.problem.shape)

    def busiest(self, busy: FloatArray, rows: Classes) -> FloatArray:
        """The computes of the first instance: none has more points."""
        return rows.total(busy * rows.side_receivers)


def _classes(table: FloatArray, ranks: int, dims: int, wanted: Wanted) -> Classes:
    rows = np.ascontiguousarray(table.T)
    mapping = rows[0].astype(np.int64)
    starts = np.flatnonzero(np.diff(mapping, prepend=-1))
    watched = 6 + 2 * ranks
    spans = watched + len(wanted.watch)
    whole = rows[6:].astype(np.int64)
    return Classes(
        mapping, starts, rows[1], rows[2], rows[3], rows[4], rows[5], whole[:ranks], whole[ranks : 2 * ranks],
        {key: rows[watched + k] > 0 for k, key in enumerate(wanted.watch)},
        whole[spans - 6 :].reshape(len(wanted.judges), dims, len(mapping)),
    )  # fmt: skip


@kernel
def _emit_batch(loops, count, shape, projection, edge, levels, judges, watch, splits, side, steps, table, irregular):
    """Write the classes of all mappings to ``table``; returns how many there are, even if they do not fit.

    Each row: mapping, groups, receivers, those on the side, points of a step, extents [R], common extents [R], changed [W],
    spans [K, D]. Every mapping has at least one row.
    """
    dims = len(shape)
    own = np.empty((dims, MOST_CLASSES, 9 + len(judges)))
    free = np.empty((len(judges) + 1, loops.shape[2]), np.bool_)
    indexed = np.zeros(dims, np.bool_)
    sliding = False
    for r in range(projection.shape[0]):
        several = 0
        for d in range(dims):
            if projection[r, d]:
                indexed[d] = True
                several += 1
        sliding = sliding or several > 1
    used = 0
    for b in range(len(count)):
        begin = used
        used = _emit(
            loops[b], count[b], shape, projection, indexed, sliding, edge, levels, judges, watch, splits, side, steps,
            table, own, free, used, b, irregular,
        )  # fmt: skip
        if used == begin:
            if used < len(table):
                table[used] = 0.0
                table[used, 0] = b
            used += 1
    return used


@kernel
def _period_loop(nest, n, indexed, child):
    """The innermost temporal loop around ``child`` over an indexed rank, -1 without one."""
    for i in range(n - 1, -1, -1):
        if nest[KIND, i] == 0 and nest[LEVEL, i] < child and indexed[nest[RANK, i]]:
            return i
    return -1


@kernel
def _is_free(nest, i, indexed, parent, child, merge, last):
    """Whether a loop's digit varies within one transfer: in the tile, in the period, over the group."""
    if nest[LEVEL, i] >= child:
        return True
    if nest[KIND, i] == 0:
        return i > last
    return merge == 1 and not indexed and nest[LEVEL, i] >= parent


@kernel
def _emit(
    nest,
    n,
    shape,
    projection,
    indexed,
    sliding,
    edge,
    levels,
    judges,
    watch,
    splits,
    side,
    steps,
    table,
    own,
    free,
    used,
    b,
    irregular,
):
    parent, child, merge = edge
    dims = len(shape)
    hold = child < levels
    last = _period_loop(nest, n, indexed, child) if hold else n
    perfect = np.ones(dims, np.int64)
    for i in range(n):
        perfect[nest[RANK, i]] *= nest[BOUND, i]
        free[-1, i] = _is_free(nest, i, indexed[nest[RANK, i]], parent, child, merge, last)
    for k in range(len(judges)):
        end = _period_loop(nest, n, judges[k, 3:], judges[k, 1]) if judges[k, 1] < levels else n
        for i in range(n):
            free[k, i] = _is_free(nest, i, judges[k, 3 + nest[RANK, i]], judges[k, 0], judges[k, 1], judges[k, 2], end)
    for d in range(dims):
        perfect[d] = perfect[d] == shape[d]
    share = _merged_share(nest, n, projection, parent, child) if merge and sliding else 1.0
    if _is_irregular(nest, n, shape, perfect, projection, parent, child, len(judges), share, splits):
        irregular[b] = True
        return used
    ordered = len(watch) > 0 or (hold and _needs_order(nest, n, perfect, projection, indexed, sliding, child))
    if perfect.all():
        return _emit_perfect(
            nest, n, projection, indexed, parent, child, hold, ordered, last, side, steps, free, watch, share, table, used, b
        )  # fmt: skip
    for carry in range(-1 if ordered else n, n + (not ordered)):
        timed = carry < 0 or carry == n or (nest[KIND, carry] == 0 and nest[LEVEL, carry] < child)
        if timed and (carry == n or carry <= last):
            used = _emit_class(
                nest, n, shape, perfect, projection, indexed, parent, child, carry, hold, side, steps, free, watch, share,
                table, own, used, b, irregular,
            )  # fmt: skip
    return used


@kernel
def _needs_order(nest, n, perfect, projection, indexed, sliding, child):
    """Whether what a transfer brings depends on the loop that advanced: with a sliding window, or where an imperfect bound can
    leave a tile unchanged."""
    for i in range(n):
        if nest[KIND, i] != 0 or nest[LEVEL, i] >= child or not indexed[nest[RANK, i]]:
            continue
        if not perfect[nest[RANK, i]]:
            return True
        for r in range(projection.shape[0] if sliding else 0):
            if projection[r, nest[RANK, i]] and (projection[r] > 0).sum() > 1:
                return True
    return False


@kernel
def _is_irregular(nest, n, shape, perfect, projection, parent, child, judges, share, splits):
    """Whether a mapping does not fit the form: several ranks that share an interval among receivers, judged or imperfect; or a
    format's split rank that the loops do not cut at its part."""
    if share < 1.0:
        if judges:
            return True
        for r in range(projection.shape[0]):
            if (projection[r] > 0).sum() > 1:
                for d in range(len(shape)):
                    if projection[r, d] and not perfect[d]:
                        return True
    for k in range(len(splits)):
        row = projection[splits[k, 0]]
        for d in range(len(shape)):
            if row[d] and ((row > 0).sum() > 1 or row[d] != 1 or not perfect[d]):
                return True
            if row[d] and not _cut_by_loops(nest, n, d, shape[d], child, splits[k, 1]):
                return True
    return False


@kernel
def _cut_by_loops(nest, n, d, extent, child, size):
    """Whether tiles of rank ``d`` lie in parts of ``size`` coordinates, or are made of them, and the loops that move a tile in
    time move it by whole parts or, all together, within one."""
    tile = 1
    whole = True
    cut = size >= extent
    for i in range(n):
        if nest[RANK, i] == d:
            cut = cut or nest[STEP, i] == size
            if nest[LEVEL, i] >= child:
                tile *= nest[BOUND, i]
            elif nest[KIND, i] == 0:
                whole = whole and nest[STEP, i] % size == 0
    return (size % tile == 0 or tile % size == 0) and (whole or cut)


@kernel
def _merged_share(nest, n, projection, parent, child):
    """Groups over receivers, for tensor ranks whose intervals several receivers have in common (p + r)."""
    share = 1.0
    for r in range(projection.shape[0]):
        reach = 0
        members = 1
        first = -1
        several = False
        for i in range(n):
            d = nest[RANK, i]
            if projection[r, d] and nest[KIND, i] != 0 and parent <= nest[LEVEL, i] < child:
                reach += projection[r, d] * nest[STEP, i] * (nest[BOUND, i] - 1)
                members *= nest[BOUND, i]
                several = several or (first >= 0 and first != d)
                first = d
        if not several:
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
        share *= seen.sum() / members
    return share


@kernel
def _emit_perfect(
    nest, n, projection, indexed, parent, child, hold, ordered, last, side, steps, free, watch, share, table, used, b
):
    """Write the classes of a nest without imperfect bounds: all tiles have one shape, so classes differ in what is held."""
    ranks, dims = projection.shape
    judges = len(free) - 1
    spans = 6 + 2 * ranks + len(watch)
    if used + n + 1 > len(table):
        return used + n + 1
    base = table[used]
    base[:] = 0.0
    base[0] = b
    base[6 : 6 + ranks] = 1.0
    base[spans:] = 1.0
    spatial = merged = bystanders = 1.0
    members = np.ones(ranks)
    tile = np.ones(dims)
    for i in range(n):
        d = nest[RANK, i]
        bound = nest[BOUND, i]
        for k in range(judges):
            if free[k, i]:
                base[spans + k * dims + d] += nest[STEP, i] * (bound - 1)
        if nest[LEVEL, i] >= child:
            tile[d] *= bound
        elif nest[KIND, i] != 0:
            if free[-1, i]:
                merged *= bound
                continue
            spatial *= bound
            if nest[LEVEL, i] >= parent:
                if indexed[d]:
                    for r in range(ranks):
                        if projection[r, d]:
                            members[r] *= bound
                else:
                    bystanders *= bound
    for r in range(ranks):
        for d in range(dims):
            if projection[r, d]:
                base[6 + r] += projection[r, d] * (tile[d] - 1)
    new = together = share * bystanders
    for r in range(ranks):
        new *= members[r] * base[6 + r]
        together *= members[r]
    if not ordered:
        times = aside = 1.0
        for i in range(n):
            if nest[KIND, i] == 0 and not free[-1, i]:
                times *= nest[BOUND, i]
                aside *= nest[BOUND, i] if side != FIRST or indexed[nest[RANK, i]] else 1
        _counts(base, spatial, merged, share, times, aside, side)
        base[5] = new
        return used + 1
    return _emit_ordered(
        nest, n, projection, indexed, child, hold, last, side, free, watch, share, table, used, base, spatial, merged, new,
        together,
    )  # fmt: skip


@kernel
def _counts(row, spatial, merged, share, times, aside, side):
    """Groups, receivers, and those on the side, of ``times`` steps of which ``aside`` are first visits."""
    row[1] += spatial * share * times
    row[2] += spatial * merged * times
    lanes = 1.0 if side == ORIGIN else spatial
    row[3] += lanes * share * aside
    row[4] += lanes * merged * aside


@kernel
def _emit_ordered(
    nest,
    n,
    projection,
    indexed,
    child,
    hold,
    last,
    side,
    free,
    watch,
    share,
    table,
    used,
    base,
    spatial,
    merged,
    new,
    together,
):
    """The classes by the loop that advances, from the innermost out; classes in which the same is held are one."""
    ranks = projection.shape[0]
    start = used
    watched = 6 + 2 * ranks
    back = np.zeros(ranks)
    reach = np.zeros(ranks, np.int64)
    outer = inner_first = 1.0
    for i in range(n):
        if nest[KIND, i] == 0 and not free[-1, i]:
            outer *= nest[BOUND, i]
            inner_first *= nest[BOUND, i] if side != FIRST or indexed[nest[RANK, i]] else 1
    row = np.empty(table.shape[1])
    for carry in range(n - 1, -2, -1):
        if carry >= 0 and (nest[KIND, carry] != 0 or free[-1, carry] or nest[LEVEL, carry] >= child):
            continue
        row[:] = base if used == start else table[start]
        row[1:6] = 0.0
        row[6 + ranks : watched + len(watch)] = 0.0
        if carry < 0:
            times = aside = 1.0
            row[watched : watched + len(watch)] = 1.0
        else:
            d = nest[RANK, carry]
            bound = nest[BOUND, carry]
            mine = side != FIRST or indexed[d]
            outer /= bound
            inner_first /= bound if mine else 1
            times = outer * (bound - 1)
            aside = inner_first * (bound - 1) if mine else 0.0
            shared = hold
            for r in range(ranks):
                shift = projection[r, d] * nest[STEP, carry] - back[r]
                common = row[6 + r] - abs(shift)
                row[6 + ranks + r] = common
                shared = shared and common > 0
            if not shared:
                row[6 + ranks : 6 + 2 * ranks] = 0.0
            for w in range(len(watch)):
                r = watch[w, 0]
                moved = reach[r]
                if projection[r, d]:
                    moved = max(moved, nest[STEP, carry])
                if watch[w, 1] == 1:
                    row[watched + w] = projection[r, d] * nest[STEP, carry] != back[r]
                else:
                    row[watched + w] = moved >= watch[w, 1]
            for r in range(ranks):
                if projection[r, d]:
                    back[r] += projection[r, d] * nest[STEP, carry] * (bound - 1)
                    reach[r] = max(reach[r], nest[STEP, carry])
        held = together if ranks else 0.0
        for r in range(ranks):
            held *= row[6 + ranks + r]
        row[5] = new - held
        used = _add_row(
            table, start, used, row, 6 + ranks, watched + len(watch), spatial, merged, share, times, aside, side
        )
    return used


@kernel
def _add_row(table, start, used, row, low, high, spatial, merged, share, times, aside, side):
    """Add a class to those from ``start`` on, or its counts to one that is equal in columns ``low`` to ``high``."""
    at = start
    while at < used:
        same = True
        for k in range(low, high):
            same = same and table[at, k] == row[k]
        if same:
            break
        at += 1
    if at == used:
        table[used] = row
        used += 1
    _counts(table[at], spatial, merged, share, times, aside, side)
    return used


@kernel
def _emit_class(
    nest,
    n,
    shape,
    perfect,
    projection,
    indexed,
    parent,
    child,
    carry,
    hold,
    side,
    steps,
    free,
    watch,
    share,
    table,
    own,
    used,
    b,
    irregular,
):
    """Write the classes of the steps of ``carry`` (``n``: of all steps at once)."""
    ranks, dims = projection.shape
    judges = len(free) - 1
    count = np.ones(dims, np.int64)
    total = 1
    _perfect_classes(nest, n, perfect, parent, child, carry, side, indexed, free, own)
    for d in range(dims):
        if not perfect[d]:
            count[d] = _imperfect_classes(nest, n, d, shape[d], parent, child, carry, side, indexed[d], free, own[d])
            if count[d] > MOST_CLASSES:
                irregular[b] = True
                return used
            total *= count[d]
    old = 0 <= carry < n
    shift = np.empty(ranks)
    before = np.empty(ranks)
    spans = 6 + 2 * ranks + len(watch)
    for number in range(total):
        if used >= len(table):
            used += 1
            continue
        row = table[used]
        groups = receivers = aside = aside_receivers = members = 1.0
        rest = number
        for r in range(ranks):
            shift[r] = 0.0
            before[r] = 1.0
            row[6 + r] = 1.0
        for d in range(dims):
            c = own[d, rest % count[d]]
            rest //= count[d]
            groups *= c[0]
            receivers *= c[1]
            aside *= c[2]
            aside_receivers *= c[3]
            for k in range(judges):
                row[spans + k * dims + d] = c[9 + k]
            if not indexed[d]:
                members *= c[7]
                continue
            for r in range(ranks):
                factor = projection[r, d]
                if factor:
                    row[6 + r] += factor * (c[4] - 1)
                    before[r] += factor * (c[5] - 1)
                    shift[r] += factor * c[6]
        row[0], row[1], row[2], row[3], row[4] = b, groups * share, receivers, aside * share, aside_receivers
        _finish_row(row, ranks, old, hold, shift, before)
        row[5] = members * share * _step_points(row, ranks, projection, own, count, number) if steps else 0.0
        for w in range(len(watch)):
            row[6 + 2 * ranks + w] = _changed(nest, n, projection, watch[w], carry, child, old, shift, before, row)
        used += 1
    return used


@kernel
def _finish_row(row, ranks, old, hold, shift, before):
    """The common extents of new and old box, none if they are disjoint or nothing is held."""
    shared = old and hold
    for r in range(ranks):
        common = min(row[6 + r], before[r] - shift[r]) - max(0.0, -shift[r])
        row[6 + ranks + r] = common
        shared = shared and common > 0
    if not shared:
        row[6 + ranks : 6 + 2 * ranks] = 0.0


@kernel
def _step_points(row, ranks, projection, own, count, number):
    """Points that all receivers of one parent instance get at a step, for tensor ranks whose receivers differ."""
    new = 1.0
    receivers = 1.0
    for r in range(ranks):
        members = 1.0
        for d in range(projection.shape[1]):
            if projection[r, d]:
                members *= own[d, _pick(count, number, d), 7]
        length = members
        for d in range(projection.shape[1]):
            if projection[r, d]:
                c = own[d, _pick(count, number, d)]
                length += projection[r, d] * (c[8] - c[7]) * members / c[7]
        new *= length
        receivers *= members
    held = receivers
    for r in range(ranks):
        held *= row[6 + ranks + r]
    return new - held


@kernel
def _pick(count, number, d):
    for k in range(d):
        number //= count[k]
    return number % count[d]


@kernel
def _changed(nest, n, projection, watch, carry, child, old, shift, before, row):
    """Whether the interval of a tensor rank is another than before, in steps of the watched size."""
    r, step = watch
    if not old:
        return 1.0
    if step == 1:
        return 1.0 if shift[r] != 0 or before[r] != row[6 + r] else 0.0
    for i in range(carry, n):
        moves = nest[KIND, i] == 0 and nest[LEVEL, i] < child
        if moves and projection[r, nest[RANK, i]] and nest[STEP, i] >= step:
            return 1.0
    return 0.0


@kernel
def _perfect_classes(nest, n, perfect, parent, child, carry, side, indexed, free, own):
    """The one class of each rank with perfect bounds: groups, receivers, those on the side, tile, old tile, shift, siblings,
    length of their tiles, spans."""
    judges = len(free) - 1
    for d in range(len(perfect)):
        if perfect[d]:
            c = own[d, 0]
            for k in range(9 + judges):
                c[k] = 1.0
            c[6] = 0.0
    for i in range(n):
        d = nest[RANK, i]
        if not perfect[d]:
            continue
        c = own[d, 0]
        bound = nest[BOUND, i]
        for k in range(judges):
            if free[k, i]:
                c[9 + k] += nest[STEP, i] * (bound - 1)
        spatial = nest[KIND, i] != 0
        if nest[LEVEL, i] >= child:
            c[4] *= bound
        elif free[-1, i]:
            if spatial:
                c[1] *= bound
                c[3] *= bound
        elif spatial:
            c[0] *= bound
            c[1] *= bound
            if nest[LEVEL, i] >= parent:
                c[7] *= bound
            if side != ORIGIN:
                c[2] *= bound
                c[3] *= bound
        elif i <= carry:
            times = bound - 1.0 if i == carry else float(bound)
            c[0] *= times
            c[1] *= times
            if side != FIRST or indexed[d]:
                c[2] *= times
                c[3] *= times
            elif i == carry:
                c[2] = c[3] = 0.0
            if i == carry:
                c[6] += nest[STEP, i]
        else:
            c[6] -= nest[STEP, i] * (bound - 1)
    for d in range(len(perfect)):
        if perfect[d]:
            c = own[d, 0]
            c[5] = c[4]
            c[8] = c[7] * c[4]


@kernel
def _imperfect_classes(nest, n, d, size, parent, child, carry, side, indexed, free, own):
    """By listing the digits of the fixed loops; equal classes are joined as they come."""
    digits = np.zeros(n, np.int64)
    found = 0
    row = np.empty(own.shape[1])
    while True:
        low = 0
        valid = True
        for i in range(n):
            if nest[RANK, i] == d and not free[-1, i]:
                low += digits[i] * nest[STEP, i]
                valid = valid and not (i == carry and digits[i] == 0)
        if valid and low < size:
            _class_row(nest, n, d, size, parent, child, carry, side, indexed, free, low, digits, row)
            found = _join(own, found, row)
            if found > len(own):
                return found
        i = n - 1
        while i >= 0:
            if nest[RANK, i] == d and not free[-1, i]:
                if nest[KIND, i] != 0 or i <= carry:
                    digits[i] += 1
                    if digits[i] < nest[BOUND, i] and _low(nest, n, d, free, digits) < size:
                        break
                digits[i] = 0
            i -= 1
        if i < 0:
            return found


@kernel
def _low(nest, n, d, free, digits):
    low = 0
    for i in range(n):
        if nest[RANK, i] == d and not free[-1, i]:
            low += digits[i] * nest[STEP, i]
    return low


@kernel
def _reach(nest, n, d, size, low, chosen):
    """The largest existing coordinate that the ``chosen`` loops reach from ``low``."""
    reach = low
    for i in range(n):
        if nest[RANK, i] == d and chosen[i]:
            reach += min(nest[BOUND, i] - 1, (size - 1 - reach) // nest[STEP, i]) * nest[STEP, i]
    return reach


@kernel
def _class_row(nest, n, d, size, parent, child, carry, side, indexed, free, low, digits, row):
    inside = nest[LEVEL, :n] >= child
    aside = True
    back = np.zeros(n, np.bool_)
    old = low
    for i in range(n):
        if nest[RANK, i] == d and not free[-1, i]:
            if nest[KIND, i] != 0:
                aside = aside and (side != ORIGIN or digits[i] == 0)
            else:
                aside = aside and (side != FIRST or indexed or digits[i] == 0)
                back[i] = i > carry
                if i == carry:
                    old -= nest[STEP, i]
    old = _reach(nest, n, d, size, old, back)
    row[0] = 1.0
    row[1] = _members(nest, n, d, size, child, free, low)
    row[2], row[3] = aside, aside * row[1]
    row[4] = _reach(nest, n, d, size, low, inside) - low + 1
    row[5] = _reach(nest, n, d, size, old, inside) - old + 1
    row[6] = low - old
    row[7], row[8] = _siblings(nest, n, d, size, parent, child, free, digits, inside)
    for k in range(len(free) - 1):
        start = 0
        for i in range(n):
            if nest[RANK, i] == d and not free[k, i]:
                start += digits[i] * nest[STEP, i]
        row[9 + k] = _reach(nest, n, d, size, start, free[k]) - start + 1


@kernel
def _members(nest, n, d, size, child, free, low):
    """Receivers of a group that exist at its step: digits of its merged spatial loops that stay below the size."""
    merged = 1
    for i in range(n):
        if nest[RANK, i] == d and free[-1, i] and nest[KIND, i] != 0 and nest[LEVEL, i] < child:
            merged *= nest[BOUND, i]
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
def _siblings(nest, n, d, size, parent, child, free, digits, inside):
    """Receivers of other groups that the same parent serves at the same step, this one included: how many, and how long
    their tiles are in all."""
    start = 0
    spread = 1
    for i in range(n):
        if nest[RANK, i] == d and not free[-1, i]:
            if nest[KIND, i] != 0 and nest[LEVEL, i] >= parent:
                spread *= nest[BOUND, i]
            else:
                start += digits[i] * nest[STEP, i]
    count = length = 0.0
    for number in range(spread):
        rest = number
        at = start
        for i in range(n):
            if nest[RANK, i] == d and not free[-1, i] and nest[KIND, i] != 0 and nest[LEVEL, i] >= parent:
                at += rest % nest[BOUND, i] * nest[STEP, i]
                rest //= nest[BOUND, i]
        if at < size:
            count += 1
            length += _reach(nest, n, d, size, at, inside) - at + 1
    return count, length


@kernel
def _join(own, found, row):
    """Add a class to those found, or its counts to an equal one. Returns how many there are, one more than fit if so."""
    for c in range(found):
        same = own[c, 1] / own[c, 0] == row[1]
        for k in range(4, len(row)):
            same = same and own[c, k] == row[k]
        if same:
            for k in range(4):
                own[c, k] += row[k]
            return found
    if found < len(own):
        own[found] = row
    return found + 1
