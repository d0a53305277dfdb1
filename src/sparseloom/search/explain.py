"""Why no mapping of a mapspace fits, and what would let one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Mapping as Table
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sparseloom.errors import Fault, MappingError
from sparseloom.mapping.constraints import Constraints, LevelConstraints, Limit
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.mapping.prefixes import Tree
from sparseloom.model.microarch import Holding
from sparseloom.model.room import data_held

FloatArray = NDArray[np.float64]


def misfits(space: Mapspace) -> list[Fault]:
    """Why nothing is there to choose from: lanes that cannot be used as constraints ask; levels that cannot hold even the smallest
    tiles, with the capacity that would do; or levels that cannot hold theirs all together, with what each would need if the others
    stay. Constraints are named of which any one, loosened alone, would do."""
    if not space.size:
        what = (
            "no mapping uses lanes as the constraints ask: within the fan-outs, and as many compute units as they want"
        )
        return [Fault(what, fix=_any_of(space, lambda other: other.size > 0) or "loosen several constraints together")]
    return too_small(space) or [_together(space)]


def too_small(space: Mapspace) -> list[Fault]:
    """The levels that cannot hold even the smallest tiles that the constraints leave, with the capacity that would do."""
    return list(_too_small(space))


def _too_small(space: Mapspace) -> Iterator[Fault]:
    for depth, level in enumerate(space.problem.design.architecture.levels):
        holding = _smallest(space, depth)
        if holding.fits.all():
            continue
        held = {name: float(words[0]) for name, words in holding.held.items()}
        each = ", ".join(f"{name} {words:,.0f}" for name, words in held.items())
        what = (
            f"{level.name} holds {holding.room:,} words; the smallest tiles that the constraints leave need "
            f"{sum(held.values()):,.0f} ({each})"
        )
        most = max(held, key=lambda name: held[name])
        loosen = _any_of(space, partial(_holds, depth=depth))
        fix = f"give it {sum(held.values()):,.0f} words, or let {most} bypass it, or {loosen or 'loosen several constraints'}"
        yield Fault(what, path=level.name, fix=fix)


def _holds(space: Mapspace, depth: int) -> bool:
    return bool(_smallest(space, depth).fits.all())


def _smallest(space: Mapspace, depth: int) -> Holding:
    """What a level has to hold if every rank's tile there is as small as the constraints let it be."""
    inside = [place // 3 >= depth for place in space.places]
    sizes = zip(space.chains, space.problem.shape.tolist(), strict=True)
    tile = np.array([[min(rows[:, inside].prod(axis=1).min(), size)] for rows, size in sizes])
    keep = np.asarray(np.array(space.keeps).all(axis=0), np.bool_)
    return data_held(space.problem, keep, depth, tile)


def _together(space: Mapspace) -> Fault:
    levels = space.problem.design.architecture.levels
    what = f"none of {space.size:,} mappings fits: each level could hold the smallest tiles, not all of them together"
    needed = needs(space)
    short = {depth: words for depth, words in needed.items() if words > (levels[depth].capacity_words or 0)}
    if not short:
        what = f"none of {space.size:,} mappings fits: data would, not with their metadata and within the lanes"
        return Fault(
            what, fix="enlarge the metadata capacities or the fan-outs, or loosen the constraints of spatial loops"
        )
    would = [
        f"{levels[depth].name} at least {words:,.0f} words instead of {levels[depth].capacity_words:,}"
        for depth, words in short.items()
        if words < np.inf
    ]
    loosen = _any_of(space, _data_fit)
    return Fault(
        what, fix="; or ".join([*(f"give {each}" for each in would), *([loosen] if loosen else [])]) or _SEVERAL
    )


_SEVERAL = "enlarge several levels, or loosen several constraints"


def needs(space: Mapspace) -> dict[int, float]:
    """By level with a capacity, the words that it has to hold at least while all others hold their tiles, infinite where they
    cannot. Metadata and lanes are not looked at."""
    tree = Tree(space)
    depths = [d for d, lv in enumerate(space.problem.design.architecture.levels) if lv.capacity_words is not None]
    return {depth: min(_need(tree, keep, depth) for keep in space.keeps) for depth in depths}


def _need(tree: Tree, keep: NDArray[np.bool_], wanted: int) -> float:
    """Follows the tiles from the innermost stage outwards: at each the least that the level has to hold, of all that fits."""
    least: FloatArray = np.zeros(tree.grid(len(tree.stages)).size)
    for stage in range(len(tree.stages), -1, -1):
        if stage < len(tree.stages):
            least = tree.least_before(stage, least)
        for depth in range(len(keep)):
            if tree.arrives(depth) != stage or not keep[depth].any():
                continue
            holding = data_held(tree.space.problem, keep, depth, tree.grid(stage).smallest)
            if depth == wanted:
                least = np.maximum(least, sum(holding.held.values(), np.zeros(len(least))))
            else:
                least = np.where(holding.fits, least, np.inf)
    return float(least[0])


def _data_fit(space: Mapspace) -> bool:
    needed, levels = needs(space), space.problem.design.architecture.levels
    return all(words <= (levels[depth].capacity_words or 0) for depth, words in needed.items())


def _any_of(space: Mapspace, enough: Callable[[Mapspace], bool]) -> str:
    """The constraints of which each, loosened alone, is enough, in words; empty if there are none. Bounds are perfect there, as
    those are among the imperfect ones."""
    found = []
    for words, constraints in _loosened(space.constraints):
        try:
            if enough(Mapspace(space.problem, constraints)):
                found.append(words)
        except MappingError:
            continue
    return f"loosen one of: {', '.join(found)}" if found else ""


def _loosened(constraints: Constraints) -> Iterator[tuple[str, Constraints]]:
    """Each constraint of bounds, of what is kept and of parallelism, and all the others."""
    for name, level in constraints.levels.items():
        others: list[tuple[str, LevelConstraints]] = [
            *((f"temporal {rank} {limit}", replace(level, temporal=_less(level.temporal, rank)))
              for rank, limit in level.temporal.items()),
            *((f"spatial {rank} {limit}", replace(level, spatial=_less(level.spatial, rank)))
              for rank, limit in level.spatial.items()),
            *((f"keep {tensor}", replace(level, keep=level.keep - {tensor})) for tensor in sorted(level.keep)),
        ]  # fmt: skip
        for words, other in others:
            yield f"{name} {words}", replace(constraints, levels={**constraints.levels, name: other})
    if constraints.least_parallelism > 0:
        yield f"the least parallelism, {constraints.least_parallelism:g}", replace(constraints, least_parallelism=0.0)
    if constraints.most_parallelism < 1:
        yield f"the most parallelism, {constraints.most_parallelism:g}", replace(constraints, most_parallelism=1.0)


def _less(limits: Table[str, Limit], rank: str) -> dict[str, Limit]:
    return {other: limit for other, limit in limits.items() if other != rank}
