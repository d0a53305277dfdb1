"""Cases that random ones reach seldom, with known tensors."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tests.generators import Case, with_actual_data
from tests.model.machines import case
from tests.sim.toys import level, workload

SELDOM = {
    "receivers of compute with equal windows are judged together": (
        "O[p] = I[p+2*r] * W[r]", {"P": 3, "R": 8}, [("IWO", "", "p3 r8")], ["0 gating I W"],
    ),
    "receivers of a level with equal windows are judged together, also for what moves inside": (
        "O[m,p] = I[p+r] * W[m,r]", {"M": 4, "P": 3, "R": 6},
        [("IWO", "m2", "p3 r6"), ("IWO", "", "m2")], ["0 skipping I W"],
    ),
    "windows that are equal now and were not before are judged apart": (
        "O[p] = I[p+2*r] * W[r]", {"P": 9, "R": 8},
        [("IWO", "p3", "r2 p4"), ("IWO", "r4", "")], ["0 skipping W I", "0 skipping I W"],
    ),
    "windows of several ranks and levels": (
        "Z[m] = A[p+r+m] * B[p+r]", {"M": 2, "P": 7, "R": 5},
        [("ABZ", "m2", "p2 r3"), ("AB", "r2", "p2"), ("BZ", "p2", "")], ["0 gating A B", "1 skipping B A"],
    ),
    "what is gated outside is not judged inside": (
        "Z[m] = A[m,k] * B[k]", {"M": 6, "K": 2}, [("ABZ", "k2", "m6"), ("ABZ", "", "")],
        ["0 gating B A", "0 gating A B", "1 skipping A B", "1 skipping B A"],
    ),
    "leaders on the ways of two operands, apart and overlapping": (
        "Z[i,r] = T[i,j,k] * B[j,r] * C[k,r]", {"I": 2, "J": 4, "K": 4, "R": 2},
        [("TBCZ", "j2 k2", ""), ("BC", "i2 r2 j2 k2", "")], ["0 skipping B T", "0 skipping C T", "0 gating T B C"],
    ),
    "a follower that rests is judged by all that it serves": (
        "Z[m,n] = A[m,k] * B[k,n]", {"M": 4, "K": 3, "N": 2}, [("ABZ", "n2 k3 m4", ""), ("B", "", "")],
        ["0 skipping B A", "1 gating B A"],
    ),
    "a window that slides holds most of its words": (
        "O[p] = I[p+r] * W[r]", {"P": 5, "R": 3}, [("IWO", "p5", ""), ("IWO", "r3", "")], ["0 gating W I"],
    ),
    "receivers of a group that idle": (
        "Z[m] = A[m,k] * B[k]", {"M": 4, "K": 4}, [("ABZ", "k2", "m4"), ("ABZ", "k2", "")],
        ["0 spatial-skipping B A", "0 gating B A"],
    ),
    "what passes through to receivers that idle, several below one instance": (
        "Z[m] = A[m,k] * B[k]", {"M": 8, "K": 4}, [("ABZ", "k2", "m2"), ("AZ", "", "m4", "B"), ("ABZ", "k2", "")],
        ["1 spatial-skipping B A"],
    ),
    "partial sums that pass through": (
        "Z[m] = A[m,k] * B[k]", {"M": 4, "K": 8}, [("ABZ", "k2", ""), ("A", "m2", "k2", "BZ"), ("ABZ", "k2 m2", "")],
        ["0 skipping Z A"],
    ),
    "lanes that move up": (
        "Z[m] = A[m,k] * B[k]", {"M": 4, "K": 8}, [("ABZ", "m2", "k2"), ("A", "m2", "k4")],
        ["1 spatial-skipping B A", "1 spatial-skipping Z A", "0 spatial-skipping B A"],
    ),
    "words of two tensors that take lanes in passes": (
        "Z[m,n] = A[m,k] * B[k,n]", {"M": 6, "K": 2, "N": 5}, [("ABZ", "k2", ""), ("ABZ", "m3 n3", "m2 n2")],
        ["1 position-skipping A", "1 position-skipping B", "1 gating A B"],
    ),
}  # fmt: skip
"""By name an einsum, its shape, the levels (kept tensors, temporal and spatial loops, outermost first, tensors that pass
through), and features as "level kind target leaders"."""


def seldom(name: str) -> Iterator[tuple[Case, dict[str, NDArray[np.int64]]]]:
    """The case with tensors of several densities, formats of one and of two ranks, blocks of one to three words."""
    einsum, shape, levels, features = SELDOM[name]
    layer, mapped = workload(einsum, **shape), [level(f"L{i}", *part) for i, part in enumerate(levels)]
    for seed, density in ((1, 0.2), (2, 0.4), (3, 0.7)):
        rng = np.random.default_rng(seed)
        tensors = {t.name: (rng.random(layer.tensor_shape(t.name)) < density) * 3 for t in layer.einsum.operands}
        for form in (_flattened, _split):
            formats = {t.name: form(t.ranks) for t in layer.einsum.tensors if t.ranks}
            plain = case(layer, mapped, features, {part.level: formats for part in mapped[:seed]}, block_words=seed)
            yield with_actual_data(plain, tensors), tensors


def _flattened(ranks: tuple[str, ...]) -> str:
    return f"RLE({','.join(ranks)})"


def _split(ranks: tuple[str, ...]) -> str:
    return f"UOP({','.join([*ranks[:-1], f'{ranks[-1]}1'])})-CP({ranks[-1]}0=2)"
