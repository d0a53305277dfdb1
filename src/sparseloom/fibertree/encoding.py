"""Encode the nonzeros of a box in a format, with real streams, and decode them again.

The streams are what a storage level holds: bitmasks, coordinates, run lengths, offsets. They are the meaning of
``expected_units`` and ``worst_units``. Orders follow the fibertree: depth first, coordinates ascending.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, InputError
from sparseloom.fibertree.fiber import Geometry, IntArray, bind, digits, widths
from sparseloom.fibertree.format import COMPRESSING, PRUNING, Format

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RankStream:
    """What one rank of an encoding stores.

    ``metadata``: bits of bitmasks (B, UB), coordinates (CP: the position in the fiber, row by row where flattened; the
    first coordinate of the fiber that lies in the box is 0), run lengths (RLE). ``payload``: offsets (UOP) and starts
    (B, CP, RLE above the lowest rank), both counted in positions of the rank below, or in values below the lowest.
    ``entries``: stored positions of each existing fiber, in order. They delimit the fibers of CP and RLE for the
    decoder and are no part of the units: hardware knows them from the offsets or starts above, or from a header.
    """

    metadata: IntArray
    payload: IntArray
    entries: IntArray


@dataclass(frozen=True, eq=False)
class Encoding:
    """A box encoded: the streams of each rank, and the values in the order they are stored.

    ``stored``: for each stored value its place in the mask, flattened row by row. ``nonzero``: whether each stored
    value is nonzero (U and UB store zeros, and so does a placeholder of a run). ``widths``: bits of a unit, integers
    ``[n_format_ranks, 2]`` (metadata, payload).
    """

    form: Format
    ranks: tuple[str, ...]
    origin: tuple[int, ...]
    shape: tuple[int, ...]
    streams: tuple[RankStream, ...]
    stored: IntArray
    nonzero: BoolArray
    widths: IntArray

    @property
    def units(self) -> IntArray:
        """Metadata and payload units of each rank: integers ``[n_format_ranks, 2]``."""
        return np.array([(stream.metadata.size, stream.payload.size) for stream in self.streams], np.int64)

    @property
    def bits(self) -> int:
        """Bits of all units, without the values."""
        return int((self.units * self.widths).sum())

    def __str__(self) -> str:
        lines = [
            f"{rank}: metadata {_listed(stream.metadata)}, payload {_listed(stream.payload)}"
            for rank, stream in zip(self.form.ranks, self.streams, strict=True)
        ]
        return "\n".join([*lines, f"values at {_listed(self.stored)}, {self.bits} bits of metadata"])


def _listed(values: IntArray) -> str:
    return " ".join(map(str, values)) or "none"


@dataclass(frozen=True)
class _Layer:
    """The elements of one rank of the full fibertree, empty ones included, in order.

    ``points``: the first of its points, in the order of the tree. ``fiber``: the fiber (element of the rank above)
    it belongs to. ``sizes``: elements of each fiber. ``position``: its place in its fiber.
    """

    points: IntArray
    fiber: IntArray
    sizes: IntArray
    position: IntArray


def _layers(geometry: Geometry, shape: tuple[int, ...], origin: tuple[int, ...]) -> tuple[list[_Layer], IntArray]:
    """The layers of a box's fibertree, and the places in the mask of its points in the order of the tree."""
    size = int(np.prod(shape, dtype=np.int64))
    places = np.indices(shape).reshape(len(shape), size)
    coordinates = [place + start for place, start in zip(places, origin, strict=True)]
    ranks = [digits(geometry, rank, coordinates) for rank in range(len(geometry.parts))]
    keys = [digit for rank in ranks for digit in rank]
    order = np.lexsort(keys[::-1]) if keys else np.arange(size)
    layers: list[_Layer] = []
    element = np.zeros(size, np.int64)
    new = np.zeros(size, np.bool_)
    new[:1] = True
    for rank in ranks:
        for digit in rank:
            new[1:] |= np.diff(digit[order]) != 0
        points = np.flatnonzero(new)
        fiber = element[points]
        sizes = np.bincount(fiber, minlength=1 if size else 0)
        first = np.cumsum(sizes) - sizes
        layers.append(_Layer(points, fiber, sizes, np.arange(points.size) - first[fiber]))
        element = np.cumsum(new) - 1
    return layers, order


def encode(form: Format, mask: BoolArray, ranks: tuple[str, ...], origin: tuple[int, ...] | None = None) -> Encoding:
    """Encode a box of a tensor.

    ``mask``: where the box is nonzero, one axis for each of the tensor's ``ranks``. ``origin``: the coordinates of the
    mask's first point in the tensor (default: zeros); parts of split ranks lie at absolute coordinates. A box without
    points stores nothing, not even the offsets of a root. Raises InputError if the numbers of ranks differ.
    """
    origin = (0,) * mask.ndim if origin is None else origin
    if not mask.ndim == len(ranks) == len(origin):
        what = f"a mask of {mask.ndim} ranks at an origin of {len(origin)}, the tensor has {len(ranks)}"
        raise InputError(Fault(what, fix="give one axis and one coordinate for each rank of the tensor"))
    layers, order = _layers(bind(form, ranks), mask.shape, origin)
    width = widths(form, ranks, origin, [low + extent for low, extent in zip(origin, mask.shape, strict=True)])
    values = mask.reshape(-1)[order]
    stored = _store(form, layers, values, width)
    streams: list[RankStream] = []
    below = np.ones(order.size, np.int64)
    for place in reversed(range(len(layers))):
        stream, below = _stream(form, place, layers[place], stored[place], below)
        streams.insert(0, stream)
    kept = stored[-1].elements
    return Encoding(form, ranks, origin, mask.shape, tuple(streams), order[kept], values[kept], width)


@dataclass(frozen=True)
class _Stored:
    """What a rank stores: ``elements`` in order, placeholders included; which ``fibers`` exist; its metadata."""

    elements: IntArray
    fibers: BoolArray
    metadata: IntArray


def _store(form: Format, layers: list[_Layer], values: BoolArray, width: IntArray) -> list[_Stored]:
    """What each rank stores, from the top down; ``values`` in the order of the tree."""
    stored: list[_Stored] = []
    fibers = np.ones(layers[0].sizes.size, np.bool_)
    for rank, layer, (bits, _) in zip(form.ranks, layers, width, strict=True):
        nonempty = np.logical_or.reduceat(values, layer.points) if values.size else np.zeros(0, np.bool_)
        here = fibers[layer.fiber]
        children = here & nonempty if rank.kind in PRUNING else here
        elements, metadata = np.flatnonzero(children), np.zeros(0, np.int64)
        if rank.kind in ("B", "UB"):
            metadata = nonempty[here].astype(np.int64)
        elif rank.kind == "CP":
            metadata = layer.position[elements]
        elif rank.kind == "RLE":
            elements, metadata = _runs(layer, elements, 2 ** int(bits))
        stored.append(_Stored(elements, fibers, metadata))
        fibers = children
    return stored


def _runs(layer: _Layer, nonempty: IntArray, reach: int) -> tuple[IntArray, IntArray]:
    """The stored elements and the run before each, of less than ``reach``; a placeholder is an element like others."""
    if not nonempty.size:
        return nonempty, nonempty
    zeros = layer.position[nonempty].copy()
    same = np.flatnonzero(np.diff(layer.fiber[nonempty]) == 0) + 1
    zeros[same] = np.diff(nonempty)[same - 1] - 1
    units = zeros // reach + 1
    ahead = np.repeat(np.cumsum(units), units) - np.arange(units.sum()) - 1
    rest = np.repeat(zeros % reach, units)
    elements = np.repeat(nonempty, units) - np.where(ahead > 0, rest + 1 + (ahead - 1) * reach, 0)
    return elements, np.where(ahead > 0, reach - 1, rest)


def _stream(form: Format, place: int, layer: _Layer, stored: _Stored, below: IntArray) -> tuple[RankStream, IntArray]:
    """The stream of a rank, and the positions it stores of each fiber; ``below``: those of the rank below it."""
    kind = form.ranks[place].kind
    entries = np.bincount(layer.fiber[stored.elements], minlength=layer.sizes.size)
    payload = np.zeros(0, np.int64)
    if kind == "UOP":
        payload = _offsets(layer, stored, below)
        entries = np.where(stored.fibers, layer.sizes + 1, 0)
    elif kind in COMPRESSING and place < len(form.ranks) - 1:
        lengths = below[stored.elements]
        payload = np.cumsum(lengths) - lengths
    return RankStream(stored.metadata, payload, entries[stored.fibers]), entries


def _offsets(layer: _Layer, stored: _Stored, below: IntArray) -> IntArray:
    """For each existing fiber where its elements start in the rank below, and where the last one ends."""
    lengths = np.zeros(layer.points.size, np.int64)
    lengths[stored.elements] = below[stored.elements]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    first = np.cumsum(layer.sizes) - layer.sizes
    fibers = np.flatnonzero(stored.fibers)
    pieces = [ends[first[fiber] : first[fiber] + layer.sizes[fiber] + 1] for fiber in fibers]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)


def decode(encoding: Encoding) -> BoolArray:
    """The mask that was encoded, read from the streams and the values alone."""
    layers, order = _layers(bind(encoding.form, encoding.ranks), encoding.shape, encoding.origin)
    fibers = np.arange(layers[0].sizes.size)
    elements = fibers
    for place, (rank, layer, stream) in enumerate(zip(encoding.form.ranks, layers, encoding.streams, strict=True)):
        first = np.cumsum(layer.sizes) - layer.sizes
        positions = _read(rank.kind, stream, layer.sizes[fibers].tolist())
        elements = np.array(
            [first[fiber] + at for fiber, fiber_at in zip(fibers, positions, strict=True) for at in fiber_at], np.int64
        )
        fibers = elements
        if rank.kind == "RLE" and place < len(layers) - 1:
            end = encoding.streams[place + 1].entries.sum()
            fibers = elements[np.diff(stream.payload, append=end) > 0]
    mask = np.zeros(order.size, np.bool_)
    mask[order[elements]] = encoding.nonzero
    return mask.reshape(encoding.shape)


def _read(kind: str, stream: RankStream, sizes: list[int]) -> Iterator[list[int]]:
    """The stored positions of each existing fiber in turn, given the coordinates of each."""
    at = 0
    for size, entries in zip(sizes, stream.entries.tolist(), strict=True):
        if kind == "UOP":
            yield np.flatnonzero(np.diff(stream.payload[at : at + size + 1])).tolist()
            at += size + 1
        elif kind == "B":
            yield np.flatnonzero(stream.metadata[at : at + size]).tolist()
            at += size
        elif kind == "CP":
            yield stream.metadata[at : at + entries].tolist()
            at += entries
        elif kind == "RLE":
            yield (np.cumsum(stream.metadata[at : at + entries] + 1) - 1).tolist()
            at += entries
        else:
            yield list(range(size))
