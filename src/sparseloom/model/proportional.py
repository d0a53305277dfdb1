"""Step two by proportion: dense counts times the share of words that is stored and the chance that a transfer survives.

This is how Sparseloop reasons: one number for a tile's density, one for each feature, applied to the counts of an
average instance and rounded to whole actions on the way. :class:`Proportions` holds those numbers for a tensor at a level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparseloom.model.gather import ACTUAL, ALL, REACHING, UNSKIPPED, Moved

FloatArray = NDArray[np.float64]

TINY = 1e-9
"""What a product may lack of a whole number and still count as it."""


@dataclass(frozen=True)
class Proportions:
    """Of one tensor at one level: chances that a transfer is lost.

    ``outside`` by features further out, ``skipped`` and then ``gated`` by those here, each among what is left;
    ``ranks`` is how many of the format's lowest ranks the features here act on, ``lowest_only`` whether features
    outside act on the lowest rank's metadata, and on no other; ``as_updates`` whether reads move the metadata of
    updates, which Timeloop makes of them at a feature that another one outside reaches.
    """

    outside: float = 0.0
    skipped: float = 0.0
    gated: float = 0.0
    ranks: int = 0
    lowest_only: bool = False
    as_updates: bool = False


def take(count: float, chance: float, integer: bool, up: bool = False) -> float:
    """The part of ``count`` that ``chance`` takes, a whole number under the convention ``integer``."""
    if not integer:
        return count * chance
    return float(math.ceil(count * chance - TINY) if up else math.floor(count * chance + TINY))


def stages(count: float, odds: Proportions, integer: bool, up: bool = False) -> FloatArray:
    """A count through the stages [4]; ``up`` rounds what is lost here up."""
    left = np.empty(4)
    left[ALL] = count
    left[REACHING] = count - take(count, odds.outside, integer)
    left[UNSKIPPED] = left[REACHING] - take(left[REACHING], odds.skipped, integer, up)
    left[ACTUAL] = left[UNSKIPPED] - take(left[UNSKIPPED], odds.gated, integer, up)
    return left


def arrived(count: float, odds: Proportions, integer: bool) -> FloatArray:
    """A fill through the stages: features here do not act on it."""
    return stages(count, Proportions(outside=odds.outside), integer)


def unit_stages(units: FloatArray, odds: Proportions, integer: bool, local: bool) -> FloatArray:
    """Units [ranks, 2], lowest first, through the stages [ranks, 2, 4]."""
    found = np.empty((*units.shape, 4))
    for place, kind in np.ndindex(*units.shape):
        outside = odds.outside if odds.lowest_only and place == 0 else 0.0
        here = local and place < odds.ranks
        rank = Proportions(outside, odds.skipped if here else 0.0, odds.gated if here else 0.0)
        found[place, kind] = stages(float(units[place, kind]), rank, integer)
    return found


def moved(
    words: FloatArray, blocks: FloatArray, units: FloatArray, bits: FloatArray, row_bits: int, instances: float
) -> Moved:
    """An average instance's stages of words, blocks and units (lowest rank first) as totals over ``instances``.

    ``bits`` [ranks, 2] are the widths of units, which fill rows of ``row_bits``.
    """
    total_bits = np.tensordot(units, bits, axes=([0, 1], [0, 1])) if len(units) else np.zeros(4)
    rows = in_blocks(total_bits, row_bits) * row_bits if row_bits else total_bits
    totals = (words * instances, blocks * instances, units[::-1] * instances, rows * instances)
    return Moved.of(*(total[None] for total in totals))


def in_blocks(counts: FloatArray, size: int) -> FloatArray:
    """The counts of each outcome together in blocks of ``size``, by stage again."""
    lost = np.array([counts[REACHING] - counts[UNSKIPPED], counts[UNSKIPPED] - counts[ACTUAL], counts[ACTUAL]])
    skipped, gated, actual = np.ceil(lost / size - TINY)
    return np.array([actual + gated + skipped, actual + gated + skipped, actual + gated, actual])
