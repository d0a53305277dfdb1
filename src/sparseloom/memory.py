"""Values that are worked out once and kept, and one place to forget them all."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import _lru_cache_wrapper
from typing import Any, TypeVar

Value = TypeVar("Value")

MOST = 256
"""Values of one function that are kept; then it begins anew."""

_CLEAR: list[Callable[[], None]] = []


def remembered(function: Callable[..., Value]) -> Callable[..., Value]:
    """``function``, worked out once for the same arguments: equal numbers and texts, identical objects otherwise, also within
    tuples. So arguments need no hash; what they hold must not change."""
    known: dict[Hashable, tuple[tuple[Any, ...], Value]] = {}

    def once(*arguments: Any) -> Value:
        key = _key(arguments)
        found = known.get(key)
        if found is None:
            if len(known) >= MOST:
                known.clear()
            # with the arguments, whose identities are theirs for as long as they live
            found = known[key] = (arguments, function(*arguments))
        return found[1]

    once.__doc__, once.__name__, once.__wrapped__ = function.__doc__, function.__name__, function  # type: ignore[attr-defined]
    forgets(known.clear)
    return once


def _key(argument: Any) -> Hashable:
    if isinstance(argument, tuple):
        return tuple(map(_key, argument))
    return argument if isinstance(argument, int | str | bytes) else (id(argument),)


def forgotten(cached: _lru_cache_wrapper[Value]) -> _lru_cache_wrapper[Value]:
    """A function under ``functools.lru_cache`` that :func:`forget` empties too."""
    forgets(cached.cache_clear)
    return cached


def forgets(clear: Callable[[], None]) -> None:
    """Have :func:`forget` call ``clear``."""
    _CLEAR.append(clear)


def forget() -> None:
    """Empty what is kept from one evaluation to the next."""
    for clear in _CLEAR:
        clear()
