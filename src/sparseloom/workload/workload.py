"""One layer to run: an einsum, the shape of its ranks, and for each tensor its word width and its sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

from sparseloom.errors import Fault, WorkloadError, suggest
from sparseloom.fibertree.density import Dense, Density
from sparseloom.fibertree.structured import TreeDensity
from sparseloom.fibertree.tiled import Tiled
from sparseloom.workload.einsum import Einsum, TensorAccess

MAX_COUNT = 2**53
"""Counts above this are refused: beyond it a float no longer holds every integer."""


@dataclass(frozen=True)
class Workload:
    """An einsum over a shape.

    ``shape`` gives the coordinates of every rank of the iteration space; ``densities`` the density model of each
    sparse tensor, built for that tensor's shape (a tensor that is not named is dense); ``word_bits`` the width of a
    tensor's words where it differs from that of the level that holds it.

    Raises WorkloadError with every fault: a rank without a shape, a density for no tensor or another shape, more than
    2**53 computes or points of a tensor.
    """

    einsum: Einsum
    shape: Mapping[str, int]
    densities: Mapping[str, Density] = field(default_factory=dict)
    word_bits: Mapping[str, int] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        faults = _faults(self)
        if faults:
            raise WorkloadError(faults)

    @property
    def ranks(self) -> tuple[str, ...]:
        return self.einsum.ranks

    @property
    def computes(self) -> int:
        """Points of the iteration space: computes of the dense loop nest."""
        total = 1
        for rank in self.ranks:
            total *= self.shape[rank]
        return total

    def tensor(self, name: str) -> TensorAccess:
        return next(t for t in self.einsum.tensors if t.name == name)

    def tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensor(name).shape(dict(self.shape))

    def density(self, name: str) -> Density:
        return self.densities.get(name) or Dense(self.tensor_shape(name))

    @property
    def tiled(self) -> Workload:
        """This workload as a search sees it: structured densities by the extents of aligned tiles alone (see
        :class:`sparseloom.fibertree.tiled.Tiled`)."""
        seen = {name: Tiled(each) for name, each in self.densities.items() if isinstance(each, TreeDensity)}
        return replace(self, densities={**self.densities, **seen}) if seen else self


def _faults(workload: Workload) -> list[Fault]:
    faults = []
    ranks = workload.einsum.ranks
    for rank in ranks:
        if rank not in workload.shape:
            faults.append(
                Fault(f"rank {rank} of the einsum has no shape", path="shape", fix=f"add {rank}: <coordinates>")
            )
        elif not 1 <= workload.shape[rank] <= MAX_COUNT:
            fix = "a shape is between 1 and 2^53"
            faults.append(Fault(f"rank {rank} has shape {workload.shape[rank]}", path=f"shape.{rank}", fix=fix))
    for rank in workload.shape:
        if rank not in ranks:
            faults.append(
                Fault(f"rank {rank} does not occur in the einsum", path=f"shape.{rank}", fix=suggest(rank, ranks))
            )
    if faults:
        return faults
    if workload.computes > MAX_COUNT:
        fix = "split the layer; counts above 2^53 cannot be held exactly"
        faults.append(Fault(f"the layer has {workload.computes} computes, more than 2^53", path="shape", fix=fix))
    for tensor in workload.einsum.tensors:
        points = prod(tensor.shape(dict(workload.shape)))
        if points > MAX_COUNT:
            fix = "split the layer; counts above 2^53 cannot be held exactly"
            faults.append(Fault(f"tensor {tensor.name} has {points} points, more than 2^53", path="shape", fix=fix))
    if faults:
        return faults
    names = [t.name for t in workload.einsum.tensors]
    for name, density in workload.densities.items():
        if name not in names:
            faults.append(
                Fault(f"density given for unknown tensor {name}", path=f"densities.{name}", fix=suggest(name, names))
            )
        elif density.tensor_shape != workload.tensor_shape(name):
            what = f"the density of {name} is for shape {density.tensor_shape}, the tensor has {workload.tensor_shape(name)}"
            faults.append(Fault(what, path=f"densities.{name}", fix="build the density for the tensor's shape"))
    for name in workload.word_bits:
        if name not in names:
            faults.append(
                Fault(f"word_bits given for unknown tensor {name}", path=f"word_bits.{name}", fix=suggest(name, names))
            )
    return faults
