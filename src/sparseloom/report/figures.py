"""Figures of a comparison for a paper, from what ``Comparison.to_dict`` gives; and the colours that the page shares with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sparseloom.errors import Fault, InputError
from sparseloom.report.densities import curves, required

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sparseloom.report.study import Chart

OKABE_ITO: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#999999")
"""Colours that colour-blind readers tell apart (Okabe and Ito, 2008): one for each design, in all plots."""

STORES: Final = (("#06404B", "#C2E2DE"), ("#2A7F8C", "#E0F2EF"))
"""The first and the last of the colours of storage, outermost level first: on a light and on a dark page."""

FEATURES: Final = (("#D55E00", "#F8CFAE"), ("#D55E00", "#F8CFAE"))
"""The same of blocks for sparsity alone."""

GREY: Final = ("#A79B8E", "#B3A899")
"""Of what computes, on a light and on a dark page."""

MARKERS: Final = ("o", "s", "D", "^", "P", "v", "*", "h")
"""The mark of each design in lines."""

TIMES: Final = "\N{MULTIPLICATION SIGN}"

FORMATS: Final = ("pdf", "svg", "png")
"""What figures are saved as."""


@dataclass(frozen=True)
class Part:
    """What a stack is made of: its ``name`` in the values, how it is drawn on a light and on a dark page, hatched if it holds
    metadata."""

    name: str
    light: str
    dark: str
    hatched: bool = False


@dataclass(frozen=True)
class Kind:
    """Layers called ``names`` that are alike to every design, ``instances`` of them in all. ``outcomes`` are the rows of what the
    designs make of one of them, None where a design does not run it."""

    names: tuple[str, ...]
    instances: int
    outcomes: tuple[Mapping[str, Any] | None, ...]

    @property
    def common(self) -> bool:
        """Whether every design runs it, so that totals hold it."""
        return None not in self.outcomes

    @property
    def label(self) -> str:
        return self.names[0] if self.instances == 1 else f"{self.names[0]} {TIMES}{self.instances}"


def kinds(values: Mapping[str, Any]) -> list[Kind]:
    """The layers of a comparison that at least one design runs, those together that no design tells apart, in the order of the
    network."""
    rows = {(row["design"], name): row for row in values["outcomes"] for name in row["layers"]}
    found: dict[tuple[int, ...], list[str]] = defaultdict(list)
    of: dict[str, tuple[Mapping[str, Any] | None, ...]] = {}
    for name in values["layers"]:
        of[name] = tuple(rows.get((design["name"], name)) for design in values["designs"])
        if any(of[name]):
            found[tuple(map(id, of[name]))].append(name)
    return [
        Kind(tuple(names), sum(_instances(name, of[name]) for name in names), of[names[0]]) for names in found.values()
    ]


def _instances(name: str, outcomes: Sequence[Mapping[str, Any] | None]) -> int:
    row = next(row for row in outcomes if row)
    names = row["layers"]
    even = [row["count"] // len(names)] * len(names)
    return int(row.get("counts", even)[names.index(name)])


def design_colors(values: Mapping[str, Any]) -> list[str]:
    """A colour for each design, in their order."""
    return [OKABE_ITO[number % len(OKABE_ITO)] for number in range(len(values["designs"]))]


def parts(values: Mapping[str, Any]) -> list[Part]:
    """All blocks of all designs in the order in which they are stacked: storage from the outside in, what computes, what is there
    for sparsity. Blocks at one depth of different designs share a colour; metadata has that of its data."""
    roles = {block["name"]: block["role"] for design in values["designs"] for block in design["blocks"]}
    for row in values["outcomes"]:
        roles |= {charge["block"]: "other" for charge in row["charges"] if charge["block"] not in roles}
    depth = _depths(values)
    stores = shades(max(depth.values(), default=0) + 1, STORES)
    features = shades(sum(role == "sparse features" for role in roles.values()), FEATURES)
    return [
        *_stores(roles, depth, stores),
        *(Part(name, *GREY) for name, role in roles.items() if role in ("compute", "other")),
        *(
            Part(name, *color)
            for name, color in zip(
                (name for name, role in roles.items() if role == "sparse features"), features, strict=True
            )
        ),
    ]


def _stores(roles: Mapping[str, str], depth: Mapping[str, int], colors: Sequence[tuple[str, str]]) -> Iterator[Part]:
    """Data by depth, the metadata of each after it."""
    data = sorted((name for name, role in roles.items() if role == "data"), key=depth.__getitem__)
    metadata = {name: name.removesuffix(" metadata") for name, role in roles.items() if role == "metadata"}
    for name in data:
        yield Part(name, *colors[depth[name]])
        yield from (Part(own, *colors[depth[name]], True) for own, base in metadata.items() if base == name)
    yield from (Part(own, *colors[-1], True) for own, base in metadata.items() if base not in data)


def _depths(values: Mapping[str, Any]) -> dict[str, int]:
    """How deep each store lies: as in the first design that has it, no two of one design at one depth."""
    found: dict[str, int] = {}
    for design in values["designs"]:
        own = [block["name"] for block in design["blocks"] if block["role"] == "data"]
        taken = {found[name] for name in own if name in found}
        free = (depth for depth in count() if depth not in taken)
        found |= {name: next(free) for name in own if name not in found}
    return found


def shades(number: int, ends: tuple[tuple[str, str], tuple[str, str]] = STORES) -> list[tuple[str, str]]:
    """So many colours from the first to the last, on a light and on a dark page.

    >>> shades(3, (("#000000", "#ffffff"), ("#101010", "#303030")))
    [('#000000', '#101010'), ('#808080', '#202020'), ('#ffffff', '#303030')]
    """
    at = [step / max(1, number - 1) for step in range(number)]
    return [(_between(*ends[0], share), _between(*ends[1], share)) for share in at]


def _between(first: str, last: str, share: float) -> str:
    pairs = ((int(first[i : i + 2], 16), int(last[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def edp(values: Mapping[str, Any]) -> Figure:
    """EDP of each kind of layer, and of all layers that every design runs, relative to the first design; less is better."""
    return _by_layer(values, "edp", "EDP")


def cycles(values: Mapping[str, Any]) -> Figure:
    """Cycles in the same way."""
    return _by_layer(values, "cycles", "Cycles")


def energy(values: Mapping[str, Any]) -> Figure:
    """Energy of all layers that every design runs, uJ, by block of the design."""
    amounts = [{name: pj / 1e6 for name, pj in design["energy_by_block"].items()} for design in values["designs"]]
    return _stacked(values, amounts, "Energy (µJ)")


def area(values: Mapping[str, Any]) -> Figure:
    """Area of each design, mm2, by block."""
    amounts = [{block["name"]: block["area_um2"] / 1e6 for block in design["blocks"]} for design in values["designs"]]
    return _stacked(values, amounts, "Area (mm²)")


def _by_layer(values: Mapping[str, Any], key: str, title: str) -> Figure:
    """Bars by layer, grouped by design; the last group are the totals."""
    designs, known = values["designs"], kinds(values)
    groups = [[row[key] if row else nan for row in kind.outcomes] for kind in known]
    groups.append([design["total"][key] for design in designs])
    axes = _axes(max(3.5, 1.2 + 0.075 * len(groups) * (len(designs) + 1)), 2.6)
    width = 0.84 / len(designs)
    for number, color in enumerate(design_colors(values)):
        at = [group + width * (number - (len(designs) - 1) / 2) for group in range(len(groups))]
        axes.bar(at, [_relative(group[number], group[0]) for group in groups], width, color=color, linewidth=0)
    axes.axhline(1, color="#555555", linewidth=0.7, linestyle=(0, (4, 3)), zorder=3)
    axes.set_xticks(range(len(groups)))
    labels = [*(kind.label for kind in known), "all"]
    axes.set_xticklabels(labels, rotation=55, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_ylabel(f"{title} relative to {designs[0]['name']}", parse_math=False)
    _legend(axes, [(container, design["name"]) for container, design in zip(axes.containers, designs, strict=True)])
    return _figure(axes)


def _relative(value: float, first: float) -> float:
    return value / first if first else nan


def _stacked(values: Mapping[str, Any], amounts: Sequence[Mapping[str, float]], title: str) -> Figure:
    """A bar for each design, made of the amounts of its blocks."""
    names = [design["name"] for design in values["designs"]]
    axes = _axes(2.6 + 0.55 * len(names), 3.0)
    floor, shown = [0.0] * len(names), list[tuple[Any, str]]()
    for part in parts(values):
        own = [each.get(part.name, 0.0) for each in amounts]
        if any(own):
            hatch = "/////" if part.hatched else None
            style: dict[str, Any] = {"color": part.light, "edgecolor": "white", "linewidth": 0.4, "hatch": hatch}
            shown.append((axes.bar(range(len(names)), own, 0.62, floor, **style), part.name))
            floor = [below + more for below, more in zip(floor, own, strict=True)]
    axes.set_xticks(range(len(names)))
    axes.set_xticklabels(names, parse_math=False)
    axes.set_ylabel(title)
    _legend(axes, shown[::-1], beside=True)
    return _figure(axes)


def edp_by_density(values: Mapping[str, Any]) -> Figure:
    """EDP of the swept layer against the density of its weights, relative to the first design's densest; less is better. Raises
    InputError for a comparison without a sweep."""
    return _by_density(values, "edp", "EDP")


def speed_by_density(values: Mapping[str, Any]) -> Figure:
    """Speed in the same way, with what skipping all zeros of the weights, and of nothing else, would give."""
    return _by_density(values, "speed", "Speed")


def _by_density(values: Mapping[str, Any], key: str, title: str) -> Figure:
    """A line for each design through the patterns of the family; other sparsities are hollow marks beside it."""
    from matplotlib.ticker import LogLocator

    found = required(values)
    axes = _axes(3.5, 2.8)
    densities = sorted({dot.density for own in found.by_design for dot in own if dot.density})
    if key == "speed":
        axes.plot(densities, [1 / each for each in densities], color="#555555", linewidth=0.7, linestyle=(0, (4, 3)))
    shown = list[tuple[Any, str]]()
    for design, color, marker, own in zip(
        values["designs"], design_colors(values), cycle(MARKERS), found.by_design, strict=False
    ):
        style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4}
        on = [dot for dot in own if dot.family]
        [line] = axes.plot([dot.density for dot in on], [getattr(dot, key) for dot in on], linewidth=1, **style)
        off = [dot for dot in own if not dot.family and dot.density]
        axes.plot([dot.density for dot in off], [getattr(dot, key) for dot in off], linestyle="", mfc="white", **style)
        shown.append((line, design["name"]))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(densities, [f"{each:.3g}" for each in densities], rotation=45)
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_yticks([], minor=True)
    axes.set_xlabel("density of the weights", fontsize=8)
    axes.set_ylabel(f"{title} relative to {found.reference}, {found.weights}", parse_math=False)
    _legend(axes, shown, columns=3)
    return _figure(axes)


def _axes(width_inches: float, height_inches: float) -> Axes:
    """Axes of a figure that no window and no global state knows of."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(width_inches, height_inches), layout="constrained").add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=7, length=2)
    axes.yaxis.label.set_fontsize(8)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.5)
    axes.set_axisbelow(True)
    return axes


def _figure(axes: Axes) -> Figure:
    from matplotlib.figure import Figure

    assert isinstance(axes.figure, Figure)
    return axes.figure


def _legend(axes: Axes, shown: Sequence[tuple[Any, str]], beside: bool = False, columns: int = 8) -> None:
    """Above the axes in so many columns, or beside them. Names are set as they are: they may hold what Matplotlib reads as
    mathematics, or start with an underscore."""
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {"loc": "lower left", "ncols": columns}
    where = place if beside else {**place, "bbox_to_anchor": (0.0, 1.0)}
    made = axes.legend([handle for handle, _ in shown], [" "] * len(shown), frameon=False, fontsize=7, **where)
    for label, (_, name) in zip(made.get_texts(), shown, strict=True):
        label.set_parse_math(False)
        label.set_text(name)


def chart(shown: Chart) -> Figure:
    """A chart of a study."""
    axes = _axes(7.0, 3.2)
    places = range(len(shown.places))
    width = 0.8 / len(shown.series)
    drawn = list[tuple[Any, str]]()
    for i, (name, values) in enumerate(shown.series.items()):
        color = OKABE_ITO[i % len(OKABE_ITO)]
        heights = [nan if value is None else value for value in values]
        if shown.kind == "bars":
            middle = (i - (len(shown.series) - 1) / 2) * width
            drawn.append((axes.bar([place + middle for place in places], heights, width, color=color), name))
        else:
            [line] = axes.plot(places, heights, marker="o", markersize=3, linewidth=1, color=color)
            drawn.append((line, name))
    axes.set_xticks(list(places), [str(place) for place in shown.places], rotation=45, ha="right", parse_math=False)
    axes.set_xlabel(shown.x_label, fontsize=8)
    axes.set_ylabel(shown.y_label)
    if shown.log_y:
        axes.set_yscale("log")
    _legend(axes, drawn)
    return _figure(axes)


@dataclass(frozen=True)
class Plots:
    """The figures of a comparison. ``values`` is what ``Comparison.to_dict`` gives, or what was read from its JSON."""

    values: Mapping[str, Any]

    def edp(self) -> Figure:
        """See :func:`edp`."""
        return edp(self.values)

    def cycles(self) -> Figure:
        """See :func:`cycles`."""
        return cycles(self.values)

    def energy(self) -> Figure:
        """See :func:`energy`."""
        return energy(self.values)

    def area(self) -> Figure:
        """See :func:`area`."""
        return area(self.values)

    def edp_by_density(self) -> Figure:
        """See :func:`edp_by_density`."""
        return edp_by_density(self.values)

    def speed_by_density(self) -> Figure:
        """See :func:`speed_by_density`."""
        return speed_by_density(self.values)

    def save(self, folder: str | Path, formats: Sequence[str] = ("pdf",)) -> list[Path]:
        """Every figure in every format (``pdf``, ``svg``, ``png`` at 300 dots per inch) in a folder, which is made if it is not
        there. Returns the files. Raises InputError for another format."""
        import matplotlib

        if unknown := [name for name in formats if name not in FORMATS]:
            raise InputError(Fault(f"'{unknown[0]}' is not a format of figures", fix=f"give {', '.join(FORMATS)}"))
        Path(folder).mkdir(parents=True, exist_ok=True)
        made = list[Path]()
        figures: tuple[Callable[[], Figure], ...] = (self.edp, self.cycles, self.energy, self.area)
        if curves(self.values) is not None:
            figures += (self.edp_by_density, self.speed_by_density)
        with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "hatch.linewidth": 0.6}):
            for draw in figures:
                figure = draw()
                for name in formats:
                    made.append(Path(folder) / f"{draw.__name__}.{name}")
                    figure.savefig(made[-1], dpi=300)
        return made
