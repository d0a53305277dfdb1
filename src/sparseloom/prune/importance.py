"""The importance of points that a loss tells: the Fisher information and the diagonal of the Hessian, each times the squared
weight."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sparseloom.errors import Fault, InputError
from sparseloom.prune.data import Batch
from sparseloom.prune.model import original, weights_of
from sparseloom.prune.train import loss_of


def fisher(model: nn.Module, batches: Iterable[Batch], samples: int = 128) -> dict[str, Tensor]:
    """``w^2 E[g^2] / 2``: what removing a weight adds to the loss where its gradients g over single samples stand for the
    curvature (the empirical Fisher information; Theis et al., 2018). By the names of the weights."""
    names, weights = _weights(model)
    squares = [torch.zeros_like(weight) for weight in weights]
    seen = 0
    for inputs, targets in _single(batches, samples):
        loss = loss_of(model, inputs, targets)
        for square, gradient in zip(squares, _gradients(loss, weights), strict=True):
            square += gradient**2
        seen += 1
    return {
        name: weight.detach() ** 2 * square / (2 * _some(seen))
        for name, weight, square in zip(names, weights, squares, strict=True)
    }


def hessian(
    model: nn.Module, batches: Iterable[Batch], samples: int = 256, draws: int = 8, seed: int = 0
) -> dict[str, Tensor]:
    """``w^2 h / 2`` with the diagonal h of the loss's Hessian (optimal brain damage, LeCun et al., 1990), estimated as the
    mean of v * (H v) over random signs v (Hutchinson), negative ones as 0. By the names of the weights."""
    names, weights = _weights(model)
    diagonal = [torch.zeros_like(weight) for weight in weights]
    generator = torch.Generator().manual_seed(seed)
    seen = 0
    for inputs, targets in batches:
        if seen >= samples:
            break
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no second derivative
            loss = loss_of(model, inputs, targets)
            gradients = _gradients(loss, weights, graph=True)
        used = [number for number, gradient in enumerate(gradients) if gradient.requires_grad]
        for _ in range(draws):
            signs = [torch.randint(0, 2, weight.shape, generator=generator).to(weight) * 2 - 1 for weight in weights]
            seeds = [gradients[number] for number in used], weights, [signs[number] for number in used]
            products = torch.autograd.grad(*seeds, retain_graph=True, allow_unused=True)
            for total, sign, product in zip(diagonal, signs, products, strict=True):
                if product is not None:
                    total += sign * product.detach() * len(targets) / draws
        seen += len(targets)
    return {
        name: weight.detach() ** 2 * (total / _some(seen)).clamp(min=0) / 2
        for name, weight, total in zip(names, weights, diagonal, strict=True)
    }


def _weights(model: nn.Module) -> tuple[list[str], list[Tensor]]:
    found = [weight for weight in weights_of(model) if not weight.tied]
    model.eval()
    return [w.name for w in found], [original(model.get_submodule(w.module), w.parameter) for w in found]


def _gradients(loss: Tensor, weights: list[Tensor], graph: bool = False) -> list[Tensor]:
    found = torch.autograd.grad(loss, weights, create_graph=graph, allow_unused=True)
    return [torch.zeros_like(w) if gradient is None else gradient for w, gradient in zip(weights, found, strict=True)]


def _single(batches: Iterable[Batch], samples: int) -> Iterable[Batch]:
    """Batches of one sample, so many of them."""
    from sparseloom.prune.data import one

    left = samples
    for inputs, targets in batches:
        for number in range(len(targets)):
            if left == 0:
                return
            yield one(inputs, number), targets[number : number + 1]
            left -= 1


def _some(samples: int) -> int:
    if samples == 0:
        raise InputError(Fault("there are no samples to take gradients of", fix="give a training split with batches"))
    return samples
