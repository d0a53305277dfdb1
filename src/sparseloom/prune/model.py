"""The weights of a PyTorch model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import torch
from torch import nn
from torch.nn.utils import parametrize

from sparseloom.prune.weight import Kind, Weight

_STORED: Final[dict[type[nn.Module], tuple[Kind, tuple[str, ...]]]] = {
    nn.Conv1d: ("conv", ("M", "C", "S")),
    nn.Conv2d: ("conv", ("M", "C", "R", "S")),
    nn.Conv3d: ("conv", ("M", "C", "T", "R", "S")),
    nn.Linear: ("linear", ("M", "C")),
}
_PROJECTIONS: Final = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def weights_of(model: nn.Module, example: object = None) -> tuple[Weight, ...]:
    """The weights of convolutions, linear layers and attention's projections. With an ``example`` of the inputs (one, or a
    tuple or mapping of arguments) in the order in which the model first uses them, else in that of their registration."""
    found = dict[int, int]()
    names = {id(parameter): name for name, parameter in _parameters(model)}
    weights = list[Weight]()
    for path, module in _ordered(model, example):
        for parameter, kind, stored, groups in _of(module):
            tensor = original(module, parameter)
            own = f"{path}.{parameter}" if path else parameter
            first = found.setdefault(id(tensor), len(weights))
            tied = names[id(tensor)] if names[id(tensor)] != own else ""
            if first < len(weights):  # neither can be masked without the other
                tied = weights[first].name
                weights[first] = replace(weights[first], tied=weights[first].tied or own)
            weights.append(Weight(path, parameter, kind, stored, tuple(tensor.shape), groups, tied))
    return tuple(weights)


def original(module: nn.Module, parameter: str) -> torch.Tensor:
    """A parameter of a module, as it is before any parametrization."""
    if parametrize.is_parametrized(module, parameter):
        tensor: torch.Tensor = module.parametrizations[parameter].original  # type: ignore[index, union-attr]
        return tensor
    found: torch.Tensor = getattr(module, parameter)
    return found


def call(model: nn.Module, inputs: object) -> Any:
    """The model's outputs of inputs: a tensor, or a tuple or mapping of arguments."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def _of(module: nn.Module) -> Iterator[tuple[str, Kind, tuple[str, ...], int]]:
    """The parameters of a module that can be pruned: name, kind, ranks, groups."""
    if isinstance(module, nn.MultiheadAttention):
        for name in _PROJECTIONS:
            if getattr(module, name, None) is not None:
                yield name, "attention", ("M", "C"), 1
        return
    for kind, (of, stored) in _STORED.items():
        if isinstance(module, kind):
            yield "weight", of, stored, getattr(module, "groups", 1)
            return
    if type(module).__name__ in ("Conv1D", "ParametrizedConv1D") and isinstance(
        getattr(module, "nf", None), int
    ):  # of transformers: GPT-2's projections
        yield "weight", "linear", ("C", "M"), 1


def _ordered(model: nn.Module, example: object) -> list[tuple[str, nn.Module]]:
    """The modules that have no more than one name, in the order of their first call; what is never called comes last."""
    modules = list(model.named_modules())
    if example is None:
        return modules
    calls = dict[int, int]()

    def note(module: nn.Module, _: object) -> None:
        calls.setdefault(id(module), len(calls))

    hooks = [module.register_forward_pre_hook(note) for _, module in modules]
    was = model.training
    try:
        model.eval()
        with torch.no_grad():
            call(model, example)
    finally:
        model.train(was)
        for hook in hooks:
            hook.remove()
    return sorted(modules, key=lambda entry: calls.get(id(entry[1]), len(calls)))


def _parameters(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """All parameters under their first name, without parametrizations' own."""
    seen = set[int]()
    for name, parameter in model.named_parameters():
        if id(parameter) not in seen:
            seen.add(id(parameter))
            yield name.replace("parametrizations.", "").removesuffix(".original"), parameter
