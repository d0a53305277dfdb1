"""The distribution of a count of nonzeros, and the sums and mixtures of such counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.hypergeometric import TAIL

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Occupancy:
    """P(count = ``start`` + i) = ``weights[i]``. Weights of a part of a mixture need not sum to 1.

    Tails whose weights are below 1e-18 of the whole are dropped by every operation.
    """

    start: int
    weights: FloatArray

    @staticmethod
    def certain(count: int) -> Occupancy:
        return Occupancy(count, np.ones(1))

    @property
    def is_certain(self) -> bool:
        return self.weights.size == 1

    def same(self, other: Occupancy) -> bool:
        return self.start == other.start and np.array_equal(self.weights, other.weights)

    def trimmed(self) -> Occupancy:
        kept = np.flatnonzero(self.weights > TAIL * self.weights.sum())
        if not kept.size:
            return Occupancy(self.start, np.zeros(1))
        return Occupancy(self.start + int(kept[0]), self.weights[kept[0] : kept[-1] + 1])

    def plus(self, other: Occupancy) -> Occupancy:
        """The sum of two independent counts."""
        return Occupancy(self.start + other.start, np.convolve(self.weights, other.weights)).trimmed()

    def times(self, copies: int) -> Occupancy:
        """The sum of ``copies`` independent counts with this distribution."""
        if self.is_certain:
            return Occupancy(self.start * copies, self.weights**copies)
        total, doubled = Occupancy.certain(0), self
        while copies:
            if copies & 1:
                total = total.plus(doubled)
            copies >>= 1
            doubled = doubled.plus(doubled) if copies else doubled
        return total

    def multiplied(self, factor: int) -> Occupancy:
        """The count times a whole number."""
        if factor == 0:
            return Occupancy(0, np.array([self.weights.sum()]))
        weights = np.zeros((self.weights.size - 1) * factor + 1)
        weights[::factor] = self.weights
        return Occupancy(self.start * factor, weights)

    def support(self) -> tuple[IntArray, FloatArray]:
        """The counts with a probability above zero, ascending, and their probabilities."""
        kept = np.flatnonzero(self.weights)
        return (self.start + kept).astype(np.int64), self.weights[kept]


def mixture(parts: Iterable[tuple[float, Occupancy]]) -> Occupancy:
    """The weighted sum of distributions."""
    used = [(weight, part) for weight, part in parts if weight > 0]
    if not used:
        return Occupancy(0, np.zeros(1))
    start = min(part.start for _, part in used)
    weights = np.zeros(max(part.start + part.weights.size for _, part in used) - start)
    for weight, part in used:
        weights[part.start - start : part.start - start + part.weights.size] += weight * part.weights
    return Occupancy(start, weights).trimmed()
