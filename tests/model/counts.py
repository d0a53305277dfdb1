"""Counts of the model and of the oracle under the same names, so that they can be compared one by one."""

from collections.abc import Iterator
from dataclasses import replace

from sparseloom.arch.actions import DATA_ACTIONS, OUTCOMES
from sparseloom.model.conventions import CHOICES, MICRO22, SPARSELOOM
from sparseloom.results.actions import Outcomes, RankUnits, TensorActions
from sparseloom.results.result import Result
from sparseloom.sim.loopnest import Execution

Counts = dict[str, float]
BUT_METADATA = replace(MICRO22, **{name: getattr(SPARSELOOM, name) for name in CHOICES if name != "metadata"})
"""A profile of Sparseloop's with every convention switched to the clean choice, but the one about single transfers."""


def counted_by_model(result: Result) -> Counts:
    """Words, metadata units of every rank, computes and instances, by names as ``L0.A.read.actual``."""
    counts = dict(_outcomes("compute", result.computes))
    counts["compute.absent"] = result.compute.absent
    counts["instances.MAC"] = result.compute.instances_used
    for name, level in result.levels.items():
        counts[f"instances.{name}"] = level.instances_used
        for tensor, actions in level.tensors.items():
            for action, words, units in _actions(actions):
                counts.update(_outcomes(f"{name}.{tensor}.{action}", words))
                for rank, moved in enumerate(units):
                    counts.update(_outcomes(f"{name}.{tensor}.{action}.metadata{rank}", moved.metadata))
                    counts.update(_outcomes(f"{name}.{tensor}.{action}.payload{rank}", moved.payload))
    return counts


def counted_by_oracle(run: Execution) -> Counts:
    """As :func:`counted_by_model`."""
    counts: Counts = {f"compute.{outcome}": run.computes[outcome] for outcome in (*OUTCOMES, "absent")}
    counts |= {f"instances.{name}": used for name, used in run.instances_used.items()}
    for level, tensors in run.counts.items():
        for tensor, words in tensors.items():
            for action in DATA_ACTIONS:
                for outcome in OUTCOMES:
                    counts[f"{level}.{tensor}.{action}.{outcome}"] = words[action][outcome]
                    for rank, units in enumerate(run.metadata[level][tensor][action][outcome].tolist()):
                        counts[f"{level}.{tensor}.{action}.metadata{rank}.{outcome}"] = units[0]
                        counts[f"{level}.{tensor}.{action}.payload{rank}.{outcome}"] = units[1]
    return counts


def held_by_model(result: Result) -> Counts:
    """The most words and bits of metadata that an instance holds."""
    found: Counts = {}
    for name, level in result.levels.items():
        for tensor, actions in level.tensors.items():
            found[f"{name}.{tensor}.words"] = actions.worst_words
            found[f"{name}.{tensor}.bits"] = actions.worst_metadata_bits
    return found


def held_by_oracle(run: Execution) -> Counts:
    """As :func:`held_by_model`."""
    words = {f"{level}.{t}.words": n for level, row in run.worst_words.items() for t, n in row.items()}
    bits = {f"{level}.{t}.bits": n for level, row in run.worst_metadata_bits.items() for t, n in row.items()}
    return {**words, **bits}


def energy_by_model(result: Result) -> Counts:
    """pJ of the whole, of computes, and of each tensor at each level."""
    found = {f"{name}.{t}": a.energy_pj for name, level in result.levels.items() for t, a in level.tensors.items()}
    return {**found, "compute": result.compute.energy_pj, "total": result.energy_pj}


def energy_by_oracle(run: Execution) -> Counts:
    """As :func:`energy_by_model`."""
    found = {f"{name}.{t}": pj for name, level in run.storage_energy_pj.items() for t, pj in level.items()}
    return {**found, "compute": run.compute_energy_pj, "total": run.energy_pj}


def differences(result: Result, run: Execution) -> dict[str, tuple[float, float]]:
    """What the model says and what the oracle counted, where they are not equal; energy to 1e-9 of it."""
    pairs = [
        (counted_by_model(result), counted_by_oracle(run)),
        (held_by_model(result), held_by_oracle(run)),
        (
            {"busiest": result.compute.cycles_busiest, "mean": result.compute.cycles_mean, "cycles": result.cycles},
            {"busiest": run.compute_cycles_busiest, "mean": run.compute_cycles_mean, "cycles": run.cycles},
        ),
    ]
    found = {name: pair for left, right in pairs for name, pair in _unequal(left, right, 1e-12).items()}
    return found | _unequal(energy_by_model(result), energy_by_oracle(run), 1e-9)


def _unequal(left: Counts, right: Counts, tolerance: float) -> dict[str, tuple[float, float]]:
    return {
        name: (left.get(name, 0.0), right.get(name, 0.0))
        for name in left.keys() | right.keys()
        if abs(left.get(name, 0.0) - right.get(name, 0.0)) > tolerance * max(1.0, abs(right.get(name, 0.0)))
    }


def _outcomes(name: str, outcomes: Outcomes) -> Iterator[tuple[str, float]]:
    return ((f"{name}.{outcome}", getattr(outcomes, outcome)) for outcome in OUTCOMES)


def _actions(actions: TensorActions) -> Iterator[tuple[str, Outcomes, tuple[RankUnits, ...]]]:
    yield "read", actions.reads, actions.metadata_reads
    yield "fill", actions.fills, actions.metadata_fills
    yield "update", actions.updates, actions.metadata_updates


def words_and_computes(result: Result) -> Counts:
    """What moves and is computed, without metadata, and the computes of the busiest instance."""
    counts = {**dict(_outcomes("compute", result.computes)), "busiest": result.compute.cycles_busiest}
    for name, level in result.levels.items():
        for tensor, actions in level.tensors.items():
            for action, outcomes in actions.data().items():
                counts.update(_outcomes(f"{name}.{tensor}.{action}", outcomes))
    return counts
