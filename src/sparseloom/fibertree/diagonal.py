"""Nonzeros along diagonals: a band around the main diagonal, and permuted diagonals in square blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from sparseloom.errors import Fault, PatternError
from sparseloom.fibertree.box import Corner, clip_box
from sparseloom.fibertree.density import (
    ActualData,
    BoolArray,
    Density,
    FloatArray,
    IntArray,
    box_points,
    check_shape,
)
from sparseloom.fibertree.occupancy import Occupancy, mixture
from sparseloom.fibertree.tile import Interval, split_interval, tile_kinds


@dataclass(frozen=True)
class Banded(Density):
    """A matrix whose point (i, j) is a nonzero where ``|i - j| <= half_width``. Nothing is random.

    Source: the banded model of Sparseloop (Wu et al., MICRO 2022, Table 4); here every box is counted exactly, and the
    matrix need not be square. Raises PatternError for another number of ranks or a negative half width.
    """

    tensor_shape: tuple[int, ...]
    half_width: int
    certain = True

    def __post_init__(self) -> None:
        check_shape(self.tensor_shape)
        if len(self.tensor_shape) != 2:
            what = f"a band needs a tensor of 2 ranks, this one has {len(self.tensor_shape)}"
            raise PatternError(Fault(what, fix="flatten the tensor, or use another density"))
        if self.half_width < 0:
            what = f"half width {self.half_width} is negative"
            raise PatternError(Fault(what, path="half_width", fix="0 is the diagonal alone"))

    @property
    def coordinate_dependent(self) -> bool:
        return True

    @property
    def density(self) -> float:  # type: ignore[override]
        return int(self.worst_occupancy((0, 0), self.tensor_shape)) / math.prod(self.tensor_shape)

    def worst_occupancy(self, low: Corner, high: Corner) -> IntArray:
        """The nonzeros in the box: the model admits just one number."""
        (i, j), (i_end, j_end) = clip_box(self.tensor_shape, low, high)
        w = self.half_width

        def below(column: IntArray) -> IntArray:
            """Band points of rows i .. i_end in columns 0 .. column."""
            return (
                _ramp_sum(i_end, column, w + 1)
                - _ramp_sum(i, column, w + 1)
                - (_ramp_sum(i_end, column, -w) - _ramp_sum(i, column, -w))
            )

        return np.asarray(below(j_end) - below(j))

    def expected_occupancy(self, low: Corner, high: Corner) -> FloatArray:
        return self.worst_occupancy(low, high).astype(np.float64)

    def empty_probability(self, low: Corner, high: Corner) -> FloatArray:
        return np.asarray(self.worst_occupancy(low, high) == 0, dtype=np.float64)

    def occupancy_distribution(self, extents: Sequence[int]) -> tuple[IntArray, FloatArray]:
        """Counts only the tiles near the band; the others are empty."""
        (rows, columns), (height, width), w = self.tensor_shape, extents, self.half_width
        across = -(-columns // width)
        i = np.arange(0, rows, height, dtype=np.int64)[:, None]
        first = np.maximum(i - w, 0) // width
        near = first + np.arange((height - 1 + 2 * w) // width + 2, dtype=np.int64)
        counts = self.worst_occupancy((i, near * width), (i + height, near * width + width))[near < across]
        occupancies, times = np.unique(counts, return_counts=True)
        tiles = i.size * across
        far = tiles - counts.size
        if far and (not occupancies.size or occupancies[0] != 0):
            occupancies, times = np.append(0, occupancies), np.append(far, times)
        elif far:
            times[0] += far
        return occupancies.astype(np.int64), times / tiles

    def draw(self, rng: np.random.Generator) -> BoolArray:
        """The band itself."""
        rows, columns = self.tensor_shape
        return np.asarray(np.abs(np.arange(rows)[:, None] - np.arange(columns)) <= self.half_width)


def _ramp_sum(rows: IntArray, columns: IntArray, shift: int) -> IntArray:
    """Points of a ``rows x columns`` matrix with ``column < row + shift``: the sum of clip(row + shift, 0, columns)."""

    def below(x: IntArray) -> IntArray:
        """The sum over 0 <= y < x of min(y, columns)."""
        x = np.maximum(x, 0)
        flat = np.maximum(x - columns, 0)
        slope = x - flat
        return np.asarray(slope * (slope - 1) // 2 + flat * columns)

    return below(rows + shift) - below(np.asarray(shift))


@dataclass(frozen=True)
class PermutedDiagonal(Density):
    """Square blocks of ``size`` on two ranks, with one nonzero a row: in block l, column = (row + k_l) mod size.

    ``ranks`` are the numbers of the row rank and the column rank. The payload of such a point, over all other ranks, is
    dense (a kernel of a convolution). ``k``: () draws it uniformly for each block, one number serves all blocks, else
    one for each block, row by row. Given ``k``, nothing is random.

    Source: Deng et al., PermDNN, MICRO 2018. Exact for this placement. Raises PatternError if ``size`` does not divide
    both ranks, or ``k`` has the wrong length or a value outside [0, size).
    """

    tensor_shape: tuple[int, ...]
    ranks: tuple[int, int]
    size: int
    k: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_shape(self.tensor_shape)
        faults = []
        for rank in self.ranks:
            if self.size < 1 or self.tensor_shape[rank] % self.size:
                what = f"a permuted diagonal of {self.size} does not divide the {self.tensor_shape[rank]} coordinates"
                fix = "choose a size that divides both ranks, or pad with zeros"
                faults.append(Fault(f"{what} of rank {rank}", fix=fix))
        blocks = math.prod(self.blocks) if not faults else 0
        if not faults and len(self.k) not in (0, 1, blocks):
            fix = f"give one k, {blocks}, or none for random ones"
            faults.append(Fault(f"{len(self.k)} values of k were given for {blocks} blocks", path="k", fix=fix))
        if any(not 0 <= k < self.size for k in self.k):
            what = f"k is not between 0 and {self.size - 1}: {self.k}"
            faults.append(Fault(what, path="k", fix="take it mod the size"))
        if faults:
            raise PatternError(faults)

    @property
    def blocks(self) -> tuple[int, int]:
        """Blocks along the row rank and along the column rank."""
        rows, columns = (self.tensor_shape[rank] // self.size for rank in self.ranks)
        return rows, columns

    @property
    def coordinate_dependent(self) -> bool:
        return self.size > 1

    @property
    def density(self) -> float:  # type: ignore[override]
        return 1 / self.size

    def diagonals(self, k: IntArray) -> BoolArray:
        """The mask of the two ranks, the row rank first, for a ``k`` of each block (an array of blocks by blocks)."""
        place = np.arange(self.size)
        inside = (place[:, None] + k[:, :, None, None]) % self.size == place
        rows, columns = self.blocks
        return np.asarray(inside.transpose(0, 2, 1, 3).reshape(rows * self.size, columns * self.size))

    def spread(self, plane: BoolArray) -> BoolArray:
        """The mask of the whole tensor from that of its two ranks."""
        row, column = self.ranks
        plane = plane if row < column else plane.T
        axes = [s if rank in self.ranks else 1 for rank, s in enumerate(self.tensor_shape)]
        return np.broadcast_to(plane.reshape(axes), self.tensor_shape).copy()

    @cached_property
    def _given(self) -> ActualData:
        """The plane of the two ranks for the given ``k``."""
        k = np.broadcast_to(np.asarray(self.k, dtype=np.int64), math.prod(self.blocks))
        return ActualData(self.diagonals(k.reshape(self.blocks)))

    def _plane(self, low: Corner, high: Corner) -> tuple[Interval, Interval, IntArray]:
        """The box in the row rank and the column rank, and its points in all other ranks."""
        lows, highs = clip_box(self.tensor_shape, low, high)
        row, column = self.ranks
        others = [y - x for r, (x, y) in enumerate(zip(lows, highs, strict=True)) if r not in self.ranks]
        depth = np.asarray(math.prod(others, start=np.asarray(1, dtype=np.int64)))
        return (lows[row], highs[row]), (lows[column], highs[column]), depth

    def _kinds(self, rows: Interval, columns: Interval) -> list[tuple[IntArray, IntArray, IntArray]]:
        """The blocks that the box touches, by kind: how many, rows and columns of the block in the box."""
        kinds = product(split_interval(rows, self.size), split_interval(columns, self.size))
        return [(np.asarray(n * m), np.asarray(b - a), np.asarray(d - c)) for (n, (a, b)), (m, (c, d)) in kinds]

    def expected_occupancy(self, low: Corner, high: Corner) -> FloatArray:
        if self.k:
            return self.worst_occupancy(low, high).astype(np.float64)
        return np.asarray(box_points(self.tensor_shape, low, high) / self.size)

    def empty_probability(self, low: Corner, high: Corner) -> FloatArray:
        """Random k: r rows and c columns of a block hold a nonzero for min(size, r + c - 1) of its values."""
        if self.k:
            return np.asarray(self.worst_occupancy(low, high) == 0, dtype=np.float64)
        rows, columns, depth = self._plane(low, high)
        empty = np.ones(())
        for blocks, r, c in self._kinds(rows, columns):
            hit = np.where(blocks > 0, np.minimum(self.size, r + c - 1), 0) / self.size
            empty = np.asarray(empty * (1 - hit) ** blocks)
        return np.asarray(np.where(depth > 0, empty, 1.0))

    def worst_occupancy(self, low: Corner, high: Corner) -> IntArray:
        rows, columns, depth = self._plane(low, high)
        if self.k:
            (a, b), (c, d) = rows, columns
            return np.asarray(self._given.worst_occupancy((a, c), (b, d)) * depth)
        return np.asarray(sum(n * np.minimum(r, c) for n, r, c in self._kinds(rows, columns)) * depth)

    def occupancy_distribution(self, extents: Sequence[int]) -> tuple[IntArray, FloatArray]:
        row, column = self.ranks
        others = [e for rank, e in enumerate(extents) if rank not in self.ranks]
        shapes = [s for rank, s in enumerate(self.tensor_shape) if rank not in self.ranks]
        depths = [tile_kinds(s, e, 1) for s, e in zip(shapes, others, strict=True)]
        if self.k:
            counts, p = self._given.occupancy_distribution((extents[row], extents[column]))
            flat = mixture((float(share), Occupancy.certain(int(n))) for n, share in zip(counts, p, strict=True))
        else:
            flat = self._random_tiles(extents[row], extents[column])
        parts = []
        for tile in product(*depths):
            depth, share = math.prod(extent for _, extent, _ in tile), math.prod(p for _, _, p in tile)
            parts.append((share, flat.multiplied(depth)))
        return mixture(parts).support()

    def _random_tiles(self, height: int, width: int) -> Occupancy:
        """The mean over the aligned tiles of the two ranks."""
        rows, columns = (self.tensor_shape[rank] for rank in self.ranks)
        parts = []
        kinds = product(tile_kinds(rows, height, self.size), tile_kinds(columns, width, self.size))
        for (i, i_extent, p), (j, j_extent, q) in kinds:
            total = Occupancy.certain(0)
            inside = (np.asarray(i), np.asarray(i + i_extent)), (np.asarray(j), np.asarray(j + j_extent))
            for blocks, r, c in self._kinds(*inside):
                if blocks:
                    total = total.plus(self._block(int(r), int(c)).times(int(blocks)))
            parts.append((p * q, total))
        return mixture(parts)

    def _block(self, rows: int, columns: int) -> Occupancy:
        """Nonzeros in adjacent rows and columns of a block, over all values of k."""
        row = np.arange(rows)
        counts = [int(((row + k) % self.size < columns).sum()) for k in range(self.size)]
        return mixture((1 / self.size, Occupancy.certain(count)) for count in counts)

    def draw(self, rng: np.random.Generator) -> BoolArray:
        if self.k:
            return self.spread(self._given.mask)
        return self.spread(self.diagonals(rng.integers(self.size, size=self.blocks)))
