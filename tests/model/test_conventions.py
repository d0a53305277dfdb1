"""docs/conventions.md: its examples run, and it names every convention and every choice."""

import doctest
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from tests.generators import Case, cases
from tests.model.counts import BUT_METADATA, words_and_computes

from sparseloom.errors import InputError, MappingError
from sparseloom.model.conventions import CHOICES, MICRO22, PROFILES, SPARSELOOM, Conventions
from sparseloom.model.evaluate import evaluate

PAGE = Path(__file__).parents[2] / "docs" / "conventions.md"
TEXT = PAGE.read_text("utf-8")
NAMES = [field.name for field in fields(Conventions)]


def test_every_example_of_the_page_comes_out_as_printed() -> None:
    found = doctest.testfile(str(PAGE), module_relative=False)
    assert found.failed == 0
    assert found.attempted > 0


def test_a_choice_that_would_change_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="reuse same-stride is about dense counts in proportion"):
        replace(SPARSELOOM, reuse="same-stride")
    with pytest.raises(InputError, match="instances average is about dense counts in proportion"):
        replace(MICRO22, metadata="encoding")
    with pytest.raises(InputError, match="unknown choice 'often' of the convention reuse"):
        replace(MICRO22, reuse="often")
    for name in ("energy", "first_visit", "gated_compute"):
        assert getattr(replace(SPARSELOOM, **{name: getattr(MICRO22, name)}), name) == getattr(MICRO22, name)
    for name in set(CHOICES) - {"metadata"}:
        assert getattr(replace(MICRO22, **{name: getattr(SPARSELOOM, name)}), name) == getattr(SPARSELOOM, name)
    assert {name for name in NAMES if name != "name"} == set(CHOICES)


def test_the_overview_is_the_profiles() -> None:
    table = TEXT[TEXT.index("| convention |") :].split("\n\n")[0]
    header, _, *rows = [[cell.strip("` ") for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert header == ["convention", *PROFILES]
    assert rows == [
        [name, *(getattr(profile, name) for profile in PROFILES.values())] for name in NAMES if name != "name"
    ]


def test_every_convention_has_a_section_that_names_its_choices() -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^#+ |\Z)", TEXT, re.MULTILINE | re.DOTALL))
    assert list(sections) == NAMES
    for name in NAMES[1:]:
        missing = {getattr(profile, name) for profile in PROFILES.values()} - set(
            re.findall(r"`([\w-]+)`", sections[name])
        )
        assert not missing, name


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cases(densities=("dense", "uniform")))
def test_without_its_conventions_an_average_instance_moves_and_computes_as_the_contract_says(case: Case) -> None:
    formats = [form for formats in case.design.features.formats.values() for form in formats.values()]
    assume(all(form.compressed for form in formats))  # `loop-ranks` takes a tensor with any format for compressed
    clean = evaluate(case.workload, case.design, case.mapping)
    try:
        found = evaluate(case.workload, case.design, case.mapping, BUT_METADATA)
    except MappingError as error:
        if "format" not in str(error):
            raise
        reject()  # loops cannot be assigned to the format
    assert words_and_computes(found) == pytest.approx(words_and_computes(clean))
