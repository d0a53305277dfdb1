"""What the outer loops of a mapping cost, whatever stands further in.

The transfers of an edge follow from the loops outside its child and from the child's tiles. So of mappings that are built from
the outermost level inwards, the cost of every edge is known as soon as the loops outside its child are; and what the other edges
will cost at least follows from the computes that have to be made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import GATING, POSITION_SKIPPING, SKIPPING, SPATIAL_SKIPPING
from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch, Problem, of_problem
from sparseloom.mapping.prefixes import Tree
from sparseloom.model.activity import brought, taken
from sparseloom.model.classes import ClassSource
from sparseloom.model.events import Events
from sparseloom.model.gather import ACTUAL, REACHING, Moved
from sparseloom.model.metadata import Metadata
from sparseloom.model.microarch import Prices, energy_of, port_words, prices_of
from sparseloom.model.nests import lay_out
from sparseloom.model.path import Path, paths_of
from sparseloom.model.room import data_held
from sparseloom.model.sparse import Filter, Traffic

FloatArray = NDArray[np.float64]

READ, WRITE = range(2)

Bits = Table[int, FloatArray]
"""Bits of metadata of a word, [N], in the form of a level."""


@dataclass(frozen=True)
class Cost:
    """Energy in pJ [N], and words that go through the read and the write ports of every level, [N, S, 2]."""

    energy_pj: FloatArray
    port_words: FloatArray

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.energy_pj + other.energy_pj, self.port_words + other.port_words)

    def __getitem__(self, some: IntArray | BoolArray | slice) -> Cost:
        return Cost(self.energy_pj[some], self.port_words[some])

    @classmethod
    def nothing(cls, count: int, levels: int) -> Cost:
        return cls(np.zeros(count), np.zeros((count, levels, 2)))


def into(problem: Problem, prefixes: MappingBatch, depth: int) -> Cost:
    """The cost of all transfers into level ``depth``, for mappings whose loops outside that level are those of ``prefixes``.

    What is inside stands as loops of the level, in any order: only their products matter.
    """
    paths = [path for edges in _paths(problem, prefixes.keep.tobytes()) for path in edges if path.edge.child == depth]
    cost = Cost.nothing(len(prefixes), len(prefixes.keep))
    if not paths:
        return cost
    nests = lay_out(problem, prefixes)
    source = ClassSource.of(problem, nests)
    cost = _of_paths(Filter(problem, source), paths, len(prefixes))
    for b in source.irregular:
        events = Events(nests.loops[b, :, : nests.count[b]], problem.shape)
        one = _of_paths(Filter(problem, events), paths, 1)
        cost.energy_pj[b], cost.port_words[b] = one.energy_pj[0], one.port_words[0]
    return cost


@of_problem
def _paths(problem: Problem, keeps: bytes) -> tuple[tuple[Path, ...], ...]:
    keep = np.frombuffer(keeps, np.bool_).reshape(-1, len(problem.tensors))
    safs = [saf for saf in problem.design.features.safs if saf.kind in (GATING, SKIPPING, SPATIAL_SKIPPING)]
    return paths_of(problem, keep, safs)


@of_problem
def _prices(problem: Problem, depth: int) -> Prices:
    level = problem.design.architecture.levels[depth]
    return prices_of(level, level.energy.pj)


def _of_paths(work: Filter, paths: list[Path], count: int) -> Cost:
    problem = work.problem
    cost = Cost.nothing(count, len(problem.design.architecture.levels))
    for path in paths:
        traffic = work.traffic(path)
        for action, depth, moved in _moves(work, path, traffic):
            level = problem.design.architecture.levels[depth]
            cost.energy_pj[:] += energy_of(moved, _prices(problem, depth)[action])
            cost.port_words[:, depth, READ if action == "read" else WRITE] += port_words(moved, action, level)
    return cost


def _moves(work: Filter, path: Path, traffic: Traffic) -> list[tuple[str, int, Moved]]:
    """What an edge's traffic is to the levels at its ends: an action, the level and what moves."""
    read, update = taken(work, path.tensor, traffic)
    found = [("fill", path.edge.child, brought(work, path.tensor, traffic))]
    if (path.edge.parent, path.tensor) not in _packed(work.problem):
        found.append(("read", path.edge.parent, read))
    if update is not None:
        found.append(("update", path.edge.parent, update))
    return found


@of_problem
def _packed(problem: Problem) -> frozenset[tuple[int, int]]:
    """Levels and tensors whose reads follow from how their nonzeros are packed: those are not counted here."""
    return frozenset(
        (problem.design.architecture.index(saf.level), problem.tensors.index(saf.target))
        for saf in problem.design.features.safs
        if saf.kind == POSITION_SKIPPING
    )


@dataclass(frozen=True, eq=False)
class Floor:
    """What every mapping of a tree that keeps tensors as ``keep`` [S, T] says moves and spends at least.

    Call a compute effectual for a tensor if the elements that it uses of the leaders of the tensor's features are nonzero, and
    its own where zeros are not stored: no feature eliminates a word that such a compute uses. Each comes from the innermost
    level that keeps the tensor; and a word that was brought to a level serves, while it stays there, no more computes than
    the loops make meanwhile.
    """

    tree: Tree
    keep: BoolArray
    metadata: Metadata

    @property
    def problem(self) -> Problem:
        return self.tree.space.problem

    @cached_property
    def _paths(self) -> list[Path]:
        return [path for edges in _paths(self.problem, self.keep.tobytes()) for path in edges]

    @cached_property
    def points(self) -> float:
        """All computes, effectual or not."""
        return prod(self.problem.shape.tolist(), start=1.0)

    def _compressed(self, depth: int, t: int) -> bool:
        form = self.problem.format_of(depth, t)
        return bool(form and form.compressed)

    def _share(self, tensors: frozenset[int]) -> float:
        """P(the elements of some tensors that a compute uses are all nonzero)."""
        return prod((self.problem.densities[t].density for t in tensors), start=1.0)

    def _words(self, depth: int, path: Path) -> float:
        """Words that an edge moves, in the form in which a level keeps its tensor, that effectual computes use."""
        own = {path.tensor} if self._compressed(depth, path.tensor) else set()
        return self.points * self._share(self._leaders[path.edge.child][path.tensor] | own)

    @cached_property
    def _leaders(self) -> list[list[frozenset[int]]]:
        """By depth, that of compute last, and tensor: the leaders of its features at levels outside. Those further in eliminate
        nothing on the way there."""
        design, names = self.problem.design, self.problem.tensors
        found = list[list[frozenset[int]]]()
        for depth in range(len(self.keep) + 1):
            ways = [
                way for saf in design.features.safs if design.architecture.index(saf.level) < depth for way in saf.ways
            ]
            found.append(
                [
                    frozenset(names.index(x) for target, leaders in ways if target == name for x in leaders)
                    for name in names
                ]
            )
        return found

    @cached_property
    def _spared(self) -> bool:
        """Whether computes may take no cycle."""
        features = self.problem.design.features
        kinds = {saf.kind for saf in features.safs} - {GATING}
        return bool(kinds) or features.compute_skipping or bool(self._dropped)

    @cached_property
    def _dropped(self) -> frozenset[int]:
        """Operands whose zeros do not reach the computes."""
        operands = range(len(self.problem.tensors) - 1)
        return frozenset(t for t in operands if self._compressed(int(np.flatnonzero(self.keep[:, t])[-1]), t))

    @cached_property
    def _actual(self) -> float:
        """Computes that no feature and no want of an operand eliminates."""
        gates = self.problem.design.features.compute_gating
        zeros = frozenset(range(len(self.problem.tensors) - 1)) if gates else self._dropped
        packed = frozenset(t for _, t in _packed(self.problem))
        return self.points * self._share(zeros.union(packed, *self._leaders[-1]))

    def compute_energy_pj(self) -> float:
        price = self.problem.design.architecture.compute.energy.pj
        other = min(price("compute", "actual"), price("compute", "gated"), 0.0 if self._spared else np.inf)
        return self._actual * price("compute", "actual") + (self.points - self._actual) * other

    @property
    def timed(self) -> float:
        """The least share of the computes of any lane that take a cycle; nothing is said where zeros may lie together."""
        if not self._spared:
            return 1.0
        if any(density.coordinate_dependent for density in self.problem.densities):
            return 0.0
        return self._actual / self.points

    def cycles(self, lanes: FloatArray) -> FloatArray:
        """At least so many, if ``lanes`` [N] compute units are in use at most."""
        most = np.minimum(lanes, self.problem.design.architecture.compute.instances)
        return np.asarray((self._actual if self._spared else self.points) / most)

    def reuse(self, passing: FloatArray) -> FloatArray:
        """The most computes that one word of each tensor serves while it stays, [T, N], if loops over so many coordinates of each
        rank pass meanwhile: ``passing`` [T, D, N]."""
        return np.stack([self.uses(t, passed) for t, passed in enumerate(passing)])

    def uses(self, t: int, passing: FloatArray | IntArray) -> FloatArray:
        """As :meth:`reuse`, of one tensor, [N]: ``passing`` [D, N]."""
        access = self.problem.projection(t) > 0
        found = np.ones(passing.shape[1])
        for d, size in enumerate(self.problem.shape):
            if not access[:, d].any():
                found *= np.minimum(passing[d], size)
        for row in access:
            # of ranks whose sum is an index, the others say which coordinate of the longest goes with an element
            sizes = np.sort(self.problem.shape[row])[:-1]
            found *= prod(sizes.tolist(), start=1.0)
        return found

    def parents(self, depth: int) -> IntArray:
        """The innermost level outside ``depth`` or at it that keeps each tensor, [T]."""
        return np.array([np.flatnonzero(kept)[-1] for kept in self.keep[: depth + 1].T])

    def beyond(
        self, depth: int, stage: int, tile: IntArray, reuse: FloatArray, shared: FloatArray, copies: FloatArray,
        paths: Sequence[Path],
    ) -> tuple[list[tuple[FloatArray, FloatArray]], FloatArray]:  # fmt: skip
        """What some edges cost at least, those into levels further in than ``depth``: of each the energy in pJ [N] of what moves to
        each receiver by itself, and of what moves to groups of them at once; and the words through all ports [N, S, 2].

        ``tile`` [D, N] are coordinates in what lies inside of a ``stage``; while a word of a tensor stays, loops pass ``reuse``
        [T, N] computes that use it, and from the level of :meth:`parents` it goes to ``shared`` [T, N] receivers together;
        ``copies`` [T, N] instances of the level ``depth`` use the same word.
        """
        count = reuse.shape[1]
        port_words, energies = np.zeros((count, len(self.keep), 2)), list[tuple[FloatArray, FloatArray]]()
        for path in paths:
            edge, t = path.edge, path.tensor
            energies.append((np.zeros(count), np.zeros(count)))
            if edge.child <= depth:
                continue
            uses = reuse[t] if edge.hold else np.ones(count)
            together = shared[t] if edge.parent <= depth else 1.0
            if not edge.hold:
                lanes = self._sharing(t, max(edge.parent, depth), len(self.keep))
                together = together * np.minimum(lanes, self.uses(t, tile))
            if self.fills_lanes(max(edge.parent, depth), edge.child):
                together = np.full_like(uses, np.inf)
            groups = copies[t] / shared[t] if edge.parent <= depth else copies[t] * self._sharing(t, depth, edge.parent)
            receivers = copies[t] * self._sharing(t, depth, edge.child)
            bits = self._bits_of(path, stage, tile)
            for action, level, merged, words in self._flows(path, (uses, uses * together), (receivers, groups)):
                energies[-1][merged][:] += words * self._price(action, level, bits[level])
                moved = words * (1 + bits[level] / self.problem.design.architecture.levels[level].word_bits)
                port_words[:, level, READ if action == "read" else WRITE] += moved
        return energies, port_words

    @cached_property
    def held(self) -> list[Path]:
        """The edges into storage levels."""
        return [path for path in self._paths if path.edge.hold]

    @cached_property
    def used(self) -> list[Path]:
        """The edges into compute."""
        return [path for path in self._paths if not path.edge.hold]

    def narrow(self, path: Path, uses: FloatArray, bits: Bits) -> FloatArray:
        """Least energy of what an edge moves to and from each receiver by itself, [N], if a word serves so many ``uses`` there, and
        has ``bits`` of metadata."""
        return self._energy_of(path, uses, bits, False)

    def wide(self, path: Path, uses: FloatArray, bits: Bits) -> FloatArray:
        """Least energy of what an edge moves to and from groups of receivers at once, [N], if a word serves so many ``uses`` of all
        of a group."""
        return self._energy_of(path, uses, bits, True)

    def _energy_of(self, path: Path, uses: FloatArray, bits: Bits, merged: bool) -> FloatArray:
        copies = self._sharing(path.tensor, 0, path.edge.child), self._sharing(path.tensor, 0, path.edge.parent)
        flows = self._flows(path, (uses, uses), copies)
        parts = (
            words * self._price(action, level, bits[level]) for action, level, group, words in flows if group == merged
        )
        return sum(parts, np.zeros(len(uses)))

    def _flows(
        self, path: Path, uses: tuple[FloatArray, FloatArray], copies: tuple[FloatArray | float, FloatArray | float]
    ) -> Iterator[tuple[str, int, bool, FloatArray]]:
        """What an edge moves at least: actions with their level, whether it is to groups of receivers at once, and words.

        A word serves so many ``uses`` of one receiver, and of a group together; so many receivers, and groups, use the same one.
        """
        edge, t = path.edge, path.tensor
        # every element is moved once, whatever is reused
        once = self._elements(t) / self.points
        alone, together = (np.maximum(1 / each, once) for each in uses)
        firsts: list[FloatArray | float] = [0.0, 0.0]
        served = self._words(edge.parent, path) * (together if edge.merge else alone)
        if t == len(self.problem.tensors) - 1:
            raised = self._words(edge.parent, path) * (together if path.reduces else alone)
            yield "update", edge.parent, path.reduces, raised
            # the first visit of a point reads nothing
            points = prod(self.problem.shape[self.problem.projection(t).any(axis=0)].tolist(), start=1.0)
            firsts = [each * points for each in copies]
        if edge.hold:
            yield "fill", edge.child, False, np.maximum(self._words(edge.child, path) * alone - firsts[0], 0.0)
        if (edge.parent, t) not in _packed(self.problem):
            yield "read", edge.parent, edge.merge, np.maximum(served - firsts[edge.merge], 0.0)

    def _sharing(self, t: int, outer: int, inner: int) -> float:
        """The most instances of a level within one of a level further out that have the same element of a tensor; 1 where the other
        is not further out."""
        return prod(self._sharing_lanes[t][outer:inner], start=1.0)

    @cached_property
    def _sharing_lanes(self) -> list[list[float]]:
        """By tensor and level, the most lanes at which an element may be: those of ranks that do not index it alone."""
        found = list[list[float]]()
        for access in self.problem.projections > 0:
            alone = access[access.sum(axis=1) == 1].any(axis=0)
            found.append([])
            for depth, bounds in enumerate(self._most_bounds):
                lanes = float(self._units[depth + 1] // self._units[depth])
                if not self._packs:
                    lanes = min(lanes, prod(np.minimum(bounds[~alone].prod(axis=0), self.tree.space.most_lanes(depth))))
                found[-1].append(lanes)
        return found

    @cached_property
    def _packs(self) -> bool:
        """Whether lanes may take work that loops give to others."""
        return any(saf.kind in (SPATIAL_SKIPPING, POSITION_SKIPPING) for saf in self.problem.design.features.safs)

    @cached_property
    def _most_bounds(self) -> FloatArray:
        """The largest spatial bounds of each rank, [S, D, 2]."""
        found = np.ones((len(self.keep), len(self.problem.ranks), 2))
        for stage, (depth, spatial) in enumerate(self.tree.stages):
            if spatial:
                found[depth] = [rank.bounds[:, 1:].max(axis=0) for rank in self.tree.ranks(stage + 1)]
        return found

    @cached_property
    def _units(self) -> list[int]:
        """Instances of each level, and of compute."""
        architecture = self.problem.design.architecture
        return [level.instances for level in architecture.levels] + [architecture.compute.instances]

    def outer_lanes(self, path: Path, depth: int) -> float:
        """The most receivers outside level ``depth`` that one word of an edge goes to together."""
        parent = path.edge.parent
        return np.inf if self.fills_lanes(parent, depth) else self._sharing(path.tensor, parent, depth)

    def _elements(self, t: int) -> float:
        """Elements of a tensor that computes use, at least: where several ranks index one of its own, those of the longest."""
        rows = self.problem.projection(t) > 0
        return prod((max(self.problem.shape[row].tolist(), default=1) for row in rows), start=1.0)

    def fills_lanes(self, outer: int, inner: int) -> bool:
        """Whether idle lanes of some level from ``outer`` on, outside ``inner``, take other work: any number may share a word."""
        return any(outer <= depth < inner for depth in self.tree.space.skipping)

    def _price(self, action: str, depth: int, bits: FloatArray | float) -> FloatArray | float:
        """Energy in pJ of a word of an edge that arrives, in no more than its share of a block, with so many bits of metadata."""
        level = self.problem.design.architecture.levels[depth]
        prices = _prices(self.problem, depth)[action].reshape(2, -1)[:, REACHING : ACTUAL + 1].sum(axis=1)
        return float(prices[0]) / level.block_words + bits * float(prices[1])

    def fits(self, depth: int) -> BoolArray:
        """Which tiles, by number, a level can hold when all loops outside of it are there."""
        return data_held(self.problem, self.keep, depth, self.tree.grid(self.tree.arrives(depth)).smallest).fits

    def bits(self, path: Path, stage: int) -> Bits:
        """By level at the ends of an edge, the least bits of metadata of a word in its form, by number of the tile left at a
        stage, that at which the child has all loops outside at the latest."""
        known = self._known_bits.get((path, stage))
        if known is None:
            known = self._known_bits[path, stage] = self._find_bits(path, stage)
        return known

    @cached_property
    def _known_bits(self) -> dict[tuple[Path, int], Bits]:
        return {}

    def _find_bits(self, path: Path, stage: int) -> Bits:
        child = path.edge.child
        if stage < self.tree.arrives(child):
            after = self.bits(path, stage + 1)
            return {depth: self.tree.least_before(stage, each) for depth, each in after.items()}
        # tiles that do not fit lead to nothing
        fits, ends = self.fits(child), (path.edge.parent, child)
        return {depth: np.where(fits, self.metadata.bits(path.tensor, depth, child), np.inf) for depth in ends}

    def _bits_of(self, path: Path, stage: int, tile: IntArray) -> dict[int, FloatArray | float]:
        """The least bits of metadata of a word for prefixes that leave tiles [D, N] at a stage; 0 where none fits."""
        parent, child = path.edge.parent, path.edge.child
        if not path.edge.hold:
            return {parent: float(self.metadata.bits(path.tensor, parent, child)[0])}
        stage = min(stage, self.tree.arrives(child))
        numbers = self.tree.grid(stage).number(tile)
        found = {depth: each[numbers] for depth, each in self.bits(path, stage).items()}
        return {depth: np.where(each < np.inf, each, 0.0) for depth, each in found.items()}

    def port_cycles(self, port_words: FloatArray, used: FloatArray) -> FloatArray:
        """Cycles that the bandwidths ask for at least, [N], if so many instances of each level are in ``used`` [S, N]."""
        found = np.zeros(len(port_words))
        for depth, level in enumerate(self.problem.design.architecture.levels):
            read, written = port_words[:, depth, READ], port_words[:, depth, WRITE]
            for words, bandwidth in (
                (read, level.read_words_per_cycle),
                (written, level.write_words_per_cycle),
                (read + written, level.shared_words_per_cycle),
            ):
                if bandwidth is not None:
                    found = np.maximum(found, words / (np.minimum(used[depth], level.instances) * bandwidth))
        return found
