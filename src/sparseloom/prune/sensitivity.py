"""What pruning one layer alone does to the loss: accuracy as data for a search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import torch
from torch import nn

from sparseloom.fibertree.alternative import Norm
from sparseloom.prune.data import Batch
from sparseloom.prune.model import original
from sparseloom.prune.placement import Placement
from sparseloom.prune.train import loss_of

DENSE: Final = "dense"


def mean_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """The mean cross-entropy of the samples."""
    model.eval()
    total, samples = 0.0, 0
    with torch.no_grad():
        for inputs, targets in batches:
            total += float(loss_of(model, inputs, targets, "sum"))
            samples += len(targets)
    return total / max(samples, 1)


def sensitivities(
    model: nn.Module,
    batches: Iterable[Batch],
    placements: Mapping[str, Iterable[Placement]],
    norm: Norm = "mean",
    watch: Callable[[], None] | None = None,
) -> dict[str, dict[str, float]]:
    """By weight and pattern: what masking this weight alone adds to the mean loss on the batches, without training after it;
    not below 0. ``placements`` are those of each pattern, by its name; weights that it leaves dense are missing."""
    dense = mean_loss(model, batches)
    found = dict[str, dict[str, float]]()
    for name, own in placements.items():
        for placement in own:
            found.setdefault(placement.weight.name, {DENSE: 0.0})
            if placement.pattern is None:
                continue
            tensor = original(model.get_submodule(placement.weight.module), placement.weight.parameter)
            kept = tensor.detach().clone()
            mask = torch.from_numpy(placement.mask(kept.cpu().numpy(), norm).copy()).to(tensor.device)
            with torch.no_grad():
                tensor.mul_(mask)
                found[placement.weight.name][name] = max(mean_loss(model, batches) - dense, 0.0)
                tensor.copy_(kept)
            if watch is not None:
                watch()
    return found
