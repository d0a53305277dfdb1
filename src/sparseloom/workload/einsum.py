"""An extended einsum as text: which points are multiplied, and where their products are added.

``O[n,m,p,q] = I[n,c,2*p+r,2*q+s] * W[m,c,r,s]`` reads: for every point of the iteration space (all ranks that occur),
multiply the operands' points and add the product to the output's point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from sparseloom.errors import Fault, WorkloadError

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ACCESS = re.compile(rf"\s*({_NAME})\s*\[([^\[\]]*)\]\s*")
_TERM = re.compile(rf"^\s*(?:(\d+)\s*\*\s*)?({_NAME})(?:\s*\*\s*(\d+))?\s*$")


@dataclass(frozen=True)
class Term:
    """``coefficient * rank`` of an affine index; ``rank`` is a rank of the iteration space, in capitals."""

    rank: str
    coefficient: int = 1

    def __str__(self) -> str:
        name = self.rank.lower()
        return name if self.coefficient == 1 else f"{self.coefficient}*{name}"


@dataclass(frozen=True)
class Projection:
    """The index of one tensor rank: a sum of terms. Its name is that of its ranks joined (``P+R`` is ``PR``)."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return "+".join(str(term) for term in self.terms)

    @cached_property
    def name(self) -> str:
        return "".join(term.rank for term in self.terms)

    def extent(self, shape: dict[str, int]) -> int:
        """Coordinates spanned when each rank runs over ``shape[rank]`` coordinates, holes of a stride counted."""
        return sum(term.coefficient * (shape[term.rank] - 1) for term in self.terms) + 1


@dataclass(frozen=True)
class TensorAccess:
    """A tensor and how the iteration space is projected on its ranks, in the tensor's own rank order."""

    name: str
    projections: tuple[Projection, ...]

    def __str__(self) -> str:
        return f"{self.name}[{','.join(str(p) for p in self.projections)}]"

    @cached_property
    def ranks(self) -> tuple[str, ...]:
        """The names of the tensor's own ranks (``("N", "C", "PR", "QS")`` for a convolution's input)."""
        return tuple(p.name for p in self.projections)

    @property
    def iteration_ranks(self) -> tuple[str, ...]:
        """The ranks of the iteration space that the tensor's index mentions, in order of appearance."""
        return tuple(dict.fromkeys(term.rank for p in self.projections for term in p.terms))

    def shape(self, bounds: dict[str, int]) -> tuple[int, ...]:
        """The tensor's shape when the iteration ranks run over ``bounds`` coordinates."""
        return tuple(p.extent(bounds) for p in self.projections)


@dataclass(frozen=True)
class Einsum:
    """One output that accumulates the product of one or more operands."""

    output: TensorAccess
    operands: tuple[TensorAccess, ...]

    def __post_init__(self) -> None:
        faults = _faults(self)
        if faults:
            raise WorkloadError(faults)

    def __str__(self) -> str:
        return f"{self.output} = {' * '.join(str(operand) for operand in self.operands)}"

    @property
    def tensors(self) -> tuple[TensorAccess, ...]:
        """The operands in order, then the output."""
        return (*self.operands, self.output)

    @property
    def ranks(self) -> tuple[str, ...]:
        """The ranks of the iteration space, in order of appearance in output, then operands."""
        found = [r for t in (self.output, *self.operands) for r in t.iteration_ranks]
        return tuple(dict.fromkeys(found))

    @classmethod
    def parse(cls, text: str) -> Einsum:
        """Read the text form.

        >>> str(Einsum.parse("O[n,m,p] = I[n, c, 2*p+r] * W[m,c,r]"))
        'O[n,m,p] = I[n,c,2*p+r] * W[m,c,r]'

        Raises WorkloadError when the text is not an einsum.
        """
        left, equals, right = text.partition("=")
        if not equals:
            raise WorkloadError(Fault(f"'{text}' has no '='", fix="write Z[m,n] = A[m,k] * B[k,n]"))
        return cls(_access(left), tuple(_access(part) for part in _split_product(right)))


def _split_product(text: str) -> list[str]:
    """Split at the ``*`` between tensors, not at those inside brackets."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if char == "*" and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _access(text: str) -> TensorAccess:
    match = _ACCESS.fullmatch(text)
    if not match:
        raise WorkloadError(Fault(f"'{text.strip()}' is not a tensor access", fix="write a name and its index, A[m,k]"))
    name, index = match.groups()
    pieces = [piece for piece in index.split(",") if piece.strip()]
    return TensorAccess(name, tuple(_projection(piece) for piece in pieces))


def _projection(text: str) -> Projection:
    terms = []
    for piece in text.split("+"):
        match = _TERM.match(piece)
        if not match or (match[1] and match[3]):
            fix = "an index is a sum of ranks with whole factors: 2*p+r"
            raise WorkloadError(Fault(f"'{piece.strip()}' is not a term of an index", fix=fix))
        terms.append(Term(match[2].upper(), int(match[1] or match[3] or 1)))
    return Projection(tuple(terms))


def _faults(einsum: Einsum) -> list[Fault]:
    faults = []
    names = [t.name for t in einsum.tensors]
    for name in sorted({n for n in names if names.count(n) > 1}):
        faults.append(
            Fault(f"tensor {name} occurs {names.count(name)} times", fix="give each tensor a name of its own")
        )
    for tensor in einsum.tensors:
        seen: set[str] = set()
        for term in (term for p in tensor.projections for term in p.terms):
            if term.coefficient < 1:
                faults.append(
                    Fault(f"{tensor} has factor {term.coefficient} on rank {term.rank}", fix="factors are 1 or more")
                )
            if term.rank in seen:
                fix = "a rank may occur once in a tensor's index"
                faults.append(Fault(f"{tensor} mentions rank {term.rank} more than once", fix=fix))
            seen.add(term.rank)
    for p in einsum.output.projections:
        if len(p.terms) != 1 or p.terms[0].coefficient != 1:
            fix = "write the einsum in gather form: the output's index is plain ranks, sums stand in the operands"
            faults.append(Fault(f"the output's index {p} is not a plain rank", fix=fix))
    return faults
