"""The largest of each fiber, compiled: what a rule keeps. Imports Numba: load it on demand only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.density import BoolArray
from sparseloom.kernel import kernel

_SHORT = 32
"""Fibers of so many coordinates or fewer are ranked by comparing all pairs, longer ones are partitioned."""


def largest(values: NDArray[np.floating], kept: int) -> BoolArray:
    """Where the ``kept`` largest ``values`` [..., H] of each fiber are; of equals, the lower coordinate is the larger. No value
    may be NaN."""
    fibers = np.ascontiguousarray(values).reshape(-1, values.shape[-1])
    found: BoolArray = (_ranked if values.shape[-1] <= _SHORT else _partitioned)(fibers, kept)
    return found.reshape(values.shape)


@kernel
def _ranked(fibers, kept):
    found = np.empty(fibers.shape, np.bool_)
    size = fibers.shape[1]
    for n in range(len(fibers)):
        fiber = fibers[n]
        for i in range(size):
            ahead = 0
            for j in range(i):
                ahead += fiber[j] >= fiber[i]
            for j in range(i + 1, size):
                ahead += fiber[j] > fiber[i]
            found[n, i] = ahead < kept
    return found


@kernel
def _partitioned(fibers, kept):
    found = np.zeros(fibers.shape, np.bool_)
    size = fibers.shape[1]
    if kept == 0:
        return found
    for n in range(len(fibers)):
        least = np.partition(fibers[n], size - kept)[size - kept]
        equals = kept
        for i in range(size):
            equals -= fibers[n, i] > least
        for i in range(size):
            found[n, i] = fibers[n, i] > least
            if fibers[n, i] == least and equals > 0:
                found[n, i] = True
                equals -= 1
    return found
