"""How much of the pruning is in force in an epoch."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from sparseloom.errors import Fault, InputError, suggest

WAYS: Final[dict[str, str]] = {
    "once": "all masks before the first epoch, then fine-tuning with masked weights and gradients (STC's recipe)",
    "gradual": "the rules tighten over the epochs: G of H falls from H, a free density from 1 (density-bound blocks' recipe)",
    "incremental": "a share more of what the pattern removes goes each epoch, the least important first",
    "layerwise": "one layer after another, the first one first",
    "penalty": "group lasso on what is to be removed during the epochs, then it is removed",
    "fixed": "a random mask with the pattern, from the first epoch of a training from scratch",
}


@dataclass(frozen=True)
class Schedule:
    """When layers are pruned: ``way`` is one of :data:`WAYS`, spread over the first ``epochs``; ``penalty`` is the weight of the
    group lasso.

    ``once``: Mishra et al., "Accelerating sparse deep neural networks" (2021), as the thesis (6.4.1) uses it. ``gradual``:
    Liu et al., "Sparse systolic tensor array" (2020), V-A. ``incremental``, ``penalty`` and ``layerwise``: "Weight block
    sparsity" (2024), 3.1 and 3.2.

    Raises InputError for an unknown way, for epochs below 1 where the way takes some, and for a negative penalty.

    >>> [Schedule("gradual", 4).share(epoch, 0, 1) for epoch in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    >>> [Schedule("layerwise", 4).share(0, layer, 2) for layer in range(2)]
    [1.0, 0.0]
    """

    way: str = "once"
    epochs: int = 0
    penalty: float = 1e-3

    def __post_init__(self) -> None:
        faults = []
        if self.way not in WAYS:
            faults.append(Fault(f"no schedule is called '{self.way}'", path="schedule", fix=suggest(self.way, WAYS)))
        if self.spreads and self.epochs < 1:
            what = f"{self.way} pruning over {self.epochs} epochs"
            faults.append(Fault(what, path="prune_epochs", fix="give 1 or more"))
        if not 0 <= self.penalty < inf:
            faults.append(Fault(f"the penalty is {self.penalty:g}", path="penalty", fix="give 0 or more"))
        if faults:
            raise InputError(faults)

    @property
    def spreads(self) -> bool:
        """The way takes epochs of its own."""
        return self.way not in ("once", "fixed")

    def share(self, epoch: int, layer: int, layers: int) -> float:
        """How much of the pruning of one of so many ``layers`` is in force in an epoch, from 0 to 1."""
        match self.way:
            case "gradual" | "incremental":
                return min((epoch + 1) / self.epochs, 1.0)
            case "layerwise":
                return float(epoch >= layer * self.epochs // layers)
            case "penalty":
                return float(epoch >= self.epochs)
        return 1.0


ONCE: Final = Schedule()
