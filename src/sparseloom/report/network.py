"""What was found for the layers of a network: as a table, as JSON, and as a folder from which a search goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final

import numpy as np

from sparseloom import __version__, document
from sparseloom.arch import file as design_file
from sparseloom.digest import digest
from sparseloom.errors import Fault, InputError, SparseloomError
from sparseloom.mapping import file as mapping_file
from sparseloom.model.evaluate import evaluate
from sparseloom.report.mapped import case_file, finite
from sparseloom.results.table import table
from sparseloom.search.mapper import Best
from sparseloom.search.network import Setting, Task
from sparseloom.search.objective import objective
from sparseloom.workload import file as workload_file

FORMAT: Final = 1
"""The version of the layout of :data:`SUMMARY`."""

SUMMARY: Final = "search.json"

_COUNTS: Final = ("energy_pj", "cycles", "value", "bound", "size", "evaluated", "valid", "seconds")

Found = Mapping[int, Best | SparseloomError]
"""By number of the task: the best mapping, or why there is none."""


@dataclass(frozen=True)
class Folder:
    """A folder with a summary, and a case for each layer that ``sparseloom evaluate`` takes. They are written after every layer, so
    that an interrupt loses none."""

    path: Path
    setting: Setting
    tasks: Sequence[Task]

    def read(self) -> dict[int, Best]:
        """What an earlier search left here that need not be searched again: mappings that are proven, or as near to their bound as
        asked, or for which no less time was given. Each is evaluated anew.

        Raises InputError for a summary of another version, another design or objective, and one that was changed.
        """
        path = self.path / SUMMARY
        if not path.exists():
            return {}
        fix = "give another folder, or remove this one"
        try:
            values = json.loads(path.read_text("utf-8"))
            head = {key: values[key] for key in ("format", "version", "setting", "design", "objective")}
            rows = {str(row["key"]): row for row in values["layers"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            what = f"not the summary of a search: {type(error).__name__} {error}"
            raise InputError(Fault(what, str(path), fix=fix)) from None
        mine = {"format": FORMAT, "version": __version__, "setting": digest(*_setting(self.setting))}
        for key, value in mine.items():
            if head[key] != value:
                what = f"it is of {key} {head[key]}, this search of {value}"
                if key == "setting":
                    other = f"{head['design']}, {head['objective']}"
                    what = f"it is of another search ({other}): design, constraints, objective or bounds differ"
                raise InputError(Fault(what, str(path), fix=fix))
        found = {}
        for number, task in enumerate(self.tasks):
            row = rows.get(digest(workload_file.plain(task.layer.workload())))
            if row is None or not row.get("mapping"):
                continue
            near = row["gap"] is not None and row["gap"] <= self.setting.gap
            if row["proven"] or near or row["budget_s"] >= self.setting.budget_s:
                found[number] = self._best(task, row, path)
        return found

    def _best(self, task: Task, row: dict[str, Any], path: Path) -> Best:
        goal = objective(self.setting.objective)
        fix = "remove the folder, and search again"
        try:
            mapping = mapping_file.read(document.parse(row["mapping"], str(path)))
            counts: dict[str, Any] = {key: inf if row[key] is None else row[key] for key in _COUNTS}
            best = Best(goal.name, goal.unit, mapping, **counts)
            result = evaluate(task.layer.workload(), self.setting.design, mapping)
        except (KeyError, TypeError, SparseloomError) as error:
            raise InputError(Fault(f"{task.names[0]} cannot be read: {error}", str(path), fix=fix)) from None
        value = float(goal.of(np.array(result.energy_pj), np.array(result.cycles)))
        if value != best.value:
            what = f"{task.names[0]} has {goal.name} {best.value:.6g}, its mapping evaluates to {value:.6g}"
            raise InputError(Fault(what, str(path), fix=fix))
        return best

    def write(self, found: Found) -> None:
        """The summary of all that was found so far, and the case of each layer that has none yet."""
        document.make_folder(self.path)
        for number, best in found.items():
            task = self.tasks[number]
            if isinstance(best, Best) and best.mapping is not None:
                path = self.path / f"{_file_name(task.names[0])}.yaml"
                document.write(path, case_file(best, task.layer.workload(), self.setting.design))
        values = {
            "format": FORMAT,
            "version": __version__,
            "setting": digest(*_setting(self.setting)),
            **summary(self.setting, self.tasks, found),
        }
        for row, number in zip(values["layers"], sorted(found), strict=True):
            row["key"] = digest(workload_file.plain(self.tasks[number].layer.workload()))
            best = found[number]
            early = isinstance(best, Best) and (best.interrupted or 0 < best.gap <= self.setting.gap)
            row["budget_s"] = best.seconds if isinstance(best, Best) and early else self.setting.budget_s
        document.write(self.path / SUMMARY, json.dumps(values, indent=1, allow_nan=False) + "\n")


def _setting(setting: Setting) -> list[object]:
    """What decides over the answer."""
    return [design_file.plain(setting.design), setting.constraints, setting.objective, setting.imperfect]


def _file_name(layer: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in layer)


def summary(setting: Setting, tasks: Sequence[Task], found: Found) -> dict[str, Any]:
    """All that was found, as values for JSON."""
    return {
        "design": setting.design.name,
        "objective": setting.objective,
        "imperfect": setting.imperfect,
        "total": _total(tasks, found),
        "layers": [_row(tasks[number], found[number]) for number in sorted(found)],
    }


def json_text(setting: Setting, tasks: Sequence[Task], found: Found) -> str:
    """As JSON."""
    return json.dumps(summary(setting, tasks, found), indent=2, allow_nan=False) + "\n"


def _row(task: Task, best: Best | SparseloomError) -> dict[str, Any]:
    row: dict[str, Any] = {
        "names": list(task.names),
        "count": task.layer.count,
        "einsum": str(task.layer.einsum),
        "shape": dict(task.layer.shape),
        "densities": dict(task.layer.densities),
        "padding": task.padding,
    }
    if isinstance(best, SparseloomError):
        return {**row, "proven": False, "faults": [fault.what for fault in best.faults]}
    row |= {key: finite(getattr(best, key)) for key in (*_COUNTS, "proven", "gap")}
    return {**row, "mapping": mapping_file.text(best.mapping) if best.mapping is not None else None}


def _total(tasks: Sequence[Task], found: Found) -> dict[str, Any]:
    """Sums over all instances of all layers that have a mapping; EDP is that of all of them, one after the other."""
    there = [(tasks[k], best) for k, best in found.items() if isinstance(best, Best) and best.mapping is not None]
    energy = sum(task.layer.count * best.energy_pj for task, best in there)
    cycles = sum(task.layer.count * best.cycles for task, best in there)
    run, useful = (sum(task.layer.total_computes for task, _ in there), sum(task.useful for task, _ in there))
    return {
        "energy_pj": energy,
        "cycles": cycles,
        "edp": energy * cycles,
        "computes": run,
        "padding": 1 - useful / run if run else 0.0,
        "layers": sum(task.layer.count for task, _ in there),
        "proven": all(best.proven for _, best in there) and len(there) == len(tasks),
        "seconds": sum(best.seconds for _, best in there),
    }


def text(setting: Setting, tasks: Sequence[Task], found: Found) -> str:
    """A line for each layer and the totals, then what has no mapping."""
    head = ("layer", "count", "shape", "padding", "cycles", "energy uJ", setting.objective, "mapspace", "how good", "s")
    rows = []
    for number, best in sorted(found.items()):
        task = tasks[number]
        names = task.names[0] + (f" +{len(task.names) - 1}" if len(task.names) > 1 else "")
        shape = " ".join(f"{rank}{size}" for rank, size in task.layer.shape.items() if size > 1)
        if isinstance(best, Best) and best.mapping is not None:
            cells = (
                f"{best.cycles:,.0f}", f"{best.energy_pj / 1e6:,.1f}", f"{best.value:.4g}", f"{best.size:.3g}",
                "optimal" if best.proven else best.statement, f"{best.seconds:.1f}",
            )  # fmt: skip
        else:
            cells = ("", "", "", "", "no mapping", "")
        rows.append((names, str(task.layer.count), shape, f"{task.padding:.1%}", *cells))
    total = _total(tasks, found)
    rows.append(
        (
            "total", str(total["layers"]), "", f"{total['padding']:.1%}", f"{total['cycles']:,.0f}",
            f"{total['energy_pj'] / 1e6:,.1f}", f"{total['edp']:.4g}" if setting.objective == "edp" else "", "", "",
            f"{total['seconds']:.1f}",
        )
    )  # fmt: skip
    lines = [table(head, rows, (0, 2, 8))]
    for number, best in sorted(found.items()):
        if isinstance(best, SparseloomError):
            lines += [f"{tasks[number].names[0]}: {fault}" for fault in best.faults]
        elif best.mapping is None:
            lines.append(
                f"{tasks[number].names[0]}: no mapping that fits was found in {best.seconds:.1f} s; give a larger --budget"
            )
    return "\n".join(lines)
