"""What happened to one tensor: every transfer of every edge booked as actual, gated, skipped, or absent.

Sections 2 to 6 and 10 of docs/oracle.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Table
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.actions import DATA_ACTIONS, OUTCOMES
from sparseloom.sim.account import FATES, Account
from sparseloom.sim.judge import ACTUAL, SKIPPED, Judge
from sparseloom.sim.nest import BoolArray, IntArray, Nest
from sparseloom.sim.packing import Packing
from sparseloom.sim.passes import Passes
from sparseloom.sim.store import Store
from sparseloom.sim.transfer import Edge, Transfer, transfers
from sparseloom.workload.einsum import TensorAccess


@dataclass(frozen=True)
class Ledger:
    """One tensor's books. ``accounts`` are by level; ``fates[compute instance, step]`` numbers in :data:`FATES` what
    became of the word that each compute needs, on its way through all edges."""

    accounts: Table[int, Account]
    fates: NDArray[np.int8]


def keep_books(
    nest: Nest,
    access: TensorAccess,
    edges: tuple[Edge, ...],
    stores: Table[int, Store],
    judge: Judge,
    packings: tuple[Packing, ...],
    is_output: bool,
) -> Ledger:
    """Walk all edges of a tensor, outermost first, and book their transfers.

    ``stores`` are those of the levels that keep it or through which it passes, ``packings`` all of the design.
    """
    accounts = {level: Account(_no_units(store)) for level, store in stores.items()}
    fates = np.zeros(nest.views[-1].active.shape, dtype=np.int8)
    for edge in edges:
        outer = fates.copy()
        in_passes = [
            p for p in packings if p.access == access and p.level == edge.parent and edge.child == nest.compute
        ]
        leads = judge.leads(access.name, edge.parent)
        for together in transfers(nest, access, edge):
            shared = _Shared.of(nest, together, edge, stores, is_output)
            for transfer in together:
                if FATES[outer[_first_compute(nest, edge, transfer)]] != ACTUAL:
                    continue  # absent: an outer edge eliminated what would have moved here
                if not transfer.moves and not judge.begins_period(transfer, access, edge):
                    continue  # what the period brought is still there
                outcome = judge.verdict(transfer, access, edge)
                idle = frozenset(r for r in transfer.receivers if judge.idles((r,), transfer, access, edge))
                entry = _Entry(transfer, edge, accounts, stores, shared, outcome, idle, leads)
                if not in_passes:
                    entry.book(is_output)
                if outcome == ACTUAL:
                    entry.pass_through(nest, is_output, judge, access)
                period = judge.period(transfer, access, edge)
                _cut_off(nest, fates, edge, idle, period, SKIPPED)
                if outcome != ACTUAL:
                    _cut_off(nest, fates, edge, transfer.receivers, period, outcome)
        for packing in in_passes:
            Passes(nest, edge, packing, packings, outer, fates).book(accounts[edge.parent], stores[edge.parent], leads)
    for packing in packings:
        if packing.access == access:
            for compute in set(nest.computes()) - packing.numbers.keys():
                fates[compute] = FATES.index(SKIPPED)
    return Ledger(accounts, fates)


def _no_units(store: Store) -> dict[str, dict[str, IntArray]]:
    return {action: {outcome: store.nothing().units for outcome in OUTCOMES} for action in DATA_ACTIONS}


def _first_compute(nest: Nest, edge: Edge, transfer: Transfer) -> tuple[int, int]:
    """A compute instance and step below the transfer: an outer edge decides for all of them alike."""
    instance = transfer.receivers[0] * nest.descendants(edge.child, nest.compute)
    return instance, transfer.step * nest.substeps(edge.child, nest.compute)


def _cut_off(
    nest: Nest, fates: NDArray[np.int8], edge: Edge, receivers: Iterable[int], period: slice, outcome: str
) -> None:
    """Note that nothing arrives below the receivers of an eliminated transfer during its period."""
    lanes, substeps = nest.descendants(edge.child, nest.compute), nest.substeps(edge.child, nest.compute)
    for receiver in receivers:
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


def _passing(nest: Nest, transfer: Transfer, edge: Edge, level: int) -> Iterator[Transfer]:
    """The parts of a transfer, one for each instance of ``level`` that has receivers of it: its ``parent`` is that instance."""
    share = nest.descendants(level, edge.child)
    for instance in sorted({receiver // share for receiver in transfer.receivers}):
        receivers = tuple(r for r in transfer.receivers if r // share == instance)
        yield replace(transfer, parent=instance, receivers=receivers)


@dataclass(frozen=True)
class _Shared:
    """The words that an instance of a level moves at one step in one access, by level, instance and action. What is absent
    or eliminated belongs to them."""

    words: Counter[tuple[int, int, str]]

    @classmethod
    def of(
        cls, nest: Nest, together: list[Transfer], edge: Edge, stores: Table[int, Store], is_output: bool
    ) -> _Shared:
        words: Counter[tuple[int, int, str]] = Counter()
        for transfer in together:
            parts = [(edge.parent, transfer)]
            parts += [(level, part) for level in edge.streams for part in _passing(nest, transfer, edge, level)]
            for level, part in parts:
                for move in _moves(part, edge, is_output):
                    words[level, part.parent, move.action] += stores[level].words(part.new, move.points) * move.times
        return cls(words)

    def share(self, store: Store, level: int, instance: int, action: str, words: int) -> Fraction:
        """The share that some words have of the blocks of their access."""
        together = self.words[level, instance, action]
        return Fraction(words, together) * store.blocks(together) if together else Fraction(0)


@dataclass(frozen=True)
class _Entry:
    """The booking of one transfer that is not absent. ``idle`` are the receivers that take no part in it on their own."""

    transfer: Transfer
    edge: Edge
    accounts: Table[int, Account]
    stores: Table[int, Store]
    shared: _Shared
    outcome: str
    idle: frozenset[int]
    leads: bool

    def book(self, is_output: bool) -> None:
        for move in _moves(self.transfer, self.edge, is_output):
            idle = len(self.idle) if self._by_receiver(move) else 0
            self._at_parent(replace(move, times=move.times - idle), self.outcome)
            self._at_parent(replace(move, times=idle), SKIPPED)
            if move.action == "read" and self.outcome == ACTUAL and self.edge.child in self.stores:
                self._at_child(move.points)

    def _by_receiver(self, move: _Move) -> bool:
        """Whether every receiver moves the words for itself."""
        return move.action == "update" and not self.edge.reduces

    def _at_parent(self, move: _Move, outcome: str) -> None:
        account, store = self.accounts[self.edge.parent], self.stores[self.edge.parent]
        words = store.words(self.transfer.new, move.points) * move.times
        share = self.shared.share(store, self.edge.parent, self.transfer.parent, move.action, words)
        account.book(move.action, outcome, words, share)
        metadata = store.moved_metadata(self.transfer.new, self.transfer.before)
        account.book_metadata(move.action, ACTUAL if self.leads else outcome, metadata, move.times)

    def _at_child(self, points: BoolArray) -> None:
        """Each receiver fills what reaches it, in an access of its own; compute units hold nothing."""
        account, store = self.accounts[self.edge.child], self.stores[self.edge.child]
        words, receivers = store.words(self.transfer.new, points), len(set(self.transfer.receivers) - self.idle)
        account.book("fill", ACTUAL, words * receivers, Fraction(store.blocks(words) * receivers))
        account.book_metadata("fill", ACTUAL, store.all_metadata(self.transfer.new), receivers)

    def pass_through(self, nest: Nest, is_output: bool, judge: Judge, access: TensorAccess) -> None:
        """Write and read what passes through the levels on the way, whole words without metadata."""
        for level in self.edge.streams:
            store = self.stores[level]
            for part in _passing(nest, self.transfer, self.edge, level):
                if judge.idles(part.receivers, self.transfer, access, self.edge):
                    continue
                for move in _moves(part, self.edge, is_output):
                    idle = len(self.idle & set(part.receivers)) if self._by_receiver(move) else 0
                    words = store.words(part.new, move.points) * (move.times - idle)
                    share = self.shared.share(store, level, part.parent, move.action, words)
                    for action in ("fill", "read"):
                        self.accounts[level].book(action, ACTUAL, words, share)
