"""The transfers of one mapping: by classes of alike ones where places do not matter, else one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseloom.mapping.batch import IntArray, MappingBatch, Problem
from sparseloom.model.classes import ClassSource
from sparseloom.model.edge import Box, Edge, Wanted
from sparseloom.model.events import Events
from sparseloom.model.events import Rows as EventRows
from sparseloom.model.limits import refuse_long_walks
from sparseloom.model.nests import Nests, lay_out
from sparseloom.model.source import Rows

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SingleMapping:
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
        workload = self.problem.workload
        return any(workload.density(name).coordinate_dependent for name in self.problem.tensors)

    def transfers(self, edge: Edge, wanted: Wanted) -> Iterator[Rows]:
        """The rows of an edge. Raises MappingError where there are too many to look at."""
        irregular = np.array([self._placed])
        if not irregular[0]:
            found: list[Rows] = list(ClassSource(self.problem, self.nests, irregular).transfers(edge, wanted))
        return self._events.transfers(edge, wanted) if irregular[0] else iter(found)

    def tiles(self, edge: Edge, wanted: Wanted) -> tuple[Box, FloatArray, FloatArray, IntArray]:
        """Boxes of the child's tiles, mean points of those that each stands for, how many they are, and the mapping of each.

        Raises MappingError where there are too many to look at.
        """
        irregular = np.array([self._placed])
        if not irregular[0]:
            found = ClassSource(self.problem, self.nests, irregular).tiles(edge, wanted)
        return self._events.tiles(edge, wanted) if irregular[0] else found

    def nominal(self, level: int) -> IntArray:
        """Coordinates of a tile of a level where no bound is cut short, at most the shape, [D, 1]."""
        return np.asarray(np.minimum(self.nests.tile[0, level], self.problem.shape)[:, None])

    def busiest(self, busy: FloatArray, rows: Any) -> FloatArray:
        """The most that any compute instance has of ``busy`` [N] computes, [1]."""
        if isinstance(rows, EventRows):
            return self._events.busiest(busy, rows)
        return ClassSource(self.problem, self.nests, np.zeros(1, np.bool_)).busiest(busy, rows)
