"""Where energy goes: all of it, block by block."""

from __future__ import annotations

from collections import defaultdict

import pytest

from sparseloom import case as cases
from sparseloom import designs
from sparseloom.arch.energy import estimated
from sparseloom.arch.technology import Technology
from sparseloom.mapping.batch import Problem
from sparseloom.model.breakdown import breakdown
from sparseloom.model.evaluate import evaluate


@pytest.mark.parametrize("name", [name for name in designs.cases() if name.startswith(("tc", "stc", "dstc"))])
def test_the_charges_of_all_blocks_are_the_energy_of_every_tensor_at_every_level(name) -> None:
    case = cases.read([name])
    assert case.workload
    assert case.mapping
    design = estimated(designs.load(name.split("-m128")[0]), Technology())
    result = evaluate(case.workload, design, case.mapping)
    charges = breakdown(Problem(case.workload, design), case.mapping)
    found = defaultdict[tuple[str, str], float](float)
    for charge in charges:
        found[charge.level, charge.tensor] += charge.energy_pj
    for level in result.levels.values():
        for tensor, actions in level.tensors.items():
            assert found[level.name, tensor] == pytest.approx(actions.energy_pj)
    assert found["MAC", ""] == pytest.approx(result.compute.energy_pj)
    assert sum(charge.energy_pj for charge in charges) == pytest.approx(result.energy_pj)


def test_a_published_table_is_one_block_a_level() -> None:
    case = cases.read(["eyeriss-alexnet-conv2"])
    assert case.workload
    assert case.design
    assert case.mapping
    charges = breakdown(Problem(case.workload, case.design), case.mapping)
    assert {charge.block for charge in charges} == {
        "DRAM",
        "shared_glb",
        "ifmap_spad",
        "weights_spad",
        "psum_spad",
        "MACs",
    }
    total = evaluate(case.workload, case.design, case.mapping).energy_pj
    assert sum(charge.energy_pj for charge in charges) == pytest.approx(total)
