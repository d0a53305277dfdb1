"""Components against the energies that the MICRO 2022 artifact prints for its own (`sparseloop_artifact_ERT_pJ`), all at 45 nm."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.arch import component as components
from sparseloom.arch.component import Component, Estimate, component, kind_of, kinds
from sparseloom.arch.memory import Dram, Regfile, Sram
from sparseloom.arch.technology import DEVICES, SRAM_MODES, Technology
from sparseloom.errors import ArchitectureError

TECHNOLOGY = Technology()


def made(kind: str, **parameters: object) -> Estimate:
    return component(kind, parameters).estimate(TECHNOLOGY)


@pytest.mark.parametrize(
    ("kind", "parameters", "energies", "tolerance"),
    [
        ("sram", {"width_bits": 64, "depth": 16384}, {"read": 32.2859, "write": 26.065}, 1e-6),
        ("sram", {"width_bits": 16, "depth": 1024}, {"read": 1.96991, "write": 1.83309}, 1e-6),
        ("sram", {"width_bits": 64, "depth": 8192}, {"read": 25.8695, "write": 19.6486}, 1e-6),
        ("sram", {"width_bits": 256, "depth": 16384, "banks": 2}, {"read": 140.09584, "write": 134.50539}, 1e-3),
        (
            "sram",
            {"width_bits": 512, "depth": 4096, "banks": 2, "ports": 2},
            {"read": 285.71464, "write": 316.96744},
            0.02,
        ),
        # CACTI's steps and the banks of small arrays are not followed more closely: below 1 KB, 16 banks, 100 KB
        ("sram", {"width_bits": 8, "depth": 2048, "banks": 16, "ports": 2}, {"read": 1.65889, "write": 1.67589}, 0.31),
        ("sram", {"width_bits": 16, "depth": 224}, {"read": 0.71011, "write": 1.13063}, 0.17),
        ("sram", {"width_bits": 8, "depth": 192}, {"read": 0.47678, "write": 0.51919}, 0.40),
        ("sram", {"width_bits": 8, "depth": 512}, {"read": 0.42568, "write": 0.58331}, 0.48),
        ("sram", {"width_bits": 64, "depth": 12800}, {"read": 49.1739, "write": 37.1554}, 0.40),
        ("regfile", {"width_bits": 17, "depth": 12}, {"read": 0.19652}, 1e-4),
        ("regfile", {"width_bits": 16, "depth": 24}, {"write": 0.25281}, 1e-4),
        ("regfile", {"width_bits": 20, "depth": 32}, {"read": 0.32508}, 1e-4),
        ("regfile", {"width_bits": 8, "depth": 16}, {"read": 0.13003}, 1e-4),
        ("regfile", {"width_bits": 16, "depth": 64}, {"read": 0.49218, "idle": 0.00737}, 1e-3),
        ("regfile", {"width_bits": 4, "depth": 32}, {"read": 0.18108, "idle": 0.00209}, 3e-3),
        ("regfile", {"width_bits": 16, "depth": 128}, {"read": 0.95642, "idle": 0.00931}, 1e-3),
        ("register", {"width_bits": 8}, {"read": 0.072, "write": 0.072, "idle": 0.00296}, 1e-6),
        ("mac", {"width_bits": 8}, {"use": 0.5608, "idle": 0.01798}, 1e-3),
        ("mac", {"width_bits": 16}, {"use": 2.20035, "idle": 0.06595}, 1e-5),
        ("dram", {"width_bits": 64}, {"read": 512.0, "write": 512.0}, 1e-9),
        ("dram", {"width_bits": 64, "type": "HBM2"}, {"read": 249.6}, 1e-9),
        ("dram", {"width_bits": 5}, {"read": 40.0}, 1e-9),
        # SparTen's cluster at 800 MHz: 48 mW for 64 prefix sums, 6.4 mW for 32 priority encoders
        ("prefix_sum", {"inputs": 128}, {"use": 0.9375}, 1e-9),
        ("priority_encoder", {"inputs": 128}, {"use": 0.25}, 1e-9),
        # and 13.82 mW for 32 multipliers
        ("mac", {"width_bits": 8}, {"use": 13.82 / 0.8 / 32}, 0.05),
        # one bit of a multiplexer of two: 1.7 fJ
        ("mux", {"inputs": 2, "width_bits": 1}, {"use": 0.0017}, 0.01),
    ],
)
def test_energies_are_those_of_the_artifact(kind, parameters, energies, tolerance) -> None:
    found = made(kind, **parameters)
    for action, energy_pj in energies.items():
        assert found.pj(action) == pytest.approx(energy_pj, rel=tolerance)


def test_a_multiplexer_bit_has_the_area_of_three_gates() -> None:
    assert made("mux", inputs=2, width_bits=1).area_um2 == pytest.approx(4.7, rel=0.01)


def test_the_muxes_of_one_rank_of_sixteen_cost_more_than_twice_those_of_two_ranks() -> None:
    """Thesis 6.2.3: 15 degrees by one rank (H up to 16), or by two (8 and 4); two lanes share the selection of a block."""
    one = made("mux", inputs=16, width_bits=8)
    two = made("mux", inputs=4, width_bits=8).plus(made("mux", inputs=8, width_bits=8).times(1 / 2))
    for ratio in (one.area_um2 / two.area_um2, one.pj("use") / two.pj("use")):
        assert ratio == pytest.approx(15 / 6.5)


@given(
    width=st.integers(3, 600),
    depth=st.integers(512, 40_000),
    more=st.integers(0, 2_000),
    mode=st.sampled_from(SRAM_MODES),
    device=st.sampled_from(DEVICES),
)
def test_an_sram_that_holds_more_costs_no_less(width, depth, more, mode, device) -> None:
    technology = Technology(device=device, sram_mode=mode)
    try:
        small = Sram(width, depth).estimate(technology)
    except ArchitectureError:
        return  # CACTI has no array of this form
    large = Sram(width, depth + more).estimate(technology)
    assert large.pj("read") >= small.pj("read") * (1 - 1e-12)
    assert large.pj("write") >= small.pj("write") * (1 - 1e-12)
    assert large.area_um2 >= small.area_um2 * (1 - 1e-12)


@given(width=st.integers(8, 500), depth=st.integers(8, 4096))
def test_components_of_the_datapath_grow_with_their_width(width, depth) -> None:
    for kind in ("adder", "multiplier", "mac", "comparator", "counter", "shifter", "register"):
        assert made(kind, width_bits=width + 1).pj("idle") > made(kind, width_bits=width).pj("idle")
    assert made("regfile", width_bits=width, depth=depth + 1).pj("read") > made(
        "regfile", width_bits=width, depth=depth
    ).pj("read")


@pytest.mark.parametrize(("node", "energy", "area"), [(65, 1.241, 1.5), (28, 0.513, 0.377), (16, 0.174, 0.19)])
def test_another_node_scales_datapaths_by_stillmaker_and_baas(node, energy, area) -> None:
    here, there = component("mac", {"width_bits": 8}).estimate(TECHNOLOGY), component("mac", {"width_bits": 8})
    found = there.estimate(Technology(node))
    assert found.pj("use") / here.pj("use") == pytest.approx(energy, rel=4e-3)
    assert found.area_um2 / here.area_um2 == pytest.approx(area, rel=2e-3)


def test_an_sram_of_another_node_is_cactis_where_it_has_the_node() -> None:
    assert Sram(512, 4096).estimate(Technology(65)).pj("read") == pytest.approx(347.635)
    scaled = Sram(512, 4096).estimate(Technology(28))
    assert "Stillmaker" in scaled.derivation
    assert Sram(512, 4096).estimate(Technology(22)).pj("read") < scaled.pj("read") < 111.805


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda: Sram(8, 32).estimate(TECHNOLOGY), "an SRAM of 32 bytes is below the 64 bytes"),
        (lambda: Sram(512, 2**20).estimate(TECHNOLOGY), "an SRAM bank of 67,108,864 bytes is above the 4,194,304 bytes"),
        (lambda: Sram(512, 20).estimate(TECHNOLOGY), "CACTI has no array of 1280 bytes in rows of 512 bits"),
        (lambda: Dram(64, "DDR9").estimate(TECHNOLOGY), "no energies of DRAM of type 'DDR9' are known"),
        (lambda: Technology(5), "the node is 5 nm, the tables have 7 to 65 nm"),
        (lambda: Technology(device="finfet"), "unknown device 'finfet'"),
        (lambda: component("mac", {"width_bits": 8}).estimate(Technology(cycle_ns=0.1)), "multiplier needs 0.5 ns"),
        (lambda: component("srom", {}), "unknown kind of component 'srom'"),
        (lambda: component("sram", {"width": 8, "depth": 4}), "a sram has no parameter 'width'"),
        (lambda: component("sram", {"depth": 0, "width_bits": 8}), "depth of a sram is 0"),
        (lambda: component("mux", {"inputs": 4}), "a mux needs width_bits"),
    ],
)  # fmt: skip
def test_what_has_no_numbers_is_refused(what, words) -> None:
    with pytest.raises(ArchitectureError, match="how to fix") as raised:
        what()
    assert words in str(raised.value)


def test_every_kind_is_found_by_its_name_and_says_where_its_numbers_are_from() -> None:
    sizes: dict[str, object] = {"width_bits": 16, "depth": 1024, "inputs": 8, "outputs": 4, "positions": 8}
    sizes |= {"length_um": 100.0, "model": "LPDDR4"}
    for name, cls in kinds().items():
        one = component(name, {}, sizes)
        assert kind_of(one) == name
        assert type(one) is cls
        assert cls.__doc__
        if name == "hwcomponents":  # which need not be installed: tests/arch/test_hwcomponents.py
            continue
        found = one.estimate(TECHNOLOGY)
        assert found.source
        assert found.derivation
        assert all(math.isfinite(energy_pj) and energy_pj >= 0 for energy_pj in found.energies_pj.values())


def test_a_users_component_is_found_by_its_entry_point(monkeypatch) -> None:
    class Point:
        name, value = "eram", "mine:Eram"

        @staticmethod
        def load() -> type[Component]:
            return Regfile

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point] if group == components.GROUP else [])
    kinds.cache_clear()
    try:
        assert component("eram", {"width_bits": 8, "depth": 4}) == Regfile(8, 4)
        Point.load = staticmethod(lambda: 3)
        kinds.cache_clear()
        with pytest.raises(ArchitectureError, match="is no component"):
            kinds()
    finally:
        kinds.cache_clear()
