"""The best mapping of a workload on a design: branch and bound over prefixes of mappings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, InputError
from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch, Problem
from sparseloom.mapping.mapping import Mapping
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import CHUNK, Prefixes, Tree
from sparseloom.model.batch import evaluate_batch
from sparseloom.model.prefix import Cost, Floor, into
from sparseloom.model.room import data_held
from sparseloom.search.objective import Objective, objective

FloatArray = NDArray[np.float64]

SLACK = 1e-9
"""Bounds are lowered by this share, for the rounding of their sums."""


@dataclass(frozen=True)
class Best:
    """What a search found: the best ``mapping`` (None: no tiles fit), its ``energy_pj``, ``cycles`` and ``value`` of the objective;
    ``bound``: no mapping of the mapspace has a smaller value. ``evaluated`` mappings were evaluated in full, ``valid`` of them
    fit, of ``size`` in the mapspace."""

    objective: str
    unit: str
    mapping: Mapping | None
    energy_pj: float
    cycles: float
    value: float
    bound: float
    size: int
    evaluated: int
    valid: int
    seconds: float
    interrupted: bool = False

    @property
    def proven(self) -> bool:
        """Whether no mapping of the mapspace is better."""
        return self.bound >= self.value

    @property
    def gap(self) -> float:
        """How far the value may be above the best one, as a share of the bound."""
        return self.value / self.bound - 1 if self.bound > 0 else np.inf

    @property
    def statement(self) -> str:
        """How good the mapping is, in words."""
        if self.proven:
            return "optimal in this mapspace"
        return f"within {100 * self.gap:.2g} % of a lower bound" if self.gap < np.inf else "no lower bound is known"

    def __str__(self) -> str:
        return f"{self.objective} {self.value:.6g} {self.unit}: {self.statement}"


@dataclass(frozen=True)
class _Part:
    """Prefixes that are still to be looked into, with the ``cost`` of what is settled and the ``bound`` [N] of what they lead to,
    lowest first; ``keep`` is the number of a way to keep tensors."""

    keep: int
    prefixes: Prefixes
    cost: Cost
    bound: FloatArray

    def __getitem__(self, some: IntArray | BoolArray | slice) -> _Part:
        return _Part(self.keep, self.prefixes[some], self.cost[some], self.bound[some])


@dataclass
class _Search:
    """The state of a search: what is left to look into, the ``stage`` at which the next step goes on, and the best mapping."""

    tree: Tree
    goal: Objective
    parts: list[_Part] = field(default_factory=list)
    best: tuple[float, float, float] = (np.inf, np.inf, np.inf)
    mapping: Mapping | None = None
    evaluated: int = 0
    valid: int = 0
    stage: int = 0

    def __post_init__(self) -> None:
        space = self.tree.space
        self.problem: Problem = space.problem
        self.floors = [Floor(self.problem, keep) for keep in space.keeps]
        self.indexes = np.asarray(self.problem.projections.any(axis=1), np.bool_)
        levels = self.problem.design.architecture.levels
        self.fanouts = [prod(self.problem.design.architecture.fanout(depth)) for depth in range(len(levels))]
        root = self.tree.root
        for keep in range(len(space.keeps)):
            self._look(keep, root, Cost.nothing(1, len(levels)))

    @property
    def bound(self) -> float:
        """No mapping that was not looked at is better."""
        return min((float(part.bound[0]) for part in self.parts), default=np.inf)

    def step(self) -> None:
        """Look into the most promising prefixes: of those that the last step made, down to mappings, then of all."""
        below = [k for k, part in enumerate(self.parts) if part.prefixes.stage == self.stage]
        at = min(below or range(len(self.parts)), key=lambda k: float(self.parts[k].bound[0]))
        part = self.parts[at]
        part = part[part.bound <= self.best[0]]
        some = max(1, int(np.searchsorted(np.cumsum(self.tree.counts(part.prefixes)), CHUNK))) if len(part.bound) else 0
        self.stage = part.prefixes.stage + 1
        for parent, prefixes in self.tree.following(part.prefixes[:some]):
            self._look(part.keep, prefixes, part.cost[:some][parent])
        # only now, so that an interrupt loses nothing
        self.parts.pop(at)
        if some < len(part.bound):
            self.parts.append(part[some:])

    def _look(self, keep: int, prefixes: Prefixes, cost: Cost) -> None:
        kept = self.tree.space.keeps[keep]
        before, now = self._complete(prefixes)
        fits = self._fits(prefixes, kept)
        prefixes, cost = prefixes[fits], cost[fits]
        if not len(prefixes):
            return
        if prefixes.stage == len(self.tree.stages):
            self._evaluate(self.tree.batch(prefixes, kept))
            return
        if kept[before + 1 : now + 1].any():
            near = self._bounds(keep, prefixes, cost, before) <= self.best[0]
            prefixes, cost = prefixes[near], cost[near]
            if not len(prefixes):
                return
            batch = self.tree.batch(prefixes, kept)
            for depth in range(before + 1, now + 1):
                cost = cost + into(self.problem, batch, depth)
        self._add(keep, prefixes, cost)

    def _complete(self, prefixes: Prefixes) -> tuple[int, int]:
        """How many levels had all of their loops before the last stage, and how many have."""
        stage = prefixes.stage
        return self.tree.complete[stage - 1] if stage else 0, self.tree.complete[stage]

    def _fits(self, prefixes: Prefixes, keep: BoolArray) -> BoolArray:
        least, most = self.tree.space.parallelism
        before, now = self._complete(prefixes)
        fits = (prefixes.lanes * prod(self.fanouts[now:]) >= least) & (prefixes.lanes <= most)
        for depth in range(before + 1, min(now, len(keep) - 1) + 1):
            if keep[depth].any():
                fits &= data_held(self.problem, keep, depth, self.tree.tiles(prefixes)).fits
        return np.asarray(fits)

    def _bounds(self, keep: int, prefixes: Prefixes, cost: Cost, depth: int) -> FloatArray:
        """What the mappings that the prefixes lead to have at least, [N], where ``cost`` is that of edges into levels up to
        ``depth``."""
        floor = self.floors[keep]
        reuse = floor.reuse(self.tree.passing(prefixes, self.indexes))
        shared = self.tree.shared(prefixes, self.indexes, floor.parents(depth))
        cost = cost + floor.beyond(depth, self.tree.tiles(prefixes), reuse, shared)
        lanes = prefixes.lanes * prod(self.fanouts[self.tree.complete[prefixes.stage] :])
        cycles = np.maximum(floor.cycles(lanes), floor.port_cycles(cost.port_words))
        return self.goal.of(cost.energy_pj + floor.compute_energy_pj(), cycles) * (1 - SLACK)

    def _add(self, keep: int, prefixes: Prefixes, cost: Cost) -> None:
        bound = self._bounds(keep, prefixes, cost, self.tree.complete[prefixes.stage])
        order = np.argsort(bound, kind="stable")
        order = order[bound[order] <= self.best[0]]
        if len(order):
            self.parts.append(_Part(keep, prefixes, cost, bound)[order])

    def _evaluate(self, batch: MappingBatch) -> None:
        found = evaluate_batch(self.problem, batch)
        self.evaluated += len(batch)
        fit = np.flatnonzero(found.valid)
        self.valid += len(fit)
        if not len(fit):
            return
        keys = self.goal.keys(found.energy_pj[fit], found.cycles[fit])
        first = np.lexsort(keys[::-1])[0]
        key = tuple(float(each[first]) for each in keys)
        if key < self.best:
            self.best = (key[0], key[1], key[2])
            self.mapping = batch.mapping(self.problem, int(fit[first]))


def search(
    space: Mapspace,
    goal: Objective | str = "edp",
    budget_s: float = np.inf,
    watch: Callable[[Best], None] | None = None,
) -> Best:
    """The best mapping of a mapspace, by ``goal``, or the best that is found in ``budget_s`` seconds.

    ``watch`` is told now and then what was found so far. An interrupt ends the search as the budget does. Raises InputError for
    a budget that is not above 0.
    """
    goal = objective(goal) if isinstance(goal, str) else goal
    if not budget_s > 0:
        raise InputError(Fault(f"the budget is {budget_s:g} s", path="budget", fix="give more than 0 s"))
    start = told = time.perf_counter()
    state = _Search(Tree(space), goal)
    stopped = False
    try:
        while state.parts and (now := time.perf_counter()) - start < budget_s:
            state.step()
            if watch is not None and now - told > WATCH_S:
                told = now
                watch(_best(state, now - start))
    except KeyboardInterrupt:
        stopped = True
    return replace(_best(state, time.perf_counter() - start), interrupted=stopped)


WATCH_S = 0.2
"""Time between two reports."""


def _best(state: _Search, seconds: float) -> Best:
    value, energy_pj, cycles = state.best
    space = state.tree.space
    return Best(
        state.goal.name, state.goal.unit, state.mapping, energy_pj, cycles, value, min(value, state.bound), space.size,
        state.evaluated, state.valid, seconds,
    )  # fmt: skip
