"""Fronts of energy and cycles: the mappings of which none is better in one without being worse in the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sparseloom.kernel import working_s
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.search.mapper import Best, best_mapping
from sparseloom.search.objective import require_budget

SAME = 1e-9
"""Energies that differ by less than this share are one: the rest is the rounding of sums."""


@dataclass(frozen=True)
class Front:
    """The points of a front that are known, from the least energy to the fewest cycles, of ``size`` mappings; ``complete`` if there
    are no others.

    Every point is proven: no mapping has less energy in as many cycles. Where the search ended early, the points that are missing
    have fewer cycles than the last one, and no less energy.
    """

    size: int
    points: tuple[Best, ...] = ()
    complete: bool = False
    seconds: float = 0.0
    interrupted: bool = False

    def __str__(self) -> str:
        count = f"{len(self.points)} points" if len(self.points) != 1 else "1 point"
        if self.complete:
            return f"{count}, the whole front of this mapspace"
        if not self.points:
            return "no point is known"
        return f"{count}; others, if any, take fewer than {self.points[-1].cycles:,.0f} cycles"


def front(space: Mapspace, budget_s: float = float("inf")) -> Iterator[Front]:
    """The front of a mapspace as it is known after each point of it that is found, in ``budget_s`` seconds at most; at last when it
    is complete, the time is over or the user interrupts.

    Each point is the mapping of least energy among those with fewer cycles than the point before. Raises InputError for a budget
    that is not above 0.
    """
    require_budget(budget_s)
    start = working_s()
    found, left, most = Front(space.size), budget_s, float("inf")
    while left > 0:
        best = best_mapping(space, "energy", left, most_cycles=most)
        seconds = working_s() - start
        left = budget_s - seconds
        if best.mapping is None or not best.proven:
            done = best.mapping is None and best.proven
            yield replace(found, complete=done, seconds=seconds, interrupted=best.interrupted)
            return
        kept = tuple(point for point in found.points if point.energy_pj < best.energy_pj * (1 - SAME))
        found = replace(found, points=(*kept, best), seconds=seconds, interrupted=best.interrupted)
        most = best.cycles - 1
        yield found
        if best.interrupted:
            return
