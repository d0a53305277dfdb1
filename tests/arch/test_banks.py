"""Time that lanes take to reach banks at random, against throwing words into banks."""

import numpy as np
import pytest

from sparseloom.arch.banks import Banks


@pytest.mark.parametrize("queue", [0, 1, 3, 7, 15])
@pytest.mark.parametrize(("count", "accesses"), [(32, 16), (16, 16), (8, 3)])
def test_conflicts_cost_what_throws_cost(count: int, accesses: int, queue: int) -> None:
    window, rng = queue + 1, np.random.default_rng(7)
    loads = [max(np.bincount(throw).max(), window) for throw in rng.integers(0, count, size=(4000, accesses * window))]
    assert Banks(count, queue).slowdown(accesses) == pytest.approx(np.mean(loads) / window, rel=0.05)


def test_one_word_a_cycle_never_waits() -> None:
    assert Banks(4).slowdown(1.0) == 1.0
    assert Banks(4).slowdown(0.0) == 1.0
