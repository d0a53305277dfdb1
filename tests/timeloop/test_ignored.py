"""The one table of keys that are passed over."""

from __future__ import annotations

import pytest

from sparseloom.timeloop.dialect import DIALECTS, SECTIONS, canonical, v01
from sparseloom.timeloop.ignored import ALL, TABLE, reason


def test_table_names_versions_and_parts_of_files_that_exist() -> None:
    assert set(ALL) == {v01.version, *DIALECTS}
    for versions, section, keys, why in TABLE:
        assert set(versions) <= set(ALL)
        assert section in SECTIONS
        assert all(canonical(key) == key for key in keys)
        assert why


def test_no_key_is_both_read_and_ignored_except_the_misspelt_one() -> None:
    both = {(section, key) for _, section, keys, _ in TABLE for key in keys if key in SECTIONS[section]}
    assert both == {("rank", "flattened_rankIDs")}


@pytest.mark.parametrize(
    ("version", "section", "key", "ignored"),
    [
        ("0.3", "rank", "flattened_rankIDs", True),
        ("0.3", "rank", "flattened-rankIDs", False),
        ("0.4", "rank", "flattened_rankIDs", False),
        ("0.2", "storage attributes", "n-banks", True),
        ("0.3", "node", "constraints", False),
        ("0.4", "node", "constraints", True),
        ("0.4", "storage attributes", "datawidth", False),
        ("0.1", "storage attributes", "network-word-bits", True),
        ("0.3", "storage attributes", "network-word-bits", False),
    ],
)
def test_what_is_ignored_depends_on_version_part_and_key(version: str, section: str, key: str, ignored: bool) -> None:
    assert bool(reason(version, section, key)) == ignored
