import dataclasses

import pytest

from sparseloom.report.compare import Difference, difference, text
from sparseloom.results import Outcomes, Result


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
