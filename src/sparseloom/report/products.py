"""Products of two 1,024 x 1,024 matrices, dense to 75 % sparse, on the designs of Table 6.3: what Figs. 6-9 and 6-10 are of.

Every design runs every workload with its operands in the better order, and each operand is drawn in the pattern that the design
needs where it needs one. Energies are those on the chip (Table 6.3 has no DRAM); those with DRAM stand beside. No
bandwidth is limited, since the table gives none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Final

from sparseloom.arch.design import Design, Support
from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.fibertree.pattern import Pattern
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.mapping.constraints import Constraints
from sparseloom.results import Result
from sparseloom.search.comparison import Contender, Outcome, Refusal, Run, numbered, runs
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

SIZE: Final = 1024
A_PERCENT: Final = (0, 50, 75)
B_PERCENT: Final = (0, 25, 50, 75)
DESIGNS: Final = ("tc", "stc", "s2ta", "dstc", "highlight")
BOTH: Final = "s2ta-both"
"""The other reading of S2TA."""

PLAIN: Final = "highlight-6.2"
"""HighLight with the patterns of Table 6.2 alone: another design only where B has 25 % zeros."""

BUDGET_S: Final = 600.0
"""No search takes seconds; the first one after an installation waits for what is compiled."""

PATTERNS: Final[Mapping[str, Mapping[int, str]]] = {
    "": {0: "dense", 25: "0.75", 50: "C0(2:4)", 75: "C1(2:4)->C0(2:4)"},
    "highlight": {0: "dense", 25: "C1(4:5)->C0(2:2)", 50: "C0(2:4)", 75: "C1(2:4)->C0(2:4)"},
    "s2ta": {0: "dense", 25: "C0(6:8)", 50: "C0(4:8)", 75: "C0(2:8)"},
}
"""By design (the first for all others) and percentage of zeros, how an operand is drawn. HighLight takes 20 % for 25 %."""

WITH_FOUR: Final = "K1(4:{4<=H<=8})->K0(2:{2<=H<=4})"
"""The patterns that have 20 % (4 of 5), as the footnote of Fig. 6-9 needs and Table 6.2 lacks; the same elements run them."""

Cell = tuple[int, int]
Ways = Mapping[tuple[str, Cell], tuple[Outcome, ...]]
"""By design and workload, every way to run it: orders of the operands, paddings, each with its best mapping."""


@dataclass(frozen=True)
class Spent:
    """Cycles, and energy on the chip and in all."""

    cycles: float = 0.0
    on_chip_pj: float = 0.0
    energy_pj: float = 0.0

    @property
    def edp(self) -> float:
        """pJ x cycles on the chip."""
        return self.on_chip_pj * self.cycles

    @property
    def edp_with_dram(self) -> float:
        """pJ x cycles, DRAM included."""
        return self.energy_pj * self.cycles


@dataclass(frozen=True)
class Figures(Spent):
    """What one workload takes on one design."""

    swapped: bool = False
    padding: float = 0.0


Grid = Mapping[tuple[str, Cell], Figures]


def notes() -> tuple[str, ...]:
    """What all figures over the grid rest on."""
    return (
        f"energies and areas: {Technology()}; no bandwidth on the chip or off it is limited",
        "B of 25 % is 20 % for highlight (4 of 5) and 6 of 8 for s2ta",
        "s2ta: A of more than half nonzeros is not supported in either order",
    )


def cells() -> tuple[Cell, ...]:
    """All workloads: percentages of zeros of A and of B."""
    return tuple(product(A_PERCENT, B_PERCENT))


def grid(jobs: int = 1) -> Grid:
    """Every workload on every design that can run it, on S2TA as it is also read and on HighLight as Table 6.2 has it."""
    return best(ways(jobs))


def ways(jobs: int = 1) -> Ways:
    """All ways to run them; searched once."""
    return _ways(jobs, SIZE, cells())


@lru_cache(1)
def _ways(jobs: int, size: int, wanted: tuple[Cell, ...]) -> Ways:
    found = searched(contenders(Technology()), jobs, wanted)
    plain = contender(load("highlight"), constraints("highlight"), Technology())
    own = searched({PLAIN: plain}, jobs, tuple(cell for cell in wanted if cell[1] == 25))
    return {**found, **{(PLAIN, cell): own.get((PLAIN, cell), found["highlight", cell]) for cell in wanted}}


def designs() -> Mapping[str, tuple[Design, Constraints]]:
    """The designs of Table 6.3 and the other reading of S2TA."""
    found = {name: (load(name), constraints(name)) for name in DESIGNS}
    s2ta, limits = found["s2ta"]
    return {
        **found,
        "highlight": (_with_four(load("highlight")), constraints("highlight")),
        BOTH: (_both(s2ta), limits),
    }


def contenders(technology: Technology) -> dict[str, Contender]:
    """These at one technology."""
    return {name: contender(design, limits, technology) for name, (design, limits) in designs().items()}


def _with_four(design: Design) -> Design:
    own = design.supports["A"]
    more = Support(Pattern.parse(WITH_FOUR), own[-1].formats, own[-1].unused)
    return replace(design, supports={**design.supports, "A": (*own, more)})


def _both(design: Design) -> Design:
    """S2TA whose MACs skip by B too: four of eight values of A lie side by side, the nonzeros of a block of B take one step after
    the other, k of 8 steps without any loss."""
    return replace(design, name=BOTH, features=replace(design.features, compute_skipping=True))


def contender(design: Design, limits: Constraints, technology: Technology) -> Contender:
    """A design without limits of bandwidth."""
    levels = tuple(
        replace(level, read_words_per_cycle=None, write_words_per_cycle=None) for level in design.architecture.levels
    )
    free = replace(design, architecture=replace(design.architecture, levels=levels))
    return Contender.at(free, limits, technology)


def todo(variant: str, contender: Contender, cell: Cell) -> list[Run]:
    """The ways to run a workload on a variant of a design, always in the same order; none where it cannot be run."""
    layer = Layer.linear("product", rows=SIZE, inputs=SIZE, outputs=SIZE)
    drawn = PATTERNS.get(variant.split("-")[0], PATTERNS[""])
    a, b = (Sparsity.parse(drawn[percent]) for percent in cell)
    own, _ = runs(Network("product", "thesis, 6.4.1", (layer,)), contender, a, b, "edp", BUDGET_S)
    return [run for orders in own for run in orders]


def searched(variants: Mapping[str, Contender], jobs: int, wanted: tuple[Cell, ...]) -> Ways:
    """All ways with their best mappings. Raises SparseloomError for a workload that a design supports, if it finds none."""
    places = [
        ((name, cell), run) for (name, own), cell in product(variants.items(), wanted) for run in todo(name, own, cell)
    ]
    found = dict(numbered([[run] for _, run in places], jobs))
    grouped: dict[tuple[str, Cell], list[Outcome | Refusal]] = {key: [] for key, _ in places}
    for number, (key, _) in enumerate(places):
        grouped[key].append(found[number])
    return {key: tuple(_mapped(each)) for key, each in grouped.items()}


def _mapped(found: list[Outcome | Refusal]) -> list[Outcome]:
    mapped = [each for each in found if isinstance(each, Outcome)]
    if not mapped:
        raise next(each.error for each in found if isinstance(each, Refusal))
    return mapped


def best(found: Ways, swapping: bool = True) -> Grid:
    """The best way of each, by EDP with DRAM as it was searched by; without ``swapping`` of those with the operands as given."""
    own = {key: [each for each in outcomes if swapping or not each.run.swapped] for key, outcomes in found.items()}
    return {key: figures(min(outcomes, key=_rank)) for key, outcomes in own.items() if outcomes}


def _rank(outcome: Outcome) -> tuple[float, float]:
    return outcome.best.value, outcome.best.energy_pj


def figures(found: Outcome) -> Figures:
    """What one workload takes."""
    return figures_of(found.run, found.result)


def figures_of(run: Run, result: Result) -> Figures:
    off_chip = next(iter(result.levels.values())).energy_pj
    return Figures(result.cycles, result.energy_pj - off_chip, result.energy_pj, run.swapped, run.padding)


def ratios(grid: Grid, above: str, below: str, dram: bool = False) -> dict[Cell, float]:
    """EDP of one design over another's, where both run."""
    both = [cell for name, cell in grid if name == above and (below, cell) in grid]
    key = "edp_with_dram" if dram else "edp"
    return {cell: getattr(grid[above, cell], key) / getattr(grid[below, cell], key) for cell in both}
