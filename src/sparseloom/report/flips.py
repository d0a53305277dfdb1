"""The figures of Fig. 6-9 with each convention flipped, one at a time, and HighLight with other dataflows than Fig. 6-4(b)'s."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from statistics import geometric_mean
from typing import Final

from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.mapping.constraints import Constraints, Limit
from sparseloom.model.evaluate import evaluate
from sparseloom.report import products
from sparseloom.report.products import BOTH, Cell, Figures, Grid, Ways
from sparseloom.report.study import Part
from sparseloom.search.comparison import Contender, Outcome

OURS: Final = "highlight"
OTHERS: Final = ("tc", "stc", "dstc", "s2ta", BOTH)

TECHNOLOGIES: Final[Mapping[str, Technology]] = {
    "65 nm": Technology(65),
    "SRAM of itrs-hp devices": Technology(device="itrs-hp"),
    "SRAM of itrs-lop devices": Technology(device="itrs-lop"),
    "SRAM with least energy": Technology(sram_mode="energy"),
    "SRAM with least delay": Technology(sram_mode="delay"),
}


def notes() -> tuple[str, ...]:
    """What the tables rest on."""
    return (
        "flips of prices (65 nm, SRAM, leakage) take the mappings that were found, and of the ways to run a product the best one "
        "there; bandwidths are searched again where they add cycles, dstc without its collector always",
        "mappings are those of the least EDP with DRAM; leakage is power x cycles x the technology's cycle",
        f"{BOTH}: MACs skip by B as well, so that a block with k nonzeros of 8 takes k of 8 steps, without any loss",
    )


def parts(found: Ways, jobs: int) -> tuple[Part, ...]:
    """Both tables."""
    head = ("flipped", "tc", "tc, the most", *OTHERS[1:])
    rows = [(what, *_row(grid)) for what, grid in _flips(found, jobs)]
    flipped = Part(
        "EDP over highlight's, geometric means (of so many workloads), with one convention flipped", head, rows
    )
    return flipped, _dataflows(found, jobs)


def _row(grid: Grid) -> Iterator[str]:
    over = {name: products.ratios(grid, name, OURS).values() for name in OTHERS}
    yield f"{geometric_mean(over['tc']):.2f}"
    yield f"{max(over['tc']):.1f}"
    for name in OTHERS[1:]:
        yield f"{geometric_mean(over[name]):.2f} ({len(over[name])})"


def _flips(found: Ways, jobs: int) -> Iterator[tuple[str, Grid]]:
    base = products.best(found)
    yield "none", base
    yield "operands never swapped", products.best(found, swapping=False)
    plain = {(OURS, cell): base[products.PLAIN, cell] for cell in products.cells()}
    yield "patterns of Table 6.2 alone", {**base, **plain}
    yield "energy with DRAM", {key: replace(each, on_chip_pj=each.energy_pj) for key, each in base.items()}
    yield "bandwidths of the design files", _with_limits(found, jobs)
    yield "dstc without its operand collector", {**base, **_without_collector(jobs)}
    yield "leakage in the energy", _leaking(base)
    for what, technology in TECHNOLOGIES.items():
        yield what, _repriced(found, products.contenders(technology))


def _with_limits(found: Ways, jobs: int) -> Grid:
    """Limits of bandwidth only add cycles: where they add none to the best mapping, it stays the best."""
    limited = {
        name: Contender.at(design, limits, Technology()) for name, (design, limits) in products.designs().items()
    }
    grid, free = _repriced(found, limited), products.best(found)
    for name, own in limited.items():
        keys = ((name, cell) for cell in products.cells() if (name, cell) in grid)
        slower = tuple(key[1] for key in keys if grid[key].edp_with_dram > free[key].edp_with_dram)
        grid |= products.best(products.searched({name: own}, jobs, slower))
    return grid


def _without_collector(jobs: int) -> Grid:
    bare = products.contender(replace(load("dstc"), units=()), constraints("dstc"), Technology())
    return products.best(products.searched({"dstc": bare}, jobs, products.cells()))


def _leaking(base: Grid) -> Grid:
    areas = {name: own.area for name, own in products.contenders(Technology()).items()}
    return {
        (name, cell): replace(each, on_chip_pj=each.on_chip_pj + areas[name].leaked_pj(each.cycles))
        for (name, cell), each in base.items()
        if name in areas
    }


def _repriced(found: Ways, variants: Mapping[str, Contender]) -> dict[tuple[str, Cell], Figures]:
    """The mappings that were found, on variants with other prices or speeds; of the ways to run a product the best one there."""
    return {
        (name, cell): min(_again(own, name, cell, outcomes), key=lambda each: each.edp_with_dram)
        for name, own in variants.items()
        for cell in products.cells()
        if (outcomes := found.get((name, cell)))
    }


def _again(own: Contender, name: str, cell: Cell, outcomes: tuple[Outcome, ...]) -> Iterator[Figures]:
    for run, outcome in product(products.todo(name, own, cell), outcomes):
        if (run.layer, run.swapped, run.seen) == (outcome.run.layer, outcome.run.swapped, outcome.run.seen):
            assert outcome.best.mapping is not None
            problem = run.setting.problem(run.layer)
            yield products.figures_of(run, evaluate(problem.workload, problem.design, outcome.best.mapping))


WORKLOADS: Final[tuple[Cell, ...]] = ((0, 0), (50, 50), (75, 0), (75, 75))
"""Those that other dataflows are searched for."""


def _dataflows(found: Ways, jobs: int) -> Part:
    wanted = tuple(cell for cell in WORKLOADS if cell in products.cells())
    design, limits = products.designs()[OURS]
    variants = {
        f"{OURS}-{what}": products.contender(design, changed, Technology())
        for what, changed in dataflows(limits).items()
    }
    grid, own = products.best(products.searched(variants, jobs, wanted)), products.best(found)
    rows = [
        (
            name.removeprefix(f"{OURS}-"),
            *(f"{grid[name, cell].edp / own[OURS, cell].edp:.2f}" for cell in wanted),
            *(f"{grid[name, cell].cycles / own[OURS, cell].cycles:.2f}" for cell in wanted),
        )
        for name in variants
    ]
    head = ("dataflow", *(f"EDP {a}/{b}" for a, b in wanted), *(f"cycles {a}/{b}" for a, b in wanted))
    return Part("highlight with other dataflows, over its own: A stays, sums are added across a row", head, rows)


def dataflows(limits: Constraints) -> dict[str, Constraints]:
    """What HighLight's elements could run instead of the mapping that its ``limits`` allow: what stays while the innermost loop
    runs; sums are added across a row in all."""
    banks, one = limits.of("RF"), Limit.exactly(1)
    changed = {
        "B stays": {"RF": replace(banks, temporal={"N": one}, inner=("K", "M"))},
        "sums stay": {"RF": replace(banks, inner=("N", "K"))},
    }
    return {what: replace(limits, levels={**limits.levels, **own}) for what, own in changed.items()}
