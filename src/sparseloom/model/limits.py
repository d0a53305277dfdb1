"""What is too large is refused, not rounded and not waited for: counts that a float cannot hold exactly, and nests with
more tiles than the model can look at one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import prod
from typing import Final

from sparseloom.errors import Fault, MappingError
from sparseloom.results.result import Result
from sparseloom.workload.workload import MAX_COUNT, Workload

MAX_PLACES: Final = 2**22
"""Places that the model looks at one by one, where a sum over classes of alike ones does not do: some seconds and gigabytes.
The largest published layer with known tensors has 2**22 computes."""


def refuse_large_counts(result: Result) -> Result:
    """``result`` itself. Raises MappingError with every level and tensor that has a count above 2**53."""
    fix = "split the layer, or keep more of the tensor further in; counts above 2^53 cannot be held exactly"
    faults = []
    for level, name, what, count in _largest(result):
        if not count <= MAX_COUNT:
            of = f"{what} of {name} at {level}" if name else what
            faults.append(Fault(f"{of}: {count:.3e}, more than 2^53", path=level, fix=fix))
    if faults:
        raise MappingError(faults)
    return result


def _largest(result: Result) -> Iterator[tuple[str, str, str, float]]:
    """The level, the tensor, what is counted and how often: for each action the sum of its outcomes, which no outcome exceeds."""
    yield "", "", "cycles", result.cycles
    yield "", "", f"computes of {result.compute.name}", result.computes.total + result.compute.absent
    for level in result.levels.values():
        for name, tensor in level.tensors.items():
            for action, outcomes in tensor.data().items():
                yield level.name, name, action, outcomes.total
            for action, ranks in tensor.metadata().items():
                most = max((max(rank.metadata.total, rank.payload.total) for rank in ranks), default=0.0)
                yield level.name, name, f"metadata {action}", most
            yield level.name, name, "metadata bits of a tile", tensor.worst_metadata_bits


def refuse_long_walks(workload: Workload, drawn: Collection[str] = ()) -> None:
    """Raises MappingError for a workload with more places than the model can look at one by one, once tensors are ``drawn``."""
    fix = "split the layer, divide ranks evenly, or state a density that does not depend on coordinates"
    if drawn:
        fix = "draw the tensors of a smaller layer: where they are known, every place is looked at"
    faults = [
        Fault(f"{what}: {places:,} places to look at one by one, more than {MAX_PLACES:,}", fix=fix)
        for what, places in _walks(workload, drawn)
        if places > MAX_PLACES
    ]
    if faults:
        raise MappingError(faults)


def _walks(workload: Workload, drawn: Collection[str]) -> Iterator[tuple[str, int]]:
    """What is looked at place by place, and its places: tiles of the ranks that index one rank of a tensor together, points
    of all tensors whose sparsity depends on coordinates."""
    for rank in workload.ranks:
        yield f"rank {rank}", workload.shape[rank]
    for tensor in workload.einsum.tensors:
        for index in tensor.projections:
            if len(index.terms) > 1:
                yield f"{index} of {tensor.name}", prod(workload.shape[term.rank] for term in index.terms)
    tensors = workload.einsum.tensors
    placed = [t for t in tensors if t.name in drawn or workload.density(t.name).coordinate_dependent]
    ranks = dict.fromkeys(rank for tensor in placed for rank in tensor.iteration_ranks)
    if placed:
        names = ", ".join(tensor.name for tensor in placed)
        yield f"the computes that meet {names}", prod(workload.shape[rank] for rank in ranks)
