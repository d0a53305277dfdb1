"""The sums of what rows of transfers move, by mapping and stage."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseloom.kernel import kernel

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
    return [np.broadcast_to(each, (*each.shape[:-1], len(STAGES))) for each in sums]


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
