"""What many tests use. Property tests take the time they need: a busy machine is no failure."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from sparseloom import cli
from sparseloom.results import ComputeActions, LevelActions, Outcomes, RankUnits, Result, TensorActions

settings.register_profile("sparseloom", deadline=None)
settings.load_profile("sparseloom")


def pytest_configure() -> None:
    """Forget compiled kernels that are older than a module with kernels: those that call into it would keep its old code. They
    are compiled again before the first test, which takes half a minute."""
    folder = Path(__file__).parents[1] / "src" / "sparseloom"
    kernels = [path for path in folder.rglob("*.py") if re.search("^@(kernel|inlined)", path.read_text(), re.MULTILINE)]
    newest = max(path.stat().st_mtime for path in kernels)
    outdated = [path for path in folder.rglob("__pycache__/*.nb[ic]") if path.stat().st_mtime < newest]
    for compiled in outdated:
        compiled.unlink(missing_ok=True)
    if outdated:
        every = "from sparseloom import case, designs, evaluate\nfor name in designs.cases():\n    found = case.read([name])\n"
        code = f"{every}    evaluate(found.workload, found.design, found.mapping)\n"
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


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


@pytest.fixture
def toy_result() -> Result:
    """A quarter-dense A, skipped at DRAM, against a PE that holds a tile of Z."""
    a = TensorActions(
        reads=Outcomes(1024, 0, 3072),
        metadata_reads=(RankUnits(Outcomes(64)), RankUnits(Outcomes(1024.5, 0, 3071.5), Outcomes(1))),
        tile_words=4096,
        expected_words=1024,
        worst_words=1024,
        worst_metadata_bits=8192,
        energy_pj=204800.0,
    )
    z = TensorActions(updates=Outcomes(256), tile_words=256, worst_words=256, energy_pj=1.5)
    held = TensorActions(reads=Outcomes(12), fills=Outcomes(16.25), tile_words=16, worst_words=16, instances=3.5)
    dram = LevelActions("DRAM", {"A": a, "Z": z}, 2048, 204801.5, 1, None, None, "read")
    pe = LevelActions("PE", {"Z": held, "A": TensorActions(fills=Outcomes(5), streamed=True)}, 900, 0.0, 3.5, 64, 128)
    compute = ComputeActions("MAC", Outcomes(1024, 3, 5), 3000, 512.0, 1027, 1000.25, 4, 3.5)
    return Result(
        origin="model",
        conventions="sparseloom",
        workload="tiny",
        design="toy",
        cycles=2048,
        energy_pj=205313.5,
        utilization=0.5,
        computes=compute.outcomes,
        compute=compute,
        levels={"DRAM": dram, "PE": pe},
        bottleneck="DRAM reads: 1,024 words at 0.5 words per cycle",
        loopnest="[DRAM] for m1 in [0, 4)\n[PE]     for k0 in [0, 3)\n",
        assumptions=("A is uniform at density 0.25", "work is balanced " * 9),
        notes=("made by hand",),
        intervals={"cycles": (2000, 2048.5)},
    )
