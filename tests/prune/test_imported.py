"""Models as networks: layers, MACs, densities and patterns against what the model computes."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import Tensor, nn
from torch.nn import functional

from sparseloom.case import read as read_case
from sparseloom.errors import InputError
from sparseloom.fibertree.density import ActualData
from sparseloom.prune.exported import ByDispatch, Traced, traced
from sparseloom.prune.imported import Imported, import_model, write_tensors
from sparseloom.prune.models import ConvNet, LeNet5, ViT
from sparseloom.prune.sparsifier import Sparsifier
from sparseloom.workload import zoo


class Mixed(nn.Module):
    """Every kind of layer, some used twice, some with both operands computed."""

    def __init__(self) -> None:
        super().__init__()
        self.signal = nn.Conv1d(3, 4, 5, stride=2, padding=2)
        self.conv = nn.Conv2d(4, 8, (3, 1), padding=(1, 0), groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding="same", groups=8, bias=False)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.shared = nn.Linear(8, 8)
        self.table = nn.Parameter(torch.randn(8, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.signal(x)).unsqueeze(2).repeat(1, 1, 3, 1)
        x = functional.relu(self.depthwise(functional.relu(self.conv(x))))
        tokens = x.flatten(2).transpose(1, 2)
        tokens = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        tokens = self.shared(functional.relu(self.shared(tokens)))
        scores = torch.einsum("bij,bkj->bik", tokens, tokens)
        return (scores @ tokens) @ self.table  # type: ignore[no-any-return]


def layers_of(way: Traced, samples: list[Tensor], keep: bool = False) -> Imported:
    return import_model("m", "m", way.run, samples, lambda: (way.way, way.reason, dict(way.unsupported)), {}, keep=keep)


def test_every_layer_of_a_mixed_model_is_there_with_its_multiply_accumulates() -> None:
    torch.manual_seed(0)
    found = layers_of(traced(Mixed().eval(), torch.randn(1, 3, 16)), [torch.randn(1, 3, 16) for _ in range(2)])
    assert not found.unsupported
    computes = {layer.name: layer.total_computes for layer in found.network.layers}
    places, tokens = 3 * 8, 24
    assert computes == {
        "signal": 8 * 4 * 3 * 5,
        "conv": places * 8 * 2 * 3,
        "depthwise": places * 8 * 9,
        "attention.in_proj": tokens * 8 * 24,
        "attention.scores": tokens * tokens * 8,
        "attention.values": tokens * tokens * 8,
        "attention.out_proj": tokens * 8 * 8,
        "shared": tokens * 64,
        "shared#2": tokens * 64,
        "einsum": tokens * tokens * 8,
        "matmul": tokens * tokens * 8,
        "table": tokens * 8 * 6,
    }


@pytest.mark.parametrize(("make", "shape"), [(LeNet5, (1, 32, 32)), (ConvNet, (1, 8, 8)), (ViT, (1, 8, 8))])
def test_reading_by_export_and_by_what_is_called_gives_the_same_network(
    make: type[nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model, samples = make().eval(), [torch.randn(1, *shape) for _ in range(3)]
    way = traced(model, samples[0])
    assert way.way == "export"
    by_export, by_call = layers_of(way, samples), layers_of(ByDispatch(model, ""), samples)
    assert [(a.name, a.sizes, a.densities) for a in by_export.layers] == [
        (b.name, b.sizes, b.densities) for b in by_call.layers
    ]
    assert not by_export.unsupported
    assert not by_call.unsupported


def test_densities_are_counted_over_the_inputs_of_each_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    with torch.no_grad():
        model[2].weight[:, :2] = 0
    samples = [torch.randn(1, 6) * (torch.rand(1, 6) < 0.5) for _ in range(9)]
    found = layers_of(traced(model, samples[0]), samples)
    first, second = found.layers
    inputs = torch.cat(samples)
    hidden = functional.relu(model[0](inputs))
    assert first.densities == {"I": pytest.approx(float((inputs != 0).float().mean())), "W": 1.0}
    assert second.densities["I"] == pytest.approx(float((hidden != 0).float().mean()))
    assert second.densities["W"] == pytest.approx(0.6)


def test_a_mask_of_an_attention_leaves_out_what_it_hides() -> None:
    class Causal(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.zeros(4, 4).masked_fill(torch.ones(4, 4).triu(1).bool(), float("-inf"))
            first = functional.scaled_dot_product_attention(x, x, x, attn_mask=hidden)
            return functional.scaled_dot_product_attention(first, x, x, is_causal=True)

    sample = torch.randn(1, 2, 4, 8)
    found = layers_of(traced(Causal(), sample), [sample])
    assert [layer.densities["A"] for layer in found.layers if layer.name.endswith("values")] == [0.625, 0.625]


def test_operators_that_multiply_and_are_no_layers_are_listed_with_how_often_they_run() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(2, 2, 2)
            self.wide = nn.Conv2d(2, 2, 3, dilation=2)
            self.fine = nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.fine(self.wide(self.up(self.up(x))))  # type: ignore[no-any-return]

    sample = torch.randn(1, 2, 8, 8)
    for way in (traced(Odd().eval(), sample), ByDispatch(Odd().eval(), "")):
        found = layers_of(way, [sample])
        assert [layer.name for layer in found.layers] == ["fine"]
        assert found.unsupported is not None
        assert sum(found.unsupported.values()) == 3
        assert found.unsupported["a convolution dilated by 2"] == 1
        assert "left out" in found.text


def test_a_model_that_export_cannot_read_is_traced_and_says_why() -> None:
    class Jumps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(x) if float(x.detach().sum()) > -1e9 else self.a(x)

    sample = torch.randn(1, 4)
    way = traced(Jumps().eval(), sample)
    assert way.way == "trace"
    assert way.reason
    assert [layer.name for layer in layers_of(way, [sample]).layers] == ["b"]


def test_data_of_the_wrong_shape_is_refused_with_what_the_model_said() -> None:
    with pytest.raises(InputError, match="the model does not run on the data"):
        traced(nn.Linear(4, 2), torch.randn(1, 5))


def test_the_network_file_holds_patterns_and_reads_back() -> None:
    torch.manual_seed(0)
    model, sample = ConvNet().eval(), torch.randn(1, 1, 8, 8)
    sparsifier = Sparsifier(model, "C1(3:4)->C0(2:4)", example=sample).prepare()
    sparsifier.step()
    sparsifier.squash()
    way = traced(model, sample)
    patterns = {p.weight.name: p.pattern for p in sparsifier.placements if p.pattern is not None}
    found = import_model("c", "c", way.run, [sample], lambda: ("export", "", {}), patterns)
    network = found.network
    assert [dict(layer.chains) for layer in network.layers] == [{}] + 4 * [{"W": ((3, 4), (2, 4))}]
    assert [layer.densities.get("W", 1.0) for layer in network.layers] == [1.0] + 4 * [0.375]


def test_the_tensors_of_a_sample_become_workloads_with_actual_data(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, sample = LeNet5().eval(), torch.randn(1, 1, 32, 32).relu()
    found = layers_of(traced(model, sample), [sample], keep=True)
    files = write_tensors(found, tmp_path)
    assert [path.stem for path in files] == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    workload = read_case([tmp_path / "conv1.yaml"]).workload
    assert workload is not None
    inputs = workload.densities["I"]
    assert isinstance(inputs, ActualData)
    assert np.array_equal(inputs.mask.reshape(32, 32), (sample != 0).numpy().reshape(32, 32))


def test_kept_inputs_have_their_padding_and_end_where_windows_end(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2, padding=1)).eval()
    sample = torch.ones(1, 1, 6, 6)
    found = layers_of(traced(model, sample), [sample], keep=True)
    write_tensors(found, tmp_path)
    mask = np.load(tmp_path / "0.I.npy").reshape(7, 7)
    expected = np.pad(np.ones((6, 6), bool), ((1, 0), (1, 0)))
    assert np.array_equal(mask, expected)


def test_resnet50_has_the_layers_and_totals_of_the_zoo() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    model = transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000)).eval()
    sample = torch.randn(1, 3, 224, 224)
    found = layers_of(traced(model, sample), [sample])
    ours, published = found.network, zoo.load("resnet50")
    assert not found.unsupported
    assert (ours.computes, ours.weights) == (published.computes, published.weights)
    shapes = lambda network: sorted(sorted(layer.shape.items()) for layer in network.layers for _ in range(layer.count))  # noqa: E731
    assert shapes(ours) == shapes(published)


def small(name: str) -> tuple[nn.Module, Tensor]:
    """Architectures of transformers with random weights, two blocks each."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    image, words = torch.randn(1, 3, 224, 224), torch.randint(0, 100, (1, 16))
    few = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    match name:
        case "mobilenet-v2":
            return transformers.MobileNetV2ForImageClassification(transformers.MobileNetV2Config(num_labels=10)), image
        case "bert":
            config = transformers.BertConfig(vocab_size=100, num_labels=3, **few)
            return transformers.BertForSequenceClassification(config), words
        case "vit":
            return transformers.ViTForImageClassification(transformers.ViTConfig(**few)), image
        case "deit":
            return transformers.DeiTForImageClassification(transformers.DeiTConfig(**few)), image
    config = transformers.LlamaConfig(vocab_size=100, num_key_value_heads=2, **few)
    return transformers.LlamaForCausalLM(config), words


@pytest.mark.parametrize("name", ["mobilenet-v2", "bert", "vit", "deit", "llama"])
def test_no_operator_of_real_architectures_is_left_out_and_all_their_weights_are_layers(name: str) -> None:
    torch.manual_seed(0)
    model, sample = small(name)
    model.eval()
    found = layers_of(traced(model, sample), [sample])
    assert not found.unsupported
    wanted = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d))
    assert found.network.weights == wanted
    assert layers_of(ByDispatch(model, ""), [sample]).network.computes == found.network.computes
