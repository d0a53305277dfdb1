"""What a result rests on and what sets its cycles, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from sparseloom.arch.actions import DATA_ACTIONS
from sparseloom.arch.features import POSITION_SKIPPING, SPATIAL_SKIPPING
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.fibertree.density import ActualData, Dense, Density, FixedStructured, Uniform
from sparseloom.mapping.batch import Problem, of_problem
from sparseloom.model.conventions import Conventions
from sparseloom.model.lanewalk import is_walked
from sparseloom.results.actions import ComputeActions, LevelActions, Outcomes, RankUnits, TensorActions


def bottleneck(levels: Mapping[str, LevelActions], compute: ComputeActions) -> str:
    """Which part asks for most cycles, by how much, and which comes next."""
    asked = [(compute.cycles_busiest, f"compute ({compute.name})")]
    asked += [
        (level.cycles, f"the {level.bandwidth_bound} bandwidth of {level.name}")
        for level in levels.values()
        if level.bandwidth_bound
    ]
    asked.sort(key=lambda each: -each[0])
    most, what = asked[0]
    sentence = f"{what} asks for {math.ceil(round(most, 6)):,.0f} cycles"
    if most and what.startswith("the "):
        sentence += f", {_mover(levels[what.split(' of ', 1)[1]], what.split()[1])}"
    if most and len(asked) > 1 and asked[1][0] > 0:
        sentence += f"; next is {asked[1][1]} with {asked[1][0] / most:.0%} of that"
    return sentence


def _mover(level: LevelActions, port: str) -> str:
    """The tensor that moves most words through a port."""
    moved = {}
    for name, tensor in level.tensors.items():
        words = {"read": tensor.reads, "write": tensor.fills + tensor.updates}
        parts = [words[port]] if port in words else list(words.values())
        moved[name] = sum(part.actual + part.gated for part in parts)
    largest = max(moved, key=lambda name: moved[name])
    total = sum(moved.values())
    return f"{moved[largest] / total:.0%} of its words are {largest}'s" if total else "for metadata alone"


@of_problem
def assumptions(problem: Problem, conventions: Conventions) -> tuple[str, ...]:
    """What the numbers take for granted."""
    workload, architecture = problem.workload, problem.design.architecture
    said = [f"{name}: {_density(workload.density(name))}" for name in problem.tensors]
    sources: dict[str, list[str]] = {}
    parts: list[StorageLevel | ComputeLevel] = [*architecture.levels, architecture.compute]
    for level in parts:
        if level.energy.energies_pj:
            sources.setdefault(level.energy.source or "source not stated", []).append(level.name)
    said += [f"energy of {', '.join(names)}: {source}" for source, names in sources.items()]
    said.append("storage levels are used evenly by their instances and overlap perfectly with compute")
    kinds = {saf.kind for saf in problem.design.features.safs}
    if conventions.instances == "average":
        said.append("compute instances are equally busy")
    elif all(not workload.density(name).coordinate_dependent for name in problem.tensors):
        said.append("cycles are those of the compute instance with most points, its nonzeros at their mean")
    if architecture.barrier and conventions.by_proportion:
        said.append(f"{architecture.names[architecture.barrier]}: instances do not wait for each other at its tiles")
    elif architecture.barrier:
        what = "instances wait for the slowest at every tile; of random tensors that is a mean, instances independent"
        said.append(f"{architecture.names[architecture.barrier]}: {what}")
    for level in architecture.levels:
        if level.banks is not None and not conventions.by_proportion and not is_walked(problem):
            said.append(f"{level.name}: places that meet in one of its {level.banks.count} banks wait, all banks alike")
        elif level.banks is not None:
            said.append(f"{level.name}: places that meet in one of its banks do not wait")
    for name in _overlapping_leaders(problem):
        said.append(f"{name}: of its tiles by which two operands are judged, the one most likely empty decides")
    said += [f"{kind}: {_LANES[kind]}" for kind in sorted(kinds & _LANES.keys())]
    if kinds & _LANES.keys() and not is_walked(problem):
        said.append("packed lanes: tensors are independent, tiles are whole, and lanes that can be in use are")
    if POSITION_SKIPPING in kinds and not is_walked(problem):
        said.append(f"{POSITION_SKIPPING}: reads and metadata are those of single words, in proportion to the passes")
    return tuple(said)


def unpriced(architecture: Architecture, levels: Mapping[str, LevelActions], compute: ComputeActions) -> Iterator[str]:
    """What happened, or idled, and has no energy in the design's tables."""
    for level in architecture.levels:
        candidates, tensors = _PRICED.keys() - level.energy.energies_pj.keys(), levels[level.name].tensors.values()
        yield from _without_energy(level, [name for name in candidates if _happened(tensors, *_PRICED[name])])
    unit, counts = architecture.compute, {"compute": compute.outcomes.actual, "gated_compute": compute.outcomes.gated}
    yield from _without_energy(unit, [name for name in counts.keys() - unit.energy.energies_pj.keys() if counts[name]])


_PRICED = {
    f"{prefix}{kind}{action}": (f"{kind}{action}s", outcome)
    for prefix, outcome in (("", "actual"), ("gated_", "gated"))
    for kind in ("", "metadata_")
    for action in DATA_ACTIONS
}
"""The actions of a level that take energy: where they are counted, and with what outcome."""


def _happened(tensors: Iterable[TensorActions], counted: str, outcome: str) -> bool:
    for tensor in tensors:
        found: Outcomes | tuple[RankUnits, ...] = getattr(tensor, counted)
        parts = (found,) if isinstance(found, Outcomes) else (part for r in found for part in (r.metadata, r.payload))
        if any(getattr(part, outcome) for part in parts):
            return True
    return False


def _without_energy(level: StorageLevel | ComputeLevel, missing: list[str]) -> Iterator[str]:
    if missing and not level.energy.energies_pj:
        yield f"{level.name}: no energy is given, it costs nothing"
    elif missing:
        yield f"{level.name}: no energy is given for {', '.join(sorted(missing))}, it costs nothing"


_LANES = {
    SPATIAL_SKIPPING: "work moves up to the first lanes at once and without conflicts",
    POSITION_SKIPPING: "nonzeros take the lanes in their order, without conflicts",
}


def _overlapping_leaders(problem: Problem) -> Iterator[str]:
    """Structured tensors that lead features on two operands: where their tiles merely overlap, the joint chance is not
    exact (:func:`sparseloom.model.occupancy.joint_nonempty`)."""
    operands = problem.tensors[:-1]
    for name in problem.tensors:
        exact = isinstance(problem.workload.density(name), Dense | ActualData | Uniform | FixedStructured)
        led = {saf.target for saf in problem.design.features.safs if name in saf.leaders}
        if not exact and len(led & set(operands)) > 1:
            yield name


def _density(density: Density) -> str:
    share = f"{density.density:.4g}"
    if isinstance(density, Dense):
        return "dense"
    if isinstance(density, ActualData):
        return f"actual data, density {share}"
    if isinstance(density, Uniform):
        return f"density {share}, nonzeros uniformly at random"
    if isinstance(density, FixedStructured):
        return f"density {share} in every tile"
    return f"density {share}, {type(density).__name__}"
