"""A tensor rounded to 8 bits with a power-of-two scale while a model trains, by :mod:`sparseloom.integer.position`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparseloom.integer.position import CANDIDATES, HIGH, LOW, best_position, most_frequent


class _Rounded(torch.autograd.Function):
    """Rounds, saturates; gradients pass where nothing saturates (the straight-through estimator)."""

    @staticmethod
    def forward(context: Any, values: Tensor, position: int, parameter: bool) -> Tensor:
        scaled = values * 2.0**position
        context.save_for_backward((scaled >= LOW - 0.5) & (scaled <= HIGH + 0.5))
        whole = torch.copysign((scaled.abs() + 0.5).floor(), scaled) if parameter else (scaled + 0.5).floor()
        return whole.clamp(LOW, HIGH) * 2.0**-position

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = context.saved_tensors
        return gradients[0] * inside, None, None


class Quantiser(nn.Module):
    """Rounds what passes to 8 bits at its ``position``: parameters with halves away from zero, activations with halves up.

    While ``observing`` each batch gives a position of its own, and :meth:`settle` keeps the most frequent. A parameter may have a
    ``mask``: what it leaves out is zero, exactly, and takes no gradient. ``grid`` is the position to which a bias is rounded once
    more, that of its accumulator, where its own is finer.
    """

    position: Tensor
    grid: Tensor
    mask: Tensor | None

    def __init__(self, parameter: bool = False, candidates: int = CANDIDATES) -> None:
        super().__init__()
        self.parameter, self.candidates, self.observing = parameter, candidates, False
        self._history: list[int] = []
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("grid", torch.full((), 2**15, dtype=torch.int64))
        self.register_buffer("mask", None)

    def forward(self, values: Tensor) -> Tensor:
        if self.mask is not None:
            values = values * self.mask
        if self.observing:
            self.position.fill_(best_position(values.detach().cpu().double().numpy(), self.parameter, self.candidates))
            self._history.append(int(self.position))
        found: Tensor = _Rounded.apply(values, int(self.position), self.parameter)  # type: ignore[no-untyped-call]
        if int(self.grid) < int(self.position):
            found = _Rounded.apply(found, int(self.grid), False)  # type: ignore[no-untyped-call]
        return found

    def settle(self) -> None:
        """Take the position that batches gave most often, and observe no more."""
        self.observing = False
        if self._history:
            self.position.fill_(most_frequent(self._history))
            self._history.clear()
