"""A structured density as mappings with perfect bounds see it: by the extents of aligned tiles alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sparseloom.fibertree.box import Corner, corners
from sparseloom.fibertree.density import BoolArray, Density, FloatArray, IntArray
from sparseloom.fibertree.structured import TreeDensity, worst_of_tiles
from sparseloom.memory import forgotten


@dataclass(frozen=True)
class Tiled(Density):
    """``inner``, with every box taken for a whole tile of the aligned tiling of the tensor by its extents: statistics are means
    over such tiles, the worst case is the worst of them.

    Perfect bounds cut ranks into aligned tiles only, so for them sums over all tiles are those of ``inner``, exactly. Boxes
    that are cut otherwise (imperfect bounds, sliding windows, parts of a format in tiles that cut through its blocks) are taken
    as if they were aligned. Since extents are all that matters, a batch of mappings needs no places.
    """

    inner: TreeDensity

    @property
    def tensor_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.inner.tensor_shape

    @property
    def density(self) -> float:  # type: ignore[override]
        return self.inner.density

    @property
    def coordinate_dependent(self) -> bool:
        return False

    def empty_probability(self, low: Corner, high: Corner) -> FloatArray:
        return self._each(low, high, _empty)

    def expected_occupancy(self, low: Corner, high: Corner) -> FloatArray:
        return self.inner.expected_occupancy(low, high)

    def worst_occupancy(self, low: Corner, high: Corner) -> IntArray:
        return np.asarray(self._each(low, high, worst_of_tiles), np.int64)

    def most_nonempty(self, extents: IntArray, parts: IntArray) -> IntArray:
        return self.inner.most_nonempty(extents, parts)

    def occupancy_distribution(self, extents: Sequence[int]) -> tuple[IntArray, FloatArray]:
        return _distribution(self.inner, tuple(extents))

    def draw(self, rng: np.random.Generator) -> BoolArray:
        return self.inner.draw(rng)

    def _each(self, low: Corner, high: Corner, of: Callable[..., float]) -> FloatArray:
        """A number of each box's tiling, computed once for each shape of box."""
        from sparseloom.fibertree.distinct import distinct

        lows, highs, batch = corners(len(self.tensor_shape), low, high)
        sizes = np.array(self.tensor_shape, np.int64)[:, None]
        extents = np.maximum(np.minimum(highs, sizes) - np.maximum(lows, 0), 0)
        first, index = distinct(extents)
        found = np.array([of(self.inner, shape) for shape in map(tuple, extents[:, first].T.tolist())], np.float64)
        return np.asarray(found[index].reshape(batch))


def _empty(inner: TreeDensity, extents: tuple[int, ...]) -> float:
    if 0 in extents:
        return 1.0
    occupancies, chances = _distribution(inner, extents)
    return float(chances[occupancies == 0].sum())


@forgotten
@lru_cache(maxsize=1 << 14)
def _distribution(inner: TreeDensity, extents: tuple[int, ...]) -> tuple[IntArray, FloatArray]:
    return inner.occupancy_distribution(extents, whole=True)
