"""The fine-grained actions that cost energy: what is done (read, fill, update, compute), how (actual, gated, skipped),
to what (data, metadata), and what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DATA_ACTIONS = ("read", "fill", "update")
"""A read serves a level's children; a fill brings a tile in from the parent; an update brings a result from a child."""

OUTCOMES = ("actual", "gated", "skipped")
"""An actual action happens; a gated one idles for its cycle; a skipped one takes no cycle."""

STORAGE_ACTIONS = tuple(
    f"{prefix}{kind}{action}"
    for action in DATA_ACTIONS
    for kind in ("", "metadata_")
    for prefix in ("", *(f"{outcome}_" for outcome in OUTCOMES[1:]))
)
COMPUTE_ACTIONS = ("compute", *(f"{outcome}_compute" for outcome in OUTCOMES[1:]))
"""Names that an energy table of a storage level, or of compute, may have."""


@dataclass(frozen=True)
class EnergyTable:
    """Energy in pJ of one access (of one block for data, of one row for metadata, of one compute), by action name.

    Names are ``{read,fill,update,metadata_read,metadata_fill,metadata_update,compute}``, each alone for the actual
    action or with the prefix ``gated_`` or ``skipped_``; a name that is absent costs ``0``. ``source`` says where the
    numbers come from. ``parts``, where they are known, say what of these energies each block of the design takes; together
    they are all of it.
    """

    energies_pj: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def pj(self, action: str, outcome: str = "actual") -> float:
        """Energy of one ``action`` with ``outcome``."""
        return self.energies_pj.get(action if outcome == "actual" else f"{outcome}_{action}", 0.0)
