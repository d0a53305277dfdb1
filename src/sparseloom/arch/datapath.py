"""Datapath components: registers, arithmetic, selection, encoders, queues, wires.

Aladdin's tables have adders, multipliers, registers, comparators, counters, shifters, crossbars and gates at 40/45 nm; other
nodes follow by Stillmaker and Baas. Everything else is composed of these, as its class says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sparseloom.arch.component import Component, Estimate
from sparseloom.arch.technology import Technology
from sparseloom.errors import ArchitectureError, Fault

_TABLE: Final = Path(__file__).parent / "components" / "aladdin.yaml"
_NODE_NM: Final = 45


@lru_cache(maxsize=1)
def _tables() -> tuple[str, Mapping[str, tuple[Mapping[str, float], ...]]]:
    from sparseloom.document import read

    values: Any = read(_TABLE).plain()
    return str(values["source"]), values["units"]


def _aladdin(name: str, technology: Technology, share: float) -> Estimate:
    """``share`` of Aladdin's unit: the row of the longest latency that still meets the cycle."""
    source, units = _tables()
    rows = units[name]
    meeting = [row for row in rows if row["latency_ns"] <= technology.cycle_ns]
    if not meeting:
        least = min(row["latency_ns"] for row in rows)
        what = f"Aladdin's {name} needs {least:g} ns, the cycle is {technology.cycle_ns:g} ns"
        raise ArchitectureError(Fault(what, path="cycle_ns", fix=f"give a cycle of {least:g} ns or more"))
    row = max(meeting, key=lambda each: each["latency_ns"])
    energies = {"use": row["energy_pj"], "idle": row["idle_pj"]}
    one = Estimate(energies, row["area_um2"], row["leakage_mw"], source).times(share)
    how = f"{name} of {row['latency_ns']:g} ns"
    if technology.node_nm == _NODE_NM:
        return one.said(how)
    scaled = one.scaled(technology.energy_from(_NODE_NM), technology.area_from(_NODE_NM))
    return scaled.said(f"{how}, to {technology.node_nm:g} nm by Stillmaker and Baas")


def _gates(technology: Technology, number: float) -> Estimate:
    """So many gates of two inputs: Aladdin's bitwise unit has 32."""
    return _aladdin("bitwise", technology, number / 32)


@dataclass(frozen=True)
class Register(Component):
    """One row of ``width_bits`` registers."""

    width_bits: int

    def estimate(self, technology: Technology) -> Estimate:
        found = _aladdin("reg", technology, self.width_bits)
        energies = {"read": found.pj("use"), "write": found.pj("use"), "idle": found.pj("idle")}
        return Estimate(energies, found.area_um2, found.leakage_mw, found.source, found.derivation)


@dataclass(frozen=True)
class Adder(Component):
    """An integer adder; linear in its width."""

    width_bits: int

    def estimate(self, technology: Technology) -> Estimate:
        return _aladdin("adder", technology, self.width_bits / 32)


@dataclass(frozen=True)
class Multiplier(Component):
    """An integer multiplier; quadratic in its width."""

    width_bits: int

    def estimate(self, technology: Technology) -> Estimate:
        return _aladdin("multiplier", technology, (self.width_bits / 32) ** 2)


@dataclass(frozen=True)
class Mac(Component):
    """A multiplier and an adder of the same width."""

    width_bits: int

    def estimate(self, technology: Technology) -> Estimate:
        return Multiplier(self.width_bits).estimate(technology).plus(Adder(self.width_bits).estimate(technology))


@dataclass(frozen=True)
class Comparator(Component):
    """Equality or order of two words; linear in its width."""

    width_bits: int

    def estimate(self, technology: Technology) -> Estimate:
        return _aladdin("comparator", technology, self.width_bits / 32)


@dataclass(frozen=True)
class Counter(Component):
    """A counter; linear in its width."""

    width_bits: int

    def estimate(self, technology: Technology) -> Estimate:
        return _aladdin("counter", technology, self.width_bits / 32)


@dataclass(frozen=True)
class Shifter(Component):
    """A barrel shifter; linear in its width."""

    width_bits: int

    def estimate(self, technology: Technology) -> Estimate:
        return _aladdin("shifter", technology, self.width_bits / 32)


@dataclass(frozen=True)
class Crossbar(Component):
    """Any of ``inputs`` to any of ``outputs``, words of ``width_bits``: Aladdin's has 1 input and 4 outputs of 32 bits."""

    inputs: int
    outputs: int
    width_bits: int

    def estimate(self, technology: Technology) -> Estimate:
        return _aladdin("crossbar", technology, self.inputs * self.outputs / 4 * self.width_bits / 32)


@dataclass(frozen=True)
class Mux(Component):
    """One of ``inputs`` words of ``width_bits``: a tree of inputs - 1 multiplexers of two, each bit of which is three gates. All of
    them are taken to switch."""

    inputs: int
    width_bits: int

    def estimate(self, technology: Technology) -> Estimate:
        count = (self.inputs - 1) * self.width_bits
        return _gates(technology, 3 * count).said(f"{count} multiplexer bits of 3 gates")


@dataclass(frozen=True)
class MetadataDecoder(Component):
    """A coordinate in ``positions`` to one line for each: an AND of all its bits per position."""

    positions: int

    def estimate(self, technology: Technology) -> Estimate:
        bits = _stages(self.positions)
        count = self.positions * max(bits - 1, 1)
        return _gates(technology, count).said(f"{count} gates: {self.positions} ANDs of {bits} bits")


@dataclass(frozen=True)
class ShiftBuffer(Component):
    """A buffer of ``depth`` blocks of ``width_bits`` that is filled a block at a time and gives ``outputs`` consecutive blocks from
    any place (HighLight's VFMU): registers, and log2(depth) stages of multiplexers of two for each output. Energies are of one
    block."""

    width_bits: int
    depth: int
    outputs: int

    def estimate(self, technology: Technology) -> Estimate:
        block = Register(self.width_bits).estimate(technology)
        stages = _stages(self.depth)
        shift = _gates(technology, 3 * stages * self.width_bits)
        energies = {
            "read": block.pj("read") + shift.pj("use"),
            "write": block.pj("write"),
            "idle": block.pj("idle") + shift.pj("idle"),
        }
        how = f"{self.depth} blocks of registers, {stages} stages of multiplexers over {self.outputs} blocks"
        area = self.depth * block.area_um2 + self.outputs * shift.area_um2
        leakage = self.depth * block.leakage_mw + self.outputs * shift.leakage_mw
        return Estimate(energies, area, leakage, block.source, how)


@dataclass(frozen=True)
class Fifo(Component):
    """A queue of ``depth`` words: a register row that is written or read, and a comparison of its pointers."""

    width_bits: int
    depth: int

    def estimate(self, technology: Technology) -> Estimate:
        row = Register(self.width_bits).estimate(technology)
        pointers = Comparator(_stages(self.depth)).estimate(technology)
        energies = {
            "read": row.pj("read") + pointers.pj("use"),
            "write": row.pj("write") + pointers.pj("use"),
            "idle": row.pj("idle") + pointers.pj("idle"),
        }
        how = f"{self.depth} rows of {self.width_bits} registers, a comparator of pointers"
        area = self.depth * row.area_um2 + pointers.area_um2
        return Estimate(energies, area, self.depth * row.leakage_mw + pointers.leakage_mw, row.source, how)


SPARTEN_INPUTS: Final = 128
SPARTEN_PREFIX_SUM_PJ: Final = 48.0 / 0.8 / 64
"""One prefix sum over 128 bits at 45 nm: SparTen (Gondimalla et al., MICRO 2019), table 4, as a course re-implementation quotes it:
48 mW at 800 MHz. Taken to be of the 64 of a cluster of 32 compute units: the table has one permutation network, which a
cluster has, and 13.82 mW of multipliers, 0.54 pJ for each of 32 (Aladdin has 0.56 pJ for 8 bits) or 17 pJ for one."""

SPARTEN_PRIORITY_ENCODER_PJ: Final = 6.4 / 0.8 / 32
"""One priority encoder over 128 bits at 45 nm: the same table, 6.4 mW for the 32 of a cluster."""

_SPARTEN: Final = "SparTen (MICRO 2019), table 4, at second hand"


@dataclass(frozen=True)
class PrefixSum(Component):
    """How many ones stand before each of ``inputs`` bits: a Brent-Kung network, which has the fewest adders. Its area is that of
    the adders, its energy that which SparTen reports for 128 inputs, by bits added."""

    inputs: int

    def estimate(self, technology: Technology) -> Estimate:
        bits = _added_bits(self.inputs)
        composed = _aladdin("adder", technology, bits / 32)
        energy = SPARTEN_PREFIX_SUM_PJ * bits / _added_bits(SPARTEN_INPUTS)
        return _anchored(composed, energy, technology, f"Brent-Kung adders of {bits} bits together")


@dataclass(frozen=True)
class PriorityEncoder(Component):
    """The place of the first one among ``inputs`` bits: a prefix OR, an AND for each place, and an OR tree for each bit of the
    place. Its area is that of the gates, its energy that which SparTen reports for 128 inputs, by gates."""

    inputs: int

    def estimate(self, technology: Technology) -> Estimate:
        count = _encoder_gates(self.inputs)
        energy = SPARTEN_PRIORITY_ENCODER_PJ * count / _encoder_gates(SPARTEN_INPUTS)
        return _anchored(_gates(technology, count), energy, technology, f"{count} gates")


def _anchored(composed: Estimate, energy_pj: float, technology: Technology, how: str) -> Estimate:
    """What is composed, with a published energy of 45 nm for one use."""
    energies = {"use": energy_pj * technology.energy_from(_NODE_NM), "idle": composed.pj("idle")}
    said = f"{how}; energy scaled from SparTen's of {SPARTEN_INPUTS} inputs"
    return Estimate(energies, composed.area_um2, composed.leakage_mw, f"{composed.source}; {_SPARTEN}", said)


def _stages(inputs: int) -> int:
    return max(math.ceil(math.log2(inputs)), 1)


def _added_bits(inputs: int) -> int:
    """Bits that the adders of a Brent-Kung network over as many inputs have together: sums of 2, 4, 8, ... inputs; and from those
    of larger parts to smaller ones, what stands before a part and the part.

    >>> _added_bits(4), _added_bits(128)
    (9, 1115)
    """
    found = 0
    for stage in range(_stages(inputs)):
        size = 1 << stage
        found += inputs // (2 * size) * (stage + 2)
        found += sum(end.bit_length() for end in range(3 * size, inputs + 1, 2 * size))
    return found


def _encoder_gates(inputs: int) -> int:
    """Gates of a priority encoder: prefix OR, AND, and an OR of half of the inputs for each bit of the place.

    >>> _encoder_gates(4), _encoder_gates(128)
    (11, 1338)
    """
    prefix = sum(inputs - (1 << stage) for stage in range(_stages(inputs)) if inputs > (1 << stage))
    return prefix + inputs + _stages(inputs) * max(inputs // 2 - 1, 0)


WIRE_F_PER_UM: Final = 1.627e-15
WIRE_ACTIVITY: Final = 0.2


@dataclass(frozen=True)
class Wire(Component):
    """A word of ``width_bits`` over ``length_um``: C V^2 of the bits that change, at 1 V.

    Source: the Aladdin plug-in of Accelergy, 1.627 fF/um and an activity of 0.2.
    """

    width_bits: int
    length_um: float

    def estimate(self, technology: Technology) -> Estimate:
        energy = 1e12 * self.width_bits * WIRE_ACTIVITY * WIRE_F_PER_UM * self.length_um
        how = f"{self.width_bits} bits x {self.length_um:g} um x {1e15 * WIRE_F_PER_UM:g} fF/um x {WIRE_ACTIVITY:g} x 1 V^2"
        return Estimate({"use": energy, "idle": 0.0}, 0.0, 0.0, "accelergy-aladdin-plug-in", how)
