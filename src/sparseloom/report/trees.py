"""Two comparisons as trees in which one place means the same of both, so that they can be laid side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Final

Values = Mapping[str, Any]
"""Of a comparison, as ``Comparison.to_dict`` gives them."""

Tree = dict[str, Any]

_SAID: Final = ("network", "weights", "activations", "objective", "technology", "interrupted")
_LEFT_OUT: Final = frozenset(
    {"name", "design", "layers", "layer", "count", "counts", "charges", "seconds", "source", "derivation"}
)
"""What is a key of the tree, differs from run to run, or is the why of other figures."""


def trees(a: Values, b: Values) -> tuple[Tree, Tree]:
    """What was asked, the totals by design, and of the designs that both have the layers, the points of the sweep, the blocks."""
    both = {design["name"] for design in a["designs"]} & {design["name"] for design in b["designs"]}
    layers, points = _layers(a, b, both), _points(a, b, both)
    left, right = (
        {
            **{key: values[key] for key in _SAID},
            "totals": {
                each["name"]: {
                    **{key: value for key, value in each["total"].items() if key != "design"},
                    "energy_pj by block": each["energy_by_block"],
                }
                for each in values["designs"]
            },
            "layers": layers[side],
            "sweep": points[side],
            "blocks": {
                each["name"]: {block["name"]: _figures(block) for block in each["blocks"]}
                for each in values["designs"]
                if each["name"] in both
            },
        }
        for side, values in enumerate((a, b))
    )
    return left, right


def _figures(values: Values) -> Tree:
    return {key: value for key, value in values.items() if key not in _LEFT_OUT}


def _points(a: Values, b: Values, both: Collection[str]) -> tuple[Tree, Tree]:
    """The layers of each point of the sweeps, by the weights; of a point that only one has nothing but that it is there."""
    left, right = ({point["weights"]: point for point in values["sweep"]} for values in (a, b))
    shared = {weights: _layers(left[weights], right[weights], both) for weights in left.keys() & right.keys()}
    alone: tuple[Tree, Tree] = ({}, {})
    return (
        {weights: shared.get(weights, alone)[0] for weights in left},
        {weights: shared.get(weights, alone)[1] for weights in right},
    )


def _layers(a: Values, b: Values, both: Collection[str]) -> tuple[Tree, Tree]:
    """Figures by design and layer; layers together that neither comparison tells apart on a design."""
    left, right = _by_layer(a), _by_layer(b)
    alike = defaultdict[tuple[str, int, int], list[tuple[str, str]]](list)
    for place in {**left, **right}:
        if place[0] in both:
            alike[place[0], id(left.get(place)), id(right.get(place))].append(place)
    found = defaultdict[str, Tree](dict), defaultdict[str, Tree](dict)
    for places in alike.values():
        design, layer = places[0]
        label = f"{layer} x{len(places)}" if places[1:] else layer
        for tree, own in zip(found, (left, right), strict=True):
            if places[0] in own:
                tree[design][label] = own[places[0]]
    return found


def _by_layer(values: Values) -> dict[tuple[str, str], Tree | str]:
    """Figures of each layer of each design; of one that it does not run why."""
    found = dict[tuple[str, str], Tree | str]()
    for row in values["outcomes"]:
        figures = _figures(row)
        found |= {(row["design"], layer): figures for layer in row["layers"]}
    for refusal in values["refused"]:
        why = f"refused: {'; '.join(refusal['why'])}"
        found |= {(refusal["design"], layer): why for layer in refusal["layers"]}
    return found
