"""Masks of the weights and activations of a pointwise layer: which are nonzero.

A mask is a text file of 0 and 1; spaces, commas and line ends are ignored. ``L07_weights.txt`` holds, for every output
channel, a digit for each input channel; ``L07_iacts.txt`` holds, for every position of the image, a digit for each
input channel (the order of the MICRO 2022 artifact's ``actual_data_masks``).
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from sparseloom.errors import Fault, InputError
from sparseloom.fibertree.density import BoolArray
from sparseloom.report.layer import Layer

MAX_BYTES = 2**26
"""A mask file above this is refused: the largest of these layers has 2**18 points."""
PARTS = ("weights", "iacts")


@dataclass(frozen=True)
class Masks:
    """``weights[m, c, 1, 1]`` and ``inputs[1, c, p, q]``: True where nonzero."""

    weights: BoolArray
    inputs: BoolArray

    @property
    def nonzero_products(self) -> int:
        """Sum over input channels of nonzero weights times nonzero inputs."""
        return int(self.weights.sum(axis=(0, 2, 3)) @ self.inputs.sum(axis=(0, 2, 3)))


def shipped(path: Path, layer: Layer) -> Masks:
    """The masks of a packed file: bits of ``weights`` and ``iacts``, in the order of the text files."""
    with np.load(path, allow_pickle=False) as packed:
        return _masks(layer, *(np.unpackbits(packed[part]).astype(np.bool_) for part in PARTS))


def given(folder: Path, layers: Table[str, Layer]) -> dict[str, Masks]:
    """The masks in a user's folder, by layer.

    Raises InputError with every fault: no folder, no file of a known layer, one of two files, a file that cannot be
    read, that holds other bytes, or more or fewer digits than the layer has points.
    """
    if not folder.is_dir():
        raise InputError(Fault("there is no such folder", str(folder), fix="give a folder of mask files"))
    pairs = {name: [folder / f"{name}_{part}.txt" for part in PARTS] for name in layers}
    present = {name: paths for name, paths in pairs.items() if any(path.exists() for path in paths)}
    if not present:
        example = ", ".join(f"L07_{part}.txt" for part in PARTS)
        known = f"layers: {', '.join(layers)}"
        raise InputError(Fault("the folder holds no mask file", str(folder), fix=f"name them {example}; {known}"))
    faults: list[Fault] = []
    found = {name: _read(paths, layers[name], faults) for name, paths in present.items()}
    if faults:
        raise InputError(faults)
    return {name: masks for name, masks in found.items() if masks is not None}


def _read(paths: Sequence[Path], layer: Layer, faults: list[Fault]) -> Masks | None:
    before = len(faults)
    sizes = [prod(layer.workload.tensor_shape(tensor)) for tensor in ("W", "I")]
    digits = [_digits(path, size, faults) for path, size in zip(paths, sizes, strict=True)]
    return None if len(faults) > before else _masks(layer, *digits)


def _digits(path: Path, size: int, faults: list[Fault]) -> BoolArray:
    """The digits of a file, in its order; a fault is added for a file that does not hold ``size`` of them."""
    empty: BoolArray = np.zeros(0, np.bool_)
    try:
        if path.stat().st_size > MAX_BYTES:
            what = f"the file has {path.stat().st_size} bytes, the limit is {MAX_BYTES}"
            faults.append(Fault(what, str(path), fix="write one digit for each point"))
            return empty
        raw = path.read_bytes()
    except OSError as error:
        fix = "give the mask of the weights and that of the activations"
        faults.append(Fault(f"cannot read the file: {error.strerror}", str(path), fix=fix))
        return empty
    digits = np.frombuffer(raw.translate(None, delete=b" ,\t\r\n"), np.uint8)
    strange = digits[(digits != ord("0")) & (digits != ord("1"))]
    if strange.size:
        fix = "write 0 and 1 only; spaces, commas and line ends are ignored"
        faults.append(Fault(f"the mask holds byte 0x{int(strange[0]):02x}", str(path), fix=fix))
    elif digits.size != size:
        fix = "write one digit for each point, the input channel fastest"
        faults.append(Fault(f"the mask has {digits.size} values, the tensor has {size} points", str(path), fix=fix))
    return np.asarray(digits == ord("1"), np.bool_)


def _masks(layer: Layer, weights: BoolArray, inputs: BoolArray) -> Masks:
    shape = layer.workload.shape
    by_position = inputs.reshape(shape["P"], shape["Q"], shape["C"])
    return Masks(weights.reshape(shape["M"], shape["C"], 1, 1), by_position.transpose(2, 0, 1)[np.newaxis])
