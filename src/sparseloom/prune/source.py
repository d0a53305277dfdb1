"""What `sparseloom import` reads: a run's folder, a function that returns a model, a name of ours, an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sparseloom.errors import Fault, InputError
from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune.imported import Imported, import_model


def imported(
    target: str,
    data: str = "",
    samples: int = 64,
    keep: bool = False,
    watch: Callable[[int], None] | None = None,
) -> Imported:
    """The layers of ``target``, with the densities of ``samples`` samples of the ``data`` (by default that of the run;
    digits for models of ours); ``keep``: with where the nonzeros of the first one are.

    Raises InputError for a target that is none of the four, and for data that do not fit.
    """
    from sparseloom.prune import data as data_of
    from sparseloom.prune.exported import traced
    from sparseloom.prune.models import DATA
    from sparseloom.prune.run import build, trained

    if samples < 1:
        raise InputError(Fault(f"{samples} samples", path="samples", fix="give 1 or more"))
    patterns = dict[str, Pattern]()
    if Path(target).is_dir():
        record, model = trained(Path(target))
        name, data = Path(target).resolve().name, data or record.settings.data
        source = f"{record.settings.model}, pruned by {record.settings.pattern}"
        patterns = {
            weight.name: Pattern.parse(weight.pattern) for weight in record.weights if weight.pattern != "dense"
        }
    else:
        model = build(target)
        name, source = target.rpartition(":")[0].removesuffix(".py").rpartition("/")[2] or target, target
        if not data and ":" in target:
            raise InputError(
                Fault("no data are named to run the model on", path="data", fix="as --data mydata.py:loaders")
            )
        data = data or DATA.get(target, "digits")
    inputs = data_of.load(data, batch=1).samples(samples)
    if not inputs:
        raise InputError(Fault(f"the validation split of {data} has no samples", fix="give at least one batch"))
    read = traced(model, inputs[0])
    return import_model(
        name, source, read.run, inputs, lambda: (read.way, read.reason, dict(read.unsupported)), patterns,
        lambda layer: layer.partition("#")[0], keep, watch,
    )  # fmt: skip
