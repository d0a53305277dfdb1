"""Densities of data-spaces, and masks in text files."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.errors import InputError
from sparseloom.fibertree.density import ActualData, Density, FixedStructured, Uniform
from sparseloom.fibertree.diagonal import Banded
from sparseloom.timeloop import TimeloopInput
from sparseloom.timeloop.density import read_mask

Texts = dict[str, str]
Load = Callable[[Texts], TimeloopInput]
Faults = Callable[[Texts], list[str]]


def _with(toy: Texts, density: str) -> Texts:
    problem = toy["problem.yaml"].replace("B: 0.5", f"B: {density}").replace("K: 6", "K: 4")
    return {"arch.yaml": toy["arch.yaml"], "problem.yaml": problem}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", FixedStructured((4, 4), 0.5)),
        ("{distribution: fixed-structured, density: 0.3}", FixedStructured((4, 4), 0.3)),
        ("{distribution: fixed_structured, density: 1}", FixedStructured((4, 4), 1.0)),
        ("{distribution: hypergeometric, density: 0.3, workload_tensor_size: 0}", Uniform((4, 4), 0.3)),
        ("{distribution: banded, band_width: 1}", Banded((4, 4), 1)),
    ],
)
def test_density_by_number_or_distribution(toy: Texts, load_texts: Load, text: str, expected: Density) -> None:
    assert load_texts(_with(toy, text)).workload.density("B") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.5", "density 1.5 is not between 0 and 1 @ {0} | give nonzeros / points"),
        ("dense", "'dense' stands where a number is expected @ {0}"),
        ("{distribution: uniform, density: 0.5}", "unknown distribution 'uniform' of B @ {0}.distribution | "
         "write hypergeometric"),
        ("{distribution: bandid, band_width: 1}", "unknown distribution 'bandid' of B @ {0}.distribution | "
         "did you mean 'banded'?"),
        ("{distribution: banded}", "required key 'band_width' is missing @ {0} | add `band_width:`"),
        ("{density: 0.5}", "required key 'distribution' is missing @ {0} | add `distribution:`"),
        ("{distribution: real-data, data_file_path: gone.txt}",
         "cannot read the mask gone.txt: No such file or directory @ {0}.data_file_path | "
         "data_file_path is relative to the file that names it"),
    ],
)  # fmt: skip
def test_density_that_cannot_be_read_is_refused(toy: Texts, faults: Faults, text: str, expected: str) -> None:
    assert faults(_with(toy, text)) == [f"problem.yaml:15: {expected.format('problem.instance.densities.B')}"]


@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_first_rank_of_the_projection_varies_fastest_in_a_mask_file(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], seed: int
) -> None:
    mask = np.random.default_rng(seed).random(shape) < 0.5
    digits = [str(int(mask[point[::-1]])) for point in product(*(range(n) for n in reversed(shape)))]
    path = tmp_path_factory.mktemp("mask") / "mask.txt"
    path.write_text("\n ".join(digits) + "\n")
    assert (read_mask(path, tuple(shape)) == mask).all()


def test_mask_is_found_beside_the_file_that_names_it(toy: Texts, load_texts: Load, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "b.txt").write_text("1" + "0" * 15)
    found = load_texts(_with(toy, "{distribution: real-data, data_file_path: masks/b.txt}")).workload.density("B")
    assert isinstance(found, ActualData)
    assert (found.mask.shape, found.mask.sum(), found.mask[0, 0]) == ((4, 4), 1, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0101", "has 4 points, the tensor has 2 x 3 = 6"),
        ("01012 1", "holds '2' as its point 4"),
        ("010é01", "holds 'Ã' as its point 3"),
    ],
)
def test_mask_of_another_size_or_with_other_signs_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "mask.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_mask(path, (2, 3))
    assert caught.value.faults[0].what == f"the mask {path} {expected}"
