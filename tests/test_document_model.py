import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.document import parse
from sparseloom.document_model import (
    Count,
    FileModel,
    Fraction,
    Name,
    Switch,
    file_schema,
    gather,
    join,
    place,
    section,
    split,
    validate,
)
from sparseloom.errors import Fault, InputError, WorkloadError


class Level(FileModel):
    name: Name
    capacity_bits: Count
    multicast: Switch = True


class Chip(FileModel):
    levels: tuple[Level, ...]
    density: Fraction | None = None
    spare: Level | None = None
    tiles: dict[str, Level] = {}  # noqa: RUF012  pydantic copies defaults


def faults(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        validate(Chip, parse(text, "toy.yaml"))
    return [str(fault) for fault in caught.value.faults]


def test_every_fault_of_a_file_is_named_with_line_and_key_path() -> None:
    text = """\
levels:
  - name: DRAM
    capasity_bits: 64
  - name: PE
    capacity_bits: -3
    multicast: 1
density: .nan
"""
    assert faults(text) == [
        "toy.yaml:2: required field missing @ levels[0].capacity_bits\n  how to fix: add `capacity_bits:`",
        "toy.yaml:3: unknown field 'capasity_bits' @ levels[0]\n  how to fix: did you mean 'capacity_bits'?",
        "toy.yaml:5: -3 is below 1 @ levels[1].capacity_bits\n  how to fix: write 1 or more",
        "toy.yaml:6: 1 is not true or false @ levels[1].multicast\n  how to fix: write true or false",
        "toy.yaml:7: nan is not a finite number @ density\n  how to fix: write a number, 0.5",
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("capacity_bits: 1.5", "1.5 is not a whole number"),
        ("capacity_bits: true", "true is not a whole number"),
        ("capacity_bits: '64'", "'64' is not a whole number"),
        ("capacity_bits: null", "nothing is not a whole number"),
        ("capacity_bits: [1]", "a list is not a whole number"),
        ("capacity_bits: 1000000000000000000000000", "1000000000000000000000000 is above 9007199254740992"),
        ("capacity_bits: 0", "0 is below 1"),
        ("name: 3", "3 is not text"),
        ("name: ''", "the text is empty"),
        (f"name: {'x' * 300}", "the text is longer than 200 characters"),
    ],
)
def test_a_wrong_value_is_shown_with_what_is_wanted(line: str, what: str) -> None:
    rest = "capacity_bits: 8" if line.startswith("name") else "name: DRAM"
    assert what in faults(f"levels: [{{{line}, {rest}}}]")[0]


def test_a_mapping_in_place_of_a_list_and_a_list_in_place_of_a_mapping_are_faults() -> None:
    assert "a mapping is not a list @ levels" in faults("levels: {a: 1}")[0]
    assert "a list is not a mapping @ spare" in faults("levels: []\nspare: [1]")[0]


def test_an_unknown_key_inside_a_table_of_models_is_suggested_from_the_right_model() -> None:
    text = "levels: []\ntiles: {a: {name: x, capacity_bits: 1, multycast: true}}"
    assert faults(text) == ["toy.yaml:2: unknown field 'multycast' @ tiles.a\n  how to fix: did you mean 'multicast'?"]


def test_a_good_file_becomes_a_frozen_value() -> None:
    chip = validate(Chip, parse("levels: [{name: DRAM, capacity_bits: 64}]\ndensity: 1"))
    assert chip.levels[0].capacity_bits == 64
    assert chip.density == 1.0
    with pytest.raises(ValueError, match="frozen"):
        chip.levels[0].name = "GLB"


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none(), st.lists(st.integers())))
def test_a_count_is_a_whole_number_from_one_to_two_to_the_53_and_nothing_else(value: object) -> None:
    class Holder(FileModel):
        count: Count

    legal = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 2**53
    node = parse("count: 1")
    object.__setattr__(node.value["count"], "value", value if not isinstance(value, list) else [])
    if legal:
        assert validate(Holder, node).count == value
    else:
        with pytest.raises(InputError):
            validate(Holder, node)


@given(st.floats())
def test_a_fraction_is_between_zero_and_one(value: float) -> None:
    class Holder(FileModel):
        share: Fraction

    node = parse("share: 1")
    object.__setattr__(node.value["share"], "value", value)
    if not math.isnan(value) and 0 <= value <= 1:
        assert validate(Holder, node).share == value
    else:
        with pytest.raises(InputError):
            validate(Holder, node)


def test_a_file_without_the_wanted_key_says_which_keys_it_has() -> None:
    with pytest.raises(InputError, match="there is no `design:` here, the keys are workload, mapping"):
        section(parse("workload: 1\nmapping: 2"), "design")


keys = st.text("abcXYZ_019", min_size=1).filter(lambda key: not key.isdigit())


@given(st.lists(st.one_of(keys, st.integers(0, 99)), max_size=6))
def test_a_key_path_is_read_back_as_it_was_written(steps: list[str | int]) -> None:
    assert split(join("", steps)) == tuple(steps)


def test_a_fault_without_a_place_takes_the_line_its_path_leads_to() -> None:
    node = parse("shape:\n  M: 4\n  K: 0\n", "w.yaml")
    assert place(node, Fault("bad", path="shape.K")) == Fault("bad", "w.yaml:3", "shape.K")
    assert place(node, Fault("bad", path="UOP(M)-CP(K)")).where == "w.yaml:1"
    assert place(node, Fault("bad", "other.yaml:9", "x")) == Fault("bad", "other.yaml:9", "x")


def test_gathered_faults_are_kept_and_placed() -> None:
    node, found = parse("einsum: x", "w.yaml"), list[Fault]()
    with gather(found, node.at(("einsum",))):
        raise WorkloadError([Fault("one"), Fault("two")])
    assert found == [Fault("one", "w.yaml:1", "einsum"), Fault("two", "w.yaml:1", "einsum")]


def test_the_schema_refuses_unknown_keys_and_describes_the_section() -> None:
    schema = file_schema("chip", Chip, "Chip")
    assert schema["required"] == ["chip"]
    assert schema["properties"]["chip"]["additionalProperties"] is False
    assert schema["$defs"]["Level"]["required"] == ["name", "capacity_bits"]
