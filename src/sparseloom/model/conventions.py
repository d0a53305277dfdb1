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
        second and last iteration of each loop, in the first instance of each level (multicast ``per-level`` alone).
    elimination
        ``joint``: a transfer survives if all that its leaders have for it, while it stays, survives every feature on the
        way. ``target-loop``: each leader tile is a box around the innermost loop that moves the follower, in units of the
        level's block; an inner feature is taken to imply the outer ones, and operands to be independent.
    gated_compute
        ``cycle``: a compute whose operand read was gated spends its cycle, gated. ``removed``: it vanishes.
    metadata
        ``encoding``: units of the encoded tile that moves. ``loop-ranks``: format ranks are assigned to loops, a tile's
        expected units are moved in proportion to its data. ``loop-ranks-ceil``: as that, with coordinates and runs
        counted among nonempty fibers only, rounded up.
    instances
        ``each``: the busiest decides, and those with an empty tile count. ``average``: all used instances are equally busy,
        and tiles that are empty in a compressed parent are left out of their number and of the mean words of tiles.
    blocks
        ``per-transfer``: a transfer takes whole blocks. ``total``: all words of an action are divided by the block, and
        for small compressed tiles scaled by the mean waste of a tile.
    energy
        ``own-entry``: an action without an entry of its own costs nothing. ``idle``: it falls back to idle, then to the
        full access. ``skipped-as-gated``: only a skipped action falls back, to the gated one.
    rounding
        ``none``: expected counts are real numbers. ``integer``: every product of a count is rounded to a whole number.
    """

    name: str = "sparseloom"
    reuse: str = "held"
    multicast: str = "joint"
    first_visit: str = "read-and-fill"
    imperfect: str = "exact"
    elimination: str = "joint"
    gated_compute: str = "cycle"
    metadata: str = "encoding"
    instances: str = "each"
    blocks: str = "per-transfer"
    energy: str = "own-entry"
    rounding: str = "none"

    def __post_init__(self) -> None:
        """Raises InputError for a choice that does not exist, or that would change nothing beside the others."""
        faults = []
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                fix = f"give one of {', '.join(choices)}"
                faults.append(Fault(f"unknown choice '{value}' of the convention {name}", path=name, fix=fix))
            elif not self.by_proportion and name not in BY_TRANSFER and value != choices[0]:
                what = f"{name} {value} is about dense counts in proportion, but metadata encoding asks for transfer by transfer"
                fix = f"take {choices[0]}, or start from a profile of Sparseloop's"
                faults.append(Fault(what, path=name, fix=fix))
        if faults:
            raise InputError(faults)

    @property
    def by_proportion(self) -> bool:
        """Whether dense counts of an average instance are scaled by chances; else each transfer is judged by itself, which units
        of encoded tiles ask for."""
        return self.metadata != "encoding"

    @property
    def integer(self) -> bool:
        return self.rounding == "integer"


CHOICES = {
    "reuse": ("held", "same-stride"),
    "multicast": ("joint", "per-level"),
    "first_visit": ("read-and-fill", "read"),
    "imperfect": ("exact", "three-visits"),
    "elimination": ("joint", "target-loop"),
    "gated_compute": ("cycle", "removed"),
    "metadata": ("encoding", "loop-ranks", "loop-ranks-ceil"),
    "instances": ("each", "average"),
    "blocks": ("per-transfer", "total"),
    "energy": ("own-entry", "idle", "skipped-as-gated"),
    "rounding": ("none", "integer"),
}
"""The choices of every convention, the clean one first."""

BY_TRANSFER = ("first_visit", "gated_compute", "metadata", "energy")
"""Conventions whose choices make a difference where each transfer is judged by itself."""

SPARSELOOM = Conventions()
MICRO22 = Conventions(
    name="sparseloop-micro22",
    reuse="same-stride",
    multicast="per-level",
    first_visit="read",
    imperfect="three-visits",
    elimination="target-loop",
    gated_compute="removed",
    metadata="loop-ranks",
    instances="average",
    blocks="total",
    energy="idle",
    rounding="integer",
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
