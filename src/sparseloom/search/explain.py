"""Why no mapping of a mapspace fits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sparseloom.errors import Fault
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.model.room import data_held


def misfits(space: Mapspace) -> list[Fault]:
    """The levels that cannot hold even the smallest tiles that the constraints leave, with the capacity that would do; where none
    is to blame alone, all that have to hold something."""
    if found := too_small(space):
        return found
    names = ", ".join(
        f"{level.name} ({level.capacity_words:,} words)"
        for level in space.problem.design.architecture.levels
        if level.capacity_words is not None
    )
    what = f"none of {space.size:,} mappings fits: each level could hold the smallest tiles, not all of them together"
    return [
        Fault(
            what, fix=f"enlarge {names or 'the metadata capacities'}, or loosen the constraints that make tiles large"
        )
    ]


def too_small(space: Mapspace) -> list[Fault]:
    """The levels that cannot hold even the smallest tiles that the constraints leave, with the capacity that would do."""
    return list(_too_small(space))


def _too_small(space: Mapspace) -> Iterator[Fault]:
    problem = space.problem
    tile = np.array([problem.shape]).T
    for depth, level in enumerate(problem.design.architecture.levels):
        inside = [place // 3 >= depth for place in space.places]
        for d, rows in enumerate(space.chains):
            tile[d] = min(rows[:, inside].prod(axis=1).min(), problem.shape[d])
        keep = np.asarray(np.array(space.keeps).all(axis=0), np.bool_)
        holding = data_held(problem, keep, depth, tile)
        if holding.room is not None and not holding.fits.all():
            held = {name: float(words[0]) for name, words in holding.held.items()}
            each = ", ".join(f"{name} {words:,.0f}" for name, words in held.items())
            what = (
                f"{level.name} holds {holding.room:,} words; the smallest tiles that the constraints leave need "
                f"{sum(held.values()):,.0f} ({each})"
            )
            most = max(held, key=lambda name: held[name])
            fix = (
                f"give it {sum(held.values()):,.0f} words, or let {most} bypass it, or loosen what makes its tile large"
            )
            yield Fault(what, path=level.name, fix=fix)
