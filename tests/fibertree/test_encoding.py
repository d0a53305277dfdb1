import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparseloom.errors import InputError
from sparseloom.fibertree.encoding import decode, encode
from sparseloom.fibertree.format import Format

FIG_3_2 = np.array([0, 0, 1, 1, 0, 1], np.bool_)  # the vector 0 0 c d 0 f
RANKS = ("M", "K", "C")


def _encode(text, values, ranks=("K",), origin=None):
    return encode(Format.parse(text, ranks), np.array(values, np.bool_), ranks, origin)


@pytest.mark.parametrize(
    ("kind", "metadata", "stored", "bits"),
    [
        ("U", [], [0, 1, 2, 3, 4, 5], 0),
        ("UB", [0, 0, 1, 1, 0, 1], [0, 1, 2, 3, 4, 5], 6),
        ("B", [0, 0, 1, 1, 0, 1], [2, 3, 5], 6),
        ("CP", [2, 3, 5], [2, 3, 5], 9),
        ("RLE", [2, 0, 1], [2, 3, 5], 9),
    ],
)
def test_the_vector_of_thesis_fig_3_2_is_encoded_as_drawn(kind, metadata, stored, bits):
    encoding = _encode(kind, FIG_3_2)
    assert encoding.streams[0].metadata.tolist() == metadata
    assert encoding.stored.tolist() == stored
    assert encoding.units.tolist() == [[len(metadata), 0]]
    assert encoding.bits == bits


def test_offset_pairs_of_thesis_fig_3_2_are_those_of_a_matrix_of_one_row():
    encoding = _encode("UOP-CP", [FIG_3_2], ("M", "K"))
    assert encoding.streams[0].payload.tolist() == [0, 3]
    assert encoding.bits == 2 * 3 + 3 * 3  # offsets up to 6, coordinates below 6


def test_offsets_of_the_lowest_rank_address_values():
    encoding = _encode("UOP", FIG_3_2)
    assert encoding.streams[0].payload.tolist() == [0, 0, 0, 1, 2, 2, 3]
    assert encoding.units.tolist() == [[0, 7]]


def test_a_matrix_in_compressed_sparse_rows():
    encoding = _encode("CSR", [[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]], ("M", "K"))
    assert encoding.streams[0].payload.tolist() == [0, 2, 2, 4]
    assert encoding.streams[1].metadata.tolist() == [0, 2, 1, 3]
    assert encoding.units.tolist() == [[0, 4], [4, 0]]
    assert str(encoding).splitlines()[0] == "UOP(M): metadata none, payload 0 2 2 4"


def test_long_runs_take_placeholders_and_zeros_at_the_end_cost_nothing():
    encoding = _encode("RLE(K):1", [0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0])
    assert encoding.streams[0].metadata.tolist() == [1, 1, 1, 1, 0]
    assert encoding.stored.tolist() == [1, 3, 5, 7, 8]
    assert encoding.nonzero.tolist() == [False, False, True, False, True]
    assert encoding.bits == 5


def test_an_upper_rank_stores_its_placeholders_as_payloads_without_a_fiber():
    encoding = _encode("RLE(M):1-CP(K)", [[0, 0], [0, 0], [0, 0], [1, 1]], ("M", "K"))
    assert encoding.streams[0].payload.tolist() == [0, 0]
    assert encoding.units.tolist() == [[2, 2], [2, 0]]


@pytest.mark.parametrize("lower", ["U", "UB", "B", "CP", "RLE", "UOP"])
def test_placeholders_of_an_upper_rank_have_no_fiber_when_decoded(lower):
    mask = np.array([[0, 0], [0, 0], [0, 0], [1, 0], [0, 1], [0, 0]], np.bool_)
    assert np.array_equal(decode(_encode(f"RLE(M):1-{lower}(K)", mask, ("M", "K"))), mask)


def test_parts_of_a_split_rank_lie_at_absolute_coordinates():
    encoding = _encode("B(K1)-B(K0=4)", [1, 0, 0, 0, 1], origin=(3,))  # coordinates 3 | 4 5 6 7
    assert [stream.metadata.tolist() for stream in encoding.streams] == [[1, 1], [1, 0, 0, 0, 1]]
    assert [stream.entries.tolist() for stream in encoding.streams] == [[2], [1, 1]]


def test_an_empty_tile_keeps_its_root_fiber_but_no_other():
    encoding = _encode("UOP(M)-B(K)", np.zeros((2, 3)), ("M", "K"))
    assert encoding.units.tolist() == [[0, 3], [0, 0]]


def test_below_an_uncompressed_rank_fibers_exist_for_empty_coordinates():
    assert _encode("U(M)-B(K)", np.zeros((2, 3)), ("M", "K")).units.tolist() == [[0, 0], [6, 0]]
    assert _encode("UB(M)-B(K)", np.zeros((2, 3)), ("M", "K")).units.tolist() == [[2, 0], [6, 0]]


def test_a_box_without_points_stores_nothing():
    encoding = _encode("UOP-CP", np.zeros((2, 0)), ("M", "K"))
    assert encoding.units.tolist() == [[0, 0], [0, 0]]
    assert decode(encoding).shape == (2, 0)


@pytest.mark.parametrize("nonzero", [True, False])
def test_a_tensor_without_ranks_can_be_encoded(nonzero):
    encoding = encode(Format.parse("CP()"), np.array(nonzero), (), ())
    assert encoding.units.tolist() == [[nonzero, 0]]
    assert decode(encoding) == nonzero


@given(data=st.data())
def test_decoding_gives_the_mask_back(formats, data):
    form = data.draw(formats(RANKS))
    mask = data.draw(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)))
    origin = data.draw(st.tuples(*[st.integers(0, 9)] * 3))
    encoding = encode(form, mask, RANKS, origin)
    assert np.array_equal(decode(encoding), mask)
    assert np.array_equal(mask.reshape(-1)[encoding.stored], encoding.nonzero)
    assert set(np.flatnonzero(mask)) <= set(encoding.stored.tolist())


@given(data=st.data())
def test_every_unit_fits_its_width(formats, data):
    form = data.draw(formats(RANKS))
    mask = data.draw(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)))
    encoding = encode(form, mask, RANKS, data.draw(st.tuples(*[st.integers(0, 9)] * 3)))
    for rank, stream, (metadata_bits, payload_bits) in zip(form.ranks, encoding.streams, encoding.widths, strict=True):
        if rank.kind == "RLE" or rank.metadata_bits is None:
            assert (stream.metadata < 2**metadata_bits).all()
        if rank.kind == "UOP":
            assert (stream.payload < 2**payload_bits).all()


def test_a_mask_with_other_ranks_than_the_tensor_is_refused():
    with pytest.raises(InputError, match="a mask of 1 ranks at an origin of 2, the tensor has 2"):
        _encode("UOP-CP", [1, 0], ("M", "K"), (0, 0))
