"""Step two as Sparseloop takes it: probabilities of one average instance, applied in proportion (conventions
``loop-ranks`` and ``loop-ranks-ceil`` of metadata).

Source: Timeloop at ee66b62 (2022-07-21) and the outputs of the MICRO 2022 artifact; docs/conventions.md names each
rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.actions import DATA_ACTIONS
from sparseloom.arch.features import GATING, SKIPPING, SPATIAL_SKIPPING
from sparseloom.fibertree.density import Density, Exchangeable, FixedStructured, Uniform
from sparseloom.mapping.batch import IntArray, MappingBatch, Problem
from sparseloom.mapping.details import FormatDetails, Tiling, TimeloopDetails
from sparseloom.mapping.lanes import Packed, Thinning, lane_load, packing
from sparseloom.mapping.mapping import Mapping
from sparseloom.model.collapse import Words, dense_words
from sparseloom.model.computes import Computes, filter_computes
from sparseloom.model.conventions import Conventions
from sparseloom.model.dataflow import Dense, DenseTraffic
from sparseloom.model.elimination import Eliminations
from sparseloom.model.gather import ACTUAL, ALL, REACHING, UNSKIPPED, Moved
from sparseloom.model.looprank import LoopRank, NestLoop, assign, box, expected_units, points, points_empty
from sparseloom.model.microarch import Share
from sparseloom.model.path import Path, paths_of
from sparseloom.model.proportional import TINY, Proportions, arrived, in_blocks, moved, stages, take, unit_stages
from sparseloom.model.residual import Walked, as_walked, imperfect, walk
from sparseloom.model.sparse import Filter, Tiles, Traffic

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Tile:
    """A tensor's tile at a level: its points, the mean words of those that are sent, P(it is sent), and the units of
    its format's ranks, lowest first ([0, 2] without a format)."""

    points: int
    words: float
    sent: float
    units: FloatArray

    @property
    def density(self) -> float:
        return self.words / self.points


@dataclass(frozen=True)
class AverageInstance:
    """One mapping of a problem seen as Sparseloop does: an average instance of each level."""

    problem: Problem
    batch: MappingBatch
    mapping: Mapping
    counted: DenseTraffic
    conventions: Conventions
    details: TimeloopDetails
    spatial: Thinning
    work: Filter = field(repr=False)

    # ---- the nest

    @property
    def levels(self) -> int:
        return len(self.problem.design.architecture.levels)

    @cached_property
    def loops(self) -> tuple[NestLoop, ...]:
        """The complete nest, innermost first, loops of one iteration included."""
        number = {rank: d for d, rank in enumerate(self.problem.ranks)}
        found = []
        for depth, level in enumerate(self.mapping.levels):
            tiling = self.details.tiling[level.level]
            for loop in (*tiling.temporal, *tiling.spatial):
                found.append(NestLoop(number[loop.rank], loop.bound, depth, loop.axis))
        return tuple(found[::-1])

    @cached_property
    def walked(self) -> Walked | None:
        """What Timeloop's walk over the nest finds, if it has imperfect factors (convention ``three-visits``)."""
        rules = self.conventions
        if rules.imperfect == "exact" or rules.multicast == "joint" or not imperfect(self.problem, self.loops):
            return None
        return walk(self.problem, self.loops, self._tilings, same_stride=self.conventions.reuse == "same-stride")

    @property
    def _tilings(self) -> list[Tiling]:
        return [self.details.tiling[level.level] for level in self.mapping.levels]

    @cached_property
    def dense(self) -> DenseTraffic:
        if self.walked is None:
            return self.counted
        return as_walked(self.problem, self.loops, self.counted, self.walked)

    @cached_property
    def dimensions(self) -> list[int]:
        """Numbers of the ranks in the order in which Timeloop's problem lists its dimensions."""
        names = [name.upper() for name in self.details.dimensions]
        named = [self.problem.ranks.index(name) for name in names if name in self.problem.ranks]
        return [*named, *(d for d in range(len(self.problem.ranks)) if d not in named)]

    @cached_property
    def indexes(self) -> NDArray[np.bool_]:
        return np.asarray(self.problem.projections.any(axis=1))

    def kept_levels(self, t: int) -> list[int]:
        return [depth for depth in range(self.levels) if self.batch.keep[depth, t]]

    def child(self, depth: int, t: int) -> int:
        return next((k for k in range(depth + 1, self.levels) if self.batch.keep[k, t]), self.levels)

    def parent(self, depth: int, t: int) -> int | None:
        return next((k for k in range(depth - 1, -1, -1) if self.batch.keep[k, t]), None)

    def extents(self, depth: int) -> IntArray:
        """Coordinates of the largest tile, [D]."""
        return np.asarray(np.minimum(self.dense.tile[0, depth], self.problem.shape))

    def tile_points(self, depth: int, t: int) -> int:
        return points(self.problem.projections[t], self.extents(depth))

    def _tile_box(self, depth: int, t: int) -> tuple[int, ...]:
        return box(self.problem.projections[t], self.extents(depth))

    def box(self, t: int, extents: IntArray) -> list[int]:
        ranks = len(self.problem.rank_names(t))
        return [int(x) for x in self.problem.projections[t][:ranks] @ (extents - 1) + 1]

    def density(self, t: int) -> Density:
        return self.problem.densities[t]

    def empty_chance(self, t: int, extents: IntArray) -> float:
        """P(a tile of these coordinates is empty), over all its places where they matter. A tile may be drawn larger
        than its tensor: Timeloop counts its points all the same."""
        density, box = self.density(t), self.box(t, extents)
        if isinstance(density, (Uniform, FixedStructured)):
            return points_empty(density, math.prod(box))
        box = [min(a, b) for a, b in zip(box, density.tensor_shape, strict=True)]
        if not density.coordinate_dependent:
            return float(density.empty_probability([0] * len(box), box))
        occupancies, chances = density.occupancy_distribution(box)
        return float(chances[occupancies == 0].sum())

    # ---- formats and tiles

    def form(self, depth: int, t: int) -> FormatDetails | None:
        if not self.batch.keep[depth, t]:
            return None
        return self.details.formats.get(self.mapping.levels[depth].level, {}).get(self.problem.tensors[t])

    @cached_property
    def _ranks(self) -> dict[tuple[int, int], tuple[LoopRank, ...]]:
        found: dict[tuple[int, int], tuple[LoopRank, ...]] = {}
        for t in range(len(self.problem.tensors)):
            for depth in reversed(self.kept_levels(t)):
                form = self.form(depth, t)
                if form is not None:
                    found[depth, t] = self._assigned(form, depth, t, found)
        return found

    def _assigned(
        self, form: FormatDetails, depth: int, t: int, found: dict[tuple[int, int], tuple[LoopRank, ...]]
    ) -> tuple[LoopRank, ...]:
        child = self.child(depth, t)
        loops = [loop for loop in self.loops if depth <= loop.level < child and self.indexes[t, loop.rank]]
        inner = np.asarray(self.dense.tile[0, child])
        held = form.compressed and child < self.levels and self.tile_points(child, t) > 1
        level = self.problem.design.architecture.levels[depth]
        widths = (self.details.levels[level.name].metadata_word_bits, level.metadata_width_bits)
        where = f"{level.name}, {self.problem.tensors[t]}"
        projection = self.problem.projections[t]
        below = found.get((child, t), ()) if held else None
        return assign(form, loops, projection, inner, below, widths, self.problem.ranks, where)

    @cached_property
    def tiles(self) -> dict[tuple[int, int], Tile]:
        return {
            (depth, t): self._tile(depth, t) for t in range(len(self.problem.tensors)) for depth in self.kept_levels(t)
        }

    def _tile(self, depth: int, t: int) -> Tile:
        size = self.tile_points(depth, t)
        occupancy, chance = self.density(t).occupancy_distribution(self.box(t, self.extents(depth)))
        chance = chance / chance.sum()
        sent = 1.0
        parent = self.parent(depth, t)
        compressed_parent = parent is not None and self.form(parent, t) is not None
        # lanes that spatial skipping frees are gone under either convention, and empty tiles with them
        left_out = self.conventions.instances == "average" or any(
            at < depth for at, tensor in self.spatial if tensor == t
        )
        if compressed_parent and occupancy.min() == 0 and left_out:
            empty = float(chance[occupancy == 0].sum())
            sent = 1.0 - empty
            occupancy, chance = occupancy[occupancy > 0], chance[occupancy > 0]
            chance = chance / sent if sent > 0 else chance
        words = float(occupancy @ chance)
        units = np.zeros((0, 2))
        if (depth, t) in self._ranks:
            ceil = self.conventions.metadata == "loop-ranks-ceil"
            whole, counts = self._tile_box(depth, t), occupancy.astype(float)
            units = expected_units(self._ranks[depth, t], self.density(t), whole, counts, chance, ceil)
        return Tile(size, words, sent, units)

    @cached_property
    def eliminations(self) -> Eliminations:
        return Eliminations(self)

    @cached_property
    def packing(self) -> dict[tuple[int, int], Packed]:
        return packing(self.problem, self.batch, self.dense.tile)

    def _odds(self, depth: int, t: int) -> Proportions:
        """What becomes of a tensor's transfers at a level: by the nearest feature outside it, and by its own."""
        acting = self.eliminations.acting(t)
        outside = [(at, chance) for at, _, chance in acting if at < depth]
        at, before = outside[-1] if outside else (-1, 0.0)
        ranks = self._ranks.get((at, t), ())
        own = {kind: chance for level, kind, chance in acting if level == depth and kind != SPATIAL_SKIPPING}
        local = {kind: 1 - (1 - chance) / (1 - before) if before < 1 else 0.0 for kind, chance in own.items()}
        child = self.child(depth, t)
        below = self._ranks.get((child, t), self._ranks.get((depth, t), ()))
        lowest_only, as_updates = len(ranks) == 1 and bool(outside), bool(own and outside)
        return Proportions(
            before, local.get(SKIPPING, 0.0), local.get(GATING, 0.0), len(below), lowest_only, as_updates
        )

    def _judged(self, odds: Proportions, depth: int, t: int, action: str) -> Proportions:
        """``odds`` of an action if each of its transfers is judged by itself (convention ``joint``)."""
        at = self.parent(depth, t) if action == "fill" else depth
        if at is None or self.conventions.elimination == "target-loop":
            return odds
        traffic, output = self._traffic[at, t], t == len(self.problem.tensors) - 1
        if action == "fill":
            filled = output and self.conventions.first_visit == "read-and-fill"
            words = (traffic.delivered.less(traffic.first_delivered) if filled else traffic.delivered).words[0]
            return replace(odds, outside=_lost(words, ALL, ACTUAL))
        read = traffic.served.less(traffic.first_served) if output else traffic.served
        words = (read if action == "read" else traffic.raised).words[0]
        lost = _lost(words, ALL, REACHING), _lost(words, REACHING, UNSKIPPED), _lost(words, UNSKIPPED, ACTUAL)
        return replace(odds, outside=lost[0], skipped=lost[1], gated=lost[2])

    @cached_property
    def _paths(self) -> tuple[tuple[Path, ...], ...]:
        safs = self.problem.design.features.safs
        kinds = (GATING, SKIPPING, SPATIAL_SKIPPING)
        return paths_of(self.problem, self.batch.keep, [saf for saf in safs if saf.kind in kinds])

    @cached_property
    def _traffic(self) -> dict[tuple[int, int], Traffic]:
        """What moves from every level that keeps a tensor, each transfer judged by itself."""
        return {(path.edge.parent, path.tensor): self.work.traffic(path) for edges in self._paths for path in edges}

    @cached_property
    def exact_computes(self) -> Computes:
        """What becomes of the computes, each judged by itself."""
        features = self.problem.design.features
        packed = frozenset(t for _, t in self.packing)
        found = filter_computes(self.work, self._paths, features.compute_gating, features.compute_skipping, packed)
        load = lane_load(self.problem, self.batch, self.spatial, self.packing.values())
        return replace(found, busiest=found.busiest * load)

    def instances(self, depth: int, t: int) -> float:
        """Instances of a level that a tensor uses on average."""
        used = float(self.dense.instances[0, depth])
        if self.spatial:
            outside = [s for (at, tensor), s in self.spatial.items() if tensor == t and at < depth]
            return used * math.prod(float(s.used[0]) for s in outside)
        return used * (self.tiles[depth, t].sent if (depth, t) in self.tiles else 1.0)

    # ---- shares

    def widths(self, depth: int, t: int) -> FloatArray:
        """Bits of the units of each rank of a tensor's format at a level, outermost rank first, [ranks, 2]."""
        ranks = self._ranks.get((depth, t), ())[::-1]
        return np.array([(rank.metadata_bits, rank.payload_bits) for rank in ranks], np.float64).reshape(-1, 2)

    def share(self, depth: int, t: int) -> Share:
        """What a tensor does at a level that keeps it."""
        integer, tile, odds = self.conventions.integer, self.tiles[depth, t], self._odds(depth, t)
        level = self.problem.design.architecture.levels[depth]
        output = t == len(self.problem.tensors) - 1
        ranks = self._ranks.get((depth, t), ())
        used, dense = self.instances(depth, t), self._dense(depth, t)
        bits = self.widths(depth, t)[::-1]
        packed = (depth, t) in self.packing and self.child(depth, t) == self.levels
        waste = self._waste(depth, t, tile) if ranks and not packed else 1.0
        result: dict[str, Moved | None] = {"read": None, "fill": None, "update": None}
        for action, words in dense.items():
            stored = words - take(words, 1 - tile.density, integer) if ranks else words
            counted = dense.get("update", 0.0) if action == "read" and odds.as_updates else words
            units = tile.units * counted / tile.points
            units = np.ceil(units - TINY) if integer else units
            chances = self._judged(odds, depth, t, action)
            if action == "fill":
                staged = arrived(stored, chances, integer)
            else:
                staged = stages(stored, chances, integer, up=output and action == "read")
            staged_units = unit_stages(units, chances, integer, local=action != "fill")
            if self.conventions.blocks == "total":
                blocks = in_blocks(staged, level.block_words) * waste
            else:
                blocks = staged * self._blocks_a_word(depth, t, action, stored / words if words else 0.0)
            result[action] = moved(staged, blocks, staged_units, bits, level.metadata_width_bits, used)
        if packed:
            read, fill = result["read"], result["fill"]
            assert read is not None
            result["read"] = self._packed(depth, t, fill if self.parent(depth, t) is not None else None, read, used)
        worst = self._worst(depth, t, tile)
        tiles = Tiles(*(np.array([value]) for value in (float(tile.points), tile.words, *worst)))
        return Share(result["read"], result["fill"], result["update"], tiles, np.array([used]))

    @cached_property
    def words(self) -> dict[tuple[int, int], Words]:
        """Dense words of an average instance, by level and tensor."""
        if self.conventions.multicast == "per-level":
            return dense_words(self.problem, self.batch, self.loops, self._tilings, self.conventions, self.walked)
        return {
            (depth, t): Words(*(self._counted(self.dense.words, depth, t, action) for action in DATA_ACTIONS))
            for t in range(len(self.problem.tensors))
            for depth in self.kept_levels(t)
        }

    def _counted(self, dense: Dense, depth: int, t: int, action: str) -> float:
        """What an instance does on average."""
        output = t == len(self.problem.tensors) - 1
        first = {"read": dense.first_served, "fill": dense.first_delivered}.get(action)
        count = {"read": dense.served, "fill": dense.delivered, "update": dense.raised}[action][depth, t]
        if output and first is not None and (action == "read" or self.conventions.first_visit == "read-and-fill"):
            count -= first[depth, t]
        return float(count / self.dense.instances[0, depth])

    def _blocks_a_word(self, depth: int, t: int, action: str, stored: float) -> float:
        """Mean blocks of an access over its mean words, of which a share is ``stored``."""
        block, density = self.problem.design.architecture.levels[depth].block_words, self.density(t)
        accesses = self._counted(self.counted.accesses, depth, t, action)
        points = self._counted(self.counted.words, depth, t, action) / accesses if accesses else 0.0
        words = points * stored
        if block == 1 or words == 0:
            return 1.0
        apart = round(points) <= math.prod(density.tensor_shape)
        if stored < 1 and apart and isinstance(density, Exchangeable):
            return float(density.mean_parts(round(points), block)) / words
        return math.ceil(words / block - TINY) / words

    def _dense(self, depth: int, t: int) -> dict[str, float]:
        """Dense words of an average instance, by action; operands have no updates."""
        words = self.words[depth, t]
        if t == len(self.problem.tensors) - 1:
            return {"read": words.read, "fill": words.fill, "update": words.update}
        return {"read": words.read, "fill": words.fill}

    def _packed(self, depth: int, t: int, fill: Moved | None, read: Moved, used: float) -> Moved:
        """Reads of a position-skipping tensor: its stored words once for each pass of the other ones over their lanes, or over
        what the level's loops repeat it for."""
        packed_too = [packed for (_, other), packed in self.packing.items() if other != t]
        passes = math.prod(float(packed.passes[0]) for packed in packed_too)
        if not packed_too:
            operands = [o for o in range(len(self.problem.tensors) - 1) if o != t]
            repeats = np.asarray(self.indexes[operands].any(axis=0) & ~self.indexes[t])
            loops = [loop for loop in self.loops if loop.level == depth and loop.temporal and repeats[loop.rank]]
            passes = float(math.prod(loop.bound for loop in loops))
        stored = np.full(4, self.tiles[depth, t].words) if fill is None else fill.words[0] / used
        words = stored * passes
        blocks = in_blocks(words, self.problem.design.architecture.levels[depth].block_words)
        found = moved(words, blocks, np.zeros((0, 2, 4)), np.zeros((0, 2)), 0, used)
        return Moved.of(found.words, found.blocks, read.units, read.bits)

    def _waste(self, depth: int, t: int, tile: Tile) -> float:
        """What blocks of a compressed tile waste on average, where tiles are small (convention ``total``)."""
        from sparseloom.model.blocks import small_tile

        block = self.problem.design.architecture.levels[depth].block_words
        form = self.form(depth, t)
        if form is None or not form.compressed or block == 1 or not 0 < tile.density < 1:
            return 1.0
        if not small_tile(block, tile.density, tile.points):
            return 1.0
        occupancy, chance = self.density(t).occupancy_distribution(self.box(t, self.extents(depth)))
        return float(np.ceil(occupancy / block) @ chance / (tile.words / block))

    def _worst(self, depth: int, t: int, tile: Tile) -> tuple[float, float]:
        """Most words of a tile, and most metadata bits."""
        ranks = self._ranks.get((depth, t), ())
        if not ranks:
            return float(tile.points), 0.0
        box = self.box(t, self.extents(depth))
        density = self.density(t)
        most = density.occupancy_distribution(box)[0] if density.coordinate_dependent else None
        words = float(most.max() if most is not None else density.worst_occupancy([0] * len(box), box))
        ceil = self.conventions.metadata == "loop-ranks-ceil"
        units = expected_units(ranks, density, self._tile_box(depth, t), np.array([words]), np.ones(1), ceil)
        return words, math.ceil(float((units * self.widths(depth, t)[::-1]).sum()) - TINY)

    def streamed(self, depth: int, t: int) -> Share:
        """A tensor that passes through a level which does not keep it."""
        parent = self.parent(depth, t)
        assert parent is not None
        share = self.share(parent, t)
        count = float(self.dense.instances[0, depth])
        source = share.read if share.read is not None else share.update
        assert source is not None
        words = source.words[0] / count
        blocks = in_blocks(words, self.problem.design.architecture.levels[depth].block_words)
        read = moved(words, blocks, np.zeros((0, 2, 4)), np.zeros((0, 2)), 0, count)
        return Share(read, read, None, Tiles(*np.zeros((4, 1))), np.array([count]), streamed=True)


def _lost(words: FloatArray, before: int, after: int) -> float:
    """The share of words at one stage that does not come to a later one."""
    return float(1 - words[after] / words[before]) if words[before] else 0.0
