"""Fig. 6-10: energy and speed beside EDP, over the workloads of Fig. 6-9."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import geometric_mean
from typing import Final

from sparseloom.report import products
from sparseloom.report.products import DESIGNS, Cell, Figures, Grid
from sparseloom.report.study import Chart, Computed, Part

OURS: Final = "highlight"
METRICS: Final[Mapping[str, Callable[[Figures], float]]] = {
    "EDP": lambda own: own.edp,
    "energy": lambda own: own.on_chip_pj,
    "cycles": lambda own: own.cycles,
}


def study(jobs: int = 1) -> Computed:
    """Geometric means of every metric, and each workload's energy and speed beside each other."""
    grid = products.grid(jobs)
    means = {(metric, name): _mean(grid, metric, name, "tc") for metric in METRICS for name in DESIGNS}
    return Computed(
        "energy and speed over the workloads of Fig. 6-9",
        {f"{metric.lower()}-mean": _worst_mean(grid, metric) for metric in METRICS}
        | {f"{metric.lower()}-most": _most(grid, metric) for metric in ("energy", "cycles")}
        | {"cycles-dstc": _mean(grid, "cycles", OURS, "dstc"), "cycles-s2ta": _mean(grid, "cycles", OURS, "s2ta")},
        (_means(means), *_cells(grid)),
        Chart(
            "bars", list(METRICS), {name: [means[metric, name] for metric in METRICS] for name in DESIGNS},
            "", "geometric mean over tc's",
        ),
        (
            "a mean is over the workloads that both designs run: s2ta refuses those whose operands are both denser than half, so "
            "that its mean over tc is of other workloads than those of the others",
            *products.notes(),
        ),
    )  # fmt: skip


def _ratios(grid: Grid, metric: str, above: str, below: str) -> dict[Cell, float]:
    """A metric of one design over another's, where both run."""
    of = METRICS[metric]
    cells = [cell for name, cell in grid if name == above and (below, cell) in grid]
    return {cell: of(grid[above, cell]) / of(grid[below, cell]) for cell in cells}


def _mean(grid: Grid, metric: str, above: str, below: str) -> float:
    return geometric_mean(_ratios(grid, metric, above, below).values())


def _worst_mean(grid: Grid, metric: str) -> float:
    """Highlight's mean over that of the design that comes nearest to it, or is better."""
    return max(_mean(grid, metric, OURS, name) for name in DESIGNS if name != OURS)


def _most(grid: Grid, metric: str) -> float:
    """Highlight's over the best of the others, of the workload where it stands worst."""
    return max(max(_ratios(grid, metric, OURS, name).values()) for name in DESIGNS if name != OURS)


def _means(means: Mapping[tuple[str, str], float]) -> Part:
    rows = [(name, *(f"{means[metric, name]:.3f}" for metric in METRICS)) for name in DESIGNS]
    return Part("geometric means over tc's", ("design", *METRICS), rows)


def _cells(grid: Grid) -> Iterator[Part]:
    """Energy and speed of every workload, side by side."""
    cells = dict.fromkeys(cell for _, cell in grid)
    for name in DESIGNS:
        energy, cycles = (_ratios(grid, metric, name, "tc") for metric in ("energy", "cycles"))
        rows = [(f"{a}/{b}", f"{energy[a, b]:.3f}", f"{1 / cycles[a, b]:.2f}") for a, b in cells if (a, b) in energy]
        yield Part(f"{name} (A/B in % of zeros)", ("workload", "energy over tc's", "speed over tc's"), rows)
