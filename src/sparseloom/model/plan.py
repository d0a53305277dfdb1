"""What the steps ask of a source of rows: it follows from the problem and from what is kept where, whatever the loops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparseloom.fibertree.fiber import bind
from sparseloom.fibertree.format import Format
from sparseloom.mapping.batch import BoolArray, Problem, of_problem
from sparseloom.model.edge import Edge, Wanted
from sparseloom.model.path import Path, by_receiver


@of_problem
def of_transfers(problem: Problem, path: Path, keeper: int) -> Wanted:
    """What is wanted of the transfers of a path's edge, which move in the form of level ``keeper``."""
    formats = [form for level in (keeper, path.edge.child) if (form := problem.format_of(level, path.tensor))]
    parent, names = problem.format_of(keeper, path.tensor), problem.rank_names(path.tensor)
    return Wanted(
        judges=tuple(judged.edge for judged in path.judged),
        looked_at=_looked_at(problem, path.judged),
        positions=positions(problem, {path.tensor, *_leaders(path.judged)}, split_tensor(formats, names, path.tensor)),
        watch=_watched(parent, names) if parent is not None else (),
        splits=_splits(formats, names),
        steps=problem.design.architecture.levels[path.edge.parent].block_words > 1,
        output=path.tensor == len(problem.tensors) - 1,
    )


@of_problem
def of_tiles(problem: Problem, tensor: int, level: int) -> tuple[Edge, Wanted]:
    """Whose child holds the tiles of a tensor at a level, and what is wanted of them."""
    form, names = problem.format_of(level, tensor), problem.rank_names(tensor)
    formats = [form] if form is not None else []
    edge = Edge(0, level, level + 1, problem.projections[tensor], False)
    wanted = Wanted(
        positions=positions(problem, {tensor}, split_tensor(formats, names, tensor)), splits=_splits(formats, names)
    )
    return edge, wanted


@of_problem
def of_computes(
    problem: Problem, paths: tuple[tuple[Path, ...], ...], everywhere: bool
) -> tuple[tuple[Path, ...], Edge, Wanted]:
    """What judges the words of some tensors on their ways, and the edge whose transfers are the computes, with a span for each of
    those; a row for each compute if its place matters ``everywhere``."""
    count, levels = problem.shape.size, paths[0][-1].edge.levels
    judged = tuple(part for ways in paths for path in ways for part in by_receiver(path))
    points = Edge(0, levels, levels, np.eye(count, dtype=np.int64), False)
    wanted = Wanted(
        judges=tuple(path.edge for path in judged),
        looked_at=_looked_at(problem, judged),
        positions=positions(problem, {*range(len(problem.tensors) - 1), *_leaders(judged)}) | everywhere,
        offsets=_offsets(problem, judged),
        origin=True,
    )
    return judged, points, wanted


def positions(problem: Problem, tensors: set[int], split: int | None = None) -> BoolArray:
    """Ranks whose places matter, [D]: those of ``tensors`` whose density depends on coordinates, and of a ``split`` one."""
    placed = [t for t in tensors if problem.densities[t].coordinate_dependent or t == split]
    return np.asarray(problem.projections[placed].any(axis=(0, 1)), np.bool_)


def split_tensor(formats: Sequence[Format], names: tuple[str, ...], tensor: int) -> int | None:
    """The tensor, if one of its ``formats`` splits its ranks."""
    ranks = (rank for form in formats for rank in form.ranks)
    return tensor if any(name not in names for rank in ranks for name in rank.ranks) else None


def _leaders(judged: Sequence[Path]) -> set[int]:
    return {t for path in judged for judge in path.judges for t in judge.leaders}


def _looked_at(problem: Problem, judged: Sequence[Path]) -> tuple[BoolArray, ...]:
    """The iteration ranks that index a leader of each path's judges, [D]."""
    leaders = [sorted(_leaders([path])) for path in judged]
    return tuple(np.asarray(problem.projections[some].any(axis=(0, 1)), np.bool_) for some in leaders)


def _watched(form: Format, names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Tensor ranks, and steps in them, whose changes move the metadata of ranks above the lowest."""
    parts = (part for rank in bind(form, names).parts[:-1] for part in rank)
    return tuple(dict.fromkeys((part.axis, part.step) for part in parts))


def _splits(forms: Sequence[Format], names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Tensor ranks, and steps above 1 at which the formats cut them."""
    parts = (part for form in forms for rank in bind(form, names).parts for part in rank)
    return tuple(dict.fromkeys((part.axis, part.step) for part in parts if part.step > 1))


def _offsets(problem: Problem, judged: Sequence[Path]) -> BoolArray:
    """Ranks of leaders that are looked at on the ways of two operands: those tiles overlap in any way, while the tiles on
    one operand's way lie in one another."""
    found = np.zeros(problem.shape.size, np.bool_)
    for leader in range(len(problem.tensors)):
        led = {path.tensor for path in judged if any(leader in judge.leaders for judge in path.judges)}
        if len(led) > 1 and not problem.densities[leader].coordinate_dependent:
            found |= problem.projections[leader].any(axis=0)
    return found
