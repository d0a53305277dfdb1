"""Boxes on ranks that are cut into stretches: which stretches a box touches, and where aligned tiles fall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

Interval = tuple[IntArray, IntArray]
"""``low`` and ``high`` (half open) of a box in one rank, arrays of one shape."""

FULL_POINT: Interval = (np.asarray(0, dtype=np.int64), np.asarray(1, dtype=np.int64))


def split_interval(interval: Interval, stride: int) -> list[tuple[IntArray, Interval]]:
    """The coordinates of a part that an interval touches, by kind: how many, and the interval inside each.

    The first and the last may be touched in part; those between are full. With stride 1 all are full.
    """
    low, high = interval
    if stride == 1:
        return [(np.asarray(high - low), FULL_POINT)]
    first, last = low // stride, (high - 1) // stride
    some = high > low
    inside = (np.asarray(low - first * stride), np.asarray(np.minimum(high - first * stride, stride)))
    tail = (np.zeros_like(high), np.asarray(high - last * stride))
    full = (FULL_POINT[0], np.asarray(stride, dtype=np.int64))
    between = np.asarray(np.maximum(last - first - 1, 0))
    return [(some.astype(np.int64), inside), (between, full), ((some & (last > first)).astype(np.int64), tail)]


def tile_kinds(shape: int, extent: int, period: int) -> list[tuple[int, int, float]]:
    """The aligned tiles of one rank up to whole periods: low, extent, and their share of all tiles."""
    starts = np.arange(0, shape, extent, dtype=np.int64)
    kinds = np.stack([starts % period, np.minimum(extent, shape - starts)])
    found, times = np.unique(kinds, axis=1, return_counts=True)
    return [(int(low), int(size), float(n) / starts.size) for (low, size), n in zip(found.T, times, strict=True)]
