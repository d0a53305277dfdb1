"""What tiles take up at least: what can be said of them before anything is counted."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sparseloom.fibertree.distinct import kinds
from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch, Problem, extents_of
from sparseloom.model.classes import ClassSource
from sparseloom.model.microarch import Holding
from sparseloom.model.nests import lay_out
from sparseloom.model.sparse import Filter


def data_held(problem: Problem, keep: BoolArray, depth: int, tile: IntArray) -> Holding:
    """The most words that level ``depth`` has to hold of each tensor that it keeps, for nominal tiles [D, N] of the ranks.
    Metadata, and what parts of split formats add that begin inside a tile, are not looked at."""
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


def tiles_fit(problem: Problem, keep: BoolArray, depths: Iterable[int], tile: IntArray, metadata: bool) -> BoolArray:
    """Whether levels ``depths`` can hold the data of nominal tiles [D, N] of the ranks, and their ``metadata`` if it is looked at,
    [N]."""
    fits = np.ones(tile.shape[1], np.bool_)
    for depth in depths:
        if keep[depth].any():
            fits &= data_held(problem, keep, depth, tile).fits
            if metadata:
                fits[fits] = metadata_held(problem, keep, depth, tile[:, fits]).fits
    return fits


def metadata_held(problem: Problem, keep: BoolArray, depth: int, tile: IntArray) -> Holding:
    """The most bits of metadata that level ``depth`` has to hold of each tensor that it keeps, for tiles [D, N] that perfect bounds
    leave."""
    ranks, count = tile.shape
    rank = np.tile(np.arange(ranks), (count, 2))
    bound = np.concatenate([problem.shape[:, None] // tile, tile]).T
    place = np.broadcast_to(np.repeat([0, 3 * depth], ranks), rank.shape)
    nests = lay_out(problem, MappingBatch(rank, bound, place, keep, np.zeros_like(keep)))
    work = Filter(problem, ClassSource.of(problem, nests))
    held = {name: work.tiles(t, depth).worst_bits for t, name in enumerate(problem.tensors) if keep[depth, t]}
    return Holding("bits of metadata", problem.design.architecture.levels[depth].metadata_capacity_bits, held)
