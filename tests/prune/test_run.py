"""Whole runs: what they write, what they refuse, and that a cut loses nothing."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn

from sparseloom.errors import InputError
from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune import record
from sparseloom.prune.placement import Choice, plan
from sparseloom.prune.record import CHECKPOINT, MASKS, QUANTISED, RECORD, WEIGHTS, Record, Settings
from sparseloom.prune.run import build, described, load_weights, prune, trained
from sparseloom.prune.weight import Weight

USERS = """
import os, signal
from pathlib import Path
import torch
from torch import nn

HERE = Path(__file__).parent


def build():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))


def build_with_dropout():
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 4))


def part(seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(64, 8, generator=generator)
    return inputs, (inputs[:, :4] + 0.1 * torch.randn(64, 4, generator=generator)).argmax(1)


def data():
    return part(0), part(1), part(2)


class Killing:
    # kills the process at the batch whose number stands in the file kill-at
    batches = 0

    def __len__(self):
        return 4

    def __iter__(self):
        inputs, targets = part(0)
        for picked in torch.randperm(64).split(16):
            Killing.batches += 1
            if (HERE / "kill-at").exists() and Killing.batches == int((HERE / "kill-at").read_text()):
                os.kill(os.getpid(), signal.SIGKILL)
            yield inputs[picked], targets[picked]


def killing_data():
    return Killing(), part(1)
"""

NARROWER = USERS.replace("nn.Linear(16, 16)", "nn.Linear(16, 12)").replace("16, 4", "12, 4")
"""Another model under the same name."""

CHILD = """
import json, os, signal, sys
from pathlib import Path
import torch
from sparseloom.prune.record import Settings
from sparseloom.prune.run import prune

torch.set_num_threads(1)
settings, folder, cut = json.loads(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])


def watch(phase, epoch, epochs, done, size):
    if [phase, epoch, done] == cut:
        os.kill(os.getpid(), signal.SIGKILL)


prune(Settings(**settings), folder, watch)
"""


class Cut(Exception):
    """The run is stopped here."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """Files of tests are not to be found by others."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("users_"):
            del sys.modules[name]


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A folder with a user's file."""
    (tmp_path / "users_model.py").write_text(USERS)
    return tmp_path


def settings_of(folder: Path, **changes: Any) -> Settings:
    file = folder / "users_model.py"
    usual = Settings(f"{file}:build", f"{file}:data", pattern="C0(2:4)", epochs=2, batch=16, learning_rate=1e-2)
    return replace(usual, **changes)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Everything below a folder, and when it was written."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def weights_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / WEIGHTS, weights_only=True)
    return found


def assert_same(one: Path, other: Path) -> None:
    """Weights bit by bit, masks, and the record byte by byte."""
    first, second = weights_in(one), weights_in(other)
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    masks = [np.load(folder / MASKS, allow_pickle=False) for folder in (one, other)]
    assert set(masks[0].files) == set(masks[1].files)
    assert all((masks[0][name] == masks[1][name]).all() for name in masks[0].files)
    assert (one / RECORD).read_bytes() == (other / RECORD).read_bytes()


def refused(settings: Settings, folder: Path, match: str) -> InputError:
    """The run is refused and nothing on disk changes."""
    before = snapshot(folder.parent)
    with pytest.raises(InputError, match=match) as caught:
        prune(settings, folder)
    assert snapshot(folder.parent) == before
    return caught.value


# what a run writes


def test_a_run_writes_weights_masks_and_a_record_that_agree(users: Path) -> None:
    settings = settings_of(users, pretrain=1)
    found = prune(settings, users / "out")
    assert {path.name for path in (users / "out").iterdir()} == {RECORD, WEIGHTS, MASKS}
    assert found == record.read(users / "out")
    assert found.settings == settings
    state = weights_in(users / "out")
    assert set(state) == set(build(settings.model).state_dict())
    with np.load(users / "out" / MASKS, allow_pickle=False) as masks:
        assert set(masks.files) == {"2", "4"}
        for name in masks.files:
            np.testing.assert_array_equal(state[f"{name}.weight"].numpy() != 0, masks[name])
            assert Pattern.parse("C0(2:4)").obeys(masks[name], ("M", "C"))
    assert [(w.name, w.pattern, w.rule, w.nonzeros, w.points) for w in found.weights] == [
        ("0", "dense", "the first layer", 128, 128),
        ("2", "C0(2:4)", "", 128, 256),
        ("4", "C0(2:4)", "", 32, 64),
    ]
    assert found.density == (128 + 128 + 32) / (128 + 256 + 64)
    assert [(entry["phase"], entry["epoch"]) for entry in found.history] == [("dense", 1), ("pruned", 1), ("pruned", 2)]
    assert {state: set(splits) for state, splits in found.accuracies.items()} == {
        "dense": {"validation", "test"},
        "pruned": {"validation", "test"},
    }


def test_accuracies_are_those_of_the_weights_that_were_written(users: Path) -> None:
    found = prune(settings_of(users, pretrain=2), users / "out")
    _, model = trained(users / "out")
    namespace: dict[str, Any] = {"__file__": str(users / "users_model.py")}
    exec(USERS, namespace)
    for split, (inputs, targets) in zip(("train", "validation", "test"), namespace["data"](), strict=True):
        right = (model.eval()(inputs).argmax(1) == targets).float().mean().item()
        assert split == "train" or found.accuracies["pruned"][split] == pytest.approx(right)
    assert found.history[-1]["validation"] == found.accuracies["pruned"]["validation"]


def test_training_lowers_the_loss(users: Path) -> None:
    found = prune(settings_of(users, epochs=8), users / "out")
    losses = [entry["loss"] for entry in found.history]
    assert losses == sorted(losses, reverse=True)


def test_a_run_of_no_epochs_prunes_what_it_is_given(users: Path) -> None:
    torch.manual_seed(7)
    model = build(f"{users / 'users_model.py'}:build")
    torch.save(model.state_dict(), users / "w.pt")
    prune(settings_of(users, weights=str(users / "w.pt"), epochs=0), users / "out")
    state = weights_in(users / "out")
    for name, value in model.state_dict().items():
        kept = state[name] != 0
        assert torch.equal(state[name][kept], value[kept])
        if name in ("2.weight", "4.weight"):
            expected = Pattern.parse("C0(2:4)").mask(value.numpy(), ("M", "C"))
            np.testing.assert_array_equal(kept.numpy(), expected)


@pytest.mark.parametrize("norm", ["mean", "rms", "l1", "l2", "variance", "variance-whole"])
def test_every_norm_can_be_asked_for(users: Path, norm: str) -> None:
    found = prune(settings_of(users, pattern="block(M:4, C:4)", density=0.5, epochs=0, norm=norm), users / "out")
    assert [weight.density for weight in found.weights] == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("importance", ["fisher", "hessian"])
def test_importance_by_a_loss_can_be_asked_for(users: Path, importance: str) -> None:
    found = prune(settings_of(users, importance=importance, epochs=1, schedule="gradual"), users / "out")
    assert [weight.density for weight in found.weights] == [1.0, 0.5, 0.5]


def test_the_vision_transformer_of_the_package_takes_hessian(users: Path) -> None:
    """The fused kernels of attention have no second derivative."""
    (users / "users_pictures.py").write_text("""
import torch
def data(): return ((torch.randn(16, 1, 8, 8), torch.arange(16) % 10),) * 2
""")
    settings = settings_of(users, model="vit", data=f"{users / 'users_pictures.py'}:data", importance="hessian")
    found = prune(replace(settings, epochs=0), users / "out")
    pruned = [weight for weight in found.weights if weight.pattern != "dense"]
    assert len(pruned) > 1
    assert {weight.density for weight in pruned} == {0.5}


@pytest.mark.parametrize("change", [{"epochs": 1}, {"epochs": 2, "prune_epochs": 2}])
def test_a_penalty_up_to_the_last_epoch_removes_behind_it(users: Path, change: dict[str, int]) -> None:
    settings = settings_of(users, schedule="penalty", pattern="block(M:4, C:4)", density=0.5, **change)
    found = prune(settings, users / "out")
    assert [weight.density for weight in found.weights] == [1.0, 0.5, 0.5]
    assert [int((weights_in(users / "out")[f"{n}.weight"] != 0).sum()) for n in (0, 2, 4)] == [128, 128, 32]


def test_targets_of_32_bits_train_as_those_of_64(users: Path) -> None:
    file = users / "users_short.py"
    file.write_text(f"""{USERS}
def short():
    return [(inputs, targets.int()) for inputs, targets in data()]
""")
    long, short = (
        prune(settings_of(users, data=f"{file}:{name}", pretrain=1), users / name) for name in ("data", "short")
    )
    expected, found = weights_in(users / "data"), weights_in(users / "short")
    assert list(found) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    assert (short.history, short.accuracies) == (long.history, long.accuracies)


@pytest.mark.parametrize("model", ["build", "build_with_dropout"])
def test_the_same_settings_give_the_same_files_and_another_seed_others(users: Path, model: str) -> None:
    settings = settings_of(users, model=f"{users / 'users_model.py'}:{model}", pretrain=1, epochs=1)
    for name in ("a", "b"):
        prune(settings, users / name)
        torch.manual_seed(99)  # whatever is drawn in between
    assert_same(users / "a", users / "b")
    prune(replace(settings, seed=1), users / "c")
    assert not torch.equal(weights_in(users / "a")["0.weight"], weights_in(users / "c")["0.weight"])


def test_a_layer_may_have_a_pattern_of_its_own(users: Path) -> None:
    found = prune(
        settings_of(users, epochs=0, layers=(("0", "unstructured", 0.25), ("4", "C0(1:4)", None))), users / "out"
    )
    assert [(weight.pattern, weight.density) for weight in found.weights] == [
        ("unstructured", 0.25),
        ("C0(2:4)", 0.5),
        ("C0(1:4)", 0.25),
    ]


def test_a_model_of_the_package_is_pruned(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    found = prune(Settings("lenet5", "digits:32", pattern="C0(2:4)", epochs=0), tmp_path / "out")
    assert [(w.name, w.density, w.rule) for w in found.weights] == [
        ("conv1", 1.0, "the first layer"),
        ("conv2", pytest.approx(4 / 6), "C padded from 6 to 8"),
        ("fc1", 0.5, ""),
        ("fc2", 0.5, ""),
        ("fc3", 0.5, ""),
    ]


@given(st.lists(st.booleans(), min_size=24, max_size=24))
def test_the_record_names_dead_filters_and_channels_by_their_first_and_last(points: list[bool]) -> None:
    nonzero = np.array(points).reshape(4, 6)
    weight = Weight("a", "weight", "linear", ("M", "C"), (4, 6))
    (placement,) = plan([weight], (Pattern.parse("unstructured"), 0.5), Choice(first=True))
    found = described(placement, nonzero)
    for runs, alive in ((found.dead_outputs, nonzero.any(axis=1)), (found.dead_inputs, nonzero.any(axis=0))):
        assert [n for first, last in runs for n in range(first, last + 1)] == np.flatnonzero(~alive).tolist()
        assert all(after[0] > before[1] + 1 for before, after in pairwise(runs))
    assert found.nonzeros == nonzero.sum()
    assert found.density == pytest.approx(nonzero.mean())


def test_dead_filters_and_channels_of_groups_are_named_by_their_place_in_the_whole_layer() -> None:
    weight = Weight("a", "weight", "conv", ("M", "C", "R", "S"), (8, 4, 1, 1), 2)
    (placement,) = plan([weight], (Pattern.parse("unstructured"), 0.5), Choice(first=True))
    nonzero = np.ones((8, 4, 1, 1), bool)
    nonzero[5] = False
    nonzero[:4, 2] = False  # the third channel of the first group
    nonzero[4:, 3] = False  # the last one of the second
    found = described(placement, nonzero)
    assert found.dead_outputs == ((5, 5),)
    assert found.dead_inputs == ((2, 2), (7, 7))


@pytest.mark.parametrize("density", [0.1, 0.25, 0.5, 0.75, 1.0])
def test_a_mask_keeps_a_block_in_every_block_row_and_column_or_the_dead_channels_are_named(
    users: Path, density: float
) -> None:
    found = prune(settings_of(users, pattern="block(M:4, C:4)", density=density, epochs=0), users / "out")
    masks = np.load(users / "out" / MASKS, allow_pickle=False)
    for weight in found.weights[1:]:
        blocks = masks[weight.name].reshape(weight.shape[0] // 4, 4, weight.shape[1] // 4, 4).any(axis=(1, 3))
        for runs, alive in ((weight.dead_outputs, blocks.any(axis=1)), (weight.dead_inputs, blocks.any(axis=0))):
            named = {n // 4 for first, last in runs for n in range(first, last + 1)}
            assert named == set(np.flatnonzero(~alive).tolist())


# finished runs, and folders of others


def test_a_finished_run_is_read_and_nothing_is_done_again(users: Path) -> None:
    settings = settings_of(users, epochs=1)
    first = prune(settings, users / "out")
    before = snapshot(users / "out")
    told: list[object] = []
    again = prune(settings, users / "out", lambda *done: told.append(done))
    assert (again, told) == (first, [])
    assert snapshot(users / "out") == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 3}, "seed 3 for 0"),
        ({"pattern": "C0(1:4)"}, r"pattern 'C0\(1:4\)' for 'C0\(2:4\)'"),
        ({"epochs": 3, "first": True}, "epochs 3 for 1, first True for False"),
    ],
)
def test_other_settings_are_refused_with_both_values_and_nothing_changes(
    users: Path, change: dict[str, Any], said: str
) -> None:
    settings = settings_of(users, epochs=1)
    prune(settings, users / "out")
    refused(replace(settings, **change), users / "out", f"holds a finished run with other settings: {said}")


def cut_run(settings: Settings, folder: Path, phase: str, epoch: int, done: int = 2) -> None:
    """Stop a run in the middle of an epoch."""

    def watch(now: str, at: int, _: int, batch: int, __: int | None) -> None:
        if (now, at, batch) == (phase, epoch, done):
            raise Cut

    with pytest.raises(Cut):
        prune(settings, folder, watch)


def test_other_settings_of_an_unfinished_run_are_refused_and_it_can_go_on(users: Path) -> None:
    settings = settings_of(users, pretrain=1)
    cut_run(settings, users / "out", "pruned", 1)
    refused(replace(settings, learning_rate=0.5), users / "out", "holds an unfinished run with other settings")
    prune(settings, users / "out")
    prune(settings, users / "straight")
    assert_same(users / "out", users / "straight")


def test_a_folder_with_other_files_is_not_written_to(users: Path) -> None:
    (users / "out").mkdir()
    (users / "out" / "thesis.tex").write_text("x")
    refused(settings_of(users), users / "out", "holds other files")


def test_a_file_in_place_of_the_folder_is_refused(users: Path) -> None:
    (users / "out").write_text("x")
    refused(settings_of(users), users / "out", "is no folder")


def test_an_empty_folder_is_written_to(users: Path) -> None:
    (users / "out").mkdir()
    assert isinstance(prune(settings_of(users, epochs=0), users / "out"), Record)


def test_a_record_that_cannot_be_read_is_refused(users: Path) -> None:
    weights = '{"settings": {"model": "a"}, "weights": ["x"], "accuracies": {}, "history": []}'
    other = '{"settings": {"model": "a", "colour": 1}, "weights": []}'
    for text in ("", "{", "[]", "{}", '{"settings": {}}', other, weights):
        (users / "out").mkdir(exist_ok=True)
        (users / "out" / RECORD).write_text(text)
        refused(settings_of(users), users / "out", "this is no record of a pruning")


def test_a_folder_without_a_record_says_whether_the_run_was_cut(users: Path) -> None:
    with pytest.raises(InputError, match=f"has no {RECORD}"):
        record.read(users / "out")
    cut_run(settings_of(users, pretrain=2), users / "out", "dense", 1)
    with pytest.raises(InputError, match="is a run that was cut") as caught:
        trained(users / "out")
    assert "it goes on" in caught.value.faults[0].fix


def test_a_record_reads_back_as_it_was_written(users: Path) -> None:
    found = prune(settings_of(users, layers=(("4", "block(M:4, C:4)", 0.5),), epochs=1), users / "out")
    found.to_json(users / "again.json")
    assert (users / "again.json").read_bytes() == (users / "out" / RECORD).read_bytes()


# cuts


SCHEDULES: list[dict[str, Any]] = [
    {"schedule": "once"},
    {"schedule": "gradual"},
    {"schedule": "incremental", "importance": "fisher"},
    {"schedule": "gradual", "importance": "hessian"},
    {"schedule": "layerwise", "optimiser": "sgd"},
    {"schedule": "penalty", "pattern": "block(M:4, C:4)", "density": 0.5},
    {"schedule": "fixed"},
]


def ends_as_if_not_cut(settings: Settings, folder: Path, cuts: list[tuple[str, int]]) -> None:
    prune(settings, folder / "straight")
    for phase, epoch in cuts:
        cut_run(settings, folder / f"{phase}{epoch}", phase, epoch)
        prune(settings, folder / f"{phase}{epoch}")
        assert_same(folder / "straight", folder / f"{phase}{epoch}")


CUTS = [("dense", 0), ("pruned", 1), ("pruned", 3)]


@pytest.mark.parametrize("change", SCHEDULES, ids=lambda change: "-".join(map(str, change.values())))
def test_a_run_that_is_cut_in_mid_epoch_ends_as_if_it_had_not_been(users: Path, change: dict[str, Any]) -> None:
    ends_as_if_not_cut(settings_of(users, pretrain=2, epochs=4, **change), users, CUTS)


@pytest.mark.parametrize(("pretrain", "cut"), [(1, ("pruned", 0)), (2, ("pruned", 0)), (2, ("dense", 1))])
def test_a_run_that_is_cut_in_the_first_pruned_epoch_or_a_later_dense_one_ends_as_if_it_had_not_been(
    users: Path, pretrain: int, cut: tuple[str, int]
) -> None:
    ends_as_if_not_cut(settings_of(users, pretrain=pretrain, epochs=2), users, [cut])


def test_a_run_in_8_bits_that_is_cut_ends_as_if_it_had_not_been(users: Path) -> None:
    """Of its 32 batches, shuffled, the first ten calibrate it."""
    cuts = [("pruned", 1), ("int8", 0), ("int8", 1)]
    ends_as_if_not_cut(settings_of(users, epochs=2, int8=2, batch=2), users, cuts)
    expected = torch.load(users / "straight" / QUANTISED, weights_only=True)
    for phase, epoch in cuts:
        found = torch.load(users / f"{phase}{epoch}" / QUANTISED, weights_only=True)
        assert list(found) == list(expected)
        assert all(torch.equal(value, expected[key]) for key, value in found.items())


def test_a_run_with_dropout_and_running_statistics_that_is_cut_ends_as_if_it_had_not_been(users: Path) -> None:
    model = f"{users / 'users_model.py'}:build_with_dropout"
    ends_as_if_not_cut(settings_of(users, model=model, pretrain=2, epochs=4, schedule="gradual"), users, CUTS)


def test_a_run_that_is_cut_again_and_again_ends_the_same(users: Path) -> None:
    settings = settings_of(users, pretrain=1, epochs=4, schedule="gradual")
    prune(settings, users / "straight")
    for epoch in (1, 1, 2, 3):
        cut_run(settings, users / "out", "pruned", epoch)
    prune(settings, users / "out")
    assert_same(users / "straight", users / "out")


def test_a_run_that_goes_on_does_not_repeat_whole_epochs(users: Path) -> None:
    settings = settings_of(users, epochs=4)
    cut_run(settings, users / "out", "pruned", 2)
    told: list[tuple[str, int]] = []
    prune(settings, users / "out", lambda phase, epoch, *_: told.append((phase, epoch)))
    assert sorted(set(told)) == [("pruned", 2), ("pruned", 3)]


def killed(arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_after_sigkill_in_mid_epoch_a_run_ends_with_identical_weights_and_record(users: Path) -> None:
    """Killed behind a batch, and in a user's loader of data."""
    usual = settings_of(users, pretrain=2, epochs=3, schedule="incremental")
    loader = settings_of(users, data=f"{users / 'users_model.py'}:killing_data", epochs=3)
    (users / "kill-at").write_text("11")  # the third batch of the third epoch
    cases = {"watch": (usual, ["pruned", 2, 1]), "loader": (loader, [])}
    runs = {
        name: killed([json.dumps(asdict(settings)), str(users / name), json.dumps(cut)])
        for name, (settings, cut) in cases.items()
    }
    for name, process in runs.items():
        _, errors = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, errors
        assert (users / name / CHECKPOINT).is_file()
        assert not (users / name / RECORD).exists()
    (users / "kill-at").unlink()
    for name, (settings, _) in cases.items():
        straight = users / f"{name}-straight"
        prune(settings, straight)
        prune(settings, users / name)
        assert_same(straight, users / name)


def test_a_file_that_was_being_written_when_the_run_was_killed_does_not_matter(users: Path) -> None:
    settings = settings_of(users)
    prune(settings, users / "straight")
    (users / "out").mkdir()
    (users / "out" / "checkpoint.pt.part").write_bytes(b"half a che")
    prune(settings, users / "out")
    assert_same(users / "straight", users / "out")
    assert not list((users / "out").glob("*.part"))


# bad input


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("way", ["torch", "pickle", "inside"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not(users: Path, way: str) -> None:
    evil, path = Evil(users / "ran"), users / "w.pt"
    if way == "pickle":
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil if way == "torch" else {"0.weight": torch.zeros(16, 8), "x": evil}, path)
    refused(settings_of(users, weights=str(path)), users / "out", "cannot load it as plain tensors")
    assert not (users / "ran").exists()


def test_a_checkpoint_that_wants_to_run_code_is_refused_and_does_not(users: Path) -> None:
    (users / "out").mkdir()
    torch.save({"settings": Evil(users / "ran")}, users / "out" / CHECKPOINT)
    refused(settings_of(users), users / "out", "cannot load it as plain tensors")
    assert not (users / "ran").exists()


@pytest.mark.parametrize(
    "value", [{}, [], {"settings": {"model": "a"}, "colour": 1}, {"settings": {"colour": 1}}, {"settings": 3}]
)
def test_a_checkpoint_of_something_else_is_refused(users: Path, value: object) -> None:
    (users / "out").mkdir()
    torch.save(value, users / "out" / CHECKPOINT)
    refused(settings_of(users), users / "out", "this is no checkpoint of a pruning")


def test_a_checkpoint_that_is_cut_short_is_refused(users: Path) -> None:
    cut_run(settings_of(users), users / "out", "pruned", 1)
    path = users / "out" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:200])
    refused(settings_of(users), users / "out", "cannot load it as plain tensors")


def weights_file(users: Path, change: Any) -> str:
    torch.manual_seed(0)
    state = build(f"{users / 'users_model.py'}:build").state_dict()
    torch.save(change(state), users / "w.pt")
    return str(users / "w.pt")


def test_a_state_dict_with_other_keys_names_each(users: Path) -> None:
    path = weights_file(users, lambda state: {key.replace("2.", "second."): value for key, value in state.items()})
    error = refused(settings_of(users, weights=path), users / "out", "the model's 2.weight is missing")
    whats = [fault.what for fault in error.faults]
    assert whats == [
        "the model's 2.weight is missing",
        "the model's 2.bias is missing",
        "second.weight is not of this model",
        "second.bias is not of this model",
    ]
    assert all(fault.where == path for fault in error.faults)


def test_a_state_dict_with_other_shapes_names_both(users: Path) -> None:
    path = weights_file(users, lambda state: {**state, "2.weight": torch.zeros(16, 12), "4.bias": torch.zeros(5)})
    error = refused(settings_of(users, weights=path), users / "out", "2.weight has shape")
    assert [fault.what for fault in error.faults] == [
        "2.weight has shape (16, 12), the model's has (16, 16)",
        "4.bias has shape (5,), the model's has (4,)",
    ]


def test_of_many_wrong_keys_ten_are_shown_and_the_others_counted(users: Path) -> None:
    path = weights_file(users, lambda state: {f"other{n}": torch.zeros(1) for n in range(9)})
    error = refused(settings_of(users, weights=path), users / "out", "and 5 more")
    assert len(error.faults) == 11


def test_a_state_dict_with_numbers_for_keys_is_refused(users: Path) -> None:
    path = weights_file(users, lambda state: {0: torch.zeros(1)})
    error = refused(settings_of(users, weights=path), users / "out", "0 is not of this model")
    assert len(error.faults) == 7  # the model's six are missing


@pytest.mark.parametrize(
    "change", [lambda state: list(state.values()), lambda state: {"epoch": 3, **state}, lambda state: 3]
)
def test_a_file_without_a_state_dict_of_tensors_is_refused(users: Path, change: Any) -> None:
    refused(settings_of(users, weights=weights_file(users, change)), users / "out", "no state dict of tensors")


@pytest.mark.parametrize("content", [b"", b"not a file of torch", b"PK\x03\x04" + b"\0" * 50])
def test_a_file_that_torch_did_not_write_is_refused(users: Path, content: bytes) -> None:
    (users / "w.pt").write_bytes(content)
    refused(settings_of(users, weights=str(users / "w.pt")), users / "out", "cannot load it as plain tensors")


def test_a_weights_file_that_is_missing_is_named(users: Path) -> None:
    refused(settings_of(users, weights=str(users / "none.pt")), users / "out", r"there is no file .*none\.pt")


def test_a_state_dict_inside_a_checkpoint_of_another_tool_is_found(users: Path) -> None:
    path = weights_file(users, lambda state: {"state_dict": state, "epoch": 7})
    torch.manual_seed(5)
    model = build(f"{users / 'users_model.py'}:build")
    load_weights(model, Path(path))
    expected = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_a_model_is_not_changed_by_weights_that_are_refused(users: Path) -> None:
    path = weights_file(users, lambda state: {key: value + 1 for key, value in state.items() if key != "4.bias"})
    model = build(f"{users / 'users_model.py'}:build")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError, match=r"the model's 4\.bias is missing"):
        load_weights(model, Path(path))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_weights_that_are_no_numbers_are_refused_by_their_layer(users: Path) -> None:
    path = weights_file(users, lambda state: {**state, "2.weight": torch.full((16, 16), float("nan"))})
    with pytest.raises(InputError, match="2 has 256 values of 256 that are NaN or infinite"):
        prune(settings_of(users, weights=path), users / "out")
    assert not (users / "out" / RECORD).exists()
    assert not (users / "out" / WEIGHTS).exists()


def test_weights_that_are_no_numbers_leave_nothing_behind_and_can_be_mended(users: Path) -> None:
    path = weights_file(users, lambda state: {**state, "2.weight": torch.full((16, 16), float("nan"))})
    settings = settings_of(users, weights=path)
    refused(settings, users / "out", "NaN or infinite")
    weights_file(users, lambda state: state)
    assert [weight.density for weight in prune(settings, users / "out").weights] == [1.0, 0.5, 0.5]


def test_a_model_and_data_that_are_at_fault_are_named_together(users: Path) -> None:
    settings = settings_of(users, model="lenet", data=f"{users / 'nothing.py'}:data")
    error = refused(settings, users / "out", "no model is called 'lenet'")
    assert len(error.faults) == 2
    assert "did you mean 'lenet5'?" in error.faults[0].fix
    assert "there is no file" in error.faults[1].what


def test_a_function_that_returns_no_model_is_refused(users: Path) -> None:
    refused(settings_of(users, model=f"{users / 'users_model.py'}:data"), users / "out", "returned a tuple")


def test_all_settings_that_are_at_fault_are_named_together(users: Path) -> None:
    settings = settings_of(
        users, pattern="C0(2:", learning_rate=0.0, optimiser="adam", batch=0, importance="fischer", norm="l3", schedule="gradul"
    )  # fmt: skip
    error = refused(settings, users / "out", "cannot read the pattern")
    texts = " ".join(str(fault) for fault in error.faults)
    for said in (
        "the learning rate is 0",
        "no optimiser is called 'adam'",
        "batches of 0",
        "did you mean 'fisher'",
        "no norm is called 'l3'",
        "did you mean 'gradual'",
    ):
        assert said in texts


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": -1}, "-1 epochs"),
        ({"pretrain": -2}, "-2 epochs"),
        ({"learning_rate": float("nan")}, "the learning rate is nan"),
        ({"schedule": "gradual", "prune_epochs": 5}, "gradual pruning takes 5 epochs, there are 2"),
        ({"schedule": "penalty", "penalty": -1.0}, "the penalty is -1"),
        ({"schedule": "penalty", "penalty": float("nan")}, "the penalty is nan"),
        ({"weight_decay": -1.0}, "the weight decay is -1"),
        ({"weight_decay": float("nan")}, "the weight decay is nan"),
        ({"seed": -1}, "the seed is -1"),
        ({"pattern": "unstructured"}, "admits several densities"),
        ({"pattern": "C0({G<=2}:4)", "density": 0.3}, "has no density"),
        ({"density": float("nan")}, "is not between 0 and 1"),
        ({"pattern": "K0(2:4)"}, "rank K0"),
        ({"pattern": "C->RS(4:9)"}, "rank RS has 1 coordinates"),
        ({"only": "nothing"}, "no weight is left to prune"),
        ({"skip": "["}, "cannot read the expression"),
        ({"layers": (("9", "C0(2:4)", None),)}, "the model has no weight 9"),
        ({"layers": (("2", "C0(2:", None),)}, "cannot read the pattern"),
    ],
)
def test_settings_that_fit_nothing_are_refused_before_anything_is_written(
    users: Path, change: dict[str, Any], said: str
) -> None:
    refused(settings_of(users, **change), users / "out", said)


DATA = """
import torch
x, y = torch.randn(32, 8), torch.arange(32) % 4
def one_hot(): return [(x, x[:, :4])], [(x, y)]
def many_classes(): return [(x, torch.arange(32))], [(x, y)]
def negative(): return [(x, y - 1)], [(x, y)]
def too_wide(): return [(torch.zeros(32, 9), y)], [(x, y)]
def three(): return [(x, y, y)], [(x, y)]
def numbers(): return [(x, 3)], [(x, y)]
def images(): return [(torch.zeros(32, 1, 8, 8), y)], [(x, y)]
def nothing(): return [], [(x, y)]
def no_validation(): return [(x, y)], []
def empty(): return (x[:0], y[:0]), (x, y)
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("one_hot", r"targets are of shape \(32, 4\) and type float32"),
        ("many_classes", "targets run from 0 to 31, the model has 4 classes"),
        ("negative", "targets run from -1 to 2, the model has 4 classes"),
        ("too_wide", r"the model cannot take inputs of shape \(32, 9\)"),
        ("three", "a batch is a tuple of 3 parts"),
        ("numbers", "targets being a tensor"),
        ("images", r"shape \(32, 1, 8, 4\) for 32 samples"),
        ("nothing", "the training split has no batches"),
        ("no_validation", "the validation split of .* has no samples"),
        ("empty", "a batch has no samples"),
    ],
)
def test_data_that_do_not_go_with_the_model_are_refused(users: Path, name: str, said: str) -> None:
    (users / "users_bad.py").write_text(DATA)
    with pytest.raises(InputError, match=said) as caught:
        prune(settings_of(users, data=f"{users / 'users_bad.py'}:{name}"), users / "out")
    assert caught.value.faults[0].fix
    assert not (users / "out" / RECORD).exists()


ALIKE = """
import torch
x, y = torch.randn(32, 8), torch.arange(32) % 4
def wide(): return (torch.zeros(32, 9), y), (torch.zeros(32, 9), y)
def double(): return (x.double(), y), (x.double(), y)
def three(): return [(x, y, y)], [(x, y, y)]
def number(): return [(x, 3)], [(x, 3)]
def text(): return "abc", "def"
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wide", r"the model cannot take inputs of shape \(16, 9\)"),
        ("double", r"the model cannot take inputs of shape \(16, 8\): .*dtype"),
        ("three", "a batch is a tuple of 3 parts"),
        ("number", "targets being a tensor"),
        ("text", "the train split is a str"),
    ],
)
def test_data_that_are_wrong_in_all_splits_are_refused_too(users: Path, name: str, said: str) -> None:
    """The example that orders the layers is the first sample of the validation split."""
    (users / "users_bad.py").write_text(ALIKE)
    with pytest.raises(InputError, match=said) as caught:
        prune(settings_of(users, data=f"{users / 'users_bad.py'}:{name}"), users / "out")
    assert caught.value.faults[0].fix
    assert not (users / "out" / RECORD).exists()


def test_data_that_are_infinite_are_refused_without_a_warning_of_torch(users: Path) -> None:
    (users / "users_bad.py").write_text("""
import torch
x, y = torch.randn(32, 8), torch.arange(32) % 4
def infinite(): return [(x * float("inf"), y)], [(x, y)]
""")
    with pytest.raises(InputError, match="the loss is nan in epoch 1, batch 1"):
        prune(settings_of(users, data=f"{users / 'users_bad.py'}:infinite"), users / "out")


def test_a_layer_may_have_the_name_file(users: Path) -> None:
    """That of the first argument of NumPy's savez."""
    (users / "users_file.py").write_text(f"""{USERS}
class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.file = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.file(self.first(x))
""")
    prune(settings_of(users, model=f"{users / 'users_file.py'}:Named"), users / "out")
    with np.load(users / "out" / MASKS, allow_pickle=False) as masks:
        assert masks.files == ["file"]
        np.testing.assert_array_equal(masks["file"], weights_in(users / "out")["file.weight"].numpy() != 0)


def test_a_run_whose_model_changed_since_it_was_cut_is_refused(users: Path) -> None:
    settings = settings_of(users)
    cut_run(settings, users / "out", "pruned", 1)
    (users / "users_model.py").write_text(NARROWER)
    refused(settings, users / "out", "the model is not the one that was cut")


def test_a_finished_run_whose_model_changed_is_refused(users: Path) -> None:
    prune(settings_of(users, epochs=0), users / "out")
    (users / "users_model.py").write_text(NARROWER)
    with pytest.raises(InputError, match=r"2\.weight has shape"):
        trained(users / "out")


def test_a_finished_run_is_loaded_with_its_model(users: Path) -> None:
    found = prune(settings_of(users, epochs=1), users / "out")
    again, model = trained(users / "out")
    assert again == found
    assert isinstance(model, nn.Module)
    assert all(torch.equal(value, weights_in(users / "out")[key]) for key, value in model.state_dict().items())
