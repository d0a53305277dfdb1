"""How much of the pruning is in force in each epoch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.errors import InputError
from sparseloom.prune.schedule import ONCE, WAYS, Schedule

SPREAD = ("gradual", "incremental", "layerwise", "penalty")


def shares(schedule: Schedule, layers: int, epochs: int) -> list[list[float]]:
    return [[schedule.share(epoch, layer, layers) for layer in range(layers)] for epoch in range(epochs)]


@pytest.mark.parametrize("way", ["once", "fixed"])
def test_once_and_fixed_prune_everything_before_the_first_epoch(way: str) -> None:
    schedule = Schedule(way)
    assert not schedule.spreads
    assert shares(schedule, 3, 2) == [[1.0] * 3] * 2


@pytest.mark.parametrize("way", ["gradual", "incremental"])
@given(epochs=st.integers(1, 12), layers=st.integers(1, 4))
def test_gradual_and_incremental_add_an_equal_share_each_epoch(way: str, epochs: int, layers: int) -> None:
    found = shares(Schedule(way, epochs), layers, epochs + 2)
    for epoch, row in enumerate(found):
        assert row == pytest.approx([min((epoch + 1) / epochs, 1.0)] * layers)
    assert found[epochs - 1] == found[epochs] == [1.0] * layers


@given(epochs=st.integers(1, 12), layers=st.integers(1, 30))
def test_layers_are_pruned_whole_one_after_another_the_first_one_first(epochs: int, layers: int) -> None:
    found = shares(Schedule("layerwise", epochs), layers, epochs)
    assert all(share in (0.0, 1.0) for row in found for share in row)
    assert all(row == sorted(row, reverse=True) for row in found)  # no layer before one in front of it
    pruned = [sum(row) for row in found]
    assert pruned == sorted(pruned)  # none comes back
    assert found[0][0] == 1.0
    assert found[-1] == [1.0] * layers
    steps = [after - before for before, after in zip([0.0, *pruned], pruned, strict=False)]
    assert max(steps) - min(steps) <= 1  # evenly over the epochs


def test_two_layers_over_four_epochs() -> None:
    assert shares(Schedule("layerwise", 4), 2, 4) == [[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]]


@given(epochs=st.integers(1, 12))
def test_a_penalty_removes_everything_after_its_epochs(epochs: int) -> None:
    found = shares(Schedule("penalty", epochs), 2, epochs + 2)
    assert found == [[0.0, 0.0]] * epochs + [[1.0, 1.0]] * 2


@given(way=st.sampled_from(sorted(WAYS)), epochs=st.integers(1, 12), layers=st.integers(1, 6))
def test_no_way_takes_pruning_back_and_all_are_whole_in_the_end(way: str, epochs: int, layers: int) -> None:
    found = shares(Schedule(way, epochs), layers, epochs + 1)
    for layer in range(layers):
        column = [row[layer] for row in found]
        assert column == sorted(column)
        assert 0 <= column[0] <= column[-1] == 1.0


@pytest.mark.parametrize("way", SPREAD)
@pytest.mark.parametrize("epochs", [0, -1])
def test_a_way_over_epochs_needs_one(way: str, epochs: int) -> None:
    assert Schedule(way, 1).spreads
    with pytest.raises(InputError, match=f"{way} pruning over {epochs} epochs") as caught:
        Schedule(way, epochs)
    assert caught.value.faults[0].path == "prune_epochs"
    assert caught.value.faults[0].fix


def test_an_unknown_way_is_answered_with_the_one_meant() -> None:
    with pytest.raises(InputError) as caught:
        Schedule("gradaul", 3)
    assert "no schedule is called 'gradaul'" in str(caught.value)
    assert "did you mean 'gradual'?" in str(caught.value)


def test_all_faults_of_a_schedule_come_together() -> None:
    with pytest.raises(InputError) as caught:
        Schedule("gradaul", 0, -1.0)
    assert [fault.path for fault in caught.value.faults] == ["schedule", "prune_epochs", "penalty"]


def test_no_penalty_is_allowed_a_negative_one_is_not() -> None:
    assert Schedule("penalty", 1, 0.0).penalty == 0
    with pytest.raises(InputError, match="the penalty is -1"):
        Schedule("penalty", 1, -1.0)


def test_the_usual_schedule_is_once() -> None:
    assert Schedule() == ONCE
    assert ONCE.way == "once"
    assert set(WAYS) == {"once", "gradual", "incremental", "layerwise", "penalty", "fixed"}
