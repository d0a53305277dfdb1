"""Which of a feature's alternatives is used: the one with which the mapping costs the least energy (docs/oracle.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sparseloom.arch.design import Design
from sparseloom.arch.features import Saf

SAME = 1e-9
"""Energies that differ by less than this share of them are equal: the rest is the arithmetic's."""


def settled(design: Design, energy_pj: Callable[[Design], float]) -> tuple[Design, tuple[str, ...]]:
    """``design`` with one pair of target and leaders for each feature, and what was chosen in words.

    Features choose in their order, the later ones still at their first pair. ``energy_pj`` is asked for designs without
    alternatives; of equals the first is taken.
    """
    safs, said = [_only(saf, 0) for saf in design.features.safs], []
    for i, saf in enumerate(design.features.safs):
        if saf.alternatives:
            costs = [energy_pj(_with(design, [*safs[:i], _only(saf, n), *safs[i + 1 :]])) for n in range(len(saf.ways))]
            least = min(costs)
            safs[i] = _only(saf, next(n for n, cost in enumerate(costs) if cost <= least * (1 + SAME)))
            said.append(
                f"{saf.kind} at {saf.level}: of {len(saf.ways)} alternatives {_pair(safs[i])} costs least energy"
            )
    return _with(design, safs), tuple(said)


def _only(saf: Saf, n: int) -> Saf:
    target, leaders = saf.ways[n]
    return replace(saf, target=target, leaders=leaders, alternatives=())


def _with(design: Design, safs: list[Saf]) -> Design:
    return replace(design, features=replace(design.features, safs=tuple(safs)))


def _pair(saf: Saf) -> str:
    return f"{saf.target} <- {', '.join(saf.leaders)}"
