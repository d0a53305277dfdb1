"""The prunable tensors of a model, each seen by the ranks that patterns name, however it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["conv", "linear", "attention"]

KERNEL: Final = ("R", "S")
"""Ranks of the kernel of a convolution; of one coordinate in a matrix."""


@dataclass(frozen=True)
class Weight:
    """A weight tensor: ``stored`` names its ranks in the order of its axes, ``sizes`` their coordinates.

    M counts filters or outputs, C channels or inputs, R and S (T too, of a volume) the places of a kernel. With ``groups``,
    M and C are those of one group and M is stored group by group. ``tied`` names another parameter that is the same tensor.

    >>> linear = Weight("fc", "weight", "linear", ("M", "C"), (10, 84))
    >>> linear.ranks, linear.shape
    (('M', 'C', 'R', 'S'), (10, 84, 1, 1))
    """

    module: str
    parameter: str
    kind: Kind
    stored: tuple[str, ...]
    sizes: tuple[int, ...]
    groups: int = 1
    tied: str = ""

    @property
    def name(self) -> str:
        """The module's name; with the parameter's, where that is not ``weight`` or ``kernel``."""
        own = self.parameter.removesuffix("weight").removesuffix("kernel").rstrip("_")
        return ".".join(part for part in (self.module, own) if part)

    @property
    def ranks(self) -> tuple[str, ...]:
        """The ranks that patterns see: G, if there are groups, then M, C, kernel."""
        deep = ("T",) if "T" in self.stored else ()
        return (*(("G",) if self.groups > 1 else ()), "M", "C", *deep, *KERNEL)

    @property
    def shape(self) -> tuple[int, ...]:
        """Coordinates of :attr:`ranks`."""
        size = {"R": 1, "S": 1, **dict(zip(self.stored, self.sizes, strict=True)), "G": self.groups}
        size["M"] //= self.groups
        return tuple(size[rank] for rank in self.ranks)

    @property
    def points(self) -> int:
        return prod(self.sizes)

    @property
    def depthwise(self) -> bool:
        """Every group has one channel."""
        return self.groups > 1 and self.shape[self.ranks.index("C")] == 1

    def seen(self, tensor: NDArray[np.generic]) -> NDArray[np.generic]:
        """A tensor as it is stored, by :attr:`ranks`."""
        order = [self.stored.index(rank) for rank in self.ranks if rank in self.stored]
        return tensor.transpose(order).reshape(self.shape)

    def as_stored(self, tensor: NDArray[np.generic]) -> NDArray[np.generic]:
        """The inverse of :meth:`seen`."""
        order = [rank for rank in self.ranks if rank in self.stored]
        size = dict(zip(self.stored, self.sizes, strict=True))
        return tensor.reshape([size[rank] for rank in order]).transpose([order.index(rank) for rank in self.stored])
