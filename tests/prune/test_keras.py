"""Keras models: their kernels are seen as PyTorch stores them, take the masks of a PyTorch twin, and train through them."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("torch", reason="PyTorch is not installed")
os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras", reason="Keras is not installed, or the backend that KERAS_BACKEND names is not")

import keras
import torch
from keras import layers
from torch import nn
from torch.nn import functional

from sparseloom.errors import InputError
from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune.keras import KerasSparsifier, View, weights_of
from sparseloom.prune.placement import Choice
from sparseloom.prune.schedule import WAYS, Schedule
from sparseloom.prune.sparsifier import Sparsifier
from sparseloom.prune.weight import Weight

if keras.backend.backend() != "torch":
    pytest.skip(f"Keras runs on {keras.backend.backend()} here", allow_module_level=True)

# Keras 3.15 turns its variables into arrays in a way that NumPy 2 warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PATTERNS = [
    ("C0(2:4)", None),
    ("C1(3:4)->C0(2:4)", None),
    ("dbb(C: 3/8)", None),
    ("block(M:8, C:8)", 0.5),
    ("permdiag(M,C: 4)", None),
    ("unstructured", 0.3),
    ("CRS(unconstrained)", 0.4),
]


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keras.utils.set_random_seed(0)
    yield
    torch.set_num_threads(threads)


def _array(tensor: Any) -> NDArray[Any]:
    return np.asarray(tensor.detach().cpu().numpy())


def _drawn(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _convolutions() -> Any:
    """Three convolutions, the last of two groups, and two dense layers."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(16, 3, padding="same", name="stem", activation="relu"),
            layers.Conv2D(32, 3, padding="same", name="conv", activation="relu"),
            layers.Conv2D(16, 3, padding="same", groups=2, name="grouped", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(40, name="fc", activation="relu"),
            layers.Dense(8, name="head"),
        ]
    )


def _twin(model: Any) -> nn.Module:
    """The layers of :func:`_convolutions` in PyTorch, their weights transposed by hand."""
    modules = {"stem": nn.Conv2d(3, 16, 3), "conv": nn.Conv2d(16, 32, 3), "grouped": nn.Conv2d(32, 16, 3, groups=2)}
    twin = nn.ModuleDict({**modules, "fc": nn.Linear(16, 40), "head": nn.Linear(40, 8)})
    with torch.no_grad():
        for name, module in twin.items():
            kernel = model.get_layer(name).kernel.value
            module.weight.copy_(kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T)
    return twin


def _as_torch(mask: NDArray[Any]) -> NDArray[Any]:
    return mask.transpose(3, 2, 0, 1) if mask.ndim == 4 else mask.T


def _perceptron(**named: Any) -> Any:
    """Dense layers ``a``, ``b`` and ``c``, of 8 to 16 to 16 to 4 features."""
    hidden = [layers.Dense(16, name=name, activation="relu", **named) for name in "ab"]
    return keras.Sequential([keras.Input((8,)), *hidden, layers.Dense(4, name="c", **named)])


def _fitted(model: Any, epochs: int, *callbacks: Any, optimizer: Any = "adam") -> None:
    if not model.compiled:
        model.compile(optimizer, "mse", jit_compile=False)
    model.fit(_drawn(32, 8), _drawn(32, 4, seed=1), batch_size=8, epochs=epochs, verbose=0, callbacks=list(callbacks))


def _built(layer: Any, *shape: int) -> tuple[Any, tuple[Weight, ...]]:
    model = keras.Sequential([keras.Input(shape), layer])
    return model, weights_of(model)


# Kernels as PyTorch stores them: what a layer computes is what PyTorch computes of its weight as patterns see it


@pytest.mark.parametrize(
    ("layer", "shape", "groups"),
    [
        (lambda: layers.Conv1D(6, 3), (7, 4), 1),
        (lambda: layers.Conv1D(6, 3, groups=2), (7, 4), 2),
        (lambda: layers.Conv2D(6, (2, 3)), (5, 6, 4), 1),
        (lambda: layers.Conv2D(6, (2, 3), groups=2), (5, 6, 4), 2),
        (lambda: layers.Conv3D(6, (1, 2, 3)), (4, 5, 6, 4), 1),
        (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (7, 4), 4),
        (lambda: layers.DepthwiseConv2D((2, 3)), (5, 6, 4), 4),
        (lambda: layers.DepthwiseConv2D((2, 3), depth_multiplier=3), (5, 6, 4), 4),
        (lambda: layers.DepthwiseConv2D((2, 3), depth_multiplier=3), (5, 6, 1), 1),
    ],
)
def test_a_convolution_is_that_of_pytorch_with_the_weight_as_it_is_seen(
    layer: Any, shape: tuple[int, ...], groups: int
) -> None:
    held = layer()
    _, (weight,) = _built(held, *shape)
    assert (weight.kind, weight.groups, weight.depthwise) == ("conv", groups, groups == 4)
    seen = torch.from_numpy(weight.seen(_array(held.kernel.value)).copy())
    filters = seen.flatten(0, 1) if groups > 1 else seen
    filters = filters.reshape(*filters.shape[:2], *held.kernel_size)
    inputs = torch.from_numpy(_drawn(2, *shape))
    run = {2: functional.conv1d, 3: functional.conv2d, 4: functional.conv3d}[len(shape)]
    expected = run(inputs.movedim(-1, 1), filters, groups=groups).movedim(1, -1)
    torch.testing.assert_close(held(inputs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "shape", "outputs", "stored"),
    [
        ("abc,cd->abd", (5, 6), (None, 4), ("C", "M")),
        ("...c,cd->...d", (5, 6), 4, ("C", "M")),
        ("abc,cde->abde", (5, 6), (None, 2, 4), ("C", "M1", "M0")),
        ("abc,dce->abde", (5, 6), (None, 2, 4), ("M1", "C", "M0")),
        ("abc,edc->abde", (5, 6), (None, 2, 4), ("M0", "M1", "C")),
        ("abcd,cde->abe", (5, 2, 6), (None, 4), ("C1", "C0", "M")),
        ("abcd,edc->abe", (5, 2, 6), (None, 4), ("M", "C0", "C1")),
    ],
)
def test_an_einsum_is_a_product_with_the_matrix_as_it_is_seen(
    equation: str, shape: tuple[int, ...], outputs: Any, stored: tuple[str, ...]
) -> None:
    layer = layers.EinsumDense(equation, outputs)
    _, (weight,) = _built(layer, *shape)
    assert (weight.kind, weight.stored, weight.shape[2:]) == ("linear", stored, (1, 1))
    matrix = weight.seen(_array(layer.kernel.value))[..., 0, 0]
    inputs: NDArray[Any] = _drawn(2, *shape)
    found = _array(layer(inputs))
    expected = inputs.reshape(2, 5, -1) @ matrix.T
    np.testing.assert_allclose(found.reshape(2, 5, -1), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(weight.as_stored(weight.seen(_array(layer.kernel.value))), _array(layer.kernel.value))


@st.composite
def _einsums(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """An equation whose kernel has its axes of groups (g, h), inputs (c, d) and outputs (m, n) in any order, with sizes."""
    groups, inputs, outputs = (
        draw(st.permutations(axes))[: draw(st.integers(least, 2))] for axes, least in (("gh", 0), ("cd", 1), ("mn", 1))
    )
    kernel = "".join(draw(st.permutations([*groups, *inputs, *outputs])))
    shared = "".join(groups)
    equation = f"b{shared}{''.join(inputs)},{kernel}->b{shared}{''.join(outputs)}"
    return equation, {axis: draw(st.integers(1, 3)) for axis in kernel}


@settings(max_examples=60)
@given(_einsums())
def test_any_einsum_is_a_product_of_each_group_with_its_matrix(einsum: tuple[str, dict[str, int]]) -> None:
    equation, size = einsum
    inputs, _, outputs = equation.replace("->", ",").split(",")
    layer = layers.EinsumDense(equation, tuple(size[axis] for axis in outputs[1:]))
    shape = tuple(size[axis] for axis in inputs[1:])
    _, (weight,) = _built(layer, *shape)
    seen = weight.seen(_array(layer.kernel.value))[..., 0, 0].reshape(weight.groups, *weight.shape[-4:-2])
    drawn = _drawn(2, *shape)
    expected = np.einsum("bgc,gmc->bgm", drawn.reshape(2, weight.groups, -1), seen)
    found = _array(layer(drawn))
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-4, atol=1e-5)


def test_an_einsum_with_an_axis_of_inputs_and_outputs_has_groups() -> None:
    layer = layers.EinsumDense("bhd,dhe->bhe", (3, 4))
    _, (weight,) = _built(layer, 3, 5)
    assert (weight.groups, weight.ranks, weight.shape) == (3, ("G", "M", "C", "R", "S"), (3, 4, 5, 1, 1))
    seen, inputs = weight.seen(_array(layer.kernel.value))[..., 0, 0], _drawn(2, 3, 5)
    expected = np.stack([inputs[:, group] @ seen[group].T for group in range(3)], axis=1)
    np.testing.assert_allclose(_array(layer(inputs)), expected, rtol=1e-4, atol=1e-5)


def test_attention_is_that_of_pytorch_with_the_projections_as_they_are_seen() -> None:
    layer = layers.MultiHeadAttention(2, 4, name="attention")
    inputs = _drawn(3, 5, 8)
    features = keras.Input((5, 8))
    model = keras.Model(features, layer(features, features))
    weights = {weight.name: weight for weight in weights_of(model)}
    assert [*weights] == [f"attention/{name}" for name in ("query", "key", "value", "attention_output")]
    assert {weight.kind for weight in weights.values()} == {"attention"}
    kernels = (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense)
    query, key, value, output = (
        torch.from_numpy(weight.seen(_array(dense.kernel.value))[..., 0, 0].copy())
        for weight, dense in zip(weights.values(), kernels, strict=True)
    )
    twin = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    with torch.no_grad():
        twin.in_proj_weight.copy_(torch.cat([query, key, value]))
        twin.out_proj.weight.copy_(output)
        tokens = torch.from_numpy(inputs)
        expected, _ = twin(tokens, tokens, tokens, need_weights=False)
        torch.testing.assert_close(layer(tokens, tokens), expected, rtol=1e-4, atol=1e-5)


def test_both_kernels_of_a_separable_convolution_have_names_and_the_depthwise_one_stays_dense() -> None:
    layer = layers.SeparableConv2D(8, 3, depth_multiplier=2, name="separable")
    model, (depthwise, pointwise) = _built(layer, 6, 6, 4)
    assert (depthwise.name, depthwise.shape, depthwise.depthwise) == ("separable.depthwise", (4, 2, 1, 3, 3), True)
    assert (pointwise.name, pointwise.shape) == ("separable.pointwise", (8, 8, 1, 1))
    sparsifier = KerasSparsifier(model, "C0(2:4)", choice=Choice(first=True)).prepare()
    assert [(p.weight.name, p.rule) for p in sparsifier.placements] == [
        ("separable.depthwise", "depthwise: its groups have one channel"),
        ("separable.pointwise", ""),
    ]
    sparsifier.step()
    inputs = torch.from_numpy(_drawn(2, 6, 6, 4))
    middle = functional.conv2d(
        inputs.movedim(-1, 1), layer.depthwise_kernel.value.permute(2, 3, 0, 1).reshape(8, 1, 3, 3), groups=4
    )
    mask = torch.from_numpy(sparsifier.masks["separable.pointwise"])
    masked = layer._trainable_variables[1].value * mask
    expected = functional.conv2d(middle, masked.permute(3, 2, 0, 1)).movedim(1, -1)
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-4, atol=1e-5)
    sparsifier.squash()
    assert (_array(layer.pointwise_kernel.value) != 0).mean() == 0.5


# Masks


@pytest.mark.parametrize(("pattern", "density"), PATTERNS)
def test_masks_equal_those_of_the_pytorch_twin(pattern: str, density: float | None) -> None:
    model = _convolutions()
    twin = Sparsifier(_twin(model), pattern, density).prepare()
    sparsifier = KerasSparsifier(model, pattern, density).prepare()
    assert [p.rule for p in sparsifier.placements] == [p.rule for p in twin.placements]
    twin.step()
    sparsifier.step()
    masks = sparsifier.squash()
    assert [*masks] == ["conv", "grouped", "fc", "head"]
    for name, expected in twin.squash().items():
        np.testing.assert_array_equal(_as_torch(masks[name]), expected)
        np.testing.assert_array_equal(_array(model.get_layer(name).kernel.value) != 0, masks[name])


@pytest.mark.parametrize("way", WAYS)
def test_every_schedule_takes_the_masks_of_the_pytorch_twin_epoch_by_epoch(way: str) -> None:
    model, schedule = _convolutions(), Schedule(way, 3)
    twin = Sparsifier(_twin(model), "C0(2:8)", schedule=schedule, seed=5).prepare()
    sparsifier = KerasSparsifier(model, "C0(2:8)", schedule=schedule, seed=5).prepare()
    for _ in range(4):
        torch.testing.assert_close(sparsifier.penalty(), twin.penalty())
        twin.step()
        sparsifier.step()
        for name, expected in twin.masks.items():
            np.testing.assert_array_equal(_as_torch(sparsifier.masks[name]), expected)
    assert all(placement.obeys(sparsifier.masks[placement.weight.name]) for placement in sparsifier.pruned)


def test_a_block_of_8_filters_and_8_channels_is_8_x_h_x_w_x_8_places_that_stay_or_go_together() -> None:
    model = _convolutions()
    sparsifier = KerasSparsifier(model, "block(M:8, C:8)", 0.5, choice=Choice(only="conv")).prepare()
    sparsifier.step()
    mask = sparsifier.masks["conv"]
    assert mask.shape == (3, 3, 16, 32)
    blocks = mask.reshape(3, 3, 2, 8, 4, 8).transpose(2, 4, 0, 1, 3, 5).reshape(8, -1)
    assert (blocks.all(axis=1) | ~blocks.any(axis=1)).all()
    assert blocks.all(axis=1).sum() == 4
    strength = (
        np.abs(_array(model.get_layer("conv")._kernel.variable.value)).reshape(3, 3, 2, 8, 4, 8).sum((0, 1, 3, 5))
    )
    assert strength.ravel()[blocks[:, 0]].min() > strength.ravel()[~blocks[:, 0]].max()


def test_a_head_is_pruned_along_the_features_that_it_reads() -> None:
    features = keras.Input((5, 8))
    model = keras.Model(features, layers.MultiHeadAttention(2, 4, name="attention")(features, features))
    sparsifier = KerasSparsifier(model, "C0(1:4)", choice=Choice(first=True)).prepare()
    sparsifier.step()
    for name in ("query", "key", "value"):
        mask = sparsifier.masks[f"attention/{name}"]
        assert mask.shape == (8, 2, 4)
        assert (mask.reshape(2, 4, 2, 4).sum(axis=1) == 1).all()
    output = sparsifier.masks["attention/attention_output"]
    assert output.shape == (2, 4, 8)
    assert (output.sum(axis=1) == 1).all()


def test_importance_is_told_by_the_names_and_shapes_of_the_kernels() -> None:
    model = _perceptron()
    told = {"b": torch.arange(256.0).reshape(16, 16), "c": torch.arange(64.0).reshape(16, 4)}
    sparsifier = KerasSparsifier(model, "C0(2:4)", importance=lambda held: told if held is model else {}).prepare()
    sparsifier.step()
    expected = np.tile([False, False, True, True], 4)
    np.testing.assert_array_equal(sparsifier.masks["b"], np.tile(expected[:, None], 16))
    np.testing.assert_array_equal(sparsifier.masks["c"], np.tile(expected[:, None], 4))


# Training


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.Adam(0.01),
        lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
        lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        lambda: keras.optimizers.RMSprop(0.01, momentum=0.9),
        lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    ],
)
def test_fit_with_moments_of_a_dense_training_keeps_zeros_zero_and_changes_the_rest(optimizer: Any) -> None:
    model = _perceptron()
    _fitted(model, 2, optimizer=optimizer())
    sparsifier = KerasSparsifier(model, "C0(2:4)").prepare()
    before = {name: _array(model.get_layer(name).kernel.value).copy() for name in "abc"}
    _fitted(model, 3, sparsifier.callback)
    assert sparsifier.epoch == 3
    masks = sparsifier.masks
    for name, mask in masks.items():
        kernel = _array(model.get_layer(name).kernel.value)
        assert mask.mean() == 0.5
        assert (kernel[~mask] == 0).all()
        assert (kernel[mask] != before[name][mask]).all()
        assert (_array(model.get_layer(name)._kernel.variable.value.grad)[~mask] == 0).all()
    assert (_array(model.get_layer("a").kernel.value) != before["a"]).mean() > 0.9
    predicted = model.predict(_drawn(5, 8), verbose=0)
    sparsifier.squash()
    np.testing.assert_array_equal(model.predict(_drawn(5, 8), verbose=0), predicted)
    for name, mask in masks.items():
        np.testing.assert_array_equal(_array(model.get_layer(name).kernel.value) != 0, mask)
        assert not isinstance(model.get_layer(name).kernel, View)


def test_outputs_are_those_of_masked_kernels() -> None:
    model = _perceptron()
    sparsifier = KerasSparsifier(model, "unstructured", 0.25, choice=Choice(first=True)).prepare()
    dense = {name: _array(model.get_layer(name).kernel.value).copy() for name in "abc"}
    inputs = _drawn(6, 8)
    whole = model.predict(inputs, verbose=0)
    sparsifier.step()
    x = inputs
    for name in "abc":
        x = np.maximum(x @ (dense[name] * sparsifier.masks[name]), -np.inf if name == "c" else 0)
    np.testing.assert_allclose(model.predict(inputs, verbose=0), x, rtol=1e-4, atol=1e-5)
    assert np.abs(whole - x).max() > 0.1


@pytest.mark.parametrize(
    "make", [lambda p: torch.optim.Adam(p, 0.01), lambda p: torch.optim.SGD(p, 0.05, momentum=0.9)]
)
def test_a_loop_with_an_optimiser_of_pytorch_keeps_zeros_zero(make: Any) -> None:
    model = _perceptron()
    optimiser = make(model.parameters())
    inputs, targets = torch.from_numpy(_drawn(32, 8)), torch.from_numpy(_drawn(32, 4, seed=1))
    sparsifier = KerasSparsifier(model, "C0(1:4)")
    losses = []
    for epoch in range(12):
        if epoch == 2:
            sparsifier.prepare()
            sparsifier.step()
        optimiser.zero_grad()
        loss = functional.mse_loss(model(inputs, training=True), targets)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[2]
    masks = sparsifier.squash()
    assert {name: float(mask.mean()) for name, mask in masks.items()} == {"b": 0.25, "c": 0.25}
    for name, mask in masks.items():
        np.testing.assert_array_equal(_array(model.get_layer(name).kernel.value) != 0, mask)


def test_a_loop_with_an_optimizer_of_keras_moves_no_variable_under_its_mask() -> None:
    model = _perceptron()
    sparsifier = KerasSparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    mask, held = sparsifier.masks["b"], model.get_layer("b")._kernel.variable
    before, optimizer = _array(held.value).copy(), keras.optimizers.Adam(0.01)
    for _ in range(4):
        model.zero_grad()
        keras.losses.mean_squared_error(_drawn(32, 4, seed=1), model(_drawn(32, 8), training=True)).mean().backward()
        with torch.no_grad():
            optimizer.apply([v.value.grad for v in model.trainable_weights], model.trainable_weights)
    np.testing.assert_array_equal(_array(held.value)[~mask], before[~mask])
    assert (_array(held.value)[mask] != before[mask]).mean() > 0.9


def test_each_epoch_of_fit_has_the_masks_of_its_share() -> None:
    model, seen = _perceptron(), list[float]()
    sparsifier = KerasSparsifier(model, "unstructured", 0.2, schedule=Schedule("gradual", 4)).prepare()
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(float(sparsifier.masks["b"].mean())))
    _fitted(model, 5, sparsifier.callback, note)
    assert seen == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.2], abs=0.005)


def test_a_layer_whose_call_is_not_hooked_reads_its_kernel_through_the_mask() -> None:
    model = keras.Sequential(
        [keras.Input((3, 8)), layers.TimeDistributed(layers.Dense(4, use_bias=False, name="each"), name="steps")]
    )
    sparsifier = KerasSparsifier(model, "C0(1:4)", choice=Choice(first=True)).prepare()
    kernel = _array(model.get_layer("steps").layer.kernel.value).copy()
    sparsifier.step()
    expected = _drawn(2, 3, 8) @ (kernel * sparsifier.masks["steps/each"])
    np.testing.assert_allclose(model.predict(_drawn(2, 3, 8), verbose=0), expected, rtol=1e-4, atol=1e-5)


def test_a_layer_that_computes_in_less_precision_reads_its_mask_in_it() -> None:
    layer = layers.Dense(4, use_bias=False, dtype="mixed_bfloat16", name="half")
    model, _ = _built(layer, 8)
    sparsifier = KerasSparsifier(model, "C0(1:4)", choice=Choice(first=True)).prepare()
    sparsifier.step()
    output = model(_drawn(2, 8))
    assert output.dtype == torch.bfloat16
    masked = (layer._kernel.variable.value * torch.from_numpy(sparsifier.masks["half"])).to(torch.bfloat16)
    torch.testing.assert_close(output, torch.from_numpy(_drawn(2, 8)).to(torch.bfloat16) @ masked)


def test_a_masked_kernel_prints_and_computes_as_masked_and_is_written_as_it_was() -> None:
    model = _perceptron()
    sparsifier = KerasSparsifier(model, "C0(1:4)").prepare()
    sparsifier.step()
    masked, variable = model.get_layer("c").kernel, model.get_layer("c")._kernel.variable
    mask = sparsifier.masks["c"]
    masked.assign(np.full((16, 4), 7))
    assert (_array(variable.value) == 7).all()
    np.testing.assert_array_equal(_array(masked + 1), 1 + 7 * mask)
    assert repr(masked).count("0.") == (~mask).sum()
    masked.trainable = False
    assert (masked.trainable, variable.trainable, variable.value.requires_grad) == (False, False, False)
    assert (masked.path, masked.shape, masked.dtype) == (variable.path, (16, 4), "float32")


def test_a_copy_of_a_masked_model_has_zeros_and_no_masks() -> None:
    model = _perceptron()
    sparsifier = KerasSparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    copied = copy.deepcopy(model)
    np.testing.assert_array_equal(_array(copied.get_layer("b").kernel.value) != 0, sparsifier.masks["b"])
    assert not isinstance(copied.get_layer("b").kernel, View)


class _Residual(layers.Layer):  # type: ignore[misc]
    """Has no rule for shapes: Keras runs it without values to know its outputs."""

    def __init__(self) -> None:
        super().__init__(name="residual")
        self.inner = layers.Dense(8, name="inner")

    def call(self, inputs: Any) -> Any:
        return inputs + self.inner(inputs)


def test_a_masked_layer_takes_part_in_a_new_graph() -> None:
    block = _Residual()
    model = keras.Sequential([layers.Dense(8, name="first"), block], name="model")
    sparsifier = KerasSparsifier(model, "C0(2:4)", example=_drawn(2, 8)).prepare()
    sparsifier.step()
    inputs = keras.Input((8,))
    outer = keras.Model(inputs, layers.Dense(2, name="last")(block(inputs)))
    assert outer.output_shape == (None, 2)
    with keras.device("meta"):  # as Keras runs it for the shapes
        assert block.inner.kernel.value.is_meta
    assert [weight.name for weight in weights_of(outer)] == ["residual/inner", "last"]
    np.testing.assert_array_equal(_array(block.inner.kernel.value) != 0, sparsifier.masks["residual/inner"])


# The penalty


def test_fit_adds_the_group_lasso_to_the_loss_beside_regularizers_and_takes_it_away() -> None:
    own = keras.regularizers.L2(0.01)
    model, seen = _perceptron(kernel_regularizer=own), list[tuple[float, float]]()
    sparsifier = KerasSparsifier(model, "C0(1:4)", schedule=Schedule("penalty", 2, 0.1)).prepare()
    variables = [layer._kernel.variable if layer.name != "a" else layer._kernel for layer in model.layers]

    def note(*_: object) -> None:
        squares = sum(0.01 * (variable.value**2).sum().item() for variable in variables)
        seen.append((sum(model.losses).item() - squares, sparsifier.penalty().item()))

    class Broken(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fitted(model, 1, sparsifier.callback, Broken())
    assert sparsifier.epoch == 1
    _fitted(model, 2, sparsifier.callback, keras.callbacks.LambdaCallback(on_epoch_begin=note))
    (added, penalty), (later, none) = seen
    assert added == pytest.approx(penalty, rel=1e-4)
    assert penalty > 0.1
    assert (later, none) == (pytest.approx(0, abs=1e-5), 0)
    assert [variable.regularizer for variable in variables] == [own] * 3
    assert {float(mask.mean()) for mask in sparsifier.squash().values()} == {0.25}


# Files and states


@pytest.mark.parametrize("file", ["model.weights.h5", "model.keras"])
def test_a_pruned_model_is_what_it_was_behind_a_file(file: str, tmp_path: Path) -> None:
    model = _convolutions()
    sparsifier = KerasSparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    masks = sparsifier.squash()
    if file.endswith(".keras"):
        model.save(tmp_path / file)
        read = keras.models.load_model(tmp_path / file)
    else:
        model.save_weights(tmp_path / file)
        read = _convolutions()
        read.load_weights(tmp_path / file)
    for name, mask in masks.items():
        np.testing.assert_array_equal(_array(read.get_layer(name).kernel.value) != 0, mask)
    np.testing.assert_array_equal(
        read.predict(_drawn(2, 6, 6, 3), verbose=0), model.predict(_drawn(2, 6, 6, 3), verbose=0)
    )


def test_weights_that_are_loaded_into_a_masked_model_are_masked(tmp_path: Path) -> None:
    dense, model = _perceptron(), _perceptron()
    dense.save_weights(tmp_path / "dense.weights.h5")
    sparsifier = KerasSparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    model.load_weights(tmp_path / "dense.weights.h5")
    for name, mask in sparsifier.squash().items():
        expected = _array(dense.get_layer(name).kernel.value) * mask
        np.testing.assert_array_equal(_array(model.get_layer(name).kernel.value), expected)


def test_a_state_brings_back_epoch_and_masks() -> None:
    def made() -> tuple[Any, KerasSparsifier]:
        keras.utils.set_random_seed(0)
        model = _perceptron()
        return model, KerasSparsifier(model, "C0(1:4)", schedule=Schedule("incremental", 4)).prepare()

    model, sparsifier = made()
    sparsifier.step()
    sparsifier.step()
    state, weights = sparsifier.state_dict(), model.get_weights()
    other, again = made()
    other.set_weights(weights)
    again.load_state_dict(state)
    assert again.epoch == 2
    for name, mask in sparsifier.masks.items():
        np.testing.assert_array_equal(again.masks[name], mask)
    np.testing.assert_array_equal(other.predict(_drawn(4, 8), verbose=0), model.predict(_drawn(4, 8), verbose=0))
    sparsifier.step()
    again.step()
    assert sparsifier.masks["b"].mean() < state["masks"]["b"].mean()
    np.testing.assert_array_equal(again.masks["b"], sparsifier.masks["b"])


def test_a_state_of_another_model_is_refused_with_both_shapes() -> None:
    sparsifier = KerasSparsifier(_perceptron(), "C0(1:4)").prepare()
    state = sparsifier.state_dict()
    masks = {"b": np.ones((16, 8), bool), "d": np.ones((4, 4), bool)}
    with pytest.raises(InputError) as raised:
        sparsifier.load_state_dict({**state, "epoch": 3, "masks": masks})
    assert raised.value.faults[0].what == (
        "the masks are of another model: b (16, 8) for (16, 16), c none for (16, 4), d (4, 4) for none"
    )
    assert sparsifier.epoch == 0


# Names and order


def _nested() -> Any:
    """A block used in a model, whose layers are made in another order than they are used in, and a subclass."""
    last, inner = layers.Dense(8, name="last"), keras.Input((8,))
    block = keras.Model(inner, layers.Dense(8, name="up")(layers.Dense(8, name="down")(inner)), name="block")
    inputs = keras.Input((8,))
    return keras.Model(inputs, last(block(layers.Dense(8, name="first")(inputs))), name="network")


def _plan(sparsifier: KerasSparsifier) -> dict[str, str]:
    return {placement.weight.name: str(placement.pattern or placement.rule) for placement in sparsifier.placements}


def test_names_are_paths_in_the_model_and_choose_patterns_and_layers() -> None:
    model = _nested()
    assert _plan(KerasSparsifier(model, "C0(2:4)")) == {
        "first": "the first layer", "block/down": "C0(2:4)", "block/up": "C0(2:4)", "last": "C0(2:4)",
    }  # fmt: skip
    own = {"block/up": (Pattern.parse("C0(1:8)"), None), "first": (Pattern.parse("unstructured"), 0.5)}
    found = _plan(KerasSparsifier(model, "C0(2:4)", choice=Choice(only="block|last", skip="down$"), layers=own))
    assert found == {
        "first": "unstructured", "block/down": "among 'down$', which are left out", "block/up": "C0(1:8)",
        "last": "C0(2:4)",
    }  # fmt: skip


def test_a_name_of_no_layer_is_refused_with_the_closest() -> None:
    with pytest.raises(InputError, match=r"no weight block/upp\n  how to fix: did you mean 'block/up'\?"):
        KerasSparsifier(_nested(), "C0(2:4)", layers={"block/upp": (Pattern.parse("dense"), None)})


@keras.saving.register_keras_serializable("sparseloom tests")
class _Reversed(keras.Model):  # type: ignore[misc]
    """Uses its layers from the last to the first; one never. Two have the same name."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = layers.Dense(4, name="unused")
        self.parts = [layers.Dense(8, name="same"), layers.TimeDistributed(layers.Dense(8, name="each"), name="steps")]
        self.begin = layers.Dense(8, name="same")

    def call(self, inputs: Any) -> Any:
        return self.parts[0](self.parts[1](self.begin(inputs)))


@pytest.mark.filterwarnings(
    r"ignore:.build\(\). was called on layer:UserWarning"
)  # one layer is never used, so not built
def test_an_example_builds_the_model_and_puts_its_weights_in_the_order_of_their_use() -> None:
    model = _Reversed()
    with pytest.raises(InputError) as raised:
        weights_of(model)
    assert [fault.what for fault in raised.value.faults] == [
        f"{name} is not built, it has no kernel yet" for name in ("unused", "same", "steps/each", "same_1")
    ]
    inputs = _drawn(2, 3, 8)
    assert [weight.name for weight in weights_of(model, inputs)] == ["same_1", "steps/each", "same"]
    model.unused(inputs)
    assert [weight.name for weight in weights_of(model)] == ["unused", "same", "steps/each", "same_1"]
    assert [weight.name for weight in weights_of(model, inputs)] == ["same_1", "steps/each", "same", "unused"]
    assert _plan(KerasSparsifier(model, "C0(2:4)", example=inputs))["same_1"] == "the first layer"
    assert all(not isinstance(part.kernel, View) for part in (model.unused, model.begin, model.parts[0]))


def test_a_layer_that_is_used_twice_is_one_weight_and_a_shared_kernel_stays_dense() -> None:
    inputs, shared = keras.Input((8,)), layers.Dense(8, name="shared")
    blocks = [keras.Sequential([keras.Input((8,)), shared], name=name) for name in ("one", "two")]
    both = keras.Model(inputs, blocks[1](layers.Dense(8, name="between")(blocks[0](inputs))))
    assert [weight.name for weight in weights_of(both)] == ["one/shared", "between"]
    model = _perceptron()
    model.get_layer("b").__dict__["_kernel"] = model.get_layer("a").__dict__["_kernel"]
    assert _plan(KerasSparsifier(model, "C0(2:4)")) == {"a": "shared with b", "b": "shared with a", "c": "C0(2:4)"}


def test_a_single_layer_is_a_model_too() -> None:
    layer = layers.Dense(8, name="alone")
    assert [(weight.name, weight.sizes) for weight in weights_of(layer, _drawn(2, 4))] == [("alone", (4, 8))]


# What cannot be


def test_kernels_with_adapters_and_quantised_ones_are_refused_together() -> None:
    model = _perceptron()
    model.get_layer("b").enable_lora(2)
    model.get_layer("c").quantize("int8")
    sparsifier = KerasSparsifier(model, "C0(2:4)")
    with pytest.raises(InputError) as raised:
        sparsifier.prepare()
    paths = [model.get_layer(name).path for name in "bc"]
    assert [fault.what for fault in raised.value.faults] == [
        f"{paths[0]} has low-rank adapters, which fill zeros", f"{paths[1]} is quantised (int8)",
    ]  # fmt: skip


def test_values_that_are_not_finite_are_refused() -> None:
    model = _perceptron()
    model.get_layer("b").kernel.assign(np.full((16, 16), np.nan))
    with pytest.raises(InputError, match="b has 256 values of 256 that are NaN or infinite"):
        KerasSparsifier(model, "C0(2:4)").prepare()


def test_a_step_before_prepare_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"b has no mask\n  how to fix: call prepare\(\) first"):
        KerasSparsifier(_perceptron(), "C0(2:4)").step()


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _perceptron()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(
        InputError, match=r"Keras runs on jax, masks need PyTorch\n  how to fix: set KERAS_BACKEND=torch"
    ):
        weights_of(model)
