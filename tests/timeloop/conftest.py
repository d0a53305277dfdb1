"""A small input of each version, as texts, and ways to load it with changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sparseloom.errors import SparseloomError
from sparseloom.timeloop import TimeloopInput, load

Texts = dict[str, str]

ARCHITECTURE = """\
architecture:
  version: 0.3
  subtree:
  - name: chip
    attributes: {technology: 45nm}
    local:
    - name: Main
      class: DRAM
      attributes: {width: 64, block-size: 4, word-bits: 16, metadata_storage_width: 8, bandwidth: 8}
    subtree:
    - name: PE[0..3]
      local:
      - name: Buffer
        class: storage
        attributes:
          depth: 64
          width: 16
          datawidth: 16
          metadata_storage_depth: 32
          metadata_storage_width: 4
          meshX: 2
      - name: MAC[0..1]
        class: intmac
        attributes: {datawidth: 16, meshX: 4}
"""
PROBLEM = """\
problem:
  shape:
    name: matmul
    dimensions: [M, N, K]
    data-spaces:
    - {name: A, projection: [[[M]], [[K]]]}
    - {name: B, projection: [[[K]], [[N]]]}
    - {name: Z, projection: [[[M]], [[N]]], read-write: true}
  instance:
    M: 8
    N: 4
    K: 6
    densities:
      A: {distribution: hypergeometric, density: 0.25}
      B: 0.5
"""
MAPPING = """\
mapping:
- {target: Main, type: temporal, factors: M2 N1 K3, permutation: KMN}
- {target: Main, type: spatial, factors: M2 N2 K1, permutation: MNK, split: 1}
- {target: Buffer, type: temporal, factors: M=2 N=1 K=2, permutation: NKM}
- {target: Buffer, type: spatial, factors: M1 N2 K1, permutation: NMK}
- {target: Buffer, type: bypass, keep: [A], bypass: [B], stream: [B]}
"""
SPARSE = """\
sparse_optimizations:
  targets:
  - name: Main
    representation-format:
      data-spaces:
      - name: A
        ranks:
        - {format: UOP, payload-word-bits: 5, flattened-rankIDs: [[M, K]]}
        - {format: RLE, metadata-word-bits: 4}
  - name: Buffer
    action-optimization:
    - type: skipping
      options: [{target: B, condition-on: [A]}, {target: A, condition-on: [B]}]
    - {type: gating, target: Z, condition-on: [A, B]}
  - name: MAC
    compute-optimization: [{type: gating}]
"""
ERT = """\
ERT:
  version: 0.3
  tables:
  - name: chip.Main
    actions: [{name: read, arguments: null, energy: 100}, {name: write, arguments: null, energy: 110}]
  - name: chip.PE[0..3].Buffer
    actions:
    - {name: read, arguments: {data_delta: 0}, energy: 1}
    - {name: read, arguments: {data_delta: 1}, energy: 3}
    - {name: write, arguments: {data_delta: 0}, energy: 2}
    - {name: gated_read, arguments: null, energy: 0.25}
    - {name: metadata_read, arguments: null, energy: 0.5}
  - name: chip.PE[0..3].MAC[0..1]
    actions: [{name: mac_random, arguments: null, energy: 0.75}, {name: mac_gated, arguments: null, energy: 0.125}]
"""

OLD = """\
mapper:
  algorithm: linear-pruned
problem:
  R: 2
  S: 1
  P: 4
  Q: 6
  C: 4
  K: 8
  N: 1
  Wstride: 2
  Hdilation: 2
arch:
  arithmetic:
    instances: 8
    meshX: 4
    word-bits: 8
  storage:
  - name: Registers
    entries: 16
    instances: 8
    meshX: 4
    word-bits: 8
    cluster-size: 4
    network-word-bits: 16
    read_bandwidth: 3
    write_bandwidth: 2
  - name: Rows
    entries: 0
    instances: 4
    meshX: 4
    word-bits: 8
  - name: Buffer
    sizeKB: 1
    instances: 1
    word-bits: 8
    block-size: 4
    bandwidth: 10.0
  - name: Main
    technology: DRAM
    instances: 1
    word-bits: 8
mapspace:
  constraints: stationary
  constraints_other:
  - target: Nowhere
    type: temporal
  constraints_stationary:
  - target: Registers
    type: datatype
    keep:
    - Weights
    bypass:
    - Inputs
    - Outputs
  - target: Rows
    type: spatial
    factors: N1 P1 Q1 R0
    permutation: NPQ RSCK
    split: 3
  - target: Buffer
    type: spatial
    factors: R1 K16 Q1
    permutation: CKRSPQN
  - target: Buffer
    type: temporal
    factors: Q0 N1
    permutation: Q PRSC KN
  - target: Registers
    type: utilization
    min: 0.25
  - target: Main
    type: temporal
    factors: R1 S1 P1
    permutation: QPRSCKN
"""
"""A file before version 0.2: everything in one."""


@pytest.fixture
def toy() -> Texts:
    """A v0.3 input in five files, every section of it simple and right."""
    texts = (ARCHITECTURE, PROBLEM, MAPPING, SPARSE, ERT)
    return dict(zip(("arch.yaml", "problem.yaml", "map.yaml", "sparse.yaml", "ERT.yaml"), texts, strict=True))


@pytest.fixture
def load_texts(tmp_path: Path) -> Callable[[Texts], TimeloopInput]:
    """Writes texts as files and loads them."""

    def run(texts: Texts) -> TimeloopInput:
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        return load([tmp_path / name for name in texts])

    return run


@pytest.fixture
def faults(tmp_path: Path, load_texts: Callable[[Texts], TimeloopInput]) -> Callable[[Texts], list[str]]:
    """The faults of texts as a user sees them, without the folder; fails if there are none."""

    def run(texts: Texts) -> list[str]:
        with pytest.raises(SparseloomError) as caught:
            load_texts(texts)
        shown = [str(fault).replace(f"{tmp_path}/", "") for fault in caught.value.faults]
        return [text.replace("\n  how to fix: ", " | ") for text in shown]

    return run
