"""A mapping as people write it: the ``mapping:`` of a YAML file. Imports pydantic: load it on demand only.

A loop is a rank and its bound, ``M 8``; a spatial one names its axis too, ``Q 14 X``. Loops stand outermost first.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from sparseloom.arch.design import Design
from sparseloom.document import Node
from sparseloom.document_model import LARGEST, FileModel, Name, Source, file_schema, gather, section, validate
from sparseloom.errors import Fault, InputError, suggest
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.workload.workload import Workload

KEY = "mapping"

Loops = Annotated[tuple[Name, ...], Field(description="outermost first")]
Tensors = tuple[Name, ...]

_LOOP: Final = re.compile(r"^\s*([A-Za-z_]\w*)\s+(\d{1,20})(?:\s+([XYxy]))?\s*$")


class LevelMappingModel(FileModel):
    """The loops of one storage level, and the tensors whose tile it keeps."""

    level: Name
    keep: Tensors = Field(default=(), description="tensors whose tile the level holds; the others bypass it")
    stream: Tensors = Field(default=(), description="bypassed tensors that are still written and read here")
    temporal: Loops = Field(default=(), description="as [M 8, C 12], outermost first")
    spatial: Loops = Field(default=(), description="as [Q 14 X, S 5 Y], inside the temporal loops")


class MappingModel(FileModel):
    """Every storage level once, outermost first."""

    levels: tuple[LevelMappingModel, ...] = Field(min_length=1)


def read(source: Source) -> Mapping:
    """The mapping of a file.

    Raises InputError with every fault of the file, each with file:line, key path and fix.
    """
    return build(section(source, KEY))


def schema() -> dict[str, Any]:
    """The JSON Schema of a mapping file, for editors."""
    whole = file_schema(KEY, MappingModel, "Sparseloom mapping")
    whole["properties"][KEY] = whole["properties"][KEY]["properties"]["levels"]
    return whole


def build(node: Node) -> Mapping:
    """As :func:`read`, from the node under ``mapping:``."""
    if not isinstance(node.value, list):
        fix = "write one `- level: NAME` for each storage level, outermost first"
        raise InputError(node.fault("the mapping is not a list of levels", fix))
    model = _validate(node)
    faults: list[Fault] = []
    levels = []
    for i, level in enumerate(model.levels):
        at = node.at((i,))
        temporal = _loops(at.at(("temporal",)), level.temporal, False, faults)
        spatial = _loops(at.at(("spatial",)), level.spatial, True, faults)
        faults += _keep_faults(at, level)
        levels.append(LevelMapping(level.level, temporal, spatial, frozenset(level.keep), frozenset(level.stream)))
    if faults:
        raise InputError(faults)
    return Mapping(tuple(levels))


def _validate(node: Node) -> MappingModel:
    """Each level by itself, so that key paths are those of the file: ``mapping[0].keep``."""
    faults: list[Fault] = []
    levels: list[BaseModel] = []
    for item in node.value:
        with gather(faults, item):
            levels.append(validate(LevelMappingModel, item))
    if not node.value:
        faults.append(node.fault("the mapping has no levels", "write one `- level: NAME` for each storage level"))
    if faults:
        raise InputError(faults)
    return MappingModel.model_construct(levels=tuple(levels))


def _loops(node: Node, texts: tuple[str, ...], spatial: bool, faults: list[Fault]) -> tuple[Loop, ...]:
    loops = []
    for i, text in enumerate(texts):
        with gather(faults, node.at((i,))):
            loops.append(parse_loop(text, spatial))
    return tuple(loops)


def parse_loop(text: str, spatial: bool) -> Loop:
    """``M 8`` as a temporal loop, ``Q 14 X`` as a spatial one.

    >>> print(parse_loop("Q 14 X", spatial=True))
    parallel-for q in [0, 14) (X)

    Raises InputError when the text is not such a loop.
    """
    match = _LOOP.match(text)
    if match is None or bool(match[3]) != spatial:
        kind, example = ("spatial", "Q 14 X, with the axis X or Y") if spatial else ("temporal", "M 8")
        raise InputError(Fault(f"'{text}' is not a {kind} loop", fix=f"write a rank and its bound, {example}"))
    bound = int(match[2])
    if not 1 <= bound <= LARGEST:
        raise InputError(Fault(f"'{text}' has bound {bound}", fix="a bound is between 1 and 2^53"))
    return Loop(match[1].upper(), bound, (match[3] or "").upper())


def text(mapping: Mapping) -> str:
    """The ``mapping:`` of a file that :func:`build` reads as ``mapping``."""
    lines = ["mapping:"]
    for level in mapping.levels:
        parts = [f"level: {level.level}"]
        for key, names in (("keep", level.keep), ("stream", level.stream)):
            if names:
                parts.append(f"{key}: [{', '.join(sorted(names))}]")
        for key, loops in (("temporal", level.temporal), ("spatial", level.spatial)):
            if loops:
                parts.append(f"{key}: [{', '.join(f'{x.rank} {x.bound} {x.axis}'.strip() for x in loops)}]")
        lines.append(f"  - {{{', '.join(parts)}}}")
    return "\n".join(lines) + "\n"


def _keep_faults(node: Node, level: LevelMappingModel) -> list[Fault]:
    faults = []
    for key, names in (("keep", level.keep), ("stream", level.stream)):
        for name in sorted({name for name in names if names.count(name) > 1}):
            what = f"{level.level} names {name} {names.count(name)} times in {key}"
            faults.append(node.at((key,)).fault(what, "name it once"))
    return faults


def name_faults(design: Design, workload: Workload) -> list[Fault]:
    """What keeps ``workload`` off ``design``: tensors that the design names and the einsum lacks, formats that name
    ranks a tensor lacks."""
    from sparseloom.fibertree.fiber import bind

    tensors = {tensor.name: tensor for tensor in workload.einsum.tensors}
    faults: list[Fault] = []
    for name in sorted(named_tensors(design) - set(tensors)):
        what = f"the design names tensor {name}, the workload has {', '.join(tensors)}"
        fix = suggest(name, tensors) or f"the design's tensors are {', '.join(sorted(named_tensors(design)))}"
        faults.append(Fault(what, path=name, fix=fix))
    for level, formats in design.features.formats.items():
        for name in sorted(set(formats) & set(tensors)):
            try:
                bind(formats[name], tensors[name].ranks)
            except InputError as error:
                faults += [
                    Fault(f"{level}, {name}: {fault.what}", path=f"{level}.{name}", fix=fault.fix)
                    for fault in error.faults
                ]
    return faults


def named_tensors(design: Design) -> frozenset[str]:
    """Every tensor that a format, a feature or a level of its own names."""
    names = {name for formats in design.features.formats.values() for name in formats}
    for saf in design.features.safs:
        for target, leaders in saf.ways:
            names |= {target, *leaders}
    for level in design.architecture.levels:
        names |= level.holds or frozenset()
    return frozenset(names)
