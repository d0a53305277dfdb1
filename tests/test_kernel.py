"""What a user is told of the compilation of kernels."""

import time

import numba

from sparseloom.kernel import announce, working_s


def test_compilation_is_announced_once_and_only_where_something_is_compiled() -> None:
    said: list[str] = []
    announce(lambda: said.append("compiling"))
    assert said == []
    double, triple = numba.njit(lambda x: 2 * x), numba.njit(lambda x: 3 * x)
    assert double(2) == 4
    assert said == ["compiling"]
    assert double(3) == 6
    assert triple(3) == 9
    assert said == ["compiling"]


def test_the_clock_of_budgets_stands_still_while_a_kernel_is_compiled() -> None:
    began, worked = time.perf_counter(), working_s()
    numba.njit(lambda value: value + 1)(1)
    assert working_s() - worked < time.perf_counter() - began
