"""The layers of a network on several designs, each mapped at its best."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Final

from sparseloom.arch.area import Area, area
from sparseloom.arch.design import Design
from sparseloom.arch.energy import estimated
from sparseloom.arch.support import set_ups
from sparseloom.arch.technology import Technology
from sparseloom.errors import ArchitectureError, Fault, InputError, SparseloomError
from sparseloom.fibertree.sparsity import Sparsity, pattern_of
from sparseloom.mapping.constraints import Constraints
from sparseloom.mapping.mapping import Mapping as LoopNest
from sparseloom.model.breakdown import Charge, breakdown
from sparseloom.model.evaluate import evaluate
from sparseloom.results import Result
from sparseloom.search.mapper import Best
from sparseloom.search.network import Setting, form, map_layer, padded
from sparseloom.search.workers import in_processes
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network


@dataclass(frozen=True)
class Contender:
    """A design with its constraints, energies and area at one technology."""

    design: Design
    constraints: Constraints
    area: Area

    @classmethod
    def at(cls, design: Design, constraints: Constraints, technology: Technology) -> Contender:
        """Raises ArchitectureError for a design that does not say what it is made of."""
        return cls(estimated(design, technology), constraints, area(design, technology))

    @property
    def name(self) -> str:
        return self.design.name


@dataclass(frozen=True)
class Run:
    """Layers that are alike to a design, as it runs them: called ``names``, each with as many instances as ``counts`` says, in the
    form and with the padding of ``layer``, its operands exchanged if ``swapped``. ``useful`` are the computes of one instance
    that are no padding; ``seen`` is what the design sees of the operands."""

    design: str
    names: tuple[str, ...]
    counts: tuple[int, ...]
    layer: Layer
    useful: int
    setting: Setting
    swapped: bool
    seen: Mapping[str, Sparsity]

    @property
    def padding(self) -> float:
        """The share of the computes that is padding."""
        return 1 - self.useful / self.layer.computes

    def instances(self, layers: Collection[str]) -> int:
        """How many instances of these layers it stands for."""
        return sum(count for name, count in zip(self.names, self.counts, strict=True) if name in layers)


@dataclass(frozen=True)
class Refusal:
    """Layers that a design cannot run, and why."""

    design: str
    names: tuple[str, ...]
    error: SparseloomError


@dataclass(frozen=True)
class Outcome:
    """The best mapping of a run, what it gives, and where its energy goes."""

    run: Run
    best: Best
    result: Result
    charges: tuple[Charge, ...]


@dataclass(frozen=True)
class AsMeasured(Sparsity):
    """Of each layer its own sparsity, as the network states it; dense where it does not. ``density`` is the mean over points."""

    def __str__(self) -> str:
        return f"of each layer its own (density {self.density:.3g} on average)"


def as_stated(network: Network, constant: bool) -> Sparsity:
    """The sparsity of the weights of a network (``constant``), or of the other operands, that layers state; dense if none does."""
    points, nonzeros = 0, 0.0
    for layer in network.layers:
        sizes = dict(layer.shape)
        for tensor in layer.einsum.operands:
            if (tensor.name == layer.constant) == constant:
                own = layer.count * prod(tensor.shape(sizes))
                points, nonzeros = points + own, nonzeros + own * layer.densities.get(tensor.name, 1.0)
    return Sparsity() if nonzeros == points else AsMeasured(nonzeros / points)


def runs(
    network: Network, contender: Contender, weights: Sparsity, activations: Sparsity, goal: str, budget_s: float
) -> tuple[list[list[Run]], list[Refusal]]:
    """What is to be searched of a network on a design: for each kind of layer the orders of its operands that it can run, and the
    layers that it cannot run."""
    found: dict[tuple[object, ...], list[Run]] = {}
    refused = list[Refusal]()
    for layer in network.layers:
        orders = list[Run]()
        try:
            bare = form(replace(layer, densities={}, chains={}), contender.design)
            stated = form(layer, contender.design)
            faults = list[SparseloomError]()
            for swapped in (False, True) if contender.design.swaps else (False,):
                try:
                    orders += _ways(bare, stated, layer, contender, weights, activations, goal, budget_s, swapped)
                except ArchitectureError as error:
                    faults.append(error)
            if not orders:
                raise faults[0]
        except SparseloomError as error:
            refused.append(Refusal(contender.name, (layer.name,), error))
            continue
        key = tuple(repr(replace(run.layer, name="", count=1)) + repr(run.seen) for run in orders)
        known = found.get(key)
        found[key] = orders if known is None else [_together(a, b) for a, b in zip(known, orders, strict=True)]
    return list(found.values()), refused


def _ways(
    layer: Layer, stated: Layer, given: Layer, contender: Contender, weights: Sparsity, activations: Sparsity, goal: str,
    budget_s: float, swapped: bool,
) -> Iterator[Run]:  # fmt: skip
    if swapped:
        layer, stated = layer.swapped(), stated.swapped()
    operands = [tensor.name for tensor in layer.einsum.operands]
    asked = {tensor: weights if tensor == layer.constant else activations for tensor in operands}
    sparsities = {
        tensor: _stated(tensor, layer, stated) if isinstance(each, AsMeasured) else each
        for tensor, each in asked.items()
    }
    for ready in set_ups(contender.design, sparsities):
        setting = Setting(ready.design, contender.constraints, goal, budget_s=budget_s)
        seen = replace(
            layer,
            # the form may have added places that are empty
            densities={
                tensor: sparsity.density * layer.densities.get(tensor, 1.0)
                for tensor, sparsity in ready.sparsities.items()
            },
            chains={tensor: sparsity.chain for tensor, sparsity in ready.sparsities.items() if sparsity.chain},
        )
        for whole in _paddings(seen, setting):
            yield Run(
                contender.name, (given.name,), (layer.count,), whole, given.total_computes // layer.count, setting, swapped,
                dict(ready.sparsities),
            )  # fmt: skip


def _stated(tensor: str, bare: Layer, stated: Layer) -> Sparsity:
    """What a layer says of a tensor, without the places that the form of the design added."""
    density = stated.densities.get(tensor, 1.0) / (bare.densities.get(tensor, 1.0) or 1.0)
    chain = stated.chains.get(tensor, ())
    return Sparsity(float(pattern_of(chain, "K").degrees()[0]) if chain else density, chain)


MOST_PADDING: Final = 0.15
"""Paddings that add more computes than this over the least one are not tried."""


def _paddings(layer: Layer, setting: Setting) -> list[Layer]:
    """The layer with the least padding that its patterns need, and with somewhat more: blocks of a pattern side by side need a
    number of them that the lanes divide."""
    least = padded(layer, setting)
    found = {least.shape[least.reduced]: least}
    for times in (2, 4, 8) if layer.chains else ():
        more = padded(layer, setting, times)
        if more.computes <= (1 + MOST_PADDING) * least.computes:
            found.setdefault(more.shape[more.reduced], more)
    return list(found.values())


def _together(a: Run, b: Run) -> Run:
    return replace(a, names=a.names + b.names, counts=a.counts + b.counts)


def compare(todo: Sequence[Sequence[Run]], jobs: int = 1) -> Iterator[Outcome | Refusal]:
    """The best of the orders of each kind of layer, as they are found by so many processes.

    An interrupt ends the search; what was given is whole.
    """
    return (found for _, found in numbered(todo, jobs))


def numbered(todo: Sequence[Sequence[Run]], jobs: int = 1) -> Iterator[tuple[int, Outcome | Refusal]]:
    """The same, each with the number of its kind of layer. The bound of an outcome is that of all its orders: one that was not
    searched to its end may hold a better mapping."""
    flat = [(kind, run) for kind, orders in enumerate(todo) for run in orders]
    open_orders = {kind: len(orders) for kind, orders in enumerate(todo)}
    found: dict[int, list[Outcome]] = {}
    failed: dict[int, SparseloomError] = {}
    bounds = dict.fromkeys(open_orders, inf)
    for number, best in _searched([run for _, run in flat], jobs):
        kind, run = flat[number]
        open_orders[kind] -= 1
        if isinstance(best, SparseloomError):
            failed[kind] = best
            if type(best) is SparseloomError:  # its process was killed: who knows what it would have found
                bounds[kind] = 0.0
        else:
            bounds[kind] = min(bounds[kind], best.bound)
            if best.mapping is None:
                what = f"no mapping that fits was found in {best.seconds:.1f} s"
                failed.setdefault(kind, InputError(Fault(what, fix="give a larger --budget")))
            else:
                found.setdefault(kind, []).append(outcome_of(run, best, best.mapping))
        if open_orders[kind] == 0 and kind in found:
            one = min(found[kind], key=lambda outcome: (outcome.best.value, outcome.best.energy_pj))
            yield kind, replace(one, best=replace(one.best, bound=bounds[kind]))
        elif open_orders[kind] == 0:
            yield kind, Refusal(run.design, run.names, failed[kind])


def required(found: Iterable[Outcome | Refusal]) -> Iterator[Outcome]:
    """The outcomes. Raises the error of a layer that was refused: what it was wanted for would do without it."""
    for each in found:
        if isinstance(each, Refusal):
            raise each.error
        yield each


def outcome_of(run: Run, best: Best, mapping: LoopNest) -> Outcome:
    """What a mapping of a run gives. Raises MappingError for one that does not fit."""
    problem = run.setting.problem(run.layer)
    result = evaluate(problem.workload, problem.design, mapping)
    return Outcome(run, best, result, breakdown(problem, mapping))


def _searched(todo: Sequence[Run], jobs: int) -> Iterator[tuple[int, Best | SparseloomError]]:
    if jobs > 1:
        yield from in_processes(_search, todo, jobs)
        return
    for number, run in enumerate(todo):
        try:
            best: Best | SparseloomError = _search(run)
        except SparseloomError as error:
            best = error
        if isinstance(best, Best) and best.interrupted:
            raise KeyboardInterrupt
        yield number, best


def _search(run: Run) -> Best:
    return map_layer(run.setting, run.layer)
