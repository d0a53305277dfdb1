"""Published accelerators of sparse operands, each on a layer whose cycles follow by hand."""

from dataclasses import replace
from math import ceil, sqrt

import pytest

from sparseloom.arch.technology import Technology
from sparseloom.designs.load import constraints, load
from sparseloom.errors import PatternError
from sparseloom.fibertree.sparsity import Sparsity
from sparseloom.search.comparison import Contender, Outcome, compare, runs
from sparseloom.workload import zoo
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network


def fastest(name: str, layer: Layer, weights: str, activations: str, *, waits: bool = True) -> Outcome:
    design = load(name)
    if not waits:
        levels = tuple(replace(level, barrier=False) for level in design.architecture.levels)
        design = replace(design, architecture=replace(design.architecture, levels=levels))
    contender = Contender.at(design, constraints(name), Technology())
    operands = Sparsity.parse(weights), Sparsity.parse(activations)
    todo, refused = runs(Network("one", "made up", (layer,)), contender, *operands, "cycles", 60)
    (found,) = compare(todo)
    assert not refused
    assert isinstance(found, Outcome)
    return found


def conv(channels: int, filters: int, side: int) -> Layer:
    return Layer.convolution(
        "conv", channels=channels, filters=filters, input=(side, side), window=(3, 3), padding=(1, 1)
    )


def test_units_of_sparten_find_a_pair_a_cycle_and_wait_for_the_slowest_of_1024() -> None:
    """An output has 9 * 128 places with a pair in 0.35 * 0.4 of them; the largest of 1,024 normal numbers is 3.24 deviations above
    their mean. The binomial distribution is a little skew, by (1 - 2p) / 6 (3.24^2 - 1) = 1.1 pairs of 161."""
    layer, share = conv(128, 256, 32), 0.35 * 0.4
    pairs = 1152 * share
    alone = fastest("sparten", layer, "0.35", "0.4", waits=False).result.cycles
    assert alone == pytest.approx(256 * pairs, rel=1e-3)  # 32 x 32 x 256 outputs, 256 for each unit
    slowest = pairs + 3.24 * sqrt(pairs * (1 - share))
    assert fastest("sparten", layer, "0.35", "0.4").result.cycles == pytest.approx(256 * slowest, rel=0.015)


def test_elements_of_gospa_take_the_activations_that_their_masks_let_through() -> None:
    layer = conv(64, 256, 16)
    found = fastest("gospa", layer, "0.35", "0.4")
    assert found.result.cycles == pytest.approx(0.35 * 0.4 * layer.computes / 128, rel=1e-3)


def test_gospa_reads_an_activation_once_from_its_buffer_and_for_every_position_of_a_window_from_the_reordering() -> (
    None
):
    """One part of the image, 16 x 16 outputs out of 18 x 18 places, and as many filters as elements."""
    frame = fastest("gospa", conv(64, 128, 16), "0.35", "0.4").result.to_frame()
    reads = {
        row["level"]: row["count"]
        for row in frame.rows(named=True)
        if (row["tensor"], row["action"], row["kind"], row["outcome"]) == ("I", "read", "data", "actual")
    }
    assert reads["buffers"] == ceil(0.4 * 64 * 18 * 18)
    assert reads["reordering"] == pytest.approx(0.4 * 64 * 16 * 16 * 9, rel=1e-3)


@pytest.mark.parametrize(
    ("network", "name", "weights", "activations", "published_ms", "batch"),
    [
        ("alexnet", "conv1", "dense", "1", 5.49, 4),
        ("vgg16", "conv1_1", "dense", "1", 5.09, 3),
        ("alexnet", "conv4", "C0(1:4)", "0.31", 0.36, 4),
        ("vgg16", "conv5_1", "C0(1:4)", "0.25", 0.89, 3),
    ],
)
def test_permcnn_takes_its_published_time_less_what_it_loses_to_sparse_activations(
    network: str, name: str, weights: str, activations: str, published_ms: float, batch: int
) -> None:
    """128 elements, or one for each filter. The source prints two decimals, and activations in percent."""
    layer = next(each for each in zoo.load(network).layers if each.name == name)
    seen = Sparsity.parse(weights).density * float(activations)
    lanes = min(layer.shape["M"] * layer.shape.get("G", 1), 128)
    cycles = fastest("permcnn", layer, weights, activations).result.cycles
    assert cycles == pytest.approx(layer.computes * seen / lanes, rel=1e-3)
    least, most = (1.0, 1.003) if weights == "dense" else (1.04, 1.07)
    assert least <= (published_ms + 0.005) / (batch * cycles / 0.8e6) <= most + 0.01


def test_permdnn_works_on_one_of_p_rows_for_activations_that_are_no_zero() -> None:
    layer = Layer.linear("fc", rows=512, inputs=1024, outputs=1024)
    found = fastest("permdnn", layer, "C0(1:8)", "0.4")
    assert found.result.cycles == pytest.approx(layer.computes / 8 * 0.4 / 256, rel=1e-3)
    assert found.run.seen["A"] == Sparsity(0.125, ((1, 8),))


def test_permdnn_sees_weights_without_diagonals_as_dense() -> None:
    layer = Layer.linear("fc", rows=256, inputs=256, outputs=256)
    found = fastest("permdnn", layer, "0.125", "0.4")
    assert found.result.cycles == pytest.approx(layer.computes * 0.4 / 256, rel=1e-3)


def test_a_comparison_takes_permuted_diagonals_as_one_of_p_alone() -> None:
    with pytest.raises(PatternError, match="not a pattern along one rank"):
        Sparsity.parse("permdiag(M,C:4)")


def test_elements_of_extensor_compute_pairs_alone() -> None:
    layer = Layer.product("product", batch=1, m=256, k=8192, n=256)
    found = fastest("extensor", layer, "0.3", "0.3")
    assert found.result.cycles == pytest.approx(0.09 * layer.computes / 128, rel=0.01)


def test_very_sparse_products_take_extensor_the_time_of_plain_results_of_columns_that_are_not_empty() -> None:
    """Off the chip go a word of 64 bits for each result of a column of B with a nonzero, no others are written, and for
    each nonzero one and a half, with its coordinate; offsets are less than 1 % of that."""
    layer = Layer.product("product", batch=1, m=1024, k=1024, n=1024)
    found = fastest("extensor", layer, "0.001", "0.001")
    words = 1024**2 * (1 - 0.999**1024) + 2 * 1.5 * 0.001 * 1024**2
    assert found.result.cycles == pytest.approx(words / 8.532, rel=0.01)
