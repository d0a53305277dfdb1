"""Machines in a short notation: levels L0, L1 ... with as many children as a mapping spreads over."""

from itertools import accumulate
from math import prod
from operator import mul

from tests.generators import Case
from tests.sim.toys import design

from sparseloom.arch.actions import EnergyTable
from sparseloom.arch.features import Saf
from sparseloom.arch.hierarchy import StorageLevel
from sparseloom.fibertree.format import Format
from sparseloom.mapping.mapping import LevelMapping, Mapping
from sparseloom.workload.workload import Workload

PRICED = ("read", "fill", "update", "gated_read", "skipped_read", "metadata_read", "metadata_fill")
ENERGY = EnergyTable(dict.fromkeys(PRICED, 2.0), source="made up")


def saf(feature: str) -> Saf:
    """``saf("0 skipping B A")``: at level L0 skip B where A has no nonzero."""
    place, kind, target, *leaders = feature.split()
    return Saf(f"L{place}", kind, target, tuple(leaders))


def case(
    layer: Workload,
    levels: list[LevelMapping],
    features: list[str],
    formats: dict[str, dict[str, str]] | None = None,
    block_words: int = 1,
    **compute: bool,
) -> Case:
    """``layer`` mapped to ``levels``; formats are written out by level and tensor, spatial loops run along X."""
    *meshes, macs = accumulate((prod(loop.bound for loop in part.spatial) for part in levels), mul, initial=1)
    storages = [
        StorageLevel(f"L{i}", block_words=block_words, metadata_width_bits=4, mesh_x=mesh, energy=ENERGY)
        for i, mesh in enumerate(meshes)
    ]
    parsed = {name: {t: Format.parse(form) for t, form in row.items()} for name, row in (formats or {}).items()}
    machine = design(*storages, macs=macs, safs=tuple(map(saf, features)), formats=parsed, **compute)
    return Case(layer, machine, Mapping(tuple(levels)))
