"""Data to train and measure with: what a user's function gives, digits that come with scikit-learn, and files in the formats of
MNIST, CIFAR-10 and ImageNet's folders."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from sparseloom.errors import Fault, InputError
from sparseloom.prune.reference import resolve

Batch = tuple[Any, Tensor]
"""Inputs (a tensor, or a tuple or mapping of arguments of the model) and targets, the first axis counting the samples."""

KINDS: Final = ("digits", "digits:SIDE", "mnist:FOLDER", "cifar10:FOLDER", "images:FOLDER", "file.py:function")
SPLITS: Final = ("train", "validation", "test")
_SPLIT_SEED: Final = 0
"""Splits are the same for all seeds of a training, so that losses can be compared in pairs."""


class Batches:
    """Samples held in memory, cut into batches; shuffled by PyTorch's generator if ``shuffle``."""

    def __init__(self, inputs: Tensor, targets: Tensor, batch: int = 64, shuffle: bool = False) -> None:
        self.inputs, self.targets, self.batch, self.shuffle = inputs, targets, batch, shuffle

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.batch)

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(len(self.inputs)) if self.shuffle else torch.arange(len(self.inputs))
        for picked in torch.split(order, self.batch):
            yield self.inputs[picked], self.targets[picked]


@dataclass(frozen=True)
class Data:
    """Batches by split. ``test`` may be missing: then results are those of the validation split alone, and say so."""

    name: str
    train: Iterable[Batch]
    validation: Iterable[Batch]
    test: Iterable[Batch] | None = None

    def samples(self, count: int) -> list[Any]:
        """The inputs of the first ``count`` samples of the validation split, one by one, each with an axis of one sample."""
        found = list[Any]()
        for inputs, targets in self.validation:
            for number in range(len(targets)):
                if len(found) == count:
                    return found
                found.append(one(inputs, number))
        return found


def load(text: str, batch: int = 64) -> Data:
    """The data that ``text`` names, one of :data:`KINDS`. Raises InputError for files and functions that do not give it."""
    kind, _, rest = text.partition(":")
    if kind == "digits" and (not rest or rest.isdigit()):
        return digits(batch, int(rest or 8))
    if kind == "mnist" and rest:
        return _labelled(text, _mnist(Path(rest)), batch)
    if kind == "cifar10" and rest:
        return _labelled(text, _cifar10(Path(rest)), batch)
    if kind == "images" and rest:
        return images(Path(rest), batch)
    return given(text, resolve(text, "data")(), batch)


def digits(batch: int = 64, side: int = 8) -> Data:
    """The 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn: 1,077 to train, 360 to validate, 360 to test, the
    classes in equal shares; ``side``: enlarged to so many pixels, bilinearly."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    inputs = torch.from_numpy(bunch.images.astype(np.float32) / 16.0).unsqueeze(1)
    if side != inputs.shape[-1]:
        inputs = torch.nn.functional.interpolate(inputs, size=(side, side), mode="bilinear", align_corners=False)
    targets = torch.from_numpy(bunch.target.astype(np.int64))
    every = np.arange(len(targets))
    rest, test = train_test_split(every, test_size=360, random_state=_SPLIT_SEED, stratify=bunch.target)
    train, validation = train_test_split(rest, test_size=360, random_state=_SPLIT_SEED, stratify=bunch.target[rest])
    parts = [(inputs[picked], targets[picked]) for picked in (train, validation, test)]
    return _of_parts("digits" if side == 8 else f"digits:{side}", parts, batch)


def given(name: str, value: object, batch: int = 64) -> Data:
    """Data from what a user's function returned: (train, validation) or (train, validation, test), or a mapping with these
    names; each a loader or another iterable of (inputs, targets), a dataset, or a pair of arrays of all inputs and all
    targets."""
    if isinstance(value, Data):
        return value
    if isinstance(value, Mapping):
        missing = [split for split in SPLITS[:2] if split not in value]
        if missing:
            fix = "return a mapping with train, validation and, if there is one, test"
            raise InputError([Fault(f"{name} returned no {split} split", fix=fix) for split in missing])
        value = [value[split] for split in SPLITS if split in value]
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        what = f"{name} returned {_described(value)}"
        raise InputError(
            Fault(what, fix="return (train, validation) or (train, validation, test), each an iterable of batches")
        )
    parts = [_batches(name, split, part, batch) for split, part in zip(SPLITS, value, strict=False)]
    return Data(name, *parts)


def images(folder: Path, batch: int = 64, side: int = 224) -> Data:
    """ImageNet's layout: ``train/CLASS/*`` and ``val/CLASS/*`` (or ``validation``), pictures scaled to 256 pixels, cut to 224,
    with ImageNet's means and deviations. Half of the validation pictures, every second one, are the test split unless there is a
    folder ``test``."""
    roots = {
        split: next((folder / name for name in names if (folder / name).is_dir()), None)
        for split, names in _FOLDERS.items()
    }
    missing = [split for split in ("train", "validation") if roots[split] is None]
    if missing:
        fix = "put the pictures into train/CLASS/ and val/CLASS/"
        raise InputError(
            [Fault(f"{folder} has no folder {' or '.join(_FOLDERS[split])}", fix=fix) for split in missing]
        )
    classes = sorted(path.name for path in roots["train"].iterdir() if path.is_dir())  # type: ignore[union-attr]
    sets = {split: Pictures(root, classes, side) for split, root in roots.items() if root is not None}
    if "test" not in sets:
        whole = sets["validation"]
        sets["validation"], sets["test"] = whole.every(0, 2), whole.every(1, 2)
    loaders = [DataLoader(sets[split], batch, shuffle=split == "train") for split in SPLITS]
    return Data(f"images:{folder}", *loaders)


_FOLDERS: Final = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}


class Pictures(Dataset[tuple[Tensor, int]]):
    """The pictures below ``root/CLASS/`` with the number of their class."""

    def __init__(self, root: Path, classes: list[str], side: int) -> None:
        self.classes, self.side = classes, side
        self.files = [
            (path, number)
            for number, name in enumerate(classes)
            for path in sorted((root / name).glob("*"))
            if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp", ".webp")
        ]
        if not self.files:
            raise InputError(
                Fault(f"{root} has no pictures of the {len(classes)} classes", fix="put them into CLASS/*.jpg")
            )

    def every(self, first: int, step: int) -> Pictures:
        part = Pictures.__new__(Pictures)
        part.classes, part.side, part.files = self.classes, self.side, self.files[first::step]
        return part

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image, UnidentifiedImageError

        path, number = self.files[index]
        try:
            picture = Image.open(path)
            picture.load()
        except (UnidentifiedImageError, OSError) as error:
            raise InputError(
                Fault("cannot read the picture", where=str(path), fix="take it again, or remove it")
            ) from error
        with picture:
            scale = self.side * 8 / 7 / min(picture.size)
            large = picture.convert("RGB").resize(
                (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR
            )
        left, top = (large.width - self.side) // 2, (large.height - self.side) // 2
        pixels = np.asarray(large.crop((left, top, left + self.side, top + self.side)), np.float32) / 255
        return torch.from_numpy((pixels - _MEAN) / _DEVIATION).permute(2, 0, 1), number


_MEAN: Final = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION: Final = np.array([0.229, 0.224, 0.225], np.float32)

Labelled = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Pictures [samples, channels, rows, columns] and their classes."""


def _mnist(folder: Path) -> tuple[Labelled, Labelled]:
    """The four files of MNIST, packed or not."""
    parts = []
    for part in ("train", "t10k"):
        pixels = _idx(folder, f"{part}-images-idx3-ubyte", 3)
        labels = _idx(folder, f"{part}-labels-idx1-ubyte", 1)
        if len(pixels) != len(labels):
            what = f"{part} has {len(pixels):,} pictures and {len(labels):,} labels"
            raise InputError(Fault(what, where=str(folder), fix="take both files from one data set"))
        parts.append((pixels[:, None], labels))
    return parts[0], parts[1]


def _idx(folder: Path, name: str, ranks: int) -> NDArray[np.uint8]:
    found = next(
        (
            path
            for path in (folder / name, folder / f"{name}.gz", folder / name.replace("-idx", ".idx"))
            if path.is_file()
        ),
        None,
    )
    if found is None:
        raise InputError(
            Fault(f"there is no {name} (or {name}.gz) in {folder}", fix="name the folder of MNIST's four files")
        )
    try:
        raw = gzip.decompress(found.read_bytes()) if found.suffix == ".gz" else found.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        what = f"cannot unpack it: {error}"
        raise InputError(
            Fault(what, where=str(found), fix="the file is cut short or damaged: take it again")
        ) from error
    head = 4 + 4 * ranks
    if len(raw) < head or raw[:4] != bytes((0, 0, 8, ranks)):
        raise InputError(
            Fault("this is no IDX file of bytes", where=str(found), fix="take the file as it was published")
        )
    shape = struct.unpack(f">{ranks}I", raw[4:head])
    if len(raw) - head != prod(shape):
        what = f"the header says {prod(shape):,} bytes, {len(raw) - head:,} follow"
        raise InputError(Fault(what, where=str(found), fix="the file is cut short or damaged: take it again"))
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def _cifar10(folder: Path) -> tuple[Labelled, Labelled]:
    """CIFAR-10's binary version: a byte for the class, then 3 x 32 x 32 bytes. The other version is pickles, which run code."""
    parts = []
    for names in ([f"data_batch_{n}.bin" for n in range(1, 6)], ["test_batch.bin"]):
        records = []
        for name in names:
            path = next((p for p in (folder / name, folder / "cifar-10-batches-bin" / name) if p.is_file()), None)
            if path is None:
                fix = "name the folder of the binary version (cifar-10-batches-bin); pickles are not read"
                raise InputError(Fault(f"there is no {name} in {folder}", fix=fix))
            raw = np.frombuffer(path.read_bytes(), np.uint8)
            if raw.size % 3073:
                what = f"{raw.size:,} bytes are no whole number of records of 3,073"
                raise InputError(Fault(what, where=str(path), fix="the file is cut short or damaged: take it again"))
            records.append(raw.reshape(-1, 3073))
        every = np.concatenate(records)
        parts.append((every[:, 1:].reshape(-1, 3, 32, 32), every[:, 0]))
    return parts[0], parts[1]


def _labelled(name: str, parts: tuple[Labelled, Labelled], batch: int) -> Data:
    """A tenth of the training samples, drawn once, validates."""
    (pixels, labels), test = parts
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(pixels))
    held = len(pixels) // 10
    split = ((pixels[order[held:]], labels[order[held:]]), (pixels[order[:held]], labels[order[:held]]), test)
    tensors = [(torch.from_numpy(x.astype(np.float32) / 255), torch.from_numpy(y.astype(np.int64))) for x, y in split]
    return _of_parts(name, tensors, batch)


def _of_parts(name: str, parts: list[tuple[Tensor, Tensor]], batch: int) -> Data:
    batches = [Batches(*part, batch, shuffle=number == 0) for number, part in enumerate(parts)]
    return Data(name, *batches)


def _batches(name: str, split: str, part: Any, batch: int) -> Iterable[Batch]:
    if isinstance(part, tuple | list) and len(part) == 2 and all(hasattr(array, "shape") for array in part):
        inputs, targets = (torch.as_tensor(array) for array in part)
        if len(inputs) != len(targets):
            what = f"{name}: the {split} split has {len(inputs):,} inputs and {len(targets):,} targets"
            raise InputError(Fault(what, fix="give one target for each input"))
        return Batches(inputs, targets, batch, split == "train")
    if isinstance(part, IterableDataset):
        return DataLoader(part, batch)
    if isinstance(part, Dataset):
        return DataLoader(part, batch, shuffle=split == "train")
    if hasattr(part, "__next__") or not hasattr(part, "__iter__") or isinstance(part, str | bytes):
        once = "an iterator that is used up after one epoch" if hasattr(part, "__next__") else _described(part)
        fix = "give a loader, a list of (inputs, targets), a dataset, or a pair of arrays"
        raise InputError(Fault(f"{name}: the {split} split is {once}", fix=fix))
    return part  # type: ignore[no-any-return]


def one(inputs: Any, number: int) -> Any:
    """The inputs of one sample of a batch, with an axis of one sample."""
    if isinstance(inputs, Mapping):
        return {key: value[number : number + 1] for key, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return tuple(value[number : number + 1] for value in inputs)
    return inputs[number : number + 1]


def _described(value: object) -> str:
    return f"{len(value)} values" if isinstance(value, tuple | list) else f"a {type(value).__name__}"
