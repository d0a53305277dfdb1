"""The mapspace against an enumeration that knows nothing of chains, blocks or orders."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseloom.arch.design import Design
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.errors import InputError, MappingError
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.chains import chains
from sparseloom.mapping.constraints import Constraints, LevelConstraints, Limit
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping, check
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import Tree
from sparseloom.mapping.violations import violations
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.workload import Workload


def matrix_product(shape, meshes, names="ABC"):
    """Z = A B on as many levels as there are meshes, the last one that of the compute units."""
    levels = tuple(StorageLevel(name, mesh_x=x, mesh_y=y) for name, (x, y) in zip(names, meshes, strict=False))
    compute = ComputeLevel("mac", mesh_x=meshes[-1][0], mesh_y=meshes[-1][1])
    workload = Workload(Einsum.parse("Z[m] = A[m,k] * B[k]"), dict(zip("MK", shape, strict=True)))
    return Problem(workload, Design(Architecture(levels[: len(meshes) - 1], compute)))


def every_mapping(space: Mapspace) -> set[Mapping]:
    """By trying: every bound from 1 to the shape for every loop, every order, every way to keep tensors."""
    problem, constraints = space.problem, space.constraints
    names = problem.design.architecture.names
    tensors = problem.tensors
    slots = [(depth, axis, rank) for depth in range(len(names)) for axis in ("", "X", "Y") for rank in problem.ranks]
    sizes = problem.workload.shape

    def bounds(i, covered):
        if i == len(slots):
            yield ()
            return
        depth, axis, rank = slots[i]
        fans = problem.design.architecture.fanout(depth)
        most = sizes[rank] if not axis else min(sizes[rank], fans["XY".index(axis)])
        for bound in range(1, most + 1):
            made = covered.get(rank, 1) * bound
            if bound > 1 and covered.get(rank, 1) >= sizes[rank]:
                break
            for rest in bounds(i + 1, {**covered, rank: made}):
                yield (bound, *rest)

    found = set()
    for chosen in bounds(0, {}):
        loops = [
            (d, Loop(rank, bound, axis)) for (d, axis, rank), bound in zip(slots, chosen, strict=True) if bound > 1
        ]
        if any(
            len({loop.axis for d, loop in loops if d == depth and loop.axis and loop.rank == rank}) > 1
            for depth in range(len(names))
            for rank in problem.ranks
        ):
            continue
        temporal = [[loop for d, loop in loops if d == depth and not loop.axis] for depth in range(len(names))]
        spatial = [tuple(loop for d, loop in loops if d == depth and loop.axis) for depth in range(len(names))]
        keeps = [
            [frozenset(some) for n in range(len(tensors) + 1) for some in itertools.combinations(tensors, n)]
            if depth
            else [frozenset(tensors)]
            for depth in range(len(names))
        ]
        for orders in itertools.product(*(itertools.permutations(each) for each in temporal)):
            for keep in itertools.product(*keeps):
                levels = zip(names, orders, spatial, keep, strict=True)
                mapping = Mapping(tuple(LevelMapping(n, tuple(t), s, k) for n, t, s, k in levels))
                total = {r: math.prod(mapping.bounds(r)) for r in problem.ranks}
                if not space.imperfect and any(total[r] != sizes[r] for r in problem.ranks):
                    continue
                try:
                    check(mapping, problem.workload, problem.design.architecture)
                except MappingError:
                    continue
                if allowed(mapping, constraints, sizes):
                    found.add(mapping)
    return found


def allowed(mapping: Mapping, constraints: Constraints, sizes) -> bool:
    """The constraints as their docstrings have them."""
    for mapped in mapping.levels:
        level = constraints.of(mapped.level)
        for limits, loops in ((level.temporal, mapped.temporal), (level.spatial, mapped.spatial)):
            for rank, limit in limits.items():
                bound = math.prod(loop.bound for loop in loops if loop.rank == rank)
                if limit.whole and bound != sizes[rank]:
                    return False
                if not limit.whole and not limit.least <= bound <= (limit.most or bound):
                    return False
        order = [loop.rank for loop in mapped.temporal]
        pinned = [rank for rank in level.inner if rank in order]
        if pinned and order[-len(pinned) :] != pinned:
            return False
        if any(level.axes.get(loop.rank, loop.axis) != loop.axis for loop in mapped.spatial):
            return False
        if not level.keep <= mapped.keep or level.bypass & mapped.keep:
            return False
    return True


def listed(space: Mapspace) -> list[Mapping]:
    batches = [batch for keep in space.keeps for batch in Tree(space).mappings(keep)]
    return [batch.mapping(space.problem, b) for batch in batches for b in range(len(batch))]


def canonical(mapping: Mapping) -> tuple:
    """What makes two mappings the same."""
    return tuple((m.level, m.temporal, frozenset(m.spatial), m.keep) for m in mapping.levels)


RANKS, TENSORS = ("M", "K"), ("A", "B", "Z")


@st.composite
def spaces(draw):
    meshes = draw(st.sampled_from([
        [(1, 1), (1, 1), (1, 1)], [(1, 1), (2, 1), (2, 1)], [(1, 1), (1, 1), (2, 2)], [(1, 1), (2, 2), (2, 4)],
    ]))  # fmt: skip
    problem = matrix_product((draw(st.integers(1, 6)), draw(st.integers(1, 6))), meshes)
    levels = {}
    for depth, name in enumerate(problem.design.architecture.names):
        some = draw(st.lists(st.sampled_from(TENSORS), unique=True))
        levels[name] = LevelConstraints(
            temporal=draw(limits), spatial=draw(limits) if problem.design.architecture.fanout(depth) != (1, 1) else {},
            inner=tuple(draw(st.lists(st.sampled_from(RANKS), unique=True))),
            axes=draw(st.dictionaries(st.sampled_from(RANKS), st.sampled_from("XY"))),
            keep=frozenset(some[:1]), bypass=frozenset(some[1:]) if depth else frozenset(),
        )  # fmt: skip
    return problem, Constraints(levels), draw(st.booleans())


limits = st.dictionaries(
    st.sampled_from(RANKS),
    st.sampled_from([Limit(whole=True), Limit.exactly(1), Limit.exactly(2), Limit(1, 2), Limit(1, 3), Limit(2, None)]),
    max_size=1,
)


@settings(max_examples=150, deadline=None)
@given(spaces())
def test_the_mapspace_is_what_trying_everything_finds(drawn) -> None:
    problem, constraints, imperfect = drawn
    empty = object.__new__(Mapspace)
    for name, value in (("problem", problem), ("constraints", constraints), ("imperfect", imperfect)):
        object.__setattr__(empty, name, value)
    expected = {canonical(mapping) for mapping in every_mapping(empty)}
    try:
        space = Mapspace(problem, constraints, imperfect)
    except MappingError:
        assert not expected
        return
    found = [canonical(mapping) for mapping in listed(space)]
    assert len(found) == len(set(found)) == space.size
    assert set(found) == expected


@settings(max_examples=100, deadline=None)
@given(spaces(), st.data())
def test_violations_are_named_exactly_where_a_mapping_is_outside(drawn, data) -> None:
    problem, constraints, imperfect = drawn
    try:
        space = Mapspace(problem, constraints, imperfect)
    except MappingError:
        return
    wide = listed(Mapspace(problem, Constraints(), imperfect))
    mapping = data.draw(st.sampled_from(wide))
    assert (not violations(space, mapping)) == allowed(mapping, constraints, problem.workload.shape)


def test_chains_of_a_prime_leave_no_iteration_without_work() -> None:
    found = chains(7, [(1, 7), (1, 3)], imperfect=True)
    assert found.tolist() == [[7, 1], [4, 2], [3, 3]]
    assert chains(7, [(1, 7), (1, 3)], imperfect=False).tolist() == [[7, 1]]


def test_a_rank_without_any_bounds_says_which_constraints_meet() -> None:
    problem = matrix_product((7, 4), [(1, 1), (1, 1), (1, 1)])
    constraints = Constraints(
        {"A": LevelConstraints(temporal={"M": Limit(1, 2)}), "B": LevelConstraints(temporal={"M": Limit(1, 3)})}
    )
    with pytest.raises(MappingError) as error:
        Mapspace(problem, constraints)
    assert "rank M: no perfect bounds cover its 7 coordinates within A temporal 1..2; B temporal 1..3" in str(
        error.value
    )


def test_a_limit_that_no_bound_meets_is_refused() -> None:
    with pytest.raises(InputError, match="at least 4 and at most 2"):
        Limit(4, 2)


def test_a_rank_with_too_many_bounds_is_refused_before_they_are_listed() -> None:
    problem = matrix_product((5040, 1), [(1, 1)] * 9, "ABCDEFGH")
    with pytest.raises(MappingError, match="rank M: 5040 coordinates can be covered in more than 1,000,000 ways"):
        Mapspace(problem, imperfect=True)
