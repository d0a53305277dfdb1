"""Prefixes that lead to nothing better than another one: what lies further in would cost both the same.

What edges further in see of the loops so far is, where bounds are perfect and no feature judges by tiles further out: the tile
that is left, how often the tile of each tensor is used again before a loop that indexes it advances, how many receivers share
it, and the lanes of each level and of each rank. Of prefixes that are equal in this, one that costs no less than another in
anything is dropped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparseloom.kernel import kernel
from sparseloom.mapping.batch import BoolArray, IntArray, Problem

FloatArray = NDArray[np.float64]


def comparable(problem: Problem, imperfect: bool | frozenset[str]) -> bool:
    """Whether what is said above holds: without imperfect bounds, sliding windows, features of storage, formats whose upper ranks
    move by themselves, metadata that may not fit, and banks, whose conflicts go by the ranks that each level spreads."""
    architecture, features = problem.design.architecture, problem.design.features
    forms = [form for table in features.formats.values() for form in table.values()]
    bounded = forms and any(level.metadata_capacity_bits is not None for level in architecture.levels)
    listed = any(len(form.ranks) > 1 for form in forms)
    banked = any(level.banks is not None for level in architecture.levels)
    return not (imperfect or any(problem.sliding) or features.safs or listed or bounded or banked)


class Seen:
    """What prefixes looked like, and what the cheapest of each kind cost: a table of hashes that grows."""

    def __init__(self, width: int, costs: int) -> None:
        self.used = 0
        self._keys, self._costs = np.zeros((_FIRST, width), np.int64), np.zeros((_FIRST, costs))
        self._room = np.full(2 * _FIRST, -1, np.int64)

    def better(self, keys: IntArray, costs: FloatArray) -> BoolArray:
        """Which of N prefixes, of ``keys`` [N, width] and ``costs`` [N, M], are not worse than one of equal key that was seen
        before, or is among them."""
        while self.used + len(keys) > len(self._keys):
            self._grow()
        found = np.zeros(len(keys), np.bool_)
        self.used = _admit(keys, costs, self._keys, self._costs, self._room, self.used, found)
        return found

    def _grow(self) -> None:
        keys, costs, used = self._keys, self._costs, self.used
        self._keys, self._costs = (np.concatenate([table, np.zeros_like(table)]) for table in (keys, costs))
        self._room = np.full(2 * len(self._room), -1, np.int64)
        _admit(keys[:used], costs[:used], self._keys, self._costs, self._room, 0, np.zeros(used, np.bool_))


_FIRST = 1 << 16


@kernel
def _admit(
    keys: IntArray,
    costs: FloatArray,
    known: IntArray,
    cheapest: FloatArray,
    room: IntArray,
    used: int,
    found: BoolArray,
) -> int:
    """Write which prefixes are not worse than those known, and add what is new; returns how many are known."""
    for i in range(len(keys)):
        key = 0
        for k in range(keys.shape[1]):
            key = (key ^ keys[i, k]) * 0x9E3779B97F4A7C1
        place = (key >> 20) & (len(room) - 1)
        while True:
            other = room[place]
            if other < 0:
                room[place] = used
                known[used], cheapest[used] = keys[i], costs[i]
                used += 1
                found[i] = True
                break
            same = True
            for k in range(keys.shape[1]):
                same = same and known[other, k] == keys[i, k]
            if same:
                below = above = False
                for m in range(costs.shape[1]):
                    slack = 1e-12 * abs(cheapest[other, m])
                    below = below or costs[i, m] < cheapest[other, m] - slack
                    above = above or costs[i, m] > cheapest[other, m] + slack
                found[i] = below
                if below and not above:
                    cheapest[other] = costs[i]
                break
            place = (place + 1) & (len(room) - 1)
    return used
