"""The syntax before version 0.2: what each key means, a search of one small file, and files with faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.timeloop.conftest import OLD

from sparseloom import case
from sparseloom.document import parse
from sparseloom.errors import InputError
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.constraints import Limit
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.model.evaluate import evaluate
from sparseloom.search.mapper import best_mapping
from sparseloom.sim.loopnest import draw_tensors, execute
from sparseloom.timeloop import TimeloopInput, is_timeloop, load


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., TimeloopInput]:
    def run(text: str = OLD, searching: bool = True) -> TimeloopInput:
        (tmp_path / "old.yaml").write_text(text)
        return load([tmp_path / "old.yaml"], searching)

    return run


@pytest.fixture
def refused(read, tmp_path: Path) -> Callable[[str, str], list[str]]:
    """The faults of the file with one text in the place of another, as a user sees them, without the folder."""

    def run(old: str, new: str) -> list[str]:
        assert old in OLD
        with pytest.raises(InputError) as caught:
            read(OLD.replace(old, new, 1))
        shown = [str(fault).replace(f"{tmp_path}/", "") for fault in caught.value.faults]
        return [text.replace("\n  how to fix: ", " | ") for text in shown]

    return run


def test_levels_are_listed_innermost_first(read) -> None:
    found = read()
    architecture = found.design.architecture
    assert architecture.names == ("Main", "Buffer", "Rows", "Registers")
    assert [(level.mesh_x, level.mesh_y) for level in architecture.levels] == [(1, 1), (1, 1), (4, 1), (4, 2)]
    assert (architecture.compute.name, architecture.compute.mesh_x, architecture.compute.mesh_y) == ("MAC", 4, 2)
    assert architecture.compute.word_bits == 8
    assert found.version == "0.1"


def test_sizes_are_words_and_bandwidths_words_per_cycle_of_one_instance(read) -> None:
    main, buffer, rows, registers = read().design.architecture.levels
    assert main.capacity_words is None
    assert buffer.capacity_words == 1024
    assert (rows.capacity_words, rows.holds) == (0, frozenset())
    assert (registers.capacity_words, registers.block_words) == (16, 1)
    assert (buffer.block_words, buffer.read_words_per_cycle, buffer.write_words_per_cycle) == (4, 5.0, 5.0)
    assert (registers.read_words_per_cycle, registers.write_words_per_cycle) == (3.0, 2.0)
    assert (main.read_words_per_cycle, main.shared_words_per_cycle) == (None, None)


def test_clusters_are_read_and_the_width_of_networks_is_ignored(read) -> None:
    found = read()
    assert found.details.levels["Registers"].cluster_size == 4
    (ignored,) = (each for each in found.ignored if each.path.endswith("network-word-bits"))
    assert ignored.reason == "it serves the energy of networks, which none is given for"


def test_arithmetic_may_have_a_name(read) -> None:
    assert (
        read(OLD.replace("  arithmetic:\n", "  arithmetic:\n    name: PEs\n")).design.architecture.compute.name == "PEs"
    )


@pytest.mark.parametrize("shape", ["", "  shape: cnn-layer\n"])
def test_the_shape_is_that_of_a_layer_with_strides_and_dilations(read, shape: str) -> None:
    workload = read(OLD.replace("problem:\n", f"problem:\n{shape}")).workload
    text = "Outputs[n,k,q,p] = Weights[c,k,r,s] * Inputs[n,c,r+2*p,2*s+q]"
    assert str(workload.einsum) == text
    assert workload.shape == {"R": 2, "S": 1, "P": 4, "Q": 6, "C": 4, "K": 8, "N": 1}


def test_the_constraints_are_those_of_the_name_that_is_selected(read) -> None:
    found = read().constraints
    assert found.of("Registers").keep == {"Weights"}
    assert found.of("Registers").bypass == {"Inputs", "Outputs"}
    assert found.least_parallelism == 0.25


def test_permutations_are_innermost_first_and_need_no_commas(read) -> None:
    assert read().constraints.of("Buffer").inner == tuple("NKCSRPQ")


def test_a_factor_0_is_the_whole_dimension_and_what_no_factor_names_is_free(read) -> None:
    found = read().constraints
    assert found.of("Buffer").temporal == {"Q": Limit(whole=True), "N": Limit.exactly(1)}
    assert found.of("Rows").spatial == {"R": Limit(whole=True), **{rank: Limit.exactly(1) for rank in "NPQ"}}


def test_dimensions_before_the_split_run_along_x_and_the_others_along_y(read) -> None:
    axes = read().constraints.of("Rows").axes
    assert {rank for rank, axis in axes.items() if axis == "X"} == set("NPQ")
    assert {rank for rank, axis in axes.items() if axis == "Y"} == set("RSCK")
    assert read().constraints.of("Buffer").axes == {}


def test_a_number_that_is_no_factor_of_its_dimension_leaves_the_loop_free_with_a_note(read) -> None:
    found = read()
    assert "K" not in found.constraints.of("Buffer").spatial
    (note,) = (note for note in found.notes if "no factor" in note)
    assert note.endswith("old.yaml:61: Buffer: 16 is no factor of K=8; its spatial loop is left free")
    found = read(OLD.replace("factors: Q0 N1", "factors: Q0 N1 R2"))
    (note,) = (note for note in found.notes if "R=2" in note)
    assert note.endswith("Buffer: 2 is no factor of R=2 beside the 2 further in; its temporal loop is left free")


def test_a_file_is_searched_and_the_oracle_counts_the_same_cycles(read) -> None:
    found = read()
    best = best_mapping(Mapspace(Problem(found.workload, found.design), found.constraints), "cycles")
    assert best.proven
    assert best.mapping is not None
    result = evaluate(found.workload, found.design, best.mapping)
    run = execute(found.workload, found.design, best.mapping, draw_tensors(found.workload, np.random.default_rng(0)))
    assert best.value == result.cycles == run.cycles
    assert run.computes["actual"] == 2 * 4 * 6 * 4 * 8 == 8 * best.value
    assert [level.keep for level in best.mapping.levels][2] == frozenset()
    assert best.mapping.levels[1].temporal[-1].rank == "Q"


def test_a_mapping_is_evaluated_by_the_rules_of_2022(read, tmp_path: Path) -> None:
    mapping = """\
mapping:
- {target: Main, type: temporal, factors: C4 K2, permutation: CK}
- {target: Buffer, type: spatial, factors: K4, permutation: K}
- {target: Buffer, type: temporal, factors: P4 Q6 R2, permutation: PQR}
- {target: Rows, type: datatype, bypass: [Weights, Inputs, Outputs]}
"""
    (tmp_path / "mapped.yaml").write_text(OLD + mapping)
    found = case.read([tmp_path / "mapped.yaml"])
    assert found.conventions == "sparseloop-micro22"
    assert found.mapping is not None
    assert [loop.rank for loop in found.mapping.levels[0].temporal] == ["K", "C"]
    assert found.constraints.levels == {}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    sizeKB: 1\n", "    size: 1\n",
         "old.yaml:34: unknown key 'size' of the storage attributes @ arch.storage[2].size | did you mean 'sizeKB'?"),
        ("  - name: Rows\n    entries: 0\n", "  - entries: 0\n",
         "old.yaml:28: required key 'name' is missing @ arch.storage[1] | add `name:`"),
        ("name: Rows", "name: Rows[0..3]",
         "old.yaml:28: 'Rows' has a range in its name @ arch.storage[1] | write `instances: 4`"),
        ("    instances: 4\n    meshX: 4\n", "    instances: 4\n    meshX: 3\n",
         "old.yaml:28: Rows has 4 instances, its mesh is 3 along one side @ arch.storage[1]"
         " | write `instances: N` at Rows, or mend meshX and meshY"),
        ("instances: 8\n    meshX: 4\n    word-bits: 8\n  storage", "instances: many\n  storage",
         "old.yaml:15: 'many' stands where a number is expected @ arch.arithmetic.instances"),
        ("  storage:\n", "  stores:\n",
         "old.yaml:18: unknown key 'stores' of the arch @ arch.stores | did you mean 'storage'?"),
        ("  - name: Registers\n", "  - 5\n  - name: Registers\n",
         "old.yaml:19: '5' stands where storage keys are expected @ arch.storage[0] | write `key: value` lines"),
        ("  storage:\n", "  storage: []\n  storages:\n",
         "old.yaml:18: there are no storage levels @ arch.storage | list at least one, the innermost first"),
        ("  R: 2\n", "",
         "old.yaml:3: dimension R has no size @ problem | add `R: N` to the instance"),
        ("  Wstride: 2\n", "  Xstride: 2\n",
         "old.yaml:11: 'Xstride' is neither a dimension nor a coefficient of the shape @ problem.Xstride"
         " | did you mean 'Wstride'?"),
        ("problem:\n", "problem:\n  shape: cnn\n",
         "old.yaml:4: unknown shape 'cnn' @ problem.shape | known names: cnn-layer; or write its dimensions"),
        ("constraints: stationary", "constraints: stationery",
         "old.yaml:44: there are no constraints 'stationery' @ mapspace.constraints | did you mean 'stationary'?"),
        ("target: Rows", "target: Row",
         "old.yaml:56: unknown level 'Row' @ mapspace.constraints_stationary[1].target | did you mean 'Rows'?"),
        ("arch:\n", "architecture: {version: 0.3, subtree: []}\narch:\n",
         "old.yaml:14: a second architecture, the first is at old.yaml:13 @ arch"
         " | give files with one architecture between them"),
    ],
)  # fmt: skip
def test_fault_is_shown_with_its_place_and_a_way_out(refused, old: str, new: str, expected: str) -> None:
    assert expected in refused(old, new)


def test_all_faults_are_shown_at_once(refused) -> None:
    assert len(refused("sizeKB: 1\n    instances: 1", "sizeKB: big\n    instances: -1\n    colour: red")) == 3


def test_a_problem_that_no_file_gives_is_said_to_be_missing(read) -> None:
    with pytest.raises(InputError, match="problem missing in"):
        read(OLD.replace("problem:", "mapping: []\nERT:").replace("ERT:", "globals:"))


def test_a_file_with_an_old_architecture_is_one_of_timeloops() -> None:
    assert is_timeloop(parse(OLD))
