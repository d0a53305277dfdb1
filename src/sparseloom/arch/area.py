"""The area of a whole design at one technology, block by block, and what leaks from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sparseloom.arch.blocks import Block, Role, blocks
from sparseloom.arch.design import Design
from sparseloom.arch.technology import Technology


@dataclass(frozen=True)
class Area:
    """The blocks of a design, each with its area. What is off the chip has none."""

    design: str
    technology: Technology
    blocks: tuple[Block, ...]

    @property
    def total_um2(self) -> float:
        return sum(block.area_um2 for block in self.blocks)

    @property
    def leakage_mw(self) -> float:
        """Power that flows whatever the blocks do; a block whose source has none counts as none."""
        return sum(block.leakage_mw for block in self.blocks)

    def leaked_pj(self, cycles: float) -> float:
        """What leaks in so many cycles of the technology: mW x ns = pJ."""
        return self.leakage_mw * cycles * self.technology.cycle_ns

    @property
    def feature_share(self) -> float:
        """Share of the area that is there for sparsity alone; stores of metadata are not counted, they hold what a dense design
        would hold as data."""
        return self.by_role()[Role.FEATURE] / self.total_um2 if self.total_um2 else 0.0

    def by_role(self) -> Mapping[Role, float]:
        """um2 by what blocks are there for."""
        return {role: sum(block.area_um2 for block in self.blocks if block.role is role) for role in Role}


def area(design: Design, technology: Technology) -> Area:
    """The area of a design. Raises ArchitectureError where something cannot be estimated, with all reasons."""
    return Area(design.name, technology, blocks(design, technology))
