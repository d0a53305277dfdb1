"""How fast mapspaces are searched: mappings evaluated a second, and time to a proof."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from sparseloom import case as cases
from sparseloom import designs
from sparseloom.arch.actions import EnergyTable
from sparseloom.arch.design import Design
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.mapping.batch import BoolArray, MappingBatch, Problem
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import Tree
from sparseloom.model.batch import in_chunks
from sparseloom.search.mapper import Best, best_mapping
from sparseloom.search.network import Setting, map_layers, tasks
from sparseloom.workload import zoo
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.workload import Workload

MAPSPACES = ("eyeriss-alexnet-conv2", "stc-flexible-m128-k1152-n1024")
DENSE = "eyeriss-alexnet-conv2"
NETWORK = "resnet50"
DESIGNS = ("tc", "stc", "dstc", "eyeriss")
BUDGET_S = 30.0
"""Seconds for a layer."""
GAPS = {"eyeriss": 0.01}
"""How near to its bound is enough with imperfect bounds."""
JOBS = 2


def rates(timed: Callable[[Callable[[], object]], tuple[list[float], float]]) -> Iterator[str]:
    """Full evaluations of valid mappings of a mapspace a second, and of all in order; and of its search, the mappings that it
    decides about a second, and the share that it prunes before they are evaluated in full."""
    yield (
        "| mapspace | valid mappings of it | full evaluations a second, one core | of all in order (valid) | a second | the loop | "
        "search to the proof, s | raw candidates a second | pruned |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, space in _mapspaces():
        cells, loop = [], 0.0
        for valid_alone in (True, False):
            batches = _some(space, 100_000, valid_alone)
            count, problem = sum(map(len, batches)), space.problem
            times, loop = timed(lambda b=batches, p=problem: _valid(Problem(p.workload, p.design), b))
            found = sorted(count / each for each in times)
            share = "" if valid_alone else f" ({_valid(problem, batches) / count:.1%})"
            cells += [f"{count:,}{share}", f"{found[len(found) // 2]:,.0f} ({found[0]:,.0f} to {found[-1]:,.0f})"]
        yield f"| {name} | {' | '.join(cells)} | {1e3 * loop:.1f} ms | {_searched(space)} |"


def _searched(space: Mapspace) -> str:
    best = best_mapping(space, "edp")
    assert best.proven
    pruned = 1 - best.evaluated / best.size
    return f"{best.seconds:.2f} | {best.size / best.seconds:,.0f} | {pruned:.3%}"


def _mapspaces() -> Iterator[tuple[str, Mapspace]]:
    for name in MAPSPACES:
        case = cases.read([name], searching=True)
        assert case.workload is not None
        assert case.design is not None
        yield name, Mapspace(Problem(case.workload, case.design), case.constraints)
        if name == DENSE:
            bare = Design(case.design.architecture, name=case.design.name)
            dense = replace(case.workload, densities={})
            yield f"{name}, dense", Mapspace(Problem(dense, bare), case.constraints)


def _some(space: Mapspace, count: int, valid_alone: bool) -> list[MappingBatch]:
    """The first ``count`` mappings, or valid ones alone, in one batch for each choice of what is kept."""
    tree, found, left = Tree(space), list[MappingBatch](), count
    for keep in space.keeps:
        parts = list[MappingBatch]()
        for batch in tree.mappings(keep):
            part = _those(batch, _which(space.problem, batch)) if valid_alone else batch
            parts.append(part[:left])
            left -= len(parts[-1])
            if left <= 0:
                break
        found += [MappingBatch.joined(parts)] if parts else []
        if left <= 0:
            break
    return [batch for batch in found if len(batch)]


def _those(batch: MappingBatch, which: BoolArray) -> MappingBatch:
    return replace(batch, rank=batch.rank[which], bound=batch.bound[which], place=batch.place[which])


def _which(problem: Problem, batch: MappingBatch) -> BoolArray:
    return np.concatenate([part.valid for part in in_chunks(problem, batch)])


def _valid(problem: Problem, batches: list[MappingBatch]) -> int:
    return sum(int(part.valid.sum()) for batch in batches for part in in_chunks(problem, batch))


def proofs() -> Iterator[str]:
    """Time to the proven best mapping of every layer of a network on each design, and of one large product without constraints."""
    yield f"| {NETWORK}, EDP, {JOBS} processes | layers | proven | no mapping | largest gap | s | evaluated in full | mappings |"
    yield "|---|---|---|---|---|---|---|---|"
    network = zoo.load(NETWORK).with_densities({}, {"I": 0.5, "W": 0.5})
    network = replace(network, layers=tuple(replace(each, structured=frozenset("W")) for each in network.layers))
    for name in DESIGNS:
        for imperfect in (False, True):
            near = GAPS.get(name, 0.0) if imperfect else 0.0
            setting = Setting(designs.load(name), designs.constraints(name), "edp", imperfect, BUDGET_S, near)
            layers = [task.layer for task in tasks(network, setting)]
            start = time.perf_counter()
            found = [best for _, best in map_layers(setting, layers, JOBS)]
            seconds = time.perf_counter() - start
            there = [best for best in found if isinstance(best, Best) and best.mapping is not None]
            yield (
                f"| {name}, {'imperfect' if imperfect else 'perfect'} | {len(layers)} | {sum(best.proven for best in there)} | "
                f"{len(found) - len(there)} | {max(best.gap for best in there):.2%} | {seconds:.1f} | "
                f"{sum(best.evaluated for best in there):,} | {sum(best.size for best in there):.3g} |"
            )
    best = best_mapping(_product(4096), "edp", BUDGET_S)
    yield ""
    yield (
        f"A dense product 4096 x 4096 x 4096 on three levels without constraints, EDP, {best.size:.3g} mappings: "
        f"{best.statement}, {best.seconds:.1f} s on one core, {best.evaluated:,} mappings evaluated in full."
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    yield f"Peak memory of one of the processes: {peak:.2f} GB."


def _product(size: int) -> Mapspace:
    def energy(pj: float) -> EnergyTable:
        return EnergyTable({"read": pj, "fill": pj, "update": pj})

    levels = (
        StorageLevel("DRAM", energy=energy(128.0), read_words_per_cycle=16, write_words_per_cycle=16),
        StorageLevel(
            "GLB", capacity_words=65536, energy=energy(6.0), read_words_per_cycle=32, write_words_per_cycle=32
        ),
        StorageLevel("RF", capacity_words=256, mesh_x=16, mesh_y=16, energy=energy(0.5)),
    )
    compute = ComputeLevel("MAC", mesh_x=16, mesh_y=16, energy=EnergyTable({"compute": 1.0}))
    workload = Workload(Einsum.parse("Z[m,n] = A[m,k] * B[k,n]"), dict.fromkeys("MNK", size))
    return Mapspace(Problem(workload, Design(Architecture(levels, compute))))
