"""Fig. 4-7: activities of SCNN's components, modelled from densities, beside those of drawn tensors.

The simulator that the thesis compares with is not public. In its place tensors are drawn and every access is counted, as the oracle
counts them; some of the draws are run by the oracle itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from statistics import fmean, stdev
from typing import Final

from sparseloom.arch.design import Design
from sparseloom.arch.energy import estimated
from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.errors import Fault, MappingError, SparseloomError
from sparseloom.fibertree.density import ActualData
from sparseloom.mapping.mapping import Mapping as LoopNest
from sparseloom.model.draws import evaluate_draws
from sparseloom.model.evaluate import evaluate
from sparseloom.report.study import Chart, Computed, Part
from sparseloom.results import Result
from sparseloom.search.network import Setting, form, map_layer
from sparseloom.search.workers import in_processes
from sparseloom.sim.loopnest import draw_tensors, execute
from sparseloom.workload.layer import Layer
from sparseloom.workload.workload import Workload

LAYER: Final = Layer.convolution("conv", channels=6, filters=16, input=(8, 8), window=(3, 3), padding=(1, 1))
DENSITIES: Final = {"I": 0.4, "W": 0.35}
ELEMENTS: Final = (2, 2)
"""Of 8 x 8: a layer whose every access can be counted many times."""

BATCHES, DRAWS = 8, 25
ORACLE_DRAWS: Final = 2
ACTIONS: Final = ("reads", "fills", "updates")

Activities = dict[tuple[str, str, str], float]
"""Words moved by component, tensor and action; computes under the multipliers' name."""


def study(jobs: int = 1) -> Computed:
    """Mean activities of the draws, and how far the modelled ones are from them."""
    workload, design, mapping = small()
    modelled = activities(evaluate(workload, design, mapping))
    drawn = _drawn(partial(batch, workload, design, mapping), jobs)
    means = {key: fmean(each[key] for each in drawn) for key in modelled}
    components = {key[0]: 0.0 for key in modelled}
    errors = {
        name: sum(own for key, own in modelled.items() if key[0] == name)
        / sum(mean for key, mean in means.items() if key[0] == name)
        - 1
        for name in components
    }
    single = {key: modelled[key] / means[key] - 1 for key in modelled if means[key]}
    apart = [unlike_oracle(workload, design, mapping, seed) for seed in range(ORACLE_DRAWS)]
    return Computed(
        "activities of SCNN's components",
        {
            "most": max(map(abs, errors.values())),
            "most-single": max(map(abs, single.values())),
            "noise": max(stdev([each[key] for each in drawn]) / means[key] for key in single) / len(drawn) ** 0.5,
            "oracle": max(apart),
        },
        (_part(modelled, means, single), Part("by component", ("component", "error"), [
            (name, f"{error:+.2%}") for name, error in errors.items()
        ])),
        Chart("bars", list(errors), {"model over draws": [1 + each for each in errors.values()]}, "component", "activities"),
        (
            f"{LAYER.name}: {dict(workload.shape)}, inputs of {DENSITIES['I']:g} and weights of {DENSITIES['W']:g} at random, on "
            f"{ELEMENTS[0]} x {ELEMENTS[1]} elements, at the mapping of least EDP",
            f"{BATCHES * DRAWS} draws, each evaluated with its tensors known; of {ORACLE_DRAWS} the oracle walked the nest as well",
        ),
    )  # fmt: skip


def small() -> tuple[Workload, Design, LoopNest]:
    """A small layer on a small SCNN, and its best mapping."""
    design = estimated(load("scnn"), Technology())
    assert design.planar is not None
    design = replace(design, planar=replace(design.planar, elements=ELEMENTS))
    layer = form(replace(LAYER, densities=DENSITIES), design)
    best = map_layer(Setting(design, constraints("scnn")), layer)
    if best.mapping is None:
        raise MappingError(Fault("no mapping was found in time", path="study", fix="run it where less else runs"))
    return layer.workload(), design, best.mapping


def activities(result: Result) -> Activities:
    """What happened actually."""
    found = {
        (level.name, name, action): getattr(tensor, action).actual
        for level in result.levels.values()
        for name, tensor in level.tensors.items()
        for action in ACTIONS
        if getattr(tensor, action).total
    }
    return found | {(result.compute.name, "", "computes"): result.computes.actual}


def batch(workload: Workload, design: Design, mapping: LoopNest, seed: int) -> list[Activities]:
    """Those of some draws."""
    return [activities(each) for each in islice(evaluate_draws(workload, design, mapping, seed=seed), DRAWS)]


def unlike_oracle(workload: Workload, design: Design, mapping: LoopNest, seed: int) -> float:
    """The largest difference between what the model and the oracle count of one draw, in words."""
    from numpy.random import default_rng

    tensors = draw_tensors(workload, default_rng(seed))
    known = replace(workload, densities={name: ActualData(values != 0) for name, values in tensors.items()})
    walked = execute(known, design, mapping, tensors)
    return max(
        abs(own - walked.counts[level][name][action]["actual"])
        for (level, name, kind), own in activities(evaluate(known, design, mapping)).items()
        if (action := kind.removesuffix("s")) in ("read", "fill", "update")
    )


def _drawn(work: partial[list[Activities]], jobs: int) -> list[Activities]:
    found = list[Activities]()
    parts: Iterator[tuple[int, list[Activities] | SparseloomError]] = (
        in_processes(work, list(range(BATCHES)), jobs) if jobs > 1 else ((n, work(n)) for n in range(BATCHES))
    )
    for _, part in sorted(parts, key=lambda each: each[0]):
        if isinstance(part, SparseloomError):
            raise part
        found += part
    return found


def _part(modelled: Activities, means: Activities, single: Mapping[tuple[str, str, str], float]) -> Part:
    rows = [
        (
            " ".join(filter(None, key)),
            f"{own:,.1f}",
            f"{means[key]:,.1f}",
            f"{single[key]:+.2%}" if key in single else "-",
        )
        for key, own in modelled.items()
    ]
    return Part("words moved, computes", ("activity", "model", "draws", "error"), rows)
