"""Mappings that were found before: they are evaluated again, not trusted.

A store is a JSON file with an entry for each kind of layer on a design: which of the ways to run it was the best, the mapping, and
what it was proven to be. The key is made of all that decides over the answer, so an entry of other energies, another
constraint or another layer is not found.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sparseloom import document
from sparseloom.arch import file as design_file
from sparseloom.digest import digest
from sparseloom.errors import SparseloomError
from sparseloom.mapping import file as mapping_file
from sparseloom.search.comparison import Outcome, Refusal, Run, numbered, outcome_of
from sparseloom.search.mapper import Best
from sparseloom.search.objective import objective

SHIPPED: Final = Path(__file__).parent / "found.json"
"""The mappings that come with the package."""

_COUNTS: Final = ("bound", "size", "evaluated", "valid")


@dataclass(frozen=True)
class Found:
    """The entries of a store, by key."""

    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path = SHIPPED) -> Found:
        """The store of a file; an empty one if there is none."""
        return cls(json.loads(path.read_text("utf-8"))) if path.exists() else cls()

    def write(self, path: Path) -> None:
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(dict(self.entries[key]))}" for key in sorted(self.entries))
        document.write(path, "{\n" + lines + "\n}\n")

    def known(self, orders: Sequence[Run]) -> Outcome | None:
        """The outcome of the entry for a kind of layer, evaluated anew; None if there is no entry, or if its mapping gives another
        value now than it did when it was found."""
        entry = self.entries.get(key(orders))
        if entry is None:
            return None
        run = orders[entry["order"]]
        try:
            mapping = mapping_file.read(document.parse(entry["mapping"]))
            goal = objective(run.setting.objective)
            counts = {name: entry[name] for name in _COUNTS}
            best = Best(goal.name, goal.unit, mapping, 0.0, 0.0, entry["value"], seconds=0.0, **counts)
            found = outcome_of(run, best, mapping)
        except SparseloomError:
            return None
        result = found.result
        best = replace(best, energy_pj=result.energy_pj, cycles=result.cycles)
        same = abs(_value(best) - best.value) <= 1e-9 * best.value
        return replace(found, best=best) if same else None

    def or_searched(self, todo: Sequence[Sequence[Run]], jobs: int = 1) -> Iterator[tuple[int, Outcome | Refusal]]:
        """What each kind of layer gives, with its number: those with an entry first, then the others as they are found by so many
        processes. Kinds that nothing of the key tells apart are searched once."""
        alike = defaultdict[str, list[int]](list)
        for number, orders in enumerate(todo):
            alike[key(orders)].append(number)
        left = list[list[int]]()
        for numbers in alike.values():
            known = [(number, self.known(todo[number])) for number in numbers]
            if known[0][1] is None:
                left.append(numbers)
            yield from ((number, outcome) for number, outcome in known if outcome is not None)
        for kind, found in numbered([todo[numbers[0]] for numbers in left], jobs):
            for number in left[kind]:
                yield number, _as(found, todo[left[kind][0]], todo[number])

    def with_(self, outcomes: Iterable[tuple[Sequence[Run], Outcome]]) -> Found:
        """The store with what was found for some kinds of layers."""
        return Found({**self.entries, **{key(orders): _entry(orders, outcome) for orders, outcome in outcomes}})


def key(orders: Sequence[Run]) -> str:
    """The name of a kind of layer on a design: of all ways to run it, with what they are searched by."""
    parts = [
        [
            design_file.plain(run.setting.design), run.setting.constraints, run.setting.objective,
            run.setting.imperfect, replace(run.layer, name="", count=1),
        ]
        for run in orders
    ]  # fmt: skip
    return digest(parts)


def _as(found: Outcome | Refusal, searched: Sequence[Run], orders: Sequence[Run]) -> Outcome | Refusal:
    """What was found for a kind of layer, of another one that is alike."""
    if isinstance(found, Refusal):
        return replace(found, names=orders[0].names)
    assert found.best.mapping is not None
    return outcome_of(orders[searched.index(found.run)], found.best, found.best.mapping)


def _value(best: Best) -> float:
    import numpy as np

    return float(objective(best.objective).of(np.array(best.energy_pj), np.array(best.cycles)))


def _entry(orders: Sequence[Run], outcome: Outcome) -> dict[str, Any]:
    best = outcome.best
    assert best.mapping is not None
    return {
        "order": list(orders).index(outcome.run),
        "mapping": mapping_file.text(best.mapping),
        "value": best.value,
        **{name: getattr(best, name) for name in _COUNTS},
    }
