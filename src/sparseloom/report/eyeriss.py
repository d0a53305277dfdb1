"""Eyeriss on AlexNet: DRAM traffic with and without run-length coding, and the energy that gating saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sparseloom import designs
from sparseloom.arch.design import Design
from sparseloom.arch.features import GATING, Features, Saf
from sparseloom.model.evaluate import evaluate
from sparseloom.report.layer import Layer, layers
from sparseloom.report.reported import DATA, Claim
from sparseloom.report.row import Row, mean_error, measured
from sparseloom.results import Result, TensorActions

DESIGN = "eyeriss"
OFF_CHIP = "DRAM"
ELEMENT_LEVELS = ("ifmap_spad", "weights_spad", "psum_spad")
PAIR_BITS = 64 / 3
"""Bits of a pair of a run (5 bits) and a value (16 bits): three pairs and a bit that ends the stream in 64 bits."""

COMPRESSION = (
    "DRAM words of filters, inputs and outputs, plain / coded, compared to the decimal that the table prints; coded: "
    "pairs of a run of at most 31 zeros and a value, 64 bits for three; filters and the input of conv1 are plain. The"
    " pairs and placeholders are the model's; densities are the artifact's (table7), mappings the paper's"
)
TRAFFIC = (
    "not in the thesis: the coded DRAM traffic of four images, megabytes of 10^6 bytes; it shows that mappings and "
    "coding are those of the chip"
)
GATED = (
    "energy of scratchpads and multiplier-adders with the gating of W <- I, against without, to whole percents: "
    "{layers}. Of which layers the paper's figure is, the thesis does not say. Energies are the artifact's (45 nm); "
    "the clock and control of the elements, which gating does not stop, are not modelled"
)
MOST = (
    "as in the row before, of the layer that saves most: the thesis calls its figure a maximum. Of all energy of the "
    "chip without sparse features, DRAM included, gating saves {chip:.1%} on conv3"
)
TABLED = (
    "with the gating of O <- I too, which thesis Table 3.2 lists and the artifact's design, shipped as `eyeriss`, "
    "lacks: {layers}. One of three readings of the claim, and the nearest"
)
LISTED = Saf("psum_spad", GATING, "O", ("I",))
"""The feature of thesis Table 3.2 that the artifact's design lacks."""


@dataclass(frozen=True)
class Run:
    """A layer on the shipped design, on one with the gating of thesis Table 3.2, on one without gating, and on one
    without any sparse feature."""

    layer: Layer
    shipped: Result
    tabled: Result
    ungated: Result
    plain: Result

    @property
    def coded_words(self) -> float:
        """Words of 16 bits that cross to DRAM and back, coded."""
        return sum(_coded_words(tensor) for tensor in self.shipped.levels[OFF_CHIP].tensors.values())

    @property
    def plain_words(self) -> float:
        tensors = self.plain.levels[OFF_CHIP].tensors.values()
        return sum(tensor.reads.total + tensor.updates.total for tensor in tensors)


def rows(claims: Mapping[str, Claim]) -> Iterator[Row]:
    """Table 4.4, the DRAM traffic behind it, and the energy saved by gating."""
    found = runs()
    yield from (rates := compression(claims, found))
    yield mean_error(rates, "DRAM compression, mean", COMPRESSION)
    yield from traffic(claims, found)
    yield from _gating(DESIGN, list(found.values()), claims["eyeriss-gating"])


def runs() -> Mapping[str, Run]:
    """Every layer of AlexNet."""
    design = designs.load(DESIGN)
    return {name: _run(design, layer) for name, layer in layers(DATA / "eyeriss-alexnet.yaml").items()}


def compression(claims: Mapping[str, Claim], found: Mapping[str, Run]) -> list[Row]:
    """A row for each rate of Table 4.4."""
    rate = claims["eyeriss-compression"]
    return [
        measured(
            DESIGN, f"DRAM compression, {name}", "x", paper, rate.thesis[name],
            found[name].plain_words / found[name].coded_words, COMPRESSION, decimals=1,
        )
        for name, paper in rate.paper.items()
    ]  # fmt: skip


def traffic(claims: Mapping[str, Claim], found: Mapping[str, Run]) -> list[Row]:
    """A row for the coded DRAM traffic of each layer."""
    return [
        measured(DESIGN, f"DRAM traffic, {name}", "MB", paper, None, found[name].coded_words * 2 / 1e6, TRAFFIC)
        for name, paper in claims["eyeriss-dram-mb"].paper.items()
    ]


def _run(design: Design, layer: Layer) -> Run:
    formats = {
        level: {tensor: form for tensor, form in tensors.items() if level != OFF_CHIP or tensor not in layer.raw}
        for level, tensors in design.features.formats.items()
    }
    features = replace(design.features, formats=formats)
    tabled, ungated = (replace(features, safs=safs) for safs in ((*features.safs, LISTED), ()))
    variants = (features, tabled, ungated, Features())
    return Run(layer, *(evaluate(layer.workload, replace(design, features=v), layer.mapping) for v in variants))


def _coded_words(tensor: TensorActions) -> float:
    """Words that a tensor moves at DRAM: its pairs if it is coded, else its words."""
    moved = [ranks[-1] for ranks in (tensor.metadata_reads, tensor.metadata_updates) if ranks]
    if not moved:
        return tensor.reads.actual + tensor.updates.actual
    return sum(rank.metadata.actual for rank in moved) * PAIR_BITS / 16


def _element_pj(result: Result) -> float:
    return result.compute.energy_pj + sum(result.levels[name].energy_pj for name in ELEMENT_LEVELS)


def _gating(design: str, runs: Sequence[Run], claim: Claim) -> Iterator[Row]:
    before = [_element_pj(run.ungated) for run in runs]
    shipped = [_element_pj(run.shipped) for run in runs]
    tabled = [_element_pj(run.tabled) for run in runs]
    saved = [1 - now / then for now, then in zip(shipped, before, strict=True)]
    most = max(range(len(runs)), key=lambda i: saved[i])
    third = next(run for run in runs if run.layer.name == "conv3")
    chip = (third.ungated.energy_pj - third.shipped.energy_pj) / third.plain.energy_pj
    for what, share, note in (
        ("conv1-5", 1 - sum(shipped) / sum(before), GATED.format(layers=_each(runs, before, shipped))),
        (f"most: {runs[most].layer.name}", saved[most], MOST.format(chip=chip)),
        ("conv1-5 with O", 1 - sum(tabled) / sum(before), TABLED.format(layers=_each(runs, before, tabled))),
    ):
        paper, thesis = 100 * claim.paper["saving"], 100 * claim.thesis["saving"]
        yield measured(design, f"energy gated, {what}", "%", paper, thesis, 100 * share, note, decimals=0)


def _each(runs: Sequence[Run], before: Sequence[float], after: Sequence[float]) -> str:
    pairs = zip(runs, before, after, strict=True)
    return ", ".join(f"{run.layer.name} {1 - now / then:.1%}" for run, then, now in pairs)
