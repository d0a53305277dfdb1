"""The site is built without a warning, and has what the package has."""

import importlib.util
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from tests.docs.blocks import ROOT

import sparseloom
from sparseloom import designs

BUILT = importlib.util.find_spec("sphinx") is not None
needs_sphinx = pytest.mark.skipif(not BUILT, reason='the site needs sphinx: pip install -e ".[docs]"')


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from a copy: the build writes pages among its sources."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("generated", "__pycache__"))
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", folder / "docs", folder / "built"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "src"), "PATH": ""})
    assert done.returncode == 0, done.stderr
    return folder / "built"


@needs_sphinx
def test_every_page_and_every_design_is_on_the_site_and_every_public_name_explained(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}
    assert {path.stem for path in (site / "generated" / "designs").glob("*.html")} == set(designs.names())
    explained = (site / "api.html").read_text("utf-8")
    for name in sparseloom.__all__:
        assert name == "__version__" or f'id="sparseloom.{name}"' in explained


@needs_sphinx
def test_the_site_needs_no_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        assert 'src="http' not in text
        assert 'rel="stylesheet" type="text/css" href="http' not in text


@pytest.mark.parametrize("name", designs.names())
def test_the_page_of_a_design_says_what_is_known_of_it(generate: ModuleType, name: str) -> None:
    design, page = designs.load(name), generate.design_page(name)
    assert design.source in page
    assert all(f"| {level.name} |" in page or f"| `{level.name}` |" in page for level in design.architecture.levels)
    assert designs.design_file(name).read_text("utf-8").strip() in page
    assert all(f"sparseloom evaluate {case}\n" in page for case in designs.cases() if case.startswith(f"{name}-m"))
    assert ("## Supports\n\n| operand" in page) == bool(design.supports)
    assert ("## Mappings\n\n| level" in page) == bool(designs.constraints(name).levels)


def test_a_design_that_is_added_appears_by_itself_and_one_that_goes_is_gone(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, pages = tmp_path / "designs", tmp_path / "docs" / "generated"
    shutil.copytree(designs.design_file("tc").parent, package, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (package / "another.yaml").write_text((package / "tc.yaml").read_text("utf-8").replace("name: tc", "name: another"))
    for name in generate.COPIED:
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(import_module("sparseloom.designs.load"), "_FOLDER", package)
    generate.write(tmp_path / "docs")
    assert (pages / "designs" / "another.md").read_text("utf-8").startswith("# another\n")
    assert "[another](generated/designs/another.md)" in (pages / "designs.md").read_text("utf-8")
    (package / "another.yaml").unlink()
    generate.write(tmp_path / "docs")
    assert {path.stem for path in (pages / "designs").iterdir()} == set(designs.names())
