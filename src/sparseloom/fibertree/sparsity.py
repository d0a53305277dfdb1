"""How sparse an operand is, and what of it hardware for other patterns can still exploit.

A *chain* is the rules of a pattern along one rank, the highest part first, as (G, H): ``C1(2:4)->C0(2:4)`` is ((2, 4), (2, 4)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sparseloom.errors import Fault, PatternError
from sparseloom.fibertree.density import check_density
from sparseloom.fibertree.order import OrderedRank, RankOrder
from sparseloom.fibertree.pattern import Pattern
from sparseloom.fibertree.rule import KeepRule
from sparseloom.fibertree.structured import Hierarchical
from sparseloom.fibertree.tree import Level, Part

Chain = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Sparsity:
    """Nonzeros / points of an operand, and the ``chain`` of rules that they follow along the rank that is reduced; without
    one they lie anywhere."""

    density: float = 1.0
    chain: Chain = ()

    def __post_init__(self) -> None:
        check_density(self.density)

    @classmethod
    def parse(cls, text: str) -> Sparsity:
        """``0.4`` (unstructured), ``dense``, or a pattern of one density along one rank, as ``C1(2:4)->C0(2:4)``.

        Raises PatternError for text that is none of these.
        """
        try:
            return cls(float(text))
        except ValueError:
            pass
        pattern = Pattern.parse(text)
        if len(pattern.alternatives) > 1 or pattern.any_degree or len(pattern.degrees()) > 1:
            what = f"'{text}' is no single pattern"
            raise PatternError(Fault(what, fix="give numbers, as C0(2:4), or for any positions a density, as 0.4"))
        found = chain_of(pattern.alternatives[0])
        if found is None:
            what = f"'{text}' is not a pattern along one rank"
            raise PatternError(Fault(what, fix="write its parts from high to low, as C1(2:4)->C0(2:4)"))
        return cls(float(pattern.degrees()[0]), found)

    def __str__(self) -> str:
        if self.chain:
            return str(pattern_of(self.chain, "C"))
        return "dense" if self.density == 1 else f"{self.density:g} unstructured"


def block(chain: Chain) -> int:
    """Coordinates of the rank that the rules of a chain are about together.

    >>> block(((2, 4), (2, 4))), block(())
    (16, 1)
    """
    return math.prod(shape for _, shape in chain)


def chain_of(order: object) -> Chain | None:
    """The chain of a pattern with one G and one H in every rule; None for one that is no chain along one rank."""
    if not isinstance(order, RankOrder):
        return None
    ruled = [rank for rank in order.ranks if rank.rule is not None]
    names = {rank.name.rstrip("0123456789") for rank in ruled}
    numbers = [rank.name[len(rank.name.rstrip("0123456789")) :] for rank in ruled]
    if len(names) > 1 or numbers != [str(n) for n in reversed(range(len(ruled)))]:
        return None
    rules = [rank.rule for rank in ruled]
    if not all(isinstance(rule, KeepRule) and rule.kept.low == rule.kept.high for rule in rules):
        return None
    return tuple((rule.kept.high, rule.shape.high) for rule in rules if isinstance(rule, KeepRule))


def pattern_of(chain: Chain, rank: str) -> Pattern:
    """The pattern of a chain along a rank.

    >>> str(pattern_of(((2, 4), (2, 4)), "K"))
    'K1(2:4)->K0(2:4)'
    """
    numbers = reversed(range(len(chain)))
    ranks = (OrderedRank(f"{rank}{n}", (), KeepRule.exactly(*rule)) for n, rule in zip(numbers, chain, strict=True))
    return Pattern((RankOrder(tuple(ranks)),))


def exploited(supported: Pattern, given: Sparsity) -> Sparsity | None:
    """The sparsity that hardware sees which supports some patterns: the sparsest of them that every tensor of the ``given``
    sparsity obeys; of several, the first. None if it obeys none.

    >>> exploited(Pattern.parse("dense; C0({G<=2}:4)"), Sparsity.parse("C1(2:4)->C0(2:4)"))
    Sparsity(density=0.5, chain=((2, 4),))
    >>> exploited(Pattern.parse("C0({G<=4}:8)"), Sparsity(0.3)) is None
    True
    """
    found: Sparsity | None = None
    for alternative in supported.alternatives:
        if alternative.any_degree:
            offers = [Sparsity(given.density)]
        else:
            chains = [(degree, chain_of(choice)) for degree, choice in alternative.choices()]
            offers = [
                Sparsity(float(degree), chain) for degree, chain in chains if chain is not None and obeys(given, chain)
            ]
        for offer in offers:
            if found is None or offer.density < found.density:
                found = offer
    return found


def obeys(given: Sparsity, wanted: Chain) -> bool:
    """Whether every tensor of the ``given`` sparsity follows the rules of a chain. Where blocks of one cut through blocks of the
    other a block counts as nonempty for each nonzero that may be in it: then the answer may be no where it is yes, never the
    other way round."""
    size = 1
    for kept, shape in reversed(wanted):
        if _most_nonempty(given, size, size * shape) > kept:
            return False
        size *= shape
    return True


def _most_nonempty(given: Sparsity, size: int, window: int) -> int:
    """The most blocks of so many coordinates that are not empty in a window, both aligned."""
    if given.density == 0:
        return 0
    for inner in range(len(given.chain) + 1):
        if block(given.chain[len(given.chain) - inner :]) == size:
            return _most(given.chain[: len(given.chain) - inner], window // size)
    return min(window // size, _most(given.chain, window))


def _most(chain: Chain, window: int) -> int:
    """The most nonzeros in an aligned window of so many coordinates."""
    if not chain:
        return window
    period = block(chain)
    length = math.lcm(period, window)
    levels, stride = [Level((Part(0, length // period, period),))], period
    for kept, shape in chain:
        stride //= shape
        levels.append(Level((Part(0, shape, stride),), kept))
    starts = np.arange(0, length, window)
    return int(Hierarchical((length,), tuple(levels)).worst_occupancy([starts], [starts + window]).max())
