"""What a sweep over the density of weights is of: the layers with most of the work, and the sparsities of their weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sparseloom.errors import Fault, InputError
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.workload.network import Network

FAMILY: Final = tuple(
    Sparsity.parse(text) for text in ("dense", "C0(2:4)", *(f"C1(2:{of})->C0(2:4)" for of in (3, 4, 6, 8)))
)
"""Patterns of one family, from dense to an eighth: two of four everywhere, and of more and more blocks of four two."""


def heaviest(network: Network) -> Network:
    """The layers of the kind with the most computes, all that are alike together, of those that have weights.

    Raises InputError for a network without weights.
    """
    kinds = {names: layer for names, layer in network.distinct().items() if layer.constant}
    if not kinds:
        what = f"no layer of {network.name} has weights whose density could be swept"
        raise InputError(Fault(what, path="sweep", fix="compare without the sweep"))
    names = max(kinds, key=lambda names: kinds[names].total_computes)
    return replace(network, layers=tuple(layer for layer in network.layers if layer.name in names))


def ladder(given: Sparsity) -> tuple[Sparsity, ...]:
    """The sparsities of the weights, densest first: the family and what was given.

    >>> [str(each) for each in ladder(Sparsity(0.3))][3:5]
    ['0.3 unstructured', 'C1(2:4)->C0(2:4)']
    """
    return tuple(sorted({*FAMILY, given}, key=lambda each: (-each.density, str(each))))
