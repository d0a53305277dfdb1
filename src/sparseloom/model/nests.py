"""Loop nests of a batch of mappings, laid out for the kernels: what each loop is, and what its levels hold."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, MappingError
from sparseloom.kernel import borrowed, inlined, kernel
from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch, Problem

FloatArray = NDArray[np.float64]

RANK, BOUND, LEVEL, KIND, STEP, TAIL = range(6)
"""Rows of a nest: for each loop with more than one iteration, outermost first, its rank, bound, level, kind (0 temporal,
1 along X, 2 along Y), step (coordinates it advances by) and last digit (that of the rank's largest coordinate)."""


class Nests(NamedTuple):
    """The loop nests of a batch: ``loops`` [B, 6, L], of which the first ``count`` [B] are filled (see :data:`RANK`).

    ``order[b, begin[b, d] : begin[b, d + 1]]`` are the loops of rank d, outermost first; ``perfect`` [B, D] tells whether they
    waste no iteration, ``aligned`` [B, D] whether each of them lies within a part of every split or steps over whole parts.
    ``tile`` [B, S + 1, D] are nominal coordinates of each rank in a tile of a level (S: compute, 1), ``lanes`` [B, S, 2] the
    product of the bounds of a level's spatial loops along X and Y, ``instances`` [B, S + 1] those in use. Where
    all ranks are both, a nest is ``regular`` [B]; then the loops outside level ``inwards`` [B] are those of the nest before.
    """

    loops: IntArray
    count: IntArray  # type: ignore[assignment]
    order: IntArray
    begin: IntArray
    perfect: BoolArray
    aligned: BoolArray
    tile: IntArray
    lanes: FloatArray
    instances: FloatArray
    regular: BoolArray
    inwards: IntArray


def lay_out(problem: Problem, batch: MappingBatch) -> Nests:
    """The nests of ``batch``. A loop over parts of a split tensor rank and over what is in them stands as two, so that few
    loops have both to do. Raises MappingError for bounds that do not cover a rank."""
    count, slots = len(batch), max(1, _most_loops(batch.bound)) + len(problem.cuts)
    levels, ranks = len(batch.keep), len(problem.ranks)
    nests = Nests(
        np.empty((count, 6, slots), np.int64), np.empty(count, np.int64), np.empty((count, slots), np.int64),
        np.empty((count, ranks + 1), np.int64), np.empty((count, ranks), np.bool_), np.empty((count, ranks), np.bool_),
        np.empty((count, levels + 1, ranks), np.int64),
        np.empty((count, levels, 2)), np.empty((count, levels + 1)), np.empty(count, np.bool_), np.empty(count, np.int64),
    )  # fmt: skip
    first = _lay_out(batch.rank, batch.bound, batch.place, problem.shape, problem.cuts, *nests)
    if first >= 0:
        raise MappingError(list(_uncovered(problem, batch, int(first))))
    return nests


def _uncovered(problem: Problem, batch: MappingBatch, b: int) -> Iterator[Fault]:
    """The ranks that a mapping's bounds do not cover."""
    for d, rank in enumerate(problem.ranks):
        bounds = batch.bound[b, batch.rank[b] == d].tolist()
        if prod(bounds) < problem.shape[d]:
            made = f"{' x '.join(map(str, bounds)) or 'no loop'} = {prod(bounds):,}"
            what = f"a mapping's bounds of rank {rank} make {made}, its shape is {problem.shape[d]:,}"
            yield Fault(what, path="bound", fix="enlarge a bound until they cover the rank")


@kernel
def _most_loops(bound):
    """The most loops with more than one iteration that a mapping has; ``bound`` is [B, L]."""
    most = 0
    for b in range(len(bound)):
        loops = 0
        for i in range(bound.shape[1]):
            loops += bound[b, i] > 1
        most = max(most, loops)
    return most


@kernel
def _lay_out(
    rank, bound, place, shape, cuts, loops, count, order, begin, perfect, aligned, tile, lanes, instances, regular, inwards
):  # fmt: skip
    """Write the nests; returns the first mapping that does not cover a rank, -1 for none."""
    loops, order, begin, perfect = borrowed(loops), borrowed(order), borrowed(begin), borrowed(perfect)
    aligned, tile, lanes, instances = borrowed(aligned), borrowed(tile), borrowed(lanes), borrowed(instances)
    room = np.empty((3, len(shape)), np.int64)
    for b in range(len(bound)):
        nest = loops[b]
        n = _fill_nest(rank[b], bound[b], place[b], shape, nest, room)
        for c in range(len(cuts)):
            n = _cut(nest, n, cuts[c, 0], cuts[c, 1])
        count[b] = n
        if _by_rank(nest, n, shape, room[0], order[b], begin[b], perfect[b]):
            return b
        _set_aligned(nest, n, shape, cuts, aligned[b])
        _set_tiles_and_instances(nest, n, shape, perfect[b], tile[b], instances[b])
        lanes[b] = 1.0
        for i in range(n):
            if nest[KIND, i] != 0:
                lanes[b, nest[LEVEL, i], nest[KIND, i] - 1] *= nest[BOUND, i]
        regular[b], inwards[b] = True, -1
        for d in range(len(shape)):
            regular[b] = regular[b] and perfect[b, d] and aligned[b, d]
        if b and regular[b] and regular[b - 1]:
            inwards[b] = _first_change(nest, n, loops[b - 1], count[b - 1], tile.shape[1])
    return -1


@inlined
def _first_change(nest, n, other, m, levels):
    """The level of the outermost loop that two nests do not have in common, ``levels`` if they are the same."""
    for i in range(max(n, m)):
        if i >= min(n, m):
            return other[LEVEL, i] if i >= n else nest[LEVEL, i]
        for row in (LEVEL, RANK, BOUND, KIND):
            if nest[row, i] != other[row, i]:
                return min(nest[LEVEL, i], other[LEVEL, i])
    return levels


@inlined
def _set_aligned(nest, n, shape, cuts, aligned):
    """Write whether each loop of a rank lies within a part of every split or steps over whole parts."""
    aligned[:] = True
    for i in range(n if len(cuts) else 0):
        for c in range(len(cuts)):
            d, size, step = cuts[c, 0], cuts[c, 1], nest[STEP, i]
            within = step * nest[BOUND, i] <= size
            if nest[RANK, i] == d and size < shape[d] and (size % (step * nest[BOUND, i]) if within else step % size):
                aligned[d] = False


@inlined
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


@inlined
def _by_rank(nest, n, shape, made, order, begin, perfect):
    """Write the loops of each rank, outermost first, and whether the coordinates that they have ``made`` [D] are its own. Returns
    whether they do not cover some rank."""
    short = False
    begin[:] = 0
    for i in range(n):
        begin[nest[RANK, i]] += 1
    at = 0
    for d in range(len(shape)):
        begin[d], at = at, at + begin[d]
        perfect[d] = made[d] == shape[d]
        short = short or made[d] < shape[d]
    for i in range(n):
        order[begin[nest[RANK, i]]] = i
        begin[nest[RANK, i]] += 1
    for d in range(len(shape), 0, -1):
        begin[d] = begin[d - 1]
    begin[0] = 0
    return short


@inlined
def _set_tiles_and_instances(nest, n, shape, perfect, tile, instances):
    """Nominal tiles of each level, [S + 1, D], and instances that have a point at the first step, [S + 1]."""
    levels = len(tile) - 1
    tile[levels], instances[0] = 1, 1.0
    i = n - 1
    for depth in range(levels - 1, -1, -1):
        tile[depth] = tile[depth + 1]
        while i >= 0 and nest[LEVEL, i] == depth:
            tile[depth, nest[RANK, i]] *= nest[BOUND, i]
            i -= 1
    i = 0
    for depth in range(levels):
        instances[depth + 1] = instances[depth]
        while i < n and nest[LEVEL, i] == depth:
            if nest[KIND, i] != 0 and perfect[nest[RANK, i]]:
                instances[depth + 1] *= nest[BOUND, i]
            i += 1
    for d in range(len(shape)):
        for depth in range(1, 1 if perfect[d] else levels + 1):
            instances[depth] *= _first_tiles(nest, n, d, depth)


@inlined
def _fill_nest(rank, bound, place, shape, nest, room):
    """Write the loops with more than one iteration into ``nest`` [6, L]; returns their number. ``room`` [3, D] becomes the
    coordinates of each rank that its loops make; it is also for those that loops further in cover, and for what their digits
    leave of the last one."""
    n = 0
    for d in range(len(shape)):
        room[0, d] = room[1, d] = 1
        room[2, d] = shape[d] - 1
    for i in range(len(bound)):
        if bound[i] > 1:
            nest[RANK, n], nest[BOUND, n] = rank[i], bound[i]
            nest[LEVEL, n], nest[KIND, n] = place[i] // 3, place[i] % 3
            room[0, rank[i]] *= bound[i]
            n += 1
    for i in range(n - 1, -1, -1):
        d, size = nest[RANK, i], nest[BOUND, i]
        nest[STEP, i], nest[TAIL, i] = room[1, d], size - 1
        room[1, d] *= size
        if room[0, d] != shape[d]:
            left = room[2, d] // size
            nest[TAIL, i], room[2, d] = room[2, d] - left * size, left
    return n


@kernel
def nominal_tiles(tile, shape):
    """Coordinates of tiles [B, S + 1, D] where no bound is cut short, at most the shape, [S + 1, D, B]."""
    found = np.empty((tile.shape[1], tile.shape[2], len(tile)), np.int64)
    for depth in range(tile.shape[1]):
        for d in range(tile.shape[2]):
            for b in range(len(tile)):
                found[depth, d, b] = min(tile[b, depth, d], shape[d])
    return found


@kernel
def mean_tiles(nominal, shape):
    """Mean coordinates of the tiles that make up each rank, [S + 1, D, B], all but the last of which have the nominal ones."""
    found = np.empty(nominal.shape)
    for depth in range(nominal.shape[0]):
        for d in range(nominal.shape[1]):
            for b in range(nominal.shape[2]):
                size = nominal[depth, d, b]
                found[depth, d, b] = shape[d] / ((shape[d] + size - 1) // size)
    return found


def nest_of(problem: Problem, batch: MappingBatch) -> IntArray:
    """The loops with more than one iteration of the first mapping of ``batch``, [6, n]."""
    table = np.empty((6, batch.bound.shape[1]), np.int64)
    # one nest is not worth compiling for
    count = _fill_nest.py_func(
        batch.rank[0], batch.bound[0], batch.place[0], problem.shape, table, np.empty((3, len(problem.ranks)), np.int64)
    )
    return table[:, :count]


@inlined
def _first_tiles(nest, n, d, level):
    """Tiles of rank ``d`` in instances of a level at the first step: spatial loops outside it are at any digit that exists."""
    full, last = 0, 1
    for i in range(n):
        if nest[RANK, i] == d and nest[LEVEL, i] < level:
            bound, tail = nest[BOUND, i] if nest[KIND, i] != 0 else 1, nest[TAIL, i]
            full = full * bound + (min(bound, tail) if last else 0)
            last = 1 if last and tail < bound else 0
    return full + last
