"""A quantised model as a graph of integer layers, and what it computes, step by step, in NumPy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseloom import document
from sparseloom.errors import Fault, InputError, WorkloadError
from sparseloom.integer import arithmetic
from sparseloom.integer.arithmetic import SHIFT_CUT, Windows, bias_shifts, require_accumulator, saturated, shifted
from sparseloom.integer.position import quantised

IntArray = NDArray[np.int64]

GRAPH: Final = "graph.json"
TENSORS: Final = "tensors.npz"


@dataclass(frozen=True, eq=False)
class Node:
    """One step: it takes the values of the nodes named ``inputs`` and gives values with a ``position``."""

    name: str
    inputs: tuple[str, ...]
    position: int
    kind: ClassVar[str] = ""

    def run(self, values: Sequence[IntArray], positions: Sequence[int]) -> IntArray:
        raise NotImplementedError

    def faults(self, positions: Sequence[int]) -> list[Fault]:
        """What is wrong with this step, its inputs having these positions."""
        return []


@dataclass(frozen=True, eq=False)
class Input(Node):
    """The inputs of the network, quantised."""

    kind: ClassVar[str] = "input"

    def run(self, values: Sequence[IntArray], positions: Sequence[int]) -> IntArray:
        return values[0]


@dataclass(frozen=True, eq=False)
class Weighted(Node):
    """A layer with weights and a bias of 8 bits, each with a position of its own; ``relu`` and ``most`` (a largest value, as
    6) act on the accumulator, which is then shifted to the output's position once."""

    weights: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    weight_position: int = 0
    bias: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    bias_position: int = 0
    relu: bool = False
    most: float | None = None

    def faults(self, positions: Sequence[int]) -> list[Fault]:
        cut = positions[0] + self.weight_position - self.position
        found = []
        if not SHIFT_CUT[0] <= cut <= SHIFT_CUT[1]:
            what = f"{self.name} shifts its accumulator by {cut}, possible are {SHIFT_CUT[0]} to {SHIFT_CUT[1]}"
            found.append(Fault(what, fix="move the position of the weights"))
        shift = positions[0] + self.weight_position - self.bias_position
        least, largest = bias_shifts(cut)
        if self.bias.size and not least <= shift <= largest:
            what = f"{self.name} shifts its bias by {shift}, possible are {least} to {largest}"
            found.append(Fault(what, fix="move the position of the bias"))
        try:
            require_accumulator(self.name, self.weights, self.bias, shift)
        except WorkloadError as error:
            found += error.faults
        return found

    def run(self, values: Sequence[IntArray], positions: Sequence[int]) -> IntArray:
        total = self.accumulated(values[0])
        position = positions[0] + self.weight_position
        if self.bias.size:
            bias = shifted(self.bias, self.bias_position - position)
            total = total + bias.reshape(-1, *([1] * (total.ndim - 2 if self.kind == "conv" else 0)))
        return _finished(total, position, self)

    def accumulated(self, values: IntArray) -> IntArray:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Conv(Weighted):
    """A convolution with weights [M, C, R, S]."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    kind: ClassVar[str] = "conv"

    def accumulated(self, values: IntArray) -> IntArray:
        rows, columns = self.weights.shape[2:]
        return arithmetic.convolution(
            values, self.weights, Windows((rows, columns), self.stride, self.padding), self.groups
        )


@dataclass(frozen=True, eq=False)
class Linear(Weighted):
    """A fully connected layer with weights [M, C], on the last rank."""

    kind: ClassVar[str] = "linear"

    def accumulated(self, values: IntArray) -> IntArray:
        return arithmetic.product(values, self.weights)


@dataclass(frozen=True, eq=False)
class Add(Node):
    """The sum of the inputs, aligned to the finest position, then shifted once."""

    relu: bool = False
    most: float | None = None
    kind: ClassVar[str] = "add"

    def run(self, values: Sequence[IntArray], positions: Sequence[int]) -> IntArray:
        total, position = arithmetic.added(list(zip(values, positions, strict=True)))
        return _finished(total, position, self)


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """The inputs side by side along ``axis``, each shifted to the output's position, the smallest of theirs."""

    axis: int = 1
    kind: ClassVar[str] = "concat"

    def faults(self, positions: Sequence[int]) -> list[Fault]:
        if self.position == min(positions):
            return []
        what = f"{self.name} has position {self.position}, the smallest of its inputs is {min(positions)}"
        return [Fault(what, fix="give it the smallest")]

    def run(self, values: Sequence[IntArray], positions: Sequence[int]) -> IntArray:
        pairs = zip(values, positions, strict=True)
        return np.concatenate([saturated(shifted(value, own - self.position)) for value, own in pairs], self.axis)


@dataclass(frozen=True, eq=False)
class MaxPool(Node):
    """The largest of each window."""

    window: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    padding: tuple[int, int] = (0, 0)
    kind: ClassVar[str] = "max_pool"

    def run(self, values: Sequence[IntArray], positions: Sequence[int]) -> IntArray:
        return arithmetic.max_pool(values[0], Windows(self.window, self.stride, self.padding))


@dataclass(frozen=True, eq=False)
class AveragePool(Node):
    """The mean of each window, padding included, by :func:`arithmetic.average_factor`, then shifted once."""

    window: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    padding: tuple[int, int] = (0, 0)
    relu: bool = False
    most: float | None = None
    kind: ClassVar[str] = "average_pool"

    def run(self, values: Sequence[IntArray], positions: Sequence[int]) -> IntArray:
        factor, shift = arithmetic.average_factor(*self.window)
        total = arithmetic.sum_pool(values[0], Windows(self.window, self.stride, self.padding)) * factor
        return _finished(total, positions[0] + shift, self)


@dataclass(frozen=True, eq=False)
class Relu(Node):
    """What is negative becomes zero, where that is no part of the layer before."""

    most: float | None = None
    kind: ClassVar[str] = "relu"

    def run(self, values: Sequence[IntArray], positions: Sequence[int]) -> IntArray:
        return _bounded(values[0], positions[0], True, self.most)


@dataclass(frozen=True, eq=False)
class Reshape(Node):
    """The same values by other ranks, ``shape`` without that of the samples; -1: what is left."""

    shape: tuple[int, ...] = (-1,)
    kind: ClassVar[str] = "reshape"

    def run(self, values: Sequence[IntArray], positions: Sequence[int]) -> IntArray:
        return values[0].reshape(len(values[0]), *self.shape)


@dataclass(frozen=True, eq=False)
class Pad(Node):
    """Zeros around the last ranks: (before, after) of each, the last rank first."""

    ends: tuple[int, ...] = ()
    kind: ClassVar[str] = "pad"

    def run(self, values: Sequence[IntArray], positions: Sequence[int]) -> IntArray:
        pairs = [(self.ends[n], self.ends[n + 1]) for n in range(0, len(self.ends), 2)]
        return np.pad(values[0], [(0, 0)] * (values[0].ndim - len(pairs)) + pairs[::-1])


KINDS: Final[dict[str, type[Node]]] = {
    node.kind: node for node in (Input, Conv, Linear, Add, Concat, MaxPool, AveragePool, Relu, Reshape, Pad)
}


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in the order of their execution, the first the input; ``output`` names that whose values are the network's.

    Raises WorkloadError with every fault: inputs that are no earlier nodes, positions that the hardware's shifts cannot
    reach, sums that could leave the accumulator.
    """

    nodes: tuple[Node, ...]
    output: str
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        known = dict[str, int]()
        faults = list[Fault]()
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            faults += [
                Fault(f"{node.name} takes {name}, which is no node before it", fix="order the nodes")
                for name in missing
            ]
            if not missing:
                faults += node.faults([known[name] for name in node.inputs])
            known[node.name] = node.position
        if self.output not in known:
            faults.append(Fault(f"there is no node {self.output} to take the output from", fix="name the last node"))
        if faults:
            raise WorkloadError(faults)

    @property
    def positions(self) -> dict[str, int]:
        return {node.name: node.position for node in self.nodes}

    def run(self, inputs: ArrayLike) -> FloatValues:
        """The outputs for real ``inputs`` [N, ...]."""
        first = self.nodes[0]
        found = self.values(quantised(inputs, first.position))[self.output]
        return np.asarray(found * 2.0 ** -self.positions[self.output])

    def values(self, inputs: IntArray) -> dict[str, IntArray]:
        """The whole numbers of every node for whole numbers at the input."""
        found = dict[str, IntArray]()
        positions = self.positions
        for node in self.nodes:
            given = [inputs] if isinstance(node, Input) else [found[name] for name in node.inputs]
            found[node.name] = node.run(given, [positions[name] for name in node.inputs])
        return found

    def write(self, folder: Path) -> None:
        """``graph.json``, which says the nodes, and ``tensors.npz`` with weights and biases, int8."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors, rows = dict[str, NDArray[np.int8]](), []
        for node in self.nodes:
            row: dict[str, Any] = {"kind": node.kind}
            for key, value in asdict(node).items():
                if isinstance(value, np.ndarray):
                    tensors[f"{node.name}.{key}"] = value.astype(np.int8)
                else:
                    row[key] = value
            rows.append(row)
        with (folder / TENSORS).open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **tensors)
        document.write(
            folder / GRAPH, json.dumps({"output": self.output, "shape": self.shape, "nodes": rows}, indent=1) + "\n"
        )


FloatValues = NDArray[np.float64]


def read(folder: Path) -> Graph:
    """The graph that :meth:`Graph.write` wrote. Raises InputError for a folder without one, or with one that is damaged."""
    path = folder / GRAPH
    if not path.is_file():
        raise InputError(Fault(f"{folder} has no {GRAPH}", fix="name the folder of an integer network"))
    try:
        value = json.loads(path.read_text("utf-8"))
        with np.load(folder / TENSORS, allow_pickle=False) as tensors:
            nodes = tuple(_node(row, tensors) for row in value["nodes"])
        return Graph(nodes, value["output"], tuple(value["shape"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"this is no integer network: {type(error).__name__}: {error}"
        raise InputError(Fault(what, where=str(path), fix="export the model again")) from error


def _node(row: Mapping[str, Any], tensors: Mapping[str, Any]) -> Node:
    kind = KINDS[row["kind"]]
    names = {each.name for each in fields(kind)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items() if key in names
    }
    values |= {key: tensors[f"{row['name']}.{key}"].astype(np.int64) for key in names & {"weights", "bias"}}
    return kind(**values)


def _finished(total: IntArray, position: int, node: Weighted | Add | AveragePool) -> IntArray:
    """An accumulator at a position, bounded, shifted to the node's position, saturated."""
    bounded = _bounded(total, position, node.relu, node.most)
    return saturated(shifted(bounded, position - node.position))


def _bounded(values: IntArray, position: int, relu: bool, most: float | None) -> IntArray:
    values = np.maximum(values, 0) if relu else values
    return values if most is None else np.minimum(values, int(most * 2.0**position))
