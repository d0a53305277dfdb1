"""Results as JSON files: written whole or not at all, read with every fault named, published as a JSON Schema.

The layout is ``levels -> level -> tensor -> reads, fills, updates, metadata``; metadata goes on by action and format
rank (``rank0`` is the topmost). What belongs to a level as a whole stands under ``level_summary``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparseloom import document
from sparseloom.errors import Fault, InputError
from sparseloom.results.actions import ComputeActions, LevelActions, Outcomes, RankUnits, TensorActions
from sparseloom.results.result import Result

if TYPE_CHECKING:
    from pydantic import BaseModel

FORMAT = 1
"""The version of the layout, under the key ``format``. It rises when a key changes its meaning or disappears."""

_TILE = ("tile_words", "expected_words", "worst_words", "worst_metadata_bits", "energy_pj", "instances", "streamed")
_SUMMARY = ("cycles", "energy_pj", "instances_used", "capacity_words", "metadata_capacity_bits", "bandwidth_bound")
_HEAD = ("origin", "conventions", "workload", "design", "cycles", "energy_pj", "utilization")
_TEXTS = ("bottleneck", "loopnest")
_LISTS = ("assumptions", "ignored", "notes")


def to_dict(result: Result) -> dict[str, object]:
    """The values of ``result`` as JSON holds them: dicts, lists, text, numbers. Whole numbers are integers."""
    return {
        "format": FORMAT,
        **{key: _plain(getattr(result, key)) for key in _HEAD},
        "computes": _outcomes(result.computes),
        "compute": {key: _plain(value) for key, value in asdict(result.compute).items()},
        "levels": {
            level.name: {name: _tensor(actions) for name, actions in level.tensors.items()}
            for level in result.levels.values()
        },
        "level_summary": {
            level.name: {key: _plain(getattr(level, key)) for key in _SUMMARY} for level in result.levels.values()
        },
        **{key: getattr(result, key) for key in _TEXTS},
        **{key: list(getattr(result, key)) for key in _LISTS},
        "intervals": {key: [_plain(low), _plain(high)] for key, (low, high) in result.intervals.items()},
    }


def _plain(value: Any) -> object:
    """``value`` without NumPy types; a whole number as an integer."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if value is None or isinstance(value, (str, bool)):
        return value
    number = value.item() if hasattr(value, "item") else value
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _outcomes(outcomes: Outcomes) -> dict[str, object]:
    return {"actual": _plain(outcomes.actual), "gated": _plain(outcomes.gated), "skipped": _plain(outcomes.skipped)}


def _tensor(tensor: TensorActions) -> dict[str, object]:
    return {
        **{action: _outcomes(outcomes) for action, outcomes in tensor.data().items()},
        "metadata": {
            action: {
                f"rank{i}": {"metadata": _outcomes(rank.metadata), "payload": _outcomes(rank.payload)}
                for i, rank in enumerate(ranks)
            }
            for action, ranks in tensor.metadata().items()
        },
        **{key: _plain(getattr(tensor, key)) for key in _TILE},
    }


def from_dict(values: Mapping[str, object], file: str = "") -> Result:
    """The result that :func:`to_dict` made ``values`` of. Raises InputError with every fault, each naming ``file``."""
    fix = "`sparseloom schema result` says what a result holds; `sparseloom evaluate --json` writes one"
    data = checked(_model(), values, file, fix)
    if unmatched := set(data["levels"]) ^ set(data["level_summary"]):
        what = f"'levels' and 'level_summary' differ in {', '.join(sorted(unmatched))}"
        raise InputError(Fault(what, file, "levels", "list every level in both"))
    parts: dict[str, Any] = {key: data[key] for key in (*_HEAD, *_TEXTS)}
    parts |= {key: tuple(data[key]) for key in _LISTS}
    parts["computes"] = Outcomes(**data["computes"])
    parts["compute"] = ComputeActions(**{**data["compute"], "outcomes": Outcomes(**data["compute"]["outcomes"])})
    parts["levels"] = {name: _level_of(name, data) for name in data["level_summary"]}
    return Result(**parts, intervals={key: (low, high) for key, (low, high) in data["intervals"].items()})


def checked(model: type[BaseModel], values: Mapping[str, object], file: str, fix: str) -> dict[str, Any]:
    """The values of a model that ``values`` are. Raises InputError with every fault, each naming ``file``."""
    from pydantic import ValidationError

    try:
        return model.model_validate(values).model_dump()
    except ValidationError as error:
        faults = [Fault(e["msg"], file, ".".join(str(step) for step in e["loc"]), fix) for e in error.errors()]
        raise InputError(faults) from None


def _level_of(name: str, data: dict[str, Any]) -> LevelActions:
    tensors = {tensor: _tensor_of(values) for tensor, values in data["levels"][name].items()}
    return LevelActions(name=name, tensors=tensors, **data["level_summary"][name])


def _tensor_of(values: dict[str, Any]) -> TensorActions:
    parts: dict[str, Any] = {key: values[key] for key in _TILE}
    for action in ("reads", "fills", "updates"):
        parts[action] = Outcomes(**values[action])
        parts[f"metadata_{action}"] = _ranks(values["metadata"][action])
    return TensorActions(**parts)


def _ranks(values: dict[str, Any]) -> tuple[RankUnits, ...]:
    ordered = sorted(values, key=lambda name: int(name.removeprefix("rank")))
    return tuple(RankUnits(Outcomes(**values[r]["metadata"]), Outcomes(**values[r]["payload"])) for r in ordered)


def read(path: str | Path) -> Result:
    """Read one JSON file: a result, or what `sparseloom map` wrote, which has one under ``result``.

    Raises InputError for a file that is missing, not JSON, or not a result.
    """
    values = read_values(path)
    if "format" not in values and isinstance(values.get("result"), dict):
        values = values["result"]
    return from_dict(values, str(path))


def read_values(path: str | Path) -> dict[str, Any]:
    """The values of a JSON file that holds an object. Raises InputError for one that is missing or holds none."""
    file = str(path)
    fix = "give a file that `sparseloom evaluate --json` wrote"
    try:
        values = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(Fault(f"cannot read the file: {error.strerror}", file, fix="check the path")) from None
    except json.JSONDecodeError as error:
        raise InputError(Fault(f"not JSON: {error.msg}", f"{file}:{error.lineno}", fix=fix)) from None
    except (UnicodeDecodeError, RecursionError):
        raise InputError(Fault("not JSON text", file, fix=fix)) from None
    if not isinstance(values, dict):
        raise InputError(Fault("not a result: the top of the file is not an object", file, fix=fix))
    return values


def write(result: Result, path: str | Path) -> None:
    """Write one JSON file: whatever happens, ``path`` holds either what it held before or all of ``result``.

    Raises InputError when the file cannot be written.
    """
    document.write(path, json.dumps(to_dict(result), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def schema() -> dict[str, Any]:
    """The JSON Schema of a result file."""
    return _model().model_json_schema()


@cache
def _model() -> type[BaseModel]:
    from sparseloom.results.boundary import ResultFile

    return ResultFile
