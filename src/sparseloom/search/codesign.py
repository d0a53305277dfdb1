"""The best design and mapping together: the searches of several mapspaces, which share what they find and the time they have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparseloom.arch.design import Design
from sparseloom.errors import Fault, MappingError
from sparseloom.kernel import working_s
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.constraints import NONE, Constraints
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import Tree
from sparseloom.search.explain import misfits, too_small
from sparseloom.search.mapper import WATCH_S, Best, Search, exact, perfect_of
from sparseloom.search.objective import Objective, objective, require_budget
from sparseloom.workload.workload import Workload

TURN = 32
"""Steps of one search after which it is another's turn."""


@dataclass(frozen=True)
class Chosen:
    """The best of several designs: its ``number`` and ``space``, and ``best``, its best mapping, whose bound, size and counts are
    those of all designs together. ``each`` is what is known of every design: its own best mapping and bound, or why it allows
    no mapping."""

    number: int
    space: Mapspace
    best: Best
    each: tuple[Best | MappingError, ...]


def mapspaces(
    workload: Workload, designs: Sequence[Design], constraints: Constraints = NONE, imperfect: bool = False
) -> tuple[Mapspace | MappingError, ...]:
    """The mapspace of a workload on each design, or why the constraints admit no mapping of it. Raises MappingError, with the
    faults of all, where they admit none of any."""
    found: list[Mapspace | MappingError] = []
    for design in designs:
        try:
            found.append(Mapspace(Problem(workload, design), constraints, imperfect))
        except MappingError as error:
            found.append(error)
    if not any(isinstance(each, Mapspace) for each in found):
        raise MappingError(_faults(found))
    return tuple(found)


def best_design(
    spaces: Sequence[Mapspace | MappingError],
    goal: Objective | str = "edp",
    budget_s: float = np.inf,
    watch: Callable[[Best], None] | None = None,
    gap: float = 0.0,
) -> Chosen:
    """The best mapping of all mapspaces together, as :func:`best_mapping` finds that of one; of equal ones, that of the first.

    ``budget_s`` is for all of them, ``watch`` is told of all of them. A mapspace whose bound is above what was found in another is
    left alone. The search ends when the best of all is within the ``gap`` of the bound of all together, a share of it. Raises
    InputError for a budget that is not above 0 and a gap below 0, and MappingError where no tiles fit in any.
    """
    goal = objective(goal) if isinstance(goal, str) else goal
    require_budget(budget_s, gap)
    start = told = working_s()
    runs = {k: _Run.of(space, goal) for k, space in enumerate(spaces) if isinstance(space, Mapspace)}
    wide = {k: perfect_of(run.space) for k, run in runs.items() if run.space.imperfect}
    few = {k: _Run.of(space, goal) for k, space in wide.items() if space is not None}

    def tell(some: list[_Run]) -> None:
        nonlocal told
        now = working_s()
        if watch is not None and now - told > WATCH_S:
            told = now
            watch(replace(_together(some), seconds=now - start))

    stopped = False
    try:
        # as for one mapspace: the mappings with perfect bounds first, which all are of the wider space, too
        try:
            _race(list(few.values()), start + budget_s / 2, tell)
        finally:
            for k, run in few.items():
                runs[k].found = replace(run.found, bound=0.0, size=runs[k].space.size)
        _race(list(runs.values()), start + budget_s, tell, gap)
    except KeyboardInterrupt:
        stopped = True
    best = replace(_together(runs.values()), seconds=working_s() - start, interrupted=stopped)
    if best.mapping is None and best.proven:
        raise MappingError(_faults(spaces))
    number = min(runs, key=lambda k: runs[k].key)
    space = runs[number].space
    each = [runs[k].known if isinstance(each, Mapspace) else each for k, each in enumerate(spaces)]
    if best.mapping is not None:
        best, each[number] = exact(space, goal, best), exact(space, goal, runs[number].found)
    return Chosen(number, space, best, tuple(each))


@dataclass
class _Run:
    """The search of one mapspace: what was ``found`` in it after so many ``turns``, and its ``state`` between them, which is made
    for the first one and given up when it is ``over``: there may be thousands of runs."""

    space: Mapspace
    goal: Objective
    found: Best
    turns: int = 0
    state: Search | None = None
    over: bool = False

    @classmethod
    def of(cls, space: Mapspace, goal: Objective) -> _Run:
        nothing = Best(goal.name, goal.unit, None, np.inf, np.inf, np.inf, 0.0, space.size, 0, 0, 0.0)
        return cls(space, goal, nothing)

    @property
    def key(self) -> tuple[float, float, float]:
        """What runs are compared by."""
        return self.found.value, self.found.energy_pj, self.found.cycles

    @property
    def known(self) -> Best | MappingError:
        """What was found, or why nothing fits, if a level is to blame alone."""
        faults = too_small(self.space) if not self.found.valid else []
        return MappingError(faults) if faults else self.found

    def look(self) -> None:
        """Learn the bound of the whole mapspace."""
        self.found = replace(self.found, bound=min(self._begun().bound, self.found.value))

    def turn(self, most: float, until: float) -> None:
        """Search some more, for nothing above ``most``."""
        self.turns += 1
        self.state = state = self.state or self._begun()
        state.beat(most)
        try:
            for _ in range(TURN):
                if not state.parts or working_s() >= until:
                    break
                state.step()
        finally:
            self._note(state)

    def end(self) -> None:
        self.state, self.over = None, True

    def _begun(self) -> Search:
        state = Search(Tree(self.space, apart=True), self.goal)
        state.know(self.found)
        return state

    def _note(self, state: Search) -> None:
        """Take over what a turn has shown. A mapping that is worse than those of others stays: it says what the design can do."""
        now = state.found()
        found = now if now.mapping is not None else replace(self.found, evaluated=now.evaluated, valid=now.valid)
        self.found = replace(found, bound=min(max(self.found.bound, now.bound), found.value))
        if not state.parts:
            self.end()


def _race(runs: list[_Run], until: float, tell: Callable[[list[_Run]], None], gap: float = 0.0) -> None:
    """Search in turns until nothing is left that could be better: by turns that of the least bound, which is the bound of all
    together, and that which had the fewest turns, so that none waits for a hard one. Half of the time may go into bounds: those
    that got none wait until others had their turn."""

    def enough() -> bool:
        return gap > 0 and most <= (1 + gap) * min(run.found.bound for run in runs)

    half = (working_s() + until) / 2
    for run in runs:
        if working_s() < half:
            run.look()
    live, turn, most = runs, 0, min((run.found.value for run in runs), default=np.inf)
    while live and working_s() < until and not enough():
        fair = turn % 2 == 0
        run = min(live, key=lambda run: (run.turns, run.found.bound or np.inf) if fair else (0, run.found.bound))
        run.turn(most, until)
        most = min(most, run.found.value)
        for run in live:
            if run.found.bound > most:
                run.end()
        live, turn = [run for run in live if not run.over], turn + 1
        tell(runs)


def _together(runs: Collection[_Run]) -> Best:
    """The best of all, with the bound and the counts of all together."""
    found = [run.found for run in runs]
    return replace(
        min(runs, key=lambda run: run.key).found,
        bound=min(each.bound for each in found),
        size=sum(each.size for each in found),
        evaluated=sum(each.evaluated for each in found),
        valid=sum(each.valid for each in found),
    )


def _faults(spaces: Sequence[Mapspace | MappingError]) -> list[Fault]:
    """Why no mapping of any mapspace fits."""
    each = [misfits(space) if isinstance(space, Mapspace) else space.faults for space in spaces]
    return list(dict.fromkeys(fault for faults in each for fault in faults))
