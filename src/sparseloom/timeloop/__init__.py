"""Timeloop and Sparseloop files (YAML, versions 0.2, 0.3, 0.4 and before) as workloads, designs and mappings."""

from sparseloom.mapping.details import FormatDetails as FormatDetails
from sparseloom.mapping.details import LevelDetails as LevelDetails
from sparseloom.mapping.details import RankDetails as RankDetails
from sparseloom.mapping.details import Tiling as Tiling
from sparseloom.mapping.details import TimeloopDetails as TimeloopDetails
from sparseloom.timeloop.ignored import Ignored as Ignored
from sparseloom.timeloop.load import TimeloopInput as TimeloopInput
from sparseloom.timeloop.load import load as load
from sparseloom.timeloop.sections import is_timeloop as is_timeloop
