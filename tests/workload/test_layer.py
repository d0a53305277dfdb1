from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from sparseloom.errors import WorkloadError
from sparseloom.fibertree.density import Dense, IntArray, Uniform
from sparseloom.workload.einsum import Einsum
from sparseloom.workload.layer import Layer

CONV2 = Layer.convolution(
    "conv2", channels=96, filters=256, input=(27, 27), window=(5, 5), padding=(2, 2), groups=2, bias=True
)


@st.composite
def convolutions(draw: st.DrawFn) -> Layer:
    def sides(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    groups, window = draw(st.integers(1, 3)), sides(1, 3)
    return Layer.convolution(
        "conv",
        channels=groups * draw(st.integers(1, 3)),
        filters=groups * draw(st.integers(1, 3)),
        input=(window[0] + draw(st.integers(0, 3)), window[1] + draw(st.integers(0, 3))),
        window=window,
        stride=sides(1, 3),
        padding=draw(st.just("same") | st.tuples(st.integers(0, 2), st.integers(0, 2))),
        groups=groups,
        batch=draw(st.integers(1, 2)),
        bias=draw(st.booleans()),
    )


sizes = st.integers(1, 9)
linears = st.builds(Layer.linear, st.just("fc"), rows=sizes, inputs=sizes, outputs=sizes, bias=st.booleans())
products = st.builds(Layer.product, st.just("scores"), batch=sizes, m=sizes, k=sizes, n=sizes)
layers = st.builds(lambda layer, count: replace(layer, count=count), convolutions() | linears | products, sizes)


def random_tensors(layer: Layer, rng: np.random.Generator) -> dict[str, IntArray]:
    bounds = dict(layer.shape)
    return {tensor.name: rng.integers(-9, 9, tensor.shape(bounds)) for tensor in layer.einsum.operands}


def execute(layer: Layer, operands: dict[str, IntArray]) -> IntArray:
    """The einsum point by point."""
    points = dict(zip(layer.shape, np.indices(tuple(layer.shape.values())), strict=True))
    index = {
        tensor.name: tuple(sum(t.coefficient * points[t.rank] for t in p.terms) for p in tensor.projections)
        for tensor in layer.einsum.tensors
    }
    output = np.zeros(layer.einsum.output.shape(dict(layer.shape)), np.int64)
    terms = prod((values[index[name]] for name, values in operands.items()), start=np.int64(1))
    np.add.at(output, index[layer.einsum.output.name], terms)
    return output


def faults(error: pytest.ExceptionInfo[WorkloadError]) -> list[str]:
    return [f"{f.path}: {f.what}; {f.fix}" for f in error.value.faults]


def test_a_convolution_has_its_stride_in_the_index_and_its_padding_in_the_input() -> None:
    layer = Layer.convolution(
        "conv1", channels=3, filters=64, input=(224, 223), window=(7, 5), stride=(2, 3), padding=(3, 0)
    )
    assert str(layer.einsum) == "O[n,m,p,q] = I[n,c,2*p+r,3*q+s] * W[m,c,r,s]"
    assert dict(layer.shape) == {"N": 1, "M": 64, "P": 112, "Q": 73, "C": 3, "R": 7, "S": 5}
    assert layer.workload().tensor_shape("I") == (1, 3, 229, 221)


def test_a_depthwise_convolution_has_a_group_for_each_channel() -> None:
    layer = Layer.convolution("dw", channels=8, filters=8, input=(5, 5), window=(3, 3), padding="same", groups=8)
    assert str(layer.einsum) == "O[n,g,m,p,q] = I[n,g,c,p+r,q+s] * W[g,m,c,r,s]"
    assert (layer.computes, layer.weights) == (8 * 25 * 9, 8 * 9)


def test_same_padding_gives_an_output_for_every_stride_begun() -> None:
    layer = Layer.convolution("conv", channels=1, filters=1, input=(7, 8), window=(3, 3), stride=(2, 2), padding="same")
    assert (layer.shape["P"], layer.shape["Q"]) == (4, 4)


def test_totals_are_of_all_instances_and_the_rest_of_one() -> None:
    layer = replace(CONV2, count=3)
    assert layer.computes == 27 * 27 * 256 * 48 * 25
    assert layer.total_computes == 3 * layer.computes
    assert (layer.weights, layer.biases) == (256 * 48 * 25, 256)


def test_a_product_of_computed_operands_has_no_weights() -> None:
    assert Layer.product("scores", batch=12, m=4, k=8, n=4).weights == 0


def test_tensors_of_unknown_density_are_dense_in_the_workload() -> None:
    workload = replace(CONV2, densities={"W": 0.5}).workload()
    assert workload.densities == {"W": Uniform((2, 128, 48, 5, 5), 0.5)}
    assert workload.density("O") == Dense((1, 2, 128, 27, 27))
    assert workload.computes == CONV2.computes


def test_a_product_carries_densities_over_by_role() -> None:
    product = replace(CONV2, densities={"I": 0.5, "W": 0.25, "O": 0.75}).as_product()
    assert product.densities == {"A": 0.25, "B": 0.5, "Z": 0.75}
    assert dict(product.shape) == {"M": 128, "N": 27 * 27, "K": 48 * 25}
    assert product.count == 2


def test_a_fully_connected_layer_has_its_outputs_in_m_and_its_rows_in_n() -> None:
    product = Layer.linear("fc", rows=3, inputs=5, outputs=7).as_product()
    assert dict(product.shape) == {"M": 7, "N": 3, "K": 5}


def test_a_batch_is_so_many_products_whose_first_operand_stays_the_first() -> None:
    layer = replace(Layer.product("scores", batch=12, m=3, k=5, n=7), densities={"A": 0.5}, count=2)
    assert layer.as_product() == replace(
        layer, einsum=Einsum.parse("Z[m,n] = A[m,k] * B[k,n]"), shape={"M": 3, "N": 7, "K": 5}, count=24
    )


@given(layers)
def test_a_product_has_the_computes_and_words_of_its_layer_and_is_its_own_product(layer: Layer) -> None:
    product = layer.as_product()
    assert product.total_computes == layer.total_computes
    assert product.count * product.weights == layer.count * layer.weights
    assert product.count * product.biases == layer.count * layer.biases
    assert product.as_product() == product


@given(convolutions(), st.integers(0, 2**32 - 1))
def test_a_convolution_gives_what_its_products_give(layer: Layer, seed: int) -> None:
    tensors = random_tensors(layer, np.random.default_rng(seed))
    product = layer.as_product()
    m, n, k = (product.shape[rank] for rank in "MNK")
    (p, q), (r, s) = ([layer.shape[rank] for rank in pair] for pair in ("PQ", "RS"))
    steps = [projection.terms[0].coefficient for projection in layer.einsum.operands[0].projections[-2:]]
    windows = sliding_window_view(tensors["I"], (r, s), axis=(-2, -1))[..., :: steps[0], :: steps[1], :, :]
    columns = windows.reshape(layer.shape["N"], product.count, -1, p, q, r, s)
    b = columns.transpose(1, 2, 5, 6, 0, 3, 4).reshape(product.count, k, n)
    z = tensors["W"].reshape(product.count, m, k) @ b
    output = execute(layer, tensors).reshape(layer.shape["N"], product.count, m, p * q)
    assert (z == output.transpose(1, 2, 0, 3).reshape(z.shape)).all()


@given(layers, st.dictionaries(st.sampled_from("MNK"), sizes))
def test_padding_gives_the_least_multiples(layer: Layer, multiples: dict[str, int]) -> None:
    layer = layer.as_product()
    padded = layer.padded(multiples)
    for rank, size in layer.shape.items():
        multiple = multiples.get(rank, 1)
        assert padded.shape[rank] % multiple == 0
        assert 0 <= padded.shape[rank] - size < multiple
    assert replace(padded, shape=layer.shape) == layer


def test_padding_to_no_multiple_or_a_rank_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(WorkloadError) as caught:
        Layer.linear("fc", rows=1, inputs=2, outputs=3).padded({"K": 4, "M": 0})
    assert faults(caught) == ["K: fc has no rank K; known names: N, M, C", "M: M is 0; give 1 or more"]


def test_all_sizes_that_make_no_convolution_are_faults() -> None:
    with pytest.raises(WorkloadError) as caught:
        Layer.convolution("conv", channels=4, filters=3, input=(2, 9), window=(5, 5), padding=(1, 0), groups=3)
    assert faults(caught) == [
        "groups: 3 groups do not divide 4 channels; give a divisor of the channels",
        "window: a window of 5 x 5 has no place in an input of 2 x 9 with padding 1 x 0; "
        "make the window smaller, or the input or its padding larger",
    ]
    with pytest.raises(WorkloadError) as caught:
        Layer.convolution("conv", channels=4, filters=4, input=(9, 9), window=(3, 3), stride=(0, 1), groups=0)
    assert [f.path for f in caught.value.faults] == ["groups", "stride"]
    with pytest.raises(WorkloadError, match="padding is 0 x -1 @ padding"):
        Layer.convolution("conv", channels=1, filters=1, input=(9, 9), window=(3, 3), padding=(0, -1))


def test_every_contradiction_of_a_layer_is_a_fault() -> None:
    with pytest.raises(WorkloadError) as caught:
        replace(CONV2, densities={"V": 0.5, "I": 1.5}, count=0, constant="")
    assert faults(caught) == [
        "count: count is 0; give 1 or more",
        "densities.V: conv2 has no tensor V, it has I, W, O; known names: I, W, O",
        "densities.I: density 1.5 is not between 0 and 1; give nonzeros / points",
        "bias: conv2 has a bias but no weights; leave the bias out",
    ]


@pytest.mark.parametrize(
    ("einsum", "why"),
    [
        ("Z[m] = A[m] * B[m] * C[m]", "it has 3 operands"),
        ("Z[m,n] = A[m,k] * B[n]", "rank K is of one tensor alone"),
    ],
)
def test_an_einsum_that_is_no_matrix_product_says_why(einsum: str, why: str) -> None:
    parsed = Einsum.parse(einsum)
    with pytest.raises(WorkloadError, match=f"odd is no matrix product: {why} in "):
        Layer("odd", parsed, dict.fromkeys(parsed.ranks, 2)).as_product()


@pytest.mark.parametrize(
    ("input", "window", "stride", "padding"),
    [((13, 13), (3, 3), (1, 1), (1, 1)), ((227, 227), (11, 11), (4, 4), (0, 0)), ((7, 7), (1, 1), (1, 1), (0, 0))],
)
def test_planes_hold_all_computes_and_what_they_add_is_empty_or_in_the_smaller_parts(
    input, window, stride, padding
) -> None:
    conv = Layer.convolution(
        "conv", channels=6, filters=8, groups=2, input=input, window=window, stride=stride, padding=padding
    )
    plain = conv.as_planar((8, 8))
    whole = conv.as_planar((8, 8), lanes=4, residues=True)
    rows = -(-conv.shape["P"] // 8)
    elements = -(-conv.shape["P"] // rows)
    assert (plain.shape["X"], plain.shape["Y"]) == (elements**2, rows**2)
    assert plain.total_computes >= conv.total_computes
    assert plain.total_computes == pytest.approx(conv.total_computes * (elements * rows / conv.shape["P"]) ** 2)
    # four lanes take no more passes than the places of a part need, and nonzeros stay as many
    lanes = max(few for few in range(1, 5) if whole.shape["Y"] % few == 0)
    assert whole.shape["Y"] / lanes == -(-(rows**2) // 4)
    assert whole.shape["Y"] * whole.densities.get("I", 1.0) == pytest.approx(rows**2)
    weights = whole.shape["C"] * whole.shape["T"] * whole.densities.get("W", 1.0)
    assert weights == pytest.approx(conv.shape["C"] * conv.shape["R"] * conv.shape["S"])


def test_a_product_is_a_plane_of_one_place() -> None:
    linear = Layer.linear("fc", rows=3, inputs=5, outputs=7)
    assert dict(linear.as_planar((8, 8), lanes=4).shape) == {"N": 3, "M": 7, "X": 1, "Y": 1, "C": 5, "T": 1}
