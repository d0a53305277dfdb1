"""Transfers of a whole batch of mappings as classes of alike ones, compiled.

:mod:`sparseloom.model.events` lists the transfers of one mapping; where densities do not depend on places, most of them
are alike. Kernels count the classes of each mapping of a batch without listing: :mod:`sparseloom.model.digits` has those of
each rank, :mod:`sparseloom.model.products` multiplies them out. Terms and counts are those of the other module; a test holds
the two together. Few mappings do not fit the form (``irregular``) and are left to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import BoolArray, IntArray, Problem, extents_of
from sparseloom.memory import remembered
from sparseloom.model.alike import alike, alike_in_tiles
from sparseloom.model.edge import Box, Edge, Wanted
from sparseloom.model.nests import Nests, mean_tiles, nominal_tiles
from sparseloom.model.products import emit_batch
from sparseloom.model.task import task_of

FloatArray = NDArray[np.float64]


class Classes(NamedTuple):
    """Classes of the transfers of one edge over a batch, N in all, sorted by mapping.

    ``groups``, ``receivers`` count the transfers of a class, ``side_groups``, ``side_receivers`` those of them that are
    first dense visits (or at the origin); ``low`` [R, N] is where the new box begins, as far as parts of split ranks matter,
    ``extents`` are its own, ``common`` [R, N] those of its part that the old one had; ``points`` are all that one parent
    instance serves at such a step; ``spans`` [K, D, N] the coordinates used with each judging edge's transfer.
    """

    mapping: IntArray
    groups: FloatArray
    receivers: FloatArray
    side_groups: FloatArray
    side_receivers: FloatArray
    points: FloatArray
    low: IntArray
    extents: IntArray
    common: IntArray
    changed: dict[tuple[int, int], BoolArray]
    spans: IntArray

    @property
    def first_groups(self) -> FloatArray:
        return self.side_groups

    @property
    def first_receivers(self) -> FloatArray:
        return self.side_receivers

    @property
    def box(self) -> Box:
        return self.low, self.low + self.extents

    @property
    def overlap(self) -> Box:
        return self.low, self.low + self.common

    def span(self, k: int) -> Box:
        return np.zeros(self.spans[k].shape, np.int64), self.spans[k]

    def stays(self, axis: int, step: int) -> BoolArray:
        return ~self.changed[axis, step]

    def step_total(self, values: FloatArray, merged: bool) -> FloatArray:
        own = np.multiply.reduce(self.extents, axis=0) - np.multiply.reduce(self.common, axis=0)
        total = np.divide(values * self.points, own, out=np.zeros(own.size), where=own > 0)
        return total if merged else np.asarray(total * self.receivers / np.maximum(self.groups, 1.0))


MOST_BITS = 60
"""Ranks, and judges of an edge, that the kernels tell apart as bits of an integer."""


MANY = 64
"""Mappings from which on it is worth the time to find those that are alike."""


@dataclass(frozen=True)
class ClassSource:
    """The transfers of a batch as a source of rows, or of ``some`` of its mappings. ``marked`` [B] is set for mappings that do not
    fit the form, as edges are asked for. ``kinds`` are the sources of mappings that stand for all those :meth:`alike`,
    ``by_tiles`` those of them that tell apart the tiles of a level in certain ranks."""

    problem: Problem
    nests: Nests
    some: IntArray
    marked: BoolArray = field(repr=False)
    kinds: list[tuple[ClassSource, IntArray]] = field(default_factory=list, repr=False)
    by_tiles: dict[tuple[int, bytes], tuple[ClassSource, IntArray]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, problem: Problem, nests: Nests) -> ClassSource:
        """The transfers of all ``nests``."""
        count = len(nests.count)
        return cls(problem, nests, np.arange(count), np.zeros(count, np.bool_))

    @property
    def mappings(self) -> int:
        return len(self.some)

    @property
    def irregular(self) -> IntArray:
        """The mappings that were found not to fit the form."""
        found = self.marked.copy()
        for few, which in self.kinds:
            if few.marked.any():
                found |= few.marked[few.some][which]
        return np.flatnonzero(found)

    def alike(self, edge: Edge, wanted: Wanted, levels: Sequence[int] = ()) -> tuple[ClassSource, IntArray | None]:
        """The source of the mappings that differ to an edge, or in their tiles at ``levels``, and which of those each mapping is
        like, [B]; None: itself."""
        if self.mappings < MANY or self._unfit(wanted):
            return self, None
        task = task_of(self.problem, edge, wanted, _before(edge, wanted))
        few, which = self._first_of(alike(self.nests, self.some, task, np.array(levels, np.int64)))
        if which is not None:
            told_apart = (*levels, edge.child) if edge.hold else levels
            self.by_tiles.update({(level, task.indexed.tobytes()): (few, which) for level in told_apart})
        return few, which

    def alike_in_tiles(self, edge: Edge, wanted: Wanted) -> tuple[ClassSource, IntArray | None]:
        """As :meth:`alike`, as far as the child's tiles go."""
        if self.mappings < MANY:
            return self, None
        if self._crossed(edge, wanted).size:
            task = task_of(self.problem, edge, wanted, False)
            return self._first_of(alike(self.nests, self.some, task, np.array([edge.child])))
        indexed = np.asarray(edge.projection.any(axis=0))
        few, which = self.by_tiles.get((edge.child, indexed.tobytes()), (self, None))
        if which is not None:
            fewer, of_few = few.alike_in_tiles(edge, wanted)
            return fewer, which if of_few is None else of_few[which]
        return self._first_of(alike_in_tiles(self.nests, self.some, edge.child, indexed))

    def _first_of(self, kinds: tuple[IntArray, IntArray] | None) -> tuple[ClassSource, IntArray | None]:
        if kinds is None:
            return self, None
        first, which = kinds
        few = ClassSource(self.problem, self.nests, self.some[first], np.zeros_like(self.marked))
        self.kinds.append((few, which))
        return few, which

    def transfers(self, edge: Edge, wanted: Wanted) -> Iterator[Classes]:
        """All classes of an edge."""
        if self._unfit(wanted):
            self.marked[self.some] = True
        yield self._classes(edge, wanted, _before(edge, wanted), self.some)

    def _unfit(self, wanted: Wanted) -> bool:
        """Whether no mapping fits the form."""
        unknown = wanted.offsets is not None and bool(wanted.offsets.any())
        return unknown or max(len(wanted.judges), len(self.problem.ranks)) > MOST_BITS

    def _classes(self, edge: Edge, wanted: Wanted, before: bool, some: IntArray) -> Classes:
        """The classes of an edge in ``some`` of all mappings, which are numbered anew; ``before`` tells whether the transfer before
        may matter."""
        task = task_of(self.problem, edge, wanted, before)
        (ranks, dims), size = edge.projection.shape, 4 * len(some) + 64
        counts, table = np.empty((4, size)), np.empty((task.width, size), np.int64)
        done = used = 0
        while True:
            done, used = emit_batch(some, *self.nests[:4], *task, counts, table, done, used, self.marked)
            if done == len(some):
                break
            counts, table = (np.concatenate([known, np.empty_like(known)], axis=1) for known in (counts, table))
        return _named(counts[:, :used], table[:, :used], ranks, dims, wanted)

    def tiles(self, edge: Edge, wanted: Wanted) -> tuple[Box, FloatArray, FloatArray, IntArray]:
        """Boxes of the child's tiles, mean points of those that each stands for, how many they are, and the mapping of each.

        The tiles of a level make up each rank, and the one at the origin is as large as any: where no part of a split begins
        inside one, it stands for all.
        """
        projection = edge.projection
        nominal = self.nominal(edge.child)
        extents, means = (
            extents_of(projection, nominal),
            extents_of(projection, mean_tiles(nominal, self.problem.shape)),
        )
        once, every = np.ones(self.mappings), np.arange(self.mappings)
        box, points, times = (np.zeros(extents.shape, np.int64), extents), np.multiply.reduce(means, axis=0), once
        listed = self._crossed(edge, wanted)
        if not listed.size:
            return box, points, times, every
        rows = self._classes(edge, wanted, False, self.some[listed])
        mapping = np.concatenate([np.delete(np.arange(self.mappings), listed), listed[rows.mapping]])
        order = np.argsort(mapping, kind="stable")

        def placed(one: NDArray[Any], each: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([np.delete(one, listed, axis=-1), each], axis=-1)[..., order]

        own = rows.box
        return (
            (placed(box[0], own[0]), placed(box[1], own[1])), placed(points, np.prod(own[1] - own[0], axis=0)),
            placed(times, rows.receivers), mapping[order],
        )  # fmt: skip

    def _crossed(self, edge: Edge, wanted: Wanted) -> IntArray:
        """Mappings in whose tiles parts of a split may begin; all where the tensor's ranks are not independent."""
        ranks = _cut_ranks(edge, wanted)
        if ranks is None:
            return np.arange(self.mappings)
        return np.flatnonzero(~self.nests.aligned[self.some][:, ranks].all(axis=1)) if ranks else _NONE

    def nominal(self, level: int) -> IntArray:
        return np.asarray(nominal_tiles(self.nests.tile, self.some, level, self.problem.shape))

    def busiest(self, busy: FloatArray, rows: Classes, barrier: int) -> FloatArray:
        """The computes of the first instance: none has more points, at any step of a barrier."""
        return np.asarray(np.bincount(rows.mapping, busy * rows.side_receivers, self.mappings), np.float64)


_NONE = np.zeros(0, np.int64)


def _before(edge: Edge, wanted: Wanted) -> bool:
    """Whether the transfer before may matter."""
    return edge.hold or len(wanted.watch) > 0


@remembered
def _cut_ranks(edge: Edge, wanted: Wanted) -> list[int] | None:
    """Ranks that are the index of a tensor rank which is split, each by itself; None where ranks are not independent."""
    indexes = edge.projection > 0
    some = [np.flatnonzero(indexes[axis]).tolist() for axis, _ in wanted.splits]
    simple = all(
        len(d) == 1 and edge.projection[axis, d[0]] == 1 for (axis, _), d in zip(wanted.splits, some, strict=True)
    )
    return [d[0] for d in some] if simple and (indexes.sum(axis=0) <= 1).all() else None


def _named(counts: FloatArray, table: IntArray, ranks: int, dims: int, wanted: Wanted) -> Classes:
    groups, aside, receivers, points = counts
    extents, common, low = (table[k * ranks : (k + 1) * ranks] for k in range(3))
    changed = {key: table[3 * ranks + k] > 0 for k, key in enumerate(wanted.watch)}
    spans = table[3 * ranks + len(wanted.watch) : -1].reshape(len(wanted.judges), dims, table.shape[1])
    return Classes(
        table[-1], groups, groups * receivers, aside, aside * receivers, points, low, extents, common, changed, spans
    )
