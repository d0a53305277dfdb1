"""Timeloop's density models of a data-space, and the text files of actual masks."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from sparseloom.document import Node
from sparseloom.errors import Fault, InputError, suggest
from sparseloom.fibertree.density import ActualData, BoolArray, Density, FixedStructured, Uniform
from sparseloom.fibertree.diagonal import Banded
from sparseloom.timeloop.reader import Reader

DISTRIBUTIONS: Final = ("hypergeometric", "fixed-structured", "banded", "real-data")
MAX_BYTES: Final = 2**28
"""Mask files above this are refused."""

_BLANKS: Final = b" \t\r\n"


def read_density(node: Node, tensor: str, shape: tuple[int, ...], reader: Reader) -> Density | None:
    """The density of ``tensor``; a plain number is a fixed-structured one. None if it has a fault.

    Source: Timeloop, src/workload/workload.cpp and density-models/.
    """
    if not isinstance(node.value, dict):
        value = reader.number(node)
        return None if value is None else _build("fixed-structured", node, {"density": node}, shape, reader)
    fields = reader.fields(node, "density")
    if not reader.require(node, fields, "distribution"):
        return None
    kind = (reader.text(fields["distribution"]) or "").replace("_", "-")
    if kind not in DISTRIBUTIONS:
        fix = "write hypergeometric" if kind == "uniform" else suggest(kind, DISTRIBUTIONS)
        reader.fault(fields["distribution"], f"unknown distribution '{kind}' of {tensor}", fix)
        return None
    return _build(kind, node, fields, shape, reader)


def _build(kind: str, node: Node, fields: dict[str, Node], shape: tuple[int, ...], reader: Reader) -> Density | None:
    key = {"real-data": "data_file_path", "banded": "band_width"}.get(kind, "density")
    if not reader.require(node, fields, key):
        return None
    at = fields[key]
    if kind == "real-data":
        name = reader.text(at)
        path = Path(node.file).parent / (name or "")
        return None if name is None else reader.attempt(at, lambda: ActualData(read_mask(path, shape)))
    if kind == "banded":
        width = reader.integer(at)
        return None if width is None else reader.attempt(at, lambda: Banded(shape, width))
    density = reader.number(at)
    model = Uniform if kind == "hypergeometric" else FixedStructured
    return None if density is None else reader.attempt(at, lambda: model(shape, float(density)))


def read_mask(path: Path, shape: tuple[int, ...]) -> BoolArray:
    """The mask of a tensor of ``shape`` (in the order of its projection) from a text of ``0`` and ``1``.

    The tensor's **first** rank varies fastest in the file, then its second, and so on: the file is the tensor flattened
    from its last rank to its first. So a tensor projected as ``C, M, G, R, S`` is flattened ``[S][R][G][M][C]``, and
    one projected as ``N, C, G, R+E, S+F`` as ``[position][C]`` for one image. Blanks and line ends between the digits
    are skipped.

    The files' only reader is not public; this is the one plain rule that puts the channels of both masks shipped with
    the Sparseloop artifact (MICRO 2022) where they give the artifact's own number of nonzero products (1,702,140 for
    layer L07). They do not tell the order of the two spatial ranks, nor that of ranks of one coordinate.

    Raises InputError for a file that cannot be read, holds something else, or has another number of points.
    """
    try:
        size = path.stat().st_size
        raw = path.read_bytes() if size <= MAX_BYTES else b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        fix = "data_file_path is relative to the file that names it"
        raise InputError(Fault(f"cannot read the mask {path}: {reason}", fix=fix)) from None
    if size > MAX_BYTES:
        raise InputError(
            Fault(f"the mask {path} has {size} bytes, the limit is {MAX_BYTES}", fix="use a smaller layer")
        )
    digits = np.frombuffer(raw.translate(None, _BLANKS), dtype=np.uint8)
    wrong = np.flatnonzero((digits != ord("0")) & (digits != ord("1")))
    if wrong.size:
        what = f"the mask {path} holds {chr(digits[wrong[0]])!r} as its point {wrong[0]}"
        raise InputError(Fault(what, fix="write 0 and 1 only"))
    if digits.size != prod(shape):
        extents = " x ".join(map(str, shape))
        what = f"the mask {path} has {digits.size} points, the tensor has {extents} = {prod(shape)}"
        raise InputError(Fault(what, fix="write one digit for each point, the first rank fastest"))
    mask: BoolArray = (digits == ord("1")).reshape(shape, order="F")
    return mask
