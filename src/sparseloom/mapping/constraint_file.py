"""Constraints as people write them: the ``constraints:`` of a YAML file. Imports pydantic: load it on demand only.

A limit is a number (that bound alone), ``<=8``, ``>=2``, ``2..8``, or ``all``: the whole rank.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import Field

from sparseloom.document import Node
from sparseloom.document_model import LARGEST, FileModel, Fraction, Name, file_schema, gather, validate
from sparseloom.errors import Fault, InputError
from sparseloom.mapping.constraints import Constraints, LevelConstraints, Limit

KEY = "constraints"

Limits = Annotated[dict[Name, int | str], Field(description="as {K: 1, M: <=8, N: 2..4, P: all}")]
Names = tuple[Name, ...]

_LIMIT: Final = re.compile(
    r"^\s*(?:(?P<sign><=|>=)?\s*(?P<one>\d{1,16})|(?P<least>\d{1,16})\s*\.\.\s*(?P<most>\d{1,16}))\s*$"
)


class LevelConstraintsModel(FileModel):
    """What one storage level allows."""

    level: Name
    temporal: Limits = Field(default_factory=dict)
    spatial: Limits = Field(default_factory=dict)
    inner: Annotated[Names, Field(description="ranks whose loops are the innermost of the level, outermost first")] = ()
    inner_spatial: Annotated[Names, Field(description="as inner, of spatial loops: counts with spatial skipping")] = ()
    axes: dict[Name, str] = Field(default_factory=dict, description="as {M: X, C: Y}")
    keep: Annotated[Names, Field(description="tensors that the level has to keep")] = ()
    bypass: Annotated[Names, Field(description="tensors that the level must not keep")] = ()
    stream: Annotated[Names, Field(description="tensors that pass through where they are bypassed")] = ()


class ParallelismModel(FileModel):
    """The share of the compute units that a mapping uses."""

    least: Fraction = 0.0
    most: Fraction = 1.0


class ConstraintsModel(FileModel):
    """What a design allows of its mappings."""

    levels: tuple[LevelConstraintsModel, ...] = ()
    parallelism: ParallelismModel = ParallelismModel()
    wider: tuple[LevelConstraintsModel, ...] = Field(
        default=(), description="levels that allow more than the source does: comparisons take these"
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of a constraints file, for editors."""
    return file_schema(KEY, ConstraintsModel, "Sparseloom constraints")


def build(node: Node) -> Constraints:
    """The constraints of the node under ``constraints:``. Raises InputError with every fault."""
    model = validate(ConstraintsModel, node)
    faults: list[Fault] = []
    levels = _levels(node.at(("levels",)), model.levels, faults)
    wider = _levels(node.at(("wider",)), model.wider, faults)
    if faults:
        raise InputError(faults)
    return Constraints(levels, model.parallelism.least, model.parallelism.most, wider)


def _levels(node: Node, models: tuple[LevelConstraintsModel, ...], faults: list[Fault]) -> dict[str, LevelConstraints]:
    levels: dict[str, LevelConstraints] = {}
    for i, level in enumerate(models):
        at = node.at((i,))
        if level.level in levels:
            faults.append(at.fault(f"{level.level} has constraints twice", "merge the two"))
        for rank, axis in level.axes.items():
            if axis not in ("X", "Y"):
                faults.append(at.at(("axes", rank)).fault(f"'{axis}' is no axis", "write X or Y"))
        temporal, spatial = (_limits(at.at((key,)), getattr(level, key), faults) for key in ("temporal", "spatial"))
        keep, bypass, stream = (frozenset(names) for names in (level.keep, level.bypass, level.stream))
        levels[level.level] = LevelConstraints(
            temporal, spatial, level.inner, level.inner_spatial, dict(level.axes), keep, bypass, stream
        )
    return levels


def _limits(node: Node, limits: dict[str, int | str], faults: list[Fault]) -> dict[str, Limit]:
    found = {}
    for rank, limit in limits.items():
        with gather(faults, node.at((rank,))):
            found[rank] = parse_limit(limit)
    return found


def parse_limit(text: int | str) -> Limit:
    """The limit that a text says.

    >>> [str(parse_limit(text)) for text in (4, "<=8", ">=2", "2..8", "all")]
    ['4', '1..8', '2..', '2..8', 'all']

    Raises InputError when the text is no limit.
    """
    if str(text).strip() == "all":
        return Limit(whole=True)
    match = _LIMIT.match(str(text))
    if match is None or max(int(number) for number in match.group("one", "least", "most") if number) > LARGEST:
        raise InputError(Fault(f"'{text}' is not a limit of a bound", fix="write 4, <=8, >=2, 2..8 or all"))
    if match["one"] is None:
        return Limit(int(match["least"]), int(match["most"]))
    one = int(match["one"])
    return Limit(1, one) if match["sign"] == "<=" else Limit(one) if match["sign"] == ">=" else Limit.exactly(one)
