import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.results import ComputeActions, LevelActions, Outcomes, Result, TensorActions
from sparseloom.results.table import WIDTH, number, shorten

PAGE = """\
tiny on toy (model, conventions sparseloom)
cycles       2,048  (between 2,000 and 2,048.5)
energy       205,313.5 pJ
utilization  50.0 %
computes     1,024 actual, 3 gated, 5 skipped, 3,000 absent
bottleneck   DRAM reads: 1,024 words at 0.5 words per cycle

level  tensor  action   actual  gated  skipped  metadata     tile  energy pJ
DRAM   A       read      1,024      0    3,072   1,089.5    4,096    204,800
       Z       update      256      0        0                256        1.5
PE     Z       read         12      0        0                 16          0
               fill      16.25      0        0
       A       fill          5      0        0            streams          0
MAC            compute   1,024      3        5                           512

level  bound by  cycles  instances  stored   capacity  energy pJ
DRAM   read       2,048          1   1,280  unbounded  204,801.5
PE     nothing      900        3.5      16         64          0
MAC    compute    1,027   3.5 of 4                           512

[DRAM] for m1 in [0, 4)
[PE]     for k0 in [0, 3)

assumptions
- A is uniform at density 0.25
- work is balanced work is balanced work is balanced work is balanced work is balanced work is balanced work is balanced
  work is balanced work is balanced

notes
- made by hand"""


def test_a_result_prints_as_one_readable_page(toy_result: Result) -> None:
    assert str(toy_result).splitlines() == PAGE.splitlines()


def test_a_tensor_without_any_action_still_has_its_row(toy_result: Result) -> None:
    idle = LevelActions("RF", {"B": TensorActions()})
    lines = str(dataclasses.replace(toy_result, levels={"RF": idle})).splitlines()
    assert [line.split()[:4] for line in lines if line.startswith("RF")] == [
        ["RF", "B", "none", "0"],
        ["RF", "nothing", "0", "1"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (7.0, "7"), (1056 - 1e-10, "1,056"), (1234567, "1,234,567")),
        *((1234.56, "1,234.6"), (12.345, "12.35"), (0.0625, "0.0625"), (1e-9, "1e-09")),
    ],
)
def test_numbers_have_separators_and_no_false_digits(value: float, text: str) -> None:
    assert number(value) == text


@given(
    count=st.floats(0, 2.0**53),
    gated=st.floats(0, 2.0**53),
    energy=st.floats(0, 1e18),
    level=st.text("abcXYZ_", min_size=1, max_size=60),
    tensor=st.text("abcXYZ_", min_size=1, max_size=60),
)
def test_no_table_is_wider_than_a_page(count: float, gated: float, energy: float, level: str, tensor: str) -> None:
    outcomes = Outcomes(count, gated, count + gated)
    actions = TensorActions(outcomes, outcomes, outcomes, tile_words=count, worst_words=count, energy_pj=energy)
    levels = {level: LevelActions(level, {tensor: actions}, count, energy, gated, int(count), None, "shared")}
    compute = ComputeActions(level, outcomes, energy_pj=energy)
    result = Result("model", count, energy, 0.5, outcomes, compute, levels)
    assert max(len(line) for line in str(result).splitlines()) <= WIDTH


@given(st.text("abc", max_size=40), st.integers(5, 30))
def test_shortened_names_keep_their_ends_and_fit(name: str, width: int) -> None:
    short = shorten(name, width)
    assert len(short) == min(len(name), width)
    head, _, tail = short.partition("…")
    assert name.startswith(head)
    assert name.endswith(tail)


def test_the_frame_has_a_row_for_each_count_and_loses_none(toy_result: Result) -> None:
    frame = toy_result.to_frame()
    assert frame.columns == ["level", "tensor", "action", "kind", "rank", "outcome", "count"]
    assert frame.select("level", "tensor", "action", "kind", "rank", "outcome").is_duplicated().sum() == 0
    words = frame.filter(level="DRAM", kind="data").get_column("count").sum()
    dram = toy_result.levels["DRAM"].tensors
    assert words == sum(outcomes.total for tensor in dram.values() for outcomes in tensor.data().values())
    lowest = frame.filter(level="DRAM", tensor="A", action="read", kind="metadata", rank=1, outcome="skipped")
    assert lowest.get_column("count").to_list() == [3071.5]
    computes = frame.filter(action="compute").get_column("count").to_list()
    assert computes == [1024.0, 3.0, 5.0]
