"""Representation formats: how the places of nonzeros are written down, rank by rank.

A tensor inside a box is seen as a fibertree along the ranks of its format, outermost first. Every rank has a kind
(thesis section 3.2.1, Fig. 3-2; names as in Timeloop). For a fiber of ``L`` coordinates, of which ``n`` are nonempty:

========  ==================  ==============  ============================================================
kind      metadata units      payload units   what is stored
========  ==================  ==============  ============================================================
``U``     0                   0               nothing; all coordinates have their place
``UB``    L                   0               one bit for each coordinate; all coordinates keep their place
``B``     L                   n               one bit for each coordinate; nonempty ones are kept
``CP``    n                   n               the coordinate of each nonempty one
``RLE``   n + placeholders    the same        the run of zeros before each nonempty one
``UOP``   0                   L + 1           offsets: where each coordinate starts, and the end
========  ==================  ==============  ============================================================

The payload of the lowest rank is the data itself, so it counts no payload units; a lowest ``UOP`` keeps its offsets.
The root fiber always exists. Below ``U`` and ``UB`` a fiber exists for every coordinate, below the others for nonempty
coordinates only. A run length of ``r`` bits counts up to ``2**r - 1`` zeros; a longer run takes placeholders, each
for ``2**r`` zeros, stored like a nonempty coordinate with a zero payload. Zeros after the last nonempty coordinate of
a fiber cost nothing.

Notation: ``UOP(M)-CP(K)``; flattened ranks ``CP(M,K)``; parts of a split rank ``B(C1)-RLE(C0=8)`` (``C0`` has 8
coordinates, ``C1`` the rest); widths in bits ``RLE(K):4`` (metadata), ``UOP(M):/16`` (payload), ``CP(K):4/8`` (both).
Without rank names, ``UOP-CP`` and ``CP2`` take the ranks of the tensor in order.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from sparseloom.errors import Fault, InputError, suggest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sparseloom.fibertree.box import Corner
    from sparseloom.fibertree.density import Density
    from sparseloom.fibertree.encoding import Encoding

KINDS: Final = ("U", "UB", "B", "CP", "RLE", "UOP")
COMPRESSING: Final = frozenset({"B", "CP", "RLE"})
"""Kinds that store nonzero values only."""
PRUNING: Final = frozenset({"B", "CP", "RLE", "UOP"})
"""Kinds below which a fiber exists for nonempty coordinates only."""

_RANK_NAME: Final = re.compile(r"^([A-Za-z_]\w*?)(?:=(\d+))?$")
_RANK: Final = re.compile(
    r"^(?P<kind>[A-Za-z]+)(?:\^?(?P<power>\d+)|\((?P<ranks>[^()]*)\))?(?::(?P<bits>\d*(?:/\d+)?))?$"
)


@dataclass(frozen=True)
class RankFormat:
    """One rank of a format.

    ``ranks`` names what the rank spans, outermost first: a tensor rank, several that are flattened into one, or parts
    of split ranks (``K1``, ``K0=4``). An empty tuple is a rank of one coordinate. ``metadata_bits`` and
    ``payload_bits`` are the widths of one unit; None takes what the box needs, see :meth:`Format.widths`.
    """

    kind: str
    ranks: tuple[str, ...]
    metadata_bits: int | None = None
    payload_bits: int | None = None

    def __post_init__(self) -> None:
        faults = []
        if self.kind not in KINDS:
            faults.append(Fault(f"unknown format kind '{self.kind}'", path=str(self), fix=suggest(self.kind, KINDS)))
        for name in self.ranks:
            match = _RANK_NAME.match(name)
            if match is None or match[2] == "0":
                fix = "write a rank (K), or a part of a split rank with its coordinates (K0=4)"
                faults.append(Fault(f"'{name}' is not a rank of a format", path=str(self), fix=fix))
        for unit, bits in (("metadata", self.metadata_bits), ("payload", self.payload_bits)):
            if bits is not None and bits < (1 if (self.kind, unit) == ("RLE", "metadata") else 0):
                faults.append(Fault(f"{unit} units of {bits} bits", path=str(self), fix="give a positive width"))
        if faults:
            raise InputError(faults)

    def __str__(self) -> str:
        widths = "" if self.metadata_bits is None else str(self.metadata_bits)
        widths += "" if self.payload_bits is None else f"/{self.payload_bits}"
        return f"{self.kind}({','.join(self.ranks)})" + (f":{widths}" if widths else "")

    @property
    def thesis(self) -> str:
        """The thesis' notation: the kind, with the number of flattened ranks as exponent (``CP^2``)."""
        return self.kind if len(self.ranks) < 2 else f"{self.kind}^{len(self.ranks)}"


@dataclass(frozen=True)
class Format:
    """A representation format: its ranks, outermost first.

    Tensor ranks (and outermost parts of split ones) that the format does not name are flattened into its topmost rank,
    before that rank's own.

    >>> str(Format.parse("UOP(M)-CP(K):4")), Format.named("COO", ("M", "K")).thesis
    ('UOP(M)-CP(K):4', 'CP^2')
    """

    ranks: tuple[RankFormat, ...]

    def __post_init__(self) -> None:
        if not self.ranks:
            raise InputError(Fault("a format without ranks", fix="name at least one, such as U(K)"))
        names = [name.partition("=")[0] for rank in self.ranks for name in rank.ranks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            fix = "name each rank once; split a rank into parts such as K1 and K0=4"
            raise InputError([Fault(f"rank {name} is named twice", path=str(self), fix=fix) for name in twice])

    def __str__(self) -> str:
        return "-".join(str(rank) for rank in self.ranks)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.ranks)

    @property
    def thesis(self) -> str:
        """The hierarchical description of thesis Table 3.1 (``UOP-CP``, ``CP^2``)."""
        return "-".join(rank.thesis for rank in self.ranks)

    @cached_property
    def compressed(self) -> bool:
        """True if some rank is B, CP or RLE: only nonzero values are stored."""
        return any(rank.kind in COMPRESSING for rank in self.ranks)

    @staticmethod
    def parse(text: str, ranks: tuple[str, ...] = ()) -> Format:
        """Read the notation; ``ranks`` (the tensor's) serve kinds without rank names and formats by name.

        Raises InputError for a rank that cannot be read, and for more or fewer unnamed ranks than the tensor has.
        """
        if text.strip() in NAMED:
            return Format.named(text.strip(), ranks)
        pieces = [_RANK.match(piece.replace(" ", "")) for piece in text.split("-")]
        faults = [
            Fault(f"'{piece.strip()}' is not a rank of a format", path=text, fix="write for example UOP(M)-CP(K):4")
            for piece, match in zip(text.split("-"), pieces, strict=True)
            if match is None
        ]
        matches = [match for match in pieces if match is not None]
        unnamed = [int(match["power"] or 1) for match in matches if match["ranks"] is None]
        if not faults and unnamed and (len(unnamed) < len(matches) or sum(unnamed) != len(ranks)):
            tensor = f"the tensor has {len(ranks)} ({', '.join(ranks)})"
            what = f"'{text}' leaves {sum(unnamed)} ranks without a name, {tensor}"
            faults.append(Fault(what, path=text, fix="name the ranks of every part: UOP(M)-CP(K)"))
        if faults:
            raise InputError(faults)
        left = iter(ranks)
        return Format(tuple(_read_rank(match, left) for match in matches))

    @staticmethod
    def named(name: str, ranks: tuple[str, ...]) -> Format:
        """A classic format for a tensor of these ranks, outermost first: thesis Table 3.1, and CSC, bitmask and RLE.

        CSR, CSC want two ranks (CSC stores the last one outermost), CSB three (block, row, column of nonzeros), COO
        and bitmask and RLE flatten all of them, CSF is CP for each. Raises InputError otherwise.
        """
        if name not in NAMED:
            raise InputError(Fault(f"unknown format '{name}'", fix=suggest(name, NAMED)))
        wanted, build = NAMED[name]
        if not ranks or (wanted is not None and len(ranks) != wanted):
            what = f"{name} wants {wanted or 'some'} ranks, the tensor has {len(ranks)} ({', '.join(ranks)})"
            raise InputError(Fault(what, path=name, fix="write the format rank by rank: UOP(M)-CP(K)"))
        return Format(build(ranks))

    def encode(
        self, mask: NDArray[np.bool_], ranks: tuple[str, ...], origin: tuple[int, ...] | None = None
    ) -> Encoding:
        """Encode the nonzeros of a box, see :func:`sparseloom.fibertree.encoding.encode`."""
        from sparseloom.fibertree.encoding import encode

        return encode(self, mask, ranks, origin)

    @staticmethod
    def decode(encoding: Encoding) -> NDArray[np.bool_]:
        """The mask that was encoded, see :func:`sparseloom.fibertree.encoding.decode`."""
        from sparseloom.fibertree.encoding import decode

        return decode(encoding)

    def widths(self, ranks: tuple[str, ...], low: Corner, high: Corner) -> NDArray[np.int64]:
        """Bits of one metadata and one payload unit of each rank, see :func:`sparseloom.fibertree.fiber.widths`."""
        from sparseloom.fibertree.fiber import widths

        return widths(self, ranks, low, high)

    def expected_units(
        self, density: Density, ranks: tuple[str, ...], low: Corner, high: Corner
    ) -> NDArray[np.float64]:
        """Expected units of each rank, see :func:`sparseloom.fibertree.prediction.expected_units`."""
        from sparseloom.fibertree.prediction import expected_units

        return expected_units(self, density, ranks, low, high)

    def worst_units(self, density: Density, ranks: tuple[str, ...], low: Corner, high: Corner) -> NDArray[np.int64]:
        """Units of each rank that are never exceeded, see :func:`sparseloom.fibertree.prediction.worst_units`."""
        from sparseloom.fibertree.prediction import worst_units

        return worst_units(self, density, ranks, low, high)


def _read_rank(match: re.Match[str], left: Iterator[str]) -> RankFormat:
    if match["ranks"] is None:
        names = tuple(itertools.islice(left, int(match["power"] or 1)))
    else:
        names = tuple(name for name in match["ranks"].split(",") if name)
    metadata, _, payload = (match["bits"] or "").partition("/")
    return RankFormat(match["kind"], names, int(metadata) if metadata else None, int(payload) if payload else None)


def _each(*kinds: str) -> Callable[[tuple[str, ...]], tuple[RankFormat, ...]]:
    return lambda ranks: tuple(RankFormat(kind, (rank,)) for kind, rank in zip(kinds, ranks, strict=True))


def _flat(kind: str) -> Callable[[tuple[str, ...]], tuple[RankFormat, ...]]:
    return lambda ranks: (RankFormat(kind, ranks),)


NAMED: Final[Mapping[str, tuple[int | None, Callable[[tuple[str, ...]], tuple[RankFormat, ...]]]]] = {
    "CSR": (2, _each("UOP", "CP")),
    "CSC": (2, lambda ranks: _each("UOP", "CP")(ranks[::-1])),
    "CSB": (3, _each("UOP", "CP", "CP")),
    "CSF": (None, lambda ranks: _each(*["CP"] * len(ranks))(ranks)),
    "COO": (None, _flat("CP")),
    "bitmask": (None, _flat("B")),
    "RLE": (None, _flat("RLE")),
}
"""Classic formats: how many ranks each wants (None: any number), and how it is built. Source: thesis Table 3.1."""
