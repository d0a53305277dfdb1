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
from sparseloom.mapping.prefixes import Prefixes, Tree
from sparseloom.mapping.steps import first_step, next_step, packed
from sparseloom.model.path import Path
from sparseloom.model.prefix import Bits, Floor

FloatArray = NDArray[np.float64]


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
        table = tables[arriving]
        tiles, shape = self.tree.tiles(prefixes), self.floor.problem.shape
        around = _around(prefixes.rank, prefixes.bound, prefixes.place, tiles, shape, self.classes)
        return np.asarray(table[around, self.tree.grid(prefixes.stage).number(tiles)])

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
            inside = least.copy()
            for depth in range(1, len(self.floor.keep)):
                if self.tree.arrives(depth) == stage:
                    self._arrive(depth, stage, least)
            found[stage] = inside, least
        return found

    def covered(self, stage: int) -> tuple[list[Path], list[Path]]:
        """The edges that are counted in what lies inside of a stage, and the others."""
        known = self._least[stage] is not None
        among = [path for path in self.floor.used if known and self._shares(path) >= stage]
        return [*self.floor.held, *among], [path for path in self.floor.used if path not in among]

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
        begin, to, lanes = packed(self.tree.steps(stage))
        shape, strides = np.array(here.shape), there.strides
        least = np.full((len(self.replaced), here.size), np.inf)
        space = self.tree.space
        if spatial:
            most = np.array(space.most_lanes(depth))
            table = np.zeros((len(self.floor.keep[0]), prod(self._fanout(depth)) + 1))
            for path in self.floor.used:
                if self._shares(path) == stage:
                    table[path.tensor] += self._shared(path, depth)
            _spread(shape, begin, to, lanes, strides, most, self.floor.problem.projections, table, after, least)
            return least
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
        _lengthen(
            shape, begin, to, strides, here.points.T.copy(), there.points.T.copy(), space.problem.shape, space.imperfect,
            order, pinned, self.classes, self.replaced, self._replaces, wide, both, once, after, least,
        )  # fmt: skip
        return least


@kernel
def _around(
    rank: IntArray, bound: IntArray, place: IntArray, tiles: IntArray, shape: IntArray, classes: IntArray
) -> IntArray:
    """The class of the innermost temporal loop of each prefix; the first where its rank's bounds waste iterations."""
    found = np.zeros(len(rank), np.int64)
    for n in range(len(rank)):
        for i in range(rank.shape[1] - 1, -1, -1):
            if bound[n, i] > 1 and place[n, i] % 3 == 0:
                d = rank[n, i]
                made = tiles[d, n]
                for k in range(rank.shape[1]):
                    if rank[n, k] == d:
                        made *= bound[n, k]
                if made == shape[d]:
                    found[n] = classes[d]
                break
    return found


@kernel
def _spread(
    shape: IntArray, begin: IntArray, to: IntArray, lanes: IntArray, strides: IntArray, most: IntArray, projections: IntArray,
    table: FloatArray, after: FloatArray, least: FloatArray,
) -> None:  # fmt: skip
    """The least before spatial loops within ``most`` lanes along X and Y; ``table`` [T, lanes + 1] is what is paid by the number of
    lanes that share a word of each tensor."""
    ranks = len(shape)
    at, child = np.zeros(ranks, np.int64), np.zeros(ranks, np.int64)
    for g in range(least.shape[1]):
        first_step(shape, begin, g, at, child)
        while True:
            x, y, inner = 1, 1, 0
            for d in range(ranks):
                x *= lanes[child[d], 0]
                y *= lanes[child[d], 1]
                inner += to[child[d]] * strides[d]
            if x <= most[0] and y <= most[1]:
                paid = 0.0
                for t in range(len(table)):
                    # lanes over the ranks of a window share a word with those of another place in it
                    sharing = x * y
                    for row in projections[t]:
                        longest = 1
                        for d in range(ranks):
                            if row[d]:
                                longest = max(longest, lanes[child[d], 0] * lanes[child[d], 1])
                        sharing //= longest
                    paid += table[t, min(sharing, table.shape[1] - 1)]
                for c in range(len(least)):
                    least[c, g] = min(least[c, g], after[c, inner] + paid)
            if not next_step(begin, at, child):
                break


@kernel
def _lengthen(
    shape: IntArray, begin: IntArray, to: IntArray, strides: IntArray, here: IntArray, there: IntArray, sizes: IntArray,
    imperfect: bool, order: IntArray, pinned: BoolArray, classes: IntArray, replaced: BoolArray, replaces: BoolArray,
    wide: FloatArray, both: FloatArray, once: FloatArray, after: FloatArray, least: FloatArray,
) -> None:  # fmt: skip
    """The least before temporal loops, which pay for what the innermost of them replaces: by ``wide`` what is moved to each tile
    after them, by ``both`` to each tile before them, at least ``once`` anyway.

    With imperfect bounds a loop may make two iterations or less where those around it are at their last, and then replaces
    nothing for some; so much of the computes is taken as if it did not.
    """
    ranks, tensors = len(shape), len(wide)
    at, child = np.zeros(ranks, np.int64), np.zeros(ranks, np.int64)
    sure, moved = np.zeros(ranks), np.zeros(tensors)
    last = np.zeros(len(replaced))
    for g in range(least.shape[1]):
        first_step(shape, begin, g, at, child)
        while True:
            inner = 0
            for d in range(ranks):
                inner += to[child[d]] * strides[d]
            if after[0, inner] < np.inf:
                any_loop = False
                for d in range(ranks):
                    sure[d] = 0.0
                    tile, whole = there[inner, d], here[g, d]
                    if tile < whole:
                        any_loop = True
                        sure[d] = 1.0
                        if imperfect and (whole % tile or sizes[d] % whole):
                            sure[d] = max(1e-12, 1.0 - 2.0 * tile / sizes[d])
                for t in range(tensors):
                    moved[t] = 0.0
                    for d in range(ranks):
                        if replaces[d, t]:
                            moved[t] = max(moved[t], sure[d])
                # the classes that the innermost loop may have
                last[:] = 0.0
                free = True
                for i in range(len(order) - 1, -1, -1):
                    d = order[i]
                    if sure[d] > 0 and free:
                        last[classes[d]] = max(last[classes[d]], sure[d])
                        if pinned[i]:
                            free = False
                for before in range(len(least)):
                    if not any_loop:
                        total = after[before, inner]
                        for t in range(tensors):
                            total += wide[t, inner] if replaced[before, t] else once[1, t]
                        least[before, g] = min(least[before, g], total)
                        continue
                    for c in range(len(least)):
                        if last[c] > 0:
                            share = last[c]
                            total = share * after[c, inner] + (1 - share) * after[0, inner]
                            for t in range(tensors):
                                if replaced[c, t]:
                                    total += share * wide[t, inner] + (1 - share) * once[0, t]
                                elif replaced[before, t]:
                                    total += both[t, g]
                                else:
                                    total += moved[t] * both[t, g] + (1 - moved[t]) * once[1, t]
                            least[before, g] = min(least[before, g], total)
            if not next_step(begin, at, child):
                break
