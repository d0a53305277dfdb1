"""Boxes of a tensor's points, given per rank as ``low`` and ``high`` (half open), mutually broadcastable arrays of integers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseloom.errors import Fault, PatternError

IntArray = NDArray[np.int64]
Corner = Sequence[ArrayLike] | IntArray
"""One array of coordinates for each rank of the tensor: of the same shape together, or of any that broadcast."""


def corners(ranks: int, low: Corner, high: Corner) -> tuple[IntArray, IntArray, tuple[int, ...]]:
    """The corners of a batch of boxes as two arrays of integers [ranks, N], and the shape of the batch.

    Raises PatternError if there is not one pair for each of the ``ranks``.
    """
    if len(low) != ranks or len(high) != ranks:
        raise _mismatch(ranks, low, high)
    if isinstance(low, np.ndarray) and isinstance(high, np.ndarray) and low.ndim == 2 and low.shape == high.shape:
        return np.ascontiguousarray(low, np.int64), np.ascontiguousarray(high, np.int64), low.shape[1:]
    arrays = np.broadcast_arrays(*[np.asarray(corner, np.int64) for corner in (*low, *high)])
    batch = arrays[0].shape if arrays else ()
    table = np.array(arrays, np.int64).reshape(2, ranks, math.prod(batch))
    return table[0], table[1], batch


def clip_box(shape: Sequence[int], low: Corner, high: Corner) -> tuple[list[IntArray], list[IntArray]]:
    """The box cut at the tensor's edges, as integer arrays; ``high`` is never below ``low``."""
    if len(low) != len(shape) or len(high) != len(shape):
        raise _mismatch(len(shape), low, high)
    lows = [np.minimum(np.maximum(np.asarray(x, np.int64), 0), s) for x, s in zip(low, shape, strict=True)]
    highs = [np.minimum(np.asarray(x, np.int64), s) for x, s in zip(high, shape, strict=True)]
    return lows, [np.maximum(x, y) for x, y in zip(lows, highs, strict=True)]


def _mismatch(ranks: int, low: Corner, high: Corner) -> PatternError:
    what = f"a box of {len(low)} low and {len(high)} high coordinates was given for a tensor of {ranks} ranks"
    return PatternError(Fault(what, fix="give one low and one high coordinate for each rank of the tensor"))
