"""How long computes wait for the banks of a level to which they scatter what they make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.distinct import distinct
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.lanes import Packed

FloatArray = NDArray[np.float64]

GRAIN = 64
"""Words a cycle are told apart in steps of 1 / 64."""


def conflicts(problem: Problem, batch: MappingBatch, packed: dict[tuple[int, int], Packed]) -> FloatArray:
    """The time of computes with conflicts of banks over that without, [B]; 1 where no level has banks. Lanes of one point of the
    output are added up on their way; of lanes that nonzeros are packed into, those in use on average scatter."""
    found = np.ones(len(batch))
    if all(level.banks is None for level in problem.design.architecture.levels):
        return found
    own = problem.projections[-1].any(axis=0)[batch.rank] & (batch.place % 3 > 0)
    for depth, level in enumerate(problem.design.architecture.levels):
        if level.banks is None:
            continue
        words = np.where(own & (batch.place // 3 >= depth), batch.bound, 1).prod(axis=1).astype(np.float64)
        for (at, _), each in packed.items():
            if at >= depth:
                words /= each.load
        first, which = distinct(np.round(words * GRAIN).astype(np.int64)[None])
        found *= np.array([level.banks.slowdown(round(words[b] * GRAIN) / GRAIN) for b in first])[which]
    return found
