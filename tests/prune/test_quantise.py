"""Models in 8 bits: the rounded PyTorch model in float64 equals the graph of integers in every bit."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import Tensor, nn
from torch.nn import functional

from sparseloom.errors import InputError
from sparseloom.fibertree.density import BoolArray
from sparseloom.integer.graph import Concat, Conv, Graph, read
from sparseloom.integer.position import best_position, most_frequent
from sparseloom.prune.models import ConvNet, LeNet5, ViT
from sparseloom.prune.quantise import QuantisedModel, quantise
from sparseloom.prune.quantiser import Quantiser
from sparseloom.prune.sparsifier import Sparsifier
from sparseloom.prune.train import Recipe, train_epoch


class Branches(nn.Module):
    """Residual and joined paths, strides, groups, bounds, padding, means, batch normalisation behind and before layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.left, self.right = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 4, (3, 1), padding=(1, 0), stride=(1, 1))
        self.last = nn.Conv2d(10, 12, 3, stride=2)
        self.after = nn.BatchNorm2d(12)
        self.fc = nn.Linear(12, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.first(x)))
        x = functional.relu(x + self.depthwise(functional.dropout(x, 0.5, self.training)))
        x = torch.cat([functional.relu6(self.left(x)), self.right(x)], 1)
        x = functional.avg_pool2d(functional.max_pool2d(x, 3, 1, 1), 3, 1, 1)
        x = functional.hardtanh(self.after(self.last(functional.pad(x, (0, 1, 0, 1)))), 0.0, 3.0)
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


def batches(shape: tuple[int, ...], classes: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(8, *shape, generator=generator), torch.randint(0, classes, (8,), generator=generator))
        for _ in range(3)
    ]


def trained(model: nn.Module, data: list[tuple[Tensor, Tensor]], epochs: int = 1) -> nn.Module:
    recipe = Recipe(epochs, 1e-2)
    optimiser = recipe.optimiser_of(model)
    for epoch in range(epochs):
        train_epoch(model, optimiser, data, recipe, epoch)
    return model


def both(model: QuantisedModel, inputs: Tensor) -> tuple[np.ndarray, np.ndarray, Graph]:
    """The outputs of the rounded model in float64 and of its integers."""
    graph = model.integers()
    with torch.no_grad():
        return model.double().eval()(inputs.double()).numpy(), graph.run(inputs.numpy()), graph


@pytest.mark.parametrize("seed", range(4))
def test_integers_equal_the_rounded_model_in_every_bit_before_and_after_fine_tuning(seed: int) -> None:
    torch.manual_seed(seed)
    data = batches((2, 9, 9), 5, seed)
    model = quantise(trained(Branches(), data), data)
    inputs = torch.randn(4, 2, 9, 9) * 3
    rounded, whole, graph = both(model, inputs)
    assert np.array_equal(rounded, whole)
    assert len(np.unique(whole)) > 3
    trained(model.float(), data, 2)
    again, whole_again, _ = both(model, inputs)
    assert np.array_equal(again, whole_again)
    assert not np.array_equal(whole, whole_again)
    joined = next(node for node in graph.nodes if isinstance(node, Concat))
    assert joined.position == min(graph.positions[name] for name in joined.inputs)


@pytest.mark.parametrize(("make", "shape"), [(LeNet5, (1, 32, 32)), (ConvNet, (1, 8, 8))])
def test_our_networks_have_integers_that_equal_them(
    make: type[nn.Module], shape: tuple[int, ...], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    data = batches(shape, 10)
    rounded, whole, graph = both(quantise(trained(make(), data), data), data[0][0])
    assert np.array_equal(rounded, whole)
    graph.write(tmp_path)
    assert np.array_equal(read(tmp_path).run(data[0][0].numpy()), whole)


def test_float32_is_not_exact_beyond_two_to_the_24_and_float64_is() -> None:
    """An even and an odd number above 2^24 are one number in float32: the odd sum is lost."""
    layer = nn.Linear(2049, 1, bias=False)
    nn.init.constant_(layer.weight, 127 / 128)
    with torch.no_grad():
        layer.weight[0, -1] = 1 / 128
    inputs = torch.full((1, 2049), 127 / 64)
    inputs[0, -1] = 1 / 64
    exact = 2048 * 127 * 127 + 1
    assert exact > 2**24
    scale = 128 * 64
    assert float(np.float32(exact)) != exact
    with torch.no_grad():
        assert float(functional.linear(inputs, layer.weight)) * scale != exact
        assert float(functional.linear(inputs.double(), layer.weight.double())) * scale == exact


def test_pruned_weights_stay_zero_in_eight_bits_through_fine_tuning() -> None:
    torch.manual_seed(0)
    data = batches((2, 9, 9), 5)
    model = Branches()
    sparsifier = Sparsifier(model, "C0(2:4)", example=data[0][0][:1]).prepare()
    sparsifier.step()
    trained(model, data)
    masks = sparsifier.squash()
    quantised = trained(quantise(model, data, masks), data, 2)
    assert isinstance(quantised, QuantisedModel)
    for node in quantised.integers().nodes:
        if isinstance(node, Conv) and node.name in masks:
            assert not node.weights[~masks[node.name]].any()
            assert node.weights[masks[node.name]].any()


def test_a_rounding_passes_gradients_where_nothing_saturates_and_none_through_a_mask() -> None:
    quantiser = Quantiser()
    quantiser.position.fill_(5)
    values = torch.tensor([0.3, 100.0, -100.0, 1.0], requires_grad=True)
    quantiser(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 0.0, 0.0, 1.0]
    quantiser.mask = torch.tensor([False, True, True, True])
    again = torch.tensor([0.3, 1.0, 1.0, 1.0], requires_grad=True)
    found = quantiser(again)
    found.sum().backward()
    assert found[0] == 0
    assert again.grad is not None
    assert again.grad.tolist() == [0.0, 1.0, 1.0, 1.0]


def test_positions_are_those_of_the_definition() -> None:
    torch.manual_seed(0)
    data = batches((1, 8, 8), 10)
    model = ConvNet()
    weights = model.fc.weight.detach().numpy().copy()
    graph = quantise(model, data).integers()
    history = [best_position(inputs.numpy(), False, candidates=1) for inputs, _ in data]
    assert graph.nodes[0].position == most_frequent(history)
    fc = graph.nodes[-1]
    assert fc.name == "fc"
    assert fc.weight_position == best_position(weights, parameter=True)  # type: ignore[attr-defined]


def test_steps_without_an_integer_form_are_listed_with_how_many() -> None:
    torch.manual_seed(0)
    data = batches((1, 8, 8), 10)
    model = quantise(ViT(blocks=2), data)
    assert model(data[0][0]).shape == (8, 10)
    with pytest.raises(InputError) as caught:
        model.integers()
    said = {fault.what for fault in caught.value.faults}
    assert {"gelu has no integer form (2 x)", "layer_norm has no integer form (5 x)"} <= said


def test_a_mask_of_no_weight_is_refused() -> None:
    masks: dict[str, BoolArray] = {"convs.9": np.ones(1, np.bool_)}
    with pytest.raises(InputError, match=r"the quantised model has no weight convs\.9"):
        quantise(ConvNet(), batches((1, 8, 8), 10), masks)


def test_a_model_with_control_flow_by_values_is_refused_with_a_reason() -> None:
    class Jumps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(InputError, match=r"torch\.export cannot read the model"):
        quantise(Jumps(), batches((3,), 3))
