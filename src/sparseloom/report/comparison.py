"""Designs side by side on the layers of a network: as a table, as a data frame, as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sparseloom import document
from sparseloom.arch.area import Area
from sparseloom.arch.technology import Technology
from sparseloom.errors import Fault, InputError, SparseloomError, gathered
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.report.mapped import finite
from sparseloom.results.table import number, table
from sparseloom.search.comparison import Contender, Outcome, Refusal, Run, as_stated, runs
from sparseloom.search.found import Found
from sparseloom.search.sweep import FAMILY, heaviest, ladder
from sparseloom.workload import zoo
from sparseloom.workload.network import Network

if TYPE_CHECKING:
    import polars

    from sparseloom.report.figures import Plots

FORMAT: Final = 1
"""The version of the layout of :meth:`Comparison.to_dict`."""

LEAKAGE: Final = "no part of energy and EDP: the MICRO 2022 artifact charges it to gated accesses alone, and so do we"
"""What leakage is in a comparison."""


@dataclass(frozen=True)
class Total:
    """The layers of a network that all designs run, one after the other, on one of them. ``utilization`` is of the compute units
    over all cycles; ``bottleneck`` the part of the design that bounds most cycles; ``layers`` are those that this design
    runs, ``refused`` those that it does not. ``leakage_mw`` is of the whole design, ``leaked_pj`` over its cycles: no part of
    the energy."""

    design: str
    layers: int
    refused: int
    cycles: float
    energy_pj: float
    utilization: float
    padding: float
    bottleneck: str
    area_um2: float
    feature_share: float
    gap: float
    leakage_mw: float
    leaked_pj: float

    @property
    def edp(self) -> float:
        """pJ x cycles."""
        return self.energy_pj * self.cycles


@dataclass(frozen=True)
class Comparison:
    """What was found for a network on several designs, all at one ``technology``. ``layers`` are the names of the network's layers
    in its order; ``weights`` and ``activations`` what was said of the operands. ``sweep`` compares the layers with most computes
    for weights of several densities, densest first."""

    network: str
    weights: Sparsity
    activations: Sparsity
    objective: str
    technology: Technology
    layers: tuple[str, ...]
    contenders: tuple[Contender, ...]
    outcomes: tuple[Outcome, ...]
    refusals: tuple[Refusal, ...] = ()
    interrupted: bool = False
    sweep: tuple[Comparison, ...] = ()

    def and_(self, found: Outcome | Refusal) -> Comparison:
        """With one more outcome."""
        if isinstance(found, Outcome):
            return replace(self, outcomes=(*self.outcomes, found))
        return replace(self, refusals=(*self.refusals, found))

    def of(self, design: str) -> list[Outcome]:
        """The outcomes of a design, in the order of the network."""
        own = [outcome for outcome in self.outcomes if outcome.run.design == design]
        return sorted(own, key=lambda outcome: self.layers.index(outcome.run.names[0]))

    def refused(self, design: str) -> list[Refusal]:
        return [refusal for refusal in self.refusals if refusal.design == design]

    @cached_property
    def common(self) -> frozenset[str]:
        """The layers that every design runs: those that totals are about."""
        by_design = [
            {name for each in self.outcomes if each.run.design == contender.name for name in each.run.names}
            for contender in self.contenders
        ]
        return frozenset.intersection(*map(frozenset, by_design)) if by_design else frozenset()

    def totals(self) -> list[Total]:
        """A total for each design, in the order in which they were given."""
        return [self._total(contender) for contender in self.contenders]

    def _total(self, contender: Contender) -> Total:
        own = [(each.run.instances(self.common), each) for each in self.of(contender.name)]
        cycles = sum(count * each.result.cycles for count, each in own)
        busy = sum(count * each.result.cycles * each.result.utilization for count, each in own)
        computes = sum(count * each.run.layer.computes for count, each in own)
        bounds = Counter[str]()
        for count, each in own:
            bounds[bottleneck(each)] += int(count * each.result.cycles)
        return Total(
            contender.name,
            sum(len(each.run.names) for _, each in own),
            sum(len(refusal.names) for refusal in self.refused(contender.name)),
            cycles,
            sum(count * each.result.energy_pj for count, each in own),
            busy / cycles if cycles else 0.0,
            1 - sum(count * each.run.useful for count, each in own) / computes if computes else 0.0,
            bounds.most_common(1)[0][0] if bounds else "",
            contender.area.total_um2,
            contender.area.feature_share,
            max((each.best.gap for _, each in own), default=0.0),
            contender.area.leakage_mw,
            contender.area.leaked_pj(cycles),
        )

    def energy_by_block(self, design: str) -> dict[str, float]:
        """pJ of the common layers by block of the design, in its order."""
        found = defaultdict[str, float](float)
        for each in self.of(design):
            for charge in each.charges:
                found[charge.block] += each.run.instances(self.common) * charge.energy_pj
        contender = next(contender for contender in self.contenders if contender.name == design)
        return {block.name: found[block.name] for block in contender.area.blocks if block.name in found}

    def to_frame(self) -> polars.DataFrame:
        """A row for each kind of layer on each design. ``.to_pandas()`` gives what notebooks expect."""
        import polars

        plain = [
            {key: value for key, value in each.items() if not isinstance(value, dict | list)} for each in self._rows()
        ]
        return polars.DataFrame(plain)

    @property
    def plot(self) -> Plots:
        """Figures for a paper: ``.edp()``, ``.cycles()``, ``.energy()``, ``.area()``, with a sweep ``.edp_by_density()`` and
        ``.speed_by_density()``, and ``.save(folder)``."""
        from sparseloom.report.figures import Plots

        return Plots(self.to_dict())

    def to_html(self, path: str | Path) -> None:
        """Write one page that opens without a network. Raises InputError when the file cannot be written."""
        from sparseloom.report.page import page

        document.write(path, page(self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """All of it as values for JSON."""
        return {
            "format": FORMAT,
            "network": self.network,
            "weights": str(self.weights),
            "activations": str(self.activations),
            "objective": self.objective,
            "interrupted": self.interrupted,
            "technology": str(self.technology),
            "layers": list(self.layers),
            "common": sorted(self.common, key=self.layers.index),
            "designs": [
                self._design(contender, total) for contender, total in zip(self.contenders, self.totals(), strict=True)
            ],
            "outcomes": self._rows(),
            "refused": self._refused(),
            "sweep": [each._point() for each in self.sweep],
        }

    def _rows(self) -> list[dict[str, Any]]:
        return [row(each, contender.area) for contender in self.contenders for each in self.of(contender.name)]

    def _refused(self) -> list[dict[str, Any]]:
        return [
            {"design": each.design, "layers": list(each.names), "why": [str(fault) for fault in each.error.faults]}
            for each in self.refusals
        ]

    def _point(self) -> dict[str, Any]:
        """As a point of a sweep; ``family``: of the patterns that belong together."""
        return {
            "weights": str(self.weights),
            "density": self.weights.density,
            "family": self.weights in FAMILY,
            "layers": list(self.layers),
            "outcomes": self._rows(),
            "refused": self._refused(),
        }

    def _design(self, contender: Contender, total: Total) -> dict[str, Any]:
        return {
            "name": contender.name,
            "source": contender.design.source,
            "total": {
                **{key: finite(value) if isinstance(value, float) else value for key, value in vars(total).items()},
                "edp": total.edp,
            },
            "energy_by_block": self.energy_by_block(contender.name),
            "blocks": [
                {
                    "name": block.name, "role": block.role.value, "instances": block.instances, "area_um2": block.area_um2,
                    "leakage_mw": block.leakage_mw,
                    "energies_pj": dict(block.estimate.energies_pj), "source": block.estimate.source,
                    "derivation": block.estimate.derivation,
                }
                for block in contender.area.blocks
            ],
        }  # fmt: skip

    def __str__(self) -> str:
        return text(self)


def bottleneck(outcome: Outcome) -> str:
    """The part of a design that bounds the cycles of a layer."""
    result = outcome.result
    slowest = max(result.levels.values(), key=lambda level: level.cycles)
    return slowest.name if slowest.cycles > result.compute.cycles_busiest else result.compute.name


def row(outcome: Outcome, area: Area) -> dict[str, Any]:
    """One kind of layer on one design of this area, as values for JSON; figures are of one instance."""
    run, best, result = outcome.run, outcome.best, outcome.result
    return {
        "design": run.design,
        "layers": list(run.names),
        "layer": run.names[0],
        "count": sum(run.counts),
        "counts": list(run.counts),
        "einsum": str(run.layer.einsum),
        "shape": dict(run.layer.shape),
        "swapped": run.swapped,
        "seen": {tensor: str(sparsity) for tensor, sparsity in run.seen.items()},
        "padding": run.padding,
        "cycles": result.cycles,
        "energy_pj": result.energy_pj,
        "edp": result.energy_pj * result.cycles,
        "leaked_pj": area.leaked_pj(result.cycles),
        "utilization": result.utilization,
        "bottleneck": bottleneck(outcome),
        "bound_by": result.bottleneck,
        "computes": result.computes.total + result.compute.absent,
        "dram_bits": _off_chip_bits(outcome),
        "proven": best.proven,
        "gap": finite(best.gap),
        "mapspace": best.size,
        "seconds": best.seconds,
        "loopnest": result.loopnest,
        "charges": [vars(charge) for charge in outcome.charges],
    }


def _off_chip_bits(outcome: Outcome) -> float:
    """Bits of data that move at the outermost level."""
    level = outcome.run.setting.design.architecture.levels[0]
    tensors = outcome.result.levels[level.name].tensors.values()
    words = sum(outcomes.actual for tensor in tensors for outcomes in tensor.data().values())
    return words * level.word_bits


def text(comparison: Comparison) -> str:
    """The totals, then what designs refuse."""
    head = (
        "design", "bottleneck", "cycles", "speed", "energy uJ", "EDP", "to first", "leak mW", "leak uJ", "used", "padding",
        "mm2", "sparse", "layers", "gap",
    )  # fmt: skip
    totals = comparison.totals()
    first = totals[0]
    rows = [
        (
            total.design, total.bottleneck, f"{total.cycles:,.0f}", _times(first.cycles, total.cycles),
            f"{total.energy_pj / 1e6:,.1f}", f"{total.edp:.3e}", _times(total.edp, first.edp), f"{total.leakage_mw:.3g}",
            number(total.leaked_pj / 1e6), f"{total.utilization:.0%}", f"{total.padding:.1%}", f"{total.area_um2 / 1e6:.2f}",
            f"{total.feature_share:.1%}", f"{total.layers}" + (f" -{total.refused}" if total.refused else ""), f"{total.gap:.1%}",
        )
        for total in totals
    ]  # fmt: skip
    lines = [
        f"{comparison.network}: weights {comparison.weights}, activations {comparison.activations}; {comparison.technology}",
        "",
        table(head, rows, 2),
        "",
        f"leak: {LEAKAGE}",
    ]
    if some := len(comparison.layers) - len(comparison.common):
        lines += ["", f"totals are of the {len(comparison.common)} layers that all designs run, without {some}"]
    if taken := list(_taken_as_dense(comparison)):
        lines += ["", *taken]
    if comparison.interrupted:
        lines += ["", "interrupted: what was found so far"]
    for refusal in _grouped(comparison.refusals):
        lines += ["", refusal]
    return "\n".join(lines)


def _taken_as_dense(comparison: Comparison) -> Iterator[str]:
    """Operands with zeros, and the designs to which these say nothing in any layer, with what they do support."""
    for operand, given in (("weights", comparison.weights), ("activations", comparison.activations)):
        blind = []
        for contender in comparison.contenders if given.density < 1 else ():
            seen = {
                (tensor, sparsity.density)
                for outcome in comparison.outcomes
                for tensor, sparsity in outcome.run.seen.items()
                if outcome.run.design == contender.name
                and (tensor == outcome.run.layer.constant) == (operand == "weights")
            }
            if seen and all(density == 1 for _, density in seen):
                names = {tensor for tensor, _ in seen}
                known = {str(each.pattern) for name in names for each in contender.design.supports.get(name, ())}
                blind.append(f"{contender.name} (supports {', '.join(sorted(known, key=len))})")
        if blind:
            yield f"{operand} {given} are taken as dense by {', '.join(blind)}"


def _times(value: float, unit: float) -> str:
    return f"{value / unit:.3g}x" if unit else "-"


def _grouped(refusals: Sequence[Refusal]) -> Iterator[str]:
    """A paragraph for each reason why a design does not run some layers."""
    known: dict[tuple[str, str], list[str]] = {}
    for refusal in refusals:
        known.setdefault((refusal.design, _why(refusal.error)), []).extend(refusal.names)
    for (design, why), names in known.items():
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        yield f"{design} does not run {shown}: {why}"


def _why(error: SparseloomError) -> str:
    return "; ".join(f"{fault.what} ({fault.fix})" if fault.fix else fault.what for fault in error.faults)


def compare(
    network: str | Network,
    designs: Sequence[str | Path | Contender],
    weights: str | float | Sparsity | None = None,
    activations: str | float | Sparsity | None = None,
    *,
    objective: str = "edp",
    budget_s: float = 30.0,
    technology: Technology | None = None,
    jobs: int = 1,
    fresh: bool = False,
    sweep: bool = False,
    watch: Callable[[Comparison, int], None] | None = None,
) -> Comparison:
    """Every layer of a network mapped at its best on every design, all designs estimated at one technology.

    ``network`` and ``designs`` are names of published ones, or values; ``designs`` may be files too, which hold a design of one's
    own and its constraints. ``weights`` and ``activations`` say how sparse the operands are: a density (nonzeros anywhere),
    ``"dense"``, or a pattern along the rank that is reduced (``"C1(2:4)->C0(2:4)"``); None: what each layer of the network states,
    dense where it does not. Each design sees of them what it supports. Mappings that come with the package are evaluated again
    and not searched, unless ``fresh``. ``budget_s`` seconds are searched at most for a layer, by ``jobs`` processes; ``watch`` is
    told what there is after each layer, and how many are still to come. An interrupt ends the search with what there is. ``sweep``
    compares the layers with most computes for weights of other densities too.

    Raises InputError with every fault before anything is searched: unknown names, faults of files, two designs of one name, a
    sparsity that cannot be read, designs that do not say what they are made of.
    """
    technology = technology or Technology()
    faults = list[Fault]()
    with gathered(faults):
        whole = zoo.load(network) if isinstance(network, str) else network
    with gathered(faults):
        weights = None if weights is None else _sparsity(weights)
    with gathered(faults):
        activations = None if activations is None else _sparsity(activations)
    with gathered(faults):
        contenders = set_up(designs, technology)
    if faults:
        raise InputError(faults)
    weights = as_stated(whole, True) if weights is None else _sparsity(weights)
    activations = as_stated(whole, False) if activations is None else _sparsity(activations)
    todo = asked(whole, contenders, weights, activations, objective, budget_s, technology, sweep)
    found = [comparison for comparison, _ in todo]
    kinds = [(number, orders) for number, (_, own) in enumerate(todo) for orders in own]
    store, interrupted = Found() if fresh else Found.read(), False
    try:
        for done, (kind, one) in enumerate(store.or_searched([orders for _, orders in kinds], jobs), start=1):
            number = kinds[kind][0]
            found[number] = found[number].and_(one)
            if watch is not None:
                watch(replace(found[0], sweep=tuple(found[1:])), len(kinds) - done)
    except KeyboardInterrupt:
        interrupted = True
    return replace(found[0], sweep=tuple(found[1:]), interrupted=interrupted)


def _sparsity(given: str | float | Sparsity) -> Sparsity:
    return given if isinstance(given, Sparsity) else Sparsity.parse(str(given))


def asked(
    network: Network, contenders: Sequence[Contender], weights: Sparsity, activations: Sparsity, objective: str,
    budget_s: float, technology: Technology, sweep: bool,
) -> list[tuple[Comparison, list[list[Run]]]]:  # fmt: skip
    """Comparisons in which nothing is found yet, each with what is to be searched for it: of the network, then of the sweep."""
    sweeps = [(heaviest(network), each) for each in ladder(weights)] if sweep else []
    made = list[tuple[Comparison, list[list[Run]]]]()
    for part, sparsity in [(network, weights), *sweeps]:
        ways = [runs(part, contender, sparsity, activations, objective, budget_s) for contender in contenders]
        names, never = (
            tuple(layer.name for layer in part.layers),
            tuple(each for _, refused in ways for each in refused),
        )
        empty = Comparison(
            network.name, sparsity, activations, objective, technology, names, tuple(contenders), (), never
        )
        made.append((empty, [orders for own, _ in ways for orders in own]))
    return made


def set_up(designs: Sequence[str | Path | Contender], technology: Technology) -> list[Contender]:
    """Designs at one technology: published ones by name, others by file. Raises InputError where two have one name."""
    from sparseloom.designs.load import find

    found, faults = list[Contender](), list[Fault]()
    for each in designs:
        if isinstance(each, Contender):
            found.append(each)
            continue
        with gathered(faults):
            design, constraints = find(each)
            found.append(Contender.at(design, constraints.widened(), technology))
    faults += [
        Fault(f"{times} designs are called '{name}'", path="designs", fix="give designs of your own other names")
        for name, times in Counter(each.name for each in found).items()
        if times > 1
    ]
    if faults:
        raise InputError(faults)
    return found
