import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.generators import cases

from sparseloom.document import parse
from sparseloom.errors import Fault, InputError
from sparseloom.fibertree.density import ActualData, Dense, FixedStructured, Uniform
from sparseloom.fibertree.diagonal import Banded
from sparseloom.workload.file import build, plain, read, schema
from sparseloom.workload.workload import Workload

CONV = """\
workload:
  name: conv2
  einsum: O[n,m,p,q] = I[n,c,p+r,q+s] * W[m,c,r,s]
  shape: {N: 4, M: 256, C: 48, P: 28, Q: 28, R: 5, S: 5}
  tensors:
    I: {density: 0.6}
    W: {density: 0.5, model: fixed-structured, word_bits: 8}
"""


def matrix(tensor_a: str, folder: Path | None = None) -> Workload:
    text = f"einsum: Z[m,n] = A[m,k] * B[n,k]\nshape: {{M: 4, N: 2, K: 8}}\ntensors:\n  A: {tensor_a}\n"
    return build(parse(text, str((folder or Path()) / "w.yaml")))


def fault(tensor_a: str, folder: Path | None = None) -> Fault:
    with pytest.raises(InputError) as caught:
        matrix(tensor_a, folder)
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].where.endswith("w.yaml:4")
    return caught.value.faults[0]


def faults(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        build(parse(text, "w.yaml"))
    return [f"{f.where} {f.path}: {f.what}; {f.fix}" for f in caught.value.faults]


def test_a_convolution_is_read_with_its_shape_densities_and_widths(tmp_path: Path) -> None:
    path = tmp_path / "conv2.yaml"
    path.write_text(CONV, encoding="utf-8")
    workload = read(path)
    assert workload.name == "conv2"
    assert workload.tensor_shape("I") == (4, 48, 32, 32)
    assert workload.density("I") == Uniform((4, 48, 32, 32), 0.6)
    assert workload.density("W") == FixedStructured((256, 48, 5, 5), 0.5)
    assert workload.density("O") == Dense((4, 256, 28, 28))
    assert workload.word_bits == {"W": 8}
    assert workload.computes == 4 * 256 * 48 * 28 * 28 * 25


@given(st.fixed_dictionaries({rank: st.integers(1, 9) for rank in "MNK"}), st.floats(0, 1))
def test_what_is_written_is_what_is_read(shape: dict[str, int], density: float) -> None:
    sizes = ", ".join(f"{rank.lower()}: {size}" for rank, size in shape.items())
    text = f"einsum: Z[m,n] = A[m,k] * B[n,k]\nshape: {{{sizes}}}\ntensors: {{A: {{density: {density!r}}}}}"
    workload = build(parse(text))
    assert dict(workload.shape) == shape
    assert workload.densities == {"A": Uniform((shape["M"], shape["K"]), density)}


def test_a_band_is_stated_by_its_half_width() -> None:
    assert matrix("{band_half_width: 1}").density("A") == Banded((4, 8), 1)


def test_a_tensor_that_only_states_a_width_is_dense() -> None:
    assert matrix("{word_bits: 4}").densities == {}


def test_a_pattern_gives_the_density_of_its_rules() -> None:
    density = matrix('{pattern: "M->K1->K0(2:4)"}').density("A")
    mask = density.draw(np.random.default_rng(0))
    assert density.density == 0.5
    assert (mask.reshape(4, 2, 4).sum(axis=2) == 2).all()


def test_a_pattern_that_does_not_divide_the_rank_is_a_fault() -> None:
    assert "3" in fault('{pattern: "M->K1->K0(2:3)"}').what


def test_a_mask_is_read_from_text_whatever_its_spacing(tmp_path: Path) -> None:
    mask = np.arange(32).reshape(4, 8) % 3 == 0
    rows = "\n".join(", ".join("1" if x else "0" for x in row) for row in mask)
    (tmp_path / "mask.txt").write_text(rows, encoding="utf-8")
    assert matrix("{data: mask.txt}", tmp_path).density("A") == ActualData(mask)


def test_a_mask_is_read_from_numpy_with_every_nonzero_a_one(tmp_path: Path) -> None:
    values = np.arange(-16.0, 16.0).reshape(4, 8)
    np.save(tmp_path / "values.npy", values)
    assert matrix("{data: values.npy}", tmp_path).density("A") == ActualData(values != 0)


def test_a_pickled_mask_is_refused_unread(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "pickle" in fault("{data: evil.npy}", tmp_path).what


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("short.txt", b"0101", "the mask has 4 values, the tensor has 32 points (4, 8)"),
        ("odd.txt", b"01" * 15 + b"2x", "the mask holds byte 0x32"),
        ("broken.npy", b"\x93NUMPY", "not an array of numbers"),
        ("empty.npy", b"", "not an array of numbers"),
    ],
)
def test_a_mask_that_is_no_mask_is_a_fault_at_its_line(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert what in fault(f"{{data: {name}}}", tmp_path).what


def test_a_mask_of_another_shape_names_both(tmp_path: Path) -> None:
    np.save(tmp_path / "turned.npy", np.ones((8, 4)))
    assert fault("{data: turned.npy}", tmp_path).what == "the mask has shape (8, 4), the tensor has (4, 8)"


def test_a_missing_mask_is_a_fault(tmp_path: Path) -> None:
    assert "No such file" in fault("{data: gone.txt}", tmp_path).what


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        ("{density: 1.1}", "1.1 is above 1"),
        ("{density: -0.1}", "-0.1 is below 0"),
        ("{density: .nan}", "nan is not a finite number"),
        ("{density: half}", "'half' is not a number"),
        ("{model: fixed-structured}", "model cannot stand together"),
        ("{density: 0.5, model: gaussian}", "'gaussian' is not known here"),
        ("{density: 0.5, band_half_width: 1}", "band_half_width and density cannot stand together"),
        ("{pattern: M, data: x.txt}", "pattern and data cannot stand together"),
        ("{band_half_width: -1}", "-1 is below 0"),
        ("{densty: 0.5}", "unknown field 'densty'"),
    ],
)
def test_a_sparsity_that_cannot_be_is_a_fault_at_its_line(tensor: str, what: str) -> None:
    assert what in fault(tensor).what


def test_all_faults_of_a_workload_come_at_once() -> None:
    text = """\
einsum: Z[m,n] = A[m,k] * B[n,k]
shape: {M: 4, N: 2, K: 9}
tensors:
  A: {band_half_width: 1, data: x.txt}
  Q: {density: 0.5}
  B: {data: gone.txt}
"""
    found = faults(text)
    assert [line.split(":")[1].split()[0] for line in found] == ["4", "5", "6"]
    assert "the einsum has no tensor Q, it has A, B, Z" in found[1]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("einsum: Z = A\nshape: {}", "w.yaml:1 einsum: 'Z' is not a tensor access"),
        ("einsum: Z[m] = A[m] * A[m]\nshape: {M: 2}", "w.yaml:1 einsum: tensor A occurs 2 times"),
        ("einsum: Z[m] = A[m,k]\nshape: {M: 2}", "w.yaml:2 shape: rank K of the einsum has no shape"),
        ("einsum: Z[m] = A[m]\nshape: {M: 2, K: 3}", "w.yaml:2 shape.K: rank K does not occur in the einsum"),
        ("einsum: Z[m] = A[m]\nshape: {M: 2, m: 3}", "w.yaml:2 shape.m: rank M is given twice"),
        ("einsum: Z[m] = A[m]\nshape: {M: 0}", "w.yaml:2 shape.M: 0 is below 1"),
        ("einsum: Z[m] = A[m]\nshape: {M: 9e20}", "w.yaml:2 shape.M: 9e+20 is not a whole number"),
        (
            "einsum: Z[m,n] = A[m] * B[n]\nshape:\n  M: 9007199254740992\n  N: 9",
            "w.yaml:2 shape: the layer has 81064793292668928 computes, more than 2^53",
        ),
    ],
)
def test_an_einsum_or_a_shape_that_cannot_be_is_a_fault_at_its_line(text: str, fault: str) -> None:
    assert faults(text)[0].startswith(fault)


def test_a_file_that_is_missing_or_holds_no_workload_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the file"):
        read(tmp_path / "gone.yaml")
    (tmp_path / "other.yaml").write_text("design: eyeriss", encoding="utf-8")
    with pytest.raises(InputError, match="there is no `workload:` here, the keys are design"):
        read(tmp_path / "other.yaml")


def test_the_schema_names_every_key_of_a_tensor() -> None:
    tensor = schema()["$defs"]["TensorModel"]
    assert set(tensor["properties"]) == {"density", "model", "pattern", "band_half_width", "data", "word_bits"}
    assert tensor["additionalProperties"] is False


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_a_workload_that_is_written_out_is_read_as_itself(case) -> None:
    workload = case.workload
    assume(
        all(isinstance(density, Dense | Uniform | FixedStructured | Banded) for density in workload.densities.values())
    )
    found = read(parse(json.dumps({"workload": plain(workload)})))
    assert [found.density(t.name) for t in workload.einsum.tensors] == [
        workload.density(t.name) for t in workload.einsum.tensors
    ]
    assert replace(found, densities={}) == replace(workload, densities={})
