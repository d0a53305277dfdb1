"""A model as a network file: layers, the patterns and measured densities of their tensors, and the tensors themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseloom import document
from sparseloom.errors import Fault, InputError
from sparseloom.fibertree.density import BoolArray
from sparseloom.fibertree.pattern import Pattern
from sparseloom.fibertree.sparsity import chain_of
from sparseloom.prune.operation import Operand, Operation
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network


@dataclass(frozen=True)
class ImportedLayer:
    """A layer as a network file writes it: ``kind`` (conv, linear, product) with ``sizes``; nonzeros / points by tensor, over all
    samples; ``pattern`` that the weights follow; the name of the ``weight``; the ``masks`` of one sample, if they were kept."""

    name: str
    kind: str
    sizes: Mapping[str, Any]
    densities: Mapping[str, float]
    pattern: str = ""
    weight: str = ""
    masks: Mapping[str, BoolArray] | None = None


@dataclass(frozen=True)
class Imported:
    """What was found of a model. ``way`` is how it was read (export, trace, onnx), ``reason`` why not by export;
    ``unsupported`` are operators that multiply tensors and are no layers, with how often they run."""

    name: str
    source: str
    layers: tuple[ImportedLayer, ...]
    samples: int
    way: str
    reason: str = ""
    unsupported: Mapping[str, int] | None = None

    @property
    def network(self) -> Network:
        """The network that :attr:`text` says."""
        from sparseloom.workload.network_file import read

        return read(document.parse(self.text))

    @property
    def text(self) -> str:
        """The network file."""
        note = (
            f"densities measured over {self.samples} sample{'s' * (self.samples != 1)}"
            if self.samples
            else "densities not measured"
        )
        if self.unsupported:
            note += "; left out: " + ", ".join(f"{name} ({times} x)" for name, times in self.unsupported.items())
        head = [
            f"{key}: {_quoted(value)}" for key, value in (("name", self.name), ("source", self.source), ("note", note))
        ]
        rows = [f"  - {_flow(_plain(layer))}" for layer in self.layers]
        return "\n".join(["network:", *(f"  {line}" for line in (*head, "layers:", *rows))]) + "\n"


def import_model(
    name: str,
    source: str,
    run: Callable[[Any, Callable[[str, Operation], None]], None],
    samples: Iterable[Any],
    about: Callable[[], tuple[str, str, Mapping[str, int]]],
    patterns: Mapping[str, Pattern],
    named: Callable[[str], str] = lambda layer: layer,
    keep: bool = False,
    watch: Callable[[int], None] | None = None,
) -> Imported:
    """The layers that ``run`` shows on samples of one each: their sizes as of the first, densities over all. ``patterns``
    are those of the weights, by the name that ``named`` gives the weight of a layer; ``keep`` keeps where the nonzeros of
    the first sample are."""
    seen = dict[str, Operation]()
    nonzeros, points = dict[tuple[str, str], float](), dict[tuple[str, str], int]()
    masks = dict[str, dict[str, BoolArray]]()
    number = 0

    def see(layer: str, operation: Operation) -> None:
        seen.setdefault(layer, operation)
        for operand in operation.operands:
            key = layer, operand.tensor
            if number and operand.tensor == "W":
                continue
            count, size, mask = _counted(operand, keep and not number)
            nonzeros[key], points[key] = nonzeros.get(key, 0.0) + count, points.get(key, 0) + size
            if mask is not None:
                masks.setdefault(layer, {})[operand.tensor] = mask

    for sample in samples:
        run(sample, see)
        number += 1
        if watch is not None:
            watch(number)
    if not seen:
        raise InputError(
            Fault(
                f"{name} has no layer with multiply-accumulates", fix="give a model with convolutions or linear layers"
            )
        )
    layers = tuple(
        ImportedLayer(
            layer, operation.kind, dict(operation.sizes),
            {o.tensor: nonzeros[layer, o.tensor] / max(points[layer, o.tensor], 1) for o in operation.operands},
            chain_text(patterns.get(named(layer))), named(layer) if operation.weight is not None else "", masks.get(layer),
        )
        for layer, operation in seen.items()
    )  # fmt: skip
    return Imported(name, source, layers, number, *about())


def write_tensors(imported: Imported, folder: Path) -> list[Path]:
    """A workload file for each layer whose tensors were kept, and the masks beside it, for the density model of actual data."""
    written, taken = list[Path](), set[str]()
    folder.mkdir(parents=True, exist_ok=True)
    for layer, made in zip(imported.layers, imported.network.layers, strict=True):
        if not layer.masks:
            continue
        stem = _stem(layer.name, taken)
        tensors = []
        for tensor, mask in layer.masks.items():
            path = folder / f"{stem}.{tensor}.npy"
            np.save(path, _as_tensor(made, tensor, mask, layer), allow_pickle=False)
            tensors.append(f"    {tensor}: {{data: {path.name}}}")
        shape = ", ".join(f"{rank}: {size}" for rank, size in made.shape.items())
        lines = [
            "workload:",
            f"  name: {_quoted(layer.name)}",
            f"  einsum: '{made.einsum}'",
            f"  shape: {{{shape}}}",
            "  tensors:",
        ]
        path = folder / f"{stem}.yaml"
        document.write(path, "\n".join([*lines, *tensors]) + "\n")
        written.append(path)
    return written


def _stem(name: str, taken: set[str]) -> str:
    """A file name for a layer that no other has."""
    bare = stem = re.sub(r"[^\w.-]", "_", name)
    number = 1
    while stem.lower() in taken:
        number += 1
        stem = f"{bare}-{number}"
    taken.add(stem.lower())
    return stem


def _as_tensor(layer: Layer, tensor: str, mask: BoolArray, imported: ImportedLayer) -> BoolArray:
    """A mask by the ranks that the layer's einsum gives the tensor: inputs of a convolution with their padding, as far as
    windows reach."""
    access = next(each for each in layer.einsum.operands if each.name == tensor)
    shape = access.shape(dict(layer.shape))
    if imported.kind == "conv" and tensor == "I":
        (top, left), sizes = imported.sizes["padding"], imported.sizes
        image = mask.reshape(sizes["batch"], sizes["channels"], *sizes["input"])
        padded = np.pad(image, ((0, 0), (0, 0), (top, top), (left, left)))
        rows, columns = shape[-2:]
        grown = [max(0, wanted - there) for wanted, there in zip((rows, columns), padded.shape[2:], strict=True)]
        padded = np.pad(padded, ((0, 0), (0, 0), (0, grown[0]), (0, grown[1])))
        return padded[:, :, :rows, :columns].reshape(shape)
    return np.ascontiguousarray(mask.reshape(shape))


def _counted(operand: Operand, keep: bool) -> tuple[float, int, BoolArray | None]:
    """Nonzeros and points of a tensor, and where they are."""
    if operand.value is None:
        return 1.0 if operand.density is None else operand.density, 1, None
    array = _array(operand.value)
    # masks are true where scores stay, or numbers that are added to them, far below zero where they do not
    shown = array > -1e4 if operand.mask and array.dtype != np.bool_ else array != 0
    return float(np.count_nonzero(shown)), shown.size, operand.view(shown) if keep and not operand.mask else None


def _array(value: Any) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    tensor = value.detach().cpu()
    return np.asarray(tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy())


def chain_text(pattern: Pattern | None) -> str:
    """A pattern as hardware knows it: rules along the channels; "" for others, of which a density is left."""
    if pattern is None or len(pattern.alternatives) > 1:
        return ""
    text = str(pattern)
    return text if chain_of(pattern.alternatives[0]) and re.fullmatch(r"[^A-Za-z]*C[^ABD-Z]*", text) else ""


def _plain(layer: ImportedLayer) -> dict[str, Any]:
    sizes = dict(layer.sizes)
    if layer.kind == "conv":
        usual = {"stride": [1, 1], "padding": [0, 0], "groups": 1, "batch": 1, "bias": False}
    else:
        usual = {"rows": 1, "bias": False, "batch": 1}
    sizes = {key: _side(value) for key, value in sizes.items() if usual.get(key) != value}
    found: dict[str, Any] = {"name": layer.name, layer.kind: sizes}
    densities = {tensor: round(density, 6) for tensor, density in layer.densities.items() if density < 1}
    if densities:
        found["densities"] = densities
    if layer.pattern:
        found["patterns"] = {"W": layer.pattern}
    return found


def _side(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 2 and value[0] == value[1] else value


def _flow(value: Any) -> str:
    """YAML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z_][\w./-]*", text) else "'" + text.replace("'", "''") + "'"
