"""The classes of a batch and the events of one mapping are two ways to list the same transfers."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from tests.generators import Case, cases

from sparseloom import case as cases_of_files
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.lanes import thin
from sparseloom.model.activity import Activity, activity
from sparseloom.model.batch import evaluate_batch
from sparseloom.model.classes import ClassSource
from sparseloom.model.dataflow import lay_out
from sparseloom.model.evaluate import evaluate
from sparseloom.model.events import Events
from sparseloom.model.sparse import Filter

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(cases(densities=("dense", "uniform"), max_levels=3, lanes=True))
def test_classes_and_events_count_the_same(case: Case) -> None:
    problem = Problem(case.workload, case.design)
    batch = MappingBatch.of(problem, [case.mapping])
    nests = lay_out(problem, batch)
    thinning = thin(problem, batch)
    irregular = np.zeros(1, np.bool_)
    by_class = activity(Filter(problem, ClassSource(problem, nests, irregular)), batch, nests, thinning)
    events = Events(nests.loops[0, :, : nests.count[0]], problem.shape)
    by_event = activity(Filter(problem, events), batch, nests, thinning)
    if not irregular[0]:
        assert_same(by_class, by_event)


def assert_same(a: Activity, b: Activity) -> None:
    for level, tensors in a.shares.items():
        for tensor, share in tensors.items():
            other = b.shares[level][tensor]
            for action in ("read", "fill", "update"):
                mine, theirs = share.moved(action), other.moved(action)
                assert (mine is None) == (theirs is None)
                if mine is not None and theirs is not None:
                    for what in ("words", "blocks", "units", "bits"):
                        where = f"{level} {tensor} {action} {what}"
                        np.testing.assert_allclose(
                            getattr(mine, what), getattr(theirs, what), 1e-9, 1e-9, err_msg=where
                        )
            for what in ("points", "words", "worst_words", "worst_bits"):
                np.testing.assert_allclose(getattr(share.tiles, what), getattr(other.tiles, what), err_msg=what)
    for what in ("actual", "gated", "skipped", "absent", "busiest"):
        np.testing.assert_allclose(getattr(a.computes, what), getattr(b.computes, what), 1e-9, 1e-9, err_msg=what)


def test_a_batch_has_the_results_of_its_mappings() -> None:
    from benchmarks.draw import draw

    case = cases_of_files.read(["coordinate-list-spmspm"])
    assert case.workload is not None
    assert case.design is not None
    assert case.mapping is not None
    problem = Problem(case.workload, case.design)
    batch = draw(problem, case.mapping, 40, 0.2, np.random.default_rng(3))
    found = evaluate_batch(problem, batch)
    alone = [evaluate_batch(problem, batch[b : b + 1]) for b in range(len(batch))]
    np.testing.assert_allclose(found.cycles, [float(each.cycles[0]) for each in alone])
    np.testing.assert_allclose(found.energy_pj, [float(each.energy_pj[0]) for each in alone])
    assert found.valid.tolist() == [bool(each.valid[0]) for each in alone]


def test_a_batch_of_one_is_the_evaluation_of_its_mapping() -> None:
    case = cases_of_files.read(["bitmask-spmspm"])
    assert case.workload is not None
    assert case.design is not None
    assert case.mapping is not None
    problem = Problem(case.workload, case.design)
    found = evaluate_batch(problem, MappingBatch.of(problem, [case.mapping]))
    result = evaluate(case.workload, case.design, case.mapping)
    assert found.cycles[0] == result.cycles
    np.testing.assert_allclose(found.energy_pj[0], result.energy_pj)
