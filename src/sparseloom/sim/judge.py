"""Which transfers the storage features eliminate: the period and the leader tile of each, looked at one by one.

Sections 4 and 10 of docs/oracle.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Table
from dataclasses import dataclass

from sparseloom.arch.design import Design
from sparseloom.arch.features import GATING, POSITION_SKIPPING, SKIPPING, SPATIAL_SKIPPING
from sparseloom.errors import ArchitectureError, Fault, suggest
from sparseloom.mapping.mapping import Mapping
from sparseloom.sim.nest import BoolArray, Nest
from sparseloom.sim.transfer import Edge, Transfer, inside, keeping_levels
from sparseloom.workload.einsum import TensorAccess
from sparseloom.workload.workload import Workload

ACTUAL, GATED, SKIPPED = "actual", "gated", "skipped"


@dataclass(frozen=True)
class Feature:
    """A storage feature with its alternative chosen, at the number of its level."""

    kind: str
    level: int
    target: str
    leaders: tuple[str, ...]


def chosen_features(design: Design, workload: Workload, alternatives: Table[int, int]) -> tuple[Feature, ...]:
    """The features of a design. ``alternatives[i]`` is the alternative that feature ``i`` uses; 0, the default, is its
    own target and leaders, ``n`` the n-th of its alternatives.

    Raises ArchitectureError for unknown tensors, choices that do not exist, and position skipping of an output.
    """
    names = [tensor.name for tensor in workload.einsum.tensors]
    faults, features = [], []
    for i, saf in enumerate(design.features.safs):
        pairs = saf.ways
        choice = alternatives.get(i, 0)
        if saf.kind == POSITION_SKIPPING and saf.target == workload.einsum.output.name:
            what = f"{saf.kind} at {saf.level} is of the output {saf.target}"
            faults.append(Fault(what, path=f"safs[{i}]", fix="pack the nonzeros of an operand"))
        elif not 0 <= choice < len(pairs):
            what = f"alternative {choice} of feature {i} is asked for, it has {len(pairs) - 1}"
            faults.append(Fault(what, path=f"safs[{i}].alternatives", fix="choose 0 for the feature's own pair"))
        else:
            target, leaders = pairs[choice]
            features.append(Feature(saf.kind, design.architecture.index(saf.level), target, leaders))
            for name in sorted({target, *leaders} - set(names)):
                what = f"a {saf.kind} feature at {saf.level} is about unknown tensor {name}"
                faults.append(Fault(what, path=f"safs[{i}]", fix=suggest(name, names)))
    for level, formats in design.features.formats.items():
        for name in sorted(set(formats) - set(names)):
            what = f"{level} has a format for unknown tensor {name}"
            faults.append(Fault(what, path=f"formats.{level}.{name}", fix=suggest(name, names)))
    if faults:
        raise ArchitectureError(faults)
    return tuple(features)


@dataclass(frozen=True)
class Judge:
    """Looks at the leaders' masks to judge transfers. ``masks`` holds each tensor's nonzeros."""

    nest: Nest
    mapping: Mapping
    workload: Workload
    features: tuple[Feature, ...]
    masks: Table[str, BoolArray]

    def verdict(self, transfer: Transfer, access: TensorAccess, edge: Edge) -> str:
        """What becomes of a transfer: skipped and gated ones are eliminated, by skipping if by both."""
        kinds = {
            feature.kind
            for feature in self._acting(access, edge)
            if self._some_leader_is_empty(feature, transfer.receivers, transfer, access, edge)
        }
        return SKIPPED if kinds & {SKIPPING, SPATIAL_SKIPPING} else GATED if GATING in kinds else ACTUAL

    def idles(self, receivers: Iterable[int], transfer: Transfer, access: TensorAccess, edge: Edge) -> bool:
        """Whether spatial skipping eliminates a transfer for some of its ``receivers``, judged on their own."""
        return any(
            feature.kind == SPATIAL_SKIPPING and self._some_leader_is_empty(feature, receivers, transfer, access, edge)
            for feature in self._acting(access, edge)
        )

    def leads(self, tensor: str, level: int) -> bool:
        """Whether a feature looks at the metadata of ``tensor`` where it leaves ``level``."""
        return any(
            tensor in feature.leaders and self._served_from(tensor, feature.level) == level for feature in self.features
        )

    def period(self, transfer: Transfer, access: TensorAccess, edge: Edge) -> slice:
        """The steps of the child for which what was transferred serves, from the transfer's own step on."""
        steps = self._period_steps(access, edge)
        return slice(transfer.step, (transfer.step // steps + 1) * steps)

    def begins_period(self, transfer: Transfer, access: TensorAccess, edge: Edge) -> bool:
        """Whether the digits of all loops inside the one that ends periods are 0 at the transfer's step."""
        return transfer.step % self._period_steps(access, edge) == 0

    def _period_steps(self, access: TensorAccess, edge: Edge) -> int:
        """Choices of the digits of the temporal loops inside the innermost one that turns the tensor's index."""
        steps = 1
        if edge.child == self.nest.compute:
            return steps
        for placed in reversed([p for p in self.nest.loops if p.temporal and p.level < edge.child]):
            if placed.loop.bound > 1 and placed.loop.rank in access.iteration_ranks:
                break
            steps *= placed.loop.bound
        return steps

    def _acting(self, access: TensorAccess, edge: Edge) -> Iterable[Feature]:
        """The features that act on an edge of a tensor."""
        return [
            feature
            for feature in self.features
            if feature.target == access.name and self._served_from(access.name, feature.level) == edge.parent
        ]

    def _some_leader_is_empty(
        self, feature: Feature, receivers: Iterable[int], transfer: Transfer, access: TensorAccess, edge: Edge
    ) -> bool:
        points = self.nest.views[edge.child].hull(receivers, self.period(transfer, access, edge))
        tiles = {leader: self.nest.project(points, self.workload.tensor(leader)) for leader in feature.leaders}
        return any(not self.masks[leader][inside(tile)].any() for leader, tile in tiles.items())

    def _served_from(self, tensor: str, level: int) -> int:
        """The innermost level at or outside ``level`` that keeps a tensor."""
        return max(kept for kept in keeping_levels(self.mapping, tensor) if kept <= level)
