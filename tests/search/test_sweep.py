"""What a sweep over densities is of."""

from __future__ import annotations

import pytest

from sparseloom.errors import InputError
from sparseloom.fibertree.sparsity import Sparsity, obeys
from sparseloom.search.sweep import FAMILY, heaviest, ladder
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network


def test_the_heaviest_layers_are_those_of_the_kind_with_most_computes_in_all() -> None:
    alike = tuple(Layer.linear(name, rows=4, inputs=8, outputs=16) for name in "ab")
    large = Layer.linear("large", rows=4, inputs=8, outputs=24)
    product = Layer.product("attention", batch=8, m=64, k=64, n=64)
    found = heaviest(Network("n", "made by hand", (alike[0], product, large, alike[1])))
    assert [layer.name for layer in found.layers] == ["a", "b"]


def test_a_network_without_weights_cannot_be_swept() -> None:
    network = Network("bare", "made by hand", (Layer.product("attention", batch=1, m=4, k=4, n=4),))
    with pytest.raises(InputError, match="no layer of bare has weights whose density could be swept"):
        heaviest(network)


def test_the_ladder_holds_the_family_and_what_was_given_once_densest_first() -> None:
    assert ladder(Sparsity.parse("C0(2:4)")) == FAMILY
    assert [each.density for each in FAMILY] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 8])
    assert [str(each) for each in ladder(Sparsity(0.4))][2] == "0.4 unstructured"


def test_all_of_the_family_that_are_sparse_are_what_hardware_for_two_of_four_exploits() -> None:
    assert [obeys(each, ((2, 4),)) for each in FAMILY] == [False, True, True, True, True, True]
