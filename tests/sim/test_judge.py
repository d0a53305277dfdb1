"""Eliminated transfers against a walk over single points, with sets of words instead of boxes and periods of steps."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.generators import Case, cases, features_of

from sparseloom.arch.features import SKIPPING, Features
from sparseloom.mapping.mapping import LevelMapping
from sparseloom.sim.loopnest import draw_tensors, execute
from sparseloom.workload.einsum import TensorAccess

Digits = tuple[int, ...]
Word = tuple[int, ...]
Tensors = dict[str, NDArray[Any]]


def _serial(case: Case) -> Case:
    """The case one point after the other, without formats."""
    levels = tuple(
        LevelMapping(m.level, (*m.temporal, *(replace(loop, axis="") for loop in m.spatial)), (), m.keep)
        for m in case.mapping.levels
    )
    features = Features(safs=case.design.features.safs)
    return replace(case, mapping=replace(case.mapping, levels=levels), design=replace(case.design, features=features))


def _points(case: Case) -> dict[Digits, dict[str, int]]:
    """The existing points, by the digits of all loops."""
    found = {}
    for digits in product(*(range(loop.bound) for loop in case.mapping.loops)):
        point = dict.fromkeys(case.workload.ranks, 0)
        for loop, digit in zip(case.mapping.loops, digits, strict=True):
            point[loop.rank] = point[loop.rank] * loop.bound + digit
        if all(point[rank] < size for rank, size in case.workload.shape.items()):
            found[digits] = point
    return found


def _word(tensor: TensorAccess, point: dict[str, int]) -> Word:
    return tuple(sum(term.coefficient * point[term.rank] for term in p.terms) for p in tensor.projections)


def _verdict(case: Case, tensors: Tensors, tensor: TensorAccess, parent: int, period: list[dict[str, int]]) -> str:
    """What a transfer that serves the points of ``period`` becomes."""
    names = [level.level for level in case.mapping.levels]
    kinds = set()
    for saf in case.design.features.safs:
        outside = [i for i in range(names.index(saf.level) + 1) if tensor.name in case.mapping.levels[i].keep]
        if saf.target == tensor.name and outside[-1] == parent:
            for leader in saf.leaders:
                words = {_word(case.workload.tensor(leader), point) for point in period}
                if not any(tensors[leader][word] for word in words):
                    kinds.add("skipped" if saf.kind == SKIPPING else "gated")
    return "skipped" if "skipped" in kinds else "gated" if kinds else "actual"


def _edge(
    case: Case, tensors: Tensors, tensor: TensorAccess, parent: int, child: int, cut: dict[Digits, str]
) -> tuple[Counter[str], dict[Digits, str]]:
    """Words read on an edge by outcome, and the fate of all points after it; ``cut`` is their fate before it."""
    points = _points(case)
    depth = sum(len(level.temporal) for level in case.mapping.levels[:child])
    to_compute = child == len(case.mapping.levels)
    mine = [
        i + 1
        for i, loop in enumerate(case.mapping.loops[:depth])
        if loop.bound > 1 and loop.rank in tensor.iteration_ranks
    ]
    prefix = depth if to_compute else max(mine, default=0)
    tiles: dict[Digits, set[Word]] = {}
    periods: dict[Digits, list[Digits]] = {}
    for digits, point in points.items():
        tiles.setdefault(digits[:depth], set()).add(_word(tensor, point))
        periods.setdefault(digits[:prefix], []).append(digits)
    counts, after, held = Counter[str](), dict(cut), set[Word]()
    for step, tile in sorted(tiles.items()):
        missing, held = tile - held, set() if to_compute else tile
        serves = periods[step[:prefix]]
        begins = not any(step[prefix:])  # a period is judged where it begins, whether or not words move then
        assert begins or not missing
        if begins and not any(digits in cut for digits in serves):
            outcome = _verdict(case, tensors, tensor, parent, [points[digits] for digits in serves])
            counts[outcome] += len(missing)
            after.update({digits: outcome for digits in serves if outcome != "actual"})
    return counts, after


@settings(max_examples=80)
@given(cases(max_points=150), st.integers(0, 2**16))
def test_transfers_are_eliminated_where_no_word_of_a_leader_in_their_period_is_nonzero(case: Case, seed: int) -> None:
    case = _serial(case)
    assume("stride or dilation" not in features_of(case))  # boxes have holes there, sets have none
    tensors = draw_tensors(case.workload, np.random.default_rng(seed))
    output = case.workload.einsum.output.name
    masks = {output: np.ones(case.workload.tensor_shape(output)), **tensors}
    execution = execute(case.workload, case.design, case.mapping, tensors)
    fates = []
    for tensor in case.workload.einsum.operands:
        kept = [i for i, level in enumerate(case.mapping.levels) if tensor.name in level.keep]
        cut: dict[Digits, str] = {}
        for parent, child in pairwise([*kept, len(case.mapping.levels)]):
            expected, cut = _edge(case, masks, tensor, parent, child, cut)
            counted = execution.counts[case.mapping.levels[parent].level][tensor.name]["read"]
            assert counted == {outcome: expected[outcome] for outcome in ("actual", "gated", "skipped")}
        fates.append(cut)
    reached = [{fate.get(digits) for fate in fates} for digits in _points(case)]
    assert execution.computes["absent"] == sum("skipped" in fate for fate in reached)
    assert execution.computes["gated"] == sum("gated" in fate and "skipped" not in fate for fate in reached)
