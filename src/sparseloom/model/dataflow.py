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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numba
import numpy as np
from numba.extending import intrinsic
from numpy.typing import NDArray

from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.model.conventions import Conventions

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` with Numba, caching the machine code beside the source."""
    return cast(Callable[..., Any], numba.njit(cache=True, nogil=True, error_model="numpy")(function))


@intrinsic
def _pointer(_context, address, array):
    if array.layout != "C":
        raise numba.errors.TypingError("only contiguous arrays can be borrowed")

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return numba.types.CPointer(array.dtype)(address, array), generate


@kernel
def borrowed(array):
    """The same array without an owner, for kernels that hand out many parts of one: counting the references to its owner takes
    more time than their work. The array has to live longer."""
    return numba.carray(_pointer(array.ctypes.data, array), array.shape)


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


class Nests(NamedTuple):
    """The loop nests of a batch: ``loops`` [B, 6, L], of which the first ``count`` [B] are filled (see :data:`RANK`), with
    ``tile`` and ``instances`` as in :class:`DenseTraffic`.

    ``order[b, begin[b, d] : begin[b, d + 1]]`` are the loops of rank d, outermost first; ``perfect`` [B, D] tells whether they
    waste no iteration, ``aligned`` [B, D] whether each of them lies within a part of every split or steps over whole parts.
    ``pieces`` [B, S + 1, D] are the tiles of a level that a rank is in, ``lanes`` [B, S, 2] the product of the bounds of a level's
    spatial loops along X and Y.
    """

    loops: IntArray
    count: IntArray  # type: ignore[assignment]
    order: IntArray
    begin: IntArray
    perfect: BoolArray
    aligned: BoolArray
    tile: IntArray
    pieces: IntArray
    lanes: FloatArray
    instances: FloatArray

    def of(self, some: IntArray | slice) -> Nests:
        """The nests of some mappings of the batch."""
        parts: Sequence[Any] = [part[some] for part in self]
        return Nests(*parts)


def lay_out(problem: Problem, batch: MappingBatch) -> Nests:
    """The nests of ``batch``. A loop over parts of a split tensor rank and over what is in them stands as two, so that few
    loops have both to do."""
    count, slots = len(batch), max(1, int((batch.bound > 1).sum(axis=1).max())) + len(problem.cuts)
    levels, ranks = len(batch.keep), len(problem.ranks)
    nests = Nests(
        np.empty((count, 6, slots), np.int64), np.empty(count, np.int64), np.empty((count, slots), np.int64),
        np.empty((count, ranks + 1), np.int64), np.empty((count, ranks), np.bool_), np.empty((count, ranks), np.bool_),
        np.empty((count, levels + 1, ranks), np.int64), np.empty((count, levels + 1, ranks), np.int64),
        np.empty((count, levels, 2)), np.empty((count, levels + 1)),
    )  # fmt: skip
    _lay_out(batch.rank, batch.bound, batch.place, problem.shape, problem.cuts, *nests)
    return nests


@kernel
def _lay_out(
    rank, bound, place, shape, cuts, loops, count, order, begin, perfect, aligned, tile, pieces, lanes, instances
):
    for b in range(len(bound)):
        n = fill_nest(rank[b], bound[b], place[b], shape, loops[b])
        for c in range(len(cuts)):
            n = _cut(loops[b], n, cuts[c, 0], cuts[c, 1])
        count[b] = n
        _by_rank(loops[b], n, shape, order[b], begin[b], perfect[b])
        _set_aligned(loops[b], n, shape, cuts, aligned[b])
        _tiles_and_instances(loops[b], n, shape, tile[b], instances[b])
        _set_pieces(loops[b], n, shape, perfect[b], tile[b], pieces[b])
        lanes[b] = 1.0
        for i in range(n):
            if loops[b, KIND, i] != 0:
                lanes[b, loops[b, LEVEL, i], loops[b, KIND, i] - 1] *= loops[b, BOUND, i]


@kernel
def _set_aligned(nest, n, shape, cuts, aligned):
    """Write whether each loop of a rank lies within a part of every split or steps over whole parts."""
    aligned[:] = True
    for i in range(n if len(cuts) else 0):
        for c in range(len(cuts)):
            d, size = cuts[c, 0], cuts[c, 1]
            if nest[RANK, i] == d and size < shape[d] and nest[STEP, i] % size and size % (nest[STEP, i] * nest[BOUND, i]):
                aligned[d] = False


@kernel
def _set_pieces(nest, n, shape, perfect, tile, pieces):
    """Write how many tiles of each level a rank is in."""
    for d in range(len(shape)):
        for depth in range(len(pieces)):
            if perfect[d]:
                pieces[depth, d] = shape[d] // tile[depth, d]
            else:
                full, tail = _configurations(nest, n, d, n, depth, depth, False, -1)
                pieces[depth, d] = full + tail


@kernel
def _cut(nest, n, d, size):
    """Make two loops of the one over rank ``d`` that steps over parts of ``size`` coordinates and over what is in them, if its
    bound allows; returns how many loops there are."""
    for i in range(n):
        step, bound = nest[STEP, i], nest[BOUND, i]
        if nest[RANK, i] == d and step < size < step * bound:
            inside = size // step
            if size % step or bound % inside:
                return n
            for k in range(n, i, -1):
                nest[:, k] = nest[:, k - 1]
            nest[BOUND, i], nest[STEP, i], nest[TAIL, i] = bound // inside, size, nest[TAIL, i] // inside
            nest[BOUND, i + 1], nest[TAIL, i + 1] = inside, nest[TAIL, i + 1] % inside
            return n + 1
    return n


@kernel
def _by_rank(nest, n, shape, order, begin, perfect):
    """Write the loops of each rank, outermost first, and whether their bounds multiply to its shape."""
    at = 0
    for d in range(len(shape)):
        begin[d] = at
        size = 1
        for i in range(n):
            if nest[RANK, i] == d:
                order[at] = i
                at += 1
                size *= nest[BOUND, i]
        perfect[d] = size == shape[d]
    begin[len(shape)] = at


@kernel
def _tiles_and_instances(nest, n, shape, tile, instances):
    """Nominal tiles of each level, [S + 1, D], and instances that have a point at the first step, [S + 1]."""
    levels = len(tile) - 1
    tile[:] = 1
    perfect = np.ones(len(shape), np.int64)
    for i in range(n):
        d = nest[RANK, i]
        perfect[d] *= nest[BOUND, i]
        for depth in range(nest[LEVEL, i] + 1):
            tile[depth, d] *= nest[BOUND, i]
    instances[:] = 1.0
    for i in range(n):
        if nest[KIND, i] != 0 and perfect[nest[RANK, i]] == shape[nest[RANK, i]]:
            instances[nest[LEVEL, i] + 1 :] *= nest[BOUND, i]
    for d in range(len(shape)):
        if perfect[d] != shape[d]:
            for depth in range(1, levels + 1):
                full, tail = _configurations(nest, n, d, -1, depth, depth, False, -1)
                instances[depth] *= full + tail


@kernel
def _count_batch(
    rank, bound, place, keep, shape, projections, multicast, reduction, same_stride, counts, tile, instances
):
    count, slots = bound.shape
    levels, tensors = keep.shape
    nest = np.empty((6, slots), np.int64)
    for b in range(count):
        n = fill_nest(rank[b], bound[b], place[b], shape, nest)
        _tiles_and_instances(nest, n, shape, tile[b], instances[b])
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


RANK, BOUND, LEVEL, KIND, STEP, TAIL = range(6)
"""Rows of a nest: for each loop with more than one iteration, outermost first, its rank, bound, level, kind (0 temporal,
1 along X, 2 along Y), step (coordinates it advances by) and last digit (that of the rank's largest coordinate)."""


@kernel
def fill_nest(rank, bound, place, shape, nest):
    """Write the loops with more than one iteration into ``nest`` [6, L]; returns their number."""
    n = 0
    for i in range(len(bound)):
        if bound[i] > 1:
            nest[RANK, n], nest[BOUND, n] = rank[i], bound[i]
            nest[LEVEL, n], nest[KIND, n] = place[i] // 3, place[i] % 3
            n += 1
    for i in range(n):
        step = 1
        for k in range(i + 1, n):
            if nest[RANK, k] == nest[RANK, i]:
                step *= nest[BOUND, k]
        nest[STEP, i] = step
        nest[TAIL, i] = (shape[nest[RANK, i]] - 1) // step % nest[BOUND, i]
    return n


def nest_of(problem: Problem, batch: MappingBatch) -> IntArray:
    """The loops with more than one iteration of the first mapping of ``batch``, [6, n]."""
    table = np.empty((6, batch.bound.shape[1]), np.int64)
    return table[:, : int(fill_nest(batch.rank[0], batch.bound[0], batch.place[0], problem.shape, table))]


@kernel
def _configurations(nest, n, d, carry, child, parent, merged, ahead):
    """Existing digits of rank ``d`` outside level ``child`` at the steps in which loop ``carry`` advances.

    Temporal loops inside ``carry`` are at digit 0, it itself at 1 or more, those outside it anywhere (``carry = -1``: the
    first step, ``carry = n``: all steps). Loop ``ahead``, if any, is fixed at digit 1. Spatial loops are anywhere, but at
    digit 0 between ``parent`` and ``child`` if ``merged``. Returns the number of tiles other than the rank's last one, and
    1 if the last one is among them.
    """
    full, tail = 0, 1
    for i in range(n):
        if nest[RANK, i] != d or nest[LEVEL, i] >= child:
            continue
        low, high, last = 0, nest[BOUND, i], nest[TAIL, i]
        if nest[KIND, i] != 0:
            if merged and nest[LEVEL, i] >= parent:
                high = 1
        elif i == ahead:
            low, high = 1, 2
        elif i > carry:
            high = 1
        elif i == carry:
            low = 1
        full = full * (high - low) + (max(0, min(high, last) - low) if tail else 0)
        tail = 1 if tail and low <= last < high else 0
    return full, tail


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
                full, tail = _configurations(nest, n, d, carry, child, parent, False, -1)
                receivers *= full + tail
                full, tail = _configurations(nest, n, d, carry, child, parent, merge, -1)
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
            full, tail = _configurations(nest, n, d, n, child, parent, False, -1)
            tile = _tile(nest, n, d, child)
            words *= full * tile + tail * ((shape[d] - 1) % tile + 1)
            transfers *= full + tail
        else:
            full, tail = _configurations(nest, n, d, -1, child, parent, False, -1)
            receivers *= full + tail
            full, tail = _configurations(nest, n, d, -1, child, parent, merge, -1)
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
    full, tail = _configurations(nest, n, d, carry, child, parent, False, -1)
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
        full, tail = _configurations(nest, n, d, carry, child, parent, False, inside)
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
            full, tail = _configurations(nest, n, d, carry, child, parent, False, -1)
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
