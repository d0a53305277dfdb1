import dataclasses
import json
import os
import re
import signal
import sys
import time
from functools import partial
from itertools import islice
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from tests.toys import TOY

from sparseloom import __version__, designs
from sparseloom.model import draws
from sparseloom.results import Result
from sparseloom.results.file import read
from sparseloom.search import codesign, mapper

COMMAND = [sys.executable, "-c", "from sparseloom.cli import main; main()"]
SOURCE = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "src")}


def test_the_version_is_printed(run) -> None:
    assert run("--version") == (0, f"sparseloom {__version__}\n", "")


def test_a_command_that_does_not_exist_is_refused(run) -> None:
    code, _, errors = run("evalute")
    assert code == 2
    assert "evalute" in errors


@pytest.mark.parametrize("kind", ["design", "workload", "network", "mapping", "constraints", "result"])
def test_every_schema_is_json_of_an_object(run, kind: str) -> None:
    code, out, _ = run("schema", kind)
    published = json.loads(out)
    assert code == 0
    assert published["type"] == "object"
    assert "cycles" in published["properties"] if kind == "result" else kind in published["properties"]


def test_a_fault_goes_to_stderr_with_exit_code_2_and_no_traceback(run, tmp_path: Path, toy_result: Result) -> None:
    toy_result.to_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{,}")
    code, out, errors = run("diff", tmp_path / "a.json", tmp_path / "b.json")
    assert (code, out) == (2, "")
    assert errors.splitlines() == [
        f"{tmp_path}/b.json:1: not JSON: Expecting property name enclosed in double quotes",
        "  how to fix: give a file that `sparseloom evaluate --json` wrote",
    ]


def test_faults_of_all_files_are_reported_together(run, tmp_path: Path) -> None:
    code, _, errors = run("diff", tmp_path / "a.json", tmp_path / "b.json")
    assert code == 2
    assert [line.rpartition("/")[2] for line in errors.splitlines() if "cannot read" in line] == [
        "a.json: cannot read the file: No such file or directory",
        "b.json: cannot read the file: No such file or directory",
    ]
    assert errors.splitlines()[-1] == "2 faults"


def test_diff_of_a_result_with_itself_says_so_and_succeeds(run, tmp_path: Path, toy_result: Result) -> None:
    toy_result.to_json(tmp_path / "a.json")
    assert run("diff", tmp_path / "a.json", tmp_path / "a.json") == (0, "no difference\n", "")


def test_diff_shows_what_differs_and_exits_with_1(run, tmp_path: Path, toy_result: Result) -> None:
    toy_result.to_json(tmp_path / "a.json")
    dataclasses.replace(toy_result, cycles=4096).to_json(tmp_path / "b.json")
    code, out, _ = run("diff", tmp_path / "a.json", tmp_path / "b.json")
    assert code == 1
    assert out.splitlines()[1].split() == ["cycles", "2,048", "4,096", "2"]


def test_diff_takes_what_map_wrote_as_well(run, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(TOY)
    assert run("map", tmp_path / "toy.yaml", "-o", tmp_path / "best.yaml", "--json", tmp_path / "map.json")[0] == 0
    files = (tmp_path / "toy.yaml", tmp_path / "best.yaml")
    assert run("evaluate", *files, "--json", tmp_path / "evaluated.json")[0] == 0
    assert run("diff", tmp_path / "map.json", tmp_path / "evaluated.json") == (0, "no difference\n", "")


def test_a_reader_that_goes_away_is_no_error() -> None:
    with Popen([*COMMAND, "schema", "result"], stdout=PIPE, stderr=PIPE, env=SOURCE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


DRAWN = """
workload:
  einsum: Z[m,n] = A[m,k] * B[k,n]
  shape: {M: 4, N: 4, K: 8}
  tensors: {A: {density: 0.25}}
design:
  name: toy
  levels: [{name: L0, formats: {A: CP(M)-CP(K)}, skipping: [B <- A], energy_pj: {read: 1}, energy_source: made up}]
  compute: {name: MAC}
mapping: [{level: L0, keep: [A, B, Z], temporal: [M 4, N 4, K 8]}]
"""


def test_draws_show_how_far_numbers_spread(run, tmp_path: Path) -> None:
    case, out = tmp_path / "case.yaml", tmp_path / "out.json"
    case.write_text(DRAWN)
    code, printed, _ = run("evaluate", case, "--draws", 5, "--seed", 2, "--json", out)
    assert code == 0
    assert "tensors drawn 5 times (seed 2)" in " ".join(printed.split())
    low, high = read(out).intervals["cycles"]
    assert f"(between {low:g} and {high:g})" in printed


def test_an_interrupt_keeps_what_was_drawn(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = draws.evaluate_draws

    def interrupted(*arguments, seed: int):
        yield from islice(endless(*arguments, seed=seed), 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(draws, "evaluate_draws", interrupted)
    case = tmp_path / "case.yaml"
    case.write_text(DRAWN)
    code, printed, errors = run("evaluate", case, "--draws", 5)
    assert (code, errors) == (130, "interrupted\n")
    assert "tensors drawn 2 times" in " ".join(printed.split())


def test_an_interrupt_says_so_in_one_line(tmp_path: Path) -> None:
    pipe = tmp_path / "slow.json"
    os.mkfifo(pipe)
    # a job in the background, which may run this test, ignores interrupts and so would its children
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with Popen([*COMMAND, "diff", pipe, pipe], stderr=PIPE, env=SOURCE, preexec_fn=listen) as process:
        assert process.stderr
        writer = _open_once_read(pipe, process)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"interrupted\n"
        assert process.wait() == 130
        os.close(writer)


def _open_once_read(pipe: Path, process: Popen[bytes]) -> int:
    """Open the pipe for writing when the process has opened it, and so waits for text."""
    while process.poll() is None:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.01)
    raise AssertionError(f"the command ended with {process.returncode} before it read the file")


CASE = """\
workload:
  name: row
  einsum: "Z[m] = A[m,k] * B[k]"
  shape: {M: 4, K: 6}
design:
  name: two-levels
  levels:
    - {name: DRAM, energy_pj: {read: 200}}
    - {name: PE, capacity_words: 32}
  compute: {name: MAC}
mapping:
  - {level: DRAM, keep: [A, B, Z], temporal: [M 4]}
  - {level: PE, keep: [A, B], temporal: [K 6]}
"""


@pytest.fixture
def case(tmp_path: Path) -> Path:
    path = tmp_path / "case.yaml"
    path.write_text(CASE)
    return path


def test_evaluate_prints_what_it_writes(run, case: Path, tmp_path: Path) -> None:
    code, out, errors = run("evaluate", case, "--json", tmp_path / "out.json")
    result = read(tmp_path / "out.json")
    assert (code, out, errors) == (0, f"{result}\n", "")
    assert result.computes.actual == 24
    assert result.levels["DRAM"].tensors["A"].reads.actual == 24
    assert result.levels["DRAM"].tensors["B"].reads.actual == 6
    assert (result.workload, result.design) == ("row", "two-levels")


def test_evaluate_replaces_a_file_only_when_it_succeeds(run, case: Path, tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("old")
    broken = tmp_path / "broken.yaml"
    broken.write_text(CASE.replace("capacity_words: 32", "capacity_words: 3"))
    code, out, errors = run("evaluate", broken, "--json", tmp_path / "out.json")
    assert (code, out) == (2, "")
    assert "PE" in errors
    assert "how to fix" in errors
    assert (tmp_path / "out.json").read_text() == "old"
    assert run("evaluate", case, "--json", tmp_path / "out.json")[0] == 0
    assert read(tmp_path / "out.json").cycles >= 24


def test_a_result_file_in_a_folder_that_does_not_exist_is_a_fault(run, case: Path, tmp_path: Path) -> None:
    code, _, errors = run("evaluate", case, "--json", tmp_path / "none" / "out.json")
    assert code == 2
    assert "cannot write the file: there is no folder" in errors


def test_unknown_conventions_are_refused_with_the_known_ones(run, case: Path) -> None:
    code, _, errors = run("evaluate", case, "--conventions", "ours")
    assert code == 2
    assert errors.splitlines() == [
        "error: unknown conventions 'ours'",
        "  how to fix: give one of sparseloom, sparseloop-micro22, timeloop-2025-03",
    ]


def test_a_case_is_counted_by_the_conventions_that_are_asked_for(run, case: Path) -> None:
    assert run("evaluate", case)[1].startswith("row on two-levels (model, conventions sparseloom)")
    code, out, _ = run("evaluate", case, "--conventions", "sparseloop-micro22")
    assert code == 0
    assert out.startswith("row on two-levels (model, conventions sparseloop-micro22)")


TIMELOOP = """\
architecture:
  version: 0.3
  subtree:
  - name: chip
    attributes: {technology: 45nm}
    local:
    - name: DRAM
      class: DRAM
      attributes: {width: 16, word-bits: 16}
    - name: MAC
      class: intmac
      attributes: {datawidth: 16}
problem:
  shape:
    name: dot
    dimensions: [K]
    data-spaces:
    - {name: A, projection: [[[K]]]}
    - {name: B, projection: [[[K]]]}
    - {name: Z, projection: [], read-write: true}
  instance: {K: 8, densities: {A: 0.5}}
mapping:
- {target: DRAM, type: temporal, factors: K=8, permutation: K}
sparse_optimizations:
  targets:
  - name: DRAM
    action-optimization:
    - {type: gating, target: B, condition-on: [A]}
ERT:
  version: 0.3
  tables:
  - name: chip.DRAM
    actions:
    - {name: read, energy: 10}
    - {name: idle, energy: 1}
  - name: chip.Other
    actions: []
"""


@pytest.fixture
def timeloop(tmp_path: Path) -> Path:
    path = tmp_path / "timeloop.yaml"
    path.write_text(TIMELOOP)
    return path


def test_files_of_timeloop_are_counted_as_their_version_counts(run, timeloop: Path, tmp_path: Path) -> None:
    """At 0.3 a gated read costs idle energy and its compute vanishes; cleanly it costs nothing and spends its cycle."""
    code, out, errors = run("evaluate", timeloop, "--json", tmp_path / "out.json")
    result = read(tmp_path / "out.json")
    assert (code, errors, out) == (0, "", f"{result}\n")
    assert result.conventions == "sparseloop-micro22"
    b = result.levels["DRAM"].tensors["B"]
    assert (b.reads.actual, b.reads.gated, b.energy_pj) == (4, 4, 44)
    assert result.computes.total == 4
    _, out, _ = run("evaluate", timeloop, "--conventions", "sparseloom", "--json", tmp_path / "clean.json")
    clean = read(tmp_path / "clean.json")
    assert clean.conventions == "sparseloom"
    assert clean.levels["DRAM"].tensors["B"].energy_pj == 40
    assert clean.computes.total == 8


def test_version_04_is_counted_as_timeloop_of_2025(run, timeloop: Path) -> None:
    text = (
        TIMELOOP.replace("0.3", "0.4")
        .replace("subtree:", "nodes:")
        .replace("- name: chip\n", "- !Container\n    name: chip\n")
    )
    head, _, rest = text.partition("    local:\n")
    nodes, _, tail = rest.partition("problem:")
    nodes = (
        nodes.replace("    - name", "  - !Component\n    name")
        .replace("      class", "    class")
        .replace("      attr", "    attr")
    )
    timeloop.write_text(head + nodes + "problem:" + tail)
    code, out, _ = run("evaluate", timeloop)
    assert code == 0
    assert out.startswith("dot on chip (model, conventions timeloop-2025-03)")


def test_what_was_not_used_of_foreign_files_is_in_the_result(run, timeloop: Path, tmp_path: Path) -> None:
    _, out, _ = run("evaluate", timeloop, "--json", tmp_path / "out.json")
    result = read(tmp_path / "out.json")
    assert [text.split(" is ignored")[0] for text in result.ignored] == [
        f"{timeloop}:5: architecture.subtree[0].attributes"
    ]
    assert any("the ERT has a table for Other, which is no level" in text for text in result.notes)
    assert "\nignored\n- " in out
    assert "\nnotes\n- " in out


def test_check_shows_what_foreign_files_hold(run, timeloop: Path) -> None:
    code, out, _ = run("check", timeloop)
    assert code == 0
    assert out.splitlines()[:3] == [
        "workload  dot: Z[] = A[k] * B[k]",
        "design    chip: DRAM, MAC",
        "mapping",
    ]
    assert "architecture.subtree[0].attributes is ignored" in out


def test_a_fault_of_the_evaluation_stands_where_the_level_is_mapped(run, case: Path) -> None:
    case.write_text(CASE.replace("capacity_words: 32", "capacity_words: 3"))
    code, _, errors = run("evaluate", case)
    assert code == 2
    assert errors.startswith(f"{case}:13: tiles need 12 words but PE holds 3 (A=6, B=6) @ PE\n")


def test_a_foreign_mapping_that_does_not_fit_names_its_line(run, timeloop: Path) -> None:
    timeloop.write_text(TIMELOOP.replace("{width: 16, word", "{depth: 4, width: 16, word"))
    code, _, errors = run("evaluate", timeloop)
    assert code == 2
    assert errors.startswith(f"{timeloop}:23: tiles need 17 words but DRAM holds 4 (A=8, B=8, Z=1) @ DRAM\n")


def test_check_shows_what_sound_files_hold(run, case: Path) -> None:
    code, out, _ = run("check", case)
    assert code == 0
    assert out.splitlines()[:4] == [
        "workload  row: Z[m] = A[m,k] * B[k]",
        "design    two-levels: DRAM, PE, MAC",
        "mapping",
        "[DRAM] keep A, B, Z",
    ]


def test_check_names_every_fault_with_its_line(run, case: Path) -> None:
    case.write_text(CASE.replace("K: 6}", "K: 0}").replace("capacity_words", "capasity_words").replace("M 4", "M4"))
    code, out, errors = run("check", case)
    assert (code, out) == (2, "")
    assert {line.split(": ")[0] for line in errors.splitlines() if line.startswith(str(case))} == {
        f"{case}:4",
        f"{case}:9",
        f"{case}:12",
    }


def test_every_published_design_is_described_and_listed(run) -> None:
    _, listed, _ = run("describe")
    for name in designs.names():
        assert f"  {name}\n" in listed
        code, out, _ = run("describe", name)
        assert code == 0
        assert out.startswith(f"{name}\nsource: ")


def test_a_design_that_does_not_exist_is_refused_with_a_suggestion(run) -> None:
    code, _, errors = run("describe", "eyeris")
    assert code == 2
    assert "did you mean 'eyeriss'?" in errors


def test_the_demo_evaluates_what_was_found_before_and_says_where_its_page_is(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sparseloom.search.comparison.map_layer", None)  # nothing is searched
    code, out, errors = run("demo", "-o", tmp_path / "demo.html")
    assert code == 0, errors
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[3:8]] == ["tc", "stc", "s2ta", "dstc", "highlight"]
    assert str(tmp_path / "demo.html") in out
    assert "<h1>resnet50 on tc, stc, s2ta, dstc and highlight</h1>" in (tmp_path / "demo.html").read_text()
    assert lines[-1].startswith(
        "the same with a search from scratch: sparseloom compare resnet50 --designs tc,stc,s2ta"
    )


def mapped(run, tmp_path: Path, text: str):
    """What `map` says and writes of a case with some constraints: the case's and the mapping's file, the JSON, and the text."""
    files = tmp_path / "toy.yaml", tmp_path / "limits.yaml"
    files[0].write_text(text)
    files[1].write_text("constraints: {levels: [{level: G, keep: [A, B], temporal: {K: 2..6}}]}")
    best, found = tmp_path / "best.yaml", tmp_path / "found.json"
    code, out, errors = run("map", *files, "-o", best, "--json", found)
    assert code == 0, errors
    return files, best, json.loads(found.read_text()), out


def test_the_mapping_that_map_writes_evaluates_to_the_same_result(run, tmp_path: Path) -> None:
    files, best, said, out = mapped(run, tmp_path, TOY)
    again = tmp_path / "again.json"
    assert "optimal in this mapspace" in out
    assert said["proven"]
    assert run("evaluate", files[0], best, "--json", again)[0] == 0
    assert json.loads(again.read_text()) == said["result"]
    assert said["result"]["energy_pj"] * said["result"]["cycles"] == said["value"]


def test_a_mapping_that_breaks_constraints_is_compared_inside_and_outside_of_them(run, tmp_path: Path) -> None:
    mapping = "mapping: [{level: D, keep: [A, B, Z], temporal: [K 6, M 4]}, {level: G, keep: [A, B], temporal: [N 4]}]"
    (tmp_path / "toy.yaml").write_text(TOY + mapping)
    (tmp_path / "limits.yaml").write_text("constraints: {levels: [{level: D, temporal: {K: <=2}}]}")
    code, out, _ = run("map", tmp_path / "toy.yaml", tmp_path / "limits.yaml", "--objective", "energy")
    assert code == 0
    assert "it breaks a constraint: D: the temporal bound of K is 6, the constraint says 1..2" in out
    assert "with that loosened the best found has energy" in out


@pytest.mark.parametrize(
    ("limits", "options", "words"),
    [
        ("{levels: [{level: X}]}", (), "constraints are given for unknown level X"),
        (
            "{levels: [{level: D, temporal: {K: 4}}, {level: G, temporal: {K: 4}}]}",
            (),
            "rank K: no perfect bounds cover its 6",
        ),
        ("{levels: [{level: D, temporal: {K: <6>}}]}", (), "'<6>' is not a limit of a bound"),
        ("{levels: [{level: G, keep: [A], temporal: {M: 4, K: 6}}]}", ("--budget", "1"), None),
        ("{levels: [{level: G, keep: [A, B, Z]}]}", ("--budget", "0"), "the budget is 0 s"),
        ("{levels: [{level: G}]}", ("--objective", "speed"), "known names: edp, energy, cycles, pareto"),
        ("{levels: [{level: G}]}", ("--budget", "soon"), "'soon' is not a time"),
        ("{levels: [{level: G}]}", ("--gap", "little"), "'little' is not a share"),
        ("{levels: [{level: G}]}", ("--gap", "1%", "--objective", "pareto"), "every point of a front is proven"),
        ("{levels: [{level: G, keep: [A], temporal: {M: 4, K: 6}}]}", ("--gap", "5%"), None),
        ("{levels: [{level: G, keep: [A, B, Z], temporal: {M: 4, K: 6}}]}", (), "G holds 24 words; the smallest tiles"),
    ],
)
def test_what_cannot_be_searched_is_said_with_exit_code_2(run, tmp_path: Path, limits, options, words) -> None:
    (tmp_path / "toy.yaml").write_text(TOY)
    (tmp_path / "limits.yaml").write_text(f"constraints: {limits}")
    code, _, errors = run("map", tmp_path / "toy.yaml", tmp_path / "limits.yaml", *options)
    assert code == (2 if words else 0), errors
    assert (words or "") in errors
    assert "Traceback" not in errors


def test_a_design_file_may_bar_loops_over_ranks_that_a_workload_lacks(run, tmp_path: Path) -> None:
    workload, design = TOY.strip().split("\n", 1)
    limits = "constraints: {levels: [{level: G, temporal: {M: 2, H: 1}}]}\n"
    (tmp_path / "work.yaml").write_text(workload)
    (tmp_path / "design.yaml").write_text(f"{design}\n{limits}")
    (tmp_path / "bare.yaml").write_text(design)
    (tmp_path / "limits.yaml").write_text(limits)
    best = tmp_path / "best.yaml"
    assert run("map", tmp_path / "work.yaml", tmp_path / "design.yaml", "-o", best)[0] == 0
    assert run("evaluate", tmp_path / "work.yaml", tmp_path / "design.yaml", best)[0] == 0
    # beside neither, they are about this workload
    code, _, errors = run("map", tmp_path / "work.yaml", tmp_path / "bare.yaml", tmp_path / "limits.yaml")
    assert code == 2
    assert "H" in errors


def test_a_named_energy_table_stands_in_for_energies_that_files_lack(run, tmp_path: Path) -> None:
    (tmp_path / "free.yaml").write_text(re.sub(r", energy_pj: \{.*?\}|, skipping: \[.*?\]", "", TOY))
    best = tmp_path / "best.json"
    assert run("map", tmp_path / "free.yaml", "--energy-table", "eyeriss-isca2016", "--json", best)[0] == 0
    energies = json.loads(best.read_text())["result"]["energy_pj"]
    assert energies > 4 * 4 * 6 * 2.20035
    code, _, errors = run("map", tmp_path / "free.yaml", "--energy-table", "eyeris")
    assert code == 2
    assert "no energy table is called 'eyeris'" in errors


@pytest.mark.parametrize("goal", ["edp", "energy"])
def test_an_objective_about_energy_wants_energies(run, tmp_path: Path, goal: str) -> None:
    (tmp_path / "free.yaml").write_text(re.sub(r", energy_pj: \{.*?\}", "", TOY))
    code, _, errors = run("map", tmp_path / "free.yaml", "--objective", goal)
    assert code == 2
    assert f"the objective {goal} is about energy, and the files give no energies" in errors
    assert "use --objective cycles" in errors
    assert "--node 45" in errors
    assert run("map", tmp_path / "free.yaml", "--objective", "cycles")[0] == 0


PATTERNED = """
workload:
  einsum: "Z[m,n] = A[m,k] * B[k,n]"
  shape: {M: 64, K: 128, N: 32}
  tensors: {A: {pattern: "M->K1->K0(2:4)"}, B: {density: 0.4}}
"""


@pytest.mark.parametrize(
    ("design", "pattern"),
    [
        ("stc", "M->K1->K0(2:4)"),
        ("highlight", "M->K1->K0(2:4)"),
        ("highlight", "M->K2->K1(2:4)->K0(2:4)"),
        ("s2ta", "M->K1->K0(4:8)"),
    ],
)
def test_a_pattern_is_searched_by_its_tiles_and_evaluated_by_its_places(
    run, tmp_path: Path, design: str, pattern: str
) -> None:
    (tmp_path / "layer.yaml").write_text(PATTERNED.replace("M->K1->K0(2:4)", pattern))
    files = design, tmp_path / "layer.yaml"
    found, best, back = (tmp_path / name for name in ("found.json", "best.yaml", "back.json"))
    code, out, errors = run("map", *files, "--node", "45", "-o", best, "--json", found)
    assert code == 0, errors
    assert "optimal in this mapspace" in out
    assert run("evaluate", *files, best, "--node", "45", "--json", back)[0] == 0
    value, result = json.loads(found.read_text()), json.loads(back.read_text())
    assert value["result"]["energy_pj"] == result["energy_pj"]
    assert value["result"]["cycles"] == result["cycles"]
    exact = result["energy_pj"] * result["cycles"]
    assert ("the search saw structured tensors" in out) == (abs(value["value"] / exact - 1) > 1e-9)
    assert value["value"] == pytest.approx(exact, rel=0.01)


def test_a_pattern_is_not_searched_where_its_places_matter(run, tmp_path: Path) -> None:
    (tmp_path / "layer.yaml").write_text(PATTERNED)
    code, _, errors = run("map", "stc", tmp_path / "layer.yaml", "--node", "45", "--imperfect")
    assert code == 2
    assert "the density of A depends on coordinates" in errors
    assert "perfect bounds" in errors


def test_files_that_cannot_be_written_are_said_before_the_search(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(codesign, "best_design", None)
    (tmp_path / "toy.yaml").write_text(TOY)
    code, _, errors = run("map", tmp_path / "toy.yaml", "-o", tmp_path / "none" / "best.yaml", "--json", tmp_path)
    assert code == 2
    assert f"{tmp_path / 'none' / 'best.yaml'}: cannot write the file: there is no folder {tmp_path / 'none'}" in errors
    assert f"{tmp_path}: cannot write the file: it is a folder" in errors


def test_a_gap_to_no_bound_is_null_in_json(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mapper.Best, "gap", float("inf"))
    (tmp_path / "toy.yaml").write_text(TOY)
    assert run("map", tmp_path / "toy.yaml", "--json", tmp_path / "best.json")[0] == 0
    assert json.loads((tmp_path / "best.json").read_text())["gap"] is None


def interrupt_when_found(monkeypatch) -> None:
    """Let a search be interrupted as soon as it has a mapping."""
    step = mapper.Search.step

    def interrupted(self) -> None:
        if self.mapping is not None:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(mapper.Search, "step", interrupted)


def test_a_search_that_is_interrupted_writes_the_best_so_far(run, tmp_path: Path, monkeypatch) -> None:
    interrupt_when_found(monkeypatch)
    (tmp_path / "large.yaml").write_text(TOY.replace("{M: 4, N: 4, K: 6}", "{M: 64, N: 64, K: 60}"))
    code, out, _ = run("map", tmp_path / "large.yaml", "-o", tmp_path / "best.yaml")
    assert code == 130
    assert "a lower bound" in out
    assert run("evaluate", tmp_path / "large.yaml", tmp_path / "best.yaml")[0] == 0


NETWORK = """
network:
  name: pair
  source: made by hand
  layers:
    - {name: conv, conv: {channels: 2, filters: 4, input: 4, window: 3, padding: 1}}
    - {name: fc, linear: {rows: 1, inputs: 6, outputs: 3}}
    - {name: again, linear: {rows: 1, inputs: 6, outputs: 3}}
"""


def network_files(folder: Path) -> tuple[Path, Path]:
    design, network = folder / "design.yaml", folder / "network.yaml"
    design.write_text(TOY[TOY.index("design:") :])
    network.write_text(NETWORK)
    return design, network


def test_a_network_is_mapped_layer_by_layer_and_goes_on_in_its_folder(run, tmp_path: Path) -> None:
    files, options = network_files(tmp_path), ("-o", tmp_path / "found", "--jobs", 1, "--density", 0.5)
    code, out, errors = run("map", *files, *options, "--json", tmp_path / "first.json")
    assert code == 0, errors
    assert [line.split()[0] for line in out.splitlines()] == ["layer", "conv", "fc", "total"]
    assert "fc +1" in out
    code, again, errors = run("map", *files, *options, "--json", tmp_path / "second.json")
    assert (code, again) == (0, out)
    assert "2 of 2 layers are known" in errors
    assert (tmp_path / "first.json").read_text() == (tmp_path / "second.json").read_text()
    assert run("evaluate", tmp_path / "found" / "conv.yaml")[0] == 0


def test_a_network_that_is_interrupted_keeps_what_it_has(run, tmp_path: Path, monkeypatch) -> None:
    step, steps = mapper.Search.step, []

    def interrupted(self) -> None:
        steps.append(self)
        if len({id(each) for each in steps}) > 1:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(mapper.Search, "step", interrupted)
    code, out, _ = run("map", *network_files(tmp_path), "-o", tmp_path / "found", "--jobs", 1)
    assert code == 130
    assert "conv" in out
    monkeypatch.setattr(mapper.Search, "step", step)
    code, out, errors = run("map", *network_files(tmp_path), "-o", tmp_path / "found", "--jobs", 1)
    assert code == 0
    assert "1 of 2 layers are known" in errors


@pytest.mark.parametrize(
    ("files", "options", "words"),
    [
        (("eyeris", "resnet50"), (), "did you mean 'eyeriss'?"),
        (("eyeriss", "resnet5"), (), "did you mean 'resnet50'?"),
        (("resnet50",), (), "there is no `design:`"),
        (("eyeriss", "lenet5"), ("--densities", "han"), "no set of densities is called 'han'"),
        (("eyeriss", "lenet5"), ("--densities", "han2015-alexnet"), "lenet5 has no layer conv1"),
        (("eyeriss", "lenet5", "resnet50"), (), "a second `network:`"),
        (("bitmask", "lenet5"), ("--energy-table", "x"), "no energy table is called 'x'"),
    ],
)
def test_networks_that_cannot_be_mapped_are_said_with_exit_code_2(run, files, options, words) -> None:
    code, _, errors = run("map", *files, *options)
    assert code == 2
    assert words in errors
    assert "Traceback" not in errors


def test_a_front_is_printed_and_its_points_evaluate_to_what_is_said(run, tmp_path: Path) -> None:
    files = tmp_path / "toy.yaml", tmp_path / "limits.yaml"
    files[0].write_text(TOY.replace("{name: D,", "{name: D, multicast: false,"))
    files[1].write_text("constraints: {levels: [{level: G, keep: [A, B]}]}")
    code, out, errors = run(
        "map", *files, "--objective", "pareto", "-o", tmp_path / "front", "--json", tmp_path / "f.json"
    )
    assert code == 0, errors
    assert "the whole front of this mapspace" in out
    points = json.loads((tmp_path / "f.json").read_text())["points"]
    assert len(points) > 1
    assert [point["energy_pj"] for point in points] == sorted(point["energy_pj"] for point in points)
    assert [point["cycles"] for point in points] == sorted((point["cycles"] for point in points), reverse=True)
    for k, point in enumerate(points, 1):
        assert run("evaluate", tmp_path / "front" / f"point-{k}.yaml", "--json", tmp_path / "one.json")[0] == 0
        assert json.loads((tmp_path / "one.json").read_text()) == point["result"]


def test_fronts_of_networks_are_refused(run) -> None:
    code, _, errors = run("map", "eyeriss", "lenet5", "--objective", "pareto")
    assert (code, "fronts are of one workload" in errors) == (2, True)


OPEN = TOY.replace("capacity_words: 24", "capacity_words: {choose: [2, 12, 24]}").replace(
    "skipping: [B <- A]", "skipping: {choose: [[], [B <- A]]}"
)


def test_what_is_chosen_is_written_as_a_case_that_evaluates_to_the_same_result(run, tmp_path: Path) -> None:
    _, best, said, out = mapped(run, tmp_path, OPEN)
    again = tmp_path / "again.json"
    assert said["choices"] == {"levels[1].capacity_words": "24", "levels[1].skipping": "[B <- A]"}
    assert "# levels[1].capacity_words: 24\n# levels[1].skipping: [B <- A]\n" in best.read_text()
    assert run("evaluate", best, "--json", again)[0] == 0
    assert json.loads(again.read_text()) == said["result"]
    assert [list(variant["choices"].values()) for variant in said["variants"]] == [
        ["2", "[]"], ["2", "[B <- A]"], ["12", "[]"], ["12", "[B <- A]"], ["24", "[]"], ["24", "[B <- A]"],
    ]  # fmt: skip
    assert [variant.get("faults", [""])[0].partition(";")[0] for variant in said["variants"]] == [
        "G holds 2 words", "G holds 2 words", "", "", "", "",
    ]  # fmt: skip
    assert said["proven"]
    assert said["bound"] == said["value"] == said["variants"][5]["value"]
    assert all(variant["bound"] >= said["value"] for variant in said["variants"][2:5])
    table = out[out.index("\n\ncapacity_words") :].splitlines()
    assert len(table) == 2 + 1 + 6
    assert re.search(r"24 +\[B <- A\] +\S+ +the best: optimal in this mapspace", table[3])
    assert all("no mapping: G holds 2 words; the smallest tiles" in line for line in table[-2:])


def test_a_design_with_open_choices_is_checked_and_searched_but_not_evaluated(run, tmp_path: Path) -> None:
    case, network = tmp_path / "open.yaml", tmp_path / "network.yaml"
    mapping = "mapping: [{level: D, keep: [A, B, Z], temporal: [K 6, M 4]}, {level: G, keep: [A, B], temporal: [N 4]}]"
    case.write_text(OPEN + mapping)
    assert "6 variants, by the choices at levels[1].capacity_words, levels[1].skipping" in run("check", case)[1]
    code, out, errors = run("evaluate", case)
    assert (code, out) == (2, "")
    assert errors.count(f"{case}:7: a choice is left open @ levels[1].") == 2
    assert "given     edp" in run("map", case)[1]
    case.write_text(OPEN[OPEN.index("design:") :])
    network.write_text("network: {name: n, source: x, layers: [{name: a, linear: {rows: 1, inputs: 4, outputs: 4}}]}")
    code, _, errors = run("map", case, network)
    assert code == 2
    assert "a choice is left open" in errors


def test_choices_of_which_none_can_hold_a_tile_are_all_named(run, tmp_path: Path) -> None:
    (tmp_path / "open.yaml").write_text(OPEN.replace("[2, 12, 24]", "[1, 2]"))
    (tmp_path / "limits.yaml").write_text("constraints: {levels: [{level: G, keep: [A, B, Z]}]}")
    code, _, errors = run("map", tmp_path / "open.yaml", tmp_path / "limits.yaml")
    assert code == 2
    assert "G holds 1 words" in errors
    assert "G holds 2 words" in errors
    assert "2 faults" in errors


def test_a_search_of_choices_that_is_interrupted_writes_the_best_so_far(run, tmp_path: Path, monkeypatch) -> None:
    interrupt_when_found(monkeypatch)
    (tmp_path / "large.yaml").write_text(OPEN.replace("{M: 4, N: 4, K: 6}", "{M: 64, N: 64, K: 60}"))
    code, out, _ = run("map", tmp_path / "large.yaml", "-o", tmp_path / "best.yaml")
    assert code == 130
    assert "open: at least" in out
    assert run("evaluate", tmp_path / "best.yaml")[0] == 0


OWN_DESIGN = """
design:
  name: own
  levels:
    - {name: DRAM, word_bits: 8, read_words_per_cycle: 16, component: {dram: {}}}
    - {name: Buffer, word_bits: 8, capacity_words: 65536, holds: [A, B, Z], component: {sram: {}}}
  compute: {name: MAC, word_bits: 8, instances: [16, 1], component: {mac: {}}}
constraints:
  levels:
    - {level: Buffer, spatial: {M: 1, K: 1, N: <=8}, axes: {N: X}}
"""


def test_a_design_of_a_file_is_compared_with_a_published_one_within_its_own_constraints(run, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL_NETWORK)
    (tmp_path / "own.yaml").write_text(OWN_DESIGN)
    options = ("--designs", f"tc,{tmp_path / 'own.yaml'}", "--jobs", 1, "--json", tmp_path / "out.json")
    code, out, errors = run("compare", tmp_path / "small.yaml", *options)
    assert code == 0, errors
    assert [line.split()[0] for line in out.splitlines()[2:5]] == ["design", "tc", "own"]
    [_, own] = json.loads((tmp_path / "out.json").read_text())["outcomes"]
    assert own["cycles"] == 64 * 128 * 64 / 8  # the file allows 8 of 16 lanes


def test_no_two_designs_of_a_comparison_may_be_called_alike(run, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL_NETWORK)
    (tmp_path / "tc.yaml").write_text(OWN_DESIGN.replace("name: own", "name: tc"))
    assert run("describe", tmp_path / "tc.yaml")[1].startswith("tc\nsource: not stated\n")
    code, _, errors = run("compare", tmp_path / "small.yaml", "--designs", f"tc,{tmp_path / 'tc.yaml'}")
    assert code == 2
    assert "2 designs are called 'tc'" in errors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OWN_DESIGN.replace("capacity_words", "capasity_words"), "did you mean 'capacity_words'?"),
        (OWN_DESIGN.replace("65536", "{choose: [1, 2]}"), "a choice is left open"),
        (OWN_DESIGN.replace("name: own", "name: 5x\n  oddity: 1"), "oddity"),
        ("design: tc", "there is no `design:` of its own in the file"),
        ("constraints: {levels: []}", "there is no `design:` of its own in the file"),
        (OWN_DESIGN.replace("component: {mac: {}}", "word_bits: 8"), "key 'word_bits' occurs again"),
    ],
)
def test_a_file_of_a_design_that_is_at_fault_is_refused_with_its_place(run, tmp_path: Path, text, words) -> None:
    (tmp_path / "own.yaml").write_text(text)
    for command in (("describe", tmp_path / "own.yaml"), ("compare", "lenet5", "--designs", tmp_path / "own.yaml")):
        code, _, errors = run(*command)
        assert code == 2
        assert words in errors
        assert "own.yaml" in errors
        assert "Traceback" not in errors


def test_a_description_says_what_a_design_is_made_of_supports_and_allows(run) -> None:
    lines = run("describe", "highlight")[1].splitlines()
    assert (
        "  decoders of rank 1     512        metadata_decoder (positions 8)                       MAC: compute" in lines
    )
    assert any(line.split()[:4] == ["B", "unstructured", "DRAM:", "UOP(N,K1):/8-CP(K0=4):2,"] for line in lines)
    assert (
        "  RF     M 1            K N        K 1, M 1, N 1          -                   -           Z      A, B" in lines
    )
    assert "DRAM, wider" in run("describe", "stc")[1]
    assert "made of" not in run("describe", "bitmask")[1]


def test_designs_are_laid_side_by_side(run, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL_NETWORK)
    options = ("--designs", "tc,stc", "--weights", "C0(2:4)", "--activations", "0.5", "--jobs", 1)
    code, out, errors = run("compare", tmp_path / "small.yaml", *options, "--json", tmp_path / "out.json")
    assert code == 0, errors
    assert [line.split()[0] for line in out.splitlines()[2:5]] == ["design", "tc", "stc"]
    assert len(json.loads((tmp_path / "out.json").read_text())["outcomes"]) == 2
    assert run("diff", tmp_path / "out.json", tmp_path / "out.json") == (0, "no difference\n", "")
    other = ("--designs", "stc", *options[2:], "--sweep", "--json", tmp_path / "other.json")
    assert run("compare", tmp_path / "small.yaml", *other)[0] == 0
    code, out, _ = run("diff", tmp_path / "out.json", tmp_path / "other.json")
    assert code == 1
    assert [line.split() for line in out.splitlines()[1:3]] == [
        ["totals.tc", "present", "-"],
        ["sweep.dense", "-", "present"],
    ]
    page = tmp_path / "page.html"
    for asked, there in ((), True), (("--no-sweep",), False):
        assert run("compare", tmp_path / "small.yaml", *options, "-o", page, *asked)[0] == 0
        assert ('<section id="sweep">' in page.read_text()) == there


SMALL_NETWORK = """
network:
  name: small
  source: made by hand
  layers:
    - {name: fc, linear: {rows: 64, inputs: 128, outputs: 64}}
"""


def test_energies_of_components_at_a_node_are_those_that_comparisons_take(run, tmp_path: Path) -> None:
    """DRAM 8 bits at 8 pJ each; all else is less at a smaller node; cycles stay."""
    (tmp_path / "own.yaml").write_text(OWN_DESIGN)
    (tmp_path / "layer.yaml").write_text("workload: {einsum: 'Z[m,n] = A[m,k] * B[k,n]', shape: {M: 8, N: 16, K: 8}}")
    own = (tmp_path / "layer.yaml", tmp_path / "own.yaml")
    best, at_45, at_16 = (tmp_path / name for name in ("best.yaml", "45.json", "16.json"))
    code, out, errors = run("map", *own, "--node", 45, "-o", best)
    assert code == 0, errors
    assert "CACTI 7.0" in out
    results = []
    for node, path in ((45, at_45), (16, at_16)):
        assert run("evaluate", *own, best, "--node", node, "--json", path)[0] == 0
        results.append(read(path))
    of_a = [result.levels["DRAM"].tensors["A"] for result in results]
    assert of_a[0].energy_pj == 64 * of_a[0].reads.actual == of_a[1].energy_pj
    assert results[1].energy_pj < results[0].energy_pj
    assert results[1].cycles == results[0].cycles
    code, _, errors = run("map", *own, "--node", 45, "--energy-table", "eyeriss-isca2016")
    assert (code, "keep one of them" in errors) == (2, True)
    code, _, errors = run("map", tmp_path / "layer.yaml", "coordinate-list", "--node", 45)
    assert (code, "does not say what it is made of" in errors) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--designs", "tc,hihglight"), "did you mean 'highlight'?"),
        (("--designs", ","), "no designs are named"),
        (("--designs", "tc", "--weights", "2:4"), "cannot read the pattern"),
        (("--designs", "tc", "--activations", "1.5"), "density 1.5 is not between 0 and 1"),
        (("--designs", "tc", "--node", "3"), "the node is 3 nm, the tables have 7 to 65 nm"),
        (("--designs", "tc", "--budget", "0"), "the budget is 0 s"),
        (("--designs", "tc", "--objective", "speed"), "unknown objective 'speed'"),
        (("--designs", "tc,bitmask"), "does not say what it is made of"),
    ],
)
def test_what_cannot_be_compared_is_said_with_exit_code_2(run, tmp_path: Path, options, words) -> None:
    (tmp_path / "small.yaml").write_text(SMALL_NETWORK)
    code, _, errors = run("compare", tmp_path / "small.yaml", *options)
    assert code == 2
    assert words in errors
    assert "Traceback" not in errors
