"""What `sparseloom import` reads: a run's folder, a function that returns a model, a name of ours, an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparseloom.errors import Fault, InputError
from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune.imported import Imported, import_model

if TYPE_CHECKING:
    from sparseloom.prune.exported import Traced
    from sparseloom.prune.onnx import OnnxModel


@dataclass(frozen=True)
class _Source:
    """A model before it is read: its name, where it is from, the data it is usually run on, how to read it for an example of
    its inputs, and the patterns of its weights."""

    name: str
    source: str
    data: str
    read: Callable[[Any], Traced | OnnxModel]
    patterns: dict[str, Pattern] = field(default_factory=dict)


def imported(
    target: str, data: str = "", samples: int = 64, keep: bool = False, watch: Callable[[int], None] | None = None
) -> Imported:
    """The layers of ``target``, with the densities of ``samples`` samples of the ``data`` (by default that of the run;
    digits for models of ours); ``keep``: with where the nonzeros of the first one are.

    Raises InputError for a target that is none of the four, and for data that do not fit.
    """
    from sparseloom.prune.data import load

    if samples < 1:
        raise InputError(Fault(f"{samples} samples", path="samples", fix="give 1 or more"))
    of = _onnx(target) if target.endswith(".onnx") else _folder(target) if Path(target).is_dir() else _function(target)
    if not data and not of.data:
        raise InputError(Fault("no data are named to run the model on", path="data", fix="as --data mydata.py:loaders"))
    inputs = load(data or of.data, batch=1).samples(samples)
    if not inputs:
        raise InputError(
            Fault(f"the validation split of {data or of.data} has no samples", fix="give at least one batch")
        )
    model = of.read(inputs[0])
    return import_model(
        of.name, of.source, model.run, inputs, lambda: (model.way, model.reason, dict(model.unsupported)), of.patterns,
        lambda layer: layer.partition("#")[0], keep, watch,
    )  # fmt: skip


def _onnx(target: str) -> _Source:
    from sparseloom.prune.onnx import OnnxModel

    model = OnnxModel(Path(target))
    return _Source(Path(target).stem, target, "", lambda example: model)


def _folder(target: str) -> _Source:
    from sparseloom.prune.exported import traced
    from sparseloom.prune.run import trained

    record, model = trained(Path(target))
    patterns = {weight.name: Pattern.parse(weight.pattern) for weight in record.weights if weight.pattern != "dense"}
    source = f"{record.settings.model}, pruned by {record.settings.pattern}"
    return _Source(
        Path(target).resolve().name, source, record.settings.data, lambda example: traced(model, example), patterns
    )


def _function(target: str) -> _Source:
    from sparseloom.prune.exported import traced
    from sparseloom.prune.models import DATA
    from sparseloom.prune.run import build

    model = build(target)
    own = ":" in target
    name = Path(target.rpartition(":")[0]).stem if own else target
    return _Source(name, target, "" if own else DATA.get(target, "digits"), lambda example: traced(model, example))
