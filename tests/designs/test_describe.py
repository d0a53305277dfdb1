"""Each design's description against its row of thesis Table 3.2, where the thesis has one.

The thesis' rows, format and then gating/skipping:
  Eyeriss     offchip: I/O: B-RLE W: U onchip: I: UB O/W: U
              Innermost Storage: Gate W <- I, Gate O <- I
  Eyeriss V2  I/W: B-UOP-CP O: U
              Innermost Storage: Skip W <- I, Skip O <- I & W; Gate Compute
  DSTC        A/B: B-B Z: U
              2nd-to-innermost & Innermost Storage: Skip A <-> B, Skip Z <- A & B
Where the designs follow the published artifact instead, each test says so.
"""

import pytest

from sparseloom import designs
from sparseloom.arch.design import Design
from sparseloom.arch.features import Features, Saf
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, StorageLevel
from sparseloom.designs.describe import describe, feature_row, format_row
from sparseloom.fibertree.format import Format


def rows(name: str) -> tuple[str, str]:
    design = designs.load(name)
    return format_row(design), feature_row(design)


def test_eyeriss_is_the_thesis_row_but_for_offset_pairs_off_chip_and_the_gated_outputs() -> None:
    thesis = ("offchip: I/O: B-RLE W: U onchip: I: UB O/W: U", "Innermost Storage: Gate W <- I, Gate O <- I")
    assert rows("eyeriss") == (thesis[0].replace("B-RLE", "UOP-RLE"), thesis[1].replace(", Gate O <- I", ""))


def test_eyeriss_v2_is_the_thesis_row_but_for_run_lengths_and_a_compute_that_skips() -> None:
    thesis = ("I/W: B-UOP-CP O: U", "Innermost Storage: Skip W <- I, Skip O <- I & W; Gate Compute")
    ours = (thesis[0].replace("B-UOP-CP", "UOP-RLE"), thesis[1].replace("Gate Compute", "Skip Compute"))
    assert rows("eyeriss-v2-pe") == ours


def test_dstc_is_the_thesis_row_but_for_a_third_bitmask_and_lanes_that_are_packed() -> None:
    formats, features = rows("dstc")
    assert formats == "A/B: B-B Z: U".replace("B-B", "B-B-B")
    assert features == "Innermost Storage: Skip Z <- A & B, Position-Skip A, Position-Skip B"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("bitmask", "Innermost Storage: Gate A <-> B, Gate Z <- A & B"),
        ("coordinate-list", "Innermost Storage: Skip A <-> B, Skip Z <- A & B"),
        ("stc", "Innermost Storage: Spatial-Skip B <- A, Spatial-Skip Z <- A"),
        ("tc", "none"),
    ],
)
def test_the_other_designs_have_the_features_of_their_source(name: str, row: str) -> None:
    assert rows(name)[1] == row


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("tc", "A/B/Z: U"),
        ("stc", "A: UOP-CP B/Z: U"),
        ("stc-flexible-rle", "A: UOP-RLE B/Z: U"),
        ("stc-flexible-rle-dual", "A: UOP-RLE B: UOP-B Z: U"),
    ],
)
def test_the_tensor_cores_differ_in_their_formats(name: str, row: str) -> None:
    assert rows(name)[0] == row


def chain(*safs: Saf) -> Design:
    levels = (StorageLevel("DRAM"), StorageLevel("GLB"), StorageLevel("SPAD", holds=frozenset("W")), StorageLevel("RF"))
    return Design(Architecture(levels, ComputeLevel("MAC")), Features({}, safs))


def test_the_level_of_a_feature_is_counted_among_those_that_hold_its_target() -> None:
    safs = [Saf(level, "skipping", "I", ("W",)) for level in ("DRAM", "GLB", "SPAD", "RF")]
    assert feature_row(chain(*safs)) == (
        "3rd-to-innermost Storage: Skip I <- W; 2nd-to-innermost Storage: Skip I <- W, Skip I <- W; "
        "Innermost Storage: Skip I <- W"
    )
    assert feature_row(chain(Saf("SPAD", "gating", "W", ("I",)))) == "2nd-to-innermost Storage: Gate W <- I"


def test_features_that_lead_each_other_are_one_intersection_at_one_level_only() -> None:
    there, back = Saf("GLB", "gating", "W", ("I",)), Saf("GLB", "gating", "I", ("W",))
    assert "Gate W <-> I" in feature_row(chain(there, back))
    assert "<->" not in feature_row(chain(there, Saf("RF", "gating", "I", ("W",))))
    assert "<->" not in feature_row(chain(there, Saf("GLB", "skipping", "I", ("W",))))


def test_alternatives_are_shown_as_they_are_written() -> None:
    saf = Saf("RF", "skipping", "W", ("I",), (("I", ("W",)),))
    assert feature_row(chain(saf)) == "Innermost Storage: Skip W <- I | I <- W"


def test_formats_that_differ_on_chip_are_listed_outermost_first() -> None:
    formats = {"GLB": {"W": Format.parse("CP(M)-B(K)")}, "SPAD": {"W": Format.parse("UOP(K)")}}
    design = Design(chain().architecture, Features(formats))
    assert format_row(design) == "offchip: W: U onchip: W: CP-B, UOP"


@pytest.mark.parametrize("name", designs.names())
def test_a_description_names_every_level_with_its_size(name: str) -> None:
    design, text = designs.load(name), describe(designs.load(name))
    for level in design.architecture.levels:
        (line,) = [line for line in text.splitlines() if line.startswith(f"{level.name} ")]
        assert f"{level.mesh_x} x {level.mesh_y}" in line
        assert ("unbounded" if level.capacity_words is None else f"{level.capacity_words} words") in line
    assert all(len(line) <= 120 for line in text.partition("\n\n")[0].splitlines())
