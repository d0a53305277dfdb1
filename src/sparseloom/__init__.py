"""Sparse tensor accelerators, modelled: what is computed, on what hardware, when and where, and what that costs.

>>> import sparseloom as sl
>>> str(sl.Einsum.parse("Z[m,n] = A[m,k] * B[k,n]"))
'Z[m,n] = A[m,k] * B[k,n]'

The names below are in the order of the flow. Each is loaded when it is first used, so that the import costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparseloom.arch.actions import EnergyTable as EnergyTable
    from sparseloom.arch.design import Design as Design
    from sparseloom.arch.features import Features as Features
    from sparseloom.arch.features import Saf as Saf
    from sparseloom.arch.hierarchy import Architecture as Architecture
    from sparseloom.arch.hierarchy import ComputeLevel as ComputeLevel
    from sparseloom.arch.hierarchy import Network as Network
    from sparseloom.arch.hierarchy import StorageLevel as StorageLevel
    from sparseloom.errors import SparseloomError as SparseloomError
    from sparseloom.mapping.batch import MappingBatch as MappingBatch
    from sparseloom.mapping.batch import Problem as Problem
    from sparseloom.mapping.constraints import Constraints as Constraints
    from sparseloom.mapping.constraints import LevelConstraints as LevelConstraints
    from sparseloom.mapping.constraints import Limit as Limit
    from sparseloom.mapping.mapping import LevelMapping as LevelMapping
    from sparseloom.mapping.mapping import Loop as Loop
    from sparseloom.mapping.mapping import Mapping as Mapping
    from sparseloom.mapping.mapspace import Mapspace as Mapspace
    from sparseloom.model.batch import Evaluations as Evaluations
    from sparseloom.model.batch import evaluate_batch as evaluate_batch
    from sparseloom.model.draws import evaluate_draws as evaluate_draws
    from sparseloom.model.draws import with_spread as with_spread
    from sparseloom.report.comparison import compare as compare
    from sparseloom.results import Result as Result
    from sparseloom.search.codesign import Chosen as Chosen
    from sparseloom.search.codesign import best_design as best_design
    from sparseloom.search.codesign import mapspaces as mapspaces
    from sparseloom.search.mapper import Best as Best
    from sparseloom.search.mapper import best_mapping as best_mapping
    from sparseloom.workload.einsum import Einsum as Einsum
    from sparseloom.workload.workload import Workload as Workload

__version__ = "0.1.0"

_HOMES = {
    "sparseloom.fibertree.pattern": ("Pattern",),
    "sparseloom.fibertree.density": ("ActualData", "Dense", "Uniform"),
    "sparseloom.fibertree.format": ("Format",),
    "sparseloom.workload.einsum": ("Einsum",),
    "sparseloom.workload.workload": ("Workload",),
    "sparseloom.arch.hierarchy": ("Architecture", "ComputeLevel", "Network", "StorageLevel"),
    "sparseloom.arch.actions": ("EnergyTable",),
    "sparseloom.arch.features": ("Features", "Saf"),
    "sparseloom.arch.design": ("Design",),
    "sparseloom.mapping.mapping": ("LevelMapping", "Loop", "Mapping"),
    "sparseloom.mapping.batch": ("MappingBatch", "Problem"),
    "sparseloom.mapping.constraints": ("Constraints", "LevelConstraints", "Limit"),
    "sparseloom.mapping.mapspace": ("Mapspace",),
    "sparseloom.model.evaluate": ("evaluate",),
    "sparseloom.model.batch": ("Evaluations", "evaluate_batch"),
    "sparseloom.model.draws": ("evaluate_draws", "with_spread"),
    "sparseloom.search.mapper": ("Best", "best_mapping"),
    "sparseloom.search.codesign": ("Chosen", "best_design", "mapspaces"),
    "sparseloom.report.comparison": ("compare",),
    "sparseloom.results": ("Result",),
    "sparseloom.errors": ("SparseloomError",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'sparseloom' has no attribute '{name}'")
    value: object = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
