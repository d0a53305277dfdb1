"""What the project promises about itself: quick imports, help that is complete, documents that run."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sparseloom
from sparseloom import cli
from sparseloom.case import read as read_case
from sparseloom.document import parse
from sparseloom.results.file import read
from sparseloom.workload.network_file import read as read_network

ROOT = Path(__file__).parent.parent
HEAVY = (
    "keras", "matplotlib", "numba", "numpy", "plotly", "polars", "pydantic", "rich", "ruamel.yaml", "scipy", "sklearn", "torch",
)  # fmt: skip


def _loaded(statement: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded after ``statement``."""
    code = f"import sys\n{statement}\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    source = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=source)
    return set(done.stdout.split())


def test_importing_the_package_loads_no_heavy_library() -> None:
    assert _loaded("import sparseloom") == set()


def test_starting_the_command_line_loads_no_heavy_library() -> None:
    assert _loaded("import sparseloom.cli") <= {"rich"}


def test_values_load_no_library_that_only_files_need() -> None:
    names = "Workload, Design, Mapping, Result"
    assert _loaded(f"from sparseloom import {names}") & {"pydantic", "ruamel.yaml", "polars", "rich"} == set()


@pytest.mark.parametrize("name", [name for name in sparseloom.__all__ if name != "__version__"])
def test_every_public_name_exists_and_has_a_docstring(name: str) -> None:
    value = getattr(sparseloom, name)
    assert value.__name__ == name
    assert value.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'sparseloom' has no attribute 'evalute'"):
        sparseloom.evalute  # noqa: B018


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == sparseloom.__version__


def test_everything_imported_is_declared() -> None:
    imported = {name for path in (ROOT / "src").rglob("*.py") for name in _imports(path)}
    foreign = imported - sys.stdlib_module_names - {"sparseloom"}
    assert foreign - {"pydantic_core"} <= _declared()  # pydantic's own core, of the version that pydantic pins


def _imports(path: Path) -> set[str]:
    """The top packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


_IMPORTED_AS = {"scikit-learn": "sklearn", "pillow": "PIL"}


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    # what users may add; the other groups are for work on the project itself
    groups = project["optional-dependencies"]
    offered = [requirement for name in ("hwcomponents", "prune", "onnx", "keras") for requirement in groups[name]]
    names = {re.split(r"[.<>=~]", requirement)[0] for requirement in [*project["dependencies"], *offered]}
    return {_IMPORTED_AS.get(name, name) for name in names}


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    alone = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}  # not a make within a make
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, env=alone).stdout
    assert {line.split()[1] for line in shown.splitlines()} == targets
    assert targets >= {"help", "setup", "demo", "test", "check", "bench", "docs", "clean"}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_command_of_the_documents_exists(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    commands = set(re.findall(r"(?:^|`)sparseloom ([a-z]+)", text, re.MULTILINE))
    targets = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    known = {info.name or info.callback.__name__ for info in cli.app.registered_commands if info.callback}
    assert commands <= known
    assert targets <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for info in cli.app.registered_commands:
        assert info.callback
        assert f"sparseloom {info.name or info.callback.__name__}" in text


def test_no_file_names_a_machine() -> None:
    home = re.compile(r"/(?:home|root|Users|work)/[a-z]")
    pages = [path for path in ROOT.glob("*.*") if path.is_file()]
    pages += [path for folder in ("src", "tests", "docs", "scripts") for path in (ROOT / folder).rglob("*.*")]
    texts = {path: path.read_bytes() for path in pages if "__pycache__" not in path.parts and path.is_file()}
    assert [path for path, text in texts.items() if home.search(text.decode("utf-8", "replace"))] == []


def test_the_case_of_the_page_on_files_runs(tmp_path: Path) -> None:
    text, choices, constraints, _ = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs" / "files.md").read_text("utf-8"), re.DOTALL
    )
    (tmp_path / "case.yaml").write_text(text)
    case = read_case([tmp_path / "case.yaml"])
    assert case.workload is not None
    assert case.design is not None
    assert case.mapping is not None
    result = sparseloom.evaluate(case.workload, case.design, case.mapping)
    assert result.cycles == 512
    assert not any("costs nothing" in said for said in result.assumptions)
    (tmp_path / "constraints.yaml").write_text(constraints)
    limits = read_case([tmp_path / "case.yaml", tmp_path / "constraints.yaml"]).constraints
    best = sparseloom.best_mapping(sparseloom.Mapspace(sparseloom.Problem(case.workload, case.design), limits))
    assert best.proven
    (tmp_path / "open.yaml").write_text(choices)
    assert len(read_case([tmp_path / "open.yaml"]).variants) == 36


def test_the_network_of_the_page_on_files_has_the_totals_it_states() -> None:
    text = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "files.md").read_text("utf-8"), re.DOTALL)[-1]
    network = read_network(parse(text))
    assert network.published
    assert network.parameters == network.published.parameters
    assert round(network.computes, -7) == network.published.macs


def test_the_python_examples_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, spread, second, third, fourth, layers, beside = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(first, names)
    result = names["result"]
    assert isinstance(result, sparseloom.Result)
    assert read(tmp_path / "result.json") == result
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{result.cycles} {result.energy_pj} ")
    exec(spread, names)
    assert capsys.readouterr().out.startswith("tensors drawn 8 times (seed 0): ")
    exec(second, names)
    assert capsys.readouterr().out.startswith(f"[{result.cycles}. 1536. 2048. 4096.]")
    exec(third, names)
    best = names["best"]
    assert isinstance(best, sparseloom.Best)
    assert best.proven
    assert f"{best.size:,} mappings; {best}" in capsys.readouterr().out
    exec(fourth, names)
    chosen = names["chosen"]
    assert isinstance(chosen, sparseloom.Chosen)
    assert chosen.best.proven
    assert chosen.best.value <= best.value
    exec(layers, names)
    assert {line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()} == {"optimal in this mapspace"}
    exec(beside.replace('"resnet50", ["tc", "stc", "highlight"]', '"lenet5", ["tc", "stc"]'), names)
    assert capsys.readouterr().out.startswith("lenet5: weights C1(2:4)->C0(2:4), activations 0.4 unstructured")
    assert (tmp_path / "report.html").exists()
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "edp.pdf",
        "cycles.pdf",
        "energy.pdf",
        "area.pdf",
    }
