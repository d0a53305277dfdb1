from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.errors import WorkloadError
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

FC = Layer.linear("fc", rows=2, inputs=3, outputs=4, bias=True)
SCORES = Layer.product("scores", batch=2, m=3, k=4, n=3)


def network(*layers: Layer) -> Network:
    return Network("net", "made up", layers)


def test_a_network_adds_up_all_instances_of_its_layers() -> None:
    net = replace(network(replace(FC, count=5), SCORES), other_parameters={"layer_norm": 7})
    assert net.computes == 5 * 24 + 72
    assert net.weights == 5 * 12
    assert net.parameters == 5 * (12 + 4) + 7


def test_layers_that_are_alike_become_one_under_all_their_names() -> None:
    net = network(FC, SCORES, replace(FC, name="fc2", count=3), replace(FC, name="fc3", densities={"W": 0.5}))
    assert net.distinct() == {
        ("fc", "fc2"): replace(FC, count=4),
        ("scores",): SCORES,
        ("fc3",): replace(FC, name="fc3", densities={"W": 0.5}),
    }


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3), st.booleans()), min_size=1, max_size=8))
def test_layers_that_are_alike_keep_computes_and_parameters(kinds: list[tuple[int, int, bool]]) -> None:
    made = [
        replace(Layer.linear(f"fc{i}", rows=1, inputs=2, outputs=size, bias=bias), count=count)
        for i, (size, count, bias) in enumerate(kinds)
    ]
    net, distinct = network(*made), network(*network(*made).distinct().values())
    assert (distinct.computes, distinct.parameters) == (net.computes, net.parameters)
    assert len(distinct.layers) == len({(size, bias) for size, _, bias in kinds})


def test_given_densities_come_before_those_of_the_layer_and_these_before_the_default() -> None:
    net = network(replace(FC, densities={"I": 0.1, "W": 0.2}), SCORES)
    dense = net.with_densities({"fc": {"W": 0.3}}, default={"I": 0.4, "O": 0.5, "A": 0.6})
    assert [layer.densities for layer in dense.layers] == [{"I": 0.1, "W": 0.3, "O": 0.5}, {"A": 0.6}]
    assert net.with_densities({}) == net


def test_densities_for_what_is_not_there_are_faults() -> None:
    with pytest.raises(WorkloadError) as caught:
        network(FC, SCORES).with_densities({"fcc": {"W": 0.5}, "scores": {"W": 0.5}}, default={"Y": 1.0})
    assert [f"{f.what}; {f.fix}" for f in caught.value.faults] == [
        "net has no layer fcc; did you mean 'fc'?",
        "no layer of net has a tensor Y; known names: A, B, I, O, W, Z",
        "scores has no tensor W, it has A, B, Z; known names: A, B, Z",
    ]


def test_a_network_without_layers_is_a_fault() -> None:
    with pytest.raises(WorkloadError, match="the network has no layers @ layers"):
        network()


def test_two_layers_of_one_name_are_a_fault() -> None:
    with pytest.raises(WorkloadError, match=r"layer fc is given twice @ layers\[2\].name"):
        network(FC, SCORES, FC)
