"""Fig. 4-9: time of products on a dual-side sparse tensor core, over the densities of both operands.

The cycles are the model's, of columns of A and rows of B of 32 that are packed into 8 and 16 lanes. The time of a cycle is fitted,
on products with a dense B; those with a sparse B are predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

from sparseloom.report.reported import reported
from sparseloom.report.study import Chart, Computed, Part
from sparseloom.report.tensor_core import DENSE, LANES_A, LANES_B, STEP, densities, dstc_cycles, dstc_rows

OWN: Final = "sparseloom"
SIZE: Final = 4096
MEAN_ROW: Final = "latency, mean error of"


def study(jobs: int = 1) -> Computed:
    """Measured and modelled times, and how far these are from those."""
    claim = reported()["dstc-latency"]
    measured_us = claim.paper
    cycles = dstc_cycles(measured_us, OWN)
    fitted, predicted = _columns(measured_us)
    us_per_cycle = scale(cycles, measured_us, fitted)
    errors = {key: us_per_cycle * cycles[key] / measured_us[key] - 1 for key in measured_us}
    longer = {key: own + SIZE * (SIZE / STEP) ** 2 for key, own in cycles.items()}
    us_longer = scale(longer, measured_us, fitted)
    others = {key: us_longer * longer[key] / measured_us[key] - 1 for key in measured_us}
    [thesis] = [row.error for row in dstc_rows(claim) if row.what.startswith(MEAN_ROW)]
    return Computed(
        "time of products on a dual-side sparse tensor core",
        {
            "nine": _mean(errors, [*fitted, *predicted]),
            "predicted": _mean(errors, predicted),
            "fitted": _mean(errors, fitted),
            "most": max(abs(errors[key]) for key in (*fitted, *predicted)),
            "dense": abs(errors[DENSE]),
            "normalised": thesis or 0.0,
            "longer-fitted": _mean(others, fitted),
            "longer-predicted": _mean(others, predicted),
        },
        (_part(measured_us, {key: us_per_cycle * own for key, own in cycles.items()}, errors, fitted),),
        _chart(measured_us, {key: us_per_cycle * own for key, own in cycles.items()}),
        (
            f"fitted: one constant, {1e6 * us_per_cycle:.4g} ps a cycle, by least squares of the relative error over the points "
            "with a dense B but that with a dense A; no point with a sparse B is used",
            f"columns of A and rows of B of {STEP} are packed into {LANES_A} and {LANES_B} lanes: the model's mean of whole "
            "passes, by its own conventions, on the artifact's setup (fig13)",
            "both dense: the buffer of partial sums bounds it there, with the artifact's 116 words a cycle; the point is in no "
            "mean",
            "tried: a pass more for each step, as if the product of the bitmaps that places the partial sums took one. It fits the "
            "dense B better and predicts the sparse B worse, so that it is not taken",
            f"a step whose column or row is empty takes no pass, as the two-level bitmap has it: at a density of 0.3 that is one "
            f"of {1 / 0.7**STEP:,.0f}. Conflicts of banks, to which the thesis puts its errors at 0.3, have no published measure",
            "measured times are read off the figure",
        ),
    )  # fmt: skip


def scale(cycles: Mapping[str, float], measured: Mapping[str, float], keys: Sequence[str]) -> float:
    """The time of a cycle that makes the squared relative errors of these points least.

    >>> scale({"a": 1, "b": 2}, {"a": 3.0, "b": 6.0}, ["a", "b"])
    3.0
    """
    shares = [cycles[key] / measured[key] for key in keys]
    return sum(shares) / sum(share**2 for share in shares)


def _columns(points: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Points with a dense B, but that with both dense, and those with a sparse B."""
    dense = [key for key in points if densities(key)[1] == 1 and key != DENSE]
    return dense, [key for key in points if densities(key)[1] < 1]


def _mean(errors: Mapping[str, float], keys: Sequence[str]) -> float:
    return fmean(abs(errors[key]) for key in keys)


def _part(
    measured: Mapping[str, float], ours: Mapping[str, float], errors: Mapping[str, float], fitted: Sequence[str]
) -> Part:
    rows = []
    for key in measured:
        a, b = densities(key)
        use = "fitted" if key in fitted else "-" if key == DENSE else "predicted"
        rows.append((f"A {a}, B {b}", use, f"{measured[key]:,.0f}", f"{ours[key]:,.0f}", f"{errors[key]:+.1%}"))
    return Part("time, us", ("densities", "", "measured", "ours", "error"), rows)


def _chart(measured: Mapping[str, float], ours: Mapping[str, float]) -> Chart:
    of_a, of_b = (sorted({densities(key)[place] for key in measured}, reverse=True) for place in (0, 1))
    series = {
        f"{who}, B {b}": [found[f"{a} {b}"] for a in of_a]
        for b in of_b
        for who, found in (("measured", measured), ("ours", ours))
    }
    return Chart("lines", of_a, series, "density of A", "us")
