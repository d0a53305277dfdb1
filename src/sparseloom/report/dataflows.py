"""Fig. 4-13: the four designs of Table 4.5, two dataflows with two kinds of intersection, over the density of A.

The thesis gives neither the size of the matrices, nor the density of B, nor the bandwidth off the chip. ``MIDDLE`` is the setting
that claims are held against; in ``SETTINGS`` each of the three is varied alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sparseloom.arch.design import Design
from sparseloom.arch.energy import estimated
from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.errors import Fault, InputError, SparseloomError
from sparseloom.report.study import Chart, Computed, Part
from sparseloom.search.network import Setting, map_layer
from sparseloom.search.workers import in_processes
from sparseloom.workload.layer import Layer

ABZ_INNERMOST: Final = "reuse-abz-innermost-skip"
ABZ_HIERARCHICAL: Final = "reuse-abz-hierarchical-skip"
AZ_INNERMOST: Final = "reuse-az-innermost-skip"
AZ_HIERARCHICAL: Final = "reuse-az-hierarchical-skip"
DESIGNS: Final = (ABZ_INNERMOST, ABZ_HIERARCHICAL, AZ_INNERMOST, AZ_HIERARCHICAL)

DENSITIES: Final = (0.001, 0.003, 0.006, 0.01, 0.03, 0.06, 0.1, 0.3, 1.0)
"""Of A."""

DENSE_ABOVE: Final = 0.06
SPARSE_BELOW: Final = 0.01
BUDGET_S: Final = 30.0


@dataclass(frozen=True)
class Workload:
    """Products of two square matrices: their size, the density of B (0: that of A), the bytes that DRAM moves in a cycle, and
    whether metadata off the chip are charged."""

    size: int = 128
    density_b: float = 0.5
    dram_bytes: int = 32
    charged: bool = True

    def __str__(self) -> str:
        other = f"{self.density_b:g}" if self.density_b else "as A"
        return f"{self.size}, B {other}, {self.dram_bytes} B/cycle{'' if self.charged else ', masks off chip free'}"

    def layer(self, density: float) -> Layer:
        """The product with A of a density. An output is a nonzero if any of its products is."""
        other = self.density_b or density
        densities = {"A": density, "B": other, "Z": 1 - (1 - density * other) ** self.size}
        product = Layer.linear("product", rows=self.size, inputs=self.size, outputs=self.size).as_product()
        return replace(product, densities=densities)


MIDDLE: Final = Workload()
SETTINGS: Final = (
    MIDDLE,
    *(replace(MIDDLE, size=size) for size in (256, 512)),
    *(replace(MIDDLE, density_b=density) for density in (0.1, 1.0, 0.0)),
    *(replace(MIDDLE, dram_bytes=width) for width in (8, 128)),
)

BESIDE: Final = tuple(replace(MIDDLE, density_b=density, charged=False) for density in (0.5, 1.0))
"""What no share counts: how much of it is due to the metadata that are read before data can be skipped."""

Curves = Mapping[str, Sequence[float]]
"""EDP by design, at each of the densities."""


def study(jobs: int = 1) -> Computed:
    """All settings, and in which of them each claim holds."""
    settings = (*SETTINGS, *BESIDE)
    found = dict(zip(settings, _curves(settings, jobs), strict=True))
    holding = {name: [each for each in SETTINGS if claim.holds(found[each])] for name, claim in CLAIMS.items()}
    shares = {f"{name}-share": len(some) / len(SETTINGS) for name, some in holding.items()}
    shown = {label(name): values for name, values in _normalised(found[MIDDLE]).items()}
    return Computed(
        "two dataflows with two kinds of intersection, over the density of A",
        {name: claim.of(found[MIDDLE]) for name, claim in CLAIMS.items()} | shares,
        tuple(_parts(found)),
        Chart(
            "lines", [f"{100 * d:g} %" for d in DENSITIES], shown, "density of A",
            f"EDP over {label(ABZ_INNERMOST)}", log_y=True,
        ),
        (
            f"square matrices; the claims' setting and the chart's is {MIDDLE}; in the others one of the three differs",
            *(f"{name}: holds in {'; '.join(map(str, some)) or 'none'}" for name, some in holding.items()),
            f"each at its best mapping within the reuse that Table 4.5 states, proven; energies: {Technology()}",
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A figure of a setting's curves that is to be at most 1, or at least 1."""

    of: Callable[[Curves], float]
    most: bool = True

    def holds(self, curves: Curves) -> bool:
        return self.of(curves) <= 1 if self.most else self.of(curves) >= 1


def _over_best(curves: Curves, name: str, some: Callable[[float], bool] = bool) -> list[float]:
    """EDP of a design over that of the best of the others, at some densities."""
    others = [[values[i] for other, values in curves.items() if other != name] for i in range(len(DENSITIES))]
    return [curves[name][i] / min(others[i]) for i, density in enumerate(DENSITIES) if some(density)]


CLAIMS: Final = {
    "dense": Claim(lambda curves: max(_over_best(curves, ABZ_INNERMOST, lambda density: density > DENSE_ABOVE))),
    "sparse": Claim(lambda curves: max(_over_best(curves, AZ_HIERARCHICAL, lambda density: density < SPARSE_BELOW))),
    "never": Claim(lambda curves: min(_over_best(curves, ABZ_HIERARCHICAL)), most=False),
}


def _curves(settings: Sequence[Workload], jobs: int) -> Iterator[Curves]:
    todo = [_task(each, name, density) for each in settings for name in DESIGNS for density in DENSITIES]
    found = dict(in_processes(_edp, todo, jobs)) if jobs > 1 else {i: _edp(task) for i, task in enumerate(todo)}
    values = list[float]()
    for i in range(len(todo)):
        value = found[i]
        if isinstance(value, SparseloomError):
            raise value
        values.append(value)
    rows = [values[at : at + len(DENSITIES)] for at in range(0, len(values), len(DENSITIES))]
    for at in range(0, len(rows), len(DESIGNS)):
        yield dict(zip(DESIGNS, rows[at : at + len(DESIGNS)], strict=True))


def _task(workload: Workload, name: str, density: float) -> tuple[Setting, Layer]:
    return Setting(_design(name, workload), constraints(name), budget_s=BUDGET_S), workload.layer(density)


def _design(name: str, workload: Workload) -> Design:
    """A design with a setting's bandwidth off the chip, and with or without its store of metadata there."""
    design = estimated(load(name), Technology())
    dram, *inner = design.architecture.levels
    words = 8 * workload.dram_bytes / dram.word_bits
    dram = replace(dram, read_words_per_cycle=words, write_words_per_cycle=words)
    dram = dram if workload.charged else replace(dram, metadata_width_bits=0)
    return replace(design, architecture=replace(design.architecture, levels=(dram, *inner)))


def _edp(task: tuple[Setting, Layer]) -> float:
    """pJ x cycles of the best mapping. Raises InputError where the time was too short to prove it."""
    setting, layer = task
    best = map_layer(setting, layer)
    if not best.proven:
        what = f"{setting.design.name}, {layer.shape}, {layer.densities}: {best.statement} after {best.seconds:.0f} s"
        raise InputError(Fault(what, path="study", fix="run it where more time is left to each process"))
    return best.value


def _normalised(curves: Curves) -> dict[str, list[float]]:
    unit = curves[ABZ_INNERMOST]
    return {name: [value / one for value, one in zip(values, unit, strict=True)] for name, values in curves.items()}


def _parts(found: Mapping[Workload, Curves]) -> Iterator[Part]:
    head = ("design", *(f"{100 * density:g} %" for density in DENSITIES))
    best = [(str(workload), *(_best(curves, i) for i in range(len(DENSITIES)))) for workload, curves in found.items()]
    yield Part("the best design", ("setting", *head[1:]), best)
    for workload, curves in found.items():
        rows = [(name, *(f"{value:.4g}" for value in values)) for name, values in _normalised(curves).items()]
        yield Part(f"EDP over {ABZ_INNERMOST}; {workload}", head, rows)


def _best(curves: Curves, i: int) -> str:
    return label(min(curves, key=lambda name: curves[name][i]))


def label(name: str) -> str:
    """A design in short: ABZ.I or AZ.H."""
    _, dataflow, skip, _ = name.split("-")
    return f"{dataflow.upper()}.{skip[0].upper()}"
