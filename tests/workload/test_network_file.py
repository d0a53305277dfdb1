from dataclasses import replace
from pathlib import Path

import pytest

from sparseloom.document import parse
from sparseloom.errors import InputError
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network, Published
from sparseloom.workload.network_file import build, read, schema

TEXT = """\
network:
  name: tiny
  source: made up
  published: {source: made up, macs: 0.2e+6}
  other_parameters: {layer_norm: 16}
  layers:
    - name: conv
      conv: {channels: 2, filters: 4, input: [9, 8], window: [3, 1], stride: 2, padding: [1, 0], groups: 2, bias: true}
      densities: {I: 1.0, W: 0.5}
    - {name: same, conv: {channels: 4, filters: 4, input: 5, window: 3, padding: same, batch: 2}}
    - {name: scores, product: {batch: 12, m: 3, k: 4, n: 5}, count: 6}
    - {name: fc, linear: {inputs: 100, outputs: 10}}
"""


def faults(*layers: str) -> list[str]:
    text = "\n".join(["name: n", "layers:", *(f"  - {{{layer}}}" for layer in layers)])
    with pytest.raises(InputError) as caught:
        build(parse(text, "n.yaml"))
    return [f"{f.where} {f.path}: {f.what}; {f.fix}" for f in caught.value.faults]


def test_a_network_is_read_layer_by_layer(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(TEXT, encoding="utf-8")
    conv = Layer.convolution(
        "conv", channels=2, filters=4, input=(9, 8), window=(3, 1), stride=(2, 2), padding=(1, 0), groups=2, bias=True
    )
    layers = (
        replace(conv, densities={"I": 1.0, "W": 0.5}),
        Layer.convolution("same", channels=4, filters=4, input=(5, 5), window=(3, 3), padding="same", batch=2),
        replace(Layer.product("scores", batch=12, m=3, k=4, n=5), count=6),
        Layer.linear("fc", rows=1, inputs=100, outputs=10),
    )
    published = Published("made up", macs=200_000)
    assert read(path) == Network("tiny", "made up", layers, published=published, other_parameters={"layer_norm": 16})


def test_every_fault_of_the_sizes_is_shown_at_its_line() -> None:
    assert faults(
        "name: a, conv: {channels: 3, filters: 4, input: 2, window: 5, groups: 3}",
        "name: b, linear: {inputs: 2, outputs: 2}, densities: {V: 0.5}",
        "name: b, product: {m: 2, k: 2, n: 2}, linear: {inputs: 2, outputs: 2}",
        "name: c",
    ) == [
        "n.yaml:5 layers[2].name: layer b is given twice; "
        "give each layer a name of its own, or a count to one of layers that are alike",
        "n.yaml:3 layers[0].conv.groups: 3 groups do not divide 4 filters; give a divisor of the filters",
        "n.yaml:3 layers[0].conv.window: a window of 5 x 5 has no place in an input of 2 x 2 with padding 0 x 0; "
        "make the window smaller, or the input or its padding larger",
        "n.yaml:4 layers[1].densities.V: b has no tensor V, it has I, W, O; known names: I, W, O",
        "n.yaml:5 layers[2]: layer b is linear and product; give exactly one of conv, linear, product",
        "n.yaml:6 layers[3]: layer c is of no kind; give exactly one of conv, linear, product",
    ]


def test_every_key_and_value_that_is_not_known_is_shown_at_its_line() -> None:
    assert faults(
        "name: a, conv: {channels: 1, filters: 1, input: [4, 4, 4], window: 3, dilation: 2}",
        "name: b, conv: {channels: 1, filters: 1, input: 4, window: 0, padding: smae}",
        "name: c, linear: {inputs: 2}, densities: {W: 1.5}",
        "name: d, conv: {channels: 1, filters: 1, input: [], window: 3, padding: }",
    ) == [
        "n.yaml:3 layers[0].conv.input: a list of 3 is too long; write at most 2",
        "n.yaml:3 layers[0].conv: unknown field 'dilation'; known names: "
        "channels, filters, input, window, stride, padding, groups, batch, bias",
        "n.yaml:4 layers[1].conv.window[0]: 0 is below 1; write 1 or more",
        "n.yaml:4 layers[1].conv.padding[0]: 'smae' is not a whole number; write a number without a point, 64",
        "n.yaml:5 layers[2].linear.outputs: required field missing; add `outputs:`",
        "n.yaml:5 layers[2].densities.W: 1.5 is above 1.0; write 1.0 or less",
        "n.yaml:6 layers[3].conv.input[0]: a list is not a whole number; write a number without a point, 64",
        "n.yaml:6 layers[3].conv.padding[0]: nothing is not a whole number; write a number without a point, 64",
    ]


def test_the_schema_lets_sizes_be_one_number_or_two() -> None:
    conv = schema()["$defs"]["ConvModel"]["properties"]
    assert [form["type"] for form in conv["window"]["anyOf"]] == ["integer", "array"]
    assert {form.get("const") for form in conv["padding"]["anyOf"]} == {None, "same"}
