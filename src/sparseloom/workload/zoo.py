"""Networks by name, each a data file beside this module, and densities that were published for their layers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sparseloom.errors import Fault, InputError, suggest
from sparseloom.workload.density_set import DensitySet
from sparseloom.workload.network import Network

_NETWORKS: Final = Path(__file__).parent / "networks"
_DENSITIES: Final = Path(__file__).parent / "densities"


def names() -> tuple[str, ...]:
    """Names of the networks, in alphabetical order."""
    return _stems(_NETWORKS)


def load(name: str) -> Network:
    """The network ``name``. Raises InputError for a name that is not one of :func:`names`."""
    from sparseloom.workload.network_file import read

    return read(_path(_NETWORKS, name, "network"))


def density_names() -> tuple[str, ...]:
    """Names of the sets of published densities, in alphabetical order."""
    return _stems(_DENSITIES)


def load_densities(name: str) -> DensitySet:
    """The published densities ``name``. Raises InputError for a name that is not one of :func:`density_names`."""
    from sparseloom.workload.density_set_file import read

    return read(_path(_DENSITIES, name, "set of densities"))


def _stems(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def _path(folder: Path, name: str, what: str) -> Path:
    known = _stems(folder)
    if name not in known:
        raise InputError(Fault(f"no {what} is called '{name}'", fix=suggest(name, known)))
    return folder / f"{name}.yaml"
