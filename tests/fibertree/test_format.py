import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseloom.errors import InputError
from sparseloom.fibertree.format import Format, RankFormat


@pytest.mark.parametrize(
    ("name", "ranks", "thesis"),
    [
        ("CSR", ("M", "K"), "UOP-CP"),
        ("COO", ("M", "K"), "CP^2"),
        ("CSB", ("B", "M", "K"), "UOP-CP-CP"),
        ("CSF", ("I", "J", "K"), "CP-CP-CP"),
    ],
)
def test_classic_formats_have_the_descriptions_of_thesis_table_3_1(name, ranks, thesis):
    assert Format.named(name, ranks).thesis == thesis


@pytest.mark.parametrize(
    "text",
    ["UOP(M)-CP(K)", "B(C1)-RLE(C0=8):4", "CP(M,K)", "UOP(M):/16-CP(K):4/8", "CP(K1):/12-U(M)-UB()-RLE(K0=4)"],
)
def test_a_format_prints_as_it_was_written(text):
    assert str(Format.parse(text)) == text


def test_spaces_in_a_format_do_not_matter():
    assert Format.parse(" UOP( M ) - CP(K, N) : 4 ") == Format.parse("UOP(M)-CP(K,N):4")


@given(data=st.data())
def test_every_format_survives_printing_and_parsing(formats, data):
    form = data.draw(formats(("M", "K", "C")))
    assert Format.parse(str(form)) == form


@pytest.mark.parametrize("text", ["CP2", "CP^2"])
def test_kinds_without_names_take_the_ranks_of_the_tensor_in_order(text):
    assert Format.parse(f"UOP-{text}", ("M", "K", "N")) == Format.parse("UOP(M)-CP(K,N)")


def test_formats_are_parsed_by_name_and_csc_stores_the_last_rank_outermost():
    assert str(Format.parse("CSR", ("M", "K"))) == "UOP(M)-CP(K)"
    assert str(Format.parse("CSC", ("M", "K"))) == "UOP(K)-CP(M)"
    assert str(Format.parse("bitmask", ("M", "K"))) == "B(M,K)"
    assert str(Format.parse("RLE", ("M", "K"))) == "RLE(M,K)"


@pytest.mark.parametrize(
    ("text", "compressed"), [("UOP(M)-CP(K)", True), ("UB(K)", False), ("UOP(M)-U(K)", False), ("RLE(K)-U(M)", True)]
)
def test_a_format_with_a_bitmask_coordinates_or_runs_is_compressed(text, compressed):
    assert Format.parse(text).compressed is compressed


def _message(text, ranks=()):
    with pytest.raises(InputError) as error:
        Format.parse(text, ranks)
    return str(error.value)


def test_an_unknown_kind_names_the_one_that_was_meant():
    message = _message("RLL(K)")
    assert "unknown format kind 'RLL'" in message
    assert "did you mean 'RLE'?" in message


def test_all_unreadable_ranks_are_named_at_once():
    message = _message("UOP[M]-CP(K)-(N)")
    assert "'UOP[M]' is not a rank of a format" in message
    assert "'(N)' is not a rank of a format" in message


def test_a_rank_named_twice_is_refused():
    assert "rank K is named twice" in _message("UOP(K)-CP(K)")
    assert "rank K0 is named twice" in _message("UOP(K0=4)-CP(K0=2)")


def test_the_number_of_unnamed_ranks_must_be_that_of_the_tensor():
    assert "leaves 2 ranks without a name, the tensor has 3 (M, K, N)" in _message("UOP-CP", ("M", "K", "N"))
    assert "leaves 1 ranks without a name, the tensor has 0" in _message("UOP(M)-CP")


def test_a_classic_format_for_the_wrong_number_of_ranks_is_refused():
    assert "CSR wants 2 ranks, the tensor has 1 (K)" in _message("CSR", ("K",))
    with pytest.raises(InputError, match="unknown format 'CSRR'"):
        Format.named("CSRR", ("M", "K"))


@pytest.mark.parametrize(
    ("kind", "ranks", "bits", "what"),
    [
        ("RLE", ("K",), 0, "metadata units of 0 bits"),
        ("CP", ("K",), -1, "metadata units of -1 bits"),
        ("CP", ("2K",), None, "'2K' is not a rank"),
        ("CP", ("K0=0",), None, "'K0=0' is not a rank"),
    ],
)
def test_a_rank_that_cannot_be_is_refused(kind, ranks, bits, what):
    with pytest.raises(InputError, match=what):
        RankFormat(kind, ranks, bits)


def test_a_format_without_ranks_is_refused():
    with pytest.raises(InputError, match="without ranks"):
        Format(())
