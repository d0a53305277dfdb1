"""The best of several ways to run a layer is proven only if no other way can hold a better one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.errors import Fault, MappingError, SparseloomError
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.search.comparison import Contender, Outcome, Refusal, compare, runs
from sparseloom.search.network import map_layer
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

NETWORK = Network("one", "made by hand", (Layer.linear("fc", rows=64, inputs=128, outputs=64),))
CONTENDER = Contender.at(load("stc"), constraints("stc"), Technology())
[ORDERS], _ = runs(NETWORK, CONTENDER, Sparsity.parse("C0(2:4)"), Sparsity(0.5), "edp", 20)
BESTS = [map_layer(run.setting, run.layer) for run in ORDERS]


def _outcome(monkeypatch: pytest.MonkeyPatch, other: object) -> Outcome | Refusal:
    """What is found if the search of the way that is not the best ends like this."""
    best = min(BESTS, key=lambda found: found.value)
    answers = iter([found if found is best else other for found in BESTS])

    def search(*_: object) -> object:
        answer = next(answers)
        if isinstance(answer, SparseloomError):
            raise answer
        return answer

    monkeypatch.setattr("sparseloom.search.comparison.map_layer", search)
    [found] = compare([ORDERS])
    return found


def test_a_way_without_a_mapping_yet_leaves_the_gap_to_its_bound(monkeypatch) -> None:
    assert [best.proven for best in BESTS] == [True, True]
    best, worst = sorted(BESTS, key=lambda found: found.value)
    found = _outcome(monkeypatch, worst)
    assert isinstance(found, Outcome)
    assert found.best.proven
    unfinished = replace(worst, mapping=None, value=float("inf"), bound=0.8 * best.value)
    found = _outcome(monkeypatch, unfinished)
    assert isinstance(found, Outcome)
    assert (found.best.value, found.best.proven) == (best.value, False)
    assert found.best.gap == pytest.approx(0.25)


def test_a_way_that_fits_nowhere_leaves_a_proof_and_one_that_was_killed_does_not(monkeypatch) -> None:
    found = _outcome(monkeypatch, MappingError(Fault("nothing fits")))
    assert isinstance(found, Outcome)
    assert found.best.proven
    found = _outcome(monkeypatch, SparseloomError(Fault("its process was killed")))
    assert isinstance(found, Outcome)
    assert (found.best.proven, found.best.gap) == (False, float("inf"))
