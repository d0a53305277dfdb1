"""A sweep over the density of weights as curves, relative to one point, from what ``Comparison.to_dict`` gives: for the page and
for figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparseloom.errors import Fault, InputError


@dataclass(frozen=True)
class Dot:
    """What a design makes of the layer at one density, as times the EDP and the speed of the reference. ``family``: on the curve;
    else a point by itself."""

    weights: str
    density: float
    family: bool
    edp: float
    speed: float
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Curves:
    """The curve of each design, and what they are relative to: ``reference`` and its weights."""

    layers: tuple[str, ...]
    reference: str
    weights: str
    by_design: tuple[tuple[Dot, ...], ...]


def curves(values: Mapping[str, Any]) -> Curves | None:
    """The curves of a sweep, relative to the densest point of the first design that runs the layer; None without a sweep, or where
    no design runs it."""
    points: Sequence[Mapping[str, Any]] = values["sweep"]
    found = [[(point, _row(point, design["name"])) for point in points] for design in values["designs"]]
    known = [(point, row) for own in found for point, row in own if row is not None]
    if not known:
        return None
    densest, first = known[0]
    by_design = tuple(
        tuple(
            Dot(
                point["weights"], point["density"], point["family"], row["edp"] / first["edp"], first["cycles"] / row["cycles"],
                row,
            )
            for point, row in own
            if row is not None
        )
        for own in found
    )  # fmt: skip
    return Curves(tuple(densest["layers"]), first["design"], densest["weights"], by_design)


def required(values: Mapping[str, Any]) -> Curves:
    """Raises InputError where there are none."""
    found = curves(values)
    if found is None:
        raise InputError(Fault("the comparison has no sweep over densities", fix="compare with sweep=True, or --sweep"))
    return found


def _row(point: Mapping[str, Any], design: str) -> Mapping[str, Any] | None:
    return next((row for row in point["outcomes"] if row["design"] == design), None)
