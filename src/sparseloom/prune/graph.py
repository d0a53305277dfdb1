"""A model's graph made ready for integers: one batch axis that is free, batch normalisation folded, means as sums."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from sparseloom.errors import Fault, InputError
from sparseloom.integer.arithmetic import average_factor

_SAME: Final = frozenset(
    {"dropout", "contiguous", "detach", "alias", "clone", "lift_fresh_copy", "feature_dropout", "alpha_dropout"}
)
"""Operators that change no value in inference."""

WEIGHTED: Final = ("conv1d", "conv2d", "linear")
"""Operators with weights."""


@dataclass(frozen=True)
class Bound:
    """An activation function that keeps values at 0 and above, and at ``most`` and below."""

    most: float | None = None


def bound(node: fx.Node) -> Bound | None:
    """The activation function that a node is, if it is a bound."""
    kind, arguments = operator(node), _numbers(node)
    if kind == "relu":
        return Bound()
    if kind == "relu6":
        return Bound(6.0)
    if kind in ("hardtanh", "clamp", "clamp_min") and arguments and arguments[0] == 0:
        return Bound(*arguments[1:2])
    return None


def _numbers(node: fx.Node) -> list[float]:
    """The arguments of a node behind its first that are numbers."""
    return [float(argument) for argument in node.args[1:] if isinstance(argument, int | float)]


def is_tensor(node: fx.Node) -> bool:
    """Its value is a tensor, or several; not a number of the batch."""
    return not isinstance(node.meta.get("val"), torch.SymInt | int | float)


def operator(node: fx.Node) -> str:
    """``conv2d`` of aten.conv2d.default, ``add`` of aten.add_.Tensor; the function's name of others; "" of what calls none."""
    if node.op != "call_function":
        return ""
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target._schema.name).partition("::")[2].rstrip("_")
    return str(getattr(node.target, "__name__", ""))


def exported(model: nn.Module, example: Tensor) -> fx.GraphModule:
    """The graph of a model for batches of any size, its parameters under their names. Raises InputError for a model that
    ``torch.export`` cannot read with a free batch."""
    batch = torch.cat([example, example]) if len(example) == 1 else example
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            shapes = ({0: torch.export.Dim.DYNAMIC},)
            return torch.export.export(model.eval(), (batch,), dynamic_shapes=shapes).module()
    except Exception as error:
        what = f"torch.export cannot read the model for batches of any size: {str(error).strip().splitlines()[0][:200]}"
        fix = "quantise a model whose forward() takes one tensor and has no control flow by values"
        raise InputError(Fault(what, fix=fix)) from error


def cleaned(model: fx.GraphModule) -> fx.GraphModule:
    """The same without guards and operators that change nothing, batch normalisation folded into the layer before it, and means
    over windows as :func:`average`."""
    graph = model.graph
    for node in list(graph.nodes):
        if node.op == "call_module" and not node.users:
            graph.erase_node(node)
        elif operator(node) in _SAME:
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
        elif operator(node) == "batch_norm":
            _fold(model, node)
    for node in list(graph.nodes):
        _as_average(graph, node)
    graph.eliminate_dead_code()
    graph.lint()
    model.recompile()
    return model


def average(values: Tensor, window: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """The mean of each window as integers take it: a sum times factor / 2^shift."""
    factor, shift = average_factor(*window)
    return functional.avg_pool2d(values, window, stride, padding, divisor_override=1) * (factor * 2.0**-shift)


def zeros_around(node: fx.Node) -> tuple[int, ...] | None:
    """The numbers of zeros that a node adds at the ends of ranks, the last rank first; None if it is no padding with zeros."""
    if operator(node) not in ("pad", "constant_pad_nd"):
        return None
    mode = [argument for argument in node.args[2:] if isinstance(argument, str)]
    value = [argument for argument in node.args[2:] if isinstance(argument, int | float)]
    ends = [int(end) for end in node.args[1]]  # type: ignore[union-attr, arg-type]
    plain = mode in ([], ["constant"]) and not any(value) and min(ends) >= 0
    return tuple(ends) if plain else None


def held(model: fx.GraphModule, node: Any) -> Tensor | None:
    """The tensor of a node that takes one from the model; None for others."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    path, _, name = str(node.target).rpartition(".")
    found: Tensor = getattr(model.get_submodule(path), name)
    return found


def _fold(model: fx.GraphModule, node: fx.Node) -> None:
    """Put the scale of a batch normalisation into the weights before it and its offset into their bias; nothing where the
    value before it has other users or no weights."""
    before = node.args[0]
    if (
        not isinstance(before, fx.Node)
        or operator(before) not in ("conv1d", "conv2d", "linear")
        or len(before.users) > 1
    ):
        return
    weight = held(model, before.args[1])
    if weight is None:
        return
    scale, offset, mean, variance = (held(model, argument) for argument in node.args[1:5])
    assert mean is not None
    assert variance is not None
    epsilon = float(node.args[7])  # type: ignore[arg-type]
    factor = (variance + epsilon).rsqrt() * (1 if scale is None else scale.detach())
    bias = held(model, before.args[2]) if len(before.args) > 2 else None
    shifted = ((0 if bias is None else bias.detach()) - mean) * factor + (0 if offset is None else offset.detach())
    with torch.no_grad():
        weight.mul_(factor.reshape(-1, *([1] * (weight.ndim - 1))).to(weight))
    path = str(before.args[1].target).rpartition(".")[0]  # type: ignore[union-attr]
    home = model.get_submodule(path)
    name = "bias" if bias is None and not hasattr(home, "bias") else "folded_bias"
    home.register_parameter(name, nn.Parameter(shifted.to(weight)))
    with model.graph.inserting_before(before):
        found = model.graph.get_attr(f"{path}.{name}" if path else name)
    found.meta["val"] = shifted
    before.args = (*before.args[:2], found, *before.args[3:])
    node.replace_all_uses_with(before)
    model.graph.erase_node(node)


def _as_average(graph: fx.Graph, node: fx.Node) -> None:
    kind = operator(node)
    if kind not in ("avg_pool2d", "adaptive_avg_pool2d", "mean"):
        return
    source = node.all_input_nodes[0]
    shape = source.meta["val"].shape
    flat = False
    if kind == "avg_pool2d":
        window = sides(node.args[1])
        given = node.args[2] if len(node.args) > 2 and node.args[2] else window
        stride, padding = sides(given), sides(node.args[3] if len(node.args) > 3 else 0)
        if any(bool(argument) for argument in node.args[4:5]) or (padding != (0, 0) and False in node.args[5:6]):
            return  # windows that are cut at the edge have means of fewer values
    elif kind == "adaptive_avg_pool2d":
        wanted = sides(node.args[1])
        if any(int(size) % out for size, out in zip(shape[-2:], wanted, strict=True)):
            return
        window = (int(shape[-2]) // wanted[0], int(shape[-1]) // wanted[1])
        stride, padding = window, (0, 0)
    else:
        axes = sorted(axis % len(shape) for axis in node.args[1])  # type: ignore[union-attr, operator]
        if len(shape) != 4 or axes != [2, 3]:
            return
        window = (int(shape[2]), int(shape[3]))
        stride, padding, flat = window, (0, 0), not (len(node.args) > 2 and node.args[2])
    with graph.inserting_after(node):
        found = graph.call_function(average, (source, window, stride, padding))
    found.meta = dict(node.meta)
    last = found
    if flat:
        with graph.inserting_after(found):
            last = graph.call_function(torch.ops.aten.flatten.using_ints, (found, 1))
        last.meta = dict(node.meta)
    node.replace_all_uses_with(last)
    graph.erase_node(node)


def sides(value: Any) -> tuple[int, int]:
    """Rows and columns, of one number for both or a list."""
    numbers = [value] if isinstance(value, int) else list(value)
    return int(numbers[0]), int(numbers[-1])
