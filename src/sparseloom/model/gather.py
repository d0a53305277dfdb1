"""The sums of what rows of transfers move, by mapping and stage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparseloom.model.kernel import kernel

FloatArray = NDArray[np.float64]

STAGES = ("all", "reaching", "unskipped", "actual")
"""All dense transfers; those that no outer edge eliminated; those not skipped here; those not gated either."""
ALL, REACHING, UNSKIPPED, ACTUAL = range(4)


def gathered(
    mapping: NDArray[np.int64],
    weight: FloatArray,
    survival: FloatArray,
    words: FloatArray,
    blocks: FloatArray,
    units: FloatArray,
    widths: FloatArray,
    leads: bool,
) -> list[FloatArray]:
    """Words [B, 4], blocks [B, 4], units [B, ranks, 2, 4] and their bits [B, 4], by stage.

    Of each of N rows: its ``mapping``, how often it occurs (``weight``) and what share ``survival`` [N, 4] reaches each stage; the
    ``words``, ``blocks`` [N] and ``units`` [N, ranks, 2] of one transfer. ``widths`` [B, ranks, 2] are bits of a unit. What
    ``leads`` has its metadata read whatever becomes of its data.
    """
    sums = [np.zeros((len(widths), *shape, 4)) for shape in ((), (), units.shape[1:], ())]
    of_row = (np.asarray(values, np.float64) for values in (words, blocks, units))
    _gather(mapping, weight, survival, *of_row, widths, leads, *sums)
    return sums


@kernel
def _gather(mapping, weight, survival, words, blocks, units, widths, leads, words_sum, blocks_sum, units_sum, bits_sum):
    """Add what each row moves to the sums of its mapping, by stage."""
    for row in range(len(mapping)):
        b = mapping[row]
        if weight[row] == 0:
            continue
        for stage in range(4):
            times = survival[row, stage] * weight[row]
            words_sum[b, stage] += words[row] * times
            blocks_sum[b, stage] += blocks[row] * times
            if leads and stage > REACHING:
                times = survival[row, REACHING] * weight[row]
            for rank in range(units.shape[1]):
                for kind in range(2):
                    moved = units[row, rank, kind] * times
                    units_sum[b, rank, kind, stage] += moved
                    bits_sum[b, stage] += moved * widths[b, rank, kind]
