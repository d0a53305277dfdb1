"""The mapspaces that Sparseloop's authors searched, and the mapping that they shipped for each."""

from pathlib import Path

import pytest
from benchmarks.reference import FOLDER, cases, searched

from sparseloom.mapping.batch import Problem
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.timeloop import load

CASES = list(cases())

ROUNDING = 1 + 1e-12
"""Sums of energies over loops in another order."""

pytestmark = pytest.mark.skipif(not CASES, reason="the reference data are not beside the project")


@pytest.mark.parametrize(("case", "constraints"), CASES, ids=[case.name for case, _ in CASES])
def test_the_best_mapping_is_as_good_as_the_shipped_one(case: Path, constraints: Path) -> None:
    best, given = searched(case, constraints)
    assert best.proven
    if given.value is None:
        # one shipped mapping has too much metadata to fit
        assert case.name == "WD-0.5__M512-K1024-N256-IAD0.27-WD0.5__STC_flexible_dualCompress-RLE"
        return
    within = given.loosened if given.violations else best
    assert within.proven
    assert within.value <= given.value * ROUNDING


def test_eyeriss_shipped_mappings_keep_the_constraints() -> None:
    for case, constraints in CASES:
        if case.parent.name == "table7_eyeriss":
            assert searched(case, constraints)[1].violations == ()


def test_the_size_of_the_row_stationary_mapspace_is_that_of_its_factors() -> None:
    case = FOLDER / "table7_eyeriss" / "alexnet_conv2_sparse"
    found = load([*case.glob("*.yaml"), FOLDER / "mapper" / "table7" / "row_stationary.yaml"], searching=True)
    space = Mapspace(Problem(found.workload, found.design), found.constraints)
    assert len(space.keeps) == 8  # each tensor at the global buffer
    assert space.size % 8 == 0
