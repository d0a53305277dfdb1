"""SCNN over its dense baseline, on a network small enough to search here."""

from dataclasses import replace

import pytest

from sparseloom.designs.load import constraints, load
from sparseloom.report.cartesian import Case, grouped, interpolated, total_cycles
from sparseloom.workload import zoo
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network


def network(**densities: float) -> Network:
    conv = Layer.convolution("conv", channels=32, filters=64, input=(16, 16), window=(3, 3), padding=(1, 1))
    return Network("small", "made up", (replace(conv, densities=densities),))


def test_dense_operands_take_as_many_passes_as_vectors_of_four() -> None:
    """16 x 16 places are four an element: one vector of inputs, 64 * 9 / 4 of weights, 32 channels."""
    found = total_cycles({"own": Case(load("scnn"), constraints("scnn"), network())}, 1)
    assert found["own"] == pytest.approx(32 * 64 * 9 / 4, rel=0.02)  # conflicts of banks take 1 %


def test_sparse_operands_are_slower_than_their_nonzeros_and_small_groups_slower_still() -> None:
    cases = {
        "own": Case(load("scnn"), constraints("scnn"), network(I=0.3, W=0.25)),
        "small": Case(load("scnn"), grouped(constraints("scnn"), 8), network(I=0.3, W=0.25)),
    }
    found = total_cycles(cases, 1)
    assert 32 * 64 * 9 * 4 * 0.3 * 0.25 / 16 * 2 < found["own"] < found["small"] < 32 * 64 * 9 / 4


def test_densities_between_modules_lie_between_theirs() -> None:
    found = interpolated(
        replace(
            zoo.load("googlenet"),
            layers=tuple(layer for layer in zoo.load("googlenet").layers if "R" in layer.shape),
        )
    )
    published = zoo.load_densities("scnn-googlenet").layers
    for end in ("inception_3a/3x3", "inception_5b/3x3"):
        assert found[end] == pytest.approx({tensor: published[end][tensor] for tensor in "IW"})
    assert published["inception_5b/1x1"]["I"] < found["inception_4c/1x1"]["I"] < published["inception_3a/1x1"]["I"]
    assert found["conv1/7x7_s2"]["I"] == 1.0
