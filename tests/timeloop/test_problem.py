"""The problem: projections with coefficients, sizes, data-spaces."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sparseloom.fibertree.density import FixedStructured, Uniform
from sparseloom.timeloop import TimeloopInput

Texts = dict[str, str]
Load = Callable[[Texts], TimeloopInput]
Faults = Callable[[Texts], list[str]]

CONVOLUTION = """\
problem:
  shape:
    dimensions: [C, M, R, P]
    coefficients:
    - {name: stride, default: 1}
    - {name: dilation}
    data_spaces:
    - {name: Weights, projection: [[[C]], [[M]], [[R]]]}
    - {name: Outputs, projection: [[[M]], [[P]]], read_write: true}
    - {name: Inputs, projection: [[[C]], [[P, stride], [R, dilation]]]}
  instance: {C: 4, M: 2, R: 3, P: 5, stride: 2, dilation: 1}
"""


def _only(toy: Texts, problem: str) -> Texts:
    return {"arch.yaml": toy["arch.yaml"], "problem.yaml": problem}


def test_problem_becomes_an_einsum_with_operands_in_the_files_order(toy: Texts, load_texts: Load) -> None:
    workload = load_texts(toy).workload
    assert str(workload.einsum) == "Z[m,n] = A[m,k] * B[k,n]"
    assert (workload.shape, workload.name) == ({"M": 8, "N": 4, "K": 6}, "matmul")
    assert workload.densities == {"A": Uniform((8, 6), 0.25), "B": FixedStructured((6, 4), 0.5)}


def test_coefficients_take_the_instances_value_before_the_default(toy: Texts, load_texts: Load) -> None:
    found = load_texts(_only(toy, CONVOLUTION))
    assert str(found.workload.einsum) == "Outputs[m,p] = Weights[c,m,r] * Inputs[c,2*p+r]"
    assert found.workload.tensor("Inputs").ranks == ("C", "PR")
    assert found.workload.tensor_shape("Inputs") == (4, 11)
    assert found.details.tensors == ("Weights", "Outputs", "Inputs")
    found = load_texts(_only(toy, CONVOLUTION.replace(", stride: 2", "")))
    assert found.workload.tensor_shape("Inputs") == (4, 7)


def test_old_files_name_the_convolution_and_write_sizes_beside_it(toy: Texts, load_texts: Load) -> None:
    arch = toy["arch.yaml"].replace("version: 0.3", "version: 0.2")
    problem = "problem: {shape: cnn-layer, R: 3, S: 3, P: 8, Q: 8, C: 2, K: 4, N: 1, Wstride: 2}\n"
    workload = load_texts({"arch.yaml": arch, "problem.yaml": problem}).workload
    assert str(workload.einsum) == "Outputs[n,k,q,p] = Weights[c,k,r,s] * Inputs[n,c,r+2*p,s+q]"
    assert workload.tensor_shape("Inputs") == (1, 2, 17, 10)


def test_dimension_that_no_tensor_mentions_is_dropped_if_it_has_size_one(toy: Texts, load_texts: Load) -> None:
    problem = toy["problem.yaml"].replace("[M, N, K]", "[M, N, K, G]").replace("    M: 8\n", "    M: 8\n    G: 1\n")
    found = load_texts({**toy, "problem.yaml": problem})
    assert found.workload.shape == {"M": 8, "N": 4, "K": 6}
    assert found.details.dimensions == ("M", "N", "K", "G")
    assert {loop.rank for tiling in found.details.tiling.values() for loop in tiling.temporal} == {"M", "N", "K"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("C: 4, ", "", "11: dimension C has no size @ problem.instance | add `C: N` to the instance"),
        (", dilation: 1", "", "11: coefficient dilation has neither a default nor a value @ problem.instance | "
         "add `dilation: N` to the instance"),
        ("M: 2", "M: 0", "11: '0' stands where 1 or more is expected @ problem.instance.M"),
        ("R: 3, P: 5", "R: 3, P: 5, strde: 2", "11: 'strde' is neither a dimension nor a coefficient of the shape @ "
         "problem.instance.strde | did you mean 'stride'?"),
        ("[P, stride]", "[P, stide]", "10: unknown coefficient 'stide' @ "
         "problem.shape.data_spaces[2].projection[1][0] | did you mean 'stride'?"),
        ("[[[M]], [[P]]]", "[[[M]], [[T]]]", "9: unknown dimension 'T' @ "
         "problem.shape.data_spaces[1].projection[1][0] | "
         "known names: C, M, R, P"),
        ("[P, stride]", "[P, stride, 2]", "10: a term has 3 parts @ problem.shape.data_spaces[2].projection[1][0] | "
         "write [dimension] or [dimension, coefficient]"),
        ("[[C]], [[P, stride]", "[], [[P, stride]", "10: a projection without terms @ "
         "problem.shape.data_spaces[2].projection[0] | write [ [K] ]"),
        (", read_write: true", "", "2: one data-space is to be read-write, here none @ problem.shape | "
         "mark the result with `read-write: true`"),
        ("[C, M, R, P]", "[C, M, R, P, c]", "2: two dimensions differ from C only in case @ problem.shape | "
         "rename one"),
        ("C: 4,", "C: 4, densities: {Wieghts: 0.5},", "11: a density is given for unknown data-space Wieghts @ "
         "problem.instance.densities.Wieghts | did you mean 'Weights'?"),
        ("C: 4,", "C: 9007199254740992,", "2: the layer has 270215977642229760 computes, more than 2^53 @ "
         "problem.shape | split the layer; counts above 2^53 cannot be held exactly"),
        ("[[[C]], [[M]], [[R]]]", "[[[C]], [[M]], [[C]]]", "2: Weights[c,m,c] mentions rank C more than once @ "
         "problem.shape | a rank may occur once in a tensor's index"),
        ("dimensions:", "dimesions:", "3: unknown key 'dimesions' of the shape @ problem.shape.dimesions | "
         "did you mean 'dimensions'?"),
        ("  instance:", "  instanse:", "11: 'instanse' is neither a dimension nor a coefficient of the shape @ "
         "problem.instanse | did you mean 'instance'?"),
    ],
)  # fmt: skip
def test_fault_in_the_problem_is_shown_with_its_place_and_a_way_out(
    toy: Texts, faults: Faults, old: str, new: str, expected: str
) -> None:
    assert CONVOLUTION.count(old) == 1
    assert f"problem.yaml:{expected}" in faults(_only(toy, CONVOLUTION.replace(old, new)))


def test_dimension_that_no_tensor_mentions_is_refused_if_it_is_larger(toy: Texts, faults: Faults) -> None:
    problem = CONVOLUTION.replace("[C, M, R, P]", "[C, M, R, P, G]").replace("C: 4", "G: 3, C: 4")
    assert faults(_only(toy, problem)) == [
        "problem.yaml:11: dimension G of size 3 occurs in no data-space @ problem.instance | "
        "put it into a projection, or give it size 1"
    ]
