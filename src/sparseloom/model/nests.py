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

    ``perfect`` [B, D] tells whether the loops of a rank waste no iteration, ``aligned`` [B, D] whether each of them lies within a
    part of every split or steps over whole parts. ``tile`` [B, S + 1, D] are nominal coordinates of each rank in a tile of a
    level (S: compute, 1), ``lanes`` [B, S, 2] the product of the bounds of a level's spatial loops along X and Y, ``instances``
    [B, S + 1] those in use. Where all ranks are both, a nest is ``regular`` [B]; then the loops outside level ``inwards`` [B]
    are those of the nest before.
    """

    loops: IntArray
    count: IntArray  # type: ignore[assignment]
    perfect: BoolArray
    aligned: BoolArray
    tile: IntArray
    lanes: FloatArray
    instances: FloatArray
    regular: BoolArray
    inwards: IntArray


def lay_out(problem: Problem, batch: MappingBatch, over: Nests | None = None) -> Nests:
    """The nests of ``batch``. A loop over parts of a split tensor rank and over what is in them stands as two, so that few
    loops have both to do. ``over``: nests of as many mappings of the problem that none needs any more, to be written over.
    Raises MappingError for bounds that do not cover a rank."""
    slots = max(1, _most_loops(batch.bound)) + len(problem.cuts)
    fits = over is not None and len(over.count) == len(batch) and over.loops.shape[2] >= slots
    nests = over if over is not None and fits else _room(problem, len(batch), slots)
    first = _lay_out(batch.rank, batch.bound, batch.place, problem.shape, problem.cuts, *nests)
    if first >= 0:
        raise MappingError(list(_uncovered(problem, batch, int(first))))
    return nests


def _room(problem: Problem, count: int, slots: int) -> Nests:
    levels, ranks = len(problem.design.architecture.levels), len(problem.ranks)
    return Nests(
        np.empty((count, 6, slots), np.int64), np.empty(count, np.int64), np.empty((count, ranks), np.bool_),
        np.empty((count, ranks), np.bool_), np.empty((count, levels + 1, ranks), np.int64), np.empty((count, levels, 2)),
        np.empty((count, levels + 1)), np.empty(count, np.bool_), np.empty(count, np.int64),
    )  # fmt: skip


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
    rank, bound, place, shape, cuts, loops, count, perfect, aligned, tile, lanes, instances, regular, inwards
):  # fmt: skip
    """Write the nests; returns the first mapping that does not cover a rank, -1 for none."""
    loops, perfect, aligned = borrowed(loops), borrowed(perfect), borrowed(aligned)
    tile, lanes, instances = borrowed(tile), borrowed(lanes), borrowed(instances)
    made = np.empty(len(shape), np.int64)
    for b in range(len(bound)):
        nest = loops[b]
        n = _fill_nest(rank[b], bound[b], place[b], shape, nest, made)
        for c in range(len(cuts)):
            n = _cut(nest, n, cuts[c, 0], cuts[c, 1])
        count[b] = n
        regular[b] = True
        for d in range(len(shape)):
            if made[d] < shape[d]:
                return b
            perfect[b, d] = made[d] == shape[d]
            aligned[b, d] = True
            regular[b] = regular[b] and perfect[b, d]
        if len(cuts):
            _set_aligned(nest, n, shape, cuts, aligned[b])
            for d in range(len(shape)):
                regular[b] = regular[b] and aligned[b, d]
        _set_by_level(nest, n, perfect[b], tile[b], lanes[b], instances[b])
        for d in range(0 if regular[b] else len(shape)):
            for depth in range(1, 1 if perfect[b, d] else tile.shape[1]):
                instances[b, depth] *= _first_tiles(nest, n, d, depth)
        inwards[b] = -1
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
    """Write which ranks have a loop that neither lies within a part of every split nor steps over whole parts."""
    for i in range(n):
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
def set_by_rank(nest, n, order, begin):
    """Write the loops of each rank to ``order[begin[d] : begin[d + 1]]``, outermost first."""
    ranks = len(begin) - 1
    begin[:] = 0
    for i in range(n):
        begin[nest[RANK, i] + 1] += 1
    for d in range(ranks):
        begin[d + 1] += begin[d]
    for i in range(n):
        order[begin[nest[RANK, i]]] = i
        begin[nest[RANK, i]] += 1
    for d in range(ranks, 0, -1):
        begin[d] = begin[d - 1]
    begin[0] = 0


@inlined
def _set_by_level(nest, n, perfect, tile, lanes, instances):
    """Write nominal tiles of each level, [S + 1, D], the bounds of its spatial loops along X and Y, and its instances that have a
    point at the first step, [S + 1], as far as ranks without waste go."""
    levels = len(lanes)
    tile[levels], instances[0] = 1, 1.0
    i = n - 1
    for depth in range(levels - 1, -1, -1):
        tile[depth] = tile[depth + 1]
        lanes[depth, 0] = lanes[depth, 1] = instances[depth + 1] = 1.0
        while i >= 0 and nest[LEVEL, i] == depth:
            tile[depth, nest[RANK, i]] *= nest[BOUND, i]
            if nest[KIND, i] != 0:
                lanes[depth, nest[KIND, i] - 1] *= nest[BOUND, i]
                instances[depth + 1] *= nest[BOUND, i] if perfect[nest[RANK, i]] else 1
            i -= 1
    for depth in range(levels):
        instances[depth + 1] *= instances[depth]


@inlined
def _fill_nest(rank, bound, place, shape, nest, made):
    """Write the loops with more than one iteration into ``nest`` [6, L]; returns their number. ``made`` [D] becomes the
    coordinates of each rank that they make."""
    n = 0
    for i in range(len(bound)):
        n += bound[i] > 1
    for d in range(len(shape)):
        made[d] = 1
    at = n
    for i in range(len(bound) - 1, -1, -1):
        d, size = rank[i], bound[i]
        if size > 1:
            at -= 1
            level = place[i] // 3
            nest[RANK, at], nest[BOUND, at], nest[LEVEL, at], nest[KIND, at] = d, size, level, place[i] - 3 * level
            nest[STEP, at], nest[TAIL, at] = made[d], size - 1
            made[d] *= size
    for d in range(len(shape)):
        left = shape[d] - 1
        for i in range(n - 1 if made[d] != shape[d] else -1, -1, -1):
            if nest[RANK, i] == d:
                nest[TAIL, i], left = left % nest[BOUND, i], left // nest[BOUND, i]
    return n


@kernel
def nominal_tiles(tile, some, level, shape):
    """Coordinates of each rank in tiles of a level where no bound is cut short, at most the shape, [D, N], for mappings ``some``
    [N] of those of ``tile`` [B, S + 1, D]."""
    found = np.empty((len(shape), len(some)), np.int64)
    for d in range(len(shape)):
        for n in range(len(some)):
            found[d, n] = min(tile[some[n], level, d], shape[d])
    return found


@kernel
def mean_tiles(nominal, shape):
    """Mean coordinates of the tiles that make up each rank, [D, N], all but the last of which have the nominal ones."""
    found = np.empty(nominal.shape)
    for d in range(nominal.shape[0]):
        for n in range(nominal.shape[1]):
            found[d, n] = shape[d] / ((shape[d] + nominal[d, n] - 1) // nominal[d, n])
    return found


def nest_of(problem: Problem, batch: MappingBatch) -> IntArray:
    """The loops with more than one iteration of the first mapping of ``batch``, [6, n]."""
    table = np.empty((6, batch.bound.shape[1]), np.int64)
    made = np.empty(len(problem.ranks), np.int64)
    # one nest is not worth compiling for
    count = _fill_nest.py_func(batch.rank[0], batch.bound[0], batch.place[0], problem.shape, table, made)
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
