"""The three steps for many mappings at once: every count, cycles, energy and validity as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.actions import OUTCOMES
from sparseloom.errors import ArchitectureError, Fault, WorkloadError
from sparseloom.mapping.batch import BoolArray, MappingBatch, Problem
from sparseloom.mapping.lanes import thin, within_fanout
from sparseloom.model.activity import Activity, activity
from sparseloom.model.classes import ClassSource
from sparseloom.model.computes import Computes
from sparseloom.model.events import Events
from sparseloom.model.gather import Moved
from sparseloom.model.microarch import Share, holdings, price, prices_of, whole_cycles
from sparseloom.model.nests import Nests, lay_out
from sparseloom.model.sparse import Filter

FloatArray = NDArray[np.float64]

CHUNK = 20_000
"""Mappings evaluated at a time: enough for many of them to be alike, few enough for their arrays to stay in the cache."""


@dataclass(frozen=True)
class Evaluations:
    """What :func:`evaluate_batch` found, for B mappings.

    ``cycles``, ``energy_pj`` [B]; ``valid`` [B]: tiles and metadata fit, and spatial loops are within the fan-out. ``shares``
    by level and tensor name and ``computes`` hold every count, by stage (see :data:`sparseloom.model.gather.STAGES`).
    """

    cycles: FloatArray
    energy_pj: FloatArray
    valid: BoolArray
    computes: Computes
    shares: Mapping[str, Mapping[str, Share]]


def evaluate_batch(problem: Problem, batch: MappingBatch) -> Evaluations:
    """Evaluate every mapping of ``batch`` under the clean conventions.

    The mappings keep the same tensors at the same levels. Raises MappingError for arrays that are no mappings, WorkloadError
    for a density that depends on coordinates, ArchitectureError for a feature with alternatives, of which each mapping would
    choose its own.
    """
    return joined(list(in_chunks(problem, batch)))


def in_chunks(problem: Problem, batch: MappingBatch, size: int = CHUNK) -> Iterator[Evaluations]:
    """The evaluations of ``batch``, ``size`` mappings at a time, in order."""
    batch.check(problem)
    for name in problem.tensors:
        if problem.workload.density(name).coordinate_dependent:
            what = f"the density of {name} depends on coordinates"
            fix = "evaluate its mappings one by one, or state its density with `model: fixed-structured`; a pattern of a tensor "
            fix += "without windows is searched with perfect bounds (`Workload.tiled`)"
            raise WorkloadError(Fault(what, path=name, fix=fix))
    for i, saf in enumerate(problem.design.features.safs):
        if saf.alternatives:
            what = f"{saf.kind} at {saf.level} has {len(saf.ways)} alternatives"
            raise ArchitectureError(Fault(what, path=f"safs[{i}]", fix="evaluate a design for each, and compare"))
    nests = None
    for start in range(0, len(batch), size):
        part = batch[start : start + size]
        nests = lay_out(problem, part, nests)
        yield _of_nests(problem, part, nests)


def _of_nests(problem: Problem, batch: MappingBatch, nests: Nests) -> Evaluations:
    source = ClassSource.of(problem, nests)
    found = _priced(problem, nests, activity(Filter(problem, source), batch, nests, thin(problem, batch)))
    at = source.irregular
    if at.size:
        found = _replaced(found, at, joined([by_events(problem, batch[b : b + 1]) for b in at]))
    return found


def by_events(problem: Problem, batch: MappingBatch) -> Evaluations:
    """The one mapping of ``batch``, by its events: slow, and right for whatever mapping."""
    nests = lay_out(problem, batch)
    events = Events(nests.loops[0, :, : nests.count[0]], problem.shape)
    return _priced(problem, nests, activity(Filter(problem, events), batch, nests, thin(problem, batch)))


def _priced(problem: Problem, nests: Nests, active: Activity) -> Evaluations:
    levels, unit = problem.design.architecture.levels, problem.design.architecture.compute
    computes = active.computes
    energy = sum(getattr(computes, o) * unit.energy.pj("compute", o) for o in OUTCOMES)
    cycles = computes.busiest
    valid = within_fanout(problem, nests.lanes, active.lanes)
    for depth, level in enumerate(levels):
        shares = active.shares[level.name]
        cost = price(level, shares, active.instances[:, depth], prices_of(level, level.energy.pj))
        energy = energy + sum(cost.energy_pj.values())
        cycles = np.maximum(cycles, cost.cycles)
        for holding in holdings(level, shares):
            valid &= holding.fits
    return Evaluations(whole_cycles(cycles), np.asarray(energy), valid, computes, active.shares)


def joined(parts: Sequence[Evaluations]) -> Evaluations:
    """The evaluations of consecutive chunks as one."""
    return parts[0] if len(parts) == 1 else _combined(parts, np.concatenate)


def _replaced(found: Evaluations, at: NDArray[np.int64], by: Evaluations) -> Evaluations:
    """The evaluations with those of some mappings in the places ``at``."""

    def write(arrays: list[FloatArray]) -> FloatArray:
        values = np.array(arrays[0])
        values[at] = arrays[1]
        return values

    return _combined([found, by], write)


AValue = TypeVar("AValue")


def _combined(parts: Sequence[AValue], by: Callable[[list[FloatArray]], FloatArray]) -> AValue:
    """A value made of values of one type, their arrays combined by ``by``."""
    first: Any = parts[0]
    if isinstance(first, Moved):
        return cast(AValue, Moved(by([part.table for part in cast(Sequence[Moved], parts)])))
    if isinstance(first, np.ndarray):
        return cast(AValue, by(cast(list[FloatArray], list(parts))))
    if isinstance(first, Mapping):
        tables = cast(Sequence[Mapping[str, Any]], parts)
        return cast(AValue, {key: _combined([table[key] for table in tables], by) for key in first})
    if first is None or isinstance(first, bool):
        return cast(AValue, first)
    values = (_combined([getattr(part, field.name) for part in parts], by) for field in fields(first))
    return cast(AValue, type(first)(*values))
