"""Graphs of integer layers: what they compute, what they refuse, and files."""

from pathlib import Path

import numpy as np
import pytest

from sparseloom.errors import InputError, WorkloadError
from sparseloom.integer.graph import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Graph,
    Input,
    Linear,
    MaxPool,
    Node,
    Relu,
    Reshape,
    read,
)


def network() -> Graph:
    """Every kind of node once."""
    rng = np.random.default_rng(0)
    nodes: list[Node] = [
        Input("x", (), 6),
        Conv("a", ("x",), 4, weights=rng.integers(-90, 90, (4, 2, 3, 3)), weight_position=7, bias=rng.integers(-9, 9, 4),
             bias_position=5, relu=True, padding=(1, 1)),
        Conv("b", ("x",), 3, weights=rng.integers(-90, 90, (4, 1, 3, 3)), weight_position=7, groups=2, padding=(1, 1), relu=True,
             most=6.0),
        Add("sum", ("a", "b"), 3, relu=True),
        Concat("both", ("a", "sum"), 3),
        MaxPool("largest", ("both",), 3),
        AveragePool("mean", ("largest",), 4, window=(3, 3), stride=(1, 1)),
        Relu("positive", ("mean",), 4, most=3.0),
        Reshape("flat", ("positive",), 4),
        Linear("fc", ("flat",), 2, weights=rng.integers(-90, 90, (5, 8 * 2 * 2)), weight_position=7),
    ]  # fmt: skip
    return Graph(tuple(nodes), "fc", (2, 8, 8))


def test_a_graph_computes_what_its_definition_says_in_real_numbers() -> None:
    """Each layer again in float64 by the page: sums of values, one rounding at the end."""
    graph = network()
    inputs = np.random.default_rng(1).normal(size=(3, 2, 8, 8))
    values = graph.values(np.clip(np.floor(inputs * 64 + 0.5), -128, 127).astype(np.int64))
    real = {name: whole * 2.0 ** -graph.positions[name] for name, whole in values.items()}

    def rounded(value: np.ndarray, position: int) -> np.ndarray:
        return np.clip(np.floor(value * 2.0**position + 0.5), -128, 127) * 2.0**-position

    a = graph.nodes[1]
    assert isinstance(a, Conv)
    padded = np.pad(real["x"], ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    total = np.einsum("ncpqrs,mcrs->nmpq", seen, a.weights * 2.0**-7) + (a.bias * 2.0**-5)[:, None, None]
    assert np.array_equal(real["a"], rounded(np.maximum(total, 0), 4))
    assert np.array_equal(real["sum"], rounded(np.maximum(real["a"] + real["b"], 0), 3))
    assert np.array_equal(real["both"], np.concatenate([rounded(real["a"], 3), real["sum"]], 1))
    windows = np.lib.stride_tricks.sliding_window_view(real["largest"], (3, 3), (2, 3)).sum(axis=(4, 5)) * 7 / 64
    assert np.array_equal(real["mean"], rounded(windows, 4))
    assert np.array_equal(real["positive"], np.clip(real["mean"], 0, 3))
    assert real["b"].max() <= 6
    assert np.array_equal(graph.run(inputs), real["fc"])


def test_a_graph_comes_back_from_its_files(tmp_path: Path) -> None:
    graph = network()
    graph.write(tmp_path / "int8")
    inputs = np.random.default_rng(2).normal(size=(2, 2, 8, 8))
    assert np.array_equal(read(tmp_path / "int8").run(inputs), graph.run(inputs))


def test_positions_that_shifts_cannot_reach_are_named_with_what_can() -> None:
    layer = Linear("fc", ("x",), 12, weights=np.ones((1, 1), np.int64), weight_position=5)
    with pytest.raises(WorkloadError, match="fc shifts its accumulator by -1, possible are 0 to 16"):
        Graph((Input("x", (), 6), layer), "fc")
    layer = Linear(
        "fc",
        ("x",),
        6,
        weights=np.ones((1, 1), np.int64),
        weight_position=7,
        bias=np.ones(1, np.int64),
        bias_position=-5,
    )
    with pytest.raises(WorkloadError, match="fc shifts its bias by 18, possible are -9 to 15"):
        Graph((Input("x", (), 6), layer), "fc")
    with pytest.raises(WorkloadError, match="both has position 5, the smallest of its inputs is 4"):
        Graph((Input("x", (), 6), Relu("y", ("x",), 4), Concat("both", ("x", "y"), 5)), "both")


def test_nodes_out_of_order_and_a_missing_output_are_reported_together() -> None:
    with pytest.raises(WorkloadError) as caught:
        Graph((Input("x", (), 6), Relu("y", ("z",), 6)), "end")
    assert [fault.what for fault in caught.value.faults] == [
        "y takes z, which is no node before it",
        "there is no node end to take the output from",
    ]


def test_a_folder_that_is_none_and_one_that_is_damaged_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no graph\.json"):
        read(tmp_path)
    network().write(tmp_path)
    (tmp_path / "tensors.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="this is no integer network"):
        read(tmp_path)
