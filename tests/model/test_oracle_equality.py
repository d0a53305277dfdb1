"""With known tensors the model's closed form equals the oracle's walk over the nest, count by count."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.generators import Case, cases, features_of, with_actual_data
from tests.model.counts import differences
from tests.model.machines import case as machine
from tests.model.seldom import SELDOM, seldom
from tests.sim.toys import level, workload

from sparseloom.designs.load import load
from sparseloom.fibertree.pattern import Pattern
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.mapping import Loop, Mapping
from sparseloom.model.conventions import SPARSELOOM
from sparseloom.model.dataflow import DenseTraffic, count_dense
from sparseloom.model.evaluate import evaluate
from sparseloom.sim.loopnest import draw_tensors, execute
from sparseloom.sim.nest import lay_out
from sparseloom.sim.transfer import Transfer, edges, transfers

SEEDS = st.integers(0, 2**16)
DRAWS = 1000
WANTED = (
    "imperfect bound",
    "sliding window",
    "bypass",
    "multicast",
    "spatial reduction",
    "double-sided at two levels",
    "block of several words",
    "two-rank format",
    "unaligned tile",
    "spatial-skipping of several lanes",
    "position-skipping of several lanes",
    "stream",
)


@settings(max_examples=120, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cases(max_points=200), SEEDS, st.booleans())
def test_every_count_equals_the_oracle(drawn: Case, seed: int, full_are_dense: bool) -> None:
    tensors = draw_tensors(drawn.workload, np.random.default_rng(seed))
    known = with_actual_data(drawn, tensors)
    if full_are_dense:  # a tensor without zeros may be stated as dense
        some = {name: model for name, model in known.workload.densities.items() if model.density < 1}
        known = replace(known, workload=replace(known.workload, densities=some))
    run = execute(known.workload, known.design, known.mapping, tensors)
    assert differences(evaluate(known.workload, known.design, known.mapping), run) == {}


@settings(max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cases(max_points=120, lanes=True), SEEDS)
def test_every_count_equals_the_oracle_where_lanes_are_packed_and_tensors_pass_through(drawn: Case, seed: int) -> None:
    tensors = draw_tensors(drawn.workload, np.random.default_rng(seed))
    known = with_actual_data(drawn, tensors)
    run = execute(known.workload, known.design, known.mapping, tensors)
    assert differences(evaluate(known.workload, known.design, known.mapping), run) == {}
    assert run.exact


def small_dstc() -> tuple[Case, dict[str, np.ndarray]]:
    """Outer products of 32 by 32 on 16 by 16 lanes."""
    rf, lrf = level("RF", "Z", "k4"), level("LRF", "AB", "m2 n2")
    lrf = replace(lrf, spatial=(Loop("M", 16, "Y"), Loop("N", 16, "X")))
    layer, rng = workload("Z[m,n] = A[m,k] * B[n,k]", M=32, N=32, K=4), np.random.default_rng(5)
    tensors = {"A": rng.random((32, 4)) < 0.5, "B": rng.random((32, 4)) < 0.4}
    return Case(layer, load("dstc"), Mapping((level("DRAM", "ABZ"), level("SMEM", "AB"), rf, lrf))), tensors


def small_stc() -> tuple[Case, dict[str, np.ndarray]]:
    """32 logical lanes on 16 physical ones, of which weights with two nonzeros in four need all."""
    rf = replace(level("RF", "Z", "k2"), spatial=(Loop("M", 16, "Y"), Loop("K", 32, "X")))
    layer, rng = workload("Z[m,n] = A[m,k] * B[n,k]", M=16, N=4, K=64), np.random.default_rng(5)
    weights = Pattern.parse("M->K1->K0(2:4)").draw(("M", "K"), (16, 64), rng)
    nest = Mapping((level("DRAM", "ABZ"), level("SMEM", "AB"), rf, level("LRF", "A", "n4")))
    return Case(layer, load("stc"), nest), {"A": weights, "B": rng.random((4, 64)) < 0.4}


@pytest.mark.parametrize("build", [small_dstc, small_stc])
def test_published_designs_with_packed_lanes_equal_the_oracle(
    build: Callable[[], tuple[Case, dict[str, np.ndarray]]],
) -> None:
    plain, tensors = build()
    known = with_actual_data(plain, tensors)
    run = execute(known.workload, known.design, known.mapping, tensors)
    assert differences(evaluate(known.workload, known.design, known.mapping), run) == {}
    passes = [np.ceil(tensors[name].sum(axis=0) / 16) for name in "AB"] if build is small_dstc else [np.ones(8)]
    assert run.compute_cycles_busiest == np.prod(passes, axis=0).sum()


@settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cases(densities=("dense",), plain=True, max_points=200), SEEDS)
def test_dense_traffic_equals_the_transfers_of_the_oracle(case: Case, seed: int) -> None:
    problem = Problem(case.workload, case.design)
    dense = count_dense(problem, MappingBatch.of(problem, [case.mapping]), SPARSELOOM)
    assert dense.computes == case.workload.computes
    for name, (found, expected) in _dense_pairs(case, dense).items():
        assert np.allclose(found, expected, rtol=1e-12, atol=0), name
    nest = lay_out(case.mapping, case.workload)
    assert dense.instances[0].tolist() == [view.active.any(axis=1).sum() for view in nest.views]
    for depth in range(len(nest.views)):
        inside = case.mapping.levels[depth:]
        loops = [loop for part in inside for loop in (*part.temporal, *part.spatial)]
        nominal = [prod(loop.bound for loop in loops if loop.rank == rank) for rank in case.workload.ranks]
        assert dense.tile[0, depth].tolist() == nominal


@settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cases(densities=("dense",), plain=True, max_points=200), SEEDS)
def test_dense_traffic_is_what_the_oracle_counts_of_full_tensors(case: Case, seed: int) -> None:
    problem = Problem(case.workload, case.design)
    dense = count_dense(problem, MappingBatch.of(problem, [case.mapping]), SPARSELOOM)
    run = execute(case.workload, case.design, case.mapping, draw_tensors(case.workload, np.random.default_rng(seed)))
    output = case.workload.einsum.output.name
    for t, name in enumerate(problem.tensors):
        for i, part in enumerate(case.mapping.levels):
            if name not in part.keep:
                continue
            words = {action: sum(outcomes.values()) for action, outcomes in run.counts[part.level][name].items()}
            served, delivered = dense.words.served[i, t], dense.words.delivered[i, t]
            if name == output:
                assert words["update"] == dense.words.raised[i, t]
                assert words["read"] == served - dense.words.first_served[i, t]
                assert words["fill"] == delivered - dense.words.first_delivered[i, t]
            else:
                assert words == {"read": served, "fill": delivered, "update": 0}


def _dense_pairs(case: Case, dense: DenseTraffic) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Words and accesses of all levels [S] and tensors [T], as they are counted and as the oracle lists them."""
    names = ("served", "delivered", "first_served", "first_delivered")
    words, accesses = ({name: np.zeros(dense.words.served.shape) for name in names} for _ in range(2))
    nest = lay_out(case.mapping, case.workload)
    for t, access in enumerate(case.workload.einsum.tensors):
        output = access == case.workload.einsum.output
        for edge in edges(case.mapping, case.design.architecture, access.name):
            for together in transfers(nest, access, edge):
                moved = [transfer for transfer in together if transfer.moves]
                totals: Counter[int] = Counter()
                for transfer in moved:
                    totals[transfer.parent] += transfer.points.sum()
                for transfer in moved:
                    kinds = ("", "first_") if output and _is_first(transfer) else ("",)
                    points, receivers = transfer.points.sum(), len(transfer.receivers)
                    for kind in kinds:
                        words[f"{kind}served"][edge.parent, t] += points
                        accesses[f"{kind}served"][edge.parent, t] += points / totals[transfer.parent]
                        if edge.child < nest.compute:
                            words[f"{kind}delivered"][edge.child, t] += points * receivers
                            accesses[f"{kind}delivered"][edge.child, t] += receivers
    parts = (("words", dense.words, words), ("accesses", dense.accesses, accesses))
    return {
        f"{what} {name}": (getattr(found, name), expected[name]) for what, found, expected in parts for name in names
    }


def _is_first(transfer: Transfer) -> bool:
    assert transfer.revisited.any() == transfer.revisited.all()
    return not transfer.revisited.any()


@pytest.mark.parametrize("name", SELDOM)
def test_seldom_case_equals_the_oracle(name: str) -> None:
    for known, tensors in seldom(name):
        run = execute(known.workload, known.design, known.mapping, tensors)
        assert differences(evaluate(known.workload, known.design, known.mapping), run) == {}


def test_coordinates_are_navigated_from_the_box_just_before_even_if_nothing_moved_then() -> None:
    # Tiles of I at L1: 0-1, 1-2, 2-3, 3-4, then 4, which brings no word, then 5. Offsets of PR1 = PR / 4: 2 for the first
    # tile, none for the next two, which have the same PR1 = 0, 3 for 3-4 with PR1 = 0 and 1, none for 5: PR1 = 1 as for 4.
    layer = workload("O[p] = I[p+r] * W[r]", P=5, R=2)
    nest = [level("L0", "IWO", "p3 r2"), level("L1", "I", "p2")]
    known = machine(layer, nest, [], {"L0": {"I": "UOP(PR1)-CP(PR0=4)"}})
    tensors = {"I": np.ones(6, np.int64), "W": np.ones(2, np.int64)}
    known = with_actual_data(known, tensors)
    run = execute(known.workload, known.design, known.mapping, tensors)
    assert run.metadata["L0"]["I"]["read"]["actual"][0, 1] == 5
    assert differences(evaluate(known.workload, known.design, known.mapping), run) == {}


def test_thousand_draws_reach_every_special_case_at_least_fifty_times() -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=DRAWS, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(cases(lanes=True))
    def count(case: Case) -> None:
        counts.update(features_of(case))

    count()
    rare = {name: counts[name] for name in WANTED if counts[name] < 50}
    assert not rare, f"fewer than 50 of {DRAWS} draws: {rare}"
