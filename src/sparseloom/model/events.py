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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.model.dataflow import BOUND, KIND, LEVEL, RANK, STEP
from sparseloom.mapping.batch import IntArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Edge:
    """A tensor's way from level ``parent`` to level ``child``; ``levels`` (S) as child means compute.

    ``projection`` [R, D] are the coefficients of the tensor's index; ``merge`` says that receivers with equal tiles form
    a group (multicast, or spatial reduction for the output).
    """

    parent: int
    child: int
    levels: int
    projection: IntArray
    merge: bool

    @property
    def hold(self) -> bool:
        """Whether the child holds a tile from one step to the next; compute does not."""
        return self.child < self.levels

    def indexes(self, d: int) -> bool:
        return bool(self.projection[:, d].any())

    def around(self, nest: IntArray, i: int) -> bool:
        """Whether loop ``i`` is a temporal loop around the child."""
        return bool(nest[KIND, i] == 0 and nest[LEVEL, i] < self.child)

    def between(self, nest: IntArray, i: int) -> bool:
        """Whether loop ``i`` spreads the children of one parent instance."""
        return bool(nest[KIND, i] != 0 and self.parent <= nest[LEVEL, i] < self.child)

    def period_loop(self, nest: IntArray) -> int:
        """The loop called q in the contract: the innermost temporal loop around the child that indexes the tensor.
        All loops for compute, whose periods are single steps; -1 if there is none."""
        if not self.hold:
            return nest.shape[1]
        moving = [i for i in range(nest.shape[1]) if self.around(nest, i) and self.indexes(int(nest[RANK, i]))]
        return max(moving, default=-1)

    def free(self, nest: IntArray, d: int) -> list[int]:
        """Loops over rank ``d`` whose digits vary within one transfer: in the tile, in the period, over the group."""
        last = self.period_loop(nest)
        loops = [i for i in range(nest.shape[1]) if nest[RANK, i] == d]
        shared = self.merge and not self.indexes(d)
        return [
            i for i in loops
            if nest[LEVEL, i] >= self.child or (nest[KIND, i] == 0 and i > last) or (shared and self.between(nest, i))
        ]  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """Transfers of one class, N rows of alike ones.

    ``groups`` and ``receivers`` count the groups and the receiving instances that a row stands for, ``together`` how many of
    these groups one parent instance serves at one step; rows of one ``step`` are served at the same one. ``first`` marks
    first dense visits. The new box is ``low, high``, the box of the receivers' transfer before it ``old_low, old_high`` (empty for the first),
    each [R, N]; ``span_low, span_high`` [K, D, N] the coordinates of each rank of the iteration space that are used with
    the transfer of each of the K judging edges in which the row lies. ``origin`` marks receivers whose spatial digits are
    all 0. All intervals are half open.
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

    @property
    def points(self) -> IntArray:
        """Points of the new box."""
        return np.asarray(np.prod(self.high - self.low, axis=0))

    @property
    def held(self) -> IntArray:
        """Points of the new box that the old one had too."""
        low, high = self.overlap
        return np.asarray(np.prod(high - low, axis=0))

    @property
    def overlap(self) -> tuple[IntArray, IntArray]:
        """The box common to new and old, [R, N] each; in every rank empty if it has no points."""
        low, high = np.maximum(self.low, self.old_low), np.minimum(self.high, self.old_high)
        return low, np.where((high > low).all(axis=0), high, low)


@dataclass(frozen=True)
class _Cases:
    """The list of one component: C cases, for the tensor ranks ``rows`` and the iteration ranks ``dims`` in it."""

    dims: tuple[int, ...]
    row: int | None
    groups: FloatArray
    receivers: FloatArray
    together: FloatArray
    step: IntArray
    """What the receivers of one parent instance at one step have in common, numbered."""
    first: BoolArray
    origin: BoolArray
    box: IntArray
    """[4, C]: low, high, old low, old high of the tensor rank ``row``, if any; old high is not above old low before the first."""
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
) -> Iterator[Rows]:
    """Every transfer of ``edge``, a batch of rows for each class. For compute, which holds nothing, there is one class and
    no old box, unless ``before`` asks for the transfers before. ``steps`` asks for the rows' steps.

    ``nest`` [6, n] are the loops with more than one iteration, ``judges`` the edges, this one or outer ones, whose spans
    are wanted; ``positions`` [D] tells for which ranks a row's place matters, not only its extents.
    """
    loops = range(nest.shape[1])
    last = edge.period_loop(nest)
    classes = [-1, *(i for i in loops if edge.around(nest, i) and i <= last)]
    carries = classes if edge.hold or before else [nest.shape[1]]
    for carry in carries:
        lists = [_compressed(cases, positions, steps) for cases in _components(nest, shape, edge, judges, carry)]
        if all(cases.groups.size for cases in lists):
            yield _product(lists, edge, len(judges), shape.size, 0 <= carry < nest.shape[1])


def _components(nest: IntArray, shape: IntArray, edge: Edge, judges: tuple[Edge, ...], carry: int) -> Iterator[_Cases]:
    for d in range(shape.size):
        if not edge.indexes(d):
            yield _bystander(nest, int(shape[d]), edge, judges, d, carry)
    for row in range(edge.projection.shape[0]):
        dims = [d for d in range(shape.size) if edge.projection[row, d]]
        if dims:
            yield _tensor_rank(nest, shape, edge, judges, row, dims, carry)


def _digits(nest: IntArray, fixed: list[int], carry: int) -> IntArray:
    """All digits of the ``fixed`` loops at the steps of ``carry``, [len(fixed), C]."""
    ranges = []
    for i in fixed:
        bound = int(nest[BOUND, i])
        if nest[KIND, i] != 0 or i < carry:
            ranges.append(np.arange(bound))
        else:
            ranges.append(np.arange(1, bound) if i == carry else np.arange(1))
    grid = np.meshgrid(*ranges, indexing="ij") if ranges else []
    return np.array([axis.ravel() for axis in grid], dtype=np.int64).reshape(len(fixed), -1 if fixed else 1)


def _furthest(nest: IntArray, low: IntArray, free: list[int], size: int) -> IntArray:
    """The largest existing coordinate that the ``free`` loops reach from ``low``, outermost free loop first."""
    reach = low.copy()
    for i in free:
        reach += np.minimum(nest[BOUND, i] - 1, (size - 1 - reach) // nest[STEP, i]) * nest[STEP, i]
    return reach


def _spans(
    nest: IntArray, size: int, judges: tuple[Edge, ...], d: int, fixed: list[int], digits: IntArray
) -> IntArray:
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


def _bystander(nest: IntArray, size: int, edge: Edge, judges: tuple[Edge, ...], d: int, carry: int) -> _Cases:
    """A rank that does not index the tensor: its loops repeat transfers, and widen what is used with them."""
    free = edge.free(nest, d)
    fixed = [i for i in range(nest.shape[1]) if nest[RANK, i] == d and i not in free]
    digits = _digits(nest, fixed, carry)
    low = nest[STEP, fixed] @ digits
    digits, low = digits[:, low < size], low[low < size]
    receivers = np.ones(low.size)
    merged = [i for i in free if edge.between(nest, i)]
    if merged:
        offsets = nest[STEP, merged] @ _digits(nest, merged, carry)
        receivers = (low[:, None] + offsets < size).sum(axis=1).astype(np.float64)
    first = ~digits[[k for k, i in enumerate(fixed) if nest[KIND, i] == 0]].any(axis=0)
    box = np.zeros((4, low.size), np.int64)
    spans = _spans(nest, size, judges, d, fixed, digits)
    apart = [k for k, i in enumerate(fixed) if edge.between(nest, i)]
    step = _numbered((low - nest[STEP, [fixed[k] for k in apart]] @ digits[apart])[None])
    one = np.ones(low.size)
    return _Cases((d,), None, one, receivers, one, step, first, _origin(nest, fixed, digits), box, spans)


def _numbered(keys: IntArray) -> IntArray:
    """Equal columns of ``keys`` [K, C] by one number."""
    return np.asarray(np.unique(keys, axis=1, return_inverse=True)[1].ravel())


def _origin(nest: IntArray, fixed: list[int], digits: IntArray) -> BoolArray:
    return np.asarray(~digits[[k for k, i in enumerate(fixed) if nest[KIND, i] != 0]].any(axis=0))


def _tensor_rank(
    nest: IntArray, shape: IntArray, edge: Edge, judges: tuple[Edge, ...], row: int, dims: list[int], carry: int
) -> _Cases:
    """The ranks that index one tensor rank, jointly."""
    joint = _tiles(nest, int(shape[dims[0]]), edge, judges, dims[0], carry, int(edge.projection[row, dims[0]]))
    for d in dims[1:]:
        joint = _paired(joint, _tiles(nest, int(shape[d]), edge, judges, d, carry, int(edge.projection[row, d])))
    shared, box, span, origin = joint
    box[1] += 1
    box[3] = np.where(0 <= carry < nest.shape[1], box[3] + 1, box[2])
    count = np.ones(box.shape[1])
    some = np.ones(box.shape[1], np.bool_)
    cases = _Cases(tuple(dims), row, count, count, count, _numbered(shared), some, origin, box, span)
    spread = {int(nest[RANK, i]) for i in range(nest.shape[1]) if edge.between(nest, i)} & set(dims)
    return _grouped(cases, shared) if edge.merge and len(spread) > 1 else cases


_Tiles = tuple[IntArray, IntArray, IntArray, BoolArray]


def _tiles(
    nest: IntArray, size: int, edge: Edge, judges: tuple[Edge, ...], d: int, carry: int, factor: int
) -> _Tiles:
    """All tiles of one rank: what a group's receivers share [1, C], the scaled interval [4, C] (low, last, old low, old
    last), the coordinates used [2, K, 1, C] and the mark of the origin [C]."""
    loops = [i for i in range(nest.shape[1]) if nest[RANK, i] == d]
    outside = [i for i in loops if nest[LEVEL, i] < edge.child]
    inside = [i for i in loops if i not in outside]
    digits = _digits(nest, outside, carry)
    low = nest[STEP, outside] @ digits
    digits, low = digits[:, low < size], low[low < size]
    last = _furthest(nest, low, inside, size)
    spread = [k for k, i in enumerate(outside) if edge.between(nest, i)]
    shared = low - nest[STEP, [outside[k] for k in spread]] @ digits[spread]
    old = low - (nest[STEP, carry] if carry in outside else 0)
    old = _furthest(nest, old, [i for i in outside if nest[KIND, i] == 0 and i > carry], size)
    old_last = _furthest(nest, old, inside, size)
    spans = _spans(nest, size, judges, d, outside, digits)
    return shared[None], factor * np.stack([low, last, old, old_last]), spans, _origin(nest, outside, digits)


def _paired(a: _Tiles, b: _Tiles) -> _Tiles:
    """Every pair of an entry of ``a`` with one of ``b``; intervals add up, the other parts stand side by side."""
    left = np.repeat(np.arange(a[0].shape[-1]), b[0].shape[-1])
    right = np.tile(np.arange(b[0].shape[-1]), a[0].shape[-1])
    shared = np.concatenate([a[0][:, left], b[0][:, right]])
    spans = np.concatenate([a[2][..., left], b[2][..., right]], axis=2)
    return shared, a[1][:, left] + b[1][:, right], spans, a[3][left] & b[3][right]


def _grouped(cases: _Cases, shared: IntArray) -> _Cases:
    """One case for each group: receivers of one parent and step whose new and old intervals are equal."""
    old = np.where(cases.box[3] > cases.box[2], cases.box[2:], 0)
    keys, group, receivers = np.unique(
        np.concatenate([shared, cases.box[:2], old]), axis=1, return_inverse=True, return_counts=True
    )
    count = keys.shape[1]
    span = np.zeros((*cases.span.shape[:-1], count), np.int64)
    span[0] = np.iinfo(np.int64).max
    for at in np.ndindex(*cases.span.shape[1:3]):
        np.minimum.at(span[0][at], group.ravel(), cases.span[0][at])
        np.maximum.at(span[1][at], group.ravel(), cases.span[1][at])
    some = np.ones(count, np.bool_)
    box, one = keys[shared.shape[0] :], np.ones(count)
    step = _numbered(keys[: shared.shape[0]])
    return _Cases(cases.dims, cases.row, one, receivers.astype(np.float64), one, step, some, some, box, span)


def _compressed(cases: _Cases, positions: BoolArray, steps: bool) -> _Cases:
    """Cases that differ only in places that do not matter, counted together."""
    if positions[list(cases.dims)].any():
        return cases
    box, span = cases.box.copy(), cases.span.copy()
    box[2:] = np.where(box[3] > box[2], box[2:] - box[0], 0)
    box[1] -= box[0]
    box[0] = 0
    span[1] -= span[0]
    span[0] = 0
    marks = np.stack([cases.first, cases.origin, cases.receivers.astype(np.int64)])
    unique, kind = np.unique(
        np.concatenate([box, span.reshape(-1, box.shape[1]), marks]), axis=1, return_inverse=True
    )
    kind = kind.ravel()
    count = unique.shape[1]
    if steps:
        pick, step, together, groups = _by_step(kind, cases.step)
    else:
        pick, step, together = np.arange(count), np.arange(count), np.ones(count)
        groups = np.bincount(kind, minlength=count).astype(np.float64)
    unique = unique[:, pick]
    return _Cases(
        cases.dims, cases.row, groups, groups * unique[-1], together, step,
        unique[-3].astype(np.bool_), unique[-2].astype(np.bool_),
        unique[:4], unique[4:-3].reshape(*span.shape[:3], pick.size),
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
    sizes = [cases.groups.size for cases in lists]
    total = int(np.prod(sizes))
    groups, receivers, together = np.ones(total), np.ones(total), np.ones(total)
    step = np.zeros(total, np.int64)
    first, origin = np.ones(total, np.bool_), np.ones(total, np.bool_)
    box = np.zeros((4, edge.projection.shape[0], total), np.int64)
    box[1], box[3] = 1, before
    span = np.zeros((2, judges, ranks, total), np.int64)
    repeat = total
    at = np.arange(total)
    for cases, size in zip(lists, sizes, strict=True):
        repeat //= size
        pick = at // repeat % size
        groups *= cases.groups[pick]
        receivers *= cases.receivers[pick]
        together *= cases.together[pick]
        step = step * (int(cases.step.max()) + 1) + cases.step[pick]
        first &= cases.first[pick]
        origin &= cases.origin[pick]
        if cases.row is not None:
            box[:, cases.row] = cases.box[:, pick]
        span[:, :, list(cases.dims)] = cases.span[..., pick]
    return Rows(groups, receivers, together, step, first, origin, *box, *span)
