"""What moves in the dense loop nest: edges between keeping levels, and the transfers along them.

Section 2 of docs/oracle.md. Sparsity has no part in this: features and formats are counted on top of these events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sparseloom.arch.hierarchy import Architecture
from sparseloom.mapping.mapping import Mapping
from sparseloom.sim.nest import BoolArray, Box, Nest
from sparseloom.workload.einsum import TensorAccess


@dataclass(frozen=True)
class Edge:
    """A tensor's way from a level that keeps it, ``parent``, to the next one that does, ``child``, or to compute.

    ``multicast`` and ``reduces`` say whether all networks on the way can serve several receivers with one read, and add
    the partial sums of several receivers. ``streams`` are the levels between them through which the tensor passes.
    """

    parent: int
    child: int
    multicast: bool
    reduces: bool
    streams: tuple[int, ...] = ()


@dataclass(frozen=True)
class Transfer:
    """One group's transfer: the receivers of one parent instance that replace box ``old`` by box ``new`` at ``step``.

    ``parent`` and ``receivers`` number instances of the edge's two levels, ``step`` a step of the child. ``points`` are
    the words that ``old`` lacks, as booleans of ``new``'s shape; ``revisited`` those of them that moved between the
    parent instance and any child at an earlier step. ``before`` holds the boxes of the receivers at their active steps just
    before this one (None: there was none).

    Where ``old`` covers ``new``, nothing moves and this is no event; it is listed because a period may begin with it.
    """

    step: int
    parent: int
    receivers: tuple[int, ...]
    new: Box
    points: BoolArray
    revisited: BoolArray
    before: frozenset[Box | None]

    @property
    def moves(self) -> bool:
        """Whether there are words to move."""
        return bool(self.points.any())


def keeping_levels(mapping: Mapping, tensor: str) -> tuple[int, ...]:
    """The levels that keep a tensor, outermost first."""
    return tuple(i for i, level in enumerate(mapping.levels) if tensor in level.keep)


def edges(mapping: Mapping, architecture: Architecture, tensor: str) -> tuple[Edge, ...]:
    """The edges along which a tensor moves, outermost first."""
    stops = (*keeping_levels(mapping, tensor), len(mapping.levels))
    found = []
    for parent, child in pairwise(stops):
        networks = [architecture.levels[level].network for level in range(parent, child)]
        multicast, reduces = (all(n.multicast for n in networks), all(n.spatial_reduction for n in networks))
        streams = tuple(level for level in range(parent + 1, child) if tensor in mapping.levels[level].stream)
        found.append(Edge(parent, child, multicast, reduces, streams))
    return tuple(found)


def transfers(nest: Nest, access: TensorAccess, edge: Edge) -> Iterator[list[Transfer]]:
    """All transfers of an edge, those of one step together; the ones that move nothing are among them."""
    seen = _Seen(nest, access)
    last: dict[int, Box] = {}
    for groups in _groups_by_step(nest, access, edge):
        together = []
        for (step, parent, new, old, _), receivers in groups.items():
            points = delta(new, old)
            before = frozenset(last.get(receiver) for receiver in receivers)
            revisited = points & seen.of(parent, new)
            together.append(Transfer(step, parent, tuple(receivers), new, points, revisited, before))
        yield together
        for transfer in together:
            seen.mark(transfer.parent, transfer.new)
            last.update(dict.fromkeys(transfer.receivers, transfer.new))


_Group = tuple[int, int, Box, Box | None, int | None]
"""Step, parent instance, new box, old box, and the receiver where each is a group of its own."""


def _groups_by_step(nest: Nest, access: TensorAccess, edge: Edge) -> Iterator[dict[_Group, list[int]]]:
    """The receivers of every group, step by step."""
    view, share = nest.views[edge.child], nest.descendants(edge.parent, edge.child)
    held: dict[int, Box] = {}
    for step in range(view.steps):
        groups: dict[_Group, list[int]] = {}
        for receiver in np.flatnonzero(view.active[:, step]).tolist():
            new = nest.project(view.points(receiver, step), access)
            old = None if edge.child == nest.compute else held.get(receiver)
            held[receiver] = new
            key = (step, receiver // share, new, old, None if edge.multicast else receiver)
            groups.setdefault(key, []).append(receiver)
        yield groups


class _Seen:
    """Which words each parent instance has moved so far."""

    def __init__(self, nest: Nest, access: TensorAccess) -> None:
        whole = nest.project(nest.views[0].points(0, 0), access)
        self._shape = tuple(high for _, high in whole)
        self._words: dict[int, BoolArray] = {}

    def of(self, parent: int, box: Box) -> BoolArray:
        return np.asarray(self._all(parent)[inside(box)])

    def mark(self, parent: int, box: Box) -> None:
        self._all(parent)[inside(box)] = True

    def _all(self, parent: int) -> BoolArray:
        return self._words.setdefault(parent, np.zeros(self._shape, dtype=np.bool_))


def delta(new: Box, old: Box | None) -> BoolArray:
    """``[shape of new]``: the points of ``new`` that ``old`` does not hold."""
    points = np.ones([high - low for low, high in new], dtype=np.bool_)
    if old is not None:
        overlap = tuple(slice(max(a - c, 0), max(min(b, d) - c, 0)) for (a, b), (c, d) in zip(old, new, strict=True))
        points[overlap] = False
    return points


def inside(box: Box) -> tuple[slice, ...]:
    """The box as an index into an array of the tensor's shape."""
    return tuple(slice(low, high) for low, high in box)
