"""Studies: what is computed does not depend on what was published, and is held against it by what was said before."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import re
from pathlib import Path

import pytest

from sparseloom.arch.technology import Technology
from sparseloom.errors import InputError
from sparseloom.fibertree.density import ActualData
from sparseloom.report import bandwidth, flips, latency, products, pruned, tensor_cores
from sparseloom.report import study as studies
from sparseloom.report.study import STUDIES, Chart, Finding, study, text
from sparseloom.search.comparison import Refusal
from sparseloom.workload import zoo
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

ROOT = Path(__file__).parents[2]
QUICK = ("fig3-1", "tab4-4", "fig4-8", "fig4-9", "fig4-12", "fig6-2", "fig6-3", "fig6-12")
QUICKEST = ("fig3-1", "tab4-4", "fig4-9", "fig4-12", "fig6-2", "fig6-3")


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
    monkeypatch.setattr(products, "SIZE", 256)
    monkeypatch.setattr(products, "A_PERCENT", (0, 75))
    monkeypatch.setattr(products, "B_PERCENT", (0, 50))
    found = study("fig6-9")
    ours = {finding.what.split(",")[0]: finding.ours for finding in found.findings}
    assert ours["cycles of highlight over those of its padded work at its pattern's density"] == 1.0
    assert ours["EDP of dstc over tc's where both operands are dense"] > 1
    assert found.computed.chart is not None
    assert list(found.computed.chart.places) == ["0/0", "0/50", "75/0", "75/50"]
    assert found.computed.chart.series["s2ta"][0] is None
    grid = products.grid()
    alone, both = grid["s2ta", (75, 50)], grid[products.BOTH, (75, 50)]
    assert both.cycles == alone.cycles * (2 / 8 if both.swapped else 4 / 8)
    assert grid[products.BOTH, (75, 0)].cycles == grid["s2ta", (75, 0)].cycles
    assert found.computed.notes[-1].endswith("s2ta-both 0/0")
    [flipped] = [part for part in found.computed.parts if "flipped" in part.title]
    over = {
        row[0]: dict(zip(flipped.header[1:], (float(cell.split()[0]) for cell in row[1:]), strict=True))
        for row in flipped.rows
    }
    assert over["none"]["tc"] == pytest.approx(ours["EDP of tc over highlight's"], abs=0.005)
    assert over["operands never swapped"]["tc"] < over["none"]["tc"]
    assert over["dstc without its operand collector"]["dstc"] < over["none"]["dstc"]
    assert over["leakage in the energy"] != over["none"] != over["65 nm"]
    # Fig. 6-10 is of the same grid, which is not searched again
    monkeypatch.setattr(products, "numbered", None)
    means = study("fig6-10")
    of_edp = next(each.ours for each in means.findings if each.what.startswith("EDP"))
    [edp] = [part for part in found.computed.parts if part.title.startswith("EDP over tc's, on")]
    [highlight] = [line for line in edp.rows if line[0] == "highlight"]
    [geomeans] = [part for part in means.computed.parts if part.title.startswith("geometric")]
    assert dict(zip(geomeans.header, geomeans.rows[-1], strict=True))["EDP"] == highlight[-1]
    assert 0 < of_edp < 1


def test_limits_of_bandwidth_leakage_and_prices_change_what_they_should(monkeypatch) -> None:
    monkeypatch.setattr(products, "SIZE", 128)
    monkeypatch.setattr(products, "A_PERCENT", (75,))
    monkeypatch.setattr(products, "B_PERCENT", (75,))
    ways = products.ways()
    base, cell = products.best(ways), (75, 75)
    limited, leaking = flips._with_limits(ways, 1), flips._leaking(base)
    dearer = flips._repriced(ways, products.contenders(Technology(65)))
    again = flips._repriced(ways, products.contenders(Technology()))
    for name in (*products.DESIGNS, products.BOTH):
        before = base[name, cell]
        assert limited[name, cell].cycles >= before.cycles
        assert again[name, cell] == before
        assert (dearer[name, cell].cycles, dearer[name, cell].on_chip_pj > before.on_chip_pj) == (before.cycles, True)
        leakage_mw = products.contenders(Technology())[name].area.leakage_mw
        leaked_pj = leaking[name, cell].on_chip_pj - before.on_chip_pj
        assert leaked_pj == pytest.approx(leakage_mw * before.cycles * Technology().cycle_ns)
    assert any(limited[key].cycles > before.cycles for key, before in base.items() if key in limited)


def test_a_product_for_which_no_mapping_is_found_is_an_error_and_no_gap(monkeypatch) -> None:
    monkeypatch.setattr(products, "SIZE", 64)
    monkeypatch.setattr(
        products, "numbered", lambda todo, jobs: ((n, Refusal("", (), InputError("none"))) for n in range(99))
    )
    with pytest.raises(InputError, match="none"):
        products.searched({"tc": products.contenders(Technology())["tc"]}, 1, ((0, 0),))


def test_pruned_networks_are_run_by_their_largest_layers() -> None:
    network = zoo.load("transformer-big")
    part = pruned.largest(network)
    kinds: dict[str, int] = {}
    for layer in part.layers:
        kind = str(sorted(layer.as_product().shape.items()))
        kinds[kind] = kinds.get(kind, 0) + layer.total_computes
    assert network.computes / 2 <= part.computes
    assert part.computes - min(kinds.values()) < network.computes / 2
    assert {layer.name for layer in part.layers} >= {"encoder.query", "encoder.ff1"}


def test_a_pruned_network_is_the_sum_of_its_layers(monkeypatch) -> None:
    """One layer of which the second network has three, and one that is too small to be run."""
    big, small = Layer.linear("big", rows=16, inputs=32, outputs=32), Layer.linear("small", rows=4, inputs=4, outputs=4)
    networks = {
        name: pruned.largest(Network(name, "test", (dataclasses.replace(big, count=count), small)))
        for name, count in (("resnet50", 1), ("transformer-big", 3))
    }
    monkeypatch.setattr(pruned, "ACTIVATIONS", dict.fromkeys(networks, "0.4"))
    totals = pruned._totals(networks, 1)
    for (name, network, pattern), total in totals.items():
        if network == "resnet50":
            thrice = totals[name, "transformer-big", pattern]
            assert (thrice.cycles, thrice.energy_pj) == pytest.approx((3 * total.cycles, 3 * total.energy_pj))
    monkeypatch.setattr(pruned, "_totals", lambda networks, jobs: totals)
    found = study("fig6-1")
    best = min(totals[name, "resnet50", pruned.HALF].edp for name in ("tc", "stc", "dstc"))
    at_half = totals["highlight", "resnet50", pruned.HALF].edp / best
    ours = [
        each.ours
        for each in found.findings
        if each.what.startswith("EDP of highlight over the best of the others, Res")
    ]
    assert min(ours) - 1e-9 <= at_half <= max(ours) + 1e-9


def test_the_artifacts_mappings_of_tensor_cores_give_its_closed_form() -> None:
    """cycles = (M / 64) N ceil(K / (16 x)) max(1, D / 42), with D words from SMEM in a cycle: 16 x inputs, 8 weights, metadata."""
    for weights, x, bits in (("dense", 1, 0), ("C0(2:4)", 2, 2), ("C0(2:6)", 3, 4), ("C0(2:8)", 4, 4)):
        for shape in tensor_cores.SHAPES:
            found = tensor_cores.evaluated(tensor_cores.setup(tensor_cores.FLEXIBLE, shape, weights), shape)
            steps = -(-shape.k // (16 * x))
            asked = 16 * x + 8 + bits
            assert found.cycles == pytest.approx(shape.m / 64 * shape.n * steps * max(1, asked / 42), rel=1e-4)


def test_the_words_that_the_ideal_speed_needs_are_those_of_the_closed_form() -> None:
    """16 x inputs, 8 weights, and the metadata of 8 weights at these bits each; in any layer."""
    for design, bits_of in ((tensor_cores.FLEXIBLE, (0, 2, 4, 4)), (tensor_cores.RLE, (0, 2, 2, 4))):
        for x, weights, bits in zip((1, 2, 3, 4), tensor_cores.WEIGHTS, bits_of, strict=True):
            found = bandwidth._demand(tensor_cores.setup(design, bandwidth.SHAPE, weights))
            assert found.inputs == pytest.approx(16 * x, rel=1e-6)
            assert found.weights == pytest.approx(8, rel=1e-6)
            assert found.metadata_bits == pytest.approx(8 * bits, rel=1e-6)


def test_as_many_bits_as_blocks_need_are_what_a_block_of_six_takes() -> None:
    own = bandwidth._demand(bandwidth._own_widths(tensor_cores.setup(tensor_cores.RLE, bandwidth.SHAPE, "C0(2:6)")))
    assert own.bits_each == pytest.approx(3)  # 6 places, or runs of 0 to 5


def test_a_run_of_four_zeros_takes_a_placeholder_of_two_bits() -> None:
    """As the encoder has it for each of the 15 blocks."""
    import numpy as np

    from sparseloom.fibertree.format import Format

    form, blocks = Format.parse("RLE(K0=6):2", ("K",)), itertools.combinations(range(6), 2)
    runs = []
    for places in blocks:
        mask = np.zeros(6, np.bool_)
        mask[list(places)] = True
        runs.append(form.expected_units(ActualData(mask), ("K",), (0,), (6,))[-1, 0])
    assert bandwidth._placeholders() == pytest.approx(sum(runs) / (2 * len(runs)) - 1)


def _moved_claim(monkeypatch, change) -> None:
    claims = dict(latency.reported())
    paper = {key: us * change(key) for key, us in claims["dstc-latency"].paper.items()}
    claims["dstc-latency"] = dataclasses.replace(claims["dstc-latency"], paper=paper)
    monkeypatch.setattr(latency, "reported", lambda: claims)


def _ours(found, start: str) -> float:
    return next(each.ours for each in found.findings if each.what.startswith(start))


def test_the_scale_of_times_knows_nothing_of_the_points_that_it_predicts(monkeypatch) -> None:
    before = study("fig4-9")
    _moved_claim(monkeypatch, lambda key: 2.0 if key.endswith("0.4") else 1.0)
    after = study("fig4-9")
    fitted = "error of the time, mean of the 4 points"
    predicted = "error of the time, mean of the 5 points"
    assert _ours(after, fitted) == _ours(before, fitted)
    assert _ours(after, predicted) > 0.4 > _ours(before, predicted)


def test_times_in_another_unit_have_the_same_errors(monkeypatch) -> None:
    before = study("fig4-9")
    _moved_claim(monkeypatch, lambda key: 1000.0)
    after = study("fig4-9")
    assert [each.ours for each in after.findings] == pytest.approx([each.ours for each in before.findings])


def test_the_scale_makes_the_squared_relative_errors_least() -> None:
    cycles, measured = {"a": 3.0, "b": 5.0, "c": 9.0}, {"a": 1.0, "b": 2.0, "c": 2.5}

    def squares(scale: float) -> float:
        return sum((scale * cycles[key] / measured[key] - 1) ** 2 for key in cycles)

    best = latency.scale(cycles, measured, list(cycles))
    assert squares(best) < min(squares(1.001 * best), squares(0.999 * best))


def test_every_study_has_claims_and_a_module() -> None:
    for name, module in STUDIES.items():
        claimed = studies._claims(name)
        assert claimed.source
        assert all(claim.argument for claim in claimed.claims.values())
        assert callable(importlib.import_module(f"sparseloom.report.{module}").study)


@pytest.mark.parametrize("name", QUICKEST)
def test_other_published_figures_change_no_result(name, monkeypatch, tmp_path) -> None:
    before = study(name)
    data = (studies.DATA / "claims.yaml").read_text()
    absurd = {"value": 0.123, "least": 1e9, "most": -1.0}
    changed = re.sub(r"\b(value|least|most): [\d.]+", lambda found: f"{found[1]}: {absurd[found[1]]}", data)
    assert changed != data
    (tmp_path / "claims.yaml").write_text(changed)
    monkeypatch.setattr(studies, "DATA", tmp_path)
    after = study(name)
    assert [each.ours for each in after.findings] == [each.ours for each in before.findings]
    assert not after.holds


def test_no_study_reads_what_it_is_held_against() -> None:
    """So that what holds for the quickest studies holds for all: one module reads the claims, after a study was computed."""
    readers = [path.name for path in (ROOT / "src").rglob("*.py") if "claims.yaml" in path.read_text("utf-8")]
    assert readers == ["study.py"]


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
