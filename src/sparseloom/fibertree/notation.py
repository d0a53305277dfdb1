"""Reading the notation of sparsity patterns. Errors show the text with a caret at the place that is wrong."""

from __future__ import annotations

import re
from typing import NoReturn

from sparseloom.errors import Fault, PatternError
from sparseloom.fibertree.alternative import Alternative
from sparseloom.fibertree.order import UNSTRUCTURED, OrderedRank, RankOrder
from sparseloom.fibertree.permuted import DiagonalBlocks
from sparseloom.fibertree.rule import Bound, KeepRule, Rule, Unconstrained

_FIX = "write ranks from high to low with their rules, like RS->C1->C0(2:4), CRS(unconstrained) or dense; C0({G<=2}:4)"


class _Reader:
    """The text and how far it is read. ``take`` skips blanks first."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def take(self, pattern: str) -> str | None:
        """The text that matches here, read past it; None, and nothing read, where it does not match."""
        found = re.compile(rf"\s*({pattern})", re.IGNORECASE).match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found.group(1)

    def need(self, pattern: str, expected: str) -> str:
        found = self.take(pattern)
        if found is None:
            self.fail(f"expected {expected}")
        return found

    def number(self, expected: str = "a number") -> int:
        return int(self.need(r"\d+", expected))

    def place(self) -> int:
        blanks = re.compile(r"\s*").match(self.text, self.at)
        return blanks.end() if blanks else self.at

    def fail(self, what: str, at: int | None = None) -> NoReturn:
        at = self.place() if at is None else at
        found = f", found '{self.text[at:].split()[0]}'" if self.text[at:].strip() else ", found the end"
        shown = what + (found if what.startswith("expected") else "")
        raise PatternError(Fault(f"cannot read the pattern: {shown}\n  {self.text}\n  {' ' * at}^", fix=_FIX))


def read(text: str) -> tuple[Alternative, ...]:
    """The alternatives of a pattern, separated by semicolons. Raises PatternError with a caret at the fault."""
    reader = _Reader(text)
    alternatives = [_alternative(reader)]
    while reader.take(";"):
        alternatives.append(_alternative(reader))
    if reader.place() < len(text):
        reader.fail("expected '->', ';' or the end")
    return tuple(alternatives)


def _alternative(reader: _Reader) -> Alternative:
    if reader.take(r"dense\b"):
        return RankOrder()
    if reader.take(rf"{UNSTRUCTURED}\b(\s+sparse\b)?"):
        return RankOrder((OrderedRank(UNSTRUCTURED, rule=Unconstrained()),))
    for word, read_call in (("block", _block), ("dbb", _density_bound), ("permdiag", _diagonals)):
        if reader.take(rf"{word}\s*\("):
            alternative = read_call(reader)
            reader.need(r"\)", "')'")
            return alternative
    return _order(reader)


def _order(reader: _Reader) -> RankOrder:
    ranks = [_rank(reader)]
    while reader.take("->|→"):
        at = reader.place()
        ranks.append(_rank(reader))
        if sum(isinstance(rank.rule, Unconstrained) for rank in ranks) > 1:
            reader.fail("only one rank may be unconstrained", at)
    return RankOrder(tuple(ranks))


def _name(reader: _Reader) -> str:
    return reader.need(r"[a-z_]\w*", "a rank")


def _rank(reader: _Reader) -> OrderedRank:
    name = _name(reader)
    sizes: list[int] = []
    if reader.take("="):
        sizes.append(_positive(reader))
        while reader.take(r"x(?=\s*\d)"):
            sizes.append(_positive(reader))
    rule = None
    if reader.take(r"\("):
        rule = _rule(reader)
        reader.need(r"\)", "')'")
    return OrderedRank(name, tuple(sizes), rule)


def _positive(reader: _Reader) -> int:
    at = reader.place()
    number = reader.number()
    if number < 1:
        reader.fail("a size is at least 1", at)
    return number


def _rule(reader: _Reader) -> Rule:
    if reader.take(r"unconstrained\b"):
        return Unconstrained()
    at = reader.place()
    kept = _bound(reader, "G")
    reader.need(":", "':'")
    shape_at = reader.place()
    shape = _bound(reader, "H")
    if shape.low < 1:
        reader.fail("H is at least 1", shape_at)
    if kept.high > shape.high:
        reader.fail(f"G is {kept.high} but H is only {shape.high}, a fiber cannot keep more than it has", at)
    return KeepRule(kept, shape)


def _bound(reader: _Reader, letter: str) -> Bound:
    """``4``, ``{G<=8}``, ``{2<=G<=8}``; the braces may be left out."""
    at = reader.place()
    brace = reader.take(r"\{")
    low = reader.take(r"\d+")
    less = "<=|≤"
    if low is not None and not brace and not reader.take(less):
        return Bound(int(low), int(low))
    if low is not None and brace:
        reader.need(less, "'<='")
    expected = f"{letter} or a number" if low is None and not brace else letter
    reader.need(letter, expected)
    reader.need(less, "'<='")
    bound = Bound(1 if low is None else int(low), reader.number())
    if brace:
        reader.need(r"\}", "'}'")
    if bound.low > bound.high:
        reader.fail(f"no {letter} lies between {bound.low} and {bound.high}", at)
    return bound


def _block(reader: _Reader) -> RankOrder:
    """``block(M:8, K:8)`` is ``M1K1(unconstrained)->M0K0=8x8``."""
    names, sizes = [], []
    while True:
        names.append(_name(reader))
        reader.need(":", "':'")
        sizes.append(_positive(reader))
        if not reader.take(","):
            break
    upper = OrderedRank("".join(f"{name}1" for name in names), rule=Unconstrained())
    return RankOrder((upper, OrderedRank("".join(f"{name}0" for name in names), tuple(sizes))))


def _density_bound(reader: _Reader) -> RankOrder:
    """``dbb(C: 3/8)`` is ``C0(3:8)``."""
    name = _name(reader)
    reader.need(":", "':'")
    at = reader.place()
    kept = reader.number()
    reader.need("/", "'/'")
    shape = _positive(reader)
    if kept > shape:
        reader.fail(f"{kept} of {shape}: a block cannot keep more than it has", at)
    return RankOrder((OrderedRank(f"{name}0", rule=KeepRule.exactly(kept, shape)),))


def _diagonals(reader: _Reader) -> DiagonalBlocks:
    row = _name(reader)
    reader.need(",", "','")
    column = _name(reader)
    reader.need(":", "':'")
    size = _positive(reader)
    k: list[int] = []
    if reader.take(r",\s*k\s*="):
        many = reader.take(r"\[")
        k.append(reader.number("k"))
        while many and reader.take(","):
            k.append(reader.number("k"))
        if many:
            reader.need(r"\]", "']'")
    return DiagonalBlocks(row, column, size, tuple(k))
