"""Step two: what the sparse features leave of the dense traffic.

Every transfer passes its judges from the outermost in: at an edge it is absent if an outer edge eliminated what holds
it; else skipped or gated by the features of its own level; else actual. The stages of that way are nested events, so a
count is kept for each stage (:data:`sparseloom.model.gather.STAGES`) and outcomes are their differences.

The meaning of every count is docs/oracle.md, sections 3 to 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sparseloom.fibertree.density import Density, Exchangeable, Uniform
from sparseloom.fibertree.distinct import kinds
from sparseloom.fibertree.fiber import bind, single_coordinate
from sparseloom.fibertree.format import Format
from sparseloom.mapping.batch import BoolArray, IntArray, Problem, corner_of, extents_of
from sparseloom.model.conventions import SPARSELOOM, Conventions
from sparseloom.model.edge import Box
from sparseloom.model.gather import ACTUAL, REACHING, UNITS, UNSKIPPED, Moved, Units, bits_of, gathered
from sparseloom.model.occupancy import Piece, joint_nonempty, own_blocks, shared_blocks, stored_words
from sparseloom.model.path import Judge, Path
from sparseloom.model.plan import of_tiles, of_transfers
from sparseloom.model.source import Rows, Source

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Traffic:
    """What moves along one edge, by stage; the numbers of docs/oracle.md before they are named.

    ``served``: from the parent, once a group; ``raised``: to the parent, once a group or a receiver, as its network reduces;
    ``delivered``: to the child, every receiver. The ``first_`` ones are those of first dense visits.
    """

    served: Moved
    raised: Moved
    delivered: Moved
    first_served: Moved
    first_delivered: Moved


@dataclass(frozen=True)
class Tiles:
    """Of a tensor's tiles at a level, [B] each: points of the nominal one, mean words stored, most words and most bits of
    metadata of any."""

    points: FloatArray
    words: FloatArray
    worst_words: FloatArray
    worst_bits: FloatArray


@dataclass(frozen=True)
class Filter:
    """The features of a problem at work on the mappings of a ``source``, under ``conventions`` about computes and visits."""

    problem: Problem
    source: Source
    conventions: Conventions = SPARSELOOM
    _nominal: dict[tuple[int, int], IntArray] = field(default_factory=dict, repr=False, compare=False)
    _widths: dict[tuple[int, int], FloatArray] = field(default_factory=dict, repr=False, compare=False)

    def tile_of(self, tensor: int, span: Box) -> Box:
        """The box of ``tensor`` over ranges of the iteration ranks [D, N]."""
        access = self.problem.projection(tensor)
        low = corner_of(access, span[0])
        return low, low + extents_of(access, span[1] - span[0])

    def tiles(self, tensor: int, level: int) -> Tiles:
        """What a level holds of a tensor."""
        source, which = self.source.alike_in_tiles(*of_tiles(self.problem, tensor, level))
        found = self.of(source)._tiles(tensor, level)
        if which is None:
            return found
        return Tiles(*(values[which] for values in (found.points, found.words, found.worst_words, found.worst_bits)))

    def _tiles(self, tensor: int, level: int) -> Tiles:
        form, density = self.problem.format_of(level, tensor), self.problem.densities[tensor]
        names, compressed = self.problem.rank_names(tensor), _compresses(form)
        box, points, times, mapping = self.source.tiles(*of_tiles(self.problem, tensor, level))
        low, high = box[0][: len(names)], box[1][: len(names)]
        if not compressed or not names:
            most, words = np.multiply.reduce(high - low, axis=0, dtype=np.float64), points
        else:
            most = density.worst_occupancy(low, high).astype(np.float64)
            if isinstance(density, Exchangeable):
                words = density.mean_of(points)
            else:
                placed = density.coordinate_dependent
                words = density.expected_occupancy(low, high) if placed else density.density * points
        bits = np.zeros(points.size)
        if form is not None:
            units, widths = (
                form.expected_units if density.certain else form.worst_units,
                self.widths(tensor, level, form),
            )
            boxes, index = kinds([low, high])
            bits = bits_of(units(density, names, *boxes), index, widths, mapping)
        if points.size > self.source.mappings:
            starts = np.flatnonzero(np.diff(mapping, prepend=-1))
            words = np.add.reduceat(words * times, starts) / np.add.reduceat(times, starts)
            most, bits = np.maximum.reduceat(most, starts), np.maximum.reduceat(bits, starts)
        nominal = np.multiply.reduce(self.nominal(tensor, level), axis=0, dtype=np.float64)
        return Tiles(nominal, words, most, bits)

    def nominal(self, tensor: int, level: int) -> IntArray:
        """Extents of a tensor's tile at a level where no bound is cut short, [ranks, B]."""
        known = self._nominal.get((tensor, level))
        if known is None:
            extents = extents_of(self.problem.projection(tensor), self.source.nominal(level))
            known = self._nominal[tensor, level] = extents
        return known

    def widths(self, tensor: int, level: int, form: Format | None) -> FloatArray:
        """Bits of the units of a format at a level, [B, ranks, 2]: those of its nominal tile."""
        if form is None:
            return np.zeros((self.source.mappings, 0, 2))
        known = self._widths.get((tensor, level))
        if known is None:
            tile = self.nominal(tensor, level)
            found = form.widths(self.problem.rank_names(tensor), np.zeros(tile.shape, np.int64), tile)
            known = self._widths[tensor, level] = found.astype(np.float64)
        return known

    def joint(self, rows: Rows, judged: Sequence[tuple[int, Judge]]) -> list[FloatArray | float]:
        """For each tensor X, P(all tiles of X that it is judged by are nonempty); ``judged`` pairs a span with a judge."""
        return [self._nonempty(t, rows, judged) for t in range(len(self.problem.tensors))]

    def _nonempty(self, t: int, rows: Rows, judged: Sequence[tuple[int, Judge]]) -> FloatArray | float:
        boxes = [self.tile_of(t, rows.span(k)) for k, judge in judged if t in judge.leaders]
        return joint_nonempty(self.problem.densities[t], boxes)

    def survival(self, path: Path, rows: Rows) -> FloatArray:
        """P(a transfer of a row reaches each stage), [N, 4]; [N, 1] if the same for all."""
        others, own = self._survival_of(path, rows)
        return others if own is None else others * own

    def _survival_of(self, path: Path, rows: Rows) -> tuple[FloatArray, FloatArray | None]:
        """The factors of :meth:`survival`: what other tensors contribute to it, and what the tensor itself does as a leader, if
        it is one."""
        stages = path.stages
        if not stages[ACTUAL]:
            return np.ones((rows.groups.size, 1)), None
        others = np.ones((rows.groups.size, 4))
        own = np.ones((rows.groups.size, 4)) if path.leads_itself else None
        for stage in (REACHING, UNSKIPPED, ACTUAL):
            factors = [others] if own is None else [others, own]
            if stages[stage] == stages[stage - 1]:
                for factor in factors:
                    factor[:, stage] = factor[:, stage - 1]
                continue
            for t in {t for _, judge in stages[stage] for t in judge.leaders}:
                factors[-1 if t == path.tensor else 0][:, stage] *= self._nonempty(t, rows, stages[stage])
        return others, own

    def traffic(self, path: Path) -> Traffic:
        """What moves along an edge."""
        together = self._traffic(path)
        if not path.each:
            return together
        alone = self._traffic(path.alone)
        raised = together.raised if path.reduces else alone.raised
        return replace(together, raised=raised, delivered=alone.delivered, first_delivered=alone.first_delivered)

    def passing(self, path: Path, level: int) -> Moved:
        """What is written and read at a level through which an edge's tensor passes: words, in the form in which the parent
        keeps them."""
        down = self._traffic(path.through(level, alone=False), path.edge.parent)
        if path.tensor < len(self.problem.tensors) - 1:
            return down.served.bare
        up = down.raised
        if path.each and not path.reduces:
            up = self._traffic(path.through(level, alone=True), path.edge.parent).raised
        return down.served.less(down.first_served).plus(up).bare

    def _traffic(self, path: Path, keeper: int | None = None) -> Traffic:
        """``keeper``: the level in whose form the parent moves words, by default itself."""
        keeper = path.edge.parent if keeper is None else keeper
        parent, child = (self.problem.format_of(level, path.tensor) for level in (keeper, path.edge.child))
        wanted = of_transfers(self.problem, path, keeper)
        levels = (path.edge.parent,) if parent is not None else ()
        source, which = self.source.alike(path.edge, wanted, levels)
        few, sums = self.of(source), _Sums(source.mappings)
        for rows in source.transfers(path.edge, wanted):
            few._add(path, rows, parent, child, sums)
        return sums.traffic(path.reduces and path.tensor == len(self.problem.tensors) - 1, which)

    def of(self, source: Source) -> Filter:
        """The same features at work on other mappings."""
        return self if source is self.source else replace(self, source=source, _nominal={}, _widths={})

    def _add(self, path: Path, rows: Rows, parent: Format | None, child: Format | None, sums: _Sums) -> None:
        survival, own = self._survival_of(path, rows)
        density = self.problem.densities[path.tensor]
        piece = Piece.of(rows.box, rows.overlap if path.edge.hold else None, len(self.problem.rank_names(path.tensor)))
        if own is None or density.certain or (own == 1).all():
            together = survival if own is None else survival * own
            self._add_of(density, path, piece, rows, parent, child, together, sums)
            return
        # The tensor leads itself. Its box lies in all of its leader tiles, so that where one of them is empty the box is
        # too: what survives is what moves, less what an empty box moves where the tensor does not let it pass.
        self._add_of(density, path, piece, rows, parent, child, survival, sums)
        empty = Uniform(density.tensor_shape, 0.0)
        self._add_of(empty, path, piece, rows, parent, child, survival * (own - 1), sums)

    def _add_of(
        self, density: Density, path: Path, piece: Piece, rows: Rows, parent: Format | None, child: Format | None,
        survival: FloatArray, sums: _Sums,
    ) -> None:  # fmt: skip
        """Add what rows move of a tensor of some ``density``, by stage of ``survival`` [N, 4]."""
        output = path.tensor == len(self.problem.tensors) - 1
        forms = (parent, child) if path.edge.hold else (parent,)
        words = {flag: stored_words(density, flag, piece) for flag in {_compresses(form) for form in forms}}
        navigated, every, which = self._units(density, path.tensor, parent, piece, rows)
        units = Units(navigated, which, self.widths(path.tensor, path.edge.parent, parent))
        moves: BoolArray | int = piece.points > 0 if path.edge.hold else 1
        groups = (rows.groups, rows.first_groups) if output else (rows.groups,)
        stored = words[_compresses(parent)]
        served = stored, self._shared_blocks(density, path, parent, piece, rows, stored, merged=True), units
        sums.add(("served", "first_served"), rows, np.array(groups) * moves, survival, served, path.leads)
        if output and not path.reduces:
            raised = stored, self._shared_blocks(density, path, parent, piece, rows, stored, merged=False), units
            sums.add(("raised",), rows, np.array([rows.receivers]) * moves, survival, raised, path.leads)
        if path.edge.hold:
            receivers = (rows.receivers, rows.first_receivers) if output else (rows.receivers,)
            if child != parent:
                _, every, which = self._units(density, path.tensor, child, piece)
            stored = words[_compresses(child)]
            block_words = self.problem.design.architecture.levels[path.edge.child].block_words
            blocks = own_blocks(density, _compresses(child), piece, stored, block_words)
            delivered = stored, blocks, Units(every, which, self.widths(path.tensor, path.edge.child, child))
            sums.add(("delivered", "first_delivered"), rows, np.array(receivers) * moves, survival, delivered)

    def _shared_blocks(
        self,
        density: Density,
        path: Path,
        form: Format | None,
        piece: Piece,
        rows: Rows,
        words: FloatArray,
        merged: bool,
    ) -> FloatArray:
        """Expected blocks of one transfer of each row at the parent, of the ``words`` that it stores."""
        block_words = self.problem.design.architecture.levels[path.edge.parent].block_words
        return shared_blocks(
            density, _compresses(form), piece, words, block_words, lambda values: rows.step_total(values, merged),
            disjoint=merged and path.edge.merge and not self.problem.sliding[path.tensor],
        )  # fmt: skip

    def _units(
        self, density: Density, tensor: int, form: Format | None, piece: Piece, rows: Rows | None = None
    ) -> tuple[FloatArray, FloatArray, IntArray]:
        """Expected units of M different boxes [M, ranks, 2], those that a read or update moves if ``rows`` are given, and all; and
        which box each piece has. Ranks above the lowest in which the box has one coordinate are moved when it changes
        (docs/oracle.md, section 6)."""
        if form is None:
            return _NO_UNITS, _NO_UNITS, np.zeros(piece.points.size, np.int64)
        names, upper = self.problem.rank_names(tensor), len(form.ranks) - 1 if rows is not None else 0
        tables = [piece.low, piece.high]
        if rows is not None and upper:
            tables.append(_unchanged(form, names, rows))
        (low, high, *unchanged), which = kinds(tables)
        every = form.expected_units(density, names, low, high)
        if not upper:
            return every, every, which
        single = single_coordinate(form, names, low, high)[:, :upper]
        navigated = every.copy()
        navigated[:, :upper][single & (unchanged[0].T > 0)] = 0.0
        return navigated, every, which


_NO_UNITS = np.zeros((1, 0, 2))


def _compresses(form: Format | None) -> bool:
    return form is not None and form.compressed


def _unchanged(form: Format, names: tuple[str, ...], rows: Rows) -> IntArray:
    """For each format rank above the lowest: 1 where the box before had the same coordinates in it and in all ranks above it,
    [ranks - 1, N]."""
    same = np.zeros((len(form.ranks) - 1, rows.groups.size), np.int64)
    so_far = np.ones(rows.groups.size, np.bool_)
    for place, parts in enumerate(bind(form, names).parts[:-1]):
        for part in parts:
            so_far = so_far & rows.stays(part.axis, part.step)
        same[place] = so_far
    return same


class _Sums:
    """Accumulates what moves along one edge over batches of rows, for each mapping."""

    def __init__(self, mappings: int) -> None:
        self.nothing = np.zeros((mappings, UNITS, 4))
        self.tables: dict[str, FloatArray] = {}

    def add(
        self,
        names: tuple[str, ...],
        rows: Rows,
        weights: FloatArray,
        survival: FloatArray,
        moved: tuple[FloatArray, FloatArray, Units],
        leads: bool = False,
    ) -> None:
        """Add one transfer of each row to as many of ``names`` as there are ``weights`` [W, N], so many times, by stage; a leader's
        metadata is read whatever becomes of it."""
        for name, table in zip(names, gathered(rows.mapping, weights, survival, *moved, leads), strict=False):
            self.tables[name] = self.tables[name] + table if name in self.tables else table

    def traffic(self, reduces: bool, which: IntArray | None) -> Traffic:
        """``reduces``: what is raised is what is served. ``which``: see :class:`sparseloom.model.gather.Moved`."""
        tables = {"raised": self.tables.get("served", self.nothing)} if reduces else {}
        tables |= self.tables
        names = ("served", "raised", "delivered", "first_served", "first_delivered")
        return Traffic(**{name: Moved(tables.get(name, self.nothing), which) for name in names})
