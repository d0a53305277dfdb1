"""What `sparseloom prune` does: train and prune, show how far it is, print."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from sparseloom.errors import INTERRUPTED, Fault, InputError
from sparseloom.prune.record import Settings
from sparseloom.report.pruning import text


def require_torch(*more: str) -> None:
    """Raises InputError where PyTorch, or a library that is needed with it, is not installed."""
    import importlib.util

    missing = [name for name in ("torch", "sklearn", *more) if importlib.util.find_spec(name) is None]
    if missing:
        extras = "prune,onnx" if more else "prune"
        fix = f"pip install 'sparseloom[{extras}]' (on a machine without a GPU install the CPU build of torch first)"
        raise InputError(Fault(f"this needs {' and '.join(missing)}, not installed here", fix=fix))


def prune_model(settings: Settings, folder: Path, json_path: Path | None) -> int:
    """Prune, print, write; an exit code."""
    require_torch()
    from sparseloom.prune.run import prune

    console = Console(stderr=True)
    with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("starting", total=None)

        def watch(phase: str, epoch: int, epochs: int, done: int, batches: int | None) -> None:
            total = None if batches is None else epochs * batches
            at = None if batches is None else epoch * batches + done
            progress.update(bar, description=f"{phase}: epoch {epoch + 1} of {epochs}", completed=at, total=total)

        try:
            record = prune(settings, folder, watch)
        except KeyboardInterrupt:
            print(f"interrupted: the same command goes on behind the last whole epoch, in {folder}", file=sys.stderr)
            return INTERRUPTED
    print(text(record))
    print(f"\nweights, masks and this record: {folder}", file=sys.stderr)
    if json_path is not None:
        record.to_json(json_path)
    return 0


def import_network(target: str, data: str, samples: int, output: Path, tensors: Path | None) -> None:
    """Import, print, write."""
    require_torch(*(("onnx", "onnxruntime") if target.endswith(".onnx") else ()))
    from sparseloom import document
    from sparseloom.prune.imported import write_tensors
    from sparseloom.prune.source import imported
    from sparseloom.report.importing import text as words

    console = Console(stderr=True)
    with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("samples", total=samples)
        found = imported(target, data, samples, tensors is not None, lambda done: progress.update(bar, completed=done))
    document.write(output, found.text)
    print(words(found))
    print(f"\nthe network is {output}", file=sys.stderr)
    if tensors is not None:
        files = write_tensors(found, tensors)
        print(f"{len(files)} workloads with the tensors of one sample: {tensors}", file=sys.stderr)


def frontier_of(
    settings: Settings, designs: list[str], patterns: list[str], budgets: list[float], candidates: int, node_nm: float,
    budget_s: float, jobs: int, folder: Path, output: Path | None, json_path: Path | None,
) -> int:  # fmt: skip
    """Train, search, print, write; an exit code."""
    require_torch()
    from sparseloom.arch.technology import Technology
    from sparseloom.report.frontier import frontier

    console = Console(stderr=True)
    with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("starting", total=None)
        try:
            found = frontier(
                settings, designs, folder, patterns=patterns, budgets=budgets, candidates=candidates,
                technology=Technology(node_nm), budget_s=budget_s, jobs=jobs or os.cpu_count() or 1,
                watch=lambda what, done, total: progress.update(bar, description=what, completed=done, total=total),
            )  # fmt: skip
        except KeyboardInterrupt:
            print(f"interrupted: the same command goes on, models that were trained are in {folder}", file=sys.stderr)
            return INTERRUPTED
    if json_path is not None:
        found.to_json(json_path)
    if output is not None:
        found.to_html(output)
        print(f"the page is {output}", file=sys.stderr)
    print(found)
    return 0
