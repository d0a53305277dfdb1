"""Chains: the bounds that one rank's loops may have together, outermost first."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, MappingError

IntArray = NDArray[np.int64]


MOST_CHAINS = 1_000_000
"""Chains of one rank that are listed at most."""


def chains(size: int, limits: Sequence[tuple[int, int]], imperfect: bool, apart: Sequence[int] = ()) -> IntArray:
    """All chains [N, places] of a rank of ``size`` coordinates, whose bound at each place lies within its ``limits``.

    Perfect bounds multiply to the size. Imperfect ones may cover more, but the outermost above 1 makes no iteration that has
    nothing to do: it is what the ones inside it leave, rounded up. Places of equal number in ``apart`` exclude each other: at
    most one of them has a bound above 1 (0: no such partner). Chains are in the order of their bounds, innermost place first.

    >>> chains(4, [(1, 4), (1, 2)], imperfect=False).tolist()
    [[4, 1], [2, 2]]
    >>> chains(3, [(1, 3), (1, 2)], imperfect=True).tolist()
    [[3, 1], [2, 2]]

    Raises MappingError where there are more than :data:`MOST_CHAINS`.
    """
    places = len(limits)
    found, left = np.ones((1, places), np.int64), np.array([size])
    for place in range(places - 1, -1, -1):
        rests, which = np.unique(left, return_inverse=True)
        options = [_options(int(rest), *limits[place], imperfect, place == 0) for rest in rests]
        counts = np.array([len(each) for each in options], np.int64)
        times = counts[which]
        if times.sum() > MOST_CHAINS:
            what = f"{size} coordinates can be covered in more than {MOST_CHAINS:,} ways"
            raise MappingError(Fault(what, fix="limit the bounds of more loops, or search perfect bounds alone"))
        nth = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        bound = np.concatenate([*options, _NONE])[np.repeat((np.cumsum(counts) - counts)[which], times) + nth]
        found, left = np.repeat(found, times, axis=0), -(-np.repeat(left, times) // bound)
        found[:, place] = bound
        if apart and apart[place]:
            partners = [other for other in range(place + 1, places) if apart[other] == apart[place]]
            fits = (bound == 1) | (found[:, partners] == 1).all(axis=1)
            found, left = found[fits], left[fits]
    return found


_NONE = np.zeros(0, np.int64)


def _options(rest: int, least: int, most: int, imperfect: bool, outermost: bool) -> IntArray:
    """Bounds of a loop around which ``rest`` iterations are left to make; the ``outermost`` makes them all."""
    if outermost:
        return np.array([rest]) if least <= rest <= most else _NONE
    if imperfect:
        return np.arange(least, min(rest, most) + 1)
    below = np.arange(1, isqrt(rest) + 1)
    below = below[rest % below == 0]
    divisors = np.unique(np.concatenate([below, rest // below]))
    return divisors[(divisors >= least) & (divisors <= most)]
