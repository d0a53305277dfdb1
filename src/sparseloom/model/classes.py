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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import BoolArray, IntArray, Problem
from sparseloom.model.dataflow import BOUND, KIND, LEVEL, RANK, STEP, Nests, borrowed, kernel
from sparseloom.model.digits import (  # fmt: skip
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
    PLACE,
    PLAIN,
    RESIDUE,
    REST,
    SIBLINGS,
    SPANS,
    SPREAD,
    TILE,
    TIME,
    changes,
    cut_classes,
    merge_residues,
    whole_classes,
)
from sparseloom.model.events import Box, Edge, Wanted
from sparseloom.model.receivers import MOST_RECEIVERS, MOST_SORTS, listed_classes, main_rank, needs_list

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
        task = _task(self.problem.shape, edge, wanted, before)
        room = _room(task, self.nests.loops.shape[2])
        ranks, dims = edge.projection.shape
        table = np.empty((4 * self.mappings + 64, HEAD + 3 * ranks + len(task.watch) + len(task.judges) * dims))
        done = used = 0
        while True:
            room.hashed[:] = -1
            done, used = _emit_batch(*self.nests[:5], *task, *room, table, done, used, self.irregular)
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
        return np.asarray(np.bincount(rows.mapping, busy * rows.side_receivers, self.mappings), np.float64)


class Task(NamedTuple):
    """What the kernels need to know of an edge and of what is wanted. R tensor ranks, D iteration ranks, K judges.

    ``projection`` [R, D], and of its rows and columns: ``indexed`` [D] ranks, ``window`` [R] tensor ranks indexed by several.
    ``judges`` [K, 3 + D]: parent, child, whether it merges, and :func:`_windows`; ``looked`` [K, D]: ranks in which its
    span is wanted. ``watch``, ``splits`` [., 2]: tensor rank and step; ``parts`` [R], ``modulus`` [D]: what residues of
    tensor and iteration coordinates matter to the splits; ``whole`` [R]: coordinates of the tensor's ranks.
    """

    projection: IntArray
    indexed: BoolArray
    window: BoolArray
    parent: int
    child: int
    levels: int
    merge: bool
    judges: IntArray
    looked: BoolArray
    watch: IntArray
    splits: IntArray
    parts: IntArray
    modulus: IntArray
    whole: IntArray
    side: int
    steps: bool
    before: bool


def _task(shape: IntArray, edge: Edge, wanted: Wanted, before: bool) -> Task:
    projection, dims = edge.projection, edge.projection.shape[1]
    judges = [[j.parent, j.child, j.merge, *_windows(j)] for j in wanted.judges]
    splits = _table(wanted.splits, 2)
    whole = projection @ (shape - 1) + 1
    parts = np.ones_like(whole)
    for r, size in splits:
        parts[r] = np.lcm(parts[r], size) if size < whole[r] else parts[r]
    return Task(
        projection, np.asarray(projection.any(axis=0)), (projection > 0).sum(axis=1) > 1,
        edge.parent, edge.child, edge.levels, edge.merge, _table(judges, 3 + dims), wanted.relevant(dims),
        _table(wanted.watch, 2), splits, parts, np.lcm.reduce(np.where(projection > 0, parts[:, None], 1), axis=0), whole,
        ORIGIN if wanted.origin else FIRST if wanted.output else PLAIN, wanted.steps, before,
    )  # fmt: skip


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


class Room(NamedTuple):
    """Where the kernels work: classes of each rank ``own`` [D, MOST_CLASSES + 1, ...] and how many; the one ``chosen`` of each;
    ``states`` of :func:`cut_classes`; what each loop is; how a row's box ``moves``; hashed rows;
    ``sorts`` and ``lists`` of :func:`listed_classes`."""

    own: FloatArray
    states: FloatArray
    classes: IntArray
    chosen: IntArray
    role: IntArray
    free: IntArray
    moves: FloatArray
    hashed: IntArray
    sorts: IntArray
    lists: IntArray


def _room(task: Task, slots: int) -> Room:
    (ranks, dims), columns = task.projection.shape, SPANS + len(task.judges)
    return Room(
        np.empty((dims, MOST_CLASSES + 1, columns)), np.empty((2, MOST_CLASSES + 1, columns)), np.empty(dims, np.int64),
        np.empty(dims, np.int64), np.empty(slots, np.int64), np.empty(slots, np.int64),
        np.empty((2, ranks)), np.empty(2 * MOST_ROWS, np.int64), np.empty((2, MOST_SORTS, 2), np.int64),
        np.empty((3, MOST_SORTS, MOST_RECEIVERS, 6), np.int64),
    )  # fmt: skip


def _classes(table: FloatArray, ranks: int, dims: int, wanted: Wanted) -> Classes:
    rows = np.ascontiguousarray(table.T)
    mapping = rows[0].astype(np.int64)
    watched = HEAD + 3 * ranks
    spans = watched + len(wanted.watch)
    whole = rows[HEAD:].astype(np.int64)
    return Classes(
        mapping, rows[1], rows[1] * rows[3], rows[2], rows[2] * rows[3], rows[4],
        whole[2 * ranks : 3 * ranks], whole[:ranks], whole[ranks : 2 * ranks],
        {key: rows[watched + k] > 0 for k, key in enumerate(wanted.watch)},
        whole[spans - HEAD :].reshape(len(wanted.judges), dims, len(mapping)),
    )  # fmt: skip


@kernel
def _emit_batch(
    loops, count, order, begin, perfect, projection, indexed, window, parent, child, levels, merge, judges, looked, watch, splits,
    parts, modulus, whole, side, steps, before, own, states, classes, chosen, role, free, moves, hashed, sorts, lists,
    table, done, used, irregular,
):  # fmt: skip
    """Write the classes of the mappings from ``done`` on to ``table``, from row ``used`` on, as far as there is room; returns
    how many mappings are done and rows used. Every mapping has at least one row.

    Each row: mapping, groups, those on the side, receivers of a group, points of a step, extents [R], common extents [R], low
    [R], changed [W], spans [K, D].
    """
    dims = len(indexed)
    sliding, hold = window.any(), child < levels
    split = (window & (parts > 1)).any()
    settled, mains = np.zeros(len(watch) + 1, np.bool_), np.empty(len(window), np.int64)
    loops, count, order, begin, perfect = borrowed(loops), borrowed(count), borrowed(order), borrowed(begin), borrowed(perfect)
    projection, indexed, window = borrowed(projection), borrowed(indexed), borrowed(window)
    judges, looked, watch, splits = borrowed(judges), borrowed(looked), borrowed(watch), borrowed(splits)
    parts, modulus, whole = borrowed(parts), borrowed(modulus), borrowed(whole)
    own, states, classes, chosen = borrowed(own), borrowed(states), borrowed(classes), borrowed(chosen)
    role, free, moves, hashed, table = borrowed(role), borrowed(free), borrowed(moves), borrowed(hashed), borrowed(table)
    sorts, lists = borrowed(sorts), borrowed(lists)
    for b in range(done, len(count)):
        nest, n = loops[b], count[b]
        start = used
        fits = _set_roles(nest, n, indexed, parent, child, levels, merge, judges, role, free)
        mains[:] = -1
        by_window = False
        ordered = before and (len(watch) > 0 or _needs_order(nest, n, perfect[b], projection, indexed, window, role))
        share = _merged_share(nest, n, projection, window, mains, role) if sliding and merge else 1.0
        for r in range(0 if perfect[b].all() else len(window)):
            if needs_list(nest, n, r, projection, window, perfect[b], role, ordered and hold, steps, share):
                mains[r] = main_rank(r, projection, looked)
                fits = fits and mains[r] >= 0 and (hold or not ordered)
                by_window = by_window or window[r]
        if share < 1.0:
            share = _merged_share(nest, n, projection, window, mains, role)
            fits = fits and (share == 1.0 or (len(judges) == 0 and not split))
        classes[:] = 0
        settled[:] = False
        at = _outwards(role, n) if ordered else -1
        while fits and at >= -1:
            carry = 2 * at if at >= 0 else -1 if ordered else 2 * n + 1
            if at >= 0 and _settles(nest, at, perfect[b], projection, watch, whole, hold, settled) and not by_window:
                carry += 1
            for r in range(len(mains)):
                if mains[r] >= 0 and fits and _is_stale(r, projection, classes):
                    fits = listed_classes(
                        nest, order[b], begin[b], r, mains[r], projection, role, carry, merge, steps, parts[r], sorts, lists,
                        classes, own,
                    )  # fmt: skip
            whole_classes(nest, n, perfect[b], modulus, role, free, looked, carry, side, indexed, states, classes, own)
            for d in range(dims):
                if classes[d] == 0 and fits:
                    classes[d] = cut_classes(
                        nest, order[b], begin[b, d], begin[b, d + 1], role, free, looked, d, carry, side, indexed[d], ordered,
                        steps, modulus[d], states, own,
                    )  # fmt: skip
                    fits = classes[d] >= 0
                if classes[d] > 1 and modulus[d] > 1:
                    merge_residues(nest, n, d, carry, projection, watch, splits, whole, states, classes, own)
            if fits:
                used = _multiply(
                    nest, n, projection, indexed, watch, splits, parts, whole, carry, hold, ordered, steps, share, table,
                    start, used, b, own, classes, chosen, moves, hashed,
                )  # fmt: skip
                if used == len(table):
                    return b, start
                fits = used - start <= MOST_ROWS
            if at >= 0:
                classes[nest[RANK, at]] = 0
            at = _outwards(role, at) if at >= 0 and carry % 2 == 0 else -2
            if at >= 0:
                classes[nest[RANK, at]] = 0
        if not fits:
            irregular[b] = True
            used = start
        if used == start:
            table[used] = 0.0
            table[used, 0] = b
            used += 1
    return len(count), used


@kernel
def _outwards(role, at):
    """The next loop outside ``at`` that advances, -1 for none."""
    at -= 1
    while at >= 0 and role[at] != TIME:
        at -= 1
    return at


@kernel
def _settles(nest, at, perfect, projection, watch, whole, hold, settled):
    """Whether all that is watched has changed, and nothing is held, whenever loop ``at`` or one outside it advances.

    An interval that one perfect rank indexes is another one after each advance of that rank's loops or of loops outside
    them; in steps of a watched size, of its loops with whole such steps. ``settled`` [W + 1] keeps what loops inside have shown.
    """
    d = nest[RANK, at]
    for r in range(len(projection) if perfect[d] else 0):
        if projection[r, d] and (projection[r] != 0).sum() == 1:
            settled[len(watch)] = True
            for w in range(len(watch)):
                size = watch[w, 1]
                if watch[w, 0] == r and size < max(2, whole[r]) and projection[r, d] * nest[STEP, at] % size == 0:
                    settled[w] = True
    return settled[: len(watch)].all() and (settled[len(watch)] or not hold)


@kernel
def _set_roles(nest, n, indexed, parent, child, levels, merge, judges, role, free):
    """Say what each loop is to the edge, and set bit k of those whose digits vary within the k-th judge's transfer: in the tile,
    in the period, over the group. Returns whether the judges' groups are those digits alone, and not receivers whose
    windows happen to be equal."""
    last = n
    if child < levels:
        last = n - 1
        while last >= 0 and not (nest[KIND, last] == 0 and nest[LEVEL, last] < child and indexed[nest[RANK, last]]):
            last -= 1
    for i in range(n):
        free[i] = 0
        if nest[LEVEL, i] >= child:
            role[i] = TILE
        elif nest[KIND, i] == 0:
            role[i] = TIME if i <= last else REST
        elif nest[LEVEL, i] < parent:
            role[i] = PLACE
        else:
            role[i] = MERGED if merge and not indexed[nest[RANK, i]] else SPREAD
    fits = True
    for k in range(len(judges)):
        fits = fits and _varying(nest, n, judges, k, levels, free)
    return fits


@kernel
def _varying(nest, n, judges, k, levels, free):
    """Set bit ``k`` of loops whose digits vary within a judge's transfer: in the tile, in the period, over the group. Returns
    whether its groups are those digits alone, and not receivers whose windows happen to be equal."""
    parent, child, merge = judges[k, 0], judges[k, 1], judges[k, 2] == 1
    last = n
    if child < levels:
        last = n - 1
        while last >= 0 and not (nest[KIND, last] == 0 and nest[LEVEL, last] < child and judges[k, 3 + nest[RANK, last]]):
            last -= 1
    for i in range(n):
        window = judges[k, 3 + nest[RANK, i]]
        if nest[LEVEL, i] >= child:
            free[i] |= 1 << k
        elif nest[KIND, i] == 0:
            free[i] |= (1 if i > last else 0) << k
        elif merge and nest[LEVEL, i] >= parent:
            free[i] |= (1 if window == 0 else 0) << k
            for j in range(i if window > 1 else 0):
                spread = nest[KIND, j] != 0 and nest[LEVEL, j] >= parent and nest[RANK, j] != nest[RANK, i]
                if spread and judges[k, 3 + nest[RANK, j]] == window:
                    return False
    return True


@kernel
def _needs_order(nest, n, perfect, projection, indexed, window, role):
    """Whether what a transfer brings depends on the loop that advanced: with a sliding window, or where an imperfect bound
    inside the loop can leave a tile unchanged."""
    outside = False
    for i in range(n):
        if role[i] == TIME:
            d = nest[RANK, i]
            if not indexed[d]:
                outside = True
            elif outside and not perfect[d]:
                return True
            for r in range(len(window)):
                if window[r] and projection[r, d]:
                    return True
    return False


@kernel
def _is_stale(r, projection, classes):
    """Whether the classes of some rank in the index of tensor rank ``r`` have to be made."""
    stale = False
    for d in range(len(classes)):
        stale = stale or (projection[r, d] != 0 and classes[d] == 0)
    return stale


@kernel
def _merged_share(nest, n, projection, window, mains, role):
    """Groups over receivers, for tensor ranks whose intervals several receivers have in common (p + r), unless they are listed."""
    share = 1.0
    for r in range(len(window)):
        if not window[r] or mains[r] >= 0:
            continue
        reach = 0
        members = 1
        first = -1
        several = False
        for i in range(n):
            d = nest[RANK, i]
            if role[i] == SPREAD and projection[r, d]:
                reach += projection[r, d] * nest[STEP, i] * (nest[BOUND, i] - 1)
                members *= nest[BOUND, i]
                several = several or (first >= 0 and first != d)
                first = d
        if not several:
            continue
        seen = np.zeros(reach + 1, np.bool_)
        seen[0] = True
        for i in range(n):
            if role[i] == SPREAD and projection[r, nest[RANK, i]]:
                stride = projection[r, nest[RANK, i]] * nest[STEP, i]
                for at in range(reach, -1, -1):
                    for k in range(1, nest[BOUND, i]):
                        if at - k * stride >= 0 and seen[at - k * stride]:
                            seen[at] = True
        share *= seen.sum() / members
    return share


@kernel
def _multiply(
    nest, n, projection, indexed, watch, splits, parts, whole, carry, hold, ordered, steps, share, table, start, used, b, own,
    classes, chosen, moves, hashed,
):  # fmt: skip
    """Write the classes of the steps of ``carry``: every combination of one class of each rank."""
    ranks, dims = projection.shape
    judges = own.shape[2] - SPANS
    old = carry >= 0 and carry % 2 == 0
    low = HEAD + 2 * ranks
    spans = HEAD + 3 * ranks + len(watch)
    combinations = 1
    for d in range(dims):
        chosen[d] = 0
        combinations *= classes[d]
    for _ in range(combinations):
        if used + 1 >= len(table):
            return len(table)
        groups = aside = members = siblings = 1.0
        for r in range(ranks):
            moves[0, r] = 0.0
            moves[1, r] = 1.0
            table[used, HEAD + r] = 1.0
            table[used, low + r] = 0.0
        for d in range(dims):
            c = chosen[d]
            groups *= own[d, c, GROUPS]
            aside *= own[d, c, ASIDE]
            for k in range(judges):
                table[used, spans + k * dims + d] = own[d, c, SPANS + k]
            members *= own[d, c, MEMBERS]
            if not indexed[d]:
                siblings *= own[d, c, SIBLINGS]
                continue
            for r in range(ranks):
                factor = projection[r, d]
                if factor:
                    table[used, HEAD + r] += factor * (own[d, c, EXTENT] - 1)
                    table[used, low + r] += factor * own[d, c, RESIDUE]
                    if ordered:
                        moved = (nest[STEP, carry // 2] if old and nest[RANK, carry // 2] == d else 0) - own[d, c, BACK]
                        moves[0, r] += factor * moved
                        moves[1, r] += factor * (own[d, c, OLD] - 1)
        table[used, 0] = b
        table[used, 1] = groups * share
        table[used, 2] = aside * share
        table[used, 3] = members / share
        _finish(table, used, ranks, old, hold, moves, watch, splits, parts, whole)
        table[used, 4] = 0.0
        if steps:
            holds = old and hold
            table[used, 4] = siblings * share * _step_points(table, used, projection, own, chosen, moves, holds)
        if combinations == 1 and not ordered:
            return used + 1
        used = _joined(table, start, used, hashed)
        d = 0
        while d < dims:
            chosen[d] += 1
            if chosen[d] < classes[d]:
                break
            chosen[d] = 0
            d += 1
    return used


@kernel
def _finish(table, at, ranks, old, hold, moves, watch, splits, parts, whole):
    """Complete row ``at``: the common extents of new and old box, none if they are disjoint or nothing is held; which
    intervals changed; and the low corner, 0 where the interval lies in one part of every split. ``moves`` [2, R] are how far
    the box moved and the extents that it had."""
    low = HEAD + 2 * ranks
    shared = old and hold
    for r in range(ranks):
        if shared:
            shift = moves[0, r]
            common = min(table[at, HEAD + r], moves[1, r] - shift) - max(0.0, -shift)
            table[at, HEAD + ranks + r] = common
            shared = common > 0
        table[at, low + r] = int(table[at, low + r]) % parts[r] if parts[r] > 1 else 0
    if not shared:
        for r in range(ranks):
            table[at, HEAD + ranks + r] = 0.0
    for w in range(len(watch)):
        r, step = watch[w, 0], watch[w, 1]
        changed = True
        if old:
            begin, extent, shift, before = int(table[at, low + r]), int(table[at, HEAD + r]), int(moves[0, r]), int(moves[1, r])
            changed = changes(begin, extent, shift, before, step, whole[r])
        table[at, low + ranks + w] = 1.0 if changed else 0.0
    for r in range(ranks):
        if parts[r] > 1 and table[at, low + r] > 0:
            inside = True
            for k in range(len(splits)):
                if splits[k, 0] == r and splits[k, 1] < whole[r]:
                    inside = inside and int(table[at, low + r]) % splits[k, 1] + table[at, HEAD + r] <= splits[k, 1]
            if inside:
                table[at, low + r] = 0.0


@kernel
def _step_points(table, at, projection, own, chosen, moves, holds):
    """Points that all receivers of one parent instance get at a step, for tensor ranks whose receivers differ."""
    ranks, dims = projection.shape
    new = held = 1.0
    for r in range(ranks):
        members = 1.0
        for d in range(dims):
            if projection[r, d]:
                members *= own[d, chosen[d], SIBLINGS]
        length = members
        for d in range(dims):
            if projection[r, d]:
                siblings = own[d, chosen[d], SIBLINGS]
                length += projection[r, d] * (own[d, chosen[d], LENGTH] - siblings) * members / siblings
        new *= length
        kept = -1.0
        for d in range(dims):
            if projection[r, d]:
                kept = max(kept, own[d, chosen[d], KEPT])
        extent = table[at, HEAD + r]
        common = max(0.0, min(extent, moves[1, r] - moves[0, r]) - max(0.0, -moves[0, r]))
        held *= kept if kept >= 0 else length if common == extent else members * common
    return new - (held if holds else 0.0)


@kernel
def _joined(table, start, at, hashed):
    """Keep row ``at`` as a class of its own, or add its counts to an equal one from ``start`` on; returns the rows used."""
    key = 0
    width = table.shape[1]
    for k in range(3, width):
        key = key * 1000003 + int(table[at, k] * 8)
    place = (key ^ (key >> 29)) & (len(hashed) - 1)
    while hashed[place] >= start:
        known = hashed[place]
        same = True
        for k in range(3, width):
            if table[known, k] != table[at, k]:
                same = False
                break
        if same:
            table[known, 1] += table[at, 1]
            table[known, 2] += table[at, 2]
            return at
        place = (place + 1) & (len(hashed) - 1)
    if at - start <= MOST_ROWS:
        hashed[place] = at
    return at + 1
