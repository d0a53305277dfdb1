"""Whole inputs of each version, and files that somebody has damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.timeloop.conftest import OLD

from sparseloom.errors import Fault, SparseloomError
from sparseloom.timeloop import TimeloopInput, load

Texts = dict[str, str]
Load = Callable[[Texts], TimeloopInput]
CASES = Path(__file__).parents[3] / "shared" / "reference" / "sparseloop"


@pytest.mark.parametrize("version", ["0.2", "0.3"])
def test_versions_02_and_03_are_read_alike(toy: Texts, load_texts: Load, version: str) -> None:
    expected = load_texts(toy)
    toy["arch.yaml"] = toy["arch.yaml"].replace("version: 0.3", f"version: {version}")
    found = load_texts(toy)
    assert found.version == version
    assert (found.workload, found.design, found.mapping) == (expected.workload, expected.design, expected.mapping)
    assert found.details == expected.details


def test_keys_with_hyphens_and_underscores_are_the_same(toy: Texts, load_texts: Load) -> None:
    expected = load_texts(toy)
    for name, text in toy.items():
        for key in ("block-size", "word-bits", "data-spaces", "read-write", "action-optimization", "condition-on"):
            text = text.replace(f"{key}:", f"{key.replace('-', '_')}:")
        toy[name] = text
    assert load_texts(toy) == expected


def test_values_are_read_only_views_of_the_files(toy: Texts, load_texts: Load) -> None:
    found = load_texts(toy)
    assert load_texts(toy) == found
    assert found.design.name == "chip"
    assert found.notes == ()
    assert [each.path.rpartition(".")[2] for each in found.ignored] == ["attributes"]


def _damage(text: str, line: int, kind: str, place: int, letter: str) -> str:
    """``text`` with one line gone, one letter of it changed, or a word of it put in place of a number."""
    lines = text.splitlines()
    line %= len(lines)
    old = lines[line]
    if kind == "delete":
        del lines[line]
    elif kind == "letter" and old:
        place %= len(old)
        lines[line] = old[:place] + letter + old[place + 1 :]
    elif kind == "number":
        lines[line] = "".join("x" if char.isdigit() else char for char in old)
    elif kind == "value":
        lines[line] = old.partition(":")[0] + f": {letter}"
    elif kind == "double":
        lines.insert(line, old)
    return "\n".join(lines) + "\n"


_KINDS = st.sampled_from(["delete", "letter", "number", "value", "double"])
_LETTERS = st.sampled_from([*"aZ0-9:{}[],&*!|>#'\"%@ \t~", "é", "null", "[]", "{}", "-1", "0", "1e400", "true", ".nan"])
_WOUNDS = st.lists(st.tuples(st.integers(0, 4000), _KINDS, st.integers(0, 200), _LETTERS), min_size=1, max_size=3)


def _survives(files: list[Path], searching: bool = False) -> None:
    """Anything but an error of ours with faults, or values, ends the test."""
    faults: tuple[Fault, ...] = (Fault("none"),)
    try:
        load(files, searching)
    except SparseloomError as error:
        faults = error.faults
    assert faults
    assert all(fault.what for fault in faults)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wounds=_WOUNDS)
def test_damaged_files_give_our_own_errors_or_values(
    toy: Texts, tmp_path: Path, wounds: list[tuple[int, str, int, str]]
) -> None:
    text = "".join(toy.values())
    for wound in wounds:
        text = _damage(text, *wound)
    (tmp_path / "all.yaml").write_text(text, encoding="utf-8")
    _survives([tmp_path / "all.yaml"])


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wounds=_WOUNDS)
def test_damaged_files_before_version_02_give_our_own_errors_or_values(
    tmp_path: Path, wounds: list[tuple[int, str, int, str]]
) -> None:
    text = OLD
    for wound in wounds:
        text = _damage(text, *wound)
    (tmp_path / "old.yaml").write_text(text, encoding="utf-8")
    _survives([tmp_path / "old.yaml"], searching=True)


@pytest.mark.skipif(not CASES.is_dir(), reason="the reference cases are not beside the repository")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wounds=_WOUNDS, number=st.integers(0, 3))
def test_damaged_reference_files_give_our_own_errors_or_values(
    tmp_path: Path, wounds: list[tuple[int, str, int, str]], number: int
) -> None:
    folder = sorted((CASES / "exercises_v04").iterdir())[number]
    names = ("arch.yaml", "problem.yaml", "timeloop-mapper.map.yaml", "timeloop-mapper.ERT.yaml")
    texts = [(folder / name).read_text() for name in names]
    for wound in wounds:
        which = wound[0] % len(texts)
        texts[which] = _damage(texts[which], *wound)
    for name, text in zip(names, texts, strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    _survives([tmp_path / name for name in names])
