"""Densities that one source published for the layers of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DensitySet:
    """``layers`` has nonzeros / points by layer and tensor, for :meth:`Network.with_densities` of the ``network``.

    ``confidence`` says how the figures were come by. What the source does not give is not there.
    """

    name: str
    network: str
    source: str
    confidence: str
    layers: Mapping[str, Mapping[str, float]]
    note: str = ""
