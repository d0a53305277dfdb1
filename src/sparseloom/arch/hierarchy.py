"""What hardware exists: storage levels, outermost first, over an array of compute units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from sparseloom.arch.actions import COMPUTE_ACTIONS, STORAGE_ACTIONS, EnergyTable
from sparseloom.arch.banks import Banks
from sparseloom.arch.component import Component
from sparseloom.errors import ArchitectureError, Fault, suggest


@dataclass(frozen=True)
class Network:
    """How a level reaches the level below it: whether one read may serve several children (``multicast``) and whether
    children's partial sums of one point are added on their way up (``spatial_reduction``)."""

    multicast: bool = True
    spatial_reduction: bool = True


@dataclass(frozen=True)
class StorageLevel:
    """A storage level, all of its instances alike.

    ``capacity_words`` and ``metadata_capacity_bits`` are per instance, ``None`` for unbounded; ``block_words`` is the
    words one data access moves, ``metadata_width_bits`` the bits one metadata access moves (0: the level has no
    metadata store and metadata is free of energy); bandwidths are words per cycle per instance, ``None`` for
    unbounded; ``instances = mesh_x * mesh_y`` counts the whole design's instances; ``holds`` names the tensors that
    the level is built for, ``None`` for any (a scratchpad of its own for each tensor of a processing element);
    ``component`` and ``metadata_component`` are what one instance is made of, ``None`` where that is not known; at a
    ``barrier`` instances that are done with a tile wait until all are, before any takes the next one; compute units scatter
    what they make to its ``banks``, ``None`` where each has a place of its own.
    """

    name: str
    word_bits: int = 16
    capacity_words: int | None = None
    block_words: int = 1
    metadata_capacity_bits: int | None = None
    metadata_width_bits: int = 0
    read_words_per_cycle: float | None = None
    write_words_per_cycle: float | None = None
    shared_words_per_cycle: float | None = None
    mesh_x: int = 1
    mesh_y: int = 1
    network: Network = Network()
    energy: EnergyTable = field(default_factory=EnergyTable)
    holds: frozenset[str] | None = None
    component: Component | None = None
    metadata_component: Component | None = None
    barrier: bool = False
    banks: Banks | None = None

    @property
    def instances(self) -> int:
        return self.mesh_x * self.mesh_y


@dataclass(frozen=True)
class ComputeLevel:
    """The compute units: ``instances = mesh_x * mesh_y`` of them, one multiply-accumulate a cycle each."""

    name: str
    word_bits: int = 16
    mesh_x: int = 1
    mesh_y: int = 1
    energy: EnergyTable = field(default_factory=EnergyTable)
    component: Component | None = None

    @property
    def instances(self) -> int:
        return self.mesh_x * self.mesh_y


@dataclass(frozen=True)
class Architecture:
    """Storage levels, outermost (usually DRAM) first, then the compute units below the last of them.

    Raises ArchitectureError for duplicate names, a level with more instances than a lower one, meshes that do not
    divide, sizes that are not positive, energies below 0 or of actions that do not exist, and more than one barrier.
    """

    levels: tuple[StorageLevel, ...]
    compute: ComputeLevel

    def __post_init__(self) -> None:
        faults = _faults(self)
        if faults:
            raise ArchitectureError(faults)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the storage levels, outermost first."""
        return tuple(level.name for level in self.levels)

    def index(self, name: str) -> int:
        return self.names.index(name)

    @property
    def barrier(self) -> int:
        """The level at whose tiles instances wait for each other; 0, the whole run, where there is none."""
        return next((depth for depth, level in enumerate(self.levels) if level.barrier), 0)

    def fanout(self, index: int) -> tuple[int, int]:
        """Children (X, Y) of one instance of storage level ``index``."""
        outer: StorageLevel = self.levels[index]
        inner = self.levels[index + 1] if index + 1 < len(self.levels) else self.compute
        return inner.mesh_x // outer.mesh_x, inner.mesh_y // outer.mesh_y


def _faults(arch: Architecture) -> list[Fault]:
    faults = []
    if not arch.levels:
        faults.append(Fault("an architecture needs at least one storage level", path="levels", fix="add a level"))
    names = [*arch.names, arch.compute.name]
    for name in sorted({n for n in names if names.count(n) > 1}):
        faults.append(Fault(f"level name {name} is used {names.count(name)} times", path="levels", fix="rename one"))
    for i, level in enumerate(arch.levels):
        for key in ("word_bits", "block_words", "mesh_x", "mesh_y"):
            if getattr(level, key) < 1:
                faults.append(
                    Fault(f"{level.name}: {key} is {getattr(level, key)}, below 1", path=f"levels[{i}].{key}")
                )
    if len(barriers := [level.name for level in arch.levels if level.barrier]) > 1:
        what = f"there are barriers at {' and '.join(barriers)}"
        faults.append(
            Fault(what, path="levels", fix="keep one: instances wait for each other at the tiles of one level")
        )
    faults += [fault for i, level in enumerate(arch.levels) for fault in _level_faults(level, f"levels[{i}]")]
    faults += _energy_faults(arch.compute, "compute", COMPUTE_ACTIONS)
    chain: list[StorageLevel | ComputeLevel] = [*arch.levels, arch.compute]
    for i, (outer, inner) in enumerate(pairwise(chain), start=1):
        place = f"levels[{i}]" if i < len(arch.levels) else "compute"
        for axis in ("mesh_x", "mesh_y"):
            many, few = getattr(inner, axis), getattr(outer, axis)
            if few >= 1 and (many < few or many % few):
                what = f"{inner.name} has {axis} {many}, which the {few} of {outer.name} above it do not divide"
                fix = "a lower level's mesh is a multiple of the upper one's"
                faults.append(Fault(what, path=f"{place}.{axis}", fix=fix))
    return faults


def _level_faults(level: StorageLevel, path: str) -> Iterator[Fault]:
    for key in ("capacity_words", "metadata_capacity_bits", "metadata_width_bits"):
        size = getattr(level, key)
        if size is not None and size < 0:
            yield Fault(f"{level.name}: {key} is {size}, below 0", path=f"{path}.{key}")
    for key in ("read_words_per_cycle", "write_words_per_cycle", "shared_words_per_cycle"):
        words = getattr(level, key)
        if words is not None and not words > 0:
            yield Fault(f"{level.name}: {key} is {words}, not above 0", path=f"{path}.{key}")
    yield from _energy_faults(level, path, STORAGE_ACTIONS)


def _energy_faults(level: StorageLevel | ComputeLevel, path: str, actions: Sequence[str]) -> Iterator[Fault]:
    for name, energy_pj in level.energy.energies_pj.items():
        if name not in actions:
            what = f"{level.name}: unknown action '{name}'"
            yield Fault(what, path=f"{path}.energy_pj.{name}", fix=suggest(name, actions))
        elif not energy_pj >= 0:
            yield Fault(f"{level.name}: {name} costs {energy_pj} pJ, below 0", path=f"{path}.energy_pj.{name}")
