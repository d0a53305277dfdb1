"""A network as people write it: the ``network:`` of a YAML file. Imports pydantic: load it on demand only."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sparseloom.document import Node
from sparseloom.document_model import (
    Count,
    FileModel,
    Fraction,
    Name,
    Rate,
    Size,
    Source,
    Switch,
    file_schema,
    gather,
    place,
    section,
    validate,
)
from sparseloom.errors import Fault, InputError, PatternError
from sparseloom.fibertree.sparsity import Chain, Sparsity
from sparseloom.workload.layer import Layer, Sides
from sparseloom.workload.network import Network, Published, faults_of

KEY = "network"


def _listed(value: object) -> object:
    """One number for both sides may be written without brackets."""
    return value if isinstance(value, list | tuple) and value else (value,)


def _listed_or_same(value: object) -> object:
    return None if value == "same" else _listed(value)


Counts = Annotated[
    tuple[Count, ...],
    Field(max_length=2),
    BeforeValidator(_listed, json_schema_input_type=Count | tuple[Count, Count]),
]
"""One number for both sides, or [rows, columns]."""

Around = Annotated[
    Annotated[tuple[Size, ...], Field(max_length=2)] | None,
    BeforeValidator(_listed_or_same, json_schema_input_type=Size | tuple[Size, Size] | Literal["same"]),
]
"""As :data:`Counts`, from zero; None stands for ``same``."""


class ConvModel(FileModel):
    """A convolution; sizes of two sides are [rows, columns], or one number if they are equal."""

    channels: Count = Field(description="input channels of all groups")
    filters: Count = Field(description="output channels of all groups")
    input: Counts = Field(description="the image, without padding")
    window: Counts
    stride: Counts = (1,)
    padding: Around = Field(default=(0,), description="at both ends, or same: ceil(input / stride) outputs")
    groups: Count = 1
    batch: Count = 1
    bias: Switch = False

    def layer(self, name: str) -> Layer:
        return Layer.convolution(
            name,
            channels=self.channels,
            filters=self.filters,
            input=_sides(self.input),
            window=_sides(self.window),
            stride=_sides(self.stride),
            padding="same" if self.padding is None else _sides(self.padding),
            groups=self.groups,
            batch=self.batch,
            bias=self.bias,
        )


class LinearModel(FileModel):
    """A fully connected layer."""

    rows: Count = Field(default=1, description="how many inputs see the same weights: batch, or tokens")
    inputs: Count
    outputs: Count
    bias: Switch = False

    def layer(self, name: str) -> Layer:
        return Layer.linear(name, rows=self.rows, inputs=self.inputs, outputs=self.outputs, bias=self.bias)


class ProductModel(FileModel):
    """Products of an m x k by a k x n operand, both computed by the inference."""

    batch: Count = Field(default=1, description="independent products")
    m: Count
    k: Count
    n: Count

    def layer(self, name: str) -> Layer:
        return Layer.product(name, batch=self.batch, m=self.m, k=self.k, n=self.n)


class LayerModel(FileModel):
    """One layer: exactly one of conv, linear and product."""

    name: Name
    conv: ConvModel | None = None
    linear: LinearModel | None = None
    product: ProductModel | None = None
    densities: dict[Name, Fraction] = Field(default_factory=dict, description="nonzeros / points, by tensor")
    patterns: dict[Name, Name] = Field(
        default_factory=dict,
        description="rules along the rank that is reduced, by tensor, as 'C1(3:4)->C0(2:4)'; its density need not be given",
    )
    count: Count = Field(default=1, description="instances that are alike in one inference")


class PublishedModel(FileModel):
    """Totals of one inference as the source prints them."""

    source: str
    macs: Rate | None = None
    parameters: Rate | None = None


class NetworkModel(FileModel):
    """Layers in the order in which an inference runs them."""

    name: Name
    source: str = ""
    note: str = ""
    published: PublishedModel | None = None
    other_parameters: dict[Name, Count] = Field(
        default_factory=dict,
        description="parameters that are neither weights nor biases of a layer, by what they are for",
    )
    layers: tuple[LayerModel, ...]


def read(source: Source) -> Network:
    """The network of a file. Raises InputError with every fault of the file, each with file:line, key path and fix."""
    return build(section(source, KEY))


def schema() -> dict[str, Any]:
    """The JSON Schema of a network file, for editors."""
    return file_schema(KEY, NetworkModel, "Sparseloom network")


def build(node: Node) -> Network:
    """As :func:`read`, from the node under ``network:``."""
    model = validate(NetworkModel, node)
    faults = [place(node, fault) for fault in faults_of([layer.name for layer in model.layers])]
    layers = []
    for i, layer in enumerate(model.layers):
        at = node.at(("layers", i))
        with gather(faults, at):
            layers.append(_layer(at, layer))
    if faults:
        raise InputError(faults)
    published = Published(**dict(model.published)) if model.published else None
    return Network(model.name, model.source, tuple(layers), model.note, published, model.other_parameters)


def _layer(node: Node, model: LayerModel) -> Layer:
    kinds = {"conv": model.conv, "linear": model.linear, "product": model.product}
    given = [(key, kind) for key, kind in kinds.items() if kind is not None]
    if len(given) != 1:
        what = f"layer {model.name} is {' and '.join(key for key, _ in given) or 'of no kind'}"
        raise InputError(node.fault(what, f"give exactly one of {', '.join(kinds)}"))
    ((key, kind),) = given
    faults: list[Fault] = []
    with gather(faults, node.at((key,))):
        layer = kind.layer(model.name)
    chains, densities = dict[str, Chain](), dict[str, float]()
    for tensor, text in model.patterns.items():
        with gather(faults, node.at(("patterns", tensor))):
            sparsity = Sparsity.parse(text)
            chains[tensor], densities[tensor] = sparsity.chain, sparsity.density
            if not sparsity.chain:
                fix = "give unstructured tensors a density, and leave dense ones out"
                raise PatternError(Fault(f"'{text}' has no rules along a rank", fix=fix))
    if faults:
        raise InputError(faults)
    with gather(faults, node):
        layer = replace(layer, densities=densities | model.densities, count=model.count, chains=chains)
    if faults:
        raise InputError(faults)
    return layer


def _sides(sizes: tuple[int, ...]) -> Sides:
    return sizes[0], sizes[-1]
