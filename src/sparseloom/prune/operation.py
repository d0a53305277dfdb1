"""What an operator of a model computes, as layers of a network: from its name and arguments alone, of any tensors that have
a shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operand:
    """A tensor of a layer: its name there, and the argument that it is. The shares of an attention are none: what its
    ``mask``, the argument, leaves of them, or their ``density``. ``view`` lays an array of the argument's shape out as the layer
    has the tensor."""

    tensor: str
    value: Any = None
    density: float | None = None
    mask: bool = False
    view: Callable[[NDArray[Any]], NDArray[Any]] = field(default=lambda array: array)


@dataclass(frozen=True)
class Operation:
    """A layer as a network file writes it: ``kind`` with ``sizes``; ``suffix`` tells apart several layers of one operator."""

    kind: str
    sizes: Mapping[str, Any]
    operands: tuple[Operand, ...]
    weight: Any = None
    suffix: str = ""


@dataclass(frozen=True)
class Call:
    """An operator that is called: positional and named arguments by the names of its parameters, and which values are known
    before the inference."""

    values: Mapping[str, Any]
    constant: Callable[[Any], bool] = field(default=lambda value: False)

    def get(self, name: str, usual: Any = None) -> Any:
        value = self.values.get(name, usual)
        return usual if value is None else value


class Unsupported(Exception):
    """An operator with multiply-accumulates that no layer describes."""


def operations(name: str, call: Call) -> list[Operation]:
    """The layers of an operator by its name in PyTorch (``conv2d``, ``linear``, ``matmul`` ...). Raises Unsupported, with
    the reason."""
    return _HANDLERS[name](call)


def parameters(name: str) -> tuple[str, ...]:
    """The names of an operator's parameters, in their order."""
    return _PARAMETERS[name]


def _convolution(call: Call) -> list[Operation]:
    source, weight = call.values["input"], call.values["weight"]
    sides = len(weight.shape) - 2
    if sides > 2:
        raise Unsupported(f"a convolution over {sides} sides")
    stride, dilation = (_sides(call.get(name, 1), sides) for name in ("stride", "dilation"))
    if max(dilation) > 1:
        raise Unsupported(f"a convolution dilated by {max(dilation)}")
    given = call.get("padding", 0)
    padding = {"valid": (0, 0), "same": None}.get(given, (0, 0)) if isinstance(given, str) else _sides(given, sides, 0)
    if given == "same":
        if any((size - 1) % 2 for size in weight.shape[2:]):
            raise Unsupported("an even window with padding 'same'")
        padding = _sides([(size - 1) // 2 for size in weight.shape[2:]], sides, 0)
    shape = tuple(source.shape)
    batch, image = (shape[0], shape[2:]) if len(shape) == sides + 2 else (1, shape[1:])
    sizes: dict[str, Any] = {
        "channels": weight.shape[1] * call.get("groups", 1), "filters": weight.shape[0],
        "input": list(_sides(image, sides)), "window": list(_sides(weight.shape[2:], sides)),
        "stride": list(stride), "padding": list(padding or (0, 0)), "groups": call.get("groups", 1), "batch": batch,
        "bias": call.get("bias") is not None,
    }  # fmt: skip
    return [Operation("conv", sizes, (Operand("I", source), Operand("W", weight)), weight)]


def _raw_convolution(call: Call) -> list[Operation]:
    """The operator below all convolutions."""
    if call.get("transposed", False):
        raise Unsupported("a transposed convolution")
    return _convolution(call)


def _sides(value: Any, sides: int, other: int = 1) -> tuple[int, int]:
    """One number for the rows and one for the columns; of a signal along one side, ``other`` for the rows."""
    numbers = [int(number) for number in value] if isinstance(value, Sequence) else [int(value)] * sides
    numbers = numbers * sides if len(numbers) == 1 and sides > 1 else numbers
    return (other, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _linear(call: Call) -> list[Operation]:
    source, weight = call.values["input"], call.values["weight"]
    if not call.constant(weight):
        return _product(source, weight, transposed=True)
    return [_fully_connected(source, weight, call.get("bias") is not None)]


def _fully_connected(source: Any, weight: Any, bias: bool, transposed: bool = False) -> Operation:
    """A layer with weights [outputs, inputs], or the other way round."""
    outputs, inputs = weight.shape[::-1] if transposed else weight.shape
    if not prod(weight.shape):
        raise Unsupported(f"weights of {outputs} x {inputs}")
    sizes = {"rows": prod(source.shape) // inputs, "inputs": inputs, "outputs": outputs, "bias": bias}
    weights = Operand("W", weight, view=np.transpose) if transposed else Operand("W", weight)
    return Operation("linear", sizes, (Operand("I", source), weights), weight)


def _matmul(call: Call, bias: bool = False) -> list[Operation]:
    left, right = call.values["input"], call.values["other"]
    if call.constant(right) and len(right.shape) == 2:
        return [_fully_connected(left, right, bias, transposed=True)]
    if call.constant(left) and len(left.shape) == 2:
        # the weights stand on the left: the same product, transposed
        return [_fully_connected(right, left, bias)]
    return _product(left, right)


def _product(left: Any, right: Any, transposed: bool = False) -> list[Operation]:
    a, b = tuple(left.shape), tuple(right.shape)
    a = (1, *a) if len(a) == 1 else a
    b = (*b, 1) if len(b) == 1 else b
    n, k = (b[-2], b[-1]) if transposed else (b[-1], b[-2])
    lead = _broadcast(a[:-2], b[:-2])
    sizes = {"batch": prod(lead), "m": a[-2], "k": k, "n": n}
    first, second = _matrices(lead, False, (a[-2], k)), _matrices(lead, transposed, (k, n))
    return [Operation("product", sizes, (Operand("A", left, view=first), Operand("B", right, view=second)))]


def _matrices(lead: Shape, transposed: bool, matrix: tuple[int, int]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Arrays of matrices as [batch, rows, columns], those that several share repeated."""

    def view(array: NDArray[Any]) -> NDArray[Any]:
        stored = matrix[::-1] if transposed else matrix
        whole = np.broadcast_to(array.reshape(*array.shape[:-2], *stored), (*lead, *stored)).reshape(-1, *stored)
        return whole.swapaxes(-1, -2) if transposed else whole

    return view


def _broadcast(a: Shape, b: Shape) -> Shape:
    longest = max(len(a), len(b))
    filled = [(1,) * (longest - len(shape)) + shape for shape in (a, b)]
    return tuple(max(x, y) for x, y in zip(*filled, strict=True))


def _attention(call: Call) -> list[Operation]:
    """Two products: scores of queries and keys, and their shares of the values; where a mask leaves scores out, shares are
    zero."""
    query, key, value = (call.values[name] for name in ("query", "key", "value"))
    *batch, rows, width = query.shape
    length, wide = key.shape[-2], value.shape[-1]
    heads = prod(batch)
    shown: float | None = 1.0
    if call.get("is_causal", False):
        shown = sum(min(row + 1, length) for row in range(rows)) / (rows * length)
    elif call.get("attn_mask") is not None:
        shown = None
    lead = tuple(batch)
    rows_of, keys_of = _matrices(lead, False, (rows, width)), _matrices(lead, True, (width, length))
    values_of = _matrices(lead, False, (length, wide))
    scores = {"batch": heads, "m": rows, "k": width, "n": length}
    shares = {"batch": heads, "m": rows, "k": length, "n": wide}
    shares_of = Operand("A", call.get("attn_mask"), shown, mask=True)
    return [
        Operation(
            "product", scores, (Operand("A", query, view=rows_of), Operand("B", key, view=keys_of)), suffix="scores"
        ),
        Operation("product", shares, (shares_of, Operand("B", value, view=values_of)), suffix="values"),
    ]


def _einsum(call: Call) -> list[Operation]:
    equation, operands = call.values["equation"].replace(" ", ""), call.values["operands"]
    if len(operands) != 2 or "..." in equation or "->" not in equation:
        raise Unsupported(f"einsum '{equation}' of {len(operands)} operands")
    inputs, output = equation.split("->")
    names = inputs.split(",")
    sizes = dict[str, int]()
    for name, operand in zip(names, operands, strict=True):
        for rank, size in zip(name, operand.shape, strict=True):
            sizes[rank] = max(size, sizes.get(rank, 1))  # one coordinate is broadcast
    left, right = (set(name) for name in names)
    alone = [rank for rank in sizes if rank not in output and rank not in left & right]
    if alone:
        raise Unsupported(f"einsum '{equation}', which sums {', '.join(alone)} of one operand")
    role = {
        rank: "k" if rank not in output else "batch" if rank in left & right else "m" if rank in left else "n"
        for rank in sizes
    }
    if "k" not in role.values():
        return []  # nothing is summed: elementwise, or an outer product
    parts = {key: prod(size for rank, size in sizes.items() if role[rank] == key) for key in ("batch", "m", "k", "n")}
    first, second = (
        _by_role(name, role, sizes, order)
        for name, order in zip(names, (("batch", "m", "k"), ("batch", "k", "n")), strict=True)
    )
    if call.constant(operands[1]) and parts["batch"] == 1:
        shape = {"rows": parts["m"], "inputs": parts["k"], "outputs": parts["n"], "bias": False}
        weights = Operand("W", operands[1], view=lambda array: second(array)[0].T)
        return [Operation("linear", shape, (Operand("I", operands[0], view=first), weights), operands[1])]
    return [
        Operation("product", parts, (Operand("A", operands[0], view=first), Operand("B", operands[1], view=second)))
    ]


def _by_role(
    name: str, role: Mapping[str, str], sizes: Mapping[str, int], order: tuple[str, ...]
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Arrays with the ranks of ``name`` as [batch, rows, columns], ranks of one role flattened in the order of ``sizes``."""
    ranks = [[rank for rank in sizes if role[rank] == key and rank in name] for key in order]

    def view(array: NDArray[Any]) -> NDArray[Any]:
        moved = array.transpose([name.index(rank) for group in ranks for rank in group])
        whole = np.broadcast_to(moved, [sizes[rank] for group in ranks for rank in group])
        return whole.reshape([prod(sizes[rank] for rank in group) for group in ranks])

    return view


def _added(call: Call) -> list[Operation]:
    """A product to which a bias is added."""
    return _matmul(Call({"input": call.values["left"], "other": call.values["right"]}, call.constant), bias=True)


_CONV: Final = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_PAIR: Final = ("input", "other")
_HANDLERS: Final[dict[str, Callable[[Call], list[Operation]]]] = {
    "conv1d": _convolution, "conv2d": _convolution, "conv3d": _convolution, "linear": _linear,
    "matmul": _matmul, "bmm": _matmul, "mm": _matmul, "mv": _matmul, "dot": _matmul,
    "addmm": _added, "baddbmm": _added,
    "scaled_dot_product_attention": _attention, "_scaled_dot_product_flash_attention_for_cpu": _attention, "einsum": _einsum,
    "convolution": _raw_convolution,
}  # fmt: skip
_PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _CONV), "linear": ("input", "weight", "bias"),
    **dict.fromkeys(("matmul", "bmm", "mm", "mv", "dot"), _PAIR),
    **dict.fromkeys(("addmm", "baddbmm"), ("bias", "left", "right")),
    "scaled_dot_product_attention": ("query", "key", "value", "attn_mask", "dropout_p", "is_causal"),
    "_scaled_dot_product_flash_attention_for_cpu": ("query", "key", "value", "dropout_p", "is_causal", "attn_mask"),
    "einsum": ("equation", "operands"),
    "convolution": ("input", "weight", "bias", "stride", "padding", "dilation", "transposed", "output_padding", "groups"),
}  # fmt: skip
LAYERS: Final = frozenset(_HANDLERS)
"""Operators that become layers."""
