"""Accuracy against energy-delay product, with a pattern for each layer. Accuracy is data: what a pruning measured.

Source of the picture: Wu, thesis (2023), Fig. 6-11; a pattern per layer goes beyond it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Final

import numpy as np

Assignment = Mapping[str, str]
"""A pattern for each layer, by their names."""


@dataclass(frozen=True)
class Cost:
    """What all instances of a layer take on a design."""

    energy_pj: float
    cycles: float


Costs = Mapping[str, Mapping[str, Cost]]
"""By layer and pattern; a pattern that the design cannot run is missing."""

Losses = Mapping[str, Mapping[str, float]]
"""By layer and pattern: what pruning this layer alone adds to the loss."""


@dataclass(frozen=True)
class Point:
    """A model that was pruned and measured: ``accuracy`` by split, ``edp`` (pJ x cycles) on a design. ``uniform``: one
    pattern for all layers that the rules prune."""

    name: str
    design: str
    assignment: Assignment
    accuracy: Mapping[str, float]
    edp: float
    uniform: bool


@dataclass(frozen=True)
class Budgeted:
    """Of a design, the points with the least EDP that lose no more accuracy than a ``budget`` on the validation split: of
    the uniform ones, and of all; None where none loses so little."""

    design: str
    budget: float
    uniform: Point | None
    best: Point | None

    @property
    def strictly_better(self) -> bool:
        """A pattern for each layer has less EDP than every uniform one."""
        if self.best is None or self.best.uniform:
            return False
        return self.uniform is None or self.best.edp < self.uniform.edp


def edp(costs: Costs, assignment: Assignment) -> float:
    """pJ x cycles of layers that run one after the other; infinite where the design cannot run one of them."""
    found = [costs[layer].get(pattern) for layer, pattern in assignment.items()]
    if any(cost is None for cost in found):
        return inf
    return sum(cost.energy_pj for cost in found if cost) * sum(cost.cycles for cost in found if cost)


def chosen(costs: Costs, losses: Losses, price: float, rounds: int = 8) -> dict[str, str]:
    """For each layer the pattern with the least ``ln EDP + price x loss``, the EDP taken as linear around what the last
    round chose.

    Around sums E and T, ln(E T) changes by dE / E + dT / T; rounds go on until nothing changes.
    """
    found = {
        layer: min(own, key=lambda pattern: own[pattern].energy_pj * own[pattern].cycles)
        for layer, own in costs.items()
        if own
    }
    for _ in range(rounds):
        energy = sum(costs[layer][pattern].energy_pj for layer, pattern in found.items())
        cycles = sum(costs[layer][pattern].cycles for layer, pattern in found.items())
        again = {layer: _cheapest(costs[layer], losses[layer], price, energy, cycles) for layer in found}
        if again == found:
            break
        found = again
    return found


def _cheapest(
    costs: Mapping[str, Cost], losses: Mapping[str, float], price: float, energy: float, cycles: float
) -> str:
    """The pattern of one layer, where all layers together take this energy and these cycles."""

    def worth(pattern: str) -> float:
        cost = costs[pattern]
        return cost.energy_pj / energy + cost.cycles / cycles + price * losses.get(pattern, 0.0)

    return min(costs, key=worth)


PRICES: Final = tuple(float(price) for price in np.geomspace(1e-3, 1e4, 57))


def chain(costs: Costs, losses: Losses, most: int) -> list[dict[str, str]]:
    """Assignments on the way from the least EDP to the least loss, as many as ``most``, evenly by the logarithm of their EDP."""
    known = list[dict[str, str]]()
    for price in PRICES:
        found = chosen(costs, losses, price)
        if found not in known:
            known.append(found)
    known.sort(key=lambda assignment: edp(costs, assignment))
    if len(known) <= most:
        return known
    logs = np.log([edp(costs, assignment) for assignment in known])
    wanted = np.linspace(logs[0], logs[-1], most)
    picked = sorted({int(np.abs(logs - each).argmin()) for each in wanted})
    return [known[number] for number in picked]


def next_step(
    costs: Costs, losses: Losses, assignment: Assignment, tried: Collection[Assignment]
) -> dict[str, str] | None:
    """The assignment that differs in one layer, has less EDP and was not tried, with the most gain in ln EDP for what it
    adds to the loss; None if there is none."""
    here = edp(costs, assignment)
    steps = list[tuple[float, dict[str, str]]]()
    for layer, own in costs.items():
        for pattern in own:
            there = {**assignment, layer: pattern}
            gain = log(here / edp(costs, there)) if here < inf else 0.0
            if gain > 1e-9 and there not in tried:
                added = losses[layer].get(pattern, 0.0) - losses[layer].get(assignment[layer], 0.0)
                steps.append((gain / max(added, 1e-6), there))
    return max(steps, key=lambda step: step[0])[1] if steps else None


def front(points: Sequence[Point], split: str = "validation") -> list[Point]:
    """The points of which none is better in accuracy and EDP without being worse in the other, the most accurate first."""
    found = list[Point]()
    for point in sorted(points, key=lambda each: (-each.accuracy[split], each.edp)):
        if not found or point.edp < found[-1].edp:
            found.append(point)
    return found


def budgeted(points: Iterable[Point], dense: float, budgets: Sequence[float]) -> list[Budgeted]:
    """For each design and budget (in accuracy, below that of the ``dense`` model on the validation split) the best points."""
    points = list(points)
    designs = dict.fromkeys(point.design for point in points)
    found = list[Budgeted]()
    for design in designs:
        own = sorted(
            (p for p in points if p.design == design), key=lambda p: (p.edp, -p.accuracy["validation"], not p.uniform)
        )
        for budget in budgets:
            held = [point for point in own if dense - point.accuracy["validation"] <= budget + 1e-12]
            uniform = next((point for point in held if point.uniform), None)
            found.append(Budgeted(design, budget, uniform, held[0] if held else None))
    return found
