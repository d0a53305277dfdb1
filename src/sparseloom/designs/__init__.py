"""Published accelerators as data, each with its source."""

from sparseloom.designs.load import case_file, cases, constraints, design_file, find, load, names

__all__ = ["case_file", "cases", "constraints", "design_file", "find", "load", "names"]
