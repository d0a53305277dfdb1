"""What every sparsity pattern can do: the abstract base of rank orders with rules and of permuted diagonals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.density import BoolArray, Density

Importance = NDArray[np.float64]
Norm = Literal["mean", "rms"]


class Alternative(ABC):
    """One pattern of those that a support set offers. Subclasses are frozen, and print as they are parsed."""

    @property
    @abstractmethod
    def any_degree(self) -> bool:
        """Some rank is unconstrained, so that the density is free."""

    @abstractmethod
    def choices(self) -> list[tuple[Fraction, Alternative]]:
        """Every pattern of one density, with that density, the preferred first; () where the density is free."""

    @abstractmethod
    def mask(self, importance: Importance, ranks: Sequence[str], density: float | None, norm: Norm) -> BoolArray:
        """Keep the most important points that the pattern allows. Of one density, or with ``density`` where free."""

    @abstractmethod
    def obeys(self, mask: BoolArray, ranks: Sequence[str]) -> bool:
        """Whether some choice of the pattern allows the nonzeros of ``mask``."""

    @abstractmethod
    def density_model(self, ranks: Sequence[str], shape: Sequence[int], density: float | None) -> Density:
        """Where the nonzeros are. Of one density, or with ``density`` where free."""
