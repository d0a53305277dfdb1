"""The reads of a position-skipped tensor where it leaves the level that packs it.

Section 10 of docs/oracle.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sparseloom.sim.account import FATES, Account
from sparseloom.sim.judge import ACTUAL
from sparseloom.sim.nest import Nest
from sparseloom.sim.packing import Compute, Packing, tile_of, word_of
from sparseloom.sim.store import Store
from sparseloom.sim.transfer import Edge

ABSENT = len(FATES)
"""The number of an absent transfer, after those of :data:`FATES`."""


@dataclass(frozen=True)
class Passes:
    """The reads of a position-skipped tensor where it leaves the level that packs it: one of every nonzero for all computes
    of one pass of the other packed tensors. ``outer`` are the fates before this edge, ``fates`` those after it."""

    nest: Nest
    edge: Edge
    packing: Packing
    packings: tuple[Packing, ...]
    outer: NDArray[np.int8]
    fates: NDArray[np.int8]

    def book(self, account: Account, store: Store, leads: bool) -> None:
        scans: dict[tuple[int, ...], int] = {}
        reads: dict[tuple[tuple[int, ...], int, tuple[int, ...]], int] = {}
        for compute in self.nest.computes():
            if any(compute not in other.numbers for other in self._others):
                continue
            around, fate = self._around(compute), self._fate(compute)
            scans[around] = min(fate, scans.get(around, fate))
            if compute in self.packing.numbers:
                word = word_of(self.nest, self.packing.access, compute)
                read = (around, self.packing.turn(compute), word if self.edge.multicast else compute)
                reads[read] = min(fate, reads.get(read, fate))
        together = Counter((around, turn) for around, turn, _ in reads)
        for (around, turn, _), fate in reads.items():
            if fate != ABSENT:
                words = together[around, turn]
                account.book("read", FATES[fate], 1, Fraction(store.blocks(words), words))
        for around, fate in scans.items():
            if fate != ABSENT:
                box = self.nest.project(self.nest.views[self.packing.level].points(*around[:2]), self.packing.access)
                account.book_metadata("read", ACTUAL if leads else FATES[fate], store.all_metadata(box), 1)

    @property
    def _others(self) -> list[Packing]:
        return [p for p in self.packings if p.level == self.packing.level and p is not self.packing]

    def _around(self, compute: Compute) -> tuple[int, ...]:
        """The tile in which a compute lies, the pass of every other packed tensor, and the digits of the temporal loops in it
        that turn none of them."""
        packed = {rank for p in (self.packing, *self._others) for rank in p.access.iteration_ranks}
        digits = zip(self.nest.loops, self.nest.digits(*compute), strict=True)
        rest = [
            digit
            for placed, digit in digits
            if placed.temporal and placed.level >= self.packing.level and placed.loop.rank not in packed
        ]
        turns = [other.turn(compute) for other in self._others]
        return (*tile_of(self.nest, self.packing.level, compute), *turns, *rest)

    def _fate(self, compute: Compute) -> int:
        gone = FATES[self.outer[compute]] != ACTUAL
        return ABSENT if gone else int(self.fates[compute])
