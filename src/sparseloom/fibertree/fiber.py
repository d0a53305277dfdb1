"""The fibertree that a format sees in a box: which fibers and elements its ranks have, before any data is known.

A rank of a format cuts every tensor rank into intervals of a fixed step at absolute coordinates (a split part
``K0=4`` leaves intervals of 4 above it and of 1 below). So a fiber, and an element of a fiber, is a box inside the
tensor; at the ends of a box the intervals may be partial. Boxes are given per tensor rank as ``low`` and ``high``
(half open), arrays of integers that broadcast; a box without points has no fibers at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, InputError, suggest
from sparseloom.fibertree.box import Corner, corners
from sparseloom.fibertree.format import Format, RankFormat
from sparseloom.memory import remembered

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """What a format rank takes of one tensor rank: the digit ``coordinate // step % count`` of its coordinates.

    ``axis`` is the tensor rank's place in the tensor. ``count`` is None for the outermost part, which has no limit.
    """

    axis: int
    step: int
    count: int | None


@dataclass(frozen=True)
class Geometry:
    """The geometry of a format's fibertree over a tensor.

    ``parts[r]``: what rank ``r`` takes, outermost first. ``steps[r][axis]``: the step at which the fibers of rank ``r``
    cut a tensor rank, 0 if they do not; ``steps[r + 1]`` is that of the elements of rank ``r``. Elements of the lowest rank
    are points.
    """

    parts: tuple[tuple[Part, ...], ...]
    steps: tuple[tuple[int, ...], ...]

    @property
    def lowest(self) -> int:
        """The number of the lowest rank."""
        return len(self.parts) - 1

    @cached_property
    def table(self) -> IntArray:
        """The steps as an array ``[n_format_ranks + 1, n_tensor_ranks]``."""
        return np.array(self.steps, np.int64)

    @cached_property
    def wide(self) -> IntArray:
        """The parts with more than one coordinate, ``[n, 3]``: their format rank, tensor rank and step."""
        parts = [
            (place, part.axis, part.step) for place, rank in enumerate(self.parts) for part in rank if part.count != 1
        ]
        return np.array(parts, np.int64).reshape(-1, 3)


@dataclass(frozen=True)
class _Named:
    """A rank name of a format, read: the tensor rank, the part's number (None: all of the rank) and coordinates."""

    text: str
    axis: int
    number: int | None
    count: int | None
    rank: int


@remembered
def bind(form: Format, ranks: tuple[str, ...]) -> Geometry:
    """Bind a format to a tensor's ranks, completing it at the top with what it does not name.

    Raises InputError with every rank the tensor lacks and every split that is out of order or lacks a size.
    """
    named, faults = _read_names(form, ranks)
    parts: list[list[Part]] = [[] for _ in form.ranks]
    missing: list[Part] = []
    placed: dict[str, Part] = {}
    for axis, rank in enumerate(ranks):
        mine = [name for name in named if name.axis == axis]
        faults += _split_faults(form, rank, mine)
        step = 1
        for name in reversed(mine):
            placed[name.text] = Part(axis, step, name.count)
            step *= name.count or 1
        if not mine or mine[0].count is not None:
            missing.append(Part(axis, step, None))
    if faults:
        raise InputError(faults)
    for name in named:
        parts[name.rank].append(placed[name.text])
    parts[0] = missing + parts[0]
    return Geometry(tuple(tuple(part) for part in parts), _steps(parts, len(ranks)))


def _steps(parts: Sequence[Sequence[Part]], axes: int) -> tuple[tuple[int, ...], ...]:
    steps: list[tuple[int, ...]] = [(0,) * axes]
    for rank in parts:
        cut = list(steps[-1])
        for part in rank:
            cut[part.axis] = part.step
        steps.append(tuple(cut))
    return tuple(steps)


def _read_names(form: Format, ranks: tuple[str, ...]) -> tuple[list[_Named], list[Fault]]:
    named, faults = [], []
    for place, rank in enumerate(form.ranks):
        for text in rank.ranks:
            name, _, size = text.partition("=")
            base, number = re.fullmatch(r"(.*?)(\d*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
            count = int(size) if size else None
            if name in ranks:
                named.append(_Named(text, ranks.index(name), None, count, place))
            elif number and base in ranks:
                named.append(_Named(text, ranks.index(base), int(number), count, place))
            else:
                what = f"format {form} names rank {name}, the tensor has {', '.join(ranks) or 'none'}"
                faults.append(Fault(what, path=str(form), fix=suggest(name, ranks) or "name a rank of the tensor"))
    return named, faults


def _split_faults(form: Format, rank: str, mine: list[_Named]) -> list[Fault]:
    """Faults of the parts of one tensor rank, in the order the format names them."""
    numbers = [name.number for name in mine]
    if None in numbers and len(mine) > 1:
        names = ", ".join(name.text for name in mine)
        return [Fault(f"rank {rank} is named whole and in parts ({names})", path=str(form), fix="keep one of them")]
    faults = [
        Fault(f"{name.text} gives rank {rank} a size", path=str(form), fix=f"write {rank}, or parts {rank}1, {rank}0=4")
        for name in mine
        if name.number is None and name.count is not None
    ]
    split = [number for number in numbers if number is not None]
    if split != sorted(set(split), reverse=True):
        order = ", ".join(f"{rank}{number}" for number in sorted(set(split), reverse=True))
        what = f"parts of rank {rank} are out of order: {', '.join(name.text for name in mine)}"
        faults.append(Fault(what, path=str(form), fix=f"the highest number is outermost: {order}"))
    faults += [
        Fault(
            f"part {name.text} has no size", path=str(form), fix=f"write {name.text}=4; only {mine[0].text} may lack it"
        )
        for name in mine[1:]
        if name.count is None
    ]
    return faults


def widths(form: Format, ranks: tuple[str, ...], low: Corner, high: Corner) -> IntArray:
    """Bits of one metadata and one payload unit of each rank: integers ``[..., n_format_ranks, 2]``.

    What the format gives holds. Otherwise metadata takes 1 bit for B and UB, and ``ceil(log2(L))``, at least 1, for
    CP and RLE, where L is the largest fiber of the rank in the box (so that no run needs a placeholder); 0 for U and
    UOP. Payload takes ``ceil(log2(A + 1))`` for UOP, where A is the most positions of the rank below that the box can
    have; 0 for the others, whose payload positions follow from their order.
    """
    lows, highs, batch = corners(len(ranks), low, high)
    geometry = bind(form, ranks)
    result = np.zeros((lows.shape[1], len(form.ranks), 2), np.int64)
    for place, rank in enumerate(form.ranks):
        result[:, place, 0] = _metadata_bits(rank, geometry, place, lows, highs)
        result[:, place, 1] = _payload_bits(form, geometry, place, lows, highs)
    return result.reshape(*batch, len(form.ranks), 2)


def largest_fiber(geometry: Geometry, rank: int, below: int, low: IntArray, high: IntArray) -> IntArray:
    """The most elements of rank ``below`` that one fiber of ``rank`` has in each of N boxes ``[n_tensor_ranks, N]``."""
    from sparseloom.fibertree.count import largest_fibers

    return np.asarray(largest_fibers(geometry.table, rank, below, low, high))


def _bits_for(values: IntArray) -> IntArray:
    """Bits that tell ``values`` apart, at least 1. Exact below 2**53."""
    return np.maximum(1, np.ceil(np.log2(np.maximum(values, 1)))).astype(np.int64)


def _metadata_bits(rank: RankFormat, geometry: Geometry, place: int, low: IntArray, high: IntArray) -> IntArray | int:
    if rank.metadata_bits is not None:
        return rank.metadata_bits
    if rank.kind in ("CP", "RLE"):
        return _bits_for(largest_fiber(geometry, place, place, low, high))
    return 1 if rank.kind in ("B", "UB") else 0


def _payload_bits(form: Format, geometry: Geometry, place: int, low: IntArray, high: IntArray) -> IntArray | int:
    bits = form.ranks[place].payload_bits
    if bits is not None or form.ranks[place].kind != "UOP":
        return bits or 0
    child = min(place + 1, geometry.lowest)
    addressed = largest_fiber(geometry, 0, child, low, high)
    if child > place and form.ranks[child].kind == "UOP":
        addressed = addressed + largest_fiber(geometry, 0, child - 1, low, high)
    return _bits_for(addressed + 1)


def digits(geometry: Geometry, rank: int, point: Sequence[IntArray] | IntArray) -> list[IntArray]:
    """The coordinate of points in a rank of the format: one array for each of the rank's parts, outermost first.

    ``point``: integers ``[n_tensor_ranks, ...]``. Points of different fibers can have the same coordinate.
    """
    quotients = [(part, np.asarray(point[part.axis]) // part.step) for part in geometry.parts[rank]]
    return [digit if part.count is None else digit % part.count for part, digit in quotients]


def single_coordinate(form: Format, ranks: tuple[str, ...], low: Corner, high: Corner) -> NDArray[np.bool_]:
    """Whether a box has a single coordinate in each rank of the format: booleans ``[..., n_format_ranks]``.

    A flattened rank has one if all its parts have. A part of ``count`` coordinates has one if the box lies in one of
    its intervals, or if ``count`` is 1.
    """
    from sparseloom.fibertree.count import single_coordinates

    lows, highs, batch = corners(len(ranks), low, high)
    found = single_coordinates(bind(form, ranks).wide, len(form.ranks), lows, highs)
    return np.asarray(found.reshape(*batch, len(form.ranks)), np.bool_)
