"""A model in 8 bits: rounded where integers will be, calibrated on data, fine-tuned, and taken to a graph of integers.

The rules are those of docs/integers.md: inputs, weights, biases and the output of every layer are rounded, that of a layer
with its activation function behind it once, after it. What has no integer form (softmax, normalisation, GELU) is computed as
before, between values that are rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, fx, nn

from sparseloom.errors import Fault, InputError
from sparseloom.fibertree.density import BoolArray
from sparseloom.integer.arithmetic import SHIFT_CUT, bias_shifts
from sparseloom.integer.graph import Graph
from sparseloom.prune.data import Batch
from sparseloom.prune.graph import WEIGHTED, bound, cleaned, exported, is_tensor, operator, zeros_around
from sparseloom.prune.integers import integers, positions_of, quantiser_behind, quantiser_of
from sparseloom.prune.quantiser import Quantiser

_PRODUCTS: Final = ("matmul", "bmm", "mm", "scaled_dot_product_attention")
_SHAPES: Final = frozenset(
    ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose", "t", "expand", "slice", "select",
     "chunk", "split", "split_with_sizes", "getitem", "narrow", "unbind")
)  # fmt: skip
"""Operators that only move values."""


class QuantisedModel(nn.Module):
    """A model whose values are rounded to 8 bits where its integer form rounds them. ``positions`` are known once it is
    calibrated.

    In float64 (``.double()``) its outputs are exactly those of :meth:`integers`; in float32 sums are exact to 2^24.
    """

    def __init__(self, model: nn.Module, example: Tensor, masks: Mapping[str, BoolArray] | None = None) -> None:
        super().__init__()
        self.body = cleaned(exported(model, example))
        self.shape = tuple(example.shape[1:])
        _Insertion(self.body).all()
        for name, mask in (masks or {}).items():
            self._weight_quantiser(name).mask = torch.from_numpy(mask.astype(np.float32))

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.body(inputs)
        first: Tensor = found[0] if isinstance(found, tuple | list) else found
        return first

    def train(self, mode: bool = True) -> QuantisedModel:
        """The body is the same in both modes: it was read in that of inference."""
        self.training = mode
        return self

    def calibrate(self, batches: Iterable[Batch], most: int = 10) -> QuantisedModel:
        """Find all positions on so many batches: of weights once, of activations that which most batches give. Then move
        those of weights and biases into the reach of the accumulator's shifts."""
        quantisers = [module for module in self.modules() if isinstance(module, Quantiser)]
        for quantiser in quantisers:
            quantiser.observing = True
        self.eval()
        with torch.no_grad():
            for number, (inputs, _) in enumerate(batches):
                if number == most:
                    break
                self(inputs)
        for quantiser in quantisers:
            quantiser.settle()
        self._reach()
        return self

    def integers(self) -> Graph:
        """The graph of integers. Raises InputError for a model with steps that have none, which are listed."""
        return integers(self.body, self.shape)

    def _reach(self) -> None:
        """Positions of joined tensors are the smallest of theirs; weights and biases are moved so that shifts are possible."""
        positions = positions_of(self.body)
        for node in self.body.graph.nodes:
            if operator(node) == "cat":
                quantiser_behind(self.body, node).position.fill_(
                    min(positions[source] for source in node.all_input_nodes)
                )
                positions = positions_of(self.body)
        for node in self.body.graph.nodes:
            if operator(node) in WEIGHTED:
                self._reach_of(node, positions)

    def _reach_of(self, node: fx.Node, positions: Mapping[fx.Node, int]) -> None:
        source, weight = node.args[:2]
        weights = quantiser_of(self.body, weight)
        taken, given = positions[source], int(quantiser_behind(self.body, node).position)  # type: ignore[index]
        cut = taken + int(weights.position) - given
        weights.position.fill_(int(weights.position) + min(max(cut, SHIFT_CUT[0]), SHIFT_CUT[1]) - cut)
        grid = taken + int(weights.position)
        if len(node.args) > 2 and node.args[2] is not None:
            bias = quantiser_of(self.body, node.args[2])
            least, most = bias_shifts(grid - given)
            bias.position.fill_(grid - min(max(grid - int(bias.position), least), most))
            bias.grid.fill_(grid)

    def _weight_quantiser(self, name: str) -> Quantiser:
        for node in self.body.graph.nodes:
            if node.op == "get_attr" and str(node.target) in (f"{name}.weight", name):
                return quantiser_of(self.body, next(iter(node.users)))
        raise InputError(
            Fault(f"the quantised model has no weight {name}", fix="give masks by the names of its weights")
        )


def quantise(
    model: nn.Module, batches: Iterable[Batch], masks: Mapping[str, BoolArray] | None = None, most: int = 10
) -> QuantisedModel:
    """The model in 8 bits, calibrated on the first ``most`` batches; where ``masks`` (by the names of weights) are false,
    weights are and stay zero. Raises InputError for a model that cannot be read, and for inputs that are not one tensor."""
    inputs = next(iter(batches))[0]
    if not isinstance(inputs, Tensor):
        raise InputError(Fault(f"inputs are a {type(inputs).__name__}", fix="quantise a model that takes one tensor"))
    return QuantisedModel(model, inputs[:2], masks).calibrate(batches, most)


class _Insertion:
    """Puts quantisers into a graph."""

    def __init__(self, model: fx.GraphModule) -> None:
        self.model, self.graph = model, model.graph
        self.rounded = set[fx.Node]()
        self.home = nn.Module()
        self.model.add_module("quantisers", self.home)

    def all(self) -> None:
        for node in list(self.graph.nodes):
            kind = operator(node)
            if node.op == "placeholder":
                self._after(node, candidates=1)
            elif kind in WEIGHTED:
                self._input(node, 0)
                for number in (1, 2):
                    if len(node.args) > number and node.args[number] is not None:
                        self._parameter(node, number)
                self._after(node)
            elif kind in _PRODUCTS:
                for number in range(3 if kind == "scaled_dot_product_attention" else 2):
                    self._input(node, number)
                self._after(node)
            elif kind in ("add", "cat", "average") and self._all_rounded(node):
                self._after(node)
            elif (kind in _SHAPES or kind == "max_pool2d" or bound(node) or zeros_around(node)) and self._all_rounded(
                node
            ):
                self.rounded.add(node)
        self.graph.lint()
        self.model.recompile()

    def _all_rounded(self, node: fx.Node) -> bool:
        return bool(node.all_input_nodes) and all(
            source in self.rounded for source in node.all_input_nodes if is_tensor(source)
        )

    def _after(self, node: fx.Node, candidates: int = 5) -> None:
        """Round the value of a node, behind the activation function that alone takes it."""
        only = next(iter(node.users)) if len(node.users) == 1 else None
        if only is not None and bound(only):
            node = only
        quantiser = self._quantiser(node, Quantiser(candidates=candidates))
        self.rounded |= {node, quantiser}

    def _input(self, node: fx.Node, number: int) -> None:
        source = node.args[number]
        if isinstance(source, fx.Node) and source not in self.rounded:
            quantiser = self._quantiser(source, Quantiser(), only=node)
            self.rounded.add(quantiser)

    def _parameter(self, node: fx.Node, number: int) -> None:
        source = node.args[number]
        assert isinstance(source, fx.Node)
        self._quantiser(source, Quantiser(parameter=True), only=node)

    def _quantiser(self, node: fx.Node, quantiser: Quantiser, only: fx.Node | None = None) -> fx.Node:
        """A quantiser of a node's value, for all its users or one of them."""
        name = f"q{len(list(self.home.children()))}"
        self.home.add_module(name, quantiser)
        with self.graph.inserting_after(node):
            found = self.graph.call_module(f"quantisers.{name}", (node,))
        found.meta = {"val": node.meta.get("val")}
        if only is not None:
            only.replace_input_with(node, found)
        else:
            node.replace_all_uses_with(found, delete_user_cb=lambda user: user is not found)
        return found
