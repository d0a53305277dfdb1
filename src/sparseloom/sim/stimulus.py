"""Tensors to run: values drawn at random with the sparsity that a workload states."""

from __future__ import annotations

from collections.abc import Mapping as Table
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseloom.workload.workload import Workload

Values = NDArray[Any]


def draw_tensors(workload: Workload, rng: np.random.Generator) -> dict[str, Values]:
    """Whole numbers from -9 to 9 for every operand, nonzero exactly where a mask drawn from its density is.

    An output with a density gets an array of ones and zeros that states its mask; a dense one gets none.
    """
    tensors: dict[str, Values] = {}
    for operand in workload.einsum.operands:
        mask = workload.density(operand.name).draw(rng)
        values = rng.integers(1, 10, size=mask.shape) * rng.choice([-1, 1], size=mask.shape)
        tensors[operand.name] = np.where(mask, values, 0)
    output = workload.einsum.output.name
    if output in workload.densities:
        tensors[output] = workload.density(output).draw(rng).astype(np.int64)
    return tensors


def reference_output(workload: Workload, tensors: Table[str, Values]) -> Values:
    """The einsum in one dense NumPy expression: operands gathered over the iteration space, multiplied, summed.

    ``tensors`` holds every operand with its tensor shape; the result has the output's shape.
    """
    ranks, einsum = workload.ranks, workload.einsum
    space = np.indices([workload.shape[rank] for rank in ranks], sparse=True)
    coordinate = dict(zip(ranks, space, strict=True))
    total = np.ones([1] * len(ranks), dtype=np.int64)
    for operand in einsum.operands:
        index = tuple(
            np.asarray(sum(term.coefficient * coordinate[term.rank] for term in p.terms)) for p in operand.projections
        )
        total = total * tensors[operand.name][index]
    total = np.broadcast_to(total, [workload.shape[rank] for rank in ranks])
    kept = [p.name for p in einsum.output.projections]
    summed = total.sum(axis=tuple(i for i, rank in enumerate(ranks) if rank not in kept))
    order = [rank for rank in ranks if rank in kept]
    return np.asarray(summed).transpose([order.index(rank) for rank in kept])
