"""Networks layer by layer: what is searched, in processes that may be killed, and what is kept of it."""

import json
import os
import signal
from dataclasses import replace

import pytest
from tests.toys import TOY

from sparseloom import designs
from sparseloom.arch.design import Design
from sparseloom.arch.file import read as read_design
from sparseloom.document import parse
from sparseloom.errors import Fault, InputError, MappingError
from sparseloom.mapping.constraints import NONE, Constraints, LevelConstraints, Limit
from sparseloom.model.evaluate import evaluate
from sparseloom.report.network import SUMMARY, Folder, summary, text
from sparseloom.search.mapper import best_mapping
from sparseloom.search.network import Setting, map_layers, tasks
from sparseloom.search.workers import in_processes
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

SMALL = Network(
    "small",
    "made by hand",
    (
        Layer.convolution("first", channels=2, filters=4, input=(4, 4), window=(3, 3), padding=(1, 1)),
        Layer.convolution("second", channels=4, filters=4, input=(4, 4), window=(1, 1)),
        Layer.convolution("third", channels=4, filters=4, input=(4, 4), window=(1, 1)),
        Layer.linear("last", rows=1, inputs=6, outputs=3),
    ),
)


def plain(named: bool = False) -> Design:
    design = read_design(parse(TOY))
    return design if named else replace(design, features=replace(design.features, safs=()))


def test_layers_that_are_alike_are_searched_once() -> None:
    found = tasks(SMALL, Setting(plain(), NONE))
    assert [task.names for task in found] == [("first",), ("second", "third"), ("last",)]
    assert [task.layer.count for task in found] == [1, 2, 1]
    assert sum(task.useful for task in found) == SMALL.computes
    assert all(task.padding == 0 for task in found)


def test_designs_that_name_matrices_run_products_padded_to_their_fixed_bounds() -> None:
    limits = {
        "G": LevelConstraints(temporal={"K": Limit.exactly(4)}, spatial={"M": Limit.exactly(2), "N": Limit(1, 3)})
    }
    found = tasks(SMALL, Setting(plain(named=True), Constraints(limits)))
    assert [dict(task.layer.shape) for task in found] == [
        {"M": 4, "N": 16, "K": 20},
        {"M": 4, "N": 16, "K": 4},
        {"M": 4, "N": 1, "K": 8},
    ]
    assert found[2].padding == 1 - 18 / 32


def test_ranks_are_padded_to_the_blocks_of_formats() -> None:
    found = tasks(SMALL, Setting(designs.load("stc"), NONE))
    assert [task.layer.shape["K"] for task in found] == [20, 4, 8]


def test_designs_that_name_other_tensors_are_refused() -> None:
    design = plain(named=True)
    saf = replace(design.features.safs[0], target="X")
    with pytest.raises(InputError, match="names the tensors A, X"):
        tasks(SMALL, Setting(replace(design, features=replace(design.features, safs=(saf,))), NONE))


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_layer_gets_the_mapping_that_is_found_for_it_alone(jobs: int) -> None:
    setting = Setting(plain(named=True), NONE)
    todo = tasks(SMALL, setting)
    found = dict(map_layers(setting, [task.layer for task in todo], jobs))
    for number, task in enumerate(todo):
        alone = best_mapping(setting.space(task.layer), "edp")
        assert (found[number].mapping, found[number].value) == (alone.mapping, alone.value)
    values = summary(setting, todo, found)
    assert values["total"]["proven"]
    assert values["total"]["cycles"] == sum(task.layer.count * found[k].cycles for k, task in enumerate(todo))
    assert text(setting, todo, found).splitlines()[-1].startswith("total")


def test_layers_without_a_mapping_say_why_and_the_others_are_found() -> None:
    limits = Constraints(
        {"G": LevelConstraints(keep=frozenset("ABZ"), temporal=dict.fromkeys("MNK", Limit.exactly(4)))}
    )
    setting = Setting(plain(named=True), limits)
    todo = tasks(replace(SMALL, layers=SMALL.layers[:2]), setting)
    found = dict(map_layers(setting, [task.layer for task in todo]))
    assert all(isinstance(each, MappingError) for each in found.values())
    assert "G holds 24 words; the smallest tiles that the constraints leave need 48" in text(setting, todo, found)


def _double(number: int) -> int:
    if number == 3:
        raise MappingError(Fault("three", path="here", fix="give another"))
    return 2 * number


def _once_killed(path: str) -> str:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "done"
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _killed(number: int) -> int:
    if number:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_of_processes_come_with_their_numbers_and_errors_whole() -> None:
    found = dict(in_processes(_double, [1, 2, 3, 4], 2))
    error = found.pop(2)
    assert found == {0: 2, 1: 4, 3: 8}
    assert isinstance(error, MappingError)
    assert error.faults == (Fault("three", path="here", fix="give another"),)


def test_work_of_a_process_that_is_killed_is_done_by_another(tmp_path) -> None:
    paths = [str(tmp_path / name) for name in "abc"]
    assert dict(in_processes(_once_killed, paths, 2)) == {0: "done", 1: "done", 2: "done"}


def test_work_that_kills_every_process_is_a_fault_of_its_own() -> None:
    found = dict(in_processes(_killed, [0, 1, 0], 2))
    assert (found[0], found[2]) == (0, 0)
    assert "killed 2 times, the last time with exit code -9" in found[1].faults[0].what


def test_a_search_goes_on_from_what_its_folder_has(tmp_path) -> None:
    setting = Setting(plain(named=True), NONE)
    todo = tasks(SMALL, setting)
    folder = Folder(tmp_path / "found", setting, todo)
    assert folder.read() == {}
    found = dict(map_layers(setting, [task.layer for task in todo]))
    folder.write({0: found[0], 2: found[2]})
    assert sorted(path.name for path in folder.path.iterdir()) == ["first.yaml", "last.yaml", SUMMARY]
    known = folder.read()
    assert {number: (best.mapping, best.value) for number, best in known.items()} == {
        number: (found[number].mapping, found[number].value) for number in (0, 2)
    }


def test_the_case_of_every_layer_evaluates_to_what_was_found(tmp_path, run) -> None:
    setting = Setting(plain(named=True), NONE)
    todo = tasks(SMALL, setting)
    found = dict(map_layers(setting, [task.layer for task in todo]))
    Folder(tmp_path, setting, todo).write(found)
    for number, task in enumerate(todo):
        assert run("evaluate", tmp_path / f"{task.names[0]}.yaml", "--json", tmp_path / "result.json")[0] == 0
        result = evaluate(task.layer.workload(), setting.design, found[number].mapping)
        assert json.loads((tmp_path / "result.json").read_text()) == json.loads(json.dumps(result.to_dict()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "0.0.1"}, "it is of version 0.0.1, this search of"),
        ({"format": 0}, "it is of format 0, this search of 1"),
        ({"setting": "other"}, "it is of another search"),
        ({"layers": 3}, "not the summary of a search"),
        (None, "not the summary of a search"),
    ],
)
def test_a_folder_of_another_search_is_refused(tmp_path, change, words) -> None:
    setting = Setting(plain(named=True), NONE)
    todo = tasks(SMALL, setting)
    folder = Folder(tmp_path, setting, todo)
    folder.write(dict(map_layers(setting, [todo[0].layer])))
    path = tmp_path / SUMMARY
    path.write_text("[" if change is None else json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=words):
        folder.read()


def test_a_mapping_that_was_changed_is_refused(tmp_path) -> None:
    setting = Setting(plain(named=True), NONE)
    todo = tasks(SMALL, setting)
    folder = Folder(tmp_path, setting, todo)
    folder.write(dict(map_layers(setting, [todo[0].layer])))
    values = json.loads((tmp_path / SUMMARY).read_text())
    values["layers"][0]["value"] *= 2
    (tmp_path / SUMMARY).write_text(json.dumps(values))
    with pytest.raises(InputError, match="its mapping evaluates to"):
        folder.read()
