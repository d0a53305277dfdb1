"""How one level keeps one tensor: words and metadata of its boxes, found by encoding them.

Sections 3 and 6 of docs/oracle.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sparseloom.arch.design import Design
from sparseloom.fibertree.fiber import Part, bind
from sparseloom.fibertree.format import Format
from sparseloom.sim.nest import BoolArray, Box, IntArray, Nest
from sparseloom.sim.transfer import inside
from sparseloom.workload.einsum import TensorAccess


@dataclass(frozen=True)
class Metadata:
    """Units of every rank of a format, ``[n_format_ranks, 2]`` (metadata, payload), and the bits they take in all."""

    units: IntArray
    bits: int


@dataclass(frozen=True)
class Store:
    """A level's store for a tensor. ``mask`` holds the tensor's nonzeros; ``form`` is None without a format.

    ``widths`` are the bits of one unit of every rank of the format, ``[n_format_ranks, 2]`` (metadata, payload),
    whatever box is moved. Units of boxes are remembered: a box is encoded once.
    """

    access: TensorAccess
    mask: BoolArray
    form: Format | None
    widths: IntArray
    block_words: int
    _units: dict[Box, IntArray] = field(default_factory=dict, repr=False, compare=False)
    _digits: dict[Box, tuple[frozenset[tuple[int, ...]], ...]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def compressed(self) -> bool:
        return self.form is not None and self.form.compressed

    @property
    def format_ranks(self) -> int:
        return len(self.form.ranks) if self.form else 0

    def words(self, box: Box, points: BoolArray) -> int:
        """Words of the ``points`` of a box (booleans of its shape): its nonzeros if compressed, else all."""
        chosen = points & self.mask[inside(box)] if self.compressed else points
        return int(np.count_nonzero(chosen))

    def blocks(self, words: int) -> int:
        return -(-words // self.block_words)

    def nothing(self) -> Metadata:
        return Metadata(np.zeros((self.format_ranks, 2), dtype=np.int64), 0)

    def all_metadata(self, box: Box) -> Metadata:
        """Everything that encoding a box takes."""
        units = self._encode(box)
        return Metadata(units, int((units * self.widths).sum()))

    def moved_metadata(self, box: Box, before: frozenset[Box | None]) -> Metadata:
        """What moves when a box is read or updated, ``before`` being what its receivers held just before.

        Ranks above the lowest in which the box has a single coordinate move only if for some receiver that coordinate,
        or one in a rank above it, is another than in the box just before, or there was none.
        """
        moved = self._encode(box).copy()
        here = self._coordinates(box)
        for rank in range(self.format_ranks - 1):
            seen = all(old is not None and self._coordinates(old)[: rank + 1] == here[: rank + 1] for old in before)
            if len(here[rank]) == 1 and seen:
                moved[rank] = 0
        return Metadata(moved, int((moved * self.widths).sum()))

    def _encode(self, box: Box) -> IntArray:
        """Units, ``[n_format_ranks, 2]``."""
        if self.form is None:
            return np.zeros((0, 2), dtype=np.int64)
        if box not in self._units:
            origin = tuple(low for low, _ in box)
            self._units[box] = self.form.encode(np.asarray(self.mask[inside(box)]), self.access.ranks, origin).units
        return self._units[box]

    def _coordinates(self, box: Box) -> tuple[frozenset[tuple[int, ...]], ...]:
        """For each rank of the format the coordinates that the box spans; a flattened rank's are tuples."""
        if box not in self._digits:
            parts = bind(self.form, self.access.ranks).parts if self.form else ()
            self._digits[box] = tuple(_span(rank, box) for rank in parts)
        return self._digits[box]


def store(design: Design, nest: Nest, access: TensorAccess, mask: BoolArray, level: int) -> Store:
    """The store of a design's level ``level`` for a tensor."""
    storage = design.architecture.levels[level]
    form = design.features.format_of(storage.name, access.name)
    return Store(access, mask, form, _widths(form, nominal_tile(nest, access, level), access), storage.block_words)


def nominal_tile(nest: Nest, access: TensorAccess, level: int) -> Box:
    """A tensor's box at the origin over as many points as the loops of ``level`` and inside it span, at most the shape.

    It is the tile of the first instance at the first step, where every digit of an outer loop is 0.
    """
    return nest.project(nest.views[level].points(0, 0), access)


def _widths(form: Format | None, tile: Box, access: TensorAccess) -> IntArray:
    if form is None:
        return np.zeros((0, 2), dtype=np.int64)
    return form.widths(access.ranks, [low for low, _ in tile], [high for _, high in tile])


def _span(parts: tuple[Part, ...], box: Box) -> frozenset[tuple[int, ...]]:
    spanned: list[tuple[int, ...]] = [()]
    for part in parts:
        low, high = box[part.axis]
        digits = {k // part.step % part.count if part.count else k // part.step for k in range(low, high)}
        spanned = [(*head, digit) for head in spanned for digit in sorted(digits)]
    return frozenset(spanned)
