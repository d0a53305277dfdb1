"""The best mapping of a workload on a design: branch and bound over prefixes of mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import POSITION_SKIPPING, SPATIAL_SKIPPING
from sparseloom.errors import MappingError
from sparseloom.kernel import working_s
from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch, Problem
from sparseloom.mapping.choices import Choices, Chosen, Promising
from sparseloom.mapping.mapping import Mapping
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import CHUNK, Prefixes, Tree
from sparseloom.model.batch import evaluate_batch
from sparseloom.model.evaluate import evaluate
from sparseloom.model.inside import Inside
from sparseloom.model.metadata import Metadata
from sparseloom.model.path import Path
from sparseloom.model.prefix import Cost, Floor, into
from sparseloom.model.room import tiles_fit
from sparseloom.search.dominance import Seen, comparable
from sparseloom.search.objective import Objective, objective, require_budget

FloatArray = NDArray[np.float64]

LISTED = 32 * CHUNK
"""Combinations of bounds that are looked at together."""

SLACK = 1e-9
"""Bounds are lowered by this share, for the rounding of their sums."""


@dataclass(frozen=True)
class Best:
    """What a search found: the best ``mapping`` (None: no tiles fit, or none is as good as was asked for), its ``energy_pj``,
    ``cycles`` and ``value`` of the objective; ``bound``: no mapping of the mapspace has a smaller value. ``evaluated`` mappings
    were evaluated in full, ``valid`` of them fit, of ``size`` in the mapspace."""

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
        if self.gap < 1:
            return f"within {100 * self.gap:.2g} % of a lower bound"
        return f"at most {1 + self.gap:,.1f} times a lower bound" if self.gap < np.inf else "no lower bound is known"

    def __str__(self) -> str:
        return f"{self.objective} {self.value:.6g} {self.unit}: {self.statement}"


@dataclass(frozen=True)
class _Part:
    """Prefixes that are still to be looked into, the most promising first: the ``cost`` of edges that are ``settled``, those into
    levels up to so many, and the ``bound`` [N] of what they lead to; ``keep`` is the number of a way to keep tensors."""

    keep: int
    prefixes: Prefixes
    settled: int
    cost: Cost
    bound: FloatArray

    def __getitem__(self, some: IntArray | BoolArray | slice) -> _Part:
        return _Part(self.keep, self.prefixes[some], self.settled, self.cost[some], self.bound[some])

    @property
    def stage(self) -> int:
        return self.prefixes.stage

    @property
    def least(self) -> float:
        return float(self.bound[0])


@dataclass
class _Opened:
    """A part whose prefixes, from number ``at`` on, are being made longer: what of that is ``left`` to do."""

    part: _Part
    left: Iterator[tuple[int, IntArray, Prefixes, FloatArray]]
    at: int = 0

    @property
    def least(self) -> float:
        return float(self.part.bound[self.at])


@dataclass
class Search:
    """The state of a search: what is left to look into, the ``stage`` at which the next step goes on, and the best mapping of those
    that take at most ``most_cycles``; of which ways to keep tensors tiles are ``followed``, by number."""

    tree: Tree
    goal: Objective
    parts: list[_Part | _Opened] = field(default_factory=list)
    best: tuple[float, float, float] = (np.inf, np.inf, np.inf)
    mapping: Mapping | None = None
    evaluated: int = 0
    valid: int = 0
    stage: int = 0
    most_cycles: float = np.inf
    followed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        space = self.tree.space
        self.problem: Problem = space.problem
        metadata = Metadata(self.tree)
        self.floors = [Floor(self.tree, keep, metadata) for keep in space.keeps]
        self.insides = [Inside(floor) for floor in self.floors]
        self.indexes = np.asarray(self.problem.projections.any(axis=1), np.bool_)
        levels = self.problem.design.architecture.levels
        self.fanouts = [prod(self.problem.design.architecture.fanout(depth)) for depth in range(len(levels))]
        kinds = {saf.kind for saf in self.problem.design.features.safs}
        self.fills_lanes = bool(kinds & {SPATIAL_SKIPPING, POSITION_SKIPPING})
        width = 2 + 2 * len(self.problem.ranks) + 2 * len(self.indexes) + len(levels)
        self.seen = Seen(width, 1 + 2 * len(levels)) if comparable(self.problem, space.imperfect) else None
        for keep in range(len(space.keeps)):
            self._add(_Part(keep, self.tree.root, 0, Cost.nothing(1, len(levels)), np.zeros(1)))

    @property
    def bound(self) -> float:
        """No mapping that was not looked at is better."""
        return min((part.least for part in self.parts), default=np.inf)

    def within(self, gap: float) -> bool:
        """Whether what was found is so near to the bound, a share of it above 0."""
        return gap > 0 and self.mapping is not None and self.best[0] <= (1 + gap) * self.bound

    def know(self, found: Best) -> None:
        """Take over what another search found."""
        self.best, self.mapping = (found.value, found.energy_pj, found.cycles), found.mapping
        self.evaluated, self.valid = found.evaluated, found.valid

    def beat(self, value: float) -> None:
        """From now on, look for nothing with a larger value; a mapping that has one is forgotten."""
        if value < self.best[0]:
            self.best, self.mapping = (value, np.inf, np.inf), None

    def found(self, seconds: float = 0.0) -> Best:
        """What was found so far."""
        value, energy_pj, cycles = self.best if self.mapping is not None else (np.inf, np.inf, np.inf)
        space = self.tree.space
        return Best(
            self.goal.name, self.goal.unit, self.mapping, energy_pj, cycles, value, min(self.best[0], self.bound),
            space.size, self.evaluated, self.valid, seconds,
        )  # fmt: skip

    def step(self) -> None:
        """Look into the most promising prefixes: of those that the last step made, down to mappings, then of all."""
        at = min(range(len(self.parts)), key=lambda k: self.parts[k].least)
        if self._follow(self.parts[at]):
            self.parts.pop(at)
            return
        below = [k for k, part in enumerate(self.parts) if isinstance(part, _Part) and part.stage == self.stage]
        at = min(below, key=lambda k: self.parts[k].least, default=at)
        part = self.parts[at]
        # what was looked into leaves the list last, so that an interrupt loses nothing
        if part.least > self.best[0]:
            self.parts.pop(at)
            return
        if isinstance(part, _Opened):
            if not self._lengthen(part):
                self.parts.pop(at)
            return
        rest, part = part[CHUNK:], part[:CHUNK]
        self.stage = part.stage
        part = part[part.bound <= self.best[0]]
        if part.stage == len(self.tree.stages):
            self._evaluate(self.tree.batch(part.prefixes, self.tree.space.keeps[part.keep]))
        elif part.settled < self.tree.complete[part.stage]:
            self._add(self._settle(part))
        else:
            # so few at a time that all can be listed at once: what waits to be listed takes much room
            many = np.cumsum(self.tree.followers(part.prefixes))
            few = max(1, int(np.searchsorted(many, LISTED)))
            opened = _Opened(part[:few], self.tree.following(part.prefixes[:few], self._promising(part[:few])))
            self.parts += [opened, *([part[few:]] if few < len(part.bound) else [])]
            while self._lengthen(opened) and many[few - 1] <= LISTED:
                pass
            if many[few - 1] <= LISTED:
                self.parts = [each for each in self.parts if each is not opened]
        self.parts.pop(at)
        if len(rest.bound):
            self.parts.append(rest)

    def _follow(self, part: _Part | _Opened) -> bool:
        """Bound a way to keep tensors by its tiles, if that was not done; of some single edges say enough."""
        if not isinstance(part, _Part) or part.stage or part.keep in self.followed or part.least > self.best[0]:
            return False
        self.followed.add(part.keep)
        bound = self._bounds(part)
        if bound[0] <= self.best[0] and bound[0] < np.inf:
            self.parts.append(replace(part, bound=bound))
        return True

    def _lengthen(self, opened: _Opened) -> bool:
        """Make some of the prefixes of a part longer; returns whether there were any left."""
        longer = next(opened.left, None)
        if longer is not None:
            (opened.at, parent, prefixes, least), part = longer, opened.part
            self.stage = prefixes.stage
            self._add(_Part(part.keep, prefixes, part.settled, part.cost[parent], least))
        return longer is not None

    def _settle(self, part: _Part) -> _Part:
        """With the cost of edges into all levels that have their loops outside."""
        now, keep, cost = self.tree.complete[part.stage], self.tree.space.keeps[part.keep], part.cost
        if keep[part.settled + 1 : now + 1].any():
            batch = self.tree.batch(part.prefixes, keep)
            for depth in range(part.settled + 1, now + 1):
                cost = cost + into(self.problem, batch, depth)
        return replace(part, settled=now, cost=cost)

    def _fits(self, part: _Part) -> BoolArray:
        return fitting(self.tree, self.tree.space.keeps[part.keep], part.settled, part.prefixes)

    def _bounds(self, part: _Part) -> FloatArray:
        """What the mappings that the prefixes lead to have at least, [N]."""
        floor, prefixes, inside = self.floors[part.keep], part.prefixes, self.insides[part.keep]
        if part.keep in self.followed:
            apart = inside.apart(part.stage)
            energies, port_words = self._beyond(part, [*floor.held, *apart])
            missing = inside.missing(inside.around(prefixes), part.stage)
            least = inside.energy_pj(prefixes, part.settled < self.tree.complete[part.stage])
            least += sum(a * alone + b * wide for (a, b), (alone, wide) in zip(missing, energies, strict=False))
            held = len(floor.held)
            energy_pj = np.maximum(_total(energies[:held]), least) + _total(energies[held:])
        else:
            energies, port_words = self._beyond(part, [*floor.held, *floor.used])
            energy_pj = _total(energies)
        cycles = self._cycles(floor, self.tree.choices(prefixes), prefixes.lanes)
        cycles = np.maximum(cycles, floor.port_cycles(part.cost.port_words + port_words, self._used(prefixes)))
        return self._value(part.cost.energy_pj + energy_pj + floor.compute_energy_pj(), cycles)

    def _beyond(self, part: _Part, paths: Sequence[Path]) -> tuple[list[tuple[FloatArray, FloatArray]], FloatArray]:
        """What some edges into levels further in cost at least, edge by edge (see :meth:`Floor.beyond`)."""
        floor, prefixes = self.floors[part.keep], part.prefixes
        reuse, tiles = floor.reuse(self.tree.passing(prefixes)), self.tree.tiles(prefixes)
        shared = self.tree.shared(prefixes, floor.parents(part.settled))
        copies = self.tree.shared(prefixes, np.zeros(len(self.indexes), np.int64))
        return floor.beyond(part.settled, part.stage, tiles, reuse, shared, copies, paths)

    def _value(self, energy_pj: FloatArray, cycles: FloatArray) -> FloatArray:
        """The least of the objective for bounds of energy and cycles; what leads to no mapping has no finite ones."""
        may = (energy_pj < np.inf) & (cycles < np.inf) & (cycles * (1 - SLACK) <= self.most_cycles)
        value = self.goal.of(np.where(may, energy_pj, 0.0), np.where(may, cycles, 0.0)) * (1 - SLACK)
        return np.where(may, value, np.inf)

    def _promising(self, part: _Part) -> Promising:
        """What combinations of bounds that follow prefixes come to at least, by what all edges inside of the tile that they leave
        cost; infinite where that is worse than the best mapping."""
        floor, inside, stage = self.floors[part.keep], self.insides[part.keep], part.stage
        around, arriving = inside.around(part.prefixes), part.settled < self.tree.complete[stage + 1]
        tile = self.tree.choices(part.prefixes).number
        apart = inside.apart(stage + 1)
        energies, _ = self._beyond(part, [*floor.held, *apart])
        missing = [*inside.missing(around, stage), *[(1.0, 1.0)] * len(apart)]
        others = sum(a * alone + b * wide for (a, b), (alone, wide) in zip(missing, energies, strict=True))
        energy_pj = part.cost.energy_pj + others + floor.compute_energy_pj()

        def promising(some: Chosen) -> FloatArray:
            parent = some.parent
            least = inside.after_pj(around[parent], tile[parent], some.choices, arriving)
            if least is None:
                return np.zeros(len(parent))
            value = self._value(energy_pj[parent] + least, self._cycles(floor, some.choices, some.lanes))
            return np.where(value <= self.best[0], value, np.inf)

        return promising

    def _cycles(self, floor: Floor, choices: Choices, lanes: FloatArray) -> FloatArray:
        """The fewest cycles with some ``choices`` of bounds, that use so many ``lanes`` [N] so far, [N]."""
        cycles = floor.cycles(lanes * prod(self.fanouts[self.tree.complete[choices.stage] :]))
        if self.fills_lanes or not floor.timed > 0:
            return cycles
        return np.maximum(cycles, floor.timed * self.tree.cycles(choices))

    def _used(self, prefixes: Prefixes) -> FloatArray:
        """Instances of each level that are in use, at most, [S, N]; with features that put idle lanes to use, any number."""
        if self.fills_lanes:
            return np.full((len(self.fanouts), len(prefixes)), np.inf)
        spatial = np.where(prefixes.place % 3 > 0, prefixes.bound, 1)
        now = self.tree.complete[prefixes.stage]
        return np.stack(
            [
                np.where(prefixes.place // 3 < depth, spatial, 1).prod(axis=1)
                * prod(self.fanouts[now:depth], start=1.0)
                for depth in range(len(self.fanouts))
            ]
        )

    def _looks(self, part: _Part) -> IntArray:
        """What edges further in see of the prefixes, [N, width] (see :mod:`sparseloom.search.dominance`)."""
        prefixes, tree = part.prefixes, self.tree
        tiles = tree.tiles(prefixes)
        passing = tree.passing(prefixes) / tiles
        again = np.where(self.indexes[:, :, None], 1.0, passing).prod(axis=1)
        shared = tree.shared(prefixes, self.floors[part.keep].parents(part.settled))
        spatial = np.where(prefixes.place % 3 > 0, prefixes.bound, 1)
        of_levels = [
            np.where(prefixes.place // 3 == depth, spatial, 1).prod(axis=1) for depth in range(len(self.fanouts))
        ]
        of_ranks = [np.where(prefixes.rank == d, spatial, 1).prod(axis=1) for d in range(len(tiles))]
        same = np.broadcast_to(np.array([[part.keep], [part.stage]]), (2, len(prefixes)))
        return np.concatenate([same, tiles, again, shared, of_levels, of_ranks]).T.astype(np.int64)

    def _add(self, part: _Part) -> None:
        """Keep what fits and is not worse than the best mapping."""
        part = part[self._fits(part)]
        if not len(part.prefixes):
            return
        settled = part.settled == self.tree.complete[part.stage]
        if self.seen is not None and settled:
            costs = np.column_stack([part.cost.energy_pj, part.cost.port_words.reshape(len(part.prefixes), -1)])
            part = part[self.seen.better(self._looks(part), costs)]
            if not len(part.prefixes):
                return
        if settled or not part.bound.all():
            part = replace(part, bound=self._bounds(part))
        order = np.argsort(part.bound, kind="stable")
        order = order[(part.bound[order] <= self.best[0]) & (part.bound[order] < np.inf)]
        if len(order):
            self.parts.append(part[order])

    def _evaluate(self, batch: MappingBatch) -> None:
        found = evaluate_batch(self.problem, batch)
        self.evaluated += len(batch)
        fit = np.flatnonzero(found.valid & (found.cycles <= self.most_cycles))
        self.valid += len(fit)
        if not len(fit):
            return
        keys = self.goal.keys(found.energy_pj[fit], found.cycles[fit])
        first = np.lexsort(keys[::-1])[0]
        key = tuple(float(each[first]) for each in keys)
        if key < self.best:
            self.best = (key[0], key[1], key[2])
            self.mapping = batch.mapping(self.problem, int(fit[first]))


def _total(energies: Sequence[tuple[FloatArray, FloatArray]]) -> FloatArray:
    return sum((alone + wide for alone, wide in energies), np.zeros(1))


def fitting(tree: Tree, keep: BoolArray, settled: int, prefixes: Prefixes) -> BoolArray:
    """Whether enough compute units can be in use, and data can fit at the levels that got all of their loops since those up to
    ``settled`` had theirs, [N]."""
    depths = range(settled + 1, min(tree.complete[prefixes.stage], len(keep) - 1) + 1)
    fits = tiles_fit(tree.space.problem, keep, depths, tree.tiles(prefixes), metadata=False)
    return fits & tree.parallel(prefixes.stage, prefixes.lanes)


def best_mapping(
    space: Mapspace,
    goal: Objective | str = "edp",
    budget_s: float = np.inf,
    watch: Callable[[Best], None] | None = None,
    most_cycles: float = np.inf,
    below: float = np.inf,
    gap: float = 0.0,
) -> Best:
    """The best mapping of a mapspace, by ``goal``, or the best that is found in ``budget_s`` seconds; of those that take at most
    ``most_cycles``. Nothing is looked for whose value is above ``below``: where all are, there is no best one, and the bound is
    ``below``. The search ends when what was found is within the ``gap`` of its bound, a share of it.

    ``watch`` is told now and then what was found so far. An interrupt ends the search as the budget does. Raises InputError for
    a budget that is not above 0, and for a gap below 0.
    """
    goal = objective(goal) if isinstance(goal, str) else goal
    require_budget(budget_s, gap)
    start = told = working_s()

    def run(state: Search, until: float, gap: float = 0.0) -> None:
        nonlocal told
        while state.parts and (now := working_s()) < until and not state.within(gap):
            state.step()
            if watch is not None and now - told > WATCH_S:
                told = now
                found = state.found(now - start)
                # what bounds a part of the mappings does not bound all
                watch(found if state.tree.space is space else replace(found, bound=0.0, size=space.size))

    def begun(space: Mapspace, known: Search | None) -> Search:
        state = Search(Tree(space, apart=True), goal, most_cycles=most_cycles)
        if known is not None:
            state.know(known.found())
        state.beat(below)
        return state

    state, stopped = None, False
    try:
        # few mappings with good ones among them, which all are of the wider space, too
        inner = narrower(space)
        for k, narrow in enumerate(inner):
            now = working_s()
            state = begun(narrow, state)
            run(state, now + max(0.0, start + budget_s / 2 - now) / (len(inner) - k))
        state = begun(space, state)
        run(state, start + budget_s, gap)
    except KeyboardInterrupt:
        stopped = True
    state = state if state is not None and state.tree.space is space else begun(space, state)
    best = replace(state.found(working_s() - start), interrupted=stopped)
    return best if best.mapping is None else exact(space, goal, best)


def exact(space: Mapspace, goal: Objective, best: Best) -> Best:
    """With the values that a reader gets who evaluates the mapping: sums over a batch may differ in their last digit."""
    assert best.mapping is not None
    result = evaluate(space.problem.workload, space.problem.design, best.mapping)
    value = float(goal.of(np.array(result.energy_pj), np.array(result.cycles)))
    bound = value if best.proven else min(best.bound, value)
    return replace(best, energy_pj=result.energy_pj, cycles=float(result.cycles), value=value, bound=bound)


def perfect_of(space: Mapspace) -> Mapspace | None:
    """The mappings with perfect bounds alone, if there are any."""
    try:
        return Mapspace(space.problem, space.constraints)
    except MappingError:
        return None


def narrower(space: Mapspace) -> list[Mapspace]:
    """Mapspaces within one with imperfect bounds, the narrowest first: with perfect bounds, and with imperfect ones of one rank."""
    if not space.imperfect or (perfect := perfect_of(space)) is None:
        return []
    pairs = zip(space.problem.ranks, space.chains, perfect.chains, strict=True)
    cut = [rank for rank, own, others in pairs if len(own) > len(others)]
    some = [Mapspace(space.problem, space.constraints, frozenset({rank})) for rank in cut]
    return [perfect, *some] if len(cut) > 1 else [perfect]


WATCH_S = 0.2
"""Time between two reports."""
