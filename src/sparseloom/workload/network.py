"""A network: the layers that one inference runs, and what was published about them in total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sparseloom.errors import Fault, WorkloadError, suggest
from sparseloom.workload.layer import Layer


@dataclass(frozen=True)
class Published:
    """Totals of one inference as ``source`` prints them, so mostly rounded; None: not printed."""

    source: str
    macs: float | None = None
    parameters: float | None = None


@dataclass(frozen=True)
class Network:
    """Layers in the order in which an inference runs them.

    ``other_parameters`` are those that take part in no layer's multiply-accumulates: words of normalisation and
    embedding tables, by what they are for. Raises WorkloadError for no layers, and for two of one name.
    """

    name: str
    source: str
    layers: tuple[Layer, ...]
    note: str = ""
    published: Published | None = None
    other_parameters: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        faults = faults_of([layer.name for layer in self.layers])
        if faults:
            raise WorkloadError(faults)

    @property
    def computes(self) -> int:
        """Multiply-accumulates of one inference. Biases, normalisation, pooling and activation functions are not counted."""
        return sum(layer.total_computes for layer in self.layers)

    @property
    def weights(self) -> int:
        """Words of all weight tensors."""
        return sum(layer.count * layer.weights for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Words of all that is learnt: weights, biases and ``other_parameters``."""
        biases = sum(layer.count * layer.biases for layer in self.layers)
        return self.weights + biases + sum(self.other_parameters.values())

    def distinct(self) -> dict[tuple[str, ...], Layer]:
        """Layers that are equal but for name and count as one, their counts added, in the order of their first appearance.

        The keys are the names of all layers that one stands for; it has the first of them itself.
        """
        alike: list[tuple[Layer, list[Layer]]] = []
        for layer in self.layers:
            bare = replace(layer, name="", count=1)
            known = next((group for kind, group in alike if kind == bare), None)
            if known is None:
                alike.append((bare, [layer]))
            else:
                known.append(layer)
        return {
            tuple(layer.name for layer in group): replace(group[0], count=sum(layer.count for layer in group))
            for _, group in alike
        }

    def with_densities(
        self, densities: Mapping[str, Mapping[str, float]], default: Mapping[str, float] | None = None
    ) -> Network:
        """The network with ``densities``, by layer and tensor, in place of those it has, and elsewhere as they are.

        ``default``, by tensor, is for tensors that are still without one, in every layer that has a tensor of this name.
        Raises WorkloadError for a layer or tensor that does not exist and a density outside [0, 1].
        """
        names = [layer.name for layer in self.layers]
        tensors = {tensor.name for layer in self.layers for tensor in layer.einsum.tensors}
        faults = [
            Fault(f"{self.name} has no layer {name}", fix=suggest(name, names))
            for name in densities
            if name not in names
        ]
        faults += [
            Fault(f"no layer of {self.name} has a tensor {name}", fix=suggest(name, sorted(tensors)))
            for name in default or {}
            if name not in tensors
        ]
        layers = []
        for layer in self.layers:
            own = {tensor.name for tensor in layer.einsum.tensors}
            usual = {name: density for name, density in (default or {}).items() if name in own}
            try:
                known = {**usual, **layer.densities, **densities.get(layer.name, {})}
                layers.append(replace(layer, densities=known))
            except WorkloadError as error:
                faults.extend(error.faults)
        if faults:
            raise WorkloadError(faults)
        return replace(self, layers=tuple(layers))


def faults_of(names: Sequence[str]) -> list[Fault]:
    """What is wrong with layers of these names: there are none, or one has the name of an earlier one."""
    if not names:
        return [Fault("the network has no layers", path="layers", fix="give at least one")]
    fix = "give each layer a name of its own, or a count to one of layers that are alike"
    return [
        Fault(f"layer {name} is given twice", path=f"layers[{i}].name", fix=fix)
        for i, name in enumerate(names)
        if name in names[:i]
    ]
