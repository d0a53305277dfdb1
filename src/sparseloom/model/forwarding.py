"""Neighbour forwarding as Timeloop counts it: a child that needs what a neighbour had at the step before takes it from
there.

Timeloop walks the first two iterations of every temporal loop and lets the second stand for all that follow. At such a
step a child of a spatial level needs the same words as all others, moved by its place; so the words of child ``e``
equal those that neighbour ``e'`` had at the step before if their shapes are equal and the places differ by how far the
tile moved. Source: Timeloop's nest-analysis.cpp, read at ee66b62.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import IntArray
from sparseloom.model.looprank import NestLoop

Part = tuple[tuple[int, int], ...]
"""A box: (low, high) in each rank of a tensor."""
Delta = tuple[Part, Part | None]
"""What a step brings: a box, less a box inside it."""


@dataclass(frozen=True)
class Level:
    """What one tensor sees of a spatial level. ``offsets`` [E, R] are the places of its children's tiles, ``width``
    how many children stand side by side, ``tile`` the extents of a tile (None: children are computes, which hold
    nothing), ``strides`` [N, R] and ``bounds`` the moves and iterations of the temporal loops around it, outermost
    first."""

    offsets: IntArray
    width: int
    tile: tuple[int, ...] | None
    strides: IntArray
    bounds: tuple[int, ...]


@dataclass(frozen=True)
class Forwarded:
    """For one instance of a level: words that its children ``took`` from neighbours, and by how many the ``reads`` of
    the level fall."""

    took: float = 0.0
    reads: float = 0.0


def look_at(loops: list[NestLoop], level: int, levels: int, projection: IntArray, width: int) -> Level | None:
    """What a tensor sees of ``level``; None if the level has one child. ``loops`` is the nest, innermost first;
    ``width`` the children along X that there are."""
    extents = np.ones(projection.shape[1], np.int64)
    spread: list[tuple[int, IntArray]] = []
    moves: list[tuple[int, IntArray]] = []
    tile = extents.copy()
    across = 1
    for loop in loops:
        if loop.bound == 1:
            continue
        stride = projection[:, loop.rank] * extents[loop.rank]
        if loop.level == level and not loop.temporal:
            spread.append((loop.bound, stride))
            across *= loop.bound if loop.axis == "X" else 1
        elif loop.level > level:
            tile[loop.rank] *= loop.bound
        elif loop.temporal:
            moves.append((loop.bound, stride))
        extents[loop.rank] *= loop.bound
    if not spread:
        return None
    places = np.zeros((1, len(projection)), np.int64)
    for bound, stride in spread:
        places = (np.arange(bound)[:, None, None] * stride + places).reshape(-1, len(projection))
    held = None if level == levels - 1 else tuple(int(x) for x in projection @ (tile - 1) + 1)
    strides = np.array([stride for _, stride in moves[::-1]], np.int64).reshape(-1, len(projection))
    return Level(places, max(width, across), held, strides, tuple(bound for bound, _ in moves[::-1]))


def forwarded(level: Level, held: bool) -> Forwarded:
    """What neighbours forward. ``held``: a tile keeps what the one before it had; else every step brings all of it."""
    last = len(level.bounds) - 1
    if last < 0:
        return Forwarded()
    shifts = [level.strides[j] - level.strides[j + 1 :].sum(axis=0) for j in range(last + 1)]
    deltas = [_delta(level.tile, shift, held and bool((shift == shifts[last]).all())) for shift in shifts]
    whole = _delta(level.tile, shifts[last], False)
    took = reads = 0.0
    for j in range(last + 1):
        outer = math.prod(level.bounds[:j])
        if j < last:
            before = [(deltas[last], outer)]
        else:
            before = [(deltas[k], math.prod(level.bounds[:k]) * (level.bounds[k] - 1)) for k in range(j)]
            before.append((whole, 1))
        for old, times in before:
            gain = _gain(level, deltas[j], old, shifts[j])
            weight = times * (level.bounds[j] - 1)
            took, reads = took + gain.took * weight, reads + gain.reads * weight
    return Forwarded(took, reads)


def _delta(tile: tuple[int, ...] | None, shift: IntArray, reuse: bool) -> Delta | None:
    """What a tile at 0 that moved by ``shift`` needs, None for nothing."""
    if tile is None:
        return tuple((0, 1) for _ in shift), None
    now = tuple((0, extent) for extent in tile)
    return difference(now, _part(now, -shift) if reuse else None)


def difference(now: Part, old: Part | None) -> Delta | None:
    """What ``now`` has that ``old`` has not, None for nothing; a box wherever it is one."""
    if old is None:
        return now, None
    kept = tuple((max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(now, old, strict=True))
    if any(low >= high for low, high in kept):
        return now, None
    cut = [r for r in range(len(now)) if kept[r] != now[r]]
    if not cut:
        return None
    (low, high), (start, end) = kept[cut[0]], now[cut[0]]
    if len(cut) > 1 or (low > start and high < end):
        return now, kept
    left = (high, end) if low == start else (start, low)
    return tuple(left if r == cut[0] else now[r] for r in range(len(now))), None


def _gain(level: Level, now: Delta | None, old: Delta | None, shift: IntArray) -> Forwarded:
    """What is forwarded at one step, if the level is then read less often."""
    if now is None or old is None:
        return Forwarded()
    base = np.array([a[0] - b[0] for a, b in zip(now[0], old[0], strict=True)], np.int64)
    if moved(old, base) != now:
        return Forwarded()
    there = served(level, base + shift, np.ones(len(level.offsets), np.bool_))
    if not there.any():
        return Forwarded()
    each = words(now)
    saved = distinct(level.offsets) - distinct(level.offsets[~there])
    return Forwarded(each * float(there.sum()), each * float(saved)) if saved > 0 else Forwarded()


def moved(delta: Delta, by: IntArray) -> Delta:
    return _part(delta[0], by), _part(delta[1], by) if delta[1] is not None else None


def _part(box: Part, by: IntArray) -> Part:
    return tuple((low + int(b), high + int(b)) for (low, high), b in zip(box, by, strict=True))


def served(level: Level, gap: IntArray, had: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Children with a neighbour whose place is ``gap`` further, among those neighbours that ``had`` something."""
    count = len(level.offsets)
    number = np.arange(count)
    found = np.zeros(count, np.bool_)
    for across, down in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        x, other = number % level.width + across, number + across + down * level.width
        there = np.flatnonzero((x >= 0) & (x < level.width) & (other >= 0) & (other < count))
        there = there[had[other[there]]]
        found[there] |= (level.offsets[other[there]] - level.offsets[there] == gap).all(axis=1)
    return found


def distinct(offsets: IntArray) -> int:
    """How many different places there are."""
    return len(np.unique(offsets, axis=0)) if len(offsets) else 0


def words(delta: Delta) -> int:
    box, kept = delta
    size = math.prod(high - low for low, high in box)
    return size - (math.prod(high - low for low, high in kept) if kept is not None else 0)
