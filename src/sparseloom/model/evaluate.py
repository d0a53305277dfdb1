"""The three steps in their order, for one mapping: dense traffic, sparse traffic, cost."""

from __future__ import annotations

import numpy as np

from sparseloom.arch.actions import OUTCOMES
from sparseloom.arch.design import Design
from sparseloom.arch.features import GATING, SKIPPING, Saf
from sparseloom.errors import ArchitectureError, Fault, suggest
from sparseloom.mapping.mapping import Mapping, check
from sparseloom.model.conventions import SPARSELOOM, Conventions
from sparseloom.model.dataflow import count_dense, fill_nest
from sparseloom.model.microarch import Share, check_capacity, overflows, price, whole_cycles
from sparseloom.model.nest import MappingBatch, Problem
from sparseloom.model.sparse import Filter, Path, Traffic, filter_computes, paths_of
from sparseloom.results.actions import ComputeActions, LevelActions, Outcomes
from sparseloom.results.result import Result
from sparseloom.workload.workload import Workload


def evaluate(
    workload: Workload, design: Design, mapping: Mapping, conventions: Conventions = SPARSELOOM
) -> Result:
    """Evaluate ``mapping`` of ``workload`` on ``design``.

    Raises MappingError for a mapping that the workload or the architecture does not allow or whose tiles do not fit,
    ArchitectureError for features about tensors that the workload has not.
    """
    check(mapping, workload, design.architecture)
    problem = Problem(workload, design)
    _check_features(problem)
    batch = MappingBatch.of(problem, [mapping])
    dense = count_dense(problem, batch, conventions)
    table = np.empty((6, batch.bound.shape[1]), np.int64)
    nest = table[:, : fill_nest(batch.rank[0], batch.bound[0], batch.place[0], problem.shape, table)]
    work = Filter(problem, nest)
    paths = paths_of(problem, batch, _chosen(design))
    shares = _shares(work, paths)
    levels = design.architecture.levels
    check_capacity([fault for level in levels for fault in overflows(level, shares[level.name])])
    instances = dense.instances[0]
    priced = {level.name: price(level, shares[level.name], float(instances[l])) for l, level in enumerate(levels)}
    return _result(work, paths, priced, float(instances[-1]), conventions)


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


def _chosen(design: Design) -> tuple[Saf, ...]:
    return tuple(saf for saf in design.features.safs if saf.kind in (GATING, SKIPPING))


def _shares(work: Filter, paths: tuple[tuple[Path, ...], ...]) -> dict[str, dict[str, Share]]:
    """What every tensor does at every level that keeps it, by level and tensor name."""
    problem = work.problem
    levels = problem.design.architecture.levels
    shares: dict[str, dict[str, Share]] = {level.name: {} for level in levels}
    for t, edges in enumerate(paths):
        output = t == len(problem.tensors) - 1
        arriving: tuple[Traffic, Traffic] | None = None
        for path in edges:
            leaving = work.traffic(path)
            name = levels[path.edge.parent].name
            shares[name][problem.tensors[t]] = _share(work, t, path.edge.parent, leaving, arriving, output)
            arriving = leaving
    return shares


def _share(
    work: Filter, t: int, level: int, leaving: tuple[Traffic, Traffic], arriving: tuple[Traffic, Traffic] | None, output: bool
) -> Share:
    every, first = leaving
    fill = None
    if arriving is not None:
        fill = arriving[0].delivered.less(arriving[1].delivered) if output else arriving[0].delivered
    tile = work.tiles(t, level)
    if output:
        return Share(every.served.less(first.served), fill, every.raised, *tile)
    return Share(every.served, fill, None, *tile)


def _result(
    work: Filter,
    paths: tuple[tuple[Path, ...], ...],
    levels: dict[str, LevelActions],
    instances: float,
    conventions: Conventions,
) -> Result:
    problem = work.problem
    unit = problem.design.architecture.compute
    computes = filter_computes(work, paths)
    counted = Outcomes(computes.actual, computes.gated, computes.skipped)
    energy = sum(getattr(counted, outcome) * unit.energy.pj("compute", outcome) for outcome in OUTCOMES)
    mean = (counted.actual + counted.gated) / instances
    compute = ComputeActions(
        unit.name, counted, computes.absent, energy, computes.busiest, mean, unit.instances, instances
    )  # fmt: skip
    cycles = whole_cycles(max(computes.busiest, *(level.cycles for level in levels.values())))
    total = energy + sum(level.energy_pj for level in levels.values())
    utilization = (counted.actual + counted.gated) / unit.instances / cycles if cycles else 0.0
    return Result(
        origin="model", cycles=cycles, energy_pj=total, utilization=utilization, computes=counted, compute=compute,
        levels=levels, conventions=conventions.name, workload=problem.workload.name, design=problem.design.name,
    )  # fmt: skip
