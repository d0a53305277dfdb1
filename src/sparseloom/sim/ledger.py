"""What happened to one tensor: every transfer of every edge booked as actual, gated, skipped, or absent.

Sections 2 to 6 of docs/oracle.md.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.actions import DATA_ACTIONS, OUTCOMES
from sparseloom.sim.judge import ACTUAL, GATED, SKIPPED, Judge
from sparseloom.sim.nest import BoolArray, IntArray, Nest
from sparseloom.sim.store import Metadata, Store
from sparseloom.sim.transfer import Edge, Transfer, transfers
from sparseloom.workload.einsum import TensorAccess

FATES = (ACTUAL, GATED, SKIPPED)
"""Fates by their number in :attr:`Ledger.fates`."""

ByOutcome = dict[str, dict[str, int]]


def _zeros() -> ByOutcome:
    return {action: dict.fromkeys(OUTCOMES, 0) for action in DATA_ACTIONS}


@dataclass(frozen=True)
class Account:
    """Sums of one tensor at one level: ``words``, ``blocks`` (accesses), metadata ``bits`` by action and outcome, and
    metadata ``units`` likewise, ``[n_format_ranks, 2]`` (metadata, payload)."""

    units: dict[str, dict[str, IntArray]]
    words: ByOutcome = field(default_factory=_zeros)
    blocks: ByOutcome = field(default_factory=_zeros)
    bits: ByOutcome = field(default_factory=_zeros)

    def book(self, action: str, outcome: str, words: int, blocks: int, times: int) -> None:
        self.words[action][outcome] += words * times
        self.blocks[action][outcome] += blocks * times

    def book_metadata(self, action: str, outcome: str, metadata: Metadata, times: int) -> None:
        self.units[action][outcome] += metadata.units * times
        self.bits[action][outcome] += metadata.bits * times


@dataclass(frozen=True)
class Ledger:
    """One tensor's books. ``accounts`` are by level; ``fates[compute instance, step]`` numbers in :data:`FATES` what
    became of the word that each compute needs, on its way through all edges."""

    accounts: Table[int, Account]
    fates: NDArray[np.int8]


def keep_books(
    nest: Nest, access: TensorAccess, edges: tuple[Edge, ...], stores: Table[int, Store], judge: Judge, is_output: bool
) -> Ledger:
    """Walk all edges of a tensor, outermost first, and book their transfers. ``stores`` are those of its levels."""
    accounts = {level: Account(_no_units(store)) for level, store in stores.items()}
    fates = np.zeros(nest.views[-1].active.shape, dtype=np.int8)
    for edge in edges:
        outer = fates.copy()
        for transfer in transfers(nest, access, edge):
            if FATES[outer[_first_compute(nest, edge, transfer)]] != ACTUAL:
                continue  # absent: an outer edge eliminated what would have moved here
            outcome = judge.verdict(transfer, access, edge)
            book = _Entry(transfer, edge, accounts, stores, outcome, judge.leads(access.name, edge.parent))
            book.output() if is_output else book.operand()
            if outcome != ACTUAL:
                _cut_off(nest, fates, edge, transfer, judge.period(transfer, access, edge), outcome)
    return Ledger(accounts, fates)


def _no_units(store: Store) -> dict[str, dict[str, IntArray]]:
    return {action: {outcome: store.nothing().units for outcome in OUTCOMES} for action in DATA_ACTIONS}


def _first_compute(nest: Nest, edge: Edge, transfer: Transfer) -> tuple[int, int]:
    """A compute instance and step below the transfer: an outer edge decides for all of them alike."""
    instance = transfer.receivers[0] * nest.descendants(edge.child, nest.compute)
    return instance, transfer.step * nest.substeps(edge.child, nest.compute)


def _cut_off(nest: Nest, fates: NDArray[np.int8], edge: Edge, transfer: Transfer, period: slice, outcome: str) -> None:
    """Note that nothing arrives below the receivers of an eliminated transfer during its period."""
    lanes, substeps = nest.descendants(edge.child, nest.compute), nest.substeps(edge.child, nest.compute)
    for receiver in transfer.receivers:
        below = fates[receiver * lanes : (receiver + 1) * lanes, period.start * substeps : period.stop * substeps]
        below[below == FATES.index(ACTUAL)] = FATES.index(outcome)


@dataclass(frozen=True)
class _Entry:
    """The booking of one transfer that is not absent."""

    transfer: Transfer
    edge: Edge
    accounts: Table[int, Account]
    stores: Table[int, Store]
    outcome: str
    leads: bool

    def operand(self) -> None:
        self._at_parent("read", self.transfer.points, times=1)
        self._at_child(self.transfer.points)

    def output(self) -> None:
        """Partial sums go up, and those of earlier visits come down first."""
        self._at_parent("update", self.transfer.points, times=1 if self.edge.reduces else len(self.transfer.receivers))
        if self.transfer.revisited.any():
            self._at_parent("read", self.transfer.revisited, times=1)
            self._at_child(self.transfer.revisited)

    def _at_parent(self, action: str, points: BoolArray, times: int) -> None:
        account, store = self.accounts[self.edge.parent], self.stores[self.edge.parent]
        words = store.words(self.transfer.new, points)
        account.book(action, self.outcome, words, store.blocks(words), times)
        metadata = store.moved_metadata(self.transfer.new, self.transfer.before)
        account.book_metadata(action, ACTUAL if self.leads else self.outcome, metadata, times)

    def _at_child(self, points: BoolArray) -> None:
        """Each receiver fills what reaches it; compute units hold nothing."""
        if self.outcome == ACTUAL and self.edge.child in self.stores:
            account, store = self.accounts[self.edge.child], self.stores[self.edge.child]
            words, times = store.words(self.transfer.new, points), len(self.transfer.receivers)
            account.book("fill", ACTUAL, words, store.blocks(words), times)
            account.book_metadata("fill", ACTUAL, store.all_metadata(self.transfer.new), times)
