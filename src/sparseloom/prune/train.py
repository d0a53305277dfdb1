"""Training by epochs that repeat: what an epoch does follows from the weights before it, the seed and its number."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from sparseloom.errors import Fault, InputError, suggest
from sparseloom.prune.data import Batch
from sparseloom.prune.model import call

OPTIMISERS: Final = ("adamw", "sgd")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: cross-entropy, ``learning_rate`` falling to zero along half a cosine over all ``epochs``.

    Raises InputError for an unknown optimiser, for negative epochs and for rates that are not positive.
    """

    epochs: int
    learning_rate: float = 1e-3
    optimiser: str = "adamw"
    weight_decay: float = 1e-4
    momentum: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        faults = []
        if self.epochs < 0:
            faults.append(Fault(f"{self.epochs} epochs", path="epochs", fix="give 0 or more"))
        if not (self.weight_decay >= 0 and isfinite(self.weight_decay)):
            faults.append(
                Fault(f"the weight decay is {self.weight_decay:g}", path="weight_decay", fix="give 0 or more")
            )
        if self.seed < 0:
            faults.append(Fault(f"the seed is {self.seed}", path="seed", fix="give 0 or more"))
        if not (self.learning_rate > 0 and isfinite(self.learning_rate)):
            faults.append(
                Fault(f"the learning rate is {self.learning_rate:g}", path="lr", fix="give more than 0, as 1e-3")
            )
        if self.optimiser not in OPTIMISERS:
            what = f"no optimiser is called '{self.optimiser}'"
            faults.append(Fault(what, path="optimiser", fix=suggest(self.optimiser, OPTIMISERS)))
        if faults:
            raise InputError(faults)

    def rate(self, epoch: int, done: float) -> float:
        """The learning rate when a share of an epoch is done."""
        return self.learning_rate * (1 + cos(pi * (epoch + done) / self.epochs)) / 2

    def optimiser_of(self, model: nn.Module) -> torch.optim.Optimizer:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if self.optimiser == "sgd":
            return torch.optim.SGD(parameters, self.learning_rate, self.momentum, weight_decay=self.weight_decay)
        return torch.optim.AdamW(parameters, self.learning_rate, weight_decay=self.weight_decay)


def train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Iterable[Batch],
    recipe: Recipe,
    epoch: int,
    penalty: Callable[[], Tensor] | None = None,
    watch: Callable[[int, int | None], None] | None = None,
) -> float:
    """One pass over the batches; the mean loss of its samples. The generators of Python, NumPy and PyTorch, and of a loader
    that has one of its own, start from the recipe's seed and the number of the epoch. ``watch`` is told how many batches are
    done, of how many.

    Raises InputError where the model and the batches do not go together, and for a loss that is no number.
    """
    start_from(recipe.seed, epoch, batches=batches)
    model.train()
    size = _count(batches)
    total, samples = 0.0, 0
    for number, (inputs, targets) in enumerate(pairs(batches)):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate(epoch, number / size if size else 0.0)
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(model, inputs, targets)
        whole = loss if penalty is None else loss + penalty()
        whole.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total, samples = total + float(loss.detach()) * len(targets), samples + len(targets)
        if not isfinite(total):
            what = f"the loss is {float(loss.detach()):g} in epoch {epoch + 1}, batch {number + 1}"
            raise InputError(Fault(what, fix="lower the learning rate, and see that the data are finite"))
        if watch is not None:
            watch(number + 1, size)
    if not samples:
        raise InputError(Fault("the training split has no batches", fix="give at least one"))
    return total / samples


def accuracy(model: nn.Module, batches: Iterable[Batch]) -> float:
    """The share of the samples whose largest output is at their target."""
    model.eval()
    right, samples = 0, 0
    with torch.no_grad():
        for inputs, targets in pairs(batches):
            right += int((logits(model, inputs, targets).argmax(-1) == targets).sum())
            samples += len(targets)
    if not samples:
        raise InputError(Fault("a split has no batches to measure with", fix="give at least one"))
    return right / samples


def loss_of(model: nn.Module, inputs: object, targets: Tensor, reduction: str = "mean") -> Tensor:
    """The cross-entropy of a batch. Raises InputError as :func:`logits` does."""
    return functional.cross_entropy(logits(model, inputs, targets), targets.long(), reduction=reduction)


def _count(batches: object) -> int | None:
    """How many batches there are; None where that is not known, as of a loader of a dataset without a length."""
    try:
        return len(batches) if isinstance(batches, Sized) else None
    except TypeError:
        return None


def logits(model: nn.Module, inputs: object, targets: Tensor) -> Tensor:
    """The outputs, [samples, classes]. Raises InputError where model, inputs and targets do not go together."""
    try:
        outputs = call(model, inputs)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        shapes = _shapes(inputs)
        what = f"the model cannot take inputs of shape {shapes}: {one_line(error)}"
        raise InputError(
            Fault(what, fix="give batches that fit the model's forward(), the first axis counting samples")
        ) from error
    outputs = getattr(outputs, "logits", outputs)
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(targets):
        got = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        what = f"the model gives {got} for {len(targets)} samples"
        raise InputError(Fault(what, fix="let it return one row of class scores for each sample"))
    if targets.ndim != 1 or targets.is_floating_point():
        what = f"targets are of shape {tuple(targets.shape)} and type {str(targets.dtype).removeprefix('torch.')}"
        raise InputError(Fault(what, fix="give the number of a class for each sample"))
    if not len(targets):
        raise InputError(Fault("a batch has no samples", fix="give at least one"))
    if int(targets.min()) < 0 or int(targets.max()) >= outputs.shape[1]:
        what = (
            f"targets run from {int(targets.min())} to {int(targets.max())}, the model has {outputs.shape[1]} classes"
        )
        raise InputError(Fault(what, fix="number the classes from 0, and let the model have as many"))
    return outputs


def start_from(*numbers: int, batches: object = None) -> None:
    """Put all generators to where these numbers lead, as a seed and an epoch: so that an epoch is the same whenever it runs."""
    number = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    torch.manual_seed(number)
    np.random.seed(number)  # users' own loaders may draw from it
    random.seed(number)
    own = getattr(batches, "generator", None) if isinstance(batches, DataLoader) else None
    for generator in (own, getattr(getattr(batches, "sampler", None), "generator", None)):
        if isinstance(generator, torch.Generator):
            generator.manual_seed(number)


def pairs(batches: Iterable[object]) -> Iterable[Batch]:
    """The batches, each of which has to be inputs and a tensor of targets. Raises InputError for one that is not."""
    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) != 2 or not isinstance(batch[1], Tensor):
            what = f"a batch is a {type(batch).__name__} of {len(batch) if isinstance(batch, Sized) else 'no'} parts"
            raise InputError(Fault(what, fix="let the loader give (inputs, targets), targets being a tensor"))
        yield batch[0], batch[1]


def _shapes(inputs: object) -> str:
    if isinstance(inputs, dict):
        return ", ".join(f"{key}: {_shapes(value)}" for key, value in inputs.items())
    if isinstance(inputs, tuple | list):
        return ", ".join(_shapes(value) for value in inputs)
    return str(tuple(inputs.shape)) if isinstance(inputs, Tensor) else type(inputs).__name__


def one_line(error: BaseException) -> str:
    """The first line of what an error says, or its type."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
