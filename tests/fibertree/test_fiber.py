import itertools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.errors import InputError, PatternError
from sparseloom.fibertree.box import corners
from sparseloom.fibertree.fiber import Part, bind, digits, single_coordinate, widths
from sparseloom.fibertree.format import Format

RANKS = ("M", "K")


def _bound(text, ranks=RANKS):
    return bind(Format.parse(text), ranks).parts


def test_a_split_rank_is_read_as_digits_of_its_coordinates():
    assert _bound("U(K2)-U(M)-U(K1=3)-CP(K0=4)") == (
        (Part(1, 12, None),),
        (Part(0, 1, None),),
        (Part(1, 4, 3),),
        (Part(1, 1, 4),),
    )


def test_ranks_that_are_not_named_are_flattened_into_the_topmost_before_its_own():
    assert _bound("CP(K)") == ((Part(0, 1, None), Part(1, 1, None)),)
    assert _bound("B(M)-CP(K0=4)") == ((Part(1, 4, None), Part(0, 1, None)), (Part(1, 1, 4),))


def test_a_rank_whose_name_ends_in_a_digit_is_no_part_of_another():
    assert _bound("U(C)-CP(C1)", ("C", "C1")) == ((Part(0, 1, None),), (Part(1, 1, None),))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("UOP(M)-CP(N)", "names rank N, the tensor has M, K"),
        ("U(K0=2)-CP(K1=2)", "parts of rank K are out of order: K0=2, K1=2"),
        ("U(K1)-CP(K0)", "part K0 has no size"),
        ("U(K1)-CP(K)", "rank K is named whole and in parts"),
        ("U(K=4)", "K=4 gives rank K a size"),
    ],
)
def test_a_format_that_does_not_fit_the_tensor_is_refused(text, what):
    with pytest.raises(InputError, match=what):
        _bound(text)


def test_every_fault_of_a_format_is_told_at_once():
    with pytest.raises(InputError) as error:
        _bound("U(N)-U(K1)-U(M1)-CP(K0)-CP(M0)")
    assert len(error.value.faults) == 3


def test_a_box_needs_a_pair_of_corners_for_each_rank():
    with pytest.raises(PatternError, match="a box of 1 low and 2 high coordinates was given for a tensor of 2 ranks"):
        corners(2, (0,), (1, 1))


def _fibers(geometry, rank, low, high):
    """Points of each fiber of a rank by the digits above it, and its coordinates: by enumeration."""
    found = defaultdict(set)
    for point in itertools.product(*(range(x, y) for x, y in zip(low, high, strict=True))):
        digit = [tuple(int(d) for d in digits(geometry, r, np.array(point))) for r in range(rank + 1)]
        found[tuple(digit[:rank])].add(digit[rank])
    return found


@given(data=st.data(), low=st.tuples(st.integers(0, 7), st.integers(0, 7)), extents=st.tuples(*[st.integers(1, 5)] * 2))
def test_default_widths_tell_apart_the_coordinates_of_the_largest_fiber(formats, data, low, extents):
    form = data.draw(formats(RANKS))
    high = tuple(x + y for x, y in zip(low, extents, strict=True))
    geometry = bind(form, RANKS)
    for rank, kind in enumerate(rank.kind for rank in form.ranks):
        if kind in ("CP", "RLE") and form.ranks[rank].metadata_bits is None:
            largest = max(len(fiber) for fiber in _fibers(geometry, rank, low, high).values())
            assert widths(form, RANKS, low, high)[rank, 0] == max(1, (largest - 1).bit_length())


@given(data=st.data(), low=st.tuples(st.integers(0, 7), st.integers(0, 7)), extents=st.tuples(*[st.integers(1, 5)] * 2))
def test_a_box_has_a_single_coordinate_where_all_its_points_agree(formats, data, low, extents):
    form = data.draw(formats(RANKS))
    high = tuple(x + y for x, y in zip(low, extents, strict=True))
    geometry = bind(form, RANKS)
    for rank, single in enumerate(single_coordinate(form, RANKS, low, high)):
        coordinates = set().union(*_fibers(geometry, rank, low, high).values())
        assert single == (len(coordinates) == 1)


def test_widths_hold_for_a_batch_of_boxes():
    bits = Format.parse("UOP-CP", RANKS).widths(RANKS, (0, 0), (np.array([1, 4]), np.array([[2], [9]])))
    assert bits.shape == (2, 2, 2, 2)
    assert bits[1, 1].tolist() == [[0, 6], [4, 0]]  # offsets up to 36, coordinates below 9


def test_widths_that_are_given_hold():
    assert Format.parse("UOP(M):/16-CP(K):8/3").widths(RANKS, (0, 0), (4, 4)).tolist() == [[0, 16], [8, 3]]
