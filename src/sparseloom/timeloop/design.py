"""The design that a set of Timeloop files describes: levels with energies and networks, and sparse features."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparseloom.arch.design import Design
from sparseloom.arch.features import Features
from sparseloom.arch.hierarchy import Architecture, Network
from sparseloom.document import Node
from sparseloom.fibertree.format import Format
from sparseloom.mapping.details import Tiling, TimeloopDetails
from sparseloom.mapping.mapping import Mapping
from sparseloom.timeloop.architecture import Tree
from sparseloom.timeloop.ert import energy_table
from sparseloom.timeloop.format import assigned, clean_formats, plain_formats
from sparseloom.timeloop.reader import Reader
from sparseloom.timeloop.sparse import Sparse
from sparseloom.timeloop.storage import FANOUT_CLASS
from sparseloom.workload.workload import Workload


@dataclass(frozen=True)
class Parts:
    """What the sections of the files say, each read without faults. ``ert`` is the place of the energy tables."""

    hardware: Architecture
    tree: Tree
    sparse: Sparse
    workload: Workload
    mapping: Mapping | None
    details: TimeloopDetails
    ert: Node | None
    searching: bool = False


def build_design(parts: Parts, reader: Reader) -> Design | None:
    """Join the parts; None, with faults at the reader, if a format cannot be said in our terms.

    Networks and formats depend on the mapping: Timeloop's directives bar tensors from multicast, and its formats stand
    for loops.
    """
    hardware, tree, sparse = parts.hardware, parts.tree, parts.sparse
    details, file = parts.details, parts.ert.file if parts.ert else ""
    levels = tuple(
        replace(
            level,
            energy=energy_table(dict(details.ert.get(level.name, {})), False, file),
            network=_network(level.name, parts.workload, details, reader),
        )
        for level in hardware.levels
    )
    energy = energy_table(dict(details.ert.get(hardware.compute.name, {})), True, file)
    architecture = Architecture(levels, replace(hardware.compute, energy=energy))
    _energy_notes(details, hardware, parts.ert, reader)
    formats: dict[str, dict[str, Format]] | None = {}
    mapping = parts.mapping
    if parts.searching and mapping is None:
        formats = plain_formats(details, parts.workload)
    if mapping is not None:
        at = next(iter(sparse.places.values()), Node({}, "", 0))
        formats = reader.attempt(at, lambda: clean_formats(details, parts.workload, mapping))
        _format_notes(details, parts.workload, mapping, sparse, reader)
    if formats is None:
        return None
    gates, skips = sparse.compute_gating, sparse.compute_skipping
    features = Features(formats, tuple(sparse.safs), gates, skips, tree.decompression, tree.compression)
    return Design(architecture, features, name=tree.name)


def _network(level: str, workload: Workload, details: TimeloopDetails, reader: Reader) -> Network:
    """Without multicast if no operand may be multicast, without reduction if the output may not be reduced."""
    tiling = details.tiling.get(level, Tiling(()))
    operands = {operand.name for operand in workload.einsum.operands}
    barred = operands & tiling.no_multicast_no_reduction
    if barred and barred != operands:
        names = ", ".join(sorted(barred))
        reader.notes.append(
            f"{level}: {names} alone are not to be multicast; our network multicasts all operands or none"
        )
    if tiling.no_temporal_reuse:
        names = ", ".join(sorted(tiling.no_temporal_reuse))
        reader.notes.append(f"{level}: {names} are not to be reused over time; only Timeloop's conventions know that")
    reduces = workload.einsum.output.name not in tiling.no_multicast_no_reduction
    return Network(multicast=barred != operands or not operands, spatial_reduction=reduces)


def _energy_notes(details: TimeloopDetails, hardware: Architecture, ert: Node | None, reader: Reader) -> None:
    if ert is None:
        reader.notes.append("no ERT is given: the files have no energies")
        return
    for name in (*hardware.names, hardware.compute.name):
        actions = details.ert.get(name)
        dummy = name in details.levels and details.levels[name].class_name == FANOUT_CLASS
        if actions is None and not dummy:
            reader.note(ert, f"the ERT has no table for {name}: its energies are 0 pJ")
        elif actions is not None and name != hardware.compute.name and not {"read", "random_read"} & actions.keys():
            listed = ", ".join(actions) or "no action"
            reader.note(
                ert, f"the table of {name} has {listed}, but no read: it costs 0 pJ, or Timeloop's built-in energy"
            )


def _format_notes(
    details: TimeloopDetails, workload: Workload, mapping: Mapping, sparse: Sparse, reader: Reader
) -> None:
    for level in mapping.levels:
        for tensor in details.formats.get(level.level, {}):
            if tensor not in level.keep:
                text = f"{level.level} has a format for {tensor}, which it does not keep"
                reader.note(sparse.places[level.level, tensor], text)
                continue
            left = assigned(details, workload, mapping, level.level, tensor).left
            if left:
                loops = ", ".join(f"{digit.rank}={digit.bound}" for digit in left)
                text = f"the format of {tensor} at {level.level} has no rank for {loops}: joined to the next rank"
                reader.note(sparse.places[level.level, tensor], text)
