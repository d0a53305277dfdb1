"""`python -m benchmarks.found`: searches the mappings that come with the package, those of the demo, and writes them where they
are read."""

from __future__ import annotations

import os

from sparseloom.arch.technology import Technology
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.report.comparison import asked, set_up
from sparseloom.report.demo import ACTIVATIONS, DESIGNS, NETWORK, WEIGHTS
from sparseloom.search.comparison import Outcome
from sparseloom.search.found import SHIPPED, Found
from sparseloom.workload import zoo

BUDGET_S = 120.0


def main() -> None:
    technology = Technology()
    weights, activations = Sparsity.parse(WEIGHTS), Sparsity.parse(ACTIVATIONS)
    contenders = set_up(DESIGNS, technology)
    parts = asked(zoo.load(NETWORK), contenders, weights, activations, "edp", BUDGET_S, technology, sweep=True)
    todo = [orders for _, own in parts for orders in own]
    searched = Found().or_searched(todo, os.cpu_count() or 1)
    pairs = [(todo[number], each) for number, each in searched if isinstance(each, Outcome)]
    Found().with_(pairs).write(SHIPPED)
    print(
        f"{len(pairs)} of {len(todo)} kinds of layers, {sum(each.best.proven for _, each in pairs)} proven: {SHIPPED}"
    )


if __name__ == "__main__":
    main()
