"""Equality with the oracle is worth what it notices: each bug planted here in the model must break it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from numpy.typing import NDArray
from tests.generators import Case, cases, with_actual_data
from tests.model.counts import differences
from tests.model.seldom import SELDOM, seldom

from sparseloom.arch.features import SKIPPING
from sparseloom.fibertree.format import Format
from sparseloom.memory import forget
from sparseloom.model import edge as edges
from sparseloom.model import events, lanewalk, occupancy, path, sparse
from sparseloom.model.evaluate import evaluate
from sparseloom.sim.loopnest import Execution, draw_tensors, execute

GENERATED = 50
Plant = Callable[[pytest.MonkeyPatch], None]


@cache
def executed() -> tuple[tuple[Case, Execution], ...]:
    """Cases with known tensors, always the same, and what the oracle counts of them: seldom ones and generated ones."""
    found = [(known, execute(known.workload, known.design, known.mapping, values)) for known, values in _seldom()]

    @seed(1)
    @settings(
        max_examples=3 * GENERATED,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(max_points=60, max_levels=3, lanes=True))
    def collect(drawn: Case) -> None:
        if len(found) == GENERATED + 2 * len(SELDOM) or not drawn.design.features.safs:
            return
        tensors = draw_tensors(drawn.workload, np.random.default_rng(len(found)))
        known = with_actual_data(drawn, tensors)
        found.append((known, execute(known.workload, known.design, known.mapping, tensors)))

    collect()
    return tuple(found)


def _seldom() -> Iterator[tuple[Case, dict[str, NDArray[np.int64]]]]:
    return chain.from_iterable(islice(seldom(name), 2, 4) for name in SELDOM)


def unequal() -> bool:
    """Whether the model differs from the oracle in any case."""
    return any(differences(evaluate(case.workload, case.design, case.mapping), run) for case, run in executed())


def overlap_is_one_short(patch: pytest.MonkeyPatch) -> None:
    def short(rows: events.Rows) -> edges.Box:
        low, high = np.maximum(rows.low, rows.old_low), np.minimum(rows.high, rows.old_high) - 1
        return low, np.where((high > low).all(axis=0), high, low)

    patch.setattr(events.Rows, "overlap", property(short))


def last_tiles_are_full(patch: pytest.MonkeyPatch) -> None:
    def full(nest: events.IntArray, low: events.IntArray, free: list[int], size: int) -> events.IntArray:
        return low + sum((nest[events.BOUND, i] - 1) * nest[events.STEP, i] for i in free)

    patch.setattr(events, "_furthest", full)


def receivers_never_share(patch: pytest.MonkeyPatch) -> None:
    edge = path.Edge
    patch.setattr(path, "Edge", lambda *shape: replace(edge(*shape), merge=False))


def first_visits_are_not_elided(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(events.Rows, "first_groups", property(lambda rows: np.zeros_like(rows.groups)))
    patch.setattr(events.Rows, "first_receivers", property(lambda rows: np.zeros_like(rows.receivers)))


def gating_is_skipping(patch: pytest.MonkeyPatch) -> None:
    judge = path.Judge
    patch.setattr(path, "Judge", lambda kind, *rest: judge(SKIPPING, *rest))


def outer_features_do_not_matter(patch: pytest.MonkeyPatch) -> None:
    whole = path.Path
    patch.setattr(
        path, "Path", lambda tensor, edge, judges, outer, *rest, **more: whole(tensor, edge, judges, (), *rest, **more)
    )


def leader_tile_forgets_the_period(patch: pytest.MonkeyPatch) -> None:
    def inside(edge: edges.Edge, nest: events.IntArray, d: int) -> list[int]:
        loops = [i for i in range(nest.shape[1]) if nest[events.RANK, i] == d]
        merged = edge.merge and not edge.indexes(d)
        return [i for i in loops if nest[events.LEVEL, i] >= edge.child or (merged and edge.between(nest, i))]

    patch.setattr(edges.Edge, "free", inside)


def upper_ranks_always_move(patch: pytest.MonkeyPatch) -> None:
    def never(form: Format, names: tuple[str, ...], rows: sparse.Rows) -> sparse.IntArray:
        return np.zeros((len(form.ranks) - 1, rows.groups.size), np.int64)

    patch.setattr(sparse, "_unchanged", never)


def transfers_of_a_step_take_blocks_of_their_own(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        sparse, "shared_blocks", lambda density, compressed, piece, words, block_words, *_, **__: occupancy.own_blocks(
            density, compressed, piece, words, block_words
        )
    )  # fmt: skip


def receivers_are_judged_with_their_group(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sparse.Path, "each", property(lambda path: False))


def lanes_that_nobody_needs_are_there(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lanewalk, "thinned", lambda problem: ())


def all_nonzeros_fit_one_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lanewalk._Packing, "turn", property(lambda packing: packing.number * 0))


def words_keep_their_lanes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lanewalk.LaneWalk, "packings", {})


def what_passes_through_is_served_to_each_receiver(patch: pytest.MonkeyPatch) -> None:
    through = sparse.Path.through
    patch.setattr(sparse.Path, "through", lambda path, level, alone: through(path, level, True))


def test_model_without_a_bug_equals_the_oracle() -> None:
    assert len(executed()) == GENERATED + 2 * len(SELDOM)
    assert not unequal()


@pytest.mark.parametrize(
    "plant",
    [
        overlap_is_one_short,
        last_tiles_are_full,
        receivers_never_share,
        first_visits_are_not_elided,
        gating_is_skipping,
        outer_features_do_not_matter,
        leader_tile_forgets_the_period,
        upper_ranks_always_move,
        transfers_of_a_step_take_blocks_of_their_own,
        receivers_are_judged_with_their_group,
        lanes_that_nobody_needs_are_there,
        all_nonzeros_fit_one_pass,
        words_keep_their_lanes,
        what_passes_through_is_served_to_each_receiver,
    ],
    ids=lambda plant: plant.__name__,
)
def test_planted_bug_is_noticed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    executed()  # the oracle's counts are those of the whole program
    plant(monkeypatch)
    forget()
    try:
        assert unequal()
    finally:
        forget()  # what the bug left is not for other tests
