"""Components that the package hwcomponents estimates, where it is installed:
``component: {hwcomponents: {model: LPDDR4, given: width=64}}``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sparseloom.arch.component import Component, Estimate
from sparseloom.arch.technology import Technology
from sparseloom.errors import ArchitectureError, Fault

_PAIR = re.compile(r"\s*(\w+)\s*=\s*(\S+)\s*")


@dataclass(frozen=True)
class HwComponent(Component):
    """The component called ``model`` there, with what is ``given`` to it, as ``width=64, size=65536``; its ``tech_node`` is the
    technology's unless given. One of our uses is its action ``use``; its power that leaks is that of idle cycles, too."""

    model: str
    given: str = ""
    use: str = "compute"

    def estimate(self, technology: Technology) -> Estimate:
        """Raises ArchitectureError where the package or the model is not there, or the model has no numbers."""
        package = _package()
        values: dict[str, Any] = {"tech_node": technology.node_nm * 1e-9, **_values(self.given)}
        try:
            made = package.get_model(self.model, values)
            known = set(made.get_action_names())
            if not known & {"read", "write", self.use}:
                fix = f"give `use:`, one of {', '.join(sorted(known))}"
                raise ArchitectureError(Fault(f"hwcomponents' {self.model} has no action '{self.use}'", fix=fix))
            energies_pj = {
                own: 1e12 * float(package.get_action_cost(self.model, values, theirs, {}).energy)
                for own, theirs in (("read", "read"), ("write", "write"), ("use", self.use))
                if theirs in known
            }
            leakage_w = float(package.get_leak_power(self.model, values))
            area_um2 = 1e12 * float(package.get_area(self.model, values))
        except ArchitectureError:
            raise
        # the package's own faults are of many kinds; its models are other people's code
        except Exception as error:
            first = next(
                (line.strip(" |") for line in str(error).splitlines() if line.strip(" |")), type(error).__name__
            )
            what = f"hwcomponents cannot estimate {self.model}: {first}"
            raise ArchitectureError(Fault(what, fix="`hwc --list` has its models and what they need")) from None
        idle_pj = 1e12 * leakage_w * technology.cycle_ns * 1e-9
        how = ", ".join(f"{name}={value}" for name, value in values.items())
        return Estimate(
            energies_pj | {"idle": idle_pj}, area_um2, 1e3 * leakage_w, f"hwcomponents, {type(made).__name__}", how
        )


def _package() -> Any:
    try:
        import hwcomponents
    except ImportError:
        fix = "pip install 'sparseloom[hwcomponents]', on Python 3.12 or newer, and packages of models"
        raise ArchitectureError(Fault("the package hwcomponents is not installed", fix=fix)) from None
    return hwcomponents


def _values(given: str) -> dict[str, float | str]:
    """What is given as values: numbers where they are."""
    found: dict[str, float | str] = {}
    for part in filter(None, (each.strip() for each in given.split(","))):
        match = _PAIR.fullmatch(part)
        if match is None:
            raise ArchitectureError(Fault(f"'{part}' is not name=value", path="given", fix="as width=64, size=65536"))
        name, text = match.groups()
        try:
            found[name] = int(text) if text.lstrip("-").isdigit() else float(text)
        except ValueError:
            found[name] = text
    return found
