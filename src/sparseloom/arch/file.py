"""A design as people write it: the ``design:`` of a YAML file. Imports pydantic: load it on demand only.

Sparse features are written in the thesis' notation (section 3.2): ``W <- I`` (the follower W is not accessed where the
leader I is empty), ``O <- I & W`` (where either leader is empty), ``A <-> B`` (each leads the other), and ``A <- B |
B <- A`` (one unit, used the way that saves most). Formats are those of :mod:`sparseloom.fibertree.format`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import Field

from sparseloom.arch.actions import EnergyTable
from sparseloom.arch.banks import Banks
from sparseloom.arch.choice import choosable, left_open
from sparseloom.arch.component import Component, Unit, component, kind_of
from sparseloom.arch.design import Design, Planar, Support
from sparseloom.arch.features import GATING, POSITION_SKIPPING, SKIPPING, SPATIAL_SKIPPING, Features, Saf
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, Network, StorageLevel
from sparseloom.document import Node
from sparseloom.document_model import (
    Bits,
    Count,
    Energy,
    FileModel,
    Name,
    Rate,
    Size,
    Source,
    Switch,
    file_schema,
    gather,
    section,
    validate,
)
from sparseloom.errors import Fault, InputError
from sparseloom.fibertree.format import Format
from sparseloom.fibertree.pattern import Pattern

KEY = "design"

Mesh = Annotated[tuple[Count, Count], Field(description="instances along X and Y, of the whole design")]
EnergyPj = Annotated[dict[str, Energy], Field(description="pJ of one access, by action")]
Parts = Annotated[
    dict[Name, dict[Name, int | float | str]],
    Field(
        description="what an instance is made of: a kind of component with its parameters", min_length=1, max_length=1
    ),
]
SafTexts = Annotated[tuple[Name, ...], Field(description="sparse features, as 'W <- I'")]

KINDS: Final = {
    "gating": GATING,
    "skipping": SKIPPING,
    "spatial_skipping": SPATIAL_SKIPPING,
    "position_skipping": POSITION_SKIPPING,
}
_NAME: Final = r"[A-Za-z_]\w*"
_BOTH: Final = re.compile(rf"^\s*({_NAME})\s*<->\s*({_NAME})\s*$")
_ONE: Final = re.compile(rf"^\s*({_NAME})\s*<-\s*({_NAME}(?:\s*&\s*{_NAME})*)\s*$")
_ALONE: Final = re.compile(rf"^\s*({_NAME})\s*$")


class BanksModel(FileModel):
    """Banks to which compute units scatter what they make."""

    count: Count = Field(description="banks of one instance; each takes a word a cycle")
    queue: Size = Field(default=0, description="words that wait before each bank")


class LevelModel(FileModel):
    """One storage level; numbers are per instance."""

    name: Name
    word_bits: Bits = 16
    block_words: Count = Field(default=1, description="words that one access moves")
    capacity_words: Size | None = Field(default=None, description="absent: unbounded")
    capacity_bits: Size | None = Field(default=None, description="in place of capacity_words")
    metadata_capacity_bits: Size | None = Field(default=None, description="absent: unbounded")
    metadata_width_bits: Size = Field(default=0, description="bits of one metadata access; 0: no metadata store")
    read_words_per_cycle: Rate | None = Field(default=None, description="absent: unbounded")
    write_words_per_cycle: Rate | None = Field(default=None, description="absent: unbounded")
    shared_words_per_cycle: Rate | None = Field(default=None, description="reads and writes together")
    instances: Mesh = (1, 1)
    holds: tuple[Name, ...] | None = Field(default=None, description="the tensors the level is built for; absent: any")
    multicast: Switch = Field(default=True, description="one read may serve several children")
    spatial_reduction: Switch = Field(default=True, description="partial sums are added on their way up")
    formats: dict[Name, Name] = Field(default_factory=dict, description="tensor: format, as 'UOP(M)-CP(K):4'")
    gating: SafTexts = ()
    skipping: SafTexts = ()
    spatial_skipping: SafTexts = ()
    position_skipping: SafTexts = ()
    barrier: Switch = Field(default=False, description="after every tile its instances wait for the slowest")
    banks: BanksModel | None = Field(default=None, description="compute units scatter what they make to these")
    decompresses: Switch = Field(default=False, description="keeps tiles plain that its parent keeps compressed")
    compresses: Switch = Field(default=False, description="writes plain tiles back to its parent compressed")
    component: Parts | None = Field(
        default=None, description="as {sram: {banks: 2}}; width and depth are those of the level"
    )
    metadata_component: Parts | None = Field(default=None, description="the same for what holds the metadata")
    energy_pj: EnergyPj = Field(default_factory=dict)
    energy_source: str = ""


class ComputeModel(FileModel):
    """The compute units: one multiply-accumulate a cycle each."""

    name: Name
    word_bits: Bits = 16
    instances: Mesh = (1, 1)
    gating: Switch = Field(default=False, description="a compute with a zero operand is gated")
    skipping: Switch = Field(default=False, description="a compute whose operands do not all arrive is skipped")
    component: Parts | None = Field(default=None, description="as {mac: {}}; its width is that of the words")
    energy_pj: EnergyPj = Field(default_factory=dict)
    energy_source: str = ""


class UnitModel(FileModel):
    """Hardware that is neither a storage level nor a compute unit."""

    name: Name
    component: Parts
    instances: Count = Field(default=1, description="of the whole design")
    used_by: dict[Name, tuple[Name, ...]] = Field(default_factory=dict, description="level: actions that use one")
    uses: Rate = Field(default=1.0, description="uses that one such action makes")
    feature: Switch = Field(default=True, description="it is there for sparsity alone")


class SupportModel(FileModel):
    """Patterns of an operand that the design can exploit."""

    pattern: Name
    formats: dict[Name, Name] | None = Field(
        default=None, description="level: format; K0=H stands for the pattern's blocks"
    )
    unused: tuple[Name, ...] = Field(default=(), description="units that do not switch with such an operand")


class PlanarModel(FileModel):
    """How images are cut into parts."""

    elements: Mesh = Field(description="columns and rows of elements, a part for each")
    lanes: Count = Field(default=1, description="places of a part that an element takes at once")
    residues: Switch = Field(default=False, description="windows with strides are split into one for each residue")


class DesignModel(FileModel):
    """An architecture, outermost level first, and its sparse features."""

    name: Name
    source: str = Field(default="", description="the publication the design is from")
    levels: tuple[LevelModel, ...] = Field(min_length=1, description="storage levels, outermost first")
    compute: ComputeModel
    units: tuple[UnitModel, ...] = ()
    supports: dict[Name, tuple[SupportModel, ...]] = Field(
        default_factory=dict,
        description="tensor: patterns that it can exploit; a tensor that is not named may be anything",
    )
    swaps: Switch = Field(default=False, description="the operands of a product may come in either order")
    planar: PlanarModel | None = Field(default=None, description="layers are run by the places of their images")


def read(source: Source) -> Design:
    """The design of a file.

    Raises InputError with every fault of the file, each with file:line, key path and fix.
    """
    return build(section(source, KEY))


def schema() -> dict[str, Any]:
    """The JSON Schema of a design file, for editors."""
    found = file_schema(KEY, DesignModel, "Sparseloom design")
    design = choosable(found["properties"][KEY] | {"$defs": found["$defs"]})
    return found | {"$defs": design.pop("$defs"), "properties": {KEY: design}}


def build(node: Node) -> Design:
    """As :func:`read`, from the node under ``design:``; what is left open in it is a fault."""
    if isinstance(node.value, str):
        fix = "write the design out, or evaluate the file as a case"
        raise InputError(node.fault(f"'{node.value}' is the name of a design, not a design", fix))
    if found := left_open(node):
        raise InputError(found)
    model = validate(DesignModel, node)
    faults: list[Fault] = []
    formats: dict[str, dict[str, Format]] = {}
    safs: list[Saf] = []
    components: dict[str, tuple[Component | None, Component | None]] = {}
    for i, level in enumerate(model.levels):
        at = node.at(("levels", i))
        faults += _capacity_faults(at, level)
        formats[level.name] = _formats(at, level, faults)
        components[level.name] = _components(at, level, faults)
        safs += _safs(at, level, faults)
    made = _component(
        node.at(("compute", "component")), model.compute.component, faults, width_bits=model.compute.word_bits
    )
    units, supports = _units(node, model, faults), _supports(node, model, faults)
    with gather(faults, node):
        levels = tuple(_storage(level, *components[level.name]) for level in model.levels)
        architecture = Architecture(levels, _compute(model.compute, made))
        if not faults:
            features = _features(model, {name: table for name, table in formats.items() if table}, tuple(safs))
            planar = None if model.planar is None else Planar(**model.planar.model_dump())
            return Design(architecture, features, model.name, model.source, units, supports, model.swaps, planar)
    raise InputError(faults)


def plain(design: Design) -> dict[str, Any]:
    """What to write under ``design:`` so that :func:`build` reads it as ``design``; one without a name is called unnamed."""
    unit, features = design.architecture.compute, design.features
    model = DesignModel(
        name=design.name or "unnamed",
        source=design.source,
        levels=tuple(_level_model(level, features) for level in design.architecture.levels),
        compute=ComputeModel(
            name=unit.name,
            word_bits=unit.word_bits,
            instances=(unit.mesh_x, unit.mesh_y),
            gating=features.compute_gating,
            skipping=features.compute_skipping,
            component=_plain_component(unit.component),
            **_energy(unit.energy),
        ),
        units=tuple(_unit_model(each) for each in design.units),
        supports={
            tensor: tuple(
                SupportModel(
                    pattern=str(each.pattern),
                    formats=None if each.formats is None else dict(each.formats),
                    unused=each.unused,
                )
                for each in supports
            )
            for tensor, supports in design.supports.items()
        },
        swaps=design.swaps,
        planar=None if design.planar is None else PlanarModel(**vars(design.planar)),
    )
    return model.model_dump(mode="json", exclude_defaults=True)


def _level_model(level: StorageLevel, features: Features) -> LevelModel:
    safs: dict[str, Any] = {
        key: tuple(_text(saf) for saf in features.safs if (saf.level, saf.kind) == (level.name, kind))
        for key, kind in KINDS.items()
    }
    return LevelModel(
        name=level.name,
        **{key: getattr(level, key) for key in _ALIKE},
        instances=(level.mesh_x, level.mesh_y),
        holds=None if level.holds is None else tuple(sorted(level.holds)),
        multicast=level.network.multicast,
        spatial_reduction=level.network.spatial_reduction,
        formats={name: str(form) for name, form in features.formats.get(level.name, {}).items()},
        decompresses=level.name in features.decompression,
        compresses=level.name in features.compression,
        banks=None if level.banks is None else BanksModel(**vars(level.banks)),
        component=_plain_component(level.component),
        metadata_component=_plain_component(level.metadata_component),
        **safs,
        **_energy(level.energy),
    )


def _unit_model(unit: Unit) -> UnitModel:
    made = _plain_component(unit.component)
    assert made is not None
    return UnitModel(
        name=unit.name,
        component=made,
        instances=unit.instances,
        used_by=dict(unit.used_by),
        uses=unit.uses,
        feature=unit.feature,
    )


def _plain_component(made: Component | None) -> dict[str, Any] | None:
    return None if made is None else {kind_of(made): {name: getattr(made, name) for name in made.parameters()}}


_ALIKE: Final = (
    "word_bits", "capacity_words", "block_words", "metadata_capacity_bits", "metadata_width_bits",
    "read_words_per_cycle", "write_words_per_cycle", "shared_words_per_cycle", "barrier",
)  # fmt: skip
"""What a level of a file and one of an architecture have alike."""


def _energy(table: EnergyTable) -> dict[str, Any]:
    return {"energy_pj": dict(table.energies_pj), "energy_source": table.source}


def _text(saf: Saf) -> str:
    return " | ".join(f"{target} <- {' & '.join(leaders)}" if leaders else target for target, leaders in saf.ways)


def _storage(level: LevelModel, made: Component | None, metadata: Component | None) -> StorageLevel:
    return StorageLevel(
        name=level.name,
        **{key: getattr(level, key) for key in _ALIKE} | {"capacity_words": _words(level)},
        mesh_x=level.instances[0],
        mesh_y=level.instances[1],
        holds=None if level.holds is None else frozenset(level.holds),
        network=Network(level.multicast, level.spatial_reduction),
        energy=EnergyTable(level.energy_pj, level.energy_source),
        component=made,
        metadata_component=metadata,
        banks=None if level.banks is None else Banks(**level.banks.model_dump()),
    )


def _compute(model: ComputeModel, made: Component | None) -> ComputeLevel:
    energy = EnergyTable(model.energy_pj, model.energy_source)
    return ComputeLevel(model.name, model.word_bits, model.instances[0], model.instances[1], energy, made)


def _components(node: Node, level: LevelModel, faults: list[Fault]) -> tuple[Component | None, Component | None]:
    """What a level is made of for data and for metadata: as wide as an access, as deep as the capacity takes."""
    width, words = level.block_words * level.word_bits, _words(level)
    sizes = {"width_bits": width} | ({} if words is None else {"depth": max(-(-words // level.block_words), 1)})
    lists: dict[str, int] = {"width_bits": level.metadata_width_bits}
    if level.metadata_capacity_bits is not None and level.metadata_width_bits:
        lists["depth"] = max(-(-level.metadata_capacity_bits // level.metadata_width_bits), 1)
    return (
        _component(node.at(("component",)), level.component, faults, **sizes),
        _component(node.at(("metadata_component",)), level.metadata_component, faults, **lists),
    )


def _component(node: Node, given: dict[str, Any] | None, faults: list[Fault], **usual: int) -> Component | None:
    if given is None:
        return None
    [(kind, parameters)] = given.items()
    found = list[Component]()
    with gather(faults, node.at((kind,))):
        found.append(component(kind, parameters, usual))
    return found[0] if found else None


def _units(node: Node, model: DesignModel, faults: list[Fault]) -> tuple[Unit, ...]:
    found = []
    for i, unit in enumerate(model.units):
        made = _component(node.at(("units", i, "component")), unit.component, faults)
        if made is not None:
            found.append(Unit(unit.name, made, unit.instances, unit.used_by, unit.uses, unit.feature))
    return tuple(found)


def _supports(node: Node, model: DesignModel, faults: list[Fault]) -> dict[str, tuple[Support, ...]]:
    found: dict[str, tuple[Support, ...]] = {}
    for tensor, supports in model.supports.items():
        patterns = list[Support]()
        for i, each in enumerate(supports):
            with gather(faults, node.at(("supports", tensor, i, "pattern"))):
                patterns.append(Support(Pattern.parse(each.pattern), each.formats, each.unused))
        found[tensor] = tuple(patterns)
    return found


def _words(level: LevelModel) -> int | None:
    if level.capacity_words is None and level.capacity_bits is not None:
        return level.capacity_bits // level.word_bits
    return level.capacity_words


def _features(model: DesignModel, formats: dict[str, dict[str, Format]], safs: tuple[Saf, ...]) -> Features:
    return Features(
        formats=formats,
        safs=safs,
        compute_gating=model.compute.gating,
        compute_skipping=model.compute.skipping,
        decompression=frozenset(level.name for level in model.levels if level.decompresses),
        compression=frozenset(level.name for level in model.levels if level.compresses),
    )


def _capacity_faults(node: Node, level: LevelModel) -> list[Fault]:
    if level.capacity_bits is None:
        return []
    at = node.at(("capacity_bits",))
    if level.capacity_words is not None:
        what = f"capacity_bits {level.capacity_bits} and capacity_words {level.capacity_words} are both given"
        return [at.fault(what, "keep one of them")]
    if level.capacity_bits % level.word_bits:
        what = f"capacity_bits {level.capacity_bits} is not a whole number of words of {level.word_bits} bits"
        return [at.fault(what, f"write {level.capacity_bits // level.word_bits * level.word_bits}, or capacity_words")]
    return []


def _formats(node: Node, level: LevelModel, faults: list[Fault]) -> dict[str, Format]:
    found = {}
    for tensor, text in level.formats.items():
        with gather(faults, node.at(("formats", tensor))):
            found[tensor] = Format.parse(text)
    return found


def _safs(node: Node, level: LevelModel, faults: list[Fault]) -> list[Saf]:
    found: list[Saf] = []
    for key, kind in KINDS.items():
        texts: tuple[str, ...] = getattr(level, key)
        for i, text in enumerate(texts):
            with gather(faults, node.at((key, i))):
                found += parse_saf(text, level.name, kind)
    return found


def parse_saf(text: str, level: str, kind: str) -> tuple[Saf, ...]:
    """The features that ``text`` writes for ``level``: two for ``A <-> B``, else one.

    >>> parse_saf("O <- I & W", "PE", "skipping")
    (Saf(level='PE', kind='skipping', target='O', leaders=('I', 'W'), alternatives=()),)

    Raises InputError when the text is none of the forms, or when a tensor leads itself.
    """
    both, alone = _BOTH.match(text), _ALONE.match(text)
    ways: list[tuple[str, tuple[str, ...]]]
    if both:
        ways = [(both[1], (both[2],)), (both[2], (both[1],))]
    elif alone and kind == POSITION_SKIPPING:
        ways = [(alone[1], ())]
    else:
        ways = [_way(part, text, kind) for part in text.split("|")]
    for target, leaders in ways:
        if target in leaders or len(set(leaders)) < len(leaders):
            what = f"in '{text}' a tensor leads itself or leads twice"
            raise InputError(Fault(what, fix="a follower and its leaders are different tensors"))
    if both:
        return tuple(Saf(level, kind, target, leaders) for target, leaders in ways)
    return (Saf(level, kind, *ways[0], alternatives=tuple(ways[1:])),)


def _way(text: str, whole: str, kind: str) -> tuple[str, tuple[str, ...]]:
    match = _ONE.match(text)
    if match is None or kind == POSITION_SKIPPING:
        if kind == POSITION_SKIPPING:
            fix = "name the tensor alone, W: its own nonzeros are packed"
        else:
            fix = "write follower <- leader: 'W <- I', 'O <- I & W', 'A <-> B' or 'A <- B | B <- A'"
        raise InputError(Fault(f"'{whole}' is not a {kind} feature", fix=fix))
    return match[1], tuple(name.strip() for name in match[2].split("&"))
