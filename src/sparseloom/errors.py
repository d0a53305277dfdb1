"""What went wrong, where, and how to fix it: several faults in one exception.

Every module reports bad input as :class:`Fault` values and raises them together, so that a user mends a file once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

FAULT, INTERRUPTED = 2, 130
"""Exit codes of commands: the input is at fault; the user interrupted."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an input.

    ``what`` names both numbers or both names; ``where`` is ``file:line`` (empty for objects made in Python);
    ``path`` is the key path inside the file (``levels[0].capacity_bits``); ``fix`` says what to do.
    """

    what: str
    where: str = ""
    path: str = ""
    fix: str = ""

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        if self.path:
            head += f" @ {self.path}"
        return f"{head}\n  how to fix: {self.fix}" if self.fix else head


class SparseloomError(Exception):
    """The base of every error a user can cause. ``faults`` holds at least one :class:`Fault`."""

    def __init__(self, faults: Fault | str | Iterable[Fault]) -> None:
        if isinstance(faults, str):
            faults = Fault(faults)
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[type[SparseloomError], tuple[tuple[Fault, ...]]]:
        return type(self), (self.faults,)


class InputError(SparseloomError):
    """A file or a value that cannot be understood."""


class WorkloadError(SparseloomError):
    """An einsum, a shape or a sparsity that contradicts itself."""


class ArchitectureError(SparseloomError):
    """Levels, components or features that cannot exist together."""


class MappingError(SparseloomError):
    """A mapping that the workload or the architecture does not allow."""


class PatternError(SparseloomError):
    """A sparsity pattern that cannot be read, or does not fit the tensor it is given to."""


@contextmanager
def gathered(faults: list[Fault]) -> Iterator[None]:
    """Add the faults of an error to ``faults``, and go on: for inputs that say nothing about each other."""
    try:
        yield
    except SparseloomError as error:
        faults += error.faults


def suggest(name: str, known: Iterable[str]) -> str:
    """A ``did you mean`` clause for an unknown ``name``, empty when nothing known is close.

    >>> suggest("capasity_bits", ["capacity_bits", "word_bits"])
    "did you mean 'capacity_bits'?"
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known names: {', '.join(known)}" if known and len(known) <= 40 else ""
