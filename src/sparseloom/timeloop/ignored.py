"""Keys that are passed over because Timeloop passes over them, or because nothing here depends on them: one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sparseloom.timeloop.dialect import canonical

ALL: Final = ("0.1", "0.2", "0.3", "0.4")


@dataclass(frozen=True)
class Ignored:
    """A key that stood in a file and was not used: ``where`` is ``file:line``, ``path`` the key path."""

    where: str
    path: str
    version: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.path} is ignored in version {self.version}: {self.reason}"


_ENERGY = "it serves the energy estimation, whose outcome is the ERT"
_FRONT_END = "it is a note of Timeloop's front end to itself"
_PHYSICAL = "it describes the component to the energy estimation, whose outcome is the ERT"
_SEARCH = "it guides the search for a mapping; the mapping is taken as it stands"
_MISSPELT = "this version of Timeloop reads `flattened-rankIDs` only"

_ATTRIBUTES = (
    "technology", "type", "n_banks", "num_banks", "n_ports", "num_ports", "n_rdwr_ports", "n_rw_ports",
    "n_rd_ports", "n_wr_ports",
    "metadata_n_banks", "metadata_block_size", "metadata_counter_width", "counter_width", "ag_datawidth",
    "control_queue_depth", "decoder_width", "phy_datawidth", "phy_metadata_datawidth", "physical_data_storage_depth",
    "physical_metadata_storage_depth", "multiplier_width", "adder_width", "has_power_gating", "power_gated_at",
    "global_cycle_seconds", "cycle_time", "latency", "clockrate", "version",
)  # fmt: skip

TABLE: Final[tuple[tuple[tuple[str, ...], str, tuple[str, ...], str], ...]] = (
    (ALL, "top", ("compound_components",), _ENERGY),
    (
        ALL,
        "top",
        ("ART", "ERT_summary", "ART_summary", "energy_calculation", "action_counts"),
        "no result uses areas or earlier estimates",
    ),
    (ALL, "top", ("mapper", "architecture_constraints", "mapspace_constraints", "constraints", "mapspace"), _SEARCH),
    (ALL, "top", ("globals", "variables", "dumped_by_timeloop_front_end"), _FRONT_END),
    (ALL, "subtree", ("attributes",), _PHYSICAL),
    (ALL, "component", ("subclass",), _PHYSICAL),
    (("0.4",), "component", ("required_actions", "area_scale", "energy_scale"), _ENERGY),
    (("0.4",), "node", ("subclass", "required_actions", "area_scale", "energy_scale"), _PHYSICAL),
    (("0.4",), "node", ("constraints",), _SEARCH),
    (ALL, "storage attributes", _ATTRIBUTES, _PHYSICAL),
    (
        ("0.1",),
        "storage attributes",
        ("network_word_bits",),
        "it serves the energy of networks, which none is given for",
    ),
    (ALL, "compute attributes", (*_ATTRIBUTES, "width", "exponent", "mantissa", "sign"), _PHYSICAL),
    (ALL, "density", ("workload_tensor_size",), "the size follows from the problem's shape"),
    (("0.1", "0.2", "0.3"), "rank", ("flattened_rankIDs",), _MISSPELT),
    (("0.4",), "sparse", ("version",), _FRONT_END),
    (("0.1", "0.2", "0.3"), "sparse", ("version",), "the architecture's version holds"),
)
"""(versions, part of the file, keys, reason). Keys are in canonical spelling, save where the spelling matters."""

_REASONS: Final = {
    (version, section, key): reason for versions, section, keys, reason in TABLE for version in versions for key in keys
}
_BY_SPELLING: Final = frozenset({("rank", "flattened_rankIDs")})


def reason(version: str, section: str, key: str) -> str:
    """Why ``key`` is ignored in that part of a file of that version; empty when it is not."""
    spelt = key if (section, canonical(key)) in _BY_SPELLING else canonical(key)
    return _REASONS.get((version, section, spelt), "")
