import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.errors import MappingError
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping, check
from sparseloom.mapping.render import render
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.workload import Workload

loops = st.builds(Loop, st.sampled_from("MNK"), st.integers(1, 4), st.just(""))
parallel = st.builds(Loop, st.sampled_from("MNK"), st.integers(1, 4), st.sampled_from("XY"))
levels = st.builds(
    LevelMapping,
    st.sampled_from(["DRAM", "GLB", "PE"]),
    st.lists(loops, max_size=3).map(tuple),
    st.lists(parallel, max_size=2).map(tuple),
    st.frozensets(st.sampled_from("ABZ")),
)
mappings = st.lists(levels, min_size=1, max_size=3).map(lambda found: Mapping(tuple(found)))
LINE = re.compile(r"^\[(\w+)\] +(parallel-)?for ([a-z])\d* in \[0, (\d+)\)(?: \(([XY])\))?$")


@given(mappings)
def test_every_loop_with_iterations_is_a_line_in_the_order_of_the_nest(mapping: Mapping) -> None:
    found = [match for line in render(mapping).splitlines() if (match := LINE.match(line))]
    assert [Loop(m[3].upper(), int(m[4]), m[5] or "") for m in found] == [x for x in mapping.loops if x.bound > 1]
    assert all(bool(m[2]) == bool(m[5]) for m in found)


@given(mappings)
def test_each_loop_stands_two_columns_deeper_than_the_one_around_it(mapping: Mapping) -> None:
    columns = [re.search(r"(parallel-)?for ", line) for line in render(mapping).splitlines()]
    starts = [match.start() for match in columns if match]
    assert all(inner - outer == 2 for outer, inner in pairwise(starts))


@given(mappings)
def test_the_loops_of_a_rank_are_numbered_down_to_zero_from_the_outermost(mapping: Mapping) -> None:
    text = render(mapping)
    for rank in "mnk":
        numbers = [int(n) for n in re.findall(rf"for {rank}(\d+) in", text)]
        assert numbers == list(range(len(numbers)))[::-1]
        assert len(re.findall(rf"for {rank} in", text)) == (0 if numbers else len(re.findall(rf"for {rank}", text)))


@given(mappings, st.data())
def test_a_mark_stands_under_the_whole_of_its_loop(mapping: Mapping, data: st.DataObject) -> None:
    places = [(i, j) for i, x in enumerate(mapping.levels) for j in range(len((*x.temporal, *x.spatial)))]
    if not places:
        return
    place = data.draw(st.sampled_from(places))
    lines = render(mapping, {place: "is at fault"}).splitlines()
    (under,) = [k for k, line in enumerate(lines) if line.endswith("^ is at fault")]
    start, stop = lines[under].index("^"), lines[under].rindex("^") + 1
    level = mapping.levels[place[0]]
    loop = (*level.temporal, *level.spatial)[place[1]]
    shown = lines[under - 1]
    assert shown[start:stop] == shown[start:]
    assert re.sub(r"(for [a-z])\d+", r"\1", shown[start:stop]) == str(loop)
    assert shown.startswith(f"[{level.level}]")


def test_a_loop_nest_reads_like_the_program_it_is() -> None:
    dram = LevelMapping("DRAM", (Loop("M", 2), Loop("K", 3)), (), frozenset("ABZ"))
    pe = LevelMapping("PE", (Loop("N", 1), Loop("M", 4)), (Loop("N", 8, "Y"),), frozenset("Z"), frozenset("A"))
    assert render(Mapping((dram, pe))).splitlines() == [
        "[DRAM] keep A, B, Z",
        "[DRAM] for m1 in [0, 2)",
        "[DRAM]   for k in [0, 3)",
        "[PE]       keep Z, stream A",
        "[PE]       for m0 in [0, 4)",
        "[PE]         parallel-for n in [0, 8) (Y)",
    ]


def test_spatial_loops_beyond_the_fan_out_are_marked_where_they_stand() -> None:
    architecture = Architecture((StorageLevel("DRAM"), StorageLevel("PE")), ComputeLevel("MAC", mesh_x=4))
    workload = Workload(Einsum.parse("Z[m] = A[m,k] * B[k]"), {"M": 2, "K": 3})
    dram = LevelMapping("DRAM", (), (), frozenset("ABZ"))
    pe = LevelMapping("PE", (), (Loop("M", 2, "X"), Loop("K", 3, "X")))
    with pytest.raises(MappingError) as caught:
        check(Mapping((dram, pe)), workload, architecture)
    assert str(caught.value).splitlines() == [
        "PE has 4 children along X, the loops need 6 @ PE",
        "  how to fix: keep the product of X bounds at 4 or less",
        "[DRAM] keep A, B, Z",
        "[PE]   keep nothing",
        "[PE]   parallel-for m in [0, 2) (X)",
        "       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
        "[PE]     parallel-for k in [0, 3) (X)",
        "         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ PE has 4 children along X, the loops need 6",
    ]
