"""How the nonzeros of a tensor are spread: statistics of any box of its points.

A box is given per rank of the tensor as arrays ``low`` and ``high`` (half open), mutually broadcastable; results have
the broadcast shape. Points outside the tensor do not exist: boxes are clipped to it.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseloom.errors import Fault, PatternError
from sparseloom.fibertree.box import Corner, clip_box, corners

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@cache
def _kernels() -> ModuleType:
    # importing a module costs more than its kernels take, and Numba more than all else: neither happens before it is needed
    from sparseloom.fibertree import count

    return count


@cache
def _chances() -> ModuleType:
    from sparseloom.fibertree import hypergeometric

    return hypergeometric


class Density(ABC):
    """What is known of where the nonzeros of a tensor lie. Every subclass is a frozen, comparable value.

    ``tensor_shape`` holds the coordinates of each rank; ``density`` is expected nonzeros / points of the whole tensor.
    """

    tensor_shape: tuple[int, ...]
    density: float
    certain: ClassVar[bool] = False
    """Whether this is one known tensor: every box has one possible occupancy."""

    @property
    @abstractmethod
    def coordinate_dependent(self) -> bool:
        """False: the statistics of a box depend on its extents alone."""

    @abstractmethod
    def empty_probability(self, low: Corner, high: Corner) -> FloatArray:
        """P(no nonzero in the box); 1 for a box without points."""

    @abstractmethod
    def expected_occupancy(self, low: Corner, high: Corner) -> FloatArray:
        """Expected nonzeros in the box."""

    @abstractmethod
    def worst_occupancy(self, low: Corner, high: Corner) -> IntArray:
        """The largest number of nonzeros in the box that the model admits."""

    def most_nonempty(self, extents: IntArray, parts: IntArray) -> IntArray:
        """The most parts of a tile that can be nonempty at once, [N]; the coordinates of tiles and of their parts are [ranks, N].

        No part is nonempty without a nonzero of its own; where a model knows of fewer, it says so.
        """
        worst = self.worst_occupancy(np.zeros(extents.shape, np.int64), extents)
        return np.asarray(np.minimum(np.prod(extents, axis=0) // np.prod(parts, axis=0), worst), np.int64)

    @abstractmethod
    def occupancy_distribution(self, extents: Sequence[int]) -> tuple[IntArray, FloatArray]:
        """Occupancies of a tile of these extents, ascending, and their probabilities.

        Where the model is coordinate dependent: averaged over the tiles of the aligned tiling of the tensor, each tile
        with the same weight, the last ones clipped at the tensor's edge. Tails below 1e-18 are dropped.
        """

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> BoolArray:
        """A mask of ``tensor_shape`` that the model describes."""


def box_points(shape: Sequence[int], low: Corner, high: Corner) -> IntArray:
    """Points of the box that lie in the tensor."""
    lows, highs, batch = corners(len(shape), low, high)
    return np.asarray(_kernels().points(np.array(shape, np.int64), lows, highs).reshape(batch))


def tile_points(shape: Sequence[int], extents: Sequence[int]) -> int:
    """Points of a tile of these extents at the tensor's origin."""
    return int(box_points(shape, [0] * len(extents), list(extents)))


def whole(x: float) -> float:
    """``x``, or the whole number within a few units in the last place of it (0.1 * 30 is 3)."""
    nearest = round(x)
    return float(nearest) if abs(x - nearest) <= 4 * np.finfo(float).eps * max(1.0, abs(x)) else x


def check_density(density: float) -> None:
    if not 0 <= density <= 1:
        what = f"density {density} is not between 0 and 1"
        raise PatternError(Fault(what, path="density", fix="give nonzeros / points"))


def check_shape(shape: Sequence[int]) -> None:
    if any(s < 1 for s in shape):
        what = f"tensor shape {tuple(shape)} has a rank without coordinates"
        raise PatternError(Fault(what, fix="shapes are at least 1"))


class Exchangeable(Density):
    """A density to which it matters how many points a set has, not which: boxes are sets like any other."""

    @abstractmethod
    def joint_empty(self, points: ArrayLike) -> FloatArray:
        """P(no nonzero among any given set of ``points`` points)."""

    @abstractmethod
    def mean_of(self, points: ArrayLike) -> FloatArray:
        """Expected nonzeros among any given set of ``points`` points."""

    @abstractmethod
    def of_points(self, points: int) -> tuple[IntArray, FloatArray]:
        """Occupancies of any given set of ``points`` points, ascending, and their probabilities."""

    @abstractmethod
    def mean_parts(self, points: ArrayLike, size: ArrayLike) -> FloatArray:
        """Mean of ceil(X / size), elementwise, where X is the nonzeros of ``points`` points: parts of ``size`` that they fill."""

    @property
    def coordinate_dependent(self) -> bool:
        return False

    def empty_probability(self, low: Corner, high: Corner) -> FloatArray:
        return self.joint_empty(box_points(self.tensor_shape, low, high))

    def expected_occupancy(self, low: Corner, high: Corner) -> FloatArray:
        return self.mean_of(box_points(self.tensor_shape, low, high))

    def occupancy_distribution(self, extents: Sequence[int]) -> tuple[IntArray, FloatArray]:
        return self.of_points(tile_points(self.tensor_shape, extents))


@dataclass(frozen=True)
class Dense(Exchangeable):
    """Every point is a nonzero."""

    tensor_shape: tuple[int, ...]
    certain = True

    def __post_init__(self) -> None:
        check_shape(self.tensor_shape)

    @property
    def density(self) -> float:  # type: ignore[override]
        return 1.0

    def joint_empty(self, points: ArrayLike) -> FloatArray:
        return np.asarray(np.asarray(points) == 0, dtype=np.float64)

    def mean_of(self, points: ArrayLike) -> FloatArray:
        return np.asarray(points, np.float64)

    def worst_occupancy(self, low: Corner, high: Corner) -> IntArray:
        return box_points(self.tensor_shape, low, high)

    def of_points(self, points: int) -> tuple[IntArray, FloatArray]:
        return np.array([points], dtype=np.int64), np.ones(1)

    def mean_parts(self, points: ArrayLike, size: ArrayLike) -> FloatArray:
        return np.asarray(np.ceil(np.asarray(points) / size))

    def draw(self, rng: np.random.Generator) -> BoolArray:
        return np.ones(self.tensor_shape, dtype=np.bool_)


@dataclass(frozen=True)
class Uniform(Exchangeable):
    """Nonzeros placed uniformly at random, without replacement.

    The tensor has exactly ``nonzeros = ceil(density * points)``; ``density`` is then ``nonzeros / points``. The
    occupancy X of a box of n of the N points is hypergeometric: P(X = 0) = C(N - r, n) / C(N, n).

    Source: Wu et al., Sparseloop, MICRO 2022, section 5.3.2. Exact for this placement. Raises PatternError for a
    density outside [0, 1].

    >>> d = Uniform((4,), 0.25)
    >>> float(d.expected_occupancy([0], [2])), round(float(d.empty_probability([0], [2])), 12)
    (0.5, 0.5)
    """

    tensor_shape: tuple[int, ...]
    density: float

    def __post_init__(self) -> None:
        check_shape(self.tensor_shape)
        check_density(self.density)
        object.__setattr__(self, "density", math.ceil(whole(float(self.density) * self.points)) / self.points)

    @cached_property
    def points(self) -> int:
        return math.prod(self.tensor_shape)

    @cached_property
    def nonzeros(self) -> int:
        return round(self.density * self.points)

    def joint_empty(self, points: ArrayLike) -> FloatArray:
        return np.asarray(_chances().empty_probability(self.points, self.nonzeros, points))

    def mean_of(self, points: ArrayLike) -> FloatArray:
        return np.asarray(np.asarray(points) * self.nonzeros / self.points)

    def worst_occupancy(self, low: Corner, high: Corner) -> IntArray:
        return np.asarray(np.minimum(box_points(self.tensor_shape, low, high), self.nonzeros))

    def of_points(self, points: int) -> tuple[IntArray, FloatArray]:
        occupancies, chances = _chances().distribution(self.points, self.nonzeros, points)
        return occupancies, chances

    def mean_parts(self, points: ArrayLike, size: ArrayLike) -> FloatArray:
        return np.asarray(_chances().mean_parts(self.points, self.nonzeros, points, size))

    def draw(self, rng: np.random.Generator) -> BoolArray:
        mask = np.zeros(self.points, dtype=np.bool_)
        mask[rng.choice(self.points, self.nonzeros, replace=False, shuffle=False)] = True
        return mask.reshape(self.tensor_shape)


@dataclass(frozen=True)
class FixedStructured(Exchangeable):
    """Every tile of n points holds ``n * density`` nonzeros, as nearly as whole numbers allow.

    With ``x = n * density``: occupancy floor(x) with probability ``1 - frac(x)``, ceil(x) with ``frac(x)``; so
    P(empty) = max(0, 1 - x). An idealisation: no single tensor does so for all tiles at once. ``draw`` spreads the
    nonzeros evenly over the flattened tensor (nonzero i at ``floor(i / density)``), which obeys it for runs of the
    flattened tensor only.

    Source: Sparseloop's fixed-structured model (Wu et al., MICRO 2022, Table 4). Raises PatternError for a density
    outside [0, 1].
    """

    tensor_shape: tuple[int, ...]
    density: float

    def __post_init__(self) -> None:
        check_shape(self.tensor_shape)
        check_density(self.density)
        object.__setattr__(self, "density", float(self.density))

    def joint_empty(self, points: ArrayLike) -> FloatArray:
        return np.asarray(np.maximum(0.0, 1.0 - self.mean_of(points)))

    def mean_of(self, points: ArrayLike) -> FloatArray:
        values = np.asarray(points, np.float64)
        found = _kernels().shares(values.reshape(-1), self.density)
        return np.asarray(found if values.ndim == 1 else found.reshape(values.shape))

    def worst_occupancy(self, low: Corner, high: Corner) -> IntArray:
        return np.asarray(np.ceil(self.expected_occupancy(low, high)), dtype=np.int64)

    def of_points(self, points: int) -> tuple[IntArray, FloatArray]:
        x = points * self.density
        x = float(round(x)) if abs(x - round(x)) <= 1e-12 * max(x, 1.0) else x
        floor = math.floor(x)
        if x == floor:
            return np.array([floor], dtype=np.int64), np.ones(1)
        return np.array([floor, floor + 1], dtype=np.int64), np.array([1 - (x - floor), x - floor])

    def mean_parts(self, points: ArrayLike, size: ArrayLike) -> FloatArray:
        mean = self.mean_of(points)
        floor = np.floor(mean)
        part = mean - floor
        return np.asarray((1 - part) * np.ceil(floor / size) + part * np.ceil((floor + 1) / size))

    def draw(self, rng: np.random.Generator) -> BoolArray:
        before = np.arange(math.prod(self.tensor_shape) + 1) * self.density
        return np.diff(np.ceil(before - 1e-12 * before)).astype(np.bool_).reshape(self.tensor_shape)


@dataclass(frozen=True, eq=False)
class ActualData(Density):
    """A given tensor: ``mask`` is True where it has a nonzero. Nothing is random.

    Box queries look up the corners of the mask's cumulative sums. Two are equal if their masks are.
    """

    mask: BoolArray
    certain = True

    def __post_init__(self) -> None:
        mask = np.array(self.mask, dtype=np.bool_)
        check_shape(mask.shape)
        mask.flags.writeable = False
        object.__setattr__(self, "mask", mask)

    def __repr__(self) -> str:
        return f"ActualData(shape={self.tensor_shape}, nonzeros={int(self.mask.sum())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActualData) and (self.mask is other.mask or self._digest == other._digest)

    def __hash__(self) -> int:
        return hash(self._digest)

    @cached_property
    def _digest(self) -> tuple[tuple[int, ...], bytes]:
        return self.mask.shape, hashlib.blake2b(np.packbits(self.mask).tobytes()).digest()

    @property
    def tensor_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.mask.shape

    @property
    def density(self) -> float:  # type: ignore[override]
        return float(self.mask.sum()) / self.mask.size

    @property
    def coordinate_dependent(self) -> bool:
        return True

    @cached_property
    def _sums(self) -> IntArray:
        """Nonzeros below each corner: an array with one more coordinate than the mask in each rank of several coordinates;
        the other ranks are left out."""
        mask = self.mask.reshape([s for s in self.mask.shape if s > 1])
        sums = np.zeros([s + 1 for s in mask.shape], dtype=np.int64)
        sums[(slice(1, None),) * mask.ndim] = mask
        for axis in range(sums.ndim):
            np.cumsum(sums, axis=axis, out=sums)
        return sums

    def worst_occupancy(self, low: Corner, high: Corner) -> IntArray:
        """The nonzeros in the box: the model admits just one number."""
        lows, highs = clip_box(self.tensor_shape, low, high)
        ranks = [r for r, s in enumerate(self.mask.shape) if s > 1]
        sums, ends = self._sums, (lows, highs)
        flat, stride = sums.ravel(), [step // sums.itemsize for step in sums.strides]
        total = np.zeros(np.broadcast_shapes(*(x.shape for x in lows + highs)), dtype=np.int64)
        for corner in np.ndindex(*(2,) * len(ranks)):
            at = sum((ends[c][r] * n for c, r, n in zip(corner, ranks, stride, strict=True)), np.zeros((), np.int64))
            total = total + (-1) ** (len(ranks) - sum(corner)) * flat[at]
        for r, s in enumerate(self.mask.shape):
            if s == 1:
                total = total * (highs[r] - lows[r])
        return np.asarray(total)

    def expected_occupancy(self, low: Corner, high: Corner) -> FloatArray:
        return self.worst_occupancy(low, high).astype(np.float64)

    def empty_probability(self, low: Corner, high: Corner) -> FloatArray:
        return np.asarray(self.worst_occupancy(low, high) == 0, dtype=np.float64)

    def occupancy_distribution(self, extents: Sequence[int]) -> tuple[IntArray, FloatArray]:
        starts = np.ix_(*(np.arange(0, s, e) for s, e in zip(self.tensor_shape, extents, strict=True)))
        counts = self.worst_occupancy(starts, [x + e for x, e in zip(starts, extents, strict=True)])
        occupancies, times = np.unique(counts, return_counts=True)
        return occupancies, times / counts.size

    def draw(self, rng: np.random.Generator) -> BoolArray:
        """The tensor itself."""
        return self.mask
