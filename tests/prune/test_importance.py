"""The importance of weights by a loss, against closed forms and derivatives taken another way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import Tensor, nn
from torch.nn import functional

from sparseloom.errors import InputError
from sparseloom.prune.data import Batches
from sparseloom.prune.importance import fisher, hessian
from sparseloom.prune.placement import Choice
from sparseloom.prune.sparsifier import Sparsifier

CLASSES, FEATURES = 3, 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def data(samples: int = 10, seed: int = 0, batch: int = 4) -> Batches:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, FEATURES, generator=generator)
    return Batches(inputs, torch.randint(0, CLASSES, (samples,), generator=generator), batch)


def softmax_model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FEATURES, CLASSES))


def two_layers(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FEATURES, 3), nn.Tanh(), nn.Linear(3, CLASSES))


def shares(model: nn.Sequential, inputs: Tensor) -> NDArray[np.float64]:
    """Softmax by NumPy, [samples, classes]."""
    weight, bias = (parameter.detach().double().numpy() for parameter in model[0].parameters())
    scores = np.exp(inputs.double().numpy() @ weight.T + bias)
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def squared_gradients(model: nn.Sequential, batches: Batches, samples: int) -> NDArray[np.float64]:
    """The mean over samples of ((p - y) x)^2, of a linear layer under softmax and cross-entropy."""
    inputs, targets = batches.inputs[:samples], batches.targets[:samples]
    errors = shares(model, inputs) - np.eye(CLASSES)[targets.numpy()]
    gradients = errors[:, :, None] * inputs.double().numpy()[:, None, :]
    return np.asarray((gradients**2).mean(axis=0))


@pytest.mark.parametrize("samples", [1, 3, 4, 7, 10, 50])
def test_fisher_of_a_softmax_is_its_closed_form_over_the_first_samples(samples: int) -> None:
    model, batches = softmax_model(), data()
    found = fisher(model, batches, samples)
    weight = model[0].weight.detach().double().numpy()
    expected = weight**2 * squared_gradients(model, batches, samples) / 2
    assert set(found) == {"0"}
    np.testing.assert_allclose(found["0"].numpy(), expected, rtol=1e-4)


def test_fisher_does_not_depend_on_how_samples_are_batched() -> None:
    model = two_layers()
    ways = [fisher(model, data(batch=batch)) for batch in (1, 4, 10)]
    for name in ("0", "2"):
        for other in ways[1:]:
            torch.testing.assert_close(other[name], ways[0][name])


def test_fisher_of_two_layers_is_the_mean_of_squared_gradients_of_samples() -> None:
    model, batches = two_layers(), data()
    totals = {"0": torch.zeros_like(model[0].weight), "2": torch.zeros_like(model[2].weight)}
    for inputs, target in zip(batches.inputs, batches.targets, strict=True):
        model.zero_grad()
        functional.cross_entropy(model(inputs[None]), target[None]).backward()
        for name, total in totals.items():
            total += model.get_submodule(name).weight.grad ** 2 / len(batches.inputs)  # type: ignore[operator]
    model.zero_grad()
    found = fisher(model, batches)
    for name, total in totals.items():
        weight = model.get_submodule(name).weight.detach()  # type: ignore[operator]
        torch.testing.assert_close(found[name], weight**2 * total / 2)


def exact(model: nn.Module, batches: Batches) -> dict[str, tuple[Tensor, Tensor]]:
    """Of every weight the diagonal of the mean loss's Hessian, and the variance of v * (H v) of one draw of signs: the sum of
    the squares of the other elements of its row. All weights stand in one Hessian; biases do not."""
    model = model.double()
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    sizes = {name: p.numel() for name, p in parameters.items() if name.endswith("weight")}

    def loss(flat: Tensor) -> Tensor:
        parts = dict(zip(sizes, torch.split(flat, list(sizes.values())), strict=True))
        shaped = {name: part.reshape(parameters[name].shape) for name, part in parts.items()}
        outputs = torch.func.functional_call(model, parameters | shaped, (batches.inputs.double(),))
        return functional.cross_entropy(outputs, batches.targets)

    # torch.func.hessian is forward over reverse, and warns of torch.jit.script
    whole = torch.func.jacrev(torch.func.jacrev(loss))(torch.cat([parameters[name].reshape(-1) for name in sizes]))
    diagonal = whole.diagonal()
    spread = (whole**2).sum(dim=1) - diagonal**2
    found = {}
    for name, d, s in zip(sizes, diagonal.split(list(sizes.values())), spread.split(list(sizes.values())), strict=True):
        shape = parameters[name].shape
        found[name.removesuffix(".weight")] = (d.reshape(shape), s.reshape(shape))
    return found


@pytest.mark.parametrize("make", [softmax_model, two_layers])
def test_hessian_is_the_diagonal_of_second_derivatives(make: Any) -> None:
    """One batch, so that draws of signs are all that is random: within five standard errors, which the Hessian itself tells."""
    draws = 1500
    batches = data(batch=10)
    found = hessian(make(), batches, draws=draws)
    truth = exact(make(), batches)
    assert set(found) == set(truth)
    for name, (diagonal, variance) in truth.items():
        weight = make().get_submodule(name).weight.detach().double()
        error = (variance / draws).sqrt()
        scale = weight**2 / 2
        assert (found[name] >= 0).all()
        assert (found[name] <= scale * (diagonal + 5 * error).clamp(min=0) + 1e-6).all()
        assert (found[name] >= scale * (diagonal - 5 * error).clamp(min=0) - 1e-6).all()


def test_hessian_of_a_softmax_is_its_closed_form() -> None:
    """The mean of p (1 - p) x^2; rows of one class are coupled by x x' alone."""
    model, batches = softmax_model(), data(batch=10)
    p, x = shares(model, batches.inputs), batches.inputs.double().numpy()
    diagonal = np.einsum("nk,nd->kd", p * (1 - p), x**2) / len(x)
    truth = exact(softmax_model(), batches)["0"][0].numpy()
    np.testing.assert_allclose(truth, diagonal, rtol=1e-9)  # both ways to the truth
    found = hessian(model, batches, draws=1500)["0"].numpy()
    np.testing.assert_allclose(found, model[0].weight.detach().numpy() ** 2 * diagonal / 2, rtol=0.2, atol=2e-3)


def test_batches_of_different_sizes_count_by_their_samples() -> None:
    """Ten samples as 4, 4 and 2: as exact as one batch of ten."""
    draws = 1500
    found = hessian(softmax_model(), data(batch=4), draws=draws)["0"]
    diagonal, _ = exact(softmax_model(), data(batch=10))["0"]
    parts = [Batches(data().inputs[i : i + 4], data().targets[i : i + 4]) for i in (0, 4, 8)]
    each = [exact(softmax_model(), part)["0"][1] * (len(part.inputs) / 10) ** 2 for part in parts]
    error = (torch.stack(each).sum(0) / draws).sqrt()
    weight = softmax_model()[0].weight.detach().double()
    assert ((found - weight**2 * diagonal / 2).abs() <= weight**2 / 2 * 5 * error + 1e-6).all()


def test_negative_curvature_is_no_importance() -> None:
    batches = data(batch=10)
    for seed in range(20):
        diagonal, variance = exact(two_layers(seed), batches)["0"]
        deep = diagonal < -6 * (variance / 1000).sqrt() - 1e-6
        if deep.any():
            found = hessian(two_layers(seed), batches, draws=1000)["0"]
            assert (found[deep] == 0).all()
            assert (found >= 0).all()
            return
    pytest.fail("no model of 20 has a weight with a clearly negative second derivative")


def test_hessian_follows_its_seed() -> None:
    model, batches = two_layers(), data()
    first, same, other = (hessian(model, batches, seed=seed)["0"] for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_hessian_stops_after_the_batch_with_which_it_has_its_samples() -> None:
    model = two_layers()
    first = Batches(data().inputs[:8], data().targets[:8], 4)
    assert torch.equal(hessian(model, data(batch=4), samples=8)["0"], hessian(model, first)["0"])


@pytest.mark.parametrize("score", [fisher, hessian])
def test_importances_leave_weights_and_gradients_alone(score: Any) -> None:
    model = two_layers()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = score(model, data())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert {name: value.shape for name, value in found.items()} == {"0": (3, 4), "2": (3, 3)}
    assert not any(value.requires_grad for value in found.values())


@pytest.mark.parametrize("score", [fisher, hessian])
def test_importances_are_taken_without_dropout(score: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 3), nn.Dropout(0.9), nn.Linear(3, CLASSES)).train()
    plain = nn.Sequential(model[0], nn.Identity(), model[2])
    assert torch.equal(score(model, data())["0"], score(plain, data())["0"])


@pytest.mark.parametrize("score", [fisher, hessian])
def test_a_weight_that_does_nothing_has_no_importance(score: Any) -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(FEATURES, CLASSES), nn.Linear(FEATURES, CLASSES)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.used(inputs)  # type: ignore[no-any-return]

    found = score(Idle(), data())
    assert (found["idle"] == 0).all()
    assert (found["used"] > 0).any()


@pytest.mark.parametrize("score", [fisher, hessian])
def test_a_masked_weight_has_no_importance_the_others_that_of_the_masked_model(score: Any) -> None:
    model = two_layers()
    sparsifier = Sparsifier(model, "C0(2:4)", choice=Choice(first=True, only="^0$")).prepare()
    sparsifier.step()
    mask = torch.from_numpy(sparsifier.masks["0"])
    found = score(model, data())
    sparsifier.squash()
    plain = score(model, data())
    assert set(found) == {"0", "2"}
    assert (found["0"][~mask] == 0).all()
    if score is fisher:  # hessian's signs meet other weights
        torch.testing.assert_close(found["0"][mask], plain["0"][mask])
        torch.testing.assert_close(found["2"], plain["2"])


@pytest.mark.parametrize("score", [fisher, hessian])
def test_weights_that_are_shared_are_left_out(score: Any) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.inner = nn.Embedding(CLASSES, FEATURES), nn.Linear(FEATURES, FEATURES)
            self.decoder = nn.Linear(FEATURES, CLASSES, bias=False)
            self.decoder.weight = self.embed.weight

        def forward(self, inputs: Tensor) -> Tensor:
            return self.decoder(self.inner(inputs))  # type: ignore[no-any-return]

    assert set(score(Tied(), data())) == {"inner"}


@pytest.mark.parametrize("score", [fisher, hessian])
def test_importance_of_no_samples_is_refused(score: Any) -> None:
    with pytest.raises(InputError, match="no samples to take gradients of"):
        score(two_layers(), [])


@pytest.mark.parametrize("score", [fisher, hessian])
def test_batches_that_do_not_fit_the_model_are_refused(score: Any) -> None:
    with pytest.raises(InputError, match=r"cannot take inputs of shape \(.*5\)"):
        score(two_layers(), [(torch.zeros(2, 5), torch.zeros(2, dtype=torch.long))])


@pytest.mark.parametrize("score", [fisher, hessian])
def test_convolutions_and_projections_have_scores_of_every_point(score: Any) -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3, padding=1)
            self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
            self.attention = nn.MultiheadAttention(4, 1, batch_first=True)
            self.fc = nn.Linear(4, CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.grouped(torch.tanh(self.conv(images))).flatten(2).transpose(1, 2)
            return self.fc(self.attention(tokens, tokens, tokens)[0].mean(1))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    images = torch.randn(6, 1, 3, 3)
    found = score(Small(), [(images, torch.arange(6) % CLASSES)])
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "conv": (4, 1, 3, 3),
        "grouped": (4, 2, 3, 3),
        "attention.in_proj": (12, 4),
        "attention.out_proj": (4, 4),
        "fc": (3, 4),
    }
    assert all(torch.isfinite(value).all() and (value >= 0).all() and (value > 0).any() for value in found.values())


def test_masks_by_fisher_keep_what_the_scores_say() -> None:
    model, batches = two_layers(), data()
    scores = fisher(model, batches)["0"].numpy()
    sparsifier = Sparsifier(
        model, "C0(2:4)", choice=Choice(first=True, only="^0$"), importance=lambda of: fisher(of, batches)
    ).prepare()
    sparsifier.step()
    np.testing.assert_array_equal(sparsifier.masks["0"], scores >= np.sort(scores, axis=1)[:, 2:3])
