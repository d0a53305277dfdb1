"""What `sparseloom map` does once its input is read: search, print, write. Everything that was found is written before it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isclose
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from sparseloom import document
from sparseloom.case import Case, design_of, problem
from sparseloom.errors import FAULT, INTERRUPTED, Fault, InputError, MappingError, SparseloomError
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.model.evaluate import evaluate
from sparseloom.report import chosen as choices_of
from sparseloom.report import front as front_of
from sparseloom.report import mapped
from sparseloom.report.network import Folder, json_text, text
from sparseloom.results import Result
from sparseloom.search.codesign import best_design, mapspaces
from sparseloom.search.explain import misfits
from sparseloom.search.mapper import Best
from sparseloom.search.network import Setting, map_layers, tasks
from sparseloom.search.objective import Objective, objective
from sparseloom.search.pareto import front
from sparseloom.workload import zoo
from sparseloom.workload.network import Network
from sparseloom.workload.workload import Workload


@dataclass(frozen=True)
class Request:
    """What is asked of a search: the ``case`` that ``files`` hold, by what and how long to search, how near to the bound, and where
    to write what is found."""

    case: Case
    files: list[Path]
    goal: Objective
    seconds: float
    gap: float
    imperfect: bool
    output: Path | None
    json: Path | None


def map_workload(request: Request) -> int:
    """Find the best mapping of a workload, and the best variant of its design, and print and write them; an exit code."""
    case = request.case
    workload, variants = problem(case, request.files)
    for variant in variants:
        request.goal.require_energies(variant.value)
    seen = _searched(workload, request.imperfect)
    spaces = mapspaces(seen, [variant.value for variant in variants], case.constraints, request.imperfect)
    _say_size(sum(space.size for space in spaces if isinstance(space, Mapspace)))
    with _watched() as watch:
        chosen = best_design(spaces, request.goal, request.seconds, watch, request.gap)
    best, space, variant = chosen.best, chosen.space, variants[chosen.number]
    if best.mapping is None:
        what = f"no mapping that fits was found in {best.seconds:.1f} s"
        if not best.interrupted:
            raise InputError(Fault(what, fix="give a larger --budget"))
        print(what, file=sys.stderr)
        return INTERRUPTED
    result = evaluate(workload, variant.value, best.mapping)
    apart = _seen_apart(best, result, request.goal) if seen is not workload else ()
    notes = (*result.notes, *case.notes, *apart)
    result = replace(result, ignored=(*result.ignored, *case.ignored), notes=notes)
    given = mapped.compared(space, best, case.mapping, request.seconds) if case.mapping is not None else None
    if request.output is not None:
        whole = case.timeloop or variant.choices
        found = mapped.case_file(best, workload, variant.value, variant.choices) if whole else mapped.mapping_file(best)
        document.write(request.output, found)
    if request.json is not None:
        document.write(request.json, mapped.json_text(best, result, given, choices_of.json_values(variants, chosen)))
    print(mapped.text(best, result, given, choices_of.text(variants, chosen)))
    return INTERRUPTED if best.interrupted else 0


def _searched(workload: Workload, imperfect: bool) -> Workload:
    """A workload as a search sees it: patterns by aligned tiles, where loops cut a tensor into these alone. Elsewhere the places of
    a pattern matter, and the search refuses it."""
    windows = any(
        len(each.terms) > 1
        for name, density in workload.densities.items()
        for each in workload.tensor(name).projections
        if density.coordinate_dependent
    )
    return workload if imperfect or windows else workload.tiled


def _seen_apart(best: Best, result: Result, goal: Objective) -> Iterator[str]:
    """What a search that sees structured tensors by aligned tiles took for the value of the best mapping, if it is another."""
    value = float(goal.of(np.array(result.energy_pj), np.array(result.cycles)))
    if not isclose(value, best.value, rel_tol=1e-9):
        yield (
            f"the search saw structured tensors by the extents of aligned tiles, and took the {goal.name} for {best.value:.6g} "
            f"{goal.unit}; of the places of the pattern it is {value:.6g}"
        )


def map_front(request: Request) -> int:
    """Find the front of energy and cycles of a workload on a design, and print and write it; an exit code."""
    (workload, _), design = problem(request.case, request.files), design_of(request.case, request.files)
    objective("energy").require_energies(design)
    space = Mapspace(
        Problem(_searched(workload, request.imperfect), design), request.case.constraints, request.imperfect
    )
    _say_size(space.size)
    with _watched() as watch:
        for found in front(space, request.seconds):
            if watch is not None:
                watch(found)
    if found.complete and not found.points:
        raise MappingError(misfits(space))
    results = [evaluate(workload, design, point.mapping) for point in found.points if point.mapping is not None]
    if request.output is not None:
        front_of.write(request.output, found, workload, design)
    if request.json is not None:
        document.write(request.json, front_of.json_text(found, results))
    print(front_of.text(found, results))
    return INTERRUPTED if found.interrupted else 0


def _say_size(size: int) -> None:
    print(f"{size:,} mappings", file=sys.stderr)


@contextmanager
def _watched() -> Iterator[Callable[[object], None] | None]:
    """What shows how far a search is, on one line of a terminal; None where there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        yield lambda found: print(f"\r{found}\033[K", end="", file=sys.stderr)
    finally:
        print(file=sys.stderr)


def map_network(network: Network, request: Request, jobs: int) -> int:
    """Map all layers of a network, and print and write what is found as it comes; an exit code."""
    design, output = design_of(request.case, request.files), request.output
    request.goal.require_energies(design)
    setting = Setting(
        design, request.case.constraints, request.goal.name, request.imperfect, request.seconds, request.gap
    )
    todo = tasks(network, setting)
    folder = Folder(output, setting, todo) if output is not None else None
    found: dict[int, Best | SparseloomError] = dict(folder.read()) if folder is not None else {}
    if found:
        print(f"{len(found)} of {len(todo)} layers are known from {output}", file=sys.stderr)
    left = [number for number in range(len(todo)) if number not in found]
    interrupted = False
    try:
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
            bar = progress.add_task(f"{network.name} on {design.name}", total=len(todo), completed=len(found))
            for k, best in map_layers(setting, [todo[number].layer for number in left], jobs or os.cpu_count() or 1):
                found[left[k]] = best
                progress.advance(bar)
                progress.console.print(f"{', '.join(todo[left[k]].names)}: {best}", soft_wrap=True, highlight=False)
                if folder is not None:
                    folder.write(found)
    except KeyboardInterrupt:
        interrupted = True
    if request.json is not None:
        document.write(request.json, json_text(setting, todo, found))
    print(text(setting, todo, found))
    if interrupted:
        return INTERRUPTED
    return FAULT if any(isinstance(best, SparseloomError) for best in found.values()) else 0


def with_densities(network: Network, density: float | None, densities: str, structured: bool) -> Network:
    """A network with what the options say of its tensors."""
    known = zoo.load_densities(densities).layers if densities else {}
    operands = {tensor.name for layer in network.layers for tensor in layer.einsum.operands}
    network = network.with_densities(known, dict.fromkeys(operands, density) if density is not None else None)
    if structured:
        layers = (replace(each, structured=frozenset({each.constant} - {""})) for each in network.layers)
        network = replace(network, layers=tuple(layers))
    return network
