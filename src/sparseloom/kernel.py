"""How this package compiles its inner loops."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import numba
from numba.core import event
from numba.extending import intrinsic


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` with Numba, caching the machine code beside the source."""
    return cast(Callable[..., Any], numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: Callable[..., Any]) -> Any:
    """As :func:`kernel`, made part of its callers: handing over many arrays takes more time than little work on them. Python calls
    its ``py_func``."""
    return numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)


@intrinsic
def _pointer(_context, address, array):
    if array.layout != "C":
        raise numba.errors.TypingError("only contiguous arrays can be borrowed")

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return numba.types.CPointer(array.dtype)(address, array), generate


@kernel
def borrowed(array):
    """The same array without an owner, for kernels that hand out many parts of one: counting the references to its owner takes
    more time than their work. The array has to live longer."""
    return numba.carray(_pointer(array.ctypes.data, array), array.shape)


_COMPILING = event.TimingListener()
event.register("numba:compile", _COMPILING)


def working_s() -> float:
    """Seconds on a clock that stands still while kernels are compiled: what is done once after an installation is in no budget."""
    compiled: float = _COMPILING.duration if _COMPILING.done else 0.0
    return time.perf_counter() - compiled


class _FirstStart(event.Listener):
    def __init__(self, say: Callable[[], None]) -> None:
        self.say: Callable[[], None] | None = say

    def on_start(self, event: object) -> None:
        if self.say is not None:
            say, self.say = self.say, None
            say()

    def on_end(self, event: object) -> None:
        pass


def announce(say: Callable[[], None]) -> None:
    """Call ``say`` once, before the first kernel is compiled, if any is: after an installation that takes half a minute."""
    event.register("numba:compile", _FirstStart(say))
