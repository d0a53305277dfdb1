"""What happened to one tensor: every transfer of every edge booked as actual, gated, skipped, or absent.

Sections 2 to 6 of docs/oracle.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from fractions import Fraction

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


def _no_blocks() -> dict[str, dict[str, Fraction]]:
    return {action: dict.fromkeys(OUTCOMES, Fraction(0)) for action in DATA_ACTIONS}


@dataclass(frozen=True)
class Account:
    """Sums of one tensor at one level: ``words``, ``blocks`` (accesses, in shares), metadata ``bits`` by action and
    outcome, and metadata ``units`` likewise, ``[n_format_ranks, 2]`` (metadata, payload)."""

    units: dict[str, dict[str, IntArray]]
    words: ByOutcome = field(default_factory=_zeros)
    blocks: dict[str, dict[str, Fraction]] = field(default_factory=_no_blocks)
    bits: ByOutcome = field(default_factory=_zeros)

    @property
    def block_accesses(self) -> dict[str, dict[str, float]]:
        """``blocks`` as floats."""
        return {action: {o: float(shares[o]) for o in OUTCOMES} for action, shares in self.blocks.items()}

    def book(self, action: str, outcome: str, words: int, blocks: Fraction) -> None:
        self.words[action][outcome] += words
        self.blocks[action][outcome] += blocks

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
        for together in transfers(nest, access, edge):
            packed = _packed_words(together, edge, stores[edge.parent], is_output)
            for transfer in together:
                if FATES[outer[_first_compute(nest, edge, transfer)]] != ACTUAL:
                    continue  # absent: an outer edge eliminated what would have moved here
                if not transfer.moves and not judge.begins_period(transfer, access, edge):
                    continue  # what the period brought is still there
                outcome = judge.verdict(transfer, access, edge)
                entry = _Entry(transfer, edge, accounts, stores, packed, outcome, judge.leads(access.name, edge.parent))
                entry.book(is_output)
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
class _Move:
    """What a transfer does at the parent: ``action`` on some ``points`` of the new box, so many ``times``."""

    action: str
    points: BoolArray
    times: int = 1


def _moves(transfer: Transfer, edge: Edge, is_output: bool) -> list[_Move]:
    """An operand is read. Partial sums go up, and those of earlier visits come down first."""
    if not is_output:
        return [_Move("read", transfer.points)] if transfer.moves else []
    up = _Move("update", transfer.points, 1 if edge.reduces else len(transfer.receivers))
    down = _Move("read", transfer.revisited)
    return [move for move in (up, down) if move.points.any()]


def _packed_words(together: list[Transfer], edge: Edge, store: Store, is_output: bool) -> Counter[tuple[int, str]]:
    """The words that every parent instance moves at one step in one access, by instance and action. What is absent or
    eliminated belongs to them."""
    packed: Counter[tuple[int, str]] = Counter()
    for transfer in together:
        for move in _moves(transfer, edge, is_output):
            packed[transfer.parent, move.action] += store.words(transfer.new, move.points) * move.times
    return packed


@dataclass(frozen=True)
class _Entry:
    """The booking of one transfer that is not absent. ``packed``: the words that share accesses at its step."""

    transfer: Transfer
    edge: Edge
    accounts: Table[int, Account]
    stores: Table[int, Store]
    packed: Table[tuple[int, str], int]
    outcome: str
    leads: bool

    def book(self, is_output: bool) -> None:
        for move in _moves(self.transfer, self.edge, is_output):
            self._at_parent(move)
            if move.action == "read" and self.outcome == ACTUAL and self.edge.child in self.stores:
                self._at_child(move.points)

    def _at_parent(self, move: _Move) -> None:
        account, store = self.accounts[self.edge.parent], self.stores[self.edge.parent]
        words = store.words(self.transfer.new, move.points) * move.times
        account.book(move.action, self.outcome, words, self._share(store, move.action, words))
        metadata = store.moved_metadata(self.transfer.new, self.transfer.before)
        account.book_metadata(move.action, ACTUAL if self.leads else self.outcome, metadata, move.times)

    def _share(self, store: Store, action: str, words: int) -> Fraction:
        """The transfer's share of the blocks in which its parent instance moves all words of the step."""
        together = self.packed[self.transfer.parent, action]
        return Fraction(words, together) * store.blocks(together) if together else Fraction(0)

    def _at_child(self, points: BoolArray) -> None:
        """Each receiver fills what reaches it, in an access of its own; compute units hold nothing."""
        account, store = self.accounts[self.edge.child], self.stores[self.edge.child]
        words, receivers = store.words(self.transfer.new, points), len(self.transfer.receivers)
        account.book("fill", ACTUAL, words * receivers, Fraction(store.blocks(words) * receivers))
        account.book_metadata("fill", ACTUAL, store.all_metadata(self.transfer.new), receivers)
