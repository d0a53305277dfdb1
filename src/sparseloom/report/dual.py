"""Fig. 6-13: HighLight with one structured operand against HighLight with two, A of 2:4 and B of 2:H in its upper rank."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.report.study import Chart, Computed, Part
from sparseloom.search.comparison import Contender, compare, required, runs
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

ROWS: Final = 256
INPUTS: Final = 1024
SHAPES: Final = tuple(range(2, 9))
A: Final = "C0(2:4)"
B: Final = {"highlight": "C1(2:{H})->C0(2:2)", "highlight-dsso": "C1(2:{H})->C0(4:4)"}
"""B at density 2 / H as each design supports it."""


def study(jobs: int = 1) -> Computed:
    """Speed over a dense run of the same design, by cycles; what is padded is taken out."""
    speeds = _speeds(jobs)
    ratios = {h: speeds["highlight-dsso", h] / speeds["highlight", h] for h in SHAPES}
    shared = [ratio for h, ratio in ratios.items() if 2 / h <= Sparsity.parse(A).density]
    rows = [(f"2:{h}", f"{2 / h:.3f}", *(f"{speeds[name, h]:.3f}" for name in B), f"{ratios[h]:.3f}") for h in SHAPES]
    return Computed(
        "both operands structured against one",
        {"shared": max(shared, key=lambda ratio: abs(ratio - 2)), "dense": ratios[2]},
        (Part(f"speed over dense, A {A}", ("B's upper rank", "density of B", *B, "ratio"), rows),),
        Chart(
            "lines", [f"2:{h}" for h in SHAPES], {name: [speeds[name, h] for h in SHAPES] for name in B}, "B", "speed"
        ),
        (
            f"a product of {ROWS} x {INPUTS} x {ROWS}, mappings of the fewest cycles, operands in the better order",
            "highlight takes B in its own form, blocks of two, where it is the sparser operand",
            "with two structured operands which blocks of A are needed differs from column to column of B, so A does not stay in "
            "the elements: the fastest mappings read it again, and take more energy",
        ),
    )


def _speeds(jobs: int) -> dict[tuple[str, int], float]:
    network = Network("product", "thesis, 6.4.5", (Layer.linear("product", rows=ROWS, inputs=INPUTS, outputs=ROWS),))
    todo = []
    for name, form in B.items():
        contender = Contender.at(load(name), constraints(name), Technology())
        for h in SHAPES:
            b = Sparsity.parse(form.format(H=h))
            own, _ = runs(network, contender, Sparsity.parse(A), b, "cycles", 60.0)
            todo += [[replace(run, names=(f"{name} {h}",)) for run in orders] for orders in own]
    macs = load("highlight").architecture.compute.instances
    found = {}
    for each in required(compare(todo, jobs)):
        name, shape = each.run.names[0].split()
        found[name, int(shape)] = each.run.useful / macs / (each.result.cycles * (1 - each.run.padding))
    return found
