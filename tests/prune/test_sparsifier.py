"""Masks on models of PyTorch: every pattern on every kind of layer, what training sees of them, schedules in force."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparseloom.errors import InputError
from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune.model import call, original, weights_of
from sparseloom.prune.models import MODELS
from sparseloom.prune.placement import Choice
from sparseloom.prune.schedule import Schedule
from sparseloom.prune.sparsifier import Sparsifier

EVERY = Choice(first=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Zoo(nn.Module):
    """One layer of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.depth = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.grouped = nn.Conv2d(32, 32, 3, padding=1, groups=2)
        self.plain = nn.Conv2d(32, 16, 3, padding=1)
        self.signal = nn.Conv1d(16, 32, 3, padding=1)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.cross = nn.MultiheadAttention(32, 4, kdim=16, vdim=48, batch_first=True)
        self.head = nn.Linear(32, 16)

    def forward(self, images: Tensor) -> Tensor:
        x = self.plain(self.grouped(self.depth(self.stem(images)))).flatten(2)
        tokens = self.signal(x).transpose(1, 2)
        tokens = self.attention(tokens, tokens, tokens)[0]
        tokens = self.cross(tokens, tokens[..., :16], torch.cat([tokens, tokens[..., :16]], -1))[0]
        return self.head(tokens.mean(1))  # type: ignore[no-any-return]


LAYERS = (
    *("stem", "depth", "grouped", "plain", "signal", "attention.in_proj", "attention.out_proj"),
    *("cross.q_proj", "cross.k_proj", "cross.v_proj", "cross.out_proj", "head"),
)
PRUNED = LAYERS[2:]
KERNELS = ("grouped", "plain")

FIBERS = {"CRS(unconstrained)": "CRS", "C(unconstrained)->R->S": "C", "unstructured": "GMCRS"}
"""The ranks whose points one rule without numbers chooses from."""
PATTERNS = [
    ("C0(2:4)", None),
    ("C1(3:4)->C0(2:4)", None),
    ("RS->C1->C0(2:4)", None),
    ("CRS(unconstrained)", 0.3),
    ("C(unconstrained)->R->S", 0.3),
    ("C->RS(4:9)", None),
    ("C0(4:16)", None),
    ("dbb(C: 3/8)", None),
    ("C1(2:{2<=H<=8})->C0(2:{2<=H<=4})", 0.25),
    ("block(M:8, C:8)", 0.4),
    ("block(M:16, C:4)", 0.4),
    ("permdiag(M,C: 4)", None),
    ("unstructured", 0.37),
    ("dense", None),
]


def zoo(seed: int = 0) -> Zoo:
    torch.manual_seed(seed)
    return Zoo()


def mlp(seed: int = 0, width: int = 8) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


def stored(model: nn.Module, sparsifier: Sparsifier) -> dict[str, NDArray[np.float32]]:
    """The tensors before masks."""
    return {
        p.weight.name: original(model.get_submodule(p.weight.module), p.weight.parameter).detach().numpy().copy()
        for p in sparsifier.pruned
    }


def asked_density(text: str, density: float | None, ranks: tuple[str, ...], shape: tuple[int, ...]) -> float:
    """What one fiber, or the grid of blocks, keeps: the density rounded up to whole coordinates or blocks."""
    if density is None or "2<=H" in text:
        return float(density or Pattern.parse(text).degrees()[0])
    size = dict(zip(ranks, shape, strict=True))
    if text.startswith("block"):
        height, width = (int(part.split(":")[1].strip(" )")) for part in text.split(","))
        fiber = (size["M"] // height) * (size["C"] // width)
    else:
        fiber = int(np.prod([size.get(rank, 1) for rank in FIBERS[text]]))
    return float(np.ceil(density * fiber - 1e-9) / fiber)


# the weights of a model


def test_weights_are_those_of_convolutions_linear_layers_and_projections() -> None:
    weights = weights_of(zoo())
    assert sorted(weight.name for weight in weights) == sorted(LAYERS)
    seen = {weight.name: (weight.kind, weight.ranks, weight.shape) for weight in weights}
    assert seen["grouped"] == ("conv", ("G", "M", "C", "R", "S"), (2, 16, 16, 3, 3))
    assert seen["depth"] == ("conv", ("G", "M", "C", "R", "S"), (32, 1, 1, 3, 3))
    assert seen["plain"] == ("conv", ("M", "C", "R", "S"), (16, 32, 3, 3))
    assert seen["signal"] == ("conv", ("M", "C", "R", "S"), (32, 16, 1, 3))
    assert seen["attention.in_proj"] == ("attention", ("M", "C", "R", "S"), (96, 32, 1, 1))
    assert seen["cross.k_proj"] == ("attention", ("M", "C", "R", "S"), (32, 16, 1, 1))
    assert seen["cross.v_proj"] == ("attention", ("M", "C", "R", "S"), (32, 48, 1, 1))
    assert seen["head"] == ("linear", ("M", "C", "R", "S"), (16, 32, 1, 1))


def test_volumes_have_a_deep_rank() -> None:
    (weight,) = weights_of(nn.Sequential(nn.Conv3d(4, 8, (2, 3, 5))))
    assert (weight.ranks, weight.shape) == (("M", "C", "T", "R", "S"), (8, 4, 2, 3, 5))


class Reversed(nn.Module):
    """Registers its layers in another order than it calls them, and one that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.never = nn.Linear(8, 8)
        self.last = nn.Linear(8, 8)
        self.first = nn.Linear(8, 8)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.last(self.first(left) + right)  # type: ignore[no-any-return]


@pytest.mark.parametrize("example", [(torch.zeros(1, 8),) * 2, dict.fromkeys(("left", "right"), torch.zeros(1, 8))])
def test_an_example_puts_weights_into_the_order_of_their_use(example: object) -> None:
    model = Reversed().train()
    assert [weight.name for weight in weights_of(model)] == ["never", "last", "first"]
    assert [weight.name for weight in weights_of(model, example)] == ["first", "last", "never"]
    assert model.training
    assert not model.first._forward_pre_hooks


def test_the_first_layer_is_the_one_used_first() -> None:
    placements = Sparsifier(Reversed(), "C0(2:4)", example=(torch.zeros(1, 8),) * 2).placements
    assert [(p.weight.name, p.rule) for p in placements if p.pattern is None] == [("first", "the first layer")]


class Conv1D(nn.Module):
    """As transformers has it for the projections of GPT-2: x W, with C rows and M columns."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.nf, self.weight = outputs, nn.Parameter(torch.randn(inputs, outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight


def test_weights_of_a_prepared_model_are_those_of_the_plain_one() -> None:
    """Else importances by a loss miss them."""
    for model in (zoo(), nn.Sequential(Conv1D(16, 8), Conv1D(8, 16))):
        before = weights_of(model)
        sparsifier = Sparsifier(model, "C0(2:4)").prepare()
        assert sparsifier.pruned
        assert weights_of(model) == before


class Tied(nn.Module):
    """The last layer is the embedding, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(16, 8)
        self.inner = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)
        self.decoder = nn.Linear(8, 16, bias=False)
        self.decoder.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(self.second(self.inner(self.embed(tokens))))  # type: ignore[no-any-return]


def test_a_weight_tied_to_an_embedding_stays_dense_and_tied() -> None:
    model = Tied()
    before = model.embed.weight.detach().clone()
    sparsifier = Sparsifier(model, "C0(2:4)", example=torch.zeros(1, 3, dtype=torch.long)).prepare()
    rules = {p.weight.name: p.rule for p in sparsifier.placements if p.pattern is None}
    assert rules == {"inner": "the first layer", "decoder": "shared with embed.weight"}
    sparsifier.step()
    sparsifier.squash()
    assert model.decoder.weight is model.embed.weight
    assert torch.equal(model.embed.weight, before)


def shared() -> nn.Sequential:
    """The second and the fourth layer have one weight."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))
    model[3].weight = model[1].weight
    return model


def test_two_layers_that_share_a_weight_both_stay_dense_and_name_each_other() -> None:
    placements = Sparsifier(shared(), "C0(2:4)").placements
    rules = {p.weight.name: p.rule for p in placements if p.pattern is None}
    assert set(rules) == {"0", "1", "3"}
    assert rules["1"] == "shared with 3.weight"
    assert rules["3"].startswith("shared with 1")


def test_squash_does_not_change_what_a_model_with_a_shared_weight_computes() -> None:
    model, inputs = shared(), torch.randn(4, 8)
    sparsifier = Sparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    expected = model(inputs)
    sparsifier.squash()
    assert torch.equal(model(inputs), expected)
    assert model[3].weight is model[1].weight
    assert (model[1].weight != 0).all()


# every pattern on every kind of layer


@pytest.mark.parametrize(("text", "density"), PATTERNS)
def test_every_mask_obeys_its_pattern_at_the_density_asked_for(text: str, density: float | None) -> None:
    model = zoo()
    sparsifier = Sparsifier(model, text, density, example=torch.zeros(1, 3, 4, 4)).prepare()
    sparsifier.step()
    masks = sparsifier.masks
    assert set(masks) == set(KERNELS if "RS(4:9)" in text else PRUNED)
    for placement in sparsifier.pruned:
        weight, mask = placement.weight, masks[placement.weight.name]
        assert placement.pattern is not None
        assert (placement.padded, placement.rule) == (weight.shape, "")
        assert placement.obeys(mask)
        assert placement.pattern.obeys(weight.seen(mask), weight.ranks)
        assert Pattern.parse(text).with_payload(weight.ranks, ("R", "S")).obeys(weight.seen(mask), weight.ranks)
        assert mask.mean() == pytest.approx(asked_density(text, density, weight.ranks, weight.shape))


def tiles(mask: NDArray[np.bool_], extents: tuple[int, ...]) -> NDArray[np.int64]:
    """The nonzeros of all aligned tiles, which divide the tensor."""
    digits = [n for size, extent in zip(mask.shape, extents, strict=True) for n in (size // extent, extent)]
    return np.asarray(mask.reshape(digits).sum(axis=tuple(range(1, 2 * mask.ndim, 2)), dtype=np.int64))


def extents_of(ranks: tuple[str, ...], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    sizes: list[dict[str, int]] = [{"C": 4}, {"M": 8, "C": 8}, {"C": 16, "R": 3, "S": 3}, {"M": 4, "C": 2, "S": 3}]
    return [tuple(min(size.get(rank, 1), n) for rank, n in zip(ranks, shape, strict=True)) for size in sizes]


@pytest.mark.parametrize(("text", "density"), PATTERNS)
def test_counted_statistics_of_a_mask_are_those_of_the_density_model(text: str, density: float | None) -> None:
    """Aligned tiles of four shapes. The histogram of a mask of random weights lies where those of draws do: no farther from the
    model's probabilities than six standard deviations of 12 draws, and eight of independent tiles for what these draws miss."""
    sparsifier = Sparsifier(zoo(1), text, density).prepare()
    sparsifier.step()
    masks, rng = sparsifier.masks, np.random.default_rng(0)
    for placement in sparsifier.pruned:
        weight = placement.weight
        if weight.name not in ("grouped", "plain", "signal", "attention.in_proj"):
            continue
        assert placement.pattern is not None
        model = placement.pattern.density_model(weight.ranks, weight.shape, placement.density)
        mask = weight.seen(masks[weight.name]).astype(np.bool_)
        assert mask.mean() == pytest.approx(model.density)
        draws = [model.draw(rng) for _ in range(12)]
        for extents in extents_of(weight.ranks, weight.shape):
            counts = tiles(mask, extents)
            low = np.indices(counts.shape) * np.reshape(extents, (-1, *[1] * counts.ndim))
            high = low + np.reshape(extents, (-1, *[1] * counts.ndim))
            assert (counts <= model.worst_occupancy(list(low), list(high))).all()
            assert counts.mean() == pytest.approx(float(np.mean(model.expected_occupancy(list(low), list(high)))))
            occupancies, chances = model.occupancy_distribution(extents)
            assert set(np.unique(counts)) <= set(occupancies.tolist())
            spread = [np.bincount(tiles(draw, extents).ravel(), minlength=occupancies.max() + 1) for draw in draws]
            deviation = np.std(np.array(spread) / counts.size, axis=0, ddof=1)[occupancies]
            shares = np.bincount(counts.ravel(), minlength=occupancies.max() + 1)[occupancies] / counts.size
            assert (np.abs(shares - chances) <= 6 * deviation + 8 * np.sqrt(chances / counts.size) + 1e-9).all()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_models_of_the_package_are_pruned_and_keep_their_outputs_when_squashed(name: str) -> None:
    torch.manual_seed(0)
    side = 32 if name == "lenet5" else 8
    model, images = MODELS[name](), torch.randn(3, 1, side, side)
    sparsifier = Sparsifier(model, "C0(2:4)", example=images).prepare()
    sparsifier.step()
    model.eval()
    masked = model(images)
    sparsifier.squash()
    assert masked.shape == (3, 10)
    assert torch.equal(model(images), masked)


# what training sees


def trained(model: nn.Module, optimiser: Any, steps: int = 3) -> None:
    inputs = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        optimiser.zero_grad()
        (model(inputs) ** 2).mean().backward()
        optimiser.step()


def test_gradients_of_masked_weights_are_zero_and_the_others_those_of_a_plain_model() -> None:
    model, plain = zoo(), zoo()
    sparsifier = Sparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    masks = sparsifier.masks
    with torch.no_grad():
        for placement in sparsifier.pruned:
            weight = placement.weight
            getattr(plain.get_submodule(weight.module), weight.parameter).mul_(torch.from_numpy(masks[weight.name]))
    images = torch.randn(2, 3, 4, 4)
    for each in (model, plain):
        (each(images) ** 2).sum().backward()
    for placement in sparsifier.pruned:
        weight = placement.weight
        mask = torch.from_numpy(masks[weight.name])
        found = original(model.get_submodule(weight.module), weight.parameter).grad
        expected = getattr(plain.get_submodule(weight.module), weight.parameter).grad
        assert found is not None
        assert (found[~mask] == 0).all()
        assert (found[mask] != 0).any()
        torch.testing.assert_close(found[mask], expected[mask])


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("before", [True, False])
def test_an_optimiser_made_before_or_after_prepare_trains_the_kept_weights_alone(kind: str, before: bool) -> None:
    def optimiser_of(model: nn.Module) -> Any:
        if kind == "sgd":
            return torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
        return torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.1)

    model = mlp()
    early = optimiser_of(model) if before else None
    sparsifier = Sparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    optimiser = early or optimiser_of(model)
    start = model[2].weight.detach().clone()
    trained(model, optimiser)
    mask = torch.from_numpy(sparsifier.masks["2"])
    assert (model[2].weight[~mask] == 0).all()
    assert (model[2].weight[mask] != start[mask]).all()


def test_optimisers_made_before_and_after_prepare_end_with_the_same_weights() -> None:
    ends = []
    for before in (True, False):
        model = mlp()
        early = torch.optim.Adam(model.parameters(), 0.01) if before else None
        Sparsifier(model, "C0(2:4)").prepare().step()
        trained(model, early or torch.optim.Adam(model.parameters(), 0.01))
        ends.append(model[2].weight.detach())
    assert torch.equal(*ends)


def test_nothing_is_removed_before_the_first_step() -> None:
    model, inputs = mlp(), torch.randn(4, 8)
    expected = model(inputs)
    sparsifier = Sparsifier(model, "C0(2:4)").prepare()
    assert torch.equal(model(inputs), expected)
    assert sparsifier.masks["2"].all()


def test_masks_keep_the_largest_magnitudes() -> None:
    model = mlp()
    values = model[2].weight.detach().abs().numpy().reshape(8, 2, 4)
    sparsifier = Sparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    second = np.sort(values, axis=-1)[..., 2:3]
    np.testing.assert_array_equal(sparsifier.masks["2"], (values >= second).reshape(8, 8))


def test_state_dicts_round_trip_into_a_freshly_prepared_model() -> None:
    model, images = zoo(), torch.randn(2, 3, 4, 4)
    sparsifier = Sparsifier(model, "C0(2:4)", schedule=Schedule("gradual", 3)).prepare()
    sparsifier.step()
    sparsifier.step()
    other = zoo(1)
    again = Sparsifier(other, "C0(2:4)", schedule=Schedule("gradual", 3)).prepare()
    assert list(other.state_dict()) == list(model.state_dict())
    other.load_state_dict(model.state_dict())
    again.load_state_dict(sparsifier.state_dict())
    assert torch.equal(other(images), model(images))
    for name, mask in sparsifier.masks.items():
        np.testing.assert_array_equal(again.masks[name], mask)
    assert again.state_dict() == sparsifier.state_dict()
    for each in (sparsifier, again):
        each.step()
    for name, mask in sparsifier.masks.items():
        np.testing.assert_array_equal(again.masks[name], mask)
        assert mask.mean() == 0.5


def test_a_state_is_saved_and_loaded_as_plain_tensors(tmp_path: Any) -> None:
    model = mlp()
    sparsifier = Sparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    torch.save({"model": model.state_dict(), "sparsifier": sparsifier.state_dict()}, tmp_path / "state.pt")
    kept = torch.load(tmp_path / "state.pt", weights_only=True)
    other = mlp(1)
    again = Sparsifier(other, "C0(2:4)").prepare()
    other.load_state_dict(kept["model"])
    again.load_state_dict(kept["sparsifier"])
    assert torch.equal(other(torch.ones(1, 8)), model(torch.ones(1, 8)))
    assert again.epoch == 1


def test_masks_that_were_loaded_stay_once_the_pruning_is_whole() -> None:
    model, other = mlp(), mlp(1)
    sparsifier, again = (Sparsifier(each, "C0(2:4)").prepare() for each in (model, other))
    sparsifier.step()
    other.load_state_dict(model.state_dict())
    again.load_state_dict(sparsifier.state_dict())
    with torch.no_grad():
        original(other[2], "weight").copy_(torch.randn(8, 8))
    again.step()
    np.testing.assert_array_equal(again.masks["2"], sparsifier.masks["2"])


def test_squash_leaves_plain_parameters_under_the_same_keys() -> None:
    model, plain = zoo(), zoo()
    sparsifier = Sparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    seen = {
        p.weight.name: getattr(model.get_submodule(p.weight.module), p.weight.parameter).detach().clone()
        for p in sparsifier.pruned
    }
    masks = sparsifier.squash()
    assert set(model.state_dict()) == set(plain.state_dict())
    assert {type(module) for module in model.modules()} == {type(module) for module in plain.modules()}
    for placement in sparsifier.pruned:
        weight = placement.weight
        module = model.get_submodule(weight.module)
        parameter = getattr(module, weight.parameter)
        assert isinstance(parameter, nn.Parameter)
        assert parameter.requires_grad
        assert not parametrize.is_parametrized(module)
        assert torch.equal(parameter, seen[weight.name])
        np.testing.assert_array_equal(parameter.detach().numpy() != 0, masks[weight.name])
    fresh = zoo(1)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(torch.ones(1, 3, 4, 4)), model(torch.ones(1, 3, 4, 4)))


@pytest.mark.parametrize("make", [mlp, zoo])
def test_squash_leaves_parameters_in_their_order(make: Callable[[], nn.Module]) -> None:
    """The state of an optimiser counts parameters: after a squash it has to mean the same ones."""
    model = make()
    names = [name for name, _ in model.named_parameters()]
    sparsifier = Sparsifier(model, "C0(2:4)", choice=EVERY).prepare()
    sparsifier.step()
    sparsifier.squash()
    assert [name for name, _ in model.named_parameters()] == names


def test_weights_that_stay_dense_are_not_touched() -> None:
    model, plain = zoo(), zoo()
    sparsifier = Sparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    sparsifier.squash()
    for name in ("stem", "depth"):
        assert torch.equal(getattr(model, name).weight, getattr(plain, name).weight)
    expected = plain.state_dict()
    biases = [name for name in expected if name.endswith("bias")]
    assert len(biases) == 10
    assert all(torch.equal(model.state_dict()[name], expected[name]) for name in biases)


def test_a_deep_copy_has_masks_of_its_own() -> None:
    model, inputs = mlp(), torch.randn(4, 8)
    sparsifier = Sparsifier(model, "C0(2:4)", schedule=Schedule("gradual", 2)).prepare()
    sparsifier.step()
    twin = copy.deepcopy(model)
    assert torch.equal(twin(inputs), model(inputs))
    before = twin(inputs)
    sparsifier.step()
    assert not torch.equal(model(inputs), before)
    assert torch.equal(twin(inputs), before)


def test_attention_computes_alike_in_training_and_in_evaluation_where_it_is_fused() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    sparsifier = Sparsifier(model, "C0(2:4)", choice=EVERY).prepare()
    sparsifier.step()
    tokens = torch.randn(2, 5, 16)
    with torch.no_grad():
        expected = model(tokens)
        model.eval()
        torch.testing.assert_close(model(tokens), expected)
        sparsifier.squash()
        torch.testing.assert_close(model(tokens), expected)


def test_weights_that_are_no_numbers_are_named_together_and_nothing_is_masked() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))
    with torch.no_grad():
        model[1].weight[0, :2] = float("nan")
        model[2].weight[3, 3] = float("inf")
    keys = list(model.state_dict())
    with pytest.raises(InputError) as caught:
        Sparsifier(model, "C0(2:4)").prepare()
    assert [fault.what for fault in caught.value.faults] == [
        "1 has 2 values of 64 that are NaN or infinite",
        "2 has 1 values of 64 that are NaN or infinite",
    ]
    assert list(model.state_dict()) == keys


def test_a_pattern_that_fits_no_layer_is_refused_when_the_sparsifier_is_made() -> None:
    with pytest.raises(InputError, match="rank RS has 1 coordinates"):
        Sparsifier(mlp(), "C->RS(4:9)")


def test_layers_take_patterns_of_their_own() -> None:
    model = zoo()
    layers = {"stem": (Pattern.parse("unstructured"), 0.5), "head": (Pattern.parse("block(M:8, C:8)"), 0.25)}
    sparsifier = Sparsifier(model, "C0(2:4)", layers=layers).prepare()
    sparsifier.step()
    masks = sparsifier.masks
    assert masks["stem"].mean() == 0.5
    assert masks["head"].mean() == 0.25
    assert masks["head"].reshape(2, 8, 4, 8).all(axis=(1, 3)).sum() == 2


@pytest.mark.parametrize("norm", ["mean", "rms"])
def test_the_norm_decides_between_blocks(norm: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 2, bias=False))
    model[0].weight.data = torch.tensor([[9.0, 0.0, 3.0, 3.0], [0.0, 0.0, 3.0, 3.0]])
    sparsifier = Sparsifier(model, "block(M:2, C:2)", 0.5, choice=EVERY, norm=norm).prepare()
    sparsifier.step()
    assert sparsifier.masks["0"][0].tolist() == (
        [False, False, True, True] if norm == "mean" else [True, True, False, False]
    )


def test_given_scores_decide_and_are_asked_for_only_when_masks_change() -> None:
    model, asked = mlp(), []

    def scores(of: nn.Module) -> Mapping[str, Tensor]:
        asked.append(of)
        return {"2": torch.arange(8.0).repeat(8, 1)}

    sparsifier = Sparsifier(model, "C0(2:4)", importance=scores).prepare()
    for _ in range(3):
        sparsifier.step()
    assert asked == [model]
    np.testing.assert_array_equal(sparsifier.masks["2"], np.tile([False, False, True, True], (8, 2)))


def test_scores_that_miss_a_weight_are_refused() -> None:
    sparsifier = Sparsifier(mlp(), "C0(2:4)", importance=lambda _: {"0": torch.ones(8, 8)}).prepare()
    with pytest.raises(InputError, match="the importance of 2 is missing"):
        sparsifier.step()


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_weights_of_other_widths_are_masked_as_they_are(dtype: str) -> None:
    model = mlp().to(getattr(torch, dtype))
    values = model[2].weight.detach().double().abs().numpy().reshape(8, 2, 4)
    sparsifier = Sparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    mask = sparsifier.squash()["2"].reshape(8, 2, 4)
    assert (mask.sum(axis=-1) == 2).all()
    assert (np.where(mask, values, np.inf).min(axis=-1) >= np.where(mask, 0, values).max(axis=-1)).all()
    assert model[2].weight.dtype == getattr(torch, dtype)


# schedules


def test_once_masks_stay_whatever_the_weights_become() -> None:
    model = mlp()
    sparsifier = Sparsifier(model, "C0(2:4)").prepare()
    sparsifier.step()
    first = sparsifier.masks["2"]
    with torch.no_grad():
        original(model[2], "weight").copy_(torch.randn(8, 8))
    sparsifier.step()
    np.testing.assert_array_equal(sparsifier.masks["2"], first)


@pytest.mark.parametrize(("text", "density"), [entry for entry in PATTERNS if "RS(4:9)" not in entry[0]])
def test_gradual_masks_obey_the_rules_of_their_epoch(text: str, density: float | None) -> None:
    model = zoo()
    sparsifier = Sparsifier(model, text, density, schedule=Schedule("gradual", 3)).prepare()
    for share in (1 / 3, 2 / 3, 1.0):
        sparsifier.step()
        for placement in sparsifier.pruned:
            assert placement.pattern is not None
            mask = placement.weight.seen(sparsifier.masks[placement.weight.name])
            pattern, free = placement.pattern.eased(share, placement.density)
            assert pattern.obeys(mask, placement.weight.ranks)
            expected = pattern.density_model(placement.weight.ranks, placement.weight.shape, free)
            assert mask.mean() == pytest.approx(expected.density)


def test_dbb_is_reached_by_one_more_zero_in_eight_at_a_time() -> None:
    model = mlp()
    sparsifier = Sparsifier(model, "dbb(C: 3/8)", schedule=Schedule("gradual", 5)).prepare()
    kept = []
    for _ in range(6):
        sparsifier.step()
        kept.append(set(sparsifier.masks["2"].sum(axis=1).tolist()))
    assert kept == [{7}, {6}, {5}, {4}, {3}, {3}]


def test_incremental_removes_a_share_more_each_epoch_the_least_important_first() -> None:
    model = mlp()
    values = np.abs(model[2].weight.detach().numpy())
    whole = Sparsifier(copy.deepcopy(model), "C0(2:4)").prepare()
    whole.step()
    final = whole.masks["2"]
    sparsifier = Sparsifier(model, "C0(2:4)", schedule=Schedule("incremental", 4)).prepare()
    before = np.ones_like(final)
    for epoch in range(4):
        sparsifier.step()
        mask = sparsifier.masks["2"]
        removed, left = ~mask, mask & ~final
        assert removed.sum() == 8 * (epoch + 1)
        assert not (removed & final).any()
        assert not (mask & ~before).any()  # weights do not change here, so that none comes back
        assert not left.any() or values[removed].max() <= values[left].min()
        before = mask
    np.testing.assert_array_equal(mask, final)


def test_incremental_removes_whole_blocks_by_their_sums() -> None:
    model = nn.Sequential(nn.Linear(8, 4, bias=False))
    sums = np.array([[4.0, 9.0, 1.0, 8.0], [3.0, 7.0, 2.0, 6.0]])
    model[0].weight.data = torch.from_numpy(np.kron(sums, np.ones((2, 2)))).float()
    sparsifier = Sparsifier(model, "block(M:2, C:2)", 0.5, choice=EVERY, schedule=Schedule("incremental", 4)).prepare()
    for gone in (1.0, 2.0, 3.0, 4.0):
        sparsifier.step()
        expected = np.kron(sums > gone, np.ones((2, 2)))
        np.testing.assert_array_equal(sparsifier.masks["0"], expected.astype(bool))


def test_layers_are_pruned_one_after_another_in_the_order_of_their_use() -> None:
    model = Reversed()
    sparsifier = Sparsifier(
        model, "C0(2:4)", choice=EVERY, schedule=Schedule("layerwise", 3), example=(torch.zeros(1, 8),) * 2
    ).prepare()
    found = []
    for _ in range(3):
        sparsifier.step()
        found.append([name for name, mask in sparsifier.masks.items() if not mask.all()])
    assert found == [["first"], ["first", "last"], ["first", "last", "never"]]
    assert {mask.mean() for mask in sparsifier.masks.values()} == {0.5}


def test_a_layer_is_pruned_by_its_weights_when_its_turn_comes_and_stays() -> None:
    model = mlp()
    sparsifier = Sparsifier(model, "C0(2:4)", choice=EVERY, schedule=Schedule("layerwise", 2)).prepare()
    sparsifier.step()
    first = sparsifier.masks["0"]
    with torch.no_grad():
        original(model[0], "weight").copy_(torch.randn(8, 8))
        original(model[2], "weight").copy_(torch.arange(8.0).repeat(8, 1))
    sparsifier.step()
    np.testing.assert_array_equal(sparsifier.masks["0"], first)
    np.testing.assert_array_equal(sparsifier.masks["2"], np.tile([False, False, True, True], (8, 2)))


def lasso_of_blocks(values: NDArray[np.float32], kept: int, height: int, width: int) -> float:
    """The blocks with the smallest means of magnitudes, each its norm times the root of its points."""
    rows, columns = values.shape
    cut = (
        values.reshape(rows // height, height, columns // width, width)
        .transpose(0, 2, 1, 3)
        .reshape(-1, height * width)
    )
    least = np.argsort(np.abs(cut).mean(axis=1))[: len(cut) - kept]
    return float(np.sqrt(height * width) * np.linalg.norm(cut[least], axis=1).sum())


@pytest.mark.parametrize("kept", [1, 4, 7])
def test_a_penalty_is_the_group_lasso_of_the_blocks_that_would_go(kept: int) -> None:
    model = mlp()
    values = model[2].weight.detach().numpy().copy()
    sparsifier = Sparsifier(model, "block(M:4, C:2)", kept / 8, schedule=Schedule("penalty", 2, penalty=0.25)).prepare()
    sparsifier.step()
    assert sparsifier.penalty().item() == pytest.approx(0.25 * lasso_of_blocks(values, kept, 4, 2), rel=1e-5)


def test_a_penalty_adds_up_over_layers() -> None:
    model = mlp()
    expected = sum(lasso_of_blocks(model[n].weight.detach().numpy(), 4, 4, 2) for n in (0, 2))
    sparsifier = Sparsifier(
        model, "block(M:4, C:2)", 0.5, choice=EVERY, schedule=Schedule("penalty", 2, penalty=1.0)
    ).prepare()
    sparsifier.step()
    assert sparsifier.penalty().item() == pytest.approx(expected, rel=1e-5)


def test_a_penalty_on_a_kernel_takes_whole_channels() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 2, 3, bias=False))
    kernels = model[0].weight.detach().numpy().reshape(2, 4, 9)
    sparsifier = Sparsifier(
        model, "C(unconstrained)->R->S", 0.25, choice=EVERY, schedule=Schedule("penalty", 1, penalty=1.0)
    ).prepare()
    sparsifier.step()
    least = [np.argsort(np.abs(row).mean(axis=1))[:3] for row in kernels]
    expected = sum(3 * np.linalg.norm(row[few], axis=1).sum() for row, few in zip(kernels, least, strict=True))
    assert sparsifier.penalty().item() == pytest.approx(expected, rel=1e-5)


def test_a_penalty_shrinks_what_will_go_and_leaves_the_rest() -> None:
    model = mlp()
    schedule = Schedule("penalty", 3, penalty=0.02)
    sparsifier = Sparsifier(model, "block(M:4, C:2)", 0.5, schedule=schedule).prepare()
    whole = Sparsifier(copy.deepcopy(mlp()), "block(M:4, C:2)", 0.5).prepare()
    whole.step()
    kept = torch.from_numpy(whole.masks["2"])
    start = original(model[2], "weight").detach().clone()
    optimiser = torch.optim.SGD(model.parameters(), 0.5)
    norms = []
    for _ in range(schedule.epochs):
        sparsifier.step()
        assert sparsifier.masks["2"].all()
        for _ in range(3):
            optimiser.zero_grad()
            sparsifier.penalty().backward()
            optimiser.step()
        norms.append(original(model[2], "weight")[~kept].norm().item())
    assert start[~kept].norm().item() > norms[0] > norms[1] > norms[2]
    assert torch.equal(original(model[2], "weight")[kept], start[kept])
    sparsifier.step()
    np.testing.assert_array_equal(sparsifier.masks["2"], kept.numpy())
    assert sparsifier.penalty().item() == 0


def test_a_penalty_on_single_points_is_the_sum_of_their_magnitudes() -> None:
    model = nn.Sequential(nn.Linear(4, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0, -2.0, 3.0, 4.0]])
    schedule = Schedule("penalty", 2, penalty=1.0)
    sparsifier = Sparsifier(model, "C0(2:4)", choice=EVERY, schedule=schedule).prepare()
    sparsifier.step()
    assert sparsifier.penalty().item() == pytest.approx(3.0)


def test_a_penalty_is_on_what_the_given_importance_would_remove() -> None:
    """The scores fall where the magnitudes rise."""
    model = nn.Sequential(nn.Linear(8, 2, bias=False))
    model[0].weight.data = torch.tensor([[1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]] * 2)
    scores = {"0": torch.tensor([[4.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0]] * 2)}
    schedule = Schedule("penalty", 1, penalty=1.0)
    sparsifier = Sparsifier(
        model, "block(M:2, C:2)", 0.5, choice=EVERY, schedule=schedule, importance=lambda _: scores
    ).prepare()
    sparsifier.step()
    assert sparsifier.penalty().item() == pytest.approx(2 * (6 + 8))  # roots of 4 points, norms of four 3 and four 4
    sparsifier.step()
    assert sparsifier.masks["0"].tolist() == [[True] * 4 + [False] * 4] * 2


def test_a_penalty_on_a_block_at_the_edge_takes_the_root_of_its_own_points() -> None:
    model = nn.Sequential(nn.Linear(8, 5, bias=False))
    weight = model[0].weight.data
    weight[:4, :4], weight[:4, 4:], weight[4:, :4], weight[4:, 4:] = 0.1, 1.0, 0.2, 1.0
    schedule = Schedule("penalty", 2, penalty=1.0)
    sparsifier = Sparsifier(model, "block(M:4, C:4)", 0.5, choice=EVERY, schedule=schedule).prepare()
    sparsifier.step()
    assert sparsifier.penalty().item() == pytest.approx(4 * 0.4 + 2 * 0.4, rel=1e-4)  # 16 points of 0.1, 4 of 0.2


@pytest.mark.parametrize("way", ["once", "gradual", "incremental", "layerwise", "fixed"])
def test_other_schedules_add_nothing_to_the_loss(way: str) -> None:
    sparsifier = Sparsifier(mlp(), "C0(2:4)", schedule=Schedule(way, 2)).prepare()
    sparsifier.step()
    assert sparsifier.penalty().item() == 0


def fixed(model: nn.Module, seed: int, text: str = "C0(2:4)", density: float | None = None) -> Sparsifier:
    sparsifier = Sparsifier(model, text, density, schedule=Schedule("fixed"), seed=seed).prepare()
    sparsifier.step()
    return sparsifier


@pytest.mark.parametrize(("text", "density"), [("C0(2:4)", None), ("block(M:8, C:8)", 0.5), ("permdiag(M,C: 4)", None)])
def test_fixed_masks_follow_the_seed_and_not_the_weights(text: str, density: float | None) -> None:
    masks = [fixed(zoo(weights), seed, text, density).masks for weights, seed in ((0, 5), (1, 5), (0, 6))]
    for name, mask in masks[0].items():
        np.testing.assert_array_equal(masks[1][name], mask)
    assert any((masks[2][name] != mask).any() for name, mask in masks[0].items())


def test_fixed_masks_obey_and_stay_while_weights_train() -> None:
    model = mlp()
    sparsifier = fixed(model, 0)
    first = sparsifier.masks["2"]
    assert (first.reshape(8, 2, 4).sum(axis=-1) == 2).all()
    for _ in range(3):
        trained(model, torch.optim.SGD(model.parameters(), 0.1))
        sparsifier.step()
    np.testing.assert_array_equal(sparsifier.masks["2"], first)
    np.testing.assert_array_equal(model[2].weight.detach().numpy() != 0, first)


def test_fixed_masks_ask_for_no_importance() -> None:
    def refuse(_: nn.Module) -> Mapping[str, Tensor]:
        raise AssertionError("asked")

    Sparsifier(mlp(), "C0(2:4)", schedule=Schedule("fixed"), importance=refuse).prepare().step()


def test_two_layers_of_one_shape_have_different_fixed_masks() -> None:
    model = nn.Sequential(*(nn.Linear(16, 16) for _ in range(3)))
    masks = fixed(model, 0).masks
    assert (masks["1"] != masks["2"]).any()


@pytest.mark.parametrize(("way", "epochs"), [("gradual", 4), ("incremental", 4), ("layerwise", 3), ("penalty", 2)])
def test_every_schedule_ends_with_a_mask_of_the_pattern(way: str, epochs: int) -> None:
    model = zoo()
    sparsifier = Sparsifier(model, "block(M:8, C:8)", 0.5, schedule=Schedule(way, epochs)).prepare()
    for _ in range(epochs + 1):
        sparsifier.step()
    for placement in sparsifier.pruned:
        mask = sparsifier.masks[placement.weight.name]
        assert placement.obeys(mask)
        assert mask.mean() == pytest.approx(
            asked_density("block(M:8, C:8)", 0.5, placement.weight.ranks, placement.weight.shape)
        )


def test_call_passes_tensors_tuples_and_mappings() -> None:
    model, (left, right) = Reversed(), torch.randn(2, 1, 8)
    assert torch.equal(call(model, (left, right)), call(model, {"right": right, "left": left}))
    plain = mlp()
    assert torch.equal(call(plain, left), plain(left))


def test_all_tiles_are_counted() -> None:
    """The helper of the statistics, against loops."""
    mask = np.random.default_rng(0).random((4, 6)) < 0.5
    found = tiles(mask, (2, 3))
    for i, j in product(range(2), range(2)):
        assert found[i, j] == mask[2 * i : 2 * i + 2, 3 * j : 3 * j + 3].sum()
