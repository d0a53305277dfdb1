"""A mapping against the constraints of a mapspace: which it breaks, and what would admit it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Table
from math import prod

from sparseloom.errors import Fault
from sparseloom.mapping.constraints import Constraints, LevelConstraints, Limit
from sparseloom.mapping.mapping import Loop, Mapping
from sparseloom.mapping.mapspace import Mapspace


def violations(space: Mapspace, mapping: Mapping) -> list[Fault]:
    """Every constraint that a mapping, which the design itself allows, breaks."""
    return list(_found(space, mapping))


def admitting(space: Mapspace, mapping: Mapping) -> Mapspace:
    """The mapspace with those constraints loosened, as little as need be, that ``mapping`` breaks."""
    levels = {}
    sizes = space.problem.workload.shape
    for mapped, level in zip(mapping.levels, space.levels, strict=True):
        spread = [loop for loop in mapped.spatial if loop.bound > 1]
        levels[mapped.level] = LevelConstraints(
            _widened(level.temporal, mapped.temporal, sizes), _widened(level.spatial, mapped.spatial, sizes),
            level.inner if _in_order(mapped.temporal, level.inner) else (),
            level.inner_spatial if _in_order(mapped.spatial, level.inner_spatial) else (),
            {rank: axis for rank, axis in level.axes.items() if all(x.axis == axis for x in spread if x.rank == rank)},
            level.keep & mapped.keep, level.bypass - mapped.keep, level.stream,
        )  # fmt: skip
    used = prod(loop.bound for mapped in mapping.levels for loop in mapped.spatial)
    share = used / space.problem.design.architecture.compute.instances
    least, most = space.constraints.least_parallelism, space.constraints.most_parallelism
    constraints = Constraints(levels, min(least, share), most if most >= 1 else max(most, share))
    return Mapspace(space.problem, constraints, space.imperfect)


def _widened(limits: Table[str, Limit], loops: Sequence[Loop], sizes: Table[str, int]) -> dict[str, Limit]:
    found = dict(limits)
    for rank, limit in limits.items():
        bound = prod(loop.bound for loop in loops if loop.rank == rank)
        least, most = limit.of(sizes[rank])
        if not least <= bound <= most:
            found[rank] = Limit(min(least, bound), max(most, bound))
    return found


def _in_order(loops: Sequence[Loop], inner: tuple[str, ...]) -> bool:
    """Whether the loops over ``inner`` ranks are the innermost, in this order."""
    order = [loop.rank for loop in loops if loop.bound > 1]
    pinned = [rank for rank in inner if rank in order]
    return order == [rank for rank in order if rank not in inner] + pinned


def _found(space: Mapspace, mapping: Mapping) -> Iterator[Fault]:
    sizes = space.problem.workload.shape
    for depth, mapped in enumerate(mapping.levels):
        level = space.levels[depth]
        for kind, loops, limits in (
            ("temporal", mapped.temporal, level.temporal),
            ("spatial", mapped.spatial, level.spatial),
        ):
            for rank, limit in limits.items():
                bound = prod(loop.bound for loop in loops if loop.rank == rank)
                least, most = limit.of(sizes[rank])
                if not least <= bound <= most:
                    what = f"{mapped.level}: the {kind} bound of {rank} is {bound}, the constraint says {limit}"
                    yield Fault(what, path=mapped.level, fix="change the bound, or the constraint")
        groups = [("temporal", mapped.temporal, level.inner)]
        if depth in space.skipping:
            groups.append(("spatial", mapped.spatial, level.inner_spatial))
        for kind, loops, inner in groups:
            if not _in_order(loops, inner):
                order, pinned = (" ".join(names) for names in ([loop.rank for loop in loops if loop.bound > 1], inner))
                what = f"{mapped.level}: {kind} loops are in the order {order}, those over {pinned} have to be the innermost"
                yield Fault(what, path=mapped.level, fix="change the order, or the constraint")
        for loop in mapped.spatial:
            if loop.bound > 1 and level.axes.get(loop.rank, loop.axis) != loop.axis:
                what = f"{mapped.level}: {loop.rank} runs along {loop.axis}, constrained to {level.axes[loop.rank]}"
                yield Fault(what, path=mapped.level, fix="change the axis, or the constraint")
        for tensor in sorted(level.keep - mapped.keep):
            yield Fault(
                f"{mapped.level} bypasses {tensor}, which it has to keep", path=mapped.level, fix="keep it there"
            )
        for tensor in sorted(space.bypass(depth) & mapped.keep):
            yield Fault(
                f"{mapped.level} keeps {tensor}, which it has to bypass", path=mapped.level, fix="bypass it there"
            )
    used = prod(loop.bound for mapped in mapping.levels for loop in mapped.spatial)
    fewest, largest = space.parallelism
    if not fewest <= used <= largest:
        share = space.constraints
        units = space.problem.design.architecture.compute.instances
        what = (
            f"the mapping uses {used} of {units} compute units, constrained to a share of {share.least_parallelism:g} to "
            f"{share.most_parallelism:g}"
        )
        yield Fault(what, fix="change the spatial bounds, or the constraint")
