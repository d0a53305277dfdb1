"""Fig. 4-12: the words that a flexible sparse tensor core has to fetch in a cycle to keep all its multipliers busy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sparseloom.arch.support import SetUp
from sparseloom.designs.load import load
from sparseloom.fibertree.format import Format
from sparseloom.fibertree.pattern import Pattern
from sparseloom.report.study import Chart, Computed, Part
from sparseloom.report.tensor_cores import FLEXIBLE, RLE, SHAPES, WEIGHTS, evaluated, setup
from sparseloom.results import Result

BUFFER: Final = "SMEM"
SHAPE: Final = SHAPES[1]
FORMATS: Final = {"CP": FLEXIBLE, "RLE": RLE}


@dataclass(frozen=True)
class Demand:
    """Words of the buffer in a cycle in which all multipliers work: of weights, of inputs, and bits of the weights' metadata."""

    weights: float
    inputs: float
    metadata_bits: float
    word_bits: int

    @property
    def metadata(self) -> float:
        """Metadata in words."""
        return self.metadata_bits / self.word_bits

    @property
    def words(self) -> float:
        return self.weights + self.inputs + self.metadata

    @property
    def bits_each(self) -> float:
        """Bits of metadata of a weight that is fetched."""
        return self.metadata_bits / self.weights


def study(jobs: int = 1) -> Computed:
    """What each operand needs, over what it needs with dense weights."""
    found = {
        (kind, weights): _demand(setup(name, SHAPE, weights)) for kind, name in FORMATS.items() for weights in WEIGHTS
    }
    own = {kind: _demand(_own_widths(setup(name, SHAPE, "C0(2:6)"))) for kind, name in FORMATS.items()}
    dense = found["CP", "dense"]
    sparse = [found[kind, weights] for kind in FORMATS for weights in WEIGHTS[1:]]
    has = (
        next(level for level in load(FLEXIBLE).architecture.levels if level.name == BUFFER).read_words_per_cycle or 0.0
    )
    return Computed(
        "bandwidth that the ideal speed needs",
        {
            "weights": max((each.weights / dense.weights for each in sparse), key=lambda ratio: abs(ratio - 1)),
            **{f"inputs-{block}": found["CP", f"C0(2:{block})"].inputs / dense.inputs for block in (4, 6, 8)},
            "rle-6": found["RLE", "C0(2:6)"].metadata_bits / found["CP", "C0(2:6)"].metadata_bits,
            "rle-6-own": own["RLE"].metadata_bits / own["CP"].metadata_bits,
            "of-buffer": found["CP", "C0(2:8)"].words / has,
        },
        (_part(found, dense, has),),
        Chart(
            "bars",
            WEIGHTS,
            {
                "weights": [found["CP", weights].weights for weights in WEIGHTS],
                "inputs": [found["CP", weights].inputs for weights in WEIGHTS],
                **{f"metadata, {kind}": [found[kind, weights].metadata for weights in WEIGHTS] for kind in FORMATS},
            },
            "weights",
            f"words of {BUFFER} in a cycle",
        ),
        (
            f"the artifact's mappings of {SHAPE.name}: what {BUFFER} reads, over the cycles of compute alone; widths of metadata "
            "are the artifact's",
            f"with as many bits as coordinates and runs of at most 5 need, both take {own['CP'].bits_each:g} a weight at 2:6: that "
            f"run lengths take fewer rests on {found['RLE', 'C0(2:6)'].bits_each:g} bits for a run, against "
            f"{found['CP', 'C0(2:6)'].bits_each:g} for a coordinate",
            f"{BUFFER} gives {has:g} words a cycle; 2:4 needs {found['CP', 'C0(2:4)'].words:g}",
            f"2 bits hold runs of at most 3: placeholders for those of 4 would add {_placeholders():.1%} to the run lengths of "
            "2:6; lanes that take single values read none, neither here nor in the artifact",
        ),
    )  # fmt: skip


def _demand(ready: SetUp) -> Demand:
    result = evaluated(ready, SHAPE)
    level = next(level for level in ready.design.architecture.levels if level.name == BUFFER)
    cycles = result.compute.cycles_busiest
    weights, inputs = (result.levels[BUFFER].tensors[name].reads.actual / cycles for name in "AB")
    return Demand(weights, inputs, _metadata_bits(ready, result) / cycles, level.word_bits)


def _metadata_bits(ready: SetUp, result: Result) -> float:
    form = ready.design.features.format_of(BUFFER, "A")
    if form is None:
        return 0.0
    units = result.levels[BUFFER].tensors["A"].metadata_reads
    widths = form.widths(("M", "K"), (0, 0), (SHAPE.m, SHAPE.k)).tolist()
    return float(
        sum(
            rank.metadata.actual * bits + rank.payload.actual * offset
            for rank, (bits, offset) in zip(units, widths, strict=True)
        )
    )


def _own_widths(ready: SetUp) -> SetUp:
    """The design with as many bits as the blocks of a pattern need."""
    formats = {
        level: {tensor: _as_needed(form) for tensor, form in tensors.items()}
        for level, tensors in ready.design.features.formats.items()
    }
    features = replace(ready.design.features, formats=formats)
    return replace(ready, design=replace(ready.design, features=features))


def _placeholders() -> float:
    """Run lengths of 2:6 that stand for no value, over those that do."""
    form = setup(RLE, SHAPE, "C0(2:6)").design.features.format_of(BUFFER, "A")
    assert form is not None
    corners = (0, 0), (SHAPE.m, SHAPE.k)
    density = Pattern.parse("M->K1->K0(2:6)").density_model(("M", "K"), corners[1])
    units = form.expected_units(density, ("M", "K"), *corners)
    return float(units[-1, 0] / density.expected_occupancy(*corners) - 1)


def _as_needed(form: Format) -> Format:
    return replace(form, ranks=tuple(replace(rank, metadata_bits=None) for rank in form.ranks))


def _part(found: Mapping[tuple[str, str], Demand], dense: Demand, has: float) -> Part:
    rows = [
        (
            weights,
            kind,
            *(f"{words:.1f}" for words in (own.weights, own.inputs, own.metadata, own.words)),
            *(f"{share:.2f}" for share in (own.weights / dense.weights, own.inputs / dense.inputs, own.words / has)),
            f"{own.bits_each:g}",
        )
        for (kind, weights), own in found.items()
    ]
    head = (
        "weights", "metadata", "weights, words", "inputs", "metadata", "all", "weights / dense", "inputs / dense",
        f"all / {BUFFER}'s", "bits a weight",
    )  # fmt: skip
    return Part(f"words of {BUFFER} in a cycle of the ideal speed", head, rows)
