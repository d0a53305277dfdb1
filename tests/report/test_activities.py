"""SCNN's activities from densities, on a layer small enough to draw and walk here."""

import pytest

from sparseloom.report import activities
from sparseloom.workload.layer import Layer


def test_modelled_activities_are_near_those_of_draws_which_are_the_oracles(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Layer.convolution("conv", channels=3, filters=8, input=(4, 4), window=(2, 2), padding=(0, 0))
    monkeypatch.setattr(activities, "LAYER", layer)
    monkeypatch.setattr(activities, "BATCHES", 2)
    monkeypatch.setattr(activities, "DRAWS", 12)
    found = activities.study()
    assert found.ours["oracle"] == 0.0
    assert found.ours["most"] < 0.03
    (table, components) = found.parts
    assert [row[0] for row in components.rows][-1] == "multiplier"
    assert tuple(row[0] for row in table.rows if row[0].startswith("multiplier")) == ("multiplier computes",)
