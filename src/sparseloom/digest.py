"""Short names for values, the same in every process: by them, what was found before is found again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet


def digest(*values: object) -> str:
    """A short name for some values: dataclasses, mappings, sets, sequences, texts and numbers. The same in every process: what has
    no order is put in one.

    >>> digest({"B": 1, "A": frozenset("xy")}) == digest({"A": frozenset("yx"), "B": 1})
    True
    """
    return hashlib.sha256(json.dumps(_canonical(values), sort_keys=True).encode()).hexdigest()[:32]


def _canonical(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _canonical(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(json.dumps(_canonical(inner), sort_keys=True) for inner in value)
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    return value if isinstance(value, str | int | float | type(None)) else str(value)
