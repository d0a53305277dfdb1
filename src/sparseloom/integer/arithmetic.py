"""What layers compute in integers. Activations are [N, C, H, W] or [N, C], weights [M, C, R, S] or [M, C]; all are whole numbers.

Sums are made in float64, where they are exact below 2^53, and hold to 32 bits, which :func:`require_accumulator` checks once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, WorkloadError
from sparseloom.integer.position import HIGH, LOW

IntArray = NDArray[np.int64]
Sides = tuple[int, int]

ACCUMULATOR_BITS: Final = 32
SHIFT_CUT: Final = (0, 16)
"""How far an accumulator may be shifted to the right for the output: ``position_in + position_w - position_out``."""

MOST_BIAS_SHIFT: Final = 15

_AVERAGES: Final[dict[Sides, tuple[int, int]]] = {
    (3, 3): (7, 6), (5, 5): (10, 8), (6, 6): (7, 8), (7, 7): (21, 10), (14, 14): (21, 12),
}  # fmt: skip
"""Windows whose 1 / (rows columns) is taken as factor / 2^shift by the DPU."""


def shifted(values: IntArray, shift: int) -> IntArray:
    """``values / 2^shift``, halves up; a negative shift multiplies.

    >>> shifted(np.array([-3, -2, 3, 6]), 2).tolist()
    [-1, 0, 1, 2]
    """
    if shift <= 0:
        return values << -shift
    return (values + (1 << (shift - 1))) >> shift


def saturated(values: IntArray) -> IntArray:
    return np.clip(values, LOW, HIGH)


def bias_shifts(shift_cut: int) -> tuple[int, int]:
    """The least and the most that a bias may be shifted to the left for the accumulator."""
    return min(0, -(SHIFT_CUT[1] - shift_cut)), MOST_BIAS_SHIFT


def average_factor(rows: int, columns: int) -> tuple[int, int]:
    """(factor, shift) with factor / 2^shift for 1 / (rows columns): exact for powers of two, the DPU's for the windows it
    names, else a factor of 7 bits, the nearest.

    >>> average_factor(2, 2), average_factor(7, 7), average_factor(3, 2)
    ((1, 2), (21, 10), (85, 9))
    """
    points = rows * columns
    if points & (points - 1) == 0:
        return 1, points.bit_length() - 1
    if (rows, columns) in _AVERAGES:
        return _AVERAGES[rows, columns]
    shift = ceil(log2(points * 64))
    return round(2**shift / points), shift


@dataclass(frozen=True)
class Windows:
    """How a window moves: its places (rows, columns), its steps, and zeros at both ends of each side."""

    size: Sides
    stride: Sides = (1, 1)
    padding: Sides = (0, 0)

    def of(self, values: NDArray[Any], fill: int = 0) -> NDArray[Any]:
        """[N, C, P, Q, R, S]: what the window sees at each of its places."""
        top, left = self.padding
        padded = np.pad(values, ((0, 0), (0, 0), (top, top), (left, left)), constant_values=fill)
        seen = np.lib.stride_tricks.sliding_window_view(padded, self.size, (2, 3))
        return seen[:, :, :: self.stride[0], :: self.stride[1]]


def convolution(values: IntArray, weights: IntArray, windows: Windows, groups: int = 1) -> IntArray:
    """Accumulators [N, M, P, Q] of a cross-correlation."""
    seen = windows.of(values.astype(np.float64))
    samples, channels, rows, columns = seen.shape[:4]
    filters = len(weights) // groups
    inputs = seen.reshape(samples, groups, channels // groups, rows, columns, *windows.size)
    found = np.empty((samples, groups, filters, rows, columns))
    for group in range(groups):
        kernel = weights[group * filters : (group + 1) * filters].astype(np.float64)
        product = np.tensordot(inputs[:, group], kernel, axes=((1, 4, 5), (1, 2, 3)))
        found[:, group] = np.moveaxis(product, -1, 1)
    return found.reshape(samples, groups * filters, rows, columns).astype(np.int64)


def product(values: IntArray, weights: IntArray) -> IntArray:
    """Accumulators [..., M] of ``values`` [..., C] and ``weights`` [M, C]."""
    return (values.astype(np.float64) @ weights.astype(np.float64).T).astype(np.int64)


def added(terms: list[tuple[IntArray, int]]) -> tuple[IntArray, int]:
    """The sum of numbers with positions, and its position: the largest of theirs."""
    position = max(own for _, own in terms)
    return sum((values << (position - own) for values, own in terms), np.zeros((), np.int64)), position


def max_pool(values: IntArray, windows: Windows) -> IntArray:
    """The largest of each window; padding is below all values."""
    return np.asarray(windows.of(values, fill=LOW).max(axis=(4, 5)))


def sum_pool(values: IntArray, windows: Windows) -> IntArray:
    """The sum of each window, padding included as zeros."""
    return np.asarray(windows.of(values).sum(axis=(4, 5)))


def require_accumulator(name: str, weights: IntArray, bias: IntArray, bias_shift: int) -> None:
    """Raises WorkloadError where inputs could carry a sum of ``weights`` [M, ...] out of the accumulator."""
    largest = np.abs(weights).reshape(len(weights), -1).sum(axis=1) * -LOW
    if bias.size:
        largest = largest + np.abs(bias) * 2.0 ** max(bias_shift, 0)
    most = int(largest.max(initial=0))
    if most >= 2 ** (ACCUMULATOR_BITS - 1):
        holds = 2 ** (ACCUMULATOR_BITS - 1) - 1
        what = f"sums of {name} reach {most:,}, an accumulator of {ACCUMULATOR_BITS} bits holds {holds:,}"
        raise WorkloadError(Fault(what, fix="split the layer along its input channels"))
