"""From a model to a network to designs on the command line, and what is said of input at fault."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from sparseloom.workload.network_file import read

MODEL = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))


def loaders():
    torch.manual_seed(1)
    x = torch.randn(96, 16)
    y = x[:, :4].argmax(1)
    return (x[:64], y[:64]), (x[64:80], y[64:80]), (x[80:], y[80:])


def number():
    return 3


def wide():
    x, y = torch.randn(8, 17), torch.arange(8) % 4
    return (x, y), (x, y)
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and data of a user's own, the working directory."""
    (tmp_path / "mine.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prune(run, *more: object) -> tuple[int, str, str]:
    return run("prune", "mine.py:build", "--data", "mine.py:loaders", "--epochs", "1", *more)


def test_a_model_of_ones_own_is_pruned_imported_and_compared(run, mine: Path) -> None:
    code, out, _ = prune(run, "--pattern", "C0(2:4)", "-o", "pruned", "--json", "run.json")
    assert code == 0
    assert "the first layer" in out
    assert [weight["density"] for weight in json.loads((mine / "run.json").read_text())["weights"]] == [1.0, 0.5, 0.5]
    code, out, _ = run("import", "pruned", "-o", "network.yaml", "--samples", "8", "--tensors", "tensors")
    assert code == 0
    assert "read by torch.export, densities over 8 samples" in out
    network = read(mine / "network.yaml")
    assert [layer.weights for layer in network.layers] == [512, 512, 64]
    assert [dict(layer.chains) for layer in network.layers] == [{}, {"W": ((2, 4),)}, {"W": ((2, 4),)}]
    assert all(0 < layer.densities["I"] < 1 for layer in network.layers[1:])
    assert sorted(path.name for path in (mine / "tensors").glob("*.yaml")) == ["0.yaml", "2.yaml", "4.yaml"]
    code, out, _ = run("compare", "network.yaml", "--designs", "tc,stc", "--budget", "2s", "--jobs", "1")
    assert code == 0
    assert "weights of each layer its own" in out
    edp = {line.split()[0]: float(line.split()[5]) for line in out.splitlines() if line.startswith(("tc ", "stc "))}
    assert edp["stc"] < edp["tc"]
    code, dense, _ = run(
        "compare", "network.yaml", "--designs", "tc,stc", "--weights", "dense", "--budget", "2s", "--jobs", "1"
    )
    assert code == 0
    assert "weights dense" in dense


def test_a_pattern_for_one_weight_and_8_bits(run, mine: Path) -> None:
    code, out, _ = prune(
        run,
        "--pattern",
        "dense",
        "--layer",
        "2=C1(1:2)->C0(2:4)",
        "--layer",
        "4=unstructured@0.25",
        "--int8",
        "1",
        "-o",
        "p",
    )
    assert code == 0
    found = json.loads((mine / "p" / "run.json").read_text())
    assert [weight["density"] for weight in found["weights"]] == [1.0, 0.25, 0.25]
    assert {path.name for path in (mine / "p" / "int8").iterdir()} == {"graph.json", "tensors.npz", "packed.npz"}
    assert "smaller by" in out
    code, again, _ = prune(
        run,
        "--pattern",
        "dense",
        "--layer",
        "2=C1(1:2)->C0(2:4)",
        "--layer",
        "4=unstructured@0.25",
        "--int8",
        "1",
        "-o",
        "p",
    )
    assert (code, again) == (0, out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pattern", "K0(2:4)"], "rank K0 of K0(2:4) is not made of the tensor's ranks"),
        (["--pattern", "C0(2:"], "cannot read the pattern"),
        (["--pattern", "unstructured"], "admits several densities, none was given"),
        (["--pattern", "C->RS(4:9)"], "rank RS has 1 coordinates, its rule 4:9 is for 9"),
        (["--pattern", "C0(2:4)", "--schedule", "twice", "--norm", "max"], "no norm is called 'max'"),
        (["--pattern", "C0(2:4)", "--layer", "9=C0(1:4)"], "the model has no weight 9"),
        (["--pattern", "C0(2:4)", "--layer", "2"], "'2' is no pattern of a weight"),
        (["--pattern", "C0(2:4)", "--data", "mine.py:wide"], "the model cannot take inputs of shape (8, 17)"),
        (["--pattern", "C0(2:4)", "--data", "mine.py:none"], "mine.py has no none"),
        (["--pattern", "C0(2:4)", "--weights", "no.pt"], "there is no file no.pt"),
        (["--pattern", "C0(2:4)", "--only", "("], "cannot read the expression '('"),
        (["--pattern", "C0(2:4)", "--skip", "."], "no weight is left to prune of 3"),
    ],
)
def test_input_at_fault_is_named_with_exit_code_2_and_nothing_is_written(
    run, mine: Path, arguments: list[str], said: str
) -> None:
    code, out, errors = prune(run, "-o", "out", *arguments)
    assert (code, out) == (2, "")
    assert said in errors
    assert "how to fix" in errors
    assert "Traceback" not in errors
    assert not (mine / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mine.py:number", "--data", "mine.py:loaders"], "mine.py:number returned a int"),
        (["mine.py:build"], "no data are named to run the model on"),
        (["mine.py:build", "--data", "mine.py:wide"], "the model does not run on the data"),
        (["lenet6"], "no model is called 'lenet6'"),
        (["nothing.onnx", "--data", "mine.py:loaders"], "nothing.onnx"),
        (["mine.py:build", "--data", "mine.py:loaders", "--samples", "0"], "0 samples"),
    ],
)
def test_what_cannot_be_imported_is_named(run, mine: Path, arguments: list[str], said: str) -> None:
    code, _, errors = run("import", *arguments, "-o", "network.yaml")
    assert code == 2
    assert said in errors
    assert "Traceback" not in errors
    assert not (mine / "network.yaml").exists()


def test_a_frontier_has_a_page_and_values_and_trains_nothing_twice(run, mine: Path) -> None:
    arguments = (
        "frontier", "mine.py:build", "--data", "mine.py:loaders", "--epochs", "1", "--designs", "tc,stc",
        "--patterns", "C0(2:4); unstructured@0.25",
        "--candidates", "2", "--budgets", "0,100", "--budget", "2s", "--jobs", "1", "-o", "f.html", "--json", "f.json",
    )  # fmt: skip
    code, out, errors = run(*arguments)
    assert (code, errors.splitlines()[-1]) == (0, "the page is f.html")
    found = json.loads((mine / "f.json").read_text())
    uniform = {point["name"] for point in found["points"] if point["uniform"]}
    assert uniform == {"dense", "C0(2:4)", "unstructured@0.25"}
    assert all(each["best"]["edp"] <= each["uniform"]["edp"] for each in found["budgets"] if each["uniform"])
    assert "budgets" in out
    page = (mine / "f.html").read_text()
    assert "EDP on stc" in page
    runs = {path: path.stat().st_mtime_ns for path in (mine / "frontier").rglob("*")}
    assert run(*arguments)[1] == out
    assert {path: path.stat().st_mtime_ns for path in (mine / "frontier").rglob("*")} == runs


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--designs", "tcc"], "tcc"),
        (["--patterns", "C0(2:4); unstructured@x"], "'x' is no density"),
        (["--budgets", "0,much"], "'much' is no accuracy that may be lost"),
    ],
)
def test_a_frontier_at_fault_trains_nothing(run, mine: Path, arguments: list[str], said: str) -> None:
    code, _, errors = run("frontier", "mine.py:build", "--data", "mine.py:loaders", *arguments)
    assert code == 2
    assert said in errors
    assert not (mine / "frontier").exists()
