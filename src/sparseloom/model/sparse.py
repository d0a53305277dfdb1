"""Step two: what the sparse features leave of the dense traffic.

Every transfer passes its judges from the outermost in: at an edge it is absent if an outer edge eliminated what holds
it; else skipped or gated by the features of its own level; else actual. The stages of that way are nested events, so a
count is kept for each stage (:data:`STAGES`) and outcomes are their differences.

The meaning of every count is docs/oracle.md, sections 3 to 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.features import GATING, SKIPPING, Saf
from sparseloom.fibertree.density import Density
from sparseloom.fibertree.format import Format
from sparseloom.model.dataflow import BOUND, KIND, LEVEL, RANK, STEP
from sparseloom.model.events import Edge, Rows, transfers
from sparseloom.mapping.batch import BoolArray, IntArray, MappingBatch, Problem
from sparseloom.model.occupancy import Box, is_certain, joint_nonempty, own_blocks, shared_blocks, stored_words

FloatArray = NDArray[np.float64]

STAGES = ("all", "reaching", "unskipped", "actual")
"""All dense transfers; those that no outer edge eliminated; those not skipped here; those not gated either."""
ALL, REACHING, UNSKIPPED, ACTUAL = range(4)


@dataclass(frozen=True)
class Judge:
    """A feature at the edge it judges: ``kind``, and the numbers of its leader tensors."""

    kind: str
    leaders: tuple[int, ...]


@dataclass(frozen=True)
class Path:
    """An edge of tensor ``tensor`` with its judges, and the judged edges outside it, outermost first."""

    tensor: int
    edge: Edge
    judges: tuple[Judge, ...]
    outer: tuple[Path, ...]
    leads: bool
    """Whether a feature looks at this tensor's metadata where it leaves the parent."""
    reduces: bool
    """Whether the network adds the partial sums of a group on their way to the parent."""

    @cached_property
    def judged(self) -> tuple[Path, ...]:
        """The outer judged paths and, if it has judges, this one: the order of the rows' spans."""
        return (*self.outer, self) if self.judges else self.outer


@dataclass(frozen=True)
class Moved:
    """``words`` [4], the ``blocks`` [4] they take, metadata ``units`` [ranks, 2, 4] of the level's format (without one: no
    ranks) and the ``bits`` [4] they take, each by stage."""

    words: FloatArray
    blocks: FloatArray
    units: FloatArray
    bits: FloatArray

    def less(self, other: Moved) -> Moved:
        """Without what ``other`` counts."""
        return Moved(
            self.words - other.words, self.blocks - other.blocks, self.units - other.units, self.bits - other.bits
        )


@dataclass(frozen=True)
class Traffic:
    """What moves along one edge, by stage ([4] or [..., 4]); the numbers of docs/oracle.md before they are named.

    ``served``: from the parent, once a group; ``raised``: to the parent, once a group or a receiver, as its network reduces;
    ``delivered``: to the child, every receiver.
    """

    served: Moved
    raised: Moved
    delivered: Moved


def paths_of(problem: Problem, batch: MappingBatch, safs: Sequence[Saf]) -> tuple[tuple[Path, ...], ...]:
    """For each tensor its edges, outermost first, with the features that judge them."""
    architecture, names = problem.design.architecture, problem.tensors
    levels = len(architecture.levels)
    found = []
    for t, name in enumerate(names):
        kept = [l for l in range(levels) if batch.keep[l, t]]
        paths: list[Path] = []
        for parent, child in zip(kept, [*kept[1:], levels], strict=True):
            edge = Edge(parent, child, levels, problem.projections[t], bool(problem.multicast[parent:child].all()))
            reduces = bool(problem.reduction[parent:child].all())
            judges = tuple(
                Judge(saf.kind, tuple(names.index(leader) for leader in saf.leaders))
                for saf in safs
                if saf.target == name and parent <= architecture.index(saf.level) < child
            )
            leads = any(name in saf.leaders and parent <= architecture.index(saf.level) < child for saf in safs)
            outer = tuple(path for path in paths if path.judges)
            paths.append(Path(t, edge, judges, outer, leads, reduces))
        found.append(tuple(paths))
    return tuple(found)


@dataclass(frozen=True)
class Filter:
    """The features of a problem at work on one mapping, given as its ``nest`` (see :mod:`~sparseloom.model.dataflow`)."""

    problem: Problem
    nest: IntArray

    @cached_property
    def densities(self) -> tuple[Density, ...]:
        return tuple(self.problem.workload.density(name) for name in self.problem.tensors)

    def format_of(self, level: int, tensor: int) -> Format | None:
        """The format in which ``level`` keeps a tensor; compute has none."""
        levels = self.problem.design.architecture.levels
        if level == len(levels):
            return None
        return self.problem.design.features.format_of(levels[level].name, self.problem.tensors[tensor])

    def rank_names(self, tensor: int) -> tuple[str, ...]:
        return self.problem.workload.einsum.tensors[tensor].ranks

    def positions(self, tensors: set[int], split: set[int]) -> BoolArray:
        """Ranks whose places matter: those of tensors whose density depends on coordinates, and of ``split`` formats."""
        found = np.zeros(self.problem.shape.size, np.bool_)
        for t in tensors:
            if self.densities[t].coordinate_dependent or t in split:
                found |= self.problem.projections[t].any(axis=0)
        return found

    def tile_of(self, tensor: int, rows: Rows, k: int) -> Box:
        """The box of ``tensor`` over the ``k``-th span of the rows."""
        access = self.problem.projections[tensor][: len(self.rank_names(tensor))]
        low = access @ rows.span_low[k]
        return low, access @ (rows.span_high[k] - 1) + 1

    def tiles(self, tensor: int, level: int) -> tuple[float, float, float, float]:
        """Of a tensor's tiles at a level: points of the nominal one, mean words stored, most words and most metadata bits of
        any."""
        form, density, names = self.format_of(level, tensor), self.densities[tensor], self.rank_names(tensor)
        compressed = bool(form and form.compressed)
        edge = Edge(0, level, level + 1, self.problem.projections[tensor], False)
        words, bits, total, count = 0.0, 0.0, 0.0, 0.0
        for rows in transfers(self.nest, self.problem.shape, edge, (), self.positions({tensor}, {tensor})):
            low, high = list(rows.low[: len(names)]), list(rows.high[: len(names)])
            worst = density.worst_occupancy(low, high) if compressed else rows.points
            words = max(words, float(np.max(worst)))
            stored = density.expected_occupancy(low, high) if compressed else rows.points
            total += float(stored @ rows.receivers)
            count += float(rows.receivers.sum())
            if form is not None:
                units = form.expected_units if is_certain(density) else form.worst_units
                most = units(density, names, low, high) * self.widths(tensor, level, form)
                bits = max(bits, float(most.sum(axis=(-1, -2)).max()))
        return float(np.prod(self._nominal(tensor, level))), total / count, words, bits

    def _nominal(self, tensor: int, level: int) -> list[int]:
        """Extents of a tensor's tile at a level, where the ranks' bounds are not cut short."""
        extents = np.ones(self.problem.shape.size, np.int64)
        inside = self.nest[:, self.nest[LEVEL] >= level]
        np.multiply.at(extents, inside[RANK], inside[BOUND])
        extents = np.minimum(extents, self.problem.shape)
        access = self.problem.projections[tensor][: len(self.rank_names(tensor))]
        return [int(x) for x in access @ (extents - 1) + 1]

    def joint(self, rows: Rows, judged: Sequence[tuple[int, Judge]]) -> list[FloatArray | float]:
        """For each tensor X, P(all tiles of X that it is judged by are nonempty); ``judged`` pairs a span with a judge."""
        return [
            joint_nonempty(density, [self.tile_of(t, rows, k) for k, judge in judged if t in judge.leaders])
            for t, density in enumerate(self.densities)
        ]

    def survival(self, path: Path, rows: Rows) -> FloatArray:
        """P(a transfer of a row reaches each stage), [4, N]."""
        outside = [(k, judge) for k, judged in enumerate(path.outer) for judge in judged.judges]
        skips = [(len(path.outer), judge) for judge in path.judges if judge.kind == SKIPPING]
        gates = [(len(path.outer), judge) for judge in path.judges if judge.kind == GATING]
        chances = np.ones((4, rows.groups.size))
        for stage, judged in ((REACHING, outside), (UNSKIPPED, outside + skips), (ACTUAL, outside + skips + gates)):
            for chance in self.joint(rows, judged):
                chances[stage] *= chance
        return chances

    def traffic(self, path: Path) -> tuple[Traffic, Traffic]:
        """What moves along an edge, and what of it at first dense visits."""
        parent, child = (self.format_of(level, path.tensor) for level in (path.edge.parent, path.edge.child))
        involved = {path.tensor, *(t for judged in path.judged for judge in judged.judges for t in judge.leaders)}
        names = self.rank_names(path.tensor)
        split = {path.tensor} if any(form and _is_split(form, names) for form in (parent, child)) else set()
        judges = tuple(judged.edge for judged in path.judged)
        before = parent is not None and len(parent.ranks) > 1
        every, first = _Sums(), _Sums()
        positions = self.positions(involved, split)
        steps = self.problem.design.architecture.levels[path.edge.parent].block_words > 1
        for rows in transfers(self.nest, self.problem.shape, path.edge, judges, positions, before, steps):
            self._add(path, rows, parent, child, every, first)
        return every.traffic(), first.traffic()

    def _add(
        self, path: Path, rows: Rows, parent: Format | None, child: Format | None, every: _Sums, first: _Sums
    ) -> None:
        edge = path.edge
        box, held = self._boxes(path, rows)
        survival = self.survival(path, rows) * (rows.points > (rows.held if edge.hold else 0))
        served = self._moved(path, parent, box, held, rows, rows.together)
        raised = served
        if not path.reduces:
            raised = self._moved(path, parent, box, held, rows, rows.together * rows.receivers / rows.groups)
        for name, moved, weight in (
            ("served", served, rows.groups),
            ("raised", raised, rows.groups if path.reduces else rows.receivers),
        ):
            for sums, some in ((every, weight), (first, weight * rows.first)):
                sums.add(name, survival * some, moved, leads=path.leads)
        if edge.hold:
            delivered = self._delivered(path, child, box, held)
            for sums, some in ((every, rows.receivers), (first, rows.receivers * rows.first)):
                sums.add("delivered", survival * some, delivered)

    def _boxes(self, path: Path, rows: Rows) -> tuple[Box, Box]:
        """The new box of the tensor and its part that was held."""
        ranks = len(self.rank_names(path.tensor))
        held = rows.overlap if path.edge.hold else (rows.low, rows.low)
        return (rows.low[:ranks], rows.high[:ranks]), (held[0][:ranks], held[1][:ranks])

    def _moved(
        self, path: Path, form: Format | None, box: Box, held: Box, rows: Rows, together: FloatArray
    ) -> tuple[FloatArray, ...]:
        """Expected words, blocks, units and bits of one transfer of each row at the parent, ``together`` of them a step."""
        density, compressed = self.densities[path.tensor], bool(form and form.compressed)
        block_words = self.problem.design.architecture.levels[path.edge.parent].block_words
        words = stored_words(density, compressed, box, held)
        blocks = shared_blocks(density, compressed, box, held, block_words, rows.step, together)
        if form is None:
            return words, blocks, np.zeros((words.size, 0, 2)), np.zeros(words.size)
        return words, blocks, *self._units(path.tensor, path.edge.parent, form, box, rows)

    def _delivered(self, path: Path, form: Format | None, box: Box, held: Box) -> tuple[FloatArray, ...]:
        """Expected words, blocks, units and bits of one transfer of each row at one receiver."""
        density, compressed = self.densities[path.tensor], bool(form and form.compressed)
        block_words = self.problem.design.architecture.levels[path.edge.child].block_words
        words = stored_words(density, compressed, box, held)
        blocks = own_blocks(density, compressed, box, held, block_words)
        if form is None:
            return words, blocks, np.zeros((words.size, 0, 2)), np.zeros(words.size)
        return words, blocks, *self._units(path.tensor, path.edge.child, form, box, None)

    def _units(
        self, tensor: int, level: int, form: Format, box: Box, rows: Rows | None
    ) -> tuple[FloatArray, FloatArray]:
        """Expected units [N, ranks, 2] and bits [N] of a box; with ``rows`` only those that a read or update moves:
        ranks above the lowest in which the box has one coordinate are navigated (docs/oracle.md, section 6)."""
        from sparseloom.fibertree.fiber import single_coordinate

        names, density = self.rank_names(tensor), self.densities[tensor]
        units = form.expected_units(density, names, list(box[0]), list(box[1]))
        if rows is not None and len(form.ranks) > 1:
            single = single_coordinate(form, names, list(box[0]), list(box[1]))
            stays = _unchanged(form, names, rows)
            units = np.where((single & stays)[..., None], 0.0, units)
        return units, np.asarray((units * self.widths(tensor, level, form)).sum(axis=(-1, -2)))

    def widths(self, tensor: int, level: int, form: Format) -> IntArray:
        """Bits of the units of a format at a level, [ranks, 2]: those of its nominal tile."""
        tile = self._nominal(tensor, level)
        return form.widths(self.rank_names(tensor), [0] * len(tile), tile)


def _is_split(form: Format, ranks: tuple[str, ...]) -> bool:
    return any(name not in ranks for rank in form.ranks for name in rank.ranks)


def _unchanged(form: Format, names: tuple[str, ...], rows: Rows) -> BoolArray:
    """For each format rank above the lowest: whether the box before had the same coordinates in it and in all ranks above
    it, [N, ranks]; False for the lowest, which always moves."""
    from sparseloom.fibertree.fiber import bind

    same = np.zeros((rows.groups.size, len(form.ranks)), np.bool_)
    so_far = (rows.old_high > rows.old_low).all(axis=0)
    for place, parts in enumerate(bind(form, names).parts[:-1]):
        for part in parts:
            axis, step = part.axis, part.step
            so_far = so_far & (rows.low[axis] // step == rows.old_low[axis] // step)
            so_far = so_far & ((rows.high[axis] - 1) // step == (rows.old_high[axis] - 1) // step)
        same[:, place] = so_far
    return same


class _Sums:
    """Accumulates what moves along one edge over classes of rows."""

    def __init__(self) -> None:
        self.values: dict[str, list[FloatArray]] = {}

    def add(self, name: str, weight: FloatArray, moved: tuple[FloatArray, ...], leads: bool = False) -> None:
        """Add one transfer of each row, weighted by stage [4, N]; a leader's metadata is read whatever becomes of it."""
        metadata = weight.copy()
        if leads:
            metadata[UNSKIPPED:] = metadata[REACHING]
        weights = (weight, weight, metadata, metadata)
        sums = [np.tensordot(value, w, axes=([0], [1])) for value, w in zip(moved, weights, strict=True)]
        known = self.values.get(name)
        self.values[name] = [a + b for a, b in zip(known, sums, strict=True)] if known else sums

    def traffic(self) -> Traffic:
        nothing = [np.zeros(4), np.zeros(4), np.zeros((0, 2, 4)), np.zeros(4)]
        moved = {name: Moved(*self.values.get(name, nothing)) for name in ("served", "raised", "delivered")}
        return Traffic(**moved)


@dataclass(frozen=True)
class Computes:
    """What becomes of the computes (docs/oracle.md, section 5); ``busiest`` is the actual and gated ones of the busiest
    instance, where known tensors tell it, else of the instance with the most points."""

    actual: float
    gated: float
    skipped: float
    absent: float
    busiest: float


def filter_computes(
    work: Filter, paths: tuple[tuple[Path, ...], ...], gating: bool, skipping: bool
) -> Computes:
    """Classify every compute by what reached it and by the values of its operands, for a unit that gates or skips."""
    problem, operands = work.problem, range(len(work.problem.tensors) - 1)
    judged = [path for t in operands for path in paths[t] if path.judges]
    everywhere = Edge(0, paths[0][-1].edge.levels, paths[0][-1].edge.levels, np.eye(problem.shape.size, dtype=np.int64), False)
    involved = {*operands, *(t for path in judged for judge in path.judges for t in judge.leaders)}
    positions = work.positions(involved, set())
    (rows,) = transfers(work.nest, problem.shape, everywhere, tuple(path.edge for path in judged), positions)
    judges = [(k, judge) for k, path in enumerate(judged) for judge in path.judges]
    unskipped = np.prod(_broadcast(rows, work.joint(rows, [(k, j) for k, j in judges if j.kind == SKIPPING])), axis=0)
    delivered = _broadcast(rows, work.joint(rows, judges))
    actual, skipped, absent = _by_value(work, rows, delivered, paths, gating, skipping)
    gated = unskipped - actual - skipped - absent
    busy = (actual + gated) * rows.receivers
    total = [float(part @ rows.receivers) for part in (actual, gated, skipped)]
    lost = float((absent + 1 - unskipped) @ rows.receivers)
    return Computes(*total, lost, _busiest(work, rows, busy))


def _broadcast(rows: Rows, chances: Sequence[FloatArray | float]) -> FloatArray:
    return np.array([np.broadcast_to(chance, rows.groups.shape) for chance in chances])


def _by_value(
    work: Filter, rows: Rows, delivered: FloatArray, paths: tuple[tuple[Path, ...], ...], gating: bool, skipping: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """P(actual), P(skipped) and P(absent for want of any operand) of the computes that are delivered; gated is the rest."""
    operands = range(len(work.problem.tensors) - 1)
    others = np.prod(delivered[len(operands) :], axis=0)
    present, arriving, missing = others.copy(), others.copy(), others.copy()
    for t in operands:
        access = work.problem.projections[t][: len(work.rank_names(t))]
        low = access @ rows.low[: work.problem.shape.size]
        nonzero = work.densities[t].expected_occupancy(list(low), list(low + 1))
        form = work.format_of(paths[t][-1].edge.parent, t)
        drops = bool(form and form.compressed)
        present = present * nonzero
        arriving = arriving * (nonzero if drops else delivered[t])
        missing = missing * (delivered[t] - nonzero if drops else 0.0)
    reached = np.prod(delivered, axis=0)
    apart = reached - arriving - missing
    zero = arriving - present
    actual = present + (0 if gating else zero) + (0 if gating or skipping else apart)
    return actual, apart if skipping else 0 * apart, missing


def _busiest(work: Filter, rows: Rows, busy: FloatArray) -> float:
    operands = work.densities[:-1]
    if not all(is_certain(density) for density in operands):
        return float(busy @ rows.origin)
    nest, instance = work.nest, np.zeros(busy.size, np.int64)
    if not any(density.coordinate_dependent for density in operands):
        return float(busy @ rows.origin)
    for i in range(nest.shape[1]):
        if nest[KIND, i] != 0:
            instance = instance * nest[BOUND, i] + rows.low[nest[RANK, i]] // nest[STEP, i] % nest[BOUND, i]
    return float(np.bincount(instance, busy).max())


def used_computes(work: Filter) -> float:
    """Compute instances that are active at any step: those with a point at the first step of all temporal loops."""
    nest, used = work.nest, 1.0
    for d in range(work.problem.shape.size):
        spread = np.zeros(1, np.int64)
        for i in range(nest.shape[1]):
            if nest[RANK, i] == d and nest[KIND, i] != 0:
                spread = (spread[:, None] + np.arange(nest[BOUND, i]) * nest[STEP, i]).ravel()
        used *= int(np.count_nonzero(spread < work.problem.shape[d]))
    return used
