"""Permuted-diagonal layers: weights in blocks of p x p with one nonzero a row, stored, applied and trained without the zeros.

In block (a, b) of an M x C weight, row i keeps column (i + k[a, b]) mod p:

    W(a p + i, b p + (i + k[a, b]) mod p, r, s) = values(a, b, i, r, s), all else 0

Sources: Deng et al., PermDNN, MICRO 2018; Deng et al., PermCNN, 2021. The same placement as a mask is
:class:`~sparseloom.fibertree.diagonal.PermutedDiagonal`, as a pattern ``permdiag(M,C: p)``; products and their gradients are in
:mod:`~sparseloom.prune.permuted_product`.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar, Final, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from sparseloom.errors import Fault, InputError
from sparseloom.fibertree.density import IntArray
from sparseloom.fibertree.permuted import DiagonalBlocks
from sparseloom.prune.permuted_product import by_column, correlate, multiply, places_of

Pair = int | tuple[int, int]
"""One number for both axes of a picture, or one for each."""

Diagonals: TypeAlias = ArrayLike | Tensor | None
"""k: one number for all blocks, one for each (an array of M/p by C/p), or None for the default."""

_RANKS: Final = ("M", "C", "R", "S")


class _Permuted(nn.Module):
    """What both layers share: ``values`` [M/p, C/p, p, *kernel], the nonzeros by block and row; ``k`` [M/p, C/p], int64."""

    ranks: ClassVar[int]
    values: nn.Parameter
    k: Tensor
    bias: nn.Parameter | None

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, ...], *, bias: bool, size: int, k: Diagonals
    ) -> None:
        super().__init__()
        kernel_size = min(kernel, default=1)
        if faults := too_small(inputs=inputs, outputs=outputs, kernel_size=kernel_size, size=size):
            raise InputError(faults)
        self.outputs, self.inputs, self.kernel, self.size = outputs, inputs, kernel, size
        blocks = (-(-outputs // size), -(-inputs // size))
        self.register_buffer("k", torch.as_tensor(_diagonals(k, size, blocks)))
        self.values = nn.Parameter(torch.empty(*blocks, size, *kernel))
        self.register_parameter("bias", nn.Parameter(torch.empty(outputs)) if bias else None)
        self.reset_parameters()

    @classmethod
    def like(cls, weight: Tensor, size: int, bias: Tensor | None = None, k: Diagonals = None, **steps: Any) -> Self:
        """A layer with the shape of a dense weight [M, C, *kernel], on its device and of its type, with values of its own; it
        has a bias if one is given. ``steps`` are the stride and padding of a convolution. Raises InputError as the layers do,
        and for a weight of another number of ranks."""
        if weight.dim() != cls.ranks:
            what = f"the weight has shape {list(weight.shape)}, not [{', '.join(_RANKS[: cls.ranks])}]"
            raise InputError(Fault(what, path="weight", fix="reshape it, or take the other layer"))
        (outputs, inputs), kernel = weight.shape[:2], tuple(weight.shape[2:])
        shape: list[Any] = [inputs, outputs, kernel] if kernel else [inputs, outputs]
        return cls(*shape, bias=bias is not None, size=size, k=k, **steps).to(weight)

    @classmethod
    @torch.no_grad()
    def from_dense(
        cls, weight: Tensor, size: int, bias: Tensor | None = None, k: Diagonals = None, **steps: Any
    ) -> Self:
        """The layer nearest to a dense weight [M, C, *kernel] in the l2 norm: for a given k the entries on the diagonals; k
        None: in each block those of the diagonal with the largest sum of squares (over whole kernels), lowest k first.
        Raises InputError as :meth:`like`, and for a weight that is not finite."""
        layer = cls.like(weight, size, bias, k, **steps)
        if wrong := int((~torch.isfinite(weight)).sum()):
            what = f"{wrong:,} of {weight.numel():,} values are NaN or infinite"
            raise InputError(Fault(what, path="weight", fix="mend them first: they have no nearest diagonals"))
        (rows, columns), p = layer.k.shape, size
        padded = weight.new_zeros(rows * p, columns * p, *layer.kernel)
        padded[: layer.outputs, : layer.inputs] = weight
        if k is None:
            layer.k.copy_(torch.from_numpy(_nearest(padded, p)))
        layer.values.copy_(padded.reshape(rows, p, columns, p, *layer.kernel)[places_of(layer.k, p)])
        if layer.bias is not None and bias is not None:
            layer.bias.copy_(bias)
        return layer

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw values and bias by PyTorch's generator. Inputs of one variance give outputs of the same variance as those of
        the dense layer: its fan-in is C R S, here it is that of the columns which a row has, C R S / p."""
        a, i, b, j = places_of(self.k, self.size)
        inside = (a * self.size + i < self.outputs) & (b * self.size + j < self.inputs)
        fan = inside.sum(1, keepdim=True).clamp(min=1) * prod(self.kernel)
        bound = (inside / fan.sqrt()).to(self.values.dtype).reshape(*inside.shape, *(1 for _ in self.kernel))
        self.values.uniform_(-1, 1).mul_(bound)
        if self.bias is not None:
            dense = (self.inputs * prod(self.kernel)) ** -0.5
            self.bias.uniform_(-dense, dense)

    def dense_weight(self) -> Tensor:
        """The weight of the dense layer that does the same, [M, C, *kernel]. Gradients pass through."""
        (rows, columns), p = self.k.shape, self.size
        dense = self.values.new_zeros(rows, p, columns, p, *self.kernel)
        dense[places_of(self.k, p)] = self.values
        return dense.reshape(rows * p, columns * p, *self.kernel)[: self.outputs, : self.inputs]

    def by_column(self) -> tuple[Tensor, Tensor]:
        """The nonzeros as PermCNN stores them, by block and column j, [M/p, C/p, p, *kernel], and its PermV, [M/p, C/p]: that of
        column j is in row (j + PermV) mod p. It is p - k, since k goes from rows to columns.

        >>> PermutedLinear(3, 3, size=3, k=1).by_column()[1]
        tensor([[2]])
        """
        return by_column(self.values, self.k)

    def compressed_bits(self, word_bits: int) -> int:
        """Storage of the weight for words of ``word_bits``: p R S words and ceil(log2 p) bits of k for each block, padded too."""
        return self.values.numel() * word_bits + self.k.numel() * (self.size - 1).bit_length()

    def unstructured_bits(self, word_bits: int) -> int:
        """Storage of as many nonzeros at any place, for comparison: a word and an index for each, 2 p q bits for a block of a
        matrix. As in PermCNN, an index is taken to be as wide as a word."""
        return 2 * self.values.numel() * word_bits

    def extra_repr(self) -> str:
        kernel = "".join(f", {size}" for size in self.kernel)
        return f"{self.inputs}, {self.outputs}{kernel}, size={self.size}, bias={self.bias is not None}"

    def _padded(self, x: Tensor, rank: int) -> Tensor:
        """Zeros after the C inputs, the given rank, up to a multiple of p. Raises InputError for another number of inputs."""
        if x.shape[rank] != self.inputs:
            what = f"the layer has {self.inputs} inputs, these are {x.shape[rank]}, of shape {list(x.shape)}"
            raise InputError(Fault(what, fix=f"give {self.inputs} along axis {rank}"))
        more = self.k.shape[1] * self.size - self.inputs
        return functional.pad(x, (*(0, 0) * (-1 - rank), 0, more)) if more else x


class PermutedLinear(_Permuted):
    """``y = x W^T + bias`` with W in permuted diagonals: [..., C] to [..., M], as :class:`torch.nn.Linear`.

    ``size`` is p, the side of the blocks and the compression. Where it does not divide M or C, zeros are added to W, whose
    rows and columns no output and no input sees; their storage counts. ``k`` is one number, or one for each block,
    [M/p, C/p]; None: that of block l, counted row by row, is l mod p (PermDNN's natural indexing).

    Raises InputError for sizes below 1 and for k outside [0, p) or of another shape; in use for inputs that are not C.

    >>> layer = PermutedLinear(6, 4, size=2)
    >>> layer.k.tolist(), tuple(layer.values.shape), tuple(layer(torch.zeros(5, 6)).shape)
    ([[0, 1, 0], [1, 0, 1]], (2, 3, 2), (5, 4))
    """

    ranks = 2

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, size: int, k: Diagonals = None
    ) -> None:
        super().__init__(in_features, out_features, (), bias=bias, size=size, k=k)

    def forward(self, x: Tensor) -> Tensor:
        rows = self._padded(x, -1)
        y = multiply(rows.reshape(-1, rows.shape[-1]), self.values, self.k, self.outputs)
        y = y if self.bias is None else y + self.bias.to(y.dtype)
        return y.reshape(*x.shape[:-1], self.outputs)


class PermutedConv2d(_Permuted):
    """A cross-correlation with kernels on permuted diagonals of M x C: [..., C, H, W] to [..., M, E, F], as
    :class:`torch.nn.Conv2d` with groups and dilation of 1.

    ``size`` and ``k`` are those of :class:`PermutedLinear`. Raises InputError as that does, and for kernels and strides below 1
    and negative padding.

    >>> layer = PermutedConv2d(4, 8, 3, size=4, padding=1)
    >>> tuple(layer.values.shape), tuple(layer(torch.zeros(1, 4, 5, 5)).shape)
    ((2, 1, 4, 3, 3), (1, 8, 5, 5))
    """

    ranks = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        bias: bool = True,
        *,
        size: int,
        k: Diagonals = None,
    ) -> None:
        super().__init__(in_channels, out_channels, _pair(kernel_size), bias=bias, size=size, k=k)
        self.stride, self.padding = _pair(stride), _pair(padding)
        if faults := too_small(stride=min(self.stride)) + too_small(0, padding=min(self.padding)):
            raise InputError(faults)

    def forward(self, x: Tensor) -> Tensor:
        pictures = self._padded(x, -3)
        pictures = pictures.reshape(-1, *pictures.shape[-3:])
        y = correlate(pictures, self.values, self.k, self.outputs, self.stride, self.padding)
        y = y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]
        return y.reshape(*x.shape[:-3], *y.shape[1:])

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, stride={self.stride}, padding={self.padding}"


def too_small(least: int = 1, /, **sizes: int) -> list[Fault]:
    """A fault for each size that is less than the least."""
    small = {name: size for name, size in sizes.items() if size < least}
    return [
        Fault(f"{name} is {own}, less than {least}", path=name, fix=f"give {least} or more")
        for name, own in small.items()
    ]


def _diagonals(k: Diagonals, size: int, blocks: tuple[int, int]) -> IntArray:
    """k of each block, [M/p, C/p]. Raises InputError."""
    if k is None:
        return np.arange(prod(blocks), dtype=np.int64).reshape(blocks) % size
    given, faults = k.numpy(force=True) if isinstance(k, Tensor) else np.asarray(k), []
    if (wrong := np.setdiff1d(given, np.arange(size))).size:
        what = f"k has {wrong[0]}, blocks of {size} need integers from 0 to {size - 1}"
        faults.append(Fault(what, path="k", fix="take it mod the size"))
    if given.shape not in ((), blocks):
        what = f"k has shape {list(given.shape)}, there are {blocks[0]} x {blocks[1]} blocks"
        faults.append(Fault(what, path="k", fix=f"give one number, or an array of {blocks[0]} by {blocks[1]}"))
    if faults:
        raise InputError(faults)
    return np.broadcast_to(given, blocks).astype(np.int64)


def _nearest(weight: Tensor, size: int) -> IntArray:
    """k of each block of a weight that p divides, by the pattern's own choice: the column that row 0 of the block keeps."""
    importance = weight.detach().cpu().double().numpy()
    mask = DiagonalBlocks("M", "C", size).mask(importance, _RANKS[: weight.dim()], None, "l2")
    first = mask.reshape(*mask.shape[:2], -1)[::size, :, 0]
    return np.asarray(first.reshape(len(first), -1, size).argmax(-1), dtype=np.int64)


def _pair(sizes: Pair) -> tuple[int, int]:
    return (sizes, sizes) if isinstance(sizes, int) else sizes
