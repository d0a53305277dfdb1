"""All studies together: an interrupt loses nothing, and the page says what was found, loads nothing and works in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import pytest
from tests.report.test_page import CHROMIUM, EVIL, FLAGS, Reader

from sparseloom.report import studies
from sparseloom.report import study as one_study
from sparseloom.report.studies import Studies, compute
from sparseloom.report.studies_page import page
from sparseloom.report.study import Chart, Computed, Finding, Part, Study, study

NAMES = ("fig3-1", "fig6-3", "fig6-9")


def made(name: str, ours: float = 2.0, jobs: int = 1) -> Study:
    """A study with a claim that passes at 2, one that is only reported, a table, a chart and a note."""
    findings = (
        Finding(f"speed {EVIL}", ours, 2.0, 0.1, None, None, f"because {EVIL}"),
        Finding("energy", 3.14159, None, None, None, None, "not said"),
    )
    chart = Chart("bars", ["x", "y"], {f"one {EVIL}": [1.0, 2.0], "two": [3.0, None]}, "", "value")
    part = Part(f"numbers {EVIL}", ("design", "words", "sort"), [("tc", "1,024", "dense"), (EVIL, "-1.5", "sparse")])
    return Study(name, f"source {EVIL}", Computed(f"title {EVIL}", {}, (part,), chart, (f"note {EVIL}",)), findings)


def found(*ours: float, left: tuple[str, ...] = ()) -> Studies:
    return Studies(tuple(made(name, value) for name, value in zip(NAMES, ours, strict=False)), left)


def test_every_study_is_computed_in_its_order_and_watched(monkeypatch) -> None:
    monkeypatch.setattr(studies, "study", lambda name, jobs: made(name, jobs=jobs))
    seen = list[tuple[int, int]]()
    whole = compute(2, watch=lambda so_far: seen.append((len(so_far.done), len(so_far.left))))
    count = len(one_study.STUDIES)
    assert [each.name for each in whole.done] == list(one_study.STUDIES)
    assert seen == [(number, count - number) for number in range(count + 1)]
    assert whole.verdicts() == {"pass": count, "reported": count}


def test_an_interrupt_keeps_the_studies_that_were_computed(monkeypatch) -> None:
    def interrupted(name: str, jobs: int) -> Study:
        if name == NAMES[2]:
            raise KeyboardInterrupt
        return made(name)

    monkeypatch.setattr(studies, "study", interrupted)
    so_far = compute(1, NAMES)
    assert [each.name for each in so_far.done] == list(NAMES[:2])
    assert so_far.left == (NAMES[2],)
    assert f"interrupted: not computed are {NAMES[2]}" in str(so_far)
    assert f"Interrupted: not computed are {NAMES[2]}." in page(so_far)


def test_the_table_counts_verdicts_and_names_what_fails() -> None:
    lines = str(found(2.0, 3.0)).splitlines()
    assert re.split(r"\s{2,}", lines[1])[-3:] == ["1", "0", "1"]
    assert re.split(r"\s{2,}", lines[2])[-3:] == ["0", "1", "1"]
    assert re.split(r"\s{2,}", lines[3]) == ["all", "1", "1", "2"]
    assert re.split(r"\s{2,}", lines[-1]) == ["fig6-3", f"speed {EVIL}", "2 within 10 %", "3"]
    assert not found(2.0, 3.0).holds
    assert found(2.0, 2.1).holds


def test_the_json_holds_every_study(tmp_path: Path) -> None:
    found(2.0, 3.0, left=NAMES[2:]).to_json(tmp_path / "all.json")
    values = json.loads((tmp_path / "all.json").read_text())
    assert [each["name"] for each in values["studies"]] == list(NAMES[:2])
    assert [each["findings"][0]["verdict"] for each in values["studies"]] == ["pass", "fail"]
    assert values["left"] == [NAMES[2]]


def _fakes(monkeypatch: pytest.MonkeyPatch, stop_at: str = "") -> None:
    def fake(name: str, jobs: int) -> Study:
        if name == stop_at:
            raise KeyboardInterrupt
        return made(name, 3.0 if name == "fig6-9" else 2.0)

    monkeypatch.setattr(studies, "study", fake)


def test_the_command_writes_page_and_json_and_its_code_says_that_a_claim_fails(
    run, tmp_path: Path, monkeypatch
) -> None:
    _fakes(monkeypatch)
    code, printed, errors = run("reproduce", "all", "-o", tmp_path / "all.html", "--json", tmp_path / "all.json")
    assert (code, errors.splitlines()[-1]) == (1, f"the page is {tmp_path}/all.html")
    assert printed.splitlines()[-1].startswith("fig6-9")
    assert len(json.loads((tmp_path / "all.json").read_text())["studies"]) == len(one_study.STUDIES)
    assert (tmp_path / "all.html").read_text().count("<section") == 1 + len(one_study.STUDIES)


def test_an_interrupted_command_leaves_what_was_computed(run, tmp_path: Path, monkeypatch) -> None:
    _fakes(monkeypatch, stop_at="fig4-9")
    code, printed, _ = run("reproduce", "all", "-o", tmp_path / "all.html", "--json", tmp_path / "all.json")
    before = list(one_study.STUDIES).index("fig4-9")
    assert code == 130
    assert "not computed are fig4-9, " in printed
    assert len(json.loads((tmp_path / "all.json").read_text())["studies"]) == before
    assert (tmp_path / "all.html").read_text().count("<section") == 1 + before


def test_a_page_that_is_none_is_refused_before_anything_is_computed(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(studies, "study", None)
    code, _, errors = run("reproduce", "all", "-o", tmp_path / "all.pdf")
    assert code == 2
    assert "'.pdf' is not a page" in errors
    assert "give a file that ends in .html" in errors


def test_a_search_that_was_interrupted_is_no_result(monkeypatch) -> None:
    """What a search had found when it was stopped is not the best: no study takes it for that."""
    from sparseloom.report import tax
    from sparseloom.report.comparison import Comparison

    stopped = Comparison("", "", "", "edp", tax.Technology(), (), (), (), interrupted=True)
    monkeypatch.setattr(tax, "compare", lambda *_, **__: stopped)
    with pytest.raises(KeyboardInterrupt):
        study("fig6-12")


def test_one_process_ends_at_an_interrupted_search_too(monkeypatch) -> None:
    from sparseloom.search import comparison
    from sparseloom.search.mapper import Best

    stopped = Best("edp", "pJ cycles", None, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0.0, interrupted=True)
    monkeypatch.setattr(comparison, "_search", lambda run: stopped)
    with pytest.raises(KeyboardInterrupt):
        list(comparison._searched([None, None], 1))


# the page


@pytest.fixture(scope="module")
def written() -> str:
    return page(found(2.0, 3.0))


@pytest.fixture(scope="module")
def reader(written: str) -> Reader:
    return Reader(re.sub(r"<svg.*?</svg>", "", written, flags=re.DOTALL))


def test_every_tag_that_opens_closes_and_no_name_is_there_twice(reader: Reader, written: str) -> None:
    assert reader.open == []
    identities = re.findall(r'\bid="(.*?)"', written)
    assert len(identities) == len(set(identities))
    assert set(re.findall(r'(?:href="|url\()#(.*?)["\)]', written)) <= set(identities)


def test_the_page_loads_nothing(reader: Reader) -> None:
    loads = [value for _, attributes in reader.tags for key, value in attributes.items() if key in ("src", "href")]
    assert sorted(set(loads)) == ["#fig3-1", "#fig6-3", "data:,"]
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(|url\(", "".join(reader.scripts))
    policies = [
        attributes["content"] for tag, attributes in reader.tags if tag == "meta" and "http-equiv" in attributes
    ]
    assert len(policies) == 1
    assert str(policies[0]).startswith("default-src 'none';")


def test_names_are_text_and_never_tags(written: str, reader: Reader) -> None:
    assert "<script>alert" not in written
    assert written.count(f">{escape(EVIL)}<") == 2  # the cells of both tables
    assert {f"speed {EVIL}", f"because {EVIL}", f"note {EVIL}", f"numbers {EVIL}"} <= set(reader.texts)


def test_the_headline_and_the_summary_count_the_verdicts(reader: Reader, written: str) -> None:
    assert "1 of 2 claims hold, 1 fails; 2 more numbers are reported." in reader.texts
    summary = written[written.index('<section id="summary">') : written.index('<section id="fig3-1">')]
    counts = [re.findall(r'<td class="number (\w*)">(\d*)</td>', line) for line in summary.split("</tr>")[1:3]]
    assert counts == [[("pass", "1"), ("", ""), ("reported", "1")], [("", ""), ("fail", "1"), ("reported", "1")]]


def test_columns_of_figures_are_to_the_right(written: str) -> None:
    assert "<th>design</th><th class=number>words</th><th>sort</th>" in written
    assert "<td>tc</td><td class=number>1,024</td><td>dense</td>" in written


def test_charts_are_drawn_in_the_colours_of_the_page(written: str) -> None:
    charts = re.findall(r"<svg.*?</svg>", written, flags=re.DOTALL)
    assert len(charts) == 2
    for chart in charts:
        assert "currentColor" in chart
        assert "var(--line)" in chart
        assert "#010203" not in chart
        assert f"one {escape(EVIL, quote=False)}" in chart


@pytest.fixture
def view(written: str, tmp_path: Path) -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    path, requests, complaints = tmp_path / "all.html", list[str](), list[str]()
    path.write_text(written, "utf-8")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        opened = browser.new_context(viewport={"width": 1366, "height": 768}, color_scheme="light").new_page()
        opened.on("request", lambda request: requests.append(request.url))
        opened.on("console", lambda said: complaints.append(said.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.goto(path.as_uri())
        yield opened
        assert complaints == []
        assert requests == [path.as_uri()]
        browser.close()


def test_the_page_works_in_a_browser(view: Any) -> None:
    assert view.locator(".chart svg").count() == 2
    box = view.locator(".chart svg").first.bounding_box()
    assert box["width"] > 600
    assert box["height"] > 200
    ink = "getComputedStyle(document.querySelector('.chart text')).fill"
    light = view.evaluate(ink)
    view.locator("#theme").click()
    assert view.evaluate("document.documentElement.dataset.theme") == "dark"
    assert view.evaluate(ink) != light
    view.locator("a", has_text="fig6-3").click()
    assert view.evaluate("scrollY") > 0
    view.emulate_media(color_scheme="dark")
    view.wait_for_selector("html[data-theme=dark]")
    for width in (1366, 760):
        view.set_viewport_size({"width": width, "height": 768})
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
