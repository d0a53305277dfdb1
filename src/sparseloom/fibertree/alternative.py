"""What every sparsity pattern can do: the abstract base of rank orders with rules and of permuted diagonals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.density import BoolArray, Density, IntArray

Importance = NDArray[np.float64]
Norm = Literal["mean", "rms", "l1", "l2", "variance", "variance-whole"]
"""How the importance of a payload follows from its points; see :meth:`Pattern.mask`."""


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
    def mask(
        self, importance: Importance, ranks: Sequence[str], density: float | None, norm: Norm, centre: float = 0.0
    ) -> BoolArray:
        """Keep the most important points that the pattern allows; ``importance`` may have a sign, and ``centre`` is its
        mean. Of one density, or with ``density`` where free."""

    @abstractmethod
    def multiples(self, ranks: Sequence[str]) -> dict[str, int]:
        """What the coordinates of each rank have to be a multiple of. Raises PatternError for ranks that are not the tensor's."""

    @abstractmethod
    def with_payload(self, ranks: Sequence[str], payload: Sequence[str]) -> Alternative:
        """The same pattern of a tensor of these ``ranks``, where those of ``payload`` that it does not name are part of what
        it keeps or removes as a whole; itself where that is single points."""

    @abstractmethod
    def eased(self, share: float, density: float | None) -> tuple[Alternative, float | None]:
        """A pattern on its way from dense (``share`` 0) to this one (1), and its density where that is free; itself where it
        has no rule to loosen."""

    @abstractmethod
    def units(self, ranks: Sequence[str], shape: Sequence[int]) -> IntArray:
        """A number for each point of a tensor of this ``shape``, the same for all points that are kept or removed together."""

    @abstractmethod
    def obeys(self, mask: BoolArray, ranks: Sequence[str]) -> bool:
        """Whether some choice of the pattern allows the nonzeros of ``mask``."""

    @abstractmethod
    def density_model(self, ranks: Sequence[str], shape: Sequence[int], density: float | None) -> Density:
        """Where the nonzeros are. Of one density, or with ``density`` where free."""
