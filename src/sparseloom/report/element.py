"""Fig. 4-8: cycles of one element of Eyeriss v2 on layers of MobileNet; the rows of `sparseloom reproduce validation`."""

from __future__ import annotations

from sparseloom.report import eyeriss_v2
from sparseloom.report.measurements import bars, errors, part
from sparseloom.report.reported import reported
from sparseloom.report.study import Computed


def study(jobs: int = 1) -> Computed:
    """Cycles with uniform densities and with real masks, and how far they are from the authors' counts."""
    rows = list(eyeriss_v2.rows(reported(), None))
    known = [row for row in rows if row.ours is not None]
    uniform = [row for row in known if row.note == eyeriss_v2.UNIFORM]
    actual = [row for row in known if row.what.endswith("actual")]
    [together] = [row for row in known if row not in uniform and row not in actual]
    return Computed(
        "an element of Eyeriss v2 on MobileNet",
        {"actual": max(errors(actual)), "uniform-most": max(errors(uniform)), "uniform-all": errors([together])[0]},
        (part("uniform densities", [*uniform, together]), part("real masks", actual)),
        bars(uniform, "million cycles, uniform densities", 1e6),
        tuple(dict.fromkeys(row.note for row in rows)),
    )
