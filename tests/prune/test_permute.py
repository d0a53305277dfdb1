"""Permuted diagonals in models: which layers are replaced, by what, and that the models learn."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import Tensor, nn
from torch.nn import functional

from sparseloom.errors import InputError
from sparseloom.fibertree.diagonal import PermutedDiagonal
from sparseloom.prune.models import LeNet5
from sparseloom.prune.permute import permute_layers
from sparseloom.prune.permuted import PermutedConv2d, PermutedLinear


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def trained(model: nn.Module, steps: int = 30) -> list[float]:
    """The losses of a few steps on ten pictures with noise."""
    generator = torch.Generator().manual_seed(1)
    pictures, noise = (torch.randn(count, 1, 32, 32, generator=generator) for count in (10, 40))
    images, targets = pictures.repeat(4, 1, 1, 1) + noise / 2, torch.arange(40) % 10
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(images), targets)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("options", [{}, {"seed": 1}, {"project": True}], ids=["natural", "drawn", "projected"])
def test_lenet_with_permuted_layers_learns_and_keeps_their_diagonals(options: dict[str, Any]) -> None:
    model = LeNet5()
    rules = permute_layers(model, 4, **options)
    assert rules == [("conv1", "the first layer"), ("conv2", ""), ("fc1", ""), ("fc2", ""), ("fc3", "")]
    layers = [model.get_submodule(name) for name, rule in rules if not rule]
    assert [type(layer) for layer in layers] == [PermutedConv2d] + [PermutedLinear] * 3
    before = [layer.dense_weight().detach() for layer in layers]
    losses = trained(model)
    assert losses[-1] < losses[0] / 2
    for layer, dense in zip(layers, before, strict=True):
        after = layer.dense_weight().detach()
        assert int((after != 0).sum()) <= layer.values.numel()
        assert not torch.equal(after, dense)
        assert (after[dense == 0] == 0).all()


def test_the_same_seeds_train_the_same_model_and_others_another() -> None:
    def losses(values: int, diagonals: int) -> list[float]:
        torch.manual_seed(values)
        model = LeNet5()
        permute_layers(model, 4, seed=diagonals)
        return trained(model, 2)

    assert losses(7, 3) == losses(7, 3)
    assert losses(7, 3) != losses(8, 3)
    assert losses(7, 3) != losses(7, 4)


def test_a_seed_draws_the_diagonals_that_the_density_model_draws() -> None:
    model = nn.Sequential(nn.Linear(40, 24))
    permute_layers(model, 8, first=True, seed=5)
    drawn = PermutedDiagonal((24, 40), (0, 1), 8).draw(np.random.default_rng(5))
    assert ((model[0].dense_weight() != 0).numpy() == drawn).all()


def test_projected_layers_are_the_nearest_to_the_dense_ones_with_their_biases() -> None:
    model, dense = LeNet5(), LeNet5()
    dense.load_state_dict(model.state_dict())
    permute_layers(model, 2, first=True, project=True)
    assert type(model.conv1) is nn.Conv2d  # one channel is less than a block
    for name in ("conv2", "fc1", "fc2", "fc3"):
        own, old = model.get_submodule(name), dense.get_submodule(name)
        kind = PermutedConv2d if name == "conv2" else PermutedLinear
        assert torch.equal(own.dense_weight(), kind.from_dense(old.weight, 2).dense_weight())
        assert torch.equal(own.bias, old.bias)
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        for name in ("conv2", "fc1", "fc2", "fc3"):
            dense.get_submodule(name).weight.copy_(model.get_submodule(name).dense_weight())
        torch.testing.assert_close(model(x), dense(x))


def test_the_first_layer_is_the_first_in_use_and_can_be_permuted_too() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    example = torch.zeros(1, 8)
    assert permute_layers(Backwards(), 4) == [("second", "the first layer"), ("first", "")]
    assert permute_layers(Backwards(), 4, example=example) == [("first", "the first layer"), ("second", "")]
    assert permute_layers(Backwards(), 4, True) == [("second", ""), ("first", "")]
    assert permute_layers(Backwards(), 4, layers={"second": 2}) == [("second", ""), ("first", "")]


def test_layers_can_have_sizes_of_their_own() -> None:
    model = LeNet5()
    permute_layers(model, 8, layers={"conv2": 2, "fc3": 5})
    assert [model.get_submodule(name).size for name in ("conv2", "fc1", "fc2", "fc3")] == [2, 8, 8, 5]


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")  # of PyTorch: kernels of even sizes are slow
def test_what_cannot_be_replaced_stays_dense_by_a_rule_and_the_model_still_runs() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3),
        nn.Conv2d(8, 8, 1, groups=2),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        nn.Conv2d(8, 8, (1, 2), padding="same"),
        nn.Conv2d(8, 8, 1, stride=2, padding=0),
        nn.Flatten(2),
        nn.Conv1d(8, 8, 1),
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        nn.Linear(4, 2),
        nn.Linear(2, 8),
    )
    model[10].register_forward_hook(lambda *_: None)
    model.eval()
    rules = permute_layers(model, 4)
    assert rules == [
        ("0", "the first layer"),
        ("1", "2 groups, permuted diagonals need 1"),
        ("2", "padding with 'circular', not 'zeros'"),
        ("3", "a dilation of (2, 2), not 1"),
        ("4", "'same' padding for a kernel of (1, 2), not odd"),
        ("5", ""),
        ("7", "a Conv1d, no plain Linear or Conv2d"),
        ("8.self_attn.in_proj", "a MultiheadAttention, no plain Linear or Conv2d"),
        ("8.self_attn.out_proj", "a NonDynamicallyQuantizableLinear, no plain Linear or Conv2d"),
        ("8.linear1", "a TransformerEncoderLayer reads its weight"),
        ("8.linear2", "a TransformerEncoderLayer reads its weight"),
        ("9", "M has 2 coordinates, fewer than a block of 4"),
        ("10", "it has hooks"),
    ]
    with torch.no_grad():
        assert model(torch.randn(2, 4, 6, 6)).shape == (2, 8, 8)


@pytest.mark.parametrize(("padding", "amount"), [("same", (1, 2)), ("valid", (0, 0)), ((2, 1), (2, 1))])
def test_a_convolution_keeps_its_padding_also_one_with_a_name(padding: Any, amount: tuple[int, int]) -> None:
    dense = nn.Conv2d(4, 4, (3, 5), padding=padding)
    model, x = nn.Sequential(dense), torch.randn(4, 6, 7)
    permute_layers(model, 2, first=True, project=True)
    assert model[0].padding == amount
    expected = functional.conv2d(x, model[0].dense_weight(), dense.bias, padding=padding)
    torch.testing.assert_close(model(x), expected)


def test_a_layer_that_is_the_model_itself_cannot_be_replaced() -> None:
    with pytest.raises(InputError, match="every one stays dense by a rule: it is the model itself"):
        permute_layers(nn.Linear(8, 8), 4, first=True)


def test_shared_weights_stay_dense_and_a_shared_layer_is_replaced_everywhere() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.start = nn.Linear(8, 8)
            self.head = nn.Linear(8, 12, bias=False)
            self.words = nn.Embedding(12, 8)
            self.words.weight = self.head.weight
            self.one = nn.Linear(8, 8)
            self.two = nn.Linear(8, 8)
            self.two.weight = self.one.weight
            self.twice = nn.Sequential(nn.Linear(8, 8))
            self.again = self.twice[0]

    model = Shared()
    rules = dict(permute_layers(model, 4))
    assert [name for name, rule in rules.items() if rule.startswith("shared with ")] == ["head", "one", "two"]
    assert rules["two"] == "shared with one"
    assert [name for name, rule in rules.items() if not rule] == ["twice.0"]
    assert type(model.again) is PermutedLinear
    assert model.again is model.twice[0]


def test_a_new_layer_has_the_type_the_mode_and_the_trainability_of_the_old_one() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Conv2d(4, 4, 3, 2, 1, bias=False)).double().eval()
    model[1].bias.requires_grad_(False)
    model[2].weight.requires_grad_(False)
    permute_layers(model, 2)
    linear, conv = model[1], model[2]
    assert (linear.values.dtype, linear.values.requires_grad, linear.bias.requires_grad) == (torch.float64, True, False)
    assert (conv.values.requires_grad, conv.bias, conv.stride, conv.padding) == (False, None, (2, 2), (1, 1))
    assert not linear.training


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"layers": {"fc4": 2, "fc1": 0}}, ["layers['fc1'] is 0, less than 1", "the model has no weight fc4"]),
        (
            {"layers": {"conv1": 2}},
            ["conv1 cannot have permuted diagonals: C has 1 coordinates, fewer than a block of 2"],
        ),
        ({"project": True, "seed": 1}, ["seed 1 draws diagonals, but to project chooses the best"]),
        ({"project": True}, ["1 of 48,000 values are NaN or infinite"]),
        ({"size": 500}, ["no layer of 5 can have permuted diagonals"]),
    ],
)
def test_a_model_that_cannot_be_permuted_as_asked_stays_as_it_was(options: dict[str, Any], messages: list[str]) -> None:
    model = LeNet5()
    model.fc1.weight.data[0, 0] = math.inf
    before = list(model.modules())
    with pytest.raises(InputError) as raised:
        permute_layers(model, **{"size": 4, **options})
    assert [fault.what for fault in raised.value.faults] == messages
    assert all(fault.fix for fault in raised.value.faults)
    assert list(model.modules()) == before
