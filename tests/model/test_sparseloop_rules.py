"""Rules of Sparseloop's conventions that the published cases do not exercise, each with numbers worked out by hand.

Where two profiles are compared, ``micro22`` is the tool of July 2022 with the MICRO 2022 artifact's formats, ``2025`` the
newest public one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseloom import document
from sparseloom.arch.file import build as build_design
from sparseloom.errors import MappingError
from sparseloom.fibertree.diagonal import Banded
from sparseloom.mapping.details import FormatDetails, RankDetails
from sparseloom.mapping.file import build as build_mapping
from sparseloom.model.conventions import SPARSELOOM, profile
from sparseloom.model.evaluate import evaluate
from sparseloom.model.looprank import NestLoop, assign, empty_chance
from sparseloom.results import Result
from sparseloom.timeloop import load
from sparseloom.workload.file import build as build_workload

Run = Callable[..., Result]
Fields = dict[str, Any]
Loops = list[tuple[str, str, str, str, Fields]]

MICRO22, PUBLIC = "sparseloop-micro22", "timeloop-2025-03"
MATMUL = {"A": [[["M"]], [["K"]]], "B": [[["K"]], [["N"]]], "Z": [[["M"]], [["N"]]]}
CONVOLUTION = {"I": [[["P"], ["R"]]], "W": [[["M"]], [["R"]]], "O": [[["M"]], [["P"]]]}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Evaluates a problem on Main, Mid and PE (outermost first) over MAC units.

    ``loops`` are (level, type, factors, permutation innermost first, more keys), ``keep`` names the tensors of Mid and PE;
    ``attributes`` and ``energies`` add to those of a level, ``sparse`` are the targets of the sparse optimizations.
    """

    def evaluated(
        shape: dict[str, int],
        loops: Loops,
        keep: dict[str, str],
        tensors: dict[str, Any] = MATMUL,
        densities: Fields | None = None,
        attributes: dict[str, Fields] | None = None,
        energies: dict[str, dict[str, float]] | None = None,
        sparse: list[Fields] | None = None,
        children: tuple[int, int, int] = (1, 1, 1),
        conventions: str = MICRO22,
    ) -> Result:
        more = attributes or {}
        names = list(tensors)
        document = {
            "architecture": _tree(children, more),
            "problem": {
                "shape": {
                    "name": "case",
                    "dimensions": list(shape),
                    "data-spaces": [
                        {"name": name, "projection": ranks, "read-write": name == names[-1]}
                        for name, ranks in tensors.items()
                    ],
                },
                "instance": {**shape, "densities": densities or {}},
            },
            "mapping": [
                *(
                    {"target": level, "type": kind, "factors": factors, "permutation": order, **extra}
                    for level, kind, factors, order, extra in loops
                ),
                *(
                    {
                        "target": level,
                        "type": "bypass",
                        "keep": list(kept),
                        "bypass": [n for n in names if n not in kept],
                    }
                    for level, kept in keep.items()
                ),
            ],
            "ERT": {"version": 0.3, "tables": _tables(energies or {})},
        }
        if sparse is not None:
            document["sparse_optimizations"] = {"targets": sparse}
        path = tmp_path / "case.yaml"
        path.write_text(json.dumps(document))
        found = load([path])
        assert found.mapping is not None
        return evaluate(found.workload, found.design, found.mapping, profile(conventions), found.details)

    return evaluated


def _tree(children: tuple[int, int, int], more: dict[str, Fields]) -> Fields:
    mid, pe = children[0], children[0] * children[1]
    mac = pe * children[2]

    def storage(name: str, count: int, kind: str = "storage") -> Fields:
        return {"name": name, "class": kind, "attributes": {"word-bits": 8, "meshX": count, **more.get(name, {})}}

    compute = {"name": f"MAC[0..{children[2] - 1}]", "class": "intmac", "attributes": {"datawidth": 8, "meshX": mac}}
    inner = {"name": f"Array[0..{children[1] - 1}]", "local": [storage("PE", pe), compute]}
    middle = {"name": f"Cluster[0..{children[0] - 1}]", "local": [storage("Mid", mid)], "subtree": [inner]}
    top = {"name": "chip", "local": [storage("Main", 1, "DRAM")], "subtree": [middle]}
    return {"version": 0.3, "subtree": [top]}


def _tables(energies: dict[str, dict[str, float]]) -> list[Fields]:
    plain = {"read": 1.0, "write": 1.0}
    names = {level: {**plain, **energies.get(level, {})} for level in ("Main", "Mid", "PE")}
    names["MAC"] = energies.get("MAC", {"mac_random": 1.0})
    return [
        {"name": name, "actions": [{"name": action, "energy": pj} for action, pj in actions.items()]}
        for name, actions in names.items()
    ]


def _format(level: str, tensor: str, *ranks: str, **more: Any) -> Fields:
    described = [{"format": kind, "flattened-rankIDs": [["M", "N", "K"]]} for kind in ranks]
    return {"name": level, "representation-format": {"data-spaces": [{"name": tensor, "ranks": described, **more}]}}


def _action(level: str, kind: str, target: str, *leaders: str) -> Fields:
    return {"name": level, "action-optimization": [{"type": kind, "target": target, "condition-on": list(leaders)}]}


# ---- dense traffic: 1.2 to 1.4 of the semantics


def test_a_tile_that_stops_moving_is_fetched_anew_when_it_moves_again(run: Run) -> None:
    # I's tile at PE: P=2, R=3, so 4 coordinates. Main runs P (3 steps of 2) around M (2 steps that leave I alone):
    # clean: 4 + 2 + 2 = 8 words. Timeloop: the move by 2 follows a move by 0, so each of the 3 tiles is fetched whole.
    loops: Loops = [("Main", "temporal", "P=3 R=1 M=2", "MPR", {}), ("PE", "temporal", "P=2 R=3 M=1", "PRM", {})]
    keep = {"Main": "IWO", "Mid": "", "PE": "IWO"}
    shape = {"P": 6, "R": 3, "M": 2}
    assert run(shape, loops, keep, CONVOLUTION).levels["PE"].tensors["I"].fills.actual == 12
    clean = run(shape, loops, keep, CONVOLUTION, conventions="sparseloom")
    assert clean.levels["PE"].tensors["I"].fills.actual == 8


def test_the_first_visit_of_partial_sums_is_filled_in_2022_and_not_in_2025(run: Run) -> None:
    # Z's tile at PE is M=2; Main runs K (3 steps) around M (2 steps): 12 words come and go, 4 of them for the first time.
    # PE computes each of them once: 12 updates, and 12 - 4 = 8 reads of what is already there.
    loops: Loops = [("Main", "temporal", "M=2 N=1 K=3", "MKN", {}), ("PE", "temporal", "M=2 N=1 K=1", "MNK", {})]
    arguments: Any = ({"M": 4, "N": 1, "K": 3}, loops, {"Main": "ABZ", "Mid": "", "PE": "Z"})
    old, new = run(*arguments).levels, run(*arguments, conventions=PUBLIC).levels
    assert old["PE"].tensors["Z"].fills.actual == 12
    assert new["PE"].tensors["Z"].fills.actual == 8
    for levels in (old, new):
        assert levels["PE"].tensors["Z"].updates.actual == 12
        assert levels["PE"].tensors["Z"].reads.actual == 8
        assert levels["Main"].tensors["Z"].updates.actual == 12
        assert levels["Main"].tensors["Z"].reads.actual == 8


def test_what_a_bypassed_level_would_read_is_shared_within_each_level_only(run: Run) -> None:
    # Main spreads P=2, Mid spreads R=2: the 4 PEs need I[p + r] = 0, 1, 1, 2. Jointly 3 words; but Mid would read 2 words
    # in each of its 2 instances, and Main's two Mids share none of their tiles {0, 1} and {1, 2}: 4 words.
    loops: Loops = [("Main", "spatial", "P=2 R=1 M=1", "PRM", {}), ("Mid", "spatial", "P=1 R=2 M=1", "RPM", {})]
    arguments: Any = ({"P": 2, "R": 2, "M": 1}, loops, {"Main": "IWO", "Mid": "", "PE": "IWO"}, CONVOLUTION)
    children = (2, 2, 1)
    assert run(*arguments, children=children).levels["Main"].tensors["I"].reads.actual == 4
    assert run(*arguments, children=children, conventions="sparseloom").levels["Main"].tensors["I"].reads.actual == 3


FORWARDING: Any = (
    {"P": 5, "R": 4, "M": 1},
    {"Main": "IWO", "Mid": "", "PE": "IWO"},
    CONVOLUTION,
)


def _forwarded(run: Run, **directives: list[str]) -> Result:
    shape, keep, tensors = FORWARDING
    loops: Loops = [
        ("Mid", "spatial", "P=1 R=4 M=1", "RPM", directives),
        ("Mid", "temporal", "P=5 R=1 M=1", "PRM", {}),
    ]
    return run(shape, loops, {**keep, "Mid": "IWO"}, tensors, children=(1, 4, 1))


def test_neighbours_forward_what_they_had_at_the_step_before(run: Run) -> None:
    # PE r holds I[p + r]: at step p + 1 it needs what PE r + 1 had at step p. Mid reads 4 words, then 1 a step (for the
    # last PE): 4 + 4 x 1 = 8. Neighbours forward 3 words in each of 4 steps: 12, 3 for each PE, which PEs read and are
    # filled with: fills 8 / 4 + 3 = 5 a PE, reads 5 for compute + 3 for neighbours = 8 a PE.
    levels = _forwarded(run).levels
    assert levels["Mid"].tensors["I"].reads.actual == 8
    assert levels["PE"].tensors["I"].fills.actual == 4 * 5
    assert levels["PE"].tensors["I"].reads.actual == 4 * 8


def test_no_link_transfer_makes_the_level_serve_every_child(run: Run) -> None:
    levels = _forwarded(run, no_link_transfer=["I"]).levels
    assert levels["Mid"].tensors["I"].reads.actual == 20
    assert levels["PE"].tensors["I"].fills.actual == 4 * 5
    assert levels["PE"].tensors["I"].reads.actual == 4 * 5


def test_no_multicast_reads_once_for_each_child(run: Run) -> None:
    # W[m, r] with M = 3 in time, P = 5 in space: one word serves 5 PEs at each of 3 steps.
    def reads(**directives: list[str]) -> float:
        loops: Loops = [
            ("Mid", "spatial", "P=5 R=1 M=1", "PRM", directives),
            ("Mid", "temporal", "P=1 R=1 M=3", "MPR", {}),
        ]
        keep = {"Main": "IWO", "Mid": "IWO", "PE": "IWO"}
        found = run({"P": 5, "R": 1, "M": 3}, loops, keep, CONVOLUTION, children=(1, 5, 1))
        return found.levels["Mid"].tensors["W"].reads.actual

    assert reads() == 3
    assert reads(no_multicast_no_reduction=["W"]) == 15


def test_a_level_without_temporal_reuse_is_filled_at_every_step(run: Run) -> None:
    # W's tile at PE (R = 3) stays while Main runs P = 4: 3 words, or 4 x 3 without reuse.
    def fills(**directives: list[str]) -> float:
        loops: Loops = [
            ("Main", "temporal", "P=4 R=1 M=1", "PRM", {}),
            ("PE", "temporal", "P=1 R=3 M=1", "RPM", directives),
        ]
        found = run({"P": 4, "R": 3, "M": 1}, loops, {"Main": "IWO", "Mid": "", "PE": "IWO"}, CONVOLUTION)
        return found.levels["PE"].tensors["W"].fills.actual

    assert fills() == 3
    assert fills(no_temporal_reuse=["W"]) == 12


# ---- imperfect factors: 1.1 and 1.2


def test_the_last_visit_of_three_or_more_is_charged_as_the_second(run: Run) -> None:
    # M=5 in tiles of 2, 2 and 1 words of A: 2 + 2 x 2 = 6 reads of Main; computes are counted as they are. With M=3 in tiles
    # of 2 and 1 there are two visits only, and the last one counts.
    def counts(size: int, visits: int) -> tuple[float, float]:
        loops: Loops = [
            ("Main", "temporal", f"M={visits} N=1 K=1", "MNK", {}),
            ("Mid", "temporal", "M=2,1 N=1 K=1", "MNK", {}),
        ]
        found = run({"M": size, "N": 1, "K": 1}, loops, {"Main": "ABZ", "Mid": "ABZ", "PE": ""})
        return found.levels["Main"].tensors["A"].reads.actual, found.computes.actual

    assert counts(5, 3) == (6, 5)
    assert counts(3, 2) == (3, 3)


def test_the_jump_to_the_last_visit_ends_the_reuse_of_inner_tiles(run: Run) -> None:
    # P=7: Main takes 2 points at a time, Mid one; PE holds a window of 3 words of I. First visit of Main: 3 + 1 words.
    # Second, which stands for two: 1 + 1 each. Last, after a jump from p = 3 to 6: 3. Mid reads 4 + 2 x 2 + 3 = 11 words.
    # Main: 4 for the first tile of Mid, 2 for each of the three others (the last brings 1).
    loops: Loops = [
        ("Main", "temporal", "P=4 R=1 M=1", "PRM", {}),
        ("Mid", "temporal", "P=2,1 R=1 M=1", "PRM", {}),
        ("PE", "temporal", "P=1 R=3 M=1", "RPM", {}),
    ]
    levels = run({"P": 7, "R": 3, "M": 1}, loops, {"Main": "IWO", "Mid": "IWO", "PE": "IWO"}, CONVOLUTION).levels
    assert levels["Mid"].tensors["I"].reads.actual == 11
    assert levels["Main"].tensors["I"].reads.actual == 10


def test_children_that_are_idle_in_the_last_visit_compute_as_the_first_child_does(run: Run) -> None:
    # M=5 over 3 Mids: Main sends 3 words of A, then 2. The first Mid computes twice, and so do all three. If Mid keeps
    # nothing, Main reads what the first Mid would have read for its PE, 2 words, for each of the three.
    loops: Loops = [
        ("Main", "temporal", "M=2 N=1 K=1", "MNK", {}),
        ("Main", "spatial", "M=3,2 N=1 K=1", "MNK", {}),
    ]

    def kept(**keep: str) -> Result:
        return run({"M": 5, "N": 1, "K": 1}, loops, {"Main": "ABZ", **keep}, children=(3, 1, 1))

    found = kept(Mid="ABZ", PE="")
    assert found.levels["Main"].tensors["A"].reads.actual == 5
    assert found.levels["Mid"].tensors["A"].fills.actual == 5
    assert (found.computes.actual, found.cycles) == (6, 2)
    assert kept(Mid="", PE="ABZ").levels["Main"].tensors["A"].reads.actual == 6


# ---- features: 4.1 to 4.4

DOT: Any = (
    {"M": 1, "N": 1, "K": 64},
    [("PE", "temporal", "M=1 N=1 K=64", "KMN", {})],
    {"Main": "ABZ", "Mid": "", "PE": "AB"},
)


def test_the_leader_tile_grows_to_a_block_of_the_follower(run: Run) -> None:
    # A of density 1/8 leads the reads of B at PE, a word each: 1 - 1/8 of 64 are skipped. With blocks of 4 words the
    # leader tile is 4 words along the innermost loop, K: 1 - 4/8 of 64.
    for block, skipped in ((1, 56), (4, 32)):
        found = run(
            *DOT, densities={"A": 0.125}, sparse=[_action("PE", "skipping", "B", "A")],
            attributes={"PE": {"block-size": block}},
        )  # fmt: skip
        assert found.levels["PE"].tensors["B"].reads.skipped == skipped


def test_a_block_beyond_the_tensor_counts_its_points_all_the_same(run: Run) -> None:
    # The innermost loop is over M, of one iteration: blocks of 4 make the leader tile M=4, K=1, 4 points of A (of shape
    # 1 x 64), P(empty) = 1 - 4/8.
    shape, _, keep = DOT
    loops: Loops = [("PE", "temporal", "M=1 N=1 K=64", "MNK", {})]
    found = run(
        shape, loops, keep, densities={"A": 0.125}, sparse=[_action("PE", "skipping", "B", "A")],
        attributes={"PE": {"block-size": 4}},
    )  # fmt: skip
    assert found.levels["PE"].tensors["B"].reads.skipped == 32


def test_of_alternatives_the_one_that_saves_most_energy_is_used_and_the_last_of_equals(run: Run) -> None:
    # Savings are (tile words) x P(leader empty): A 64 x (1 - dB), B 64 x (1 - dA), formats and energies alike.
    both = [{"target": "A", "condition-on": ["B"]}, {"target": "B", "condition-on": ["A"]}]
    sparse: list[Fields] = [{"name": "PE", "action-optimization": [{"type": "skipping", "options": both}]}]

    def skipped(a: float, b: float) -> tuple[float, float]:
        tensors = run(*DOT, densities={"A": a, "B": b}, sparse=sparse).levels["PE"].tensors
        return tensors["A"].reads.skipped, tensors["B"].reads.skipped

    assert skipped(0.5, 0.25) == (48, 0)
    assert skipped(0.25, 0.5) == (0, 48)
    assert skipped(0.5, 0.5) == (0, 32)


def test_metadata_counts_in_what_an_alternative_saves(run: Run) -> None:
    # Both leaders are empty with chance 1/2. Words alone: A, compressed, saves 32 / 2 = 16, B 64 / 2 = 32. A's 64 units of
    # mask count as 64 x 8/8 words more where a metadata word has 8 bits: A saves (32 + 64) / 2 = 48.
    both = [{"target": "A", "condition-on": ["B"]}, {"target": "B", "condition-on": ["A"]}]
    action: Fields = {"name": "PE", "action-optimization": [{"type": "skipping", "options": both}]}
    sparse = [_format("Main", "A", "B"), {**_format("PE", "A", "B"), **action}]
    wide = {"metadata_storage_width": 8, "metadata_storage_depth": 64, "depth": 256, "width": 8}
    for bits, chosen in ((0, "B"), (8, "A")):
        found = run(
            *DOT, densities={"A": 0.5, "B": 0.5}, sparse=sparse, attributes={"PE": {**wide, "metadata_datawidth": bits}}
        )
        skipping = [name for name, tensor in found.levels["PE"].tensors.items() if tensor.reads.skipped]
        assert skipping == [chosen]


def test_an_inner_feature_acts_on_what_outer_ones_left_and_reads_no_metadata(run: Run) -> None:
    # B moves from Main to Mid in tiles of K=2 (leader A, d=1/4, fixed-structured: P(empty) = 1/2), from Mid to compute by
    # word (P(empty) = 3/4). Of 64 reads of Mid 32 never happen; of the others 1 - (1/4) / (1/2) = 1/2 are skipped.
    # Computes: only the innermost counts, 64 / 4. At Mid, reached by Main's feature, an operand's reads move no metadata.
    loops: Loops = [("Main", "temporal", "M=1 N=1 K=32", "KMN", {}), ("Mid", "temporal", "M=1 N=1 K=2", "KMN", {})]
    keep = {"Main": "ABZ", "Mid": "ABZ", "PE": ""}
    skips = [{"type": "skipping", "target": "B", "condition-on": ["A"]}]
    sparse = [
        {**_format("Main", "B", "B", "B"), "action-optimization": skips},
        {**_format("Mid", "B", "B"), "action-optimization": skips},
    ]
    found = run({"M": 1, "N": 1, "K": 64}, loops, keep, densities={"A": 0.25}, sparse=sparse)
    main, mid = found.levels["Main"].tensors["B"], found.levels["Mid"].tensors["B"]
    assert (main.reads.actual, main.reads.skipped) == (32, 32)
    assert mid.fills.actual == 32
    assert (mid.reads.actual, mid.reads.skipped) == (16, 16)
    assert sum(rank.units.total for rank in mid.metadata_reads) == 0
    assert found.computes.actual == 16


@pytest.mark.parametrize(
    ("stored", "optimization", "outcomes"),
    [
        # d = 1/2 each, 64 computes: 16 have both operands, 32 one, 16 none.
        ((), [], (64, 0, 0)),
        ((), ["gating"], (16, 48, 0)),
        (("A", "B"), [], (48, 0, 0)),  # none: missing in both stores, no compute
        (("A", "B"), ["gating"], (16, 32, 0)),
        (("A", "B"), ["skipping"], (16, 0, 32)),
        (("A",), ["skipping"], (32, 0, 32)),  # B's zeros arrive, A's do not
        (("A",), ["skipping", "gating"], (16, 16, 32)),
    ],
)
def test_states_of_the_operands_decide_computes(
    run: Run, stored: tuple[str, ...], optimization: list[str], outcomes: tuple[int, int, int]
) -> None:
    sparse: list[Fields] = [{"name": "MAC", "compute-optimization": [{"type": kind} for kind in optimization]}]
    for level in ("Main", "PE"):
        spaces = [_format(level, name, "B")["representation-format"]["data-spaces"][0] for name in stored]
        sparse.append({"name": level, "representation-format": {"data-spaces": spaces}})
    found = run(*DOT, densities={"A": 0.5, "B": 0.5}, sparse=sparse).computes
    assert (found.actual, found.gated, found.skipped) == outcomes


def test_without_sparse_optimizations_densities_do_not_count(run: Run) -> None:
    found = run(*DOT, densities={"A": 0.5, "B": 0.5})
    assert found.computes.actual == 64
    assert found.levels["PE"].tensors["A"].reads.actual == 64


def test_spatial_skipping_needs_lanes_for_what_a_stored_leader_keeps_only(run: Run) -> None:
    # 8 logical lanes over K on 4 physical ones. A, of density 1/2 and stored as a mask, keeps at most 4 of 8 words: 32 of
    # 64 computes are left, on 8 / 2 lanes: 8 cycles. Where A is stored without a mask, all 8 lanes are needed.
    loops: Loops = [
        ("Mid", "spatial", "M=1 N=1 K=8", "KMN", {}),
        ("Mid", "temporal", "M=1 N=1 K=8", "KMN", {}),
    ]
    keep = {"Main": "ABZ", "Mid": "", "PE": ""}
    spatial = [{"type": "skipping-spatial", "target": name, "condition-on": ["A"]} for name in "BZ"]
    skipping: Fields = {"name": "Mid", "action-optimization": spatial}
    arguments: Any = ({"M": 1, "N": 1, "K": 64}, loops, keep)
    found = run(*arguments, densities={"A": 0.5}, sparse=[_format("Main", "A", "B"), skipping], children=(1, 4, 1))
    assert found.computes.actual == 32
    assert found.compute.instances_used == 4
    assert found.cycles == 8
    with pytest.raises(MappingError, match="Mid has 4 children along X, the loop needs 8"):
        run(*arguments, densities={"A": 0.5}, sparse=[skipping], children=(1, 4, 1))


# ---- formats: 3.1 to 3.4


def _assigned(kinds: str, inner_to_outer: bool, flattened: tuple[str, ...] | None) -> list[tuple[int, int, int]]:
    """Length, points of a fiber and of an element of each rank, lowest first, for a tile of M=2 around K=3 around K=2."""
    ranks = tuple(RankDetails(kind, flattened if kind == "CP" else None) for kind in kinds.split())
    loops = [NestLoop(1, 2, 0, ""), NestLoop(1, 3, 0, ""), NestLoop(0, 2, 0, "")]
    form = FormatDetails(ranks, inner_to_outer)
    found = assign(form, loops, np.eye(2, dtype=np.int64), np.ones(2, np.int64), None, (0, 0), ("M", "K"), "here")
    return [(rank.length, int(np.prod(rank.fiber)), int(np.prod(rank.element))) for rank in found]


def test_a_rank_given_from_the_innermost_on_takes_the_first_of_its_loops_for_its_fiber() -> None:
    # The lower rank takes both loops over K: 6 elements; its fiber is 6 points, but 2 where ranks are given from the
    # innermost loop on, and so are the elements of the rank above it.
    assert _assigned("B CP", False, ("K",)) == [(6, 6, 1), (2, 12, 6)]
    assert _assigned("B CP", True, ("K",)) == [(6, 2, 1), (2, 12, 2)]


def test_a_format_with_too_few_ranks_is_refused_with_the_loops_that_are_left() -> None:
    with pytest.raises(MappingError, match="here: the format has 2 ranks, 1 loops are left without one"):
        _assigned("B B", False, None)


def test_a_band_is_counted_in_the_first_tile_of_an_occupancy() -> None:
    # |i - j| <= 1 in 8 x 8: the first tile of 4 x 4 has 4 + 3 + 3 = 10 nonzeros, 6 of its 16 points are zero and none of its
    # four squares of 2 x 2. The tile right of it has one nonzero, (3, 4): three of its four squares are empty.
    density, tens, ones = Banded((8, 8), 1), np.array([10.0]), np.array([1.0])
    assert empty_chance(density, (1, 1), (4, 4), tens).tolist() == [6 / 16]
    assert empty_chance(density, (2, 2), (4, 4), tens).tolist() == [0.0]
    assert empty_chance(density, (2, 2), (4, 4), ones).tolist() == [3 / 4]


def test_plain_tiles_of_a_compressed_parent_need_a_level_that_decompresses(run: Run) -> None:
    with pytest.raises(MappingError, match="PE keeps A plain, Main keeps it compressed"):
        run(*DOT, sparse=[_format("Main", "A", "B")])
    energies = {"PE": {"decompression_count": 0.5}}
    able = {"PE": {"decompression_supported": True}}
    # A of density 1/4: Main reads 16 words, PE is filled with 64: 64 fills, 64 reads, and 64 conversions at 1/2 pJ.
    found = run(*DOT, densities={"A": 0.25}, sparse=[_format("Main", "A", "B")], attributes=able, energies=energies)
    assert found.levels["Main"].tensors["A"].reads.actual == 16
    assert found.levels["PE"].tensors["A"].energy_pj == 64 + 64 + 32


def test_compressed_tiles_of_a_plain_parent_are_refused(run: Run) -> None:
    with pytest.raises(MappingError, match="PE keeps A compressed, Main keeps it plain"):
        run(*DOT, sparse=[_format("PE", "A", "B")])


# ---- hardware: 5.1 to 5.4


def test_small_compressed_tiles_waste_part_of_their_blocks(run: Run) -> None:
    # A's tile of 64 words is 2 blocks of 32, below the table's limit of 485. Its 8 nonzeros (d = 1/8) take 1 block instead
    # of 8 / 32: a waste of 4. Fills: ceil(8 / 32) x 4 = 4 blocks, reads the same.
    energies = {"PE": {"read": 1.0, "write": 10.0}}
    sparse = [_format("Main", "A", "B"), _format("PE", "A", "B")]
    found = run(
        *DOT, densities={"A": 0.125}, sparse=sparse, energies=energies, attributes={"PE": {"block-size": 32}}
    )  # fmt: skip
    assert found.levels["PE"].tensors["A"].energy_pj == 4 * 10 + 4 * 1


def test_what_a_skipped_read_costs_without_an_entry_of_its_own(run: Run) -> None:
    # 48 of B's 64 reads at PE are skipped. 2022: as gated, else idle, else a whole read; 2025: as gated, else nothing.
    def energy(conventions: str, **entries: float) -> float:
        energies = {"PE": {"read": 1.0, "write": 0.0, **entries}}
        sparse = [_action("PE", "skipping", "B", "A")]
        found = run(*DOT, densities={"A": 0.25}, sparse=sparse, energies=energies, conventions=conventions)
        return found.levels["PE"].tensors["B"].energy_pj

    assert energy(MICRO22, gated_read=0.5, idle=0.25) == energy(PUBLIC, gated_read=0.5, idle=0.25) == 16 + 24
    assert (energy(MICRO22, idle=0.25), energy(PUBLIC, idle=0.25)) == (16 + 12, 16)
    assert (energy(MICRO22), energy(PUBLIC)) == (64, 16)


def test_instances_of_a_cluster_share_their_accesses(run: Run) -> None:
    # 4 PEs read 16 words of A each: 64 pJ; in clusters of 2, two accesses of the cluster are charged for four.
    loops: Loops = [("Mid", "spatial", "M=1 N=1 K=4", "KMN", {}), ("PE", "temporal", "M=1 N=1 K=16", "KMN", {})]

    def energy(cluster: int) -> float:
        found = run(
            {"M": 1, "N": 1, "K": 64}, loops, {"Main": "ABZ", "Mid": "", "PE": "A"}, children=(1, 4, 1),
            attributes={"PE": {"cluster-size": cluster}}, energies={"PE": {"write": 0.0}},
        )  # fmt: skip
        return found.levels["PE"].tensors["A"].energy_pj

    assert energy(1) == 64
    assert energy(2) == 32


def test_skipped_reads_take_no_bandwidth_and_metadata_takes_whole_words(run: Run) -> None:
    # A at PE: 16 of 64 words stored (d = 1/4), 64 bits of mask = 8 words of 8 bits, read at half a word a cycle together
    # with B's 64 words, of which 48 are skipped: (16 + 8 + 16) / 0.5 = 80 cycles; writes: unbounded.
    sparse = [_format("Main", "A", "B"), {**_format("PE", "A", "B"), **_action("PE", "skipping", "B", "A")}]
    found = run(*DOT, densities={"A": 0.25}, sparse=sparse, attributes={"PE": {"read_bandwidth": 0.5}})
    assert found.cycles == 80
    # a mask of 63 bits is 7 words and a rest that does not count
    shape = {"M": 1, "N": 1, "K": 63}
    loops: Loops = [("PE", "temporal", "M=1 N=1 K=63", "KMN", {})]
    found = run(
        shape, loops, DOT[2], densities={"A": 1.0, "B": 1.0}, sparse=sparse, attributes={"PE": {"read_bandwidth": 0.5}}
    )
    assert found.cycles == (63 + 7 + 63) / 0.5


def test_latencies_of_networks_are_added_to_the_cycles(run: Run) -> None:
    latency = {"Mid": {"network_fill_latency": 3}, "PE": {"network_drain_latency": 4}}
    assert run(*DOT).cycles == 64
    assert run(*DOT, attributes=latency).cycles == 64 + 7


def test_double_buffering_halves_what_fits(run: Run) -> None:
    # A and B take 128 words of PE.
    assert run(*DOT, attributes={"PE": {"depth": 128, "width": 8}}).cycles == 64
    with pytest.raises(MappingError, match="tiles need 128 words but PE holds 100"):
        run(*DOT, attributes={"PE": {"depth": 200, "width": 8, "multiple_buffering": 2}})


def test_tiles_that_fill_too_little_are_refused(run: Run) -> None:
    least = {"depth": 256, "width": 8, "min_utilization": 0.5}
    assert run(*DOT, attributes={"PE": least}).cycles == 64
    with pytest.raises(MappingError, match=r"tiles fill 128 of 256 words of PE, its min_utilization is 0\.6"):
        run(*DOT, attributes={"PE": {**least, "min_utilization": 0.6}})


PACKED = """
workload: {{einsum: "{einsum}", shape: {{M: 2, N: 3, K: 4}}, tensors: {{A: {{density: 0.5}}}}}}
design:
  name: toy
  levels: [{{name: DRAM}}, {{name: PE, {packed} instances: [1, 1]}}]
  compute: {{name: MAC, instances: [2, 1]}}
mapping:
  - {{level: DRAM, keep: [A, B, Z]}}
  - {{level: PE, keep: [A, B, Z], temporal: [N 3, K 4], spatial: [M 2 X]}}
"""


def test_a_packed_tensor_is_read_once_for_each_iteration_that_uses_it_again() -> None:
    # A's 8 words, half of them zeros: read for each of 3 columns. K is A's own and repeats nothing.
    node = document.parse(PACKED.format(einsum="Z[m,n] = A[m,k] * B[k,n]", packed="position_skipping: [A],"))
    parts = (build_workload(node.get("workload")), build_design(node.get("design")), build_mapping(node.get("mapping")))
    assert evaluate(*parts, profile(MICRO22)).levels["PE"].tensors["A"].reads.actual == 24
    assert evaluate(*parts, SPARSELOOM).levels["PE"].tensors["A"].reads.actual == 12


def test_a_tensor_that_is_packed_where_it_begins_is_read_there() -> None:
    text = """
    workload: {einsum: "Z[m] = A[m,k]", shape: {M: 2, K: 4}, tensors: {A: {density: 0.5}}}
    design: {name: toy, levels: [{name: PE, position_skipping: [A]}], compute: {name: MAC, instances: [2, 1]}}
    mapping: [{level: PE, keep: [A, Z], temporal: [K 4], spatial: [M 2 X]}]
    """
    node = document.parse(text)
    parts = (build_workload(node.get("workload")), build_design(node.get("design")), build_mapping(node.get("mapping")))
    for rules in (profile(MICRO22), SPARSELOOM):
        assert evaluate(*parts, rules).levels["PE"].tensors["A"].reads.actual == 4
