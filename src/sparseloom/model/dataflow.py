"""Step one: the dense traffic of a loop nest, in closed form.

A tile of a tensor changes when a temporal loop around it advances. Sorting the steps by the loop that advances (all
temporal loops inside it go back to zero) makes them few classes; within a class, the words that a step brings are the
new box less its overlap with the old one, and both are products over the tensor's ranks. Because a rank of the
iteration space occurs once in a tensor's index, the sum over all steps and instances of a class is the product, over
the tensor's ranks, of sums over the digits of the few iteration ranks in that tensor rank's index. Those sums are
digit counts in mixed radix, in which an imperfect bound shows only as a last digit that is smaller than the others.

The meaning of every count is docs/oracle.md, sections 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import IntArray, MappingBatch, Problem
from sparseloom.model.conventions import Conventions
from sparseloom.model.kernel import kernel
from sparseloom.model.nests import (
    BOUND,
    KIND,
    LEVEL,
    RANK,
    STEP,
    configurations,
    fill_nest,
    is_perfect,
    tiles_and_instances,
)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DenseTraffic:
    """Dense counts, totals over all instances, one row for each mapping. B mappings, S levels, T tensors, D ranks.

    ``served[b, l, t]``: words that level l, as the parent, moves to or from its children (once a multicast or reduction
    group); ``delivered``: words that reach level l as a child (every receiver); ``first_served``, ``first_delivered``:
    those among them at a first dense visit; ``served_transfers``, ``delivered_transfers`` and
    ``first_served_transfers``, ``first_delivered_transfers``: the transfers in which they move. ``tile[b, l, d]``:
    nominal coordinates of rank d in a tile of level l (l = S: compute, 1); ``instances[b, l]``: instances used, l
    = S for compute; ``computes``: points. All are
    floats that hold integers below 2**53.
    """

    served: FloatArray
    delivered: FloatArray
    first_served: FloatArray
    first_delivered: FloatArray
    served_transfers: FloatArray
    delivered_transfers: FloatArray
    first_served_transfers: FloatArray
    first_delivered_transfers: FloatArray
    tile: IntArray
    instances: FloatArray
    computes: float


def count_dense(problem: Problem, batch: MappingBatch, conventions: Conventions) -> DenseTraffic:
    """Dense traffic of every mapping of ``batch``."""
    count, levels, tensors = len(batch), *batch.keep.shape
    counts = np.zeros((8, count, levels, tensors))
    tile = np.empty((count, levels + 1, len(problem.ranks)), np.int64)
    instances = np.empty((count, levels + 1))
    _count_batch(
        batch.rank, batch.bound, batch.place, batch.keep, problem.shape, problem.projections, problem.multicast,
        problem.reduction, conventions.reuse == "same-stride", counts, tile, instances,
    )  # fmt: skip
    numbers: Sequence[Any] = (*counts, tile, instances, float(problem.workload.computes))
    return DenseTraffic(*numbers)


@kernel
def _count_batch(
    rank, bound, place, keep, shape, projections, multicast, reduction, same_stride, counts, tile, instances
):
    count, slots = bound.shape
    levels, tensors = keep.shape
    nest, perfect = np.empty((6, slots), np.int64), np.empty(len(shape), np.bool_)
    for b in range(count):
        n = fill_nest(rank[b], bound[b], place[b], shape, nest)
        for d in range(len(shape)):
            perfect[d] = is_perfect(nest, n, d, shape)
        tiles_and_instances(nest, n, shape, perfect, tile[b], instances[b])
        for t in range(tensors):
            output = t == tensors - 1
            parent = -1
            for child in range(levels + 1):
                if child == levels or keep[child, t]:
                    if parent >= 0:
                        merge = True
                        for depth in range(parent, child):
                            merge = merge and (reduction[depth] if output else multicast[depth])
                        _count_edge(
                            nest, n, parent, child, levels, projections[t], shape, output, merge, same_stride,
                            counts[:, b, :, t],
                        )  # fmt: skip
                    parent = child


@kernel
def _tile(nest, n, d, child):
    """Nominal coordinates of rank ``d`` in a tile of level ``child``."""
    size = 1
    for i in range(n):
        if nest[RANK, i] == d and nest[LEVEL, i] >= child:
            size *= nest[BOUND, i]
    return size


@kernel
def _count_edge(nest, n, parent, child, levels, projection, shape, output, merge, same_stride, counts):
    """Add the traffic of one tensor from level ``parent`` to level ``child`` to ``counts`` [8, S]."""
    hold = child < levels
    sums = np.zeros(8)
    total = np.zeros(8)
    ranks, dims = projection.shape
    for carry in range(-1, n + 1):
        if hold and (carry == n or (carry >= 0 and (nest[KIND, carry] != 0 or nest[LEVEL, carry] >= child))):
            continue
        if not hold and carry < n:
            continue
        groups = receivers = 1.0
        for d in range(dims):
            if not projection[:, d].any():
                full, tail = configurations(nest, n, d, carry, child, parent, False, -1)
                receivers *= full + tail
                full, tail = configurations(nest, n, d, carry, child, parent, merge, -1)
                groups *= full + tail
        reuse = hold and carry >= 0 and (not same_stride or _same_stride(nest, n, projection, carry, child))
        total[:] = 1.0
        for r in range(ranks):
            if projection[r].any():
                _rank_sums(nest, n, projection[r], shape, carry, child, parent, merge, same_stride, sums)
                total *= sums
        if not reuse:
            total[4:] = 0.0
        counts[0, parent] += groups * (total[0] - total[4])
        counts[4, parent] += groups * (total[1] - total[5])
        if hold:
            counts[1, child] += receivers * (total[2] - total[6])
            counts[5, child] += receivers * (total[3] - total[7])
    if output:
        _count_first(nest, n, parent, child, levels, projection, shape, merge, counts)


@kernel
def _count_first(nest, n, parent, child, levels, projection, shape, merge, counts):
    """Add the words and transfers of the output's first dense visits: its own ranks everywhere, the others at the
    first step."""
    groups = receivers = words = transfers = 1.0
    for d in range(projection.shape[1]):
        if projection[:, d].any():
            full, tail = configurations(nest, n, d, n, child, parent, False, -1)
            tile = _tile(nest, n, d, child)
            words *= full * tile + tail * ((shape[d] - 1) % tile + 1)
            transfers *= full + tail
        else:
            full, tail = configurations(nest, n, d, -1, child, parent, False, -1)
            receivers *= full + tail
            full, tail = configurations(nest, n, d, -1, child, parent, merge, -1)
            groups *= full + tail
    counts[2, parent] += groups * words
    counts[6, parent] += groups * transfers
    if child < levels:
        counts[3, child] += receivers * words
        counts[7, child] += receivers * transfers


@kernel
def _shift(nest, n, projection_row, carry, child, last):
    """How far a tensor rank's interval moves when ``carry`` advances and the temporal loops inside it return to 0 from
    their last digit (``last``) or from digit 1."""
    shift = projection_row[nest[RANK, carry]] * nest[STEP, carry]
    for i in range(carry + 1, n):
        if nest[KIND, i] == 0 and nest[LEVEL, i] < child:
            back = nest[BOUND, i] - 1 if last else 1
            shift -= projection_row[nest[RANK, i]] * nest[STEP, i] * back
    return shift


@kernel
def _same_stride(nest, n, projection, carry, child):
    """Whether ``carry`` moves the tile as the innermost temporal loop does (the convention ``same-stride``)."""
    inner = carry
    for i in range(n):
        if nest[KIND, i] == 0 and nest[LEVEL, i] < child:
            inner = max(inner, i)
    for r in range(projection.shape[0]):
        if _shift(nest, n, projection[r], carry, child, False) != _shift(nest, n, projection[r], inner, child, False):
            return False
    return True


@kernel
def _overlap(now, old, shift):
    """Coordinates common to [0, now) and [-shift, old - shift)."""
    return max(0, min(now, old - shift) - max(0, -shift))


@kernel
def _rank_sums(nest, n, projection_row, shape, carry, child, parent, merge, same_stride, sums):
    """Sums over one tensor rank's intervals at the steps of ``carry``, into ``sums``.

    0: coordinates of the new intervals, once a group; 1: intervals, once a group; 2, 3: the same, every receiver;
    4..7: as 0..3 for the coordinates that the old interval had, and for intervals that lie in the old one.
    """
    dims = 0
    spread = 0
    perfect = True
    for d in range(len(projection_row)):
        if projection_row[d]:
            dims += 1
            nominal = 1
            grouped = False
            for i in range(n):
                if nest[RANK, i] == d:
                    nominal *= nest[BOUND, i]
                    grouped = grouped or (nest[KIND, i] != 0 and parent <= nest[LEVEL, i] < child)
            spread += grouped
            perfect = perfect and nominal == shape[d]
    if dims == 1 and not same_stride:
        _single_rank_sums(nest, n, projection_row, shape, carry, child, parent, sums)
    elif perfect or same_stride:
        _perfect_rank_sums(nest, n, projection_row, shape, carry, child, parent, same_stride, sums)
    else:
        _enumerated_rank_sums(nest, n, projection_row, shape, carry, child, parent, merge, sums)
        return
    share = 1.0
    if merge and spread > 1:
        share = _distinct_share(nest, n, projection_row, parent, child)
    for k in (0, 1, 4, 5):
        sums[k] = sums[k + 2] * share


@kernel
def _single_rank_sums(nest, n, projection_row, shape, carry, child, parent, sums):
    """A tensor rank indexed by one rank: its tiles lie on a grid, so the old tile is the new one or disjoint."""
    d = 0
    while not projection_row[d]:
        d += 1
    factor = projection_row[d]
    tile = _tile(nest, n, d, child)
    whole = factor * (tile - 1) + 1
    full, tail = configurations(nest, n, d, carry, child, parent, False, -1)
    sums[2] = full * whole + tail * (factor * ((shape[d] - 1) % tile) + 1)
    sums[3] = full + tail
    inside = -1
    for i in range(carry + 1, n):
        if nest[RANK, i] == d and nest[KIND, i] == 0 and nest[LEVEL, i] < child:
            inside = i
    if 0 <= carry < n and nest[RANK, carry] == d:
        sums[6] = sums[7] = 0.0
    elif inside < 0:
        sums[6], sums[7] = sums[2], sums[3]
    else:
        full, tail = configurations(nest, n, d, carry, child, parent, False, inside)
        sums[6] = sums[2] - (full + tail) * whole
        sums[7] = sums[3] - (full + tail)


@kernel
def _perfect_rank_sums(nest, n, projection_row, shape, carry, child, parent, same_stride, sums):
    """A tensor rank indexed by several ranks of perfect bounds: all intervals have one length, all shifts are equal."""
    length = 1
    count = 1.0
    for d in range(len(projection_row)):
        if projection_row[d]:
            length += projection_row[d] * (_tile(nest, n, d, child) - 1)
            full, tail = configurations(nest, n, d, carry, child, parent, False, -1)
            count *= full + tail
    sums[2], sums[3] = count * length, count
    sums[6] = sums[7] = 0.0
    if 0 <= carry < n:
        kept = _overlap(length, length, _shift(nest, n, projection_row, carry, child, not same_stride))
        sums[6] = count * kept
        sums[7] = count if kept == length else 0.0


@kernel
def _distinct_share(nest, n, projection_row, parent, child):
    """Distinct intervals over receivers, for the spatial loops between ``parent`` and ``child``: several ranks in one
    index (p + r) give the same interval to several receivers."""
    reach = 0
    members = 1
    for i in range(n):
        if nest[KIND, i] != 0 and parent <= nest[LEVEL, i] < child and projection_row[nest[RANK, i]]:
            reach += projection_row[nest[RANK, i]] * nest[STEP, i] * (nest[BOUND, i] - 1)
            members *= nest[BOUND, i]
    seen = np.zeros(reach + 1, np.bool_)
    seen[0] = True
    for i in range(n):
        if nest[KIND, i] != 0 and parent <= nest[LEVEL, i] < child and projection_row[nest[RANK, i]]:
            stride = projection_row[nest[RANK, i]] * nest[STEP, i]
            for at in range(reach, -1, -1):
                for k in range(1, nest[BOUND, i]):
                    if at - k * stride >= 0 and seen[at - k * stride]:
                        seen[at] = True
    return seen.sum() / members


@kernel
def _enumerated_rank_sums(nest, n, projection_row, shape, carry, child, parent, merge, sums):
    """A tensor rank indexed by several ranks, some with an imperfect bound: every pair of old and new interval."""
    cases = _rank_cases(nest, n, projection_row, shape, carry, child, parent)
    merged = cases
    if merge:
        merged = _merge_equal(cases)
    for offset, rows in ((2, cases), (0, merged)):
        new = count = kept = held = 0.0
        for row in rows:
            overlap = _overlap(row[3], row[5], row[2] - row[4]) if row[5] > 0 else 0
            new += row[3] * row[1]
            count += row[1]
            kept += overlap * row[1]
            held += row[1] if overlap == row[3] else 0
        sums[offset], sums[offset + 1], sums[offset + 4], sums[offset + 5] = new, count, kept, held


@kernel
def _rank_cases(nest, n, projection_row, shape, carry, child, parent):
    """All (step and parent instance, multiplicity, new low, new length, old low, old length) of a tensor rank at the
    steps of ``carry``; the first column numbers what all receivers of a group share. Old length 0: nothing held."""
    cases = np.array([[0, 1, 0, 1, 0, 1]])
    for d in range(len(projection_row)):
        if projection_row[d]:
            own = _dimension_cases(nest, n, d, shape[d], carry, child, parent)
            factor = projection_row[d]
            joint = np.empty((len(cases) * len(own), 6), np.int64)
            k = 0
            for a in cases:
                for o in own:
                    joint[k, 0] = a[0] * (shape[d] + 1) + o[0]
                    joint[k, 1] = 1
                    joint[k, 2] = a[2] + factor * o[1]
                    joint[k, 3] = a[3] + factor * (o[2] - 1)
                    joint[k, 4] = a[4] + factor * o[3]
                    joint[k, 5] = a[5] + factor * (o[4] - 1)
                    k += 1
            cases = joint
    if carry < 0 or carry >= n:
        cases[:, 5] = 0
    return cases


@kernel
def _dimension_cases(nest, n, d, size, carry, child, parent):
    """(shared part, new low, new length, old low, old length) of every existing tile of rank ``d`` at the steps of
    ``carry``. The shared part is the coordinate without the digits of spatial loops between ``parent`` and ``child``."""
    tile = _tile(nest, n, d, child)
    total = 1
    for i in range(n):
        if nest[RANK, i] == d and nest[LEVEL, i] < child:
            total *= nest[BOUND, i]
    rows = np.empty((total, 5), np.int64)
    k = 0
    for number in range(total):
        low = number * tile
        if low >= size:
            break
        outside = grouped = 0
        valid = True
        for i in range(n):
            if nest[RANK, i] == d and nest[LEVEL, i] < child:
                digit = low // nest[STEP, i] % nest[BOUND, i]
                if nest[KIND, i] != 0:
                    outside += digit * nest[STEP, i]
                    if nest[LEVEL, i] >= parent:
                        grouped += digit * nest[STEP, i]
                elif i > carry:
                    valid = valid and digit == 0
                elif i == carry:
                    valid = valid and digit > 0
                    outside += (digit - 1) * nest[STEP, i]
                else:
                    outside += digit * nest[STEP, i]
        if not valid:
            continue
        old = outside
        for i in range(n):
            inside = i > carry and nest[KIND, i] == 0
            if inside and nest[RANK, i] == d and nest[LEVEL, i] < child:
                old += min(nest[BOUND, i] - 1, (size - 1 - old) // nest[STEP, i]) * nest[STEP, i]
        rows[k] = (low - grouped, low, min(tile, size - low), old, min(tile, size - old))
        k += 1
    return rows[:k]


@kernel
def _merge_equal(cases):
    """One row for each group: rows with the same shared part, new and old interval."""
    order = np.argsort(cases[:, 0], kind="mergesort")
    merged = np.empty_like(cases)
    count = begin = 0
    for k in range(len(order)):
        row = cases[order[k]]
        if count > begin and merged[begin, 0] != row[0]:
            begin = count
        known = False
        for m in range(begin, count):
            same = merged[m, 2] == row[2] and merged[m, 3] == row[3]
            known = known or (same and merged[m, 4] == row[4] and merged[m, 5] == row[5])
        if not known:
            merged[count] = row
            count += 1
    return merged[:count]
