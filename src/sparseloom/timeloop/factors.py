"""The factors of a directive, and the loop bounds they make of a dimension's size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Final

from sparseloom.document import Node
from sparseloom.errors import suggest
from sparseloom.timeloop.reader import Reader

_FACTOR: Final = re.compile(
    r"(?P<dim>[A-Za-z_]\w*?)\s*(?P<sign><=|>=|=)?\s*(?P<bound>\d{1,16})(?:,(?P<residual>\d{1,16}))?(?=[\s,]|$)[\s,]*"
)


def factors(node: Node | None, limits: bool, reader: Reader) -> Iterator[tuple[Node, re.Match[str]]]:
    """The factors of a directive, ``M8 C=1 K=4,2`` or a list of such texts: groups ``dim``, ``bound``, ``residual``, and ``sign``
    where they are ``limits`` of a constraint, ``M<=8``; those have no residual. What is no factor is a fault, and ends its text."""
    if node is None or node.value is None:
        return
    for item in node.value if isinstance(node.value, list) else [node]:
        text, place = reader.text(item) or "", 0
        while place < len(text):
            match = _FACTOR.match(text, place)
            if match is None or (match["residual"] if limits else match["sign"] in ("<=", ">=")):
                if limits:
                    fix = "write M=8, M8, M<=8 or M=0"
                else:
                    fix = (
                        "`<=` is for constraints"
                        if "<=" in text
                        else "write M=8, M8, or M=8,3 for a shorter last visit"
                    )
                reader.fault(item, f"'{text[place:].split()[0]}' is not a factor", fix)
                break
            yield item, match
            place = match.end()


@dataclass(frozen=True)
class Factor:
    """A factor as written: ``bound`` 0 stands for what the other factors leave; ``residual`` is None if not given."""

    node: Node
    bound: int
    residual: int | None = None


class Factors(dict[str, Factor]):
    """The factors of one directive, by dimension."""

    @staticmethod
    def read(node: Node | None, dimensions: tuple[str, ...], reader: Reader) -> Factors:
        """Read ``M8 C=1 K=4,2``, or a list of such texts. ``K=4,2`` has 4 iterations, the last time 2."""
        found = Factors()
        for item, match in factors(node, False, reader):
            found._put(match, item, dimensions, reader)
        return found

    def _put(self, match: re.Match[str], node: Node, dimensions: tuple[str, ...], reader: Reader) -> None:
        name = match["dim"]
        if name not in dimensions:
            if dimensions:
                reader.fault(node, f"unknown dimension '{name}' in the factors", suggest(name, dimensions))
        elif name in self:
            reader.fault(node, f"dimension {name} has two factors", "keep one of them")
        else:
            self[name] = Factor(node, int(match["bound"]), int(match["residual"]) if match["residual"] else None)


def bounds(node: Node, dimension: str, size: int, chain: list[tuple[Node, Factor]], reader: Reader) -> list[int]:
    """The bounds of a dimension's loops, outermost first; faults if they do not make ``size`` exactly.

    The loops count the dimension's points in mixed radix. The last point's digits say how many iterations each loop
    makes when all loops outside it are at their last: that number must be the written residual, or the factor where
    none is written (so factors without residuals multiply to the size).
    """
    factors = [factor for _, factor in chain]
    found = [factor.bound for factor in factors]
    open_places = [i for i, bound in enumerate(found) if bound == 0]
    others = prod(bound for bound in found if bound)
    if len(open_places) > 1:
        lines = " and ".join(factors[i].node.where for i in open_places[:2])
        reader.fault(
            factors[open_places[1]].node, f"dimension {dimension} has two factors 0, at {lines}", "give one a number"
        )
        return [bound or 1 for bound in found]
    if open_places:
        at = open_places[0]
        found[at] = max(1, size // others)
        if size % others:
            what = f"factor 0 of {dimension} stands for {size} / {others}, which is not whole"
            reader.fault(factors[at].node, what, "choose factors that divide the dimension")
            return found
    total = prod(found)
    if total < size or (total > size and all(factor.residual is None for factor in factors)):
        product = f"{' x '.join(map(str, found))} = {total}" if len(found) > 1 else str(total)
        what = f"the factors of {dimension} make {product}, its size is {size}"
        fix = "raise a factor" if total < size else "lower a factor, or write the last visit's iterations: M=4,2"
        reader.fault(node, what, fix)
        return found
    _check_residuals(dimension, size, found, factors, reader)
    return found


def _check_residuals(dimension: str, size: int, found: list[int], factors: list[Factor], reader: Reader) -> None:
    step, rest = prod(found), size - 1
    for bound, factor in zip(found, factors, strict=True):
        step //= bound
        last = rest // step + 1
        rest %= step
        written = bound if factor.residual is None else factor.residual
        if written != last:
            what = f"the last visit of {dimension}={bound} has {last} iterations, {written} are written"
            reader.fault(factor.node, what, f"write {dimension}={bound},{last}, or choose factors that make {size}")
