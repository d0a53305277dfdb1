"""A whole pruning: train, prune, fine-tune, measure, write; after a cut it goes on behind the last whole epoch."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from torch import nn

from sparseloom.errors import Fault, InputError, SparseloomError, gathered, suggest
from sparseloom.fibertree.alternative import Norm
from sparseloom.fibertree.density import BoolArray
from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune import data as data_of
from sparseloom.prune import packed, record
from sparseloom.prune.data import Data
from sparseloom.prune.importance import fisher, hessian
from sparseloom.prune.model import original
from sparseloom.prune.models import MODELS
from sparseloom.prune.placement import Asked, Choice, Placement
from sparseloom.prune.record import (
    CHECKPOINT,
    INTEGERS,
    MASKS,
    QUANTISED,
    RECORD,
    WEIGHTS,
    PrunedWeight,
    Record,
    Settings,
)
from sparseloom.prune.reference import resolve
from sparseloom.prune.schedule import Schedule
from sparseloom.prune.sparsifier import Scores, Sparsifier
from sparseloom.prune.train import Recipe, accuracy, logits, one_line, pairs, start_from, train_epoch

IMPORTANCES: Final = ("magnitude", "fisher", "hessian")
NORMS: Final = ("mean", "rms", "l1", "l2", "variance", "variance-whole")
PHASES: Final = ("dense", "pruned", "int8")
INT8_RATE: Final = 0.1
"""The learning rate of fine-tuning in 8 bits, of that before."""

PART: Final = ".part"
"""Ends the names of files that are being written."""

Watch = Callable[[str, int, int, int, int | None], None]
"""Told the phase, its epoch and its epochs, how many batches of the epoch are done, and of how many."""


def build(name: str) -> nn.Module:
    """The model of a user's function (``file.py:function``), or of a name of :data:`MODELS`. Raises InputError for what
    gives none."""
    if ":" in name:
        model = resolve(name, "model")()
    elif name in MODELS:
        model = MODELS[name]()
    else:
        raise InputError(
            Fault(f"no model is called '{name}'", fix=suggest(name, MODELS) + " Or name a function: mymodel.py:build")
        )
    if not isinstance(model, nn.Module):
        raise InputError(Fault(f"{name} returned a {type(model).__name__}", fix="return a torch.nn.Module"))
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict, by PyTorch's loader of plain tensors alone, so that no code of the file runs. Raises InputError for
    files that hold anything else, and for keys and shapes that are not the model's."""
    state = _loaded(path)
    if isinstance(state, Mapping) and "state_dict" in state and isinstance(state["state_dict"], Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(Fault("this is no state dict of tensors", where=str(path), fix="save model.state_dict()"))
    own = model.state_dict()
    faults = [
        Fault(
            f"the model's {key} is missing", where=str(path), fix=suggest(key, [str(k) for k in state if k not in own])
        )
        for key in own
        if key not in state
    ]
    faults += [
        Fault(f"{key} is not of this model", where=str(path), fix=suggest(str(key), [k for k in own if k not in state]))
        for key in state
        if key not in own
    ]
    faults += [
        Fault(f"{key} has shape {tuple(state[key].shape)}, the model's has {tuple(own[key].shape)}", where=str(path),
              fix="load the weights of the same model")
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]  # fmt: skip
    if faults:
        more = [Fault(f"and {len(faults) - 10} more", where=str(path))] if len(faults) > 10 else []
        raise InputError([*faults[:10], *more])
    model.load_state_dict(state)


def _loaded(path: Path) -> Any:
    if not path.is_file():
        raise InputError(Fault(f"there is no file {path}", fix="name a file that torch.save() wrote"))
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds: a pickle that wants to run code, text, a file that is cut short
        what = f"cannot load it as plain tensors: {one_line(error)[:200]}"
        fix = "save a state dict of tensors, torch.save(model.state_dict(), path): other objects could run code and are not loaded"
        raise InputError(Fault(what, where=str(path), fix=fix)) from None


@dataclass
class _State:
    """How far a run is: ``phase`` counts :data:`PHASES`, ``epoch`` those of the phase that are done."""

    phase: int = 0
    epoch: int = 0
    model: Mapping[str, Any] | None = None
    optimiser: Mapping[str, Any] | None = None
    sparsifier: Mapping[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    accuracies: dict[str, dict[str, float]] = field(default_factory=dict)


def prune(settings: Settings, folder: Path, watch: Watch | None = None) -> Record:
    """Do what the settings say and write it to ``folder``: the record, the weights (a state dict of the model as it was,
    zeros where they were removed) and the masks. A run of the same settings that was cut goes on; a finished one is read.

    Raises InputError for settings, a model or data that are at fault, all of them together where they say nothing about each
    other, and for a folder that holds another run. Nothing is overwritten then.
    """
    pattern, schedule, choice, layers = _checked(settings)
    kept = _kept(settings, folder)
    if isinstance(kept, Record):
        return kept
    faults = list[Fault]()
    model, data = nn.Module(), None
    with gathered(faults):
        start_from(settings.seed)
        model = build(settings.model)
        if settings.weights:
            load_weights(model, Path(settings.weights))
    with gathered(faults):
        data = data_of.load(settings.data, settings.batch)
    if faults or data is None:
        raise InputError(faults)
    example = _example(model, data)
    sparsifier = Sparsifier(
        model, pattern, settings.density, schedule=schedule, choice=choice, importance=_scores(settings, data),
        layers=layers, norm=cast(Norm, settings.norm), seed=settings.seed, example=example,
    )  # fmt: skip
    sparsifier.require_finite()
    _Run(settings, folder, model, data, sparsifier, kept, watch).all()
    return record.read(folder)


class _Run:
    """One run under way. ``model`` is what is trained: the user's, then its form in 8 bits."""

    def __init__(
        self, settings: Settings, folder: Path, model: nn.Module, data: Data, sparsifier: Sparsifier, state: _State,
        watch: Watch | None,
    ) -> None:  # fmt: skip
        self.settings, self.folder, self.model, self.data = settings, folder, model, data
        self.sparsifier, self.state, self.watch = sparsifier, state, watch
        self.notes = list[str]()
        self.bits = dict[str, dict[str, int]]()

    def all(self) -> None:
        """What is left of the run. A checkpoint is of the plain model before the first epoch with masks, then of the masked
        one, then of that in 8 bits; of none between these two, where the files of the pruned model are."""
        settings = self.settings
        if self.state.phase == 0:
            self._phase(0, settings.pretrain)
        if self.state.phase == 1:
            if self.state.epoch == 0:
                self._restore()
            self.sparsifier.prepare()
            self._phase(1, settings.epochs)
        load_weights(self.model, self.folder / WEIGHTS)
        weights = tuple(_pruned_weight(self.sparsifier.model, placement) for placement in self.sparsifier.placements)
        if settings.int8 is not None:
            self._quantise()
            self._phase(2, settings.int8)
            self._write_integers()
        state = self.state
        found = Record(settings, weights, state.accuracies, tuple(state.history), tuple(self.notes), self.bits)
        found.to_json(self.folder / RECORD)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def _phase(self, phase: int, epochs: int) -> None:
        """What is left of the epochs of a phase; a phase of no epochs still masks."""
        settings, state = self.settings, self.state
        rate = settings.learning_rate * (INT8_RATE if phase == 2 else 1.0)
        recipe = Recipe(epochs, rate, settings.optimiser, settings.weight_decay, seed=settings.seed)
        optimiser = recipe.optimiser_of(self.model)
        first = self._restore(optimiser)
        for epoch in range(first, epochs):
            if phase == 1:
                self.sparsifier.step()
            seen = None if self.watch is None else partial(self.watch, PHASES[phase], epoch, epochs)
            penalty = self.sparsifier.penalty if phase == 1 and self.sparsifier.schedule.way == "penalty" else None
            loss = train_epoch(self.model, optimiser, self.data.train, recipe, epoch, penalty, seen)
            found = accuracy(self.model, self.data.validation)
            state.history.append({"phase": PHASES[phase], "epoch": epoch + 1, "loss": loss, "validation": found})
            self._keep(phase, epoch + 1, optimiser)
        if phase == 1 and not self.sparsifier.whole:
            self.sparsifier.step()  # a schedule that removes behind its last epoch, or no epochs at all
        state.accuracies[PHASES[phase]] = {"validation": accuracy(self.model, self.data.validation)}
        if self.data.test is not None:
            state.accuracies[PHASES[phase]]["test"] = accuracy(self.model, self.data.test)
        if phase == 1:
            self._write_pruned()
        if phase < 2:
            self._keep(phase + 1, 0, None)

    def _restore(self, optimiser: torch.optim.Optimizer | None = None) -> int:
        """Put the model, once, where the checkpoint left it; the number of the phase's epochs that are done."""
        state, kept = self.state, self.state.model
        if kept is None:
            return 0
        state.model = None
        try:
            self.model.load_state_dict(kept)
            if optimiser is not None and state.optimiser is not None:
                optimiser.load_state_dict(dict(state.optimiser))
        except (RuntimeError, ValueError) as error:
            what = f"the model is not the one that was cut: {one_line(error)}"
            fix = "go on with that model, or name another folder"
            raise InputError(Fault(what, where=str(self.folder / CHECKPOINT), fix=fix)) from error
        if state.sparsifier is not None:
            self.sparsifier.load_state_dict(state.sparsifier)
        return state.epoch

    def _keep(self, phase: int, epoch: int, optimiser: torch.optim.Optimizer | None) -> None:
        """Write how far the run is."""
        state = self.state
        state.phase, state.epoch = phase, epoch
        in_files = (phase, epoch) == (2, 0)
        kept = {
            "settings": asdict(self.settings), "phase": phase, "epoch": epoch,
            "model": None if in_files else self.model.state_dict(),
            "optimiser": None if optimiser is None else optimiser.state_dict(),
            "sparsifier": self.sparsifier.state_dict() if phase == 1 and epoch else None,
            "history": state.history, "accuracies": state.accuracies,
        }  # fmt: skip
        _save(self.folder / CHECKPOINT, kept)

    def _write_pruned(self) -> None:
        masks = self.sparsifier.squash()
        _write_whole(self.folder / MASKS, lambda file: _write_arrays(file, masks))
        _save(self.folder / WEIGHTS, self.model.state_dict())

    def _quantise(self) -> None:
        """The pruned model in 8 bits, as its files have it."""
        from sparseloom.prune.quantise import quantise

        with np.load(self.folder / MASKS, allow_pickle=False) as masks:
            start_from(self.settings.seed, 0, 2, batches=self.data.train)
            self.model = quantise(self.model, self.data.train, dict(masks))

    def _write_integers(self) -> None:
        """The state in floating point, and the graph of integers where all steps have an integer form."""
        from sparseloom.prune.quantise import QuantisedModel

        assert isinstance(self.model, QuantisedModel)
        _save(self.folder / QUANTISED, self.model.state_dict())
        try:
            graph = self.model.integers()
        except SparseloomError as error:
            self.notes += [f"no graph of integers: {fault.what}" for fault in error.faults]
            return
        graph.write(self.folder / INTEGERS)
        packed.write(packed.packed_weights(graph, self.sparsifier.placements), self.folder / INTEGERS / packed.PACKED)
        self.bits = packed.bits_of(graph, self.sparsifier.placements)


def _checked(settings: Settings) -> tuple[Pattern, Schedule, Choice, dict[str, Asked]]:
    """What the settings say. Raises InputError with all their faults."""
    faults = list[Fault]()
    pattern, schedule = None, None
    with gathered(faults):
        pattern = Pattern.parse(settings.pattern)
        pattern.choices(settings.density)
    with gathered(faults):
        epochs = settings.prune_epochs or max(settings.epochs // 2, 1)
        schedule = Schedule(settings.schedule, epochs, settings.penalty)
        if schedule.spreads and epochs > settings.epochs:
            what = f"{settings.schedule} pruning takes {epochs} epochs, there are {settings.epochs}"
            faults.append(Fault(what, path="prune_epochs", fix="give more --epochs, or fewer --prune-epochs"))
    with gathered(faults):
        Recipe(settings.epochs, settings.learning_rate, settings.optimiser, settings.weight_decay, seed=settings.seed)
        Recipe(settings.pretrain)
        Recipe(settings.int8 or 0)
    if settings.batch < 1:
        faults.append(Fault(f"batches of {settings.batch}", path="batch", fix="give 1 or more"))
    for value, known, what in ((settings.importance, IMPORTANCES, "importance"), (settings.norm, NORMS, "norm")):
        if value not in known:
            faults.append(Fault(f"no {what} is called '{value}'", path=what, fix=suggest(value, known)))
    layers = dict[str, Asked]()
    for name, text, density in settings.layers:
        with gathered(faults):
            own = Pattern.parse(text)
            own.choices(density)
            layers[name] = (own, density)
    if faults or pattern is None or schedule is None:
        raise InputError(faults)
    return pattern, schedule, Choice(settings.first, settings.only, settings.skip, settings.pad), layers


def _scores(settings: Settings, data: Data) -> Scores | None:
    if settings.importance == "magnitude":
        return None
    of = fisher if settings.importance == "fisher" else hessian

    def scores(model: nn.Module) -> Mapping[str, torch.Tensor]:
        start_from(settings.seed, 0, 1, batches=data.train)
        return of(model, data.train)

    return scores


def _kept(settings: Settings, folder: Path) -> Record | _State:
    """What the folder has of this run. Raises InputError for one of another run, and for a folder that cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise InputError(Fault(f"{folder} is no folder", fix="name another one"))
    if (folder / RECORD).is_file():
        found = record.read(folder)
        _require_same(settings, found.settings, folder, "finished")
        return found
    if (folder / CHECKPOINT).is_file():
        kept = _loaded(folder / CHECKPOINT)
        try:
            other = Settings(**kept.pop("settings"))
            state = _State(**kept)
        except (AttributeError, KeyError, TypeError) as error:
            what = f"this is no checkpoint of a pruning: {error}"
            raise InputError(
                Fault(what, where=str(folder / CHECKPOINT), fix="remove it, or name another folder")
            ) from error
        _require_same(settings, other, folder, "unfinished")
        return state
    if folder.is_dir() and any(path.suffix != PART for path in folder.iterdir()):
        raise InputError(Fault(f"{folder} holds other files", fix="name an empty or a new folder"))
    return _State()


def _require_same(settings: Settings, other: Settings, folder: Path, how: str) -> None:
    apart = settings.differences(other)
    if apart:
        what = f"{folder} holds {'an' if how[0] in 'aeiou' else 'a'} {how} run with other settings: {', '.join(apart)}"
        raise InputError(Fault(what, fix="name another folder, or give the settings of that run"))


def _example(model: nn.Module, data: Data) -> Any:
    """The inputs of the first sample. Raises InputError for data that the model cannot take."""
    model.eval()
    for inputs, targets in pairs(data.validation):
        with torch.no_grad():
            logits(model, inputs, targets)
        return data_of.one(inputs, 0)
    raise InputError(Fault(f"the validation split of {data.name} has no samples", fix="give at least one batch"))


def _pruned_weight(model: nn.Module, placement: Placement) -> PrunedWeight:
    weight = placement.weight
    stored = original(model.get_submodule(weight.module), weight.parameter).detach().cpu().numpy() != 0
    return described(placement, stored)


def described(placement: Placement, nonzero: BoolArray) -> PrunedWeight:
    """What a placement and the nonzeros of its weight, as it is stored, come to."""
    weight = placement.weight
    seen = weight.seen(nonzero)
    alone = ("M", "C") if placement.pattern is not None else ()
    dead = [_runs(np.flatnonzero(~_any(seen, weight.ranks, ("G", rank)))) for rank in alone] or [(), ()]
    return PrunedWeight(
        weight.name, weight.module, weight.parameter, weight.kind, weight.ranks, weight.shape, str(placement.pattern or "dense"),
        float(nonzero.mean()), int(nonzero.sum()), nonzero.size, placement.padded, placement.rule, dead[0], dead[1],
    )  # fmt: skip


def _any(seen: Any, ranks: Sequence[str], kept: Sequence[str]) -> Any:
    """For each coordinate of the ``kept`` ranks, those of groups side by side, whether there is a nonzero."""
    return seen.any(axis=tuple(number for number, rank in enumerate(ranks) if rank not in kept)).ravel()


def _runs(numbers: Any) -> tuple[tuple[int, int], ...]:
    """Consecutive numbers as first and last."""
    found = []
    for _, run in groupby(enumerate(numbers.tolist()), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        found.append((members[0], members[-1]))
    return tuple(found)


def _save(path: Path, value: object) -> None:
    _write_whole(path, lambda file: torch.save(value, file))


def _write_arrays(file: Any, arrays: Mapping[str, BoolArray]) -> None:
    """An NPZ file, whatever the arrays are called (``np.savez`` takes names for arguments)."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _write_whole(path: Path, write: Callable[[Any], object]) -> None:
    """A file is there whole, or as it was before."""
    part = path.with_name(path.name + PART)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise InputError(
            Fault(f"cannot write {path}: {error.strerror}", fix="name a folder that can be written")
        ) from error


def trained(folder: Path) -> tuple[Record, nn.Module]:
    """A finished run with its model, the weights loaded. Raises InputError for a folder without one, and for a model that
    changed."""
    found = record.read(folder)
    model = build(found.settings.model)
    load_weights(model, folder / WEIGHTS)
    return found, model
