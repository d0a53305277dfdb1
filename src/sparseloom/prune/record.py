"""What a pruning did, as it stands in its folder: values and JSON, no PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from sparseloom.errors import Fault, InputError

RECORD: Final = "run.json"
WEIGHTS: Final = "weights.pt"
MASKS: Final = "masks.npz"
CHECKPOINT: Final = "checkpoint.pt"
INTEGERS: Final = "int8"
QUANTISED: Final = "int8.pt"


@dataclass(frozen=True)
class Settings:
    """All that decides the result of a run. ``int8``: epochs of fine-tuning in 8 bits; None: the model stays in floating
    point. ``layers`` are weights with a pattern of their own, whatever the rules say: name, pattern, density where that is free."""

    model: str
    data: str = "digits"
    weights: str = ""
    pattern: str = "dense"
    density: float | None = None
    pretrain: int = 0
    epochs: int = 10
    learning_rate: float = 1e-3
    optimiser: str = "adamw"
    weight_decay: float = 1e-4
    batch: int = 64
    seed: int = 0
    schedule: str = "once"
    prune_epochs: int = 0
    penalty: float = 1e-3
    importance: str = "magnitude"
    norm: str = "mean"
    first: bool = False
    only: str = ""
    skip: str = ""
    pad: bool = True
    int8: int | None = None
    layers: tuple[tuple[str, str, float | None], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple((name, text, density) for name, text, density in self.layers))

    def differences(self, other: Settings) -> list[str]:
        """The settings in which another run differs, with both values."""
        pairs = ((field.name, getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return [f"{name} {_shown(mine)} for {_shown(theirs)}" for name, mine, theirs in pairs if mine != theirs]


def _shown(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


@dataclass(frozen=True)
class PrunedWeight:
    """One weight of a model: ``pattern`` (dense: none) by ranks M, C, R, S (G outermost in groups) of ``shape``, padded to
    ``padded`` where it does not divide; ``rule`` says why it is dense or padded. ``dead_outputs`` are filters without any
    weight, by the numbers of their first and last channel, ``dead_inputs`` channels that no filter uses."""

    name: str
    module: str
    parameter: str
    kind: str
    ranks: tuple[str, ...]
    shape: tuple[int, ...]
    pattern: str
    density: float
    nonzeros: int
    points: int
    padded: tuple[int, ...]
    rule: str
    dead_outputs: tuple[tuple[int, int], ...] = ()
    dead_inputs: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Record:
    """A finished run: the weights, accuracies by state (``dense``, ``pruned``, ``int8``) and split, and the mean loss and
    validation accuracy of each epoch. ``bits``: what each weight takes in 8 bits, by encoding."""

    settings: Settings
    weights: tuple[PrunedWeight, ...]
    accuracies: Mapping[str, Mapping[str, float]]
    history: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    bits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def density(self) -> float:
        """Nonzeros / points of all weights."""
        return sum(weight.nonzeros for weight in self.weights) / max(sum(weight.points for weight in self.weights), 1)

    def to_json(self, path: Path) -> None:
        from sparseloom import document

        document.write(path, json.dumps(asdict(self), indent=1, allow_nan=False) + "\n")


def read(folder: Path) -> Record:
    """The record of a run's folder. Raises InputError if there is none, or it is none of this version's."""
    path = folder / RECORD
    if not path.is_file():
        cut = (folder / CHECKPOINT).is_file()
        fix = (
            "run the same `sparseloom prune` again, it goes on"
            if cut
            else "name the folder that `sparseloom prune` wrote"
        )
        raise InputError(Fault(f"{folder} {'is a run that was cut' if cut else f'has no {RECORD}'}", fix=fix))
    try:
        value = json.loads(path.read_text("utf-8"))
        weights = tuple(PrunedWeight(**{k: _frozen(v) for k, v in weight.items()}) for weight in value["weights"])
        rest = {"history": tuple(value["history"]), "notes": tuple(value["notes"]), "bits": value["bits"]}
        return Record(Settings(**value["settings"]), weights, value["accuracies"], **rest)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"this is no record of a pruning: {type(error).__name__}: {error}"
        raise InputError(Fault(what, where=str(path), fix="prune again, into another folder")) from error


def _frozen(value: Any) -> Any:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value
