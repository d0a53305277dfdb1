"""Figs. 6-9 and 6-10: products of two 1,024 x 1,024 matrices, dense to 75 % sparse, on the designs of Table 6.3.

Every design runs every workload with its operands in the better order, and each operand is drawn in the pattern that the design
needs where it needs one. Energies are those on the chip (Table 6.3 has no DRAM); those with DRAM stand beside. No
bandwidth is limited, since the table gives none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from statistics import geometric_mean
from typing import Final

from sparseloom.arch.design import Design, Support
from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.fibertree.pattern import Pattern
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.mapping.constraints import Constraints
from sparseloom.report.study import Chart, Computed, Part
from sparseloom.search.comparison import Contender, Outcome, compare, runs
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

SIZE: Final = 1024
A_PERCENT: Final = (0, 50, 75)
B_PERCENT: Final = (0, 25, 50, 75)
DESIGNS: Final = ("tc", "stc", "s2ta", "dstc", "highlight")
BUDGET_S: Final = 60.0

PATTERNS: Final[Mapping[str, Mapping[int, str]]] = {
    "": {0: "dense", 25: "0.75", 50: "C0(2:4)", 75: "C1(2:4)->C0(2:4)"},
    "highlight": {0: "dense", 25: "C1(4:5)->C0(2:2)", 50: "C0(2:4)", 75: "C1(2:4)->C0(2:4)"},
    "s2ta": {0: "dense", 25: "C0(6:8)", 50: "C0(4:8)", 75: "C0(2:8)"},
}
"""By design (the first for all others) and percentage of zeros, how an operand is drawn. HighLight takes 20 % for 25 %."""

WITH_FOUR: Final = "K1(4:{4<=H<=8})->K0(2:{2<=H<=4})"
"""The patterns that have 20 % (4 of 5), as the footnote of Fig. 6-9 needs and Table 6.2 lacks; the same elements run them."""

Cell = tuple[int, int]


@dataclass(frozen=True)
class Figures:
    """Cycles and energy of one workload on one design, on the chip and in all."""

    cycles: float
    on_chip_pj: float
    energy_pj: float
    swapped: bool
    padding: float

    @property
    def edp(self) -> float:
        """pJ x cycles on the chip."""
        return self.on_chip_pj * self.cycles

    @property
    def edp_with_dram(self) -> float:
        return self.energy_pj * self.cycles


Grid = Mapping[tuple[str, Cell], Figures]

QUANTITIES: Final[Mapping[str, Callable[[Figures], float]]] = {
    "EDP over tc's, on the chip (A/B in % of zeros)": lambda own: own.edp,
    "EDP over tc's with DRAM": lambda own: own.edp_with_dram,
    "energy over tc's, on the chip": lambda own: own.on_chip_pj,
    "cycles over tc's": lambda own: own.cycles,
}


def study(jobs: int = 1) -> Computed:
    """All workloads on all designs, and what the text says of them."""
    found = grid(jobs)
    return Computed(
        "products of 1,024 x 1,024 matrices on the designs of Table 6.3",
        _claims(found),
        tuple(_parts(found)),
        _chart(found),
        notes(),
    )


def notes() -> tuple[str, ...]:
    """What all figures over the grid rest on."""
    return (
        f"energies and areas: {Technology()}; no bandwidth on the chip or off it is limited",
        "B of 25 % is 20 % for highlight (4 of 5) and 6 of 8 for s2ta",
        "s2ta: A of more than half nonzeros is not supported in either order",
    )


def grid(jobs: int = 1) -> Grid:
    """Every workload on every design that can run it, and on variants of highlight; searched once."""
    return _searched(jobs, SIZE, tuple(product(A_PERCENT, B_PERCENT)))


@lru_cache(1)
def _searched(jobs: int, size: int, cells: tuple[Cell, ...]) -> Grid:
    technology, limits, with_four = Technology(), constraints("highlight"), _with_four(load("highlight"))
    variants = {
        **{name: contender(load(name), constraints(name), technology) for name in DESIGNS},
        "highlight": contender(with_four, limits, technology),
        "highlight-6.2": contender(replace(load("highlight"), name="highlight-6.2"), limits, technology),
        "highlight-unswapped": contender(
            replace(with_four, name="highlight-unswapped", swaps=False), limits, technology
        ),
    }
    return _grid(variants, jobs, size, cells)


def _with_four(design: Design) -> Design:
    own = design.supports["A"]
    more = Support(Pattern.parse(WITH_FOUR), own[-1].formats, own[-1].unused)
    return replace(design, supports={**design.supports, "A": (*own, more)})


def contender(design: Design, limits: Constraints, technology: Technology) -> Contender:
    """A design without limits of bandwidth."""
    levels = tuple(
        replace(level, read_words_per_cycle=None, write_words_per_cycle=None) for level in design.architecture.levels
    )
    free = replace(design, architecture=replace(design.architecture, levels=levels))
    return Contender.at(free, limits, technology)


def _grid(variants: Mapping[str, Contender], jobs: int, size: int, cells: Sequence[Cell]) -> Grid:
    network = Network("product", "thesis, 6.4.1", (Layer.linear("product", rows=size, inputs=size, outputs=size),))
    todo, places = [], []
    for (name, variant), (a, b) in product(variants.items(), cells):
        drawn = PATTERNS.get(name.split("-")[0], PATTERNS[""])
        sparsities = (Sparsity.parse(drawn[a]), Sparsity.parse(drawn[b]))
        own, _ = runs(network, variant, *sparsities, "edp", BUDGET_S)
        todo += [[replace(run, names=(f"{name} {a} {b}",)) for run in orders] for orders in own]
        places += [(name, (a, b))] * len(own)
    place = {f"{name} {a} {b}": (name, (a, b)) for name, (a, b) in places}
    return {place[each.run.names[0]]: figures(each) for each in compare(todo, jobs) if isinstance(each, Outcome)}


def figures(found: Outcome) -> Figures:
    """What one workload takes."""
    result = found.result
    off_chip = next(iter(result.levels.values())).energy_pj
    return Figures(result.cycles, result.energy_pj - off_chip, result.energy_pj, found.run.swapped, found.run.padding)


def _ratios(grid: Grid, above: str, below: str, dram: bool = False) -> dict[Cell, float]:
    """EDP of one design over another's, where both run."""
    both = [cell for cell in product(A_PERCENT, B_PERCENT) if (above, cell) in grid and (below, cell) in grid]
    key = "edp_with_dram" if dram else "edp"
    return {cell: getattr(grid[above, cell], key) / getattr(grid[below, cell], key) for cell in both}


def _claims(grid: Grid) -> dict[str, float]:
    over_tc, with_dram = _ratios(grid, "tc", "highlight"), _ratios(grid, "tc", "highlight", dram=True)
    best = {cell: min(grid[name, cell].edp for name in ("tc", "stc", "dstc")) for cell in over_tc}
    found = {
        "tc-geomean": geometric_mean(over_tc.values()),
        "tc-max": max(over_tc.values()),
        "tc-dense": 1 / over_tc[0, 0],
        "dstc-dense": 1 / _ratios(grid, "tc", "dstc")[0, 0],
        "best": max(grid["highlight", cell].edp / best[cell] for cell in over_tc),
        "speed": max((_speed(grid, cell) for cell in over_tc), key=lambda speed: abs(speed - 1)),
        "tc-geomean-dram": geometric_mean(with_dram.values()),
        "tc-max-dram": max(with_dram.values()),
        "tc-geomean-no-swap": geometric_mean(_ratios(grid, "tc", "highlight-unswapped").values()),
        "tc-geomean-table-6-2": geometric_mean(_ratios(grid, "tc", "highlight-6.2").values()),
    }
    for name in ("s2ta", "stc", "dstc"):
        found[f"{name}-geomean"] = geometric_mean(_ratios(grid, name, "highlight").values())
    return found


def _speed(grid: Grid, cell: Cell) -> float:
    """Cycles over those of the padded work at the density of the operand whose pattern is skipped."""
    of_a, of_b = (Sparsity.parse(PATTERNS["highlight"][percent]).density for percent in cell)
    here = grid["highlight", cell]
    ideal = grid["tc", (0, 0)].cycles * (of_b if here.swapped else of_a)
    return here.cycles * (1 - here.padding) / ideal


def _parts(grid: Grid) -> Iterator[Part]:
    cells = list(product(A_PERCENT, B_PERCENT))
    head = ("design", *(f"{a}/{b}" for a, b in cells), "geomean")
    for title, of in QUANTITIES.items():
        rows = []
        for name in dict.fromkeys(name for name, _ in grid):
            shares = [of(grid[name, cell]) / of(grid["tc", cell]) if (name, cell) in grid else None for cell in cells]
            known = [share for share in shares if share is not None]
            rows.append((name, *("-" if s is None else f"{s:.3f}" for s in shares), f"{geometric_mean(known):.3f}"))
        yield Part(title, head, rows)


def _chart(grid: Grid) -> Chart:
    cells = list(product(A_PERCENT, B_PERCENT))
    series = {
        name: [grid[name, cell].edp / grid["tc", cell].edp if (name, cell) in grid else None for cell in cells]
        for name in DESIGNS
    }
    return Chart("bars", [f"{a}/{b}" for a, b in cells], series, "zeros of A / of B, %", "EDP over tc's", log_y=True)
