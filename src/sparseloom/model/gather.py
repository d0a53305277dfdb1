"""The sums of what rows of transfers move, by mapping and stage."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseloom.model.kernel import kernel

FloatArray = NDArray[np.float64]

STAGES = ("all", "reaching", "unskipped", "actual")
"""All dense transfers; those that no outer edge eliminated; those not skipped here; those not gated either."""
ALL, REACHING, UNSKIPPED, ACTUAL = range(4)


class Units(NamedTuple):
    """Metadata units ``each`` [M, ranks, 2] of M different transfers, ``which`` [N] of these N rows are, and the ``widths``
    [B, ranks, 2] of a unit, in bits."""

    each: FloatArray
    which: NDArray[np.int64]
    widths: FloatArray


def gathered(
    mapping: NDArray[np.int64],
    weight: FloatArray,
    survival: FloatArray,
    words: FloatArray,
    blocks: FloatArray,
    units: Units,
    leads: bool,
) -> list[FloatArray]:
    """Words [B, 4], blocks [B, 4], units [B, ranks, 2, 4] and their bits [B, 4], by stage.

    Of each of N rows: its ``mapping``, how often it occurs (``weight``) and what share ``survival`` [N, 4] reaches each stage
    ([N, 1] if the same for all); the ``words``, ``blocks`` [N] and ``units`` of one transfer. What ``leads`` has its metadata read
    whatever becomes of its data.
    """
    mappings, ranks, _ = units.widths.shape
    stages = survival.shape[1]
    sums = [np.zeros((mappings, *shape, stages)) for shape in ((), (), (ranks, 2), ())]
    of_row = (np.asarray(values, np.float64) for values in (words, blocks, units.each))
    _gather(mapping, weight, survival, *of_row, units.which, units.widths, leads, *sums)
    return sums if stages == len(STAGES) else [np.repeat(each, len(STAGES), axis=-1) for each in sums]


@kernel
def _gather(
    mapping, weight, survival, words, blocks, each, which, widths, leads, words_sum, blocks_sum, units_sum, bits_sum
):
    """Add what each row moves to the sums of its mapping, by stage."""
    for row in range(len(mapping)):
        b = mapping[row]
        if weight[row] == 0:
            continue
        for stage in range(survival.shape[1]):
            times = survival[row, stage] * weight[row]
            words_sum[b, stage] += words[row] * times
            blocks_sum[b, stage] += blocks[row] * times
            if leads and stage > REACHING:
                times = survival[row, REACHING] * weight[row]
            for rank in range(each.shape[1]):
                for kind in range(2):
                    moved = each[which[row], rank, kind] * times
                    units_sum[b, rank, kind, stage] += moved
                    bits_sum[b, stage] += moved * widths[b, rank, kind]


def distinct(columns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the columns [K, N] that are the first of their kind, and for each column which of those it equals."""
    columns = np.ascontiguousarray(columns)
    first, index = np.empty(columns.shape[1], np.int64), np.empty(columns.shape[1], np.int64)
    room = np.full(1 << (2 * columns.shape[1]).bit_length(), -1)
    return first[: _distinct(columns, room, first, index)], index


@kernel
def _distinct(columns, room, first, index):
    """Write both by a table of hashes, ``room``, a power of two that is large enough; returns how many there are."""
    found = 0
    for i in range(columns.shape[1]):
        key = 0
        for k in range(len(columns)):
            key = (key ^ columns[k, i]) * 0x9E3779B97F4A7C1
        place = (key >> 20) & (len(room) - 1)
        while True:
            other = room[place]
            if other < 0:
                room[place], first[found], index[i] = found, i, found
                found += 1
                break
            same = True
            for k in range(len(columns)):
                same = same and columns[k, i] == columns[k, first[other]]
            if same:
                index[i] = other
                break
            place = (place + 1) & (len(room) - 1)
    return found
