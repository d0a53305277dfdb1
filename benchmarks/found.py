"""`python -m benchmarks.found`: searches the mappings that come with the package, and writes them where they are read."""

from __future__ import annotations

import os

from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.report.demo import ACTIVATIONS, DESIGNS, NETWORK, WEIGHTS
from sparseloom.search.comparison import Contender, Outcome, compare, runs
from sparseloom.search.found import SHIPPED, Found
from sparseloom.workload import zoo

BUDGET_S = 120.0


def main() -> None:
    technology = Technology()
    weights, activations = Sparsity.parse(WEIGHTS), Sparsity.parse(ACTIVATIONS)
    todo = []
    for name in DESIGNS:
        contender = Contender.at(load(name), constraints(name).widened(), technology)
        own, _ = runs(zoo.load(NETWORK), contender, weights, activations, "edp", BUDGET_S)
        todo += own
    outcomes = [each for each in compare(todo, os.cpu_count() or 1) if isinstance(each, Outcome)]
    pairs = [(next(orders for orders in todo if each.run in orders), each) for each in outcomes]
    Found().with_(pairs).write(SHIPPED)
    print(
        f"{len(pairs)} of {len(todo)} kinds of layers, {sum(each.best.proven for each in outcomes)} proven: {SHIPPED}"
    )


if __name__ == "__main__":
    main()
