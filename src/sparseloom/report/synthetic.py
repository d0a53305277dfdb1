"""Fig. 6-9: what designs take for products of matrices, dense to 75 % sparse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import geometric_mean
from typing import Final

from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.report import flips, products
from sparseloom.report.products import BOTH, DESIGNS, PATTERNS, Cell, Figures, Grid, ratios
from sparseloom.report.study import Chart, Computed, Part

SPARSE: Final = ("stc", "dstc")
"""The sparse designs besides S2TA, of which there are two readings."""

QUANTITIES: Final[Mapping[str, Callable[[Figures], float]]] = {
    "EDP over tc's, on the chip (A/B in % of zeros)": lambda own: own.edp,
    "EDP over tc's with DRAM": lambda own: own.edp_with_dram,
    "energy over tc's, on the chip": lambda own: own.on_chip_pj,
    "cycles over tc's": lambda own: own.cycles,
}


def study(jobs: int = 1) -> Computed:
    """All workloads on all designs, and what the text says of them."""
    ways = products.ways(jobs)
    found = products.best(ways)
    return Computed(
        "products of 1,024 x 1,024 matrices on the designs of Table 6.3",
        _claims(found) | {"tc-geomean-no-swap": _tc_geomean(products.best(ways, swapping=False))},
        (*_parts(found), *flips.parts(ways, jobs)),
        _chart(found),
        (*products.notes(), *flips.notes(), _unsupported(found)),
    )


def _unsupported(grid: Grid) -> str:
    left = [f"{name} {a}/{b}" for name in (*DESIGNS, BOTH) for a, b in products.cells() if (name, (a, b)) not in grid]
    return f"not supported, and in no mean: {', '.join(left)}"


def _claims(grid: Grid) -> dict[str, float]:
    over_tc, with_dram = ratios(grid, "tc", "highlight"), ratios(grid, "tc", "highlight", dram=True)
    best = {cell: min(grid[name, cell].edp for name in ("tc", "stc", "dstc")) for cell in over_tc}
    found = {
        "tc-geomean": geometric_mean(over_tc.values()),
        "tc-max": max(over_tc.values()),
        "tc-dense": 1 / over_tc[0, 0],
        "dstc-dense": 1 / ratios(grid, "tc", "dstc")[0, 0],
        "best": max(grid["highlight", cell].edp / best[cell] for cell in over_tc),
        "speed": max((_speed(grid, cell) for cell in over_tc), key=lambda speed: abs(speed - 1)),
        "tc-geomean-dram": geometric_mean(with_dram.values()),
        "tc-max-dram": max(with_dram.values()),
        "tc-geomean-table-6-2": geometric_mean(ratios(grid, "tc", "highlight-6.2").values()),
    }
    for name in ("s2ta", BOTH, *SPARSE):
        found[f"{name}-geomean"] = geometric_mean(ratios(grid, name, "highlight").values())
    for name in ("s2ta", BOTH):
        over_sparse = [ratio for each in (*SPARSE, name) for ratio in ratios(grid, each, "highlight").values()]
        found[f"sparse-geomean-{name}"] = geometric_mean(over_sparse)
        found[f"sparse-max-{name}"] = max(over_sparse)
        found[f"best-{name}"] = max(ratios(grid, "highlight", name).values())
    return found


def _tc_geomean(grid: Grid) -> float:
    return geometric_mean(ratios(grid, "tc", "highlight").values())


def _speed(grid: Grid, cell: Cell) -> float:
    """Cycles over those of the padded work at the density of the operand whose pattern is skipped."""
    of_a, of_b = (Sparsity.parse(PATTERNS["highlight"][percent]).density for percent in cell)
    here = grid["highlight", cell]
    ideal = grid["tc", (0, 0)].cycles * (of_b if here.swapped else of_a)
    return here.cycles * (1 - here.padding) / ideal


def _parts(grid: Grid) -> Iterator[Part]:
    cells = products.cells()
    head = ("design", *(f"{a}/{b}" for a, b in cells), "geomean")
    for title, of in QUANTITIES.items():
        rows = []
        for name in dict.fromkeys(name for name, _ in grid):
            shares = [of(grid[name, cell]) / of(grid["tc", cell]) if (name, cell) in grid else None for cell in cells]
            known = [share for share in shares if share is not None]
            rows.append((name, *("-" if s is None else f"{s:.3f}" for s in shares), f"{geometric_mean(known):.3f}"))
        yield Part(title, head, rows)


def _chart(grid: Grid) -> Chart:
    cells = products.cells()
    series = {
        name: [grid[name, cell].edp / grid["tc", cell].edp if (name, cell) in grid else None for cell in cells]
        for name in (*DESIGNS, BOTH)
    }
    return Chart("bars", [f"{a}/{b}" for a, b in cells], series, "zeros of A / of B, %", "EDP over tc's", log_y=True)
