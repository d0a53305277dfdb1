"""Choices of one node of each rank against going through all of them, and groups of nodes against their members."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sparseloom.arch.design import Design
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.errors import MappingError
from sparseloom.mapping import steps
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.choices import all_choices
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.nodes import Groups
from sparseloom.mapping.prefixes import Tree
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.workload import Workload


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Trees of products on two levels with lanes between them, with perfect and imperfect bounds."""
    shape = {rank: draw(st.integers(1, 9)) for rank in "MKN"}
    mesh = draw(st.sampled_from([(1, 1), (2, 1), (2, 3), (4, 2)]))
    levels = (StorageLevel("A"), StorageLevel("B", mesh_x=mesh[0], mesh_y=mesh[1]))
    design = Design(Architecture(levels, ComputeLevel("mac", mesh_x=mesh[0], mesh_y=mesh[1])))
    workload = Workload(Einsum.parse("Z[m,n] = A[m,k] * B[k,n]"), shape)
    try:
        return Tree(Mapspace(Problem(workload, design), imperfect=draw(st.booleans())))
    except MappingError:
        assume(False)
        raise


@settings(max_examples=60, deadline=None)
@given(trees(), st.integers(1, 50), st.data())
def test_all_choices_within_the_fan_out_are_made_once_and_in_order(tree: Tree, most: int, data: st.DataObject) -> None:
    stage = data.draw(st.integers(0, len(tree.stages)))
    ranks, fanout = tree.ranks(stage), data.draw(st.sampled_from([(1, 1), (2, 2), (4, 1), (8, 8)]))
    spans = [
        [sorted(data.draw(st.tuples(st.integers(0, len(rank.tile)), st.integers(0, len(rank.tile))))) for rank in ranks]
        for _ in range(data.draw(st.integers(0, 3)))
    ]
    low, high = (np.array([[span[side] for span in row] for row in spans]).reshape(-1, len(ranks)).T for side in (0, 1))
    found = [
        (int(row), *nodes)
        for rows, picked in all_choices(low, high, ranks, fanout, most)
        for row, nodes in zip(rows, picked.T.tolist(), strict=True)
    ]
    expected = []
    for n, row in enumerate(spans):
        for nodes in product(*(range(*span) for span in row)):
            lanes = np.prod([rank.bounds[node, 1:] for rank, node in zip(ranks, nodes, strict=True)], axis=0)
            if (lanes <= fanout).all():
                expected.append((n, *nodes))
    assert found == expected


@settings(max_examples=60, deadline=None)
@given(trees(), st.integers(1, 64))
def test_a_group_has_the_least_of_its_members_and_each_node_is_in_one_group_of_its_parent(
    tree: Tree, most: int
) -> None:
    before, limit = steps.EXACT, steps.MOST_POINTS
    steps.EXACT, steps.MOST_POINTS = 1, most
    try:
        temporal = [stage for stage, (_, spatial) in enumerate(tree.stages) if not spatial]
        for stage in temporal:
            for parents, nodes in zip(tree.ranks(stage), tree.ranks(stage + 1), strict=True):
                groups = Groups.of(parents, nodes)
                assert groups.first[-1] == len(nodes.tile)
                assert (groups.first[groups.begin] == parents.begin).all()
                for g, (start, stop) in enumerate(zip(groups.first[:-1], groups.first[1:], strict=True)):
                    members = slice(start, stop)
                    for name in ("sure", "points", "whole"):
                        assert getattr(groups.least, name)[g] == getattr(nodes, name)[members].min()
                    for name in ("number", "turned"):
                        assert (getattr(nodes, name)[members] == getattr(groups.least, name)[g]).all()
    finally:
        steps.EXACT, steps.MOST_POINTS = before, limit
