"""The published designs and cases, against the artifact's own files where they are at hand."""

import json
import re
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest

from sparseloom import case, designs
from sparseloom.arch.design import Design
from sparseloom.arch.hierarchy import StorageLevel
from sparseloom.designs.check import faults
from sparseloom.document import parse, read
from sparseloom.errors import InputError
from sparseloom.fibertree.density import FixedStructured, Uniform
from sparseloom.mapping import file as mapping_file
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.constraints import NONE
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.workload import file as workload_file

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "sparseloop"
STC = "fig15_stc/WD-0.5__M128-K1152-N1024-IAD0.44-WD0.5__"
FOLDERS = {
    "bitmask-spmspm": "fig1_format/d0.1_bitmask",
    "coordinate-list-spmspm": "fig1_format/d0.1_coordinate_list",
    "eyeriss-alexnet-conv2": "table7_eyeriss/alexnet_conv2_sparse",
    "eyeriss-v2-pe-mobilenet-l07": "fig12_eyerissv2_pe/L07__uniform",
    "tc-m128-k1152-n1024": f"{STC}TC",
    "stc-m128-k1152-n1024": f"{STC}STC",
    "stc-flexible-m128-k1152-n1024": f"{STC}STC_flexible",
    "stc-flexible-rle-m128-k1152-n1024": f"{STC}STC_flexible-RLE",
    "stc-flexible-rle-dual-m128-k1152-n1024": f"{STC}STC_flexible_dualCompress-RLE",
    "dstc-m128-k1152-n1024": f"{STC}DSTC",
}
SPATIAL_SKIPPING = [name for name in FOLDERS if name.startswith("stc")]
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data lie outside the repository")


def case_design(name: str) -> Design:
    return designs.load(read(designs.case_file(name)).value["design"].value)


def artifact(name: str, *files: str) -> Any:
    for file in files:
        path = REFERENCE / FOLDERS[name] / file
        if path.is_file():
            return json.loads(path.read_text()) if file.endswith(".json") else read(path).plain()
    raise FileNotFoundError(files)


def test_every_case_has_the_name_of_its_design_and_is_compared_with_the_artifact() -> None:
    assert set(designs.cases()) == set(FOLDERS)
    named = {read(designs.case_file(name)).value["design"].value for name in designs.cases()}
    assert named <= set(designs.names())
    assert all(name.startswith(read(designs.case_file(name)).value["design"].value) for name in designs.cases())


@pytest.mark.parametrize("name", designs.names())
def test_every_design_says_where_it_and_its_energies_are_from(name: str) -> None:
    design = designs.load(name)
    levels = [*design.architecture.levels, design.architecture.compute]
    assert design.name == name
    assert re.search(r"artifact|thesis|\b(19|20)\d\d\b", design.source)
    assert all(level.energy.source for level in levels if level.energy.energies_pj)


@pytest.mark.parametrize("name", designs.cases())
def test_every_case_is_whole_and_its_parts_fit_each_other(name: str) -> None:
    found = [fault.what for fault in faults(designs.case_file(name))]
    lanes = ["RF has 16 children along X, the loop needs 32"] if name in SPATIAL_SKIPPING else []
    assert found in ([], lanes)


def test_an_unknown_name_is_suggested() -> None:
    with pytest.raises(InputError, match=r"no published design is called 'eyeris'\n.*did you mean 'eyeriss'"):
        designs.load("eyeris")
    with pytest.raises(InputError, match=r"no published case is called '\.\./eyeriss'"):
        designs.case_file("../eyeriss")


@needs_reference
@pytest.mark.parametrize("name", designs.cases())
def test_the_loops_of_a_case_are_those_of_the_published_result(name: str) -> None:
    mapping = mapping_file.read(read(designs.case_file(name)))
    published = artifact(name, "expected.json")["sparseloop_micro22"]["levels"]
    renamed = {"E": "P", "F": "Q"} if name.startswith("eyeriss-v2") else {}
    for level in mapping.levels:
        texts = published[level.level].get("loops", [])
        found = [re.fullmatch(r"for (\w+) in \[0:(\d+)\)(?: \(Spatial-([XY])\))?", text) for text in texts]
        assert None not in found
        loops = [(renamed.get(m[1], m[1]), int(m[2]), m[3] or "") for m in found if m]
        assert [(loop.rank, loop.bound, loop.axis) for loop in (*level.temporal, *level.spatial)] == loops


@needs_reference
@pytest.mark.parametrize("name", designs.cases())
def test_the_tensors_kept_in_a_case_are_those_of_the_published_result(name: str) -> None:
    mapping = mapping_file.read(read(designs.case_file(name)))
    published = artifact(name, "expected.json")["sparseloop_micro22"]["levels"]
    short = {"Inputs": "I", "Weights": "W", "Outputs": "O"}
    for level in mapping.levels:
        assert level.keep == {short.get(tensor, tensor) for tensor in published[level.level].get("tensors", {})}


@needs_reference
@pytest.mark.parametrize("name", designs.cases())
def test_a_tile_of_the_whole_case_is_the_published_outermost_tile(name: str) -> None:
    workload = workload_file.read(designs.case_file(name))
    levels = artifact(name, "expected.json")["sparseloop_micro22"]["levels"]
    outermost = levels[mapping_file.read(designs.case_file(name)).levels[0].level]["tensors"]
    points = [prod(workload.tensor_shape(tensor.name)) for tensor in workload.einsum.tensors]
    assert sorted(points) == sorted(tensor["partition_size"] for tensor in outermost.values())


@needs_reference
@pytest.mark.parametrize("name", designs.cases())
def test_the_densities_of_a_case_are_those_of_the_artifact(name: str) -> None:
    files = ("aggregated_input.yaml", "spmspm.prob.0.1.yaml", "L07.yaml")
    published = artifact(name, *files)["problem"]["instance"]["densities"]
    workload = workload_file.read(designs.case_file(name))
    for long, given in published.items():
        tensor = long[0] if long in ("Inputs", "Weights", "Outputs") else long
        stated = given if isinstance(given, dict) else {"density": given, "distribution": "fixed-structured"}
        density = workload.density(tensor)
        kind = {"fixed-structured": FixedStructured, "hypergeometric": Uniform}[stated["distribution"]]
        if stated["density"] == 1.0:
            assert density.density == 1.0
        else:
            shape = workload.tensor_shape(tensor)
            assert density == kind(shape, stated["density"])


@needs_reference
@pytest.mark.parametrize("name", designs.cases())
def test_the_energies_of_a_design_are_those_of_the_artifacts_table(name: str) -> None:
    tables = {
        re.sub(r"\[.*?\]", "", table["name"]).rpartition(".")[2]: _energies(table["actions"])
        for table in artifact(name, "ERT.yaml")["ERT"]["tables"]
    }
    architecture = case_design(name).architecture
    for level in architecture.levels:
        if level.name == "Reg":
            continue  # its table has no action that is looked up: see the design's energy_source
        _compare(level, tables[level.name])
    compute, table = architecture.compute.energy, tables[architecture.compute.name]
    assert compute.pj("compute") == table["mac_random"]
    assert compute.pj("compute", "gated") == table["mac_gated"]


def _energies(actions: list[dict[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for action in actions:
        found[action["name"]] = max(found.get(action["name"], 0.0), action["energy"])
    return found


def _compare(level: StorageLevel, table: dict[str, float]) -> None:
    idle = 0.0 if "gated_read" in table else table.get("idle", 0.0)
    for ours, theirs in (("read", "read"), ("fill", "write"), ("update", "write")):
        assert level.energy.pj(ours) == table[theirs]
        for outcome in ("gated", "skipped"):
            assert level.energy.pj(ours, outcome) == table.get(f"gated_{theirs}", idle)
        if level.metadata_width_bits:
            assert level.energy.pj(f"metadata_{ours}") == table.get(f"metadata_{theirs}", 0.0)
            for outcome in ("gated", "skipped"):
                assert level.energy.pj(f"metadata_{ours}", outcome) == table.get(f"gated_metadata_{theirs}", 0.0)


@needs_reference
@pytest.mark.parametrize("name", designs.cases())
def test_the_sizes_of_a_design_are_those_of_the_artifact(name: str) -> None:
    published = artifact(name, "aggregated_input.yaml", "arch.yaml")["architecture"]
    found = dict(_components(published["subtree"], 1))
    architecture = case_design(name).architecture
    for level in architecture.levels:
        attributes, instances = found[level.name]
        bits = 17 if level.name == "ifmap_spad" else level.word_bits  # 16 bits and the zero bit of its format
        assert attributes.get("datawidth", 16) == bits
        assert level.mesh_x == attributes.get("meshX", 1)
        assert level.mesh_y == attributes.get("meshY", instances // level.mesh_x)
        assert level.read_words_per_cycle == attributes.get("read_bandwidth")
        assert level.write_words_per_cycle == attributes.get("write_bandwidth")
        assert level.metadata_width_bits == attributes.get("metadata_storage_width", 0)
        width = attributes.get("data_storage_width", attributes.get("width"))
        assert level.block_words == width // bits
        depth = attributes.get("data_storage_depth", attributes.get("depth"))
        assert level.capacity_words == (None if depth is None else depth * level.block_words)
        if "metadata_storage_depth" in attributes and level.metadata_width_bits:
            assert level.metadata_capacity_bits == attributes["metadata_storage_depth"] * level.metadata_width_bits
    attributes, _ = found[architecture.compute.name]
    assert architecture.compute.word_bits == attributes["datawidth"]
    assert architecture.compute.mesh_x == attributes.get("meshX", 1)


def _components(subtree: list[dict[str, Any]], outside: int) -> list[tuple[str, tuple[dict[str, Any], int]]]:
    """Name, attributes and instances of every component of an architecture tree."""
    found = []
    for node in subtree:
        inside = outside * _count(node["name"])
        for item in node.get("local", []):
            found.append((item["name"].partition("[")[0], (item["attributes"], inside * _count(item["name"]))))
        found += _components(node.get("subtree", []), inside)
    return found


def _count(name: str) -> int:
    match = re.search(r"\[0\.\.(\d+)\]", name)
    return int(match[1]) + 1 if match else 1


def test_a_case_can_be_written_by_hand_with_the_name_of_a_design() -> None:
    text = designs.case_file("bitmask-spmspm").read_text(encoding="utf-8")
    assert faults(parse(text, "mine.yaml")) == []


CONSTRAINED = {
    "tc": ("TC", "Ampere-Ms"),
    "stc": ("STC", "Ampere-Ms"),
    "stc-flexible": ("STC_flexible", "FlexibleGH-Ms"),
    "stc-flexible-rle": ("STC_flexible-RLE", "FlexibleGH-Ms"),
    "stc-flexible-rle-dual": ("STC_flexible_dualCompress-RLE", "FlexibleGH-Ms"),
    "dstc": ("DSTC", "DSTC-Os"),
}


@needs_reference
@pytest.mark.parametrize("name", CONSTRAINED)
def test_constraints_are_those_of_the_artifact(name: str) -> None:
    folder, file = CONSTRAINED[name]
    own = [path for path in (REFERENCE / f"{STC}{folder}").iterdir() if path.name[:3] in ("agg", "ERT")]
    found = case.read([*own, REFERENCE / "mapper" / "fig15" / f"{file}-constraints.yaml"], searching=True)
    assert found.constraints == replace(designs.constraints(name), wider={})


@needs_reference
def test_constraints_of_eyeriss_are_those_of_the_artifact_and_leave_groups_outermost() -> None:
    folder = REFERENCE / FOLDERS["eyeriss-alexnet-conv2"]
    own = [path for path in folder.iterdir() if path.name[:3] in ("agg", "ERT")]
    theirs = case.read([*own, REFERENCE / "mapper" / "table7" / "row_stationary.yaml"], searching=True).constraints
    ours = designs.constraints("eyeriss")
    for level, limits in theirs.levels.items():
        kept = frozenset(name[0] for name in limits.keep)
        assert replace(limits, keep=kept, bypass=frozenset()) == ours.of(level).only("NMCPQRS")
        assert level == "DRAM" or ours.of(level).temporal["G"].most == 1


def test_a_published_design_brings_its_constraints_to_a_search_unless_files_give_others(tmp_path: Path) -> None:
    name, given = "tc-m128-k1152-n1024", tmp_path / "free.yaml"
    given.write_text("constraints: {levels: [{level: SMEM, keep: [A]}]}")
    assert case.read([name], searching=True).constraints == designs.constraints("tc")
    assert case.read([name]).constraints == NONE
    assert case.read([name, given], searching=True).constraints.of("SMEM").keep == {"A"}


@pytest.mark.parametrize("name", designs.cases())
def test_the_mapspace_of_a_published_case_is_not_empty(name: str) -> None:
    found = case.read([name], searching=True)
    assert Mapspace(Problem(found.workload, found.design), found.constraints).size > 0
