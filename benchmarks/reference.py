"""`python -m benchmarks.reference`: the mapspaces that Sparseloop's authors searched, what is found in each, and the mapping that
they shipped. Writes docs/improvements.md; wants the reference data beside the project.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from sparseloom.mapping.batch import Problem
from sparseloom.mapping.mapspace import Mapspace
from sparseloom.report.mapped import Comparison, compared
from sparseloom.search.mapper import Best, best_mapping
from sparseloom.timeloop import load

FOLDER = Path(__file__).parents[2] / "shared" / "reference" / "sparseloop"
DOCS = Path(__file__).parents[1] / "docs" / "improvements.md"
BUDGET_S = 60.0

TENSOR_CORES = {"TC": "Ampere-Ms", "STC": "Ampere-Ms", "DSTC": "DSTC-Os"}
"""The constraints of each design of figure 15; the others are flexible."""


def cases() -> Iterator[tuple[Path, Path]]:
    """The folder of each case, and its constraints; none where the reference data are missing."""
    mapper = FOLDER / "mapper"
    for case in sorted((FOLDER / "table7_eyeriss").glob("*")):
        yield case, mapper / "table7" / "row_stationary.yaml"
    for case in sorted((FOLDER / "fig15_stc").glob("*")):
        name = TENSOR_CORES.get(case.name.rpartition("__")[2], "FlexibleGH-Ms")
        yield case, mapper / "fig15" / f"{name}-constraints.yaml"


def searched(case: Path, constraints: Path) -> tuple[Best, Comparison]:
    """The best mapping of a case, and the shipped one beside it."""
    found = load([*sorted(case.glob("*.yaml")), constraints], searching=True)
    space = Mapspace(Problem(found.workload, found.design), found.constraints)
    best = best_mapping(space, "edp", budget_s=BUDGET_S)
    assert found.mapping is not None
    return best, compared(space, best, found.mapping, BUDGET_S)


def _row(case: Path, best: Best, given: Comparison) -> str:
    def times(other: float | None) -> str:
        return "-" if given.value is None or other is None else f"{given.value / other:.5f}"

    loosened = given.loosened.value if given.loosened is not None else None
    broken = "; ".join(given.violations) or "none"
    shipped = f"{given.value:.6g}" if given.value is not None else "does not run"
    return (
        f"| {case.name} | {best.size:,} | {best.seconds:.2f} | {'yes' if best.proven else 'no'} | {best.value:.6g} | "
        f"{shipped} | {times(best.value)} | {broken} | {times(loosened)} |"
    )


def main() -> int:
    some = list(cases())
    if not some:
        print(f"the reference data are not at {FOLDER}", file=sys.stderr)
        return 2
    lines = [
        "# The mapspaces of Sparseloop's artifact",
        "",
        "By `python -m benchmarks.reference`. EDP in pJ x cycles, both mappings evaluated by the profile `sparseloom`;",
        "*shipped / best* is the improvement. Where the shipped mapping breaks a constraint it is compared twice: with the best",
        "inside the constraints, which may be worse than it, and with the best when that constraint is loosened to admit it.",
        "Seconds are of one core.",
        "",
        "| case | mappings | s | proven | best | shipped | shipped / best | the shipped one breaks | with that loosened |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case, constraints in some:
        lines.append(_row(case, *searched(case, constraints)))
        print(lines[-1], flush=True)
    DOCS.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
