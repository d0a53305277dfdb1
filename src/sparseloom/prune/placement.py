"""Where a pattern is put on the weights of a model, by rules that are printed: the first layer, depthwise layers, shared
weights and layers that the pattern does not fit stay dense; ranks that it does not divide are padded with zeros."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, InputError, PatternError, suggest
from sparseloom.fibertree.alternative import Norm
from sparseloom.fibertree.density import BoolArray, IntArray
from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune.weight import KERNEL, Weight

Array = NDArray[np.floating]
Asked = tuple[Pattern, float | None]
"""A pattern, and the density where it admits several."""


@dataclass(frozen=True)
class Placement:
    """What is done to one weight: ``pattern`` (a single one; None: it stays dense) on a tensor of ``padded`` shape, zeros
    added at the ends of ranks, with ``density`` where the pattern leaves it free. ``rule`` says why."""

    weight: Weight
    pattern: Pattern | None
    density: float | None
    padded: tuple[int, ...]
    rule: str

    def mask(
        self, values: Array, norm: Norm = "mean", importance: Array | None = None, share: float = 1.0
    ) -> BoolArray:
        """Where a tensor, as it is stored, keeps its values. With ``share`` below 1 the rules are as loose as on the way
        there."""
        if self.pattern is None:
            return np.ones(self.weight.sizes, np.bool_)
        pattern, density = self.pattern, self.density
        if share < 1:
            pattern, density = pattern.eased(share, density)
        given = values if importance is None else importance
        if importance is None and not norm.startswith("variance"):
            given = np.abs(given)
        centre = float(given.mean())
        padded = self._padded(given, norm, centre)
        return self._cropped(pattern.mask(padded, self.weight.ranks, density, padded, norm, centre))

    def drawn(self, rng: np.random.Generator) -> BoolArray:
        """A random mask with the pattern, as the weight is stored."""
        if self.pattern is None:
            return np.ones(self.weight.sizes, np.bool_)
        return self._cropped(self.pattern.draw(self.weight.ranks, self.padded, rng, self.density))

    def units(self) -> IntArray:
        """A number for each point, as the weight is stored: points with the same are kept or removed together."""
        if self.pattern is None:
            return np.zeros(self.weight.sizes, np.int64)
        return cast(IntArray, self.weight.as_stored(self._padded_units[self._inside]))

    def obeys(self, mask: BoolArray) -> bool:
        """Whether the nonzeros of a tensor, as it is stored, follow the pattern; what is padded counts as kept or removed
        with the rest of its unit."""
        if self.pattern is None:
            return True
        nonzero = np.asarray(mask) != 0
        if self.padded == self.weight.shape:
            return self.pattern.obeys(self.weight.seen(nonzero), self.weight.ranks)
        kept = np.zeros(int(self._padded_units.max()) + 1, np.bool_)
        kept[self.units()[nonzero]] = True
        whole = kept[self._padded_units]
        return bool((self._cropped(whole) == nonzero).all()) and self.pattern.obeys(whole, self.weight.ranks)

    def _padded(self, values: Array, norm: Norm, centre: float) -> Array:
        """By ranks, with what is added such that a unit at the edge is judged by its own points: as large as these are on
        average, by the norm; zero in units that have none."""
        seen = cast(Array, self.weight.seen(values)).astype(np.float64)
        if self.padded == seen.shape:
            return seen
        units = self._padded_units
        own, size = units[self._inside].ravel(), int(units.max()) + 1
        points, whole = np.bincount(own, minlength=size), np.bincount(units.ravel(), minlength=size)
        some = np.maximum(points, 1)
        mean = np.bincount(own, seen.ravel(), size) / some
        square = np.bincount(own, seen.ravel() ** 2, size) / some
        if norm in ("mean", "l1"):
            filled = mean
        elif norm == "variance":
            filled = mean + np.sqrt(np.maximum(square - mean**2, 0) * whole / some)
        elif norm == "variance-whole":
            filled = centre + np.sqrt(np.maximum(square - 2 * centre * mean + centre**2, 0))
        else:
            filled = np.sqrt(square)
        padded = np.where(points > 0, filled, 0.0)[units]
        padded[self._inside] = seen
        return cast(Array, padded)

    @property
    def _inside(self) -> tuple[slice, ...]:
        return tuple(slice(size) for size in self.weight.shape)

    @cached_property
    def _padded_units(self) -> IntArray:
        assert self.pattern is not None
        return self.pattern.units(self.weight.ranks, self.padded)

    def _cropped(self, mask: BoolArray) -> BoolArray:
        return cast(BoolArray, self.weight.as_stored(mask[self._inside]))


@dataclass(frozen=True)
class Choice:
    """Which weights are pruned: the first one too if ``first``; of the others those whose names match ``only`` and not ``skip``
    (regular expressions, searched for); ``pad``: ranks that the pattern does not divide are padded, else their layers stay
    dense."""

    first: bool = False
    only: str = ""
    skip: str = ""
    pad: bool = True


USUAL: Final = Choice()


def plan(
    weights: Sequence[Weight],
    asked: Asked,
    choice: Choice = USUAL,
    layers: Mapping[str, Asked] | None = None,
) -> tuple[Placement, ...]:
    """What is done to each weight; ``layers`` asks for another pattern by the weight's name, whatever the rules say.

    Raises InputError for names of no weight, for expressions that cannot be read, and where no weight at all can take its
    pattern.
    """
    layers = layers or {}
    faults = [
        Fault(f"the model has no weight {name}", fix=suggest(name, [weight.name for weight in weights]))
        for name in layers
        if name not in {weight.name for weight in weights}
    ]
    faults += [fault for text in (choice.only, choice.skip) for fault in _unreadable(text)]
    if faults:
        raise InputError(faults)
    found = list[Placement]()
    refused = list[Fault]()
    for number, weight in enumerate(weights):
        own = layers.get(weight.name)
        why = "" if own else _left_out(weight, number, choice)
        if why:
            found.append(_dense(weight, why))
            continue
        try:
            found.append(_placed(weight, own or asked, choice.pad))
        except PatternError as error:
            refused += error.faults
            found.append(_dense(weight, f"does not fit: {error.faults[0].what}"))
    pruned = [placement for placement in found if placement.pattern is not None]
    if refused and not pruned:
        raise InputError(_distinct(refused))
    if not pruned:
        what = f"no weight is left to prune of {len(weights)}"
        rules = "; ".join(sorted({placement.rule for placement in found}))
        raise InputError(Fault(what, fix=f"every one is left out by a rule: {rules or 'the model has none'}"))
    return tuple(found)


def _left_out(weight: Weight, number: int, choice: Choice) -> str:
    if weight.tied:
        return f"shared with {weight.tied}"
    if choice.only and not re.search(choice.only, weight.name):
        return f"not among '{choice.only}'"
    if choice.skip and re.search(choice.skip, weight.name):
        return f"among '{choice.skip}', which are left out"
    if weight.depthwise:
        return "depthwise: its groups have one channel"
    return "the first layer" if number == 0 and not choice.first else ""


def _dense(weight: Weight, rule: str) -> Placement:
    return Placement(weight, None, None, weight.shape, rule)


def _placed(weight: Weight, asked: Asked, pad: bool) -> Placement:
    """The first of the patterns that divides the weight, else that which pads it least. Raises PatternError if there is none."""
    pattern, density = asked
    kernel = tuple(rank for rank in weight.ranks if rank in (*KERNEL, "T"))
    candidates = list[tuple[int, int, Placement]]()
    faults = list[Fault]()
    for number, single in enumerate(pattern.choices(density)):
        single = single.with_payload(weight.ranks, kernel)
        free = density if single.any_degree else None
        try:
            multiples = single.multiples(weight.ranks)
            sizes = zip(weight.shape, (multiples[rank] for rank in weight.ranks), strict=True)
            padded = tuple(-(-size // multiple) * multiple for size, multiple in sizes)
            single.density_model(weight.ranks, padded, free)
        except PatternError as error:
            faults += error.faults
            continue
        rule = ", ".join(
            f"{rank} padded from {size} to {more}"
            for rank, size, more in zip(weight.ranks, weight.shape, padded, strict=True)
            if size != more
        )
        if rule and not pad:
            fix = "pad with zeros, or choose a pattern that divides it"
            faults.append(Fault(f"{single} needs {rule}", fix=fix))
            continue
        candidates.append((prod(padded), number, Placement(weight, single, free, padded, rule)))
    if not candidates:
        raise PatternError(faults)
    return min(candidates, key=lambda candidate: candidate[:2])[2]


def _unreadable(text: str) -> Iterable[Fault]:
    try:
        re.compile(text)
    except re.error as error:
        yield Fault(f"cannot read the expression '{text}': {error}", fix="write a regular expression, as layer4|fc")


def _distinct(faults: Iterable[Fault]) -> list[Fault]:
    return list({str(fault): fault for fault in faults}.values())
