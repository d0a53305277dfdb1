"""The process that a design is made in, and what energies and areas become in another one.

Source: Stillmaker and Baas, "Scaling equations for the accurate prediction of CMOS device performance from 180 nm to 7 nm",
Integration 58 (2017) 74-81; coefficients as coded in accelergy-library-plug-in (scaling.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sparseloom.errors import ArchitectureError, Fault

SRAM_MODES: Final = ("ED^2", "ED", "energy", "delay")
DEVICES: Final = ("itrs-hp", "itrs-lop", "itrs-lstp")

_ENERGY: Final[Mapping[int, tuple[float, float, float]]] = {
    130: (7.171, -6.709, 2.904), 90: (4.762, -4.781, 2.092), 65: (3.755, -4.398, 1.975), 45: (1.103, -0.362, 0.2767),
    32: (0.9559, -0.7823, 0.471), 20: (0.373, -0.1582, 0.04104), 16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239), 10: (0.2068, -0.09311, 0.02375), 7: (0.1776, -0.09097, 0.02447),
}  # fmt: skip
"""By node in nm, the coefficients of V^2, V and 1 of the energy of an operation."""

_AREA: Final[Mapping[int, float]] = {65: 1.5, 45: 1.0, 32: 0.46, 20: 0.21, 16: 0.19, 14: 0.17, 10: 0.1, 7: 0.059}
"""Area relative to 45 nm."""


@dataclass(frozen=True)
class Technology:
    """A process: its node, its supply, the cycle that datapaths have to meet, and for SRAM the device type and what the memory
    compiler is taken to have minimised.

    The default is the node at which CACTI, Aladdin and the MICRO 2022 artifact all have data, with the artifact's settings.
    Raises ArchitectureError for values outside the tables.
    """

    node_nm: float = 45
    voltage_v: float = 0.8
    cycle_ns: float = 5.0
    device: str = "itrs-lstp"
    sram_mode: str = "ED^2"

    def __post_init__(self) -> None:
        faults = []
        if not min(_AREA) <= self.node_nm <= max(_AREA):
            what = f"the node is {self.node_nm:g} nm, the tables have {min(_AREA)} to {max(_AREA)} nm"
            faults.append(Fault(what, path="node_nm", fix="give a node between them"))
        if not 0.5 <= self.voltage_v <= 1.3:
            what = f"the supply is {self.voltage_v:g} V, the scaling equations are of 0.5 to 1.3 V"
            faults.append(Fault(what, path="voltage_v", fix="give a supply between them"))
        if not self.cycle_ns > 0:
            faults.append(Fault(f"the cycle is {self.cycle_ns:g} ns", path="cycle_ns", fix="give more than 0 ns"))
        for key, known in (("device", DEVICES), ("sram_mode", SRAM_MODES)):
            if getattr(self, key) not in known:
                what = f"unknown {key} '{getattr(self, key)}'"
                faults.append(Fault(what, path=key, fix=f"known: {', '.join(known)}"))
        if faults:
            raise ArchitectureError(faults)

    def __str__(self) -> str:
        return (
            f"{self.node_nm:g} nm, {self.voltage_v:g} V, cycles of {self.cycle_ns:g} ns, SRAM of {self.device} devices with least "
            f"{self.sram_mode}"
        )

    def energy_from(self, node_nm: float) -> float:
        """What an energy of another node is to be multiplied by, both at this supply.

        >>> round(Technology(65).energy_from(45), 3), round(Technology(28).energy_from(65), 3)
        (1.241, 0.414)
        """
        return self._energy(self.node_nm) / self._energy(node_nm)

    def area_from(self, node_nm: float) -> float:
        """What an area of another node is to be multiplied by.

        >>> round(Technology(28).area_from(45), 3)
        0.377
        """
        return _between(_AREA, self.node_nm) / _between(_AREA, node_nm)

    def _energy(self, node_nm: float) -> float:
        v = self.voltage_v
        return _between({node: a * v * v + b * v + c for node, (a, b, c) in _ENERGY.items()}, node_nm)


def _between(values: Mapping[int, float], node_nm: float) -> float:
    """The value of a node, by a straight line between the two nodes of the table around it."""
    above = min(node for node in values if node >= node_nm)
    below = max(node for node in values if node <= node_nm)
    if above == below:
        return values[above]
    share = (node_nm - below) / (above - below)
    return values[below] + share * (values[above] - values[below])
