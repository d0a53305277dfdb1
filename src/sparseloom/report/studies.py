"""All studies one after the other: what was claimed, what holds, as a table, as JSON, and as a page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sparseloom import document
from sparseloom.report.study import STUDIES, VERDICTS, Study, study, written
from sparseloom.results.table import table

FORMAT: Final = 1
"""The version of the layout of :meth:`Studies.to_dict`."""


@dataclass(frozen=True)
class Studies:
    """The studies that were computed, in their order, and the names of those that were not, because of an interrupt."""

    done: tuple[Study, ...]
    left: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether no claim of those that were computed fails."""
        return all(each.holds for each in self.done)

    def verdicts(self) -> Counter[str]:
        """How many claims passed, failed, and were only reported."""
        return sum((each.verdicts() for each in self.done), Counter[str]())

    def __str__(self) -> str:
        return text(self)

    def to_dict(self) -> dict[str, Any]:
        """All of it as values for JSON."""
        return {"format": FORMAT, "studies": [each.to_dict() for each in self.done], "left": list(self.left)}

    def to_json(self, path: str | Path) -> None:
        """Write a JSON file, at once or not at all. Raises InputError when it cannot be written."""
        document.write(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    def to_html(self, path: str | Path) -> None:
        """Write its page, at once or not at all. Raises InputError when it cannot be written."""
        from sparseloom.report.studies_page import page

        document.write(path, page(self))


def compute(jobs: int = 1, names: Iterable[str] = STUDIES, watch: Callable[[Studies], None] | None = None) -> Studies:
    """All studies of these ``names``. ``watch`` sees what is done and what is left, before the first study and after each.

    An interrupt ends it; what is given are the studies that were computed, and those whole.
    """
    found = Studies((), tuple(names))
    try:
        while found.left:
            if watch is not None:
                watch(found)
            one = study(found.left[0], jobs)
            found = replace(found, done=(*found.done, one), left=found.left[1:])
        if watch is not None:
            watch(found)
    except KeyboardInterrupt:
        return found
    return found


def text(found: Studies) -> str:
    """A line for each study, those claims that fail, and what is left."""
    rows = [
        (each.name, each.computed.title, *(str(each.verdicts()[verdict]) for verdict in VERDICTS))
        for each in found.done
    ]
    total = found.verdicts()
    rows.append(("all", "", *(str(total[verdict]) for verdict in VERDICTS)))
    lines = [table(("study", "", *VERDICTS), rows, 2)]
    failed = [(each.name, one) for each in found.done for one in each.findings if one.verdict == "fail"]
    if failed:
        cells = [(name, one.what, one.published, written(one.ours)) for name, one in failed]
        lines += ["", table(("fails", "claim", "published", "ours"), cells, 3)]
    if found.left:
        lines += ["", f"interrupted: not computed are {', '.join(found.left)}"]
    return "\n".join(lines)
