"""Structured weights by the extents of tiles alone give what their exact places give, for mappings with perfect bounds."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from sparseloom import designs
from sparseloom.arch.energy import estimated
from sparseloom.arch.support import set_ups
from sparseloom.arch.technology import Technology
from sparseloom.errors import MappingError
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.fibertree.tiled import Tiled
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import Tree
from sparseloom.model.batch import evaluate_batch
from sparseloom.model.draws import evaluate_draws
from sparseloom.model.evaluate import evaluate
from sparseloom.search.mapper import best_mapping
from sparseloom.workload.layer import Layer

CASES = [
    ("highlight", "C1(2:4)->C0(2:4)", "dense", 32, 1e-9),
    ("highlight", "C1(2:4)->C0(2:4)", "0.5", 32, 1e-9),
    # tiles of 4 cut through blocks of 6: what its format takes for a tile depends on where it lies
    ("highlight", "C1(2:3)->C0(2:2)", "dense", 24, 1e-3),
    ("highlight", "C0(2:4)", "0.5", 32, 1e-9),
    ("stc", "C0(2:4)", "0.5", 64, 1e-9),
    ("s2ta", "C0(4:8)", "C0(2:8)", 32, 1e-9),
]


@pytest.mark.parametrize(("name", "a", "b", "k", "tolerance"), CASES)
def test_tiles_by_their_extents_count_what_their_places_count(
    name: str, a: str, b: str, k: int, tolerance: float
) -> None:
    """Random mappings of a small product, those whose tiles fit: cycles and energy of the exact model, which lists transfers."""
    setup = set_ups(estimated(designs.load(name), Technology()), {"A": Sparsity.parse(a), "B": Sparsity.parse(b)})[-1]
    layer = replace(
        Layer.linear("fc", rows=16, inputs=k, outputs=64).as_product(),
        densities={tensor: sparsity.density for tensor, sparsity in setup.sparsities.items()},
        chains={tensor: sparsity.chain for tensor, sparsity in setup.sparsities.items() if sparsity.chain},
    )
    workload = layer.workload()
    exact = {
        tensor: density.inner if isinstance(density, Tiled) else density
        for tensor, density in workload.densities.items()
    }
    placed = replace(workload, densities=exact)
    assert any(density.coordinate_dependent for density in exact.values())
    problem = Problem(workload, setup.design)
    mappings = _some(Mapspace(problem, designs.constraints(name)), 12)
    batch = evaluate_batch(problem, MappingBatch.of(problem, mappings))
    compared = 0
    for i, mapping in enumerate(mappings):
        try:
            found = evaluate(placed, setup.design, mapping)
        except MappingError:
            assert not batch.valid[i]
            continue
        assert batch.valid[i]
        assert batch.energy_pj[i] == pytest.approx(found.energy_pj, rel=tolerance)
        assert batch.cycles[i] == found.cycles
        compared += 1
    assert compared > 0


@pytest.mark.parametrize(("a", "b"), [("C1(2:4)->C0(2:4)", "0.5"), ("C1(2:4)->C0(2:4)", "dense"), ("C0(2:4)", "0.5")])
def test_the_best_mapping_of_a_pattern_takes_what_drawn_tensors_take(a: str, b: str) -> None:
    setup = set_ups(
        estimated(designs.load("highlight"), Technology()), {"A": Sparsity.parse(a), "B": Sparsity.parse(b)}
    )[-1]
    layer = replace(
        Layer.linear("fc", rows=32, inputs=128, outputs=64).as_product(),
        densities={tensor: sparsity.density for tensor, sparsity in setup.sparsities.items()},
        chains={tensor: sparsity.chain for tensor, sparsity in setup.sparsities.items() if sparsity.chain},
    )
    seen = layer.workload()
    placed = replace(seen, densities={t: d.inner if isinstance(d, Tiled) else d for t, d in seen.densities.items()})
    best = best_mapping(Mapspace(Problem(seen, setup.design), designs.constraints("highlight")))
    assert best.mapping is not None
    expected = evaluate(placed, setup.design, best.mapping)
    drawn = list(islice(evaluate_draws(placed, setup.design, best.mapping, seed=1), 8))
    energies = np.array([each.energy_pj for each in drawn])
    assert abs(energies.mean() - expected.energy_pj) < 4 * energies.std() / np.sqrt(8) + 1e-6 * expected.energy_pj
    assert [each.cycles for each in drawn] == pytest.approx([expected.cycles] * 8, rel=1e-3)


def _some(space: Mapspace, count: int):
    """Mappings of a mapspace that keep the same tensors, evenly from the first 4,000 and in random order."""
    tree = Tree(space)
    for keep in space.keeps:
        found = []
        for batch in tree.mappings(keep):
            found += [batch.mapping(space.problem, i) for i in range(min(len(batch), 4000 - len(found)))]
            if len(found) >= 4000:
                break
        if found:
            return random.Random(0).sample(found, min(count, len(found)))
    raise AssertionError("the mapspace is empty")
