"""The first minute: a real network on five designs, with mappings that were found beforehand and are evaluated anew."""

from __future__ import annotations

from typing import Final

from sparseloom.report.comparison import Comparison, compare

NETWORK: Final = "resnet50"
DESIGNS: Final = ("tc", "stc", "s2ta", "dstc", "highlight")
WEIGHTS: Final = "C1(2:4)->C0(2:4)"
ACTIVATIONS: Final = "0.4"

COMMAND: Final = (
    f'sparseloom compare {NETWORK} --designs {",".join(DESIGNS)} --weights "{WEIGHTS}" --activations {ACTIVATIONS} '
    "--sweep"
)
"""What makes the same."""


def demo(jobs: int = 1) -> Comparison:
    """ResNet-50 v1.5 pruned to two ranks of 2:4, activations of density 0.4."""
    return compare(NETWORK, DESIGNS, WEIGHTS, ACTIVATIONS, sweep=True, jobs=jobs)
