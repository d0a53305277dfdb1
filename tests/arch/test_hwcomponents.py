"""Estimates of another package, against the package itself where it is installed."""

import sys
from types import SimpleNamespace

import pytest

from sparseloom.arch.component import component
from sparseloom.arch.technology import Technology
from sparseloom.errors import ArchitectureError


class Model:
    def get_action_names(self) -> list[str]:
        return ["read", "write", "multiply"]


def test_joules_watts_and_square_metres_become_our_units(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def cost(*query: object) -> SimpleNamespace:
        asked.append(query)
        return SimpleNamespace(energy={"read": 2e-12, "write": 3e-12, "multiply": 5e-12}[str(query[2])])

    package = SimpleNamespace(
        get_model=lambda *_: Model(), get_action_cost=cost, get_leak_power=lambda *_: 4e-6, get_area=lambda *_: 7e-10
    )
    monkeypatch.setitem(sys.modules, "hwcomponents", package)
    made = component("hwcomponents", {"model": "Box", "given": "width=64, cell=sram", "use": "multiply"})
    found = made.estimate(Technology(node_nm=45, cycle_ns=5))
    # 4 uW for 5 ns are 0.02 pJ
    assert found.energies_pj == pytest.approx({"read": 2.0, "write": 3.0, "use": 5.0, "idle": 0.02})
    assert (found.area_um2, found.leakage_mw) == pytest.approx((700.0, 0.004))
    assert asked[0][:2] == ("Box", {"tech_node": pytest.approx(45e-9), "width": 64, "cell": "sram"})


def test_without_the_package_an_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hwcomponents", None)
    with pytest.raises(ArchitectureError, match="not installed"):
        component("hwcomponents", {"model": "LPDDR4"}).estimate(Technology())


def test_a_model_that_fails_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("| no such model\n| more")

    monkeypatch.setitem(sys.modules, "hwcomponents", SimpleNamespace(get_model=fails))
    with pytest.raises(ArchitectureError, match="cannot estimate Nothing: no such model"):
        component("hwcomponents", {"model": "Nothing"}).estimate(Technology())
    with pytest.raises(ArchitectureError, match="'64' is not name=value"):
        component("hwcomponents", {"model": "Box", "given": "64"}).estimate(Technology())


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_the_package_gives_what_it_says_of_a_memory() -> None:
    package = pytest.importorskip("hwcomponents", reason="hwcomponents is not installed")
    pytest.importorskip("hwcomponents_cacti", reason="its models of memories are not installed")
    found = component("hwcomponents", {"model": "LPDDR4", "given": "width=64"}).estimate(Technology())
    cost = package.get_action_cost("LPDDR4", {"width": 64}, "read", {})
    assert found.pj("read") == pytest.approx(1e12 * cost.energy)
    assert found.pj("read") == pytest.approx(64 * 8)  # 8 pJ a bit
