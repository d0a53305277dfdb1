"""What each compute does: actual, gated, skipped or absent; and the numerical result.

Sections 5 and 9 of docs/oracle.md.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass

import numpy as np

from sparseloom.arch.design import Design
from sparseloom.arch.features import Features
from sparseloom.sim.judge import ACTUAL, GATED, SKIPPED
from sparseloom.sim.ledger import FATES, Ledger
from sparseloom.sim.nest import IntArray, Nest
from sparseloom.sim.stimulus import Values
from sparseloom.sim.store import Store
from sparseloom.workload.workload import Workload

ABSENT = "absent"


@dataclass(frozen=True)
class Computes:
    """``counts`` by outcome (actual, gated, skipped, absent); ``cycles[compute instance]``: its actual and gated
    computes; ``output``: the sum of the products of the actual ones, of the output's shape."""

    counts: dict[str, int]
    cycles: IntArray
    output: Values


def classify(
    nest: Nest,
    workload: Workload,
    design: Design,
    tensors: Table[str, Values],
    stores: Table[str, Table[int, Store]],
    ledgers: Table[str, Ledger],
) -> Computes:
    """Go through all computes, each at its instance and step."""
    einsum, view = workload.einsum, nest.views[nest.compute]
    counts = dict.fromkeys((ACTUAL, GATED, SKIPPED, ABSENT), 0)
    cycles = np.zeros(view.instances, dtype=np.int64)
    dtype = np.result_type(np.int64, *(tensors[t.name] for t in einsum.operands))
    output = np.zeros(workload.tensor_shape(einsum.output.name), dtype=dtype)
    drops_zeros = [stores[t.name][max(stores[t.name])].compressed for t in einsum.operands]
    for step in range(view.steps):
        for instance in np.flatnonzero(view.active[:, step]).tolist():
            points = view.points(instance, step)
            values = [tensors[t.name][_point(nest, points, t.name, workload)] for t in einsum.operands]
            fates = {FATES[ledgers[t.name].fates[instance, step]] for t in einsum.operands}
            missing = [value == 0 and drops for value, drops in zip(values, drops_zeros, strict=True)]
            outcome = _outcome(fates, values, missing, design.features)
            counts[outcome] += 1
            cycles[instance] += outcome in (ACTUAL, GATED)
            if outcome == ACTUAL:
                output[_point(nest, points, einsum.output.name, workload)] += np.prod(values)
    return Computes(counts, cycles, output)


def _point(nest: Nest, points: tuple[tuple[int, int], ...], tensor: str, workload: Workload) -> tuple[int, ...]:
    return tuple(low for low, _ in nest.project(points, workload.tensor(tensor)))


def _outcome(fates: set[str], values: list[Values], missing: list[bool], features: Features) -> str:
    """``fates``: what became of the operands' words on their way; ``missing``: those that are zeros without a place."""
    if SKIPPED in fates:
        return ABSENT
    if GATED in fates:
        return GATED
    if all(missing):
        return ABSENT
    if any(missing) and features.compute_skipping:
        return SKIPPED
    if any(value == 0 for value in values) and features.compute_gating:
        return GATED
    return ACTUAL
