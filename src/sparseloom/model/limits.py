"""Counts that a float cannot hold exactly are refused, not rounded."""

from __future__ import annotations

from collections.abc import Iterator

from sparseloom.errors import Fault, MappingError
from sparseloom.results.result import Result
from sparseloom.workload.workload import MAX_COUNT


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
