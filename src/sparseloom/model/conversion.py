"""Tiles that one level keeps compressed and the next plain: what turning them into each other costs.

Only Timeloop's energy tables have entries for it, ``decompression_count`` and ``compression_count``, in pJ a word. Source:
storage-optimization-combiner.cpp of Timeloop at ee66b62: a level pays for the words that arrive, and for those of its
results that its parent stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import Problem
from sparseloom.model.microarch import LevelCost, Share
from sparseloom.model.sparse import ACTUAL

DECOMPRESSION, COMPRESSION = "decompression_count", "compression_count"

Shares = Mapping[str, Mapping[str, Share]]
"""By level and tensor name."""


def with_conversions(
    problem: Problem, shares: Shares, costs: Sequence[LevelCost], ert: Mapping[str, Mapping[str, float]]
) -> list[LevelCost]:
    """The ``costs`` of each level with those of conversion; ``ert`` is Timeloop's energy table by level."""
    features = problem.design.features
    found = []
    for level, cost in zip(problem.design.architecture.names, costs, strict=True):
        entries = ert.get(level, {})
        unpack = entries.get(DECOMPRESSION, 0.0) if level in features.decompression else 0.0
        pack = entries.get(COMPRESSION, 0.0) if level in features.compression else 0.0
        energies = {name: pj + _conversion_pj(problem, shares, level, name, unpack, pack) for name, pj in cost.energy_pj.items()}
        found.append(replace(cost, energy_pj=energies))
    return found


def _conversion_pj(
    problem: Problem, shares: Shares, level: str, tensor: str, unpack_pj: float, pack_pj: float
) -> NDArray[np.float64] | float:
    names, features = problem.design.architecture.names, problem.design.features
    outside = [name for name in names[: names.index(level)] if tensor in shares[name] and not shares[name][tensor].streamed]
    plain = not features.format_of(level, tensor) and not shares[level][tensor].streamed
    if not outside or not plain or not features.format_of(outside[-1], tensor):
        return 0.0
    fill, update = shares[level][tensor].fill, shares[outside[-1]][tensor].update
    energy: NDArray[np.float64] | float = 0.0
    if fill is not None:
        energy = energy + fill.words[:, ACTUAL] * unpack_pj
    if update is not None:
        energy = energy + update.words[:, ACTUAL] * pack_pj
    return energy
