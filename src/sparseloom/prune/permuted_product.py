"""Products with permuted diagonals, natively from compressed storage: no M x C tensor is made, in either direction.

Row i of block (a, b) has one value, in column (i + k[a, b]) mod p of the block. With U the stride, X padded with zeros:

    Y(n, a p + i, e, f) = sum over b, r, s of values(a, b, i, r, s) X(n, b p + (i + k[a, b]) mod p, U e + r, U f + s)
    dJ/dvalues(a, b, i, r, s) = sum over n, e, f of X(n, b p + (i + k[a, b]) mod p, U e + r, U f + s) dJ/dY(n, a p + i, e, f)
    dJ/dX(n, b p + j, x, y) = sum over a, r, s of values(a, b, i, r, s) dJ/dY(n, a p + i, (x - r) / U, (y - s) / U)

where in the last i = (j - k[a, b]) mod p, and only places (r, s) count for which U divides x - r and y - s and the quotients are
coordinates of Y. A linear layer has R = S = 1. Sources: Deng et al., PermDNN, MICRO 2018; Deng et al., PermCNN, 2021. Slides on
PermCNN index the values of block l by k_l p + i, begin the sum over m at 1 and write W(n, m, r, s) in it: read l p + i, 0,
W(m, c, r, s); their PermV is p - k.

There are two ways, chosen by k:

* ``k[a, b] = (u[a] + v[b]) mod p``, as one k for all blocks and as ``l mod p`` are: outputs fall into p groups, each of C / p
  inputs of its own. A gather of the inputs, a product in p groups by PyTorch's own kernels, a gather of the outputs.
* any other k: sums of rows of the inputs, each times a value (:func:`torch.nn.functional.embedding_bag`), for each place of a
  kernel. p grouped products, one for each value of k, are the dense layer's work again.

Time forward and backward over that of the dense layer (float32, one core, PyTorch 2.13; N samples, pictures of H x H):

===========================================  ======  =======  ==================
layer                                        groups  other k  p grouped products
===========================================  ======  =======  ==================
linear 1024 to 1024, N = 64, p = 4           0.7     3.5      2.4
linear 1024 to 1024, N = 256, p = 8          0.4     1.1      2.2
linear 1024 to 1024, N = 256, p = 32         0.3     0.5      7
3 x 3, 64 to 128, N = 32, H = 16, p = 4      0.5     3.4      1.6
3 x 3, 256 to 256, N = 8, H = 14, p = 4      0.35    1.9      1.3
3 x 3, 256 to 256, N = 8, H = 14, p = 8      0.2     1.2      1.6
===========================================  ======  =======  ==================

The last keeps p weights with their zeros for the gradients too, as many numbers as the dense weight has.
"""

from __future__ import annotations

from functools import reduce
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def multiply(x: Tensor, values: Tensor, k: Tensor, outputs: int) -> Tensor:
    """The first ``outputs`` of x W^T: x [N, C], values [M/p, C/p, p], k [M/p, C/p], to [N, outputs]."""
    if _separable(k, values.shape[2]):
        weight, inputs, places = _groups(values, k)
        picked = x.T.index_select(0, inputs).reshape(len(weight), weight.shape[2], -1)
        return torch.bmm(weight, picked).flatten(0, 1).index_select(0, places[:outputs]).T
    return _bags(x.T[..., None, None], values[..., None, None], k, (1, 1)).flatten(1)[:outputs].T


def correlate(
    x: Tensor, values: Tensor, k: Tensor, outputs: int, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """The first ``outputs`` of a convolution: x [N, C, H, W], values [M/p, C/p, p, R, S], to [N, outputs, E, F]."""
    if _separable(k, values.shape[2]):
        weight, inputs, places = _groups(values, k)
        y = functional.conv2d(x.index_select(1, inputs), weight.flatten(0, 1), None, stride, padding, 1, len(weight))
        return y.index_select(1, places[:outputs])
    high, wide = padding
    channels = functional.pad(x, (wide, wide, high, high)).transpose(0, 1)
    return _bags(channels, values, k, stride)[:outputs].transpose(0, 1)


def places_of(k: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Block a, row i in it, block b, column j = (i + k) mod p in it of every value: they broadcast to [M/p, C/p, p]."""
    a, b, i = (torch.arange(count, device=k.device) for count in (*k.shape, size))
    return a[:, None, None], i, b[:, None], ((i[:, None] + i) % size)[k]


def by_column(values: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Values by column instead of row, and PermV = -k mod p; with M and C exchanged these are values and k of the transpose."""
    size = values.shape[2]
    permv = -k % size
    rows = places_of(permv, size)[3]
    return values.take_along_dim(rows.reshape(*rows.shape, *(1 for _ in values.shape[3:])), 2), permv


def _separable(k: Tensor, size: int) -> bool:
    """Whether k is a sum, mod p, of one number for each row of blocks and one for each column."""
    return not bool(((k - k[:, :1] - k[:1] + k[0, 0]) % size).any())


def _groups(values: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For separable k the weight of p groups, [p, M/p, C/p, *kernel], the input at each of their places, [C], and the place of
    each output, [M]. With k = u[a] + v[b], row i of blocks a and column (i + k) mod p of blocks b are in group
    g = (i + u[a]) mod p: that column is (g + v[b]) mod p."""
    rows, columns, size = values.shape[:3]
    u, v = k[:, 0], k[0] - k[0, 0]
    a, b, g = (torch.arange(count, device=k.device) for count in (rows, columns, size))
    inputs = b * size + (g[:, None] + v) % size
    outputs = (g + u[:, None]) % size * rows + a[:, None]
    return values[a, :, (g[:, None] - u) % size], inputs.flatten(), outputs.flatten()


def _bags(x: Tensor, values: Tensor, k: Tensor, stride: tuple[int, int]) -> Tensor:
    """The equations of this module for any k: x [C, N, H, W], padded, to [M, N, E, F]. With PyTorch's automatic mixed
    precision on, in the type that it asks for."""
    device = x.device.type
    if torch.is_autocast_enabled(device) and torch.float64 not in (x.dtype, values.dtype):
        dtype = torch.get_autocast_dtype(device)
        x, values = x.to(dtype), values.to(dtype)
    turned, permv = by_column(values.detach(), k)
    bags = (*_bagged(values, k), *_bagged(turned.transpose(0, 1), permv.T))
    y: Tensor = _Bags.apply(x, *bags, stride)  # type: ignore[no-untyped-call]
    return y


def _bagged(values: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """The values of each output for each place of the kernel, [R, S, M, C/p], and their inputs, [M, C/p]."""
    _, _, b, j = places_of(k, values.shape[2])
    inputs = (b * values.shape[2] + j).transpose(1, 2).flatten(0, 1)
    return values.permute(3, 4, 0, 2, 1).flatten(2, 3).contiguous(), inputs.contiguous()


class _Bags(torch.autograd.Function):
    """Each output is a bag: the sum of its inputs, each times its value, for one place of the kernel after the other.

    The gradient of the inputs is made of the bags of the transpose, added to where the inputs were read: that leaves out what
    the stride does not reach. Windows of the inputs are cut again for it, not kept.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, values: Tensor, inputs: Tensor, back: Tensor, outputs: Tensor, stride: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, values, inputs, back, outputs)
        ctx.stride = stride
        windows = _windows(x, values, stride)
        y = reduce(Tensor.add_, (_summed(windows[place], inputs, values[place]) for place in windows))
        return y.reshape(len(inputs), *windows[0, 0].shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, values, inputs, back, outputs = ctx.saved_tensors
        rows = grad.flatten(1).contiguous()
        for_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        for_values = torch.empty_like(values) if ctx.needs_input_grad[1] else None
        if for_x is not None:
            for place, read in _windows(for_x, values, ctx.stride).items():
                read += _summed(rows, outputs, back[place]).reshape(read.shape)
        if for_values is not None:
            for place, window in _windows(x, values, ctx.stride).items():
                for_values[place] = _products(window, inputs, values[place], rows)
        return for_x, for_values, None, None, None, None


def _windows(x: Tensor, values: Tensor, stride: tuple[int, int]) -> dict[tuple[int, int], Tensor]:
    """For each place (r, s) of a kernel of values [R, S, ...] the view X(c, n, U e + r, V f + s), [C, N, E, F]."""
    (high, wide), (down, right) = values.shape[:2], stride
    windows = x.unfold(2, high, down).unfold(3, wide, right)
    return {place: windows[(..., *place)] for place in product(range(high), range(wide))}


def _summed(x: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """For each row of an index and values, [M, C/p], the sum of these rows of x, each times its value."""
    return functional.embedding_bag(index, x.flatten(1).contiguous(), per_sample_weights=values, mode="sum")


def _products(x: Tensor, index: Tensor, values: Tensor, grad: Tensor) -> Tensor:
    """The gradient of the values of :func:`_summed`: the product of a row of x with one of the gradient for each of them."""
    with torch.enable_grad():
        own = values.detach().requires_grad_()
        return torch.autograd.grad(_summed(x, index, own), own, grad)[0]
