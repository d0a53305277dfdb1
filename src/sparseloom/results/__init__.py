"""What every back end returns: counts of actions, and what they cost, as one printable value."""

from sparseloom.results.actions import ComputeActions, LevelActions, Outcomes, RankUnits, TensorActions
from sparseloom.results.result import Result

__all__ = ["ComputeActions", "LevelActions", "Outcomes", "RankUnits", "Result", "TensorActions"]
