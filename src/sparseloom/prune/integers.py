"""The graph of integers of a model with quantisers, read off step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx

from sparseloom.errors import Fault, InputError
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
    Pad,
    Relu,
    Reshape,
)
from sparseloom.integer.position import quantised
from sparseloom.prune.graph import bound, held, is_tensor, operator, sides, zeros_around
from sparseloom.prune.quantiser import Quantiser


def quantiser_of(model: fx.GraphModule, node: Any) -> Quantiser:
    """The quantiser that a node calls."""
    found = model.get_submodule(str(node.target))
    assert isinstance(found, Quantiser)
    return found


def quantiser_behind(model: fx.GraphModule, node: fx.Node) -> Quantiser:
    """The quantiser of a step's output."""
    return quantiser_of(model, _tail(node).quantiser)


def positions_of(model: fx.GraphModule) -> dict[fx.Node, int]:
    """The position of every value that lies on one, by its node."""
    found = dict[fx.Node, int]()
    for node in model.graph.nodes:
        if node.op == "call_module":
            found[node] = int(quantiser_of(model, node).position)
            continue
        sources = [source for source in node.all_input_nodes if is_tensor(source)]
        if sources and all(source in found for source in sources):
            found[node] = found[sources[0]]
    return found


def integers(model: fx.GraphModule, shape: tuple[int, ...]) -> Graph:
    """The graph for inputs of this shape (without the samples). Raises InputError that lists every step without an integer
    form."""
    return _Reading(model).graph(shape)


@dataclass(frozen=True)
class _Tail:
    """What follows a step and belongs to it: its activation function, if it has one, and its quantiser."""

    nodes: tuple[fx.Node, ...]
    relu: bool
    most: float | None

    @property
    def quantiser(self) -> fx.Node:
        return self.nodes[-1]


def _tail(node: fx.Node) -> _Tail:
    following = next(iter(node.users))
    limit = bound(following)
    if limit is None:
        return _Tail((following,), False, None)
    return _Tail((following, next(iter(following.users))), True, limit.most)


@dataclass(frozen=True)
class _Parameter:
    """The whole numbers of a parameter, their position, and its name in the model."""

    values: NDArray[np.int64]
    position: int
    name: str


class _Reading:
    """Goes through a graph in the order of its execution; what a node gives is known by the name of the integer node that
    gives it."""

    def __init__(self, model: fx.GraphModule) -> None:
        self.model, self.positions = model, positions_of(model)
        self.names = dict[fx.Node, str]()
        self.nodes = list[Node]()
        self.faults = list[Fault]()
        self.without = Counter[str]()
        self.readers: dict[str, Callable[[fx.Node, tuple[str, ...]], None]] = {
            "conv2d": self._convolution, "linear": self._linear, "add": self._sum, "cat": self._concatenation,
            "average": self._mean, "max_pool2d": self._pool,
            **dict.fromkeys(("view", "reshape", "flatten", "squeeze", "unsqueeze"), self._reshape),
        }  # fmt: skip

    def graph(self, shape: tuple[int, ...]) -> Graph:
        output = ""
        for node in self.model.graph.nodes:
            if node.op == "output":
                given = node.args[0]
                output = self.names.get(given[0] if isinstance(given, tuple | list) else given, "")
            elif node.op == "call_module" and node.all_input_nodes[0].op == "placeholder":
                self._keep(Input(node.all_input_nodes[0].name, (), self.positions[node]), node)
            elif node.op == "call_module" and node.all_input_nodes[0] in self.names:
                self.names.setdefault(node, self.names[node.all_input_nodes[0]])
            elif node.op == "call_function" and node not in self.names:
                self._step(node)
        for kind, times in self.without.items():
            fix = "keep the model in floating point, or replace this step"
            self.faults.append(Fault(f"{kind} has no integer form ({times} x)", fix=fix))
        if self.faults:
            raise InputError(self.faults)
        return Graph(tuple(self.nodes), output, shape)

    def _step(self, node: fx.Node) -> None:
        sources = [source for source in node.all_input_nodes if is_tensor(source) and not _holds(source)]
        if not sources:
            return
        reader = (
            self._bound if bound(node) else self._padding if zeros_around(node) else self.readers.get(operator(node))
        )
        if reader is None or not self._ends_rounded(node):
            self.without[operator(node)] += 1
            self.names[node] = node.name
            return
        reader(node, tuple(self.names[source] for source in sources))

    def _ends_rounded(self, node: fx.Node) -> bool:
        """What it gives lies on a position, or is brought to one right behind it."""
        return node in self.positions or (bool(node.users) and _tail(node).quantiser.op == "call_module")

    def _convolution(self, node: fx.Node, inputs: tuple[str, ...]) -> None:
        given = dict(zip(("stride", "padding", "dilation", "groups"), node.args[3:], strict=False))
        if isinstance(given.get("padding"), str) or sides(given.get("dilation", 1)) != (1, 1):
            fix = "give the padding in numbers, and no dilation"
            self.faults.append(Fault(f"{node.name} is dilated, or its padding has a name", fix=fix))
            return
        stride, padding, groups = sides(given.get("stride", 1)), sides(given.get("padding", 0)), given.get("groups", 1)
        self._weighted(node, inputs, Conv, stride=stride, padding=padding, groups=groups)

    def _linear(self, node: fx.Node, inputs: tuple[str, ...]) -> None:
        self._weighted(node, inputs, Linear)

    def _weighted(self, node: fx.Node, inputs: tuple[str, ...], of: type[Conv] | type[Linear], **more: Any) -> None:
        weights = self._parameter(node.args[1])
        bias = self._parameter(node.args[2]) if len(node.args) > 2 and node.args[2] is not None else None
        if bias is not None:
            more |= {"bias": bias.values, "bias_position": bias.position}
        tail = _tail(node)
        name, position = weights.name.removesuffix(".weight"), self.positions[tail.quantiser]
        made = of(
            name, inputs, position, weights=weights.values, weight_position=weights.position, relu=tail.relu, most=tail.most,
            **more
        )  # fmt: skip
        self._keep(made, node, *tail.nodes)

    def _sum(self, node: fx.Node, inputs: tuple[str, ...]) -> None:
        tail = _tail(node)
        self._keep(Add(node.name, inputs, self.positions[tail.quantiser], tail.relu, tail.most), node, *tail.nodes)

    def _mean(self, node: fx.Node, inputs: tuple[str, ...]) -> None:
        tail, (window, stride, padding) = _tail(node), (sides(argument) for argument in node.args[1:4])
        position = self.positions[tail.quantiser]
        self._keep(
            AveragePool(node.name, inputs, position, window, stride, padding, tail.relu, tail.most), node, *tail.nodes
        )

    def _concatenation(self, node: fx.Node, inputs: tuple[str, ...]) -> None:
        tail = _tail(node)
        axis = node.args[1] if len(node.args) > 1 else 0
        assert isinstance(axis, int)
        joined = Concat(node.name, inputs, self.positions[tail.quantiser], axis)
        self._keep(joined, node, *tail.nodes)
        if tail.relu:
            self.nodes.append(Relu(f"{node.name}_relu", (node.name,), joined.position, tail.most))
            self.names |= dict.fromkeys(tail.nodes, f"{node.name}_relu")

    def _pool(self, node: fx.Node, inputs: tuple[str, ...]) -> None:
        arguments = [*node.args[1:], *([None] * 5)][:5]
        window, stride, padding = sides(arguments[0]), sides(arguments[1] or arguments[0]), sides(arguments[2] or 0)
        if sides(arguments[3] or 1) != (1, 1) or arguments[4]:
            fault = Fault(f"{node.name} is dilated, or has windows beyond the edge", fix="give windows that fit")
            self.faults.append(fault)
            return
        self._keep(MaxPool(node.name, inputs, self.positions[node], window, stride, padding), node)

    def _bound(self, node: fx.Node, inputs: tuple[str, ...]) -> None:
        limit = bound(node)
        assert limit is not None
        self._keep(Relu(node.name, inputs, self.positions[node], limit.most), node)

    def _padding(self, node: fx.Node, inputs: tuple[str, ...]) -> None:
        self._keep(Pad(node.name, inputs, self.positions[node], zeros_around(node) or ()), node)

    def _reshape(self, node: fx.Node, inputs: tuple[str, ...]) -> None:
        shape = tuple(int(size) for size in node.meta["val"].shape[1:])
        self._keep(Reshape(node.name, inputs, self.positions[node], shape), node)

    def _parameter(self, node: Any) -> _Parameter:
        quantiser, source = quantiser_of(self.model, node), node.args[0]
        tensor = held(self.model, source)
        assert tensor is not None
        values = tensor.detach().cpu().double().numpy()
        if quantiser.mask is not None:
            values = values * quantiser.mask.cpu().numpy()
        position = int(quantiser.position)
        return _Parameter(quantised(values, position, parameter=True), position, str(source.target))

    def _keep(self, made: Node, *nodes: fx.Node) -> None:
        self.nodes.append(made)
        self.names |= dict.fromkeys(nodes, made.name)


def _holds(node: fx.Node) -> bool:
    """It takes a tensor of the model, or rounds one."""
    return node.op == "get_attr" or (node.op == "call_module" and node.all_input_nodes[0].op == "get_attr")
