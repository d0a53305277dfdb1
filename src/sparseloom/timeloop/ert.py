"""The energy reference table: energies of a component's actions, raw and as our own energy tables."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

from sparseloom.arch.actions import EnergyTable
from sparseloom.document import Node
from sparseloom.timeloop.reader import Reader

Tables = dict[str, dict[str, float]]
"""Energy in pJ by component (the last part of its path, without its range) and action."""

STORAGE_ACTIONS: Final[dict[str, tuple[str, ...]]] = {
    "read": ("random_read", "read"),
    "fill": ("random_fill", "write"),
    "update": ("random_update", "update", "write"),
    "gated_read": ("gated_read",),
    "gated_fill": ("gated_fill", "gated_write"),
    "gated_update": ("gated_update", "gated_write"),
    "skipped_read": ("skipped_read",),
    "skipped_fill": ("skipped_fill", "skipped_write"),
    "skipped_update": ("skipped_update", "skipped_write"),
    "metadata_read": ("random_metadata_read", "metadata_read"),
    "metadata_fill": ("random_metadata_fill", "metadata_write"),
    "metadata_update": ("random_metadata_update", "metadata_update", "metadata_write"),
    "gated_metadata_read": ("gated_metadata_read",),
    "gated_metadata_fill": ("gated_metadata_fill", "gated_metadata_write"),
    "gated_metadata_update": ("gated_metadata_update", "gated_metadata_write"),
    "skipped_metadata_read": ("skipped_metadata_read",),
    "skipped_metadata_fill": ("skipped_metadata_fill", "skipped_metadata_write"),
    "skipped_metadata_update": ("skipped_metadata_update", "skipped_metadata_write"),
}
COMPUTE_ACTIONS: Final[dict[str, tuple[str, ...]]] = {
    "compute": ("mac_random", "mult_random", "mac", "mult", "compute"),
    "gated_compute": ("mac_gated", "mult_gated", "compute_gated", "gated_compute"),
    "skipped_compute": ("mac_skipped", "mult_skipped", "compute_skipped", "skipped_compute"),
}
"""Our action, and the names of the table that give its energy, the first that is there.

An action of a kind (gated, skipped, metadata) takes its energy from entries of that kind only. Timeloop of 2022 goes on
to others (a skipped read without an entry costs a gated one, an idle one, or a full read): an accident of its look-up
that the model's Timeloop conventions repeat from the raw table.
"""


def read_ert(node: Node, reader: Reader) -> Tables:
    """Read the value of the top-level key ``ERT``: the largest energy over the argument variants of each action.

    v0.3 and v0.4 list tables with ``name`` and ``actions``; v0.2 maps the component's path to its actions, each a
    number or a list of ``{arguments, energy}``.
    """
    fields = reader.fields(node, "ERT")
    found: Tables = {}
    if not reader.require(node, fields, "tables"):
        return found
    for title, actions in _tables(fields["tables"], reader):
        name = component_name(reader.text(title) or "")
        if name in found:
            what = f"two energy tables are for a component named {name}"
            reader.fault(title, what, "give each component a name of its own")
        found[name] = actions
    return found


def component_name(path: str) -> str:
    """The last part of a component's path, without its range: ``a.PE[0..255].LRF[1..4]`` is ``LRF``."""
    depth, start = 0, 0
    for i, char in enumerate(path):
        depth += (char == "[") - (char == "]")
        if char == "." and depth == 0:
            start = i + 1
    return path[start:].split("[")[0]


def _tables(node: Node, reader: Reader) -> list[tuple[Node, dict[str, float]]]:
    if isinstance(node.value, dict):
        titles = ((Node(key, child.file, child.line, child.path), child) for key, child in node.value.items())
        return [(title, _mapped_actions(child, reader)) for title, child in titles]
    found = []
    for item in reader.items(node):
        fields = reader.fields(item, "ERT table")
        if reader.require(item, fields, "name", "actions"):
            found.append((fields["name"], _listed_actions(fields["actions"], reader)))
    return found


def _listed_actions(node: Node, reader: Reader) -> dict[str, float]:
    energies: dict[str, float] = {}
    for item in reader.items(node):
        fields = reader.fields(item, "ERT action")
        if not reader.require(item, fields, "name", "energy"):
            continue
        name, energy = reader.text(fields["name"]), reader.number(fields["energy"])
        if name is not None and energy is not None:
            energies[name] = max(energies.get(name, 0.0), float(energy))
    return energies


def _mapped_actions(node: Node, reader: Reader) -> dict[str, float]:
    if not isinstance(node.value, dict):
        reader.fault(
            node, f"'{node.plain()}' stands where a component's actions are expected", "write `read: 1.5` lines"
        )
        return {}
    energies: dict[str, float] = {}
    for name, child in node.value.items():
        if not isinstance(child.value, list):
            variants: list[Node | None] = [child]
        else:
            fields = [reader.fields(item, "ERT action") for item in child.value]
            variants = [each.get("energy") for each in fields]
        values = [reader.number(variant) for variant in variants]
        energies[name] = max((float(value) for value in values if value is not None), default=0.0)
    return energies


def energy_table(actions: dict[str, float], compute: bool, file: str) -> EnergyTable:
    """Our energies of one component, taken from its raw ones as :data:`STORAGE_ACTIONS` says."""
    chosen: dict[str, float] = {}
    for action, names in (COMPUTE_ACTIONS if compute else STORAGE_ACTIONS).items():
        name = next((name for name in names if name in actions), None)
        if name is not None:
            chosen[action] = actions[name]
    return EnergyTable(chosen, f"Timeloop ERT, {PurePath(file).name}")
