"""The three steps in their order, for one mapping: dense traffic, sparse traffic, cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.actions import DATA_ACTIONS, OUTCOMES
from sparseloom.arch.design import Design
from sparseloom.arch.features import POSITION_SKIPPING
from sparseloom.arch.hierarchy import ComputeLevel, StorageLevel
from sparseloom.errors import ArchitectureError, Fault, MappingError, suggest
from sparseloom.fibertree.format import Format
from sparseloom.mapping.batch import MappingBatch, Problem, of_problem, problem_of
from sparseloom.mapping.details import FormatDetails, LevelDetails, RankDetails, Tiling, TimeloopDetails
from sparseloom.mapping.lanes import Thinning, check_mapping, lane_shares
from sparseloom.mapping.mapping import Loop, Mapping, check
from sparseloom.mapping.render import render
from sparseloom.model.activity import Activity, activity
from sparseloom.model.alternatives import settled
from sparseloom.model.average import AverageInstance
from sparseloom.model.averagecost import latency_cycles, of_average_instances, refuse_empty
from sparseloom.model.computes import Computes
from sparseloom.model.conventions import SPARSELOOM, Conventions, profile
from sparseloom.model.conversion import refuse_conversions, with_conversions
from sparseloom.model.dataflow import count_dense
from sparseloom.model.energy import action_energy
from sparseloom.model.explain import assumptions, bottleneck, unpriced
from sparseloom.model.gather import UNITS, WORDS
from sparseloom.model.lanewalk import is_walked, thinned
from sparseloom.model.limits import refuse_large_counts
from sparseloom.model.microarch import (
    PORTS,
    Energy,
    LevelCost,
    Prices,
    Share,
    holdings,
    outcomes,
    price,
    prices_of,
    whole_cycles,
)  # fmt: skip
from sparseloom.model.single import SingleMapping
from sparseloom.model.sparse import Filter
from sparseloom.model.statecompute import classify
from sparseloom.results.actions import ComputeActions, LevelActions, Outcomes, RankUnits, TensorActions
from sparseloom.results.result import Result
from sparseloom.workload.workload import Workload

FloatArray = NDArray[np.float64]


def evaluate(
    workload: Workload,
    design: Design,
    mapping: Mapping,
    conventions: Conventions | str = SPARSELOOM,
    details: TimeloopDetails | None = None,
) -> Result:
    """Evaluate ``mapping`` of ``workload`` on ``design`` under ``conventions``, or the profile of that name.

    ``details`` is what Timeloop's files say beyond our own values; without it, conventions that need it see the
    formats' ranks as loops of their tensor ranks. Raises MappingError for a mapping that the workload or the architecture does
    not allow or whose tiles do not fit, ArchitectureError for features about tensors that the workload has not.
    """
    if isinstance(conventions, str):
        conventions = profile(conventions)
    rules = conventions
    _check_features(problem_of(workload, design))
    said: tuple[str, ...] = ()
    if conventions.elimination == "joint" and any(saf.alternatives for saf in design.features.safs):
        design, said = settled(design, lambda choice: evaluate(workload, choice, mapping, rules, details).energy_pj)
    problem = problem_of(workload, design)
    walked = not conventions.by_proportion and is_walked(problem)
    unchecked = thinned(problem) if walked else ()
    batch, thinning = check_mapping(problem, mapping, conventions.by_proportion, unchecked)
    average: AverageInstance | None = None
    if not conventions.by_proportion:
        traffic = _by_transfer(problem, batch, thinning, conventions)
        if walked:
            check(mapping, workload, design.architecture, [(float(x), float(y)) for x, y in traffic.lanes[:, :, 0]])
    else:
        if details is not None:
            refuse_conversions(problem, batch.keep, details.formats)
        dense = count_dense(problem, batch, conventions)
        work = Filter(problem, SingleMapping.of(problem, batch), conventions)
        known = details or _own_details(work, mapping)
        average = AverageInstance(problem, batch, mapping, dense, conventions, known, thinning, work)
        traffic = _by_proportion(average)
        traffic.instances[:, :-1] = average.dense.instances[:, :-1]
        traffic.instances[:, 1:-1] *= np.cumprod(np.prod(lane_shares(problem, batch, thinning), axis=1), axis=0).T[
            :, :-1
        ]
    instances = traffic.instances
    raw = details.ert if details else {}

    def energy(level: StorageLevel | ComputeLevel) -> Energy:
        return lambda action, outcome: action_energy(conventions, level.energy, raw.get(level.name), action, outcome)

    levels = design.architecture.levels
    costs = [
        price(
            level,
            traffic.shares[level.name],
            instances[:, place],
            prices_of(level, energy(level)) if level.name in raw else _own_prices(problem, place, conventions),
        )
        for place, level in enumerate(levels)
    ]
    if conventions.energy != "own-entry":
        costs = with_conversions(problem, traffic.shares, costs, raw)
    latency = 0.0
    if average is not None:
        costs = of_average_instances(average, traffic.shares, costs, instances[0])
        latency = latency_cycles(average.details)
        refuse_empty(average.details, levels, traffic.shares)
    _refuse_overflow(levels, traffic)
    compute = _compute(problem, traffic, energy(design.architecture.compute))
    described = {
        level.name: _described(level, traffic.shares[level.name], cost, float(instances[0, place]))
        for place, (level, cost) in enumerate(zip(levels, costs, strict=True))
    }
    result = _result(problem, described, compute, conventions, mapping, latency)
    if details is None:
        said = (*unpriced(design.architecture, described, compute), *said)
    return refuse_large_counts(replace(result, assumptions=(*result.assumptions, *said)))


@of_problem
def _own_prices(problem: Problem, place: int, conventions: Conventions) -> Prices:
    """What a level's actions cost by its design's own table."""
    level = problem.design.architecture.levels[place]
    return prices_of(level, lambda action, outcome: action_energy(conventions, level.energy, None, action, outcome))


def _check_features(problem: Problem) -> None:
    names, faults = problem.tensors, []
    for i, saf in enumerate(problem.design.features.safs):
        for name in {name for target, leaders in saf.ways for name in (target, *leaders)} - set(names):
            what = f"a {saf.kind} feature at {saf.level} is about tensor {name}, which the workload has not"
            faults.append(Fault(what, path=f"safs[{i}]", fix=suggest(name, names)))
        if saf.kind == POSITION_SKIPPING and saf.target == names[-1]:
            what = f"a {saf.kind} feature at {saf.level} is of the output {saf.target}"
            faults.append(Fault(what, path=f"safs[{i}]", fix="pack the nonzeros of an operand"))
    for level, formats in problem.design.features.formats.items():
        for name in set(formats) - set(names):
            what = f"{level} has a format for tensor {name}, which the workload has not"
            faults.append(Fault(what, path=f"formats.{level}.{name}", fix=suggest(name, names)))
    if faults:
        raise ArchitectureError(faults)


def _by_transfer(problem: Problem, batch: MappingBatch, thinning: Thinning, conventions: Conventions) -> Activity:
    """Every transfer judged by its own leader tiles."""
    source = SingleMapping.of(problem, batch)
    return activity(Filter(problem, source, conventions), batch, source.nests, thinning)


def _by_proportion(average: AverageInstance) -> Activity:
    """An average instance's counts scaled by probabilities."""
    levels, tensors = average.problem.design.architecture.levels, average.problem.tensors
    shares: dict[str, dict[str, Share]] = {level.name: {} for level in levels}
    for place, level in enumerate(levels):
        for t, name in enumerate(tensors):
            if average.batch.keep[place, t]:
                shares[level.name][name] = average.share(place, t)
            elif average.batch.stream[place, t]:
                shares[level.name][name] = average.streamed(place, t)
    counts = classify(average)
    used = counts.actual + counts.gated + counts.skipped
    values = (counts.actual, counts.gated, counts.skipped, average.dense.computes - used)
    if average.conventions.instances == "each":
        exact = average.exact_computes
        mean = float(exact.actual[0] + exact.gated[0])
        busiest = float(exact.busiest[0]) / mean * (counts.actual + counts.gated) if mean else 0.0
    else:
        busiest = (counts.actual + counts.gated) / counts.instances
    instances = np.full((1, len(levels) + 1), counts.instances)
    return Activity(
        shares, Computes(*(np.array([value]) for value in (*values, busiest))), instances, np.ones((len(levels), 2, 1))
    )


def _refuse_overflow(levels: Sequence[StorageLevel], traffic: Activity) -> None:
    """Raises MappingError with every level whose tiles do not fit."""
    faults = []
    for level in levels:
        for holding in holdings(level, traffic.shares[level.name]):
            if not holding.fits[0]:
                held = {name: float(amount[0]) for name, amount in holding.held.items()}
                parts = ", ".join(f"{tensor}={amount:,.0f}" for tensor, amount in held.items() if amount)
                largest = max(held, key=lambda tensor: held[tensor])
                what = f"tiles need {sum(held.values()):,.0f} {holding.unit} but {level.name} holds {holding.room:,} ({parts})"
                fix = f"shrink the tile of {largest} (the largest), or bypass {level.name} for it"
                faults.append(Fault(what, path=level.name, fix=fix))
    if faults:
        raise MappingError(faults)


def _own_details(work: Filter, mapping: Mapping) -> TimeloopDetails:
    """What a Timeloop file would say of our own design: every rank of a format takes the loops over its tensor ranks, and
    units have the widths that they have in the contract."""
    problem = work.problem
    formats = {
        name: {
            tensor: _own_format(work, depth, problem.tensors.index(tensor), form)
            for tensor, form in problem.design.features.formats.get(name, {}).items()
        }
        for depth, name in enumerate(problem.design.architecture.names)
    }
    tiling = {}
    for depth, level in enumerate(mapping.levels):
        spread = max(problem.design.architecture.fanout(depth)) > 1
        tiling[level.level] = Tiling(
            _complete(problem, level.temporal), _complete(problem, level.spatial) if spread else ()
        )
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


def _own_format(work: Filter, depth: int, tensor: int, form: Format) -> FormatDetails:
    from sparseloom.fibertree.fiber import bind

    access = work.problem.workload.einsum.tensors[tensor]
    widths = work.widths(tensor, depth, form)[0].tolist()
    ranks = []
    for rank, parts, (metadata_bits, payload_bits) in zip(
        form.ranks, bind(form, access.ranks).parts, widths, strict=True
    ):
        taken = tuple(term.rank for part in parts for term in access.projections[part.axis].terms)
        ranks.append(RankDetails(rank.kind, taken, metadata_bits, payload_bits))
    return FormatDetails(tuple(ranks))


def _described(level: StorageLevel, shares: dict[str, Share], cost: LevelCost, instances: float) -> LevelActions:
    """A level's part of the result."""
    tensors = {name: _actions(share, float(cost.energy_pj[name][0])) for name, share in shares.items()}
    asked = cost.port_cycles[:, 0]
    bounded = any((level.read_words_per_cycle, level.write_words_per_cycle, level.shared_words_per_cycle))
    return LevelActions(
        name=level.name, tensors=tensors, cycles=float(asked.max()),
        energy_pj=sum(actions.energy_pj for actions in tensors.values()), instances_used=instances,
        capacity_words=level.capacity_words, metadata_capacity_bits=level.metadata_capacity_bits,
        bandwidth_bound=PORTS[int(asked.argmax())] if bounded else "",
    )  # fmt: skip


def _actions(share: Share, energy_pj: float) -> TensorActions:
    words = {action: Outcomes() for action in DATA_ACTIONS}
    metadata: dict[str, tuple[RankUnits, ...]] = dict.fromkeys(DATA_ACTIONS, ())
    for action in DATA_ACTIONS:
        moved = share.moved(action)
        if moved is not None:
            table = [outcomes(action, row) for row in moved.table[0].tolist()]
            words[action] = table[WORDS]
            metadata[action] = tuple(map(RankUnits, table[UNITS::2], table[UNITS + 1 :: 2]))
    tiles = share.tiles
    return TensorActions(
        words["read"], words["fill"], words["update"], metadata["read"], metadata["fill"], metadata["update"],
        float(tiles.points[0]), float(tiles.words[0]), float(tiles.worst_words[0]), float(tiles.worst_bits[0]),
        energy_pj, float(share.instances[0]), share.streamed,
    )  # fmt: skip


def _compute(problem: Problem, traffic: Activity, energy: Energy) -> ComputeActions:
    unit, computes = problem.design.architecture.compute, traffic.computes
    counted = Outcomes(float(computes.actual[0]), float(computes.gated[0]), float(computes.skipped[0]))
    energy_pj = sum(getattr(counted, outcome) * energy("compute", outcome) for outcome in OUTCOMES)
    instances = float(traffic.instances[0, -1])
    # none is in use where a leader has no nonzeros
    mean = (counted.actual + counted.gated) / instances if instances else 0.0
    return ComputeActions(
        unit.name, counted, float(computes.absent[0]), energy_pj, float(computes.busiest[0]), mean, unit.instances,
        instances,
    )  # fmt: skip


def _result(
    problem: Problem,
    levels: dict[str, LevelActions],
    compute: ComputeActions,
    conventions: Conventions,
    mapping: Mapping,
    latency_cycles: float,
) -> Result:
    longest = max(compute.cycles_busiest, *(level.cycles for level in levels.values()))
    cycles = int(whole_cycles(np.array(longest)) + latency_cycles)
    busy = compute.outcomes.actual + compute.outcomes.gated
    return Result(
        origin="model", cycles=cycles,
        energy_pj=compute.energy_pj + sum(level.energy_pj for level in levels.values()),
        utilization=busy / compute.instances / cycles if cycles else 0.0,
        computes=compute.outcomes, compute=compute, levels=levels, conventions=conventions.name,
        workload=problem.workload.name, design=problem.design.name, loopnest=render(mapping),
        bottleneck=bottleneck(levels, compute), assumptions=assumptions(problem, conventions),
    )  # fmt: skip
