"""What a search for a mapping found, in words and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseloom.errors import SparseloomError
from sparseloom.mapping.file import text as mapping_text
from sparseloom.mapping.mapping import Mapping
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.model.evaluate import evaluate
from sparseloom.results import Result
from sparseloom.search.mapper import Best
from sparseloom.search.objective import Objective


def text(best: Best, result: Result, given: str = "") -> str:
    """The result of the best mapping, and how good it is; ``given`` says how it compares with a mapping that was given."""
    lines = [str(result), "", *summary(best)]
    return "\n".join([*lines, given] if given else lines)


def summary(best: Best) -> list[str]:
    """How good the best mapping is, and what it took to know."""
    share = best.evaluated / best.size if best.size else 0.0
    return [
        f"{best.objective}  {best.value:.6g} {best.unit}: {best.statement}",
        f"mapspace  {best.size:,} mappings, {best.evaluated:,} of them ({share:.2g}) evaluated in full, in {best.seconds:.1f} s",
    ]


def compared(space: Mapspace, goal: Objective, best: Best, mapping: Mapping) -> tuple[str, list[str]]:
    """How the best mapping compares with one that was given, in words, and which constraints that one breaks."""
    violations = [fault.what for fault in space.violations(mapping)]
    lines = []
    try:
        given = evaluate(space.problem.workload, space.problem.design, mapping)
    except SparseloomError as error:
        lines.append(f"the given mapping does not run: {error.faults[0].what}")
    else:
        value = float(goal.of(np.array(given.energy_pj), np.array(given.cycles)))
        times = f"{value / best.value:.4g} times that of the best" if best.value else "the best is 0"
        lines.append(f"the given mapping has {goal.name} {value:.6g} {goal.unit}, {times}")
    lines += [f"  it breaks a constraint: {what}" for what in violations]
    return "\n".join(lines), violations


def plain(best: Best, result: Result, violations: Sequence[str] = ()) -> dict[str, Any]:
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
    } | ({"violations": list(violations)} if violations else {})
