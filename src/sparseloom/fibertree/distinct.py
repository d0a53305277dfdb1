"""Equal columns of a table of integers, so that what follows from one is computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparseloom.kernel import kernel

IntArray = NDArray[np.int64]


_ONE = np.zeros(1, np.int64)


def distinct(columns: IntArray) -> tuple[IntArray, IntArray]:
    """Numbers of the columns [K, N] that are the first of their kind, and for each column which of those it equals."""
    if columns.shape[1] == 1:
        return _ONE, _ONE
    columns = np.ascontiguousarray(columns)
    first, index = np.empty(columns.shape[1], np.int64), np.empty(columns.shape[1], np.int64)
    room = np.full(1 << (2 * columns.shape[1]).bit_length(), -1, np.int32)
    return first[: _distinct(columns, room, first, index)], index


def kinds(tables: Sequence[IntArray]) -> tuple[list[IntArray], IntArray]:
    """The different columns of tables [., N] put over one another, table by table, and for each column which of those it
    equals."""
    if tables[0].shape[1] == 1:
        return list(tables), _ONE
    first, index = distinct(np.concatenate(tables))
    return [table[:, first] for table in tables], index


@kernel
def _distinct(columns: IntArray, room: IntArray, first: IntArray, index: IntArray) -> int:
    """Write both by a table of hashes, ``room``, a power of two that is large enough; returns how many there are."""
    found = 0
    for i in range(columns.shape[1]):
        key = 0
        for k in range(len(columns)):
            key = (key ^ columns[k, i]) * 0x9E3779B97F4A7C1
        place = (key >> 20) & (len(room) - 1)
        while True:
            other = room[place]
            if other < 0:
                room[place], first[found], index[i] = found, i, found
                found += 1
                break
            same = True
            for k in range(len(columns)):
                same = same and columns[k, i] == columns[k, first[other]]
            if same:
                index[i] = other
                break
            place = (place + 1) & (len(room) - 1)
    return found
