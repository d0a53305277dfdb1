"""The three steps in their order, for one mapping: dense traffic, sparse traffic, cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparseloom.arch.actions import OUTCOMES
from sparseloom.arch.design import Design
from sparseloom.arch.features import GATING, SKIPPING
from sparseloom.arch.hierarchy import ComputeLevel, StorageLevel
from sparseloom.errors import ArchitectureError, Fault, suggest
from sparseloom.mapping.details import TimeloopDetails
from sparseloom.mapping.mapping import Loop, Mapping
from sparseloom.mapping.render import render
from sparseloom.model.average import AverageInstance
from sparseloom.model.conventions import SPARSELOOM, Conventions
from sparseloom.model.dataflow import count_dense, fill_nest
from sparseloom.model.energy import action_energy
from sparseloom.mapping.lanes import check_mapping, lane_shares
from sparseloom.model.microarch import Energy, Share, check_capacity, overflows, price, whole_cycles
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.model.sparse import Filter, Path, Traffic, filter_computes, paths_of, used_computes
from sparseloom.model.statecompute import classify
from sparseloom.results.actions import ComputeActions, LevelActions, Outcomes
from sparseloom.results.result import Result
from sparseloom.workload.workload import Workload


def evaluate(
    workload: Workload,
    design: Design,
    mapping: Mapping,
    conventions: Conventions = SPARSELOOM,
    details: TimeloopDetails | None = None,
) -> Result:
    """Evaluate ``mapping`` of ``workload`` on ``design``.

    ``details`` is what Timeloop's files say beyond our own values; without it, conventions that need it see the
    formats' ranks as loops of their tensor ranks. Raises MappingError for a mapping that the workload or the architecture does
    not allow or whose tiles do not fit, ArchitectureError for features about tensors that the workload has not.
    """
    problem = Problem(workload, design)
    _check_features(problem)
    thinning = check_mapping(problem, mapping)
    batch = MappingBatch.of(problem, [mapping])
    dense = count_dense(problem, batch, conventions)
    table = np.empty((6, batch.bound.shape[1]), np.int64)
    nest = table[:, : fill_nest(batch.rank[0], batch.bound[0], batch.place[0], problem.shape, table)]
    work = Filter(problem, nest)
    if conventions.metadata == "encoding":
        traffic = _by_events(work, batch)
        instances = dense.instances[0]
    else:
        said = details or _own_details(problem, mapping)
        average = AverageInstance(problem, batch, mapping, dense, conventions, said, thinning, work)
        traffic = _by_proportion(average)
        shares = [1.0, *np.cumprod([x * y for x, y in lane_shares(problem, thinning)])]
        instances = dense.instances[0] * np.array(shares)
    levels = design.architecture.levels
    check_capacity([fault for level in levels for fault in overflows(level, traffic.shares[level.name])])
    raw = details.ert if details else {}

    def energy(level: StorageLevel | ComputeLevel) -> Energy:
        return lambda action, outcome: action_energy(conventions, level.energy, raw.get(level.name), action, outcome)

    priced = {
        level.name: price(level, traffic.shares[level.name], float(instances[l]), energy(level))
        for l, level in enumerate(levels)
    }
    return _result(problem, traffic, priced, energy(design.architecture.compute), conventions, mapping)


@dataclass(frozen=True)
class _Traffic:
    """What step two found: shares by level and tensor name, and the computes."""

    shares: dict[str, dict[str, Share]]
    computes: Outcomes
    absent: float
    busiest: float
    instances: float


def _check_features(problem: Problem) -> None:
    names, faults = problem.tensors, []
    for i, saf in enumerate(problem.design.features.safs):
        for name in {saf.target, *saf.leaders} - set(names):
            what = f"a {saf.kind} feature at {saf.level} is about tensor {name}, which the workload has not"
            faults.append(Fault(what, path=f"safs[{i}]", fix=suggest(name, names)))
    for level, formats in problem.design.features.formats.items():
        for name in set(formats) - set(names):
            what = f"{level} has a format for tensor {name}, which the workload has not"
            faults.append(Fault(what, path=f"formats.{level}.{name}", fix=suggest(name, names)))
    if faults:
        raise ArchitectureError(faults)


def _by_events(work: Filter, batch: MappingBatch) -> _Traffic:
    """Every transfer judged by its own leader tiles."""
    problem = work.problem
    safs = tuple(saf for saf in problem.design.features.safs if saf.kind in (GATING, SKIPPING))
    paths = paths_of(problem, batch, safs)
    features = problem.design.features
    computes = filter_computes(work, paths, features.compute_gating, features.compute_skipping)
    counted = Outcomes(computes.actual, computes.gated, computes.skipped)
    return _Traffic(_event_shares(work, paths), counted, computes.absent, computes.busiest, used_computes(work))


def _event_shares(work: Filter, paths: tuple[tuple[Path, ...], ...]) -> dict[str, dict[str, Share]]:
    levels = work.problem.design.architecture.levels
    shares: dict[str, dict[str, Share]] = {level.name: {} for level in levels}
    for t, edges in enumerate(paths):
        output = t == len(work.problem.tensors) - 1
        arriving: tuple[Traffic, Traffic] | None = None
        for path in edges:
            leaving = work.traffic(path)
            name = levels[path.edge.parent].name
            shares[name][work.problem.tensors[t]] = _event_share(work, path, leaving, arriving, output)
            arriving = leaving
    return shares


def _event_share(
    work: Filter, path: Path, leaving: tuple[Traffic, Traffic], arriving: tuple[Traffic, Traffic] | None, output: bool
) -> Share:
    every, first = leaving
    fill = None
    if arriving is not None:
        fill = arriving[0].delivered.less(arriving[1].delivered) if output else arriving[0].delivered
    tile = work.tiles(path.tensor, path.edge.parent)
    if output:
        return Share(every.served.less(first.served), fill, every.raised, *tile)
    return Share(every.served, fill, None, *tile)


def _by_proportion(average: AverageInstance) -> _Traffic:
    """An average instance's counts scaled by probabilities."""
    levels, tensors = average.problem.design.architecture.levels, average.problem.tensors
    shares: dict[str, dict[str, Share]] = {level.name: {} for level in levels}
    for l, level in enumerate(levels):
        for t, name in enumerate(tensors):
            if average.batch.keep[l, t]:
                shares[level.name][name] = average.share(l, t)
            elif average.batch.stream[l, t]:
                shares[level.name][name] = average.streamed(l, t)
    counts = classify(average)
    computes = Outcomes(counts.actual, counts.gated, counts.skipped)
    absent = average.dense.computes - computes.total
    return _Traffic(shares, computes, absent, (counts.actual + counts.gated) / counts.instances, counts.instances)


def _own_details(problem: Problem, mapping: Mapping) -> TimeloopDetails:
    """What a Timeloop file would say of our own design: every rank of a format takes the loops over its tensor ranks."""
    from sparseloom.mapping.details import FormatDetails, LevelDetails, RankDetails, Tiling

    formats = {
        level: {
            tensor: FormatDetails(
                tuple(
                    RankDetails(rank.kind, _iteration_ranks(problem, tensor, rank.ranks), rank.metadata_bits, rank.payload_bits)
                    for rank in form.ranks
                )
            )
            for tensor, form in tensors.items()
        }
        for level, tensors in problem.design.features.formats.items()
    }
    tiling = {}
    for depth, level in enumerate(mapping.levels):
        spread = tuple(prod) > (1, 1) if (prod := problem.design.architecture.fanout(depth)) else False
        tiling[level.level] = Tiling(_complete(problem, level.temporal), _complete(problem, level.spatial) if spread else ())
    return TimeloopDetails(
        levels={level.name: LevelDetails("storage") for level in problem.design.architecture.levels},
        compute_class="compute", dimensions=problem.ranks, tensors=problem.tensors, formats=formats, tiling=tiling,
        sparse=True,
    )  # fmt: skip


def _complete(problem: Problem, loops: tuple[Loop, ...]) -> tuple[Loop, ...]:
    """The loops, and outside them one of one iteration for every other rank."""
    there = {loop.rank for loop in loops}
    axis = loops[0].axis if loops else ""
    return (*(Loop(rank, 1, axis) for rank in problem.ranks if rank not in there), *loops)


def _iteration_ranks(problem: Problem, tensor: str, names: tuple[str, ...]) -> tuple[str, ...]:
    access = problem.workload.tensor(tensor)
    return tuple(
        term.rank
        for name in names
        for projection in access.projections
        if name.rstrip("0123456789=") in (projection.name, name)
        for term in projection.terms
    )


def _result(
    problem: Problem,
    traffic: _Traffic,
    levels: dict[str, LevelActions],
    energy: Energy,
    conventions: Conventions,
    mapping: Mapping,
) -> Result:
    unit = problem.design.architecture.compute
    computes = traffic.computes
    compute_pj = sum(getattr(computes, outcome) * energy("compute", outcome) for outcome in OUTCOMES)
    mean = (computes.actual + computes.gated) / traffic.instances
    compute = ComputeActions(
        unit.name, computes, traffic.absent, compute_pj, traffic.busiest, mean, unit.instances, traffic.instances
    )  # fmt: skip
    cycles = whole_cycles(max(traffic.busiest, *(level.cycles for level in levels.values())))
    total = compute_pj + sum(level.energy_pj for level in levels.values())
    utilization = (computes.actual + computes.gated) / unit.instances / cycles if cycles else 0.0
    return Result(
        origin="model", cycles=cycles, energy_pj=total, utilization=utilization, computes=computes, compute=compute,
        levels=levels, conventions=conventions.name, workload=problem.workload.name, design=problem.design.name,
        loopnest=render(mapping),
    )  # fmt: skip
