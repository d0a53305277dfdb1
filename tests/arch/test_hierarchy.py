"""What no architecture can be."""

import re

import pytest

from sparseloom.arch.actions import EnergyTable
from sparseloom.arch.features import Saf
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.errors import ArchitectureError, MappingError
from sparseloom.mapping.mapping import Loop


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (StorageLevel("L", capacity_words=-1), "L: capacity_words is -1, below 0"),
        (StorageLevel("L", read_words_per_cycle=0.0), "L: read_words_per_cycle is 0.0, not above 0"),
        (StorageLevel("L", energy=EnergyTable({"reed": 1.0})), "L: unknown action 'reed'.*did you mean 'read'"),
        (StorageLevel("L", energy=EnergyTable({"read": -1.0})), "L: read costs -1.0 pJ, below 0"),
    ],
)
def test_sizes_and_energies_that_cannot_be_are_refused(level: StorageLevel, said: str) -> None:
    with pytest.raises(ArchitectureError, match=re.compile(said, re.DOTALL)):
        Architecture((level,), ComputeLevel("MAC"))


def test_kinds_of_features_and_axes_of_loops_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ArchitectureError, match="unknown kind of feature 'skip' at L"):
        Saf("L", "skip", "B", ("A",))
    with pytest.raises(MappingError, match="the loop over M has axis 'Z'"):
        Loop("M", 2, "Z")
