"""The search over designs and mappings together against the evaluation of every mapping of every design."""

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.search.test_mapper import best_of_all, product_of, spaces

from sparseloom.arch.choice import variants
from sparseloom.arch.file import build
from sparseloom.document import parse
from sparseloom.errors import InputError, MappingError
from sparseloom.fibertree.density import Uniform
from sparseloom.mapping.batch import MappingBatch
from sparseloom.mapping.constraints import Constraints, LevelConstraints, Limit
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.model.batch import evaluate_batch
from sparseloom.search.codesign import best_design, mapspaces
from sparseloom.search.mapper import Best, Search, best_mapping
from sparseloom.search.objective import OBJECTIVES
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.workload import Workload

GOALS = st.sampled_from(sorted(OBJECTIVES))


@st.composite
def choices(draw):
    """A product of two sparse tensors on two levels whose formats, features, room and energies are open, with constraints that
    leave some hundred mappings to each variant."""
    formats = st.lists(st.sampled_from(["U(M)-U(K)", "B(K)", "CP(K)", "UOP(M)-CP(K)"]), min_size=1, max_size=2)
    features = st.lists(st.sampled_from([[], ["B <- A"], ["A <-> B"], ["Z <- A & B"]]), min_size=1, max_size=2)
    text = f"""
    name: open
    levels:
      - {{name: D, metadata_width_bits: 8, formats: {{A: {{choose: {draw(formats)}}}}},
          energy_pj: {{read: 50, fill: 50, update: 50, metadata_read: 20}}}}
      - name: G
        instances: [2, 1]
        capacity_words: {{choose: {draw(st.lists(st.sampled_from([2, 6, 12, 40]), min_size=1, max_size=2))}}}
        metadata_width_bits: 8
        formats: {{A: {{choose: {draw(formats)}}}}}
        {draw(st.sampled_from(["skipping", "gating"]))}: {{choose: {draw(features)}}}
        energy_pj: {{read: {{choose: {draw(st.lists(st.integers(1, 2), min_size=1, max_size=2))}}}, fill: 1, metadata_read: 1}}
    compute: {{name: mac, instances: [2, 1], energy_pj: {{compute: 1}}}}
    """
    shape = {rank: draw(st.sampled_from([2, 3, 4])) for rank in "MNK"}
    densities = {
        "A": Uniform((shape["M"], shape["K"]), draw(st.sampled_from([0.25, 0.5, 1.0]))),
        "B": Uniform((shape["K"], shape["N"]), draw(st.sampled_from([0.25, 1.0]))),
    }
    workload = Workload(Einsum.parse("Z[m,n] = A[m,k] * B[k,n]"), shape, densities)
    kept = LevelConstraints(keep=frozenset(draw(st.sets(st.sampled_from("ABZ"), min_size=2))))
    designs = [build(variant.value) for variant in variants(parse(text))]
    return mapspaces(workload, designs, Constraints({"G": kept}), draw(st.booleans()))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(choices(), GOALS)
def test_the_best_design_and_mapping_are_the_best_of_all_designs_and_mappings(spaces, name) -> None:
    goal = OBJECTIVES[name]
    assume(max(space.size for space in spaces) <= 3000)
    of_all = [best_of_all(space, goal) for space in spaces]
    if min(of_all)[0] == math.inf:
        with pytest.raises(MappingError):
            best_design(spaces, goal)
        return
    chosen = best_design(spaces, goal)
    one = evaluate_batch(chosen.space.problem, MappingBatch.of(chosen.space.problem, [chosen.best.mapping]))
    assert tuple(float(key[0]) for key in goal.keys(one.energy_pj, one.cycles)) == min(of_all)
    assert chosen.number == of_all.index(min(of_all))
    assert chosen.best.proven
    assert chosen.best.size == sum(space.size for space in spaces)
    for found, best in zip(chosen.each, of_all, strict=True):
        if isinstance(found, MappingError):
            assert best[0] == math.inf
            continue
        assert found.bound <= best[0] * (1 + 1e-12)
        assert not found.proven or found.value == pytest.approx(best[0], rel=1e-12)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(spaces(), GOALS, st.sampled_from([0.5, 0.999, 1.001, 2.0]))
def test_a_value_to_beat_leaves_out_only_what_is_above_it(space, name, share) -> None:
    (least, *_) = best_of_all(space, OBJECTIVES[name])
    assume(0 < least < math.inf)
    best = best_mapping(space, name, below=share * least)
    if share < 1:
        assert best.mapping is None
        assert best.bound == pytest.approx(share * least)
    else:
        assert best.value == pytest.approx(least, rel=1e-12)
        assert best.proven


def of_sizes(*sizes: int) -> list[Mapspace]:
    return [Mapspace(product_of(size)) for size in sizes]


def test_a_design_that_cannot_be_better_is_left_alone() -> None:
    chosen = best_design(of_sizes(16, 4))
    large, small = chosen.each
    assert isinstance(large, Best)
    assert isinstance(small, Best)
    assert chosen.number == 1
    assert chosen.best.value == best_mapping(of_sizes(4)[0]).value == small.value
    assert chosen.best.proven
    assert not large.proven
    assert large.bound > small.value
    assert large.evaluated == 0


def test_of_equal_designs_the_first_is_chosen() -> None:
    chosen = best_design(of_sizes(6, 4, 4))
    assert chosen.number == 1
    assert chosen.best.proven


def test_an_ended_budget_leaves_a_bound_for_all_designs_together() -> None:
    whole = best_design(of_sizes(16, 12, 16))
    assert whole.best.proven
    some = best_design(of_sizes(16, 12, 16), budget_s=0.05)
    assert some.best.bound <= whole.best.value <= some.best.value
    assert some.best.bound == min(each.bound for each in some.each if isinstance(each, Best))
    nothing = best_design(of_sizes(16, 12), budget_s=1e-9)
    assert (nothing.best.mapping, nothing.best.bound) == (None, 0)


def test_an_interrupt_keeps_the_best_of_all_designs(monkeypatch) -> None:
    step, seen = Search.step, list[float]()

    def interrupted(self) -> None:
        if len(seen) > 40:
            raise KeyboardInterrupt
        step(self)
        seen.extend([self.best[0]] if self.mapping is not None else [])

    monkeypatch.setattr(Search, "step", interrupted)
    best = best_design(of_sizes(64, 48)).best
    assert best.interrupted
    assert best.value == pytest.approx(min(seen))
    assert 0 < best.bound <= best.value


def test_imperfect_bounds_start_from_the_best_perfect_ones() -> None:
    kept = Constraints({name: LevelConstraints(keep=frozenset("ABZ")) for name in "GR"})
    perfect, wide = ([Mapspace(product_of(size), kept, imperfect) for size in (5, 6)] for imperfect in (False, True))
    first, chosen = best_design(perfect), best_design(wide)
    assert chosen.best.proven
    assert chosen.best.value == min(best_mapping(space).value for space in wide) <= first.best.value
    assert chosen.best.size > first.best.size


def test_designs_that_allow_no_mapping_are_noted_and_only_fatal_if_all_are() -> None:
    problem = product_of(4)
    levels = problem.design.architecture.levels
    narrow = replace(
        problem.design,
        architecture=replace(problem.design.architecture, levels=(*levels[:2], replace(levels[2], mesh_x=2))),
    )
    full = Constraints({"G": LevelConstraints(spatial={"M": Limit.exactly(4)}, axes={"M": "X"})})
    spaces_ = mapspaces(problem.workload, [narrow, problem.design], full)
    chosen = best_design(spaces_)
    assert chosen.number == 1
    assert isinstance(chosen.each[0], MappingError)
    with pytest.raises(MappingError, match="rank M"):
        mapspaces(problem.workload, [narrow, narrow], full)
    small = [
        Mapspace(product_of(8, capacity), Constraints({"G": LevelConstraints(keep=frozenset("ABZ"))}))
        for capacity in (1, 2)
    ]
    with pytest.raises(MappingError) as caught:
        best_design(small)
    assert [fault.what.partition(";")[0] for fault in caught.value.faults] == ["G holds 1 words", "G holds 2 words"]


def test_no_time_is_no_budget() -> None:
    with pytest.raises(InputError, match="the budget is 0 s"):
        best_design(of_sizes(4), budget_s=0)


def test_what_is_watched_is_the_best_of_all(monkeypatch) -> None:
    monkeypatch.setattr("sparseloom.search.codesign.WATCH_S", 0.0)
    told: list[Best] = []
    chosen = best_design(of_sizes(8, 6), watch=told.append)
    assert told
    assert all(best.bound <= chosen.best.value for best in told)
    assert {best.size for best in told} == {chosen.best.size}


SPMSPM = """
name: spmspm
levels:
  - name: DRAM
    metadata_width_bits: 16
    read_words_per_cycle: 4
    formats: {A: {choose: [U(M)-U(K), B(M)-B(K), UOP(M)-CP(K)]}, B: {choose: [U(K)-U(N), B(K)-B(N), UOP(K)-CP(N)]}}
    skipping: {choose: [[], [A <-> B]]}
    energy_pj: {read: 200, update: 200, metadata_read: 200}
  - name: Buffer
    instances: [4, 1]
    capacity_words: 512
    metadata_width_bits: 16
    formats: {A: {choose: [U(M)-U(K), UOP(M)-CP(K)]}, B: {choose: [U(K)-U(N), UOP(K)-CP(N)]}}
    skipping: {choose: [[], [B <- A], [A <-> B]]}
    energy_pj: {read: 2, fill: 2, update: 2, metadata_read: 2, metadata_fill: 2}
compute: {name: MAC, instances: [4, 1], energy_pj: {compute: 1}}
"""


def study(density: float):
    """What is best for a product of two tensors of a density, by key path, and what was found."""
    some = variants(parse(SPMSPM))
    densities = {name: Uniform((64, 64), density) for name in "AB"}
    workload = Workload(Einsum.parse("Z[m,n] = A[m,k] * B[k,n]"), dict.fromkeys("MNK", 64), densities)
    kept = Constraints({"Buffer": LevelConstraints(keep=frozenset("ABZ"))})
    chosen = best_design(mapspaces(workload, [build(each.value) for each in some], kept))
    return {choice.path: choice.text for choice in some[chosen.number].choices}, chosen


def test_the_best_formats_depend_on_the_density() -> None:
    """As in section 4.9.2 of the thesis: what is best for one application need not be best for another."""
    (half, at_half), (few, at_few) = study(0.5), study(0.05)
    assert at_half.best.proven
    assert at_few.best.proven
    both = {
        "levels[1].formats.A": "UOP(M)-CP(K)",
        "levels[1].formats.B": "UOP(K)-CP(N)",
        "levels[1].skipping": "[A <-> B]",
    }
    assert half.items() > both.items()
    assert few.items() > both.items()
    assert (half["levels[0].formats.A"], half["levels[0].formats.B"]) == ("B(M)-B(K)", "B(K)-B(N)")
    assert (few["levels[0].formats.A"], few["levels[0].formats.B"]) == ("B(M)-B(K)", "UOP(K)-CP(N)")
