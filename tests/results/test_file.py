import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.errors import InputError
from sparseloom.results import ComputeActions, LevelActions, Outcomes, RankUnits, Result, TensorActions
from sparseloom.results.file import read, schema, write

counts = st.one_of(st.integers(0, 2**53), st.floats(0, 2.0**53))
outcomes = st.builds(Outcomes, counts, counts, counts)
ranks = st.lists(st.builds(RankUnits, outcomes, outcomes), max_size=12).map(tuple)
names = st.text("ABCxyz01", min_size=1, max_size=3)
tensors = st.builds(
    TensorActions,
    *(outcomes, outcomes, outcomes, ranks, ranks, ranks, counts, counts, counts, counts, counts, counts),
    streamed=st.booleans(),
)


@st.composite
def levels(draw: st.DrawFn) -> dict[str, LevelActions]:
    found = draw(st.lists(names, max_size=3, unique=True))
    capacities = st.one_of(st.none(), st.integers(0, 2**40))
    bounds = st.sampled_from(["", "read", "write", "shared"])
    return {
        name: draw(
            st.builds(
                LevelActions,
                *(st.just(name), st.dictionaries(names, tensors, max_size=2), counts, counts, counts),
                *(capacities, capacities, bounds),
            )
        )
        for name in found
    }


results = st.builds(
    Result,
    origin=st.sampled_from(["model", "loopnest"]),
    cycles=counts,
    energy_pj=counts,
    utilization=st.floats(0, 1),
    computes=outcomes,
    compute=st.builds(ComputeActions, names, outcomes, counts, counts, counts, counts, st.integers(1, 9), counts),
    levels=levels(),
    loopnest=st.text(max_size=20),
    assumptions=st.lists(names, max_size=2).map(tuple),
    intervals=st.dictionaries(names, st.tuples(counts, counts), max_size=2),
)


@given(results)
def test_a_result_survives_json(result: Result) -> None:
    assert Result.from_dict(json.loads(json.dumps(result.to_dict()))) == result


@given(results)
def test_every_result_obeys_the_published_schema(result: Result) -> None:
    published = schema()
    assert _violations(json.loads(json.dumps(result.to_dict())), published, published, "$") == []


def test_the_schema_refuses_what_it_should(toy_result: Result) -> None:
    published = schema()
    values: Any = json.loads(json.dumps(toy_result.to_dict()))
    values["levels"]["DRAM"]["A"]["reads"]["actual"] = "many"
    del values["cycles"]
    values["speed"] = 1
    assert _violations(values, published, published, "$") == [
        "$.cycles is missing",
        "$.levels.DRAM.A.reads.actual is no integer or number",
        "$.speed is unknown",
    ]


def _violations(value: Any, rule: dict[str, Any], root: dict[str, Any], path: str) -> list[str]:
    """What breaks the part of JSON Schema that the published schema uses, sorted."""
    if "$ref" in rule:
        return _violations(value, root["$defs"][rule["$ref"].rpartition("/")[2]], root, path)
    if "anyOf" in rule:
        if any(not _violations(value, option, root, path) for option in rule["anyOf"]):
            return []
        return [f"{path} is no {' or '.join(option['type'] for option in rule['anyOf'])}"]
    if value not in rule.get("enum", [rule.get("const", value)]):
        return [f"{path} has a value that is not allowed"]
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int}
    kind = kinds.get(rule["type"], (int, float))
    if not isinstance(value, kind) or (isinstance(value, bool) and rule["type"] != "boolean"):
        return [f"{path} is no {rule['type']}"]
    found = []
    if isinstance(value, dict):
        found += [f"{path}.{key} is missing" for key in rule.get("required", ()) if key not in value]
        for key, inner in value.items():
            patterns = [r for pattern, r in rule.get("patternProperties", {}).items() if re.search(pattern, key)]
            inside = next(iter(patterns), rule.get("additionalProperties", False))
            inside = rule.get("properties", {}).get(key, inside)
            found += _violations(inner, inside, root, f"{path}.{key}") if inside else [f"{path}.{key} is unknown"]
    if isinstance(value, list):
        inside = [*rule.get("prefixItems", ()), *(rule.get("items") for _ in value)]
        found += [v for i, x in enumerate(value) for v in _violations(x, inside[i], root, f"{path}[{i}]")]
    return sorted(found)


def test_the_dict_leads_from_level_to_tensor_to_action_to_outcome(toy_result: Result) -> None:
    values: Any = toy_result.to_dict()
    assert (values["cycles"], values["energy_pj"], values["utilization"]) == (2048, 205313.5, 0.5)
    assert values["computes"] == {"actual": 1024, "gated": 3, "skipped": 5}
    assert list(values["levels"]) == ["DRAM", "PE"]
    assert values["levels"]["DRAM"]["A"]["reads"] == {"actual": 1024, "gated": 0, "skipped": 3072}
    units = values["levels"]["DRAM"]["A"]["metadata"]["reads"]["rank1"]
    assert units["metadata"] == {"actual": 1024.5, "gated": 0, "skipped": 3071.5}


def test_numpy_numbers_become_plain_ones() -> None:
    some = Outcomes(np.int64(3), np.float64(2.5), np.float64(4))
    values = Result("model", np.int64(7), np.float64(1), 1.0, some, ComputeActions("MAC", some), {}).to_dict()
    assert json.loads(json.dumps(values))["computes"] == {"actual": 3, "gated": 2.5, "skipped": 4}
    assert values["cycles"] == 7


def test_all_faults_of_a_file_are_named_with_their_paths(toy_result: Result) -> None:
    values: Any = toy_result.to_dict()
    values["levels"]["DRAM"]["A"]["reads"]["actual"] = "many"
    values["speed"] = 1
    with pytest.raises(InputError) as caught:
        Result.from_dict(values, "run.json")
    paths = {fault.path for fault in caught.value.faults}
    assert "speed" in paths
    assert any(path.startswith("levels.DRAM.A.reads.actual") for path in paths)
    assert {fault.where for fault in caught.value.faults} == {"run.json"}


def test_a_level_without_its_summary_is_a_fault(toy_result: Result) -> None:
    values: Any = toy_result.to_dict()
    del values["level_summary"]["PE"]
    with pytest.raises(InputError, match="'levels' and 'level_summary' differ in PE"):
        Result.from_dict(values)


@pytest.mark.parametrize(
    ("text", "what"),
    [("{", "run.json:1: not JSON"), ("[]", "not an object"), ("\udcff", "not JSON text"), ("[" * 99999, "JSON text")],
)
def test_what_is_no_result_is_refused_with_its_place(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, "utf-8", "surrogateescape")
    with pytest.raises(InputError, match=what):
        read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the file: No such file"):
        read(tmp_path / "none.json")


def test_a_written_file_reads_back(tmp_path: Path, toy_result: Result) -> None:
    toy_result.to_json(tmp_path / "run.json")
    assert read(tmp_path / "run.json") == toy_result
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, toy_result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InputError, match="cannot write the file: No space left on device"):
        write(toy_result, path)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["run.json"]


def test_a_link_stays_a_link_to_the_new_result(tmp_path: Path, toy_result: Result) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    toy_result.to_json(tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert read(tmp_path / "real.json") == toy_result
