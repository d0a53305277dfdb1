"""The 73 published cases of Sparseloop: every number that its own reference outputs print comes out, under the profile of
conventions that each family follows.

Tolerances: cycles within 2 or 0.01 %, computes, counts and energies within 0.1 %, instances to the printed digits. Counts of
`expected.json` are those of one instance of average use, so they are compared after a division by the instances.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.model.counts import BUT_METADATA, words_and_computes

from sparseloom.errors import MappingError
from sparseloom.model.conventions import SPARSELOOM, profile
from sparseloom.model.evaluate import evaluate
from sparseloom.results import Outcomes, Result, TensorActions
from sparseloom.timeloop import load

CASES = Path(__file__).parents[3] / "shared" / "reference" / "sparseloop"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the reference cases are not beside the repository")

FILES = {
    "fig13_dstc": ("aggregated_input.yaml", "ERT.yaml"),
    "fig15_stc": ("aggregated_input.yaml", "map.yaml", "ERT.yaml"),
    "table7_eyeriss": ("aggregated_input.yaml", "ERT.yaml"),
    "exercises_v04": ("parsed-processed-input.yaml", "timeloop-mapper.map.yaml", "timeloop-mapper.ERT.yaml"),
}
RAW = ("arch.yaml", "problem.yaml", "timeloop-mapper.map.yaml", "timeloop-mapper.ERT.yaml")
"""The files of a v0.4 case before Timeloop's front end has read them."""
COUNTS = {
    "fig12_eyerissv2_pe": 5, "fig13_dstc": 4, "fig15_stc": 48, "fig1_format": 6, "table7_eyeriss": 6, "exercises_v04": 4,
}  # fmt: skip
ORIGINS = {"sparseloop_micro22": "sparseloop-micro22", "timeloop_2025_03": "timeloop-2025-03"}
"""The profile that repeats each origin of reference outputs."""
LARGE_METADATA = "fig15_stc/WD-0.5__M512-K1024-N256-IAD0.27-WD0.5__STC_flexible_dualCompress-RLE"
"""The case whose tiles the profile lets in by the mean of their metadata; the most that they can have does not fit."""
OUTCOMES = ("actual", "gated", "skipped")
Numbers = Iterator[tuple[str, float, float]]
"""What a number counts, as found, as printed."""


def _cases() -> list[str]:
    families = COUNTS if CASES.is_dir() else ()
    return [f"{family}/{folder.name}" for family in families for folder in sorted((CASES / family).iterdir())]


def _files(case: str) -> list[Path]:
    family, folder = case.split("/")[0], CASES / case
    if family in FILES:
        return [folder / name for name in FILES[family]]
    return [path for path in sorted(folder.glob("*.yaml")) if path.name not in ("mm.yaml", "mapper.yaml")]


def _expected(case: str) -> dict[str, Any]:
    return dict(json.loads((CASES / case / "expected.json").read_text("utf-8")))


@cache
def _evaluated(case: str, raw: bool = False) -> Result:
    found = load([CASES / case / name for name in RAW] if raw else _files(case))
    assert found.mapping is not None
    rules = profile("timeloop-2025-03" if found.version == "0.4" else "sparseloop-micro22")
    return evaluate(found.workload, found.design, found.mapping, rules, found.details)


def test_all_families_are_complete() -> None:
    found = [case.split("/")[0] for case in _cases()]
    assert {family: found.count(family) for family in COUNTS} == COUNTS


@pytest.mark.parametrize("case", [case for case in _cases() if not case.startswith("fig13")])
def test_published_case_comes_out_equal(case: str) -> None:
    result, origins = _evaluated(case), _expected(case)
    (origin,) = origins.keys() & ORIGINS.keys()
    expected = origins[origin]
    assert result.conventions == ORIGINS[origin]
    assert abs(result.cycles - expected["cycles"]) <= max(2, 1e-4 * expected["cycles"])
    assert _unequal(_totals(result, expected)) == []
    assert result.levels.keys() >= expected["levels"].keys()
    for name, level in result.levels.items():
        printed = expected["levels"].get(name, {}).get("tensors", {})
        printed = {key.removesuffix(" (Streamed)"): numbers for key, numbers in printed.items()}
        assert level.tensors.keys() == printed.keys(), name
        for tensor, numbers in printed.items():
            assert (name, tensor, _unequal(_tensor(level.tensors[tensor], numbers))) == (name, tensor, [])


@pytest.mark.parametrize("case", [case for case in _cases() if not case.endswith("actual_data")])
def test_published_case_differs_from_the_contract_by_named_conventions_alone(case: str) -> None:
    """All but the one with known tensors, for which it holds as well, but takes a minute."""
    found = load(_files(case))
    assert found.mapping is not None
    parts = (found.workload, found.design, found.mapping)
    if case == LARGE_METADATA:
        with pytest.raises(MappingError, match="tiles need 589,824 bits of metadata but SMEM holds 524,288"):
            evaluate(*parts, SPARSELOOM, found.details)
        return
    clean, average = (evaluate(*parts, rules, found.details) for rules in (SPARSELOOM, BUT_METADATA))
    assert words_and_computes(average) == pytest.approx(words_and_computes(clean))


def _unequal(numbers: Numbers) -> list[str]:
    """Those that differ by more than 0.1 % and by more than the rounding of what is printed with two digits."""
    return [
        f"{what}: {found}, printed {want}"
        for what, found, want in numbers
        if abs(found - want) > max(1e-3 * abs(want), 0.0051 if isinstance(want, float) else 1e-9)
    ]


def _totals(result: Result, expected: dict[str, Any]) -> Numbers:
    computes = expected["computes"]
    (unit,) = expected["compute_level"].values()
    yield "energy", result.energy_pj, expected["energy_pJ"]
    yield from _outcomes("computes", result.computes, computes, 1)
    yield "dense computes", result.computes.total + result.compute.absent, computes["algorithmic"]
    yield "energy of computes", result.compute.energy_pj, unit["Energy (total)"]
    used = unit.get("Utilized instances (average)", unit.get("Utilized instances"))
    yield "compute instances", result.compute.instances_used, float(used)


def _tensor(found: TensorActions, printed: dict[str, Any]) -> Numbers:
    if "instances_avg" in printed:
        yield "instances", found.instances, printed["instances_avg"]
    yield "energy", found.energy_pj, printed["energy_total_pJ"]
    for action, outcomes in found.data().items():
        yield from _outcomes(action, outcomes, printed[action], found.instances)
    for action, ranks in found.metadata().items():
        lowest_first = ranks[::-1]
        for outcome in OUTCOMES:
            units = printed.get(f"format_{action}", {}).get(outcome, 0) or {}
            assert len(units) in (0, len(lowest_first))
            for place, rank in enumerate(lowest_first):
                want = units.get(f"rank{place}", (0, 0))
                for kind, outcomes, printed_units in zip(
                    ("metadata", "payload"), (rank.metadata, rank.payload), want, strict=True
                ):
                    count = getattr(outcomes, outcome) / found.instances
                    yield f"{action} of {kind} of rank {place}, {outcome}", count, printed_units
    if not found.streamed:
        yield "most words", found.worst_words, printed["max_data_capacity"]
        yield "points of the tile", found.tile_words, printed.get("data_tile_shape", found.tile_words)


def _outcomes(action: str, found: Outcomes, printed: dict[str, Any], instances: float) -> Numbers:
    for outcome in OUTCOMES:
        yield f"{action}, {outcome}", getattr(found, outcome) / instances, printed.get(outcome, 0)


@pytest.mark.parametrize("case", [case for case in _cases() if case.startswith("fig13")])
def test_figure_13_comes_out_as_position_skipping_predicts(case: str) -> None:
    result, expected = _evaluated(case), _expected(case)["inferred_position_skipping"]
    buffer = result.levels["Buffer"].tensors["Z"]
    assert abs(result.cycles - expected["cycles"]) <= max(2, 1e-4 * expected["cycles"])
    assert result.computes.actual == pytest.approx(expected["mac"], rel=1e-3)
    assert result.compute.instances_used / result.compute.instances == pytest.approx(expected["util"], rel=1e-3)
    assert buffer.updates.actual + buffer.fills.actual == pytest.approx(expected["buffer_write_words"], rel=1e-3)
    assert buffer.reads.actual == pytest.approx(expected["buffer_read_words"], rel=1e-3)


@pytest.mark.parametrize("case", [case for case in _cases() if case.startswith("exercises")])
def test_v04_nodes_give_the_result_of_what_the_front_end_made_of_them(case: str) -> None:
    assert _evaluated(case, raw=True) == _evaluated(case)
