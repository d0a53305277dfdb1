"""One line of a comparison with published numbers: what a paper says, what another model made of it, what ours says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

TOLERANCE = 1e-4
"""Two relative errors this close count as equal: a density is turned into a whole number of nonzeros."""


@dataclass(frozen=True)
class Row:
    """``what`` of a ``design``, in ``unit``.

    ``paper`` is what was measured, ``thesis`` what the thesis' model says, ``ours`` what ours says. The errors are
    relative to ``paper`` and signed, but for rows that stand for a mean of absolute errors. ``note`` says what was
    assumed, or why there is nothing to compare.
    """

    design: str
    what: str
    unit: str = ""
    paper: float | None = None
    thesis: float | None = None
    ours: float | None = None
    error: float | None = None
    thesis_error: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """``better``, ``equal`` or ``worse`` than the thesis' error; ``no data``; empty if the thesis has no error."""
        if self.error is None:
            return "no data"
        if self.thesis_error is None:
            return ""
        difference = abs(self.error) - abs(self.thesis_error)
        return "equal" if abs(difference) <= TOLERANCE else "worse" if difference > 0 else "better"


def measured(
    design: str,
    what: str,
    unit: str,
    paper: float,
    thesis: float | None,
    ours: float,
    note: str,
    decimals: int | None = None,
) -> Row:
    """A row with its errors. ``decimals`` is the precision that the paper prints: our number is rounded to it first."""
    rounded = ours if decimals is None else round(ours, decimals)
    thesis_error = None if thesis is None else thesis / paper - 1
    return Row(design, what, unit, paper, thesis, ours, rounded / paper - 1, thesis_error, note)


def mean_error(rows: Sequence[Row], what: str, note: str, thesis_error: float | None = None) -> Row:
    """The mean of the absolute errors of ``rows``, beside what the thesis states or, with its numbers in all rows, the
    same of those."""
    theirs = [abs(row.thesis_error) for row in rows if row.thesis_error is not None]
    if thesis_error is None and len(theirs) == len(rows):
        thesis_error = fmean(theirs)
    ours = fmean(abs(row.error) for row in rows if row.error is not None)
    return Row(rows[0].design, what, error=ours, thesis_error=thesis_error, note=note)
