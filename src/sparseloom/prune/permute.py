"""Permuted diagonals in the place of a model's linear layers and convolutions, and the rules by which some stay dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from sparseloom.errors import Fault, InputError, suggest
from sparseloom.prune.model import weights_of
from sparseloom.prune.permuted import Diagonals, PermutedConv2d, PermutedLinear, too_small
from sparseloom.prune.weight import Weight


def permute_layers(
    model: nn.Module,
    size: int,
    first: bool = False,
    *,
    project: bool = False,
    seed: int | None = None,
    layers: Mapping[str, int] | None = None,
    example: object = None,
) -> list[tuple[str, str]]:
    """Put a permuted-diagonal layer in the place of every linear layer and convolution of a model but the first (with ``first``
    in that of the first too), in the order of :func:`~sparseloom.prune.model.weights_of`. Make the optimiser afterwards.

    Values are drawn anew, or with ``project`` the nearest to the dense weights, for which k is chosen; else k is
    ``l mod size``, or drawn with ``seed``. ``layers`` gives other sizes by name, also to the first. Returns the name of each
    weight of the model with the rule by which it stays dense, or "". Raises InputError, with the model as it was, for
    names of no layer, for named layers that must stay dense, for ``project`` with a seed, and where no layer can be replaced.

    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    >>> permute_layers(model, 4)
    [('0', 'the first layer'), ('2', '')]
    >>> model[2]
    PermutedLinear(8, 4, size=4, bias=True)
    """
    weights, named = weights_of(model, example), dict(layers or {})
    sizes = {weight.name: size for weight in weights} | named
    rules = {weight.name: _dense_rule(model, weight, sizes[weight.name]) for weight in weights}
    faults = _faults(rules, size, named)
    if project and seed is not None:
        what = f"seed {seed} draws diagonals, but to project chooses the best"
        faults.append(Fault(what, path="seed", fix="leave out one of them"))
    if weights and not first and weights[0].name not in named:
        rules[weights[0].name] = "the first layer"
    if all(rules.values()) and not faults:
        why = "; ".join(sorted(set(rules.values()))) or "the model has none"
        what = f"no layer of {len(rules)} can have permuted diagonals"
        faults.append(Fault(what, fix=f"every one stays dense by a rule: {why}"))
    if faults:
        raise InputError(faults)
    for old, new in _made(model, [weight for weight in weights if not rules[weight.name]], sizes, project, seed):
        for path in [path for path, module in model.named_modules(remove_duplicate=False) if module is old]:
            model.set_submodule(path, new)
    return list(rules.items())


def _faults(rules: Mapping[str, str], size: int, named: Mapping[str, int]) -> list[Fault]:
    """Sizes below 1, names of no layer, and of layers that must stay dense."""
    faults = too_small(size=size, **{f"layers['{name}']": own for name, own in named.items()})
    for name in named:
        if name not in rules:
            faults.append(Fault(f"the model has no weight {name}", fix=suggest(name, rules)))
        elif rules[name]:
            what = f"{name} cannot have permuted diagonals: {rules[name]}"
            faults.append(Fault(what, path="layers", fix="leave it out of the layers"))
    return faults


def _dense_rule(model: nn.Module, weight: Weight, size: int) -> str:
    """Why a weight must stay dense, whatever is asked; else ""."""
    module = model.get_submodule(weight.module)
    if type(module) not in (nn.Linear, nn.Conv2d):
        return f"a {type(module).__name__}, no plain Linear or Conv2d"
    if module is model:
        return "it is the model itself"
    held = [id(parameter) for own in model.modules() for parameter in own._parameters.values()]
    if any(held.count(id(parameter)) > 1 for parameter in module.parameters()):
        return f"shared with {weight.tied or 'another module'}"
    if isinstance(model.get_submodule(weight.module.rpartition(".")[0]), nn.TransformerEncoderLayer):
        return "a TransformerEncoderLayer reads its weight"
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        return "it has hooks"
    if isinstance(module, nn.Conv2d) and (rule := _convolution_rule(module)):
        return rule
    for rank, coordinates in zip("MC", weight.sizes, strict=False):
        if coordinates < size:
            return f"{rank} has {coordinates} coordinates, fewer than a block of {size}"
    return ""


def _convolution_rule(module: nn.Conv2d) -> str:
    """What a convolution does that one with permuted diagonals cannot do, or ""."""
    rules = {
        f"{module.groups} groups, permuted diagonals need 1": module.groups != 1,
        f"a dilation of {module.dilation}, not 1": set(module.dilation) != {1},
        f"padding with '{module.padding_mode}', not 'zeros'": module.padding_mode != "zeros",
        f"'same' padding for a kernel of {module.kernel_size}, not odd": _padding(module) is None,
    }
    return next((rule for rule, holds in rules.items() if holds), "")


def _padding(module: nn.Conv2d) -> tuple[int, ...] | None:
    """Zeros on both sides of each axis; None: they differ between the sides."""
    if module.padding == "same":
        return tuple(size // 2 for size in module.kernel_size) if all(size % 2 for size in module.kernel_size) else None
    return (0, 0) if isinstance(module.padding, str) else module.padding


def _made(
    model: nn.Module, weights: Sequence[Weight], sizes: Mapping[str, int], project: bool, seed: int | None
) -> list[tuple[nn.Module, nn.Module]]:
    """The modules of weights, each with the layer for its place. Raises InputError for those that cannot be projected."""
    rng = None if seed is None else np.random.default_rng(seed)
    made, faults = list[tuple[nn.Module, nn.Module]](), list[Fault]()
    for weight in weights:
        module, size = model.get_submodule(weight.module), sizes[weight.name]
        k = None if rng is None else rng.integers(size, size=[-(-number // size) for number in weight.sizes[:2]])
        try:
            made.append((module, _permuted(module, size, project, k)))
        except InputError as error:
            faults += [replace(fault, path=f"{weight.name}.{fault.path}") for fault in error.faults]
    if faults:
        raise InputError(faults)
    return made


def _permuted(module: nn.Module, size: int, project: bool, k: Diagonals) -> nn.Module:
    """The layer in the place of a dense one: on the same device, in the same mode, as trainable."""
    weight, bias, steps = cast(Tensor, module.weight), cast(Tensor | None, module.bias), dict[str, Any]()
    kind: type[PermutedLinear | PermutedConv2d] = PermutedLinear
    if isinstance(module, nn.Conv2d):
        kind, steps = PermutedConv2d, {"stride": module.stride, "padding": _padding(module)}
    layer = (kind.from_dense if project else kind.like)(weight, size, bias, k, **steps)
    layer.values.requires_grad_(weight.requires_grad)
    if layer.bias is not None and bias is not None:
        layer.bias.requires_grad_(bias.requires_grad)
    return layer.train(module.training)
