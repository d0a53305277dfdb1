"""The transfers of one mapping: by classes of alike ones where places do not matter, else one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import IntArray, MappingBatch, Problem
from sparseloom.model.classes import ClassSource
from sparseloom.model.edge import Box, Edge, Wanted
from sparseloom.model.events import Events
from sparseloom.model.events import Rows as EventRows
from sparseloom.model.limits import refuse_long_walks
from sparseloom.model.nests import Nests, lay_out
from sparseloom.model.source import OneMapping, Rows

FloatArray = NDArray[np.float64]
Found = TypeVar("Found")


@dataclass(frozen=True)
class SingleMapping(OneMapping):
    """One mapping as a source of rows (:class:`sparseloom.model.source.Source`)."""

    problem: Problem
    nests: Nests
    mappings: int = 1

    @classmethod
    def of(cls, problem: Problem, batch: MappingBatch) -> SingleMapping:
        """The one mapping of ``batch``."""
        return cls(problem, lay_out(problem, batch))

    @property
    def nest(self) -> IntArray:
        return np.asarray(self.nests.loops[0, :, : self.nests.count[0]])

    @cached_property
    def _events(self) -> Events:
        """Raises MappingError where there are too many to look at."""
        refuse_long_walks(self.problem.workload)
        return Events(self.nest, self.problem.shape)

    @cached_property
    def _placed(self) -> bool:
        """Whether places matter to some density."""
        return any(density.coordinate_dependent for density in self.problem.densities)

    @cached_property
    def _classes(self) -> ClassSource:
        return ClassSource.of(self.problem, self.nests)

    def transfers(self, edge: Edge, wanted: Wanted) -> Iterator[Rows]:
        """The rows of an edge. Raises MappingError where there are too many to look at."""
        found = self._by_class(lambda classes: list(classes.transfers(edge, wanted)))
        return iter(found) if found is not None else self._events.transfers(edge, wanted)

    def _by_class(self, of: Callable[[ClassSource], Found]) -> Found | None:
        """What the classes say, if places do not matter and the mapping fits their form."""
        if self._placed:
            return None
        self._classes.marked[0] = False
        found = of(self._classes)
        return None if self._classes.marked[0] else found

    def tiles(self, edge: Edge, wanted: Wanted) -> tuple[Box, FloatArray, FloatArray, IntArray]:
        """Boxes of the child's tiles, mean points of those that each stands for, how many they are, and the mapping of each.

        Raises MappingError where there are too many to look at.
        """
        return self._by_class(lambda classes: classes.tiles(edge, wanted)) or self._events.tiles(edge, wanted)

    def nominal(self, level: int) -> IntArray:
        """Coordinates of a tile of a level where no bound is cut short, at most the shape, [D, 1]."""
        return self._classes.nominal(level)

    def busiest(self, busy: FloatArray, rows: Any, barrier: int) -> FloatArray:
        """As :meth:`Source.busiest`, [1]."""
        if isinstance(rows, EventRows):
            return self._events.busiest(busy, rows, barrier)
        return self._classes.busiest(busy, rows, barrier)
