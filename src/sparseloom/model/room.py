"""Whether tiles can fit at all: what can be said before anything is counted."""

from __future__ import annotations

import numpy as np

from sparseloom.fibertree.distinct import kinds
from sparseloom.mapping.batch import BoolArray, IntArray, Problem, extents_of
from sparseloom.model.microarch import Holding


def data_held(problem: Problem, keep: BoolArray, depth: int, tile: IntArray) -> Holding:
    """The most words that level ``depth`` has to hold of each tensor that it keeps, for nominal tiles [D, N] of the ranks."""
    held = {}
    for t, name in enumerate(problem.tensors):
        if not keep[depth, t]:
            continue
        form, density = problem.format_of(depth, t), problem.densities[t]
        extents = extents_of(problem.projection(t), tile)[: len(problem.rank_names(t))]
        if form is None or not form.compressed or not len(extents):
            held[name] = np.multiply.reduce(extents, axis=0, dtype=np.float64) * np.ones(tile.shape[1])
            continue
        (boxes,), which = kinds([extents])
        held[name] = density.worst_occupancy(np.zeros_like(boxes), boxes).astype(np.float64)[which]
    return Holding("words", problem.design.architecture.levels[depth].capacity_words, held)


def may_fit(problem: Problem, keep: BoolArray, tiles: IntArray) -> BoolArray:
    """Whether the data of nominal tiles [S, D, N] fits at every level, [N]. Metadata, and parts of split formats that begin inside
    a tile, are not looked at."""
    fits = np.ones(tiles.shape[2], np.bool_)
    for depth, level in enumerate(problem.design.architecture.levels):
        if level.capacity_words is not None and keep[depth].any():
            fits[fits] = data_held(problem, keep, depth, tiles[depth][:, fits]).fits
    return fits
