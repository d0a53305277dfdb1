"""Sparse tensor cores: the latency curve of the dual-side one over densities, and the speedup of the structured one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from sparseloom import designs
from sparseloom.arch.design import Design
from sparseloom.document import read
from sparseloom.fibertree.density import Uniform
from sparseloom.fibertree.pattern import Pattern
from sparseloom.mapping.mapping import Mapping as LoopMapping
from sparseloom.model.conventions import profile
from sparseloom.model.evaluate import evaluate
from sparseloom.report.reported import DATA, Claim
from sparseloom.report.row import Row, mean_error, measured
from sparseloom.workload.workload import Workload

CONVENTIONS = "sparseloop-micro22"
DENSE = "1.0 1.0"
LANES_A, LANES_B, STEP = 8, 16, 32
"""Nonzeros of A and of B that a cycle takes, and the rows (columns) packed together (Wang et al., ISCA 2021)."""

CURVE = (
    "4096 x 4096 x 4096, uniform densities, latency / dense latency; setup of the artifact (fig13), conventions "
    f"{CONVENTIONS}, those of the artifact"
)
CURVE_MEAN = (
    "points with A below 1.0, taken to be those of the figure; the thesis prints no numbers. With A 1.0, B 0.4 too, "
    "ours is {all:.1%}. The model knows no bank conflicts, which show at densities of 0.3"
)
CLOSED = (
    "not the model, and not in the thesis: E[ceil(nA / 8)] E[ceil(nB / 16)] / 8, nA and nB binomial of 32; it knows "
    "no bandwidth"
)
SPEEDUP = (
    "cycles of the shipped tc / cycles of the shipped stc on M128-K1152-N1024, weights M->K1->K0(2:4); conventions "
    f"{CONVENTIONS}, which count the lanes that exist"
)


def dstc_rows(claim: Claim) -> Iterator[Row]:
    """Figure 4-9, point by point, its mean error, and that of the closed form. Keys of the claim: ``<A> <B>``."""
    dense = claim.paper[DENSE]
    points = [key for key in claim.paper if key != DENSE]
    cycles = dstc_cycles(claim.paper, CONVENTIONS)
    found = [
        measured("dstc", _name(key), "share", claim.paper[key] / dense, None, cycles[key] / cycles[DENSE], CURVE)
        for key in points
    ]
    yield from found
    drawn = [row for key, row in zip(points, found, strict=True) if densities(key)[0] < 1]
    whole = mean_error(found, "", "").error or 0.0
    what = f"latency, mean error of {len(drawn)}"
    yield mean_error(drawn, what, CURVE_MEAN.format(all=whole), claim.thesis_error)
    closed = [
        measured("dstc", "", "", claim.paper[key] / dense, None, closed_form(*densities(key)), "")
        for key in points
        if densities(key)[0] < 1
    ]
    yield mean_error(closed, "closed form, mean error", CLOSED)


def closed_form(density_a: float, density_b: float) -> float:
    """Latency of an outer product of packed columns and rows, as a share of the dense one: mean whole passes over A's
    lanes times those over B's.

    >>> closed_form(1, 1), closed_form(0, 1)
    (1.0, 0.0)
    """
    dense = math.ceil(STEP / LANES_A) * math.ceil(STEP / LANES_B)
    return _passes(density_a, LANES_A) * _passes(density_b, LANES_B) / dense


def _passes(density: float, lanes: int) -> float:
    chances = (math.comb(STEP, n) * density**n * (1 - density) ** (STEP - n) for n in range(STEP + 1))
    return sum(chance * math.ceil(n / lanes) for n, chance in enumerate(chances))


def densities(key: str) -> tuple[float, float]:
    """Of A and of B."""
    a, b = key.split()
    return float(a), float(b)


def _name(key: str) -> str:
    a, b = key.split()
    return f"latency, A {a}, B {b}"


def _case(path: Path) -> tuple[Workload, Design, LoopMapping]:
    from sparseloom.arch import file as design_file
    from sparseloom.mapping import file as mapping_file
    from sparseloom.workload import file as workload_file

    node = read(path).value
    design = node["design"]
    found = designs.load(design.value) if isinstance(design.value, str) else design_file.build(design)
    return workload_file.build(node["workload"]), found, mapping_file.build(node["mapping"])


def dstc_cycles(keys: Iterable[str], conventions: str) -> dict[str, float]:
    """Cycles of the product of 4096 x 4096 matrices at these densities, by the rules of these conventions."""
    workload, design, mapping = _case(DATA / "dstc-4096.yaml")
    rules, found = profile(conventions), {}
    for key in keys:
        given = zip(("A", "B"), densities(key), strict=True)
        sparse = {name: Uniform(workload.tensor_shape(name), density) for name, density in given if density < 1}
        found[key] = evaluate(replace(workload, densities=sparse), design, mapping, rules).cycles
    return found


def stc_rows(claim: Claim) -> Iterator[Row]:
    """The speedup of 2:4 weights over dense processing."""
    cycles = {}
    for name in ("tc", "stc"):
        workload, design, mapping = _case(designs.case_file(f"{name}-m128-k1152-n1024"))
        weights = Pattern.parse("M->K1->K0(2:4)").density_model(("M", "K"), workload.tensor_shape("A"))
        sparse = replace(workload, densities={"A": weights})
        cycles[name] = evaluate(sparse, design, mapping, profile(CONVENTIONS)).cycles
    speedup = cycles["tc"] / cycles["stc"]
    yield measured("stc", "speedup of 2:4 weights", "x", claim.paper["2:4"], claim.thesis["2:4"], speedup, SPEEDUP)
