"""What each compute does: actual, gated, skipped or absent; and the numerical result.

Sections 5, 9 and 10 of docs/oracle.md.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass

import numpy as np

from sparseloom.arch.design import Design
from sparseloom.arch.features import Features
from sparseloom.sim.account import FATES
from sparseloom.sim.judge import ACTUAL, GATED, SKIPPED
from sparseloom.sim.ledger import Ledger
from sparseloom.sim.nest import BoolArray, Nest
from sparseloom.sim.packing import Compute, word_of
from sparseloom.sim.stimulus import Values
from sparseloom.sim.store import Store
from sparseloom.workload.workload import Workload

ABSENT = "absent"


@dataclass(frozen=True)
class Computes:
    """``counts`` by outcome (actual, gated, skipped, absent); ``busy``: the computes that take a cycle, actual and gated
    ones; ``needed[compute instance, step]``: whether one is there, or a word of some tensor; ``output``: the sum of the products
    of the actual ones, of the output's shape."""

    counts: dict[str, int]
    busy: tuple[Compute, ...]
    needed: BoolArray
    output: Values


def classify(
    nest: Nest,
    workload: Workload,
    design: Design,
    tensors: Table[str, Values],
    masks: Table[str, BoolArray],
    stores: Table[str, Table[int, Store]],
    ledgers: Table[str, Ledger],
) -> Computes:
    """Go through all computes, each at its instance and step."""
    einsum, view = workload.einsum, nest.views[nest.compute]
    counts = dict.fromkeys((ACTUAL, GATED, SKIPPED, ABSENT), 0)
    busy: list[Compute] = []
    needed = np.zeros(view.active.shape, dtype=np.bool_)
    dtype = np.result_type(np.int64, *(tensors[t.name] for t in einsum.operands))
    output = np.zeros(workload.tensor_shape(einsum.output.name), dtype=dtype)
    drops_zeros = [stores[t.name][max(stores[t.name])].compressed for t in einsum.tensors]
    for compute in nest.computes():
        words = [word_of(nest, t, compute) for t in einsum.tensors]
        fates = [FATES[ledgers[t.name].fates[compute]] for t in einsum.tensors]
        missing = [
            not masks[t.name][word] and drops for t, word, drops in zip(einsum.tensors, words, drops_zeros, strict=True)
        ]
        values = [tensors[t.name][word] for t, word in zip(einsum.operands, words, strict=False)]
        outcome = _outcome(fates[:-1], values, missing[:-1], design.features)
        counts[outcome] += 1
        words_there = (fate in (ACTUAL, GATED) and not lost for fate, lost in zip(fates, missing, strict=True))
        needed[compute] = outcome in (ACTUAL, GATED) or any(words_there)
        if outcome in (ACTUAL, GATED):
            busy.append(compute)
        if outcome == ACTUAL:
            output[words[-1]] += np.prod(values)
    return Computes(counts, tuple(busy), needed, output)


def _outcome(fates: list[str], values: list[Values], missing: list[bool], features: Features) -> str:
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
