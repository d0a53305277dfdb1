"""The sums of what rows of transfers move, by mapping and stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseloom.kernel import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STAGES = ("all", "reaching", "unskipped", "actual")
"""All dense transfers; those that no outer edge eliminated; those not skipped here; those not gated either."""
ALL, REACHING, UNSKIPPED, ACTUAL = range(4)

WORDS, BLOCKS, BITS, UNITS = range(4)
"""Rows of :class:`Moved`; those from UNITS on are metadata and payload units of each rank of a format."""


@dataclass(frozen=True)
class Moved:
    """What moves, by stage: ``table`` [B, 3 + 2 ranks, 4] with ``words`` [B, 4], the ``blocks`` [B, 4] they take, metadata
    ``units`` [B, ranks, 2, 4] of the level's format (without one: no ranks) and the ``bits`` [B, 4] they take.

    ``kinds`` [K, 3 + 2 ranks, 4] has the rows that differ, ``which`` [B] says which of them each mapping has; None: its own.
    """

    kinds: FloatArray
    which: IntArray | None = None

    @classmethod
    def of(cls, words: FloatArray, blocks: FloatArray, units: FloatArray, bits: FloatArray) -> Moved:
        return cls(
            np.concatenate([words[:, None], blocks[:, None], bits[:, None], units.reshape(len(words), -1, 4)], axis=1)
        )

    @property
    def table(self) -> FloatArray:
        return self.each(self.kinds)

    def each(self, values: FloatArray) -> FloatArray:
        """Of ``values`` [K, ...] of the kinds those of each mapping, [B, ...]."""
        return values if self.which is None else values.take(self.which, axis=0)

    @property
    def words(self) -> FloatArray:
        return self.each(self.kinds[:, WORDS])

    @property
    def blocks(self) -> FloatArray:
        return self.each(self.kinds[:, BLOCKS])

    @property
    def bits(self) -> FloatArray:
        return self.each(self.kinds[:, BITS])

    @property
    def units(self) -> FloatArray:
        table = self.table
        return table[:, UNITS:].reshape(len(table), -1, 2, 4)

    def less(self, other: Moved) -> Moved:
        """Without what ``other`` counts."""
        if self.which is other.which:
            return Moved(self.kinds - other.kinds, self.which)
        return Moved(self.table - other.table)

    def plus(self, other: Moved) -> Moved:
        """Together with what ``other`` counts."""
        if self.which is other.which:
            return Moved(self.kinds + other.kinds, self.which)
        return Moved(self.table + other.table)

    @property
    def bare(self) -> Moved:
        """Without metadata."""
        kinds = self.kinds[:, :UNITS].copy()
        kinds[:, BITS] = 0.0
        return Moved(kinds, self.which)


class Units(NamedTuple):
    """Metadata units ``each`` [M, ranks, 2] of M different transfers, ``which`` [N] of these N rows are, and the ``widths``
    [B, ranks, 2] of a unit, in bits."""

    each: FloatArray
    which: IntArray
    widths: FloatArray


def gathered(
    mapping: IntArray,
    weights: FloatArray,
    survival: FloatArray,
    words: FloatArray,
    blocks: FloatArray,
    units: Units,
    leads: bool,
) -> FloatArray:
    """Tables of :class:`Moved` for each of W ``weights``, [W, B, 3 + 2 ranks, 4].

    Of each of N rows: its ``mapping``, how often it occurs (``weights`` [W, N]) and what share ``survival`` [N, 4] reaches each
    stage ([N, 1] if the same for all); the ``words``, ``blocks`` [N] and ``units`` of one transfer. What ``leads`` has its
    metadata read whatever becomes of its data.
    """
    mappings, ranks, _ = units.widths.shape
    sums = np.zeros((len(weights), mappings, UNITS + 2 * ranks, survival.shape[1]))
    _gather(mapping, weights, survival, words, blocks, *units, leads, sums)
    if survival.shape[1] == len(STAGES):
        return sums
    # as np.broadcast_to, which takes longer than a mapping's sums
    same = np.ndarray((*sums.shape[:-1], len(STAGES)), sums.dtype, sums, strides=(*sums.strides[:-1], 0))
    same.flags.writeable = False
    return same


def bits_of(each: FloatArray | IntArray, which: IntArray, widths: FloatArray, mapping: IntArray) -> FloatArray:
    """Bits that the units of each row take (see :class:`Units`), [N], in the widths of its ``mapping``."""
    return np.asarray(_bits(np.asarray(each, np.float64), which, widths, mapping))


@kernel
def _bits(each, which, widths, mapping):
    bits = np.zeros(len(mapping))
    for row in range(len(mapping)):
        for rank in range(each.shape[1]):
            for kind in range(2):
                bits[row] += each[which[row], rank, kind] * widths[mapping[row], rank, kind]
    return bits


@kernel
def _gather(mapping, weights, survival, words, blocks, each, which, widths, leads, sums):
    """Add what each row moves to the sums of its mapping, by stage."""
    for row in range(len(mapping)):
        b = mapping[row]
        for w in range(len(weights)):
            weight = weights[w, row]
            if weight == 0:
                continue
            for stage in range(survival.shape[1]):
                times = survival[row, stage] * weight
                sums[w, b, WORDS, stage] += words[row] * times
                sums[w, b, BLOCKS, stage] += blocks[row] * times
                if leads and stage > REACHING:
                    times = survival[row, REACHING] * weight
                for rank in range(each.shape[1]):
                    for kind in range(2):
                        moved = each[which[row], rank, kind] * times
                        sums[w, b, UNITS + 2 * rank + kind, stage] += moved
                        sums[w, b, BITS, stage] += moved * widths[b, rank, kind]
