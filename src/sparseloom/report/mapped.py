"""What a search for a mapping found: in words, as JSON, and as a file to evaluate."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from sparseloom import __version__
from sparseloom.arch import file as design_file
from sparseloom.arch.choice import Choice
from sparseloom.arch.design import Design
from sparseloom.errors import SparseloomError
from sparseloom.mapping.file import text as mapping_text
from sparseloom.mapping.mapping import Mapping
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.violations import admitting, violations
from sparseloom.model.evaluate import evaluate
from sparseloom.results import Result
from sparseloom.search.mapper import Best, best_mapping
from sparseloom.search.objective import objective
from sparseloom.workload import file as workload_file
from sparseloom.workload.workload import Workload


@dataclass(frozen=True)
class Comparison:
    """The ``value`` of a mapping that was given (None: it does not run), the constraints that it breaks, the best mapping when they
    are ``loosened`` to admit it, and all in words."""

    value: float | None
    violations: tuple[str, ...]
    text: str
    loosened: Best | None = None


def text(best: Best, result: Result, given: Comparison | None = None, chosen: str = "") -> str:
    """The result of the best mapping, how good it is, how it compares with a mapping that was given, and what was chosen."""
    return "\n".join([str(result), "", *summary(best), *([given.text] if given else []), *([chosen] if chosen else [])])


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
    wider = None
    if broken:
        lines += [f"  it breaks a constraint: {what}" for what in broken]
        wider = best_mapping(admitting(space, mapping), goal, budget_s)
        lines.append(
            f"  with that loosened the best found has {wider}; the given one {value / wider.value:.4g} times that"
        )
    return Comparison(value, broken, "\n".join(lines), wider)


def json_text(
    best: Best, result: Result, given: Comparison | None = None, chosen: Table[str, Any] | None = None
) -> str:
    """As JSON, with what was ``chosen``; a gap or bound that nothing is known of is null."""
    values: dict[str, Any] = {key: finite(getattr(best, key)) for key in _VALUES} | dict(chosen or {})
    values["mapping"] = _mapping_text(best)
    values["result"] = result.to_dict()
    if given is not None:
        loosened = finite(given.loosened.value) if given.loosened is not None else None
        values["given"] = {"value": given.value, "violations": list(given.violations), "best_if_loosened": loosened}
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


_VALUES = ("objective", "unit", "value", "bound", "proven", "gap", "size", "evaluated", "seconds", "interrupted")


def finite(value: object) -> object:
    """``value``, or None for a number that JSON does not have."""
    return None if isinstance(value, float) and not isfinite(value) else value


def mapping_file(best: Best) -> str:
    """The mapping as a file, to be read together with those of its design and workload."""
    return f"{_heading(best)}# evaluate it together with the files of its design and workload\n{_mapping_text(best)}"


def case_file(best: Best, workload: Workload, design: Design, choices: Sequence[Choice] = ()) -> str:
    """The mapping as a file together with its workload and design: for Timeloop's input, whose formats stand for the loops of one
    mapping, and for designs of which something was chosen."""
    yaml, stream = YAML(pure=True), io.StringIO()
    yaml.default_flow_style, yaml.width = None, 120
    yaml.dump({"workload": workload_file.plain(workload), "design": design_file.plain(design)}, stream)
    chosen = "".join(f"# {choice}\n" for choice in choices)
    return f"{_heading(best)}{chosen}{stream.getvalue()}{_mapping_text(best)}"


def _heading(best: Best) -> str:
    return f"# {best}\n# of {best.size:,} mappings; sparseloom {__version__}\n"


def _mapping_text(best: Best) -> str:
    assert best.mapping is not None
    return mapping_text(best.mapping)
