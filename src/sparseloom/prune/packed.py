"""The weights of an integer graph as hardware stores them: values and a bitmask for each block of channels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sparseloom.fibertree.order import RankOrder
from sparseloom.fibertree.rule import KeepRule
from sparseloom.integer.graph import Graph, Weighted
from sparseloom.integer.packing import PackedBlocks, encoded_bits, pack
from sparseloom.prune.placement import Placement

PACKED = "packed.npz"
BLOCK = 8
"""Channels of a block where the pattern names none."""


def block_of(placement: Placement) -> tuple[int, int | None]:
    """Channels of a block and its bound, of the lowest rule of a pattern along the channels; without one, :data:`BLOCK` and
    whatever blocks hold."""
    order = placement.pattern.alternatives[0] if placement.pattern is not None else None
    lowest = order.ranks[-1] if isinstance(order, RankOrder) and order.ranks else None
    if lowest is not None and lowest.name == "C0" and isinstance(lowest.rule, KeepRule):
        return lowest.rule.shape.high, lowest.rule.kept.high
    return BLOCK, None


def packed_weights(graph: Graph, placements: Iterable[Placement]) -> dict[str, PackedBlocks]:
    """The blocks of every weight of the graph, by its name: [M, R, S, blocks] of a convolution, [M, blocks] of a matrix."""
    return {name: pack(tensor, *block) for name, (tensor, block) in _channels_last(graph, placements).items()}


def bits_of(graph: Graph, placements: Iterable[Placement]) -> dict[str, dict[str, int]]:
    """What every weight takes in each of the encodings of :func:`encoded_bits`, by its name."""
    return {
        name: asdict(encoded_bits(tensor, *block))
        for name, (tensor, block) in _channels_last(graph, placements).items()
    }


def write(packed: dict[str, PackedBlocks], path: Path) -> None:
    """``NAME.values``, ``NAME.masks`` and ``NAME.shape`` (block, channels) for each weight."""
    arrays = dict[str, np.ndarray]()
    for name, blocks in packed.items():
        arrays |= {
            f"{name}.values": blocks.values, f"{name}.masks": blocks.masks, f"{name}.shape": np.array([blocks.block, blocks.size])
        }  # fmt: skip
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _channels_last(
    graph: Graph, placements: Iterable[Placement]
) -> dict[str, tuple[np.ndarray, tuple[int, int | None]]]:
    blocks = {placement.weight.name: block_of(placement) for placement in placements}
    return {
        node.name: (np.moveaxis(node.weights, 1, -1), blocks.get(node.name, (BLOCK, None)))
        for node in graph.nodes
        if isinstance(node, Weighted)
    }
