"""`make bench`: how fast the model is on this machine. Writes docs/benchmarks.md.

Figures are of one core, as medians of runs in this process, with caches emptied before each; the last run is not the first
that the process made, so nothing is compiled in it.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice, permutations, product
from pathlib import Path

import numpy as np

from benchmarks import search
from benchmarks.draw import draw
from sparseloom import case as cases
from sparseloom import designs
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.mapping import Mapping
from sparseloom.memory import forget
from sparseloom.model.batch import in_chunks
from sparseloom.model.evaluate import evaluate

BATCHES = (
    "eyeriss-alexnet-conv2",
    "stc-flexible-m128-k1152-n1024",
    "stc-flexible-rle-dual-m128-k1152-n1024",
    "dstc-m128-k1152-n1024",
)
RUNS = 5
SEED = 20261121
DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    lines = [*_heading(count), *_batches(count), *_singles(), *_commands(), "", *_said(search.rates(_timed)), ""]
    lines += _said(search.proofs())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines += ["", f"Peak memory of this process, batches included: {peak:.2f} GB."]
    DOCS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _said(lines: Iterable[str]) -> list[str]:
    """Lines that are printed as they come, too."""
    found = []
    for line in lines:
        print(line, flush=True)
        found.append(line)
    return found


def _heading(count: int) -> list[str]:
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}"
    )
    return [
        "# Speed, as measured",
        "",
        f"By `make bench` on {machine}; {count:,} pairwise different random mappings for each line, seed {SEED}.",
        f"Medians of {RUNS} runs, caches emptied before each, least and most in brackets.",
        "The speed of a shared machine drifts: beside each line stands the median time of one and the same loop of plain Python,",
        "taken between its runs.",
        "",
    ]


def _batches(count: int) -> list[str]:
    lines = [
        "| design and layer | mappings | full evaluations a second, one core | of them valid | the loop |",
        "|---|---|---|---|---|",
    ]
    for name in BATCHES:
        case = cases.read([name])
        assert case.workload is not None
        assert case.design is not None
        assert case.mapping is not None
        problem = Problem(case.workload, case.design)
        for kind, imperfect, some in (
            ("perfect", 0.0, count),
            ("30 % of ranks imperfect", 0.3, count),
        ):
            batch = draw(problem, case.mapping, some, imperfect, np.random.default_rng(SEED))
            _evaluate(problem, batch[:64])
            times, loop = _timed(lambda p=problem, b=batch: _evaluate(Problem(p.workload, p.design), b))
            valid = _evaluate(problem, batch)
            rates = sorted(some / each for each in times)
            middle = statistics.median(rates)
            lines.append(
                f"| {name} | {some:,} {kind} | {middle:,.0f} ({rates[0]:,.0f} to {rates[-1]:,.0f}) | {valid / some:.1%} | "
                f"{1e3 * loop:.1f} ms |"
            )
            print(lines[-1], flush=True)
    return lines


def _evaluate(problem: Problem, batch: MappingBatch) -> int:
    return sum(int(part.valid.sum()) for part in in_chunks(problem, batch))


def _timed(work: Callable[[], object]) -> tuple[list[float], float]:
    """Seconds of each run, and the median of those that the loop took between them."""
    times, loops = [], []
    for _ in range(RUNS):
        forget()
        times.append(_seconds(work))
        loops += [_seconds(_loop) for _ in range(5)]
    return times, statistics.median(loops)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _loop() -> int:
    """What the machine's speed is measured by."""
    total = 0
    for i in range(100_000):
        total += i * i % 7
    return total


def _singles() -> list[str]:
    lines = ["", "| one evaluation, objects to Result | different mappings | median | the loop |", "|---|---|---|---|"]
    for name in designs.cases():
        case = cases.read([name])
        assert case.workload is not None
        assert case.design is not None
        assert case.mapping is not None
        mappings = _some_mappings(Problem(case.workload, case.design), case.mapping)
        evaluate(case.workload, case.design, case.mapping)
        times = [_seconds(lambda c=case, m=mapping: evaluate(c.workload, c.design, m)) for mapping in mappings]
        loop = statistics.median(_seconds(_loop) for _ in range(25))
        median = 1e3 * statistics.median(times)
        lines.append(f"| {name} | {len(mappings)} | {median:.2f} ms | {1e3 * loop:.1f} ms |")
    return lines


def _some_mappings(problem: Problem, like: Mapping) -> list[Mapping]:
    """Up to 100 valid mappings: random ones, or where buffers are so small that none is found the orders of ``like``'s loops."""
    drawn = draw(problem, like, 40_000, 0.0, np.random.default_rng(SEED))
    valid = np.flatnonzero(np.concatenate([part.valid for part in in_chunks(problem, drawn)]))
    orders = product(*(permutations(level.temporal) for level in like.levels))
    changed = (
        Mapping(tuple(replace(level, temporal=order) for level, order in zip(like.levels, each, strict=True)))
        for each in orders
    )
    return [drawn.mapping(problem, b) for b in valid[:100]] or list(islice(changed, 100))


def _commands() -> list[str]:
    lines = ["", "| fresh process | median of 5, s |", "|---|---|"]
    for what, command in (
        ("`import sparseloom`", ["-c", "import sparseloom"]),
        (
            "`sparseloom evaluate eyeriss-v2-pe-mobilenet-l07`",
            ["-m", "sparseloom", "evaluate", "eyeriss-v2-pe-mobilenet-l07"],
        ),
    ):
        run = [sys.executable, *command]
        times = [_seconds(lambda r=run: subprocess.run(r, check=True, stdout=subprocess.DEVNULL)) for _ in range(6)]
        lines.append(f"| {what} | {statistics.median(times[1:]):.2f} |")
    return lines


if __name__ == "__main__":
    main()
