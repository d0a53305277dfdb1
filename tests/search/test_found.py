"""Mappings that were found before: evaluated anew, and not taken where anything has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.digest import digest
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.search.comparison import Contender, Outcome, compare, runs
from sparseloom.search.found import Found, key
from sparseloom.search.network import map_layer
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

NETWORK = Network("one", "made by hand", (Layer.linear("fc", rows=64, inputs=128, outputs=64),))


def todo(node_nm: float = 45, weights: str = "C0(2:4)"):
    technology = Technology(node_nm)
    contender = Contender.at(load("stc"), constraints("stc"), technology)
    [orders], _ = runs(NETWORK, contender, Sparsity.parse(weights), Sparsity(0.5), "edp", 20)
    return orders


@pytest.fixture(scope="module")
def searched() -> Outcome:
    [found] = compare([todo()])
    assert isinstance(found, Outcome)
    return found


@pytest.fixture(scope="module")
def store(searched, tmp_path_factory) -> Found:
    path = tmp_path_factory.mktemp("found") / "found.json"
    Found().with_([(todo(), searched)]).write(path)
    return Found.read(path)


def test_kinds_that_are_alike_are_searched_once_and_each_has_its_own_outcome(searched, monkeypatch) -> None:
    counted = list[str]()

    def search(setting, layer):
        counted.append(layer.name)
        return map_layer(setting, layer)

    monkeypatch.setattr("sparseloom.search.comparison.map_layer", search)
    other = [replace(run, names=("other",), layer=replace(run.layer, name="other")) for run in todo()]
    found = dict(Found().or_searched([todo(), other]))
    assert set(counted) == {"fc"}
    assert [each.run.names for each in (found[0], found[1])] == [("fc",), ("other",)]
    assert found[0].result == searched.result
    assert (found[1].result.cycles, found[1].result.energy_pj) == (searched.result.cycles, searched.result.energy_pj)


def test_what_is_known_is_not_searched(store, searched, monkeypatch) -> None:
    monkeypatch.setattr("sparseloom.search.comparison.map_layer", None)
    [(number, found)] = store.or_searched([todo()])
    assert (number, found.result) == (0, searched.result)


def test_what_was_found_is_found_again_with_its_proof(store, searched) -> None:
    again = store.known(todo())
    assert again is not None
    assert again.result == searched.result
    assert again.best.mapping == searched.best.mapping
    assert (again.best.value, again.best.proven) == (searched.best.value, True)


def test_another_node_pattern_or_budget(store) -> None:
    assert store.known(todo(node_nm=65)) is None
    assert store.known(todo(weights="dense")) is None
    longer = [replace(run, setting=replace(run.setting, budget_s=99.0)) for run in todo()]
    assert store.known(longer) is not None


def test_an_entry_that_evaluates_to_something_else_is_not_taken(store) -> None:
    [(name, entry)] = store.entries.items()
    assert Found({name: {**entry, "value": 0.5 * entry["value"]}}).known(todo()) is None
    assert Found({name: {**entry, "mapping": "mapping: []"}}).known(todo()) is None


def test_a_store_that_is_not_there_is_empty(tmp_path) -> None:
    assert Found.read(tmp_path / "none.json").entries == {}


def test_the_key_is_the_same_in_every_process() -> None:
    code = (
        "from tests.search.test_found import key, todo\n"
        "from sparseloom.digest import digest\n"
        "print(key(todo()), digest(frozenset('abc'), {'x': frozenset('de')}))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": ".:src"},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert printed == {f"{key(todo())} {digest(frozenset('abc'), {'x': frozenset('de')})}\n"}


def test_every_shipped_entry_is_whole() -> None:
    entries = Found.read().entries
    assert len(entries) > 100
    assert all(entry["bound"] <= entry["value"] * (1 + 1e-12) for entry in entries.values())
    assert json.loads(json.dumps(entries))
