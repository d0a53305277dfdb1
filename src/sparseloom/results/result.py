"""One evaluation of one mapping of a workload on a design, by whichever back end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sparseloom.results.actions import ComputeActions, LevelActions, Outcomes

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class Result:
    """Cycles, energy and every action, with what was assumed on the way.

    ``origin`` is the back end (``model``, ``loopnest``), ``conventions`` the rules of counting it followed. ``levels``
    are the storage levels, outermost first; ``computes`` equals ``compute.outcomes``. ``utilization`` is in [0, 1].
    ``bottleneck`` says in words what sets the cycles, ``loopnest`` shows the mapping. ``assumptions`` is what the
    numbers rest on, ``ignored`` what the input said and was not used, ``notes`` whatever else a reader should know.
    ``intervals`` bounds a number from below and above where the back end knows only bounds, or holds most of the draws of
    random tensors (``{"cycles": (90, 120)}``); a note says which.
    """

    origin: str
    cycles: float
    energy_pj: float
    utilization: float
    computes: Outcomes
    compute: ComputeActions
    levels: Mapping[str, LevelActions]
    conventions: str = ""
    workload: str = ""
    design: str = ""
    bottleneck: str = ""
    loopnest: str = ""
    assumptions: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        from sparseloom.results.table import text

        return text(self)

    def to_dict(self) -> dict[str, object]:
        """The values as JSON holds them; ``sparseloom schema result`` describes them."""
        from sparseloom.results.file import to_dict

        return to_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object], file: str = "") -> Result:
        """The inverse of :meth:`to_dict`. Raises InputError with every fault, each naming ``file``."""
        from sparseloom.results.file import from_dict

        return from_dict(values, file)

    def to_json(self, path: str | Path) -> None:
        """Write a JSON file, at once or not at all. Raises InputError when the file cannot be written."""
        from sparseloom.results.file import write

        write(self, path)

    def to_frame(self) -> polars.DataFrame:
        """A row for each level, tensor, action and outcome, metadata rank by rank.

        Columns: ``level``, ``tensor`` (null for computes), ``action`` (``read``, ``fill``, ``update``, ``compute``),
        ``kind`` (``data``, ``metadata``, ``payload``), ``rank`` (of the format, 0 topmost; null for data), ``outcome``,
        ``count`` (words, units or computes). ``.to_pandas()`` gives what notebooks expect.
        """
        from sparseloom.results.table import frame

        return frame(self)
