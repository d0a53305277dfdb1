"""Timeloop's formats, whose ranks stand for loops of a mapping, as our formats, whose ranks stand for tensor ranks.

Timeloop lists ranks top first and gives each one loop of the nest, or several by a flattening rule. Our formats name
the ranks of the tensor, or parts of them: a loop over a rank is one digit of its coordinates in mixed radix, which is
what a part is. The translation:

1. Loops are given to ranks as Timeloop does it (:func:`assigned`).
2. A loop becomes a part of the tensor rank whose index it moves: ``K1`` for the outermost loop, ``K0=4`` with the
bound for
   those inside it. Neighbouring parts in one format rank are joined; a tensor rank with one part is named whole.
3. A tensor rank that is not cut at fixed places by its loops (an index with a factor, or a sum in which two
   iteration ranks have loops) is not split: it is named whole in the lowest format rank that has one of its loops.
4. Format ranks without loops have one coordinate and are left out, but for the lowest, which keeps the format's kind.
5. Widths that the file leaves open are those of the level's metadata words, one bit for bitmasks; where the
   level says nothing, what the box needs.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass, replace
from math import prod

from sparseloom.fibertree.format import COMPRESSING, Format, RankFormat
from sparseloom.mapping.details import FormatDetails, Tiling, TimeloopDetails
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.workload.einsum import Projection, TensorAccess
from sparseloom.workload.workload import Workload


@dataclass(frozen=True)
class Digit:
    """One loop, or several of one iteration rank joined: ``bound`` coordinates, ``step`` apart."""

    rank: str
    bound: int
    step: int


Ranks = tuple[tuple[Digit, ...], ...]
"""The digits each rank of a format was given, top rank first, outermost digit first."""


@dataclass(frozen=True)
class Assignment:
    """``ranks``: the digits of each rank. ``left``: loops that found no rank; Timeloop refuses such a mapping."""

    ranks: Ranks
    left: tuple[Digit, ...] = ()


def clean_formats(details: TimeloopDetails, workload: Workload, mapping: Mapping) -> dict[str, dict[str, Format]]:
    """Our formats by level and tensor, of tensors that are kept there; ``mapping`` is the one read with ``details``."""
    found: dict[str, dict[str, Format]] = {}
    for level in mapping.levels:
        for tensor, form in details.formats.get(level.level, {}).items():
            if tensor in level.keep:
                access = workload.tensor(tensor)
                ranks = assigned(details, workload, mapping, level.level, tensor).ranks
                default = details.levels[level.level].metadata_word_bits
                found.setdefault(level.level, {})[tensor] = _translated(form, ranks, access, workload.shape, default)
    return found


def plain_formats(details: TimeloopDetails, workload: Workload) -> dict[str, dict[str, Format]]:
    """Our formats by level and tensor without a mapping: as if every level had one loop of each rank, in the order in which the
    tensor has them, and nothing stood inside."""
    found: dict[str, dict[str, Format]] = {}
    for level, forms in details.formats.items():
        for tensor, form in forms.items():
            access = workload.tensor(tensor)
            loops = tuple(Loop(rank, workload.shape[rank]) for rank in access.iteration_ranks)
            tiling = {name: Tiling(loops if name == level else ()) for name in details.levels}
            mapping = Mapping(
                tuple(LevelMapping(name, tiling[name].temporal, keep=frozenset({tensor})) for name in tiling)
            )
            ranks = assigned(replace(details, tiling=tiling), workload, mapping, level, tensor).ranks
            default = details.levels[level].metadata_word_bits
            found.setdefault(level, {})[tensor] = _translated(form, ranks, access, workload.shape, default)
    return found


def assigned(details: TimeloopDetails, workload: Workload, mapping: Mapping, level: str, tensor: str) -> Assignment:
    """The loops that each rank of a tensor's format at ``level`` stands for.

    Loops from below the next inner level that keeps the tensor (the child) up to ``level`` count, if the tensor's index
    mentions their rank. If the level compresses, and the child's tile has more than one point, the child's ranks (one
    rank with all loops inside, if the child has no format) are the lowest ranks here; otherwise the innermost
    of the loops of each iteration rank also takes the loops further in. The other ranks take loops from the outermost
    on, or from the innermost on: one non-trivial loop each, and with a flattening rule all that follow in the rule; a
    rank whose rule does not mention the next loop takes none. Loops that are left over join the rank next to them.

    Source: Timeloop, representation-analyzer.cpp.
    """
    names = [each.level for each in mapping.levels]
    place = names.index(level)
    access = workload.tensor(tensor)
    inner = [i for i in range(place + 1, len(names)) if tensor in mapping.levels[i].keep]
    child = inner[0] if inner else None
    digits = _digits(details, names, access, place)
    end = len(digits) if child is None else len(digits) - len(_digits(details, names, access, child))
    loops, below = digits[:end], digits[end:]
    form = details.formats.get(level, {}).get(tensor)
    if form is None:
        return Assignment((_nontrivial(digits),))
    if child is not None and _compresses(form) and _points(below, access) > 1:
        lower = assigned(details, workload, mapping, names[child], tensor).ranks
        surplus = len(lower) - len(form.ranks)
        if surplus > 0:
            lower = (tuple(d for rank in lower[: surplus + 1] for d in rank), *lower[surplus + 1 :])
    else:
        lower, loops = (), _widened(loops, below)
    upper, left = _distribute(form, loops, len(form.ranks) - len(lower))
    ranks = [*upper, *lower]
    if form.inner_to_outer or not upper:
        ranks[0] = (*left, *ranks[0])
    else:
        ranks[len(upper) - 1] = (*upper[-1], *left)
    return Assignment(tuple(ranks), left)


def _digits(details: TimeloopDetails, names: list[str], access: TensorAccess, place: int) -> tuple[Digit, ...]:
    """All loops of a level and of those inside it over ranks that the tensor's index mentions, outermost first."""
    nest: list[Loop] = []
    for name in names[place:]:
        tiling = details.tiling[name]
        nest += [loop for loop in (*tiling.temporal, *tiling.spatial) if loop.rank in access.iteration_ranks]
    steps: dict[str, int] = {}
    digits: list[Digit] = []
    for loop in reversed(nest):
        step = steps.get(loop.rank, 1)
        digits.append(Digit(loop.rank, loop.bound, step))
        steps[loop.rank] = step * loop.bound
    return tuple(reversed(digits))


def _nontrivial(digits: tuple[Digit, ...]) -> tuple[Digit, ...]:
    return tuple(digit for digit in digits if digit.bound > 1)


def _compresses(form: FormatDetails) -> bool:
    return any(rank.kind in COMPRESSING for rank in form.ranks)


def _points(digits: tuple[Digit, ...], access: TensorAccess) -> int:
    """Points of the tile that these loops span."""
    bounds = dict.fromkeys(access.iteration_ranks, 1)
    for digit in digits:
        bounds[digit.rank] *= digit.bound
    return prod(access.shape(bounds))


def _widened(loops: tuple[Digit, ...], below: tuple[Digit, ...]) -> tuple[Digit, ...]:
    """The innermost loop of each rank takes the loops further in."""
    inside: dict[str, int] = {}
    for digit in below:
        inside[digit.rank] = inside.get(digit.rank, 1) * digit.bound
    widened: list[Digit] = []
    for digit in reversed(loops):
        factor = inside.pop(digit.rank, 1)
        widened.append(Digit(digit.rank, digit.bound * factor, digit.step // factor))
    return tuple(reversed(widened))


def _distribute(form: FormatDetails, loops: tuple[Digit, ...], count: int) -> tuple[Ranks, tuple[Digit, ...]]:
    """Give loops to the top ``count`` ranks; also the loops that are left over. Both outermost first."""
    queue = list(_nontrivial(loops))
    rules = [rank.flattened for rank in form.ranks[:count]]
    if form.inner_to_outer:
        queue.reverse()
        rules.reverse()
    given: list[tuple[Digit, ...]] = []
    for rule in rules:
        taken: list[Digit] = []
        while queue and (queue[0].rank in rule if rule is not None else not taken):
            taken.append(queue.pop(0))
        given.append(tuple(reversed(taken)) if form.inner_to_outer else tuple(taken))
    if form.inner_to_outer:
        queue.reverse()
        given.reverse()
    return tuple(given), tuple(queue)


def _translated(
    form: FormatDetails, ranks: Ranks, access: TensorAccess, shape: Table[str, int], default_bits: int
) -> Format:
    names: list[list[str]] = [[] for _ in form.ranks]
    for projection in access.projections:
        for place, name in _parts(projection, ranks, shape):
            names[place].append(name)
    last = len(form.ranks) - 1
    found = []
    for place, rank in enumerate(form.ranks):
        if names[place] or place == last:
            metadata, payload = rank.metadata_bits, rank.payload_bits
            if metadata is None and rank.kind in ("CP", "RLE"):
                metadata = default_bits or None
            if payload is None and rank.kind == "UOP":
                payload = default_bits or None
            found.append(RankFormat(rank.kind, tuple(names[place]), metadata, payload))
    return Format(tuple(found))


def _parts(projection: Projection, ranks: Ranks, shape: Table[str, int]) -> list[tuple[int, str]]:
    """The parts of one tensor rank: the place of a format rank, and what it is called there, outermost first."""
    mentioned = [term.rank for term in projection.terms]
    pairs = [(place, digit) for place, rank in enumerate(ranks) for digit in rank if digit.rank in mentioned]
    if not pairs:
        return []
    moving = [term for term in projection.terms if shape[term.rank] > 1]
    plain = len(moving) == 1 and moving[0].coefficient == 1 and not projection.name[-1].isdigit()
    if not plain:
        return [(max(place for place, _ in pairs), projection.name)]
    joined: list[tuple[int, int]] = []
    for place, digit in pairs:
        if joined and joined[-1][0] == place:
            joined[-1] = (place, joined[-1][1] * digit.bound)
        else:
            joined.append((place, digit.bound))
    if len(joined) == 1:
        return [(joined[0][0], projection.name)]
    number = len(joined) - 1
    outer = (joined[0][0], f"{projection.name}{number}")
    return [outer, *((place, f"{projection.name}{number - i}={size}") for i, (place, size) in enumerate(joined[1:], 1))]
