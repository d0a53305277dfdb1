"""Numbers of 8 bits with a power-of-two scale: ``value = q 2^-position``, q from -128 to 127.

Source: the post-training quantisation of Vitis AI (vai_q_pytorch, target DPU), as read from its code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import floor, log2
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BITS: Final = 8
LOW, HIGH = -(2 ** (BITS - 1)), 2 ** (BITS - 1) - 1
CANDIDATES: Final = 5
"""Positions that are tried, from that on which nothing saturates."""

LARGEST: Final = 12
"""No position of 8-bit numbers is above this."""

_NEAR_ZERO: Final = 18
"""The position of a tensor of zeros, before it is cut to :data:`LARGEST`."""


def half_away(values: ArrayLike) -> FloatArray:
    """Rounded to whole numbers, halves away from zero: how parameters are.

    >>> half_away([-0.5, 0.5, 1.5]).tolist()
    [-1.0, 1.0, 2.0]
    """
    array = np.asarray(values, np.float64)
    return np.asarray(np.copysign(np.floor(np.abs(array) + 0.5), array))


def half_up(values: ArrayLike) -> FloatArray:
    """Rounded to whole numbers, halves towards plus infinity: how activations are.

    >>> half_up([-0.5, 0.5, -1.5]).tolist()
    [0.0, 1.0, -1.0]
    """
    return np.asarray(np.floor(np.asarray(values, np.float64) + 0.5))


def quantised(values: ArrayLike, position: int, parameter: bool = False) -> IntArray:
    """Whole numbers q for values, saturated; ``parameter``: halves away from zero, else up.

    >>> quantised([0.3, -0.3, 200.0], 2).tolist()
    [1, -1, 127]
    """
    scaled = np.asarray(values, np.float64) * 2.0**position
    return np.clip((half_away if parameter else half_up)(scaled), LOW, HIGH).astype(np.int64)


def safe_position(low: float, high: float) -> int:
    """The largest position on which values from ``low`` to ``high`` do not saturate by more than half a step."""
    step = max(low / (LOW - 0.5), high / (HIGH + 0.5))
    return _NEAR_ZERO if step < 2.0**-_NEAR_ZERO else floor(log2(1 / step))


def best_position(values: ArrayLike, parameter: bool, candidates: int = CANDIDATES) -> int:
    """The position with the least sum of squared errors of so many, from :func:`safe_position` on; of equals, the first. At most
    :data:`LARGEST`. One candidate: no search, as for the inputs of a network.

    >>> best_position([0.5, -0.25], parameter=True)
    7
    """
    array = np.asarray(values, np.float64)
    if not array.size:
        return LARGEST
    first = safe_position(float(array.min()), float(array.max()))
    errors = [_squared_error(array, first + more, parameter) for more in range(candidates)] if candidates > 1 else [0.0]
    return min(first + int(np.argmin(errors)), LARGEST)


def most_frequent(history: Iterable[int]) -> int:
    """The position that calibration batches gave most often; of equals, the first seen."""
    return Counter(history).most_common(1)[0][0]


def _squared_error(array: FloatArray, position: int, parameter: bool) -> float:
    return float(((quantised(array, position, parameter) * 2.0**-position - array) ** 2).sum())
