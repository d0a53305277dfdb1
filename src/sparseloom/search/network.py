"""The layers of a network on one design: what of each is searched, and what is found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import lcm

from sparseloom.arch.design import Design
from sparseloom.errors import Fault, InputError, MappingError, SparseloomError
from sparseloom.fibertree.sparsity import block
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.constraints import Constraints
from sparseloom.mapping.file import named_tensors
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.memory import forget, give_back
from sparseloom.search.explain import misfits
from sparseloom.search.mapper import Best, best_mapping
from sparseloom.search.workers import in_processes
from sparseloom.workload.layer import POINTWISE, PRODUCT, Layer
from sparseloom.workload.network import Network


@dataclass(frozen=True)
class Task:
    """A layer as a design runs it, padded, in place of all layers called ``names`` that are alike so. ``useful`` are the computes
    of all of them together that are no padding."""

    names: tuple[str, ...]
    layer: Layer
    useful: int

    @property
    def padding(self) -> float:
        """The share of the computes that is padding."""
        return 1 - self.useful / self.layer.total_computes


@dataclass(frozen=True)
class Setting:
    """What the mappings of all layers are searched by."""

    design: Design
    constraints: Constraints
    objective: str = "edp"
    imperfect: bool = False
    budget_s: float = 30.0
    gap: float = 0.0

    def problem(self, layer: Layer) -> Problem:
        return Problem(layer.workload(), self.design)

    def space(self, layer: Layer) -> Mapspace:
        """The mappings of a layer. Raises MappingError if there are none."""
        return Mapspace(self.problem(layer), self.constraints.only(layer.einsum.ranks), self.imperfect)


def tasks(network: Network, setting: Setting) -> list[Task]:
    """What is to be searched of a network, once for all layers that are alike on the design.

    A design that names the tensors A, B and Z runs every layer as matrix products (M = filters, K = C R S, N = N P Q); one that
    names I, W and O runs all that is no convolution as one of single points. Ranks are padded to multiples of the bounds
    that are fixed, and of the blocks of formats with split ranks.

    Raises InputError where the design names other tensors.
    """
    layers = [form(layer, setting.design) for layer in network.layers]
    useful = {layer.name: layer.total_computes for layer in network.layers}
    alike = replace(network, layers=tuple(padded(layer, setting) for layer in layers)).distinct()
    return [Task(names, layer, sum(useful[name] for name in names)) for names, layer in alike.items()]


def form(layer: Layer, design: Design) -> Layer:
    """The layer in the form that a design runs, by the tensors that it names. Raises InputError where it names others."""
    return _form(design)(layer)


def padded(layer: Layer, setting: Setting, times: int = 1) -> Layer:
    """The layer with ranks that are multiples of fixed bounds, of the blocks of formats, and of so many blocks of its own
    patterns."""
    fixed, blocks = setting.constraints.multiples(), _blocks(setting.design)
    own = {layer.reduced: times * lcm(*(block(chain) for chain in layer.chains.values()))} if layer.chains else {}
    wanted = {rank: lcm(*(sizes.get(rank, 1) for sizes in (fixed, blocks, own))) for rank in layer.shape}
    return layer.padded(wanted)


def _form(design: Design) -> Callable[[Layer], Layer]:
    """How a design runs layers, by the tensors that it names."""
    named = named_tensors(design)
    if design.planar is not None:
        return partial(Layer.as_planar, **vars(design.planar))
    if not named:
        return lambda layer: layer
    if named <= {tensor.name for tensor in PRODUCT.tensors}:
        return Layer.as_product
    if named <= {tensor.name for tensor in POINTWISE.tensors}:
        return Layer.as_convolution
    what = f"{design.name or 'the design'} names the tensors {', '.join(sorted(named))}"
    raise InputError(Fault(what, fix="a network runs on designs that name I, W and O, or A, B and Z, or none"))


def _blocks(design: Design) -> Mapping[str, int]:
    """By rank, the coordinates of the inner parts that formats split it into."""
    found: dict[str, int] = {}
    for table in design.features.formats.values():
        for form in table.values():
            sizes: dict[str, int] = {}
            for name in (name for rank in form.ranks for name in rank.ranks if "=" in name):
                part, _, size = name.partition("=")
                rank = re.sub(r"\d+$", "", part)
                sizes[rank] = sizes.get(rank, 1) * int(size)
            found = {rank: lcm(found.get(rank, 1), sizes.get(rank, 1)) for rank in {*found, *sizes}}
    return found


def map_layer(setting: Setting, layer: Layer) -> Best:
    """The best mapping of a layer. Raises MappingError where there is none, with the reasons."""
    space = setting.space(layer)
    try:
        best = best_mapping(space, setting.objective, setting.budget_s, gap=setting.gap)
        if best.mapping is None and best.proven:
            raise MappingError(misfits(space))
        return best
    finally:
        forget()
        give_back()


def map_layers(
    setting: Setting, layers: Sequence[Layer], jobs: int = 1
) -> Iterator[tuple[int, Best | SparseloomError]]:
    """The best mapping of each layer with its number, or why there is none, as they are found by so many processes; with one job
    in this process, in order.

    An interrupt ends one job with the best mapping so far of its layer; the work of several is lost but for what was given.
    """
    if jobs > 1:
        yield from in_processes(partial(map_layer, setting), layers, jobs)
        return
    for number, layer in enumerate(layers):
        try:
            best: Best | SparseloomError = map_layer(setting, layer)
        except SparseloomError as error:
            best = error
        yield number, best
        if isinstance(best, Best) and best.interrupted:
            raise KeyboardInterrupt
