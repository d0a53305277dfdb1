"""Table 4.2: what is counted, on a small network; no time is asserted."""

from __future__ import annotations

import numpy as np
import pytest

from sparseloom.designs.load import constraints, load
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import Tree
from sparseloom.model.batch import evaluate_batch
from sparseloom.report import speed as speeds
from sparseloom.report.speed import DESIGNS, clock_hz, limits, speed
from sparseloom.report.study import study
from sparseloom.search.mapper import best_mapping
from sparseloom.search.network import Setting, tasks
from sparseloom.search.walk import walk
from sparseloom.workload import zoo

HERTZ = 1e9


def spaces(design: str) -> list[Mapspace]:
    setting = Setting(load(design), constraints(design).widened())
    return [setting.space(task.layer) for task in tasks(zoo.load("lenet5"), setting)]


@pytest.mark.parametrize("design", DESIGNS)
def test_a_walk_counts_every_valid_mapping_and_finds_the_best(design) -> None:
    for space in spaces(design):
        batches = [batch for keep in space.keeps for batch in Tree(space).mappings(keep)]
        valid = sum(int(evaluate_batch(space.problem, batch).valid.sum()) for batch in batches)
        found = walk(space, most=10**9)
        assert found.valid == valid
        assert found.evaluated <= sum(map(len, batches))
        assert found.value == pytest.approx(best_mapping(space).value, rel=1e-12)
        assert found.mapping is not None


def test_a_walk_ends_at_the_most_that_it_may_evaluate() -> None:
    space = max(spaces("eyeriss"), key=lambda each: each.size)
    assert walk(space, most=7).evaluated == 7


@pytest.mark.parametrize("design", DESIGNS)
def test_computes_are_those_of_distinct_layers_times_their_valid_mappings(design) -> None:
    network = zoo.load("lenet5")
    found = speed(design, "lenet5", HERTZ, most=500)
    setting = Setting(load(design), limits(design))
    own = tasks(network, setting)
    walked = [walk(setting.space(task.layer), most=500) for task in own]
    assert found.layers == len(own)
    assert found.whole == network.computes
    assert found.valid == sum(each.valid for each in walked)
    assert found.computes == sum(each.valid * task.layer.computes for each, task in zip(walked, own, strict=True))
    assert found.all_computes == sum(each.evaluated * task.useful for each, task in zip(walked, own, strict=True))
    assert found.cycles > 0
    assert found.single_cycles > 0
    assert found.rate == found.computes / found.cycles


def test_the_slower_length_of_sequences_is_the_cell(monkeypatch) -> None:
    rates = {"short": 2.0, "long": 3.0, "net": 5.0}
    rates[speeds.WARM_UP] = 1.0
    made = {name: speeds.Speed(1, 1, 1, rate, 4 * rate, 6 * rate, 1.0, 1.0) for name, rate in rates.items()}
    monkeypatch.setattr(
        speeds,
        "NETWORKS",
        {"resnet50": ("net",), "bert-base": ("short", "long"), "vgg16": ("net",), "alexnet": ("net",)},
    )
    monkeypatch.setattr(speeds, "speed", lambda design, network, hertz: made[network])
    monkeypatch.setattr(speeds, "clock_hz", lambda: HERTZ)
    ours = {each.what: each.ours for each in study("tab4-2").findings}
    assert ours["bert-base on eyeriss, computes per host cycle"] == 2.0
    assert ours["geometric mean of the twelve cells"] == pytest.approx(np.prod([5, 2, 5, 5]) ** 0.25)


def test_the_clock_is_at_least_what_the_system_states(monkeypatch, tmp_path) -> None:
    (tmp_path / "cpuinfo").write_text("cpu MHz\t\t: 1000.5\ncpu MHz\t\t: 9999000.0\n")
    monkeypatch.setattr(speeds, "CPUINFO", tmp_path / "cpuinfo")
    assert clock_hz() == 9999000.0 * 1e6
    monkeypatch.setattr(speeds, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(speeds, "_measured_hz", lambda: 5.0)
    assert clock_hz() == 5.0
