import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sparseloom import designs
from sparseloom.designs.check import faults
from sparseloom.document import parse
from sparseloom.errors import InputError

DESIGN = """\
design:
  name: toy
  levels:
    - name: DRAM
      skipping: [A <- B]
      formats: {A: UOP(M)-CP(K)}
    - name: PE
      instances: [2, 1]
  compute: {name: MAC, instances: [2, 1]}
"""
WORKLOAD = """\
workload:
  einsum: Z[m] = A[m,k] * B[k]
  shape: {M: 4, K: 6}
"""
MAPPING = """\
mapping:
  - {level: DRAM, keep: [A, B, Z], temporal: [M 4], spatial: [K 2 X]}
  - {level: PE, keep: [A], temporal: [K 3]}
"""


def write(folder: Path, **texts: str) -> list[Path]:
    paths = [folder / f"{name}.yaml" for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def found(paths: list[Path]) -> list[str]:
    return [f"{Path(f.where).name} {f.path}: {f.what}" for f in faults(*paths)]


def test_three_good_parts_have_no_faults_together_or_apart(tmp_path: Path) -> None:
    assert found(write(tmp_path, all=DESIGN + WORKLOAD + MAPPING)) == []
    paths = write(tmp_path, design=DESIGN, workload=WORKLOAD, mapping=MAPPING)
    assert found(paths) == []
    assert [found([path]) for path in paths] == [[], [], []]


def test_the_faults_of_all_parts_come_at_once(tmp_path: Path) -> None:
    bad = DESIGN.replace("A <- B", "A") + WORKLOAD.replace("K: 6", "K: 0") + MAPPING.replace("M 4", "M")
    lines = found(write(tmp_path, all=bad))
    assert [line.split(" ")[0] for line in lines] == ["all.yaml:5", "all.yaml:12", "all.yaml:14"]


def test_parts_are_checked_against_each_other_across_files(tmp_path: Path) -> None:
    paths = write(
        tmp_path,
        design=DESIGN.replace("A <- B", "A <- W").replace("CP(K)", "CP(C)"),
        workload=WORKLOAD,
        mapping=MAPPING.replace("K 2 X", "K 3 X").replace("K 3]", "K 2]").replace("keep: [A]", "keep: [Q]"),
    )
    assert found(paths) == [
        "design.yaml:5 design.levels[0].skipping[0]: the design names tensor W, the workload has A, B, Z",
        "design.yaml:6 design.levels[0].formats.A: DRAM, A: format UOP(M)-CP(C) names rank C, the tensor has M, K",
        "mapping.yaml:2 mapping[0]: DRAM has 2 children along X, the loop needs 3",
        "mapping.yaml:3 mapping[1]: PE keeps unknown tensor Q",
    ]


def test_a_fault_of_a_rank_is_shown_at_its_outermost_loop(tmp_path: Path) -> None:
    paths = write(tmp_path, design=DESIGN, workload=WORKLOAD, mapping=MAPPING.replace("K 3]", "J 3]"))
    (line, *_) = found(paths)
    assert "rank J, which the workload has not" in line
    assert re.match(r"mapping.yaml:\d+ mapping\[\d\].temporal\[\d\]: ", line), line


def test_keys_that_are_unknown_or_given_twice_are_faults(tmp_path: Path) -> None:
    paths = write(tmp_path, one=WORKLOAD, two=WORKLOAD + "mappings: []\n")
    lines = found(paths)
    assert lines[0].startswith("two.yaml:1 workload: a second `workload:`, the first is at ")
    assert lines[1:] == ["two.yaml:4 mappings: unknown key 'mappings'"]


def test_a_design_by_name_is_looked_up(tmp_path: Path) -> None:
    assert found(write(tmp_path, good="design: eyeriss")) == []
    assert found(write(tmp_path, bad="design: eyeris")) == ["bad.yaml:1 design: no published design is called 'eyeris'"]


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    paths = [tmp_path / "gone.yaml", *write(tmp_path, bad="design: {", worse=WORKLOAD.replace("K: 6", "K: -6"))]
    assert [line.split(":")[0] for line in found(paths)] == ["gone.yaml ", "bad.yaml", "worse.yaml"]


GOOD = [
    (DESIGN + WORKLOAD + MAPPING).splitlines(),
    *(designs.case_file(name).read_text(encoding="utf-8").splitlines() for name in designs.cases()),
]
SCRAPS = ["", "-1", "0", "1e400", ".nan", "null", "true", "[]", "{}", "[[1]]", "x: y", "'", "A <- A", "K 3 X", "9" * 30]
scraps = st.one_of(st.sampled_from(SCRAPS), st.text(max_size=6))


@settings(max_examples=150)
@given(st.sampled_from(GOOD), st.data())
def test_a_spoilt_file_gives_faults_with_places_and_never_anything_else(lines: list[str], data: st.DataObject) -> None:
    spoilt = list(lines)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(spoilt) - 1))
        key, colon, value = spoilt[at].partition(": ")
        scrap = data.draw(scraps)
        ways = [scrap, f"{key}{colon}{scrap}", f"{scrap}{colon}{value}", f"  {spoilt[at]}"]
        spoilt[at] = data.draw(st.sampled_from(ways))
    try:
        found = faults(parse("\n".join(spoilt), "spoilt.yaml"))
    except InputError as error:
        found = list(error.faults)
    assert all(fault.what and fault.where.startswith("spoilt.yaml") for fault in found)
