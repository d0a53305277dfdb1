"""A workload as people write it: the ``workload:`` of a YAML file. Imports pydantic: load it on demand only."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from sparseloom.document import Node
from sparseloom.document_model import (
    Bits,
    Count,
    FileModel,
    Fraction,
    Name,
    Size,
    Source,
    file_schema,
    gather,
    section,
    validate,
)
from sparseloom.errors import Fault, InputError, suggest
from sparseloom.workload.einsum import Einsum, TensorAccess
from sparseloom.workload.workload import Workload

if TYPE_CHECKING:
    from sparseloom.fibertree.density import BoolArray, Density

KEY = "workload"

MAX_MASK_BYTES: Final = 2**30
"""A mask file above this is refused."""


class TensorModel(FileModel):
    """The sparsity of a tensor, in one of four ways: density, pattern, band or data; a tensor left out is dense."""

    density: Fraction | None = Field(default=None, description="nonzeros / points")
    model: Literal["uniform", "fixed-structured"] | None = Field(
        default=None, description="how a plain density is spread: uniform (hypergeometric) unless stated"
    )
    pattern: Name | None = Field(default=None, description="a sparsity pattern, as 'C1(3:4)->C0(2:4)'")
    band_half_width: Size | None = Field(default=None, description="nonzeros at most this far from the diagonal")
    data: Name | None = Field(default=None, description="a mask file, .txt of 0 and 1 or .npy, beside this file")
    word_bits: Bits | None = Field(default=None, description="where it differs from that of the level")


class WorkloadModel(FileModel):
    """One layer: an einsum, the coordinates of its ranks, and the sparsity of its tensors."""

    name: str = ""
    einsum: Name = Field(description="as 'Z[m,n] = A[m,k] * B[k,n]'")
    shape: dict[Name, Count] = Field(description="coordinates of every rank")
    tensors: dict[Name, TensorModel] = Field(default_factory=dict)


def read(source: Source) -> Workload:
    """The workload of a file; mask files are looked up beside it.

    Raises InputError with every fault of the file, each with file:line, key path and fix.
    """
    return build(section(source, KEY))


def schema() -> dict[str, Any]:
    """The JSON Schema of a workload file, for editors."""
    return file_schema(KEY, WorkloadModel, "Sparseloom workload")


def build(node: Node) -> Workload:
    """As :func:`read`, from the node under ``workload:``."""
    model = validate(WorkloadModel, node)
    faults: list[Fault] = []
    shape = _shape(node, model.shape, faults)
    with gather(faults, node.at(("einsum",))):
        einsum = Einsum.parse(model.einsum)
    if faults:
        raise InputError(faults)
    with gather(faults, node):
        bare = Workload(einsum, shape, name=model.name)
    if faults:
        raise InputError(faults)
    densities = _densities(node, model, bare, faults)
    if faults:
        raise InputError(faults)
    word_bits = {name: tensor.word_bits for name, tensor in model.tensors.items() if tensor.word_bits is not None}
    return Workload(einsum, shape, densities, word_bits, model.name)


def plain(workload: Workload) -> dict[str, Any]:
    """What to write under ``workload:`` so that :func:`build` reads it as ``workload``.

    Raises InputError for a tensor whose sparsity has no short form.
    """
    faults: list[Fault] = []
    tensors: dict[str, dict[str, Any]] = {}
    for name, density in workload.densities.items():
        with gather(faults, Node({}, "", 0, name)):
            tensors[name] = _said(name, density)
    for name, bits in workload.word_bits.items():
        tensors.setdefault(name, {})["word_bits"] = bits
    if faults:
        raise InputError(faults)
    found = {"name": workload.name, "einsum": str(workload.einsum), "shape": dict(workload.shape), "tensors": tensors}
    return {key: value for key, value in found.items() if value}


def _said(name: str, density: Density) -> dict[str, Any]:
    from sparseloom.fibertree.density import Dense, FixedStructured, Uniform
    from sparseloom.fibertree.diagonal import Banded

    if isinstance(density, Dense):
        return {}
    if isinstance(density, Uniform):
        return {"density": density.density}
    if isinstance(density, FixedStructured):
        return {"density": density.density, "model": "fixed-structured"}
    if isinstance(density, Banded):
        return {"band_half_width": density.half_width}
    what = f"the sparsity of {name}, {type(density).__name__}, cannot be written here"
    raise InputError(Fault(what, fix="keep the file that states it, and write the mapping alone"))


def _shape(node: Node, shape: Mapping[str, int], faults: list[Fault]) -> dict[str, int]:
    """Ranks in capitals, as the einsum has them."""
    found: dict[str, int] = {}
    for name, size in shape.items():
        if name.upper() in found:
            faults.append(node.at(("shape", name)).fault(f"rank {name.upper()} is given twice", "keep one of them"))
        found[name.upper()] = size
    return found


def _densities(node: Node, model: WorkloadModel, bare: Workload, faults: list[Fault]) -> dict[str, Density]:
    names = [tensor.name for tensor in bare.einsum.tensors]
    found: dict[str, Density] = {}
    for name, tensor in model.tensors.items():
        at = node.at(("tensors", name))
        if name not in names:
            faults.append(at.fault(f"the einsum has no tensor {name}, it has {', '.join(names)}", suggest(name, names)))
            continue
        with gather(faults, at):
            density = _density(at, tensor, bare.tensor(name), bare.tensor_shape(name))
            if density is not None:
                found[name] = density
    return found


def _density(node: Node, model: TensorModel, access: TensorAccess, shape: tuple[int, ...]) -> Density | None:
    given = [key for key in ("pattern", "band_half_width", "data") if getattr(model, key) is not None]
    alone = not given and model.density is not None
    surplus = [
        *given[1:],
        *(["density"] if model.density is not None and given and given[0] != "pattern" else []),
        *(["model"] if model.model is not None and not alone else []),
    ]
    if surplus:
        first = given[0] if given else "model"
        what = f"{' and '.join(dict.fromkeys([first, *surplus]))} cannot stand together"
        fix = "state the sparsity once: density (with model), pattern (with density), band_half_width or data"
        raise InputError(node.at((surplus[0],)).fault(what, fix))
    if model.pattern is not None:
        return _pattern(node, model, access, shape)
    if model.band_half_width is not None:
        return _band(node.at(("band_half_width",)), model.band_half_width, shape)
    if model.data is not None:
        return _data(node.at(("data",)), model.data, shape)
    if model.density is not None:
        return _plain(model.density, model.model, shape)
    return None


def _plain(density: float, model: str | None, shape: tuple[int, ...]) -> Density:
    from sparseloom.fibertree.density import FixedStructured, Uniform

    return FixedStructured(shape, density) if model == "fixed-structured" else Uniform(shape, density)


def _pattern(node: Node, model: TensorModel, access: TensorAccess, shape: tuple[int, ...]) -> Density | None:
    from sparseloom.fibertree.pattern import Pattern

    faults: list[Fault] = []
    with gather(faults, node.at(("pattern",))):
        pattern = Pattern.parse(str(model.pattern))
        return pattern.density_model(access.ranks, shape, model.density)
    raise InputError(faults)


def _band(node: Node, half_width: int, shape: tuple[int, ...]) -> Density:
    from sparseloom.fibertree.diagonal import Banded

    faults: list[Fault] = []
    with gather(faults, node):
        return Banded(shape, half_width)
    raise InputError(faults)


def _data(node: Node, text: str, shape: tuple[int, ...]) -> Density:
    from sparseloom.fibertree.density import ActualData

    path = Path(node.file).parent / text
    try:
        size = path.stat().st_size
        if size > MAX_MASK_BYTES:
            what = f"{path} has {size} bytes, the limit is {MAX_MASK_BYTES}"
            raise InputError(node.fault(what, "use a smaller mask"))
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(node.fault(f"cannot read {path}: {error.strerror}", "check the path")) from None
    except ValueError as error:
        raise InputError(node.fault(f"cannot read '{text}': {error}", "check the path")) from None
    mask = _npy_mask(node, raw, shape) if path.suffix == ".npy" else _text_mask(node, raw, shape)
    return ActualData(mask)


def _npy_mask(node: Node, raw: bytes, shape: tuple[int, ...]) -> BoolArray:
    import io

    import numpy as np

    try:
        array = np.load(io.BytesIO(raw), allow_pickle=False)
        mask = np.asarray(array != 0, dtype=np.bool_)
    except (ValueError, OSError, EOFError, TypeError, AttributeError) as error:
        what = f"not an array of numbers: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise InputError(node.fault(what, "save it with numpy.save, without objects")) from None
    if mask.shape != shape:
        what = f"the mask has shape {mask.shape}, the tensor has {shape}"
        raise InputError(node.fault(what, "give the mask the tensor's ranks in the einsum's order"))
    return mask


def _text_mask(node: Node, raw: bytes, shape: tuple[int, ...]) -> BoolArray:
    import numpy as np

    digits = np.frombuffer(raw.translate(None, delete=b" ,\t\r\n"), dtype=np.uint8)
    strange = digits[(digits != ord("0")) & (digits != ord("1"))]
    if strange.size:
        what = f"the mask holds byte 0x{int(strange[0]):02x}"
        raise InputError(node.fault(what, "write 0 and 1 only; spaces, commas and line ends are ignored"))
    if digits.size != prod(shape):
        what = f"the mask has {digits.size} values, the tensor has {prod(shape)} points {shape}"
        raise InputError(node.fault(what, "write one digit for each point, the last rank fastest"))
    return np.asarray(digits == ord("1"), dtype=np.bool_).reshape(shape)
