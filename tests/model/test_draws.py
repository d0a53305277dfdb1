"""Evaluations with drawn tensors: what chance does to a mapping."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from sparseloom import document
from sparseloom.arch.design import Design
from sparseloom.arch.file import build as build_design
from sparseloom.errors import MappingError, WorkloadError
from sparseloom.mapping.file import build as build_mapping
from sparseloom.mapping.mapping import Mapping
from sparseloom.model.draws import evaluate_draws, with_spread
from sparseloom.model.evaluate import evaluate
from sparseloom.workload.file import build as build_workload
from sparseloom.workload.workload import Workload

CASE = """
workload:
  einsum: Z[m,n] = A[m,k] * B[k,n]
  shape: {{M: {m}, N: 4, K: 16}}
  tensors: {{{tensors}}}
design:
  name: toy
  levels:
    - {{name: L0, energy_pj: {{read: 7, update: 5, skipped_read: 1}}, energy_source: made up}}
    - name: L1
      formats: {{A: UOP(M)-CP(K), B: CP(K)-CP(N)}}
      skipping: [A <- B]
      energy_pj: {{read: 2, fill: 1}}
      energy_source: made up
  compute: {{name: MAC, instances: [4, 1], skipping: true, energy_pj: {{compute: 1}}, energy_source: made up}}
mapping:
  - {{level: L0, keep: [A, B, Z], temporal: [M {m}]}}
  - {{level: L1, keep: [A, B, Z], temporal: [K 16], spatial: [N 4 X]}}
"""


def case(m: int = 8, tensors: str = "A: {density: 0.25}, B: {density: 0.5}") -> tuple[Workload, Design, Mapping]:
    node = document.parse(CASE.format(m=m, tensors=tensors))
    return build_workload(node.get("workload")), build_design(node.get("design")), build_mapping(node.get("mapping"))


def test_draws_have_the_means_that_the_model_expects() -> None:
    parts = case()
    expected = evaluate(*parts)
    drawn = list(islice(evaluate_draws(*parts, seed=3), 400))
    for of in (lambda r: r.energy_pj, lambda r: r.computes.actual, lambda r: r.levels["L1"].tensors["A"].reads.skipped):
        values = np.array([of(each) for each in drawn])
        assert abs(values.mean() - of(expected)) < 4 * values.std() / np.sqrt(values.size)


def test_the_busiest_instance_of_draws_is_busier_than_that_of_the_mean() -> None:
    parts = case()
    expected = evaluate(*parts)
    drawn = list(islice(evaluate_draws(*parts, seed=3), 100))
    assert np.mean([each.compute.cycles_busiest for each in drawn]) > 1.05 * expected.compute.cycles_busiest
    spread = with_spread(expected, drawn, seed=3)
    low, high = spread.intervals["cycles"]
    assert low < np.mean([each.cycles for each in drawn]) < high
    times = np.mean([each.compute.cycles_busiest / each.compute.cycles_mean for each in drawn])
    assert f"{times:.3f} times the work of the mean one" in spread.notes[-1]
    assert (spread.cycles, spread.energy_pj) == (expected.cycles, expected.energy_pj)


def test_the_same_seed_draws_the_same_tensors() -> None:
    parts = case()
    energies = [[each.energy_pj for each in islice(evaluate_draws(*parts, seed=seed), 5)] for seed in (1, 1, 2)]
    assert energies[0] == energies[1] != energies[2]


def test_one_draw_has_no_standard_error() -> None:
    parts = case()
    spread = with_spread(evaluate(*parts), list(islice(evaluate_draws(*parts), 1)), seed=0)
    assert "±" not in spread.notes[-1].split("are ")[1]
    assert "nan" not in spread.notes[-1]


def test_what_is_known_is_not_drawn() -> None:
    with pytest.raises(WorkloadError, match=r"no tensor of .* is random"):
        next(evaluate_draws(*case(tensors="")))


def test_a_layer_that_is_too_large_is_refused_before_its_tensors_are_drawn() -> None:
    with pytest.raises(MappingError, match=r"67,108,864 places .* 4,194,304.*\n.*smaller layer"):
        next(evaluate_draws(*case(m=1 << 20)))


def test_the_spread_of_nothing_is_refused() -> None:
    with pytest.raises(WorkloadError, match="no draw was evaluated"):
        with_spread(evaluate(*case()), [], seed=0)
