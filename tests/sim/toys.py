"""Small machines and mappings in a short notation, and one dot product, for tests of the oracle."""

import numpy as np

from sparseloom.arch.actions import EnergyTable
from sparseloom.arch.design import Design
from sparseloom.arch.features import Features, Saf
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.sim.loopnest import Execution, execute
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.workload import Workload


def workload(einsum: str, **shape: int) -> Workload:
    return Workload(Einsum.parse(einsum), shape)


def level(name: str, keep: str, temporal: str = "", spatial: str = "", stream: str = "") -> LevelMapping:
    """``level("L0", "AB", "m4 k2", "n3", "Z")``: tensors have names of one letter; spatial loops run along X."""
    return LevelMapping(
        name,
        tuple(Loop(loop[0].upper(), int(loop[1:])) for loop in temporal.split()),
        tuple(Loop(loop[0].upper(), int(loop[1:]), "X") for loop in spatial.split()),
        frozenset(keep),
        frozenset(stream),
    )


def design(*levels: StorageLevel, macs: int = 1, energy: EnergyTable | None = None, **features: object) -> Design:
    compute = ComputeLevel("MAC", mesh_x=macs, energy=energy or EnergyTable())
    return Design(Architecture(levels, compute), Features(**features))  # type: ignore[arg-type]


def moved(run: Execution, where: str, tensor: str, action: str) -> tuple[int, int, int]:
    """Words actual, gated, skipped."""
    counts = run.counts[where][tensor][action]
    return counts["actual"], counts["gated"], counts["skipped"]


# The dot product of thesis Fig. 3-3: A = 0 0 c d 0 f and B, where B[2] = 0.
DOT = workload("Z[] = A[k] * B[k]", K=6)
DOT_VALUES = {"A": np.array([0, 0, 3, 4, 0, 6]), "B": np.array([7, 8, 0, 2, 9, 5])}
DOT_MAPPING = Mapping((level("Buffer", "ABZ", "k6"),))
B_BY_A = Saf("Buffer", "skipping", "B", ("A",))


def dot(**features: object) -> Execution:
    return execute(DOT, design(StorageLevel("Buffer"), **features), DOT_MAPPING, DOT_VALUES)


DRAM, BUFFER = StorageLevel("DRAM"), StorageLevel("Buffer")


def ones(layer: Workload) -> dict[str, np.ndarray]:
    return {t.name: np.ones(layer.tensor_shape(t.name), dtype=int) for t in layer.einsum.operands}
