import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from sparseloom import __version__, cli
from sparseloom.results import Result

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
