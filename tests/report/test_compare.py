import copy
import dataclasses
import json
from typing import Any

import pytest

from sparseloom.errors import InputError
from sparseloom.report.compare import Difference, compared, difference, of_files, text
from sparseloom.report.comparison import compare
from sparseloom.report.comparison_file import ComparisonFile
from sparseloom.results import Outcomes, Result
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

NAMES = ("first", "second", "third")
SMALL = Network("small", "made by hand", tuple(Layer.linear(name, rows=64, inputs=128, outputs=64) for name in NAMES))


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """A comparison with a sweep as JSON holds it."""
    found = compare(SMALL, ["tc", "stc"], "C0(2:4)", budget_s=20, sweep=True)
    return json.loads(json.dumps(found.to_dict()))


@pytest.fixture
def other(written: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(written)


def test_a_result_does_not_differ_from_itself(toy_result: Result) -> None:
    assert difference(toy_result, toy_result) == ()
    assert text(()) == "no difference"


def test_a_changed_count_is_named_by_its_path_with_both_values_and_their_ratio(toy_result: Result) -> None:
    dram = toy_result.levels["DRAM"]
    z = dataclasses.replace(dram.tensors["Z"], updates=Outcomes(512))
    levels = {**toy_result.levels, "DRAM": dataclasses.replace(dram, tensors={**dram.tensors, "Z": z})}
    (found,) = difference(toy_result, dataclasses.replace(toy_result, levels=levels))
    assert found == Difference("levels.DRAM.Z.updates.actual", 256, 512)
    assert found.ratio == 2


def test_a_level_that_only_one_result_has_is_one_row(toy_result: Result) -> None:
    fewer = dataclasses.replace(toy_result, levels={"DRAM": toy_result.levels["DRAM"]})
    assert difference(toy_result, fewer) == (
        Difference("levels.PE", "present", None),
        Difference("level_summary.PE", "present", None),
    )


@pytest.mark.parametrize(("tolerance", "rows"), [(0.0, 1), (0.009, 1), (0.011, 0)])
def test_numbers_within_the_tolerance_are_equal(toy_result: Result, tolerance: float, rows: int) -> None:
    slower = dataclasses.replace(toy_result, energy_pj=toy_result.energy_pj * 1.01)
    assert len(difference(toy_result, slower, tolerance)) == rows


@pytest.mark.parametrize(("a", "b"), [(0, 5), (None, 5), ("x", "y"), (True, False), (5, None)])
def test_what_has_no_ratio_says_so(a: int | str | None, b: int | str | None) -> None:
    assert Difference("here", a, b).ratio is None


def test_differences_stand_side_by_side_under_the_names_of_the_files(toy_result: Result) -> None:
    other = dataclasses.replace(toy_result, cycles=4096, design="toy-2", loopnest="[DRAM]\n")
    assert text(difference(toy_result, other), ("a.json", "b.json")).splitlines() == [
        "where                     a.json  b.json  ratio",
        "design                       toy   toy-2",
        "cycles                     2,048   4,096      2",
        "loopnest  [DRAM] for …[0, 4) ...  [DRAM]",
    ]


def test_what_compare_writes_is_of_the_shape_that_is_checked(written) -> None:
    assert ComparisonFile.model_validate(written).model_dump() == written


def test_a_comparison_does_not_differ_from_itself_whatever_time_it_took(written, other) -> None:
    for row in other["outcomes"]:
        row["seconds"] += 1
    assert compared(written, other) == ()


def test_totals_layers_and_points_that_differ_are_named_with_both_values_and_their_ratio(written, other) -> None:
    stc = other["designs"][1]
    cycles, area = stc["total"]["cycles"], stc["blocks"][2]["area_um2"]
    stc["total"]["cycles"] *= 2
    stc["blocks"][2]["area_um2"] *= 3
    [row] = [row for row in other["outcomes"] if row["design"] == "stc"]
    row["energy_pj"] *= 4
    [_, half] = other["sweep"][1]["outcomes"]
    half["cycles"] *= 5
    found = compared(written, other)
    assert [(each.path, each.ratio) for each in found] == [
        ("totals.stc.cycles", 2),
        ("layers.stc.first x3.energy_pj", 4),
        ("sweep.C0(2:4).stc.first x3.cycles", 5),
        (f"blocks.stc.{stc['blocks'][2]['name']}.area_um2", 3),
    ]
    assert (found[0].a, found[0].b) == (cycles, 2 * cycles)
    assert found[-1].a == area
    assert len(compared(written, other, tolerance=0.7)) == 2


def test_layers_that_one_comparison_tells_apart_stand_by_themselves(written, other) -> None:
    [row] = [row for row in other["outcomes"] if row["design"] == "tc"]
    row["layers"].remove("second")
    other["outcomes"].append({**row, "layers": ["second"], "cycles": 2 * row["cycles"]})
    assert [(each.path, each.ratio) for each in compared(written, other)] == [("layers.tc.second.cycles", 2)]


def test_what_only_one_comparison_has_is_one_row(written, other) -> None:
    del other["designs"][0]
    other["outcomes"] = [row for row in other["outcomes"] if row["design"] != "tc"]
    other["sweep"].pop()
    assert compared(written, other) == (
        Difference("totals.tc", "present", None),
        Difference("sweep.C1(2:8)->C0(2:4)", "present", None),
    )


def test_a_layer_that_one_comparison_refuses_says_why(written, other) -> None:
    other["outcomes"] = [row for row in other["outcomes"] if row["design"] != "stc"]
    other["refused"] = [{"design": "stc", "layers": list(NAMES), "why": ["too odd"]}]
    assert compared(written, other) == (Difference("layers.stc.first x3", "present", "refused: too odd"),)


def test_files_are_of_one_kind_and_all_faults_are_reported(written, tmp_path, toy_result: Result) -> None:
    a, b, bad = (tmp_path / f"{name}.json" for name in ("a", "b", "bad"))
    a.write_text(json.dumps(written))
    assert of_files(a, a) == ()
    toy_result.to_json(b)
    with pytest.raises(
        InputError, match="one is a result, the other a comparison of designs\n  how to fix: give two files"
    ):
        of_files(a, b)
    bad.write_text(json.dumps({**written, "designs": [{**written["designs"][0], "blocks": 3}], "network": None}))
    with pytest.raises(InputError) as caught:
        of_files(bad, tmp_path / "none.json")
    assert [(fault.where.rpartition("/")[2], fault.path) for fault in caught.value.faults] == [
        ("bad.json", "network"), ("bad.json", "designs.0.blocks"), ("none.json", ""),
    ]  # fmt: skip
