"""Blocks of a few values and a bitmask: how density-bound weights of 8 bits are stored, and how that compares with other
encodings.

Source: Liu et al., "Sparse systolic tensor array" (2020), II-A and Figs. 1 and 2: ``8 NNZ + BZ`` bits a block of BZ weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseloom.errors import Fault, InputError

VALUE_BITS = 8


@dataclass(frozen=True, eq=False)
class PackedBlocks:
    """A tensor whose blocks of ``block`` values along its last rank keep at most ``bound``: ``values`` [..., blocks, bound],
    int8, the nonzeros of each in their order, zeros behind them; ``masks`` [..., blocks], where they lie, the first
    coordinate in the lowest bit. ``size`` is that of the last rank; the last block is filled with zeros."""

    values: NDArray[np.int8]
    masks: NDArray[np.uint64]
    block: int
    size: int

    @property
    def bound(self) -> int:
        return int(self.values.shape[-1])

    @property
    def bits(self) -> int:
        """``8 NNZ + BZ`` for each block."""
        return self.masks.size * (VALUE_BITS * self.bound + self.block)

    def unpacked(self) -> NDArray[np.int64]:
        """The tensor."""
        if not self.bound:
            return np.zeros((*self.masks.shape[:-1], self.size), np.int64)
        there = (self.masks[..., None] >> np.arange(self.block, dtype=np.uint64)) & np.uint64(1) != 0
        place = np.cumsum(there, axis=-1) - 1
        values = np.take_along_axis(self.values.astype(np.int64), np.clip(place, 0, self.bound - 1), axis=-1)
        whole = np.where(there, values, 0)
        return np.asarray(whole.reshape(*whole.shape[:-2], -1)[..., : self.size])


def pack(tensor: ArrayLike, block: int, bound: int | None = None) -> PackedBlocks:
    """Pack whole numbers along their last rank. Without a ``bound`` it is the most that a block holds. Raises InputError for
    a block that holds more, and for blocks above 64 values.

    >>> packed = pack([0, 5, 0, 0, 0, 0, -3, 0], 8, 2)
    >>> packed.values.tolist(), packed.masks.tolist(), packed.bits
    ([[5, -3]], [66], 24)
    """
    if not 1 <= block <= 64:
        raise InputError(Fault(f"blocks of {block} values", path="block", fix="give 1 to 64"))
    array = np.asarray(tensor, np.int64)
    size = array.shape[-1]
    blocks = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, -size % block)]).reshape(*array.shape[:-1], -1, block)
    there = blocks != 0
    most = int(there.sum(axis=-1).max(initial=0))
    bound = most if bound is None else bound
    if most > bound:
        raise InputError(Fault(f"a block holds {most} nonzeros, the bound is {bound}", fix="prune by the bound first"))
    order = np.argsort(~there, axis=-1, kind="stable")[..., :bound]
    values = np.take_along_axis(blocks, order, axis=-1).astype(np.int8)
    masks = (there.astype(np.uint64) << np.arange(block, dtype=np.uint64)).sum(axis=-1, dtype=np.uint64)
    return PackedBlocks(values, masks, block, size)


@dataclass(frozen=True)
class EncodedBits:
    """What one tensor takes in bits: ``dense``; ``coordinates``, a number of the place of each nonzero in its row;
    ``blocks``, dense blocks that are not empty with one number each; ``bitmask``, density-bound blocks, each with as many
    values as the fullest."""

    dense: int
    coordinates: int
    blocks: int
    bitmask: int


def encoded_bits(tensor: ArrayLike, block: int = 8, bound: int | None = None) -> EncodedBits:
    """The encodings of Fig. 1 of the source, for the rows of a tensor along its last rank: (a) any positions, each with an
    index; (b) whole blocks, each with an index; (c) density-bound blocks with a bitmask.

    >>> encoded_bits([[1, 0, 0, 2, 0, 0, 0, 0] * 2], 8)
    EncodedBits(dense=128, coordinates=48, blocks=130, bitmask=48)
    """
    array = np.asarray(tensor, np.int64)
    size = array.shape[-1]
    filled = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, -size % block)])
    blocks = filled.reshape(*array.shape[:-1], -1, block)
    nonempty = int((blocks != 0).any(axis=-1).sum())
    index, block_index = (ceil(log2(max(places, 2))) for places in (size, blocks.shape[-2]))
    return EncodedBits(
        array.size * VALUE_BITS,
        int(np.count_nonzero(array)) * (VALUE_BITS + index),
        nonempty * (VALUE_BITS * block + block_index),
        pack(array, block, bound).bits,
    )


def compression(bound: int, block: int) -> float:
    """``8 BZ / (8 NNZ + BZ)``: how much smaller density-bound blocks are than dense ones.

    >>> [round(compression(nnz, 8), 2) for nnz in (4, 3, 2)]
    [1.6, 2.0, 2.67]
    """
    return VALUE_BITS * block / (VALUE_BITS * bound + block)
