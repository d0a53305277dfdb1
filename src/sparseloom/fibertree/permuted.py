"""Permuted diagonals as a pattern: ``permdiag(M,C: 4)``, square blocks with one nonzero a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sparseloom.errors import Fault, PatternError, suggest
from sparseloom.fibertree.alternative import Alternative, Importance, Norm
from sparseloom.fibertree.density import BoolArray, FloatArray, IntArray
from sparseloom.fibertree.diagonal import PermutedDiagonal


@dataclass(frozen=True)
class DiagonalBlocks(Alternative):
    """Blocks of ``size`` by ``size`` on two ranks; in block l row i keeps column (i + k_l) mod ``size``.

    ``k``: () leaves it open (the mask takes the diagonal with the largest sum of squares), one number serves all
    blocks, else one for each block, row by row.

    Source: Deng et al., PermDNN, MICRO 2018.
    """

    row: str
    column: str
    size: int
    k: tuple[int, ...] = ()

    def __str__(self) -> str:
        k = ""
        if self.k:
            k = f", k={self.k[0]}" if len(self.k) == 1 else f", k=[{','.join(str(number) for number in self.k)}]"
        return f"permdiag({self.row},{self.column}: {self.size}{k})"

    @property
    def any_degree(self) -> bool:
        return False

    def choices(self) -> list[tuple[Fraction, Alternative]]:
        return [(Fraction(1, self.size), self)]

    def density_model(self, ranks: Sequence[str], shape: Sequence[int], density: float | None) -> PermutedDiagonal:
        self._require(ranks)
        faults = []
        for name in (self.row, self.column):
            if (size := shape[ranks.index(name)]) % self.size:
                what = f"{self} needs rank {name} in multiples of {self.size}, it has {size} coordinates"
                above = -(-size // self.size) * self.size
                fix = f"pad {name} with zeros to {above}, or choose a size that divides {size}"
                faults.append(Fault(what, fix=fix))
        if faults:
            raise PatternError(faults)
        return PermutedDiagonal(tuple(shape), (ranks.index(self.row), ranks.index(self.column)), self.size, self.k)

    def _require(self, ranks: Sequence[str]) -> None:
        unknown = [name for name in (self.row, self.column) if name not in ranks]
        if unknown:
            raise PatternError([Fault(f"unknown rank {name} in {self}", fix=suggest(name, ranks)) for name in unknown])

    def mask(
        self, importance: Importance, ranks: Sequence[str], density: float | None, norm: Norm, centre: float = 0.0
    ) -> BoolArray:
        """The nearest tensor with this pattern in the least-squares sense: best k for each block, where k is open."""
        model = self.density_model(ranks, importance.shape, density)
        k = self._given(model)
        if k is None:
            k = np.asarray(self._by_diagonal(importance**2, model).argmax(axis=-1))
        return model.spread(model.diagonals(k))

    def multiples(self, ranks: Sequence[str]) -> dict[str, int]:
        self._require(ranks)
        return {name: self.size if name in (self.row, self.column) else 1 for name in ranks}

    def with_payload(self, ranks: Sequence[str], payload: Sequence[str]) -> DiagonalBlocks:
        """Itself: all other ranks are part of the payload."""
        return self

    def eased(self, share: float, density: float | None) -> tuple[DiagonalBlocks, None]:
        """Itself: there is one point a row or none."""
        return self, None

    def units(self, ranks: Sequence[str], shape: Sequence[int]) -> IntArray:
        """The points of the other ranks go together."""
        row, column = self.density_model(ranks, shape, None).ranks
        plane = np.arange(shape[row] * shape[column], dtype=np.int64)
        plane = plane.reshape([size if rank in (row, column) else 1 for rank, size in enumerate(shape)])
        return np.broadcast_to(plane, shape)

    def obeys(self, mask: BoolArray, ranks: Sequence[str]) -> bool:
        """All nonzeros of a block lie on one diagonal (of the given k); a point of it may be zero."""
        model = self.density_model(ranks, mask.shape, None)
        used = self._by_diagonal(mask.astype(np.float64), model) > 0
        k = self._given(model)
        if k is None:
            return bool((used.sum(axis=-1) <= 1).all())
        np.put_along_axis(used, k[..., None], False, axis=-1)
        return not used.any()

    def _given(self, model: PermutedDiagonal) -> IntArray | None:
        rows, columns = model.blocks
        if not self.k:
            return None
        return np.broadcast_to(np.asarray(self.k, dtype=np.int64), rows * columns).reshape(rows, columns)

    def _by_diagonal(self, values: FloatArray, model: PermutedDiagonal) -> FloatArray:
        """The sum of the values on each diagonal k of each block: an array of blocks by blocks by k."""
        row, column = model.ranks
        plane = values.sum(axis=tuple(rank for rank in range(values.ndim) if rank not in model.ranks))
        plane = plane if row < column else plane.T
        rows, columns = model.blocks
        blocks = plane.reshape(rows, self.size, columns, self.size).transpose(0, 2, 1, 3)
        place = np.arange(self.size)
        sums = [blocks[:, :, place, (place + k) % self.size].sum(axis=-1) for k in range(self.size)]
        return np.stack(sums, axis=-1)
