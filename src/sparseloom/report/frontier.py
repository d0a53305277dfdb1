"""A model on a data set: accuracy against EDP over patterns and designs, then with a pattern for each layer.

Source of the picture: Wu, thesis (2023), Fig. 6-11 and 6.4.3; a pattern per layer goes beyond it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Final

from sparseloom import document
from sparseloom.arch.technology import Technology
from sparseloom.digest import digest
from sparseloom.errors import Fault, InputError, gathered
from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune.imported import Imported, ImportedLayer, chain_text
from sparseloom.prune.record import WEIGHTS, Record, Settings
from sparseloom.report.comparison import Comparison, compare, set_up
from sparseloom.results.table import table
from sparseloom.search.comparison import Contender
from sparseloom.search.frontier import Assignment, Budgeted, Cost, Losses, Point, budgeted, chain, edp, front, next_step

PATTERNS: Final = (
    "C0(2:4)", "C1(2:3)->C0(2:4)", "C1(2:4)->C0(2:4)", "C1(2:6)->C0(2:4)", "C1(2:8)->C0(2:4)", "C0(4:8)", "C0(2:8)",
    "unstructured@0.5", "unstructured@0.25", "unstructured@0.125", "unstructured@0.0625", "unstructured@0.03125",
)  # fmt: skip
"""What the designs of the thesis support, and any positions."""

BUDGETS: Final = (0.0, 0.0025, 0.005, 0.01, 0.02)
"""Accuracy that may be lost, as a share of the samples."""

DENSE: Final = "dense"
SPLITS: Final = ("validation", "test")
VARIANT: Final = " | "
"""Between the name of a layer and that of its pattern."""

ByDesign = Mapping[str, Mapping[str, Mapping[str, Cost]]]
"""What layers take, by design, layer and pattern."""

Watch = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Frontier:
    """What was found. ``dense`` are the accuracies of the dense model after as many epochs; ``costs`` by design, layer and
    pattern; ``refused`` says why a design does not run some layer with some pattern."""

    settings: Settings
    designs: tuple[str, ...]
    technology: str
    dense: Mapping[str, float]
    points: tuple[Point, ...]
    budgets: tuple[Budgeted, ...]
    losses: Losses
    costs: ByDesign
    refused: tuple[str, ...]
    patterns: tuple[str, ...]

    @property
    def strictly_better(self) -> int:
        """In how many of the budgets a pattern per layer has less EDP than every uniform one."""
        return sum(each.strictly_better for each in self.budgets)

    @property
    def fronts(self) -> list[Point]:
        """The points over all designs of which none is better in both."""
        return front(self.points)

    def reference(self) -> float:
        """The EDP of the dense model on the first design that runs it."""
        found = [p.edp for name in self.designs for p in self.points if p.design == name and p.name == DENSE]
        return found[0] if found else min((point.edp for point in self.points), default=1.0)

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON."""
        return {
            "settings": asdict(self.settings), "designs": list(self.designs), "technology": self.technology,
            "patterns": list(self.patterns), "dense": dict(self.dense), "reference_edp": self.reference(),
            "points": [{**asdict(p), "on_front": p in self.fronts} for p in self.points],
            "budgets": [{**asdict(each), "strictly_better": each.strictly_better} for each in self.budgets],
            "losses": {layer: dict(own) for layer, own in self.losses.items()},
            "costs": {
                design: {layer: {label: asdict(cost) for label, cost in own.items()} for layer, own in by.items()}
                for design, by in self.costs.items()
            },
            "refused": list(self.refused),
        }  # fmt: skip

    def to_json(self, path: Path) -> None:
        document.write(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    def to_html(self, path: Path) -> None:
        """The page, which opens without a network."""
        from sparseloom.report.frontier_page import page

        document.write(path, page(self.to_dict()))

    def __str__(self) -> str:
        return text(self)


def text(found: Frontier) -> str:
    """The front, then for each design and budget the best uniform pattern and the best of all."""
    reference = found.reference()
    head = ("model", "design", "EDP", "loss, validation", "loss, test")
    rows = [
        (p.name, p.design, f"{p.edp / reference:.4f}", *(_points(found.dense, p, split) for split in SPLITS))
        for p in found.fronts
    ]
    lines = ["front of accuracy and EDP, relative to dense on the first design", "", table(head, rows, 2), ""]
    head_of = ("design", "may lose", "uniform", "EDP", "loss, test", "best", "EDP", "loss, test", "")
    lines_of = [
        (b.design, f"{b.budget * 100:g}", *_cell(found, b.uniform), *_cell(found, b.best), "better" if b.strictly_better else "")
        for b in found.budgets
    ]  # fmt: skip
    lines += [table(head_of, lines_of, 1), "", verdict(found), *found.refused]
    return "\n".join(lines)


def verdict(found: Frontier) -> str:
    """In how many of the budgets a pattern per layer is better."""
    return (
        f"a pattern for each layer has less EDP than every uniform one in {found.strictly_better} of {len(found.budgets)} "
        "budgets, and more in none: uniform ones are among what it is chosen from"
    )


def _cell(found: Frontier, point: Point | None) -> tuple[str, str, str]:
    if point is None:
        return ("none", "", "")
    return point.name, f"{point.edp / found.reference():.4f}", _points(found.dense, point, "test")


def _points(dense: Mapping[str, float], point: Point, split: str) -> str:
    """The accuracy that is lost, in points."""
    return f"{(dense[split] - point.accuracy[split]) * 100:+.2f}" if split in point.accuracy and split in dense else "-"


def frontier(
    settings: Settings,
    designs: Sequence[str | Path],
    folder: Path,
    *,
    patterns: Sequence[str] = PATTERNS,
    budgets: Sequence[float] = BUDGETS,
    candidates: int = 6,
    technology: Technology | None = None,
    budget_s: float = 30.0,
    jobs: int = 1,
    watch: Watch | None = None,
) -> Frontier:
    """Train and prune a model by each of the ``patterns``, and with a pattern per layer: so many ``candidates`` for each design
    from the least EDP to the least loss, then as many that are one step from the best within a budget; evaluate all on the
    designs.

    ``settings`` say the model, data and training; its pattern is not used. Every model starts from the same dense one and is
    trained as long as the dense one it is compared with. Candidates are chosen by what pruning a layer alone adds to the
    validation loss and by what the design gains; budgets by validation accuracy; the test split is only reported. Densities
    of activations are those of the dense model. Runs are kept in ``folder``: what is there is not trained again.

    Raises InputError for patterns, designs and settings at fault, before anything is trained.
    """
    technology = technology or Technology()
    faults = list[Fault]()
    asked = dict[str, tuple[str, float | None]]()
    for label in patterns:
        with gathered(faults):
            asked[label] = _asked(label)
    with gathered(faults):
        contenders = set_up(designs, technology)
    if faults:
        raise InputError(faults)
    work = _Work(replace(settings, int8=None, layers=()), folder, asked, watch or (lambda what, done, of: None))
    work.train_uniform()
    comparison = work.compare(contenders, technology, budget_s, jobs)
    costs = {contender.name: work.costs(comparison, contender.name) for contender in contenders}
    losses = work.losses()
    work.train_chains(costs, losses, candidates)
    work.refine(costs, losses, candidates, budgets)
    points = work.points(costs)
    held = tuple(budgeted(points, work.accuracy(DENSE)["validation"], budgets))
    return Frontier(
        settings, tuple(costs), str(technology), work.accuracy(DENSE), tuple(points), held, losses, costs,
        _refused(comparison), tuple(asked),
    )  # fmt: skip


class _Work:
    """The runs and the layers of a frontier. ``assignments`` say the pattern of each layer of every trained model, by its
    name."""

    def __init__(
        self, settings: Settings, folder: Path, asked: Mapping[str, tuple[str, float | None]], tell: Watch
    ) -> None:
        self.settings, self.folder, self.asked, self.tell = settings, folder, asked, tell
        self.records = dict[str, Record]()
        self.assignments = dict[str, Assignment]()
        self.start = folder
        self.imported: Imported | None = None

    def train_uniform(self) -> None:
        """The dense model from which all start, the dense one that is trained on, and one for each pattern."""
        from sparseloom.prune.source import imported

        total = len(self.asked) + 2
        self.tell("start", 0, total)
        _, self.start = self._run("start", pattern=DENSE, density=None, epochs=0)
        self.settings = replace(self.settings, weights=str(self.start / WEIGHTS), pretrain=0)
        for number, (label, (pattern, density)) in enumerate([(DENSE, (DENSE, None)), *self.asked.items()], start=1):
            self.tell(label, number, total)
            self.records[label], place = self._run(label, pattern=pattern, density=density)
            if label == DENSE:
                self.imported = imported(str(place))
        for label in self.records:
            self.assignments[label] = {layer.name: self._own(label, layer) for layer in self.layers}

    def _run(self, label: str, **changes: Any) -> tuple[Record, Path]:
        from sparseloom.prune.run import prune

        own = replace(self.settings, **changes)
        place = self.folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', label).strip('-')}-{digest(own)[:8]}"
        return prune(own, place), place

    @property
    def layers(self) -> tuple[ImportedLayer, ...]:
        assert self.imported is not None
        return self.imported.layers

    def _own(self, label: str, layer: ImportedLayer) -> str:
        """The pattern that a layer has in a uniform model: its name, or dense where a rule says so."""
        weights = {weight.name: weight for weight in self.records[label].weights}
        return label if layer.weight in weights and weights[layer.weight].pattern != DENSE else DENSE

    def compare(
        self, contenders: Sequence[Contender], technology: Technology, budget_s: float, jobs: int
    ) -> Comparison:
        """Every layer with every pattern that it has in some model on every design: layers of one network, so that what is
        alike is searched once. An interrupt is handed on: mappings are found again."""
        assert self.imported is not None
        variants = tuple(self._variant(layer, label) for layer in self.layers for label in self._labels(layer))
        network = replace(self.imported, layers=variants).network

        def watch(found: Comparison, left: int) -> None:
            done = len(found.outcomes) + len(found.refusals)
            self.tell("mappings", done, done + left)

        found = compare(network, contenders, budget_s=budget_s, technology=technology, jobs=jobs, watch=watch)
        if found.interrupted:
            raise KeyboardInterrupt
        return found

    def _labels(self, layer: ImportedLayer) -> list[str]:
        return list(dict.fromkeys(own[layer.name] for own in self.assignments.values()))

    def _variant(self, layer: ImportedLayer, label: str) -> ImportedLayer:
        """A layer with the pattern of a uniform model, and the density that its weights have there."""
        name = f"{layer.name}{VARIANT}{label}"
        if label == DENSE:
            return replace(
                layer, name=name, pattern="", densities={**layer.densities, **({"W": 1.0} if layer.weight else {})}
            )
        weight = next(weight for weight in self.records[label].weights if weight.name == layer.weight)
        pattern = chain_text(Pattern.parse(weight.pattern))
        return replace(layer, name=name, pattern=pattern, densities={**layer.densities, "W": weight.density})

    def costs(self, comparison: Comparison, design: str) -> dict[str, dict[str, Cost]]:
        """What each layer takes with each pattern on a design."""
        found: dict[str, dict[str, Cost]] = {layer.name: {} for layer in self.layers}
        for outcome in comparison.of(design):
            for name, count in zip(outcome.run.names, outcome.run.counts, strict=True):
                layer, _, label = name.partition(VARIANT)
                found[layer][label] = Cost(count * outcome.result.energy_pj, count * outcome.result.cycles)
        return found

    def losses(self) -> dict[str, dict[str, float]]:
        """By layer and pattern, what pruning it alone adds to the validation loss of the model that all start from."""
        from sparseloom.prune.data import load
        from sparseloom.prune.model import weights_of
        from sparseloom.prune.placement import Choice, plan
        from sparseloom.prune.run import trained
        from sparseloom.prune.sensitivity import sensitivities

        _, model = trained(self.start)
        data = load(self.settings.data, self.settings.batch)
        weights = weights_of(model, data.samples(1)[0])
        choice = Choice(self.settings.first, self.settings.only, self.settings.skip, self.settings.pad)
        plans = {
            label: plan(weights, (Pattern.parse(text), density), choice)
            for label, (text, density) in self.asked.items()
        }
        by_weight = sensitivities(model, data.validation, plans)
        return {layer.name: by_weight.get(layer.weight, {DENSE: 0.0}) for layer in self.layers}

    def train_chains(self, costs: ByDesign, losses: Losses, most: int) -> None:
        """For each design, models with a pattern for each layer, from the least EDP to the least loss."""
        wanted = list[Assignment]()
        for own in costs.values():
            if all(own.values()):
                wanted += [
                    each for each in chain(own, losses, most) if each not in [*self.assignments.values(), *wanted]
                ]
        for number, assignment in enumerate(wanted):
            self.tell("per layer", number, len(wanted))
            self._train(assignment)

    def refine(self, costs: ByDesign, losses: Losses, most: int, budgets: Sequence[float]) -> None:
        """For each design so many models more, each one step in one layer from the best that was found within some budget."""
        number = 0
        for design, own in costs.items():
            left = most if all(own.values()) else 0
            while left:
                held = budgeted(self.points({design: own}), self.accuracy(DENSE)["validation"], budgets)
                bests = {each.best.name: each.best for each in held if each.best is not None}
                steps = [
                    next_step(own, losses, best.assignment, list(self.assignments.values())) for best in bests.values()
                ]
                fresh = [step for number, step in enumerate(steps) if step is not None and step not in steps[:number]][
                    :left
                ]
                if not fresh:
                    break
                for step in fresh:
                    self.tell(f"steps for {design}", number, most * len(costs))
                    self._train(step)
                    number += 1
                left -= len(fresh)

    def _train(self, assignment: Assignment) -> None:
        weights = {layer.name: layer.weight for layer in self.layers}
        layers = tuple((weights[layer], *self.asked[label]) for layer, label in assignment.items() if label != DENSE)
        name = f"per layer {len(self.assignments) - len(self.asked)}"
        self.records[name], _ = self._run("per-layer", pattern=DENSE, density=None, layers=layers)
        self.assignments[name] = assignment

    def points(self, costs: ByDesign) -> list[Point]:
        """Every trained model on every design that runs all its layers."""
        return [
            Point(label, design, assignment, self.accuracy(label), edp(own, assignment), label in (DENSE, *self.asked))
            for label, assignment in self.assignments.items()
            for design, own in costs.items()
            if isfinite(edp(own, assignment))
        ]

    def accuracy(self, label: str) -> Mapping[str, float]:
        return self.records[label].accuracies["pruned"]


def _asked(label: str) -> tuple[str, float | None]:
    """A pattern and its density, of ``C0(2:4)`` or ``unstructured@0.3``."""
    text, at, share = label.partition("@")
    try:
        density = float(share) if at else None
    except ValueError:
        raise InputError(Fault(f"'{share}' is no density", path="patterns", fix="write unstructured@0.3")) from None
    Pattern.parse(text).choices(density)
    return text, density


def _refused(comparison: Comparison) -> tuple[str, ...]:
    """Layers and patterns that designs do not run, with the reason, a line for each."""
    found = dict[tuple[str, str], list[str]]()
    for refusal in comparison.refusals:
        for fault in refusal.error.faults:
            found.setdefault((refusal.design, fault.what), []).extend(
                name.replace(VARIANT, " with ") for name in refusal.names
            )
    return tuple(
        f"{design} does not run {', '.join(names[:3])}{f' and {len(names) - 3} more' if names[3:] else ''}: {why}"
        for (design, why), names in found.items()
    )
