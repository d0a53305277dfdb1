"""The thesis' validation: numbers derived from the data files, errors no larger than the thesis' own."""

import dataclasses
import json
import math
import re
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from sparseloom import cli, designs
from sparseloom.arch.features import Features
from sparseloom.errors import InputError
from sparseloom.model.evaluate import evaluate
from sparseloom.report import mask, tensor_core, validation
from sparseloom.report.eyeriss_v2 import cycles_with_data
from sparseloom.report.layer import Layer, layers
from sparseloom.report.mask import Masks
from sparseloom.report.reported import DATA, reported
from sparseloom.report.row import Row, mean_error, measured
from sparseloom.report.validation import Validation, validate

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT.parent / "shared" / "reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data lie outside the repository")
ALEXNET = layers(DATA / "eyeriss-alexnet.yaml")
MOBILENET = layers(DATA / "eyeriss-v2-mobilenet.yaml")


@pytest.fixture(scope="module")
def found() -> Validation:
    return validate()


@pytest.fixture(scope="module")
def rows(found: Validation) -> dict[str, Row]:
    return {f"{row.design}: {row.what}": row for row in found.rows}


def test_every_row_of_the_table_is_there_and_none_is_there_twice(found: Validation, rows: dict[str, Row]) -> None:
    assert len(rows) == len(found.rows)
    assert list(dict.fromkeys(row.design for row in found.rows)) == ["scnn", "eyeriss-v2-pe", "dstc", "eyeriss", "stc"]
    assert all(row.note for row in found.rows)


def test_no_error_is_larger_than_the_thesis_but_of_two_readings_of_one_claim(found: Validation) -> None:
    worse = [row.what for row in found.rows if row.verdict == "worse"]
    assert worse == ["energy gated, conv1-5", "energy gated, most: conv4"]


def test_what_cannot_be_compared_is_listed_with_the_reason(found: Validation) -> None:
    missing = {f"{row.design}: {row.what}": row for row in found.rows if row.verdict == "no data"}
    assert list(missing) == [
        "scnn: runtime activities",
        "eyeriss-v2-pe: cycles, 20 others, uniform",
        "eyeriss-v2-pe: cycles, 27 others, actual",
    ]
    assert all(row.ours is None and re.search(r"no .* are published", row.note) for row in missing.values())


def test_the_error_is_that_of_the_printed_number_where_a_paper_prints_few_digits() -> None:
    row = measured("toy", "rate", "x", 1.8, 1.9, 1.8499, "", decimals=1)
    assert (row.ours, row.error, row.verdict) == (1.8499, 0.0, "better")
    assert row.thesis_error == pytest.approx(1 / 18)
    assert measured("toy", "rate", "x", 1.8, None, 1.8499, "").verdict == ""


def test_a_mean_error_takes_no_comfort_in_signs() -> None:
    pair = [measured("toy", "t", "s", 10, 10.1, ours, "") for ours in (9, 11)]
    mean = mean_error(pair, "mean", "")
    assert mean.error == pytest.approx(0.1)
    assert mean.thesis_error == pytest.approx(0.01)
    assert mean.verdict == "worse"
    assert mean_error(pair, "mean", "", thesis_error=0.2).verdict == "better"


# ---- Eyeriss v2


def test_uniform_cycles_are_products_of_whole_numbers_of_nonzeros(rows: dict[str, Row]) -> None:
    """On average each input meets the same share of nonzero weights: computes * dI * dW, each density that of a whole
    number of nonzeros, and a cycle begun is a cycle."""
    compared = 0
    for name, layer in MOBILENET.items():
        if layer.workload.densities:
            shares = []
            for tensor in ("I", "W"):
                points = math.prod(layer.workload.tensor_shape(tensor))
                shares.append(math.ceil(layer.workload.densities[tensor].density * points - 1e-6) / points)
            expected = layer.workload.computes * math.prod(shares)
            assert rows[f"eyeriss-v2-pe: cycles, {name}, uniform"].ours == pytest.approx(expected, rel=3e-5, abs=1)
            compared += 1
    assert compared == 8


def test_cycles_of_actual_data_are_the_nonzero_products_exactly(rows: dict[str, Row]) -> None:
    masks = mask.shipped(DATA / "eyeriss-v2-l07-masks.npz", MOBILENET["L07"])
    expected = sum(
        int(masks.weights[:, channel].sum()) * int(masks.inputs[:, channel].sum()) for channel in range(64)
    )  # fmt: skip
    row = rows["eyeriss-v2-pe: cycles, L07, actual"]
    assert row.ours == expected == 1_702_140
    assert row.error == 0


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_cycles_of_any_masks_are_their_nonzero_products_stripe_by_stripe(seed: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    shape = {"N": 1, "M": 16, "C": 16, "P": 2, "Q": columns, "R": 1, "S": 1}
    l07 = MOBILENET["L07"]
    levels = []
    for level in l07.mapping.levels:
        bounds = {"M": 2, "C": 2, "P": 2, "Q": columns} if level.level == "BackingStorage" else {}
        temporal = tuple(dataclasses.replace(x, bound=bounds.get(x.rank, x.bound)) for x in level.temporal)
        levels.append(dataclasses.replace(level, temporal=temporal))
    small = Layer(
        "small",
        dataclasses.replace(l07.workload, shape=shape, densities={}),
        dataclasses.replace(l07.mapping, levels=tuple(levels)),
    )
    masks = Masks(rng.random((16, 16, 1, 1)) < rng.random(), rng.random((1, 16, 2, columns)) < rng.random())
    products = sum(
        bool(masks.weights[m, c, 0, 0] and masks.inputs[0, c, p, q])
        for m, c, p, q in product(range(16), range(16), range(2), range(columns))
    )
    assert cycles_with_data(small, designs.load("eyeriss-v2-pe"), masks) == masks.nonzero_products == products


def test_the_shipped_case_is_the_layer_of_the_same_name() -> None:
    from sparseloom.document import read
    from sparseloom.mapping import file as mapping_file
    from sparseloom.workload import file as workload_file

    node = read(designs.case_file("eyeriss-v2-pe-mobilenet-l07")).value
    assert workload_file.build(node["workload"]) == MOBILENET["L07"].workload
    assert mapping_file.build(node["mapping"]) == MOBILENET["L07"].mapping


def _write(folder: Path, name: str, masks: Masks) -> None:
    by_position = masks.inputs[0].transpose(1, 2, 0)
    for part, array in (("weights", masks.weights), ("iacts", by_position)):
        (folder / f"{name}_{part}.txt").write_text("".join(str(int(x)) for x in array.ravel()))


def test_masks_in_text_files_are_those_that_were_written(tmp_path: Path) -> None:
    shape = MOBILENET["L27"].workload.shape
    rng = np.random.default_rng(7)
    size = (1, shape["C"], shape["P"], shape["Q"])
    masks = Masks(rng.random((shape["M"], shape["C"], 1, 1)) < 0.3, rng.random(size) < 0.6)
    _write(tmp_path, "L27", masks)
    (found,) = mask.given(tmp_path, MOBILENET).values()
    assert (found.weights == masks.weights).all()
    assert (found.inputs == masks.inputs).all()


def test_masks_that_do_not_fit_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "L07_weights.txt").write_text("01" * 2047)
    (tmp_path / "L07_iacts.txt").write_text("0120")
    (tmp_path / "L13_iacts.txt").write_text("1" * 8192)
    with pytest.raises(InputError) as caught:
        mask.given(tmp_path, MOBILENET)
    assert [fault.what for fault in caught.value.faults] == [
        "the mask has 4094 values, the tensor has 4096 points",
        "the mask holds byte 0x32",
        "cannot read the file: No such file or directory",
    ]


def test_a_folder_without_masks_says_how_they_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no mask file\n.*L07_weights\.txt, L07_iacts\.txt; layers: L03"):
        mask.given(tmp_path, MOBILENET)
    with pytest.raises(InputError, match="there is no such folder"):
        mask.given(tmp_path / "none", MOBILENET)


# ---- Eyeriss


def test_elements_in_use_are_those_that_the_paper_counts() -> None:
    design = dataclasses.replace(designs.load("eyeriss"), features=Features())
    used = {
        name: evaluate(layer.workload, design, layer.mapping).compute.instances_used for name, layer in ALEXNET.items()
    }
    assert used == reported()["eyeriss-elements"].paper


def test_dram_traffic_is_within_five_percent_of_the_chips(rows: dict[str, Row]) -> None:
    errors = [row.error for name, row in rows.items() if "DRAM traffic" in name]
    assert len(errors) == 5
    assert all(abs(error) < 0.05 for error in errors if error is not None)


def _pairs(plane: np.ndarray) -> int:
    """Pairs of a run of at most 31 zeros and a value, written one by one; fewer than 32 zeros at the end take none."""
    pairs, run = 0, 0
    for nonzero in plane.ravel():
        run += 1
        if nonzero or run == 32:
            pairs, run = pairs + 1, 0
    return pairs


def test_compression_is_that_of_planes_coded_one_by_one(rows: dict[str, Row]) -> None:
    """conv5 by hand: filters once, inputs once for each 64 of 256 output channels, outputs once; planes of 15 x 15
    inputs and 13 x 13 outputs of the stated densities, coded pair by pair, three pairs in 64 bits."""
    rng = np.random.default_rng(5)
    draw = 400
    inputs = np.mean([_pairs(rng.permutation(np.arange(225) < 0.23 * 225)) for _ in range(draw)])
    outputs = np.mean([_pairs(rng.permutation(np.arange(169) < 0.1 * 169)) for _ in range(draw)])
    filters, planes_in, planes_out = 256 * 192 * 9, 4 * 192 * 4, 4 * 256
    plain = filters + planes_in * 225 + planes_out * 169
    coded = filters + (planes_in * inputs + planes_out * outputs) * 64 / 3 / 16
    assert rows["eyeriss: DRAM compression, conv5"].ours == pytest.approx(plain / coded, rel=0.01)


def test_only_the_input_of_the_first_layer_stays_uncompressed() -> None:
    assert {name: layer.raw for name, layer in ALEXNET.items() if layer.raw} == {"conv1": {"I"}}


def test_energy_that_gating_saves_is_that_of_weights_and_computes_at_zero_inputs(rows: dict[str, Row]) -> None:
    """A zero input saves the read of a weight and the compute, less what both cost when gated."""
    levels = {level.name: level.energy for level in designs.load("eyeriss").architecture.levels}
    weights, unit = levels["weights_spad"], designs.load("eyeriss").architecture.compute.energy
    each = weights.pj("read") - weights.pj("read", "gated") + unit.pj("compute") - unit.pj("compute", "gated")
    saved = total = 0.0
    for layer in ALEXNET.values():
        design = dataclasses.replace(designs.load("eyeriss"), features=Features())
        dense = evaluate(layer.workload, design, layer.mapping)
        spads = ("ifmap_spad", "weights_spad", "psum_spad")
        total += dense.compute.energy_pj + sum(dense.levels[name].energy_pj for name in spads)
        saved += layer.workload.computes * (1 - layer.workload.density("I").density) * each
    assert rows["eyeriss: energy gated, conv1-5"].ours == pytest.approx(100 * saved / total, rel=1e-3)


# ---- tensor cores


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_closed_form_is_the_mean_over_binomial_nonzeros(per_mille_a: int, per_mille_b: int) -> None:
    a, b, n = per_mille_a / 1000, per_mille_b / 1000, np.arange(33)
    passes = [np.sum(binom.pmf(n, 32, p) * np.ceil(n / lanes)) for p, lanes in ((a, 8), (b, 16))]
    assert tensor_core.closed_form(a, b) == pytest.approx(passes[0] * passes[1] / 8, abs=1e-9)


def test_latency_never_rises_as_a_tensor_gets_sparser(rows: dict[str, Row]) -> None:
    for b in ("1.0", "0.4"):
        curve = [rows[f"dstc: latency, A {a}, B {b}"].ours or 0.0 for a in ("0.3", "0.5", "0.7", "0.9")]
        assert curve == sorted(curve)
        assert 0 < curve[0] < curve[-1] < 1


def test_two_of_four_is_exactly_twice_as_fast(rows: dict[str, Row]) -> None:
    assert rows["stc: speedup of 2:4 weights"].ours == 2


def test_published_numbers_enter_no_computation() -> None:
    claims = reported()
    for claim, make in (
        (claims["dstc-latency"], tensor_core.dstc_rows),
        (claims["stc-speedup"], tensor_core.stc_rows),
    ):
        wrong = dataclasses.replace(
            claim, paper={key: 3 * x + 1 for key, x in claim.paper.items()}, thesis=dict.fromkeys(claim.thesis, 77.0)
        )
        before, after = list(make(claim)), list(make(wrong))
        assert [row.ours for row in after] == [row.ours for row in before]
        assert [row.error for row in after] != [row.error for row in before]


# ---- the command


@pytest.fixture
def command(found: Validation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`sparseloom reproduce validation`, with what was found before."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(validation, "validate", lambda masks: found)
        monkeypatch.setattr(sys, "argv", ["sparseloom", "reproduce", "validation", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return run


def test_the_command_prints_the_table_and_succeeds(command, found: Validation) -> None:
    assert command() == (0, f"{found}\n", "")
    assert max(len(line) for line in str(found).splitlines()) <= 120


def test_the_command_writes_what_it_prints(command, found: Validation, tmp_path: Path) -> None:
    code, _, _ = command("--json", tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert code == 0
    assert [row["what"] for row in written["rows"]] == [row.what for row in found.rows]
    assert [row["verdict"] for row in written["rows"]] == [row.verdict for row in found.rows]
    assert set(written["sources"]) == set(reported())
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_file_that_cannot_be_written_is_a_fault(command, tmp_path: Path) -> None:
    code, _, errors = command("--json", tmp_path / "none" / "out.json")
    assert code == 2
    assert "cannot write" in errors
    assert "none" in errors


def test_the_documents_show_the_table_as_it_is(found: Validation) -> None:
    page = (ROOT / "docs" / "validation.md").read_text("utf-8")
    assert f"```\n{found}\n```" in page


# ---- the data


def test_every_claim_names_its_source() -> None:
    assert all(len(claim.source) > 20 for claim in reported().values())


@needs_reference
def test_published_numbers_are_those_of_the_reference() -> None:
    claims = reported()
    published = json.loads((REFERENCE / "validation.json").read_text())
    cycles = published["eyeriss_v2_pe_cycles_mobilenet0.5_128"]
    assert claims["eyeriss-v2-cycles"].paper == cycles["reference"]
    assert claims["eyeriss-v2-cycles"].thesis == cycles["sparseloop_uniform"]
    for a, pair in published["dstc_fig21"].items():
        assert [claims["dstc-latency"].paper[f"{a} {b}"] for b in ("1.0", "0.4")] == pair
    table = json.loads((REFERENCE / "densities.json").read_text())["eyeriss_jssc_alexnet_tableV"]["layers"]
    for name, values in table.items():
        assert claims["eyeriss-dram-mb"].paper[name] == values["dram_MB"]
        assert claims["eyeriss-elements"].paper[name] == values["active_pe"]


@needs_reference
def test_layers_have_the_shapes_and_densities_of_the_reference() -> None:
    networks = json.loads((REFERENCE / "networks.json").read_text())["networks"]
    densities = json.loads((REFERENCE / "densities.json").read_text())
    stated = {
        name.split()[0]: values for name, values in densities["mobilenet_v1_0.5_128_eyeriss_v2"]["layers"].items()
    }
    for number, row in enumerate(networks["mobilenet_v1_0.5_128"]["layers"], start=1):
        layer = MOBILENET.get(f"L{number:02d}")
        assert (layer is not None) == row[2].startswith("pw")
        if layer is not None:
            shape, found = layer.workload.shape, layer.workload.densities
            assert [shape[rank] for rank in "NCMRSPQ"] == [*row[3:6], *row[8:12]]
            expected = stated.get(layer.name, {})
            assert list(found) == (["I", "W"] if expected else [])
            for tensor, key in (("I", "iact"), ("W", "w")) if expected else ():
                assert found[tensor].density == pytest.approx(expected[key], abs=2e-3)
    for row in networks["alexnet_grouped"]["layers"][:5]:
        layer, expected = ALEXNET[row[2]], densities["eyeriss_alexnet_sparseloop"]["layers"][row[2]]
        assert [layer.workload.shape[rank] for rank in "MRSPQ"] == [row[5], *row[8:12]]
        assert layer.workload.shape["C"] * row[16] == row[4]
        assert layer.workload.densities["I"].density == pytest.approx(expected["iact"], abs=1e-6)
        assert layer.workload.densities["O"].density == pytest.approx(expected["oact"], abs=1e-6)


@needs_reference
def test_latencies_are_those_inferred_from_the_artifacts_figure(rows: dict[str, Row]) -> None:
    compared = 0
    for folder in (REFERENCE / "sparseloop" / "fig13_dstc").iterdir():
        a, b = folder.name.split("_")
        expected = json.loads((folder / "expected.json").read_text())["inferred_position_skipping"]["normalised"]
        if (a, b) != ("A1.0", "B1.0"):
            assert rows[f"dstc: latency, A {a[1:]}, B {b[1:]}"].ours == pytest.approx(expected, abs=1e-3)
            compared += 1
    assert compared == 3


@needs_reference
def test_the_shipped_masks_are_those_of_the_artifact() -> None:
    folder = REFERENCE / "sparseloop" / "fig12_eyerissv2_pe" / "L07__actual_data" / "actual_data_masks"
    theirs = mask.given(folder, MOBILENET)["L07"]
    ours = mask.shipped(DATA / "eyeriss-v2-l07-masks.npz", MOBILENET["L07"])
    assert (ours.weights == theirs.weights).all()
    assert (ours.inputs == theirs.inputs).all()
