"""A batch of mappings of one workload on one design, as arrays: the form in which the model's steps take them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, wraps
from itertools import chain
from typing import Any, TypeVar, TypeVarTuple, cast

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.design import Design
from sparseloom.errors import Fault, MappingError, suggest
from sparseloom.fibertree.density import Density
from sparseloom.fibertree.fiber import bind
from sparseloom.fibertree.format import Format
from sparseloom.kernel import kernel
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.memory import forgotten
from sparseloom.workload.workload import Workload

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Number = TypeVar("Number", np.int64, np.float64)
Value = TypeVar("Value")
More = TypeVarTuple("More")


@dataclass(frozen=True, eq=False)
class Problem:
    """What all mappings of a batch share: ``workload`` on ``design``, with its ranks and tensors numbered. Equal to itself alone.

    Ranks are numbered as in ``workload.ranks`` (D of them), tensors operands first and the output last (T), levels
    outermost first (S).
    """

    workload: Workload
    design: Design
    known: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)
    """What :func:`of_problem` worked out."""

    @cached_property
    def ranks(self) -> tuple[str, ...]:
        return self.workload.ranks

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        return tuple(t.name for t in self.workload.einsum.tensors)

    @cached_property
    def shape(self) -> IntArray:
        """Coordinates of each rank, [D]."""
        return np.array([self.workload.shape[r] for r in self.ranks], dtype=np.int64)

    @cached_property
    def projections(self) -> IntArray:
        """Coefficient of each rank in each tensor rank's index, [T, R, D]; R is the most ranks of any tensor, the
        rows beyond a tensor's own ranks are zero."""
        accesses = self.workload.einsum.tensors
        table = np.zeros((len(accesses), max(1, *(len(a.projections) for a in accesses)), len(self.ranks)), np.int64)
        for t, access in enumerate(accesses):
            for r, projection in enumerate(access.projections):
                for term in projection.terms:
                    table[t, r, self.ranks.index(term.rank)] = term.coefficient
        return table

    def projection(self, tensor: int) -> IntArray:
        """Coefficients of each rank in the index of each rank of a tensor, [ranks, D]."""
        return self._projections[tensor]

    @cached_property
    def _projections(self) -> list[IntArray]:
        return [table[: len(names)] for table, names in zip(self.projections, self._rank_names, strict=True)]

    @cached_property
    def sliding(self) -> list[bool]:
        """Whether several ranks index one rank of a tensor together, [T]."""
        return [bool(((table > 0).sum(axis=1) > 1).any()) for table in self.projections]

    def rank_names(self, tensor: int) -> tuple[str, ...]:
        return self._rank_names[tensor]

    @cached_property
    def _rank_names(self) -> list[tuple[str, ...]]:
        return [access.ranks for access in self.workload.einsum.tensors]

    @cached_property
    def densities(self) -> tuple[Density, ...]:
        """How the nonzeros of each tensor are spread, [T]."""
        return tuple(map(self.workload.density, self.tensors))

    def format_of(self, level: int, tensor: int) -> Format | None:
        """The format in which ``level`` keeps a tensor; compute has none."""
        return self._formats[level][tensor]

    @cached_property
    def _formats(self) -> list[list[Format | None]]:
        form = self.design.features.format_of
        return [[form(name, t) for t in self.tensors] for name in self.design.architecture.names] + [
            [None] * len(self.tensors)
        ]

    @cached_property
    def cuts(self) -> IntArray:
        """Ranks, and sizes of the parts into which formats split the tensor ranks that each of them indexes by itself, [C, 2],
        larger sizes first."""
        found: set[tuple[int, int]] = set()
        for forms in self.design.features.formats.values():
            for name, form in forms.items():
                t = self.tensors.index(name)
                for part in chain(*bind(form, self.workload.einsum.tensors[t].ranks).parts):
                    (some,) = np.nonzero(self.projections[t, part.axis])
                    if part.step > 1 and len(some) == 1 and self.projections[t, part.axis, some[0]] == 1:
                        found.add((int(some[0]), part.step))
        return np.array(sorted(found, key=lambda cut: -cut[1]), np.int64).reshape(-1, 2)

    @cached_property
    def multicast(self) -> BoolArray:
        """Whether a read of each level can serve several children, [S]."""
        return np.array([level.network.multicast for level in self.design.architecture.levels])

    @cached_property
    def reduction(self) -> BoolArray:
        """Whether children's partial sums are added on their way up to each level, [S]."""
        return np.array([level.network.spatial_reduction for level in self.design.architecture.levels])


def problem_of(workload: Workload, design: Design) -> Problem:
    """The problem of a workload on a design: for the very same ones the same each time, with what was worked out of it."""
    return _problem_of(_Same(workload), _Same(design))


def of_problem(function: Callable[[Problem, *More], Value]) -> Callable[[Problem, *More], Value]:
    """``function``, worked out once for a problem and the same arguments, and kept as long as the problem is."""

    @wraps(function)
    def once(problem: Problem, *arguments: *More) -> Value:
        key = (function, arguments)
        if key not in problem.known:
            if len(problem.known) >= MOST_KNOWN:
                problem.known.clear()
            problem.known[key] = function(problem, *arguments)
        return cast(Value, problem.known[key])

    return once


MOST_KNOWN = 256
"""Results that are kept of a problem; then it begins anew."""


class _Same:
    """A value that is equal to nothing but itself, whatever it holds."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@forgotten
@lru_cache(8)
def _problem_of(workload: _Same, design: _Same) -> Problem:
    return Problem(workload.value, design.value)


@kernel
def corner_of(projection: IntArray, places: NDArray[Number]) -> NDArray[Number]:
    """Coordinates [R, N] of a tensor at ``places`` [D, N] of the iteration space; ``projection`` is [R, D]."""
    found = np.zeros((len(projection), places.shape[1]), places.dtype)
    for r in range(len(projection)):
        for d in range(len(places)):
            for n in range(places.shape[1] if projection[r, d] else 0):
                found[r, n] += projection[r, d] * places[d, n]
    return found


@kernel
def extents_of(projection: IntArray, sizes: NDArray[Number]) -> NDArray[Number]:
    """Extents [R, N] of a tensor's boxes over ``sizes`` [D, N] coordinates of the iteration ranks; ``projection`` is [R, D]."""
    found = np.ones((len(projection), sizes.shape[1]), sizes.dtype)
    for r in range(len(projection)):
        for d in range(len(sizes)):
            for n in range(sizes.shape[1] if projection[r, d] else 0):
                found[r, n] += projection[r, d] * (sizes[d, n] - 1)
    return found


@dataclass(frozen=True)
class MappingBatch:
    """B mappings as arrays over L loop slots, outermost slot first.

    ``rank[b, i]`` is the number of the rank that slot i loops over, ``bound[b, i]`` its bound (1: an empty slot),
    ``place[b, i] = 3 * level + kind`` with kind 0 for temporal, 1 for spatial along X and 2 along Y; places never
    decrease in level along the slots, a level's temporal slots stand before its spatial ones. ``keep`` and ``stream``,
    [S, T], are common to the batch.
    """

    rank: IntArray
    bound: IntArray
    place: IntArray
    keep: BoolArray
    stream: BoolArray

    def __len__(self) -> int:
        return len(self.bound)

    def __getitem__(self, part: slice) -> MappingBatch:
        return MappingBatch(self.rank[part], self.bound[part], self.place[part], self.keep, self.stream)

    @classmethod
    def joined(cls, parts: Sequence[MappingBatch]) -> MappingBatch:
        """Batches that keep the same tensors at the same levels, one after the other."""
        rank, bound, place = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("rank", "bound", "place")
        )
        return cls(rank, bound, place, parts[0].keep, parts[0].stream)

    def mapping(self, problem: Problem, b: int) -> Mapping:
        """Mapping ``b`` by itself."""
        slots = zip(self.rank[b].tolist(), self.bound[b].tolist(), self.place[b].tolist(), strict=True)
        loops = [
            (place, Loop(problem.ranks[rank], bound, KINDS[place % 3])) for rank, bound, place in slots if bound > 1
        ]
        levels = []
        for depth, name in enumerate(problem.design.architecture.names):
            temporal = tuple(loop for place, loop in loops if place == 3 * depth)
            spatial = tuple(loop for place, loop in loops if place // 3 == depth and place % 3)
            kept, streamed = (
                frozenset(t for t, there in zip(problem.tensors, table[depth], strict=True) if there)
                for table in (self.keep, self.stream)
            )
            levels.append(LevelMapping(name, temporal, spatial, kept, streamed))
        return Mapping(tuple(levels))

    def check(self, problem: Problem) -> None:
        """Raises MappingError with every way in which the arrays are no loop nests of ``problem``; whether these cover its ranks is
        seen when they are laid out."""
        levels, ranks = len(problem.design.architecture.levels), len(problem.ranks)
        shapes = {self.rank.shape, self.bound.shape, self.place.shape}
        faults = []
        if len(shapes) > 1 or self.bound.ndim != 2:
            what = f"rank, bound and place have shapes {self.rank.shape}, {self.bound.shape} and {self.place.shape}"
            raise MappingError(Fault(what, path="batch", fix="give each one row for each mapping, [B, L]"))
        for name, held in (("keep", self.keep), ("stream", self.stream)):
            if held.shape != (levels, len(problem.tensors)):
                what = f"{name} has shape {held.shape}, there are {levels} levels and {len(problem.tensors)} tensors"
                faults.append(Fault(what, path=name, fix="give one row for each level"))
        if not _in_order(self.rank, self.bound, self.place, ranks, 3 * levels):
            faults += self._disorder(ranks, 3 * levels)
        if not faults:
            for t in np.flatnonzero(~self.keep[0]):
                what = (
                    f"{problem.tensors[t]} is not kept at the outermost level, {problem.design.architecture.names[0]}"
                )
                faults.append(Fault(what, path="keep", fix="keep every tensor there"))
        if faults:
            raise MappingError(faults)

    def _disorder(self, ranks: int, places: int) -> Iterator[Fault]:
        """What :func:`_in_order` finds, said."""
        for name, values, least, most in (("rank", self.rank, 0, ranks), ("place", self.place, 0, places)):
            wrong = (values < least) | (values >= most)
            if wrong.any():
                yield _first_fault(name, values, wrong, f"numbers from {least} to {most - 1}")
        if (self.bound < 1).any():
            yield _first_fault("bound", self.bound, self.bound < 1, "at least one iteration")
        outwards = np.diff(self.place // 3, axis=1, prepend=0) < 0
        if outwards.any():
            yield _first_fault("place", self.place, outwards, "slots from the outermost level inwards")

    @classmethod
    def of(cls, problem: Problem, mappings: Sequence[Mapping]) -> MappingBatch:
        """The arrays of ``mappings``, all of which keep and stream the same tensors at the same levels.

        Raises MappingError if there is none, or one that keeps others, has other levels, or a loop over an unknown rank.
        """
        faults = list(_unlike(problem, mappings))
        if faults:
            raise MappingError(faults)
        number = {rank: d for d, rank in enumerate(problem.ranks)}
        slots = max(1, *(len(mapping.loops) for mapping in mappings))
        table = np.zeros((3, len(mappings), slots), np.int64)
        table[1] = 1
        for b, mapping in enumerate(mappings):
            rows = [
                (number[loop.rank], loop.bound, 3 * depth + KINDS.index(loop.axis))
                for depth, level in enumerate(mapping.levels)
                for loop in (*level.temporal, *level.spatial)
            ]
            if rows:
                table[:, b, : len(rows)] = np.array(rows).T
                table[2, b, len(rows) :] = rows[-1][2]
        return cls(table[0], table[1], table[2], *_kept(problem, mappings[0]))


@kernel
def _in_order(rank: IntArray, bound: IntArray, place: IntArray, ranks: int, places: int) -> bool:
    """Whether all slots have a rank, at least one iteration and a place, and the levels of these go inwards."""
    fine = True
    for b in range(len(bound)):
        first = 0
        for i in range(bound.shape[1]):
            at = place[b, i]
            fine &= 0 <= rank[b, i] < ranks and bound[b, i] >= 1 and first <= at < places
            # the first place of the level; divided only where it changes
            if at >= first + 3:
                first = at - at % 3
    return fine


KINDS = ("", "X", "Y")
"""The axis of a loop, by the kind in its place."""


def _first_fault(name: str, values: IntArray, wrong: BoolArray, wanted: str) -> Fault:
    """The first of the ``wrong`` values [B, L]."""
    b, i = (int(each[0]) for each in np.nonzero(wrong))
    return Fault(f"mapping {b}, slot {i}: {name} is {values[b, i]}", path=name, fix=f"give {wanted}")


def _unlike(problem: Problem, mappings: Sequence[Mapping]) -> Iterator[Fault]:
    """What keeps ``mappings`` from being a batch."""
    if not mappings:
        yield Fault("a batch of no mappings", fix="give one at least")
        return
    names = problem.design.architecture.names
    for b, mapping in enumerate(mappings):
        levels = tuple(level.level for level in mapping.levels)
        if levels != names:
            yield Fault(f"mapping {b} has levels {', '.join(levels)}", fix=f"give {', '.join(names)}, in this order")
        for rank in sorted({loop.rank for loop in mapping.loops} - set(problem.ranks)):
            yield Fault(f"mapping {b} has a loop over rank {rank}", fix=suggest(rank, problem.ranks))
        alike = [(level.keep, level.stream) for level in mapping.levels]
        if alike != [(level.keep, level.stream) for level in mappings[0].levels]:
            yield Fault(
                f"mapping {b} keeps or streams other tensors than mapping 0",
                fix="evaluate them in batches of their own",
            )


def _kept(problem: Problem, mapping: Mapping) -> tuple[BoolArray, BoolArray]:
    keep = np.array([[t in level.keep for t in problem.tensors] for level in mapping.levels])
    stream = np.array([[t in level.stream - level.keep for t in problem.tensors] for level in mapping.levels])
    return keep, stream
