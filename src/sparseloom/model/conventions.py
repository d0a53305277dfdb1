"""Where Sparseloop's answer differs from the clean formula: named conventions, gathered in profiles.

A convention is a choice that the model's three steps receive; there is one model. ``docs/conventions.md`` names each
beside the profiles that choose it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparseloom.errors import Fault, InputError


@dataclass(frozen=True)
class Conventions:
    """One choice for each difference between Sparseloop and the clean formula; the default is the clean one.

    reuse
        ``held``: a tile keeps what the tile before it held. ``same-stride``: only if it moves as it moved the time
        before; after another move all of it is fetched again.
    multicast
        ``joint``: receivers of one parent with equal tiles share a read. ``per-level``: spatial loops of each level
        between parent and child are merged on their own.
    first_visit
        ``read-and-fill``: the first visit of an output point moves no partial sum. ``read``: it is not read at the
        parent, but still counted as a fill of the child.
    imperfect
        ``exact``: every iteration counts as it is. ``three-visits``: a nest with imperfect factors is judged by the first,
        second and last iteration of each loop, in the first instance of each level.
    leader_tile
        ``stationary``: what is used with the transferred tile while it stays. ``target-loop``: a box around the
        innermost loop that moves the follower, in units of the level's block.
    joint
        ``exact``: features on one path and on several operands are joined as events. ``nested``: an inner feature is
        taken to imply the outer ones.
    gated_compute
        ``cycle``: a compute whose operand read was gated spends its cycle, gated. ``removed``: it vanishes.
    metadata
        ``encoding``: units of the encoded tile that moves. ``loop-ranks``: format ranks are assigned to loops, a tile's
        expected units are moved in proportion to its data. ``loop-ranks-ceil``: as that, with coordinates and runs
        counted among nonempty fibers only, rounded up.
    empty_tiles
        ``held``: instances hold the empty tiles of a compressed parent too. ``not-sent``: they are left out of a
        level's average instances and of its tiles' mean occupancy.
    blocks
        ``per-transfer``: a transfer takes whole blocks. ``total``: all words of an action are divided by the block, and
        for small compressed tiles scaled by the mean waste of a tile.
    energy
        ``own-entry``: an action without an entry of its own costs nothing. ``idle``: it falls back to idle, then to the
        full access. ``skipped-as-gated``: only a skipped action falls back, to the gated one.
    rounding
        ``none``: expected counts are real numbers. ``integer``: every product of a count is rounded to a whole number.
    cycles
        ``busiest``: the instance with the most computes decides. ``mean``: all used instances are equally busy.
    """

    name: str = "sparseloom"
    reuse: str = "held"
    multicast: str = "joint"
    first_visit: str = "read-and-fill"
    imperfect: str = "exact"
    leader_tile: str = "stationary"
    joint: str = "exact"
    gated_compute: str = "cycle"
    metadata: str = "encoding"
    empty_tiles: str = "held"
    blocks: str = "per-transfer"
    energy: str = "own-entry"
    rounding: str = "none"
    cycles: str = "busiest"

    def __post_init__(self) -> None:
        """Raises InputError for a choice that does not exist, or that would change nothing beside the others."""
        faults = []
        clean = self.metadata == "encoding"
        for name, (default, *others) in CHOICES.items():
            value = getattr(self, name)
            if value not in (default, *others):
                fix = f"give one of {', '.join((default, *others))}"
                faults.append(Fault(f"unknown choice '{value}' of the convention {name}", path=name, fix=fix))
            elif clean and name != "energy" and value != default:
                what = (
                    f"{name} {value} is part of reasoning by proportion, but metadata {self.metadata} asks for events"
                )
                faults.append(Fault(what, path=name, fix=f"take {default}, or start from a profile of Sparseloop's"))
            elif not clean and name in TOGETHER and value == default:
                what = (
                    f"{name} {value} belongs to reasoning by events, but metadata {self.metadata} asks for proportion"
                )
                faults.append(
                    Fault(what, path=name, fix=f"take {' or '.join(others)}, or start from the clean profile")
                )
        if faults:
            raise InputError(faults)

    @property
    def integer(self) -> bool:
        return self.rounding == "integer"


CHOICES = {
    "reuse": ("held", "same-stride"),
    "multicast": ("joint", "per-level"),
    "first_visit": ("read-and-fill", "read"),
    "imperfect": ("exact", "three-visits"),
    "leader_tile": ("stationary", "target-loop"),
    "joint": ("exact", "nested"),
    "gated_compute": ("cycle", "removed"),
    "metadata": ("encoding", "loop-ranks", "loop-ranks-ceil"),
    "empty_tiles": ("held", "not-sent"),
    "blocks": ("per-transfer", "total"),
    "energy": ("own-entry", "idle", "skipped-as-gated"),
    "rounding": ("none", "integer"),
    "cycles": ("busiest", "mean"),
}
"""The choices of every convention, the clean one first."""

TOGETHER = ("multicast", "imperfect", "leader_tile", "joint", "gated_compute", "empty_tiles", "blocks", "cycles")
"""Conventions that are parts of one way to reason, by proportion: they are chosen together, by ``metadata``."""

SPARSELOOM = Conventions()
MICRO22 = Conventions(
    name="sparseloop-micro22",
    reuse="same-stride",
    multicast="per-level",
    first_visit="read",
    imperfect="three-visits",
    leader_tile="target-loop",
    joint="nested",
    gated_compute="removed",
    metadata="loop-ranks",
    empty_tiles="not-sent",
    blocks="total",
    energy="idle",
    rounding="integer",
    cycles="mean",
)
TIMELOOP_2025_03 = replace(
    MICRO22, name="timeloop-2025-03", first_visit="read-and-fill", metadata="loop-ranks-ceil", energy="skipped-as-gated"
)
PROFILES = {profile.name: profile for profile in (SPARSELOOM, MICRO22, TIMELOOP_2025_03)}


def profile(name: str) -> Conventions:
    """The profile called ``name``. Raises InputError when there is none."""
    if name not in PROFILES:
        raise InputError(Fault(f"unknown conventions '{name}'", fix=f"give one of {', '.join(PROFILES)}"))
    return PROFILES[name]
