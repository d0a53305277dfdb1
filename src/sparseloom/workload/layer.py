"""A layer of a network: an einsum over a shape, how dense its tensors are, and how often one inference runs it.

Three kinds are made here: convolutions (grouped and depthwise ones too), fully connected layers, and products of two
operands that the inference computes itself, as in attention. Every one can be seen as matrix products.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Final, Literal

from sparseloom.errors import Fault, WorkloadError, suggest
from sparseloom.fibertree.density import Density, FixedStructured, Uniform
from sparseloom.fibertree.sparsity import Chain, pattern_of
from sparseloom.workload.einsum import Einsum, TensorAccess
from sparseloom.workload.workload import Workload

PRODUCT: Final = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]")
"""What :meth:`Layer.as_product` brings every layer to."""

POINTWISE: Final = Einsum.parse("O[n,m,p,q] = I[n,c,p+r,q+s] * W[m,c,r,s]")
"""What :meth:`Layer.as_convolution` brings layers to that are none."""

PLANAR: Final = Einsum.parse("O[n,m,x,y] = I[n,c,x,y] * W[m,c,t]")
"""What :meth:`Layer.as_planar` brings every layer to."""

_CONVOLUTIONAL: Final = {tensor.name for tensor in POINTWISE.tensors}

Sides = tuple[int, int]
"""One number along the rows of an image, one along its columns."""

Padding = Sides | Literal["same"]
"""What is added at both ends of the sides, or as much as gives ceil(input / stride) outputs."""


@dataclass(frozen=True)
class Layer:
    """One einsum of a network.

    ``shape`` gives the size of every rank; ``densities`` the nonzeros / points of the tensors for which it is known;
    ``count`` how many instances that are alike one inference runs. ``constant`` names the operand that is known before
    the inference, the weights (empty: both operands are computed by the inference), and ``bias`` says whether every
    filter adds a word of its own to its outputs. Nonzeros of ``structured`` tensors are spread evenly, as
    structured pruning leaves them; those of tensors in ``chains`` follow rules along the rank that is reduced (the first one, of
    several), with the density that these leave.

    Raises WorkloadError with every fault: those of :class:`Workload`, a density of no tensor or outside [0, 1], a count
    below 1, a constant that is no operand, a bias without weights.

    >>> conv = Layer.convolution("conv2", channels=96, filters=256, input=(27, 27), window=(5, 5), padding=(2, 2), groups=2)
    >>> str(conv.einsum)
    'O[n,g,m,p,q] = I[n,g,c,p+r,q+s] * W[g,m,c,r,s]'
    >>> conv.computes, conv.weights
    (223948800, 307200)
    >>> product = conv.as_product()
    >>> dict(product.shape), product.count
    ({'M': 128, 'N': 729, 'K': 1200}, 2)
    """

    name: str
    einsum: Einsum
    shape: Mapping[str, int]
    densities: Mapping[str, float] = field(default_factory=dict)
    count: int = 1
    constant: str = ""
    bias: bool = False
    structured: frozenset[str] = frozenset()
    chains: Mapping[str, Chain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Workload(self.einsum, self.shape, name=self.name)
        faults = _faults(self)
        if faults:
            raise WorkloadError(faults)

    @classmethod
    def convolution(
        cls,
        name: str,
        *,
        channels: int,
        filters: int,
        input: Sides,
        window: Sides,
        stride: Sides = (1, 1),
        padding: Padding = (0, 0),
        groups: int = 1,
        batch: int = 1,
        bias: bool = False,
    ) -> Layer:
        """``O[n,m,p,q] = I[n,c,p+r,q+s] * W[m,c,r,s]``, with the strides as factors of p and q.

        ``channels`` and ``filters`` are those of all groups; more than one group is a rank G of all three tensors, and
        depthwise is one channel a group. ``input`` is the image without padding. ``padding`` is added at both ends of a
        side, or ``"same"``: as much as gives ceil(input / stride) outputs (TensorFlow's rule). I holds what the windows
        reach: (P - 1) * stride + R along the rows, padding included.

        Raises WorkloadError for sizes that make no output, and for groups that do not divide channels and filters.
        """
        faults = _below_one(channels=channels, filters=filters, groups=groups, batch=batch)
        faults += _below_one(input=min(input), window=min(window), stride=min(stride))
        if faults:
            raise WorkloadError(faults)
        p, q = _outputs(input, window, stride, padding)
        faults = [*_undivided(groups, channels=channels, filters=filters), *_placeless(input, window, padding, (p, q))]
        if faults:
            raise WorkloadError(faults)
        group = "g," if groups > 1 else ""
        moving = f"I[n,{group}c,{stride[0]}*p+r,{stride[1]}*q+s]"
        einsum = Einsum.parse(f"O[n,{group}m,p,q] = {moving} * W[{group}m,c,r,s]")
        sizes = {"N": batch, "G": groups, "M": filters // groups, "P": p, "Q": q}
        sizes |= {"C": channels // groups, "R": window[0], "S": window[1]}
        return cls(name, einsum, {rank: sizes[rank] for rank in einsum.ranks}, constant="W", bias=bias)

    @classmethod
    def linear(cls, name: str, *, rows: int, inputs: int, outputs: int, bias: bool = False) -> Layer:
        """Fully connected: ``O[n,m] = I[n,c] * W[m,c]``, where n counts the ``rows`` that see the same weights."""
        einsum = Einsum.parse("O[n,m] = I[n,c] * W[m,c]")
        return cls(name, einsum, {"N": rows, "M": outputs, "C": inputs}, constant="W", bias=bias)

    @classmethod
    def product(cls, name: str, *, batch: int, m: int, k: int, n: int) -> Layer:
        """``Z[b,m,n] = A[b,m,k] * B[b,k,n]``: ``batch`` products of two operands that are both computed."""
        einsum = Einsum.parse("Z[b,m,n] = A[b,m,k] * B[b,k,n]")
        return cls(name, einsum, {"B": batch, "M": m, "N": n, "K": k})

    @property
    def computes(self) -> int:
        """Multiply-accumulates of one instance."""
        return prod(self.shape.values())

    @property
    def total_computes(self) -> int:
        """Multiply-accumulates of all ``count`` instances."""
        return self.count * self.computes

    @property
    def weights(self) -> int:
        """Words of the weights of one instance; 0 if it has none."""
        return prod(self._operand(self.constant).shape(dict(self.shape))) if self.constant else 0

    @property
    def biases(self) -> int:
        """Words that one instance adds to its outputs: one for each filter of each group, if there is a bias."""
        if not self.bias:
            return 0
        filters = self._operand(self.constant).iteration_ranks
        return prod(self.shape[rank] for rank in self.einsum.output.iteration_ranks if rank in filters)

    def workload(self) -> Workload:
        """One instance, to be evaluated: nonzeros lie uniformly at random but for structured tensors; those of unknown density are
        dense."""
        bare = Workload(self.einsum, self.shape, name=self.name)
        densities: dict[str, Density] = {
            name: (FixedStructured if name in self.structured else Uniform)(bare.tensor_shape(name), density)
            for name, density in self.densities.items()
        }
        for name, chain in self.chains.items():
            pattern = pattern_of(chain, self.reduced)
            densities[name] = pattern.density_model(self._operand(name).ranks, bare.tensor_shape(name))
        return replace(bare, densities=densities).tiled

    @property
    def reduced(self) -> str:
        """The first rank that is summed over."""
        output = self.einsum.output.iteration_ranks
        return next(rank for rank in self.einsum.ranks if rank not in output)

    def as_product(self) -> Layer:
        """The same computes as matrix products ``Z[m,n] = A[m,k] * B[k,n]``.

        A is the weights (the first operand if both are computed), B the other operand, Z the output. Ranks of A and Z make
        up M, those of A and B make up K, those of B and Z make up N, and those of all three, groups and batches, multiply
        the count. So a convolution has M = filters of a group, K = channels of a group * R * S and N = N * P * Q: B is its
        input written out, one column for each output, with the density of the input.

        Raises WorkloadError for an einsum that is no product of two operands.
        """
        left, right = self._pair()
        parts = dict.fromkeys("MNK", 1)
        count = self.count
        for rank in self.einsum.ranks:
            match [rank in tensor.iteration_ranks for tensor in (left, right, self.einsum.output)]:
                case [True, True, True]:
                    count *= self.shape[rank]
                case [True, False, True]:
                    parts["M"] *= self.shape[rank]
                case [True, True, False]:
                    parts["K"] *= self.shape[rank]
                case [False, True, True]:
                    parts["N"] *= self.shape[rank]
                case _:
                    raise self._no_product(f"rank {rank} is of one tensor alone")
        roles = {left.name: "A", right.name: "B", self.einsum.output.name: "Z"}
        densities = {roles[name]: density for name, density in self.densities.items()}
        structured = frozenset(roles[name] for name in self.structured)
        chains = {roles[name]: chain for name, chain in self.chains.items()}
        constant = "A" if self.constant else ""
        return Layer(self.name, PRODUCT, parts, densities, count, constant, self.bias, structured, chains)

    def swapped(self) -> Layer:
        """The same matrix product with its operands exchanged, so that it gives the transposed output."""
        product = self.as_product()
        other = {"A": "B", "B": "A", "Z": "Z", "": ""}
        shape = {"M": product.shape["N"], "N": product.shape["M"], "K": product.shape["K"]}
        return replace(
            product,
            shape=shape,
            densities={other[name]: density for name, density in product.densities.items()},
            constant=other[product.constant],
            structured=frozenset(other[name] for name in product.structured),
            chains={other[name]: chain for name, chain in product.chains.items()},
        )

    def as_convolution(self) -> Layer:
        """The same computes as a convolution with windows and outputs of one point, if it is none; where both operands are
        computed, W is the second of them.

        Raises WorkloadError for an einsum that is no product of two operands.
        """
        if {tensor.name for tensor in self.einsum.tensors} == _CONVOLUTIONAL and "P" in self.shape:
            return self
        product = self.as_product()
        swapped = not self.constant
        ranks = {"N": "M" if swapped else "N", "M": "N" if swapped else "M", "C": "K"}
        roles = {"A": "I" if swapped else "W", "B": "W" if swapped else "I", "Z": "O"}
        point = dict.fromkeys(POINTWISE.ranks, 1)
        return replace(
            product,
            einsum=POINTWISE,
            shape=point | {rank: product.shape[own] for rank, own in ranks.items()},
            densities={roles[name]: density for name, density in product.densities.items()},
            constant="" if swapped else "W",
            structured=frozenset(roles[name] for name in product.structured),
            chains={roles[name]: chain for name, chain in product.chains.items()},
        )

    def as_planar(self, elements: Sides, lanes: int = 1, residues: bool = False) -> Layer:
        """The same computes by the places of an image that is cut into parts: ``O[n,m,x,y] = I[n,c,x,y] * W[m,c,t]``.

        X counts the parts, one for each of ``elements`` (columns, rows) at most, Y the places of a part, T the weights of a window,
        whichever place of the output each contributes to. Parts are as large as the largest; what is added to the others is as
        dense as the rest. Y is padded so that ``lanes`` take it in as few passes as they can; these places are empty. With
        ``residues`` a window with strides u, v is split into u v smaller ones, each over channels of its own; weights that
        are added so are zeros. Groups are layers of their own.

        What parts share at their edges is not in it, and inputs are counted once for each place of the output (and residue).

        >>> conv = Layer.convolution("conv3", channels=256, filters=384, input=(13, 13), window=(3, 3), padding=(1, 1))
        >>> dict(conv.as_planar((8, 8), lanes=4).shape)
        {'N': 1, 'M': 384, 'X': 49, 'Y': 4, 'C': 256, 'T': 9}

        Raises WorkloadError for an einsum that is neither a convolution nor a product of two operands.
        """
        conv = self.as_convolution()
        size = {"G": 1, **conv.shape}
        input = next(tensor for tensor in conv.einsum.operands if tensor.name == "I")
        stride = {term.rank: term.coefficient for index in input.projections for term in index.terms}
        parts = [-(-size[rank] // most) for rank, most in zip("QP", elements, strict=True)]
        used = prod(-(-size[rank] // part) for rank, part in zip("QP", parts, strict=True))
        places = prod(parts)
        passes = -(-places // lanes)
        whole = min(-(-places // few) * few for few in range(1, lanes + 1) if -(-places // few) == passes)
        steps = [stride[rank] if residues else 1 for rank in "PQ"]
        window = [-(-size[rank] // step) for rank, step in zip("RS", steps, strict=True)]
        shape = {"N": size["N"], "M": size["M"], "X": used, "Y": whole, "C": size["C"] * prod(steps), "T": prod(window)}
        left = {"I": places / whole, "W": size["R"] * size["S"] / (prod(window) * prod(steps))}
        return replace(
            conv,
            einsum=PLANAR,
            shape={rank: shape[rank] for rank in PLANAR.ranks},
            count=conv.count * size["G"],
            densities={
                name: conv.densities.get(name, 1.0) * left.get(name, 1.0)
                for name in {*conv.densities, *(name for name, share in left.items() if share < 1)}
            },
        )

    def padded(self, multiples: Mapping[str, int]) -> Layer:
        """The layer with its ranks rounded up to ``multiples`` of what hardware works on at once; ranks not named stay.

        ``computes`` of this layer over that of the padded one is the share of work that is no padding. Densities stay as
        they are: what is added is taken to be as dense as the rest.

        Raises WorkloadError for a rank that the layer does not have and a multiple below 1.
        """
        faults = [
            Fault(f"{self.name} has no rank {rank}", path=rank, fix=suggest(rank, self.einsum.ranks))
            for rank in multiples
            if rank not in self.shape
        ]
        faults += _below_one(**multiples)
        if faults:
            raise WorkloadError(faults)
        shape = {rank: -(-size // multiples.get(rank, 1)) * multiples.get(rank, 1) for rank, size in self.shape.items()}
        return replace(self, shape=shape)

    def _operand(self, name: str) -> TensorAccess:
        return next(operand for operand in self.einsum.operands if operand.name == name)

    def _pair(self) -> tuple[TensorAccess, TensorAccess]:
        """The operand that becomes A, and the one that becomes B."""
        if len(self.einsum.operands) != 2:
            raise self._no_product(f"it has {len(self.einsum.operands)} operands")
        first, second = self.einsum.operands
        return (second, first) if self.constant == second.name else (first, second)

    def _no_product(self, why: str) -> WorkloadError:
        return WorkloadError(Fault(f"{self.name} is no matrix product: {why} in {self.einsum}", fix="use it as it is"))


def _outputs(input: Sides, window: Sides, stride: Sides, padding: Padding) -> Sides:
    """Places of the window along both sides, below 1 where it has none."""
    (height, width), (down, right) = input, stride
    if padding == "same":
        return -(-height // down), -(-width // right)
    return (
        (height + 2 * padding[0] - window[0]) // down + 1,
        (width + 2 * padding[1] - window[1]) // right + 1,
    )


def _undivided(groups: int, **sizes: int) -> list[Fault]:
    return [
        Fault(f"{groups} groups do not divide {size} {what}", path="groups", fix=f"give a divisor of the {what}")
        for what, size in sizes.items()
        if size % groups
    ]


def _placeless(input: Sides, window: Sides, padding: Padding, outputs: Sides) -> list[Fault]:
    if padding == "same":
        return []
    if min(padding) < 0:
        return [Fault(f"padding is {_by(padding)}", path="padding", fix="give 0 or more")]
    if min(outputs) >= 1:
        return []
    what = f"a window of {_by(window)} has no place in an input of {_by(input)} with padding {_by(padding)}"
    return [Fault(what, path="window", fix="make the window smaller, or the input or its padding larger")]


def _by(sides: Sides) -> str:
    return f"{sides[0]} x {sides[1]}"


def _below_one(**sizes: int) -> list[Fault]:
    return [Fault(f"{what} is {size}", path=what, fix="give 1 or more") for what, size in sizes.items() if size < 1]


def _faults(layer: Layer) -> list[Fault]:
    faults = _below_one(count=layer.count)
    operands = [tensor.name for tensor in layer.einsum.operands]
    tensors = [*operands, layer.einsum.output.name]
    for name, density in layer.densities.items():
        path = f"densities.{name}"
        if name not in tensors:
            what = f"{layer.name} has no tensor {name}, it has {', '.join(tensors)}"
            faults.append(Fault(what, path=path, fix=suggest(name, tensors)))
        elif not 0 <= density <= 1:
            faults.append(Fault(f"density {density} is not between 0 and 1", path=path, fix="give nonzeros / points"))
    for name in layer.chains:
        if name not in operands:
            what = f"{layer.name} has no operand {name}, it has {', '.join(operands)}"
            faults.append(Fault(what, path=f"patterns.{name}", fix=suggest(name, operands)))
    if layer.constant and layer.constant not in operands:
        what = f"the constant {layer.constant} is no operand of {layer.einsum}"
        faults.append(Fault(what, path="constant", fix=suggest(layer.constant, operands)))
    if layer.bias and not layer.constant:
        faults.append(Fault(f"{layer.name} has a bias but no weights", path="bias", fix="leave the bias out"))
    return faults
