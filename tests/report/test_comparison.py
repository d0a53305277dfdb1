"""Designs side by side on a small network."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sparseloom.arch.technology import Technology
from sparseloom.errors import InputError
from sparseloom.model.evaluate import evaluate
from sparseloom.report.comparison import Comparison, compare, text
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

SMALL = Network(
    "small",
    "made by hand",
    (
        Layer.linear("first", rows=64, inputs=128, outputs=64),
        Layer.linear("second", rows=64, inputs=128, outputs=64),
        Layer.linear("wide", rows=64, inputs=256, outputs=128),
    ),
)


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(SMALL, ["tc", "stc", "dstc"], "C0(2:4)", "0.5", budget_s=20)


def test_layers_that_are_alike_are_searched_once_and_counted_each(found) -> None:
    assert [(each.run.names, each.run.counts) for each in found.of("tc")] == [
        (("first", "second"), (1, 1)),
        (("wide",), (1,)),
    ]
    [total, *_] = found.totals()
    first, wide = found.of("tc")
    assert total.cycles == 2 * first.result.cycles + wide.result.cycles
    assert total.energy_pj == pytest.approx(2 * first.result.energy_pj + wide.result.energy_pj)
    assert total.edp == total.cycles * total.energy_pj
    assert (total.layers, total.refused, total.gap) == (3, 0, 0.0)


def test_the_structured_design_is_exactly_twice_as_fast_where_its_bandwidth_allows(found) -> None:
    for dense, sparse in zip(found.of("tc"), found.of("stc"), strict=True):
        computes = dense.result.compute.cycles_busiest
        assert sparse.result.compute.cycles_busiest * 2 == computes


def test_every_outcome_is_the_evaluation_of_its_mapping_and_its_charges_are_its_energy(found) -> None:
    for each in found.outcomes:
        assert each.best.mapping is not None
        again = evaluate(each.run.layer.workload(), each.run.setting.design, each.best.mapping)
        assert (again.cycles, again.energy_pj) == (each.best.cycles, each.best.energy_pj)
        assert sum(charge.energy_pj for charge in each.charges) == pytest.approx(each.result.energy_pj)


def test_energy_by_block_is_that_of_the_totals(found) -> None:
    for total in found.totals():
        assert sum(found.energy_by_block(total.design).values()) == pytest.approx(total.energy_pj)
    assert "selection of B" in found.energy_by_block("stc")


def test_a_layer_that_one_design_cannot_run_is_left_out_of_all_totals_and_listed() -> None:
    network = Network("mixed", "made by hand", (SMALL.layers[0], Layer.linear("odd", rows=3, inputs=5, outputs=7)))
    found = compare(network, ["tc", "dstc"], budget_s=20)
    assert found.common == {"first", "odd"}  # both pad
    kept = tuple(each for each in found.outcomes if (each.run.design, each.run.names) != ("dstc", ("odd",)))
    smaller = replace(found, outcomes=kept)
    assert smaller.common == {"first"}
    [tc, dstc] = smaller.totals()
    assert tc.cycles == found.of("tc")[0].result.cycles
    assert "totals are of the 1 layers that all designs run, without 1" in text(smaller)
    assert dstc.layers == 1


def test_leakage_is_that_of_all_instances_over_all_cycles_and_no_part_of_the_energy(found) -> None:
    tc = found.totals()[0]
    # Aladdin at 5 ns, mW: a multiplier and an adder of 32 bits 0.05 and 0.0024, a register of one bit 7e-05; 1,024 MACs of 8 bits
    # with a register of 8 bits each. CACTI: 256 KB in rows of 512 bits 0.00628; the register files of 8 KB take less than 0.001.
    mac, register = 0.05 / 16 + 0.0024 / 4, 8 * 7e-5
    power_mw = 1024 * (mac + register) + 0.00628
    assert tc.leakage_mw == pytest.approx(power_mw, rel=1e-3)
    seconds = tc.cycles * 5e-9
    assert tc.leaked_pj == pytest.approx(power_mw * 1e-3 * seconds * 1e12, rel=1e-3)
    assert tc.energy_pj == pytest.approx(sum(found.energy_by_block("tc").values()))
    assert "leakage" not in found.energy_by_block("tc")


def test_leakage_stands_in_the_table_the_frame_and_json(found) -> None:
    tc = found.totals()[0]
    head, _ = text(found).splitlines()[2:4]
    assert "leak mW  leak uJ" in head
    assert "leak: no part of energy and EDP: the MICRO 2022 artifact charges it to gated accesses alone" in text(found)
    own = found.to_frame().filter(design="tc")
    assert (own["leaked_pj"] * own["count"]).sum() == pytest.approx(tc.leaked_pj)
    [design, *_] = found.to_dict()["designs"]
    assert (design["total"]["leakage_mw"], design["total"]["leaked_pj"]) == (tc.leakage_mw, tc.leaked_pj)
    assert sum(block["leakage_mw"] for block in design["blocks"]) == pytest.approx(tc.leakage_mw)


def test_a_sweep_compares_the_layers_with_most_computes_for_weights_of_several_densities(found) -> None:
    swept = compare(SMALL, ["tc", "stc"], "C0(1:4)", "0.5", budget_s=20, sweep=True)
    assert [str(point.weights) for point in swept.sweep] == [
        "dense", "C0(2:4)", "C1(2:3)->C0(2:4)", "C0(1:4)", "C1(2:4)->C0(2:4)", "C1(2:6)->C0(2:4)", "C1(2:8)->C0(2:4)",
    ]  # fmt: skip
    # the wide layer has 64 x 256 x 128 computes, the two that are alike 64 x 128 x 64 each
    assert {point.layers for point in swept.sweep} == {("wide",)}
    by_design = {
        name: [point.of(name)[0].result.compute.cycles_busiest for point in swept.sweep] for name in ("tc", "stc")
    }
    dense = by_design["tc"][0]
    assert by_design["tc"] == 7 * [dense]
    # half of the work wherever two of four are nonzeros, whatever is sparser
    assert by_design["stc"] == [dense, *6 * [dense / 2]]
    values = swept.to_dict()["sweep"]
    assert [(each["density"], each["family"]) for each in values][3:5] == [(0.25, False), (0.25, True)]
    assert values[0]["outcomes"][0]["layers"] == ["wide"]


def test_it_is_a_table_a_frame_and_json(found) -> None:
    lines = text(found).splitlines()
    assert lines[0].startswith("small: weights C0(2:4), activations 0.5 unstructured; 45 nm")
    assert [line.split()[0] for line in lines[2:6]] == ["design", "tc", "stc", "dstc"]
    frame = found.to_frame()
    assert frame.height == 6
    assert set(frame["design"]) == {"tc", "stc", "dstc"}
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [design["name"] for design in values["designs"]] == ["tc", "stc", "dstc"]
    assert values["designs"][0]["total"]["edp"] == found.totals()[0].edp


def test_another_node_changes_energies_and_not_cycles(found) -> None:
    other = compare(SMALL, ["tc"], objective="cycles", technology=Technology(16), budget_s=20)
    assert other.totals()[0].cycles <= found.totals()[0].cycles
    assert other.totals()[0].area_um2 < 0.3 * found.totals()[0].area_um2


def test_unknown_names_and_sparsities_are_refused_before_anything_is_searched() -> None:
    with pytest.raises(InputError, match="did you mean 'highlight'"):
        compare(SMALL, ["tc", "higlight"])
    with pytest.raises(InputError, match="did you mean 'resnet50'"):
        compare("resnet5", ["tc"])
    with pytest.raises(InputError, match="no single pattern"):
        compare(SMALL, ["tc"], "C0({G<=2}:4)")
    with pytest.raises(InputError) as found:
        compare("resnet5", ["tcc", "higlight"], "C0(9:4)", "2")
    said = [fault.what for fault in found.value.faults]
    assert len(said) == 5
    for name, what in zip(("resnet5", "G is 9", "2", "tcc", "higlight"), said, strict=True):
        assert name in what


def test_what_says_nothing_to_a_design_is_said_with_what_it_supports() -> None:
    lines = text(compare(SMALL, ["tc", "stc", "dstc"], "C0(3:4)", "0.5", budget_s=20)).splitlines()
    assert "weights C0(3:4) are taken as dense by tc (supports dense), stc (supports dense, K0(2:4))" in lines
    assert (
        "activations 0.5 unstructured are taken as dense by tc (supports dense), stc (supports dense, K0(2:4))" in lines
    )


def test_an_interrupt_keeps_what_was_found() -> None:
    def stop(found: Comparison, left: int) -> None:
        raise KeyboardInterrupt

    found = compare(SMALL, ["tc", "stc"], budget_s=20, watch=stop)
    assert found.interrupted
    assert len(found.outcomes) == 1
    assert "interrupted: what was found so far" in text(found)


def test_row_stationary_designs_run_convolutions_and_everything_else_as_single_points() -> None:
    layers = (
        Layer.convolution("conv", channels=8, filters=16, input=(14, 14), window=(3, 3), padding=(1, 1)),
        Layer.convolution("wide", channels=2, filters=8, input=(32, 32), window=(20, 3)),
        Layer.linear("fc", rows=1, inputs=128, outputs=64),
        Layer.product("scores", batch=2, m=16, k=32, n=16),
    )
    both = compare(Network("mixed", "made by hand", layers), ["eyeriss", "eyeriss-v2-pe"], "0.4", "0.5", budget_s=60)
    assert both.common == {"conv", "fc", "scores"}
    for name, unit in (("eyeriss", "ifmap_spad holds 12 words"), ("eyeriss-v2-pe", "iact_spad holds 16 words")):
        assert all(each.best.proven for each in both.of(name))
        fc = next(each for each in both.of(name) if each.run.names == ("fc",))
        assert {rank: size for rank, size in fc.run.layer.shape.items() if size > 1} == {"C": 128, "M": 64}
        [refusal] = both.refused(name)
        assert refusal.names == ("wide",)
        assert unit in str(refusal.error)
    outside = [
        charge for each in both.of("eyeriss-v2-pe") for charge in each.charges if charge.block == "BackingStorage"
    ]
    assert sum(charge.energy_pj for charge in outside) == 0
