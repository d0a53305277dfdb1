"""Fig. 6-12: what sparsity costs HighLight in energy and area, block by block."""

from __future__ import annotations

from sparseloom.arch.area import area
from sparseloom.arch.blocks import Role
from sparseloom.arch.technology import Technology
from sparseloom.designs.load import load
from sparseloom.report.comparison import Comparison, compare
from sparseloom.report.study import Chart, Computed, Part
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

WEIGHTS, ACTIVATIONS = "C1(2:4)->C0(2:4)", "dense"
DESIGNS = ("tc", "stc", "dstc", "highlight")
SIZE = 1024


def study(jobs: int = 1) -> Computed:
    """Energy of a product with A of 75 % zeros and B dense, and the area of HighLight."""
    technology = Technology()
    network = Network("product", "thesis, 6.4.1", (Layer.linear("product", rows=SIZE, inputs=SIZE, outputs=SIZE),))
    found = compare(network, DESIGNS, WEIGHTS, ACTIVATIONS, technology=technology, jobs=jobs, budget_s=60)
    if found.interrupted:
        raise KeyboardInterrupt
    own = area(load("highlight"), technology)
    rows = [
        (
            block.name,
            block.role.value,
            str(block.instances),
            f"{block.area_um2:,.0f}",
            f"{block.area_um2 / own.total_um2:.1%}",
        )
        for block in own.blocks
        if block.area_um2
    ]
    by_role = {role.value: um2 / own.total_um2 for role, um2 in own.by_role().items() if um2}
    return Computed(
        "what sparsity costs highlight",
        {"feature-share": own.feature_share},
        (
            Part(
                f"area of highlight, {own.total_um2 / 1e6:.2f} mm2", ("block", "for", "instances", "um2", "share"), rows
            ),
            _energy(found),
        ),
        _chart(found),
        (
            f"{technology}",
            f"area by what it is for: {', '.join(f'{name} {share:.1%}' for name, share in by_role.items())}",
            "stores of metadata hold what a dense design holds as data, and are not counted as features",
        ),
    )


def _energy(found: Comparison) -> Part:
    rows = [
        (design, block, f"{energy / 1e6:.1f}")
        for design in DESIGNS
        for block, energy in found.energy_by_block(design).items()
    ]
    return Part("energy, uJ, A of 75 % zeros, B dense", ("design", "block", "uJ"), rows)


def _chart(found: Comparison) -> Chart:
    """Energy on the chip by what blocks are there for."""
    series: dict[str, list[float | None]] = {role.value: [] for role in Role if role is not Role.OTHER}
    for contender in found.contenders:
        roles = {block.name: block.role.value for block in contender.area.blocks}
        energies = found.energy_by_block(contender.name)
        for role, values in series.items():
            own = (pj for name, pj in energies.items() if roles[name] == role and not name.startswith("DRAM"))
            values.append(sum(own) / 1e6)
    return Chart("bars", list(DESIGNS), series, "", "uJ on the chip")
