"""Named tables of energies, each a data file, for designs that give none. Imports pydantic: load it on demand only.

What an access costs follows from the size of one instance of its level, by classes; an unbounded level is DRAM. The energy is the
ratio of the class times that of one compute, for each word of a block; a read, a fill and an update cost the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from sparseloom.arch.actions import DATA_ACTIONS, EnergyTable
from sparseloom.arch.design import Design
from sparseloom.arch.hierarchy import ComputeLevel, StorageLevel
from sparseloom.document import read
from sparseloom.document_model import Bits, Energy, FileModel, Name, Size, validate
from sparseloom.errors import Fault, InputError, suggest

_FOLDER: Final = Path(__file__).parent / "tables"


class SizeClass(FileModel):
    """Levels of ``least_bytes`` to ``most_bytes``, unbounded ones without these; a word costs ``ratio`` computes."""

    name: Name
    least_bytes: Size | None = None
    most_bytes: Size | None = None
    ratio: Energy

    def has(self, size_bytes: float | None) -> bool:
        if size_bytes is None or self.least_bytes is None or self.most_bytes is None:
            return size_bytes is None and self.least_bytes is None
        return self.least_bytes <= size_bytes <= self.most_bytes

    def __str__(self) -> str:
        return f"{self.name} " + (
            "unbounded" if self.least_bytes is None else f"{self.least_bytes:,} to {self.most_bytes:,}"
        )


class NamedEnergies(FileModel):
    """A table: the classes with the publications that their ratios and their sizes are from, and the energy of a compute."""

    ratio_source: Name
    size_source: Name
    classes: tuple[SizeClass, ...]
    word_bits: Bits
    compute_pj: Energy
    compute_source: Name

    @property
    def source(self) -> str:
        """Where the energies of storage are from."""
        return f"{self.compute_pj} pJ times the ratio of {self.ratio_source}; its sizes from {self.size_source}"


def names() -> tuple[str, ...]:
    """Names of the tables, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def with_energies(design: Design, name: str) -> Design:
    """A design without energies and sparse features, with those of the table ``name``.

    Raises InputError for a name that is not one of :func:`names`, and for all that the table has no energies of: levels of other
    sizes, words of other widths, sparse features; and for energies that the design has already.
    """
    if name not in names():
        raise InputError(Fault(f"no energy table is called '{name}'", path="energy-table", fix=suggest(name, names())))
    table = validate(NamedEnergies, read(_FOLDER / f"{name}.yaml"))
    faults = list(_faults(design, name, table))
    if faults:
        raise InputError(faults)
    levels = tuple(replace(level, energy=_energy(level, table)) for level in design.architecture.levels)
    energy = EnergyTable({"compute": table.compute_pj}, table.compute_source)
    compute = replace(design.architecture.compute, energy=energy)
    return replace(design, architecture=replace(design.architecture, levels=levels, compute=compute))


def _faults(design: Design, name: str, table: NamedEnergies) -> Iterator[Fault]:
    features, architecture = design.features, design.architecture
    parts: list[StorageLevel | ComputeLevel] = [*architecture.levels, architecture.compute]
    for part in parts:
        if part.energy.energies_pj:
            yield Fault(f"{part.name} has energies already", path=part.name, fix="leave --energy-table out")
        if part.word_bits != table.word_bits:
            what = f"{part.name} has words of {part.word_bits} bits, the table {name} is of {table.word_bits} bits"
            yield Fault(what, path=part.name, fix="give energies of your own")
    for level in architecture.levels:
        if level.capacity_words != 0 and _class(level, table) is None:
            sizes = "; ".join(map(str, table.classes))
            what = f"{level.name} has {_bytes(level):,.0f} bytes, which no class of the table {name} has"
            yield Fault(what, path=level.name, fix=f"give energies of your own; its classes are, in bytes: {sizes}")
    if any(features.formats.values()) or features.safs or features.compute_gating or features.compute_skipping:
        what = f"the table {name} has no energies of metadata, of gated and of skipped accesses"
        yield Fault(what, path="features", fix="give energies of your own")


def _bytes(level: StorageLevel) -> float | None:
    return None if level.capacity_words is None else level.capacity_words * level.word_bits / 8


def _class(level: StorageLevel, table: NamedEnergies) -> SizeClass | None:
    return next((each for each in table.classes if each.has(_bytes(level))), None)


def _energy(level: StorageLevel, table: NamedEnergies) -> EnergyTable:
    """What a block costs; nothing at a level that stores nothing."""
    found = _class(level, table)
    if found is None:
        return EnergyTable()
    block_pj = found.ratio * table.compute_pj * level.block_words
    return EnergyTable(dict.fromkeys(DATA_ACTIONS, block_pj), f"{found.name}: {table.source}")
