"""Banks of a store to which lanes scatter what they make: places that meet in one bank wait for each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Banks:
    """So many banks, ``count``, of which each takes a word a cycle, with a ``queue`` of so many words before each."""

    count: int
    queue: int = 0

    def slowdown(self, accesses: float) -> float:
        """Cycles for what lanes make in one, on average: ``accesses`` words a cycle, to banks at random, all alike.

        A queue of q words evens out what comes in q + 1 cycles: these take as long as the bank that most of their words meet
        in. The loads of banks are taken to be independent of each other, each binomial (within 5 % of throws at random).

        >>> round(Banks(32).slowdown(16), 2), round(Banks(32, queue=15).slowdown(16), 2)
        (2.32, 1.01)
        """
        window = self.queue + 1
        words = accesses * window
        few, part = int(words), words % 1
        total = sum(
            share * _fullest(number, self.count, window)
            for number, share in ((few, 1 - part), (few + 1, part))
            if share
        )
        return total / window


@lru_cache(maxsize=1 << 12)
def _fullest(words: int, banks: int, least: int) -> float:
    """The mean of the most words in one bank, but at ``least`` so many."""
    import numpy as np
    from scipy.special import bdtr

    above = np.arange(least, words)
    return float(least + (1 - bdtr(above, words, 1 / banks) ** banks).sum())
