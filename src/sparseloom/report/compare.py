"""Two results, or two comparisons, laid side by side: what differs, and by what factor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from sparseloom.errors import Fault, InputError
from sparseloom.report.trees import Values, trees
from sparseloom.results import Result
from sparseloom.results import file as result_file
from sparseloom.results.table import number, shorten, table

Leaf = int | float | str | bool | None
_PATH_WIDTH, _TEXT_WIDTH = 56, 22


@dataclass(frozen=True)
class Difference:
    """A place where two results or comparisons differ.

    ``a`` or ``b`` is ``None`` where that one has nothing there, and ``present`` where it has a whole branch (a
    level, a tensor, a rank; a design, a layer) that the other lacks.
    """

    path: str
    a: Leaf
    b: Leaf

    @property
    def ratio(self) -> float | None:
        """``b / a`` of two numbers, ``None`` when ``a`` is zero or one of them is no number."""
        a, b = self.a, self.b
        if isinstance(a, (bool, str)) or isinstance(b, (bool, str)) or not a or b is None:
            return None
        return b / a


def of_files(first: str | Path, second: str | Path, tolerance: float = 0.0) -> tuple[Difference, ...]:
    """Where the results or the comparisons of two JSON files differ. Raises InputError with the faults of both files, and for a
    result beside a comparison."""
    results, comparisons, faults = list[Result](), list[Values](), list[Fault]()
    for path in (first, second):
        try:
            values = result_file.read_values(path)
            if "designs" in values:
                comparisons.append(_comparison(values, str(path)))
            else:
                results.append(result_file.read(path))
        except InputError as error:
            faults += error.faults
    if results and comparisons:
        what = f"of {first} and {second} one is a result, the other a comparison of designs"
        faults.append(Fault(what, fix="give two files that the same command wrote"))
    if faults:
        raise InputError(faults)
    if comparisons:
        return compared(comparisons[0], comparisons[1], tolerance)
    return difference(results[0], results[1], tolerance)


def _comparison(values: Values, file: str) -> Values:
    from sparseloom.report.comparison_file import ComparisonFile

    return result_file.checked(ComparisonFile, values, file, "`sparseloom compare --json` writes a comparison")


def difference(a: Result, b: Result, tolerance: float = 0.0) -> tuple[Difference, ...]:
    """Where ``a`` and ``b`` differ, in the order of a result file.

    Numbers within a relative ``tolerance`` of each other are equal. Paths are those of the file
    (``levels.DRAM.A.reads.actual``).
    """
    return tuple(_walk(a.to_dict(), b.to_dict(), "", tolerance))


def compared(a: Values, b: Values, tolerance: float = 0.0) -> tuple[Difference, ...]:
    """The same of two comparisons, each as ``Comparison.to_dict`` gives it: first the totals (``totals.tc.cycles``), then of the
    designs that both have the layers (``layers.tc.conv1.cycles``), the sweep, and what they are made of
    (``blocks.tc.SMEM.area_um2``)."""
    return tuple(_walk(*trees(a, b), "", tolerance))


def _walk(a: object, b: object, path: str, tolerance: float) -> Iterator[Difference]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys((*a, *b)):
            yield from _walk(a.get(key), b.get(key), f"{path}.{key}" if path else str(key), tolerance)
    elif isinstance(a, list) and isinstance(b, list):
        for i, (left, right) in enumerate(zip_longest(a, b)):
            yield from _walk(left, right, f"{path}[{i}]", tolerance)
    elif not _equal(_leaf(a), _leaf(b), tolerance):
        yield Difference(path, _leaf(a), _leaf(b))


def _leaf(value: object) -> Leaf:
    return value if value is None or isinstance(value, (bool, int, float, str)) else "present"


def _equal(a: Leaf, b: Leaf, tolerance: float) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b) <= tolerance * max(abs(a), abs(b))
    return a == b


def text(differences: tuple[Difference, ...], names: tuple[str, str] = ("a", "b")) -> str:
    """The differences as a table with the columns where, ``names`` and the ratio, at most 120 columns wide."""
    if not differences:
        return "no difference"
    header = ("where", *(shorten(name, _TEXT_WIDTH) for name in names), "ratio")
    return table(header, [_row(row) for row in differences], texts=1)


def _row(row: Difference) -> tuple[str, str, str, str]:
    ratio = "" if row.ratio is None else f"{row.ratio:.4g}"
    return (shorten(row.path, _PATH_WIDTH), _cell(row.a), _cell(row.b), ratio)


def _cell(value: Leaf) -> str:
    if value is None:
        return "-"
    if isinstance(value, (bool, str)):
        lines = str(value).splitlines() or [""]
        return shorten(lines[0] if len(lines) == 1 else f"{lines[0]} ...", _TEXT_WIDTH) or "''"
    return number(value)
