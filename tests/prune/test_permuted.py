"""Permuted-diagonal layers against dense ones, loops over the equations, and the pattern of the same name."""

import copy
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from sparseloom.errors import InputError
from sparseloom.fibertree.diagonal import PermutedDiagonal
from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune.model import weights_of
from sparseloom.prune.permuted import PermutedConv2d, PermutedLinear
from sparseloom.prune.placement import Choice, plan

Layer = PermutedLinear | PermutedConv2d


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@st.composite
def diagonals(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes that p divides or not, and a k that is natural, one number, a sum of rows and columns, or any."""
    p = draw(st.sampled_from([1, 2, 3, 4, 8]))
    outputs, inputs = draw(st.integers(1, 3 * p)), draw(st.integers(1, 3 * p))
    blocks = -(-outputs // p), -(-inputs // p)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(["natural", "one", "sum", "any"]))
    k = {
        "natural": None,
        "one": int(rng.integers(p)),
        "sum": (rng.integers(p, size=blocks[:1])[:, None] + rng.integers(p, size=blocks[1:])) % p,
        "any": rng.integers(p, size=blocks),
    }[kind]
    return {"outputs": outputs, "inputs": inputs, "size": p, "k": k}


def linear(case: dict[str, Any], **more: Any) -> PermutedLinear:
    return PermutedLinear(case["inputs"], case["outputs"], size=case["size"], k=case["k"], **more).double()


def conv(case: dict[str, Any], *arguments: Any, **more: Any) -> PermutedConv2d:
    shape = case["inputs"], case["outputs"]
    return PermutedConv2d(*shape, *arguments, size=case["size"], k=case["k"], **more).double()


def by_the_equation(layer: Layer) -> Tensor:
    """W(a p + i, b p + (i + k) mod p) = values(a, b, i), one value after the other, cropped."""
    rows, columns, p = layer.values.shape[:3]
    dense = torch.zeros(rows * p, columns * p, *layer.kernel, dtype=layer.values.dtype)
    for a, b, i in itertools.product(range(rows), range(columns), range(p)):
        dense[a * p + i, b * p + (i + int(layer.k[a, b])) % p] = layer.values[a, b, i].detach()
    return dense[: layer.outputs, : layer.inputs]


def mask_of(layer: Layer) -> np.ndarray:
    """Where the layer's weight may have nonzeros, cropped, [M, C]."""
    rows, columns = (count * layer.size for count in layer.k.shape)
    whole = PermutedDiagonal((rows, columns), (0, 1), layer.size, tuple(layer.k.flatten().tolist()))
    return whole.draw(np.random.default_rng())[: layer.outputs, : layer.inputs]


def gradients(y: Tensor, seen: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad((y * seen).sum(), of)


def random(*shape: int, **more: Any) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, **more)


@given(diagonals())
def test_the_dense_weight_is_that_of_the_equation_and_fills_the_mask_of_the_pattern(case: dict[str, Any]) -> None:
    for layer in (linear(case), conv(case, (2, 1))):
        dense = layer.dense_weight().detach()
        assert torch.equal(dense, by_the_equation(layer))
        filled = dense.abs().flatten(2).sum(-1) if dense.dim() > 2 else dense
        assert ((filled != 0).numpy() == mask_of(layer)).all()


@given(diagonals(), st.lists(st.integers(0, 3), max_size=2), st.booleans())
def test_a_linear_layer_and_its_gradients_are_those_of_the_masked_dense_layer(
    case: dict[str, Any], leading: list[int], bias: bool
) -> None:
    layer = linear(case, bias=bias)
    dense = layer.dense_weight().detach().requires_grad_()
    x, seen = random(*leading, case["inputs"], requires_grad=True), random(*leading, case["outputs"])
    y, expected = layer(x), functional.linear(x, dense, layer.bias)
    assert y.shape == expected.shape
    torch.testing.assert_close(y, expected)
    compare_gradients(layer, dense, x, y, expected, seen)


@given(
    diagonals(),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(0, 2), st.integers(3, 6), st.integers(3, 6)),
)
def test_a_convolution_and_its_gradients_are_those_of_the_masked_dense_layer(
    case: dict[str, Any],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    pictures: tuple[int, int, int],
) -> None:
    layer = conv(case, kernel, stride, padding)
    dense = layer.dense_weight().detach().requires_grad_()
    x = random(pictures[0], case["inputs"], *pictures[1:], requires_grad=True)
    y, expected = layer(x), functional.conv2d(x, dense, layer.bias, stride, padding)
    assert y.shape == expected.shape
    torch.testing.assert_close(y, expected)
    compare_gradients(layer, dense, x, y, expected, random(*y.shape))


def compare_gradients(layer: Layer, dense: Tensor, x: Tensor, y: Tensor, expected: Tensor, seen: Tensor) -> None:
    """dJ/dvalues is the dense gradient on the mask, through the same map as the values; dJ/dX and dJ/dbias are the same."""
    bias = [] if layer.bias is None else [layer.bias]
    for_values, for_x, *for_bias = gradients(y, seen, layer.values, x, *bias)
    for_dense, dense_x, *dense_bias = gradients(expected, seen, dense, x, *bias)
    torch.testing.assert_close(for_x, dense_x)
    for own, other in zip(for_bias, dense_bias, strict=True):
        torch.testing.assert_close(own, other)
    placed = copy.deepcopy(layer)
    placed.values.data = for_values
    mask = torch.from_numpy(mask_of(layer)).reshape(*dense.shape[:2], *(1 for _ in layer.kernel))
    torch.testing.assert_close(by_the_equation(placed), for_dense * mask)


@pytest.mark.parametrize("k", [None, [[0, 1], [1, 1]]], ids=["groups", "any k"])
def test_the_gradient_of_the_inputs_is_the_sum_of_permcnn_over_filters_that_the_stride_reaches(
    k: list[list[int]] | None,
) -> None:
    layer, x = conv({"outputs": 4, "inputs": 4, "size": 2, "k": k}, 3, stride=2), random(1, 4, 6, 6, requires_grad=True)
    y = layer(x)
    seen = random(*y.shape)
    (found,) = gradients(y, seen, x)
    weight, expected = layer.dense_weight().detach(), torch.zeros_like(x)
    for c, row, column, m, r, s in itertools.product(range(4), range(6), range(6), range(4), range(3), range(3)):
        e, f = (row - r) / 2, (column - s) / 2
        if e.is_integer() and f.is_integer() and 0 <= e < y.shape[2] and 0 <= f < y.shape[3]:
            expected[0, c, row, column] += weight[m, c, r, s] * seen[0, m, int(e), int(f)]
    torch.testing.assert_close(found, expected)


def test_the_example_of_permcnn_has_its_rows_its_storage_and_its_size() -> None:
    dense = torch.tensor([[0, 0, 0.7, 0], [0, 0, 0, -1.2], [-1.5, 0, 0, 0], [0, 1.6, 0, 0]])
    layer = PermutedLinear.from_dense(dense, 4)
    assert torch.equal(layer.dense_weight(), dense)
    assert layer.values.flatten().tolist() == dense[dense != 0].tolist()  # by row; the slide's are by column
    values, permv = layer.by_column()
    torch.testing.assert_close(values.flatten(), torch.tensor([-1.5, 1.6, 0.7, -1.2]))
    assert permv.tolist() == [[2]]
    assert layer.compressed_bits(8) == 4 * 8 + 2
    assert layer.unstructured_bits(8) == 2 * 4 * 8


@given(diagonals())
def test_by_column_row_j_plus_permv_of_a_block_has_the_value_of_column_j(case: dict[str, Any]) -> None:
    layer = linear(case)
    values, permv = layer.by_column()
    rows, columns, p = values.shape
    whole = linear({**case, "outputs": rows * p, "inputs": columns * p})
    whole.load_state_dict({**layer.state_dict(), "bias": whole.bias})
    dense = whole.dense_weight()
    for a, b, j in itertools.product(range(rows), range(columns), range(p)):
        assert values[a, b, j] == dense[a * p + (j + permv[a, b]) % p, b * p + j]
    assert torch.equal(permv, (p - layer.k) % p)


def test_where_k_is_not_half_the_size_rows_and_columns_differ() -> None:
    layer = PermutedLinear(3, 3, bias=False, size=3, k=1)
    layer.values.data = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert layer.dense_weight().tolist() == [[0, 1, 0], [0, 0, 2], [3, 0, 0]]
    assert layer(torch.tensor([10.0, 20.0, 30.0])).tolist() == [20, 60, 30]
    values, permv = layer.by_column()
    assert (values.tolist(), permv.tolist()) == ([[[3, 1, 2]]], [[2]])


@pytest.mark.parametrize("p", [1, 2, 3, 5])
def test_a_projection_keeps_what_a_mask_of_the_pattern_keeps_whether_p_divides_or_not(p: int) -> None:
    model = nn.Sequential(nn.Conv2d(10, 7, (3, 2)), nn.Flatten(), nn.Linear(7, 10)).double()
    placements = plan(weights_of(model), (Pattern.parse(f"permdiag(M,C: {p})"), None), Choice(first=True))
    for placement, module, kind in zip(placements, (model[0], model[2]), (PermutedConv2d, PermutedLinear), strict=True):
        weight = module.weight.detach()
        layer = kind.from_dense(weight, p)
        assert torch.equal(layer.dense_weight(), weight * torch.from_numpy(placement.mask(weight.numpy())))
        assert layer.values.dtype == torch.float64


@pytest.mark.parametrize("p", [2, 3])
def test_no_other_k_is_nearer_to_the_dense_weight(p: int) -> None:
    weight = random(2 * p, 2 * p - 1)
    errors = {k: error(PermutedLinear.from_dense(weight, p, k=np.reshape(k, (2, 2))), weight) for k in every_k(p, 4)}
    best = PermutedLinear.from_dense(weight, p)
    assert tuple(best.k.flatten().tolist()) == min(errors, key=errors.__getitem__)
    assert error(best, weight) == min(errors.values())


def every_k(p: int, blocks: int) -> Iterator[tuple[int, ...]]:
    return itertools.product(range(p), repeat=blocks)


def error(layer: Layer, weight: Tensor) -> float:
    return float((layer.dense_weight().detach() - weight).norm())


def test_for_a_given_k_the_projection_is_the_solution_of_least_squares() -> None:
    weight, k = random(4, 6, 2, 2), [[0, 1, 1], [1, 1, 0]]
    layer = PermutedConv2d.from_dense(weight, 2, k=k)
    squares = ((layer.dense_weight() - weight) ** 2).sum()  # a convex quadratic of the values
    slope = torch.autograd.grad(squares, layer.values)[0]
    assert slope.abs().max() == 0
    assert layer.k.tolist() == k


@pytest.mark.parametrize(
    ("layer", "bits", "unstructured"),
    [
        (PermutedLinear(8, 8, size=1), 64 * 16, 2 * 64 * 16),
        (PermutedLinear(9, 6, size=3), 2 * 3 * (3 * 16 + 2), 2 * 6 * 3 * 16),
        (PermutedLinear(10, 7, size=8), 2 * (8 * 16 + 3), 2 * 2 * 8 * 16),  # 7 x 10 is padded to 8 x 16
        (PermutedConv2d(4, 8, (3, 2), size=4), 2 * (4 * 6 * 16 + 2), 2 * 2 * 4 * 6 * 16),
    ],
)
def test_storage_is_values_and_one_k_a_block(layer: Layer, bits: int, unstructured: int) -> None:
    assert layer.compressed_bits(16) == bits
    assert layer.unstructured_bits(16) == unstructured


@given(diagonals())
def test_values_are_as_large_as_the_fan_in_of_their_row_asks_and_zero_where_they_are_padded(
    case: dict[str, Any],
) -> None:
    layer = conv(case, (3, 2))
    fan = mask_of(layer).sum(1)
    for m, own in enumerate(layer.dense_weight().detach()):
        assert float(own.abs().max()) <= 1 / math.sqrt(max(fan[m], 1) * 6)
    assert int((layer.values != 0).sum()) == mask_of(layer).sum() * 6
    assert float(layer.bias.detach().abs().max()) <= 1 / math.sqrt(case["inputs"] * 6)


@pytest.mark.parametrize(("inputs", "p"), [(256, 1), (256, 4), (250, 8)])
@torch.no_grad()
def test_outputs_have_the_variance_of_those_of_the_dense_layer(inputs: int, p: int) -> None:
    x = torch.randn(500, inputs)
    ratio = PermutedLinear(inputs, 300, size=p)(x).var() / nn.Linear(inputs, 300)(x).var()
    assert float(ratio) == pytest.approx(1, abs=0.05)
    x = torch.randn(20, inputs, 6, 6)
    ratio = PermutedConv2d(inputs, 64, 3, size=p)(x).var() / nn.Conv2d(inputs, 64, 3)(x).var()
    assert float(ratio) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("k", [None, [[0, 0], [0, 3]]], ids=["groups", "any k"])
def test_training_leaves_padded_values_zero(k: list[list[int]] | None) -> None:
    layer = PermutedLinear(5, 7, size=4, k=k)
    outside = layer.values.detach() == 0
    assert int(outside.sum()) == 2 * 2 * 4 - mask_of(layer).sum()
    optimiser = torch.optim.AdamW(layer.parameters(), 0.1)
    for _ in range(3):
        optimiser.zero_grad()
        (layer(torch.randn(6, 5)) ** 2).sum().backward()
        optimiser.step()
    assert torch.equal(layer.values == 0, outside)


class Operations(TorchDispatchMode):
    """The names of the operations, and the number of points of the largest tensor that one returns."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.points = set[str](), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.names.add(func.overloadpacket.__name__)
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.points = max(self.points, tensor.numel())
        return result


@pytest.mark.parametrize("k", [None, np.random.default_rng(0).integers(8, size=(12, 16))], ids=["groups", "any k"])
def test_no_tensor_is_larger_than_the_values_forward_or_backward(k: np.ndarray | None) -> None:
    cases = [
        (PermutedLinear(128, 96, size=8, k=k), torch.randn(3, 128, requires_grad=True)),
        (PermutedConv2d(128, 96, 3, padding=1, size=8, k=k), torch.randn(1, 128, 3, 3, requires_grad=True)),
    ]
    for layer, x in cases:
        with Operations() as operations:
            layer(x).sum().backward()
        assert operations.points == layer.values.numel()
        assert layer.values.numel() * 8 == layer.dense_weight().numel()


@pytest.mark.parametrize(
    ("k", "bags"),
    [(None, False), (2, False), ([[1, 2], [2, 0]], False), ([[1, 2], [2, 1]], True)],  # 0 = 1 + 2 mod 3
)
def test_bags_are_formed_only_where_k_is_no_sum_of_a_number_for_rows_and_one_for_columns(k: Any, bags: bool) -> None:
    cases = [
        (PermutedLinear(6, 6, size=3, k=k), torch.randn(2, 6)),
        (PermutedConv2d(6, 6, 2, size=3, k=k), torch.randn(1, 6, 3, 3)),
    ]
    for (layer, x), product in zip(cases, ("bmm", "convolution"), strict=True):
        with Operations() as operations:
            layer(x)
        assert any(name.startswith("_embedding_bag") for name in operations.names) == bags
        assert (product in operations.names) != bags


@pytest.mark.parametrize("k", [None, [[0, 2], [1, 1], [0, 0]]], ids=["groups", "any k"])
def test_a_state_goes_to_a_layer_with_other_diagonals(k: list[list[int]] | None) -> None:
    first, second = PermutedConv2d(6, 9, 2, size=3, k=k), PermutedConv2d(6, 9, 2, size=3, k=1)
    x = torch.randn(2, 6, 3, 3)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))
    assert sorted(first.state_dict()) == ["bias", "k", "values"]
    assert first.state_dict()["k"].dtype == torch.int64


def test_k_counts_the_blocks_row_by_row_unless_it_is_given() -> None:
    assert PermutedLinear(8, 6, size=3).k.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert PermutedLinear(8, 8, size=4).k.tolist() == [[0, 1], [2, 3]]
    assert PermutedLinear(8, 8, size=4, k=3).k.tolist() == [[3, 3], [3, 3]]
    assert PermutedLinear(8, 8, size=4, k=torch.tensor([[3, 0], [1, 2]])).k.tolist() == [[3, 0], [1, 2]]


@pytest.mark.parametrize("k", [None, [[0, 0], [0, 1]]], ids=["groups", "any k"])
def test_a_convolution_takes_any_ranks_before_its_channels(k: list[list[int]] | None) -> None:
    layer, x = PermutedConv2d(4, 4, (3, 2), (1, 2), size=2, k=k), torch.randn(2, 3, 4, 5, 6)
    y = layer(x)
    assert y.shape == (2, 3, 4, 3, 3)
    torch.testing.assert_close(layer(x[1]), y[1])
    torch.testing.assert_close(layer(x[1, 2]), y[1, 2])


@pytest.mark.parametrize("k", [None, [[0, 0], [0, 1]]], ids=["groups", "any k"])
def test_automatic_mixed_precision_takes_the_layers(k: list[list[int]] | None) -> None:
    model = nn.Sequential(PermutedConv2d(8, 8, 3, size=4, k=k), nn.Flatten(), PermutedLinear(8, 8, size=4, k=k))
    x = torch.randn(5, 8, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), model(x), rtol=0.05, atol=0.05)
    y.float().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in model.parameters())


def test_a_second_derivative_is_refused_where_there_is_none() -> None:
    layer, x = PermutedLinear(8, 8, size=4, k=[[0, 0], [0, 1]]), torch.randn(2, 8, requires_grad=True)
    (slope,) = torch.autograd.grad((layer(x) ** 2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (
            {"in_channels": 0, "kernel_size": (3, 0), "size": 0},
            [
                "inputs is 0, less than 1 @ inputs",
                "kernel_size is 0, less than 1 @ kernel_size",
                "size is 0, less than 1 @ size",
            ],
        ),
        (
            {"stride": (0, 1), "padding": (0, -1)},
            ["stride is 0, less than 1 @ stride", "padding is -1, less than 0 @ padding"],
        ),
        ({"k": torch.tensor(4)}, ["k has 4, blocks of 4 need integers from 0 to 3 @ k"]),
        ({"k": [[0, -1], [0, 0]]}, ["k has -1, blocks of 4 need integers from 0 to 3 @ k"]),
        ({"k": 0.5}, ["k has 0.5, blocks of 4 need integers from 0 to 3 @ k"]),
        (
            {"k": [0, 1, 2, 4]},
            ["k has 4, blocks of 4 need integers from 0 to 3 @ k", "k has shape [4], there are 2 x 2 blocks @ k"],
        ),
    ],
)
def test_a_layer_that_cannot_be_says_what_is_wrong(arguments: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(InputError) as raised:
        PermutedConv2d(**{"in_channels": 8, "out_channels": 8, "kernel_size": 3, "size": 4, **arguments})
    assert [f"{fault.what} @ {fault.path}" for fault in raised.value.faults] == messages
    assert all(fault.fix for fault in raised.value.faults)


def test_inputs_of_another_number_are_refused_even_where_they_are_as_many_as_the_padded_ones() -> None:
    with pytest.raises(InputError, match=r"the layer has 6 inputs, these are 8, of shape \[2, 8\]"):
        PermutedLinear(6, 4, size=4)(torch.zeros(2, 8))
    with pytest.raises(InputError, match=r"the layer has 6 inputs, these are 5, of shape \[1, 5, 9, 9\]"):
        PermutedConv2d(6, 4, 3, size=4)(torch.zeros(1, 5, 9, 9))


@pytest.mark.parametrize("k", [None, [[0, 0], [0, 1]]], ids=["groups", "any k"])
def test_pictures_that_are_smaller_than_the_kernel_are_refused(k: list[list[int]] | None) -> None:
    with pytest.raises(RuntimeError, match="size"):
        PermutedConv2d(4, 4, 3, size=2, padding=(0, 1), k=k)(torch.zeros(1, 4, 2, 1))


def test_a_weight_that_cannot_be_projected_says_what_is_wrong() -> None:
    weight = torch.zeros(4, 4)
    with pytest.raises(InputError, match=r"the weight has shape \[4, 4\], not \[M, C, R, S\]"):
        PermutedConv2d.from_dense(weight, 2)
    with pytest.raises(InputError, match="size is 0, less than 1"):
        PermutedLinear.from_dense(weight, 0)
    weight[1, 2] = math.nan
    with pytest.raises(InputError, match="1 of 16 values are NaN or infinite"):
        PermutedLinear.from_dense(weight, 2)
