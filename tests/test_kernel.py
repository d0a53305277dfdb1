"""What a user is told of the compilation of kernels."""

import numba

from sparseloom.kernel import announce


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
