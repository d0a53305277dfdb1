"""What the pages tell to do works as it is told."""

import re
from pathlib import Path

import pytest
from tests.docs.blocks import ROOT, blocks, run

RUN = ("tutorial", "adding-a-design", "adding-an-estimator", "adding-a-density")


@pytest.mark.parametrize("name", RUN)
def test_the_blocks_of_a_page_run_in_their_order_and_print_what_it_states(name: str, tmp_path: Path) -> None:
    printed = run((ROOT / "docs" / f"{name}.md").read_text("utf-8"), tmp_path)
    assert len(printed) >= 2


def test_the_loop_of_the_page_on_pruning_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    use, _, _ = (ROOT / "docs" / "pruning.md").read_text("utf-8").partition("## The data and its way")
    printed = run(use, tmp_path)
    assert printed == ["96 of 256\n"]


def test_only_the_installation_is_not_run() -> None:
    pages = [(ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in RUN]
    read = [text for page in pages for language, text in blocks(page) if language == "console"]
    assert all(re.fullmatch(r"(\$ (python3 -m venv|\. loom|pip install) ?.*\n)+", text) for text in read)


def test_an_output_that_is_stated_wrongly_is_found(tmp_path: Path) -> None:
    page = "```python\nprint(1)\nprint(2)\n```\n\n```text\n{}\n...\n```\n"
    run(page.format(1), tmp_path)
    with pytest.raises(AssertionError, match="the page says\n3"):
        run(page.format(3), tmp_path)


def test_a_command_that_fails_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"nothing.yaml: cannot read"):
        run("```sh\nsparseloom check nothing.yaml\n```\n", tmp_path)


def test_links_between_pages_lead_somewhere() -> None:
    """Also on a site that shows the sources alone."""
    broken = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", page.read_text("utf-8")):
            if not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []
