"""Table 4.4: what run-length coding saves of Eyeriss' DRAM traffic on AlexNet; the rows of `sparseloom reproduce validation`."""

from __future__ import annotations

from sparseloom.report import eyeriss
from sparseloom.report.measurements import bars, errors, part
from sparseloom.report.reported import reported
from sparseloom.report.study import Computed


def study(jobs: int = 1) -> Computed:
    """Rates and traffic of the five layers, and how far they are from what the chip's paper reports."""
    claims, runs = reported(), eyeriss.runs()
    rates, traffic = eyeriss.compression(claims, runs), eyeriss.traffic(claims, runs)
    rounded = errors(rates)
    return Computed(
        "compression of Eyeriss' DRAM traffic on AlexNet",
        {
            "mean": sum(rounded) / len(rounded),
            "most": max(rounded),
            "unrounded": max(abs((row.ours or 0) / row.paper - 1) for row in rates if row.paper),
            "traffic": max(errors(traffic)),
        },
        (part("compression rate", rates), part("coded DRAM traffic of four images", traffic)),
        bars(rates, "DRAM words, plain over coded"),
        (eyeriss.COMPRESSION, eyeriss.TRAFFIC),
    )
