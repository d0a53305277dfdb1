"""When Sparseloop corrects block accesses for the waste of small compressed tiles (convention ``total``)."""

from __future__ import annotations

from typing import Final

SMALL_TILE_BLOCKS: Final[dict[int, tuple[int, ...]]] = {
    2: (251, 125, 84, 63, 51, 42, 36, 32, 28, 1),
    4: (375, 188, 125, 94, 75, 63, 54, 47, 42, 1),
    8: (438, 219, 146, 110, 88, 73, 63, 55, 49, 1),
    16: (469, 235, 157, 118, 94, 79, 67, 59, 52, 1),
    32: (485, 243, 162, 122, 97, 81, 70, 61, 52, 1),
    64: (493, 247, 165, 124, 99, 83, 71, 62, 55, 1),
}
"""Blocks below which a tile is small, by words of a block and tenth of density. Source: Timeloop's buffer.cpp at ee66b62; the
row of 64 is inferred from the MICRO 2022 artifact, whose code is not public."""


def small_tile(block_words: int, density: float, tile_words: int) -> bool:
    """Whether a compressed tile counts as small.

    Blocks that the table lacks follow its rule, about ``500 (1 - 1 / block) / tenths``, one percent of waste.
    """
    tenth = max(0, int(density / 0.1) - 1)
    if block_words in SMALL_TILE_BLOCKS:
        limit = SMALL_TILE_BLOCKS[block_words][tenth]
    else:
        limit = round(500 * (1 - 1 / block_words) / (tenth + 1)) if tenth < 9 else 1
    return tile_words // block_words < limit
