"""Of a feature's alternatives the one is used with which the mapping costs least, under the contract's conventions."""

import pytest
from tests.generators import Case

from sparseloom import document
from sparseloom.arch.file import build as build_design
from sparseloom.errors import ArchitectureError
from sparseloom.mapping.batch import MappingBatch, Problem
from sparseloom.mapping.file import build as build_mapping
from sparseloom.model.batch import evaluate_batch
from sparseloom.model.conventions import MICRO22, SPARSELOOM
from sparseloom.model.evaluate import evaluate
from sparseloom.workload.file import build as build_workload

TEXT = """
workload: {{einsum: "Z[] = A[k] * B[k]", shape: {{K: 8}}, tensors: {{A: {{density: {a}}}, B: {{density: {b}}}}}}}
design:
  name: toy
  levels: [{{name: Buffer, energy_pj: {{read: 10}}, {feature}: ["{pairs}"]}}]
  compute: {{name: MAC, energy_pj: {{compute: 1}}}}
mapping: [{{level: Buffer, keep: [A, B, Z], temporal: [K 8]}}]
"""


def case(pairs: str, a: float = 0.75, b: float = 0.25, feature: str = "skipping") -> Case:
    node = document.parse(TEXT.format(pairs=pairs, a=a, b=b, feature=feature))
    return Case(
        build_workload(node.get("workload")), build_design(node.get("design")), build_mapping(node.get("mapping"))
    )


def energy(one: Case) -> float:
    return evaluate(one.workload, one.design, one.mapping).energy_pj


@pytest.mark.parametrize("pairs", ["A <- B | B <- A", "B <- A | A <- B"])
@pytest.mark.parametrize(("a", "b", "best"), [(0.75, 0.25, "A <- B"), (0.25, 0.75, "B <- A")])
def test_the_alternative_that_costs_least_is_used_wherever_it_stands(pairs: str, a: float, b: float, best: str) -> None:
    both, alone = case(pairs, a, b), case(best, a, b)
    result = evaluate(both.workload, both.design, both.mapping)
    assert result.energy_pj == energy(alone)
    assert result.energy_pj < energy(case(" <- ".join(best.split(" <- ")[::-1]), a, b))
    assert f"skipping at Buffer: of 2 alternatives {best} costs least energy" in result.assumptions


def test_of_equal_alternatives_the_first_is_used() -> None:
    one = case("B <- A | A <- B", 0.5, 0.5)
    tensors = evaluate(one.workload, one.design, one.mapping).levels["Buffer"].tensors
    assert (tensors["A"].reads.skipped, tensors["B"].reads.skipped) == (0, pytest.approx(4))


@pytest.mark.parametrize("rules", [SPARSELOOM, MICRO22])
def test_an_alternative_about_an_unknown_tensor_is_refused(rules: object) -> None:
    one = case("A <- B | B <- Q")
    with pytest.raises(ArchitectureError, match="about tensor Q, which the workload has not"):
        evaluate(one.workload, one.design, one.mapping, rules)  # type: ignore[arg-type]


def test_a_batch_refuses_alternatives() -> None:
    one = case("A <- B | B <- A")
    problem = Problem(one.workload, one.design)
    with pytest.raises(ArchitectureError, match="skipping at Buffer has 2 alternatives"):
        evaluate_batch(problem, MappingBatch.of(problem, [one.mapping]))
