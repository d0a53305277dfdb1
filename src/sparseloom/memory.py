"""Values that are worked out once and kept, and one place to forget them all."""

from __future__ import annotations

from collections.abc import Callable
from functools import _lru_cache_wrapper, lru_cache
from typing import TypeVar

Value = TypeVar("Value")

MOST = 256
"""Values of one function that are kept."""

_CLEAR: list[Callable[[], None]] = []


def remembered(function: Callable[..., Value]) -> _lru_cache_wrapper[Value]:
    """``function``, worked out once for the same arguments."""
    return forgotten(lru_cache(MOST)(function))


def forgotten(cached: _lru_cache_wrapper[Value]) -> _lru_cache_wrapper[Value]:
    """A function under ``functools.lru_cache`` that :func:`forget` empties too."""
    _CLEAR.append(cached.cache_clear)
    return cached


def forget() -> None:
    """Empty what is kept from one evaluation to the next."""
    for clear in _CLEAR:
        clear()


def give_back() -> None:
    """Return memory that is free to the system, where the C library keeps it and can be told (glibc): between long searches of one
    process it would add up to gigabytes."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
