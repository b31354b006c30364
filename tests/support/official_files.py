"""Writes small data sets in the official formats, and puts their checksums into torchvision's tables."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

RNG = np.random.default_rng(7)

CELEBA_ATTRIBUTES = [
    "5_o_Clock_Shadow",
    "Heavy_Makeup",
    "Male",
    "Mouth_Slightly_Open",
    "Smiling",
    "Young",
]

CELEBA_TABLE = [  # Heavy_Makeup, Mouth_Slightly_Open, Smiling, class: 1 * makeup + 2 * mouth + 4 * smile, by hand
    (-1, -1, -1, 0),
    (1, -1, -1, 1),
    (-1, 1, -1, 2),
    (1, 1, -1, 3),
    (-1, -1, 1, 4),
    (1, -1, 1, 5),
    (-1, 1, 1, 6),
    (1, 1, 1, 7),
]


class _PickledByPython2(pickle._Pickler):  # type: ignore[name-defined]
    """Writes bytes as Python 2 wrote its strings, which is how the official files hold their pixels."""

    dispatch = {**pickle._Pickler.dispatch}  # type: ignore[attr-defined]  # noqa: RUF012

    def save_bytes(self, content: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(content)

    dispatch[bytes] = save_bytes


def pickled(entry: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    _PickledByPython2(stream, protocol=2).dump(entry)
    return stream.getvalue()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, size=shape, dtype=np.uint8)


def write_cifar(root: Path, name: str, monkeypatch: pytest.MonkeyPatch, *, a_file: int = 20) -> tuple:
    """Returns images (n, 3, 32, 32) and labels, in the order of the files, training files first."""
    reader = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    key, classes = {"cifar10": ("labels", 10), "cifar100": ("fine_labels", 100)}[name]
    folder = root / reader.base_folder
    folder.mkdir(parents=True)
    images, labels, tables = [], [], {"train_list": [], "test_list": []}
    for table in tables:
        for file, _ in getattr(reader, table):
            images.append(pixels(a_file, 3, 32, 32))
            labels.append(RNG.integers(0, classes, size=a_file).tolist())
            entry = {"data": images[-1].reshape(a_file, -1), key: labels[-1], "filenames": ["x.png"] * a_file}
            (folder / file).write_bytes(pickled({**entry, "coarse_labels": [0] * a_file}))
            tables[table].append([file, md5(folder / file)])
        monkeypatch.setattr(reader, table, tables[table])
    meta = folder / reader.meta["filename"]
    meta.write_bytes(pickle.dumps({reader.meta["key"]: [str(i) for i in range(classes)]}))
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": md5(meta)})
    return np.concatenate(images), np.concatenate(labels)


def write_stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple:
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    images, labels = pixels(24, 3, 96, 96), np.arange(24) % 10
    for name, part in (("train", slice(0, 8)), ("test", slice(8, 24))):
        # The official files hold each channel column by column, and classes from 1.
        (folder / f"{name}_X.bin").write_bytes(images[part].transpose(0, 1, 3, 2).tobytes())
        (folder / f"{name}_y.bin").write_bytes((labels[part] + 1).astype(np.uint8).tobytes())
    tables = {
        table: [[file, md5(folder / file) if (folder / file).is_file() else checksum] for file, checksum in entries]
        for table, entries in (("train_list", datasets.STL10.train_list), ("test_list", datasets.STL10.test_list))
    }
    for table, entries in tables.items():
        monkeypatch.setattr(datasets.STL10, table, entries)
    return images, labels


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_fashion_mnist(folder: Path, *, zipped: bool) -> tuple:
    folder.mkdir(parents=True)
    images, labels = pixels(30, 28, 28), np.arange(30) % 10
    for name, part in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
        for file, content in (("images-idx3", images[part]), ("labels-idx1", labels[part])):
            path = folder / f"{name}-{file}-ubyte"
            if zipped:
                path.with_suffix(".gz").write_bytes(gzip.compress(idx(content)))
            else:
                path.write_bytes(idx(content))
    return images[:, None], labels


def write_celeba(root: Path, monkeypatch: pytest.MonkeyPatch, *, repeats: int = 2) -> tuple:
    """Faces of one colour each; returns the colours (n, 3) and the classes of the hand-made table."""
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    colours, classes, lines = [], [], []
    for number, (makeup, mouth, smile, kind) in enumerate(CELEBA_TABLE * repeats, start=1):
        colour = pixels(3)
        name = f"{number:06}.jpg"
        Image.new("RGB", (178, 218), tuple(map(int, colour))).save(folder / "img_align_celeba" / name, quality=95)
        signs = [1 - 2 * (number % 2), makeup, -1, mouth, smile, 1]
        lines.append(name + "".join(f"{sign:3}" for sign in signs))
        colours.append(colour)
        classes.append(kind)
    text = "\n".join([str(len(lines)), " ".join(CELEBA_ATTRIBUTES) + " ", *lines]) + "\n"
    (folder / "list_attr_celeba.txt").write_text(text)
    use_celeba_checksums(folder, monkeypatch)
    return np.array(colours), np.array(classes)


def use_celeba_checksums(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        (place, md5(folder / file) if (folder / file).is_file() else checksum, file)
        for place, checksum, file in datasets.CelebA.file_list
    ]
    monkeypatch.setattr(datasets.CelebA, "file_list", files)


def write_image_folder(root: Path, counts: dict[str, int], *, size: tuple[int, int] = (9, 7)) -> dict[str, list]:
    """PNG files (lossless); returns each class' images (H, W, 3) in the order of their names."""
    written = {}
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        written[name] = [pixels(size[1], size[0], 3) for _ in range(count)]
        for number, image in enumerate(written[name]):
            Image.fromarray(image).save(root / name / f"{number:03}.png")
    return written
