"""Timeloop's constraints as ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sparseloom.errors import InputError
from sparseloom.mapping.constraints import Limit
from sparseloom.timeloop import TimeloopInput, load

Texts = dict[str, str]

CONSTRAINTS = """\
architecture_constraints:
  targets:
  - {target: Main, type: temporal, factors: K=1 M<=4, permutation: KN}
  - {target: Main, type: spatial, factors: N=0 K1, permutation: MNK, split: 1}
  - {target: Buffer, type: bypass, keep: [A], bypass: [B]}
mapspace_constraints:
  targets:
  - {target: Buffer, type: temporal, factors: N>=2}
  - {target: Buffer, type: utilization, min: 0.25}
"""


@pytest.fixture
def search(toy: Texts, tmp_path: Path) -> Callable[[str], TimeloopInput]:
    def read(constraints: str) -> TimeloopInput:
        texts = {name: text for name, text in toy.items() if not text.startswith("mapping")} | {
            "limits.yaml": constraints
        }
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        return load([tmp_path / name for name in texts], searching=True)

    return read


def test_factors_orders_axes_and_tensors_are_read(search) -> None:
    found = search(CONSTRAINTS).constraints
    main, buffer = found.of("Main"), found.of("Buffer")
    assert main.temporal == {"K": Limit(1, 1), "M": Limit(1, 4)}
    assert main.inner == ("N", "K")
    assert main.spatial == {"N": Limit(whole=True), "K": Limit(1, 1)}
    assert main.axes == {"M": "X", "N": "Y", "K": "Y"}
    assert (buffer.keep, buffer.bypass) == (frozenset("A"), frozenset("B"))
    assert buffer.temporal == {"N": Limit(2)}
    assert found.least_parallelism == 0.25


def test_constraints_are_passed_over_unless_a_mapping_is_searched(toy: Texts, tmp_path: Path) -> None:
    for name, text in {**toy, "limits.yaml": CONSTRAINTS}.items():
        (tmp_path / name).write_text(text)
    found = load([*(tmp_path / name for name in toy), tmp_path / "limits.yaml"])
    assert not found.constraints.levels or not any(level.temporal for level in found.constraints.levels.values())
    assert any("architecture_constraints is given and not used" in note for note in found.notes)


def test_the_older_section_names_its_constraints(search) -> None:
    found = search("mapspace:\n  constraints:\n  - {target: Main, type: temporal, factors: K1}\n").constraints
    assert found.of("Main").temporal == {"K": Limit(1, 1)}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("target: Main, type: temporal", "target: Mian, type: temporal", "unknown level 'Mian'"),
        ("type: utilization", "type: use", "unknown type of constraint 'use'"),
        ("K=1 M<=4", "K=1 J=4", "unknown dimension 'J' in the factors"),
        ("K=1 M<=4", "K=1 M~4", "'M~4' is not a factor"),
        ("permutation: KN}", "permutation: KJ}", "unknown dimension 'J' in the permutation"),
        ("keep: [A]", "keep: [C]", "unknown data-space 'C'"),
        (
            "target: Buffer, type: temporal, factors: N>=2",
            "target: Main, type: temporal, factors: K2",
            "is limited to 2",
        ),
        ("type: temporal, factors: N>=2", "type: temporal, factor: N2", "unknown key 'factor'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(search, before: str, after: str, words: str) -> None:
    assert before in CONSTRAINTS
    with pytest.raises(InputError) as error:
        search(CONSTRAINTS.replace(before, after))
    (fault,) = [fault for fault in error.value.faults if words in fault.what]
    assert "limits.yaml:" in fault.where


def test_mapper_settings_are_not_used_and_it_is_said_what_is(search) -> None:
    found = search(f"{CONSTRAINTS}mapper: {{algorithm: random, timeout: 100}}\n")
    note = "mapper is given and not used: the search is what --objective and --budget say"
    assert any(note in each for each in found.notes)
