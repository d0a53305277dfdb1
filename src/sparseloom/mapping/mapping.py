"""When and where every point of the iteration space is computed: a loop nest over the storage levels."""

from __future__ import annotations

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from sparseloom.arch.hierarchy import Architecture
from sparseloom.errors import Fault, MappingError
from sparseloom.workload.workload import Workload


@dataclass(frozen=True)
class Loop:
    """A loop over rank ``rank`` with ``bound`` iterations (its nominal bound; the last visit may be shorter).

    ``axis`` is empty for a temporal loop, ``"X"`` or ``"Y"`` for a spatial one.
    """

    rank: str
    bound: int
    axis: str = ""

    def __post_init__(self) -> None:
        """Raises MappingError for an axis that does not exist."""
        if self.axis not in ("", "X", "Y"):
            what = f"the loop over {self.rank} has axis '{self.axis}'"
            raise MappingError(Fault(what, path="axis", fix="give X or Y, or nothing for a temporal loop"))

    def __str__(self) -> str:
        return f"{'parallel-' if self.axis else ''}for {self.rank.lower()} in [0, {self.bound})" + (
            f" ({self.axis})" if self.axis else ""
        )


@dataclass(frozen=True)
class LevelMapping:
    """The loops of one storage level, outermost first, its temporal ones around its spatial ones.

    The spatial loops spread work over the children of one instance of the level. ``keep`` names the tensors whose tile
    the level holds; the others bypass it. ``stream`` names bypassed tensors that still pass through the level's
    storage (they are written and read there and occupy nothing).
    """

    level: str
    temporal: tuple[Loop, ...] = ()
    spatial: tuple[Loop, ...] = ()
    keep: frozenset[str] = frozenset()
    stream: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Mapping:
    """Loops and kept tensors of every storage level, outermost level first.

    The tile that a level keeps of a tensor is what the loops of that level *and of all levels below it* touch. The
    loops of a rank, outermost to innermost, count its coordinates in mixed radix: a loop advances by the product of the
    bounds inside it. Where the product of a rank's bounds exceeds its shape, the last visits are shorter (imperfect
    factors): iterations that would start beyond the shape do not exist.
    """

    levels: tuple[LevelMapping, ...]

    def bounds(self, rank: str) -> tuple[int, ...]:
        """Bounds of all loops over ``rank``, outermost first."""
        return self._bounds.get(rank, ())

    @cached_property
    def _bounds(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for loop in self.loops:
            found[loop.rank] = (*found.get(loop.rank, ()), loop.bound)
        return found

    @cached_property
    def loops(self) -> tuple[Loop, ...]:
        """All loops, outermost first."""
        return tuple(loop for level in self.levels for loop in (*level.temporal, *level.spatial))


def check(
    mapping: Mapping,
    workload: Workload,
    architecture: Architecture,
    lane_shares: Sequence[tuple[float, float]] | None = None,
) -> None:
    """Refuse a mapping that is not one of ``workload`` on ``architecture``.

    Raises MappingError with every fault: levels that are missing, unknown or out of order, loops over unknown ranks,
    ranks whose bounds do not cover their shape or waste iterations, spatial loops beyond the fan-out, tensors that no
    level keeps or that the outermost level does not keep. Capacity is the model's business. ``lane_shares`` gives, for each
    level, the share of its logical lanes along X and Y that are ever needed at once (spatial skipping); all by default.
    """
    faults = [*_level_faults(mapping, architecture), *_loop_faults(mapping, workload.shape)]
    if not faults:
        faults = [*_fanout_faults(mapping, architecture, lane_shares), *_keep_faults(mapping, workload)]
    if faults:
        raise MappingError(faults)


def _level_faults(mapping: Mapping, architecture: Architecture) -> list[Fault]:
    found = tuple(level.level for level in mapping.levels)
    if found == architecture.names:
        return []
    fix = "map every storage level once, outermost first"
    return [
        Fault(f"the mapping is for levels {', '.join(found)}, the design has {', '.join(architecture.names)}", fix=fix)
    ]


def _loop_faults(mapping: Mapping, shape: Table[str, int]) -> list[Fault]:
    faults = []
    for level in mapping.levels:
        for loop in (*level.temporal, *level.spatial):
            if loop.rank not in shape:
                fix = f"ranks are {', '.join(shape)}"
                faults.append(
                    Fault(
                        f"{level.level}: '{loop}' is over rank {loop.rank}, which the workload has not",
                        path=loop.rank,
                        fix=fix,
                    )
                )
            if loop.bound < 1:
                what = f"{level.level}: '{loop}' has bound {loop.bound}"
                faults.append(Fault(what, path=loop.rank, fix="bounds are 1 or more"))
    if faults:
        return faults
    for rank, size in shape.items():
        bounds = [b for b in mapping.bounds(rank) if b > 1]
        total = prod(bounds)
        needed = -(-size // (total // bounds[0])) if bounds else 1
        if total >= size and (not bounds or needed == bounds[0]):
            continue
        what = f"rank {rank}: the bounds {' x '.join(map(str, bounds)) or '1'} make {total}, its shape is {size}"
        fix = f"the outermost bound needs only {needed} iterations"
        if total < size:
            fix = f"raise a bound: {size} coordinates must be covered"
        faults.append(Fault(what, path=rank, fix=fix))
    return faults


def _fanout_faults(
    mapping: Mapping, architecture: Architecture, lane_shares: Sequence[tuple[float, float]] | None
) -> list[Fault]:
    from sparseloom.mapping.render import render  # the renderer draws the mappings of this module

    faults = []
    for i, level in enumerate(mapping.levels):
        shares = lane_shares[i] if lane_shares else (1.0, 1.0)
        for axis, fanout, share in zip("XY", architecture.fanout(i), shares, strict=True):
            used = round(prod(loop.bound for loop in level.spatial if loop.axis == axis) * share)
            if used > fanout:
                places = [
                    (i, len(level.temporal) + j)
                    for j, loop in enumerate(level.spatial)
                    if loop.axis == axis and loop.bound > 1
                ]
                loops = "the loop needs" if len(places) == 1 else "the loops need"
                what = f"{level.level} has {fanout} children along {axis}, {loops} {used}"
                excerpt = render(mapping, {**dict.fromkeys(places, ""), places[-1]: what})
                fix = f"keep the product of {axis} bounds at {fanout} or less\n{excerpt}"
                faults.append(Fault(what, path=level.level, fix=fix))
    return faults


def _keep_faults(mapping: Mapping, workload: Workload) -> list[Fault]:
    faults = []
    tensors = [t.name for t in workload.einsum.tensors]
    for level in mapping.levels:
        for name in sorted((level.keep | level.stream) - set(tensors)):
            faults.append(
                Fault(
                    f"{level.level} keeps unknown tensor {name}", path=level.level, fix=f"tensors: {', '.join(tensors)}"
                )
            )
    for name in tensors:
        if name not in mapping.levels[0].keep:
            kept = [level.level for level in mapping.levels if name in level.keep]
            what = f"tensor {name} is kept at {', '.join(kept) or 'no level'}, not at the outermost, {mapping.levels[0].level}"
            faults.append(
                Fault(what, fix=f"keep {name} at {mapping.levels[0].level}: every tensor starts and ends there")
            )
    return faults
