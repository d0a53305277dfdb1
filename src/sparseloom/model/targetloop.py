"""The leader tile as Sparseloop draws it: a box around the innermost loop that moves the follower (convention
``target-loop``).

Source: Timeloop's storage-gs-analyzer.cpp, read at ee66b62.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sparseloom.mapping.batch import BoolArray, IntArray
from sparseloom.model.looprank import NestLoop, points


def leader_tiles(
    loops: Sequence[NestLoop],
    projections: IntArray,
    indexes: BoolArray,
    target: int,
    leaders: Sequence[int],
    parent: int,
    child: int,
    levels: int,
    block_words: int,
    order: Sequence[int],
) -> dict[int, IntArray]:
    """Coordinates [D] of the leader tile of each leader that can eliminate a transfer of ``target`` from ``parent``.

    ``loops`` is the complete nest, innermost first; ``indexes`` [T, D] says which ranks index which tensor; ``child``
    is the follower's child level (``levels``: compute), ``order`` the ranks as the problem lists them. A leader that
    cannot eliminate anything is left out.
    """
    span = [i for i, loop in enumerate(loops) if parent <= loop.level < child]
    at, scalar = _target_loop(loops, span, indexes[target], child == levels)
    tile = np.ones(projections.shape[2], np.int64)
    if not scalar:
        for loop in loops[: at + 1]:
            tile[loop.rank] *= loop.bound
    wide, relevant = _widened(loops, span, indexes[target], at, scalar, child < levels, tile)
    found = {}
    for leader in leaders:
        factors, effective = _shared_factors(loops, relevant, at, indexes[target], indexes[leader])
        if effective:
            found[leader] = _in_blocks(wide, tile, factors, projections[target], block_words, order, loops[at].rank)
    return found


def _target_loop(loops: Sequence[NestLoop], span: list[int], follower: BoolArray, compute: bool) -> tuple[int, bool]:
    """The loop at whose granularity the follower moves, and whether that is a single point."""
    if not compute:
        moving = (i for i in span if loops[i].bound > 1 and follower[loops[i].rank])
        return next(moving, span[-1]), False
    for i in span:
        if loops[i].temporal:
            return i, True
        last = i + 1 not in span or loops[i + 1].temporal
        if last or (loops[i].bound > 1 and follower[loops[i].rank]):
            return i, False
    return span[-1], False


def _widened(
    loops: Sequence[NestLoop], span: list[int], follower: BoolArray, at: int, scalar: bool, held: bool, tile: IntArray
) -> tuple[IntArray, list[int]]:
    """The tile over all receivers, and with a spatial target loop over the time it stays; and the loops that widen
    it."""
    wide = tile.copy()
    relevant = [] if scalar else [at]
    stays = held and not loops[at].temporal
    for i in span:
        loop = loops[i]
        if i <= at or loop.bound == 1:
            continue
        if loop.temporal:
            stays = stays and not follower[loop.rank]
        if not loop.temporal or stays:
            wide[loop.rank] *= loop.bound
            relevant.append(i)
    return wide, relevant


def _shared_factors(
    loops: Sequence[NestLoop], relevant: list[int], at: int, follower: BoolArray, leader: BoolArray
) -> tuple[dict[int, int], bool]:
    """Bounds of the relevant loops over ranks that both tensors have; and whether the leader is of any use."""
    factors: dict[int, int] = {}
    for i in relevant:
        rank = loops[i].rank
        if not loops[at].temporal and factors and leader[rank]:
            return factors, False
        if follower[rank] and leader[rank]:
            factors[rank] = factors.get(rank, 1) * loops[i].bound
    return factors, True


def _in_blocks(
    wide: IntArray, tile: IntArray, factors: dict[int, int], projection: IntArray, block_words: int,
    order: Sequence[int], target_rank: int,
) -> IntArray:  # fmt: skip
    """The wide tile cut down to one access: shared ranks by their factors, but not below a block of the follower."""
    result = wide.copy()
    scale: float = math.ceil(block_words / (points(projection, tile) / math.prod(factors.values())) - 1e-12)
    for rank in (rank for rank in order if rank in factors):
        result[rank] = math.ceil(result[rank] / (factors[rank] / scale) - 1e-12)
        scale /= factors[rank]
    if scale > 1:
        result[target_rank] = math.ceil(result[target_rank] * scale)
    return result
