import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.arch.choice import KEY, variants
from sparseloom.arch.file import build, read, schema
from sparseloom.designs.check import faults
from sparseloom.document import parse
from sparseloom.errors import InputError

DESIGN = """\
design:
  name: toy
  levels:
    - name: D
      formats: {A: {choose: ["CP(K)", "B(K)"]}}
    - name: G
      capacity_words: {choose: [16, 32, 64]}
      skipping:
        choose:
          - []
          - [B <- A]
  compute: {name: mac}
"""


def open_design(old: str = "", new: str = ""):
    assert old in DESIGN
    return parse(DESIGN.replace(old, new), "toy.yaml").value["design"]


def said(old: str, new: str) -> list[str]:
    return [str(fault) for fault in faults(parse(DESIGN.replace(old, new), "toy.yaml"))]


def test_choices_multiply_in_the_order_of_the_file_the_last_varies_fastest() -> None:
    found = variants(open_design())
    paths = ("levels[0].formats.A", "levels[1].capacity_words", "levels[1].skipping")
    assert [[choice.path for choice in variant.choices] for variant in found] == [list(paths)] * 12
    texts = [tuple(choice.text for choice in variant.choices) for variant in found]
    assert texts == list(product(["CP(K)", "B(K)"], ["16", "32", "64"], ["[]", "[B <- A]"]))
    assert {choice.where for choice in found[0].choices} == {"toy.yaml:5", "toy.yaml:7", "toy.yaml:8"}


def test_a_variant_is_the_design_with_these_alternatives_written_in_place() -> None:
    fourth = build(variants(open_design())[3].value)
    by_hand = DESIGN.replace('{choose: ["CP(K)", "B(K)"]}', "CP(K)").replace("{choose: [16, 32, 64]}", "32")
    by_hand = by_hand.replace("\n        choose:\n          - []\n          - [B <- A]", " [B <- A]")
    assert fourth == read(parse(by_hand))


def test_without_choices_there_is_one_variant_the_node_itself() -> None:
    node = parse("a: [1, {b: 2}]\nc: {}\nd: []")
    (only,) = variants(node)
    assert (only.choices, only.value) == ((), node)


def test_choices_inside_an_alternative_make_several_of_it() -> None:
    found = variants(parse("a: {choose: [{b: {choose: [1, 2]}, c: 3}, null, {choose: [true, 4]}]}"))
    assert [str(variant.choices[0]) for variant in found] == [
        "a: {b: 1, c: 3}", "a: {b: 2, c: 3}", "a: null", "a: true", "a: 4",
    ]  # fmt: skip


def test_a_whole_design_may_be_left_open() -> None:
    found = variants(parse("design: {choose: [{name: a}, {name: b}]}").value["design"])
    assert [str(variant.choices[0]) for variant in found] == ["design: {name: a}", "design: {name: b}"]


VALUES = st.recursive(
    st.integers(0, 3),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {KEY: some}),
    ),
    max_leaves=8,
)


def expanded(value):
    """Every value that choices leave, one key after the other."""
    if isinstance(value, dict) and KEY in value:
        return [each for alternative in value[KEY] for each in expanded(alternative)]
    if isinstance(value, dict):
        return [dict(zip(value, some, strict=True)) for some in product(*map(expanded, value.values()))]
    return [list(some) for some in product(*map(expanded, value))] if isinstance(value, list) else [value]


@given(VALUES)
def test_variants_are_all_that_alternatives_can_make(value) -> None:
    found = variants(parse(json.dumps({"top": value})))
    assert [variant.value.plain()["top"] for variant in found] == expanded(value)
    assert len({tuple(choice.path for choice in variant.choices) for variant in found}) == 1


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("{choose: []}", "`choose` has no alternative @ design.levels[1].capacity_words.choose"),
        ("{choose: 16}", "`choose` is not a list @ design.levels[1].capacity_words.choose"),
        ("{choose: [16], or: 32}", "'or' stands beside `choose` @ design.levels[1].capacity_words.or"),
        ("{choose: [16, -1]}", "-1 is below 0 @ design.levels[1].capacity_words.choose[1]"),
        ("{choose: [16, [1, 2]]}", "a list is not a whole number @ design.levels[1].capacity_words.choose[1]"),
    ],
)
def test_a_fault_of_a_choice_is_said_once_at_its_line(new: str, expected: str) -> None:
    (only,) = said("{choose: [16, 32, 64]}", new)
    assert only.startswith(f"toy.yaml:7: {expected}\n")


def test_a_feature_that_is_none_is_shown_at_its_alternative() -> None:
    (only,) = said("- [B <- A]", "- [B <- A, B]")
    assert only.startswith("toy.yaml:11: 'B' is not a skipping feature @ design.levels[1].skipping.choose[1][1]")


def test_a_fault_outside_of_choices_is_said_once() -> None:
    (only,) = said("compute: {name: mac}", "compute: {name: mac, gates: true}")
    assert only.startswith("toy.yaml:12: unknown field 'gates' @ design.compute")


def test_a_tensor_that_the_workload_lacks_is_shown_at_its_alternative() -> None:
    workload = "workload: {einsum: 'Z[m] = A[m,k] * B[k]', shape: {M: 4, K: 4}}\n"
    (only,) = [str(fault) for fault in faults(parse(DESIGN.replace("- [B <- A]", "- [W <- A]") + workload, "toy.yaml"))]
    assert only.startswith("toy.yaml:11: ")
    assert "skipping.choose[1][0]" in only


def test_too_many_variants_are_refused_with_both_numbers() -> None:
    many = ", ".join(map(str, range(1, 2001)))
    (only,) = said("[16, 32, 64]", f"[{many}, {many}]")
    assert only.startswith("toy.yaml:1: the choices make 16,000 variants, at most 10,000 can be searched @ design")


def test_a_design_with_open_choices_is_no_design() -> None:
    with pytest.raises(InputError) as caught:
        build(open_design())
    assert [str(fault).splitlines()[0] for fault in caught.value.faults] == [
        "toy.yaml:5: a choice is left open @ design.levels[0].formats.A",
        "toy.yaml:7: a choice is left open @ design.levels[1].capacity_words",
        "toy.yaml:8: a choice is left open @ design.levels[1].skipping",
    ]


def test_the_schema_admits_a_choice_in_place_of_a_value() -> None:
    capacity = schema()["$defs"]["LevelModel"]["properties"]["capacity_words"]
    plain, choice = capacity["anyOf"]
    assert plain["description"] == "absent: unbounded"
    assert choice["properties"][KEY] == {"type": "array", "items": plain, "minItems": 1}
