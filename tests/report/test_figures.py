"""Figures for papers: their bars stand for the numbers, and they save without a window."""

from __future__ import annotations

import subprocess
import sys
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from sparseloom.errors import InputError
from sparseloom.report.densities import curves
from sparseloom.report.figures import (
    OKABE_ITO,
    Part,
    Plots,
    area,
    cycles,
    design_colors,
    edp,
    edp_by_density,
    energy,
    kinds,
    parts,
    speed_by_density,
)


def outcome(design: str, layers: list[str], counts: list[int], cycles: int, energy_pj: float) -> dict[str, Any]:
    return {
        "design": design, "layers": layers, "count": sum(counts), "counts": counts, "cycles": cycles,
        "energy_pj": energy_pj, "edp": energy_pj * cycles, "charges": [],
    }  # fmt: skip


def block(name: str, role: str, area_um2: float) -> dict[str, Any]:
    return {"name": name, "role": role, "area_um2": area_um2, "instances": 1}


def comparison() -> dict[str, Any]:
    """Two designs and three layers; the second design refuses the third layer, and tells the first two apart."""
    return {
        "layers": ["a", "b", "<script>$x$"],
        "designs": [
            {
                "name": "old", "total": {"edp": 4e6, "cycles": 200}, "energy_by_block": {"DRAM": 3e6, "SMEM": 1e6},
                "blocks": [block("DRAM", "data", 0.0), block("SMEM", "data", 2e6), block("MAC", "compute", 1e6)],
            },
            {
                "name": "_new$", "total": {"edp": 1e6, "cycles": 100},
                "energy_by_block": {"DRAM": 1e6, "DRAM metadata": 2e6},
                "blocks": [
                    block("DRAM", "data", 0.0), block("DRAM metadata", "metadata", 0.0), block("GLB", "data", 3e6),
                    block("encoders", "sparse features", 5e5),
                ],
            },
        ],
        "outcomes": [
            outcome("old", ["a", "b"], [1, 4], 100, 10.0),
            outcome("old", ["<script>$x$"], [1], 10, 1.0),
            outcome("_new$", ["a"], [1], 50, 5.0),
            outcome("_new$", ["b"], [4], 25, 20.0),
        ],
        "refused": [], "sweep": [],
    }  # fmt: skip


def swept() -> dict[str, Any]:
    """The same with a sweep: the second design does not run dense weights, and 0.4 is not of the family."""

    def point(weights: str, density: float, **cycles: int) -> dict[str, Any]:
        rows = [outcome({"old": "old", "new": "_new$"}[name], ["a"], [1], each, 10.0) for name, each in cycles.items()]
        family = weights != "0.4 unstructured"
        return {
            "weights": weights,
            "density": density,
            "family": family,
            "layers": ["a"],
            "outcomes": rows,
            "refused": [],
        }

    points = [
        point("dense", 1.0, old=100), point("C0(2:4)", 0.5, old=100, new=50), point("0.4 unstructured", 0.4, old=100, new=40),
        point("C1(2:4)->C0(2:4)", 0.25, old=100, new=20),
    ]  # fmt: skip
    return {**comparison(), "sweep": points}


def _heights(axes: Any) -> list[list[float]]:
    return [[bar.get_height() for bar in container] for container in axes.containers]


def test_a_kind_holds_the_layers_that_no_design_tells_apart() -> None:
    assert [(kind.names, kind.instances, kind.common) for kind in kinds(comparison())] == [
        (("a",), 1, True), (("b",), 4, True), (("<script>$x$",), 1, False),
    ]  # fmt: skip
    values = comparison()
    values["outcomes"][2:] = [outcome("_new$", ["a", "b"], [1, 4], 50, 5.0)]
    assert kinds(values)[0].names == ("a", "b")
    assert kinds(values)[0].instances == 5


def test_a_layer_that_no_design_runs_is_no_kind() -> None:
    assert len(kinds({**comparison(), "layers": ["a", "other"]})) == 1


def test_bars_by_layer_are_relative_to_the_first_design_and_end_with_the_totals() -> None:
    (axes,) = edp(comparison()).axes
    first, second = _heights(axes)
    assert first == [1, 1, 1, 1]
    assert second[:2] + second[3:] == [0.25, 0.5, 0.25]
    assert isnan(second[2])
    (axes,) = cycles(comparison()).axes
    assert _heights(axes)[1][:2] == [0.5, 0.25]
    assert _heights(axes)[1][3] == 0.5
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "a",
        "b \N{MULTIPLICATION SIGN}4",
        "<script>$x$",
        "all",
    ]


def test_stacks_are_in_the_order_of_the_blocks_and_stand_on_each_other() -> None:
    (axes,) = energy(comparison()).axes
    assert _heights(axes) == [[3, 1], [0, 2], [1, 0]]  # DRAM, DRAM metadata, SMEM: uJ
    assert [[bar.get_y() for bar in container] for container in axes.containers] == [[0, 0], [3, 1], [3, 3]]
    (axes,) = area(comparison()).axes
    assert _heights(axes) == [[2, 0], [0, 3], [1, 0], [0, 0.5]]  # SMEM, GLB, MAC, encoders: mm2


def test_lines_against_density_are_relative_to_the_densest_point_of_the_first_design() -> None:
    (axes,) = speed_by_density(swept()).axes
    ideal, old, _, new, off = axes.get_lines()
    assert [list(line.get_xdata()) for line in (old, new, off)] == [[1, 0.5, 0.25], [0.5, 0.25], [0.4]]
    assert [list(line.get_ydata()) for line in (old, new, off)] == [[1, 1, 1], [2, 5], [2.5]]
    assert list(ideal.get_ydata()) == [4, 2.5, 2, 1]
    assert axes.get_ylabel() == "Speed relative to old, dense"
    (axes,) = edp_by_density(swept()).axes
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[1, 1, 1], [1], [0.5, 0.2], [0.4]]


def test_figures_against_density_need_a_sweep_and_are_saved_with_the_others(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sweep over densities\n  how to fix: compare with sweep=True, or --sweep"):
        edp_by_density(comparison())
    made = Plots(swept()).save(tmp_path)
    assert [path.name for path in made[4:]] == ["edp_by_density.pdf", "speed_by_density.pdf"]


def test_a_design_that_runs_nothing_dense_is_not_what_the_others_are_relative_to() -> None:
    values = swept()
    values["designs"].reverse()
    found = curves(values)
    assert found is not None
    assert (found.reference, found.weights) == ("_new$", "C0(2:4)")
    assert [dot.speed for dot in found.by_design[1]] == [0.5, 0.5, 0.5, 0.5]
    for point in values["sweep"]:
        point["outcomes"] = []
    assert curves(values) is None


def test_stores_at_one_depth_share_a_colour_and_metadata_has_that_of_its_data() -> None:
    found = {part.name: part for part in parts(comparison())}
    assert list(found) == ["DRAM", "DRAM metadata", "SMEM", "GLB", "MAC", "encoders"]
    assert found["SMEM"].light == found["GLB"].light != found["DRAM"].light
    dram = found["DRAM"]
    assert found["DRAM metadata"] == Part("DRAM metadata", dram.light, dram.dark, hatched=True)


def test_a_block_of_the_energy_that_no_design_lists_is_drawn_too() -> None:
    values = comparison()
    values["outcomes"][0]["charges"] = [{"block": "wires", "energy_pj": 1.0}]
    assert "wires" in {part.name for part in parts(values)}


def test_every_design_has_the_same_colour_in_all_plots() -> None:
    assert design_colors(comparison()) == list(OKABE_ITO[:2])
    (axes,) = edp(comparison()).axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["old", "_new$"]


@pytest.mark.parametrize(("name", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_figures_are_saved_in_the_formats_of_papers(tmp_path: Path, name: str, start: bytes) -> None:
    made = Plots(comparison()).save(tmp_path / "new" / "folder", (name,))
    assert [path.name for path in made] == [f"{figure}.{name}" for figure in ("edp", "cycles", "energy", "area")]
    assert all(path.read_bytes().startswith(start) for path in made)


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    Plots(comparison()).save(tmp_path, ("svg",))
    text = (tmp_path / "edp.svg").read_text("utf-8")
    assert "&lt;script&gt;$x$" in text
    assert "_new$" in text


def test_another_format_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'docx' is not a format of figures\n  how to fix: give pdf, svg, png"):
        Plots(comparison()).save(tmp_path / "none", ("pdf", "docx"))
    assert not (tmp_path / "none").exists()


def test_figures_touch_no_state_of_pyplot_and_are_imported_when_needed() -> None:
    code = (
        "import sys; import sparseloom.report.figures as figures; assert 'matplotlib' not in sys.modules\n"
        "figures.area({'designs': [{'name': 'a', 'blocks': []}], 'outcomes': [], 'layers': []})\n"
        "assert 'matplotlib.figure' in sys.modules; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
