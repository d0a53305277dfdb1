"""A frontier as one HTML page that opens without a network, from what ``Frontier.to_dict`` gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from sparseloom.report.figures import OKABE_ITO, TIMES
from sparseloom.report.html import beside, document, row, section, table
from sparseloom.report.page import DASH, SCRIPTS

SPLITS: Final = ("validation", "test")
MOST_MODELS: Final = 400
"""Rows of the table of models."""


def page(values: Mapping[str, Any]) -> str:
    """The page; Plotly's script is in it (some 5 MB), and a policy forbids it to load anything."""
    from plotly.offline import get_plotlyjs

    scripts = SCRIPTS.format(
        data=json.dumps(_view(values)).replace("</", "<\\/"),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        script=beside("frontier.js"),
    )
    settings = values["settings"]
    given = [
        ("model", settings["model"]), ("data", settings["data"]), ("designs", ", ".join(values["designs"])),
        ("training", f"{settings['pretrain']} epochs dense, then {settings['epochs']} with each pattern; seed {settings['seed']}"),
        ("technology", values["technology"]),
    ]  # fmt: skip
    sections = [
        section("front", "Accuracy and energy-delay product", _PLOT, _NOTE),
        section("budgets", "The least EDP within a loss of accuracy", _budgets(values)),
        section("losses", "What pruning one layer alone adds to the validation loss", _losses(values), _LOSS_NOTE),
        section("models", "All models", _models(values), _refused(values)),
        "<noscript><p>The plot needs JavaScript.</p></noscript>",
    ]
    return document(f"{settings['model']}: accuracy against EDP", headline(values), given, sections, scripts)


def headline(values: Mapping[str, Any]) -> str:
    """The best within no loss, and what patterns per layer bring."""
    better = sum(each["strictly_better"] for each in values["budgets"])
    least_lost = min(each["budget"] for each in values["budgets"])
    lossless = [each["best"] for each in values["budgets"] if each["budget"] == least_lost and each["best"]]
    least = min(lossless, key=lambda point: point["edp"], default=None)
    first = ""
    if least is not None:
        by, dense = values["reference_edp"] / least["edp"], values["designs"][0]
        first = (
            f"{least['design']} with {least['name']} has {by:.3g}{TIMES} less EDP than {dense} dense, and loses at most "
            f"{least_lost * 100:g} points on the validation split. "
        )
    return (
        f"{first}A pattern for each layer is strictly better than every uniform one in {better} of "
        f"{len(values['budgets'])} budgets, and worse in none."
    )


_PLOT: Final = (
    '<p><label>Accuracy on the <select id="split"><option>validation</option><option>test</option></select> split</label></p>'
    '<div id="front-plot" class="plot"></div>'
)
_NOTE: Final = (
    "<p class=note>Each mark is a model on a design; those of one model stand above each other. Filled: one pattern for all layers "
    "that the rules prune; open: a pattern for each layer. The line joins models of which none is better in both. Lost accuracy "
    "is against the dense model after as many epochs; below zero it is won. Densities of activations are those of the dense "
    "model.</p>"
)
_LOSS_NOTE: Final = (
    "<p class=note>Cross-entropy on the validation split when this layer alone is masked, without training after it, less that of "
    "the dense model. With what a design gains it decides which patterns layers are given.</p>"
)


def _view(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the script draws."""
    designs = values["designs"]
    return {
        "designs": [{"name": name, "color": OKABE_ITO[number % len(OKABE_ITO)]} for number, name in enumerate(designs)],
        "dense": values["dense"], "reference": values["reference_edp"],
        "points": [_mark(point, designs) for point in values["points"]],
    }  # fmt: skip


def _mark(point: Mapping[str, Any], designs: Sequence[str]) -> dict[str, Any]:
    layers = [] if point["uniform"] else [f"{layer}: {pattern}" for layer, pattern in point["assignment"].items()]
    own = {key: point[key] for key in ("name", "accuracy", "edp", "uniform")}
    return {**own, "design": designs.index(point["design"]), "layers": layers}


def _lost(values: Mapping[str, Any], point: Mapping[str, Any], split: str) -> str:
    if split not in point["accuracy"]:
        return DASH
    return f"{(values['dense'][split] - point['accuracy'][split]) * 100:+.2f}"


def _budgets(values: Mapping[str, Any]) -> str:
    head = (
        "Design",
        "May lose",
        "Best uniform pattern",
        "EDP",
        "Loss, test",
        "Best of all",
        "EDP",
        "Loss, test",
        "Better by",
    )
    rows = [row(_budget(values, each), (1, 3, 4, 6, 7, 8)) for each in values["budgets"]]
    return table(head, rows, ("Design", "Best uniform pattern", "Best of all"))


def _budget(values: Mapping[str, Any], each: Mapping[str, Any]) -> list[str]:
    cells = [each["design"], f"{each['budget'] * 100:g}"]
    for point in (each["uniform"], each["best"]):
        if point is None:
            cells += ["none", DASH, DASH]
        else:
            cells += [point["name"], f"{point['edp'] / values['reference_edp']:.4f}", _lost(values, point, "test")]
    better = each["strictly_better"] and each["uniform"]
    return [*cells, f"{each['uniform']['edp'] / each['best']['edp']:.3f}{TIMES}" if better else DASH]


def _losses(values: Mapping[str, Any]) -> str:
    patterns = [label for label in values["patterns"] if any(label in own for own in values["losses"].values())]
    rows = [
        row(
            [layer, *(f"{own[label]:.4f}" if label in own else DASH for label in patterns)], range(1, len(patterns) + 1)
        )
        for layer, own in values["losses"].items()
        if len(own) > 1
    ]
    return table(("Layer", *patterns), rows, ("Layer",))


def _models(values: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys(point["name"] for point in values["points"]))
    by_name = {name: [point for point in values["points"] if point["name"] == name] for name in names}
    head = ("Model", *(f"Loss, {split}" for split in SPLITS), *(f"EDP on {design}" for design in values["designs"]))
    rows = []
    for name in names[:MOST_MODELS]:
        own = by_name[name]
        cells = [_title(own[0]), *(_lost(values, own[0], split) for split in SPLITS)]
        for design in values["designs"]:
            point = next((each for each in own if each["design"] == design), None)
            cells.append(DASH if point is None else f"{point['edp'] / values['reference_edp']:.4f}")
        rows.append(row(cells, range(1, len(cells))))
    return table(head, rows, ("Model",))


def _title(point: Mapping[str, Any]) -> str:
    if point["uniform"]:
        return str(point["name"])
    return "; ".join(f"{layer}: {pattern}" for layer, pattern in point["assignment"].items())


def _refused(values: Mapping[str, Any]) -> str:
    return "".join(f"<p class=note>{escape(line)}</p>" for line in values["refused"])
