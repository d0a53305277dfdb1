"""Masks on the kernels of Keras models, on Keras's PyTorch backend: a layer reads its kernel through the mask."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any, Final, Self, cast

import torch
from torch import Tensor

from sparseloom.errors import Fault, InputError
from sparseloom.prune.placement import Placement
from sparseloom.prune.sparsifier import Masked, Sparsifier
from sparseloom.prune.weight import Kind, Weight

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it once, when it is first imported

import keras
from keras import layers

_STORED: Final[dict[Any, tuple[Kind, dict[str, tuple[str, ...]]]]] = {
    layers.Dense: ("linear", {"kernel": ("C", "M")}),
    layers.Conv1D: ("conv", {"kernel": ("S", "C", "M")}),
    layers.Conv2D: ("conv", {"kernel": ("R", "S", "C", "M")}),
    layers.Conv3D: ("conv", {"kernel": ("T", "R", "S", "C", "M")}),
    layers.DepthwiseConv1D: ("conv", {"kernel": ("S", "G", "M")}),
    layers.DepthwiseConv2D: ("conv", {"kernel": ("R", "S", "G", "M")}),
    layers.SeparableConv1D: (
        "conv",
        {"depthwise_kernel": ("S", "G", "M"), "pointwise_kernel": ("S", "C", "M")},
    ),
    layers.SeparableConv2D: (
        "conv",
        {"depthwise_kernel": ("R", "S", "G", "M"), "pointwise_kernel": ("R", "S", "C", "M")},
    ),
}
_ATTENTION: Final = (layers.MultiHeadAttention, layers.GroupQueryAttention)


def weights_of(model: Any, example: object = None) -> tuple[Weight, ...]:
    """The kernels of convolutions, dense layers and attention's projections. The name of a weight is the path of its layer
    inside the model, ``block/conv1`` or ``attention/query``; ``separable.pointwise`` of the two kernels of a separable
    convolution. An EinsumDense is seen as a matrix: its axes that are summed are C, the others M, in the order of the inputs
    and outputs; axes of both are groups. With an ``example`` of the inputs (as the model is called with it) in the order in
    which the model first uses them, else in that of its layers.

    Raises InputError for a model that is not built, and where Keras does not run on PyTorch.
    """
    return tuple(weight for weight, _ in _kernels(model, example))


class View(keras.Variable):  # type: ignore[misc]
    """What a layer reads in place of one of its variables: a function of its value, with the function's gradients. All else,
    writing too, is the variable's."""

    def __init__(self, variable: Any, read: Callable[[Tensor], Tensor]) -> None:
        self.__dict__.update(variable=variable, read=read)

    def __getattr__(self, name: str) -> Any:
        if name in ("variable", "read"):  # not there yet, where an object is copied
            raise AttributeError(name)
        return getattr(self.variable, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.variable, name, value)

    @property
    def value(self) -> Tensor:
        value = self.variable.value  # on meta, no values, where Keras asks for shapes
        return cast(Tensor, value if value.is_meta else self.read(value))

    _value = value  # what is printed

    def assign(self, value: Any) -> Any:
        return self.variable.assign(value)


class KerasSparsifier(Sparsifier):
    """A :class:`Sparsifier` of a Keras model that runs on PyTorch.

    Layers read their kernels through masks, so that any training works: ``fit()`` with :attr:`callback`, or a loop that
    calls :meth:`step` and adds :meth:`penalty`. The variables keep the values under the masks until :meth:`squash`; save
    the model after it.

    >>> model = keras.Sequential([keras.Input((4,)), layers.Dense(8, name="a"), layers.Dense(4, name="b")])
    >>> sparsifier = KerasSparsifier(model, "C0(2:4)").prepare()
    >>> model.compile("adam", "mse")
    >>> history = model.fit(torch.ones(2, 4), torch.ones(2, 4), verbose=0, callbacks=[sparsifier.callback])
    >>> masks = sparsifier.squash()
    >>> int(model.get_layer("b").kernel.value.count_nonzero())
    16
    """

    def prepare(self) -> Self:
        """Mask every kernel that is pruned, with nothing removed yet. Raises InputError for values that are not finite, and
        for kernels that are quantised or have adapters."""
        faults = [fault for placement in self.pruned for fault in _unfit(self._holder(placement)[0])]
        if faults:
            raise InputError(faults)
        return super().prepare()

    @property
    def callback(self) -> Pruning:
        """What ``fit()`` takes among its ``callbacks``."""
        return Pruning(self)

    def state_dict(self) -> dict[str, Any]:
        """What is to be kept beside the model's weights for a run to go on, with the masks."""
        return {**super().state_dict(), "masks": self.masks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`, after :meth:`prepare`. Raises InputError for masks of other weights."""
        own, other = ({name: mask.shape for name, mask in masks.items()} for masks in (self.masks, state["masks"]))
        if own != other:
            apart = [
                f"{name} {other.get(name, 'none')} for {own.get(name, 'none')}"
                for name in {**own, **other}
                if own.get(name) != other.get(name)
            ]
            raise InputError(
                Fault(f"the masks are of another model: {', '.join(apart)}", fix="load those of this model")
            )
        super().load_state_dict(state)
        for placement in self.pruned:
            self._parametrization(placement).mask.copy_(torch.tensor(state["masks"][placement.weight.name]))

    def _weights(self, example: object) -> tuple[Weight, ...]:
        return weights_of(self.model, example)

    def _attach(self, placement: Placement) -> None:
        layer, parameter = self._holder(placement)
        variable = _variable(layer, parameter)
        vars(layer)[_attribute(layer, parameter)] = View(variable, Masked(variable.value))

    def _detach(self, placement: Placement) -> None:
        layer, parameter = self._holder(placement)
        variable = _variable(layer, parameter)
        variable.assign(self._parametrization(placement)(variable.value))
        vars(layer)[_attribute(layer, parameter)] = variable

    def _original(self, placement: Placement) -> Tensor:
        return cast(Tensor, _variable(*self._holder(placement)).value)

    def _parametrization(self, placement: Placement) -> Masked:
        layer, parameter = self._holder(placement)
        view = vars(layer)[_attribute(layer, parameter)]
        if not isinstance(view, View):
            raise InputError(Fault(f"{placement.weight.name} has no mask", fix="call prepare() first, squash() once"))
        return cast(Masked, view.read)

    def _holder(self, placement: Placement) -> tuple[Any, str]:
        """The layer of a kernel, and the kernel's name there."""
        return self._layers[placement.weight.module], placement.weight.parameter

    @cached_property
    def _layers(self) -> dict[str, Any]:
        return {name: layer for name, layer, _ in _named(self.model)}


class Pruning(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the masks of a sparsifier before each epoch of ``fit()``. The penalty of its schedule is among the losses of the
    model meanwhile, as a regularizer of each kernel."""

    def __init__(self, sparsifier: KerasSparsifier) -> None:
        super().__init__()
        self.sparsifier = sparsifier

    def on_train_begin(self, logs: object = None) -> None:
        sparsifier = self.sparsifier
        if sparsifier.schedule.way == "penalty":
            for placement in sparsifier.pruned:
                variable = self._plain(placement)
                variable.regularizer = _Penalised(partial(sparsifier._lasso, placement), variable.regularizer)

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.sparsifier.step()

    def on_train_end(self, logs: object = None) -> None:
        for placement in self.sparsifier.pruned:
            self._plain(placement)

    def _plain(self, placement: Placement) -> Any:
        """The variable of a kernel, with the regularizer that is its own."""
        variable = _variable(*self.sparsifier._holder(placement))
        if isinstance(variable.regularizer, _Penalised):  # of this fit(), or one that was interrupted
            variable.regularizer = variable.regularizer.own
        return variable


@dataclass(frozen=True)
class _Penalised:
    """A regularizer: a kernel's own, and a penalty."""

    penalty: Callable[[], Tensor]
    own: Callable[[Any], Any] | None

    def __call__(self, kernel: Any) -> Any:
        return self.penalty() if self.own is None else self.penalty() + self.own(kernel)


def _kernels(model: Any, example: object) -> list[tuple[Weight, Any]]:
    """Weights, each with its layer."""
    if keras.backend.backend() != "torch":
        what = f"Keras runs on {keras.backend.backend()}, masks need PyTorch"
        raise InputError(Fault(what, fix="set KERAS_BACKEND=torch before Keras is imported"))
    if example is not None:
        _run(model, example)
    named = list(_named(model))
    owners = _owners(named)
    found, faults = list[tuple[Weight, Any]](), list[Fault]()
    for name, layer, parent in named:
        for parameter, kind, stored in _of(layer, parent):
            if _attribute(layer, parameter) in vars(layer):
                found.append((_weight(name, layer, parameter, kind, stored, owners), layer))
            elif example is None:
                fix = "call the model once, or give an example of its inputs"
                faults.append(Fault(f"{name} is not built, it has no {parameter} yet", fix=fix))
    if faults:
        raise InputError(faults)
    return found if example is None else _ordered(found, model, example)


def _weight(
    name: str, layer: Any, parameter: str, kind: Kind, stored: tuple[str, ...], owners: Mapping[int, list[str]]
) -> Weight:
    variable = _variable(layer, parameter)
    sizes = tuple(variable.shape)
    own = [size for size, rank in zip(sizes, stored, strict=True) if rank[0] == "G"]
    groups = prod(own) if own else getattr(layer, "groups", 1)
    other = next((owner for owner in owners[id(variable)] if owner != name), "")
    return Weight(name, parameter, kind, stored, sizes, groups, other)


def _of(layer: Any, parent: Any) -> list[tuple[str, Kind, tuple[str, ...]]]:
    """The variables of a layer that can be pruned: name, kind, ranks."""
    if isinstance(layer, layers.EinsumDense):
        kind: Kind = "attention" if isinstance(parent, _ATTENTION) else "linear"
        return [("kernel", kind, _matrix(layer.equation))]
    for of, (kind, kernels) in _STORED.items():
        if isinstance(layer, of):
            return [(parameter, kind, stored) for parameter, stored in kernels.items()]
    return []


def _matrix(equation: str) -> tuple[str, ...]:
    """The ranks of the second operand of an einsum.

    >>> _matrix("abc,cde->abde"), _matrix("...hd,hde->...e"), _matrix("bhd,hde->bhe")
    (('C', 'M1', 'M0'), ('C1', 'C0', 'M'), ('G', 'C', 'M'))
    """
    operands, _, outputs = equation.partition("->")
    inputs, _, kernel = operands.partition(",")
    ranks = defaultdict[str, list[str]](list)
    for axis in dict.fromkeys(inputs + outputs):
        if axis in kernel:
            ranks["M" if axis not in inputs else "G" if axis in outputs else "C"].append(axis)
    named = {
        axis: f"{rank}{len(axes) - 1 - number}" if len(axes) > 1 else rank
        for rank, axes in ranks.items()
        for number, axis in enumerate(axes)
    }
    return tuple(named[axis] for axis in kernel)


def _named(model: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every layer once, with its path and its parent; of layers of the same path the second is ``path_1``."""
    seen, taken = set[int](), set[str]()

    def below(parent: Any, prefix: str) -> Iterator[tuple[str, Any, Any]]:
        for layer in parent._flatten_layers(include_self=False, recursive=False):
            if id(layer) not in seen:
                seen.add(id(layer))
                name = _free(f"{prefix}{layer.name}", taken)
                yield name, layer, parent
                yield from below(layer, f"{name}/")

    yield from below(model, "")
    yield _free(model.name, taken), model, None


def _free(name: str, taken: set[str]) -> str:
    """A name that is not taken, and now is."""
    number, found = 0, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found


def _owners(named: list[tuple[str, Any, Any]]) -> Mapping[int, list[str]]:
    """The layers that hold a variable, by its id."""
    owners = defaultdict[int, list[str]](list)
    for name, layer, _ in named:
        for value in vars(layer).values():
            if isinstance(value, keras.Variable):
                owners[id(_bare(value))].append(name)
    return owners


def _ordered(found: list[tuple[Weight, Any]], model: Any, example: object) -> list[tuple[Weight, Any]]:
    """By when the model first reads the kernels; what it never reads comes last."""
    reads = dict[str, int]()

    def note(name: str, value: Tensor) -> Tensor:
        reads.setdefault(name, len(reads))
        return value

    held = [(layer, _attribute(layer, weight.parameter), weight.name) for weight, layer in found]
    kept = [vars(layer)[attribute] for layer, attribute, _ in held]
    try:
        for (layer, attribute, name), variable in zip(held, kept, strict=True):
            vars(layer)[attribute] = View(variable, partial(note, name))
        _run(model, example)
    finally:
        for (layer, attribute, _), variable in zip(held, kept, strict=True):
            vars(layer)[attribute] = variable
    return sorted(found, key=lambda entry: reads.get(entry[0].name, len(reads)))


def _run(model: Any, example: object) -> None:
    with torch.no_grad():
        model(example, training=False)


def _attribute(layer: Any, parameter: str) -> str:
    """Where a layer keeps a variable: some have a property in front of it."""
    return f"_{parameter}" if f"_{parameter}" in vars(layer) else parameter


def _variable(layer: Any, parameter: str) -> Any:
    """A variable of a layer, as it is before any mask."""
    return _bare(vars(layer)[_attribute(layer, parameter)])


def _bare(variable: Any) -> Any:
    return variable.variable if isinstance(variable, View) else variable


def _unfit(layer: Any) -> Iterator[Fault]:
    """What keeps a kernel from being masked."""
    if getattr(layer, "quantization_mode", None):
        yield Fault(f"{layer.path} is quantised ({layer.quantization_mode})", fix="prune first, then quantise")
    if getattr(layer, "lora_enabled", False):
        yield Fault(f"{layer.path} has low-rank adapters, which fill zeros", fix="prune first, or without the adapters")
