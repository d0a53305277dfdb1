"""Table 4.2: computes simulated per host cycle, in a search over the mappings of every layer."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import geometric_mean
from typing import Final

from sparseloom.arch.energy import estimated
from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.kernel import kernel
from sparseloom.mapping.constraints import NONE, Constraints
from sparseloom.memory import forget
from sparseloom.model.evaluate import evaluate
from sparseloom.report.study import Chart, Computed, Part
from sparseloom.search.network import Setting, Task, tasks
from sparseloom.search.walk import walk
from sparseloom.workload import zoo

DESIGNS: Final = ("eyeriss", "eyeriss-v2-pe", "scnn")
NETWORKS: Final[Mapping[str, tuple[str, ...]]] = {
    "resnet50": ("resnet50",),
    "bert-base": ("bert-base-128", "bert-base-512"),
    "vgg16": ("vgg16",),
    "alexnet": ("alexnet",),
}
"""By column of the table. The thesis does not say how long BERT's sequences are: the slower length counts."""

FREE: Final = frozenset({"eyeriss-v2-pe"})
"""Designs that are searched without their constraints: these leave fewer than a hundred mappings of some layers, which take less
time than making the mapspace."""

DENSITY: Final = 0.5
"""Of both operands, nonzeros anywhere: every sparse feature is modelled."""

MOST: Final = 200_000
"""Mappings of a layer that are evaluated, if there are as many."""

WARM_UP: Final = "lenet5"
"""What is searched before anything is timed, so that compiled kernels are there."""

CPUINFO: Final = Path("/proc/cpuinfo")
CHAIN_CYCLES: Final = 4
"""Of one step of :func:`_chain` on x86-64: 3 for a multiplication of 64 bits, 1 for an addition, since Skylake and Zen."""


@dataclass(frozen=True)
class Speed:
    """What was simulated of a network on a design: ``computes`` of valid mappings, each distinct layer once; ``all_computes`` with
    layers that are alike and mappings that are not valid; ``whole`` those of one inference. ``cycles`` are the host's for the
    search, ``single_cycles`` for one evaluation of each distinct layer."""

    layers: int
    valid: int
    evaluated: int
    computes: float
    all_computes: float
    whole: float
    cycles: float
    single_cycles: float

    @property
    def rate(self) -> float:
        return self.computes / self.cycles


def study(jobs: int = 1) -> Computed:
    """Every network on every design, on one core whatever ``jobs`` says: cycles of several would be those of one, divided."""
    hertz = clock_hz()
    for design in DESIGNS:
        speed(design, WARM_UP, hertz)
    found = {
        (design, network): speed(design, network, hertz)
        for design in DESIGNS
        for networks in NETWORKS.values()
        for network in networks
    }
    cells = {
        (design, column): min(found[design, network].rate for network in networks)
        for design in DESIGNS
        for column, networks in NETWORKS.items()
    }
    singles = [each.whole / each.single_cycles for each in found.values()]
    return Computed(
        "computes simulated per host cycle",
        {f"{design}-{column}": rate for (design, column), rate in cells.items()}
        | {
            "geomean": geometric_mean(cells.values()),
            "geomean-all": geometric_mean(each.all_computes / each.cycles for each in found.values()),
            "geomean-single": geometric_mean(singles),
        },
        (Part("computes per host cycle", HEAD, list(_rows(found))),),
        Chart(
            "bars", list(NETWORKS), {design: [cells[design, column] for column in NETWORKS] for design in DESIGNS},
            "network", "computes per host cycle", log_y=True,
        ),
        (
            f"host cycles: seconds of CPU time of one process on one core, times {hertz / 1e9:.3f} GHz, the higher of what the "
            "system states and of a chain of multiplications; they include making the mapspace and dropping what does not fit",
            f"batch 1, densities {DENSITY:g}, up to {MOST:,} mappings with perfect factors of each distinct layer, all evaluated "
            "in full: no bounds, no shipped mappings; only valid ones count",
            f"within the designs' constraints, but for {', '.join(sorted(FREE))}: what they leave of some layers takes less time "
            "than making the mapspace",
            "all: layers that are alike counted each, and mappings that are not valid too; single: all computes of an inference "
            "over one evaluation, from objects to results, of each distinct layer",
        ),
    )  # fmt: skip


HEAD: Final = (
    "design, network",
    "distinct layers",
    "valid",
    "evaluated",
    "CPU s at 1 GHz",
    "per cycle",
    "all",
    "single",
)


def _rows(found: Mapping[tuple[str, str], Speed]) -> Iterator[tuple[str, ...]]:
    for (design, network), each in found.items():
        yield (
            f"{design}, {network}", f"{each.layers}", f"{each.valid:,}", f"{each.evaluated:,}", f"{each.cycles / 1e9:.1f}",
            f"{each.rate:,.0f}", f"{each.all_computes / each.cycles:,.0f}", f"{each.whole / each.single_cycles:,.0f}",
        )  # fmt: skip


def speed(design: str, network: str, hertz: float, most: int = MOST) -> Speed:
    """Search every distinct layer of a network, and evaluate the mapping that was found once."""
    whole = zoo.load(network)
    layers = tuple(
        replace(each, densities={operand.name: DENSITY for operand in each.einsum.operands}) for each in whole.layers
    )
    setting = Setting(estimated(load(design), Technology()), limits(design))
    parts = [_layer(task, setting, hertz, most) for task in tasks(replace(whole, layers=layers), setting)]
    sums = [sum(getattr(part, name) for part in parts) for name in Speed.__dataclass_fields__]
    return Speed(*sums)


def limits(design: str) -> Constraints:
    """What the mappings of a design are searched within."""
    return NONE if design in FREE else constraints(design).widened()


def _layer(task: Task, setting: Setting, hertz: float, most: int) -> Speed:
    start = time.process_time()
    found = walk(setting.space(task.layer), setting.objective, most)
    cycles = (time.process_time() - start) * hertz
    forget()
    start = time.process_time()
    if found.mapping is not None:
        evaluate(task.layer.workload(), setting.design, found.mapping)
    single = (time.process_time() - start) * hertz
    forget()
    computes = task.layer.computes
    return Speed(
        1,
        found.valid,
        found.evaluated,
        found.valid * computes,
        found.evaluated * task.useful,
        task.useful,
        cycles,
        single,
    )


def clock_hz() -> float:
    """The clock of a core at work: the highest that the system states, or that of a loop of known latency if it is higher."""
    stated = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", CPUINFO.read_text(), re.MULTILINE) if CPUINFO.exists() else []
    return max([_measured_hz(), *(1e6 * float(each) for each in stated)])


def _measured_hz(steps: int = 20_000_000) -> float:
    """The fastest of some runs: others of the machine can only slow it down."""
    _chain(1)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        _chain(steps)
        seconds.append(time.process_time() - start)
    return CHAIN_CYCLES * steps / min(seconds)


@kernel
def _chain(steps):  # type: ignore[no-untyped-def]
    value = 3
    for step in range(steps):
        value = value * value + step
    return value
