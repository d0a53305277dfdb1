"""Fig. 4-13 in small: two densities of A, one setting."""

from __future__ import annotations

import pytest

from sparseloom.designs.load import constraints, load
from sparseloom.mapping.batch import Problem
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.report import dataflows
from sparseloom.report.dataflows import AZ_HIERARCHICAL, AZ_INNERMOST, DESIGNS, MIDDLE, Workload
from sparseloom.report.study import study

SMALL = Workload(size=64, density_b=1.0)


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("DENSITIES", (0.001, 1.0)), ("SETTINGS", (SMALL,)), ("MIDDLE", SMALL), ("BESIDE", ())):
            patch.setattr(dataflows, name, value)
        yield study("fig4-13")


def test_the_early_intersection_pays_at_the_sparse_end_and_no_sooner(found) -> None:
    curves = {name: found.computed.chart.series[dataflows.label(name)] for name in DESIGNS}
    assert curves[AZ_HIERARCHICAL][0] < 1 < curves[AZ_HIERARCHICAL][1]
    assert min(curves[AZ_INNERMOST]) > 1
    ours = {each.what.partition(" over")[0]: each.ours for each in found.findings}
    assert ours["EDP of ReuseAZ.HierarchicalSkip"] == pytest.approx(curves[AZ_HIERARCHICAL][0])
    assert ours["EDP of ReuseABZ.InnermostSkip"] < 1
    assert found.computed.parts[0].rows[0][1:] == ("AZ.H", "ABZ.I")


def test_shares_count_the_settings_in_which_a_claim_holds(found) -> None:
    shares = [each.ours for each in found.findings if each.what.startswith("share")]
    assert shares == [1.0, 1.0, 1.0]
    assert all("holds in 64, B 1, 32 B/cycle" in note for note in found.computed.notes[1:4])


def test_the_four_designs_have_one_budget_and_differ_as_the_table_says() -> None:
    for name in DESIGNS:
        design = load(name)
        levels, unit = design.architecture.levels, design.architecture.compute
        on_chip = [(level.instances, level) for level in levels[1:]]
        bits = sum(n * (each.capacity_words * each.word_bits + each.metadata_capacity_bits) for n, each in on_chip)
        assert bits == 128 * 1024 * 8
        assert unit.instances == 256
        off_chip = [saf for saf in design.features.safs if saf.level == "DRAM"]
        assert len(off_chip) == (2 if "hierarchical" in name else 0)
        assert [level.name for level in levels if level.holds and "B" in level.holds] == (
            ["Shared"] if "abz" in name else []
        )


def test_without_charge_for_masks_off_the_chip_there_is_no_store_for_them() -> None:
    charged, free = (dataflows._design(AZ_HIERARCHICAL, Workload(charged=flag)) for flag in (True, False))
    assert [each.architecture.levels[0].metadata_width_bits for each in (charged, free)] == [64, 0]


@pytest.mark.parametrize("name", DESIGNS)
def test_every_mapping_reuses_what_the_table_says(name) -> None:
    from sparseloom.mapping.prefixes import Tree

    space = Mapspace(Problem(MIDDLE.layer(0.1).workload(), load(name)), constraints(name))
    batch = next(Tree(space).mappings(space.keeps[0]))
    last, ranks = 3 * (len(space.levels) - 1), space.problem.ranks
    for rank in "NK":
        there = (batch.rank == ranks.index(rank)) & (batch.place == last) & (batch.bound >= 2)
        assert there.any(axis=1).all(), rank
