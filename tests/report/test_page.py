"""The page of a comparison: what it says, that it loads nothing, and that it works in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sparseloom.report.page import headline, page, verdict

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
EVIL = '<script>alert("1")</script> & co'


def outcome(design: str, layers: list[str], counts: list[int], cycles: int, parts: dict[str, float]) -> dict[str, Any]:
    """A row as comparisons have it; ``parts`` is the energy in pJ by block."""
    return {
        "design": design, "layers": layers, "layer": layers[0], "count": sum(counts), "counts": counts,
        "einsum": "Z[m,n] = A[m,k] * B[k,n]", "shape": {"M": 8, "N": 16, "K": 32}, "swapped": False,
        "seen": {"A": "C0(2:4)", "B": "dense"}, "padding": 0.0, "cycles": cycles, "energy_pj": sum(parts.values()),
        "edp": sum(parts.values()) * cycles, "leaked_pj": 5.0 * cycles, "utilization": 0.5,
        "bottleneck": "MAC", "bound_by": "compute asks for most",
        "computes": 4096.0, "dram_bits": 8192.0, "proven": False, "gap": 0.25, "mapspace": 12, "seconds": 0.1,
        "loopnest": f"[DRAM] nest of {layers[0]} on {design}",
        "charges": [
            {"block": block, "level": block, "tensor": "" if block == "MAC" else "A",
             "action": "compute" if block == "MAC" else "read", "energy_pj": pj}
            for block, pj in parts.items()
        ],
    }  # fmt: skip


def block(name: str, role: str, instances: int, area_um2: float) -> dict[str, Any]:
    return {
        "name": name, "role": role, "instances": instances, "area_um2": area_um2,
        "leakage_mw": 0.5, "energies_pj": {"read": 2.0, "idle": 0.0}, "source": f"source of {name}", "derivation": f"<b>{name}</b>",
    }  # fmt: skip


def design(
    name: str, blocks: list[dict[str, Any]], energy: dict[str, float], cycles: int, refused: int
) -> dict[str, Any]:
    energy_pj, area_um2 = sum(energy.values()), sum(each["area_um2"] for each in blocks)
    total = {
        "design": name, "layers": 3 - refused, "refused": refused, "cycles": cycles, "energy_pj": energy_pj,
        "utilization": 0.5, "padding": 0.0, "bottleneck": "MAC", "area_um2": area_um2, "feature_share": 0.1, "gap": 0.25,
        "edp": energy_pj * cycles, "leakage_mw": 0.5 * len(blocks), "leaked_pj": 2.5e6 * len(blocks) * cycles,
    }  # fmt: skip
    return {"name": name, "source": f"paper of {name}", "total": total, "energy_by_block": energy, "blocks": blocks}


def comparison() -> dict[str, Any]:
    """Two designs and three layers: the second design refuses the third layer and tells the other two apart no more than the
    first does, so that both are one kind with 2 + 1 instances."""
    plain = [block("DRAM", "data", 1, 0.0), block("MAC", "compute", 64, 2e6)]
    sparse = [*plain, block("DRAM metadata", "metadata", 1, 0.0), block(EVIL, "sparse features", 64, 1e6)]
    return {
        "format": 1, "network": f"net {EVIL}", "weights": "C0(2:4)", "activations": "dense", "objective": "edp",
        "technology": "45 nm", "layers": ["a", "b", EVIL], "common": ["a", "b"],
        "designs": [
            design("old", plain, {"DRAM": 300.0, "MAC": 3000.0}, 300, 0),
            design(EVIL, sparse, {"DRAM": 150.0, "DRAM metadata": 30.0, "MAC": 1500.0, EVIL: 15.0}, 120, 1),
        ],
        "outcomes": [
            outcome("old", ["a", "b"], [2, 1], 100, {"DRAM": 100.0, "MAC": 1000.0}),
            outcome("old", [EVIL], [1], 50, {"DRAM": 10.0, "MAC": 90.0}),
            outcome(EVIL, ["a", "b"], [2, 1], 40, {"DRAM": 50.0, "DRAM metadata": 10.0, "MAC": 500.0, EVIL: 5.0}),
        ],
        "refused": [{"design": EVIL, "layers": [EVIL], "why": ["odd <shape>\n  how to fix: none"]}], "interrupted": False,
        "sweep": [],
    }  # fmt: skip


def swept() -> dict[str, Any]:
    """The same with a sweep of which the second design does not run the dense point, and in which 0.4 is not of the family."""
    points = [("dense", 1.0, 100, None), ("0.4 unstructured", 0.4, 100, 40), ("C1(2:4)->C0(2:4)", 0.25, 100, 20)]
    found = []
    for weights, density, first, second in points:
        rows = [outcome("old", ["a", "b"], [2, 1], first, {"DRAM": 1000.0})]
        rows += [] if second is None else [outcome(EVIL, ["a", "b"], [2, 1], second, {"DRAM": 500.0})]
        never = [{"design": EVIL, "layers": [layer], "why": ["no"]} for layer in "ab" if second is None]
        family = weights != "0.4 unstructured"
        found.append(
            {
                "weights": weights,
                "density": density,
                "family": family,
                "layers": ["a", "b"],
                "outcomes": rows,
                "refused": never,
            }
        )
    return {**comparison(), "sweep": found}


class Reader(HTMLParser):
    """Collects the tags, the texts outside scripts and styles, and the text of each script of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)


@pytest.fixture(scope="module")
def made() -> str:
    return page(comparison())


@pytest.fixture(scope="module")
def reader(made: str) -> Reader:
    return Reader(made)


def test_every_tag_that_opens_closes(reader: Reader) -> None:
    assert reader.open == []
    identities = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(identities) == len(set(identities))


def test_a_page_loads_nothing(reader: Reader) -> None:
    loads = [value for _, attributes in reader.tags for key, value in attributes.items() if key in ("src", "href")]
    assert loads == ["data:,"]
    ours = [script for script in reader.scripts if "plotly.js" not in script[:200]]
    assert len(ours) == len(reader.scripts) - 1
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(|@import|url\(", "".join(ours))
    policy = next(
        attributes["content"] for tag, attributes in reader.tags if tag == "meta" and "http-equiv" in attributes
    )
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_names_of_the_data_are_text_and_never_tags(made: str, reader: Reader) -> None:
    assert "<script>alert" not in made
    assert len(reader.scripts) == 4  # the theme, the data, Plotly, ours
    assert f"net {EVIL} on old and {EVIL}" in reader.texts
    assert "<b>DRAM</b>" in reader.texts


def test_the_data_of_the_script_is_that_of_the_comparison(reader: Reader) -> None:
    data = json.loads(reader.scripts[1])
    values = comparison()
    assert data["outcomes"] == values["outcomes"]
    assert data["refused"] == values["refused"]
    assert [each["name"] for each in data["designs"]] == ["old", EVIL]
    kinds = [(kind["names"], kind["instances"], kind["runs"], kind["common"]) for kind in data["kinds"]]
    assert kinds == [(["a", "b"], 3, [0, 2], True), ([EVIL], 1, [1, None], False)]
    assert data["roofs"] == [64]
    assert [part["name"] for part in data["styles"]["block"]] == ["DRAM", "DRAM metadata", "MAC", EVIL]


def test_the_headline_says_by_how_much_the_best_design_is_better() -> None:
    lower = (3300 * 300) / (1695 * 120)
    energy = 1695 / 3300
    assert verdict(comparison()) == (
        f"{EVIL} has the least EDP: {lower:.3g}\N{MULTIPLICATION SIGN} lower than old, at 2.5\N{MULTIPLICATION SIGN} its speed "
        f"and {energy:.3g}\N{MULTIPLICATION SIGN} its energy."
    )
    assert f"{lower:.3g}" == "4.87"


def test_the_headline_of_a_first_design_that_is_the_best_names_the_next() -> None:
    values = comparison()
    values["designs"].reverse()
    assert verdict(values) == f"{EVIL} has the least EDP; the next is old with 4.87\N{MULTIPLICATION SIGN} as much."


def test_the_headline_says_how_much_is_not_proven() -> None:
    values = swept()
    assert headline(values).endswith(" 8 of 8 mappings are not proven the best: the largest gap is 25.0%.")
    rows = [row for each in (values, *values["sweep"]) for row in each["outcomes"]]
    for row in rows:
        row |= {"proven": True, "gap": 0.0}
    assert headline(values) == verdict(values)
    rows[-1] |= {"proven": False, "gap": 0.003}  # in the sweep
    assert headline(values).endswith(" 1 of 8 mappings is not proven the best: the largest gap is 0.3%.")
    rows[0] |= {"proven": False, "gap": None}
    assert headline(values).endswith(" 2 of 8 mappings are not proven the best: there is no bound for some.")


def test_one_design_alone_has_no_best() -> None:
    values = comparison()
    del values["designs"][1]
    assert verdict(values) == "old takes 300 cycles and 0.0 µJ."
    assert 'class="number best"' not in page(values)


def test_without_a_layer_that_all_run_there_are_no_totals_to_compare() -> None:
    values = comparison()
    for each in values["designs"]:
        each["total"] |= {"cycles": 0, "energy_pj": 0.0, "edp": 0.0}
    assert verdict(values) == "No layer runs on every design, so that there are no totals to compare."
    assert "Whole network" in page(values)


def _cells(made: str) -> list[list[tuple[str, str]]]:
    """Class and text of the cells of every row of the totals."""
    totals = made[made.index('<section id="totals">') : made.index('<section id="layers">')]
    rows = re.findall(r"<tr><th scope.*?</tr>", totals)
    return [[(name, unescape(text)) for name, text in re.findall(r'<td class="(.*?)">(.*?)</td>', row)] for row in rows]


def test_the_best_of_every_column_of_the_totals_is_emphasised(made: str) -> None:
    first, second = _cells(made)
    times = "\N{MULTIPLICATION SIGN}"
    assert [text for _, text in first] == [
        "300", f"1.00{times}", "0.0", f"9.90{times}10⁵", f"1.00{times}", "1.00", "1,500", "50.0%", "0.0%",
        "MAC", "2.00", "10.0%", "all 3", "25.0%",
    ]  # fmt: skip
    assert [text for _, text in second] == [
        "120", f"2.50{times}", "0.0", f"2.03{times}10⁵", f"0.205{times}", "2.00", "1,200", "50.0%", "0.0%",
        "MAC", "3.00", "10.0%", "2 run, 1 refused", "25.0%",
    ]  # fmt: skip
    assert [text for name, text in first if "best" in name] == ["1.00", "2.00"]
    assert [text for name, text in second if "best" in name] == [text for _, text in (*second[:5], second[6])]


def test_a_gap_without_a_bound_is_a_dash() -> None:
    values = comparison()
    values["designs"][0]["total"]["gap"] = None
    assert _cells(page(values))[0][-1][1] == "\N{EN DASH}"


def test_totals_say_which_layers_they_are_about(reader: Reader) -> None:
    assert any("Totals are of the 2 of 3 layers that every design runs" in text for text in reader.texts)
    whole = comparison()
    whole["layers"].pop()
    assert "Totals are of all 2 layers" in page(whole)
    assert not any("interrupted" in text for text in reader.texts)
    assert "The search was interrupted" in page({**comparison(), "interrupted": True})


def test_leakage_is_said_to_be_no_part_of_the_energy(made: str) -> None:
    totals = made[made.index('<section id="totals">') : made.index('<section id="layers">')]
    assert (
        "Leakage, as power and over the run, is no part of energy and EDP: the MICRO 2022 artifact charges it to gated"
        in totals
    )


def test_a_sweep_says_what_it_is_of_and_what_is_not_run(made: str) -> None:
    text = page(swept())
    said = unescape(text[text.index('<section id="sweep">') : text.index('<section id="energy">')])
    for words in (
        "Of a and 1 layer like it, the kind with the most computes; activations dense.",
        "relative to old (weights: dense)",
        f"{EVIL} does not run weights that are dense. Dashed",
        "Hollow: weights that are not of the family. The family: dense, C1(2:4)->C0(2:4).",
    ):
        assert words in said
    assert '<section id="sweep">' not in made


def test_refusals_stand_with_their_reasons(made: str) -> None:
    refused = made[made.index('<section id="refused">') : made.index('<section id="assumptions">')]
    assert f"<td>{escape(EVIL)}</td><td>{escape(EVIL)}</td><td>odd &lt;shape&gt;\n  how to fix: none</td>" in refused
    assert 'id="refused"' not in page({**comparison(), "refused": []})


def test_the_assumptions_hold_every_block_with_its_source(reader: Reader) -> None:
    for name in ("DRAM", "MAC", "DRAM metadata", EVIL):
        assert f"source of {name}" in reader.texts
    assert {"paper of old", f"paper of {EVIL}", "swapped", "padding", "seen"} <= set(reader.texts)


def test_a_comparison_that_was_read_from_its_json_gives_the_same_page(made: str) -> None:
    assert page(json.loads(json.dumps(comparison()))) == made


# in a browser


class Tab:
    """The page in a browser: what it loads and what it complains of is kept."""

    def __init__(self, view: Any, path: Path) -> None:
        self.view = view
        self.requests: list[str] = []
        self.complaints: list[str] = []
        view.on("request", lambda request: self.requests.append(request.url))
        view.on("console", lambda said: self.complaints.append(said.text))
        view.on("pageerror", lambda error: self.complaints.append(str(error)))
        view.goto(path.as_uri())
        view.wait_for_selector("#layers-plot .point path")

    def click(self, selector: str) -> None:
        """Clicks in the middle of the first of these, as a reader does: Plotly's marks lie below what takes the clicks."""
        mark = self.view.locator(selector).first
        mark.scroll_into_view_if_needed()
        box = mark.bounding_box()
        at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.view.mouse.move(*at)
        self.view.mouse.click(*at)

    def count(self, selector: str) -> int:
        return int(self.view.locator(selector).count())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def tab(browser: Any, made: str, tmp_path: Path) -> Iterator[Tab]:
    path = tmp_path / "page.html"
    path.write_text(made, "utf-8")
    context = browser.new_context(viewport={"width": 1366, "height": 768}, color_scheme="light")
    opened = Tab(context.new_page(), path)
    yield opened
    assert opened.complaints == []
    assert opened.requests == [path.as_uri()]
    context.close()


def test_the_plots_are_drawn(tab: Tab) -> None:
    assert tab.count("#layers-plot .point path") == 3  # two of "old", one of the other
    assert tab.count("#energy-all .point path") == 6
    assert tab.count("#area-plot .point path") == 3
    assert tab.count("#roofline-plot .scatterlayer path.point") == 3
    assert tab.view.locator("#layers-plot .legendtext").all_text_contents() == ["old", EVIL]


def test_a_click_on_a_bar_shows_the_loop_nests_and_the_energy_of_the_layer(tab: Tab) -> None:
    assert tab.count("#layer-panel pre") == 0
    tab.click("#layers-plot .point path")
    nests = tab.view.locator("#layer-panel pre").all_inner_texts()
    assert nests == ["[DRAM] nest of a on old", f"[DRAM] nest of a on {EVIL}"]
    panel = tab.view.locator("#layer-panel").inner_text()
    for said in (
        "a, b: alike to every design",
        "M = 8, N = 16, K = 32",
        "compute asks for most",
        "A: C0(2:4); B: dense",
    ):
        assert said in panel
    assert "at most 25.0% above the best of 12 mappings" in panel
    assert tab.count("#energy-one .point path") == 6


def test_a_click_on_a_point_of_the_roofline_chooses_its_layer(tab: Tab) -> None:
    tab.click("#roofline-plot .scatterlayer path.point")
    assert tab.count("#layer-panel pre") == 2


def test_a_layer_that_a_design_refuses_says_why(tab: Tab) -> None:
    tab.view.select_option("#layer-choice", label=EVIL)
    nests = tab.view.locator("#layer-panel pre").all_inner_texts()
    assert nests == [f"[DRAM] nest of {EVIL} on old", "does not run it: odd <shape>\n  how to fix: none"]


def test_curves_against_density_are_drawn_where_there_is_a_sweep(browser: Any, tmp_path: Path, tab: Tab) -> None:
    assert tab.count("#sweep-edp") == 0
    (tmp_path / "swept.html").write_text(page(swept()), "utf-8")
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    opened = Tab(context.new_page(), tmp_path / "swept.html")
    curves = "document.getElementById('sweep-speed').data.map(t => [t.mode, [...t.x], [...t.y]])"
    assert opened.view.evaluate(curves) == [
        ["lines", [0.25, 0.4, 1], [4, 2.5, 1]],
        ["lines+markers", [1, 0.25], [1, 1]],
        ["markers", [0.4], [1]],
        ["lines+markers", [0.25], [5]],
        ["markers", [0.4], [2.5]],
    ]
    assert opened.count("#sweep-edp .scatterlayer path.point") == 5
    assert opened.view.evaluate("document.getElementById('sweep-edp').data.map(t => [...t.y])") == [
        [1, 1],
        [1],
        [0.1],
        [0.2],
    ]
    opened.view.locator("#theme").click()
    assert opened.complaints == []
    context.close()


def _heights(tab: Tab) -> list[list[float]]:
    return [
        list(trace) for trace in tab.view.evaluate("document.getElementById('layers-plot').data.map(t => [...t.y])")
    ]


def test_bars_show_what_was_chosen(tab: Tab) -> None:
    edp = {"old": 1100 * 100, EVIL: 565 * 40}
    assert _heights(tab) == [[1, 1], [pytest.approx(edp[EVIL] / edp["old"])]]
    tab.view.get_by_text("absolute", exact=True).click()
    assert _heights(tab) == [[edp["old"], 100 * 50], [edp[EVIL]]]
    tab.view.locator("#times").check()
    # three instances one after the other take three times the energy and three times the cycles
    assert _heights(tab) == [[9 * edp["old"], 100 * 50], [9 * edp[EVIL]]]
    tab.view.locator("#layers").get_by_text("Cycles", exact=True).click()
    assert _heights(tab) == [[300, 50], [120]]
    tab.view.locator("#log").check()
    assert tab.view.evaluate("document.getElementById('layers-plot').layout.yaxis.type") == "log"


@pytest.mark.parametrize(("by", "names"), [("by action", ["read", "compute"]), ("by tensor", ["A", "none (computes)"])])
def test_energy_is_broken_down_as_chosen(tab: Tab, by: str, names: list[str]) -> None:
    energy = "document.getElementById('energy-all').data.map(t => [t.name, [...t.x].reduce((a, b) => a + b)])"
    assert dict(tab.view.evaluate(energy))["MAC"] == pytest.approx(3 * 1500)  # pJ, whose numbers are still small
    tab.view.get_by_text(by).click()
    read = 3 * (100 + 50 + 10 + 5)
    assert tab.view.evaluate(energy) == [[names[0], pytest.approx(read)], [names[1], pytest.approx(4500)]]


def test_the_button_changes_between_light_and_dark(tab: Tab) -> None:
    shown = "getComputedStyle(document.body).backgroundColor"
    light = tab.view.evaluate(shown)
    tab.view.locator("#theme").click()
    assert tab.view.evaluate("document.documentElement.dataset.theme") == "dark"
    assert tab.view.evaluate(shown) != light
    tab.view.locator("#theme").click()
    assert tab.view.evaluate(shown) == light


def test_the_page_follows_what_the_reader_prefers(tab: Tab) -> None:
    tab.view.emulate_media(color_scheme="dark")
    tab.view.wait_for_selector("html[data-theme=dark]")
    assert tab.view.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("width", [1366, 760])
def test_there_is_no_horizontal_scrollbar(tab: Tab, width: int) -> None:
    tab.view.set_viewport_size({"width": width, "height": 768})
    tab.click("#layers-plot .point path")
    tab.view.wait_for_timeout(200)
    assert tab.view.evaluate("document.documentElement.scrollWidth <= innerWidth")
