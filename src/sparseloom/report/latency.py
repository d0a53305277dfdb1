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
LONGER: Final = (0.25, 0.5, 1.0, 1.5, 2.0)
MEAN_ROW: Final = "latency, mean error of"


def study(jobs: int = 1) -> Computed:
    """Measured and modelled times, and how far these are from those."""
    claim = reported()["dstc-latency"]
    measured_us = claim.paper
    cycles = dstc_cycles(measured_us, OWN)
    fitted, predicted = _columns(measured_us)
    us_per_cycle = scale(cycles, measured_us, fitted)
    ours_us = {key: us_per_cycle * own for key, own in cycles.items()}
    errors = {key: ours_us[key] / measured_us[key] - 1 for key in measured_us}
    tried = {share: _tried(cycles, measured_us, fitted, share) for share in LONGER}
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
            "longer-fitted": _mean(tried[1.0], fitted),
            "longer-predicted": _mean(tried[1.0], predicted),
        },
        (_part(measured_us, ours_us, errors, fitted), _attempts(tried, fitted, predicted)),
        _chart(measured_us, ours_us),
        (
            f"fitted: one constant, {1e6 * us_per_cycle:.4g} ps a cycle, by least squares of the relative error over the points "
            "with a dense B but that with a dense A; no point with a sparse B is used",
            f"columns of A and rows of B of {STEP} are packed into {LANES_A} and {LANES_B} lanes: the model's mean of whole "
            "passes, by its own conventions, on the artifact's setup (fig13)",
            "both dense: the buffer of partial sums bounds it there, with the artifact's 116 words a cycle; the point is in no "
            "mean",
            "looked at: time for each step besides its passes. A whole pass, as if the product of the bitmaps that places the "
            "partial sums took one, fits the dense B better and predicts the sparse B worse. A quarter does better in both, but it "
            "is a second constant without a source, seen on the very points that are to be predicted",
            f"a step whose column or row is empty takes no pass, as the two-level bitmap has it: at a density of 0.3 that is one "
            f"of {1 / 0.7**STEP:,.0f}. Conflicts of banks, to which the thesis puts its errors at 0.3, have no published measure",
            "measured times are read off the figure",
        ),
    )  # fmt: skip


def _tried(
    cycles: Mapping[str, float], measured: Mapping[str, float], fitted: Sequence[str], share: float
) -> dict[str, float]:
    """Errors if each step took this share of a pass more, fitted in the same way."""
    longer = {key: own + share * SIZE * (SIZE / STEP) ** 2 for key, own in cycles.items()}
    us_per_cycle = scale(longer, measured, fitted)
    return {key: us_per_cycle * longer[key] / measured[key] - 1 for key in measured}


def _attempts(tried: Mapping[float, Mapping[str, float]], fitted: Sequence[str], predicted: Sequence[str]) -> Part:
    rows = [
        (f"{share:g}", *(f"{_mean(errors, keys):.1%}" for keys in (fitted, predicted, [*fitted, *predicted])))
        for share, errors in tried.items()
    ]
    head = ("passes more for each step", "dense B (fitted)", "sparse B", "all 9")
    return Part("what else was looked at, and is not taken: mean errors", head, rows)


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
