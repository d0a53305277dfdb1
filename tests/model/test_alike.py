"""Mappings that are one to an edge have the very numbers that each of them has alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.search.test_mapper import nests, spaces, windows

from sparseloom import case as cases_of_files
from sparseloom.designs.load import load
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.constraints import NONE
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import Tree
from sparseloom.model import alike
from sparseloom.model.batch import in_chunks, joined
from sparseloom.model.classes import MANY
from sparseloom.model.gather import Moved
from sparseloom.search.network import Setting
from sparseloom.search.walk import fitting_mappings
from sparseloom.workload import zoo

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def arrays(value: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every array that a value holds, with its name."""
    if isinstance(value, Moved):
        yield name, value.table
    elif isinstance(value, np.ndarray):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from arrays(part, f"{name}.{key}")
    elif is_dataclass(value):
        for each in fields(value):
            yield from arrays(getattr(value, each.name), f"{name}.{each.name}")


def assert_alike(problem: Problem, batch: MappingBatch) -> None:
    """With few kinds by their loops, and with as few as they are by their steps."""
    apart = joined(list(in_chunks(problem, batch, MANY - 1)))
    for many in (alike.MANY, 1):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(alike, "MANY", many)
            together = joined(list(in_chunks(problem, batch, len(batch))))
        for (name, mine), (other, theirs) in zip(arrays(together), arrays(apart), strict=True):
            assert name == other
            np.testing.assert_array_equal(mine, theirs, err_msg=name)


@SETTINGS
@given(st.one_of(spaces(), spaces(lanes=True), nests(), windows()))
def test_what_is_counted_for_the_first_of_a_kind_is_what_each_has(space: Mapspace) -> None:
    for keep in space.keeps[:2]:
        for batch in islice(Tree(space).mappings(keep), 1):
            if len(batch) >= MANY:
                assert_alike(space.problem, batch[:600])


@pytest.mark.parametrize("name", ["eyeriss-alexnet-conv2", "stc-flexible-m128-k1152-n1024"])
def test_few_mappings_of_a_published_mapspace_differ_to_an_edge(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sparseloom.model import classes

    case = cases_of_files.read([name], searching=True)
    assert case.workload is not None
    assert case.design is not None
    space = Mapspace(Problem(case.workload, case.design), case.constraints)
    batch = next(iter(Tree(space).mappings(space.keeps[0])))[:3000]
    counted = []
    whole = classes.emit_batch

    def counting(some: np.ndarray, *others: Any) -> Any:
        counted.append(len(some))
        return whole(some, *others)

    monkeypatch.setattr(classes, "emit_batch", counting)
    list(in_chunks(space.problem, batch))
    assert sum(counted) < len(counted) * len(batch) / 4
    monkeypatch.undo()
    assert_alike(space.problem, batch)


@pytest.mark.parametrize("name", ["eyeriss-v2-pe", "eyeriss"])
def test_mappings_whose_steps_bring_the_same_tiles_are_one(name: str) -> None:
    """Without constraints orders differ, parts of formats are watched and windows overlap: many kinds of loops are one in steps."""
    (layer,) = (each for each in zoo.load("alexnet").layers if each.name == "conv5")
    space = Setting(load(name), NONE).space(replace(layer, densities={"I": 0.5, "W": 0.5}))
    batch = next(fitting_mappings(Tree(space), space.keeps[0]))
    assert_alike(space.problem, batch[:: len(batch) // 2000])
