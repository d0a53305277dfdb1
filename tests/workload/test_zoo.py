"""The networks of the zoo against totals found by others, and layer by layer against the reference where it is at hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from sparseloom.errors import InputError
from sparseloom.workload import zoo
from sparseloom.workload.layer import Layer
from sparseloom.workload.network import Network

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data lie outside the repository")

# Name in the reference; multiply-accumulates, recounted from the definition that each file names; parameters, as counted by
# torchvision 0.28, timm 1.0.31 and transformers 5.23, else as published, else (cifar10-convnet) added up by hand.
TOTALS = {
    "alexnet": ("alexnet_grouped", 724_406_816, 60_965_224),
    "alexnet-torchvision": ("alexnet_torchvision", 714_188_480, 61_100_840),
    "alexnet-ungrouped": ("alexnet_ungrouped", 1_135_256_096, 62_378_344),
    "bert-base-128": ("bert_base_seq128", 11_174_215_680, 109_482_240),
    "bert-base-384": ("bert_base_seq384", 35_333_406_720, 109_482_240),
    "bert-base-512": ("bert_base_seq512", 48_318_971_904, 109_482_240),
    "cifar10-convnet": ("convnet_cifar10_tf", 18_470_784, 1_068_298),
    "deit-small": ("deit_small_patch16_224", 4_598_882_304, 22_050_664),
    "googlenet": ("googlenet_caffe", 1_582_671_872, 6_998_552),
    "googlenet-torchvision": ("googlenet_torchvision", 1_498_376_192, 6_624_904),
    "inception-v3": ("inception_v3", 5_713_216_096, 23_834_568),
    "lenet5": ("lenet5_lecun_dense_c3", 416_520, 61_706),
    "lenet5-caffe": ("lenet5_caffe", 2_293_000, 431_080),
    "mobilenet-v1": ("mobilenet_v1_1.0_224", 568_740_352, 4_231_976),
    "mobilenet-v1-0.5-128": ("mobilenet_v1_0.5_128", 49_160_192, 1_331_592),
    "mobilenet-v2": ("mobilenet_v2_1.0_224", 300_774_272, 3_504_872),
    "resnet18": ("resnet18", 1_814_073_344, 11_689_512),
    "resnet50": ("resnet50_v1_5", 4_089_184_256, 25_557_032),
    "resnet50-tfslim": ("resnet50_v1_tfslim", 3_482_255_360, 25_557_032),
    "resnet50-v1": ("resnet50_v1", 3_857_973_248, 25_557_032),
    "resnext50": ("resnext50_32x4d", 4_230_479_872, 25_028_904),
    "transformer-big": ("transformer_big_src64_tgt64", 13_850_116_096, None),
    "vgg16": ("vgg16", 15_470_264_320, 138_357_544),
}


@pytest.fixture(scope="module", params=zoo.names())
def network(request: pytest.FixtureRequest) -> Network:
    return zoo.load(request.param)


def rounded_like(value: float, published: float) -> float:
    """``value`` with as many digits as ``published`` is printed with."""
    digits = len(str(int(published)).rstrip("0"))
    return float(f"{value:.{digits}g}")


def reference(file: str) -> Any:
    return json.loads((REFERENCE / file).read_text(encoding="utf-8"))


def test_every_network_has_the_name_of_its_file_and_a_source(network: Network) -> None:
    assert network.name in zoo.names()
    assert network.source
    assert set(zoo.names()) == set(TOTALS)


def test_multiply_accumulates_and_parameters_are_those_of_the_network(network: Network) -> None:
    _, macs, parameters = TOTALS[network.name]
    assert network.computes == macs
    assert parameters in (None, network.parameters)


def test_totals_round_to_what_is_published(network: Network) -> None:
    published = network.published
    if published and published.macs:
        assert rounded_like(network.computes, published.macs) == published.macs
    if published and published.parameters and TOTALS[network.name][2]:
        assert rounded_like(network.parameters, published.parameters) == published.parameters


def test_the_big_transformer_differs_from_its_published_parameters_by_less_than_a_twentieth_of_its_vocabulary() -> None:
    network = zoo.load("transformer-big")
    assert network.published
    assert network.published.parameters
    vocabulary, width = network.layers[-1].shape["M"], network.layers[-1].shape["C"]
    assert abs(network.parameters - network.published.parameters) < 0.05 * vocabulary * width


def test_batch_norm_scales_and_shifts_every_filter_without_a_bias(network: Network) -> None:
    bare = [layer for layer in network.layers if "R" in layer.shape and not layer.bias]
    filters = sum(layer.shape.get("G", 1) * layer.shape["M"] for layer in bare)
    assert network.other_parameters.get("batch_norm", 0) == 2 * filters


@pytest.mark.parametrize("tokens", [128, 384, 512])
def test_bert_has_the_parameters_and_products_of_its_encoder(tokens: int) -> None:
    network, width, wide, layers = zoo.load(f"bert-base-{tokens}"), 768, 3072, 12
    projections, scores = tokens * (4 * width**2 + 2 * width * wide), 2 * tokens**2 * width
    assert network.computes == layers * (projections + scores) + width**2
    assert network.other_parameters == {
        "embeddings": (30_522 + 512 + 2) * width,
        "layer_norm": 2 * width * (1 + 2 * layers),
    }


def test_the_other_parameters_of_the_vision_transformer_follow_from_its_width_and_tokens() -> None:
    assert zoo.load("deit-small").other_parameters == {
        "class_token": 384,
        "position_embeddings": 197 * 384,
        "layer_norm": 2 * 384 * (2 * 12 + 1),
    }


@needs_reference
def test_every_layer_is_that_of_the_reference(network: Network) -> None:
    rows = reference("networks.json")["networks"][TOTALS[network.name][0]]
    assert len(network.layers) == len(rows["layers"])
    for layer, row in zip(network.layers, rows["layers"], strict=True):
        assert sizes(layer) == expected(row), layer.name
    assert network.weights == rows["totals"]["conv_weights"] + rows["totals"]["fc_weights"]


def sizes(layer: Layer) -> dict[str, int]:
    return {**layer.shape, "count": layer.count, "bias": layer.bias}


def expected(row: list[Any]) -> dict[str, int]:
    count, kind, _, *rest = row
    if kind == "conv":
        n, c, m, _, _, r, s, p, q, _, _, _, _, groups, bias = rest
        grouped = {"G": groups} if groups > 1 else {}
        shape = {"N": n, **grouped, "M": m // groups, "C": c // groups, "P": p, "Q": q, "R": r, "S": s}
        return {**shape, "count": count, "bias": bias}
    names = ("N", "C", "M", "bias") if kind == "fc" else ("B", "M", "K", "N")
    return {"bias": False, **dict(zip(names, rest, strict=True)), "count": count}


@pytest.mark.parametrize("name", zoo.density_names())
def test_published_densities_fit_the_layers_of_their_network(name: str) -> None:
    densities = zoo.load_densities(name)
    assert densities.name == name
    assert densities.source
    assert densities.confidence
    network = zoo.load(densities.network).with_densities(densities.layers)
    assert {layer.name: layer.densities for layer in network.layers if layer.densities} == densities.layers


@pytest.mark.parametrize("name", ["han2015-alexnet", "han2015-vgg16"])
def test_the_inputs_of_a_layer_are_as_dense_as_the_outputs_of_the_one_before(name: str) -> None:
    densities = zoo.load_densities(name)
    layers = [densities.layers[layer.name] for layer in zoo.load(densities.network).layers]
    assert [layer["I"] for layer in layers] == [1.0, *(layer["O"] for layer in layers[:-1])]


@needs_reference
@pytest.mark.parametrize("name", ["han2015-alexnet", "han2015-vgg16"])
def test_weights_times_inputs_are_the_published_share_of_computes(name: str) -> None:
    rows = reference("densities.json")[name.replace("-", "_")]["layers"]
    for layer, densities in zoo.load_densities(name).layers.items():
        assert densities["W"] * densities["I"] == pytest.approx(rows[layer]["flop"], abs=0.01)


def test_a_name_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(InputError, match=r"(?s)no network is called 'resnet-50'.*did you mean 'resnet50'"):
        zoo.load("resnet-50")
    with pytest.raises(InputError, match=r"(?s)no set of densities is called 'han2015-vgg'.*'han2015-vgg16'"):
        zoo.load_densities("han2015-vgg")
