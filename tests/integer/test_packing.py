"""Packed blocks: round trips, sizes by the paper's formula, encodings by counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.errors import InputError
from sparseloom.fibertree.pattern import Pattern
from sparseloom.integer.packing import compression, encoded_bits, pack


@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from([2, 4, 8, 16, 64]), st.integers(1, 70))
def test_a_tensor_comes_back_from_its_blocks(seed: int, rows: int, block: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    tensor = rng.integers(-128, 128, (rows, 3, size)) * (rng.random((rows, 3, size)) < 0.4)
    packed = pack(tensor, block)
    assert (packed.unpacked() == tensor).all()
    assert packed.bits == rows * 3 * -(-size // block) * (8 * packed.bound + block)


@pytest.mark.parametrize(("kept", "ratio"), [(4, 1.6), (3, 2.0), (2, 2.67)])
def test_pruned_weights_take_the_bits_of_the_papers_formula(kept: int, ratio: float) -> None:
    weights = np.random.default_rng(0).integers(1, 128, (16, 3, 3, 64))
    mask = Pattern.parse(f"dbb(C: {kept}/8)").mask(weights, ("M", "R", "S", "C"))
    packed = pack(weights * mask, 8, kept)
    blocks = 16 * 3 * 3 * 8
    assert packed.bits == blocks * (8 * kept + 8)
    assert weights.size * 8 / packed.bits == pytest.approx(compression(kept, 8))
    assert compression(kept, 8) == pytest.approx(ratio, abs=0.005)


def test_encodings_are_counted_value_by_value() -> None:
    row = np.zeros(32, np.int64)
    row[[1, 2, 20]] = 7
    found = encoded_bits(row, 8)
    assert found.dense == 32 * 8
    assert found.coordinates == 3 * (8 + 5)  # a place among 32 is 5 bits
    assert found.blocks == 2 * (8 * 8 + 2)  # two of four blocks are not empty
    assert found.bitmask == 4 * (2 * 8 + 8)  # the fullest block has two


def test_a_block_above_its_bound_is_refused_with_both_numbers() -> None:
    with pytest.raises(InputError, match="a block holds 3 nonzeros, the bound is 2"):
        pack([1, 1, 1, 0], 4, 2)
    with pytest.raises(InputError, match="blocks of 65 values"):
        pack([1], 65)
