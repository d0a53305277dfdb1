import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from sparseloom import __version__, cli, designs
from sparseloom.results import Result
from sparseloom.results.file import read

COMMAND = [sys.executable, "-c", "from sparseloom.cli import main; main()"]
SOURCE = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "src")}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command line: exit code, stdout, stderr."""

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sparseloom", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return command


def test_the_version_is_printed(run) -> None:
    assert run("--version") == (0, f"sparseloom {__version__}\n", "")


def test_a_command_that_does_not_exist_is_refused(run) -> None:
    code, _, errors = run("evalute")
    assert code == 2
    assert "evalute" in errors


@pytest.mark.parametrize("kind", ["design", "workload", "mapping", "result"])
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


def test_a_reader_that_goes_away_is_no_error() -> None:
    with Popen([*COMMAND, "schema", "result"], stdout=PIPE, stderr=PIPE, env=SOURCE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_an_interrupt_says_so_in_one_line(tmp_path: Path) -> None:
    pipe = tmp_path / "slow.json"
    os.mkfifo(pipe)
    with Popen([*COMMAND, "diff", pipe, pipe], stderr=PIPE, env=SOURCE) as process:
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
    assert "cannot write the file: No such file or directory" in errors


def test_unknown_conventions_are_refused_with_the_known_ones(run, case: Path) -> None:
    code, _, errors = run("evaluate", case, "--conventions", "ours")
    assert code == 2
    assert "unknown conventions 'ours'" in errors
    assert "sparseloom" in errors


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


def test_the_demo_runs_and_says_how_to_repeat_it(run) -> None:
    code, out, _ = run("demo")
    assert code == 0
    repeat = out.splitlines()[-1].split("`")[1].split()
    assert out.startswith(run(*repeat[1:])[1])
