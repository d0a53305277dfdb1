"""One processing element of Eyeriss v2 on the pointwise layers of MobileNet: cycles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from sparseloom import designs
from sparseloom.arch.design import Design
from sparseloom.fibertree.density import ActualData
from sparseloom.model.evaluate import evaluate
from sparseloom.report import mask
from sparseloom.report.layer import Layer, layers
from sparseloom.report.mask import Masks
from sparseloom.report.reported import DATA, Claim
from sparseloom.report.row import Row, measured
from sparseloom.workload.workload import Workload

STRIPE = 4
"""Columns of the image that are evaluated at a time with actual data, to keep the memory small."""

UNIFORM = (
    "uniform densities of two decimals (artifact, fig12), nonzeros of weights and activations independent; the "
    "authors counted the products of real data"
)
TOGETHER = "sums of the eight layers with published densities; of all 28 layers, the thesis' model is {whole:.1%} off"
ACTUAL = (
    "masks of real weights and activations; the sum over channels of nonzero weights times nonzero activations is "
    "{products:,}"
)
NO_DENSITIES = "{names}: no densities are published"
NO_MASKS = "no masks of these are published; `--masks FOLDER` takes those of pointwise layers: {names}"


def rows(claims: Mapping[str, Claim], masks: Path | None) -> Iterator[Row]:
    """Figure 4-8, with uniform densities and with actual data: the shipped masks and those of the folder ``masks``."""
    claim, design = claims["eyeriss-v2-cycles"], designs.load("eyeriss-v2-pe")
    found = layers(DATA / "eyeriss-v2-mobilenet.yaml")
    data = {"L07": mask.shipped(DATA / "eyeriss-v2-l07-masks.npz", found["L07"])}
    if masks is not None:
        data |= mask.given(masks, found)
    yield from _uniform(claim, design, found)
    yield from _actual(claim.paper, claims["eyeriss-v2-cycles-actual"].thesis, design, found, data)


def _uniform(claim: Claim, design: Design, found: Mapping[str, Layer]) -> Iterator[Row]:
    known = [name for name, layer in found.items() if layer.workload.densities]
    cycles = {name: evaluate(found[name].workload, design, found[name].mapping).cycles for name in known}
    for name in known:
        what = f"cycles, {name}, uniform"
        yield measured(design.name, what, "cycles", claim.paper[name], claim.thesis[name], cycles[name], UNIFORM)
    paper, thesis = (sum(numbers[name] for name in known) for numbers in (claim.paper, claim.thesis))
    note = TOGETHER.format(whole=1 - sum(claim.thesis.values()) / sum(claim.paper.values()))
    what = f"cycles, {len(known)} layers, uniform"
    yield measured(design.name, what, "cycles", paper, thesis, sum(cycles.values()), note)
    others = [name for name in claim.paper if name not in known]
    note = NO_DENSITIES.format(names=", ".join(others))
    yield Row(design.name, f"cycles, {len(others)} others, uniform", "cycles", note=note)


def _actual(
    paper: Mapping[str, float],
    thesis: Mapping[str, float],
    design: Design,
    found: Mapping[str, Layer],
    data: Mapping[str, Masks],
) -> Iterator[Row]:
    for name, masks in data.items():
        ours = cycles_with_data(found[name], design, masks)
        note = ACTUAL.format(products=masks.nonzero_products)
        what = f"cycles, {name}, actual"
        yield measured(design.name, what, "cycles", paper[name], thesis.get(name), ours, note)
    others = [name for name in paper if name not in data]
    note = NO_MASKS.format(names=", ".join(name for name in found if name not in data))
    yield Row(design.name, f"cycles, {len(others)} others, actual", "cycles", note=note)


def cycles_with_data(layer: Layer, design: Design, masks: Masks) -> float:
    """Cycles of a pointwise layer with these nonzeros: of stripes of its image, which share nothing but the weights."""
    return sum(_stripe_cycles(layer, design, masks, first) for first in range(0, layer.workload.shape["Q"], STRIPE))


def _stripe_cycles(layer: Layer, design: Design, masks: Masks, first: int) -> float:
    inputs = np.ascontiguousarray(masks.inputs[..., first : first + STRIPE])
    columns = inputs.shape[-1]
    densities = {"W": ActualData(masks.weights), "I": ActualData(inputs)}
    workload = Workload(layer.workload.einsum, {**layer.workload.shape, "Q": columns}, densities)
    levels = tuple(
        replace(level, temporal=tuple(replace(x, bound=columns) if x.rank == "Q" else x for x in level.temporal))
        for level in layer.mapping.levels
    )
    return evaluate(workload, design, replace(layer.mapping, levels=levels)).cycles
