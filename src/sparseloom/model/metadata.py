"""How much metadata comes with the words of a tensor at least, whatever the mapping."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.fiber import bind, single_coordinate
from sparseloom.fibertree.format import Format
from sparseloom.mapping.batch import IntArray, Problem, extents_of
from sparseloom.mapping.prefixes import Tree
from sparseloom.mapping.steps import Grid

FloatArray = NDArray[np.float64]

MOST_TILES = 100_000
"""Different tiles of a tensor whose metadata are looked at; of more nothing is said."""


@dataclass(frozen=True, eq=False)
class Metadata:
    """Bits of metadata for each word of a tensor, by the tile that it comes in."""

    tree: Tree
    _known: dict[tuple[int, int, int], FloatArray] = field(default_factory=dict, repr=False)

    @property
    def problem(self) -> Problem:
        return self.tree.space.problem

    def bits(self, t: int, depth: int, child: int) -> FloatArray:
        """Bits for each word of tensor ``t`` in the form in which level ``depth`` keeps it, by number of the tiles of level
        ``child``; for those of compute, single points, [1]."""
        known = self._known.get((t, depth, child))
        if known is None:
            known = self._known[t, depth, child] = self._find(t, depth, child)
        return known

    def _find(self, t: int, depth: int, child: int) -> FloatArray:
        problem = self.problem
        form, density = problem.format_of(depth, t), problem.densities[t]
        if child == len(problem.design.architecture.levels):
            grid = Grid.of((np.ones(1, np.int64),) * len(problem.ranks))
        else:
            grid = self.tree.grid(self.tree.arrives(child))
        if form is None or self._slides(t) or density.coordinate_dependent:
            return np.zeros(grid.size)
        among = problem.projection(t).sum(axis=0) > 0
        own = [each if among[d] else each[:1] for d, each in enumerate(grid.known)]
        names = problem.rank_names(t)
        points = np.stack([each.ravel() for each in np.meshgrid(*own, indexing="ij")])
        if points.shape[1] > MOST_TILES:
            return np.zeros(grid.size)
        each = self._per_word(t, form, names, extents_of(problem.projection(t), points)[: len(names)])
        each = each.reshape([len(some) for some in own])
        for d in np.flatnonzero(among):
            # tiles that share a number
            each = np.minimum.reduceat(each, grid.first[d], axis=d)
        return np.broadcast_to(each, grid.shape).ravel()

    def _per_word(self, t: int, form: Format, names: tuple[str, ...], extents: IntArray) -> FloatArray:
        """Bits for each word of tiles of some ``extents`` [ranks, N]. Upper ranks of one coordinate may have been read before."""
        density, upper = self.problem.densities[t], len(form.ranks) - 1
        low, points = np.zeros_like(extents), extents.prod(axis=0, dtype=np.float64)
        stored = points * density.density if form.compressed else points
        units = form.expected_units(density, names, low, extents).copy()
        units[:, :upper][single_coordinate(form, names, low, extents)[:, :upper]] = 0.0
        if self.tree.space.imperfect:
            _allow_cuts(form, names, extents, stored, units)
        bits = (units * form.widths(names, low, extents)).sum(axis=(1, 2))
        return np.asarray(np.divide(bits, stored, out=np.zeros_like(bits), where=stored > 0))

    def _slides(self, t: int) -> bool:
        """Whether some index of a tensor is a sum of ranks of several coordinates: parts of its tiles move, too."""
        rows = (self.problem.projection(t) > 0) & (self.problem.shape > 1)
        return bool((rows.sum(axis=1) > 1).any())


def _allow_cuts(form: Format, names: tuple[str, ...], extents: IntArray, stored: FloatArray, units: FloatArray) -> None:
    """Lower the ``units`` of whole tiles to what tiles that are cut short, and whole ones before them, have for so many words.

    An element of the lowest rank has its unit; offsets are more for each word the shorter the tile. Only tiles cut to a single
    coordinate, each of which follows a whole one, may have none.
    """
    *upper, lowest = form.ranks
    if lowest.kind in ("CP", "RLE"):
        units[:, -1] = np.minimum(units[:, -1], stored[:, None])
    plain = True
    for k, (rank, parts) in enumerate(zip(upper, bind(form, names).parts, strict=False)):
        plain = plain and rank.kind in ("U", "UOP")
        sizes = extents[[part.axis for part in parts]]
        units[:, k] *= (sizes / (sizes + 1)).prod(axis=0)[:, None] if plain and len(parts) == 1 else 0.0
