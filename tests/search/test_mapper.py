"""The search against the evaluation of every mapping of the mapspace."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.generators import cases

from sparseloom import case as cases_of
from sparseloom import designs
from sparseloom.arch.actions import EnergyTable
from sparseloom.arch.banks import Banks
from sparseloom.arch.design import Design
from sparseloom.arch.features import Features, Saf
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, Network, StorageLevel
from sparseloom.errors import InputError, MappingError
from sparseloom.fibertree.density import Uniform
from sparseloom.fibertree.format import Format
from sparseloom.mapping import steps
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.constraints import Constraints, LevelConstraints, Limit
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import Tree
from sparseloom.mapping.violations import violations
from sparseloom.model.batch import evaluate_batch, in_chunks
from sparseloom.model.evaluate import evaluate
from sparseloom.model.prefix import Cost
from sparseloom.search.explain import misfits, needs
from sparseloom.search.mapper import Search, _Part, best_mapping
from sparseloom.search.network import Setting, tasks
from sparseloom.search.objective import OBJECTIVES, Objective
from sparseloom.search.walk import walk
from sparseloom.workload import zoo
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.workload import Workload


@st.composite
def spaces(draw, lanes=False, plain=False):
    """Mapspaces of random designs, with sparse features unless ``plain``, of some thousand mappings at most."""
    case = draw(cases(densities=("dense", "uniform"), max_levels=3, max_points=60, lanes=lanes, plain=plain))
    problem = Problem(case.workload, case.design)
    levels = {}
    for depth, (level, mapped) in enumerate(zip(case.design.architecture.levels, case.mapping.levels, strict=True)):
        temporal = {rank: Limit.exactly(1) for rank in problem.ranks if depth and draw(st.booleans())}
        spatial = {rank: Limit(1, draw(st.integers(1, 3))) for rank in problem.ranks if draw(st.booleans())}
        inner = tuple(draw(st.permutations(problem.ranks))) if draw(st.booleans()) else ()
        bypass = frozenset(problem.tensors) - mapped.keep if draw(st.booleans()) else frozenset()
        levels[level.name] = LevelConstraints(temporal, spatial, inner, keep=mapped.keep, bypass=bypass)
    try:
        space = Mapspace(problem, Constraints(levels), draw(st.booleans()))
    except MappingError:
        assume(False)
    # lanes that take other work are walked one by one
    assume(space.size <= (500 if lanes else 3000))
    return space


def found(space: Mapspace, goal: Objective) -> tuple[float, ...]:
    """What a search finds and proves, evaluated as the mappings are that it is compared with."""
    best = best_mapping(space, goal)
    assert best.proven
    if best.mapping is None:
        return (math.inf,) * 3
    one = evaluate_batch(space.problem, MappingBatch.of(space.problem, [best.mapping]))
    return tuple(float(key[0]) for key in goal.keys(one.energy_pj, one.cycles))


def best_of_all(space: Mapspace, goal: Objective) -> tuple[float, ...]:
    best = (math.inf,) * 3
    for keep in space.keeps:
        for batch in Tree(space).mappings(keep):
            for some in in_chunks(space.problem, batch):
                keys = np.array(goal.keys(some.energy_pj, some.cycles))[:, some.valid]
                best = min([best, *map(tuple, keys.T.tolist())])
    return best


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(spaces(), st.sampled_from(sorted(OBJECTIVES)))
def test_the_search_finds_the_best_of_all_mappings_and_knows_it(space, name) -> None:
    assert found(space, OBJECTIVES[name]) == best_of_all(space, OBJECTIVES[name])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(spaces(lanes=True), st.sampled_from(sorted(OBJECTIVES)))
def test_the_search_finds_the_best_where_work_moves_between_lanes(space, name) -> None:
    assert found(space, OBJECTIVES[name]) == best_of_all(space, OBJECTIVES[name])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(spaces(plain=True), st.sampled_from(sorted(OBJECTIVES)))
def test_the_search_finds_the_best_where_prefixes_can_be_compared(space, name) -> None:
    best = best_mapping(space, name)
    assert (best.value, best.energy_pj, best.cycles)[0] == pytest.approx(
        best_of_all(space, OBJECTIVES[name])[0], rel=1e-12
    )
    assert best.proven


@st.composite
def windows(draw):
    """Mapspaces of sliding windows whose tiles overlap, on two levels, energies all at the transfers between them."""
    index = draw(st.sampled_from(["p+r", "2*p+r", "p+2*r"]))
    shape = {"M": draw(st.integers(1, 8)), "P": draw(st.integers(1, 4)), "R": draw(st.integers(1, 4))}
    fan = draw(st.sampled_from([1, 2, 4]))
    network = Network(draw(st.booleans()), draw(st.booleans()))
    transfers = EnergyTable({"read": 1.0, "fill": 1.0, "update": 1.0})
    levels = (
        StorageLevel("A", energy=transfers, network=network),
        StorageLevel("B", energy=EnergyTable({"fill": 1.0}), mesh_x=fan),
    )
    workload = Workload(Einsum.parse(f"O[m,p] = I[{index}] * W[m,r]"), shape)
    problem = Problem(workload, Design(Architecture(levels, ComputeLevel("mac", mesh_x=fan))))
    constraints = Constraints({"B": LevelConstraints(dict.fromkeys("MP", Limit.exactly(1)), keep=frozenset("I"))})
    try:
        return Mapspace(problem, constraints, draw(st.booleans()))
    except MappingError:
        assume(False)


EINSUMS = (
    "Z[m,n] = A[m,k] * B[k,n]",
    "O[m,p] = I[c,p] * W[m,c]",
    "O[p,m] = I[p+r] * W[m,r]",
    "Z[b,m] = A[b,m,k] * B[b,k]",
    "Z[m,n] = A[m+2*k] * B[k,n]",
)


@st.composite
def nests(draw):
    """Mapspaces that are decided by tiles: three levels with little room, lanes between them, and bypass left open."""
    einsum = Einsum.parse(draw(st.sampled_from(EINSUMS)))
    shape = {rank: draw(st.sampled_from([1, 2, 3, 4, 5, 6, 8])) for rank in einsum.ranks}
    prices = st.sampled_from([0.0, 0.5, 1.0, 4.0, 16.0])

    def energy():
        return EnergyTable({action: draw(prices) for action in ("read", "fill", "update")})

    def network():
        return Network(draw(st.booleans()), draw(st.booleans()))

    fans = [draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (2, 2), (3, 1), (4, 2)])) for _ in range(2)]
    mesh = [(1, 1), fans[0], (fans[0][0] * fans[1][0], fans[0][1] * fans[1][1])]
    rates = st.sampled_from([None, None, 1.0, 0.5])
    levels = (
        StorageLevel("A", energy=energy(), network=network(), read_words_per_cycle=draw(rates)),
        StorageLevel(
            "B", energy=energy(), network=network(), mesh_x=mesh[1][0], mesh_y=mesh[1][1],
            capacity_words=draw(st.sampled_from([None, 6, 12])), read_words_per_cycle=draw(rates),
        ),
        StorageLevel(
            "C", energy=energy(), network=network(), mesh_x=mesh[1][0], mesh_y=mesh[1][1],
            capacity_words=draw(st.sampled_from([2, 4, 8])),
        ),
    )  # fmt: skip
    compute = ComputeLevel("mac", mesh_x=mesh[2][0], mesh_y=mesh[2][1], energy=EnergyTable({"compute": 1.0}))
    densities = {
        tensor.name: Uniform(tensor.shape(shape), draw(st.sampled_from([0.25, 0.5, 1.0]))) for tensor in einsum.operands
    }
    a, b = (tensor.name for tensor in einsum.operands)
    safs = (Saf("C", draw(st.sampled_from(["gating", "skipping"])), a, (b,)),) if draw(st.booleans()) else ()
    problem = Problem(Workload(einsum, shape, densities), Design(Architecture(levels, compute), Features(safs=safs)))
    constraints = {}
    for name in "ABC":
        loose = draw(st.sets(st.sampled_from(einsum.ranks)))
        temporal = {rank: Limit.exactly(1) for rank in einsum.ranks if rank not in loose} if name != "A" else {}
        inner = tuple(draw(st.permutations(einsum.ranks))) if draw(st.booleans()) else ()
        keep = frozenset(draw(st.sets(st.sampled_from(problem.tensors))))
        open_ = frozenset(draw(st.sets(st.sampled_from(problem.tensors), max_size=1)))
        bypass = frozenset(problem.tensors) - keep - open_ if name != "A" else frozenset()
        still = draw(st.sets(st.sampled_from(einsum.ranks), max_size=2)) if name != "C" else ()
        spatial = {rank: Limit.exactly(1) for rank in still}
        constraints[name] = LevelConstraints(temporal, spatial, inner, keep=keep, bypass=bypass)
    try:
        return Mapspace(problem, Constraints(constraints), draw(st.booleans()))
    except MappingError:
        assume(False)


def broken_bounds(space: Mapspace, name: str) -> list[str]:
    """Prefixes that lead to a mapping which is better than their bound."""
    state, broken = Search(Tree(space), OBJECTIVES[name]), list[str]()

    def least(part: _Part) -> np.ndarray:
        if part.stage == len(state.tree.stages):
            found = evaluate_batch(space.problem, state.tree.batch(part.prefixes, space.keeps[part.keep]))
            return np.where(found.valid, state.goal.of(found.energy_pj, found.cycles), np.inf)
        settled = state._settle(part)
        values = np.full(len(part.prefixes), np.inf)
        for _, parent, prefixes, _ in state.tree.following(part.prefixes):
            longer = _Part(part.keep, prefixes, settled.settled, settled.cost[parent], np.zeros(len(prefixes)))
            np.minimum.at(values, parent, least(longer))
        for bounds in (state._bounds(part), state._bounds(settled)):
            broken.extend(f"{part.prefixes[[k]]}: {bounds[k]} > {values[k]}" for k in np.flatnonzero(bounds > values))
        return values

    for keep in range(len(space.keeps)):
        root = _Part(keep, state.tree.root, 0, Cost.nothing(1, len(space.levels)), np.zeros(1))
        early = state._bounds(root)
        state.followed.add(keep)
        values = least(root)
        broken.extend(f"root: {early} > {values}" for _ in np.flatnonzero(early > values))
    return broken


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(spaces(), spaces(lanes=True), nests(), nests(), windows()), st.sampled_from(sorted(OBJECTIVES)))
def test_no_mapping_is_better_than_the_bound_of_any_prefix_of_it(space, name) -> None:
    assume(space.size <= 1000)
    assert broken_bounds(space, name) == []


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(spaces(), nests(), nests(), windows()), st.sampled_from(sorted(OBJECTIVES)), st.integers(8, 64))
def test_bounds_hold_where_tiles_share_points_of_a_grid(space, name, most) -> None:
    assume(space.size <= 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "MOST_POINTS", most)
        patch.setattr(steps, "EXACT", 1)
        assert broken_bounds(space, name) == []
        assert found(space, OBJECTIVES[name]) == best_of_all(space, OBJECTIVES[name])


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(nests(), st.sampled_from([0.02, 0.2, 1.0]))
def test_a_search_that_may_end_early_ends_as_near_to_its_bound_as_it_was_told(space, gap) -> None:
    best, rough = best_mapping(space, "edp"), best_mapping(space, "edp", gap=gap)
    assert rough.evaluated <= best.evaluated
    assert (rough.mapping is None) == (best.mapping is None)
    if best.mapping is not None:
        assert rough.bound <= best.value <= rough.value <= (1 + gap) * rough.bound * (1 + 1e-12)


def test_the_most_lanes_of_tiles_that_share_a_point_share_words_in_the_bound() -> None:
    table = EnergyTable({"read": 1.0, "fill": 1.0, "update": 1.0})
    levels = (
        StorageLevel("A", network=Network(True, False), energy=table),
        StorageLevel("B", mesh_x=4, energy=EnergyTable({"fill": 1.0})),
    )
    workload = Workload(Einsum.parse("O[m,p] = I[p+r] * W[m,r]"), {"M": 3, "P": 1, "R": 3})
    problem = Problem(workload, Design(Architecture(levels, ComputeLevel("mac", mesh_x=4))))
    one = Limit(1, 1)
    constraints = Constraints({"B": LevelConstraints(temporal={"M": one, "P": one}, keep=frozenset("I"))})
    space = Mapspace(problem, constraints, imperfect=True)
    assert broken_bounds(space, "energy") == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "MOST_POINTS", 8)
        patch.setattr(steps, "EXACT", 1)
        assert broken_bounds(space, "energy") == []


def test_receivers_idle_in_a_last_iteration_keep_their_tile_in_the_bound() -> None:
    levels = (StorageLevel("A", shared_words_per_cycle=0.5, network=Network(False, False)), StorageLevel("B", mesh_x=4))
    workload = Workload(Einsum.parse("Z[q] = I[q+r] * W[r]"), {"Q": 4, "R": 8})
    problem = Problem(workload, Design(Architecture(levels, ComputeLevel("mac", mesh_x=4))))
    constraints = Constraints(
        {"A": LevelConstraints(spatial={"R": Limit.exactly(1)}), "B": LevelConstraints(keep=frozenset("Z"))}
    )
    assert broken_bounds(Mapspace(problem, constraints, imperfect=True), "cycles") == []


def test_words_of_a_window_that_stay_from_its_last_position_to_the_first_are_reused_in_the_bound() -> None:
    levels = (
        StorageLevel("A", energy=EnergyTable({"read": 1.0})),
        StorageLevel("B", energy=EnergyTable({"fill": 1.0})),
    )
    workload = Workload(Einsum.parse("O[m,p] = I[p+r] * W[m,r]"), {"M": 8, "P": 2, "R": 3})
    problem = Problem(workload, Design(Architecture(levels, ComputeLevel("mac"))))
    constraints = Constraints({"B": LevelConstraints(keep=frozenset("I"), bypass=frozenset("WO"))})
    assert broken_bounds(Mapspace(problem, constraints), "energy") == []


def test_lanes_over_the_ranks_of_a_window_share_words_in_the_bound() -> None:
    levels = (
        StorageLevel("A", energy=EnergyTable({"read": 1.0}), network=Network(True, False)),
        StorageLevel("B", mesh_x=2, mesh_y=2),
    )
    workload = Workload(Einsum.parse("O[p] = I[p+r] * W[r]"), {"P": 4, "R": 2})
    problem = Problem(workload, Design(Architecture(levels, ComputeLevel("mac", mesh_x=2, mesh_y=2))))
    assert broken_bounds(Mapspace(problem), "energy") == []


def test_a_leader_without_nonzeros_leaves_no_lane_to_use() -> None:
    workload = Workload(Einsum.parse("Z[m,n] = A[m,k] * B[k,n]"), dict.fromkeys("MNK", 2), {"B": Uniform((2, 2), 0.0)})
    safs = tuple(Saf("A", "spatial-skipping", target, ("B",)) for target in "AZ")
    formats = {"A": {"A": Format.parse("U(M,K)"), "B": Format.parse("U(K,N)")}}
    level = StorageLevel("A", read_words_per_cycle=1.0, network=Network(False, False))
    design = Design(Architecture((level,), ComputeLevel("mac", mesh_y=2)), Features(formats, safs))
    space = Mapspace(Problem(workload, design))
    best = best_mapping(space, "cycles")
    assert best.proven
    assert best.cycles == evaluate(workload, design, best.mapping).cycles == best_of_all(space, OBJECTIVES["cycles"])[0]
    batches = Tree(space).mappings(space.keeps[0])
    every = (batch.mapping(space.problem, k) for batch in batches for k in range(len(batch)))
    idle = [
        each.compute
        for each in (evaluate(workload, design, mapping) for mapping in every)
        if each.compute.instances_used == 0
    ]
    assert idle
    assert all(each.cycles_mean == 0 for each in idle)


def product_of(size: int, capacity: int = 4096) -> Problem:
    """A dense matrix product on three levels and 4 x 4 units."""
    energy = {
        name: EnergyTable({"read": pj, "fill": pj, "update": pj}) for name, pj in (("D", 100.0), ("G", 5.0), ("R", 0.5))
    }
    levels = (
        StorageLevel("D", energy=energy["D"], read_words_per_cycle=4),
        StorageLevel("G", capacity_words=capacity, energy=energy["G"], read_words_per_cycle=8),
        StorageLevel("R", capacity_words=16, mesh_x=4, mesh_y=4, energy=energy["R"]),
    )
    unit = ComputeLevel("mac", mesh_x=4, mesh_y=4, energy=EnergyTable({"compute": 1.0}))
    workload = Workload(Einsum.parse("Z[m,n] = A[m,k] * B[k,n]"), dict.fromkeys("MNK", size))
    return Problem(workload, Design(Architecture(levels, unit)))


def test_an_ended_budget_leaves_a_sound_bound() -> None:
    space = Mapspace(product_of(16))
    proven = best_mapping(space)
    assert proven.proven
    short = best_mapping(space, budget_s=1e-9)
    assert short.mapping is None
    some = best_mapping(space, budget_s=0.2)
    assert some.bound <= proven.value <= some.value


def test_an_interrupt_keeps_what_was_found(monkeypatch) -> None:
    monkeypatch.setattr("sparseloom.search.mapper.WATCH_S", 0.0)
    calls = []

    def stop(best) -> None:
        calls.append(best)
        if best.mapping is not None:
            raise KeyboardInterrupt

    space = Mapspace(product_of(64))
    best = best_mapping(space, watch=stop)
    assert calls
    assert best.interrupted
    assert best.mapping is not None
    assert best.bound <= best.value


def test_what_is_found_evaluates_to_the_same_values() -> None:
    space = Mapspace(product_of(8))
    best = best_mapping(space, "energy")
    result = evaluate(space.problem.workload, space.problem.design, best.mapping)
    assert (result.energy_pj, result.cycles) == (best.energy_pj, best.cycles)


def test_a_level_that_holds_no_tile_is_named_with_the_capacity_that_would_do() -> None:
    problem = product_of(8, capacity=2)
    constraints = Constraints({"G": LevelConstraints(keep=frozenset("ABZ"), temporal={"M": Limit(2, 4)})})
    space = Mapspace(problem, constraints)
    assert best_mapping(space).mapping is None
    (fault,) = misfits(space)
    assert fault.what == "G holds 2 words; the smallest tiles that the constraints leave need 5 (A 2, B 1, Z 2)"


def test_constraints_that_alone_keep_a_tile_large_are_named() -> None:
    constraints = Constraints(
        {"G": LevelConstraints(keep=frozenset("ABZ"), temporal={"M": Limit(2, 4), "N": Limit(1, 4)})}
    )
    (fault,) = misfits(Mapspace(product_of(8, capacity=4), constraints))
    assert fault.fix == (
        "give it 5 words, or let A bypass it, or loosen one of: G temporal M 2..4, G keep A, G keep B, G keep Z"
    )


def test_levels_that_cannot_hold_their_tiles_together_are_named_with_what_each_would_need() -> None:
    # 36 = 4 * 9 leaves the least at G, 3 * 6 * 2 the least at R
    levels = (StorageLevel("D"), StorageLevel("G", capacity_words=18), StorageLevel("R", capacity_words=4))
    problem = Problem(
        Workload(Einsum.parse("Z[m] = A[m] * B[k]"), {"M": 36, "K": 1}),
        Design(Architecture(levels, ComputeLevel("mac"))),
    )
    keep = {"keep": frozenset("AZ"), "bypass": frozenset("B")}
    constraints = Constraints({
        "D": LevelConstraints({"M": Limit(1, 4)}),
        "G": LevelConstraints({"M": Limit(1, 6)}, **keep),
        "R": LevelConstraints(**keep),
    })  # fmt: skip
    space = Mapspace(problem, constraints)
    assert needs(space) == {1: 24, 2: 6}
    assert best_mapping(space).mapping is None
    (fault,) = misfits(space)
    assert fault.what.startswith(f"none of {space.size} mappings fits: each level could hold the smallest tiles")
    assert fault.fix == (
        "give G at least 24 words instead of 18; or give R at least 6 words instead of 4; or loosen one of: "
        "D temporal M 1..4, G temporal M 1..6, G keep A, G keep Z, R keep A, R keep Z"
    )
    for depth, words in needs(space).items():
        enough = tuple(replace(lv, capacity_words=int(words)) if k == depth else lv for k, lv in enumerate(levels))
        design = Design(Architecture(enough, ComputeLevel("mac")))
        assert best_mapping(Mapspace(Problem(problem.workload, design), constraints)).mapping is not None


def test_lanes_that_constraints_ask_for_in_vain_are_named() -> None:
    space = Mapspace(product_of(5), Constraints(least_parallelism=1.0))
    assert space.size == 0
    (fault,) = misfits(space)
    assert fault.what.startswith("no mapping uses lanes as the constraints ask")
    assert fault.fix == "loosen one of: the least parallelism, 1"


def test_no_time_is_no_budget() -> None:
    with pytest.raises(InputError, match="the budget is 0 s"):
        best_mapping(Mapspace(product_of(4)), budget_s=0)


def test_the_shipped_mapping_of_eyeriss_is_the_best_of_its_row_stationary_mapspace() -> None:
    case = cases_of.read(["eyeriss-alexnet-conv2"])
    one, free = Limit.exactly(1), Limit(whole=True)
    still = dict.fromkeys("NMCPQRS", one)
    constraints = Constraints({
        "DRAM": LevelConstraints(dict.fromkeys("RSP", one), inner=tuple("QNMCPSR"), keep=frozenset("IWO")),
        "shared_glb": LevelConstraints(
            {**dict.fromkeys("QRS", one), "P": free}, dict.fromkeys("CPRSN", one), tuple("MNPCSRQ"),
            axes=dict.fromkeys("QM", "X"), keep=frozenset("IO"), bypass=frozenset("W"),
        ),
        "DummyBuffer": LevelConstraints(still, {**dict.fromkeys("PQRN", one), "S": free}, axes=dict.fromkeys("SCM", "Y")),
        "ifmap_spad": LevelConstraints(still),
        "weights_spad": LevelConstraints({**dict.fromkeys("NMPQS", one), "R": free}, inner=("R", "C")),
        "psum_spad": LevelConstraints(dict.fromkeys("NCRSPQ", one)),
    })  # fmt: skip
    space = Mapspace(Problem(case.workload, case.design), constraints)
    assert not violations(space, case.mapping)
    best = best_mapping(space)
    given_ = evaluate(case.workload, case.design, case.mapping)
    assert best.proven
    assert best.value == given_.energy_pj * given_.cycles


@pytest.mark.parametrize("queue", [0, 1])
def test_the_search_finds_the_best_where_lanes_meet_in_banks(queue: int) -> None:
    """Lanes of two levels over two ranks, of which one is added up: what meets in a bank depends on which level spreads which."""
    energy = EnergyTable({"read": 1.0, "fill": 1.0, "update": 1.0})
    levels = (
        StorageLevel("A", energy=energy),
        StorageLevel("B", energy=energy, mesh_x=4, banks=Banks(2, queue)),
        StorageLevel("C", energy=energy, mesh_x=16),
    )
    workload = Workload(Einsum.parse("Z[m] = A[m,k] * B[k]"), {"M": 8, "K": 8})
    space = Mapspace(Problem(workload, Design(Architecture(levels, ComputeLevel("mac", mesh_x=16)))))
    assert found(space, OBJECTIVES["cycles"]) == best_of_all(space, OBJECTIVES["cycles"])


LARGE = (
    ("eyeriss", "conv1", 332_208),
    ("tc", "layer2.0.conv3", 418_064),
    ("stc-flexible", "layer4.0.conv2", 968_576),
)
"""Layers of ResNet-50 with imperfect bounds, every way to keep tensors that constraints leave open, and their mappings."""


@pytest.mark.parametrize("points", [steps.MOST_POINTS, 64])
@pytest.mark.parametrize(("name", "layer", "size"), LARGE)
def test_the_search_finds_the_best_of_hundreds_of_thousands(monkeypatch, name, layer, size, points) -> None:
    network = zoo.load("resnet50").with_densities({}, {"I": 0.5, "W": 0.5})
    network = replace(network, layers=tuple(replace(each, structured=frozenset("W")) for each in network.layers))
    setting = Setting(designs.load(name), designs.constraints(name), imperfect=True)
    task = next(task for task in tasks(network, setting) if layer in task.names)
    whole = walk(setting.space(task.layer), most=1_000_000)
    monkeypatch.setattr(steps, "MOST_POINTS", points)
    space = setting.space(task.layer)
    best = best_mapping(space)
    assert space.size == size
    assert best.proven
    assert best.value == pytest.approx(whole.value, rel=1e-12)
