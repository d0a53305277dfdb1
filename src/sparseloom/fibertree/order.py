"""An order of ranks, some with a rule: ``RS->C1->C0(2:4)``. Ranks are flattened by joining names, split by numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product

import numpy as np

from sparseloom.errors import Fault, PatternError
from sparseloom.fibertree.alternative import Alternative, Importance, Norm
from sparseloom.fibertree.density import BoolArray, Dense, Density, IntArray, Uniform, whole
from sparseloom.fibertree.rule import KeepRule, Rule, Unconstrained
from sparseloom.fibertree.structured import Hierarchical, kept_of
from sparseloom.fibertree.tree import Level, Part, Tree

UNSTRUCTURED = "unstructured"
"""The name of all ranks of a tensor flattened into one, whichever they are."""


@dataclass(frozen=True)
class OrderedRank:
    """A rank of the pattern: its name, the coordinates of its parts where stated (``M0K0=8x8``), its rule."""

    name: str
    sizes: tuple[int, ...] = ()
    rule: Rule | None = None

    def __str__(self) -> str:
        if self.name == UNSTRUCTURED:
            return self.name
        sizes = "=" + "x".join(str(size) for size in self.sizes) if self.sizes else ""
        return f"{self.name}{sizes}({self.rule})" if self.rule else f"{self.name}{sizes}"


@dataclass(frozen=True)
class RankOrder(Alternative):
    """Ranks from the highest to the lowest, those with a rule pruned. Without ranks: dense.

    Ranks of the tensor that are not named are outermost and not pruned. A part's coordinate count is the H of its rule
    or stated with ``=``; the highest part of a rank takes the rest, and if its own count is known, the rest is one
    more part, outermost.
    """

    ranks: tuple[OrderedRank, ...] = ()

    def __str__(self) -> str:
        return "->".join(str(rank) for rank in self.ranks) or "dense"

    @property
    def any_degree(self) -> bool:
        return any(isinstance(rank.rule, Unconstrained) for rank in self.ranks)

    @property
    def _ruled_share(self) -> Fraction:
        """The density that the G:H rules leave, each with one G and one H."""
        rules = [rank.rule for rank in self.ranks if isinstance(rank.rule, KeepRule)]
        return math.prod((Fraction(rule.kept.high, rule.shape.high) for rule in rules), start=Fraction(1))

    def _each(self, loosest: bool) -> list[RankOrder]:
        options: list[list[Rule | None]] = []
        for rank in self.ranks:
            rule = rank.rule
            if isinstance(rule, KeepRule):
                options.append([*(rule.loosest() if loosest else rule.choices())])
            else:
                options.append([rule])
        return [
            RankOrder(tuple(replace(rank, rule=rule) for rank, rule in zip(self.ranks, rules, strict=True)))
            for rules in product(*options)
        ]

    def choices(self) -> list[tuple[Fraction, Alternative]]:
        """Those that prune the lowest rank most come first: the finest grain costs the least accuracy."""
        if self.any_degree:
            return []

        def from_lowest(order: RankOrder) -> list[Fraction]:
            return [RankOrder((rank,))._ruled_share for rank in reversed(order.ranks)]

        return [(order._ruled_share, order) for order in sorted(self._each(loosest=False), key=from_lowest)]

    def tree(self, ranks: Sequence[str], shape: Sequence[int], density: float | None = None) -> Tree:
        """The pattern on a tensor. Raises PatternError: unknown ranks, a rule that does not divide its rank."""
        share = 1.0
        if self.any_degree:
            share = self._free_share(density)
        return Tree(tuple(shape), _levels(self, ranks, shape, share))

    def _free_share(self, density: float | None) -> float:
        """What the unconstrained rank keeps for the whole to have this density."""
        if density is None:
            raise PatternError(Fault(f"pattern {self} admits any density, none was given", fix="give a density"))
        share = Fraction(density) / self._ruled_share if self._ruled_share else Fraction(0)
        if float(share) > 1 + 1e-9:
            what = f"density {float(density):g} is above {float(self._ruled_share):g}, the most that {self} keeps"
            raise PatternError(Fault(what, path="density", fix="lower the density, or loosen the G:H rules"))
        return min(float(share), 1.0)

    def density_model(self, ranks: Sequence[str], shape: Sequence[int], density: float | None) -> Density:
        tree = self.tree(ranks, shape, density)
        if not any(level.prunes for level in tree.levels):
            return Dense(tuple(shape))
        if tree.levels[0].kept is not None and tree.levels[0].shape == math.prod(shape):
            return Uniform(tuple(shape), float(tree.density))
        return Hierarchical(tuple(shape), tree.levels)

    def mask(
        self, importance: Importance, ranks: Sequence[str], density: float | None, norm: Norm, centre: float = 0.0
    ) -> BoolArray:
        """Lowest rank first: keep the coordinates whose payloads are the most important of what is left.

        Source: thesis, section 5.2.2. Of equals, the lower coordinate stays.
        """
        from sparseloom.fibertree.largest import largest

        tree = self.tree(ranks, importance.shape, density)
        left = tree.unfold(importance)
        mask = np.ones(left.shape, dtype=np.bool_)
        for depth in reversed(range(len(tree.levels))):
            if not tree.levels[depth].prunes:
                continue
            payload = _of_payloads(left, depth, norm, centre)
            kept = largest(payload, tree.levels[depth].kept or 0)
            kept = kept.reshape(kept.shape + (1,) * (left.ndim - depth - 1))
            left, mask = left * kept, mask & kept
        return tree.fold(mask)

    def multiples(self, ranks: Sequence[str]) -> dict[str, int]:
        found = dict.fromkeys(ranks, 1)
        for digit in (digit for level in _digits(self, ranks) for digit in level):
            found[ranks[digit.rank]] *= digit.size or 1
        return found

    def with_payload(self, ranks: Sequence[str], payload: Sequence[str]) -> RankOrder:
        named = {ranks[rank] for order in self.ranks for rank, _ in split_name(order.name, ranks) or ()}
        more = "".join(name for name in payload if name not in named)
        whole = bool(self.ranks) and self.ranks[-1].rule is None
        return RankOrder((*self.ranks, OrderedRank(more))) if more and whole else self

    def eased(self, share: float, density: float | None) -> tuple[RankOrder, float | None]:
        """Every rule keeps more: G of H becomes H - share (H - G), rounded up."""

        def looser(rule: Rule | None) -> Rule | None:
            if not isinstance(rule, KeepRule):
                return rule
            kept, shape = rule.kept.high, rule.shape.high
            return KeepRule.exactly(math.ceil(whole(shape - share * (shape - kept))), shape)

        order = RankOrder(tuple(replace(rank, rule=looser(rank.rule)) for rank in self.ranks))
        if not self.any_degree:
            return order, None
        return order, (1 - share * (1 - self._free_share(density))) * float(order._ruled_share)

    def units(self, ranks: Sequence[str], shape: Sequence[int]) -> IntArray:
        tree = Tree(tuple(shape), _levels(self, ranks, shape, 1.0))
        ruled = [depth for depth, level in enumerate(tree.levels) if level.kept is not None]
        sizes = [level.shape for level in tree.levels]
        above = sizes[: ruled[-1] + 1] if ruled else []
        numbers = np.arange(math.prod(above), dtype=np.int64).reshape(above + [1] * (len(sizes) - len(above)))
        return tree.fold(np.broadcast_to(numbers, sizes))

    def obeys(self, mask: BoolArray, ranks: Sequence[str]) -> bool:
        faults: list[Fault] = []
        orders = self._each(loosest=True)
        for order in orders:
            try:
                tree = Tree(mask.shape, _levels(order, ranks, mask.shape, 1.0))
            except PatternError as error:
                faults += error.faults
                orders = [other for other in orders if other is not order]
                continue
            if _tree_obeys(tree, mask):
                return True
        if not orders:
            raise PatternError(faults)
        return False


def _of_payloads(left: Importance, depth: int, norm: Norm, centre: float) -> Importance:
    """The importance of the payload of each coordinate down to ``depth``, or what orders them alike."""
    points = tuple(range(depth + 1, left.ndim))
    if norm in ("mean", "l1"):
        return np.asarray(left.mean(axis=points))
    if norm in ("rms", "l2"):
        return np.asarray((left**2).mean(axis=points))
    own = norm == "variance" and math.prod(left.shape[depth + 1 :]) > 1
    return np.asarray(left.var(axis=points) if own else ((left - centre) ** 2).mean(axis=points))


def _tree_obeys(tree: Tree, mask: BoolArray) -> bool:
    """Below the lowest rule, a payload is complete or gone; each fiber with a rule has at most that many left."""
    whole = tree.unfold(mask)
    ruled = [depth for depth, level in enumerate(tree.levels) if level.kept is not None]
    if not ruled:
        return bool(whole.all())
    below = tuple(range(ruled[-1] + 1, whole.ndim))
    if not np.array_equal(whole.all(axis=below), whole.any(axis=below)):
        return False
    for depth in reversed(ruled):
        nonempty = np.asarray(whole.any(axis=tuple(range(depth + 1, whole.ndim))))
        if (nonempty.sum(axis=-1) > (tree.levels[depth].kept or 0)).any():
            return False
    return True


@dataclass(frozen=True)
class _Digit:
    """A part of a tensor rank as the pattern names it; ``number`` None: the whole rank; ``size`` None: not stated."""

    rank: int
    number: int | None
    size: int | None


def split_name(name: str, ranks: Sequence[str]) -> list[tuple[int, int | None]] | None:
    """The tensor ranks (by number) that a flattened name joins, with their part numbers; None if it does not.

    >>> split_name("M1K1", ("M", "K")), split_name("PRC", ("C", "PR"))
    ([(0, 1), (1, 1)], [(1, None), (0, None)])
    """
    if name == UNSTRUCTURED and UNSTRUCTURED not in ranks:
        return [(rank, None) for rank in range(len(ranks))]
    if not name:
        return []
    for rank in sorted(ranks, key=len, reverse=True):
        if name.startswith(rank):
            digits = re.match(r"\d*", name[len(rank) :])
            number = digits.group() if digits else ""
            rest = split_name(name[len(rank) + len(number) :], ranks)
            if rest is not None:
                return [(ranks.index(rank), int(number) if number else None), *rest]
    return None


def _digits(order: RankOrder, ranks: Sequence[str]) -> list[list[_Digit]]:
    """For each rank of the pattern, its parts. Raises PatternError for names that are not the tensor's."""
    found, faults = [], []
    for rank in order.ranks:
        parts = split_name(rank.name, ranks)
        if parts is None:
            fix = f"join the tensor's ranks {', '.join(ranks)}, numbered where split, like {ranks[0]}1->{ranks[0]}0"
            faults.append(Fault(f"rank {rank.name} of {order} is not made of the tensor's ranks", fix=fix))
        elif rank.sizes and len(rank.sizes) != len(parts):
            what = f"rank {rank.name} of {order} has {len(parts)} parts, {len(rank.sizes)} sizes are given"
            faults.append(Fault(what, fix="give one size for each part, like M0K0=8x8"))
        else:
            sizes: list[int | None] = list(rank.sizes) or [None] * len(parts)
            if len(parts) == 1 and parts[0][1] is not None and isinstance(rank.rule, KeepRule):
                sizes = [rank.rule.shape.high] if sizes == [None] else sizes
            found.append([_Digit(r, number, size) for (r, number), size in zip(parts, sizes, strict=True)])
    if faults:
        raise PatternError(faults)
    return found


def _levels(order: RankOrder, ranks: Sequence[str], shape: Sequence[int], share: float) -> tuple[Level, ...]:
    """The tree's levels: first the ranks and rests of ranks that the pattern does not name, then the pattern's."""
    if len(ranks) != len(shape) or len(set(ranks)) != len(ranks):
        what = f"ranks {', '.join(ranks)} do not name the {len(shape)} ranks of the tensor"
        raise PatternError(Fault(what, fix="give each rank of the tensor a name of its own"))
    digits = _digits(order, ranks)
    faults: list[Fault] = []
    outer: list[Part] = []
    parts: dict[tuple[int, int | None], Part] = {}
    for rank, name in enumerate(ranks):
        named = [digit for level in digits for digit in level if digit.rank == rank]
        try:
            rest, sized = _rank_parts(order, name, shape[rank], rank, named)
        except PatternError as error:
            faults += error.faults
            continue
        outer += [rest] if rest.shape > 1 or not named else []
        parts.update({(rank, digit.number): part for digit, part in zip(named, sized, strict=True)})
    if faults:
        raise PatternError(faults)
    levels = [Level(tuple(outer))] if outer else []
    for ordered, level in zip(order.ranks, digits, strict=True):
        levels.append(_ruled_level(order, ordered, tuple(parts[digit.rank, digit.number] for digit in level), share))
    return tuple(levels)


def _ruled_level(order: RankOrder, rank: OrderedRank, parts: tuple[Part, ...], share: float) -> Level:
    level = Level(parts)
    if isinstance(rank.rule, Unconstrained):
        return replace(level, kept=kept_of(level.shape, share))
    if rank.rule is None:
        return level
    if level.shape != rank.rule.shape.high:
        what = f"rank {rank.name} has {level.shape} coordinates, its rule {rank.rule} is for {rank.rule.shape.high}"
        split = f"split it ({rank.name}1->{rank.name}0({rank.rule})), or " if len(parts) == 1 else ""
        fix = f"{split}give a rule for {level.shape} coordinates"
        raise PatternError(Fault(f"{what} @ {order}", fix=fix))
    return replace(level, kept=rank.rule.kept.high)


def _rank_parts(order: RankOrder, name: str, shape: int, rank: int, named: list[_Digit]) -> tuple[Part, list[Part]]:
    """The rest of a rank above the parts that the pattern names, and those parts, sized."""
    numbers = [digit.number for digit in named]
    if len(numbers) > 1 and None in numbers:
        raise PatternError(Fault(f"{order} names rank {name} twice", fix=f"number its parts: {name}1->{name}0"))
    if None not in numbers and numbers != list(reversed(range(len(numbers)))):
        what = f"{order} names the parts {', '.join(f'{name}{number}' for number in numbers)} of rank {name}"
        wanted = "->".join(f"{name}{number}" for number in reversed(range(max(n or 0 for n in numbers) + 1)))
        raise PatternError(Fault(what, fix=f"name every part, the highest first: {wanted}"))
    unsized = [f"{name}{digit.number}" for digit in named[1:] if digit.size is None]
    if unsized:
        fix = f"state its coordinates: {unsized[0]}=<number>"
        raise PatternError(Fault(f"part {unsized[0]} of {order} has neither a G:H rule nor a size", fix=fix))
    known = math.prod(digit.size for digit in named if digit.size is not None)
    if known < 1 or shape % known or (None in numbers and named[0].size not in (None, shape)):
        above = max(known, -(-shape // max(known, 1)) * known)
        what = f"{order} needs rank {name} in multiples of {known}, it has {shape} coordinates"
        raise PatternError(Fault(what, fix=f"pad {name} with zeros to {above}, or choose an H that divides {shape}"))
    takes_rest = bool(named) and named[0].size is None
    sizes = [shape // known if digit.size is None else digit.size for digit in named]
    strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    rest = Part(rank, 1 if takes_rest else shape // known, known if named else 1)
    return rest, [Part(rank, size, stride) for size, stride in zip(sizes, strides, strict=True)]
