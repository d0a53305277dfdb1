"""Fig. 6-3: what selecting operands costs with one rank of structured sparsity, and with two of the same flexibility."""

from __future__ import annotations

from typing import Final

from sparseloom.arch.component import Estimate
from sparseloom.arch.datapath import Mux
from sparseloom.arch.technology import Technology
from sparseloom.fibertree.pattern import Pattern
from sparseloom.report.study import Chart, Computed, Part

ONE: Final = "C0(2:{2<=H<=16})"
TWO: Final = "C1(2:{2<=H<=8})->C0(2:{2<=H<=4})"
WORD_BITS: Final = 8
SHARING: Final = 2
"""MACs of an element, which share the selection of a block."""


def study(jobs: int = 1) -> Computed:
    """Degrees of both designs, and the multiplexers of one MAC."""
    technology = Technology()
    one = Mux(16, WORD_BITS).estimate(technology)
    two = Mux(4, WORD_BITS).estimate(technology).plus(Mux(8, WORD_BITS).estimate(technology).times(1 / SHARING))
    alone = Mux(4, WORD_BITS).estimate(technology).plus(Mux(8, WORD_BITS).estimate(technology))
    degrees = {name: Pattern.parse(text).degrees() for name, text in (("one", ONE), ("two", TWO))}
    places = sorted({*degrees["one"], *degrees["two"]}, reverse=True)
    latency = {name: [float(d) if d in own else None for d in places] for name, own in degrees.items()}
    return Computed(
        "multiplexers of one rank against those of two",
        {
            "degrees-one": len(degrees["one"]),
            "degrees-two": len(degrees["two"]),
            "muxing-area": one.area_um2 / two.area_um2,
            "muxing-energy": one.pj("use") / two.pj("use"),
        },
        (_costs(one, two, alone), _densities(degrees["one"], degrees["two"])),
        Chart("lines", [f"{1 - d} sparse" for d in places], latency, "sparsity", "latency over dense"),
        (
            "a multiplexer of H inputs is H - 1 of two; of three gates a bit",
            f"the two lanes of an element share the selection of a block of the upper rank; if each had its own, the ratio of "
            f"areas would be {one.area_um2 / alone.area_um2:.2f}",
            "the upper rank selects by address; if it had to move whole blocks of four values, two ranks would cost more than one",
        ),
    )


def _costs(one: Estimate, two: Estimate, alone: Estimate) -> Part:
    rows = [
        (name, f"{found.area_um2:.1f}", f"{1000 * found.pj('use'):.1f}")
        for name, found in (
            ("one rank, 16 inputs", one),
            ("two ranks, 4 and 8 shared by 2", two),
            ("two ranks, none shared", alone),
        )
    ]
    return Part("multiplexers of one MAC, 8 bits, 45 nm", ("design", "um2", "fJ a use"), rows)


def _densities(one: tuple[object, ...], two: tuple[object, ...]) -> Part:
    rows = [(name, ", ".join(map(str, own))) for name, own in (("one rank", one), ("two ranks", two))]
    return Part("densities", ("design", "densities"), rows)
