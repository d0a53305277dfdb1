"""Which energy an action takes from a table, by convention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sparseloom.arch.actions import EnergyTable
from sparseloom.model.conventions import Conventions

_WRITES: Final = {"fill": ("random_fill", "write"), "update": ("random_update", "random_fill", "write")}

IDLE: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("read", "actual"): ("random_read", "read"),
    ("fill", "actual"): _WRITES["fill"],
    ("update", "actual"): _WRITES["update"],
    ("read", "gated"): ("gated_read", "idle", "read"),
    ("fill", "gated"): ("gated_fill", "gated_write", "idle", "write"),
    ("update", "gated"): ("gated_update", "gated_write", "idle", "write"),
    ("read", "skipped"): ("skipped_read", "gated_read", "idle", "read"),
    ("fill", "skipped"): ("skipped_fill", "skipped_write", "gated_write", "idle", "write"),
    ("update", "skipped"): ("skipped_update", "skipped_write", "gated_write", "idle", "write"),
    ("metadata_read", "actual"): ("random_metadata_read", "metadata_read", "metadata_idle", "idle"),
    ("metadata_fill", "actual"): ("random_metadata_fill", "metadata_write", "metadata_idle", "idle"),
    ("metadata_update", "actual"): ("random_metadata_update", "metadata_write", "metadata_idle", "idle"),
    ("metadata_read", "gated"): ("gated_metadata_read", "metadata_idle", "metadata_read"),
    ("metadata_fill", "gated"): ("gated_metadata_fill", "gated_metadata_write", "metadata_idle", "metadata_write"),
    ("metadata_update", "gated"): ("gated_metadata_update", "gated_metadata_write", "metadata_idle", "metadata_write"),
    ("metadata_read", "skipped"): ("skipped_metadata_read", "metadata_idle", "metadata_read"),
    ("metadata_fill", "skipped"): (
        "skipped_metadata_fill", "skipped_metadata_write", "metadata_idle", "metadata_write",
    ),
    ("metadata_update", "skipped"): (
        "skipped_metadata_update", "skipped_metadata_write", "metadata_idle", "metadata_write",
    ),
    ("compute", "actual"): ("mac_random", "mult_random", "mac", "mult", "compute"),
    ("compute", "gated"): ("mac_gated", "mult_gated", "compute_gated", "mac", "mult", "compute"),
    ("compute", "skipped"): (
        "mac_skipped", "mult_skipped", "compute_skipped",
        "mac_gated", "mult_gated", "compute_gated", "mac", "mult", "compute",
    ),
}  # fmt: skip
"""Entries tried in turn under ``idle``. Source: include/model/topology.hpp of Timeloop at ee66b62."""


def _own_or_gated() -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for kind in ("", "metadata_"):
        for action, names in (("read", ("read",)), ("fill", ("fill", "write")), ("update", ("update", "write"))):
            gated = tuple(f"gated_{kind}{name}" for name in names)
            found[kind + action, "actual"] = (f"random_{kind}{action}", *(f"{kind}{name}" for name in names))
            found[kind + action, "gated"] = gated
            found[kind + action, "skipped"] = (*(f"skipped_{kind}{name}" for name in names), *gated)
    gated = ("mac_gated", "mult_gated", "compute_gated")
    found["compute", "actual"] = IDLE["compute", "actual"]
    found["compute", "gated"] = gated
    found["compute", "skipped"] = ("mac_skipped", "mult_skipped", "compute_skipped", *gated)
    return found


SKIPPED_AS_GATED: Final = _own_or_gated()
"""Entries tried in turn under ``skipped-as-gated``: a gated or skipped action costs nothing without one of its own, a skipped
one takes that of the gated one. Source: the same file at 4cf6d4c."""

DEFAULT_ACCESS_PJ: Final = 0.487462
"""One access to a level whose table has no entry for it: what the tool's built-in table gave for an 8-bit register in the
MICRO 2022 artifact (fig. 1)."""


def action_energy(
    conventions: Conventions, table: EnergyTable, raw: Mapping[str, float] | None, action: str, outcome: str
) -> float:
    """Energy in pJ of one action. ``raw`` are the entries of a Timeloop table, where there is one."""
    if conventions.energy == "own-entry" or raw is None:
        return table.pj(action, outcome)
    names = (IDLE if conventions.energy == "idle" else SKIPPED_AS_GATED)[action, outcome]
    for name in names:
        if name in raw:
            return raw[name]
    built_in = outcome == "actual" and action in ("read", "fill", "update")
    return DEFAULT_ACCESS_PJ if built_in else 0.0
