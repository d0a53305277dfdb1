"""What a search for a mapping found, in words and as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseloom.errors import SparseloomError
from sparseloom.mapping.file import text as mapping_text
from sparseloom.mapping.mapping import Mapping
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.violations import admitting, violations
from sparseloom.model.evaluate import evaluate
from sparseloom.results import Result
from sparseloom.search.mapper import Best, best_mapping
from sparseloom.search.objective import objective


@dataclass(frozen=True)
class Comparison:
    """The ``value`` of a mapping that was given (None: it does not run), the constraints that it breaks, and both in words."""

    value: float | None
    violations: tuple[str, ...]
    text: str


def text(best: Best, result: Result, given: Comparison | None = None) -> str:
    """The result of the best mapping, how good it is, and how it compares with a mapping that was given."""
    lines = [str(result), "", *summary(best)]
    return "\n".join([*lines, given.text] if given else lines)


def summary(best: Best) -> list[str]:
    """How good the best mapping is, and what it took to know."""
    share = best.evaluated / best.size if best.size else 0.0
    return [
        f"{best.objective}  {best.value:.6g} {best.unit}: {best.statement}",
        f"mapspace  {best.size:,} mappings, {best.evaluated:,} of them ({share:.2g}) evaluated in full, in {best.seconds:.1f} s",
    ]


def compared(space: Mapspace, best: Best, mapping: Mapping, budget_s: float) -> Comparison:
    """A mapping that was given beside the best one; where it breaks constraints, beside the best with these loosened too, which is
    searched for again."""
    goal = objective(best.objective)
    broken = tuple(fault.what for fault in violations(space, mapping))
    try:
        given = evaluate(space.problem.workload, space.problem.design, mapping)
    except SparseloomError as error:
        return Comparison(None, broken, f"the given mapping does not run: {error.faults[0].what}")
    value = float(goal.of(np.array(given.energy_pj), np.array(given.cycles)))
    lines = [f"given     {goal.name} {value:.6g} {goal.unit}, {value / best.value:.4g} times that of the best found"]
    if broken:
        lines += [f"  it breaks a constraint: {what}" for what in broken]
        wider = best_mapping(admitting(space, mapping), goal, budget_s)
        lines.append(
            f"  with that loosened the best found has {wider}; the given one {value / wider.value:.4g} times that"
        )
    return Comparison(value, broken, "\n".join(lines))


def plain(best: Best, result: Result, given: Comparison | None = None) -> dict[str, Any]:
    """As values for JSON."""
    assert best.mapping is not None
    return {
        "objective": best.objective,
        "value": best.value,
        "bound": best.bound,
        "proven": best.proven,
        "gap": best.gap,
        "mapspace_size": best.size,
        "evaluated": best.evaluated,
        "seconds": best.seconds,
        "mapping": mapping_text(best.mapping),
        "result": result.to_dict(),
    } | ({"given": {"value": given.value, "violations": list(given.violations)}} if given else {})
