"""Where the computes of known tensors take place when lanes that would be idle take other work.

The closed form knows the mean of what packed lanes do; with known tensors every compute has its lane. The meaning is
docs/oracle.md, section 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import POSITION_SKIPPING, SKIPPING, SPATIAL_SKIPPING
from sparseloom.mapping.batch import BoolArray, IntArray, Problem, corner_of
from sparseloom.model.computes import Computes, classified, compute_rows, drops_zeros, nonzero_chance, unskipped_chance
from sparseloom.model.gather import Moved
from sparseloom.model.nests import BOUND, KIND, LEVEL, RANK, STEP
from sparseloom.model.path import Judge, Path
from sparseloom.model.source import Rows
from sparseloom.model.sparse import Filter
from sparseloom.model.waiting import longest

FloatArray = NDArray[np.float64]


def is_walked(problem: Problem) -> bool:
    """Whether a design packs lanes and the tensors are known, so that the lane of every compute is."""
    kinds = {saf.kind for saf in problem.design.features.safs}
    densities = [problem.workload.density(name) for name in problem.tensors]
    known = all(density.certain for density in densities) and any(density.coordinate_dependent for density in densities)
    return known and bool(kinds & {SPATIAL_SKIPPING, POSITION_SKIPPING})


def thinned(problem: Problem) -> tuple[int, ...]:
    """The levels with spatial skipping."""
    safs = problem.design.features.safs
    return tuple({problem.design.architecture.index(saf.level) for saf in safs if saf.kind == SPATIAL_SKIPPING})


@dataclass(frozen=True)
class _Packing:
    """A position-skipped tensor at a level: the spatial ``loops`` that make its lanes; of every compute whether its word has
    a lane (``there``), and the number of the word among the nonzeros of its tile."""

    loops: tuple[int, ...]
    lanes: int
    there: BoolArray
    number: IntArray

    @property
    def turn(self) -> IntArray:
        return self.number // self.lanes


@dataclass(frozen=True)
class LaneWalk:
    """Every compute of one mapping with loops ``nest`` [6, n], N of them, with the physical lanes that it takes. ``paths`` are
    those of all tensors."""

    work: Filter
    nest: IntArray
    paths: tuple[tuple[Path, ...], ...]

    @cached_property
    def _judged_rows(self) -> tuple[tuple[Path, ...], Rows]:
        return compute_rows(self.work, self.paths, everywhere=True)

    @property
    def rows(self) -> Rows:
        return self._judged_rows[1]

    @cached_property
    def digits(self) -> IntArray:
        """The digit of every loop at every compute, [n, N]."""
        point = self.rows.box[0][self.nest[RANK]]
        return np.asarray(point // self.nest[STEP][:, None] % self.nest[BOUND][:, None])

    def _code(self, loops: BoolArray, digits: IntArray | None = None) -> IntArray:
        """The digits of some loops as one number, [N]."""
        digits = self.digits if digits is None else digits
        code = np.zeros(self.digits.shape[1], np.int64)
        for i in np.flatnonzero(loops):
            code = code * self.nest[BOUND, i] + digits[i]
        return code

    # ---- what becomes of the words of each compute

    def _all_pass(self, judges: Sequence[tuple[int, Judge]]) -> BoolArray:
        """Whether no leader tile of some judges is empty."""
        chances = np.ones(self.rows.groups.size)
        for chance in self.work.joint(self.rows, judges):
            chances = chances * chance
        return np.asarray(chances > 0.5)

    def _judges(self, t: int) -> list[tuple[int, Path, Judge]]:
        judged = self._judged_rows[0]
        return [(k, path, judge) for k, path in enumerate(judged) if path.tensor == t for judge in path.judges]

    @cached_property
    def _outcomes(self) -> FloatArray:
        """Whether each compute is actual, gated, skipped, absent, [4, N]."""
        features, (judged, rows) = self.work.problem.design.features, self._judged_rows
        packed = frozenset(t for _, t in self.packings)
        return classified(
            self.work, rows, judged, self.paths, features.compute_gating, features.compute_skipping, packed
        )

    @cached_property
    def _needed(self) -> BoolArray:
        """Whether a compute takes a cycle, or some tensor has a word there that was not skipped."""
        judged, rows = self._judged_rows
        found = np.asarray(self._outcomes[:2].sum(axis=0) > 0.5)
        for t in range(len(self.paths)):
            some = unskipped_chance(self.work, rows, judged, [t]) > 0.5
            if drops_zeros(self.work, self.paths[t]) or any(t == packed for _, packed in self.packings):
                some &= nonzero_chance(self.work, rows, t) > 0.5
            found |= some
        return found

    # ---- position skipping

    @cached_property
    def packings(self) -> dict[tuple[int, int], _Packing]:
        """By level and tensor; a loop that indexes several of a level's tensors belongs to the first."""
        problem, taken = self.work.problem, np.zeros(self.nest.shape[1], np.bool_)
        found: dict[tuple[int, int], _Packing] = {}
        for saf in problem.design.features.safs:
            if saf.kind == POSITION_SKIPPING:
                level, t = problem.design.architecture.index(saf.level), problem.tensors.index(saf.target)
                if (level, t) not in found:
                    found[level, t] = self._packing(level, t, taken)
                    taken[list(found[level, t].loops)] = True
        return found

    def _packing(self, level: int, t: int, taken: BoolArray) -> _Packing:
        indexed = self.work.problem.projections[t].any(axis=0)[self.nest[RANK]]
        loops = np.flatnonzero((self.nest[LEVEL] == level) & (self.nest[KIND] > 0) & indexed & ~taken)
        lanes = int(np.prod(self.nest[BOUND, loops]))
        there = nonzero_chance(self.work, self.rows, t) > 0.5
        tile, word = self._code(self.nest[LEVEL] < level), self._word(t)
        _, _, number = _numbered(tile, np.where(there, word, -1), there)
        return _Packing(tuple(loops.tolist()), lanes, there, number)

    def _word(self, t: int) -> IntArray:
        """The word of a tensor that each compute uses, numbered in the order of coordinates."""
        at = corner_of(self.work.problem.projection(t), self.rows.box[0])
        return np.asarray(np.ravel_multi_index(tuple(at), self.work.problem.densities[t].tensor_shape))

    def reads(self, path: Path) -> bool:
        """Whether an edge is that of a tensor from the level that packs it to compute."""
        return (path.edge.parent, path.tensor) in self.packings and not path.edge.hold

    def read(self, path: Path) -> Moved:
        """What a packed tensor moves to compute: each nonzero once for all computes in one pass of the others."""
        level, t = path.edge.parent, path.tensor
        mine = self.packings[level, t]
        others = [(o, p) for (at, o), p in self.packings.items() if at == level and o != t]
        ranks = np.asarray(self.work.problem.projections[[t, *(o for o, _ in others)]].any(axis=(0, 1)))
        beside = (self.nest[KIND] == 0) & (self.nest[LEVEL] >= level) & ~ranks[self.nest[RANK]]
        around = np.stack([self._code((self.nest[LEVEL] < level) | beside), *(p.turn for _, p in others)])
        met = np.asarray(np.array([np.ones_like(mine.there), *(p.there for _, p in others)]).all(axis=0))
        stages = self._stages(path)
        word = self._word(t) if path.edge.merge else np.arange(met.size)
        at = met & mine.there
        _, first, read = np.unique(
            np.stack([*around, mine.turn, word])[:, at], axis=1, return_index=True, return_inverse=True
        )
        reads = _any(stages[:, at], read)
        _, access = np.unique(np.stack([*around, mine.turn])[:, at][:, first], axis=1, return_inverse=True)
        together = np.bincount(access.ravel())[access.ravel()]
        block_words = self.work.problem.design.architecture.levels[level].block_words
        words, blocks = reads.sum(axis=1), reads @ (np.ceil(together / block_words) / together)
        return Moved.of(
            words[None], blocks[None], *self._scans(path, stages[:, met], around[:, met], np.flatnonzero(met))
        )

    def _scans(
        self, path: Path, stages: FloatArray, around: IntArray, computes: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Units [1, ranks, 2, 4] and bits [1, 4]: the metadata of a tile, once for each pass of the others."""
        level, t = path.edge.parent, path.tensor
        form = self.work.problem.format_of(level, t)
        if form is None:
            return np.zeros((1, 0, 2, 4)), np.zeros((1, 4))
        _, first, scan = np.unique(around, axis=1, return_index=True, return_inverse=True)
        scans = _any(stages, scan)
        if path.leads:
            scans[2:] = scans[1]  # what leads is read whatever becomes of it
        low, high = self._tile(level, t, computes[first])
        units = form.expected_units(
            self.work.problem.densities[t], self.work.problem.rank_names(t), list(low), list(high)
        )
        moved = np.einsum("srp,ns->rpn", units.reshape(first.size, len(form.ranks), 2), scans)
        bits = (moved * self.work.widths(t, level, form)[0][..., None]).sum(axis=(0, 1))
        return moved[None], bits[None]

    def _tile(self, level: int, t: int, computes: IntArray) -> tuple[IntArray, IntArray]:
        """The boxes of the tiles in which some computes lie."""
        outside = np.flatnonzero(self.nest[LEVEL] < level)
        low = np.zeros((self.work.problem.shape.size, computes.size), np.int64)
        np.add.at(
            low, self.nest[RANK, outside], self.digits[np.ix_(outside, computes)] * self.nest[STEP, outside, None]
        )
        span = np.ones(self.work.problem.shape.size, np.int64)
        inside = self.nest[:, self.nest[LEVEL] >= level]
        np.multiply.at(span, inside[RANK], inside[BOUND])
        return self.work.tile_of(t, (low, np.minimum(low + span[:, None], self.work.problem.shape[:, None])))

    def _stages(self, path: Path) -> FloatArray:
        """Whether the word of each compute is among all, reaching, unskipped, actual ones on an edge to compute, [4, N]."""
        judges = self._judges(path.tensor)
        outer = [(k, judge) for k, part, judge in judges if part.edge.parent != path.edge.parent]
        skips = [
            (k, judge) for k, part, judge in judges if part.edge.parent == path.edge.parent and judge.kind == SKIPPING
        ]
        every = [(k, judge) for k, _, judge in judges]
        passed = [self._all_pass(some) for some in (outer, outer + skips, every)]
        return np.array([np.ones(self.rows.groups.size), *passed], np.float64)

    # ---- places

    @cached_property
    def _places(self) -> tuple[IntArray, BoolArray, IntArray]:
        """The physical digit of every spatial loop [n, N], whether a loop gives a compute a place [n, N], and the most lanes of
        each loop that are needed at once [n]."""
        digits, there, widths = self.digits.copy(), np.ones(self.digits.shape, np.bool_), self.nest[BOUND].copy()
        for level in thinned(self.work.problem):
            for i in np.flatnonzero((self.nest[LEVEL] == level) & (self.nest[KIND] > 0)).tolist():
                around = self._code(np.arange(self.nest.shape[1]) < i)
                known, size, number = _numbered(around, self.digits[i], self._needed)
                digits[i], there[i], widths[i] = number, known, max(1, size)
        for packing in self.packings.values():
            rest = packing.number % packing.lanes
            for i in reversed(packing.loops):
                rest, digits[i] = np.divmod(rest, self.nest[BOUND, i])
        return digits, there, widths

    def _in_level(self, level: int) -> tuple[IntArray, BoolArray]:
        """The physical instance of a level in which each compute lies, and whether it has one."""
        digits, there, _ = self._places
        spatial = (self.nest[KIND] > 0) & (self.nest[LEVEL] < level)
        some = there[spatial].all(axis=0)
        for (at, _), packing in self.packings.items():
            if at < level:
                some = some & packing.there
        return self._code(spatial, digits), some

    @cached_property
    def instances(self) -> FloatArray:
        """Physical instances in use of each level and of compute, [1, S + 1]; one at least."""
        found = []
        for level in range(len(self.work.problem.design.architecture.levels) + 1):
            place, there = self._in_level(level)
            found.append(max(1, np.unique(place[there]).size))
        return np.array([found], np.float64)

    @cached_property
    def lane_shares(self) -> FloatArray:
        """The share of each level's logical lanes along X and Y that are needed at once, [S, 2, 1]."""
        shares = np.ones((len(self.work.problem.design.architecture.levels), 2, 1))
        for i in np.flatnonzero(self.nest[KIND] > 0):
            shares[self.nest[LEVEL, i], self.nest[KIND, i] - 1] *= self._places[2][i] / self.nest[BOUND, i]
        return shares

    @cached_property
    def computes(self) -> Computes:
        """What becomes of the computes; ``busiest``: those of the physical instance that has most, of each tile of a
        barrier."""
        architecture = self.work.problem.design.architecture
        totals, busy = self._outcomes.sum(axis=1, keepdims=True), self._outcomes[:2].sum(axis=0)
        place, _ = self._in_level(len(architecture.levels))
        step = self._code((self.nest[KIND] == 0) & (self.nest[LEVEL] < architecture.barrier))
        return Computes(totals[0], totals[1], totals[2], totals[3], np.array([longest(busy, place, step)]))


def _numbered(around: IntArray, inner: IntArray, some: BoolArray) -> tuple[BoolArray, int, IntArray]:
    """Number the distinct ``inner`` values of ``some`` within each value of ``around``, in ascending order.

    Returns for all of them whether their value has a number, the most numbers that one value of ``around`` has, and the numbers.
    """
    stride = int(inner.max(initial=0)) + 2
    key = around * stride + inner + 1
    known = np.unique(key[some])
    outer = known // stride
    number = np.arange(known.size) - np.searchsorted(outer, outer)
    at = np.minimum(np.searchsorted(known, key), max(0, known.size - 1))
    if not known.size:
        return np.zeros(key.size, np.bool_), 0, np.zeros(key.size, np.int64)
    return known[at] == key, int(number.max()) + 1, number[at]


def _any(stages: FloatArray, group: IntArray) -> FloatArray:
    """The stages [4, N] that some member of each group reaches."""
    found = np.zeros((int(group.max(initial=-1)) + 1, 4))
    np.maximum.at(found, group.ravel(), stages.T)
    return found.T
