"""Computes of an average instance: states of the operands, taken as independent (convention ``target-loop``).

Source: Timeloop's compute-gs-analyzer.cpp at ee66b62, extended from two operands to any number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparseloom.arch.features import GATING
from sparseloom.fibertree.density import ActualData
from sparseloom.model.computes import filter_computes
from sparseloom.model.path import paths_of
from sparseloom.model.proportional import TINY, take

if TYPE_CHECKING:
    from sparseloom.model.average import AverageInstance


@dataclass(frozen=True)
class Counts:
    """Computes by outcome, and the compute instances in use on average."""

    actual: float
    gated: float
    skipped: float
    instances: float


@dataclass(frozen=True)
class State:
    """P(an operand arrives nonzero), and whether a zero of it has no place in its innermost store."""

    nonzero: float
    drops_zeros: bool


def classify(average: AverageInstance) -> Counts:
    """Computes that reach the units, sorted by the states of their operands."""
    dense, rules = average.dense.computes, average.conventions
    if rules.elimination == "joint":
        exact = average.exact_computes
        return Counts(float(exact.actual[0]), float(exact.gated[0]), float(exact.skipped[0]), _instances(average))
    if average.packing:
        return _packed(average, dense)
    integer = rules.integer
    operands = range(len(average.problem.tensors) - 1)
    left, idle = dense, 0.0
    for t in operands:
        acting = average.eliminations.acting(t)
        if acting:
            _, kind, chance = acting[-1]
            lost = take(left, _lost(average, t, chance), integer)
            left -= lost
            idle += lost if kind == GATING and rules.gated_compute == "cycle" else 0.0
    states = [_state(average, t, left / dense) for t in operands]
    if any(isinstance(average.density(t), ActualData) for t in operands):
        states = _known(average, states, left / dense)
    features = average.problem.design.features
    gated, skipped, absent = _shares(states, features.compute_gating, features.compute_skipping)
    parts = [math.floor(left * share + TINY) if integer else left * share for share in (gated, skipped, absent)]
    if parts[2] == 0 and integer and rules.metadata == "loop-ranks" and _double_sided(average):
        parts[2] = -1.0
    return Counts(left - sum(parts), parts[0] + idle, parts[1], _instances(average))


def _lost(average: AverageInstance, t: int, chance: float) -> float:
    """The chance that an operand's feature removes a compute. With known tensors it is the leaders' share of zeros, to
    six places."""
    leaders = average.eliminations.leaders(t)
    if any(isinstance(average.density(x), ActualData) for x in (t, *leaders)):
        return 1 - _six_places(math.prod(average.density(x).density for x in leaders))
    return chance


def _six_places(number: float) -> float:
    return math.floor(number * 1e6 + 0.5) / 1e6


def _double_sided(average: AverageInstance) -> bool:
    """Whether two operands lead each other. The MICRO 2022 artifact then prints one compute more than the product of
    the shares (six of six cases, figure 1), as if the share of absent computes, which is none, came out a hair below
    0."""
    operands = range(len(average.problem.tensors) - 1)
    return any(
        a in average.eliminations.leaders(b) and b in average.eliminations.leaders(a)
        for a in operands
        for b in operands
        if a < b
    )


def _state(average: AverageInstance, t: int, left: float) -> State:
    """An operand given that the leaders it is judged as are not empty: densities have six places, chances all of
    theirs, so a certain operand may come out a little above 1, and the rest that is left below 0."""
    density = _six_places(average.density(t).density)
    for other in range(len(average.problem.tensors) - 1):
        if other != t and t in average.eliminations.leaders(other):
            survives = 1 - average.eliminations.acting(other)[-1][2]
            density = density / survives if survives > 0 else 0.0
    innermost = average.kept_levels(t)[-1]
    return State(density, average.form(innermost, t) is not None)


def _known(average: AverageInstance, states: list[State], left: float) -> list[State]:
    """With known tensors, the share of effectual computes is counted; the first operand carries it."""
    alone = filter_computes(average.work, paths_of(average.problem, average.batch.keep, ()), gating=True, skipping=True)
    effectual = float(alone.actual[0]) / average.dense.computes / left if left else 0.0
    return [State(min(1.0, effectual), states[0].drops_zeros), *(State(1.0, s.drops_zeros) for s in states[1:])]


def _shares(states: Sequence[State], gating: bool, skipping: bool) -> tuple[float, float, float]:
    """Shares of gated, skipped and absent computes."""
    effectual = math.prod(s.nonzero for s in states)
    arriving = math.prod(s.nonzero if s.drops_zeros else 1.0 for s in states)
    missing = math.prod(1 - s.nonzero if s.drops_zeros else 0.0 for s in states)
    apart, zero = 1 - arriving - missing, arriving - effectual
    gated = (zero if gating else 0.0) + (apart if gating and not skipping else 0.0)
    return gated, apart if skipping else 0.0, missing


def _packed(average: AverageInstance, dense: float) -> Counts:
    """Position-skipping: only nonzeros of the packed operands meet, in lanes that they fill on average."""
    used = math.prod(float(packed.used[0]) for packed in average.packing.values())
    densities = [_six_places(average.density(t).density) for _, t in average.packing]
    instances = float(average.dense.instances[0, -1])
    actual = take(dense, math.prod(densities), average.conventions.integer, up=True)
    return Counts(actual, 0.0, 0.0, instances * used)


def _instances(average: AverageInstance) -> float:
    """Compute instances in use: those of the tensor that thins them least."""
    total = float(average.dense.instances[0, -1])
    if not average.spatial:
        return total
    tensors = range(len(average.problem.tensors))
    return total * max(
        math.prod(float(s.used[0]) for (_, tensor), s in average.spatial.items() if tensor == t) for t in tensors
    )
