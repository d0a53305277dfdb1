"""The choice of a pattern per layer against enumeration."""

from itertools import product
from math import inf, isclose, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.search.frontier import Cost, Point, budgeted, chain, chosen, edp, front

PATTERNS = ("dense", "half", "quarter")
COST = st.builds(Cost, st.floats(1, 100), st.floats(1, 100))
TABLES = st.lists(
    st.tuples(st.lists(COST, min_size=3, max_size=3), st.lists(st.floats(0, 1), min_size=3, max_size=3)), min_size=1, max_size=4
)  # fmt: skip


def tables(
    rows: list[tuple[list[Cost], list[float]]],
) -> tuple[dict[str, dict[str, Cost]], dict[str, dict[str, float]]]:
    costs = {f"l{n}": dict(zip(PATTERNS, own, strict=True)) for n, (own, _) in enumerate(rows)}
    losses = {f"l{n}": dict(zip(PATTERNS, own, strict=True)) for n, (_, own) in enumerate(rows)}
    return costs, losses


def point(name: str, design: str, accuracy: float, cost: float, uniform: bool) -> Point:
    return Point(name, design, {}, {"validation": accuracy, "test": accuracy - 0.01}, cost, uniform)


def test_the_edp_of_an_assignment_is_the_sum_of_energies_times_that_of_cycles() -> None:
    costs = {"a": {"x": Cost(2, 3), "y": Cost(1, 1)}, "b": {"x": Cost(5, 7)}}
    assert edp(costs, {"a": "x", "b": "x"}) == 7 * 10
    assert edp(costs, {"a": "y", "b": "x"}) == 6 * 8
    assert edp(costs, {"a": "x", "b": "y"}) == inf


@given(TABLES)
def test_no_change_of_one_layer_improves_what_is_chosen_by_more_than_the_linear_estimate_errs(
    rows: list[tuple[list[Cost], list[float]]],
) -> None:
    """At the end of the rounds each layer has its best pattern for the sums that are there."""
    costs, losses = tables(rows)
    for price in (0.0, 0.1, 1.0, 10.0):
        found = chosen(costs, losses, price, rounds=200)
        energy = sum(costs[layer][p].energy_pj for layer, p in found.items())
        cycles = sum(costs[layer][p].cycles for layer, p in found.items())

        def worth(
            layer: str, pattern: str, energy: float = energy, cycles: float = cycles, price: float = price
        ) -> float:
            cost = costs[layer][pattern]
            return cost.energy_pj / energy + cost.cycles / cycles + price * losses[layer][pattern]

        settled = chosen(costs, losses, price, rounds=201) == found
        if settled:
            for layer, pattern in found.items():
                assert worth(layer, pattern) <= min(worth(layer, each) for each in PATTERNS) + 1e-12


@given(TABLES)
def test_a_chain_runs_from_the_least_edp_up_and_ends_where_loss_is_all_that_counts(
    rows: list[tuple[list[Cost], list[float]]],
) -> None:
    costs, losses = tables(rows)
    found = chain(costs, losses, 100)
    values = [edp(costs, each) for each in found]
    assert values == sorted(values)
    assert len({tuple(each.items()) for each in found}) == len(found)
    lossless = {layer: min(own, key=lambda p: own[p]) for layer, own in losses.items()}
    total = min(sum(losses[layer][p] for layer, p in each.items()) for each in found)
    assert isclose(total, sum(losses[layer][p] for layer, p in lossless.items()), abs_tol=1e-3 * len(rows))
    assert len(chain(costs, losses, 2)) <= 2


def test_where_energy_and_cycles_go_together_the_chain_holds_the_best_of_all_assignments() -> None:
    """One number a pattern: then the choice is exact for every price, as by enumeration."""
    costs = {layer: {p: Cost(c, c) for p, c in own.items()} for layer, own in {
        "a": {"dense": 8.0, "half": 4.0, "quarter": 2.0}, "b": {"dense": 2.0, "half": 1.0, "quarter": 0.5}}.items()}  # fmt: skip
    losses = {"a": {"dense": 0.0, "half": 0.1, "quarter": 0.5}, "b": {"dense": 0.0, "half": 0.3, "quarter": 0.6}}
    every = [dict(zip("ab", each, strict=True)) for each in product(PATTERNS, repeat=2)]
    for assignment in chain(costs, losses, 100):
        loss = sum(losses[layer][p] for layer, p in assignment.items())
        better = [
            other
            for other in every
            if sum(losses[layer][p] for layer, p in other.items()) <= loss
            and edp(costs, other) < edp(costs, assignment)
        ]
        assert better == [], (assignment, log(edp(costs, assignment)))


def test_a_front_has_no_point_that_another_beats_in_both() -> None:
    points = [
        point(str(n), "d", a, c, True)
        for n, (a, c) in enumerate([(0.9, 5), (0.95, 6), (0.9, 4), (0.8, 4), (0.99, 9), (0.7, 1)])
    ]
    assert [(p.accuracy["validation"], p.edp) for p in front(points)] == [(0.99, 9), (0.95, 6), (0.9, 4), (0.7, 1)]
    assert len(front(points, "test")) == 4


def test_budgets_are_held_on_the_validation_split_and_uniform_points_are_never_beaten_from_behind() -> None:
    points = [
        point("u1", "d", 0.97, 10.0, True), point("u2", "d", 0.95, 4.0, True), point("p1", "d", 0.97, 8.0, False),
        point("p2", "d", 0.90, 1.0, False), point("u1", "e", 0.97, 3.0, True),
    ]  # fmt: skip
    by = {(b.design, b.budget): b for b in budgeted(points, 0.97, (0.0, 0.02, 0.1))}
    assert [by["d", x].best.name for x in (0.0, 0.02, 0.1)] == ["p1", "u2", "p2"]  # type: ignore[union-attr]
    assert [by["d", x].uniform.name for x in (0.0, 0.02, 0.1)] == ["u1", "u2", "u2"]  # type: ignore[union-attr]
    assert [by["d", x].strictly_better for x in (0.0, 0.02, 0.1)] == [True, False, True]
    assert not by["e", 0.0].strictly_better
    none = budgeted([point("p", "d", 0.5, 1.0, False)], 0.97, (0.0,))[0]
    assert none.best is None
    assert not none.strictly_better


@pytest.mark.parametrize("uniform", [True, False])
def test_of_equal_edp_the_uniform_point_is_taken(uniform: bool) -> None:
    points = [point("p", "d", 0.97, 5.0, not uniform), point("u", "d", 0.97, 5.0, uniform)]
    found = budgeted(points, 0.97, (0.0,))[0]
    assert not found.strictly_better
