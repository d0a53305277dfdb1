"""Sparsity patterns: one description from which masks, statistics, checks and random tensors follow.

A pattern is an order of ranks from high to low, some with a rule (Wu, "Systematic Modeling and Design of Sparse Deep
Neural Network Accelerators", thesis, 2023, chapter 5):

=====================================  ===========================================================================
``RS->C1->C0(2:4)``                    2 of 4 along C
``C1(3:4)->C0(2:4)``                   two-rank hierarchical structured sparsity (HSS)
``CRS(unconstrained)``                 any points, the ranks C, R, S flattened into one
``unstructured``                       any points, all ranks of the tensor flattened
``C(unconstrained)->R->S``             whole channels
``C->RS(4:9)``                         4 of the 9 points of a kernel
``C0({G<=8}:8)``                       a set of rules: at most 1, 2 .. 8 of 8
``C1(2:{2<=H<=8})->C0(2:{2<=H<=4})``   a set of rules on two ranks
``dense; C0({G<=2}:4)``                alternatives
``M1K1(unconstrained)->M0K0=8x8``      whole blocks of 8 x 8; ``block(M:8, K:8)`` for short
``dbb(C: 3/8)``                        density-bound blocks, short for ``C0(3:8)``
``permdiag(M,C: 4)``                   permuted diagonals; ``k=1`` or ``k=[0,3,...]`` fixes them
=====================================  ===========================================================================

Ranks of the tensor that are not named lie outermost and are not pruned. ``C1``, ``C0`` are parts of C, the highest
first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from sparseloom.errors import Fault, PatternError
from sparseloom.fibertree import notation
from sparseloom.fibertree.alternative import Alternative, Norm
from sparseloom.fibertree.density import BoolArray, Density, IntArray, check_density

Result = TypeVar("Result")
_SAME = 1e-6
"""A density given as a float is a degree of the pattern if it differs by no more than this."""


@dataclass(frozen=True)
class Pattern:
    """One or more alternative sparsity patterns. See the module for the notation.

    ``ranks``, in all methods, are the names of the tensor's ranks in its own order, for example ("M", "C", "R", "S").
    Where the pattern admits several densities, ``density`` chooses one; without it PatternError lists them.

    >>> Pattern.parse("C1(3:4)->C0(2:4)").degrees()
    (Fraction(3, 8),)
    """

    alternatives: tuple[Alternative, ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises PatternError, with a caret at the place, for text that is no pattern."""
        return cls(notation.read(text))

    def __str__(self) -> str:
        return "; ".join(str(alternative) for alternative in self.alternatives)

    @property
    def any_degree(self) -> bool:
        """Some alternative is unconstrained: besides :meth:`degrees` it admits every density that its rules leave."""
        return any(alternative.any_degree for alternative in self.alternatives)

    def degrees(self) -> tuple[Fraction, ...]:
        """Every density that the rules with numbers admit, the densest first; unconstrained ones add none."""
        found = {degree for alternative in self.alternatives for degree, _ in alternative.choices()}
        return tuple(sorted(found, reverse=True))

    def at(self, density: float | Fraction) -> Pattern:
        """The one pattern of the set with this density, or the unconstrained alternative.

        Of several with the same density, that which prunes the lowest rank most (on a tensor, the first of them that
        divides it is used). Raises PatternError if none has it.
        """
        return Pattern((self._matching(density)[0],))

    def mask(
        self,
        values: ArrayLike,
        ranks: Sequence[str],
        density: float | Fraction | None = None,
        importance: ArrayLike | None = None,
        norm: Norm = "mean",
        centre: float | None = None,
    ) -> BoolArray:
        """Where to keep the values: the most important that the pattern allows, lower rank first (thesis, 5.2.2).

        The importance of a point is its magnitude, or given. That of a payload, by ``norm``, with w its points that are left,
        others 0: ``mean`` of abs(w) (the thesis's scaled L2 norm), ``rms``, ``l1``, ``l2``, ``variance`` about their own mean (of
        a single point: about that of the tensor), ``variance-whole`` about that of the tensor (a given importance is about
        0). Payloads are equally large, so that ``mean`` and ``l1`` choose alike, ``rms`` and ``l2`` too. Permuted diagonals
        are always chosen by their sums of squares. ``centre`` is the mean of the tensor where what is given has more points.
        Raises PatternError for values that are not finite.
        """
        weights = np.asarray(values if importance is None else importance, dtype=np.float64)
        if importance is None and not norm.startswith("variance"):
            weights = np.abs(weights)
        if weights.shape != np.shape(values):
            what = f"importance has shape {weights.shape}, the values have {np.shape(values)}"
            raise PatternError(Fault(what, path="importance", fix="give one importance for each value"))
        if not np.isfinite(weights).all():
            wrong = weights.size - int(np.isfinite(weights).sum())
            what = f"{wrong:,} of {weights.size:,} values are NaN or infinite"
            raise PatternError(Fault(what, fix="mend them first: what is no number has no importance"))
        free, mean = _plain(density), float(weights.mean()) if centre is None else centre
        fits = self._matching(density)
        return _first_that_fits(fits, lambda alternative: alternative.mask(weights, ranks, free, norm, mean))

    def choices(self, density: float | Fraction | None = None) -> tuple[Pattern, ...]:
        """The single patterns of this density, the preferred first."""
        return tuple(Pattern((alternative,)) for alternative in self._matching(density))

    def multiples(self, ranks: Sequence[str]) -> dict[str, int]:
        """What the coordinates of each rank have to be a multiple of, for a single pattern."""
        return self._single.multiples(ranks)

    def with_payload(self, ranks: Sequence[str], payload: Sequence[str]) -> Pattern:
        """The same for a tensor of these ``ranks``, where those of ``payload`` that a pattern does not name are part of what
        it keeps or removes as a whole, instead of outermost; a pattern that keeps or removes single points is left as it is.

        >>> str(Pattern.parse("block(M:8, C:8); C0(2:4)").with_payload(("M", "C", "R", "S"), ("R", "S")))
        'M1C1(unconstrained)->M0C0=8x8->RS; C0(2:4)'
        """
        return Pattern(tuple(alternative.with_payload(ranks, payload) for alternative in self.alternatives))

    def eased(self, share: float, density: float | Fraction | None = None) -> tuple[Pattern, float | None]:
        """A single pattern on its way from dense (``share`` 0) to itself (1), and its density where that is free: G of H becomes
        H - share (H - G), rounded up, and what is unconstrained keeps more. Permuted diagonals have nothing to loosen.

        >>> [str(Pattern.parse("C0(2:8)").eased(share)[0]) for share in (0.0, 0.5, 1.0)]
        ['C0(8:8)', 'C0(5:8)', 'C0(2:8)']
        >>> Pattern.parse("unstructured").eased(0.5, 0.2)[1]
        0.6
        """
        alternative, free = self._single.eased(share, _plain(density))
        return Pattern((alternative,)), free

    def units(self, ranks: Sequence[str], shape: Sequence[int]) -> IntArray:
        """A number for each point of a tensor of this ``shape``, for a single pattern: points with the same are kept or removed
        together (a block, a channel, a kernel), so that most are alone under a rule on the lowest rank."""
        return self._single.units(ranks, shape)

    @property
    def _single(self) -> Alternative:
        if len(self.alternatives) > 1:
            raise PatternError(Fault(f"{self} are several patterns", fix="choose one, as by choices(density)"))
        return self.alternatives[0]

    def obeys(self, mask: ArrayLike, ranks: Sequence[str]) -> bool:
        """Whether the nonzeros of ``mask`` (a mask, or the tensor itself) fit some alternative.

        A fiber under G:H may keep fewer than G. What lies below the lowest rule is kept or removed as a whole: for a
        pattern of channels or blocks, a block with some zeros does not obey, nor does any zero obey ``dense``.
        """
        nonzero = np.asarray(np.asarray(mask) != 0)
        return any(alternative.obeys(nonzero, ranks) for alternative in self.alternatives)

    def density_model(
        self, ranks: Sequence[str], shape: Sequence[int], density: float | Fraction | None = None
    ) -> Density:
        """The statistics of a tensor with this pattern, nonzeros placed uniformly at random within its rules."""
        sizes, free = tuple(shape), _plain(density)
        fits = self._matching(density)
        return _first_that_fits(fits, lambda alternative: alternative.density_model(ranks, sizes, free))

    def draw(
        self,
        ranks: Sequence[str],
        shape: Sequence[int],
        rng: np.random.Generator,
        density: float | Fraction | None = None,
    ) -> BoolArray:
        """A random mask with this pattern: each fiber keeps as many coordinates as its rule allows."""
        return self.density_model(ranks, shape, density).draw(rng)

    def _matching(self, density: float | Fraction | None) -> list[Alternative]:
        """The patterns of this density, the preferred first; never empty."""
        choices = [choice for alternative in self.alternatives for choice in alternative.choices()]
        if density is None:
            if len(self.degrees()) == 1 and not self.any_degree:
                return [alternative for _, alternative in choices]
            raise PatternError(Fault(f"pattern {self} admits several densities, none was given", fix=self._offer()))
        check_density(float(density))
        found = [alternative for degree, alternative in choices if abs(float(degree) - float(density)) <= _SAME]
        found += [alternative for alternative in self.alternatives if alternative.any_degree]
        if not found:
            what = f"pattern {self} has no density {float(density):g}"
            raise PatternError(Fault(what, path="density", fix=self._offer()))
        return found

    def _offer(self) -> str:
        degrees = [f"{d} ({float(d):.4g})" if d.denominator > 1 else str(d) for d in self.degrees()]
        return "give a density: " + ", ".join(degrees + ["any between 0 and 1"] * self.any_degree)


def _first_that_fits(alternatives: list[Alternative], call: Callable[[Alternative], Result]) -> Result:
    """Of patterns with the same density, some may not divide the tensor; raises the faults of all if none does."""
    faults: list[Fault] = []
    for alternative in alternatives:
        try:
            return call(alternative)
        except PatternError as error:
            faults += error.faults
    raise PatternError(faults)


def _plain(density: float | Fraction | None) -> float | None:
    return None if density is None else float(density)
