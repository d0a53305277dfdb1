"""Steps one and two of the clean model put together: what every tensor does at every level, for a batch of mappings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import GATING, SKIPPING, SPATIAL_SKIPPING
from sparseloom.mapping.batch import MappingBatch
from sparseloom.mapping.lanes import Packed, Thinning, lane_load, lane_shares, packing
from sparseloom.model.computes import Computes, filter_computes
from sparseloom.model.conflicts import conflicts
from sparseloom.model.gather import BLOCKS, WORDS, Moved
from sparseloom.model.lanewalk import LaneWalk, is_walked
from sparseloom.model.microarch import Share
from sparseloom.model.nests import Nests
from sparseloom.model.path import Path, paths_of
from sparseloom.model.sparse import Filter, Tiles, Traffic
from sparseloom.model.waiting import waiting

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Activity:
    """Shares by level and tensor name, the computes, the instances in use of each level and of compute [B, S + 1], and the
    shares [S, 2, B] of logical lanes along X and Y that are needed at once."""

    shares: dict[str, dict[str, Share]]
    computes: Computes
    instances: FloatArray
    lanes: FloatArray


def activity(work: Filter, batch: MappingBatch, nests: Nests, thinning: Thinning) -> Activity:
    """Every transfer judged by its own leader tiles.

    Spatial skipping judges transfers as skipping does, and the lanes that it frees (``thinning``) do not exist.
    """
    problem = work.problem
    safs = [saf for saf in problem.design.features.safs if saf.kind in (GATING, SKIPPING, SPATIAL_SKIPPING)]
    paths = paths_of(problem, batch.keep, safs)
    features = problem.design.features
    packed = packing(problem, batch, nests.tile)
    walk: LaneWalk | None = None
    if is_walked(problem):
        walk = LaneWalk(work, nests.loops[0, :, : nests.count[0]], paths)
        computes, instances, shares_of_lanes = walk.computes, walk.instances, walk.lane_shares
    else:
        zeros_gone = frozenset(t for _, t in packed)
        computes = filter_computes(work, paths, features.compute_gating, features.compute_skipping, zeros_gone)
        shares_of_lanes = lane_shares(problem, batch, thinning)
        instances = nests.instances.copy()
        if thinning:
            reach = np.multiply.accumulate(np.multiply.reduce(shares_of_lanes, axis=1), axis=0)
            instances[:, 1:] *= reach.T
        for (level, _), each in packed.items():
            instances[:, level + 1 :] *= each.lanes[:, None]
        load = lane_load(problem, batch, thinning, packed.values())
        load = load * waiting(problem, batch, nests.tile, packed) * conflicts(problem, batch, packed)
        computes = replace(computes, busiest=computes.busiest * load)
    levels, streamed = problem.design.architecture.levels, batch.stream.tolist()
    shares: dict[str, dict[str, Share]] = {level.name: {} for level in levels}
    for t, edges in enumerate(paths):
        arriving: Traffic | None = None
        for path in edges:
            level, leaving = path.edge.parent, work.traffic(path)
            share = _share(work, t, level, leaving, arriving, instances[:, level])
            if walk is not None:
                share = replace(share, read=walk.read(path)) if walk.reads(path) else share
            elif (level, t) in packed and share.read is not None and not path.edge.hold:
                others = [each for (at, o), each in packed.items() if at == level and o != t]
                form = work.problem.format_of(level, t)
                stored = np.ones(1) if form and form.compressed else packed[level, t].density
                share = replace(share, read=_repeated(share.read, others, stored))
            shares[levels[level].name][problem.tensors[t]] = share
            for between in range(level + 1, path.edge.child):
                if streamed[between][t]:
                    passing = _passing(work, path, between, instances[:, between])
                    shares[levels[between].name][problem.tensors[t]] = passing
            arriving = leaving
    return Activity(shares, computes, instances, shares_of_lanes)


def _passing(work: Filter, path: Path, level: int, instances: FloatArray) -> Share:
    """A tensor that is written and read at a level which does not keep it."""
    moved, nothing = work.passing(path, level), np.zeros(instances.shape)
    return Share(moved, moved, None, Tiles(nothing, nothing, nothing, nothing), instances, streamed=True)


def _share(
    work: Filter, t: int, level: int, leaving: Traffic, arriving: Traffic | None, instances: FloatArray
) -> Share:
    read, update = taken(work, t, leaving)
    fill = brought(work, t, arriving) if arriving is not None else None
    return Share(read, fill, update, work.tiles(t, level), instances)


def taken(work: Filter, t: int, leaving: Traffic) -> tuple[Moved, Moved | None]:
    """Reads and updates of a tensor at the level that it leaves inwards; updates of the output alone."""
    if t < len(work.problem.tensors) - 1:
        return leaving.served, None
    return leaving.served.less(leaving.first_served), leaving.raised


def brought(work: Filter, t: int, arriving: Traffic) -> Moved:
    """Fills of a tensor at the level at which it arrives."""
    filled = t == len(work.problem.tensors) - 1 and work.conventions.first_visit == "read-and-fill"
    return arriving.delivered.less(arriving.first_delivered) if filled else arriving.delivered


def _repeated(read: Moved, others: list[Packed], stored: FloatArray) -> Moved:
    """Reads of a packed tensor: once for each pass of the others over their lanes, instead of each pass of a full tile; of its
    words those that are ``stored`` and not zero."""
    times = prod((other.passes / other.full_passes for other in others), start=np.ones(1))
    table = read.table * times[:, None, None]
    table[:, WORDS : BLOCKS + 1] *= stored[:, None, None]
    return Moved(table)
