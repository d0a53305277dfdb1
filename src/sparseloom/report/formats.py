"""Fig. 3-1: a coordinate list against a bitmask over densities, on the artifact's product of two small sparse matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sparseloom.designs.load import case_file, load
from sparseloom.document import read
from sparseloom.fibertree.density import FixedStructured
from sparseloom.mapping import file as mapping_file
from sparseloom.model.evaluate import evaluate
from sparseloom.report.study import Chart, Computed, Part
from sparseloom.results import Result
from sparseloom.workload import file as workload_file

PERCENT: Final = (1, 2, 4, 8, 10, 20, 40, 60, 80, 100)
FORMATS: Final = {"bitmask": "bitmask", "coordinates": "coordinate-list"}
CONVENTIONS: Final = "sparseloop-micro22"


def study(jobs: int = 1) -> Computed:
    """Energy and cycles of both formats at every density, with the mapping that the artifact's mapper found."""
    found = {name: {percent: _result(design, percent) for percent in PERCENT} for name, design in FORMATS.items()}
    energy = {percent: _ratio(found, percent, "energy_pj") for percent in PERCENT}
    cycles = {percent: _ratio(found, percent, "cycles") for percent in PERCENT}
    rows = [
        (
            f"{percent} %",
            *(f"{found[name][percent].cycles:,.0f}" for name in FORMATS),
            *(f"{found[name][percent].energy_pj / 1e6:.2f}" for name in FORMATS),
        )
        for percent in PERCENT
    ]
    ratios = {"energy": [energy[p] for p in PERCENT], "cycles": [cycles[p] for p in PERCENT]}
    return Computed(
        "a coordinate list against a bitmask",
        {
            "energy-at-4": energy[4],
            "energy-at-8": energy[8],
            "cycles-at-40": cycles[40],
            "cycles-at-80": cycles[80],
        },
        (
            Part(
                "128 x 128 x 128, both operands of one density",
                ("density", *(f"{name}, cycles" for name in FORMATS), *(f"{name}, uJ" for name in FORMATS)),
                rows,
            ),
        ),
        Chart(
            "lines", [f"{p} %" for p in PERCENT], ratios, "density of A and B", "coordinates over bitmask", log_y=True
        ),
        (f"designs, mapping and energies of the artifact (fig1), its conventions ({CONVENTIONS})",),
    )


def _result(design: str, percent: int) -> Result:
    file = case_file(f"{design}-spmspm")
    workload, mapping = workload_file.read(file), mapping_file.read(read(file))
    densities = {
        tensor: FixedStructured(workload.tensor_shape(tensor), -(-percent * 128 // 100) / 128) for tensor in ("A", "B")
    }
    return evaluate(replace(workload, densities=densities), load(design), mapping, CONVENTIONS)


def _ratio(found: Mapping[str, Mapping[int, Result]], percent: int, key: str) -> float:
    coordinates, bitmask = (getattr(found[name][percent], key) for name in ("coordinates", "bitmask"))
    return float(coordinates / bitmask)
