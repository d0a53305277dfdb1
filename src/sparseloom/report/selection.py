"""Fig. 6-2: what selecting G of up to H values costs, by the largest H that hardware supports."""

from __future__ import annotations

from statistics import correlation
from typing import Final

from sparseloom.arch.component import Estimate
from sparseloom.arch.datapath import MetadataDecoder, Mux
from sparseloom.arch.technology import Technology
from sparseloom.fibertree.pattern import Pattern
from sparseloom.report.study import Chart, Computed, Part

WORD_BITS: Final = 8
LARGEST: Final = tuple(range(2, 17))
SELECTED: Final = (2, 4)
"""Values of a block that are selected at once: as HighLight does in each rank, and as the figure does."""


def study(jobs: int = 1) -> Computed:
    """Multiplexers, and what decodes the coordinates for them, for patterns G:H up to each H."""
    technology = Technology()
    muxes = {(g, h): Mux(h, WORD_BITS).estimate(technology).times(g) for g in SELECTED for h in LARGEST if h >= g}
    decoders = {(g, h): MetadataDecoder(h).estimate(technology).times(g) for g, h in muxes}
    whole = {key: muxes[key].plus(decoders[key]) for key in muxes}
    staged = Mux(4, WORD_BITS).estimate(technology).times(2).plus(Mux(2, WORD_BITS).estimate(technology))
    own = [muxes[2, h] for h in LARGEST]
    with_decoders = [whole[2, h] for h in LARGEST]
    return Computed(
        "what selecting operands costs, by the largest block",
        {
            "effectual": float(max(Pattern.parse("C0(4:8)").degrees())),
            "staged": staged.area_um2 / Mux(8, WORD_BITS).estimate(technology).area_um2,
            "linear-area": correlation(LARGEST, [each.area_um2 for each in own]),
            "linear-energy": correlation(LARGEST, [each.pj("use") for each in own]),
            "doubled": muxes[2, 16].area_um2 / muxes[2, 8].area_um2,
            "selected": muxes[4, 8].area_um2 / muxes[2, 8].area_um2,
            "linear-whole": correlation(LARGEST, [each.area_um2 for each in with_decoders]),
            "doubled-whole": whole[2, 16].area_um2 / whole[2, 8].area_um2,
        },
        tuple(_part(g, {h: (muxes[g, h], decoders[g, h]) for h in LARGEST if h >= g}) for g in SELECTED),
        Chart(
            "lines",
            LARGEST,
            {
                "multiplexers, 2:H": [each.area_um2 for each in own],
                "and decoders, 2:H": [each.area_um2 for each in with_decoders],
                "multiplexers, 4:H": [muxes[4, h].area_um2 if h >= 4 else None for h in LARGEST],
            },
            "largest H",
            "um2",
        ),
        (
            f"{technology}, words of {WORD_BITS} bits; G multiplexers of H inputs each, of H - 1 multiplexers of two",
            "section 6.2.2 says 4:8 for Fig. 6-2(a), its caption 2:4; both are half of a block",
            "a decoder turns a coordinate into a line for each input; the text speaks of multiplexers alone",
        ),
    )


def _part(g: int, found: dict[int, tuple[Estimate, Estimate]]) -> Part:
    rows = [
        (
            f"{g}:{h}",
            *(f"{each.area_um2:.1f}" for each in (mux, decoder)),
            *(f"{1000 * each.pj('use'):.1f}" for each in (mux, decoder)),
        )
        for h, (mux, decoder) in found.items()
    ]
    head = ("largest", "multiplexers, um2", "decoders, um2", "multiplexers, fJ a step", "decoders, fJ a step")
    return Part(f"{g} values of a block at a time", head, rows)
