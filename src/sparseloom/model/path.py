"""A tensor's ways from level to level with the features that judge what goes there.

A path says which leaders decide over a transfer; :mod:`sparseloom.model.sparse` works out what they leave of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sparseloom.arch.features import GATING, SKIPPING, SPATIAL_SKIPPING, Saf
from sparseloom.mapping.batch import BoolArray, Problem, of_problem
from sparseloom.memory import remembered
from sparseloom.model.edge import Edge


@dataclass(frozen=True)
class Judge:
    """A feature at the edge it judges: ``kind``, and the numbers of its leader tensors. ``each`` receiver is judged on its own
    by spatial skipping: a lane whose leader is empty takes other work, whatever its group does."""

    kind: str
    leaders: tuple[int, ...]
    each: bool = False


@dataclass(frozen=True, eq=False)
class Path:
    """An edge of tensor ``tensor`` with its judges, and the judged edges outside it, outermost first. Equal to itself alone."""

    tensor: int
    edge: Edge
    judges: tuple[Judge, ...]
    outer: tuple[Path, ...]
    leads: bool
    """Whether a feature looks at this tensor's metadata where it leaves the parent."""
    reduces: bool
    """Whether the network adds the partial sums of a group on their way to the parent."""
    parts: tuple[Path, ...] = ()
    """Where receivers are judged on their own: what judges them, in place of this path itself."""

    @cached_property
    def own(self) -> tuple[Path, ...]:
        return self.parts or ((self,) if self.judges else ())

    @cached_property
    def judged(self) -> tuple[Path, ...]:
        """The outer judged paths and, if it has judges, this one: the order of the rows' spans."""
        return (*self.outer, *self.own)

    @cached_property
    def stages(self) -> tuple[tuple[tuple[int, Judge], ...], ...]:
        """By stage (:data:`sparseloom.model.gather.STAGES`) the judges that a transfer has to pass to reach it, each with the
        number of its path among :attr:`judged`."""
        judges = [(k, judge) for k, judged in enumerate(self.judged) for judge in judged.judges]
        outside = tuple((k, judge) for k, judge in judges if k < len(self.outer))
        skips = tuple((k, judge) for k, judge in judges if k >= len(self.outer) and judge.kind == SKIPPING)
        gates = tuple((k, judge) for k, judge in judges if k >= len(self.outer) and judge.kind == GATING)
        return (), outside, (*outside, *skips), (*outside, *skips, *gates)

    @cached_property
    def leads_itself(self) -> bool:
        """Whether some judge looks at the tensor itself."""
        return any(self.tensor in judge.leaders for _, judge in self.stages[-1])

    @property
    def each(self) -> bool:
        """Whether some receiver may take no part in what its group is sent."""
        return any(judge.each for judge in self.judges)

    @cached_property
    def alone(self) -> Path:
        """This edge with every receiver a group of its own."""
        return replace(self, edge=replace(self.edge, merge=False), parts=by_receiver(self))

    def through(self, level: int, alone: bool) -> Path:
        """What passes through a level of this path, to all receivers below an instance of it or to each ``alone``."""
        return _through(self, level, alone)


def paths_of(problem: Problem, keep: BoolArray, safs: Sequence[Saf]) -> tuple[tuple[Path, ...], ...]:
    """For each tensor its edges between levels that ``keep`` [S, T] it, outermost first, with the features that judge them."""
    return _paths_of(problem, keep.tobytes(), tuple(safs))


@of_problem
def _paths_of(problem: Problem, keeps: bytes, safs: tuple[Saf, ...]) -> tuple[tuple[Path, ...], ...]:
    architecture, names = problem.design.architecture, problem.tensors
    levels = len(architecture.levels)
    keep = np.frombuffer(keeps, np.bool_).reshape(levels, len(names))
    found = []
    for t, name in enumerate(names):
        kept = np.flatnonzero(keep[:, t]).tolist()
        paths: list[Path] = []
        for parent, child in zip(kept, [*kept[1:], levels], strict=True):
            edge = Edge(parent, child, levels, problem.projections[t], bool(problem.multicast[parent:child].all()))
            reduces = bool(problem.reduction[parent:child].all())
            judges = tuple(
                Judge(
                    SKIPPING if saf.kind == SPATIAL_SKIPPING else saf.kind,
                    tuple(names.index(leader) for leader in saf.leaders),
                    saf.kind == SPATIAL_SKIPPING,
                )
                for saf in safs
                if saf.target == name and parent <= architecture.index(saf.level) < child
            )
            leads = any(name in saf.leaders and parent <= architecture.index(saf.level) < child for saf in safs)
            outer = tuple(part for path in paths for part in by_receiver(path))
            paths.append(Path(t, edge, judges, outer, leads, reduces))
        found.append(tuple(paths))
    return tuple(found)


@remembered
def _through(path: Path, level: int, alone: bool) -> Path:
    edge = replace(path.edge, parent=level, merge=path.edge.merge and not alone)
    each = (replace(part, edge=edge) if part.each and not alone else part for part in by_receiver(path))
    return Path(path.tensor, edge, (), (*path.outer, *each), False, path.reduces)


def by_receiver(path: Path) -> tuple[Path, ...]:
    """A path's judges of each receiver, who see what it alone uses, and those of groups: of both kinds, skipping wins."""
    groups = tuple(judge for judge in path.judges if not judge.each)
    each = tuple(judge for judge in path.judges if judge.each)
    alone = replace(path, edge=replace(path.edge, merge=False), judges=each)
    return tuple(part for part in (alone, replace(path, judges=groups)) if part.judges)
