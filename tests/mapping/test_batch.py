"""Arrays that are no mappings are refused before any kernel sees them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import sparseloom as sl
from sparseloom.errors import MappingError, WorkloadError
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.model.batch import evaluate_batch

WORKLOAD = sl.Workload(sl.Einsum.parse("Z[m] = A[m,k]"), {"M": 4, "K": 6})
PROBLEM = Problem(
    WORKLOAD, sl.Design(sl.Architecture((sl.StorageLevel("L0"), sl.StorageLevel("L1")), sl.ComputeLevel("MAC")))
)
NEST = Mapping(
    (
        LevelMapping("L0", (Loop("M", 4), Loop("K", 2)), keep=frozenset("AZ")),
        LevelMapping("L1", (Loop("K", 3),), keep=frozenset("A")),
    )
)
BATCH = MappingBatch.of(PROBLEM, [NEST, NEST])


def changed(name: str, slot: int, value: int) -> MappingBatch:
    values = getattr(BATCH, name).copy()
    values[1, slot] = value
    return replace(BATCH, **{name: values})


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (changed("rank", 0, 7), "mapping 1, slot 0: rank is 7"),
        (changed("rank", 0, -1), "mapping 1, slot 0: rank is -1"),
        (changed("place", 2, 6), "mapping 1, slot 2: place is 6"),
        (changed("place", 0, -3), "mapping 1, slot 0: place is -3"),
        (changed("place", 0, 3), "mapping 1, slot 1: place is 0"),
        (changed("bound", 1, 0), "mapping 1, slot 1: bound is 0"),
        (changed("bound", 2, 2), "a mapping's bounds of rank K make 2 x 2 = 4, its shape is 6"),
        (replace(BATCH, rank=BATCH.rank[:1]), "rank, bound and place have shapes"),
        (replace(BATCH, keep=BATCH.keep[:1]), "keep has shape .*, there are 2 levels and 2 tensors"),
        (replace(BATCH, keep=np.zeros_like(BATCH.keep)), "A is not kept at the outermost level, L0"),
    ],
)
def test_arrays_that_are_no_mappings_are_refused(batch: MappingBatch, said: str) -> None:
    with pytest.raises(MappingError, match=said):
        evaluate_batch(PROBLEM, batch)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda nest: Mapping(nest.levels[::-1]), "mapping 1 has levels L1, L0"),
        (lambda nest: Mapping((replace(nest.levels[0], temporal=(Loop("J", 4),)), nest.levels[1])), "over rank J"),
        (
            lambda nest: Mapping((nest.levels[0], replace(nest.levels[1], keep=frozenset("Z")))),
            "keeps or streams other",
        ),
    ],
)
def test_mappings_that_make_no_batch_are_refused(change: Callable[[Mapping], Mapping], said: str) -> None:
    with pytest.raises(MappingError, match=said):
        MappingBatch.of(PROBLEM, [NEST, change(NEST)])


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(MappingError, match="a batch of no mappings"):
        MappingBatch.of(PROBLEM, [])


def test_a_batch_refuses_densities_that_depend_on_coordinates() -> None:
    known = replace(WORKLOAD, densities={"A": sl.ActualData(np.ones((4, 6), bool))})
    with pytest.raises(WorkloadError, match="the density of A depends on coordinates"):
        evaluate_batch(replace(PROBLEM, workload=known), BATCH)


def test_a_mapping_of_a_batch_is_the_one_it_was_made_of() -> None:
    assert BATCH.mapping(PROBLEM, 1) == NEST
