"""What chance does to a mapping: its evaluations with tensors drawn from their densities.

The model's numbers are means over tensors that are like their densities say, but for the cycles, which are those of the compute
instance with most points, its nonzeros at their mean: of tensors that are drawn some instance has more. With the tensors known
every number is exact, so that draws show how far the numbers spread and how busy the busiest instance is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from sparseloom.arch.design import Design
from sparseloom.errors import Fault, WorkloadError
from sparseloom.fibertree.density import ActualData
from sparseloom.mapping.details import TimeloopDetails
from sparseloom.mapping.mapping import Mapping
from sparseloom.model.conventions import SPARSELOOM, Conventions
from sparseloom.model.evaluate import evaluate
from sparseloom.model.limits import refuse_long_walks
from sparseloom.results.result import Result
from sparseloom.results.table import number
from sparseloom.workload.workload import Workload

SHARE = 0.95
"""Share of the draws that lie in the intervals, in the middle."""


def evaluate_draws(
    workload: Workload,
    design: Design,
    mapping: Mapping,
    conventions: Conventions | str = SPARSELOOM,
    details: TimeloopDetails | None = None,
    *,
    seed: int = 0,
) -> Iterator[Result]:
    """Evaluations with known tensors, drawn anew for each, without end; the same ones for the same ``seed``.

    Raises WorkloadError if no tensor is random, and what :func:`sparseloom.model.evaluate.evaluate` raises, as for a layer that is
    too large to be looked at place by place.
    """
    random = {name: density for name, density in workload.densities.items() if not density.certain}
    if not random:
        what = f"no tensor of {workload.einsum} is random, there is nothing to draw"
        raise WorkloadError(Fault(what, path="tensors", fix="state a density, or evaluate without draws"))
    refuse_long_walks(workload, random)
    rng = np.random.default_rng(seed)
    while True:
        drawn = {name: ActualData(density.draw(rng)) for name, density in random.items()}
        known = replace(workload, densities={**workload.densities, **drawn})
        yield evaluate(known, design, mapping, conventions, details)


def with_spread(result: Result, drawn: Sequence[Result], seed: int) -> Result:
    """``result`` with the intervals in which :data:`SHARE` of the evaluations of draws lie, and a note of their means.

    Raises WorkloadError if nothing was ``drawn``.
    """
    if not drawn:
        raise WorkloadError(Fault("no draw was evaluated", fix="take at least one of evaluate_draws"))
    outside = (1 - SHARE) / 2
    said, intervals = [], {}
    for name, unit in (("cycles", ""), ("energy_pj", " pJ"), ("utilization", "")):
        values = np.array([getattr(each, name) for each in drawn], np.float64)
        low, high = np.quantile(values, (outside, 1 - outside)).tolist()
        intervals[name] = (low, high)
        error = f" ± {number(values.std(ddof=1) / np.sqrt(values.size))}" if values.size > 1 else ""
        said.append(f"{name.removesuffix('_pj')} {number(values.mean())}{error}{unit}")
    busier = [each.compute.cycles_busiest / each.compute.cycles_mean for each in drawn if each.compute.cycles_mean]
    note = (
        f"tensors drawn {len(drawn)} times (seed {seed}): the means, ± their standard errors, are {', '.join(said)}; the busiest "
        f"compute instance has {np.mean(busier or [1.0]):.3f} times the work of the mean one; the intervals hold {SHARE:.0%} of "
        "the draws"
    )
    return replace(result, intervals={**result.intervals, **intervals}, notes=(*result.notes, note))
