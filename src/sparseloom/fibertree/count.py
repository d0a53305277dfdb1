"""Counting in boxes of a tensor that a format cuts into intervals, compiled: points, pieces, elements, fibers and units.

Boxes are ``low``, ``high`` [A, N], half open, over A tensor ranks. Steps are those of
:class:`sparseloom.fibertree.fiber.Geometry` as a table [P + 1, A], with 0 for a rank that is not cut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparseloom.kernel import inlined, kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

U, UB, B, CP, RLE, UOP = range(6)
"""Kinds of ranks, as :data:`sparseloom.fibertree.format.KINDS` has them; from B on a fiber exists for nonempty coordinates
only."""


@kernel
def clip(shape: IntArray, low: IntArray, high: IntArray) -> tuple[IntArray, IntArray, bool]:
    """The boxes cut at the edges of a tensor, ``high`` never below ``low``, and whether all of them have points."""
    lows, highs = np.empty(low.shape, np.int64), np.empty(low.shape, np.int64)
    inside = True
    for axis in range(low.shape[0]):
        for n in range(low.shape[1]):
            lows[axis, n] = min(max(low[axis, n], 0), shape[axis])
            highs[axis, n] = max(min(high[axis, n], shape[axis]), lows[axis, n])
            inside = inside and highs[axis, n] > lows[axis, n]
    return lows, highs, inside


@kernel
def points(shape: IntArray, low: IntArray, high: IntArray) -> IntArray:
    """Points of the boxes that lie in a tensor, [N]."""
    found = np.ones(low.shape[1], np.int64)
    for axis in range(low.shape[0]):
        for n in range(low.shape[1]):
            found[n] *= max(min(high[axis, n], shape[axis]) - max(low[axis, n], 0), 0)
    return found


@kernel
def shares(points: FloatArray, share: float) -> FloatArray:
    """A share of each number of points [N], or the whole number that it is but for rounding."""
    found = points * share
    for n in range(points.size):
        nearest = np.rint(found[n])
        if abs(found[n] - nearest) <= 1e-12 * max(found[n], 1.0):
            found[n] = nearest
    return found


@inlined
def _pieces(low, high, step):  # type: ignore[no-untyped-def]
    """Into how many intervals of ``step`` the nonempty range [low, high) is cut."""
    if step == 0:
        return 1
    return high - low if step == 1 else (high - 1) // step - low // step + 1


@kernel
def pieces(low: IntArray, high: IntArray, step: int) -> IntArray:
    """Into how many intervals of ``step`` the nonempty ranges [low, high) are cut, [N]."""
    found = np.empty(low.size, np.int64)
    for n in range(low.size):
        found[n] = _pieces(low[n], high[n], step)
    return found


@inlined
def _most_pieces(low, high, step, cut):  # type: ignore[no-untyped-def]
    """The most intervals of ``cut`` that one interval of ``step`` inside [low, high) holds; cut divides step."""
    if step == 0:
        return _pieces(low, high, cut)
    if cut == 0 or step == cut:
        return 1
    if _pieces(low, high, step) > 2:
        return step // cut
    first, last = min(high, (low // step + 1) * step), max(low, (high - 1) // step * step)
    return max(_pieces(low, first, cut), _pieces(last, high, cut))


@inlined
def _most(steps, rank, below, low, high, n):  # type: ignore[no-untyped-def]
    """The most elements of rank ``below`` in one fiber of ``rank``; 0 in a box without points."""
    most = 1
    for axis in range(low.shape[0]):
        if high[axis, n] <= low[axis, n]:
            return 0
        most *= _most_pieces(low[axis, n], high[axis, n], steps[rank, axis], steps[below + 1, axis])
    return most


@kernel
def largest_fibers(steps: IntArray, rank: int, below: int, low: IntArray, high: IntArray) -> IntArray:
    """The most elements of rank ``below`` that one fiber of ``rank`` has in each box, [N]."""
    found = np.empty(low.shape[1], np.int64)
    for n in range(low.shape[1]):
        found[n] = _most(steps, rank, below, low, high, n)
    return found


@kernel
def single_coordinates(places: IntArray, ranks: int, low: IntArray, high: IntArray) -> NDArray[np.bool_]:
    """Whether each box has one coordinate in each of so many ``ranks``, [N, P]: one piece at every step of it. ``places`` [K, 3]
    are the rank of a part, its tensor rank and its step."""
    found = np.ones((low.shape[1], ranks), np.bool_)
    for k in range(len(places)):
        rank, axis, step = places[k]
        for n in range(low.shape[1]):
            found[n, rank] = found[n, rank] and _pieces(low[axis, n], high[axis, n], step) <= 1
    return found


@inlined
def _most_existing(steps, above, place, most, low, high, n):  # type: ignore[no-untyped-def]
    """The most elements of rank ``place`` (-1: the root) that exist below nonempty ones of ``above`` (-1: the box)."""
    total = _most(steps, 0, place, low, high, n)
    if above < 0:
        return total
    parents = min(_most(steps, 0, above, low, high, n), most)
    return min(total, parents * _most(steps, above + 1, place, low, high, n))


@inlined
def _write_units(result, kind, lowest, fibers, stored, nonempty):  # type: ignore[no-untyped-def]
    """Metadata and payload units of a rank, of its existing fibers, their coordinates and its stored elements."""
    result[0] = stored if kind in (UB, B) else nonempty if kind in (CP, RLE) else 0
    result[1] = stored + fibers if kind == UOP else 0 if lowest or kind in (U, UB) else nonempty


@kernel
def most_units(
    steps: IntArray, kinds: IntArray, bits: IntArray, most: IntArray, low: IntArray, high: IntArray
) -> IntArray:
    """Units of each rank [N, P, 2] that boxes with ``most`` nonzeros do not exceed; ``bits`` [P] of a run length, -1 for any.

    With K nonzeros at most in the box, at most K elements of a rank are nonempty, and at most K fibers exist below
    them, each as large as the largest. Of a run-length encoded rank with n coordinates in f fibers of at most L,
    placeholders are at most ``f * ((L - 1) // 2**r)``, and ``(n - K) // 2**r``.
    """
    result = np.zeros((low.shape[1], kinds.size, 2), np.int64)
    for n in range(low.shape[1]):
        above = -1
        for place in range(kinds.size):
            kind = kinds[place]
            fibers = _most_existing(steps, above, place - 1, most[n], low, high, n)
            stored = _most_existing(steps, above, place, most[n], low, high, n)
            nonempty = min(stored, most[n])
            if kind == RLE and bits[place] >= 0:
                run = np.int64(1) << bits[place]
                runs = (_most(steps, place, place, low, high, n) - 1) // run
                nonempty += min(min(fibers, nonempty) * runs, (stored - nonempty) // run)
            _write_units(result[n, place], kind, place == kinds.size - 1, fibers, stored, nonempty)
            if kind >= B:
                above = place
    return result


@inlined
def _inside(steps, low, high, n):  # type: ignore[no-untyped-def]
    """Into how many pieces box ``n`` is cut at ``steps`` [A]."""
    found = 1
    for axis in range(low.shape[0]):
        found *= _pieces(low[axis, n], high[axis, n], steps[axis])
    return found


@kernel
def mean_units(
    steps: IntArray,
    kinds: IntArray,
    low: IntArray,
    high: IntArray,
    start: IntArray,
    lows: IntArray,
    highs: IntArray,
    exist: FloatArray,
    occupancy: FloatArray,
    placeholders: FloatArray,
) -> FloatArray:
    """Expected units of each rank [N, P, 2] of boxes whose elements of every rank that prunes, but the lowest, are listed:
    ``start``, ``lows``, ``highs`` as :func:`list_elements` has them, ``exist`` how many of each line are nonempty. ``occupancy``
    [N] is the boxes' own, ``placeholders`` [P, N] those of run-length encoded ranks."""
    result = np.zeros((low.shape[1], kinds.size, 2))
    cuts = (start.size - 1) // max(low.shape[1], 1)
    for n in range(low.shape[1]):
        at, listed = n * cuts, False
        for place in range(kinds.size):
            kind, lowest = kinds[place], place == kinds.size - 1
            fibers = stored = nonempty = 0.0
            if not listed:
                fibers, stored = _inside(steps[place], low, high, n), _inside(steps[place + 1], low, high, n)
            elif kind in (UOP, B, UB):
                for line in range(start[at - 1], start[at]):
                    fibers += exist[line] * _inside(steps[place], lows, highs, line)
                    stored += exist[line] * _inside(steps[place + 1], lows, highs, line)
            if kind >= B and lowest:
                nonempty = occupancy[n]
            elif kind >= B:
                for line in range(start[at], start[at + 1]):
                    nonempty += exist[line]
                at, listed = at + 1, True
            nonempty += placeholders[place, n]
            _write_units(result[n, place], kind, lowest, fibers, stored, nonempty)
    return result


@inlined
def _kinds(low, high, step, each):  # type: ignore[no-untyped-def]
    """How many kinds of intervals of ``step`` the range [low, high) is cut into; if ``each``, how many intervals."""
    if each or step == 0:
        return _pieces(low, high, step)
    if step == 1:
        return 1
    starts, ends = low % step != 0, high % step != 0
    within = starts and ends and low // step == (high - 1) // step
    return (1 if _whole(low, high, step) > 0 else 0) + (1 if starts else 0) + (1 if ends and not within else 0)


@inlined
def _whole(low, high, step):  # type: ignore[no-untyped-def]
    """Whole intervals of ``step`` in the range [low, high)."""
    return max(0, high // step - (low + step - 1) // step)


@inlined
def _interval(low, high, step, each, number):  # type: ignore[no-untyped-def]
    """An interval of a kind of :func:`_kinds`, whole ones first, and how many there are of it."""
    if step == 0:
        return low, high, 1
    if each:
        first = (low // step + number) * step
        return max(low, first), min(high, first + step), 1
    if step == 1:
        return low, low + 1, high - low
    whole = _whole(low, high, step)
    if whole > 0 and number == 0:
        first = (low + step - 1) // step * step
        return first, first + step, whole
    if low % step != 0 and number == (1 if whole > 0 else 0):
        return low, min(high, (low // step + 1) * step), 1
    return max(low, (high - 1) // step * step), high, 1


@kernel
def count_elements(cuts: IntArray, each: bool, low: IntArray, high: IntArray) -> IntArray:
    """Where the lines of each box and cut begin that :func:`list_elements` writes, [N Q + 1]."""
    start = np.zeros(low.shape[1] * len(cuts) + 1, np.int64)
    for n in range(low.shape[1]):
        for q in range(len(cuts)):
            lines = 1
            for axis in range(low.shape[0]):
                lines *= _kinds(low[axis, n], high[axis, n], cuts[q, axis], each)
            start[n * len(cuts) + q + 1] = start[n * len(cuts) + q] + lines
    return start


@kernel
def list_elements(
    cuts: IntArray, each: bool, low: IntArray, high: IntArray, start: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Pieces of each box at each of the ``cuts`` [Q, A]: lows and highs [A, L] and how many are like that [L], 1 if ``each`` has
    a line of its own; the last tensor rank is innermost."""
    axes, lines = low.shape[0], start[start.size - 1]
    lows, highs, count = np.empty((axes, lines), np.int64), np.empty((axes, lines), np.int64), np.empty(lines, np.int64)
    for at in range(start.size - 1):
        n, cut = at // len(cuts), cuts[at % len(cuts)]
        for line in range(start[at], start[at + 1]):
            number = line - start[at]
            count[line] = 1
            for axis in range(axes - 1, -1, -1):
                kinds = _kinds(low[axis, n], high[axis, n], cut[axis], each)
                begin, end, times = _interval(low[axis, n], high[axis, n], cut[axis], each, number % kinds)
                number //= kinds
                lows[axis, line], highs[axis, line] = begin, end
                count[line] *= times
    return lows, highs, count
