"""Mappings that are one to an edge have the very numbers that each of them has alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.search.test_mapper import nests, spaces, windows

from sparseloom import case as cases_of_files
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import Tree
from sparseloom.model.batch import in_chunks, joined
from sparseloom.model.classes import MANY
from sparseloom.model.gather import Moved

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
    together, apart = (joined(list(in_chunks(problem, batch, size))) for size in (len(batch), MANY - 1))
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
