"""The layers of a network as a shipped data file has them: what is computed, and how it is mapped on one design."""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass
from pathlib import Path

from sparseloom.document import read
from sparseloom.mapping.mapping import Mapping
from sparseloom.workload.workload import Workload


@dataclass(frozen=True)
class Layer:
    """One layer. ``raw`` names the tensors that the design leaves uncompressed for it."""

    name: str
    workload: Workload
    mapping: Mapping
    raw: frozenset[str] = frozenset()


def layers(path: Path) -> Table[str, Layer]:
    """The layers of a file by name, in its order. Raises InputError with the faults of the first layer that has any."""
    from sparseloom.mapping import file as mapping_file
    from sparseloom.workload import file as workload_file

    found = {}
    for name, node in read(path).value["layers"].value.items():
        raw = node.get("raw")
        found[name] = Layer(
            name,
            workload_file.build(node.value["workload"]),
            mapping_file.build(node.value["mapping"]),
            frozenset(item.value for item in raw.value) if raw else frozenset(),
        )
    return found
