"""Data to train with: files that the tests write, functions of users, and what is wrong with either."""

from __future__ import annotations

import gzip
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from sparseloom.errors import InputError
from sparseloom.prune.data import Batches, Data, digits, given, images, load, one
from sparseloom.prune.reference import resolve

Bytes = NDArray[np.uint8]
TRAIN, TEST = 30, 7


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def idx(array: Bytes) -> bytes:
    """The IDX format: two zeros, 8 for bytes, the number of ranks, their sizes, the values."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder: Path, side: int = 28) -> dict[str, Bytes]:
    """The four files; also as arrays by their names."""
    arrays = {}
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        arrays[f"{part}-images-idx3-ubyte"] = rng().integers(0, 256, (count, side, side), np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    for name, array in arrays.items():
        (folder / name).write_bytes(idx(array))
    return arrays


CIFAR = [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]


def write_cifar10(folder: Path, records: int = 6) -> dict[str, Bytes]:
    """Records of a class and 3 x 32 x 32 bytes in each of the six files."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for number, name in enumerate(CIFAR):
        array = np.random.default_rng(number).integers(0, 256, (records, 3073), np.uint8)
        array[:, 0] %= 10
        arrays[name] = array
        (folder / name).write_bytes(array.tobytes())
    return arrays


def whole(batches: Any) -> tuple[Tensor, Tensor]:
    parts = list(batches)
    return torch.cat([inputs for inputs, _ in parts]), torch.cat([targets for _, targets in parts])


def as_set(inputs: Tensor, targets: Tensor) -> set[tuple[bytes, int]]:
    """Samples without an order; pixels as whole numbers again."""
    pixels = (inputs * 255).round().to(torch.uint8).numpy()
    return {(picture.tobytes(), int(target)) for picture, target in zip(pixels, targets, strict=True)}


# MNIST


@pytest.mark.parametrize("form", ["plain", "packed", "dotted"])
def test_mnist_is_read_from_its_four_files(tmp_path: Path, form: str) -> None:
    arrays = write_mnist(tmp_path)
    for name in arrays:
        if form == "packed":
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
            (tmp_path / name).unlink()
        if form == "dotted":
            (tmp_path / name).rename(tmp_path / name.replace("-idx", ".idx"))
    data = load(f"mnist:{tmp_path}", batch=4)
    parts = [whole(part) for part in (data.train, data.validation, data.test)]
    assert [tuple(inputs.shape) for inputs, _ in parts] == [(27, 1, 28, 28), (3, 1, 28, 28), (7, 1, 28, 28)]
    assert all(inputs.dtype == torch.float32 and targets.dtype == torch.int64 for inputs, targets in parts)
    pixels = arrays["t10k-images-idx3-ubyte"]
    np.testing.assert_allclose(parts[2][0].numpy()[:, 0], pixels / 255, rtol=1e-6)
    assert parts[2][1].tolist() == arrays["t10k-labels-idx1-ubyte"].tolist()
    pictures = arrays["train-images-idx3-ubyte"]
    expected = {(p.tobytes(), int(c)) for p, c in zip(pictures, arrays["train-labels-idx1-ubyte"], strict=True)}
    assert as_set(*parts[0]) | as_set(*parts[1]) == expected
    assert not as_set(*parts[0]) & as_set(*parts[1])
    assert not torch.equal(whole(data.train)[0], parts[0][0])  # another order each epoch
    assert torch.equal(whole(data.validation)[0], parts[1][0])


def test_the_same_tenth_validates_whatever_the_seed(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        found.append(whole(load(f"mnist:{tmp_path}").validation)[0])
    assert torch.equal(*found)


@pytest.mark.parametrize("missing", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"])
def test_a_file_of_mnist_that_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    write_mnist(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=f"there is no {missing}") as caught:
        load(f"mnist:{tmp_path}")
    assert str(tmp_path) in str(caught.value)


def broken(change: Callable[[bytes], bytes], tmp_path: Path, name: str = "train-images-idx3-ubyte") -> str:
    write_mnist(tmp_path)
    path = tmp_path / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        load(f"mnist:{tmp_path}")
    (fault,) = caught.value.faults
    assert fault.fix
    assert str(tmp_path) in str(fault)
    return str(fault)


def test_a_truncated_file_says_both_numbers_of_bytes(tmp_path: Path) -> None:
    text = broken(lambda raw: raw[:-5], tmp_path)
    assert "the header says 23,520 bytes, 23,515 follow" in text
    assert "train-images-idx3-ubyte" in text


def test_a_file_with_bytes_behind_its_end_is_refused(tmp_path: Path) -> None:
    assert "the header says 7 bytes, 8 follow" in broken(lambda raw: raw + b"x", tmp_path, "t10k-labels-idx1-ubyte")


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: b"",
        lambda raw: raw[:10],
        lambda raw: b"\x00\x01" + raw[2:],
        lambda raw: raw[:2] + b"\x0d" + raw[3:],  # floats
        lambda raw: raw[:3] + b"\x01" + raw[4:],  # labels where pictures are wanted
        lambda raw: b"<html>not found</html>" * 100,
    ],
)
def test_a_wrong_magic_number_is_no_idx_file(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    assert "this is no IDX file of bytes" in broken(change, tmp_path)


@pytest.mark.parametrize(
    "raw",
    [
        b"hello",
        gzip.compress(bytes((0, 0, 8, 3)) + bytes(100))[:20],  # cut short
        gzip.compress(bytes(500))[:10] + b"\xff" * 20,  # damaged behind the head
    ],
)
def test_a_packed_file_that_is_broken_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(raw)
    with pytest.raises(InputError, match="cannot unpack it") as caught:
        load(f"mnist:{tmp_path}")
    assert "train-images-idx3-ubyte.gz" in caught.value.faults[0].where


def test_sizes_whose_product_overflows_64_bits_are_refused(tmp_path: Path) -> None:
    """It is 2^64, so that 64 bits have 0 for it, and 0 bytes follow."""
    head = bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**31, 2**31, 4)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(head)
    with pytest.raises(InputError, match="the header says 18,446,744,073,709,551,616 bytes, 0 follow"):
        load(f"mnist:{tmp_path}")


def test_pictures_and_labels_that_differ_in_number_are_refused(tmp_path: Path) -> None:
    text = broken(lambda raw: idx(np.zeros(4, np.uint8)), tmp_path, "train-labels-idx1-ubyte")
    assert "train has 30 pictures and 4 labels" in text


# CIFAR-10


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin"])
def test_cifar10_is_read_from_its_binary_files(tmp_path: Path, below: str) -> None:
    arrays = write_cifar10(tmp_path / below)
    data = load(f"cifar10:{tmp_path}", batch=5)
    parts = [whole(part) for part in (data.train, data.validation, data.test)]
    assert [tuple(inputs.shape) for inputs, _ in parts] == [(27, 3, 32, 32), (3, 3, 32, 32), (6, 3, 32, 32)]
    test = arrays["test_batch.bin"]
    assert parts[2][1].tolist() == test[:, 0].tolist()
    np.testing.assert_allclose(parts[2][0].numpy().reshape(6, -1), test[:, 1:] / 255, rtol=1e-6)
    assert parts[2][0][1, 2, 3, 4].item() == pytest.approx(test[1, 1 + 2 * 1024 + 3 * 32 + 4] / 255)
    every = np.concatenate([arrays[name] for name in CIFAR[:5]])
    expected = {(record[1:].tobytes(), int(record[0])) for record in every}
    assert as_set(*parts[0]) | as_set(*parts[1]) == expected


@pytest.mark.parametrize("missing", ["data_batch_3.bin", "test_batch.bin"])
def test_a_file_of_cifar10_that_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    write_cifar10(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=f"there is no {missing}"):
        load(f"cifar10:{tmp_path}")


def test_cifar10_in_pickles_is_not_read(tmp_path: Path) -> None:
    """The Python version of the data set: its files are named without .bin."""
    write_cifar10(tmp_path)
    for name in CIFAR:
        (tmp_path / name).rename(tmp_path / name.removesuffix(".bin"))
    with pytest.raises(InputError, match="pickles are not read"):
        load(f"cifar10:{tmp_path}")


def test_a_cifar10_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="18,437 bytes are no whole number of records of 3,073") as caught:
        load(f"cifar10:{tmp_path}")
    assert "data_batch_2.bin" in caught.value.faults[0].where


# digits


def test_digits_are_three_splits_with_the_classes_in_equal_shares() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    data = load("digits", batch=100)
    parts = [whole(part) for part in (data.train, data.validation, data.test)]
    assert [tuple(inputs.shape) for inputs, _ in parts] == [(1077, 1, 8, 8), (360, 1, 8, 8), (360, 1, 8, 8)]
    assert all(inputs.min() >= 0 and inputs.max() <= 1 for inputs, _ in parts)
    shares = [np.bincount(targets.numpy(), minlength=10) / len(targets) for _, targets in parts]
    for other in shares[1:]:
        np.testing.assert_allclose(other, shares[0], atol=0.005)
    again = load("digits", batch=7)
    assert torch.equal(whole(again.validation)[0], parts[1][0])
    assert torch.equal(whole(again.test)[0], parts[2][0])


def test_digits_can_be_enlarged() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    small, large = whole(digits().test)[0], whole(digits(side=16).test)[0]
    assert tuple(large.shape) == (360, 1, 16, 16)
    back = torch.nn.functional.avg_pool2d(large, 2)
    assert (back - small).abs().mean() < 0.1


# folders of pictures


def write_pictures(
    folder: Path, splits: tuple[str, ...], classes: tuple[str, ...] = ("cat", "dog"), each: int = 3
) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for split in splits:
        for number, name in enumerate(classes):
            (folder / split / name).mkdir(parents=True)
            for picture in range(each):
                shade = (10 * picture, 100 * number, 255)
                image.new("RGB", (40 + picture, 30), shade).save(folder / split / name / f"{picture}.png")


def test_pictures_are_read_by_class_and_every_second_of_the_validation_tests(tmp_path: Path) -> None:
    write_pictures(tmp_path, ("train", "val"), each=4)
    data = images(tmp_path, batch=3, side=14)
    inputs, targets = whole(data.train)
    assert tuple(inputs.shape) == (8, 3, 14, 14)
    assert sorted(targets.tolist()) == [0] * 4 + [1] * 4
    validation, test = whole(data.validation), whole(data.test)
    assert [len(part[1]) for part in (validation, test)] == [4, 4]
    assert validation[1].tolist() == test[1].tolist() == [0, 0, 1, 1]
    reds = [sorted({round(float(value), 3) for value in part[0][:, 0, 0, 0]}) for part in (validation, test)]
    assert not set(reds[0]) & set(reds[1])


def test_pictures_have_the_means_and_deviations_of_imagenet(tmp_path: Path) -> None:
    write_pictures(tmp_path, ("train", "validation", "test"), each=1)
    data = images(tmp_path, side=14)
    inputs, targets = whole(data.test)
    assert targets.tolist() == [0, 1]
    for number, green in enumerate((0, 100)):
        shade = (np.array([0, green, 255]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        np.testing.assert_allclose(
            inputs[number].numpy(), np.broadcast_to(shade[:, None, None], (3, 14, 14)), rtol=1e-5
        )


def test_folders_that_are_missing_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(f"images:{tmp_path}")
    first, second = (fault.what for fault in caught.value.faults)
    assert first == f"{tmp_path} has no folder train"
    assert second == f"{tmp_path} has no folder val or validation"


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    for name in ("train/cat", "val/cat"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(InputError, match="has no pictures of the 1 classes"):
        load(f"images:{tmp_path}")


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for name in ("train/a", "val/a"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot read the picture") as caught:
        list(images(tmp_path).train)
    assert caught.value.faults[0].where == str(tmp_path / "train" / "a" / "x.png")


# functions of users


def pair(samples: int = 6) -> tuple[Tensor, Tensor]:
    return torch.arange(samples * 2.0).reshape(samples, 2), torch.arange(samples) % 2


@pytest.mark.parametrize(
    "value",
    [
        (pair(), pair()),
        [pair(), pair()],
        {"train": pair(), "validation": pair()},
        {"validation": pair(), "train": pair()},
        (TensorDataset(*pair()), TensorDataset(*pair())),
        (DataLoader(TensorDataset(*pair()), 4), DataLoader(TensorDataset(*pair()), 4)),
        ([pair(4), pair(2)], [pair(4), pair(2)]),
        (tuple(array.numpy() for array in pair()), tuple(array.numpy() for array in pair())),
        Data("own", Batches(*pair()), Batches(*pair())),
    ],
)
def test_a_function_may_return_arrays_datasets_loaders_and_lists_of_batches(value: object) -> None:
    data = given("f", value, batch=4)
    assert data.test is None
    for part in (data.train, data.validation):
        for _ in range(2):  # two epochs
            inputs, targets = whole(part)
            assert tuple(inputs.shape) == (6, 2)
            assert sorted(targets.tolist()) == [0, 0, 0, 1, 1, 1]


def test_a_third_split_is_the_test() -> None:
    for value in ((pair(), pair(4), pair(2)), {"train": pair(), "test": pair(2), "validation": pair(4)}):
        data = given("f", value)
        assert data.test is not None
        assert [len(whole(part)[1]) for part in (data.train, data.validation, data.test)] == [6, 4, 2]


@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_only_the_training_split_is_shuffled(kind: str) -> None:
    torch.manual_seed(0)
    value = (pair(64), pair(64), pair(64)) if kind == "arrays" else tuple(TensorDataset(*pair(64)) for _ in range(3))
    data = given("f", value, batch=16)
    assert data.test is not None
    assert torch.equal(whole(data.validation)[0], pair(64)[0])
    assert torch.equal(whole(data.test)[0], pair(64)[0])
    inputs, _ = whole(data.train)
    assert not torch.equal(inputs, pair(64)[0])
    assert torch.equal(inputs.sort(dim=0).values, pair(64)[0])


def test_batches_have_the_size_asked_for_and_their_targets() -> None:
    batches = Batches(*pair(10), 4, shuffle=True)
    parts = list(batches)
    assert len(batches) == 3
    assert [len(targets) for _, targets in parts] == [4, 4, 2]
    for inputs, targets in parts:
        assert torch.equal(inputs[:, 0] / 2 % 2, targets.float())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "f returned a NoneType"),
        (3, "f returned a int"),
        ([], "f returned 0 values"),
        ((pair(),), "f returned 1 values"),
        ((pair(),) * 4, "f returned 4 values"),
        ({"train": pair()}, "f returned no validation split"),
        ({"train": pair(), "test": pair()}, "f returned no validation split"),
        ((1, 2), "the train split is a int"),
        ((pair(), None), "the validation split is a NoneType"),
        (("abc", "def"), "the train split is a str"),
    ],
)
def test_a_function_that_returns_something_else_is_told_what_to_return(value: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        given("f", value)
    assert said in caught.value.faults[0].what
    assert caught.value.faults[0].fix


def test_a_mapping_without_both_splits_names_both() -> None:
    with pytest.raises(InputError) as caught:
        given("f", {"test": pair()})
    assert [fault.what for fault in caught.value.faults] == [
        f"f returned no {s} split" for s in ("train", "validation")
    ]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_iterator_is_used_up_after_one_epoch_and_refused(split: str) -> None:
    value: dict[str, object] = {name: pair() for name in ("train", "validation", "test")}
    value[split] = iter([pair()])
    with pytest.raises(InputError, match=f"the {split} split is an iterator that is used up after one epoch"):
        given("f", value)
    value[split] = (batch for batch in [pair()])
    with pytest.raises(InputError, match="used up after one epoch"):
        given("f", value)


def test_inputs_and_targets_that_differ_in_number_are_refused() -> None:
    with pytest.raises(InputError, match="the validation split has 6 inputs and 4 targets"):
        given("f", (pair(), (pair(6)[0], pair(4)[1])))


class Squares(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index >= 5:
            raise IndexError(index)
        return torch.tensor([float(index**2)]), index % 2


class Stream(IterableDataset[tuple[Tensor, int]]):
    """Samples in a row, without a length."""

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return ((torch.full((2,), float(n)), n % 2) for n in range(5))


def test_a_dataset_without_a_length_gives_batches_in_its_order_each_epoch() -> None:
    found = given("f", (Stream(), Stream()), batch=2)
    assert isinstance(found, Data)
    for _ in range(2):  # two epochs
        batches = list(found.train)
        assert [tuple(inputs.shape) for inputs, _ in batches] == [(2, 2), (2, 2), (1, 2)]
        inputs, targets = whole(batches)
        assert inputs[:, 0].tolist() == [0, 1, 2, 3, 4]
        assert targets.tolist() == [0, 1, 0, 1, 0]


def test_samples_are_the_first_of_the_validation_split_one_by_one() -> None:
    data = given("f", (Squares(), Squares()), batch=2)
    for count in (1, 3, 5, 9):
        samples = data.samples(count)
        assert [sample.tolist() for sample in samples] == [[[float(n**2)]] for n in range(min(count, 5))]
    assert data.samples(0) == []


@pytest.mark.parametrize(
    "inputs",
    [
        torch.arange(6.0).reshape(3, 2),
        (torch.arange(3), torch.ones(3, 4)),
        {"a": torch.arange(3), "b": torch.ones(3, 1)},
    ],
)
def test_one_sample_keeps_its_axis_in_tensors_tuples_and_mappings(inputs: Any) -> None:
    found = one(inputs, 1)
    tensors = found.values() if isinstance(found, dict) else found if isinstance(found, tuple) else (found,)
    assert all(len(tensor) == 1 for tensor in tensors)
    assert type(found) is type(inputs)
    parts = inputs.values() if isinstance(inputs, dict) else inputs if isinstance(inputs, tuple) else (inputs,)
    assert all(torch.equal(tensor[0], part[1]) for tensor, part in zip(tensors, parts, strict=True))


# names of functions


@pytest.fixture
def clean_imports() -> Iterator[None]:
    """Files of tests are not to be found by others."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("users_"):
            del sys.modules[name]


def users(tmp_path: Path, text: str, name: str = "users_data.py") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


GOOD = """
import torch
def loaders():
    part = (torch.zeros(4, 2), torch.arange(4) % 2)
    return part, part
value = 3
"""


@pytest.mark.usefixtures("clean_imports")
def test_data_are_what_a_function_of_a_file_returns(tmp_path: Path) -> None:
    data = load(f"{users(tmp_path, GOOD)}:loaders", batch=3)
    assert [len(targets) for _, targets in data.validation] == [3, 1]


@pytest.mark.usefixtures("clean_imports")
def test_a_file_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    users(tmp_path, "def make():\n    return 5\n", "users_beside.py")
    path = users(tmp_path, "from users_beside import make\n")
    assert resolve(f"{path}:make", "model")() == 5


@pytest.mark.usefixtures("clean_imports")
@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (GOOD, "users_data.py:loader", "has no loader"),
        (GOOD, "users_data.py:value", "value of .* cannot be called"),
        (GOOD, "users_other.py:loaders", "there is no file"),
        (GOOD, "users_data.py", "names no function for the data"),
        (GOOD, "users_data.py:", "names no function for the data"),
        (GOOD, "users_no_such_module:loaders", "cannot import users_no_such_module"),
        ("def loaders(:\n", "users_data.py:loaders", "cannot load .*SyntaxError"),
        ("import users_no_such_module\n", "users_data.py:loaders", "cannot load .*ModuleNotFoundError"),
        ("def loaders():\n    return {}['train']\n", "users_data.py:loaders", "loaders failed: KeyError: 'train'"),
        ("def loaders(path):\n    return path\n", "users_data.py:loaders", "loaders failed: TypeError"),
    ],
)
def test_files_and_functions_that_give_no_data_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str, said: str
) -> None:
    users(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        load(name)
    assert caught.value.faults[0].fix


@pytest.mark.usefixtures("clean_imports")
def test_an_error_of_a_users_code_is_shown_with_its_line(tmp_path: Path) -> None:
    path = users(tmp_path, "def loaders():\n    x = 1\n    return 1 / 0\n")
    with pytest.raises(InputError) as caught:
        load(f"{path}:loaders")
    assert caught.value.faults[0].where == f"{path}:3"


@pytest.mark.usefixtures("clean_imports")
def test_a_name_close_to_that_of_a_function_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'loaders'"):
        load(f"{users(tmp_path, GOOD)}:loader")
