"""What each loop of a nest is to an edge, and what its advance changes, compiled.

What the arguments mean is said in :class:`sparseloom.model.task.Task` and :func:`sparseloom.model.products.emit_batch`.
"""

from __future__ import annotations

from sparseloom.kernel import inlined
from sparseloom.model.digits import MERGED, PLACE, REST, SPREAD, TILE, TIME
from sparseloom.model.nests import BOUND, KIND, LEVEL, RANK, STEP, TAIL


@inlined
def set_roles(nest, n, indexed, parent, child, levels, merge, judges, role, free):
    """Say what each loop is to the edge, and set bit k of those whose digits vary within the k-th judge's transfer: in the tile,
    in the period, over the group. Returns whether the judges' groups are those digits alone, and not receivers whose
    windows happen to be equal."""
    last = n
    if child < levels:
        last = n - 1
        while last >= 0 and not (nest[KIND, last] == 0 and nest[LEVEL, last] < child and indexed[nest[RANK, last]]):
            last -= 1
    for i in range(n):
        free[i] = 0
        if nest[LEVEL, i] >= child:
            role[i] = TILE
        elif nest[KIND, i] == 0:
            role[i] = TIME if i <= last else REST
        elif nest[LEVEL, i] < parent:
            role[i] = PLACE
        else:
            role[i] = MERGED if merge and not indexed[nest[RANK, i]] else SPREAD
    fits = True
    for k in range(len(judges)):
        fits = fits and _varying(nest, n, judges, k, levels, free)
    return fits


@inlined
def _varying(nest, n, judges, k, levels, free):
    """Set bit ``k`` of loops whose digits vary within a judge's transfer: in the tile, in the period, over the group. Returns
    whether its groups are those digits alone, and not receivers whose windows happen to be equal."""
    parent, child, merge = judges[k, 0], judges[k, 1], judges[k, 2] == 1
    last = n
    if child < levels:
        last = n - 1
        while last >= 0 and not (
            nest[KIND, last] == 0 and nest[LEVEL, last] < child and judges[k, 3 + nest[RANK, last]]
        ):
            last -= 1
    for i in range(n):
        window = judges[k, 3 + nest[RANK, i]]
        if nest[LEVEL, i] >= child:
            free[i] |= 1 << k
        elif nest[KIND, i] == 0:
            free[i] |= (1 if i > last else 0) << k
        elif merge and nest[LEVEL, i] >= parent:
            free[i] |= (1 if window == 0 else 0) << k
            for j in range(i if window > 1 else 0):
                spread = nest[KIND, j] != 0 and nest[LEVEL, j] >= parent and nest[RANK, j] != nest[RANK, i]
                if spread and judges[k, 3 + nest[RANK, j]] == window:
                    return False
    return True


@inlined
def sliding_ranks(projection, window):
    """The ranks, as bits, that index some tensor rank together with others."""
    found = 0
    for r in range(len(window)):
        for d in range(projection.shape[1] if window[r] else 0):
            found |= (projection[r, d] != 0) << d
    return found


@inlined
def needs_order(nest, n, perfect, indexed, sliding, role):
    """Whether what a transfer brings depends on the loop that advanced: with a sliding window, or where the loops inside it can all
    stay at 0, cut short by imperfect bounds, and leave a tile unchanged."""
    moves = False
    for i in range(n - 1, -1, -1):
        if moves and not sliding:
            return False
        if role[i] == TIME:
            d = nest[RANK, i]
            if indexed[d]:
                moves = moves or perfect[d] or always_moves(nest, n, i, role)
            elif not moves:
                return True
            if sliding >> d & 1:
                return True
    return False


@inlined
def settles(nest, n, at, role, perfect, projection, window, watch, whole, hold, settled):
    """Whether all that is watched has changed, and nothing is held, whenever loop ``at`` or one outside it advances.

    An interval that one rank indexes is another one after each advance of that rank's loops or, if these always come further than
    0, of loops outside them; in steps of a watched size, of its loops with whole such steps. ``settled`` [W + 1] keeps what loops
    inside have shown.
    """
    d = nest[RANK, at]
    for r in range(len(projection) if perfect[d] or always_moves(nest, n, at, role) else 0):
        if projection[r, d] and not window[r]:
            settled[len(watch)] = True
            for w in range(len(watch)):
                size = watch[w, 1]
                if watch[w, 0] == r and size < max(2, whole[r]) and projection[r, d] * nest[STEP, at] % size == 0:
                    settled[w] = True
    for w in range(len(watch)):
        if not settled[w]:
            return False
    return settled[len(watch)] or not hold


@inlined
def always_moves(nest, n, at, role):
    """Whether an imperfect rank's loop comes further than 0 for every receiver whenever it runs: those that are beyond the tail
    of a spatial loop inside it have nothing at its own."""
    least = 1
    for i in range(at + 1, n):
        if nest[RANK, i] == nest[RANK, at] and role[i] >= MERGED and nest[TAIL, i] < nest[BOUND, i] - 1:
            least = 2
    return nest[TAIL, at] >= least


@inlined
def outwards(role, at):
    """The next loop outside ``at`` that advances, -1 for none."""
    at -= 1
    while at >= 0 and role[at] != TIME:
        at -= 1
    return at
