"""Transfers of a whole batch of mappings as classes of alike ones, compiled.

:mod:`sparseloom.model.events` lists the transfers of one mapping; where densities do not depend on places, most of them
are alike. These kernels count the classes of each mapping of a batch without listing: :mod:`sparseloom.model.digits` has
the classes of each rank, here they are multiplied out, for one loop that advances after the other where the transfer before
matters. Terms and counts are those of the other module; a test holds the two together. Few mappings do not fit the form
(``irregular``) and are left to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import BoolArray, IntArray, Problem
from sparseloom.model.dataflow import BOUND, KIND, LEVEL, RANK, STEP, Nests, kernel
from sparseloom.model.digits import (
    ASIDE,
    BACK,
    EXTENT,
    FIRST,
    GROUPS,
    LENGTH,
    MEMBERS,
    MERGED,
    MOST_CLASSES,
    OLD,
    ORIGIN,
    PLACE,
    PLAIN,
    RESIDUE,
    REST,
    SIBLINGS,
    SPANS,
    SPREAD,
    TILE,
    TIME,
    rank_classes,
)  # fmt: skip
from sparseloom.model.events import Box, Edge, Wanted

FloatArray = NDArray[np.float64]

MOST_ROWS = 4096
"""Classes of one mapping on one edge; a mapping with more is irregular."""

HEAD = 5
"""Columns of a row before its boxes: mapping, groups, those on the side, receivers of a group, points of a step."""


@dataclass(frozen=True)
class Classes:
    """Classes of the transfers of one edge over a batch, N in all, sorted by mapping.

    ``groups``, ``receivers`` count the transfers of a class, ``side_groups``, ``side_receivers`` those of them that are
    first dense visits (or at the origin); ``low`` [R, N] is where the new box begins, as far as parts of split ranks matter,
    ``extents`` are its own, ``common`` [R, N] those of its part that the old one had; ``points`` are all that one parent
    instance serves at such a step; ``spans`` [K, D, N] the coordinates used with each judging edge's transfer.
    """

    mapping: IntArray
    starts: IntArray
    groups: FloatArray
    receivers: FloatArray
    side_groups: FloatArray
    side_receivers: FloatArray
    points: FloatArray
    low: IntArray
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
        return self.low, self.low + self.extents

    @property
    def overlap(self) -> Box:
        return self.low, self.low + self.common

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
        yield self._classes(edge, wanted, edge.hold or len(wanted.watch) > 0)

    def _classes(self, edge: Edge, wanted: Wanted, before: bool) -> Classes:
        """The classes of an edge; ``before`` tells whether the transfer before may matter."""
        ranks, dims = edge.projection.shape
        judges = _table([[j.parent, j.child, j.merge, *_windows(j)] for j in wanted.judges], 3 + dims)
        watch, splits = _table(wanted.watch, 2), _table(wanted.splits, 2)
        side = ORIGIN if wanted.origin else FIRST if wanted.output else PLAIN
        width = HEAD + 3 * ranks + len(watch) + len(judges) * dims
        table = np.empty((4 * self.mappings + 64, width))
        done = used = 0
        while True:
            done, used = _emit_batch(
                self.nests.loops, self.nests.count, self.nests.perfect, self.nests.order, self.nests.begin,
                self.problem.shape, edge.projection, np.array([edge.parent, edge.child, edge.merge, edge.levels]),
                judges, wanted.relevant(dims), watch, splits, side, wanted.steps, before, table, done, used, self.irregular,
            )  # fmt: skip
            if done == self.mappings:
                break
            table = np.concatenate([table, np.empty_like(table)])
        return _classes(table[:used], ranks, dims, wanted)

    def tiles(self, edge: Edge, wanted: Wanted) -> tuple[Box, FloatArray, IntArray]:
        """Boxes of the child's tiles, how often each occurs, and the mapping of each."""
        if not wanted.splits and self.nests.perfect.all():
            extents = edge.projection @ (self.nominal(edge.child).T - 1) + 1
            return (np.zeros_like(extents), extents), np.ones(self.mappings), np.arange(self.mappings)
        rows = self._classes(edge, wanted, False)
        return rows.box, rows.receivers, rows.mapping

    def nominal(self, level: int) -> IntArray:
        return np.minimum(self.nests.tile[:, level], self.problem.shape)

    def busiest(self, busy: FloatArray, rows: Classes) -> FloatArray:
        """The computes of the first instance: none has more points."""
        return rows.total(busy * rows.side_receivers)


def _table(rows: object, width: int) -> IntArray:
    return np.array(rows, np.int64).reshape(-1, width)


def _windows(edge: Edge) -> IntArray:
    """For each iteration rank, [D]: 0 if it does not index the tensor, 1 if it does so alone, and else a number above 1 that
    it shares with those whose sum is an index."""
    found = np.asarray(edge.projection.any(axis=0), np.int64)
    for r, row in enumerate(edge.projection > 0):
        if row.sum() > 1:
            found[row] = r + 2
    return found


def _classes(table: FloatArray, ranks: int, dims: int, wanted: Wanted) -> Classes:
    rows = np.ascontiguousarray(table.T)
    mapping = rows[0].astype(np.int64)
    starts = np.flatnonzero(np.diff(mapping, prepend=-1))
    watched = HEAD + 3 * ranks
    spans = watched + len(wanted.watch)
    whole = rows[HEAD:].astype(np.int64)
    return Classes(
        mapping, starts, rows[1], rows[1] * rows[3], rows[2], rows[2] * rows[3], rows[4],
        whole[2 * ranks : 3 * ranks], whole[:ranks], whole[ranks : 2 * ranks],
        {key: rows[watched + k] > 0 for k, key in enumerate(wanted.watch)},
        whole[spans - HEAD :].reshape(len(wanted.judges), dims, len(mapping)),
    )  # fmt: skip


@kernel
def _emit_batch(
    loops, count, perfect, order, begin, shape, projection, edge, judges, judged, watch, splits, side, steps, before, table, done, used,
    irregular,
):  # fmt: skip
    """Write the classes of the mappings from ``done`` on to ``table``, from row ``used`` on, as far as there is room; returns
    how many mappings are done and rows used. Every mapping has at least one row.

    Each row: mapping, groups, those on the side, receivers of a group, points of a step, extents [R], common extents [R], low
    [R], changed [W], spans [K, D].
    """
    ranks, dims = projection.shape
    slots = loops.shape[2]
    own = np.empty((dims, MOST_CLASSES, SPANS + len(judges)))
    states = np.empty((2, MOST_CLASSES, SPANS + len(judges)))
    role = np.empty(slots, np.int64)
    free = np.empty((len(judges), slots), np.bool_)
    hashed = np.full(2 * MOST_ROWS, -1)
    row = np.empty(table.shape[1])
    indexed = np.zeros(dims, np.bool_)
    sliding = False
    for r in range(ranks):
        sliding = sliding or (projection[r] > 0).sum() > 1
        for d in range(dims):
            indexed[d] = indexed[d] or projection[r, d] != 0
    whole = np.ones(ranks, np.int64)
    for r in range(ranks):
        for d in range(dims):
            whole[r] += projection[r, d] * (shape[d] - 1)
    parts = np.ones(ranks, np.int64)
    for k in range(len(splits)):
        r, size = splits[k]
        if size < whole[r]:
            parts[r] = parts[r] * size // _divisor(parts[r], size)
    modulus = np.ones(dims, np.int64)
    for r in range(ranks):
        for d in range(dims):
            if projection[r, d]:
                modulus[d] = modulus[d] * parts[r] // _divisor(modulus[d], parts[r])
    for b in range(done, len(count)):
        end = _emit(
            loops[b], count[b], perfect[b], order[b], begin[b], projection, indexed, sliding, edge, judges, judged, watch,
            splits, parts, modulus, whole, side, steps, before, table, used, b, own, states, role, free, hashed, row, irregular,
        )  # fmt: skip
        if end == len(table):
            return b, used
        if end == used:
            table[end] = 0.0
            table[end, 0] = b
            end += 1
        used = end
    return len(count), used


@kernel
def _divisor(a, b):
    while b:
        a, b = b, a % b
    return a


@kernel
def _period_loop(nest, n, indexed, child):
    """The innermost temporal loop around ``child`` over an indexed rank, -1 without one."""
    for i in range(n - 1, -1, -1):
        if nest[KIND, i] == 0 and nest[LEVEL, i] < child and indexed[nest[RANK, i]]:
            return i
    return -1


@kernel
def _emit(
    nest, n, perfect, order, begin, projection, indexed, sliding, edge, judges, judged, watch, splits, parts, modulus, whole,
    side, steps, before, table, used, b, own, states, role, free, hashed, row, irregular,
):  # fmt: skip
    """Write the classes of one mapping; returns the rows used, all of ``table`` if there is no room."""
    parent, child, merge, levels = edge
    dims = len(perfect)
    hold = child < levels
    last = _period_loop(nest, n, indexed, child) if hold else n
    for i in range(n):
        if nest[LEVEL, i] >= child:
            role[i] = TILE
        elif nest[KIND, i] == 0:
            role[i] = TIME if i <= last else REST
        elif nest[LEVEL, i] < parent:
            role[i] = PLACE
        else:
            role[i] = MERGED if merge and not indexed[nest[RANK, i]] else SPREAD
    for k in range(len(judges)):
        if not _varying(nest, n, judges[k], levels, free[k]):
            irregular[b] = True
            return used
    share = _merged_share(nest, n, projection, role) if merge and sliding else 1.0
    if sliding and (share < 1.0 or steps) and not _windows_are_even(nest, n, projection, perfect, role):
        irregular[b] = True
        return used
    if share < 1.0 and len(judges):
        irregular[b] = True
        return used
    ordered = before and (len(watch) > 0 or _needs_order(nest, n, perfect, projection, indexed, sliding, role))
    count = np.zeros(dims, np.int64)
    every = nest.shape[1]
    start = used
    for carry in range(n - 1 if ordered else -1, -2, -1):
        if carry >= 0 and role[carry] != TIME:
            continue
        for d in range(dims):
            if count[d] == 0:
                count[d] = rank_classes(
                    nest, order[begin[d] : begin[d + 1]], role, free, judged[:, d], carry if ordered else every, side, indexed[d],
                    ordered, steps, modulus[d], perfect[d], states, own[d],
                )  # fmt: skip
                if count[d] < 0:
                    irregular[b] = True
                    return start
        used = _multiply(
            nest, projection, indexed, watch, splits, parts, whole, carry if ordered else every, hold, ordered, steps, share,
            table, start, used, b, own, count, hashed, row,
        )  # fmt: skip
        if used == len(table):
            return used
        if used - start > MOST_ROWS:
            irregular[b] = True
            return start
        if carry >= 0:
            count[nest[RANK, carry]] = 0
            for i in range(carry - 1, -1, -1):
                if role[i] == TIME:
                    count[nest[RANK, i]] = 0
                    break
    return used


@kernel
def _varying(nest, n, judge, levels, free):
    """Mark the loops whose digits vary within a judge's transfer: in the tile, in the period, over the group. Returns whether
    its groups are those digits alone, and not receivers whose windows happen to be equal."""
    parent, child, merge = judge[:3]
    windows = judge[3:]
    end = _period_loop(nest, n, windows, child) if child < levels else n
    for i in range(n):
        window = windows[nest[RANK, i]]
        if nest[LEVEL, i] >= child:
            free[i] = True
        elif nest[KIND, i] == 0:
            free[i] = i > end
        else:
            free[i] = merge == 1 and window == 0 and nest[LEVEL, i] >= parent
            if merge == 1 and window > 1 and nest[LEVEL, i] >= parent:
                for k in range(i):
                    spread = nest[KIND, k] != 0 and nest[LEVEL, k] >= parent and nest[RANK, k] != nest[RANK, i]
                    if spread and windows[nest[RANK, k]] == window:
                        return False
    return True


@kernel
def _needs_order(nest, n, perfect, projection, indexed, sliding, role):
    """Whether what a transfer brings depends on the loop that advanced: with a sliding window, or where an imperfect bound
    inside the loop can leave a tile unchanged."""
    outside = False
    for i in range(n):
        if role[i] != TIME:
            continue
        d = nest[RANK, i]
        if not indexed[d]:
            outside = True
            continue
        if outside and not perfect[d]:
            return True
        for r in range(projection.shape[0] if sliding else 0):
            if projection[r, d] and (projection[r] > 0).sum() > 1:
                return True
    return False


@kernel
def _windows_are_even(nest, n, projection, perfect, role):
    """Whether the receivers of one parent whose windows overlap all have windows of one length."""
    for i in range(n):
        for r in range(projection.shape[0] if role[i] == SPREAD else 0):
            if projection[r, nest[RANK, i]] and (projection[r] > 0).sum() > 1:
                for d in range(len(perfect)):
                    if projection[r, d] and not perfect[d]:
                        return False
    return True


@kernel
def _merged_share(nest, n, projection, role):
    """Groups over receivers, for tensor ranks whose intervals several receivers have in common (p + r)."""
    share = 1.0
    for r in range(projection.shape[0]):
        reach = 0
        members = 1
        first = -1
        several = False
        for i in range(n):
            d = nest[RANK, i]
            if projection[r, d] and role[i] == SPREAD:
                reach += projection[r, d] * nest[STEP, i] * (nest[BOUND, i] - 1)
                members *= nest[BOUND, i]
                several = several or (first >= 0 and first != d)
                first = d
        if not several:
            continue
        seen = np.zeros(reach + 1, np.bool_)
        seen[0] = True
        for i in range(n):
            if projection[r, nest[RANK, i]] and role[i] == SPREAD:
                stride = projection[r, nest[RANK, i]] * nest[STEP, i]
                for at in range(reach, -1, -1):
                    for k in range(1, nest[BOUND, i]):
                        if at - k * stride >= 0 and seen[at - k * stride]:
                            seen[at] = True
        share *= seen.sum() / members
    return share


@kernel
def _multiply(
    nest, projection, indexed, watch, splits, parts, whole, carry, hold, ordered, steps, share, table, start, used, b, own, count,
    hashed, row,
):  # fmt: skip
    """Write the classes of the steps of ``carry``: every combination of one class of each rank."""
    ranks, dims = projection.shape
    judges = own.shape[2] - SPANS
    old = 0 <= carry < nest.shape[1]
    spans = HEAD + 3 * ranks + len(watch)
    shift = np.empty(ranks)
    before = np.empty(ranks)
    chosen = np.zeros(dims, np.int64)
    single = True
    for d in range(dims):
        if count[d] == 0:
            return used
        single = single and count[d] == 1
    while True:
        if used + 1 >= len(table):
            return len(table)
        groups = aside = members = siblings = 1.0
        for r in range(ranks):
            shift[r] = 0.0
            before[r] = 1.0
            row[HEAD + r] = 1.0
            row[HEAD + 2 * ranks + r] = 0.0
        for d in range(dims):
            c = own[d, chosen[d]]
            groups *= c[GROUPS]
            aside *= c[ASIDE]
            for k in range(judges):
                row[spans + k * dims + d] = c[SPANS + k]
            if not indexed[d]:
                members *= c[MEMBERS]
                siblings *= c[SIBLINGS]
                continue
            moved = (nest[STEP, carry] if old and nest[RANK, carry] == d else 0) - c[BACK]
            for r in range(ranks):
                factor = projection[r, d]
                if factor:
                    row[HEAD + r] += factor * (c[EXTENT] - 1)
                    row[HEAD + 2 * ranks + r] += factor * c[RESIDUE]
                    before[r] += factor * (c[OLD] - 1)
                    shift[r] += factor * moved
        row[0], row[1], row[2], row[3] = b, groups * share, aside * share, members / share
        _finish(row, ranks, old and hold, shift, before, watch, splits, parts, whole, old)
        row[4] = siblings * share * _step_points(row, ranks, projection, own, chosen) if steps else 0.0
        if used == start and single and not ordered:
            table[used] = row
            return used + 1
        used = _add(table, start, used, row, hashed)
        d = 0
        while d < dims:
            chosen[d] += 1
            if chosen[d] < count[d]:
                break
            chosen[d] = 0
            d += 1
        if d == dims:
            return used


@kernel
def _finish(row, ranks, hold, shift, before, watch, splits, parts, whole, old):
    """The common extents of new and old box, none if they are disjoint or nothing is held; which intervals changed; and the
    low corner, 0 where the interval lies in one part of every split."""
    shared = hold
    low = HEAD + 2 * ranks
    for r in range(ranks):
        common = min(row[HEAD + r], before[r] - shift[r]) - max(0.0, -shift[r])
        row[HEAD + ranks + r] = common
        shared = shared and common > 0
        row[low + r] %= parts[r]
    if not shared:
        row[HEAD + ranks : HEAD + 2 * ranks] = 0.0
    for w in range(len(watch)):
        r, step = watch[w]
        changed = True
        if old:
            start, end = row[low + r], row[low + r] + row[HEAD + r] - 1
            if step == 1:
                changed = shift[r] != 0 or before[r] != row[HEAD + r]
            elif step >= whole[r]:
                changed = False
            else:
                changed = start // step != (start - shift[r]) // step
                changed = changed or end // step != (start - shift[r] + before[r] - 1) // step
        row[low + ranks + w] = 1.0 if changed else 0.0
    for r in range(ranks):
        inside = True
        for k in range(len(splits)):
            if splits[k, 0] == r and splits[k, 1] < whole[r]:
                inside = inside and row[low + r] % splits[k, 1] + row[HEAD + r] <= splits[k, 1]
        if inside:
            row[low + r] = 0.0


@kernel
def _step_points(row, ranks, projection, own, chosen):
    """Points that all receivers of one parent instance get at a step, for tensor ranks whose receivers differ."""
    new = 1.0
    held = 1.0
    for r in range(ranks):
        members = 1.0
        for d in range(projection.shape[1]):
            if projection[r, d]:
                members *= own[d, chosen[d], SIBLINGS]
        length = members
        for d in range(projection.shape[1]):
            if projection[r, d]:
                c = own[d, chosen[d]]
                length += projection[r, d] * (c[LENGTH] - c[SIBLINGS]) * members / c[SIBLINGS]
        new *= length
        common = row[HEAD + ranks + r]
        held *= length if common == row[HEAD + r] else members * common
    return new - held


@kernel
def _add(table, start, used, row, hashed):
    """Add a class to those from ``start`` on, or its counts to an equal one; returns the rows used."""
    key = 0
    for k in range(3, len(row)):
        key = key * 1000003 + int(row[k] * 8)
    at = (key ^ (key >> 29)) & (len(hashed) - 1)
    while hashed[at] >= start:
        known = hashed[at]
        same = True
        for k in range(3, len(row)):
            if table[known, k] != row[k]:
                same = False
                break
        if same:
            table[known, 1] += row[1]
            table[known, 2] += row[2]
            return used
        at = (at + 1) & (len(hashed) - 1)
    if used - start > MOST_ROWS:
        return used
    hashed[at] = used
    table[used] = row
    return used + 1
