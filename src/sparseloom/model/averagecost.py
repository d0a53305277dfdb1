"""Step three of an average instance: whole words over the ports, clusters that share one address, latencies of
networks.

Source: Timeloop's arithmetic.hpp, buffer.cpp and topology.cpp, read at ee66b62.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparseloom.arch.actions import DATA_ACTIONS
from sparseloom.arch.hierarchy import StorageLevel
from sparseloom.errors import Fault, MappingError
from sparseloom.mapping.details import TimeloopDetails
from sparseloom.model.average import AverageInstance
from sparseloom.model.gather import ACTUAL, UNSKIPPED, Moved
from sparseloom.model.microarch import LevelCost, Share, holdings
from sparseloom.model.proportional import TINY

FloatArray = NDArray[np.float64]
Shares = Mapping[str, Mapping[str, Share]]
"""By level and tensor name."""


def of_average_instances(
    average: AverageInstance, shares: Shares, costs: Sequence[LevelCost], instances: FloatArray
) -> list[LevelCost]:
    """The ``costs`` of levels with ``instances`` [S] as Timeloop counts them."""
    found = []
    for depth, (level, cost) in enumerate(zip(average.problem.design.architecture.levels, costs, strict=True)):
        cluster = average.details.levels[level.name].cluster_size
        used = min(1.0, level.instances / cluster / instances[depth])
        energies = {name: energy * used for name, energy in cost.energy_pj.items()}
        found.append(
            replace(
                cost, energy_pj=energies, port_cycles=_port_cycles(average, depth, shares[level.name], instances[depth])
            )
        )
    return found


def _port_cycles(average: AverageInstance, depth: int, shares: Mapping[str, Share], instances: float) -> FloatArray:
    """Cycles that reads, writes and both together ask for, [3, 1]: each tensor's words and metadata in whole words of
    one instance."""
    level = average.problem.design.architecture.levels[depth]
    read = written = 0.0
    for t, name in enumerate(average.problem.tensors):
        if name in shares:
            widths = average.widths(depth, t)
            used = float(shares[name].instances[0])
            moved = {action: shares[name].moved(action) for action in DATA_ACTIONS}
            reads = _words({"read": moved.pop("read")}, widths, level.word_bits, used)
            read += _shared_out(reads, used, instances)
            written += _shared_out(_words(moved, widths, level.word_bits, used), used, instances)
    bandwidths = (level.read_words_per_cycle, level.write_words_per_cycle, level.shared_words_per_cycle)
    words = (read, written, read + written)
    return np.array(
        [[moved / bandwidth if bandwidth else 0.0] for moved, bandwidth in zip(words, bandwidths, strict=True)]
    )


def _words(moved: Mapping[str, Moved | None], widths: FloatArray, word_bits: int, used: float) -> float:
    """Actual and gated words of one instance, its metadata together in whole words."""
    words = bits = 0.0
    for action, each in moved.items():
        if each is not None and used:
            last = ACTUAL if action == "fill" else UNSKIPPED
            words += float(each.words[0, last]) / used
            if each.units.shape[1] == len(widths):
                bits += float((each.units[0, ..., last] * widths).sum()) / used
    return round(words, 6) + math.floor(bits / word_bits + TINY)


def _shared_out(words: float, used: float, instances: float) -> float:
    """Whole words of each of ``instances``, of which ``used`` work at a time."""
    return float(math.ceil(words * used / instances - TINY))


def latency_cycles(details: TimeloopDetails) -> float:
    """Cycles that the networks take to fill and to drain."""
    return sum(level.fill_latency_cycles + level.drain_latency_cycles for level in details.levels.values())


def refuse_empty(details: TimeloopDetails, levels: Sequence[StorageLevel], shares: Shares) -> None:
    """Raises MappingError with every level whose tiles fill less of it than its ``min_utilization`` asks for."""
    faults = []
    for level in levels:
        least, (words, _) = details.levels[level.name].min_utilization, holdings(level, shares[level.name])
        held = sum(float(amount[0]) for amount in words.held.values())
        if words.room is not None and held < least * words.room:
            what = f"tiles fill {held:,.0f} of {words.room:,} words of {level.name}, its min_utilization is {least}"
            faults.append(Fault(what, path=level.name, fix="enlarge the tiles, or lower min_utilization"))
    if faults:
        raise MappingError(faults)
