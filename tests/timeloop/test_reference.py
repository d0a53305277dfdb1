"""Every shipped case of the Sparseloop artifact and of the public exercises loads, and says what its files say."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import pytest

from sparseloom.fibertree.density import ActualData, FixedStructured, Uniform
from sparseloom.fibertree.fiber import bind
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.mapping import Loop, check
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.violations import violations
from sparseloom.model.evaluate import evaluate
from sparseloom.search.mapper import best_mapping
from sparseloom.timeloop import TimeloopInput, load
from sparseloom.timeloop.format import assigned

CASES = Path(__file__).parents[3] / "shared" / "reference" / "sparseloop"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the reference cases are not beside the repository")

FILES = {
    "fig13_dstc": ("aggregated_input.yaml", "ERT.yaml"),
    "fig15_stc": ("aggregated_input.yaml", "map.yaml", "ERT.yaml"),
    "table7_eyeriss": ("aggregated_input.yaml", "ERT.yaml"),
    "exercises_v04": ("parsed-processed-input.yaml", "timeloop-mapper.map.yaml", "timeloop-mapper.ERT.yaml"),
}
RAW = ("arch.yaml", "problem.yaml", "timeloop-mapper.map.yaml", "timeloop-mapper.ERT.yaml")
COUNTS = {
    "fig12_eyerissv2_pe": 5,
    "fig13_dstc": 4,
    "fig15_stc": 48,
    "fig1_format": 6,
    "table7_eyeriss": 6,
    "exercises_v04": 4,
}


def _files(case: str) -> list[Path]:
    family, folder = case.split("/")[0], CASES / case
    if family in FILES:
        return [folder / name for name in FILES[family]]
    return [path for path in sorted(folder.glob("*.yaml")) if path.name not in ("mm.yaml", "mapper.yaml")]


def _cases() -> list[str]:
    families = COUNTS if CASES.is_dir() else ()
    return [f"{family}/{folder.name}" for family in families for folder in sorted((CASES / family).iterdir())]


def _load(case: str) -> TimeloopInput:
    return load(_files(case))


@pytest.mark.parametrize("case", _cases())
def test_reference_case_loads_and_its_formats_fit_its_tensors(case: str) -> None:
    found = _load(case)
    assert found.mapping is not None
    assert found.version == ("0.4" if case.startswith("exercises") else "0.3")
    assert found.workload.computes == prod(prod(found.mapping.bounds(rank)) for rank in found.workload.ranks)
    for level, formats in found.design.features.formats.items():
        assert formats.keys() <= set(found.mapping.levels[found.design.architecture.index(level)].keep)
        for tensor, form in formats.items():
            bind(form, found.workload.tensor(tensor).ranks)
    if "skipping-spatial" not in _files(case)[0].read_text():
        check(found.mapping, found.workload, found.design.architecture)


def test_all_families_are_complete() -> None:
    found = [case.split("/")[0] for case in _cases()]
    assert {family: found.count(family) for family in COUNTS} == COUNTS


@pytest.mark.parametrize("case", [case for case in _cases() if case.startswith("exercises")])
def test_v04_nodes_say_the_same_as_what_the_front_end_made_of_them(case: str) -> None:
    parsed, raw = _load(case), load([CASES / case / name for name in RAW])
    assert raw.workload == parsed.workload
    assert raw.design == parsed.design
    assert raw.mapping == parsed.mapping
    assert raw.details == parsed.details


def test_v04_mapping_by_node_names_is_the_mapping_by_level_names() -> None:
    folder = CASES / "exercises_v04/04.2.1-eyeriss-like-gating"
    by_nodes = load([folder / "arch.yaml", folder / "problem.yaml", folder / "mapping.yaml"])
    assert by_nodes.mapping == _load("exercises_v04/04.2.1-eyeriss-like-gating").mapping


def _fiber_sizes(found: TimeloopInput, level: str, tensor: str) -> list[int]:
    """Coordinates of each rank of a format, top first: extents of the loops that it was given."""
    assert found.mapping is not None
    access = found.workload.tensor(tensor)
    sizes = []
    for digits in assigned(found.details, found.workload, found.mapping, level, tensor).ranks:
        bounds = dict.fromkeys(access.iteration_ranks, 1)
        for digit in digits:
            bounds[digit.rank] *= digit.bound
        sizes.append(prod(access.shape(bounds)))
    return sizes


@pytest.mark.parametrize("case", [c for c in _cases() if c.startswith(("fig1_", "fig12", "fig15", "table7", "exer"))])
def test_offsets_counted_by_sparseloop_are_those_of_the_loops_given_to_each_rank(case: str) -> None:
    """A rank UOP of L coordinates under F fibers that are never empty holds F * (L + 1) offsets; one of L = 1 is free.

    The artifact prints the offsets at capacity for each rank. Ranks further in than a compressing one are left out, as
    their fibers may be empty, and the lowest with more than one coordinate, as its payload is the data.
    """
    found = _load(case)
    runs = json.loads((CASES / case / "expected.json").read_text())
    run = runs.get("sparseloop_micro22") or runs["timeloop_2025_03"]
    compared = 0
    for level, formats in found.design.features.formats.items():
        for tensor in formats:
            printed = run["levels"][level]["tensors"][tensor]["max_format_capacity"]
            kinds = [rank.kind for rank in found.details.formats[level][tensor].ranks]
            assert len(printed) == len(kinds)
            fibers = 1
            sizes = _fiber_sizes(found, level, tensor)
            for place, size in enumerate(sizes[:-1]):
                if kinds[place] != "UOP" or set(sizes[place + 1 :]) == {1}:
                    break
                offsets = printed[f"rank{len(kinds) - 1 - place}"][1]
                assert offsets in ({fibers * (size + 1)} if size > 1 else {0, fibers * 2}), (level, tensor, place)
                fibers *= size
                compared += 1
    assert compared or not any("UOP" in str(f) for by in found.design.features.formats.values() for f in by.values())


def test_eyeriss_v2_pe_l07_is_read_with_its_format_and_features() -> None:
    found = _load("fig12_eyerissv2_pe/L07__uniform")
    design, features = found.design, found.design.features
    assert design.architecture.names == ("BackingStorage", "iact_spad", "weight_spad", "psum_spad", "reg")
    assert design.architecture.compute.name == "MAC"
    weights = design.architecture.levels[2]
    assert (weights.capacity_words, weights.metadata_capacity_bits, weights.metadata_width_bits) == (192, 1024, 8)
    assert design.architecture.levels[0].capacity_words is None
    assert str(found.workload.einsum) == "Outputs[n,g,m,f,e] = Weights[c,m,g,r,s] * Inputs[n,c,g,r+e,s+f]"
    assert found.workload.densities["Inputs"] == Uniform((1, 64, 1, 32, 32), 0.73)
    formats = {level: {t: str(f) for t, f in by_tensor.items()} for level, by_tensor in features.formats.items()}
    assert formats == {
        "BackingStorage": {
            "Inputs": "UOP(C1):/0-UOP(SF):/0-UOP(RE):/0-RLE(C0=8):4",
            "Weights": "UOP(M1):/0-UOP(C1):/0-UOP(C0=8):/7-RLE(M0=8):4",
        },
        "iact_spad": {"Inputs": "RLE(C):4"},
        "weight_spad": {"Weights": "UOP(C):/7-RLE(M):4"},
        "reg": {"Inputs": "RLE():4"},
    }
    assert [(s.level, s.kind, s.target, s.leaders) for s in features.safs] == [
        ("weight_spad", "skipping", "Weights", ("Inputs",)),
        ("psum_spad", "skipping", "Outputs", ("Inputs", "Weights")),
    ]
    assert (features.compute_skipping, features.compute_gating) == (True, False)
    assert found.details.ert["psum_spad"]["read"] == 0.32508


def test_masks_of_eyeriss_v2_pe_l07_give_the_published_number_of_nonzero_products() -> None:
    """1,702,140: the sum over channels of nonzero weights times nonzero activations, the artifact's own cycle count."""
    found = _load("fig12_eyerissv2_pe/L07__actual_data")
    weights, inputs = found.workload.densities["Weights"], found.workload.densities["Inputs"]
    assert isinstance(weights, ActualData)
    assert isinstance(inputs, ActualData)
    by_channel = weights.mask.sum(axis=(1, 2, 3, 4)) * inputs.mask.sum(axis=(0, 2, 3, 4))
    assert by_channel.sum() == 1_702_140


def test_logical_lanes_beyond_the_physical_ones_are_read_as_they_are() -> None:
    found = _load("fig15_stc/WD-0.5__M512-K1024-N256-IAD0.27-WD0.5__STC")
    assert found.mapping is not None
    assert found.mapping.levels[2].spatial == (Loop("M", 16, "Y"), Loop("K", 32, "X"))
    assert found.design.architecture.fanout(2) == (16, 16)
    assert found.design.architecture.levels[3].instances == 1024
    assert found.workload.densities["A"] == FixedStructured((512, 1024), 0.5)
    assert [saf.kind for saf in found.design.features.safs] == ["spatial-skipping"] * 2


def test_misspelt_flattening_rules_of_version_03_are_ignored_and_said_to_be() -> None:
    found = _load("fig13_dstc/A0.5_B0.4")
    assert found.details.formats["DRAM"]["A"].ranks[-1].flattened is None
    ignored = [each for each in found.ignored if each.path.endswith("flattened_rankIDs")]
    assert len(ignored) == 4
    assert ignored[0].reason == "this version of Timeloop reads `flattened-rankIDs` only"


def test_eyeriss_table7_dummy_level_keeps_nothing_and_fans_out_downwards() -> None:
    found = _load("table7_eyeriss/alexnet_conv2_sparse")
    assert found.mapping is not None
    dummy, mapped = found.design.architecture.levels[2], found.mapping.levels[2]
    assert (dummy.name, dummy.capacity_words, dummy.mesh_x, dummy.mesh_y) == ("DummyBuffer", 0, 14, 1)
    assert (mapped.keep, mapped.spatial) == (frozenset(), (Loop("C", 2, "Y"), Loop("S", 5, "Y")))
    assert found.design.architecture.levels[3].mesh_y == 12
    assert found.design.features.decompression == frozenset({"shared_glb"})
    assert [loop.rank for loop in found.details.tiling["DRAM"].temporal] == ["P", "S", "R", "Q", "N", "M", "C"]


def test_level_whose_table_lacks_read_is_noted_and_its_energies_stay_zero() -> None:
    found = _load("fig1_format/d0.1_bitmask")
    assert found.details.ert["Reg"] == {"access": 0.009}
    assert found.design.architecture.levels[2].energy.energies_pj == {}
    assert any("the table of Reg has access, but no read" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "size", "lanes", "cycles"),
    [
        # 3 rows of S and 4 channels along Y, 4 x 4 of K and Q along X: with S = 3 no factor of 256 fills 16 rows
        ("eyeriss-256.yaml", 56 * 56 * 9 * 256 * 256, 192, 9_633_792),
        # C = 1 leaves 63 of 64 columns idle, and K = 16 fills the rows
        ("sample.yaml", 9 * 48 * 480 * 16, 16, 207_360),
    ],
)
def test_files_older_than_version_02_are_searched_to_a_proven_answer(
    name: str, size: int, lanes: int, cycles: int
) -> None:
    found = load([CASES / "mapper" / "timeloop_dense" / name], searching=True)
    best = best_mapping(Mapspace(Problem(found.workload, found.design), found.constraints), "cycles", budget_s=120)
    assert (best.proven, best.value) == (True, cycles)
    assert best.mapping is not None
    result = evaluate(found.workload, found.design, best.mapping)
    assert (result.cycles, size) == (cycles, lanes * cycles)


def test_a_mapping_shipped_for_v04_keeps_the_constraints_at_its_nodes() -> None:
    folder = CASES / "exercises_v04" / "04.2.1-eyeriss-like-gating"
    files = [folder / name for name in ("arch.yaml", "problem.yaml", "timeloop-mapper.map.yaml")]
    found = load(files, searching=True)
    space = Mapspace(Problem(found.workload, found.design), found.constraints)
    assert found.mapping is not None
    assert violations(space, found.mapping) == []


def test_what_v04s_front_end_makes_of_a_mapping_allows_that_mapping_alone() -> None:
    folder = CASES / "exercises_v04" / "04.2.1-eyeriss-like-gating"
    found = load([folder / "parsed-processed-input.yaml"], searching=True)
    assert Mapspace(Problem(found.workload, found.design), found.constraints).size == 1
