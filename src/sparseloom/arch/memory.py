"""Storage components: SRAM, register files, registers, DRAM.

SRAM is CACTI's (``components/cacti.csv``); register files and registers are Aladdin's registers and comparators.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.component import Component, Estimate
from sparseloom.arch.datapath import Comparator, Register
from sparseloom.arch.technology import Technology
from sparseloom.errors import ArchitectureError, Fault, suggest

_TABLE: Final = Path(__file__).parent / "components" / "cacti.csv"
_COLUMNS: Final = ("read_pj", "write_pj", "leakage_mw", "area_mm2", "cycle_ns")

LEAST_BYTES: Final = 64
"""SRAM below CACTI's smallest array of 1 KB is extrapolated down to this."""

BANK_FACTOR: Final = 0.834
"""Energy with twice as many banks, over that of one array of the same size. MICRO 2022 artifact, fig13: 512 KB in rows of 256 bits,
2 banks, 140.10 / 134.51 pJ, over CACTI's 167.91 / 161.33 for one."""

PORT_FACTOR: Final = 1.69
"""Energy with one more read-write port, over that without. MICRO 2022 artifact, fig15: 256 KB in rows of 512 bits, 2 banks, 2
ports, 285.71 / 316.97 pJ, over 0.834 times CACTI's 199.38 / 228.26: 1.718 for reads, 1.665 for writes, their geometric mean."""

PORT_AREA_FACTOR: Final = 2.0
"""Area with one more port: a second pair of bit lines and a second word line. An assumption, no source at hand has it."""


@dataclass(frozen=True)
class Sram(Component):
    """An SRAM of ``depth`` rows of ``width_bits``; ``banks`` and ``ports`` are read-write.

    Energies of one array come from CACTI 7.0, log-log between its sizes and widths. CACTI's choice of organisation makes them
    rise and fall a little from size to size; the mean (geometric) of the least curve above and the greatest curve below
    that never fall is taken, which is the table itself wherever that never falls. An idle cycle costs what leaks in the
    array's own cycle. Rows wider than 512 bits are arrays side by side, narrower than 8 bits take 8.
    """

    width_bits: int
    depth: int
    banks: int = 1
    ports: int = 1

    def estimate(self, technology: Technology) -> Estimate:
        side_by_side = math.ceil(self.width_bits / 512)
        width = max(self.width_bits / side_by_side, 8)
        size_bytes = width * self.depth / 8
        _require_size(size_bytes, self.banks)
        nodes = sorted({key[2] for key in _arrays()})
        node = min(nodes, key=lambda each: abs(math.log(each / technology.node_nm)))
        values = _interpolated(technology.sram_mode, technology.device, node, size_bytes, width)
        energy = BANK_FACTOR ** math.log2(self.banks) * PORT_FACTOR ** (self.ports - 1)
        one = Estimate(
            {
                "read": values["read_pj"] * energy,
                "write": values["write_pj"] * energy,
                "idle": values["leakage_mw"] * values["cycle_ns"],
            },
            1e6 * values["area_mm2"] * PORT_AREA_FACTOR ** (self.ports - 1),
            values["leakage_mw"],
            "CACTI 7.0",
        ).times(side_by_side)
        how = [
            f"{size_bytes:g} bytes in rows of {width:g} bits, {technology.sram_mode}, {technology.device}, {node} nm"
        ]
        if size_bytes < 1024:
            how.append("extrapolated below CACTI's 1 KB")
        if self.banks > 1:
            how.append(f"{self.banks} banks: energy x {BANK_FACTOR} for each doubling")
        if self.ports > 1:
            how.append(f"{self.ports} ports: energy x {PORT_FACTOR}, area x {PORT_AREA_FACTOR:g} for each one more")
        if side_by_side > 1:
            how.append(f"{side_by_side} arrays side by side")
        if node != technology.node_nm:
            how.append(f"to {technology.node_nm:g} nm by Stillmaker and Baas")
            one = one.scaled(technology.energy_from(node), technology.area_from(node))
        return one.said(", ".join(how))


def _require_size(size_bytes: float, banks: int) -> None:
    most = max(key[3] for key in _arrays())
    if size_bytes < LEAST_BYTES:
        what = f"an SRAM of {size_bytes:g} bytes is below the {LEAST_BYTES} bytes that CACTI's table is extrapolated to"
        raise ArchitectureError(Fault(what, path="depth", fix="use a regfile or a register"))
    if size_bytes / banks > most:
        what = f"an SRAM bank of {size_bytes / banks:,.0f} bytes is above the {most:,} bytes of CACTI's largest array"
        raise ArchitectureError(
            Fault(what, path="banks", fix=f"split it into {math.ceil(size_bytes / most)} banks or more")
        )


@lru_cache(maxsize=1)
def _arrays() -> Mapping[tuple[str, str, int, int, int], tuple[float, ...]]:
    """By mode, device, node, bytes and bits: the :data:`_COLUMNS` of every array of the table."""
    with _TABLE.open(encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {
            (row["mode"], row["device"], int(row["node_nm"]), int(row["size_bytes"]), int(row["width_bits"])): tuple(
                float(row[column]) for column in _COLUMNS
            )
            for row in rows
        }


@lru_cache(maxsize=64)
def _grid(mode: str, device: str, node: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Logarithms (base 2) of the sizes, of the widths, and of the columns [column, size, width], which never fall from one size or
    width to the next; NaN where CACTI has none."""
    own = {key[3:]: values for key, values in _arrays().items() if key[:3] == (mode, device, node)}
    sizes, widths = sorted({size for size, _ in own}), sorted({width for _, width in own})
    missing = (math.nan,) * len(_COLUMNS)
    table = np.log2([[own.get((size, width), missing) for width in widths] for size in sizes]).transpose(2, 0, 1)
    return np.log2(sizes), np.log2(widths), np.array([_rising(column) for column in table])


def _rising(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Halfway between the least table above and the greatest below that never fall along either axis."""
    high = np.where(np.isnan(table), -np.inf, table)
    low = np.where(np.isnan(table), np.inf, table)
    for axis in (0, 1):
        high = np.maximum.accumulate(high, axis)
        low = np.flip(np.minimum.accumulate(np.flip(low, axis), axis), axis)
    return np.where(np.isnan(table), np.nan, (high + low) / 2)


def _interpolated(mode: str, device: str, node: int, size_bytes: float, width_bits: float) -> dict[str, float]:
    """The columns of an array, straight in logarithms between the table's four around it, and beyond its ends as at them."""
    sizes, widths, table = _grid(mode, device, node)
    i, s = _cell(sizes, math.log2(size_bytes))
    j, w = _cell(widths, math.log2(width_bits))
    corners = table[:, i : i + 2, j : j + 2]
    # a corner that counts for nothing may be missing
    weights = np.outer([1 - s, s], [1 - w, w])
    found = np.where(weights == 0, 0.0, corners * weights).sum(axis=(1, 2))
    if np.isnan(found).any():
        what = f"CACTI has no array of {size_bytes:g} bytes in rows of {width_bits:g} bits"
        raise ArchitectureError(Fault(what, path="width_bits", fix="make it deeper, or its rows narrower"))
    return dict(zip(_COLUMNS, (2.0**found).tolist(), strict=True))


def _cell(points: NDArray[np.float64], at: float) -> tuple[int, float]:
    """The first of the two points around a place, and how far it is from there to the second; beyond the ends, of the last two."""
    i = int(np.clip(np.searchsorted(points, at, side="right") - 1, 0, len(points) - 2))
    return i, float((at - points[i]) / (points[i + 1] - points[i]))


@dataclass(frozen=True)
class Regfile(Component):
    """Registers of ``depth`` rows of ``width_bits``: an access costs one row of registers and a comparison of the address at each
    row, which is what the MICRO 2022 artifact's small buffers cost."""

    width_bits: int
    depth: int

    def estimate(self, technology: Technology) -> Estimate:
        row, address = Register(self.width_bits), Comparator(max(math.ceil(math.log2(self.depth)), 1))
        one, compared = row.estimate(technology), address.estimate(technology)
        rows = one.times(self.depth)
        decoder = compared.times(self.depth if self.depth > 1 else 0)
        energies = {
            "read": one.pj("read") + decoder.pj("use"),
            "write": one.pj("write") + decoder.pj("use"),
            "idle": one.pj("idle") + decoder.pj("idle"),
        }
        how = f"a row of {self.width_bits} registers and {self.depth} comparators of the address"
        return Estimate(
            energies, rows.area_um2 + decoder.area_um2, rows.leakage_mw + decoder.leakage_mw, one.source, how
        )


DRAM_PJ_PER_BIT: Final = {"LPDDR4": 8.0, "LPDDR": 40.0, "DDR3": 70.0, "GDDR5": 14.0, "HBM2": 3.9, "HMC": 4.2}
"""Source: accelergy-cacti-plug-in, cacti_wrapper.py."""


@dataclass(frozen=True)
class Dram(Component):
    """Memory off the chip: so much for each bit of an access of ``width_bits``, whatever the node; no area of the chip."""

    width_bits: int
    type: str = "LPDDR4"

    def estimate(self, technology: Technology) -> Estimate:
        if self.type not in DRAM_PJ_PER_BIT:
            fix = suggest(self.type, DRAM_PJ_PER_BIT)
            raise ArchitectureError(Fault(f"no energies of DRAM of type '{self.type}' are known", path="type", fix=fix))
        energy = DRAM_PJ_PER_BIT[self.type] * self.width_bits
        how = f"{DRAM_PJ_PER_BIT[self.type]:g} pJ/bit of {self.type}"
        return Estimate({"read": energy, "write": energy, "idle": 0.0}, 0.0, 0.0, "accelergy-cacti-plug-in", how)


@dataclass(frozen=True)
class Outside(Component):
    """What lies outside of the hardware that is looked at: no energy, no area."""

    def estimate(self, technology: Technology) -> Estimate:
        return Estimate({"read": 0.0, "write": 0.0, "idle": 0.0}, 0.0, 0.0, "not counted", "it lies outside")
