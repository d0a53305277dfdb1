"""A design set up for what it can exploit of its operands."""

from __future__ import annotations

import pytest

from sparseloom import designs
from sparseloom.arch.energy import estimated
from sparseloom.arch.support import bound, set_ups
from sparseloom.arch.technology import Technology
from sparseloom.errors import ArchitectureError
from sparseloom.fibertree.sparsity import Sparsity

HSS, HALF = Sparsity.parse("C1(2:4)->C0(2:3)"), Sparsity(0.5)


def seen(name: str, a: Sparsity, b: Sparsity) -> list[dict[str, str]]:
    return [
        {tensor: str(sparsity) for tensor, sparsity in way.sparsities.items()}
        for way in set_ups(designs.load(name), {"A": a, "B": b})
    ]


def test_each_design_sees_what_it_supports() -> None:
    assert seen("tc", HSS, HALF) == [{"A": "dense", "B": "dense"}]
    assert seen("stc", Sparsity.parse("C0(2:4)"), HALF) == [{"A": "C0(2:4)", "B": "dense"}]
    assert seen("dstc", HSS, HALF) == [{"A": "0.333333 unstructured", "B": "0.5 unstructured"}]
    assert seen("highlight", HSS, Sparsity()) == [{"A": "C1(2:4)->C0(2:3)", "B": "dense"}]


def test_an_operand_that_may_be_kept_either_way_gives_two_ways() -> None:
    assert seen("highlight", HSS, HALF) == [
        {"A": "C1(2:4)->C0(2:3)", "B": "dense"},
        {"A": "C1(2:4)->C0(2:3)", "B": "0.5 unstructured"},
    ]


def test_formats_have_the_blocks_of_the_pattern_and_none_for_a_dense_operand() -> None:
    sparse, dense = (set_ups(designs.load("highlight"), {"A": a, "B": Sparsity()})[0].design for a in (HSS, Sparsity()))
    assert str(sparse.features.formats["GLB"]["A"]) == "UOP(M,K2):/0-CP(K1=4)-CP(K0=3)"
    assert str(sparse.features.formats["PE"]["A"]) == "CP(K0=3)"
    [one] = set_ups(designs.load("highlight"), {"A": Sparsity.parse("C0(2:4)"), "B": Sparsity()})
    assert str(one.design.features.formats["GLB"]["A"]) == "UOP(M,K1):/0-CP(K0=4)"
    assert all("A" not in table for table in dense.features.formats.values())
    assert bound("CP(K1=H)-CP(K0=4)", ((2, 8), (2, 3))) == "CP(K1=8)-CP(K0=4)"


def test_units_that_do_not_switch_are_idle() -> None:
    design = estimated(designs.load("stc"), Technology())
    sparse, dense = (
        set_ups(design, {"A": Sparsity.parse(a), "B": Sparsity()})[0].design.architecture.compute.energy
        for a in ("C0(2:4)", "dense")
    )
    unit = design.architecture.compute.energy.parts["selection of B"]
    assert sparse.pj("compute") - dense.pj("compute") == pytest.approx(unit["compute"] - unit["gated_compute"])
    assert dense.parts["selection of B"]["compute"] == unit["gated_compute"]
    assert dense.pj("compute", "gated") == sparse.pj("compute", "gated")


def test_what_cannot_be_run_is_refused_with_what_can() -> None:
    from dataclasses import replace

    from sparseloom.arch.design import Support
    from sparseloom.fibertree.pattern import Pattern

    design = replace(designs.load("stc"), supports={"A": (Support(Pattern.parse("K0({G<=4}:8)")),)})
    with pytest.raises(ArchitectureError) as raised:
        set_ups(design, {"A": HALF, "B": HALF})
    [fault] = raised.value.faults
    assert fault.what == "stc cannot run A that is 0.5 unstructured"
    assert fault.fix == "it supports K0({G<=4}:8)"


def test_tensors_of_which_nothing_is_said_are_taken_as_they_are() -> None:
    assert seen("eyeriss", HSS, HALF) == [{"A": "0.333333 unstructured", "B": "0.5 unstructured"}]
