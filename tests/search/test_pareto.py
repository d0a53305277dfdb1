"""Fronts against those of all mappings."""

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.search.test_mapper import nests, spaces

from sparseloom.errors import InputError
from sparseloom.mapping.prefixes import Tree
from sparseloom.model.batch import in_chunks
from sparseloom.search.pareto import front


def front_of_all(space) -> list[tuple[float, float]]:
    found = [
        (energy, cycles)
        for keep in space.keeps
        for batch in Tree(space).mappings(keep)
        for some in in_chunks(space.problem, batch)
        for energy, cycles in zip(some.energy_pj[some.valid], some.cycles[some.valid], strict=True)
    ]
    points: list[tuple[float, float]] = []
    for energy, cycles in sorted(found, key=lambda point: (point[1], point[0])):
        if not points or energy < points[-1][0] * (1 - 1e-9):
            points.append((energy, cycles))
    return points[::-1]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(spaces(), nests()))
def test_the_front_is_that_of_all_mappings(space) -> None:
    assume(space.size <= 1000)
    *_, found = front(space)
    assert found.complete
    expected = front_of_all(space)
    assert [best.cycles for best in found.points] == [cycles for _, cycles in expected]
    assert [best.energy_pj for best in found.points] == pytest.approx([energy for energy, _ in expected], rel=1e-9)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(nests())
def test_a_front_that_ends_early_has_points_of_the_whole_one(space) -> None:
    assume(space.size <= 1000)
    *_, whole = front(space)
    steps = front(space)
    first = next(steps)
    if whole.points:
        assert first.points[0].energy_pj == whole.points[0].energy_pj


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="the budget is 0 s"):
        next(front(None, 0))
