"""What gives the transfers of mappings, whichever way they are counted: rows of alike ones.

:mod:`sparseloom.model.events` lists them for one mapping, :mod:`sparseloom.model.classes` has them for a batch,
:mod:`sparseloom.model.single` chooses for one mapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import BoolArray, IntArray
from sparseloom.model.edge import Box, Edge, Wanted

FloatArray = NDArray[np.float64]


class Rows(Protocol):
    """Transfers of one edge, N rows of alike ones, of one mapping or of many.

    :class:`sparseloom.model.events.Rows` lists those of one mapping, :class:`sparseloom.model.classes.Classes` classes of
    a batch; the attributes mean the same in both.
    """

    @property
    def mapping(self) -> IntArray: ...
    @property
    def groups(self) -> FloatArray: ...
    @property
    def receivers(self) -> FloatArray: ...
    @property
    def first_groups(self) -> FloatArray: ...
    @property
    def first_receivers(self) -> FloatArray: ...
    @property
    def box(self) -> Box: ...
    @property
    def overlap(self) -> Box: ...
    def span(self, k: int) -> Box: ...
    def stays(self, axis: int, step: int) -> BoolArray: ...
    def step_total(self, values: FloatArray, merged: bool) -> FloatArray: ...


class Source(Protocol):
    """Where rows come from: one mapping's events, or a batch's classes. ``mappings`` counts the mappings, B."""

    @property
    def mappings(self) -> int: ...
    def alike(self, edge: Edge, wanted: Wanted, levels: Sequence[int] = ()) -> tuple[Source, IntArray | None]:
        """The source of the mappings that differ to an edge, or in their tiles at ``levels``, and which of those each mapping is
        like, [B]; None: itself."""
        ...

    def alike_in_tiles(self, edge: Edge, wanted: Wanted) -> tuple[Source, IntArray | None]:
        """As :meth:`alike`, as far as the child's tiles go."""
        ...

    def transfers(self, edge: Edge, wanted: Wanted) -> Iterator[Rows]:
        """The rows of an edge, in batches that make up the whole."""
        ...

    def tiles(self, edge: Edge, wanted: Wanted) -> tuple[Box, FloatArray, FloatArray, IntArray]:
        """Boxes of the child's tiles, mean points of those that each stands for, how many they are, and the mapping of each."""
        ...

    def nominal(self, level: int) -> IntArray:
        """Coordinates of a tile of a level where no bound is cut short, at most the shape, [D, B]."""
        ...

    def busiest(self, busy: FloatArray, rows: Any, barrier: int) -> FloatArray:
        """The most that any compute instance has of ``busy`` [N] computes within a step of the level ``barrier``, over all
        steps, [B]."""
        ...


class OneMapping:
    """A source of one mapping, which is like no other."""

    def alike(self, edge: Edge, wanted: Wanted, levels: Sequence[int] = ()) -> tuple[Self, None]:
        return self, None

    def alike_in_tiles(self, edge: Edge, wanted: Wanted) -> tuple[Self, None]:
        return self, None
