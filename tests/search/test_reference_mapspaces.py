"""The mapspaces that Sparseloop's authors searched, and the mapping that they shipped for each."""

from pathlib import Path

import pytest

from sparseloom.mapping.batch import Problem
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.report.mapped import compared
from sparseloom.search.mapper import best_mapping
from sparseloom.timeloop import load

FOLDER = Path(__file__).parents[3] / "shared" / "reference" / "sparseloop"
CONSTRAINTS = {"TC": "Ampere-Ms", "STC": "Ampere-Ms", "DSTC": "DSTC-Os"}
FIG15 = sorted((FOLDER / "fig15_stc").glob("*"))
TABLE7 = sorted((FOLDER / "table7_eyeriss").glob("*"))

ROUNDING = 1 + 1e-12
"""Sums of energies over loops in another order."""

pytestmark = pytest.mark.skipif(not FIG15, reason="the reference data are not beside the project")


def searched(case: Path, constraints: str):
    files = [*sorted(case.glob("*.yaml")), FOLDER / "mapper" / constraints]
    found = load(files, searching=True)
    space = Mapspace(Problem(found.workload, found.design), found.constraints)
    best = best_mapping(space, "edp", budget_s=60)
    assert best.proven
    return best, compared(space, best, found.mapping, 60)


@pytest.mark.parametrize("case", FIG15, ids=lambda path: path.name)
def test_tensor_cores_are_mapped_at_least_as_well_as_shipped(case: Path) -> None:
    name = CONSTRAINTS.get(case.name.rpartition("__")[2], "FlexibleGH-Ms")
    best, given = searched(case, f"fig15/{name}-constraints.yaml")
    if not given.violations and given.value is not None:
        assert best.value <= given.value * ROUNDING
    elif given.value is not None:
        assert "the given one 1 times that" in given.text or "the given one 1." in given.text


@pytest.mark.parametrize("case", TABLE7, ids=lambda path: path.name)
def test_eyeriss_is_mapped_at_least_as_well_as_shipped(case: Path) -> None:
    best, given = searched(case, "table7/row_stationary.yaml")
    assert not given.violations
    assert best.value <= given.value * ROUNDING


def test_the_size_of_the_row_stationary_mapspace_is_that_of_its_factors() -> None:
    case = FOLDER / "table7_eyeriss" / "alexnet_conv2_sparse"
    found = load([*case.glob("*.yaml"), FOLDER / "mapper" / "table7" / "row_stationary.yaml"], searching=True)
    space = Mapspace(Problem(found.workload, found.design), found.constraints)
    assert len(space.keeps) == 8  # each tensor at the global buffer
    assert space.size % 8 == 0
