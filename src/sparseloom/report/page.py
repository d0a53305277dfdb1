"""A comparison as one HTML page that opens without a network, from what ``Comparison.to_dict`` gives.

Tables are written here; plots, and the panel of a layer, are drawn in the reader's browser by
``page.js`` from the values that the page holds.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Final

from sparseloom.report.comparison import LEAKAGE
from sparseloom.report.densities import curves
from sparseloom.report.figures import GREY, TIMES, Part, design_colors, kinds, parts, shades
from sparseloom.report.html import beside, document, row, section, table
from sparseloom.results.table import number

DASH: Final = "\N{EN DASH}"

ACTIONS: Final = ("read", "fill", "update", "compute")
"""What energy is charged for, in the order in which it is stacked."""


@dataclass(frozen=True)
class Column:
    """A column of the totals. ``of`` gives its value from the total of a design and that of the first one, None where there is
    none; ``write`` makes it a text. ``best`` picks the best value, where one is better than another."""

    title: str
    of: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
    write: Callable[[Any], str]
    best: Callable[[Iterable[float]], float] | None = None

    def cells(self, totals: Sequence[Mapping[str, Any]]) -> list[str]:
        """A cell for each design."""
        values = [self.of(total, totals[0]) for total in totals]
        known = [value for value in values if value is not None]
        best = self.best(known) if self.best and len(set(known)) > 1 else None
        return [self._cell(value, value is not None and value == best) for value in values]

    def _cell(self, value: Any, best: bool) -> str:
        styles = "" if isinstance(value, str) else "number best" if best else "number"
        return f'<td class="{styles}">{DASH if value is None else escape(self.write(value))}</td>'


def page(values: Mapping[str, Any]) -> str:
    """The page of a comparison; ``values`` is what ``Comparison.to_dict`` gives, or what was read from its JSON.

    It holds everything that it needs, Plotly's script too (some 5 MB), and a policy that forbids it to load anything.
    """
    from plotly.offline import get_plotlyjs

    names = [design["name"] for design in values["designs"]]
    scripts = SCRIPTS.format(
        data=_json(_view(values)), plotly=get_plotlyjs().replace("</script", "<\\/script"), script=beside("page.js")
    )
    title = f"{values['network']} on {_listed(names)}"
    sections = [*_sections(values), "<noscript><p>The plots need JavaScript.</p></noscript>"]
    return document(title, headline(values), _given(values), sections, scripts)


def headline(values: Mapping[str, Any]) -> str:
    """The result in a sentence, and how far it may be off."""
    return f"{verdict(values)} {doubt(values)}".rstrip()


def doubt(values: Mapping[str, Any]) -> str:
    """How many mappings are not proven to be the best, and by how much they may be above it; nothing if all are."""
    rows = [row for each in (values, *values["sweep"]) for row in each["outcomes"]]
    gaps = [row["gap"] for row in rows if not row["proven"]]
    if not gaps:
        return ""
    most = "there is no bound for some" if None in gaps else f"the largest gap is {_percent(max(gaps))}"
    return f"{len(gaps)} of {len(rows)} mappings {'is' if len(gaps) == 1 else 'are'} not proven the best: {most}."


def verdict(values: Mapping[str, Any]) -> str:
    """Which design has the least EDP over the layers that all run, and by how much."""
    totals = [design["total"] for design in values["designs"]]
    if not all(total["edp"] for total in totals):
        return "No layer runs on every design, so that there are no totals to compare."
    first, best = totals[0], min(totals, key=_edp)
    if len(totals) == 1:
        return f"{first['design']} takes {first['cycles']:,.0f} cycles and {first['energy_pj'] / 1e6:,.1f} µJ."
    if best is first:
        second = min(totals[1:], key=_edp)
        by = f"{second['edp'] / first['edp']:.3g}{TIMES}"
        return f"{first['design']} has the least EDP; the next is {second['design']} with {by} as much."
    lower, speed = first["edp"] / best["edp"], first["cycles"] / best["cycles"]
    return (
        f"{best['design']} has the least EDP: {lower:.3g}{TIMES} lower than {first['design']}, "
        f"at {speed:.3g}{TIMES} its speed and {best['energy_pj'] / first['energy_pj']:.3g}{TIMES} its energy."
    )


def _edp(total: Mapping[str, Any]) -> float:
    return float(total["edp"])


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _given(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [(name, str(values[name])) for name in ("weights", "activations", "technology")]
    objective = values["objective"]
    return [*found, ("mappings", f"the best by {objective.upper() if objective == 'edp' else objective}")]


def scientific(value: float) -> str:
    """Three figures and a power of ten.

    >>> scientific(37479974757852540).split(TIMES), scientific(0.00123).split(TIMES)
    (['3.75', '10¹⁶'], ['1.23', '10⁻³'])
    """
    head, _, exponent = f"{value:.2e}".partition("e")
    return f"{head}{TIMES}10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _times(value: float) -> str:
    text = f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
    return f"{text}{TIMES}"


def _ratio(value: float, unit: float) -> float | None:
    return value / unit if unit else None


def _layers(total: tuple[int, int]) -> str:
    return f"{total[0]} run, {total[1]} refused" if total[1] else f"all {total[0]}"


COLUMNS: Final = (
    Column("Cycles", lambda own, _: own["cycles"], "{:,.0f}".format, min),
    Column("Speed / first", lambda own, first: _ratio(first["cycles"], own["cycles"]), _times, max),
    Column("Energy (µJ)", lambda own, _: own["energy_pj"] / 1e6, "{:,.1f}".format, min),
    Column("EDP (pJ·cycles)", lambda own, _: own["edp"], scientific, min),
    Column("EDP / first", lambda own, first: _ratio(own["edp"], first["edp"]), _times, min),
    Column("Leakage (mW)", lambda own, _: own["leakage_mw"], "{:.2f}".format, min),
    Column("Leakage (µJ)", lambda own, _: own["leaked_pj"] / 1e6, number, min),
    Column("Utilisation", lambda own, _: own["utilization"], _percent, max),
    Column("Padding", lambda own, _: own["padding"], _percent, min),
    Column("Bottleneck", lambda own, _: own["bottleneck"] or None, str),
    Column("Area (mm²)", lambda own, _: _ratio(own["area_um2"], 1e6), "{:.2f}".format, min),
    Column("Sparse features", lambda own, _: own["feature_share"], _percent),
    Column("Layers", lambda own, _: (own["layers"], own["refused"]), _layers),
    Column("Largest gap", lambda own, _: own["gap"], _percent, min),
)


def _sections(values: Mapping[str, Any]) -> list[str]:
    return [
        section("totals", "Whole network", _totals(values), _reach(values)),
        LAYERS,
        *_sweep(values),
        ENERGY,
        PAIR,
        *([section("refused", "Layers that designs refuse", _refused(values))] if values["refused"] else []),
        section("assumptions", "Assumptions", _assumptions(values)),
    ]


def _sweep(values: Mapping[str, Any]) -> Iterator[str]:
    """What the plots against density are of, if there are any."""
    found = curves(values)
    if found is None:
        return
    others = len(found.layers) - 1
    alike = f" and {others} layer{'s' * (others > 1)} like it" if others else ""
    never = defaultdict[str, dict[str, None]](dict)
    for point in values["sweep"]:
        for each in point["refused"]:
            never[each["design"]][point["weights"]] = None
    says = [
        f"Of {found.layers[0]}{alike}, the kind with the most computes; activations {values['activations']}. Every point is a best "
        f"mapping, relative to {found.reference} (weights: {found.weights}), drawn at the density that was given, whatever the "
        f"design sees of it: a flat line is a design that sees no difference.",
        *(f"{design} does not run weights that are {_listed(list(texts))}." for design, texts in never.items()),
        "Dashed: the speed if all zeros of the weights, and nothing else, were skipped.",
        *(
            ["Hollow: weights that are not of the family."]
            if any(not dot.family for own in found.by_design for dot in own)
            else []
        ),
    ]
    family = [point["weights"] for point in values["sweep"] if point["family"]]
    yield section(
        "sweep",
        "EDP and speed against density",
        '<div class="pair"><div id="sweep-edp"></div><div id="sweep-speed"></div></div>',
        f'<p class="note">{escape(" ".join(says))} The family: {escape(", ".join(family))}.</p>',
    )


def _swatch(color: str) -> str:
    return f'<span class="swatch" style="background:{color}"></span>'


def _totals(values: Mapping[str, Any]) -> str:
    """A row for each design, the best of every column emphasised."""
    totals = [design["total"] for design in values["designs"]]
    by_column = [column.cells(totals) for column in COLUMNS]
    rows = [
        f'<tr><th scope="row">{_swatch(color)}{escape(total["design"])}</th>{"".join(cells)}</tr>'
        for total, color, *cells in zip(totals, design_colors(values), *by_column, strict=True)
    ]
    return table(["Design", *(column.title for column in COLUMNS)], rows, texts=("Design", "Bottleneck"))


def _reach(values: Mapping[str, Any]) -> str:
    """What totals are about."""
    common = sum(len(kind.names) for kind in kinds(values) if kind.common)
    total = len(values["layers"])
    of = f"all {total} layers" if common == total else f"the {common} of {total} layers that every design runs"
    first = escape(values["designs"][0]["name"])
    note = " The search was interrupted: this is what it had found." if values.get("interrupted") else ""
    return (
        f'<p class="note">Totals are of {of}, one after the other. First is {first}. '
        f"The best value of a column is shaded; sparse features are a share of the area, neither good nor bad. "
        f"Leakage, as power and over the run, is {escape(LEAKAGE)}.{note}</p>"
    )


def _refused(values: Mapping[str, Any]) -> str:
    """A row for each design and reason."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in values["refused"]:
        found[each["design"], "\n".join(each["why"])] += each["layers"]
    rows = [row((design, ", ".join(names), why)) for (design, why), names in found.items()]
    return table(["Design", "Layers", "Reason"], rows, texts=("Design", "Layers", "Reason"))


def _assumptions(values: Mapping[str, Any]) -> str:
    """The technology, every block of every design with its source, and what words mean."""
    first = f"<p>All energies and areas are estimates at one node: {escape(values['technology'])}.</p>"
    designs = (
        f"<details><summary>{_swatch(color)}{escape(design['name'])}: {len(design['blocks'])} blocks</summary>"
        f"<p class=soft>{escape(design['source'])}</p>{_blocks(design)}</details>"
        for design, color in zip(values["designs"], design_colors(values), strict=True)
    )
    means = "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in MEANS)
    return f"{first}{''.join(designs)}<h3>What the words mean</h3><dl class=means>{means}</dl>"


def _blocks(design: Mapping[str, Any]) -> str:
    rows = [
        row(
            (
                block["name"], block["role"], f"{block['instances']:,}", f"{block['area_um2']:,.0f}", f"{block['leakage_mw']:.3g}",
                ", ".join(f"{action} {pj:.3g}" for action, pj in block["energies_pj"].items()), block["source"],
                block["derivation"],
            ),
            numbers=(2, 3, 4),
        )
        for block in design["blocks"]
    ]  # fmt: skip
    sizes = ("Instances", "Area of all (µm²)", "Leakage of all (mW)")
    texts = ("Block", "Role", "Energy of one use (pJ)", "Source", "Derivation")
    return f'<div class="blocks">{table((*texts[:2], *sizes, *texts[2:]), rows, texts)}</div>'


def _view(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the script draws from. A kind of layer has the numbers of its outcomes, by design."""
    numbers = {id(row): number for number, row in enumerate(values["outcomes"])}
    found = curves(values)
    return {
        "designs": [
            {"name": design["name"], "color": color, "blocks": design["blocks"]}
            for design, color in zip(values["designs"], design_colors(values), strict=True)
        ],
        "kinds": [
            {
                "names": kind.names, "label": kind.label, "instances": kind.instances, "common": kind.common,
                "runs": [None if row is None else numbers[id(row)] for row in kind.outcomes],
            }
            for kind in kinds(values)
        ],
        "outcomes": values["outcomes"],
        "refused": values["refused"],
        "sweep": None if found is None else asdict(found),
        "roofs": sorted({_roof(design) for design in values["designs"]} - {0}),
        "styles": _styles(values),
    }  # fmt: skip


def _roof(design: Mapping[str, Any]) -> int:
    """The computes that a design starts in a cycle."""
    return sum(int(block["instances"]) for block in design["blocks"] if block["role"] == "compute")


def _styles(values: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What stacks are made of, by what they are broken down by."""
    charges = [charge for row in values["outcomes"] for charge in row["charges"]]
    tensors = sorted({charge["tensor"] for charge in charges} - {""})
    actions = [*ACTIONS, *sorted({charge["action"] for charge in charges} - {*ACTIONS})]
    stores = [action for action in actions if action != "compute"]
    return {
        "block": [_style(part) for part in parts(values)],
        "action": [*_shaded(stores), _style(Part("compute", *GREY))],
        "tensor": [*_shaded(tensors), _style(Part("", *GREY), "none (computes)")],
    }


def _shaded(names: Sequence[str]) -> list[dict[str, Any]]:
    return [_style(Part(name, *color)) for name, color in zip(names, shades(len(names)), strict=True)]


def _style(part: Part, label: str = "") -> dict[str, Any]:
    return {**vars(part), "label": label or part.name}


def _json(values: Mapping[str, Any]) -> str:
    """JSON that no HTML parser takes for the end of a script, whatever names hold."""
    return json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


MEANS: Final = (
    ("EDP", "energy times cycles; of a network the energy of all its layers times the cycles of all its layers"),
    (
        "seen",
        "what a design can exploit of the sparsity that was given for an operand: a pattern or a density that it supports, "
        "else dense",
    ),
    (
        "swapped",
        "the operands A and B of a matrix product change places, and its output is transposed: done where the design allows "
        "it and it is better",
    ),
    (
        "padding",
        "share of the computes that are added so that the shape of a layer divides as the design needs it; they take cycles "
        "and energy like all others",
    ),
    ("utilisation", "share of the compute units that are in use, over all cycles"),
    ("bottleneck", "the part of a design that sets the cycles; of a network the part that bounds most cycles"),
    (
        "gap",
        "how far the mapping that was found may be above the best one, at most, as a share of a lower bound; proven: no "
        "mapping is better in any way to run the layer that was tried",
    ),
    ("energy", "accesses and uses of each block times the energy of one; what is gated or skipped costs idle energy"),
    (
        "dense computes",
        "all multiply-accumulates of a layer as the design runs it, zeros and padding included; a design that skips them "
        "may get above the roof",
    ),
    (
        "leakage",
        "power that flows whatever a block does, of all instances, and that power over all cycles; blocks whose source gives "
        "none, as DRAM, count as none. It is " + LEAKAGE,
    ),
    ("area", "of all instances; what is off the chip has none"),
    ("sparse features", "share of the area that is there for sparsity alone; stores of metadata are not counted"),
)
"""What the words of the page mean."""


def _choice(name: str, title: str, options: Mapping[str, str]) -> str:
    """Buttons of which one is pressed, the first one to begin with."""
    inputs = (
        f'<label><input type="radio" name="{name}" value="{value}"{" checked" * (number == 0)}><span>{label}</span></label>'
        for number, (value, label) in enumerate(options.items())
    )
    return f'<span class="choice" role="radiogroup" aria-label="{title}">{"".join(inputs)}</span>'


LAYERS: Final = f"""<section id="layers"><h2>Layer by layer</h2>
<div class="controls">{_choice("metric", "metric", {"edp": "EDP", "cycles": "Cycles", "energy": "Energy"})}
{_choice("scale", "scale", {"relative": "relative to the first", "absolute": "absolute"})}
<label class="tick"><input type="checkbox" id="log">log axis</label>
<label class="tick"><input type="checkbox" id="times" disabled>all instances of a layer together</label></div>
<div class="scroll"><div id="layers-plot" style="height:390px"></div></div>
<p class="note">Less is better. Layers that no design tells apart share a group. No bar: the design does not run the layer, or the
first one does not, so that there is nothing to relate to.</p></section>
<section id="layer"><h2>One layer on every design</h2>
<div class="controls"><select id="layer-choice" aria-label="layer"><option value="">choose a layer</option></select></div>
<div id="layer-panel"></div></section>"""

ENERGY: Final = f"""<section id="energy"><h2>Where the energy goes</h2>
<div class="controls">{_choice("by", "broken down by", {"block": "by block", "action": "by action", "tensor": "by tensor"})}</div>
<div id="energy-pair"><div><h3>Whole network</h3><div id="energy-all"></div></div>
<div id="energy-layer" hidden><h3 id="energy-title"></h3><div id="energy-one"></div></div></div>
<ul class="legend" id="energy-legend"></ul></section>"""

PAIR: Final = """<div class="pair"><section id="roofline"><h2>Roofline</h2><div id="roofline-plot"></div>
<p class="note">A point for each kind of layer. Above the roof, computes are skipped.</p></section>
<section id="area"><h2>Area</h2><div id="area-plot"></div><ul class="legend" id="area-legend"></ul></section></div>"""

SCRIPTS: Final = """<script type="application/json" id="data">{data}</script>
<script>{plotly}</script>
<script>{script}</script>"""
