"""Tiles that one level keeps compressed and the next plain: what turning them into each other costs.

Only Timeloop's energy tables have entries for it, ``decompression_count`` and ``compression_count``, in pJ a word. Source:
storage-optimization-combiner.cpp of Timeloop at ee66b62: a level pays for the words that arrive, and for those of its
results that its parent stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, MappingError
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.details import FormatDetails
from sparseloom.model.gather import ACTUAL
from sparseloom.model.microarch import LevelCost, Share

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
        energies = {
            name: pj + _conversion_pj(problem, shares, level, name, unpack, pack) for name, pj in cost.energy_pj.items()
        }
        found.append(replace(cost, energy_pj=energies))
    return found


def _conversion_pj(
    problem: Problem, shares: Shares, level: str, tensor: str, unpack_pj: float, pack_pj: float
) -> NDArray[np.float64] | float:
    names, features = problem.design.architecture.names, problem.design.features
    held = [name for name in names[: names.index(level)] if tensor in shares[name]]
    outside = [name for name in held if not shares[name][tensor].streamed]
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


def refuse_conversions(
    problem: Problem, keep: NDArray[np.bool_], formats: Mapping[str, Mapping[str, FormatDetails]]
) -> None:
    """Raises MappingError with every tile that a level would have to convert but cannot; ``keep`` [S, T].

    A level with plain tiles of a compressed parent has to decompress, and to compress results; compressing the plain
    tiles of a parent is not modelled. Source: sparse-analysis.cpp of Timeloop at ee66b62.
    """
    names, features, faults = problem.design.architecture.names, problem.design.features, []
    for t, tensor in enumerate(problem.tensors):
        kept = [names[depth] for depth in np.flatnonzero(keep[:, t])]
        for parent, level in pairwise(kept):
            outside, inside = (_compressed(formats, name, tensor) for name in (parent, level))
            lacks = [] if level in features.decompression else ["decompression_supported"]
            if t == len(problem.tensors) - 1 and level not in features.compression:
                lacks.append("compression_supported")
            if outside and not inside and lacks:
                what = f"{level} keeps {tensor} plain, {parent} keeps it compressed"
                fix = f"give {level} a format of {tensor}, or {' and '.join(lacks)}: true"
                faults.append(Fault(what, path=level, fix=fix))
            elif inside and not outside:
                what = f"{level} keeps {tensor} compressed, {parent} keeps it plain"
                faults.append(Fault(what, path=level, fix=f"give {parent} a format of {tensor}"))
    if faults:
        raise MappingError(faults)


def _compressed(formats: Mapping[str, Mapping[str, FormatDetails]], level: str, tensor: str) -> bool:
    form = formats.get(level, {}).get(tensor)
    return form is not None and form.compressed
