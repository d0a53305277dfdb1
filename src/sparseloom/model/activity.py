"""Steps one and two of the clean model put together: what every tensor does at every level, for a batch of mappings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import GATING, SKIPPING, SPATIAL_SKIPPING
from sparseloom.mapping.batch import MappingBatch
from sparseloom.mapping.lanes import Packed, packing
from sparseloom.model.dataflow import DenseTraffic, Nests
from sparseloom.model.microarch import Share
from sparseloom.model.sparse import Computes, Filter, Moved, Traffic, filter_computes, paths_of

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Activity:
    """Shares by level and tensor name, the computes, and the instances in use of each level and of compute, [B, S + 1]."""

    shares: dict[str, dict[str, Share]]
    computes: Computes
    instances: FloatArray


def activity(work: Filter, batch: MappingBatch, nests: Nests | DenseTraffic, lane_shares: FloatArray) -> Activity:
    """Every transfer judged by its own leader tiles.

    ``lane_shares`` [S, 2, B] are the shares of logical lanes that take physical ones: spatial skipping judges transfers as
    skipping does, and the lanes that it frees do not exist.
    """
    problem = work.problem
    safs = [saf for saf in problem.design.features.safs if saf.kind in (GATING, SKIPPING, SPATIAL_SKIPPING)]
    paths = paths_of(problem, batch, safs)
    features = problem.design.features
    packed = packing(problem, batch, nests.tile)
    computes = filter_computes(work, paths, features.compute_gating, features.compute_skipping, frozenset(packed))
    reach = np.cumprod(np.prod(lane_shares, axis=1), axis=0)
    instances = nests.instances.copy()
    instances[:, 1:] *= reach.T
    for each in packed.values():
        instances[:, -1] *= each.used
    computes = replace(computes, busiest=computes.busiest * nests.instances[:, -1] / instances[:, -1])
    levels = problem.design.architecture.levels
    shares: dict[str, dict[str, Share]] = {level.name: {} for level in levels}
    for t, edges in enumerate(paths):
        arriving: Traffic | None = None
        for path in edges:
            level, leaving = path.edge.parent, work.traffic(path)
            share = _share(work, t, level, leaving, arriving, instances[:, level])
            if t in packed and packed[t].level == level and share.read is not None:
                share = replace(share, read=_repeated(share.read, [p for o, p in packed.items() if o != t]))
            shares[levels[level].name][problem.tensors[t]] = share
            arriving = leaving
    return Activity(shares, computes, instances)


def _share(
    work: Filter, t: int, level: int, leaving: Traffic, arriving: Traffic | None, instances: FloatArray
) -> Share:
    output = t == len(work.problem.tensors) - 1
    fill = None
    if arriving is not None:
        fill = arriving.delivered.less(arriving.first_delivered) if output else arriving.delivered
    read = leaving.served.less(leaving.first_served) if output else leaving.served
    return Share(read, fill, leaving.raised if output else None, work.tiles(t, level), instances)


def _repeated(read: Moved, others: list[Packed]) -> Moved:
    """Reads of a packed tensor: once for each pass of the others over their lanes, instead of each pass of a full tile."""
    times = np.prod([other.passes / other.full_passes for other in others], axis=0) if others else np.ones(1)
    parts = (getattr(read, name) for name in ("words", "blocks", "units", "bits"))
    return Moved(*(part * np.reshape(times, (-1, *(1,) * (part.ndim - 1))) for part in parts))
