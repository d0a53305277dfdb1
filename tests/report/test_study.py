"""Studies: what is computed does not depend on what was published, and is held against it by what was said before."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from sparseloom.errors import InputError
from sparseloom.report import study as studies
from sparseloom.report import synthetic, tensor_cores
from sparseloom.report.study import STUDIES, Chart, Finding, study, text

ROOT = Path(__file__).parents[2]
QUICK = ("fig3-1", "fig6-3", "fig6-12")


def finding(ours: float, **bounds: float) -> Finding:
    none = dict.fromkeys(("value", "tolerance", "least", "most"))
    return Finding("what", ours, **{**none, **bounds}, argument="why")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (finding(5.9, value=6.4, tolerance=0.15), "pass"),
        (finding(5.4, value=6.4, tolerance=0.15), "fail"),
        (finding(15, value=15, tolerance=0.0), "pass"),
        (finding(14, value=15, tolerance=0.0), "fail"),
        (finding(2.3, least=2.0), "pass"),
        (finding(1.9, least=2.0), "fail"),
        (finding(0.06, least=0.04, most=0.08), "pass"),
        (finding(0.09, least=0.04, most=0.08), "fail"),
        (finding(7.0), "reported"),
    ],
)
def test_a_finding_passes_within_its_bounds_and_without_any_is_only_reported(given, verdict) -> None:
    assert given.verdict == verdict


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_study_holds(name) -> None:
    found = study(name)
    assert {each.what: each.verdict for each in found.findings if each.verdict == "fail"} == {}
    assert found.holds
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["name"] == name
    assert text(found).startswith(f"{name}: ")


def test_the_synthetic_workloads_hold_in_small(monkeypatch) -> None:
    """Products of 256 x 256, three of the twelve workloads: order and exact speed are as in full size."""
    monkeypatch.setattr(synthetic, "SIZE", 256)
    monkeypatch.setattr(synthetic, "A_PERCENT", (0, 75))
    monkeypatch.setattr(synthetic, "B_PERCENT", (0, 50))
    found = study("fig6-9")
    ours = {finding.what.split(",")[0]: finding.ours for finding in found.findings}
    assert ours["cycles of highlight over those of its padded work at its pattern's density"] == 1.0
    assert ours["EDP of dstc over tc's where both operands are dense"] > 1
    assert found.computed.chart is not None
    assert list(found.computed.chart.places) == ["0/0", "0/50", "75/0", "75/50"]
    assert found.computed.chart.series["s2ta"][0] is None


def test_the_artifacts_mappings_of_tensor_cores_give_its_closed_form() -> None:
    """cycles = (M / 64) N ceil(K / (16 x)) max(1, D / 42), with D words from SMEM in a cycle: 16 x inputs, 8 weights, metadata."""
    for weights, x, bits in (("dense", 1, 0), ("C0(2:4)", 2, 2), ("C0(2:6)", 3, 4), ("C0(2:8)", 4, 4)):
        for shape in tensor_cores.SHAPES:
            found = tensor_cores.evaluated(tensor_cores.setup(tensor_cores.FLEXIBLE, shape, weights), shape)
            steps = -(-shape.k // (16 * x))
            asked = 16 * x + 8 + bits
            assert found.cycles == pytest.approx(shape.m / 64 * shape.n * steps * max(1, asked / 42), rel=1e-4)


def test_every_study_has_claims_and_a_module() -> None:
    for name, module in STUDIES.items():
        claimed = studies._claims(name)
        assert claimed.source
        assert all(claim.argument for claim in claimed.claims.values())
        assert callable(importlib.import_module(f"sparseloom.report.{module}").study)


@pytest.mark.parametrize("name", ["fig3-1", "fig6-3"])
def test_other_published_figures_change_no_result(name, monkeypatch, tmp_path) -> None:
    before = study(name)
    data = (studies.DATA / "claims.yaml").read_text()
    changed = re.sub(r"\b(value|least|most): [\d.]+", r"\1: 0.123", data)
    assert changed != data
    (tmp_path / "claims.yaml").write_text(changed)
    monkeypatch.setattr(studies, "DATA", tmp_path)
    after = study(name)
    assert [each.ours for each in after.findings] == [each.ours for each in before.findings]
    assert not after.holds


def test_no_published_figure_stands_in_what_computes() -> None:
    published = re.compile(r"(?<![\w.])(?:20\.4|2\.37|2\.19|3\.52|5\.7|0\.057|7\.6|0\.076|6\.4)(?![\w.])")
    folders = ("model", "sim", "search", "mapping", "fibertree", "workload")
    files = [path for folder in folders for path in (ROOT / "src/sparseloom" / folder).glob("*.py")]
    files += list((ROOT / "src/sparseloom/designs").glob("*.yaml"))
    sections = re.compile(r"(?:section|chapter|thesis|Table|Fig\.)[^.]{0,20}\d\.\d")
    found = {
        path.name: line
        for path in files
        for line in path.read_text("utf-8").splitlines()
        if published.search(line) and not sections.search(line)
    }
    assert found == {}


def test_an_unknown_study_is_suggested() -> None:
    with pytest.raises(InputError, match=r"no study is called 'fig6-8' @ study\n.*did you mean 'fig6-"):
        study("fig6-8")


def test_its_figure_is_written_and_other_formats_are_refused(tmp_path) -> None:
    found = study("fig6-3")
    found.to_figure(tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    with pytest.raises(InputError, match="'gif' is not a format of figures"):
        found.to_figure(tmp_path / "a.gif")


def test_bars_have_the_heights_of_the_series() -> None:
    from matplotlib.container import BarContainer

    from sparseloom.report.figures import chart

    drawn = chart(Chart("bars", ["x", "y"], {"one": [1.0, 2.0], "two": [3.0, None]}, "", "value"))
    bars = [each for each in drawn.axes[0].containers if isinstance(each, BarContainer)]
    assert [bar.get_height() for bar in bars[0]] == [1.0, 2.0]
