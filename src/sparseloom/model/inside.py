"""What lies inside a tile costs at least, whatever loops stand around it.

The edges of a mapping compete: for the room of a level, for its lanes, and for the place of the innermost loop, which decides whose
tile stays. So the tiles are followed from the innermost stage outwards, and for each is kept the least that all edges inside of it
cost together, at best choice of what follows. Two things are kept apart: the tile, and the tensors whose tile the innermost
temporal loop around it replaces at every iteration. A word of such a tensor serves the computes of one tile, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import POSITION_SKIPPING
from sparseloom.kernel import kernel
from sparseloom.mapping.batch import BoolArray, IntArray
from sparseloom.mapping.choices import Choices
from sparseloom.mapping.prefixes import Prefixes, Tree
from sparseloom.mapping.steps import first_step, next_step, packed, sure_of
from sparseloom.model.loops import Loops, after_loops, least_before
from sparseloom.model.path import Path
from sparseloom.model.prefix import Bits, Floor

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Around:
    """The innermost temporal loop around each of some tiles: its class ``kind`` [N], and for which share of the computes it is
    ``sure`` [N] to replace tiles at every iteration."""

    kind: IntArray
    sure: FloatArray

    def __getitem__(self, some: IntArray) -> Around:
        return Around(self.kind[some], self.sure[some])


@dataclass(frozen=True, eq=False)
class Inside:
    """The least energy of the edges into levels further in, by tile: for mappings that keep tensors as ``floor`` says."""

    floor: Floor

    @property
    def tree(self) -> Tree:
        return self.floor.tree

    @cached_property
    def replaced(self) -> BoolArray:
        """By class of rank [C, T]: the tensors that a loop over such a rank gives another tile at every iteration. The first class
        are loops that replace none: ranks of a sliding window are among them, since words of a window may stay."""
        rows = {(False,) * len(self.floor.keep[0]): 0} | {tuple(row): 0 for row in self._replaces.tolist()}
        return np.array(list(rows))

    @cached_property
    def _replaces(self) -> BoolArray:
        """By rank, [D, T]."""
        problem = self.floor.problem
        moved = np.zeros((len(problem.ranks), len(problem.tensors)), np.bool_)
        for t in range(len(problem.tensors)):
            for row in problem.projection(t) > 0:
                along = np.flatnonzero(row & (problem.shape > 1))
                if len(along) == 1:
                    moved[along[0], t] = True
        return moved

    @cached_property
    def classes(self) -> IntArray:
        """The class of each rank, [D]."""
        known = [tuple(row) for row in self.replaced.tolist()]
        return np.array([known.index(tuple(row)) for row in self._replaces.tolist()])

    def energy_pj(self, prefixes: Prefixes, arriving: bool) -> FloatArray:
        """What edges into levels further in cost at least, [N]; those into levels that got the last of their outer loops by now are
        among them if ``arriving``."""
        tables = self._least[prefixes.stage]
        if tables is None:
            return np.zeros(len(prefixes))
        return self._mixed(tables[arriving], self.around(prefixes), self.tree.choices(prefixes).number)

    def around(self, prefixes: Prefixes) -> Around:
        """The innermost temporal loop of each prefix."""
        shape = self.floor.problem.shape
        rank, level, tile, whole = _innermost(
            prefixes.rank, prefixes.bound, prefixes.place, self.tree.tiles(prefixes), shape
        )
        sure = sure_of(whole, tile, shape[rank], self.tree.spread[level, rank])
        return Around(np.where(rank < 0, 0, self.classes[rank]), np.where(rank < 0, 1.0, sure))

    def _mixed(self, table: FloatArray, around: Around, number: IntArray) -> FloatArray:
        """What some tiles cost at least, by a ``table`` [C, size], inside of loops ``around``."""
        none, own = table[0, number], table[around.kind, number]
        # infinite where nothing fits, whatever is around
        fits = none < np.inf
        return np.where(fits, none + around.sure * (np.where(fits, own, 0.0) - np.where(fits, none, 0.0)), np.inf)

    def after_pj(self, around: Around, before: IntArray, choices: Choices, arriving: bool) -> FloatArray | None:
        """As :meth:`energy_pj`, for prefixes that leave tiles number ``before`` [N] a stage before that of the ``choices`` [N] with
        which they go on, in the best order; None where nothing is known."""
        tables, stage = self._least[choices.stage], choices.stage - 1
        if tables is None:
            return None
        table, number = tables[arriving], choices.number
        if self.tree.stages[stage][1]:
            return self._mixed(table, around, number)
        found = np.empty(len(number))
        after_loops(
            self._loops(stage), before, number, choices.turned, choices.sure, around.kind, around.sure, table, found
        )
        return found

    @cached_property
    def _least(self) -> list[tuple[FloatArray, FloatArray] | None]:
        """By stage: the least energy [C, size] by class of the innermost temporal loop around, and tile; without what arrives at
        levels there, and with it."""
        stages = self.tree.stages
        last = len(stages)
        found: list[tuple[FloatArray, FloatArray] | None] = [None] * (last + 1)
        least: FloatArray = np.zeros((len(self.replaced), self.tree.grid(last).size))
        for stage in range(last, -1, -1):
            if stage < last:
                if self._unknown or not self.tree.followed(stage):
                    break
                least = self._before(stage, least)
            inside, arriving = least, [d for d in range(1, len(self.floor.keep)) if self.tree.arrives(d) == stage]
            if arriving:
                least = least.copy()
            for depth in arriving:
                self._arrive(depth, stage, least)
            found[stage] = inside, least
        return found

    def missing(self, around: Around, stage: int) -> list[tuple[FloatArray | float, float]]:
        """By edge into a level, whether what it moves to each receiver by itself, and to groups of them at once, is not counted in
        what lies inside of a stage, since it was paid at the loops before: 1 or 0."""
        found = list[tuple[FloatArray | float, float]]()
        for path in self.floor.held:
            here = self._paid_alone(path)
            # to each receiver what is replaced is paid where it arrives
            alone = np.where(self.replaced[around.kind, path.tensor] & (here >= 0), 0.0, 1.0) if here < stage else 0.0
            found.append((alone, 1.0 if self._paid_together(path) < stage else 0.0))
        return found

    def apart(self, stage: int) -> list[Path]:
        """The edges into compute that are not counted in what lies inside of a stage."""
        known = self._least[stage] is not None
        return [path for path in self.floor.used if not (known and self._shares(path) >= stage)]

    def _shares(self, path: Path) -> int:
        """The stage whose lanes share what an edge brings to compute, the one with most; -1 if there is none."""
        stages = [
            (prod(self._fanout(level)), k)
            for k, (level, spatial) in enumerate(self.tree.stages)
            if spatial and level >= path.edge.parent
        ]
        return max(stages, default=(0, -1))[1]

    def _fanout(self, depth: int) -> tuple[int, int]:
        return self.floor.problem.design.architecture.fanout(depth)

    def _shared(self, path: Path, depth: int) -> FloatArray:
        """Energy of an edge to compute by the number of lanes of a level that share a word, from 0 on."""
        here = prod(self._fanout(depth))
        others = prod(prod(self._fanout(level)) for level in range(path.edge.parent, len(self.floor.keep))) // here
        uses = np.maximum(np.arange(here + 1.0), 1.0)
        if self.floor.fills_lanes(path.edge.parent, path.edge.child):
            uses[:] = np.inf
        parent = path.edge.parent
        bits = {parent: self.floor.metadata.bits(path.tensor, parent, path.edge.child)}
        return self.floor.wide(path, uses * others, bits) + self.floor.narrow(path, np.ones(here + 1), bits)

    def _bits(self, path: Path, stage: int) -> Bits:
        """The least bits of metadata of a word of an edge by tile; where no tile fits, nothing is looked up."""
        return {depth: np.where(each < np.inf, each, 0.0) for depth, each in self.floor.bits(path, stage).items()}

    def _fewest(self, path: Path, stage: int) -> Bits:
        """The least of all tiles, [1]."""
        found = {depth: each.min(keepdims=True) for depth, each in self.floor.bits(path, stage).items()}
        return {depth: np.where(each < np.inf, each, 0.0) for depth, each in found.items()}

    @property
    def _unknown(self) -> bool:
        """Whether tiles do not say what goes on inside, as lanes are filled with what is packed."""
        return any(saf.kind == POSITION_SKIPPING for saf in self.floor.problem.design.features.safs)

    def _last_loops(self, depth: int) -> int:
        """The stage of the innermost temporal loops outside a level; -1 if there are none."""
        outer = [k for k, (level, spatial) in enumerate(self.tree.stages) if not spatial and level < depth]
        return outer[-1] if outer else -1

    def _paid_alone(self, path: Path) -> int:
        """The stage at which what an edge moves to each receiver is decided."""
        return self._last_loops(path.edge.child)

    def _paid_together(self, path: Path) -> int:
        """The stage at which what an edge moves to groups is counted, by what is inside of it: of all that might be, the one around
        most lanes."""
        between = range(path.edge.parent, path.edge.child)
        spread = [level for level in between if prod(self._fanout(level)) > 1]
        return self._last_loops(
            1 + max(spread, key=lambda level: prod(self._fanout(level))) if spread else path.edge.child
        )

    def _arrive(self, depth: int, stage: int, least: FloatArray) -> None:
        """Add what is brought to a level to ``least``, where its tiles fit; those of replaced tensors."""
        points = self.tree.grid(stage).points
        for path in self.floor.held:
            if path.edge.child == depth and self._paid_alone(path) >= 0:
                cost = self.floor.narrow(path, self.floor.uses(path.tensor, points), self._bits(path, stage))
                least[self.replaced[:, path.tensor]] += cost
        keep = self.floor.keep
        if keep[depth].any():
            least[:, ~self.floor.fits(depth)] = np.inf

    def _before(self, stage: int, after: FloatArray) -> FloatArray:
        """The least before a stage from the least after it."""
        depth, spatial = self.tree.stages[stage]
        here, there = self.tree.grid(stage), self.tree.grid(stage + 1)
        steps = self.tree.steps(stage)
        if not spatial:
            return least_before(self._loops(stage), steps, after)
        begin, to, lanes = packed(steps)
        some = [path for path in self.floor.used if self._shares(path) == stage]
        table = np.zeros((len(some), prod(self._fanout(depth)) + 1))
        for own, path in zip(table, some, strict=True):
            own += self._shared(path, depth)
        least = np.full((here.size, len(self.replaced)), np.inf)
        sharing, fanout = np.concatenate([each.most for each in steps]), np.array(self.tree.space.most_lanes(depth))
        projections = self.floor.problem.projections[[path.tensor for path in some]]
        _spread(
            np.array(here.shape), begin, to, lanes, sharing, there.strides, fanout, projections, table,
            np.ascontiguousarray(after.T), least,
        )  # fmt: skip
        return np.ascontiguousarray(least.T)

    def _loops(self, stage: int) -> Loops:
        """What temporal loops of a stage pay for, and the order in which they may stand."""
        known = self._known_loops.get(stage)
        if known is None:
            known = self._known_loops[stage] = self._find_loops(stage)
        return known

    @cached_property
    def _known_loops(self) -> dict[int, Loops]:
        return {}

    def _find_loops(self, stage: int) -> Loops:
        depth, _ = self.tree.stages[stage]
        here, there, space = self.tree.grid(stage), self.tree.grid(stage + 1), self.tree.space
        tensors = range(len(self.floor.keep[0]))
        wide, both = np.zeros((len(tensors), there.size)), np.zeros((len(tensors), here.size))
        once = np.zeros((2, len(tensors)))
        for path in self.floor.held:
            t, outer = path.tensor, self.floor.outer_lanes(path, depth)
            uses, ever = self.floor.uses(t, here.points), np.full(1, np.inf)
            if stage == self._paid_together(path):
                wide[t] += self.floor.wide(path, self.floor.uses(t, there.points) * outer, self._bits(path, stage + 1))
                both[t] += self.floor.wide(path, uses * outer, self._bits(path, stage))
                once[:, t] += self.floor.wide(path, ever, self._fewest(path, stage))
            if stage == self._paid_alone(path):
                both[t] += self.floor.narrow(path, uses, self._bits(path, stage))
                once[1, t] += self.floor.narrow(path, ever, self._fewest(path, stage))[0]
        order = np.array(space.looped[depth, False])
        pinned = np.array([d not in space.free[depth, False] for d in order])
        return Loops(
            np.array(here.shape), np.array(there.shape), order, pinned, self.classes, self.replaced, self._replaces, wide, both,
            once,
        )  # fmt: skip


@kernel
def _innermost(rank: IntArray, bound: IntArray, place: IntArray, tiles: IntArray, shape: IntArray) -> IntArray:
    """The innermost temporal loop of each prefix: its rank, -1 if there is none, its level, and the coordinates of the rank that
    one iteration and all of them go through, [4, N]."""
    found = np.ones((4, len(rank)), np.int64)
    for n in range(len(rank)):
        found[0, n], found[1, n] = -1, 0
        for i in range(rank.shape[1] - 1, -1, -1):
            d = rank[n, i]
            if bound[n, i] > 1 and place[n, i] % 3 == 0:
                tile = tiles[d, n]
                for k in range(i + 1, rank.shape[1]):
                    if rank[n, k] == d:
                        tile *= bound[n, k]
                found[0, n], found[1, n] = d, place[n, i] // 3
                found[2, n], found[3, n] = tile, min(tile * bound[n, i], shape[d])
                break
    return found


@kernel
def _spread(
    shape: IntArray, begin: IntArray, to: IntArray, lanes: IntArray, most: IntArray, strides: IntArray, fanout: IntArray,
    projections: IntArray, table: FloatArray, after: FloatArray, least: FloatArray,
) -> None:  # fmt: skip
    """The least [G, C] before spatial loops within a ``fanout`` of lanes along X and Y, from that ``after`` them [H, C]; ``table``
    [P, lanes + 1] is what is paid for an edge by the number of lanes that share a word of its tensor, by ``projections`` [P], the
    ``most`` [N] of steps that are one here."""
    last = len(shape) - 1
    at, child, made = np.zeros(last + 1, np.int64), np.zeros(last + 1, np.int64), np.ones((last + 2, 3), np.int64)
    for g in range(len(least)):
        first_step(shape, begin, g, at, child, made)
        while next_step(begin, at, child, to, lanes, strides, fanout, made):
            paid = 0.0
            for p in range(len(table)):
                # lanes over the ranks of a window share a word with those of another place in it
                sharing = 1
                for d in range(last + 1):
                    sharing *= most[child[d]]
                for row in projections[p]:
                    longest = 1
                    for d in range(last + 1):
                        if row[d]:
                            longest = max(longest, most[child[d]])
                    sharing //= longest
                paid += table[p, min(sharing, table.shape[1] - 1)]
            for c in range(least.shape[1]):
                least[g, c] = min(least[g, c], after[made[last + 1, 2], c] + paid)
            child[last] += 1
