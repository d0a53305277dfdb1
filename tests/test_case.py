from pathlib import Path

import pytest

from sparseloom import designs
from sparseloom.case import complete, read
from sparseloom.errors import InputError, MappingError

SHARED = Path(__file__).parent.parent.parent / "shared" / "reference" / "sparseloop"

WORKLOAD = """\
workload:
  einsum: "Z[m] = A[m,k] * B[k]"
  shape: {M: 4, K: 6}
"""
DESIGN = """\
design:
  name: two-levels
  levels:
    - name: DRAM
    - {name: PE, capacity_words: 32}
  compute: {name: MAC}
"""
MAPPING = """\
mapping:
  - {level: DRAM, keep: [A, B, Z], temporal: [M 4]}
  - {level: PE, keep: [A, B], temporal: [K 6]}
"""


def _write(folder: Path, **texts: str) -> list[Path]:
    paths = [folder / f"{name}.yaml" for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text)
    return paths


def test_one_file_and_three_files_hold_the_same_case(tmp_path: Path) -> None:
    parts = _write(tmp_path, w=WORKLOAD, d=DESIGN, m=MAPPING)
    (whole,) = _write(tmp_path, whole=MAPPING + WORKLOAD + DESIGN)
    assert read(parts) == read([whole]) == read(parts[::-1])


def test_the_name_of_a_published_design_stands_for_it(tmp_path: Path) -> None:
    (path,) = _write(tmp_path, d="design: eyeriss-v2-pe\n")
    assert read([path]).design == designs.load("eyeriss-v2-pe")


def test_the_name_of_a_published_case_stands_for_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = designs.cases()[0]
    assert read([name]) == read([designs.case_file(name)])
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(WORKLOAD)
    assert read([name]).design is None  # a file of that name comes first


def test_parts_that_are_missing_are_named_together(tmp_path: Path) -> None:
    paths = _write(tmp_path, d=DESIGN)
    with pytest.raises(InputError) as caught:
        complete(read(paths), paths)
    assert [fault.what for fault in caught.value.faults] == ["there is no `workload:`", "there is no `mapping:`"]


def test_faults_of_several_files_are_reported_together(tmp_path: Path) -> None:
    paths = _write(tmp_path, w=WORKLOAD.replace("K: 6", "K: 0"), d=DESIGN.replace("capacity_words", "capasity_words"))
    with pytest.raises(InputError) as caught:
        read(paths)
    assert {fault.where for fault in caught.value.faults} == {f"{paths[0]}:3", f"{paths[1]}:5"}


def test_unreadable_files_are_reported_together(tmp_path: Path) -> None:
    paths = _write(tmp_path, a="[", b="- x\n")
    with pytest.raises(InputError) as caught:
        read([*paths, tmp_path / "none.yaml"])
    assert len(caught.value.faults) == 3


TIMELOOP = """\
problem:
  shape:
    name: dot
    dimensions: [K]
    data-spaces:
      - {name: A, projection: [[[K]]]}
      - {name: B, projection: [[[K]]]}
      - {name: Z, projection: [], read-write: true}
  instance: {K: 4}
architecture:
  version: 0.3
  subtree:
    - name: system
      local:
        - {name: DRAM, class: DRAM, attributes: {word-bits: 8, width: 8}}
        - {name: MAC, class: intmac, attributes: {datawidth: 8}}
"""


def test_files_of_timeloop_are_known_by_their_keys(tmp_path: Path) -> None:
    case = read(_write(tmp_path, timeloop=TIMELOOP))
    assert case.timeloop is not None
    assert case.mapping is None
    assert case.workload is not None
    assert case.workload.shape == {"K": 4}
    assert any("no mapping is given" in note for note in case.notes)


def test_our_own_and_foreign_files_do_not_mix(tmp_path: Path) -> None:
    paths = _write(tmp_path, timeloop=TIMELOOP, mine=WORKLOAD)
    with pytest.raises(InputError, match=r"mine\.yaml: the file is one of our own, .*timeloop\.yaml is one of"):
        read(paths)


def test_a_foreign_mapping_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    mapping = "mapping:\n  - {target: DRAM, type: temporal, factors: K=3, permutation: K}\n"
    with pytest.raises((InputError, MappingError), match="K"):
        read(_write(tmp_path, timeloop=TIMELOOP, map=mapping))


V04 = ("parsed-processed-input.yaml", "timeloop-mapper.map.yaml", "timeloop-mapper.ERT.yaml")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the reference cases of Sparseloop")
@pytest.mark.parametrize(
    ("folder", "names"),
    [("fig12_eyerissv2_pe/L07__uniform", ("*.yaml",)), ("exercises_v04/01.2.1-DUDU-dot-product", V04)],
)
def test_reference_cases_are_complete(folder: str, names: tuple[str, ...]) -> None:
    paths = [path for name in names for path in (SHARED / folder).glob(name)]
    workload, design, mapping = complete(read(paths), paths)
    assert len(mapping.levels) == len(design.architecture.levels)
    assert workload.computes > 0
