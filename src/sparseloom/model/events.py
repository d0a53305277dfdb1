"""The transfers of one edge as rows: how many there are, what each brings, and the tiles its leaders are judged by.

An edge takes a tensor from a level that keeps it (the parent) to the next that does, or to compute (the child). Its
transfers are sorted by the temporal loop that advances (see :mod:`sparseloom.model.dataflow`); within such a class, the
ranks of the iteration space vary on their own, so the transfers are a product of one list for each rank, or for the
ranks that share a tensor rank (p + r). Where positions do not matter, equal entries of a list are counted together, and
a perfect nest has one row for each class; where they do (actual data, a structured pattern), every position is a row.

The meaning of every term is docs/oracle.md, sections 1, 2 and 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.distinct import distinct
from sparseloom.mapping.batch import IntArray
from sparseloom.model.edge import Box, Edge, Wanted
from sparseloom.model.nests import BOUND, KIND, LEVEL, RANK, STEP
from sparseloom.model.source import OneMapping
from sparseloom.model.waiting import longest

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Transfers of one class, N rows of alike ones.

    ``groups`` and ``receivers`` count the groups and the receiving instances that a row stands for, ``together`` how many of
    these groups one parent instance serves at one step; rows of one ``step`` are served at the same one. ``first`` marks
    first dense visits. The new box is ``low, high``, the box of the receivers' transfer before it
    ``old_low, old_high`` (empty for the first), each [R, N]; ``span_low, span_high`` [K, D, N] the coordinates of
    each rank of the iteration space that are used with
    the transfer of each of the K judging edges in which the row lies. ``origin`` marks receivers whose spatial digits are
    all 0, in the ranks whose places do not matter. All intervals are half open.
    """

    groups: FloatArray
    receivers: FloatArray
    together: FloatArray
    step: IntArray
    first: BoolArray
    origin: BoolArray
    low: IntArray
    high: IntArray
    old_low: IntArray
    old_high: IntArray
    span_low: IntArray
    span_high: IntArray

    mappings = 1

    @property
    def mapping(self) -> IntArray:
        """The number of each row's mapping: there is one."""
        return np.zeros(self.groups.size, np.int64)

    @property
    def box(self) -> Box:
        """The new box."""
        return self.low, self.high

    @property
    def overlap(self) -> Box:
        """What new and old box have in common, [R, N] each; in every rank empty if it has no points."""
        low, high = np.maximum(self.low, self.old_low), np.minimum(self.high, self.old_high)
        return low, np.where((high > low).all(axis=0), high, low)

    @property
    def first_groups(self) -> FloatArray:
        return self.groups * self.first

    @property
    def first_receivers(self) -> FloatArray:
        return self.receivers * self.first

    @property
    def origin_receivers(self) -> FloatArray:
        return self.receivers * self.origin

    def span(self, k: int) -> Box:
        """The coordinates [D, N] of the ranks of the iteration space that the ``k``-th judging edge's transfer spans."""
        return self.span_low[k], self.span_high[k]

    def stays(self, axis: int, step: int) -> BoolArray:
        """Whether the transfer before had the same interval of tensor rank ``axis``, in steps of ``step``."""
        same = self.low[axis] // step == self.old_low[axis] // step
        same = same & ((self.high[axis] - 1) // step == (self.old_high[axis] - 1) // step)
        return np.asarray(same & (self.old_high > self.old_low).all(axis=0))

    def step_total(self, values: FloatArray, merged: bool) -> FloatArray:
        """The sum of ``values`` over all that one parent instance serves at the row's step: once a group if ``merged``, else
        once a receiver."""
        _, at = np.unique(self.step, return_inverse=True)
        times = self.together if merged else self.together * self.receivers / self.groups
        return np.asarray(np.bincount(at, values * times)[at])


@dataclass(frozen=True)
class _Cases:
    """The list of one component: C cases, for the tensor ranks ``rows`` and the iteration ranks ``dims`` in it."""

    dims: tuple[int, ...]
    rows: tuple[int, ...]
    groups: FloatArray
    receivers: FloatArray
    together: FloatArray
    step: IntArray
    """What the receivers of one parent instance at one step have in common, numbered."""
    first: BoolArray
    origin: BoolArray
    box: IntArray
    """[4, len(rows), C]: low, high, old low, old high; old high is not above old low before the first."""
    span: IntArray
    """[2, K, len(dims), C]: the coordinates used, low and high, for each judging edge."""


def transfers(
    nest: IntArray,
    shape: IntArray,
    edge: Edge,
    judges: tuple[Edge, ...],
    positions: BoolArray,
    before: bool = False,
    steps: bool = False,
    offsets: BoolArray | None = None,
) -> Iterator[Rows]:
    """Every transfer of ``edge``, a batch of rows for each class. For compute, which holds nothing, there is one class and
    no old box, unless ``before`` asks for the transfers before. ``steps`` asks for the rows' steps.

    ``nest`` [6, n] are the loops with more than one iteration, ``judges`` the edges, this one or outer ones, whose spans
    are wanted; ``positions`` [D] tells for which ranks a row's place matters, not only its extents, ``offsets`` [D] for which
    ranks it matters how the spans of the judges lie to each other.
    """
    carries = _advances(nest, edge) if edge.hold or before else [nest.shape[1]]
    windows = [window for k, judge in enumerate(judges) if judge is not edge for window in _windows(nest, judge, k)]
    timed = sorted({window.judge for window in windows if window.timed(nest, shape)})
    for carry in carries:
        for moment in product(*(_advances(nest, judges[k]) for k in timed)):
            at: dict[int, int] = dict(zip(timed, moment, strict=True))
            ranges = _ranges(nest, [(carry, nest.shape[1]), *((c, judges[k].period_loop(nest)) for k, c in at.items())])
            placed = [replace(w, carry=at[w.judge]) if w.judge in at else w for w in windows]
            found = list(_components(nest, shape, edge, judges, carry, ranges, placed))
            none = np.zeros(shape.size, np.bool_)
            if all(cases.groups.size for cases in found):
                lists = [_compressed(cases, positions, none if offsets is None else offsets, steps) for cases in found]
                yield _product(lists, edge, len(judges), shape.size, 0 <= carry < nest.shape[1])


def _advances(nest: IntArray, edge: Edge) -> list[int]:
    """The loops that advance at the edge's transfers; -1 for the first ones."""
    last = edge.period_loop(nest)
    return [-1, *(i for i in range(nest.shape[1]) if edge.around(nest, i) and i <= last)]


def _ranges(nest: IntArray, when: list[tuple[int, int]]) -> IntArray:
    """Digits [low, high) of every loop, [2, n], where for each ``(carry, last)``, of the temporal loops up to ``last``,
    those inside ``carry`` are at 0 and it itself at 1 or more."""
    low, high = np.zeros(nest.shape[1], np.int64), nest[BOUND].copy()
    for carry, last in when:
        for i in range(max(0, carry), min(last + 1, nest.shape[1])):
            if nest[KIND, i] == 0 and i == carry:
                low[i] = 1
            elif nest[KIND, i] == 0:
                high[i] = 1
    return np.stack([low, high])


@dataclass(frozen=True)
class _Window:
    """A tensor rank that a judging edge indexes by several ranks, over which it spreads receivers: some of them have
    equal tiles and are judged together. ``carry`` is the loop that advances at the edge's transfer, where that matters,
    else the number of loops."""

    judge: int
    edge: Edge
    row: int
    dims: tuple[int, ...]
    carry: int

    def timed(self, nest: IntArray, shape: IntArray) -> bool:
        """Whether equal tiles may come after unequal ones, so that the groups depend on what advanced."""
        sizes = [int(np.prod(nest[BOUND, nest[RANK] == d])) for d in self.dims]
        return self.edge.hold and any(size != shape[d] for size, d in zip(sizes, self.dims, strict=True))


def _windows(nest: IntArray, edge: Edge, k: int) -> Iterator[_Window]:
    spread = {int(nest[RANK, i]) for i in range(nest.shape[1]) if edge.merge and edge.between(nest, i)}
    for row, index in enumerate(edge.projection):
        dims = tuple(int(d) for d in np.flatnonzero(index))
        if len(spread & set(dims)) > 1:
            yield _Window(k, edge, row, dims, nest.shape[1])


def _components(
    nest: IntArray, shape: IntArray, edge: Edge, judges: tuple[Edge, ...], carry: int, ranges: IntArray,
    windows: list[_Window],
) -> Iterator[_Cases]:  # fmt: skip
    together: list[set[int]] = [{d} for d in range(shape.size)]
    indexes: list[set[int]] = [set(np.flatnonzero(row).tolist()) for row in edge.projection]
    for index in (*indexes, *(set(window.dims) for window in windows)):
        joined = [part for part in together if part & index]
        together = [part for part in together if part not in joined] + [set().union(*joined)] * bool(joined)
    for part in together:
        dims = sorted(part)
        rows = tuple(row for row in range(edge.projection.shape[0]) if edge.projection[row, dims].any())
        if rows:
            inside = [window for window in windows if set(window.dims) <= part]
            yield _tensor_ranks(nest, shape, edge, judges, rows, dims, carry, ranges, inside)
        else:
            yield _bystander(nest, int(shape[dims[0]]), edge, judges, dims[0], ranges)


def _digits(nest: IntArray, fixed: list[int], ranges: IntArray) -> IntArray:
    """All digits of the ``fixed`` loops within their ``ranges`` [2, n], [len(fixed), C]."""
    grid = np.meshgrid(*(np.arange(*ranges[:, i]) for i in fixed), indexing="ij") if fixed else []
    return np.array([axis.ravel() for axis in grid], dtype=np.int64).reshape(len(fixed), -1 if fixed else 1)


def _furthest(nest: IntArray, low: IntArray, free: list[int], size: int) -> IntArray:
    """The largest existing coordinate that the ``free`` loops reach from ``low``, outermost free loop first."""
    reach = low.copy()
    for i in free:
        reach += np.minimum(nest[BOUND, i] - 1, (size - 1 - reach) // nest[STEP, i]) * nest[STEP, i]
    return reach


def _spans(nest: IntArray, size: int, judges: tuple[Edge, ...], d: int, fixed: list[int], digits: IntArray) -> IntArray:
    """The coordinates of rank ``d`` used with each judging edge's transfer, [2, K, 1, C]; ``digits`` are those of the
    ``fixed`` loops."""
    spans = np.zeros((2, len(judges), 1, digits.shape[1]), np.int64)
    for k, judge in enumerate(judges):
        free = judge.free(nest, d)
        kept = [j for j, i in enumerate(fixed) if i not in free]
        low = nest[STEP, [fixed[j] for j in kept]] @ digits[kept]
        spans[0, k, 0] = low
        spans[1, k, 0] = _furthest(nest, low, free, size) + 1
    return spans


def _bystander(nest: IntArray, size: int, edge: Edge, judges: tuple[Edge, ...], d: int, ranges: IntArray) -> _Cases:
    """A rank that does not index the tensor: its loops repeat transfers, and widen what is used with them."""
    free = edge.free(nest, d)
    fixed = [i for i in range(nest.shape[1]) if nest[RANK, i] == d and i not in free]
    digits = _digits(nest, fixed, ranges)
    low = nest[STEP, fixed] @ digits
    digits, low = digits[:, low < size], low[low < size]
    receivers = np.ones(low.size)
    merged = [i for i in free if edge.between(nest, i)]
    if merged:
        offsets = nest[STEP, merged] @ _digits(nest, merged, ranges)
        receivers = (low[:, None] + offsets < size).sum(axis=1).astype(np.float64)
    first = np.asarray(~digits[[k for k, i in enumerate(fixed) if nest[KIND, i] == 0]].any(axis=0))
    box = np.zeros((4, 0, low.size), np.int64)
    spans = _spans(nest, size, judges, d, fixed, digits)
    apart = [k for k, i in enumerate(fixed) if edge.between(nest, i)]
    step = _numbered((low - nest[STEP, [fixed[k] for k in apart]] @ digits[apart])[None])
    one = np.ones(low.size)
    return _Cases((d,), (), one, receivers, one, step, first, _origin(nest, fixed, digits), box, spans)


def _numbered(keys: IntArray) -> IntArray:
    """Equal columns of ``keys`` [K, C] by one number."""
    return distinct(keys)[1]


def _origin(nest: IntArray, fixed: list[int], digits: IntArray) -> BoolArray:
    return np.asarray(~digits[[k for k, i in enumerate(fixed) if nest[KIND, i] != 0]].any(axis=0))


def _tensor_ranks(
    nest: IntArray, shape: IntArray, edge: Edge, judges: tuple[Edge, ...], rows: tuple[int, ...], dims: list[int],
    carry: int, ranges: IntArray, windows: list[_Window],
) -> _Cases:  # fmt: skip
    """The ranks that index one tensor rank, or several that a judge's receivers have in common, jointly."""
    shared, box, span, origin = _joint_tiles(nest, shape, edge, judges, rows, dims, carry, ranges)
    for window in windows:
        _widen(nest, shape, window, dims, span)
    count = np.ones(box.shape[-1])
    some = np.ones(box.shape[-1], np.bool_)
    cases = _Cases(tuple(dims), rows, count, count, count, _numbered(shared), some, origin, box, span)
    spread = {int(nest[RANK, i]) for i in range(nest.shape[1]) if edge.between(nest, i)} & set(dims)
    return _grouped(cases, shared, edge.hold) if edge.merge and len(spread) > 1 else cases


def _joint_tiles(
    nest: IntArray, shape: IntArray, edge: Edge, judges: tuple[Edge, ...], rows: tuple[int, ...], dims: list[int],
    carry: int, ranges: IntArray,
) -> _Tiles:  # fmt: skip
    """Every combination of one tile of each of ``dims``, intervals half open; before the first there is no old one."""
    parts = [_tiles(nest, int(shape[d]), edge, judges, d, carry, ranges, edge.projection[list(rows), d]) for d in dims]
    shared, box, span, origin = parts[0]
    for part in parts[1:]:
        shared, box, span, origin = _paired((shared, box, span, origin), part)
    box[1] += 1
    box[3] = np.where(0 <= carry < nest.shape[1], box[3] + 1, box[2])
    return shared, box, span, origin


def _widen(nest: IntArray, shape: IntArray, window: _Window, dims: list[int], span: IntArray) -> None:
    """Widen the spans [2, K, len(dims), C] of the window's judge to what all receivers with equal tiles use."""
    edge, own = window.edge, list(window.dims)
    ranges = _ranges(nest, [(window.carry, nest.shape[1])])
    shared, box, alone, origin = _joint_tiles(nest, shape, edge, (edge,), (window.row,), own, window.carry, ranges)
    one = np.ones(origin.size)
    cases = _Cases(window.dims, (window.row,), one, one, one, shared[0], origin, origin, box, alone)
    group = _groups(cases, shared, edge.hold)
    hull = _hull(alone, group)
    at = [dims.index(d) for d in own]
    place = np.ravel_multi_index(tuple(alone[0, 0]), tuple(shape[own]))
    sought = np.ravel_multi_index(tuple(span[0, window.judge, at]), tuple(shape[own]))
    order = np.argsort(place)
    known = order[np.searchsorted(place[order], sought)]
    span[:, window.judge, at] = hull[:, 0][..., group[known]]


_Tiles = tuple[IntArray, IntArray, IntArray, BoolArray]


def _tiles(
    nest: IntArray, size: int, edge: Edge, judges: tuple[Edge, ...], d: int, carry: int, ranges: IntArray,
    factors: IntArray,
) -> _Tiles:  # fmt: skip
    """All tiles of one rank: what a group's receivers share [1, C], the interval scaled by the factor of each tensor rank
    [4, len(factors), C] (low, last, old low, old last), the coordinates used [2, K, 1, C], the mark of the origin [C]."""
    loops = [i for i in range(nest.shape[1]) if nest[RANK, i] == d]
    outside = [i for i in loops if nest[LEVEL, i] < edge.child]
    inside = [i for i in loops if i not in outside]
    digits = _digits(nest, outside, ranges)
    low = nest[STEP, outside] @ digits
    digits, low = digits[:, low < size], low[low < size]
    last = _furthest(nest, low, inside, size)
    spread = [k for k, i in enumerate(outside) if edge.between(nest, i)]
    shared = low - nest[STEP, [outside[k] for k in spread]] @ digits[spread]
    old = low - (nest[STEP, carry] if carry in outside else 0)
    old = _furthest(nest, old, [i for i in outside if nest[KIND, i] == 0 and i > carry], size)
    old_last = _furthest(nest, old, inside, size)
    spans = _spans(nest, size, judges, d, outside, digits)
    scaled = factors[:, None] * np.stack([low, last, old, old_last])[:, None]
    return shared[None], scaled, spans, _origin(nest, outside, digits)


def _paired(a: _Tiles, b: _Tiles) -> _Tiles:
    """Every pair of an entry of ``a`` with one of ``b``; intervals add up, the other parts stand side by side."""
    left = np.repeat(np.arange(a[0].shape[-1]), b[0].shape[-1])
    right = np.tile(np.arange(b[0].shape[-1]), a[0].shape[-1])
    shared = np.concatenate([a[0][:, left], b[0][:, right]])
    spans = np.concatenate([a[2][..., left], b[2][..., right]], axis=2)
    return shared, a[1][..., left] + b[1][..., right], spans, a[3][left] & b[3][right]


def _grouped(cases: _Cases, shared: IntArray, hold: bool) -> _Cases:
    """One case for each group. Where nothing is held, the old box is that around all of the receivers."""
    group = _groups(cases, shared, hold)
    _, member, receivers = np.unique(group, return_index=True, return_counts=True)
    some, one = np.ones(member.size, np.bool_), np.ones(member.size)
    box = cases.box[..., member]
    if not hold and (cases.box[3] > cases.box[2]).all():
        box[2:] = _hull(cases.box[2:], group)
    return _Cases(
        cases.dims, cases.rows, one, receivers.astype(np.float64), one, _numbered(shared[:, member]), some, some, box,
        _hull(cases.span, group),
    )  # fmt: skip


def _groups(cases: _Cases, shared: IntArray, hold: bool) -> IntArray:
    """The group of every case: receivers of one parent and step whose new and, if they ``hold`` one, old intervals are
    equal."""
    old = np.where((cases.box[3] > cases.box[2]) & hold, cases.box[2:], 0)
    return _numbered(np.concatenate([shared, *cases.box[:2], *old]))


def _hull(intervals: IntArray, group: IntArray) -> IntArray:
    """The interval around those [2, ..., C] of every group, [2, ..., groups]."""
    hull = np.zeros((*intervals.shape[:-1], int(group.max(initial=-1)) + 1), np.int64)
    hull[0] = np.iinfo(np.int64).max
    for at in np.ndindex(*intervals.shape[1:-1]):
        np.minimum.at(hull[0][at], group, intervals[0][at])
        np.maximum.at(hull[1][at], group, intervals[1][at])
    return hull


def _compressed(cases: _Cases, positions: BoolArray, offsets: BoolArray, steps: bool) -> _Cases:
    """Cases that differ only in places that do not matter, counted together."""
    dims = list(cases.dims)
    if positions[dims].any():
        return replace(cases, origin=np.ones_like(cases.origin))
    box, span = cases.box.copy(), cases.span.copy()
    box[2:] = np.where(box[3] > box[2], box[2:] - box[0], 0)
    box[1] -= box[0]
    box[0] = 0
    if span.shape[1]:
        span -= np.where(offsets[dims][:, None], span[0].min(axis=0), span[0])
    marks = np.stack([cases.first, cases.origin, cases.receivers.astype(np.int64)])
    size = cases.groups.size
    columns = np.concatenate([box.reshape(-1, size), span.reshape(-1, size), marks])
    first, kind = distinct(columns)
    unique = columns[:, first]
    count = unique.shape[1]
    if steps:
        pick, step, together, groups = _by_step(kind, cases.step)
    else:
        pick, step, together = np.arange(count), np.arange(count), np.ones(count)
        groups = np.bincount(kind, minlength=count).astype(np.float64)
    unique, split = unique[:, pick], 4 * len(cases.rows)
    return _Cases(
        cases.dims, cases.rows, groups, groups * unique[-1], together, step,
        unique[-3].astype(np.bool_), unique[-2].astype(np.bool_),
        unique[:split].reshape(*box.shape[:2], pick.size), unique[split:-3].reshape(*span.shape[:3], pick.size),
    )  # fmt: skip


def _by_step(kind: IntArray, step: IntArray) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Steps at which the same kinds of cases occur equally often, counted together.

    Returns for every kind at every sort of step: the kind, the sort, how many cases one such step has, and all of them.
    """
    content: dict[int, list[tuple[int, int]]] = {}
    pairs, times = np.unique(np.stack([step, kind]), axis=1, return_counts=True)
    for at, what, often in zip(*pairs.tolist(), times.tolist(), strict=True):
        content.setdefault(at, []).append((what, often))
    sorts: dict[tuple[tuple[int, int], ...], int] = {}
    for kinds in content.values():
        key = tuple(kinds)
        sorts[key] = sorts.get(key, 0) + 1
    rows = [
        (what, number, often, often * repeats)
        for number, (kinds, repeats) in enumerate(sorts.items())
        for what, often in kinds
    ]
    table = np.array(rows, np.int64).reshape(-1, 4).T
    return table[0], table[1], table[2].astype(np.float64), table[3].astype(np.float64)


def _product(lists: list[_Cases], edge: Edge, judges: int, ranks: int, before: bool) -> Rows:
    """Every combination of one case of each component; ``before`` says whether there was a transfer before."""
    sizes = tuple(cases.groups.size for cases in lists)
    total = int(np.prod(sizes))
    groups, receivers, together = np.ones(1), np.ones(1), np.ones(1)
    step = np.zeros(1, np.int64)
    first, origin = np.ones(1, np.bool_), np.ones(1, np.bool_)
    box = np.zeros((4, edge.projection.shape[0], total), np.int64)
    box[1], box[3] = 1, before
    span = np.zeros((2, judges, ranks, total), np.int64)
    for place, cases in enumerate(lists):
        groups = np.multiply.outer(groups, cases.groups).ravel()
        receivers = np.multiply.outer(receivers, cases.receivers).ravel()
        together = np.multiply.outer(together, cases.together).ravel()
        step = np.add.outer(step * (int(cases.step.max()) + 1), cases.step).ravel()
        first = np.logical_and.outer(first, cases.first).ravel()
        origin = np.logical_and.outer(origin, cases.origin).ravel()
        for row, values in zip(cases.rows, np.moveaxis(cases.box, 1, 0), strict=True):
            box[:, row] = _spread(values, sizes, place)
        for d, values in zip(cases.dims, np.moveaxis(cases.span, 2, 0), strict=True):
            span[:, :, d] = _spread(values, sizes, place)
    return Rows(groups, receivers, together, step, first, origin, *box, *span)


def _spread(values: IntArray, sizes: tuple[int, ...], place: int) -> IntArray:
    """Values [..., C] of the component at ``place`` for every combination of cases, [..., product of ``sizes``]."""
    lead = values.shape[:-1]
    own = values.reshape(*lead, *(1,) * place, sizes[place], *(1,) * (len(sizes) - place - 1))
    return np.broadcast_to(own, (*lead, *sizes)).reshape(*lead, int(np.prod(sizes)))


def _joined(rows: list[Rows]) -> Rows:
    """Batches of rows as one; their steps are numbered apart."""
    if len(rows) == 1:
        return rows[0]
    parts = {field.name: [getattr(some, field.name) for some in rows] for field in fields(Rows)}
    counts = np.cumsum([0, *(int(some.step.max()) + 1 for some in rows)])
    parts["step"] = [some.step + before for some, before in zip(rows, counts, strict=False)]
    return Rows(**{name: np.concatenate(values, axis=-1) for name, values in parts.items()})


@dataclass(frozen=True)
class Events(OneMapping):
    """The transfers of one mapping as a source of rows: ``nest`` [6, n] are its loops with more than one iteration."""

    nest: IntArray
    shape: IntArray
    mappings: int = 1

    def transfers(self, edge: Edge, wanted: Wanted) -> Iterator[Rows]:
        """Every transfer of an edge, see :func:`transfers`; those to compute, which holds nothing, at once."""
        before = len(wanted.watch) > 0
        found = transfers(
            self.nest, self.shape, edge, wanted.judges, self._positions(wanted), before, wanted.steps, wanted.offsets
        )
        return found if edge.hold or before else iter([_joined(list(found))])

    def _positions(self, wanted: Wanted) -> BoolArray:
        return np.zeros(self.shape.size, np.bool_) if wanted.positions is None else wanted.positions

    def tiles(self, edge: Edge, wanted: Wanted) -> tuple[Box, FloatArray, FloatArray, IntArray]:
        """Boxes of the tiles that the child holds at some time, their points, how often, and the mapping (0) of each."""
        found = list(transfers(self.nest, self.shape, edge, (), self._positions(wanted)))
        low, high = (np.concatenate([getattr(rows, end) for rows in found], axis=1) for end in ("low", "high"))
        times = np.concatenate([rows.receivers for rows in found])
        return (low, high), np.prod(high - low, axis=0).astype(np.float64), times, np.zeros(low.shape[1], np.int64)

    def nominal(self, level: int) -> IntArray:
        """Coordinates of a tile of a level where no bound is cut short, at most the shape, [D, 1]."""
        extents = np.ones(self.shape.size, np.int64)
        inside = self.nest[:, self.nest[LEVEL] >= level]
        np.multiply.at(extents, inside[RANK], inside[BOUND])
        return np.minimum(extents, self.shape)[:, None]

    def busiest(self, busy: FloatArray, rows: Rows, barrier: int) -> FloatArray:
        """The most computes of one instance: of those that places tell apart, each with the most points elsewhere."""
        zero = np.zeros(busy.size, np.int64)
        digits = rows.low[self.nest[RANK]] // self.nest[STEP][:, None] % self.nest[BOUND][:, None]
        spatial = self.nest[KIND] != 0
        instance, step = (
            np.ravel_multi_index(tuple(digits[some]), tuple(self.nest[BOUND, some])) if some.any() else zero
            for some in (spatial, ~spatial & (self.nest[LEVEL] < barrier))
        )
        return np.array([longest(busy * rows.origin_receivers, instance, step)])
