"""The classes of a batch and the events of one mapping are two ways to list the same transfers."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tests.generators import Case, cases

from sparseloom import case as cases_of_files
from sparseloom import document
from sparseloom.arch.file import build as build_design
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.file import build as build_mapping
from sparseloom.mapping.lanes import thin
from sparseloom.model.activity import Activity, activity
from sparseloom.model.batch import evaluate_batch
from sparseloom.model.classes import ClassSource
from sparseloom.model.evaluate import evaluate
from sparseloom.model.events import Events
from sparseloom.model.nests import lay_out
from sparseloom.model.sparse import Filter
from sparseloom.workload.file import build as build_workload

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(cases(densities=("dense", "uniform"), max_levels=3, lanes=True))
def test_classes_and_events_count_the_same(case: Case) -> None:
    by_class, by_event, irregular = counted(case)
    if not irregular:
        assert_same(by_class, by_event)


def counted(case: Case) -> tuple[Activity, Activity, bool]:
    """What the classes of a mapping give, what its events do, and whether the classes leave it to them."""
    problem = Problem(case.workload, case.design)
    batch = MappingBatch.of(problem, [case.mapping])
    nests, thinning = lay_out(problem, batch), thin(problem, batch)
    source = ClassSource.of(problem, nests)
    by_class = activity(Filter(problem, source), batch, nests, thinning)
    events = Events(nests.loops[0, :, : nests.count[0]], problem.shape)
    return by_class, activity(Filter(problem, events), batch, nests, thinning), source.irregular.size > 0


MACHINE = """
design:
  name: toy
  levels:
    - {{name: L0, block_words: 3, {network}, formats: {{{formats}}}}}
    - {{name: L1, instances: [{fans}]}}
  compute: {{name: MAC, instances: [{fans}]}}
"""
UNEVEN = {
    "one receiver holds its tile, the other has none": (
        "Z[m,n] = A[m,k] * B[k,n]", {"M": 1, "N": 3, "K": 8}, 'A: "UOP(M)-CP(K)"', "2, 1", "A",
        "temporal: [N 3, K 2], spatial: [K 2 X]", "K 3",
    ),
    "a rank beside it that all hold": (
        "O[c,p,q] = I[c,p+r,q+s] * W[c,r,s]", {"C": 4, "P": 4, "Q": 1, "R": 7, "S": 2}, "", "3, 4", "O",
        "temporal: [R 7, P 2, S 2], spatial: [C 4 Y, P 3 X]", "",
    ),
    "windows that are equal or not": (
        "O[p] = I[p+r] * W[r]", {"P": 5, "R": 2}, "", "4, 1", "I", "temporal: [P 2, P 2], spatial: [P 2 X, R 2 X]", "",
    ),
    "windows that were equal or not, seen again": (
        "O[m,q] = I[q+s] * W[m,s]", {"M": 2, "Q": 4, "S": 5}, "", "2, 3", "I",
        "temporal: [M 2, S 2, Q 2], spatial: [Q 2 X, S 3 Y]", "",
    ),
    "windows of unequal length": (
        "O[p] = I[p+r] * W[r]", {"P": 7, "R": 3}, 'I: "CP(PR)"', "4, 1", "I",
        "temporal: [P 2], spatial: [P 2 X, R 2 X]", "P 2, R 2",
    ),
    "parts of a split rank that tiles do not meet": (
        "Z[m,n] = A[m,k] * B[k,n]", {"M": 2, "N": 2, "K": 20}, 'A: "UOP(M,K1)-CP(K0=8)"', "2, 1", "A",
        "temporal: [N 2, M 2, K 4], spatial: [K 2 X]", "K 3",
    ),
    "receivers that have nothing of the last step": (
        "Z[m,n] = A[m,n] * B[m,n]", {"M": 2, "N": 4}, 'A: "UB(N)-U(M)"', "3, 1", "Z",
        "temporal: [M 2, N 2], spatial: [N 3 X]", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("merges", [True, False])
@pytest.mark.parametrize("name", UNEVEN)
def test_receivers_that_differ_are_classed_as_their_events_are(name: str, merges: bool) -> None:
    einsum, shape, formats, fans, held, outer, inner = UNEVEN[name]
    network = f"multicast: {str(merges).lower()}, spatial_reduction: {str(merges).lower()}"
    text = MACHINE.format(network=network, formats=formats, fans=fans) + (
        f'workload: {{einsum: "{einsum}", shape: {json.dumps(shape)}, tensors: {{{einsum.split("= ")[1][0]}: {{density: 0.5}}}}}}\n'
        f"mapping:\n  - {{level: L0, keep: [{', '.join(re.findall('[A-Z](?=.[a-z])', einsum))}], {outer}}}\n"
        f"  - {{level: L1, keep: [{held}], temporal: [{inner}]}}\n"
    )
    node = document.parse(text)
    case = Case(
        build_workload(node.get("workload")), build_design(node.get("design")), build_mapping(node.get("mapping"))
    )
    by_class, by_event, irregular = counted(case)
    assert not irregular
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


@pytest.mark.parametrize(
    ("name", "count"), [("eyeriss-alexnet-conv2", 30), ("stc-flexible-rle-dual-m128-k1152-n1024", 15)]
)
def test_random_mappings_of_published_designs_are_as_their_events(name: str, count: int) -> None:
    from benchmarks.draw import draw

    from sparseloom.model.batch import by_events

    case = cases_of_files.read([name])
    assert case.workload is not None
    assert case.design is not None
    assert case.mapping is not None
    problem = Problem(case.workload, case.design)
    batch = draw(problem, case.mapping, count, 0.5, np.random.default_rng(17))
    found = evaluate_batch(problem, batch)
    alone = [by_events(problem, batch[b : b + 1]) for b in range(count)]
    np.testing.assert_allclose(found.energy_pj, [float(each.energy_pj[0]) for each in alone], 1e-10)
    np.testing.assert_allclose(found.cycles, [float(each.cycles[0]) for each in alone])
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
