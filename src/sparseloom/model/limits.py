"""What is too large is refused, not rounded and not waited for: counts that a float cannot hold exactly, and nests with
more tiles than the model can look at one by one."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Final

from sparseloom.errors import Fault, MappingError
from sparseloom.mapping.batch import Problem
from sparseloom.results.result import Result
from sparseloom.workload.workload import MAX_COUNT, Workload

MAX_TILES: Final = 2**22
"""Tiles of one rank of a tensor, and points where a tensor's values are known or follow its coordinates: some seconds and
gigabytes. The largest published layers have 2**22 points."""


def refuse_large_counts(result: Result) -> Result:
    """``result`` itself. Raises MappingError with every level and tensor that has a count above 2**53."""
    fix = "split the layer, or keep more of the tensor further in; counts above 2^53 cannot be held exactly"
    faults = [
        Fault(f"{what}: {count:.3e}, more than 2^53", path=level, fix=fix)
        for level, what, count in _largest(result)
        if not count <= MAX_COUNT
    ]
    if faults:
        raise MappingError(faults)
    return result


def _largest(result: Result) -> Iterator[tuple[str, str, float]]:
    """The level, what is counted and how often: for each action the sum of its outcomes, which no outcome exceeds."""
    yield "", "cycles", result.cycles
    yield "", f"computes of {result.compute.name}", result.computes.total + result.compute.absent
    for level in result.levels.values():
        for name, tensor in level.tensors.items():
            for action, outcomes in tensor.data().items():
                yield level.name, f"{action} of {name} at {level.name}", outcomes.total
            for action, ranks in tensor.metadata().items():
                most = max((max(rank.metadata.total, rank.payload.total) for rank in ranks), default=0.0)
                yield level.name, f"metadata {action} of {name} at {level.name}", most
            yield level.name, f"metadata bits of a tile of {name} at {level.name}", tensor.worst_metadata_bits


def refuse_long_walks(problem: Problem, rules: str) -> None:
    """Raises MappingError for a workload with more tiles than the profile called ``rules`` can look at."""
    workload = problem.workload
    faults = [_too_many(f"rank {name}", count, rules) for name, count in _tiles(workload) if count > MAX_TILES]
    placed = [t.name for t in workload.einsum.tensors if workload.density(t.name).coordinate_dependent]
    ranks = dict.fromkeys(rank for name in placed for rank in workload.tensor(name).iteration_ranks)
    points = prod(workload.shape[rank] for rank in ranks)
    if points > MAX_TILES and not faults:
        faults.append(_too_many(f"the sparsity of {', '.join(placed)}", points, rules))
    if faults:
        raise MappingError(faults)


def _tiles(workload: Workload) -> Iterator[tuple[str, int]]:
    """The ranks of the iteration space, and those that index one rank of a tensor together, with their points."""
    for rank in workload.ranks:
        yield rank, workload.shape[rank]
    for tensor in workload.einsum.tensors:
        for index in tensor.projections:
            ranks = [term.rank for term in index.terms]
            if len(ranks) > 1:
                yield f"{index.name} of {tensor.name}", prod(workload.shape[rank] for rank in ranks)


def _too_many(what: str, count: int, rules: str) -> Fault:
    text = f"{what} has {count:,} places to look at one by one under the conventions {rules}, more than {MAX_TILES:,}"
    return Fault(text, fix="split the layer, or state a density that does not depend on coordinates")
