"""ONNX files as layers: against what NumPy computes of the operands, onnxruntime of the file, and the PyTorch reader."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from numpy.typing import NDArray
from onnx import TensorProto, defs, external_data_helper, helper, numpy_helper

from sparseloom.errors import InputError
from sparseloom.prune import onnx as reader
from sparseloom.prune.imported import Imported, import_model
from sparseloom.prune.onnx import OnnxModel
from sparseloom.prune.operation import Operation
from sparseloom.workload import zoo
from sparseloom.workload.network import Network

Array = NDArray[Any]
Shape = tuple[int | str, ...]
FLOAT = TensorProto.FLOAT

# ---- models to read, and what they compute


def graph_of(
    nodes: Sequence[Any],
    inputs: Mapping[str, Shape],
    constants: Mapping[str, Array],
    outputs: Mapping[str, int],
    kind: int = FLOAT,
    **more: Any,
) -> Any:
    """A graph; of the outputs the number of ranks is known."""
    return helper.make_graph(
        nodes, "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [
            helper.make_tensor_value_info(name, more.get("of", FLOAT), [f"{name}{n}" for n in range(ranks)])
            for name, ranks in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
        sparse_initializer=more.get("sparse"),
    )  # fmt: skip


def model_of(graph: Any, opset: int = 17, functions: Sequence[Any] = (), ir: int = 10) -> Any:
    domains = {node.domain for node in graph.node} - {""}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=ir)


def saved(model: Any, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(), output.split(), **attributes)


def layers(path: Path, *sample: Array) -> dict[str, Operation]:
    found = dict[str, Operation]()
    OnnxModel(path).run(sample, lambda name, operation: found.update({name: operation}))
    return found


def only(path: Path, *sample: Array) -> Operation:
    (operation,) = layers(path, *sample).values()
    return operation


def imported(path: Path, samples: Sequence[Any], keep: bool = False) -> Imported:
    model = OnnxModel(path)
    return import_model(
        "model", "file", model.run, samples, lambda: (model.way, model.reason, model.unsupported), {}, keep=keep
    )


def outputs_of(path: Path, *sample: Array) -> list[Array]:
    """What the file computes, without the module under test."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # that rounds otherwise
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return list(session.run(None, dict(zip(names, sample, strict=True))))


def computed(operation: Operation) -> Array:
    """What a layer computes of its operands as a network file describes it, by definition and without any bias."""
    first, second = (operand.value for operand in operation.operands)
    sizes = operation.sizes
    if operation.kind == "linear":
        assert second.shape == (sizes["outputs"], sizes["inputs"])
        return np.asarray(first.reshape(sizes["rows"], sizes["inputs"]) @ second.T)
    if operation.kind == "product":
        result: Array = first @ second
        assert result.size == sizes["batch"] * sizes["m"] * sizes["n"]
        return result
    image = first.reshape(sizes["batch"], sizes["channels"], *sizes["input"])
    weight = second.reshape(sizes["filters"], sizes["channels"] // sizes["groups"], *sizes["window"])
    (top, left), stride = sizes["padding"], sizes["stride"]
    padded = np.pad(image, ((0, 0), (0, 0), (top, top), (left, left)))
    sides = [
        (size - window) // step + 1
        for size, window, step in zip(padded.shape[2:], sizes["window"], stride, strict=True)
    ]
    result = np.zeros((sizes["batch"], sizes["filters"], *sides))
    each, of = sizes["filters"] // sizes["groups"], sizes["channels"] // sizes["groups"]
    for n, m, p, q in product(*map(range, result.shape)):
        group = m // each
        rows, columns = (
            slice(at * step, at * step + far) for at, step, far in zip((p, q), stride, sizes["window"], strict=True)
        )
        result[n, m, p, q] = (padded[n, group * of : (group + 1) * of, rows, columns] * weight[m]).sum()
    return result


def macs(operation: Operation) -> int:
    """Every output of a layer takes as many as one of its weights has, or as its ranks that are reduced."""
    sizes = operation.sizes
    if operation.kind == "conv":
        return computed(operation).size * int(prod(sizes["window"])) * int(sizes["channels"]) // int(sizes["groups"])
    return computed(operation).size * int(sizes["inputs" if operation.kind == "linear" else "k"])


def drawn(*shape: int, seed: int = 0, density: float = 0.5) -> Array:
    """Small whole numbers, which single precision multiplies and adds exactly; some are zero."""
    generator = np.random.default_rng([seed, *shape])
    numbers = generator.integers(1, 5, shape) * (generator.random(shape) < density)
    return np.asarray(numbers, np.float32)


# ---- convolutions


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[dict[str, Any], Array, Array]:
    """Attributes, image and weights of a convolution along one or two sides."""
    sides = draw(st.integers(1, 2))
    groups, of, each, batch = (draw(st.integers(1, 3)) for _ in range(4))
    window = [draw(st.integers(1, 4)) for _ in range(sides)]
    image = [draw(st.integers(1, 7)) for _ in range(sides)]
    attributes: dict[str, Any] = {"group": groups, "strides": [draw(st.integers(1, 3)) for _ in range(sides)]}
    way = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    pads = [0] * 2 * sides
    if way == "NOTSET":
        pads = attributes["pads"] = [draw(st.integers(0, 3)) for _ in range(2 * sides)]
    else:
        attributes["auto_pad"] = way
    if way in ("NOTSET", "VALID"):
        assume(all(a + b + size >= far for a, b, size, far in zip(pads, pads[sides:], image, window, strict=False)))
    return attributes, drawn(batch, groups * of, *image), drawn(groups * each, of, *window, seed=1)


@settings(max_examples=60)
@given(convolutions())
def test_a_convolution_computes_what_its_sizes_and_operands_say(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[dict[str, Any], Array, Array]
) -> None:
    attributes, image, weight = case
    graph = graph_of([node("Conv", "x w", "y", **attributes)], {"x": image.shape}, {"w": weight}, {"y": image.ndim})
    path = saved(model_of(graph), tmp_path_factory.mktemp("conv"))
    (expected,) = outputs_of(path, image)
    operation = only(path, image)
    assert computed(operation).ravel().tolist() == expected.ravel().tolist()
    assert macs(operation) == expected.size * weight[0].size
    assert np.count_nonzero(operation.operands[0].value) == np.count_nonzero(image)
    assert operation.operands[1].value.tolist() == weight.tolist()


@pytest.mark.parametrize(
    ("pads", "padding", "side"),
    [((1, 2, 1, 2), [1, 2], [5, 5]), ((0, 0, 1, 1), [0, 0], [6, 6]), ((2, 1, 1, 3), [1, 1], [6, 7])],
)
def test_what_one_end_is_padded_more_becomes_zeros_of_the_input(
    tmp_path: Path, pads: tuple[int, ...], padding: list[int], side: list[int]
) -> None:
    image = drawn(1, 1, 5, 5, density=1)
    graph = graph_of(
        [node("Conv", "x w", "y", pads=pads)], {"x": image.shape}, {"w": drawn(1, 1, 3, 3, density=1)}, {"y": 4}
    )
    operation = only(saved(model_of(graph), tmp_path), image)
    assert operation.sizes["padding"] == padding
    assert operation.sizes["input"] == side
    (layer,) = imported(tmp_path / "model.onnx", [image]).layers
    assert layer.densities["I"] == 25 / prod(side)


def test_a_convolution_of_a_signal_has_one_row(tmp_path: Path) -> None:
    signal = drawn(2, 3, 16)
    graph = graph_of(
        [node("Conv", "x w b", "y", pads=[1, 1], strides=[2], group=3)],
        {"x": signal.shape}, {"w": drawn(6, 1, 5), "b": drawn(6)}, {"y": 3},
    )  # fmt: skip
    assert only(saved(model_of(graph), tmp_path), signal).sizes == {
        "channels": 3, "filters": 6, "input": [1, 16], "window": [1, 5], "stride": [1, 2], "padding": [0, 1],
        "groups": 3, "batch": 2, "bias": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "window", "attributes", "why"),
    [
        ((1, 1, 7, 7), (3, 3), {"dilations": [1, 2]}, "a convolution dilated by 2"),
        ((1, 1, 7, 7), (3, 3), {"dilations": [3, 3], "auto_pad": "VALID"}, "a convolution dilated by 3"),
        ((1, 1, 7, 7, 7), (3, 3, 3), {"pads": [0, 0, 0, 1, 1, 1]}, "a convolution over 3 sides"),
    ],
)
def test_a_convolution_that_no_layer_describes_is_listed(
    tmp_path: Path, shape: tuple[int, ...], window: tuple[int, ...], attributes: dict[str, Any], why: str
) -> None:
    graph = graph_of(
        [node("Conv", "x w", "y", **attributes)], {"x": shape}, {"w": drawn(1, 1, *window)}, {"y": len(shape)}
    )
    model = OnnxModel(saved(model_of(graph), tmp_path))
    for _ in range(2):  # as often as it stands in the graph, however often it runs
        model.run(drawn(*shape), lambda name, operation: pytest.fail(name))
        assert model.unsupported == {why: 1}


# ---- matrix products


@pytest.mark.parametrize("known", ["left", "right", "neither"])
@pytest.mark.parametrize(("turned_left", "turned_right"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gemm_computes_what_its_sizes_and_operands_say(
    tmp_path: Path, known: str, turned_left: int, turned_right: int
) -> None:
    left, right = drawn(3, 4), drawn(4, 5)
    a, b = left.T.copy() if turned_left else left, right.T.copy() if turned_right else right
    given = {"a": a, "b": b}
    constants = {"left": {"a": a}, "right": {"b": b}, "neither": dict[str, Array]()}[known]
    graph = graph_of(
        [node("Gemm", "a b c", "y", transA=turned_left, transB=turned_right, alpha=2.0, beta=3.0)],
        {name: array.shape for name, array in given.items() if name not in constants},
        {**constants, "c": drawn(3, 5)}, {"y": 2},
    )  # fmt: skip
    sample = [array for name, array in given.items() if name not in constants]
    path = saved(model_of(graph), tmp_path)
    operation = only(path, *sample)
    (expected,) = outputs_of(path, *sample)
    result = computed(operation).T if known == "left" else computed(operation)
    assert (2 * result + 3 * drawn(3, 5)).tolist() == expected.tolist()
    assert macs(operation) == 3 * 4 * 5
    assert operation.kind == ("product" if known == "neither" else "linear")
    assert (operation.weight is not None) == (known != "neither")


@pytest.mark.parametrize(
    ("shape", "beta", "bias"), [((5,), 1.0, True), ((1, 5), 1.0, True), ((5,), 0.0, False), ((3, 1), 1.0, False)]
)
def test_gemm_has_a_bias_where_a_constant_has_one_number_for_each_output(
    tmp_path: Path, shape: tuple[int, ...], beta: float, bias: bool
) -> None:
    graph = graph_of(
        [node("Gemm", "x w b", "y", beta=beta)], {"x": (3, 4)}, {"w": drawn(4, 5), "b": drawn(*shape)}, {"y": 2}
    )
    assert only(saved(model_of(graph), tmp_path), drawn(3, 4)).sizes["bias"] == bias


def test_what_gemm_adds_of_the_inference_is_no_bias(tmp_path: Path) -> None:
    graph = graph_of([node("Gemm", "x w c", "y")], {"x": (3, 4), "c": (5,)}, {"w": drawn(4, 5)}, {"y": 2})
    operation = only(saved(model_of(graph), tmp_path), drawn(3, 4), drawn(5))
    assert operation.sizes == {"rows": 3, "inputs": 4, "outputs": 5, "bias": False}


@pytest.mark.parametrize(
    ("left", "right", "known", "sizes"),
    [
        ((2, 3, 4), (4, 5), "right", {"rows": 6, "inputs": 4, "outputs": 5}),
        ((4,), (4, 5), "right", {"rows": 1, "inputs": 4, "outputs": 5}),
        ((5, 4), (2, 4, 3), "left", {"rows": 6, "inputs": 4, "outputs": 5}),
        ((5, 4), (4,), "left", {"rows": 1, "inputs": 4, "outputs": 5}),
        ((3, 2, 4), (3, 4, 5), "right", {"batch": 3, "m": 2, "k": 4, "n": 5}),
        ((2, 3, 4), (2, 4, 5), "neither", {"batch": 2, "m": 3, "k": 4, "n": 5}),
        ((7, 1, 3, 4), (2, 4, 5), "neither", {"batch": 14, "m": 3, "k": 4, "n": 5}),
        ((3, 4), (4, 5), "neither", {"batch": 1, "m": 3, "k": 4, "n": 5}),
        ((4,), (2, 4, 5), "neither", {"batch": 2, "m": 1, "k": 4, "n": 5}),
    ],
)
def test_a_constant_matrix_is_weights_and_other_operands_make_products(
    tmp_path: Path, left: tuple[int, ...], right: tuple[int, ...], known: str, sizes: dict[str, int]
) -> None:
    given = {"a": drawn(*left), "b": drawn(*right, seed=1)}
    constants = {"left": ["a"], "right": ["b"], "neither": list[str]()}[known]
    result = given["a"] @ given["b"]
    graph = graph_of(
        [node("MatMul", "a b", "y")],
        {name: array.shape for name, array in given.items() if name not in constants},
        {name: given[name] for name in constants}, {"y": result.ndim},
    )  # fmt: skip
    path = saved(model_of(graph), tmp_path)
    operation = only(path, *(array for name, array in given.items() if name not in constants))
    assert operation.sizes == (sizes | {"bias": False} if "rows" in sizes else sizes)
    turned = result.swapaxes(-1, -2) if known == "left" and result.ndim > 1 else result
    assert computed(operation).ravel().tolist() == turned.ravel().tolist()
    assert macs(operation) == prod(sizes.values())


def test_square_weights_keep_their_outputs_first_on_either_side(tmp_path: Path) -> None:
    weight, source = drawn(4, 4, seed=3), drawn(4, 4)
    assert (weight != 0).tolist() != (weight != 0).T.tolist()
    for operands, expected in (("x w", weight.T), ("w x", weight)):
        graph = graph_of([node("MatMul", operands, "y")], {"x": (4, 4)}, {"w": weight}, {"y": 2})
        (layer,) = imported(saved(model_of(graph), tmp_path), [source], keep=True).layers
        assert layer.masks is not None
        assert layer.masks["W"].tolist() == (expected != 0).tolist()


@pytest.mark.parametrize(
    ("shape", "more", "bias"),
    [
        ((5,), "", True),
        ((1, 1, 5), "", True),
        ((1,), "", False),  # one number for all outputs
        ((4, 5), "", False),  # one for each row too
        ((5,), "Relu", False),  # what is read without the addition has no bias
        ((5,), "kept", False),
        ((5,), "scaled", False),
    ],
)
def test_a_constant_that_the_only_reader_adds_for_each_output_is_a_bias(
    tmp_path: Path, shape: tuple[int, ...], more: str, bias: bool
) -> None:
    nodes = [node("MatMul", "x w", "h"), node("Mul" if more == "scaled" else "Add", "b h", "y")]
    nodes += [node("Relu", "h", "z")] if more == "Relu" else []
    outputs = {"y": 3} | {"Relu": {"z": 3}, "kept": {"h": 3}}.get(more, {})
    graph = graph_of(nodes, {"x": (2, 4, 3)}, {"w": drawn(3, 5), "b": drawn(*shape)}, outputs)
    assert only(saved(model_of(graph), tmp_path), drawn(2, 4, 3)).sizes["bias"] == bias


def test_what_is_added_to_a_convolution_or_behind_weights_on_the_left_goes_by_their_rank(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x c", "h"), node("Add", "h p", "a"), node("Reshape", "a s", "r"), node("MatMul", "w r", "m"),
        node("Add", "m q", "n"), node("MatMul", "v n", "o"), node("Add", "o t", "y"),
    ]  # fmt: skip
    constants = {
        "c": drawn(4, 1, 2, 2), "p": drawn(1, 4, 1, 1), "s": np.array([4, 4]), "w": drawn(3, 4), "q": drawn(3, 1),
        "v": drawn(4, 3), "t": drawn(1, 4),
    }  # fmt: skip
    found = layers(
        saved(model_of(graph_of(nodes, {"x": (1, 1, 3, 3)}, constants, {"y": 2})), tmp_path), drawn(1, 1, 3, 3)
    )
    # t is added along the columns, which the rows of v do not count
    assert {name: operation.sizes["bias"] for name, operation in found.items()} == {"c": True, "w": True, "v": False}


def test_an_operand_without_points_is_listed(tmp_path: Path) -> None:
    graph = graph_of([node("MatMul", "x w", "y")], {"x": (2, 0)}, {"w": drawn(0, 3)}, {"y": 2})
    model = OnnxModel(saved(model_of(graph), tmp_path))
    model.run(drawn(2, 0), lambda name, operation: pytest.fail(name))
    assert model.unsupported == {"MatMul of an empty tensor": 1}


# ---- einsums


@pytest.mark.parametrize(
    ("equation", "shapes", "known", "kind", "sizes"),
    [
        ("bij,kj->bik", ((2, 3, 4), (5, 4)), 1, "linear", {"rows": 6, "inputs": 4, "outputs": 5, "bias": False}),
        ("kj,bij->bik", ((5, 4), (2, 3, 4)), 0, "linear", {"rows": 6, "inputs": 4, "outputs": 5, "bias": False}),
        ("bij,bkj->bik", ((2, 3, 4), (2, 5, 4)), None, "product", {"batch": 2, "m": 3, "k": 4, "n": 5}),
        ("bij, bjk -> bik", ((2, 3, 4), (2, 4, 5)), 1, "product", {"batch": 2, "m": 3, "k": 4, "n": 5}),
    ],
)
def test_an_einsum_of_two_operands_is_a_layer(
    tmp_path: Path,
    equation: str,
    shapes: tuple[tuple[int, ...], ...],
    known: int | None,
    kind: str,
    sizes: dict[str, int],
) -> None:
    arrays = {"a": drawn(*shapes[0]), "b": drawn(*shapes[1], seed=1)}
    constants = {} if known is None else {"ab"[known]: arrays["ab"[known]]}
    given = {name: array for name, array in arrays.items() if name not in constants}
    graph = graph_of(
        [node("Einsum", "a b", "y", equation=equation)], {name: array.shape for name, array in given.items()}, constants,
        {"y": len(equation.partition("->")[2].strip())},
    )  # fmt: skip
    operation = only(saved(model_of(graph), tmp_path), *given.values())
    assert (operation.kind, operation.sizes) == (kind, sizes)
    dense = np.einsum(equation, *(np.ones_like(array) for array in arrays.values()))
    assert prod(value for key, value in sizes.items() if key != "bias") == dense.sum()  # ones count their products
    (layer,) = imported(tmp_path / "model.onnx", [tuple(given.values())]).layers
    measured = sorted(layer.densities.values())
    assert measured == sorted(np.count_nonzero(array) / array.size for array in arrays.values())


@pytest.mark.parametrize(
    ("equation", "shapes", "why"),
    [
        ("ij,jk,kl->il", ((2, 3), (3, 4), (4, 5)), "einsum 'ij,jk,kl->il' of 3 operands"),
        ("...ij,jk->...ik", ((2, 3), (3, 4)), "einsum '...ij,jk->...ik' of 2 operands"),
        ("ij,jk", ((2, 3), (3, 4)), "einsum 'ij,jk' of 2 operands"),
        ("bij,bjk->bik", ((5, 2, 3), (1, 3, 4)), "einsum 'bij,bjk->bik' with broadcasting"),
        ("ij->ji", ((2, 3),), ""),
        ("ij,ij->ij", ((2, 3), (2, 3)), ""),
    ],
)
def test_an_einsum_that_no_layer_describes_is_listed_if_it_multiplies(
    tmp_path: Path, equation: str, shapes: tuple[tuple[int, ...], ...], why: str
) -> None:
    names = "abc"[: len(shapes)]
    rank = 3 if equation.startswith("b") else 2
    graph = graph_of(
        [node("Einsum", " ".join(names), "y", equation=equation)],
        dict(zip(names, shapes, strict=True)),
        {},
        {"y": rank},
    )
    model = OnnxModel(saved(model_of(graph), tmp_path))
    model.run(tuple(drawn(*shape) for shape in shapes), lambda name, operation: pytest.fail(name))
    assert model.unsupported == ({why: 1} if why else {})


# ---- what is no layer


def _byte(*shape: int) -> Array:
    return np.asarray(drawn(*shape), np.uint8)


_SCALE, _ZERO = np.float32(1), np.uint8(0)
LISTED: dict[str, tuple[Any, dict[str, Array], Array, int]] = {
    "ConvTranspose": (node("ConvTranspose", "x w", "y"), {"w": drawn(1, 2, 2, 2)}, drawn(1, 1, 4, 4), FLOAT),
    "LSTM": (
        node("LSTM", "x w r", "y", hidden_size=3), {"w": drawn(1, 12, 2), "r": drawn(1, 12, 3)}, drawn(4, 1, 2), FLOAT,
    ),
    "GRU": (node("GRU", "x w r", "y", hidden_size=3), {"w": drawn(1, 9, 2), "r": drawn(1, 9, 3)}, drawn(4, 1, 2), FLOAT),
    "RNN": (node("RNN", "x w r", "y", hidden_size=3), {"w": drawn(1, 3, 2), "r": drawn(1, 3, 3)}, drawn(4, 1, 2), FLOAT),
    "ConvInteger": (node("ConvInteger", "x w", "y"), {"w": _byte(1, 1, 2, 2)}, _byte(1, 1, 4, 4), TensorProto.INT32),
    "MatMulInteger": (node("MatMulInteger", "x w", "y"), {"w": _byte(3, 4)}, _byte(2, 3), TensorProto.INT32),
    "QLinearConv": (
        node("QLinearConv", "x s z w s z s z", "y"),
        {"w": _byte(1, 1, 2, 2), "s": np.asarray(_SCALE), "z": np.asarray(_ZERO)}, _byte(1, 1, 4, 4), TensorProto.UINT8,
    ),
    "QLinearMatMul": (
        node("QLinearMatMul", "x s z w s z s z", "y"),
        {"w": _byte(3, 4), "s": np.asarray(_SCALE), "z": np.asarray(_ZERO)}, _byte(2, 3), TensorProto.UINT8,
    ),
    "com.microsoft.FusedMatMul": (
        node("FusedMatMul", "x w", "y", domain="com.microsoft"), {"w": drawn(3, 4)}, drawn(2, 3), FLOAT,
    ),
    "com.microsoft.Attention": (
        node("Attention", "x w b", "y", domain="com.microsoft", num_heads=2),
        {"w": drawn(4, 12), "b": drawn(12)}, drawn(1, 3, 4), FLOAT,
    ),
    "ai.onnx.ml.Scaler": (
        node("Scaler", "x", "y", domain="ai.onnx.ml", offset=[0.0], scale=[2.0]), {}, drawn(2, 3), FLOAT,
    ),
}  # fmt: skip


@pytest.mark.parametrize("operator", LISTED)
def test_an_operator_that_multiplies_and_is_no_layer_is_listed(tmp_path: Path, operator: str) -> None:
    made, constants, sample, result = LISTED[operator]
    kind = helper.np_dtype_to_tensor_dtype(sample.dtype)
    (output,) = made.output
    graph = graph_of([made], {"x": sample.shape}, constants, {output: sample.ndim + (made.op_type in ("LSTM", "GRU", "RNN"))},
                     kind, of=result)  # fmt: skip
    path = saved(model_of(graph), tmp_path)
    with pytest.raises(InputError, match="model has no layer with multiply-accumulates"):
        imported(path, [sample])
    model = OnnxModel(path)
    assert model.unsupported == {operator: 1}
    model.run(sample, lambda name, operation: pytest.fail(name))
    assert model.unsupported == {operator: 1}


MULTIPLY = """AffineGrid ConvInteger ConvTranspose DFT DeformConv Det GRU LSTM MatMulInteger QLinearConv QLinearMatMul RNN
STFT""".split()  # noqa: SIM905


def test_every_operator_up_to_opset_22_is_a_layer_or_harmless_or_a_body_or_listed() -> None:
    names = {
        schema.name
        for schema in defs.get_all_schemas_with_history()
        if schema.domain == "" and schema.since_version <= 22
    }
    known = reader._HARMLESS | set(reader._RULES) | reader._BODIES
    assert sorted(names - known) == sorted(MULTIPLY)
    assert not reader._HARMLESS & (set(reader._RULES) | reader._BODIES)


def _body(name: str, operator: str) -> Any:
    """A graph that reads x of the graph around it."""
    output = [helper.make_tensor_value_info(name, FLOAT, ["n", "m"])]
    return helper.make_graph([node(operator, "x x" if operator == "MatMul" else "x", name)], "body", [], output)


def test_multiplications_in_a_body_are_listed_and_harmless_bodies_are_not(tmp_path: Path) -> None:
    nested = _body("e", "Relu")
    nested.node.append(node("If", "c", "f", then_branch=_body("g", "MatMul"), else_branch=_body("h", "Relu")))
    nodes = [
        node("If", "c", "t", then_branch=_body("a", "MatMul"), else_branch=nested),
        node("If", "c", "u", then_branch=_body("i", "Relu"), else_branch=_body("j", "Neg")),
        node("Add", "t u", "v"), node("MatMul", "v w", "y"),
    ]  # fmt: skip
    graph = graph_of(nodes, {"x": (3, 3)}, {"c": np.array(True), "w": drawn(3, 2)}, {"y": 2})
    path = saved(model_of(graph), tmp_path)
    model = OnnxModel(path)
    assert model.unsupported == {"MatMul in If": 2}
    assert list(layers(path, drawn(3, 3))) == ["w"]


# ---- constants


def _transposed() -> tuple[list[Any], dict[str, Array]]:
    nodes = [node("Transpose", "fc.weight", "t"), node("Reshape", "t s", "w")]
    return nodes, {"fc.weight": drawn(5, 4), "s": np.array([4, 5])}


def _integers() -> tuple[list[Any], dict[str, Array]]:
    whole = (drawn(4, 5) - 3).astype(np.int8)
    constants: dict[str, Array] = {
        "fc.weight_quantized": whole,
        "scale": np.asarray(np.float32(0.5)),
        "zero": np.asarray(np.int8(-3)),
    }
    return [node("DequantizeLinear", "fc.weight_quantized scale zero", "w")], constants


def _casted() -> tuple[list[Any], dict[str, Array]]:
    return [node("Cast", "fc.weight", "w", to=FLOAT)], {"fc.weight": drawn(4, 5).astype(np.float16)}


@pytest.mark.parametrize("made", [_transposed, _integers, _casted])
def test_what_is_computed_of_constants_alone_is_weights_named_by_the_first(tmp_path: Path, made: Any) -> None:
    nodes, constants = made()
    graph = graph_of([*nodes, node("MatMul", "x w", "y")], {"x": (3, 4)}, constants, {"y": 2})
    path = saved(model_of(graph), tmp_path)
    (layer,) = imported(path, [drawn(3, 4)]).layers
    assert (layer.name, layer.kind, layer.weight) == ("fc", "linear", "fc")
    (expected,) = outputs_of(path, drawn(3, 4))
    operation = only(path, drawn(3, 4))
    assert computed(operation).tolist() == expected.tolist()
    points = np.count_nonzero(operation.operands[1].value)
    assert (
        layer.densities["W"]
        == points / 20
        == np.count_nonzero(next(iter(constants.values())) + 3 * (made is _integers)) / 20
    )


def test_a_constant_node_is_weights_and_a_product_of_constants_is_no_layer(tmp_path: Path) -> None:
    nodes = [
        node("Constant", "", "k", value=numpy_helper.from_array(drawn(4, 4))),
        node("MatMul", "k k", "kk", name="folded"), node("MatMul", "x kk", "y", name="last"),
    ]  # fmt: skip
    path = saved(model_of(graph_of(nodes, {"x": (3, 4)}, {}, {"y": 2})), tmp_path)
    (layer,) = imported(path, [drawn(3, 4)]).layers
    assert (layer.name, layer.kind) == ("last", "linear")
    assert layer.densities["W"] == np.count_nonzero(drawn(4, 4) @ drawn(4, 4)) / 16


def test_an_operator_that_multiplies_constants_is_not_listed(tmp_path: Path) -> None:
    nodes = [node("MatMulInteger", "v v", "i"), node("Cast", "i", "w", to=FLOAT), node("MatMul", "x w", "y")]
    path = saved(model_of(graph_of(nodes, {"x": (3, 4)}, {"v": _byte(4, 4)}, {"y": 2})), tmp_path)
    assert OnnxModel(path).unsupported == {}
    assert layers(path, drawn(3, 4))["v"].kind == "linear"


def test_an_output_that_is_left_out_says_nothing_about_others(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Dropout", ["w"], ["d", ""]),
        helper.make_node("LSTM", ["x", "d", "r"], ["", "y"], hidden_size=3),
    ]
    graph = graph_of(nodes, {"x": (4, 1, 2)}, {"w": drawn(1, 12, 2), "r": drawn(1, 12, 3)}, {"y": 3})
    assert OnnxModel(saved(model_of(graph), tmp_path)).unsupported == {"LSTM": 1}


def test_operands_are_those_of_the_file_as_it_stands(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    image, conv, scale = (generator.random(shape, np.float32) for shape in ((1, 2, 9, 9), (8, 2, 3, 3), (4, 8)))
    nodes = [  # onnxruntime, left to itself, multiplies the weights by the scales, which rounds otherwise
        node("Conv", "x c", "h"), node("BatchNormalization", "h s0 s1 s2 s3", "b"), node("Flatten", "b", "f"),
        node("MatMul", "f v", "y"),
    ]  # fmt: skip
    constants = {"c": conv, **{f"s{number}": row for number, row in enumerate(scale)}, "v": drawn(8 * 49, 2)}
    path = saved(model_of(graph_of(nodes, {"x": image.shape}, constants, {"f": 2, "y": 2})), tmp_path)
    (expected, _), operand = outputs_of(path, image), layers(path, image)["v"].operands[0].value
    assert operand.tolist() == expected.tolist()


def test_what_is_drawn_anew_is_no_constant(tmp_path: Path) -> None:
    nodes = [node("RandomNormalLike", "w", "r"), node("MatMul", "x r", "y")]
    path = saved(model_of(graph_of(nodes, {"x": (3, 4)}, {"w": drawn(4, 5)}, {"y": 2})), tmp_path)
    assert only(path, drawn(3, 4)).kind == "product"


def test_an_initializer_that_an_input_may_override_is_a_constant(tmp_path: Path) -> None:
    graph = graph_of([node("MatMul", "x w", "y")], {"x": (3, 4), "w": (4, 5)}, {"w": drawn(4, 5)}, {"y": 2})
    path = saved(model_of(graph), tmp_path)
    assert [each.name for each in OnnxModel(path).inputs] == ["x"]
    assert only(path, drawn(3, 4)).kind == "linear"


@pytest.mark.parametrize("by_rank", [False, True])
@pytest.mark.parametrize("as_node", [False, True])
def test_sparse_constants_are_weights(tmp_path: Path, by_rank: bool, as_node: bool) -> None:
    weight = drawn(4, 5)
    places = np.argwhere(weight) if by_rank else np.flatnonzero(weight)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(weight[weight != 0], "w"), numpy_helper.from_array(places, "places"), weight.shape
    )
    constant = [node("Constant", "", "w", sparse_value=sparse)] if as_node else []
    graph = graph_of(
        [*constant, node("MatMul", "x w", "y")], {"x": (3, 4)}, {}, {"y": 2}, sparse=None if as_node else [sparse]
    )
    operation = only(saved(model_of(graph), tmp_path), drawn(3, 4))
    assert operation.operands[1].value.tolist() == weight.T.tolist()
    assert operation.kind == "linear"


# ---- names


def test_layers_are_named_by_weights_then_by_the_exporter_then_by_node_and_operator(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "x layer1.0.conv1.weight", "a", name="unused"),
        node("MatMul", "a val_3", "b", name="node_linear"),
        node("MatMul", "b onnx::MatMul_7", "c", name="/fc/MatMul"),
        node("MatMul", "c 12", "d"),
        node("MatMul", "d layer1.0.conv1.weight", "e"),
        node("MatMul", "e attention.in_proj_weight", "f"),
        node("MatMul", "f W", "g"),
        node("MatMul", "g g", "y"),
    ]
    scope = nodes[1].metadata_props.add()
    scope.key, scope.value = "pkg.torch.onnx.name_scopes", "['', 'blocks', 'blocks.0', 'blocks.0.query', 'linear']"
    weights = ("layer1.0.conv1.weight", "val_3", "onnx::MatMul_7", "12", "attention.in_proj_weight", "W")
    graph = graph_of(nodes, {"x": (3, 3)}, {name: drawn(3, 3) for name in weights}, {"y": 2})
    assert list(layers(saved(model_of(graph), tmp_path), drawn(3, 3))) == [
        "layer1.0.conv1", "blocks.0.query", "/fc/MatMul", "MatMul_4", "layer1.0.conv1#2", "attention.in_proj", "W",
        "MatMul_8",
    ]  # fmt: skip


def test_no_two_layers_share_a_name_and_none_has_signs_that_cannot_be_printed(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "x a#2", "h"), node("MatMul", "h a", "i"), node("MatMul", "i a", "j"), node("MatMul", "j \a", "k"),
        node("MatMul", "k k", "y", name="one\ntwo: 'three'"),
    ]  # fmt: skip
    constants = {name: drawn(3, 3) for name in ("a", "a#2", "\a")}
    path = saved(model_of(graph_of(nodes, {"x": (3, 3)}, constants, {"y": 2})), tmp_path)
    assert list(layers(path, drawn(3, 3))) == ["a#2", "a", "a#3", "_", "one_two: 'three'"]
    assert [layer.name for layer in imported(path, [drawn(3, 3)]).network.layers] == list(layers(path, drawn(3, 3)))


def _linear_function(opset: int) -> Any:
    nodes = [node("MatMul", "a w", "t", name="product"), node("Add", "t b", "o")]
    return helper.make_function("local", "Linear", ["a", "w", "b"], ["o"], nodes, [helper.make_opsetid("", opset)])


def _calls(opset: int) -> Any:
    nodes = [
        node("Linear", "x fc1.weight fc1.bias", "h", domain="local"),
        node("Linear", "h fc2.weight fc2.bias", "y", domain="local"),
    ]
    constants = {"fc1.weight": drawn(4, 5), "fc1.bias": drawn(5), "fc2.weight": drawn(5, 6), "fc2.bias": drawn(6)}
    return model_of(graph_of(nodes, {"x": (3, 4)}, constants, {"y": 2}), 17, [_linear_function(opset)])


def test_local_functions_count_as_what_they_do(tmp_path: Path) -> None:
    found = layers(saved(_calls(17), tmp_path), drawn(3, 4))
    assert {name: operation.sizes for name, operation in found.items()} == {
        "fc1": {"rows": 3, "inputs": 4, "outputs": 5, "bias": True},
        "fc2": {"rows": 3, "inputs": 5, "outputs": 6, "bias": True},
    }


def test_sparse_constants_of_local_functions_are_weights(tmp_path: Path) -> None:
    weight = drawn(4, 5)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(weight[weight != 0]), numpy_helper.from_array(np.flatnonzero(weight)), weight.shape
    )
    nodes = [node("Constant", "", "w", sparse_value=sparse), node("MatMul", "a w", "o", name="inner")]
    function = helper.make_function("local", "Fixed", ["a"], ["o"], nodes, [helper.make_opsetid("", 17)])
    graph = graph_of([node("Fixed", "x", "y", domain="local")], {"x": (3, 4)}, {}, {"y": 2})
    operation = only(saved(model_of(graph, functions=[function]), tmp_path), drawn(3, 4))
    assert operation.operands[1].value.tolist() == weight.T.tolist()


def test_local_functions_of_another_opset_are_listed(tmp_path: Path) -> None:
    assert OnnxModel(saved(_calls(16), tmp_path)).unsupported == {"local.Linear": 2}


# ---- files


@pytest.mark.parametrize("opset", range(13, 23))
def test_opsets_13_to_22_are_read(tmp_path: Path, opset: int) -> None:
    nodes = [
        node("Conv", "x c", "h"),
        node("Relu", "h", "r"),
        node("Flatten", "r", "f"),
        node("Gemm", "f w", "y"),
    ]
    graph = graph_of(nodes, {"x": ("n", 1, 4, 4)}, {"c": drawn(2, 1, 3, 3), "w": drawn(8, 3)}, {"y": 2})
    found = layers(saved(model_of(graph, opset), tmp_path), drawn(2, 1, 4, 4))
    assert [(operation.kind, macs(operation)) for operation in found.values()] == [
        ("conv", 2 * 2 * 4 * 9),
        ("linear", 2 * 8 * 3),
    ]


def test_the_densities_of_samples_become_a_network_file(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x conv.weight", "h"),
        node("Relu", "h", "r"),
        node("Flatten", "r", "f"),
        node("Gemm", "f fc.weight", "y"),
    ]
    conv = drawn(2, 1, 3, 3) - 1
    graph = graph_of(nodes, {"x": ("n", 1, 4, 4)}, {"conv.weight": conv, "fc.weight": drawn(8, 3)}, {"y": 2})
    samples = [drawn(1, 1, 4, 4, seed=seed) for seed in range(5)]
    read = imported(saved(model_of(graph), tmp_path), samples)
    windows = np.lib.stride_tricks.sliding_window_view(np.stack(samples)[:, 0, 0], (3, 3), axis=(1, 2))
    after = np.einsum("npqrs,mrs->nmpq", windows, conv[:, 0])
    assert [layer.densities for layer in read.layers] == [
        {"I": np.count_nonzero(samples) / 80, "W": np.count_nonzero(conv) / 18},
        {"I": np.count_nonzero(after > 0) / 40, "W": np.count_nonzero(drawn(8, 3)) / 24},
    ]
    assert (read.way, read.samples, read.unsupported) == ("onnx", 5, {})
    assert [layer.name for layer in read.network.layers] == ["conv", "fc"]
    assert read.network.computes == 2 * 4 * 9 + 8 * 3


def _matmul() -> Any:
    graph = graph_of([node("MatMul", "x w", "y")], {"x": ("n", 4)}, {"w": drawn(4, 5)}, {"y": 2})
    return model_of(graph)


def _outside(location: str) -> Any:
    """A model whose weights lie in another file."""
    model = _matmul()
    tensor = model.graph.initializer[0]
    external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return model


def test_tensors_beside_the_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(drawn(4, 5).tobytes())
    operation = only(saved(_outside("weights.bin"), tmp_path), drawn(3, 4))
    assert operation.operands[1].value.tolist() == drawn(4, 5).T.tolist()


@pytest.mark.parametrize(
    "location", ["../weights.bin", "a/../../weights.bin", "link.bin", "{absolute}", "up/weights.bin"]
)
def test_tensors_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(drawn(4, 5).tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    (folder / "up").symlink_to(tmp_path)
    location = location.format(absolute=tmp_path / "weights.bin")
    with pytest.raises(InputError) as refused:
        OnnxModel(saved(_outside(location), folder))
    (fault,) = refused.value.faults
    reason = f"the tensor 'w' lies in '{location}', outside of the folder {folder}"
    assert fault.what == f"no ONNX model can be read: ValueError: {reason}"


@pytest.mark.parametrize("location", ["missing.bin", "short.bin", "long.bin", "", ".", "*/_ORT_MEM_ADDR_/*"])
def test_tensors_that_are_not_there_or_of_another_size_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "short.bin").write_bytes(b"\0" * 79)
    (tmp_path / "long.bin").write_bytes(b"\0" * 81)
    with pytest.raises(InputError, match=r"no ONNX model can be read|the model's inputs and weights cannot be read"):
        OnnxModel(saved(_outside(location), tmp_path))


def _sparse_outside() -> Any:
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([0, 3]), "i"), [3, 3])
    external_data_helper.set_external_data(sparse.values, "weights.bin")
    sparse.values.ClearField("raw_data")
    return sparse


def test_sparse_tensors_outside_of_the_file_are_refused_wherever_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # from which a bare location would be read
    (tmp_path / "weights.bin").write_bytes(np.ones(2, np.float32).tobytes())
    sparse, constant = _sparse_outside(), node("Constant", "", "w", sparse_value=_sparse_outside())
    body = _body("a", "Relu")
    body.node.append(constant)
    function = _linear_function(17)
    function.node.append(node("Constant", "", "s", sparse_value=_sparse_outside()))
    branch = node("If", "c", "y", then_branch=body, else_branch=_body("b", "Relu"))
    call = node("Linear", "x v b", "y", domain="local")
    product, x, known = node("MatMul", "x w", "y"), {"x": (3, 3)}, {"c": np.array(True)}
    for model in (
        model_of(graph_of([product], x, {}, {"y": 2}, sparse=[sparse])),
        model_of(graph_of([constant, product], x, {}, {"y": 2})),
        model_of(graph_of([branch], x, known, {"y": 2})),
        model_of(graph_of([call], x, {"v": drawn(3, 3), "b": drawn(3)}, {"y": 2}), functions=[function]),
    ):
        with pytest.raises(InputError, match=r"the tensor 'w', of a sparse one, lies outside of the file"):
            OnnxModel(saved(model, tmp_path))


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as missing:
        OnnxModel(tmp_path / "no.onnx")
    assert str(missing.value) == f"{tmp_path / 'no.onnx'} does not exist\n  how to fix: give the path of an ONNX file"
    with pytest.raises(InputError, match="is a folder, no file"):
        OnnxModel(tmp_path)


@pytest.mark.parametrize("text", [b"", b"no model\n" * 40, b"{}", b"PK\x03\x04" * 9, b"\x80\x04cos\nsystem\n."])
def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "model.json").write_bytes(text)  # the name says nothing
    with pytest.raises(InputError, match=r"model\.json: no ONNX model can be read: (DecodeError|ValidationError): "):
        OnnxModel(tmp_path / "model.json")


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = saved(_matmul(), tmp_path).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.onnx: no ONNX model can be read: "):
            OnnxModel(tmp_path / "cut.onnx")


def test_a_file_with_bytes_changed_is_read_or_refused(tmp_path: Path) -> None:
    whole = saved(_calls(17), tmp_path).read_bytes()
    generator = random.Random(0)
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(generator.choice((1, 1, 4))):
            changed[generator.randrange(len(whole))] = generator.choice((0, 255, generator.randrange(256)))
        path = tmp_path / "changed.onnx"
        path.write_bytes(changed)
        try:
            OnnxModel(path).run(drawn(3, 4), lambda name, operation: None)
        except InputError:
            refused += 1
    assert 50 < refused < 290


def test_what_the_checker_says_is_told(tmp_path: Path) -> None:
    model = _matmul()
    model.graph.node[0].op_type = "MatMull"
    with pytest.raises(InputError, match=r"ValidationError: No Op registered for MatMull with domain_version of 17"):
        OnnxModel(saved(model, tmp_path))


def test_an_operator_that_onnxruntime_does_not_know_is_refused(tmp_path: Path) -> None:
    graph = graph_of([node("Warp", "x", "y", domain="starship")], {"x": (2, 3)}, {}, {"y": 2})
    with pytest.raises(InputError) as refused:
        OnnxModel(saved(model_of(graph), tmp_path))
    (fault,) = refused.value.faults
    assert fault.where == str(tmp_path / "model.onnx")
    assert fault.what.startswith(f"onnxruntime {onnxruntime.__version__} cannot run the model: Fail: ")
    assert "starship:Warp" in fault.what
    assert fault.fix == "export it in an opset, and with operators, that this version of onnxruntime knows"


def test_an_input_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    graph = graph_of([node("SequenceAt", "s i", "y")], {}, {"i": np.asarray(0)}, {"y": 2})
    graph.input.append(helper.make_tensor_sequence_value_info("s", FLOAT, [2, 3]))
    with pytest.raises(InputError, match="the input 's' is a sequence, no tensor"):
        OnnxModel(saved(model_of(graph), tmp_path))


def test_reading_needs_no_pytorch(tmp_path: Path) -> None:
    path = saved(_matmul(), tmp_path)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy, pathlib\nfrom sparseloom.prune.onnx import OnnxModel\n"
        f"OnnxModel(pathlib.Path({str(path)!r})).run(numpy.ones((1, 4), 'f'), lambda name, made: print(name, made.kind))"
    )
    source = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=source)
    assert done.stdout.split() == ["w", "linear"]
    assert done.stderr == ""


# ---- inputs


def _two_inputs(folder: Path) -> OnnxModel:
    graph = graph_of(
        [node("MatMul", "left right", "y")], {"left": ("batch", 3, 4), "right": ("batch", 4, 5)}, {}, {"y": 3}
    )
    return OnnxModel(saved(model_of(graph), folder))


def test_inputs_come_alone_or_in_a_tuple_or_by_name_and_set_open_sizes(tmp_path: Path) -> None:
    model, found = _two_inputs(tmp_path), list[Operation]()
    assert model.inputs == (
        ("left", ("batch", 3, 4), np.dtype("float32")), ("right", ("batch", 4, 5), np.dtype("float32")),
    )  # fmt: skip
    left, right = drawn(2, 3, 4), drawn(2, 4, 5)
    for sample in ((left, right), [left, right], {"right": right, "left": left}):
        model.run(sample, lambda name, operation: found.append(operation))
    assert [operation.sizes["batch"] for operation in found] == [2, 2, 2]
    assert all(operation.operands[0].value.shape == left.shape for operation in found)
    model.run((left[:1], right[:1]), lambda name, operation: found.append(operation))
    assert found[-1].sizes["batch"] == 1


@pytest.mark.parametrize(
    ("sample", "lines"),
    [
        ((drawn(1, 3, 4),), [
            "1 inputs are given, the model has 2: left, right",
            "  how to fix: give a tuple with as many arrays, or a mapping by their names",
        ]),
        ({"left": drawn(1, 3, 4), "rigt": drawn(1, 4, 5)}, [
            "the model has no input 'rigt' @ rigt", "  how to fix: did you mean 'right'?",
            "the input 'right' is missing, given are left, rigt @ right", "  how to fix: give every input of the model",
        ]),
        ((drawn(1, 3, 4).astype(np.float64), drawn(1, 5, 5)), [
            "the input 'left' is float64, the model takes float32 @ left", "  how to fix: give it as float32",
            "the input 'right' has the shape (1, 5, 5), the model takes (batch, 4, 5) @ right",
            "  how to fix: give arrays of that shape, or export the model with open sizes (dynamic_shapes)",
        ]),
        ((drawn(1, 3, 4), drawn(4, 5)), [
            "the input 'right' has the shape (4, 5), the model takes (batch, 4, 5) @ right",
            "  how to fix: give arrays of that shape, or export the model with open sizes (dynamic_shapes)",
        ]),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_told_with_what_the_model_takes(
    tmp_path: Path, sample: Any, lines: list[str]
) -> None:
    with pytest.raises(InputError) as refused:
        _two_inputs(tmp_path).run(sample, lambda name, operation: pytest.fail(name))
    assert str(refused.value).splitlines() == lines


def test_what_onnxruntime_cannot_run_on_the_data_is_told_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = _two_inputs(tmp_path)
    with pytest.raises(InputError) as refused:
        model.run((drawn(2, 3, 4), drawn(3, 4, 5)), lambda name, operation: pytest.fail(name))
    assert str(refused.value).startswith(
        f"{tmp_path / 'model.onnx'}: onnxruntime cannot run the model on the data: Fail: Non-zero status code returned"
    )
    assert capfd.readouterr() == ("", "")


def test_a_layer_that_reads_inputs_and_weights_alone_is_run_too(tmp_path: Path) -> None:
    graph = graph_of(
        [node("Conv", "x w", "y", kernel_shape=[5, 5])], {"x": ("n", 1, 8, 8)}, {"w": drawn(1, 1, 3, 3)}, {"y": 4}
    )
    model = OnnxModel(saved(model_of(graph), tmp_path))
    with pytest.raises(InputError, match=r"kernel_shape is not compatible with W shape"):
        model.run(drawn(1, 1, 8, 8), lambda name, operation: pytest.fail(name))


def _resnet50() -> Any:
    """He et al., CVPR 2016, Table 1, with the strides in the 3 x 3 convolutions; all weights are 1."""
    nodes, weights = list[Any](), dict[str, Array]()

    def conv(name: str, source: str, channels: int, filters: int, side: int, stride: int = 1) -> str:
        weights[f"{name}.weight"] = np.ones((filters, channels, side, side), np.float32)
        nodes.append(node("Conv", f"{source} {name}.weight", name, strides=[stride] * 2, pads=[side // 2] * 4))
        nodes.append(node("Relu", name, f"{name}.relu"))
        return f"{name}.relu"

    last, channels = conv("stem", "x", 3, 64, 7, 2), 64
    nodes.append(node("MaxPool", last, "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))
    last = "pool"
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for block in range(blocks):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            inner = conv(f"{name}.conv1", last, channels, width, 1)
            inner = conv(f"{name}.conv2", inner, width, width, 3, stride)
            inner = conv(f"{name}.conv3", inner, width, 4 * width, 1)
            around = last if block else conv(f"{name}.shortcut", last, channels, 4 * width, 1, stride)
            nodes.append(node("Add", f"{inner} {around}", f"{name}.sum"))
            last, channels = f"{name}.sum", 4 * width
    nodes += [
        node("GlobalAveragePool", last, "mean"),
        node("Flatten", "mean", "flat"),
        node("Gemm", "flat fc.weight fc.bias", "y", transB=1),
    ]
    weights |= {"fc.weight": np.ones((1000, 2048), np.float32), "fc.bias": np.ones(1000, np.float32)}
    return model_of(graph_of(nodes, {"x": ("n", 3, 224, 224)}, weights, {"y": 2}))


def test_resnet50_has_the_layers_of_the_zoo(tmp_path: Path) -> None:
    found = imported(saved(_resnet50(), tmp_path), [np.ones((1, 3, 224, 224), np.float32)]).network
    published = zoo.load("resnet50")
    assert found.computes == published.computes == 4_089_184_256
    assert _weights(found) == _weights(published) == 25_502_912


def _weights(network: Network) -> int:
    return sum(
        prod(access.shape(dict(layer.shape))) * layer.count
        for layer in network.layers
        for access in layer.einsum.operands
        if access.name == layer.constant
    )


# ---- against the reader of PyTorch models


def exported(model: Any, example: Any, folder: Path, **more: Any) -> Path:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    torch.set_num_threads(1)
    path = folder / "model.onnx"
    torch.onnx.export(model.eval(), (example,), path, dynamo=True, verbose=False, **more)
    return path


def _pruned(name: str) -> tuple[Any, list[Any]]:
    """A model with about half of its weights, and four digits of the size it takes."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from sparseloom.prune import data
    from sparseloom.prune.models import MODELS

    torch.manual_seed(0)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(torch.rand_like(parameter) < 0.5)
        for norm in getattr(model, "norms", ()):
            norm.running_mean.add_(0.1)
    return model, data.digits(batch=1, side=32 if name == "lenet5" else 8).samples(4)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of the exporter, about itself
@pytest.mark.parametrize("name", ["lenet5", "convnet", "vit"])
def test_a_network_of_ours_has_the_layers_that_the_pytorch_reader_finds(tmp_path: Path, name: str) -> None:
    model, samples = _pruned(name)
    from sparseloom.prune.exported import traced

    read = traced(model, samples[0])
    expected = import_model(name, "", read.run, samples, lambda: (read.way, read.reason, read.unsupported), {})
    path = exported(model, samples[0], tmp_path, external_data=name == "convnet")
    found = imported(path, [each.numpy() for each in samples])
    # the exporter folds a normalisation into the convolution before it, as its bias
    folded = {"bias": True} if name == "convnet" else {}
    assert [(layer.kind, layer.sizes, layer.densities) for layer in found.layers] == [
        (layer.kind, {**layer.sizes, **folded}, layer.densities) for layer in expected.layers
    ]
    assert [layer.name for layer in found.layers if layer.weight] == [
        layer.name for layer in expected.layers if layer.weight
    ]
    assert found.unsupported == expected.unsupported == {}
    assert found.network.computes == expected.network.computes
