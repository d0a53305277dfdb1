"""Named tables of energies: what they give by the size of a level, and what they have nothing for."""

from dataclasses import replace

import pytest

from sparseloom.arch.actions import EnergyTable
from sparseloom.arch.design import Design
from sparseloom.arch.features import Features, Saf
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.arch.named_energies import names, with_energies
from sparseloom.errors import InputError

EYERISS = "eyeriss-isca2016"
MAC_PJ = 2.20035

LEVELS = (
    StorageLevel("DRAM"),
    StorageLevel("Buffer", capacity_words=65536, block_words=4),
    StorageLevel("Fanout", capacity_words=0, mesh_x=4),
    StorageLevel("Spad", capacity_words=512, mesh_x=4),
)
DESIGN = Design(Architecture(LEVELS, ComputeLevel("MAC", mesh_x=4)))


def changed(**fields: object) -> Design:
    """The design with other fields of its buffer."""
    levels = tuple(replace(level, **fields) if level.name == "Buffer" else level for level in LEVELS)
    return Design(Architecture(levels, DESIGN.architecture.compute))


def faults(design: Design, name: str = EYERISS) -> list[str]:
    with pytest.raises(InputError) as error:
        with_energies(design, name)
    return [str(fault) for fault in error.value.faults]


def test_an_access_costs_the_ratio_of_its_size_class_for_each_word_of_a_block() -> None:
    found = with_energies(DESIGN, EYERISS).architecture
    for level, ratio in zip(found.levels, (200, 6 * 4, None, 1), strict=True):
        expected = {} if ratio is None else dict.fromkeys(("read", "fill", "update"), ratio * MAC_PJ)
        assert level.energy.energies_pj == pytest.approx(expected)
    assert found.compute.energy.energies_pj == {"compute": MAC_PJ}


def test_every_energy_says_where_it_is_from() -> None:
    found = with_energies(DESIGN, EYERISS).architecture
    sources = [level.energy.source for level in found.levels if level.energy.energies_pj]
    assert all("ISCA 2016" in source for source in sources)
    assert "MICRO 2022 artifact" in found.compute.energy.source


@pytest.mark.parametrize(
    ("kilobytes", "known"), [(1, True), (2, False), (64, False), (100, True), (500, True), (512, False)]
)
def test_sizes_between_the_published_ones_are_refused(kilobytes: int, known: bool) -> None:
    design = changed(capacity_words=kilobytes * 512)
    if known:
        with_energies(design, EYERISS)
    else:
        (fault,) = faults(design)
        assert f"Buffer has {kilobytes * 1024:,} bytes, which no class of the table {EYERISS} has" in fault
        assert "register file 1 to 1,024; global buffer 100,000 to 512,000; DRAM unbounded" in fault


def test_everything_that_the_table_has_no_energy_of_is_refused_at_once() -> None:
    design = changed(word_bits=8, energy=EnergyTable({"read": 1.0}))
    features = Features({}, (Saf("Spad", "gating", "A", ("B",)),))
    shown = faults(replace(design, features=features))
    assert len(shown) == 4
    assert "Buffer has words of 8 bits, the table eyeriss-isca2016 is of 16 bits" in "\n".join(shown)
    assert "Buffer has energies already" in "\n".join(shown)
    assert "no energies of metadata, of gated and of skipped accesses" in shown[-1]


def test_an_unknown_name_is_suggested() -> None:
    assert names() == (EYERISS,)
    assert faults(DESIGN, "eyeriss")[0].endswith("did you mean 'eyeriss-isca2016'?")
