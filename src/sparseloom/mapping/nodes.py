"""Nodes: the bounds that a rank has so far, stage by stage from the outermost, and what follows from them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import BoolArray, IntArray
from sparseloom.mapping.steps import sure_of

FloatArray = NDArray[np.float64]

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class RankNodes:
    """The nodes of one stage of one rank: its bounds so far, and coordinates ``tile`` [M] in a tile of what is inside.

    ``bounds`` [M, 3] are those of the last stage: temporal, along X, along Y. The nodes that may follow node m are ``begin[m]`` up
    to ``begin[m + 1]`` of the next stage. A temporal loop of the last stage is ``sure`` [M] to replace tiles for some share of the
    computes. The first of all lanes goes through ``points`` [M] coordinates, ``whole`` [M] of them in tiles that are not cut
    short. In the number of a tile, by its grid, each has its part ``number`` [M].
    """

    tile: IntArray
    bounds: IntArray
    begin: IntArray
    sure: FloatArray
    points: FloatArray
    whole: FloatArray
    number: IntArray = field(default_factory=lambda: np.zeros(1, np.int64))

    @cached_property
    def turned(self) -> BoolArray:
        """Whether there is a temporal loop at the last stage, [M]."""
        return np.asarray(self.bounds[:, 0] > 1)

    @cached_property
    def looped(self) -> BoolArray:
        """Whether there is a loop at the last stage, [M]."""
        return np.asarray((self.bounds > 1).any(axis=1))

    @cached_property
    def lanes(self) -> IntArray:
        """The product of the spatial bounds of the last stage, [M]."""
        return np.asarray(self.bounds[:, 1] * self.bounds[:, 2])

    def numbered(self, number: IntArray) -> RankNodes:
        """These with their parts of the numbers of tiles."""
        return replace(self, number=number)


@dataclass(frozen=True)
class Groups:
    """Nodes that follow one node with tiles of the same number, and a temporal loop all or none: what all of a group have at
    ``least``. The groups that may follow node m are ``begin[m]`` up to ``begin[m + 1]``, the nodes of group g ``first[g]`` up to
    ``first[g + 1]``."""

    least: RankNodes
    begin: IntArray
    first: IntArray

    @classmethod
    def of(cls, before: RankNodes, after: RankNodes) -> Groups:
        """The groups of the nodes of a temporal stage that stand together and are alike."""
        parent = np.repeat(np.arange(len(before.begin) - 1), np.diff(before.begin))
        kinds = np.column_stack([parent, after.number, after.turned])
        first = np.flatnonzero(np.r_[True, (kinds[1:] != kinds[:-1]).any(axis=1)])
        sure, points, whole = (np.minimum.reduceat(each, first) for each in (after.sure, after.points, after.whole))
        begin = np.searchsorted(first, before.begin)
        least = RankNodes(after.tile[first], after.bounds[first], _NONE, sure, points, whole, after.number[first])
        return cls(least, begin, np.r_[first, len(after.tile)])


def rank_nodes(
    chains: IntArray, places: IntArray, stages: Sequence[tuple[int, bool]], size: int, spread: BoolArray
) -> list[RankNodes]:
    """The nodes of a rank of some ``size`` at each stage, from its ``chains`` [N, places]; ``spread`` [S]: whether lanes of a
    level, or of one further in, may share it."""
    own = [np.flatnonzero((places // 3 == depth) & ((places % 3 > 0) == spatial)) for depth, spatial in stages]
    inside = np.ones((len(chains), len(own) + 1), np.int64)
    for stage in range(len(own) - 1, -1, -1):
        inside[:, stage] = inside[:, stage + 1] * chains[:, own[stage]].prod(axis=1)
    # sorted so that the chains that begin with a node stand together
    keys = [key for stage, some in enumerate(own) for key in (*chains[:, some].T, inside[:, stage + 1])]
    order = np.lexsort(keys[::-1]) if keys else np.arange(len(chains))
    chains, inside = chains[order], inside[order]
    first = np.arange(len(chains)) == 0
    starts, bounds = np.flatnonzero(first), np.ones((1, 3), np.int64)
    found = list[RankNodes]()
    for stage in range(len(own) + 1):
        tile = np.minimum(inside[starts, stage], size)
        so_far = np.concatenate([_NONE, *own[:stage]])
        made = chains[np.ix_(starts, so_far)]
        around = np.minimum(tile * bounds[:, 0], size)
        sure = sure_of(around, tile, size, bool(stage and spread[stages[stage - 1][0]]))
        points, whole = _first_lane(made, places[so_far] % 3 == 0, tile, size)
        if stage == len(own):
            found.append(RankNodes(tile, bounds, _NONE, sure, points, whole))
            break
        here = np.column_stack([chains[:, own[stage]], inside[:, stage + 1]])
        first[1:] |= (here[1:] != here[:-1]).any(axis=1)
        following = np.flatnonzero(first)
        begin = np.searchsorted(following, [*starts, len(chains)])
        found.append(RankNodes(tile, bounds, begin, sure, points, whole))
        starts, bounds = following, np.ones((len(following), 3), np.int64)
        bounds[:, places[own[stage]] % 3] = chains[np.ix_(starts, own[stage])]
    return found


def _first_lane(bounds: IntArray, temporal: BoolArray, tile: IntArray, size: int) -> tuple[FloatArray, FloatArray]:
    """Coordinates of a rank of some ``size`` that the first of all lanes goes through, and those of them in tiles that are not cut
    short, for loops with ``bounds`` [N, L] around tiles [N], outermost first."""
    count, loops = bounds.shape
    repeated = np.where(temporal, bounds, 1)
    ones = np.ones((count, 1), np.int64)
    # of what lies inside of each loop: coordinates that it covers, that the lane goes through, and tiles of these
    cover = np.concatenate([np.cumprod(bounds[:, ::-1], axis=1)[:, ::-1], ones], axis=1) * tile[:, None]
    times = np.concatenate([np.cumprod(repeated[:, ::-1], axis=1)[:, ::-1], ones], axis=1)
    full = times * tile[:, None]
    left = np.full(count, size)
    points, whole, open_ = np.zeros(count), np.zeros(count), np.ones(count, np.bool_)
    for i in range(loops + 1):
        # whole from here on
        ends = open_ & (left >= cover[:, i])
        points[ends] += full[ends, i]
        whole[ends] += times[ends, i]
        open_ &= ~ends
        if i < loops and temporal[i]:
            iterations = np.where(open_, left // cover[:, i + 1], 0)
            points += iterations * full[:, i + 1]
            whole += iterations * times[:, i + 1]
            left -= iterations * cover[:, i + 1]
    return points + np.where(open_, left, 0), whole * tile
