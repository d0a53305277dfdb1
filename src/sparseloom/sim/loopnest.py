"""The oracle: execute a mapping of an einsum on actual tensors and count everything that happens.

It walks the loop nest, looks at real masks and encodes real tiles, as docs/oracle.md says; it is slow and obvious on
purpose. It shares no formula with the model.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass, replace

import numpy as np

from sparseloom.arch.design import Design
from sparseloom.arch.features import SPATIAL_SKIPPING
from sparseloom.errors import Fault, WorkloadError, suggest
from sparseloom.mapping.mapping import Mapping, check
from sparseloom.sim.account import Account, ByOutcome
from sparseloom.sim.compute import Computes, classify
from sparseloom.sim.cost import Cost, cost
from sparseloom.sim.judge import Judge, chosen_features
from sparseloom.sim.lane import Lanes
from sparseloom.sim.ledger import keep_books
from sparseloom.sim.nest import BoolArray, IntArray, lay_out
from sparseloom.sim.occupancy import Occupancy, occupancy
from sparseloom.sim.packing import packings
from sparseloom.sim.stimulus import Values, draw_tensors, reference_output
from sparseloom.sim.store import Store, store
from sparseloom.sim.transfer import Edge, edges, keeping_levels
from sparseloom.workload.workload import Workload

__all__ = ["Execution", "draw_tensors", "execute"]


@dataclass(frozen=True)
class Execution:
    """What happened. Counts are sums over all instances and the whole run; tables are by level name, then tensor.

    - ``computes``: number by ``actual``, ``gated``, ``skipped``, ``absent``.
    - ``compute_cycles_busiest``, ``compute_cycles_mean``: over the used compute instances.
    - ``instances_used``: by level name, the compute level included; physical ones, where lanes are packed.
    - ``cycles``: of the run; ``level_cycles``: what each level alone would need.
    - ``counts`` (words), ``blocks`` (data accesses, in shares), ``metadata_bits``: by action (read, fill, update) and
      outcome (actual, gated, skipped). ``metadata``: likewise, units as ``[n_format_ranks, 2]`` (metadata, payload).
    - ``energy_pj``: of everything; ``storage_energy_pj`` and ``compute_energy_pj`` are its parts.
    - ``worst_words``, ``worst_metadata_bits``: the most that one instance holds at a step.
    - ``output``: the sum of products at the computes that took place; ``reference``: a dense evaluation; ``exact``:
      whether they agree (up to rounding, for floats).
    """

    computes: dict[str, int]
    compute_cycles_busiest: int
    compute_cycles_mean: float
    instances_used: dict[str, int]
    cycles: int
    level_cycles: dict[str, float]
    counts: dict[str, dict[str, ByOutcome]]
    blocks: dict[str, dict[str, dict[str, dict[str, float]]]]
    metadata: dict[str, dict[str, dict[str, dict[str, IntArray]]]]
    metadata_bits: dict[str, dict[str, ByOutcome]]
    energy_pj: float
    storage_energy_pj: dict[str, dict[str, float]]
    compute_energy_pj: float
    worst_words: dict[str, dict[str, int]]
    worst_metadata_bits: dict[str, dict[str, int]]
    output: Values
    reference: Values
    exact: bool


def execute(
    workload: Workload,
    design: Design,
    mapping: Mapping,
    tensors: Table[str, Values],
    alternatives: Table[int, int] | None = None,
) -> Execution:
    """Run ``mapping`` of ``workload`` on ``design`` with the values of ``tensors``.

    ``tensors`` holds each operand in its tensor shape; an array under the output's name states the output's mask
    (absent: dense). ``alternatives[i]`` chooses among the alternatives of the design's feature ``i``: 0, which is the
    default, its own target and leaders, ``n`` the n-th of its alternatives.

    Raises MappingError for a mapping that is not one of the workload on the architecture, needs more lanes than there are,
    or does not fit a level; ArchitectureError for features about tensors that they cannot be about; WorkloadError for tensors
    that are missing or have another shape.
    """
    features = chosen_features(design, workload, alternatives or {})
    thinned = frozenset(feature.level for feature in features if feature.kind == SPATIAL_SKIPPING)
    check(mapping, workload, design.architecture, [(float(i not in thinned),) * 2 for i in range(len(mapping.levels))])
    masks = _masks(workload, tensors)
    nest = lay_out(mapping, workload)
    judge = Judge(nest, mapping, workload, features, masks)
    packed = packings(nest, workload, features, masks)
    stores = {
        t.name: {level: store(design, nest, t, masks[t.name], level) for level in keeping_levels(mapping, t.name)}
        for t in workload.einsum.tensors
    }
    held = occupancy(nest, design.architecture, stores)
    ledgers = {}
    for t in workload.einsum.tensors:
        ways = edges(mapping, design.architecture, t.name)
        moving = stores[t.name] | _passing(design, ways, stores[t.name])
        ledgers[t.name] = keep_books(nest, t, ways, moving, judge, packed, t == workload.einsum.output)
    computes = classify(nest, workload, design, tensors, masks, stores, ledgers)
    lanes = Lanes(nest, packed, thinned, computes.needed)
    check(mapping, workload, design.architecture, [lanes.shares(level) for level in range(len(mapping.levels))])
    accounts = _by_level(design, {name: ledger.accounts for name, ledger in ledgers.items()})
    costs = cost(design, lanes, accounts, computes)
    return _execution(design, computes, accounts, costs, held, reference_output(workload, tensors))


def _execution(
    design: Design,
    computes: Computes,
    accounts: dict[str, dict[str, Account]],
    costs: Cost,
    held: Occupancy,
    reference: Values,
) -> Execution:
    used = costs.instances_used[design.architecture.compute.name]
    storage_pj = sum(energy for tensors in costs.storage_energy_pj.values() for energy in tensors.values())
    return Execution(
        computes=computes.counts,
        compute_cycles_busiest=costs.compute_cycles,
        compute_cycles_mean=len(computes.busy) / used,
        instances_used=costs.instances_used,
        cycles=costs.cycles,
        level_cycles=costs.level_cycles,
        counts={level: {t: a.words for t, a in row.items()} for level, row in accounts.items()},
        blocks={level: {t: a.block_accesses for t, a in row.items()} for level, row in accounts.items()},
        metadata={level: {t: a.units for t, a in row.items()} for level, row in accounts.items()},
        metadata_bits={level: {t: a.bits for t, a in row.items()} for level, row in accounts.items()},
        energy_pj=storage_pj + costs.compute_energy_pj,
        storage_energy_pj=costs.storage_energy_pj,
        compute_energy_pj=costs.compute_energy_pj,
        worst_words=held.words,
        worst_metadata_bits=held.bits,
        output=computes.output,
        reference=reference,
        exact=_agree(computes.output, reference),
    )


def _agree(output: Values, reference: Values) -> bool:
    if np.issubdtype(output.dtype, np.integer):
        return bool(np.array_equal(output, reference))
    return bool(np.allclose(output, reference, rtol=1e-9, atol=1e-9))


def _by_level(design: Design, accounts: Table[str, Table[int, Account]]) -> dict[str, dict[str, Account]]:
    return {
        name: {tensor: levels[i] for tensor, levels in accounts.items() if i in levels}
        for i, name in enumerate(design.architecture.names)
    }


def _passing(design: Design, ways: tuple[Edge, ...], kept: Table[int, Store]) -> dict[int, Store]:
    """How a tensor is written and read at the levels through which it passes: as the level that serves it keeps it."""
    blocks = [level.block_words for level in design.architecture.levels]
    return {level: replace(kept[way.parent], block_words=blocks[level]) for way in ways for level in way.streams}


def _masks(workload: Workload, tensors: Table[str, Values]) -> dict[str, BoolArray]:
    """Where each tensor is nonzero; an output without an array is dense."""
    output = workload.einsum.output.name
    names = [t.name for t in workload.einsum.tensors]
    faults = [Fault(f"values given for unknown tensor {n}", fix=suggest(n, names)) for n in tensors if n not in names]
    for name in names:
        shape = workload.tensor_shape(name)
        if name not in tensors and name != output:
            faults.append(Fault(f"operand {name} has no values", fix=f"give an array of shape {shape}"))
        elif name in tensors and np.shape(tensors[name]) != shape:
            what = f"tensor {name} has values of shape {np.shape(tensors[name])}, the workload says {shape}"
            faults.append(Fault(what, fix="give an array of the tensor's shape"))
    if faults:
        raise WorkloadError(faults)
    dense = np.ones(workload.tensor_shape(output), dtype=np.bool_)
    return {name: np.asarray(tensors[name]) != 0 if name in tensors else dense for name in names}
