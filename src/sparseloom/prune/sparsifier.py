"""Masks on the weights of a model, as parametrizations, so that any training loop works: ``prepare -> step -> squash``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparseloom.errors import Fault, InputError
from sparseloom.fibertree.alternative import Norm
from sparseloom.fibertree.density import BoolArray
from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune.model import original, weights_of
from sparseloom.prune.placement import USUAL, Asked, Choice, Placement, plan
from sparseloom.prune.schedule import ONCE, Schedule
from sparseloom.prune.weight import Weight

Scores = Callable[[nn.Module], Mapping[str, Tensor]]
"""The importance of every point of the weights of a model, by the weights' names; see :mod:`sparseloom.prune.importance`."""


class Masked(nn.Module):
    """The parametrization: the tensor where its mask is 1, zero where it is 0; so are its gradients. The mask has the type
    of the tensor: a product with one of booleans takes ten times as long."""

    mask: Tensor

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(tensor, requires_grad=False))

    def forward(self, tensor: Tensor) -> Tensor:
        return tensor * self.mask.to(tensor.dtype)


class Sparsifier:
    """Puts a pattern on the weights of a model.

    ``pattern`` (text or a :class:`Pattern`) with ``density`` where it admits several; ``choice`` says which weights,
    ``layers`` gives other patterns by the name of a weight. ``importance`` of points is their magnitude, or what a function
    of the model returns; ``norm`` makes that of blocks of it. ``seed`` is for the masks of the schedule ``fixed``.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    >>> sparsifier = Sparsifier(model, "C0(2:4)").prepare()
    >>> for epoch in range(1):
    ...     sparsifier.step()
    ...     # train: the optimiser may be made before or after prepare()
    >>> masks = sparsifier.squash()
    >>> int((model[2].weight != 0).sum())
    16
    """

    def __init__(
        self,
        model: nn.Module,
        pattern: str | Pattern,
        density: float | None = None,
        *,
        schedule: Schedule = ONCE,
        choice: Choice = USUAL,
        layers: Mapping[str, Asked] | None = None,
        importance: Scores | None = None,
        norm: Norm = "mean",
        seed: int = 0,
        example: object = None,
    ) -> None:
        self.model = model
        self.schedule, self.importance, self.norm, self.seed = schedule, importance, norm, seed
        parsed = Pattern.parse(pattern) if isinstance(pattern, str) else pattern
        self.placements = plan(self._weights(example), (parsed, density), choice, layers)
        self.epoch = 0
        self._shares: dict[str, float] = {}
        self._condemned: dict[str, Tensor] = {}
        self._order: dict[str, list[str]] = {}

    @property
    def pruned(self) -> tuple[Placement, ...]:
        return tuple(placement for placement in self.placements if placement.pattern is not None)

    def prepare(self) -> Self:
        """Mask every weight that is pruned, with nothing removed yet. Raises InputError for values that are not finite."""
        self.require_finite()
        for placement in self.pruned:
            self._attach(placement)
        return self

    def require_finite(self) -> None:
        """Raises InputError that names the weights with values that are not finite."""
        faults = []
        for placement in self.pruned:
            wrong = int((~torch.isfinite(self._original(placement))).sum())
            if wrong:
                what = f"{placement.weight.name} has {wrong:,} values of {placement.weight.points:,} that are NaN or infinite"
                faults.append(Fault(what, fix="load weights that are finite: what is no number has no importance"))
        if faults:
            raise InputError(faults)

    @property
    def whole(self) -> bool:
        """All of the pruning is in force."""
        return all(self._shares.get(placement.weight.name) == 1 for placement in self.pruned)

    def step(self) -> None:
        """Set the masks of the next epoch. Call it before each; once the pruning is whole, masks stay."""
        placements = self.pruned
        shares = {
            placement.weight.name: self.schedule.share(self.epoch, number, len(placements))
            for number, placement in enumerate(placements)
        }
        self.epoch += 1
        changed = [p for p in placements if shares[p.weight.name] != self._shares.get(p.weight.name, 0.0)]
        self._shares = shares
        self._condemn()
        if not changed:
            return
        scores = self._scores(changed)
        rng = np.random.default_rng(self.seed)
        for placement in changed:
            name = placement.weight.name
            mask = (
                placement.drawn(rng)
                if self.schedule.way == "fixed"
                else self._mask(placement, shares[name], scores.get(name))
            )
            self._parametrization(placement).mask.copy_(torch.from_numpy(np.ascontiguousarray(mask)))

    def penalty(self) -> Tensor:
        """What to add to the loss: the group lasso of the schedule ``penalty`` on the units that would have been removed at the
        start of the epoch, each by its Euclidean norm times the root of its points; else 0."""
        total = torch.zeros((), device=next(self.model.parameters()).device)
        return sum((self._lasso(placement) for placement in self.pruned), total)

    @property
    def masks(self) -> dict[str, BoolArray]:
        """The masks in force, by the name of the weight, as it is stored."""
        return {p.weight.name: _array(self._parametrization(p).mask) != 0 for p in self.pruned}

    def squash(self) -> dict[str, BoolArray]:
        """Take the parametrizations away: what was masked is zero. The masks, by the name of the weight."""
        masks = self.masks
        for placement in self.pruned:
            self._detach(placement)
        return masks

    def state_dict(self) -> dict[str, Any]:
        """What is to be kept beside the model's own state, which has the masks, for a run to go on."""
        return {"epoch": self.epoch, "shares": dict(self._shares)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epoch, self._shares = int(state["epoch"]), dict(state["shares"])

    def _scores(self, placements: list[Placement]) -> Mapping[str, Tensor]:
        """The importance of points, where it is not their magnitude. Raises InputError where it is missing for a weight."""
        if self.importance is None or self.schedule.way == "fixed":
            return {}
        found = self.importance(self.model)
        missing = [placement.weight.name for placement in placements if placement.weight.name not in found]
        if missing:
            what = f"the importance of {', '.join(missing[:4])} is missing"
            raise InputError(Fault(what, path="importance", fix="return a tensor for each weight, by its name"))
        return found

    def _mask(self, placement: Placement, share: float, scores: Tensor | None) -> BoolArray:
        values = _array(self._original(placement))
        own = None if scores is None else _array(scores)
        if share == 0:
            return np.ones_like(values, dtype=np.bool_)
        if self.schedule.way != "incremental" or share == 1:
            return placement.mask(values, self.norm, own, share)
        final = placement.mask(values, self.norm, own)
        return final | _most_important(np.abs(values if own is None else own), ~final, placement.units(), 1 - share)

    def _condemn(self) -> None:
        """What the schedule ``penalty`` would remove now: a number for each point, that of its unit, -1 for what stays."""
        self._condemned = {}
        if self.schedule.way != "penalty" or self.epoch > self.schedule.epochs:
            return
        scores = self._scores(list(self.pruned))
        for placement in self.pruned:
            stays = self._mask(placement, 1.0, scores.get(placement.weight.name))
            self._condemned[placement.weight.name] = torch.from_numpy(np.where(stays, -1, placement.units()).ravel())

    def _lasso(self, placement: Placement) -> Tensor:
        """The part of :meth:`penalty` of one weight."""
        tensor = self._original(placement)
        units = self._condemned.get(placement.weight.name)
        if units is None:
            return torch.zeros((), device=tensor.device)
        units = units.to(tensor.device)
        removed = units >= 0
        points = torch.bincount(units[removed])
        squares = torch.zeros(len(points), dtype=tensor.dtype, device=tensor.device)
        squares = squares.index_add(0, units[removed], tensor.reshape(-1)[removed] ** 2)
        there = squares > 0
        lasso: Tensor = (points[there] * (squares[there] + 1e-12)).sqrt().sum()
        return self.schedule.penalty * lasso

    def _weights(self, example: object) -> tuple[Weight, ...]:
        return weights_of(self.model, example)

    def _attach(self, placement: Placement) -> None:
        """Let the model read a weight through a mask."""
        weight = placement.weight
        module = self.model.get_submodule(weight.module)
        if parametrize.is_parametrized(module, weight.parameter):
            what = f"{weight.name} is parametrized already"
            raise InputError(Fault(what, fix="prepare a model once, and remove other parametrizations first"))
        self._order.setdefault(weight.module, list(module._parameters))
        parametrize.register_parametrization(module, weight.parameter, Masked(getattr(module, weight.parameter)))

    def _detach(self, placement: Placement) -> None:
        """Make what was masked zero, and take the mask away."""
        module = self.model.get_submodule(placement.weight.module)
        parametrize.remove_parametrizations(module, placement.weight.parameter, leave_parametrized=True)
        own = module._parameters  # in the order that they had: the state of an optimiser counts them
        for name in self._order[placement.weight.module]:
            if name in own:
                own[name] = own.pop(name)

    def _original(self, placement: Placement) -> Tensor:
        return original(self.model.get_submodule(placement.weight.module), placement.weight.parameter)

    def _parametrization(self, placement: Placement) -> Masked:
        module = self.model.get_submodule(placement.weight.module)
        found: Masked = module.parametrizations[placement.weight.parameter][0]  # type: ignore[index, assignment]
        return found


def _array(tensor: Tensor) -> Any:
    """A tensor of any floating-point type, on any device, in NumPy."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32)).cpu().numpy()


def _most_important(importance: Any, among: BoolArray, units: Any, share: float) -> BoolArray:
    """Of the units among some points, this share of the most important ones, by the sum over their points."""
    total = np.bincount(units.ravel(), (importance * among).ravel())
    there = np.unique(units[among])
    order = there[np.argsort(-total[there], kind="stable")]
    kept = np.zeros(total.size, np.bool_)
    kept[order[: round(share * order.size)]] = True
    return np.asarray(kept[units] & among)
