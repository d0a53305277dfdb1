"""What a rank may lose: at most G of H coordinates stay, or any number does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """A number, or every whole number from ``low`` to ``high``: ``4``, ``{G<=8}``, ``{2<=H<=8}``."""

    low: int
    high: int

    def text(self, letter: str) -> str:
        if self.low == self.high:
            return str(self.low)
        return f"{{{letter}<={self.high}}}" if self.low == 1 else f"{{{self.low}<={letter}<={self.high}}}"

    def __contains__(self, number: int) -> bool:
        return self.low <= number <= self.high


@dataclass(frozen=True)
class KeepRule:
    """``G:H``: each fiber has H coordinates and keeps at most G of them. Ranges give a set of rules to choose from."""

    kept: Bound
    shape: Bound

    def __str__(self) -> str:
        return f"{self.kept.text('G')}:{self.shape.text('H')}"

    @staticmethod
    def exactly(kept: int, shape: int) -> KeepRule:
        return KeepRule(Bound(kept, kept), Bound(shape, shape))

    def choices(self) -> list[KeepRule]:
        """Every rule with one G and one H of the set, without G > H."""
        shapes = range(self.shape.low, self.shape.high + 1)
        return [KeepRule.exactly(g, h) for h in shapes for g in range(self.kept.low, min(self.kept.high, h) + 1)]

    def loosest(self) -> list[KeepRule]:
        """For every H of the set, the rule that keeps most."""
        shapes = range(max(self.shape.low, self.kept.low), self.shape.high + 1)
        return [KeepRule.exactly(min(self.kept.high, h), h) for h in shapes]


@dataclass(frozen=True)
class Unconstrained:
    """Any coordinates may go, at any density."""

    def __str__(self) -> str:
        return "unconstrained"


Rule = KeepRule | Unconstrained
