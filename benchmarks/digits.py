"""Accuracy on the digits: paired losses of patterns against a dense model in 8 bits that is trained as long, over seeds.

``python -m benchmarks.digits FOLDER [lenet5 convnet vit]`` trains what FOLDER does not hold yet, in two processes of one thread
each, and prints a table: mean loss in points of the test split and the 95 % interval of the mean (Student's t over seeds). Patterns
and the recipe were chosen on the validation split.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from math import sqrt
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t as student

from sparseloom.prune.record import WEIGHTS, Settings
from sparseloom.results.table import table

DENSE = "dense"
PATTERNS = {
    "lenet5": (
        "dbb(C: 2/8)", "dbb(C: 3/8)", "dbb(C: 4/8)", "C0(1:2)", "C0(1:4)", "C0(2:4)", "C0(1:8)", "C0(2:16)", "C0(4:16)",
        "C1(3:4)->C0(2:4)",
        "unstructured@0.375", "unstructured@0.25",
    ),
    "convnet": (
        "dbb(C: 2/8)", "dbb(C: 3/8)", "dbb(C: 4/8)", "C1(3:4)->C0(2:4)",
        *(f"block(M:8, C:8)@{density}" for density in (0.75, 0.5, 0.375, 0.25)),
        *(f"block(M:16, C:4)@{density}" for density in (0.5,)), *(f"block(M:4, C:16)@{density}" for density in (0.5,)),
        *(f"unstructured@{density}" for density in (0.75, 0.5, 0.25)), "permdiag(M,C: 2)", "permdiag(M,C: 4)", "permdiag(M,C: 8)",
    ),
    "vit": (
        "dbb(C: 2/8)", "dbb(C: 3/8)", "dbb(C: 4/8)", "C1(3:4)->C0(2:4)", "block(M:8, C:8)@0.5", "block(M:8, C:8)@0.375",
    ),
}  # fmt: skip
SEEDS = {"lenet5": 20, "convnet": 5, "vit": 5}
RECIPE = {
    "lenet5": Settings("lenet5", "digits:32", pretrain=40, epochs=20, int8=10, learning_rate=2e-3),
    "convnet": Settings("convnet", "digits", pretrain=20, epochs=10, int8=5, learning_rate=2e-3),
    "vit": Settings("vit", "digits", pretrain=60, epochs=20, int8=10, learning_rate=2e-3),
}


@dataclass(frozen=True)
class Task:
    """The runs of one seed of a model, with all patterns."""

    model: str
    seed: int
    folder: Path


def train(task: Task) -> dict[str, dict[str, float]]:
    """Accuracies in 8 bits by pattern and split; ``permdiag`` is trained from scratch with fixed masks, as PermDNN does."""
    import torch

    from sparseloom.prune.run import prune

    torch.set_num_threads(1)
    recipe = replace(RECIPE[task.model], seed=task.seed)
    home = task.folder / task.model / str(task.seed)
    start = home / "start"
    prune(replace(recipe, pattern=DENSE, epochs=0, int8=None), start)
    tuned = replace(recipe, weights=str(start / WEIGHTS), pretrain=0)
    scratch = replace(recipe, pretrain=0, epochs=recipe.pretrain + recipe.epochs, schedule="fixed")
    found = {}
    for label in (DENSE, *PATTERNS[task.model]):
        pattern, _, density = label.partition("@")
        base = scratch if label.startswith("permdiag") else tuned
        record = prune(replace(base, pattern=pattern, density=float(density) if density else None), home / _slug(label))
        found[label] = dict(record.accuracies["int8"])
    return found


def _slug(label: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in label)


def interval(values: list[float]) -> tuple[float, float]:
    """The mean, and how far the 95 % interval of it reaches to both sides."""
    if len(values) < 2:
        return values[0], float("inf")
    return mean(values), float(student.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))


def rows(model: str, found: list[dict[str, dict[str, float]]]) -> Iterator[tuple[str, ...]]:
    dense = [each[DENSE]["test"] for each in found]
    yield model, DENSE, str(len(found)), f"{100 * mean(dense):.2f}", "", "", ""
    for label in PATTERNS[model]:
        cells = []
        for split in ("test", "validation"):
            loss, reach = interval([100 * (each[DENSE][split] - each[label][split]) for each in found])
            cells += [f"{loss:+.2f}", f"{reach:.2f}"]
        yield model, label, str(len(found)), f"{100 * mean(each[label]['test'] for each in found):.2f}", *cells[:3]


def main(folder: Path, models: list[str]) -> None:
    everything = {}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for model in models:
            tasks = [Task(model, seed, folder) for seed in range(SEEDS[model])]
            everything[model] = list(pool.map(train, tasks))
            head = ("model", "pattern", "seeds", "test %", "loss", "+-", "loss, validation")
            print(table(head, list(rows(model, everything[model])), 2), flush=True)
    (folder / "digits.json").write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(SEEDS))
