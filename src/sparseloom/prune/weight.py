"""The prunable tensors of a model, each seen by the ranks that patterns name, however it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sparseloom.workload.network import Network

Kind = Literal["conv", "linear", "attention"]

KERNEL: Final = ("R", "S")
"""Ranks of the kernel of a convolution; of one coordinate in a matrix."""


@dataclass(frozen=True)
class Weight:
    """A weight tensor: ``stored`` names its ranks in the order of its axes, ``sizes`` their coordinates.

    M counts filters or outputs, C channels or inputs, R and S (T too, of a volume) the places of a kernel. A rank may be
    stored as several axes, ``C1`` outside ``C0``. With ``groups``, M and C are those of one group; M is stored group by group,
    unless G is an axis of its own. ``tied`` names another parameter that is the same tensor.

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
        size = {rank: prod(self.sizes[axis] for axis in self._axes(rank)) for rank in self.ranks}
        if self.groups > 1 and not self._axes("G"):
            size |= {"G": self.groups, "M": size["M"] // self.groups}
        return tuple(size.values())

    @property
    def points(self) -> int:
        return prod(self.sizes)

    @property
    def depthwise(self) -> bool:
        """Every group has one channel."""
        return self.groups > 1 and self.shape[self.ranks.index("C")] == 1

    def seen(self, tensor: NDArray[np.generic]) -> NDArray[np.generic]:
        """A tensor as it is stored, by :attr:`ranks`."""
        return tensor.transpose(self._order).reshape(self.shape)

    def as_stored(self, tensor: NDArray[np.generic]) -> NDArray[np.generic]:
        """The inverse of :meth:`seen`."""
        return tensor.reshape([self.sizes[axis] for axis in self._order]).transpose(np.argsort(self._order))

    @property
    def _order(self) -> list[int]:
        """The stored axes, in the order of :attr:`ranks`."""
        return [axis for rank in dict.fromkeys(("G", *self.ranks)) for axis in self._axes(rank)]

    def _axes(self, rank: str) -> list[int]:
        """The stored axes of a rank, outermost first."""
        split = {int(own[1:] or 0): axis for axis, own in enumerate(self.stored) if own[0] == rank}
        return [split[number] for number in sorted(split, reverse=True)]


def weights_of(network: Network) -> tuple[Weight, ...]:
    """The weights of a network's layers, one for each of the ``count`` instances that are alike, as a model with these layers has
    them."""
    found = list[Weight]()
    for layer in network.layers:
        if layer.constant != "W":
            continue
        size = dict(layer.shape)
        groups = size.get("G", 1)
        matrix = "R" not in size
        stored = ("M", "C") if matrix else ("M", "C", "R", "S")
        sizes = tuple(size[rank] * (groups if rank == "M" else 1) for rank in stored)
        for number in range(layer.count):
            name = layer.name if layer.count == 1 else f"{layer.name}#{number + 1}"
            found.append(Weight(name, "weight", "linear" if matrix else "conv", stored, sizes, groups))
    return tuple(found)
