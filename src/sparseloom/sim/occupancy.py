"""How much each level holds at most, and whether it fits.

Section 8 of docs/oracle.md.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass

import numpy as np

from sparseloom.arch.hierarchy import Architecture
from sparseloom.errors import Fault, MappingError
from sparseloom.sim.nest import Nest
from sparseloom.sim.store import Store


@dataclass(frozen=True)
class Occupancy:
    """The most ``words`` and metadata ``bits`` of each tensor that one instance holds at a step, by level name."""

    words: dict[str, dict[str, int]]
    bits: dict[str, dict[str, int]]


def occupancy(nest: Nest, architecture: Architecture, stores: Table[str, Table[int, Store]]) -> Occupancy:
    """Look at every tile. ``stores`` are by tensor, then level. Raises MappingError for every level that overflows."""
    held = Occupancy({name: {} for name in architecture.names}, {name: {} for name in architecture.names})
    for tensor, levels in stores.items():
        for level, store in levels.items():
            words, bits = _most(nest, level, store)
            held.words[architecture.names[level]][tensor] = words
            held.bits[architecture.names[level]][tensor] = bits
    faults = []
    for storage in architecture.levels:
        sizes = (
            (held.words[storage.name], storage.capacity_words, "words"),
            (held.bits[storage.name], storage.metadata_capacity_bits, "bits of metadata"),
        )
        for most, room, unit in sizes:
            if room is not None and sum(most.values()) > room:
                faults.append(_overflow(storage.name, most, room, unit))
    if faults:
        raise MappingError(faults)
    return held


def _most(nest: Nest, level: int, store: Store) -> tuple[int, int]:
    view = nest.views[level]
    where = np.argwhere(view.active).tolist()
    boxes = {nest.project(view.points(instance, step), store.access) for instance, step in where}
    words = max(store.words(box, np.ones([b - a for a, b in box], dtype=np.bool_)) for box in boxes)
    return words, max(store.all_metadata(box).bits for box in boxes)


def _overflow(level: str, most: dict[str, int], room: int, unit: str) -> Fault:
    parts = ", ".join(f"{tensor}={amount:,}" for tensor, amount in most.items())
    largest = max(most, key=lambda tensor: most[tensor])
    what = f"tiles need {sum(most.values()):,} {unit} but {level} holds {room:,} ({parts})"
    return Fault(what, path=level, fix=f"shrink the tile of {largest} (the largest), or bypass {level} for it")
