"""Random small cases: a workload, a design and a mapping that go together, for tests of the oracle and of the model."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Table
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparseloom.arch.actions import EnergyTable
from sparseloom.arch.design import Design
from sparseloom.arch.features import GATING, POSITION_SKIPPING, SKIPPING, SPATIAL_SKIPPING, Features, Saf
from sparseloom.arch.hierarchy import Architecture, ComputeLevel, Network, StorageLevel
from sparseloom.fibertree.density import ActualData, Density, FixedStructured, Uniform
from sparseloom.fibertree.format import Format
from sparseloom.fibertree.structured import Block, Channel
from sparseloom.mapping.mapping import LevelMapping, Loop, Mapping
from sparseloom.workload.einsum import Einsum, TensorAccess
from sparseloom.workload.workload import Workload

Draw = st.DrawFn

EINSUMS = (
    "Z[m] = A[m]",
    "Z[m] = A[m,k]",
    "Z[] = A[k] * B[k]",
    "Z[m,n] = A[m,n] * B[m,n]",
    "Z[m] = A[m,k] * B[k]",
    "Z[m,n] = A[m,k] * B[k,n]",
    "Z[b,m,n] = A[b,m,k] * B[k,n]",
    "Z[m,n] = A[m,k] * B[k,n] * C[m,n]",
    "Z[m] = A[m,k] * B[k] * C[m]",
    "Z[i,r] = T[i,j,k] * B[j,r] * C[k,r]",
    "O[p] = I[p+r] * W[r]",
    "O[p] = I[2*p+r] * W[r]",
    "O[p] = I[p+2*r] * W[r]",
    "O[p] = I[3*p+2*r] * W[r]",
    "O[m,p] = I[c,p+r] * W[m,c,r]",
    "O[m,p,q] = I[c,p+r,q+s] * W[m,c,r,s]",
    "O[n,m,p,q] = I[n,c,2*p+r,2*q+s] * W[m,c,r,s]",
    "O[c,p,q] = I[c,p+r,q+s] * W[c,r,s]",
    "O[g,m,p] = I[g,c,p+r] * W[g,m,c,r]",
    "O[m,p] = I[c,p+r] * W[m,c,r] * S[m]",
)
"""Elementwise, reductions, matrix products, tensor products, convolutions with stride, dilation, depth and groups."""

DENSITY_KINDS = ("dense", "uniform", "actual", "structured")
SIZES = (1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 12)


@dataclass(frozen=True)
class Case:
    """A mapping of a workload on a design; they fit together."""

    workload: Workload
    design: Design
    mapping: Mapping


@st.composite
def cases(
    draw: Draw,
    densities: tuple[str, ...] = DENSITY_KINDS,
    plain: bool = False,
    lanes: bool = False,
    max_points: int = 400,
    max_levels: int = 4,
) -> Case:
    """Small random cases. ``densities`` limits the kinds of density; ``plain`` leaves out formats and features, ``lanes`` adds
    those that pack lanes, and tensors that pass through levels which do not keep them."""
    einsum = Einsum.parse(draw(st.sampled_from(EINSUMS)))
    shape = _shape(draw, einsum, max_points)
    access_shapes = {t.name: t.shape(shape) for t in einsum.tensors}
    models = {t.name: _density(draw, access_shapes[t.name], densities) for t in einsum.tensors if t.projections}
    workload = Workload(einsum, shape, {name: model for name, model in models.items() if model is not None})
    mapping = _mapping(draw, workload, draw(st.integers(1, max_levels)))
    architecture = _architecture(draw, mapping)
    features = Features() if plain else _features(draw, workload, mapping)
    if lanes:
        mapping = replace(mapping, levels=tuple(_streaming(draw, workload, level) for level in mapping.levels))
        features = replace(features, safs=(*features.safs, *_packing(draw, workload, architecture.names)))
    return Case(workload, Design(architecture, features), mapping)


def with_actual_data(case: Case, tensors: Table[str, NDArray[Any]]) -> Case:
    """The case with the masks of ``tensors`` as its densities, so that nothing is random any more."""
    models = {name: ActualData(np.asarray(values) != 0) for name, values in tensors.items() if np.ndim(values)}
    return replace(case, workload=replace(case.workload, densities=models))


def _shape(draw: Draw, einsum: Einsum, max_points: int) -> dict[str, int]:
    shape: dict[str, int] = {}
    for rank in draw(st.permutations(einsum.ranks)):
        room = max_points // prod(shape.values())
        shape[rank] = draw(st.sampled_from([size for size in SIZES if size <= max(1, room)]))
    return {rank: shape[rank] for rank in einsum.ranks}


def _density(draw: Draw, shape: tuple[int, ...], kinds: tuple[str, ...]) -> Density | None:
    kind = draw(st.sampled_from(kinds))
    density = draw(st.sampled_from((0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)))
    if kind == "uniform":
        return Uniform(shape, density)
    if kind == "actual":
        return ActualData(_mask(shape, density, draw(st.integers(0, 2**20))))
    if kind == "structured":
        return _structured(draw, shape, density)
    return None


def _mask(shape: tuple[int, ...], density: float, seed: int) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random(shape) < density


def _structured(draw: Draw, shape: tuple[int, ...], density: float) -> Density:
    rank = draw(st.integers(0, len(shape) - 1))
    divisors = [size for size in range(1, shape[rank] + 1) if shape[rank] % size == 0]
    return draw(
        st.sampled_from(
            (
                FixedStructured(shape, density),
                Channel(shape, rank, density),
                Block(shape, (rank,), (draw(st.sampled_from(divisors)),), density),
            )
        )
    )


def _mapping(draw: Draw, workload: Workload, levels: int) -> Mapping:
    """One to four loops over every rank at random places, in a random order."""
    places = [(level, axis, copy) for level in range(levels) for axis, copy in (("", 0), ("", 1), ("X", 0), ("Y", 0))]
    chosen = [
        (level, axis, rank)
        for rank in workload.ranks
        for level, axis, _ in draw(st.lists(st.sampled_from(places), min_size=1, max_size=4, unique=True))
    ]
    order = sorted(draw(st.permutations(chosen)), key=lambda place: (place[0], place[1] != ""))
    bounds = {rank: _bounds(draw, size, [r for _, _, r in order].count(rank)) for rank, size in workload.shape.items()}
    loops = [(level, Loop(rank, bounds[rank].pop(0), axis)) for level, axis, rank in order]
    loops = [(level, loop) for level, loop in loops if loop.bound > 1 or draw(st.booleans())]
    return Mapping(tuple(_level_mapping(draw, workload, level, loops) for level in range(levels)))


def _level_mapping(draw: Draw, workload: Workload, level: int, loops: list[tuple[int, Loop]]) -> LevelMapping:
    here = [loop for at, loop in loops if at == level]
    keep = [t.name for t in workload.einsum.tensors if level == 0 or draw(st.integers(0, 3))]
    temporal = tuple(loop for loop in here if not loop.axis)
    return LevelMapping(f"L{level}", temporal, tuple(loop for loop in here if loop.axis), frozenset(keep))


def _bounds(draw: Draw, size: int, count: int) -> list[int]:
    """Bounds of ``count`` loops, outermost first, that cover ``size`` coordinates and waste no iteration."""
    bounds: list[int] = []
    for _ in range(count - 1):
        divisors = [bound for bound in range(1, size + 1) if size % bound == 0]
        perfect = draw(st.booleans())
        bounds.insert(0, draw(st.sampled_from(divisors) if perfect else st.integers(1, min(size, 4))))
        size = -(-size // bounds[0])
    return [size, *bounds]


def _architecture(draw: Draw, mapping: Mapping) -> Architecture:
    """Levels with the fan-out that the mapping needs, sometimes more."""
    mesh = {"X": 1, "Y": 1}
    levels = []
    for i, level in enumerate(mapping.levels):
        levels.append(_storage(draw, f"L{i}", mesh["X"], mesh["Y"]))
        for axis in mesh:
            used = prod(loop.bound for loop in level.spatial if loop.axis == axis)
            mesh[axis] *= used * draw(st.sampled_from((1, 1, 2)))
    return Architecture(tuple(levels), ComputeLevel("MAC", 16, mesh["X"], mesh["Y"], _energies(draw, ("compute",))))


def _storage(draw: Draw, name: str, mesh_x: int, mesh_y: int) -> StorageLevel:
    bandwidths = st.sampled_from((None, None, 0.5, 1.0, 2.0, 8.0))
    return StorageLevel(
        name,
        word_bits=draw(st.sampled_from((8, 16))),
        block_words=draw(st.sampled_from((1, 1, 2, 3, 4))),
        metadata_width_bits=draw(st.sampled_from((0, 4, 8))),
        read_words_per_cycle=draw(bandwidths),
        write_words_per_cycle=draw(bandwidths),
        shared_words_per_cycle=draw(bandwidths),
        mesh_x=mesh_x,
        mesh_y=mesh_y,
        network=Network(multicast=draw(st.integers(0, 3)) > 0, spatial_reduction=draw(st.integers(0, 3)) > 0),
        energy=_energies(draw, ("read", "fill", "update", "metadata_read", "metadata_fill", "metadata_update")),
    )


def _energies(draw: Draw, actions: tuple[str, ...]) -> EnergyTable:
    """Whole or half pJ for each action; gated and skipped ones cost little."""
    picojoules = {action: draw(st.integers(1, 8)) for action in actions}
    return EnergyTable(
        {name: pj * share for action, pj in picojoules.items() for name, share in _outcomes(action)}, source="made up"
    )


def _outcomes(action: str) -> tuple[tuple[str, float], ...]:
    return ((action, 1.0), (f"gated_{action}", 0.25), (f"skipped_{action}", 0.125))


def _features(draw: Draw, workload: Workload, mapping: Mapping) -> Features:
    formats: dict[str, dict[str, Format]] = {}
    for level in mapping.levels:
        for tensor in workload.einsum.tensors:
            if tensor.projections and draw(st.integers(0, 2)) == 0:
                formats.setdefault(level.level, {})[tensor.name] = _format(draw, tensor)
    return Features(
        formats=formats,
        safs=_safs(draw, workload, tuple(level.level for level in mapping.levels)),
        compute_gating=draw(st.booleans()),
        compute_skipping=draw(st.booleans()),
    )


def _format(draw: Draw, tensor: TensorAccess) -> Format:
    """One flattened rank, two ranks, or one rank split in two, with widths given or not."""
    ranks = list(draw(st.permutations(tensor.ranks)))
    form = draw(st.sampled_from(("flattened", "two", "split")))
    if form == "flattened" or (form == "two" and len(ranks) == 1):
        return Format.parse(_rank(draw, ",".join(ranks)))
    if form == "two":
        cut = draw(st.integers(1, len(ranks) - 1))
        return Format.parse(f"{_rank(draw, ','.join(ranks[:cut]))}-{_rank(draw, ','.join(ranks[cut:]))}")
    outer, split = ",".join([*ranks[:-1], f"{ranks[-1]}1"]), f"{ranks[-1]}0={draw(st.integers(1, 4))}"
    return Format.parse(f"{_rank(draw, outer)}-{_rank(draw, split)}")


def _rank(draw: Draw, ranks: str) -> str:
    kind = draw(st.sampled_from(("U", "UB", "B", "CP", "RLE", "UOP")))
    bits = draw(st.sampled_from(("", "", ":2", ":4")))
    return f"{kind}({ranks}){bits}"


def _safs(draw: Draw, workload: Workload, levels: tuple[str, ...]) -> tuple[Saf, ...]:
    """Features with one or several leaders, and double-sided pairs at one or two levels."""
    operands = [t.name for t in workload.einsum.operands]
    tensors = [*operands, workload.einsum.output.name]
    safs: list[Saf] = []
    for _ in range(draw(st.integers(0, 3))):
        target = draw(st.sampled_from(tensors))
        leaders = [name for name in operands if name != target] or operands
        chosen = draw(st.lists(st.sampled_from(leaders), min_size=1, max_size=2, unique=True))
        safs.append(Saf(draw(st.sampled_from(levels)), _kind(draw), target, tuple(chosen)))
    if len(operands) > 1 and draw(st.integers(0, 2)) == 0:
        left, right = draw(st.permutations(operands))[:2]
        for level in sorted(draw(st.sets(st.sampled_from(levels), min_size=1, max_size=2))):
            kind = _kind(draw)
            safs += [Saf(level, kind, left, (right,)), Saf(level, kind, right, (left,))]
    return tuple(safs)


def _streaming(draw: Draw, workload: Workload, level: LevelMapping) -> LevelMapping:
    bypassed = [t.name for t in workload.einsum.tensors if t.name not in level.keep]
    return replace(level, stream=frozenset(name for name in bypassed if draw(st.booleans())))


def _packing(draw: Draw, workload: Workload, levels: tuple[str, ...]) -> tuple[Saf, ...]:
    """Spatial skipping of one tensor or of all by one leader, position skipping of one operand or of two."""
    operands = [t.name for t in workload.einsum.operands]
    tensors = [*operands, workload.einsum.output.name]
    safs: list[Saf] = []
    kind = draw(st.sampled_from(("spatial", "position", "both", "neither")))
    if kind in ("spatial", "both"):
        level, leader = draw(st.sampled_from(levels)), draw(st.sampled_from(operands))
        targets = (
            [name for name in tensors if name != leader] if draw(st.booleans()) else [draw(st.sampled_from(tensors))]
        )
        safs += [Saf(level, SPATIAL_SKIPPING, name, (leader,)) for name in targets]
    if kind in ("position", "both"):
        level = draw(st.sampled_from((*levels, levels[-1])))
        targets = draw(st.lists(st.sampled_from(operands), min_size=1, max_size=2, unique=True))
        safs += [Saf(level, POSITION_SKIPPING, name) for name in targets]
    return tuple(safs)


def _kind(draw: Draw) -> str:
    return draw(st.sampled_from((GATING, SKIPPING)))


def features_of(case: Case) -> frozenset[str]:
    """Names of what is special in a case, so that a test can say how often each is reached."""
    return frozenset((*_names_of_nest(case), *_names_of_design(case), *_names_of_densities(case)))


def _names_of_nest(case: Case) -> Iterator[str]:
    workload, mapping = case.workload, case.mapping
    loops = [loop for loop in mapping.loops if loop.bound > 1]
    yield f"{len(mapping.levels)} levels"
    if any(loop.axis for loop in loops):
        yield "spatial loop"
    if any(prod(mapping.bounds(rank)) > size for rank, size in workload.shape.items()):
        yield "imperfect bound"
    indices = [p for t in workload.einsum.operands for p in t.projections]
    if any(sum(workload.shape[term.rank] > 1 for term in p.terms) > 1 for p in indices):
        yield "sliding window"
    if any(term.coefficient > 1 and workload.shape[term.rank] > 1 for p in indices for term in p.terms):
        yield "stride or dilation"
    for tensor in workload.einsum.tensors:
        yield from _names_of_path(case, tensor)


def _names_of_path(case: Case, tensor: TensorAccess) -> Iterator[str]:
    levels = case.mapping.levels
    stops = [i for i, level in enumerate(levels) if tensor.name in level.keep]
    if len(stops) < len(levels):
        yield "bypass"
    if any(tensor.name in level.stream for level in levels):
        yield "stream"
    is_output = tensor == case.workload.einsum.output
    for parent, child in zip(stops, [*stops[1:], len(levels)], strict=True):
        spatial = [loop for level in levels[parent:child] for loop in level.spatial if loop.bound > 1]
        networks = [case.design.architecture.levels[i].network for i in range(parent, child)]
        if any(loop.rank not in tensor.iteration_ranks for loop in spatial):
            multicast, reduces = all(n.multicast for n in networks), all(n.spatial_reduction for n in networks)
            yield "multicast" if multicast else "network without multicast"
            if is_output:
                yield "spatial reduction" if multicast and reduces else "network without reduction"
    if any(_unaligned(case, tensor, stop) for stop in stops[1:]):
        yield "unaligned tile"


def _unaligned(case: Case, tensor: TensorAccess, level: int) -> bool:
    """Whether the tiles of a level do not cut the tensor at multiples of their extent, in some rank."""
    workload, levels = case.workload, case.mapping.levels
    tile = {rank: _span(levels[level:], rank) for rank in workload.ranks}
    tile = {rank: min(span, workload.shape[rank]) for rank, span in tile.items()}
    for index, size in zip(tensor.projections, workload.tensor_shape(tensor.name), strict=True):
        extent = index.extent(tile)
        advances = [t.coefficient * tile[t.rank] for t in index.terms if tile[t.rank] < workload.shape[t.rank]]
        if size % extent or any(advance % extent for advance in advances):
            return True
    return False


def _span(levels: tuple[LevelMapping, ...], rank: str) -> int:
    return prod(loop.bound for level in levels for loop in (*level.temporal, *level.spatial) if loop.rank == rank)


def _names_of_design(case: Case) -> Iterator[str]:
    architecture, features = case.design.architecture, case.design.features
    if any(level.block_words > 1 for level in architecture.levels):
        yield "block of several words"
    for saf in features.safs:
        yield saf.kind
        if any(loop.bound > 1 for loop in case.mapping.levels[architecture.index(saf.level)].spatial):
            yield f"{saf.kind} of several lanes"
        if len(saf.leaders) > 1:
            yield "several leaders"
        if saf.level != architecture.names[-1]:
            yield "feature at an outer level"
        if saf.target == case.workload.einsum.output.name:
            yield "feature on the output"
    pairs = {(saf.level, saf.target, leader) for saf in features.safs for leader in saf.leaders}
    double = {level for level, target, leader in pairs if target != leader and (level, leader, target) in pairs}
    yield from ("double-sided", "double-sided at two levels")[: len(double)]
    if len({(saf.level, saf.kind) for saf in features.safs}) > 1:
        yield "several features"
    if features.compute_gating:
        yield "compute gating"
    if features.compute_skipping:
        yield "compute skipping"
    for level in case.mapping.levels:
        for name in sorted(level.keep):
            form = features.format_of(level.level, name)
            yield from _names_of_format(form) if form else ()


def _names_of_format(form: Format) -> Iterator[str]:
    yield "compressed format" if form.compressed else "uncompressed format"
    if len(form.ranks) > 1:
        yield "two-rank format"
    if any(len(rank.ranks) > 1 for rank in form.ranks):
        yield "flattened rank"
    if any("=" in name for rank in form.ranks for name in rank.ranks):
        yield "split rank"


def _names_of_densities(case: Case) -> Iterator[str]:
    for name, density in case.workload.densities.items():
        yield type(density).__name__
        if name == case.workload.einsum.output.name:
            yield "sparse output"
