"""What must hold for the oracle on any case, checked against walks over single points that know no boxes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.generators import Case, cases, features_of

from sparseloom.arch.features import Features
from sparseloom.arch.hierarchy import Network
from sparseloom.mapping.mapping import LevelMapping
from sparseloom.sim.loopnest import Execution, draw_tensors, execute
from sparseloom.workload.einsum import TensorAccess

SEEDS = st.integers(0, 2**16)
Tensors = dict[str, NDArray[Any]]


def run(case: Case, tensors: Tensors) -> Execution:
    return execute(case.workload, case.design, case.mapping, tensors)


def drawn(case: Case, seed: int) -> Tensors:
    return draw_tensors(case.workload, np.random.default_rng(seed))


def full(case: Case) -> Tensors:
    return {t.name: np.ones(case.workload.tensor_shape(t.name), dtype=int) for t in case.workload.einsum.tensors}


def with_networks(case: Case, network: Network) -> Case:
    architecture = case.design.architecture
    levels = tuple(replace(level, network=network) for level in architecture.levels)
    return replace(case, design=replace(case.design, architecture=replace(architecture, levels=levels)))


def without_features(case: Case) -> Case:
    """The case with its formats alone."""
    formats = Features(formats=case.design.features.formats)
    return replace(case, design=replace(case.design, features=formats))


def without_spatial_loops(case: Case) -> Case:
    levels = tuple(
        LevelMapping(m.level, (*m.temporal, *(replace(loop, axis="") for loop in m.spatial)), (), m.keep)
        for m in case.mapping.levels
    )
    return replace(case, mapping=replace(case.mapping, levels=levels))


def words(execution: Execution, level: str, tensor: str, action: str) -> int:
    return sum(execution.counts[level][tensor][action].values())


def stops(case: Case, tensor: str) -> list[str]:
    return [level.level for level in case.mapping.levels if tensor in level.keep]


@settings(max_examples=60)
@given(cases(), SEEDS)
def test_output_equals_the_dense_reference_whatever_is_skipped(case: Case, seed: int) -> None:
    execution = run(case, drawn(case, seed))
    assert execution.exact
    assert np.array_equal(execution.output, execution.reference)


@settings(max_examples=40)
@given(cases(), SEEDS)
def test_every_compute_has_one_outcome_and_its_cycle(case: Case, seed: int) -> None:
    execution = run(case, drawn(case, seed))
    assert sum(execution.computes.values()) == case.workload.computes
    busy = execution.computes["actual"] + execution.computes["gated"]
    assert execution.compute_cycles_busiest >= execution.compute_cycles_mean
    assert round(execution.compute_cycles_mean * execution.instances_used["MAC"]) == busy
    assert execution.cycles >= execution.compute_cycles_busiest


@settings(max_examples=40)
@given(cases(plain=True), SEEDS)
def test_words_read_once_a_receiver_are_the_words_filled(case: Case, seed: int) -> None:
    tensors = drawn(case, seed)
    each = run(with_networks(case, Network(multicast=False, spatial_reduction=False)), tensors)
    shared = run(with_networks(case, Network()), tensors)
    assert each.computes["actual"] == case.workload.computes
    for operand in case.workload.einsum.operands:
        kept = stops(case, operand.name)
        for parent, child in pairwise(kept):
            filled = words(each, child, operand.name, "fill")
            assert words(each, parent, operand.name, "read") == filled
            assert words(shared, child, operand.name, "fill") == filled
            assert words(shared, parent, operand.name, "read") <= filled
        assert words(each, kept[-1], operand.name, "read") == case.workload.computes
        assert words(shared, kept[0], operand.name, "fill") == 0


@settings(max_examples=40)
@given(cases(plain=True), SEEDS)
def test_output_words_go_up_once_more_than_they_come_down(case: Case, seed: int) -> None:
    case = without_spatial_loops(case)
    execution = run(case, drawn(case, seed))
    output = case.workload.einsum.output.name
    points = int(np.prod(case.workload.tensor_shape(output)))
    kept = stops(case, output)
    for parent, child in pairwise([*kept, ""]):
        up, down = words(execution, parent, output, "update"), words(execution, parent, output, "read")
        assert up - down == points
        assert not child or words(execution, child, output, "fill") == down
    assert words(execution, kept[-1], output, "update") == case.workload.computes


@settings(max_examples=40)
@given(cases(plain=True), SEEDS)
def test_fills_and_reads_equal_a_walk_with_sets_of_words(case: Case, seed: int) -> None:
    assume("stride or dilation" not in features_of(case))  # boxes have holes there, sets have none
    execution = run(case, drawn(case, seed))
    names = [level.level for level in case.mapping.levels]
    for tensor in case.workload.einsum.operands:
        kept = stops(case, tensor.name)
        for parent, child in pairwise(kept):
            read, filled = _walk(case, tensor, names.index(parent), names.index(child))
            assert words(execution, child, tensor.name, "fill") == filled
            assert words(execution, parent, tensor.name, "read") == read


def _points(case: Case) -> Iterator[tuple[dict[str, int], tuple[int, ...]]]:
    """Every existing point of the iteration space with the digits of its loops, as the nest runs."""
    loops = case.mapping.loops
    for digits in product(*(range(loop.bound) for loop in loops)):
        point: dict[str, int] = {}
        for loop, digit in zip(loops, digits, strict=True):
            point[loop.rank] = point.get(loop.rank, 0) * loop.bound + digit
        point = {rank: point.get(rank, 0) for rank in case.workload.ranks}
        if all(point[rank] < size for rank, size in case.workload.shape.items()):
            yield point, digits


def _walk(case: Case, tensor: TensorAccess, parent: int, child: int) -> tuple[int, int]:
    """Words read at ``parent`` and filled at ``child`` when every child holds the set of words of its last step."""
    placed = [(i, loop) for i, level in enumerate(case.mapping.levels) for loop in (*level.temporal, *level.spatial)]
    tiles: dict[tuple[int, ...], dict[tuple[int, ...], set[tuple[int, ...]]]] = {}
    for point, digits in _points(case):
        step = tuple(d for d, (i, loop) in zip(digits, placed, strict=True) if i < child and not loop.axis)
        instance = tuple(d for d, (i, loop) in zip(digits, placed, strict=True) if i < child and loop.axis)
        word = tuple(sum(term.coefficient * point[term.rank] for term in p.terms) for p in tensor.projections)
        tiles.setdefault(step, {}).setdefault(instance, set()).add(word)
    above = sum(1 for i, loop in placed if i < parent and loop.axis)
    multicast = all(level.network.multicast for level in case.design.architecture.levels[parent:child])
    held: dict[tuple[int, ...], frozenset[tuple[int, ...]]] = {}
    read = filled = 0
    for step in sorted(tiles):
        groups = set()
        for instance, tile in tiles[step].items():
            old = held.get(instance, frozenset())
            held[instance] = frozenset(tile)
            missing = len(held[instance] - old)
            filled += missing
            groups.add((instance[:above], held[instance], old, missing, None if multicast else instance))
        read += sum(missing for _, _, _, missing, _ in groups)
    return read, filled


@settings(max_examples=40)
@given(cases(), SEEDS)
def test_features_move_words_between_outcomes_and_never_add_any(case: Case, seed: int) -> None:
    tensors = drawn(case, seed)
    sparse, plain = run(case, tensors), run(without_features(case), tensors)
    for i, level in enumerate(case.mapping.levels):
        for name in level.keep:
            for action in ("read", "fill", "update"):
                counted, dense = words(sparse, level.level, name, action), words(plain, level.level, name, action)
                assert counted == dense if i == 0 else counted <= dense
                bits = sum(sparse.metadata_bits[level.level][name][action].values())
                dense_bits = sum(plain.metadata_bits[level.level][name][action].values())
                assert bits == dense_bits if i == 0 else bits <= dense_bits
                blocks = sum(sparse.blocks[level.level][name][action].values())
                dense_blocks = sum(plain.blocks[level.level][name][action].values())
                assert dense_blocks == int(dense_blocks)
                assert blocks == pytest.approx(dense_blocks) if i == 0 else blocks <= dense_blocks + 1e-9
    assert sparse.worst_words == plain.worst_words
    assert sparse.worst_metadata_bits == plain.worst_metadata_bits


@settings(max_examples=30)
@given(cases())
def test_features_on_full_tensors_save_nothing(case: Case) -> None:
    tensors = full(case)
    sparse, plain = run(case, tensors), run(without_features(case), tensors)
    assert sparse.counts == plain.counts
    assert sparse.metadata_bits == plain.metadata_bits
    assert sparse.cycles == plain.cycles
    assert sparse.computes["actual"] == case.workload.computes


@settings(max_examples=30)
@given(cases())
def test_features_on_empty_leaders_let_nothing_reach_an_inner_level(case: Case) -> None:
    empty = {t.name: np.zeros(case.workload.tensor_shape(t.name), dtype=int) for t in case.workload.einsum.operands}
    execution = run(case, empty)
    outermost = case.mapping.levels[0].level
    for target in {saf.target for saf in case.design.features.safs if saf.level == outermost and saf.leaders}:
        assert sum(execution.counts[outermost][target][action]["actual"] for action in ("read", "update")) == 0
        for level in case.mapping.levels[1:]:
            if target in level.keep:
                assert all(words(execution, level.level, target, a) == 0 for a in ("read", "fill", "update"))


@settings(max_examples=40)
@given(cases(plain=True), SEEDS)
def test_blocks_of_one_word_are_words_and_larger_blocks_are_fewer(case: Case, seed: int) -> None:
    execution = run(case, drawn(case, seed))
    for level in case.design.architecture.levels:
        for tensor, actions in execution.counts[level.name].items():
            for action, outcomes in actions.items():
                for outcome, count in outcomes.items():
                    blocks = execution.blocks[level.name][tensor][action][outcome]
                    assert -(-count // level.block_words) <= blocks <= count
