"""SCNN over its dense baseline, on the networks and at the densities of its paper: speeds over all convolutions.

Both run every layer at the mapping that takes the fewest cycles, without limits of bandwidth. Densities are those published for the
networks; of GoogLeNet two modules are, the others lie between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from sparseloom.arch.banks import Banks
from sparseloom.arch.design import Design
from sparseloom.designs.load import constraints, load
from sparseloom.errors import SparseloomError
from sparseloom.mapping.constraints import Constraints, Limit
from sparseloom.report.study import Chart, Computed, Part
from sparseloom.search.mapper import Best
from sparseloom.search.network import Setting, map_layer, tasks
from sparseloom.search.workers import in_processes
from sparseloom.workload import zoo
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

BUDGET_S: Final = 60.0
FIRST, LAST = "inception_3a", "inception_5b"
SWEEP: Final = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
GROUPS: Final = (8, 64)


@dataclass(frozen=True)
class Case:
    """The convolutions of a network, with densities, on a design of some constraints."""

    design: Design
    allowed: Constraints
    network: Network

    @property
    def runs(self) -> list[tuple[Setting, Layer]]:
        """What is searched: layers that are alike once, each with how many there are."""
        setting = Setting(self.design, self.allowed, "cycles", budget_s=BUDGET_S)
        return [(setting, task.layer) for task in tasks(self.network, setting)]


def study(jobs: int = 1) -> Computed:
    """Speeds of SCNN, what the choices that are not published do to them, and the speed over densities."""
    scnn, dcnn = load("scnn"), load("dcnn")
    alexnet, vgg16, googlenet = (_convolutions(name) for name in ("alexnet", "vgg16", "googlenet"))
    between = interpolated(googlenet)
    sparse = {
        "alexnet": _published(alexnet, "han2015-alexnet"),
        "googlenet": _with(googlenet, between),
        "vgg16": _published(vgg16, "han2015-vgg16"),
        "alexnet-eyeriss": _published(alexnet, "sparseloop-alexnet"),
        "vgg16-scnn": _published(vgg16, "scnn-vgg16"),
        "googlenet-first": _with(googlenet, {name: between[_twin(name, FIRST)] for name in between}),
        **{f"googlenet {d:g}": _with(googlenet, {name: {"I": d, "W": d} for name in between}) for d in SWEEP},
    }
    cases = {name: Case(_unlimited(scnn), constraints("scnn"), network) for name, network in sparse.items()}
    cases |= {
        f"dense {name}": Case(_unlimited(dcnn), constraints("dcnn"), network)
        for name, network in (("alexnet", alexnet), ("googlenet", googlenet), ("vgg16", vgg16))
    }
    cases |= {
        f"googlenet 0.1, {size}": Case(_unlimited(scnn), grouped(constraints("scnn"), size), sparse["googlenet 0.1"])
        for size in GROUPS
    }
    cases["googlenet 1, no queue"] = Case(_unqueued(_unlimited(scnn)), constraints("scnn"), sparse["googlenet 1"])
    cycles = total_cycles(cases, jobs)
    speeds = {
        name: cycles[f"dense {name.partition(' ')[0].partition('-')[0]}"] / own
        for name, own in cycles.items()
        if not name.startswith("dense")
    }
    return Computed(
        "SCNN over its dense baseline: speeds over all convolutions",
        {name.replace(", ", "-").replace(" ", "-"): speed for name, speed in speeds.items()} | {"even": _even(speeds)},
        tuple(_parts(cycles, speeds)),
        Chart("lines", SWEEP, {"scnn": [speeds[f"googlenet {d:g}"] for d in SWEEP]}, "density of both", "speed over dcnn", True),
        (
            "densities: Han et al. 2015 for AlexNet and VGG-16, whose tables are complete; the bars of SCNN's Fig. 1 for "
            "GoogLeNet, which has two modules: those between lie on a line from one to the other, module by module, those "
            "before are as "
            f"{FIRST}'s. The claim on GoogLeNet hangs on them",
            "channel groups, and how an image is cut further, are the mapper's choice within the accumulators",
            "what elements exchange at the edges of their parts takes no time and no room; conflicts of banks are those of places "
            "at random",
        ),
    )  # fmt: skip


def total_cycles(cases: Mapping[str, Case], jobs: int) -> dict[str, float]:
    """Cycles of all layers of each case. Raises SparseloomError for a layer that does not fit, KeyboardInterrupt if a search is
    interrupted."""
    names, todo = zip(*((name, each) for name, case in cases.items() for each in case.runs), strict=True)
    found = dict.fromkeys(cases, 0.0)
    for number, best in _searched(todo, jobs):
        if isinstance(best, SparseloomError):
            raise best
        if best.interrupted:
            raise KeyboardInterrupt
        found[names[number]] += todo[number][1].count * best.cycles
    return found


def _searched(todo: Sequence[tuple[Setting, Layer]], jobs: int) -> Iterator[tuple[int, Best | SparseloomError]]:
    if jobs > 1:
        return in_processes(_search, todo, jobs)
    return ((number, _search(each)) for number, each in enumerate(todo))


def _search(each: tuple[Setting, Layer]) -> Best:
    return map_layer(*each)


def _convolutions(name: str) -> Network:
    network = zoo.load(name)
    return replace(network, layers=tuple(layer for layer in network.layers if "R" in layer.shape))


def _published(network: Network, densities: str) -> Network:
    return _with(network, zoo.load_densities(densities).layers)


def _with(network: Network, densities: Mapping[str, Mapping[str, float]]) -> Network:
    return replace(
        network,
        layers=tuple(
            replace(layer, densities={tensor: densities[layer.name][tensor] for tensor in "IW"})
            for layer in network.layers
        ),
    )


def interpolated(network: Network) -> dict[str, dict[str, float]]:
    """Densities of all of GoogLeNet's convolutions from those of its first and its last module; the image is dense."""
    known = zoo.load_densities("scnn-googlenet").layers
    modules = list(dict.fromkeys(layer.name.split("/")[0] for layer in network.layers if "/" in layer.name))
    inner = [name for name in modules if name.startswith("inception")]
    found = {}
    for number, layer in enumerate(network.layers):
        module = layer.name.split("/")[0]
        share = inner.index(module) / (len(inner) - 1) if module in inner else 0.0
        first, last = (known[_twin(layer.name, end)] for end in (FIRST, LAST))
        found[layer.name] = {tensor: (1 - share) * first[tensor] + share * last[tensor] for tensor in "IW"}
        if number == 0:
            found[layer.name]["I"] = 1.0
    return found


def _twin(name: str, module: str) -> str:
    """The layer of a module that is as a layer of another one; windows before the modules are as 3 x 3 ones."""
    own, kind = name.split("/")
    return f"{module}/{kind if own.startswith('inception') or kind == '3x3_reduce' else '3x3'}"


def _unlimited(design: Design) -> Design:
    """Without limits of bandwidth."""
    levels = tuple(
        replace(level, read_words_per_cycle=None, write_words_per_cycle=None) for level in design.architecture.levels
    )
    return replace(design, architecture=replace(design.architecture, levels=levels))


def _unqueued(design: Design) -> Design:
    """With nothing before the banks."""
    levels = tuple(
        level if level.banks is None else replace(level, banks=Banks(level.banks.count))
        for level in design.architecture.levels
    )
    return replace(design, architecture=replace(design.architecture, levels=levels))


def grouped(allowed: Constraints, channels: int) -> Constraints:
    """With so many output channels in a group at most: four lanes, each for a quarter of them."""
    own = allowed.levels["operands"]
    few = replace(own, temporal={**own.temporal, "M": Limit(1, channels // 4)})
    return replace(allowed, levels={**allowed.levels, "operands": few})


def _even(speeds: Mapping[str, float]) -> float:
    """The density of both operands at which the two are as fast, on a line between those of the sweep."""
    points = [(d, speeds[f"googlenet {d:g}"]) for d in SWEEP]
    for (low, fast), (high, slow) in pairwise(points):
        if fast >= 1 > slow:
            return low + (high - low) * (fast - 1) / (fast - slow)
    return 1.0


def _parts(cycles: Mapping[str, float], speeds: Mapping[str, float]) -> Iterator[Part]:
    rows = [(name, f"{cycles[name]:,.0f}", f"{speed:.2f}") for name, speed in speeds.items()]
    yield Part(
        "cycles of SCNN and speed over dcnn, by network, densities and choices", ("case", "cycles", "speed"), rows
    )
    own = [(name, f"{own:,.0f}") for name, own in cycles.items() if name.startswith("dense")]
    yield Part("cycles of dcnn", ("case", "cycles"), own)
