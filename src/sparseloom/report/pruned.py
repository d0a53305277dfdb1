"""Fig. 6-1: two networks, pruned as each design can make use of it, on four designs.

The figure does not say how far a network was pruned for a design other than STC: degrees are swept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Final

from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.report.products import Spent, contender, figures
from sparseloom.report.study import Chart, Computed, Part
from sparseloom.search.comparison import Contender, Outcome, Run, compare, required, runs
from sparseloom.workload import zoo
from sparseloom.workload.network import Network

ACTIVATIONS: Final = {"resnet50": "0.4", "transformer-big": "0.9"}
"""Density of the activations by network: about 60 % zeros, and less than 10 %."""

HALF: Final = "C0(2:4)"
PATTERNS: Final = (HALF, "C1(2:4)->C0(2:4)")
DESIGNS: Final = ("tc", "stc", "dstc", "highlight")
SWEPT: Final = ("dstc", "highlight")
SHARE: Final = 0.5
"""Of a network the kinds of layers with the most computes are run that make at least this share of its computes."""

BUDGET_S: Final = 600.0

Key = tuple[str, str, str]
"""Design, network, pattern of the weights."""


def with_(total: Spent, outcome: Outcome) -> Spent:
    """A total with the layers that an outcome stands for."""
    one, count = figures(outcome), sum(outcome.run.counts)
    return Spent(
        total.cycles + count * one.cycles,
        total.on_chip_pj + count * one.on_chip_pj,
        total.energy_pj + count * one.energy_pj,
    )


def study(jobs: int = 1) -> Computed:
    """EDP of both networks at every degree, over tc's."""
    networks = {name: largest(zoo.load(name)) for name in ACTIVATIONS}
    totals = _totals(networks, jobs)
    edp = {key: total.edp / totals["tc", key[1], HALF].edp for key, total in totals.items()}
    dram = {key: total.edp_with_dram / totals["tc", key[1], HALF].edp_with_dram for key, total in totals.items()}
    return Computed(
        "two pruned networks on four designs",
        _claims(edp),
        (_part("EDP over tc's, on the chip", edp), _part("EDP over tc's with DRAM", dram)),
        Chart(
            "bars",
            [f"{network}, {_zeros(pattern)}" for network, pattern in product(ACTIVATIONS, PATTERNS)],
            {
                name: [edp[_own(name, network, pattern)] for network, pattern in product(ACTIVATIONS, PATTERNS)]
                for name in DESIGNS
            },
            "zeros of the weights for dstc and highlight",
            "EDP over tc's",
        ),
        (
            "assumed: how far a network can be pruned at the same accuracy, which the figure does not say, is swept, the "
            "same degree for dstc (zeros anywhere) and highlight (HSS); stc runs 2:4 and tc the dense network at every degree",
            "assumed: activations of density 0.9 for Transformer-Big, where the text says less than 10 % zeros, and of 0.4 for "
            "ResNet-50, where it says about 60 %, alike in all layers; 64 tokens",
            *(_run_of(zoo.load(name), network) for name, network in networks.items()),
            f"energies: {Technology()}; no bandwidth is limited, operands in the better order, as for Fig. 6-9",
        ),
    )  # fmt: skip


def largest(network: Network) -> Network:
    """Of a network the kinds of layers with the most computes, as matrix products, as few as make :data:`SHARE` of its computes."""
    alike = replace(network, layers=tuple(layer.as_product() for layer in network.layers)).distinct()
    kinds = sorted(alike.items(), key=lambda kind: -kind[1].total_computes)
    taken, computes = set[str](), 0
    for names, layer in kinds:
        if computes < SHARE * network.computes:
            taken |= set(names)
            computes += layer.total_computes
    return replace(network, layers=tuple(layer for layer in network.layers if layer.name in taken), published=None)


def _run_of(network: Network, part: Network) -> str:
    names = ", ".join(layer.name for layer in part.layers)
    return f"of {network.name} {part.computes / network.computes:.0%} of the computes are run, the largest kinds of layers: {names}"


def _claims(edp: Mapping[Key, float]) -> dict[str, float]:
    resnet = [edp["stc", "resnet50", HALF] / edp["dstc", "resnet50", pattern] for pattern in PATTERNS]
    transformer = [edp["dstc", "transformer-big", each] / edp["stc", "transformer-big", HALF] for each in PATTERNS]
    best = {network: [_over_best(edp, network, pattern) for pattern in PATTERNS] for network in ACTIVATIONS}
    return {
        "resnet": max(resnet),
        "resnet-all": min(resnet),
        "transformer": max(transformer),
        "transformer-all": min(transformer),
        "highlight-resnet": min(best["resnet50"]),
        "highlight-resnet-all": max(best["resnet50"]),
        "highlight-transformer": min(best["transformer-big"]),
        "highlight-transformer-all": max(best["transformer-big"]),
    }


def _totals(networks: Mapping[str, Network], jobs: int) -> dict[Key, Spent]:
    contenders = {name: contender(load(name), constraints(name).widened(), Technology()) for name in DESIGNS}
    keys = [key for key in product(DESIGNS, networks, PATTERNS) if key[0] in SWEPT or key[2] == HALF]
    todo = [orders for key in keys for orders in _runs(key, networks[key[1]], contenders[key[0]])]
    found = {" ".join(key): Spent() for key in keys}
    for each in required(compare(todo, jobs)):
        found[each.run.design] = with_(found[each.run.design], each)
    return {key: found[" ".join(key)] for key in keys}


def _runs(key: Key, network: Network, contender: Contender) -> Iterator[list[Run]]:
    _, name, pattern = key
    own, refused = runs(network, contender, Sparsity.parse(pattern), Sparsity.parse(ACTIVATIONS[name]), "edp", BUDGET_S)
    if refused:
        raise refused[0].error
    for orders in own:
        yield [replace(run, design=" ".join(key)) for run in orders]


def _own(name: str, network: str, pattern: str) -> Key:
    """Where a design's total stands: designs that are not swept have one for all degrees."""
    return name, network, pattern if name in SWEPT else HALF


def _over_best(edp: Mapping[Key, float], network: str, pattern: str) -> float:
    """Highlight's over the best of the others' at a degree."""
    best = min(edp[_own(name, network, pattern)] for name in DESIGNS if name != "highlight")
    return edp["highlight", network, pattern] / best


def _zeros(pattern: str) -> str:
    return f"{1 - Sparsity.parse(pattern).density:.0%}"


def _part(title: str, edp: Mapping[Key, float]) -> Part:
    rows = [
        (network, _zeros(pattern), pattern, *(f"{edp[_own(name, network, pattern)]:.3f}" for name in DESIGNS))
        for network, pattern in product(ACTIVATIONS, PATTERNS)
    ]
    return Part(title, ("network", "zeros", "weights of highlight", *DESIGNS), rows)
