"""CIFAR-10, CIFAR-100, STL-10 and Fashion-MNIST from their official files, read by torchvision's own readers.

The official training and test parts are pooled, in this order (as in Huang et al., CCS 2022; docs/data.md).
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.datasets import CIFAR10, CIFAR100, STL10, FashionMNIST
from torchvision.datasets.mnist import read_image_file, read_label_file
from torchvision.datasets.utils import check_integrity

from nni_privacy.data.dataset import Dataset
from nni_privacy.data.files import (
    Part,
    Root,
    check_checksums,
    check_files,
    fetch,
    narrowed,
    one_line,
    pool,
    root_folder,
)
from nni_privacy.errors import DataError

__all__ = ["DEBIAN_FASHION_MNIST", "read_cifar", "read_fashion_mnist", "read_stl10"]

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts its files."""

CIFAR_READERS: dict[str, Any] = {"cifar10": CIFAR10, "cifar100": CIFAR100}
CIFAR_CLASSES = {"cifar10": 10, "cifar100": 100}
STL10_CLASSES = FASHION_CLASSES = 10


def read_cifar(name: str, *, root: Root, download: bool) -> Dataset:
    """The 60,000 images of ``cifar10`` or ``cifar100``, ``(60000, 3, 32, 32)`` ``uint8``, with their (fine) labels."""
    reader, classes = CIFAR_READERS[name], list[str]()
    files = [*reader.train_list, *reader.test_list, (reader.meta["filename"], reader.meta["md5"])]
    folder = _official_folder(name, reader, files, root=root, download=download)

    def part_of(entry: Any) -> Part:
        # The official format is a pickle, which can run code: torchvision's reader alone opens it, and only after the
        # file's checksum has turned out to be the official one. File by file, so that each is checked once, and one is
        # in memory besides the pool.
        part = _opened(name, folder, files, narrowed(reader, train_list=[entry], test_list=[]), train=True)
        classes[:] = part.classes
        return part.data.transpose(0, 3, 1, 2), np.asarray(part.targets)

    parts = (part_of(entry) for entry in (*reader.train_list, *reader.test_list))
    return _pooled(name, parts, CIFAR_CLASSES[name], classes)


def read_stl10(name: str, *, root: Root, download: bool) -> Dataset:
    """The 13,000 labelled images of STL-10, ``(13000, 3, 96, 96)`` ``uint8``; the unlabelled ones are not touched."""
    train, classes = STL10.train_list[:2], list[str]()
    files = [*train, *STL10.test_list]
    folder = _official_folder(name, STL10, files, root=root, download=download)

    def parts() -> Iterator[Part]:
        for split, tables in (("train", {"train_list": train, "test_list": []}), ("test", {"train_list": []})):
            part = _opened(name, folder, files, narrowed(STL10, **tables), split=split)
            classes[:] = getattr(part, "classes", ())  # a file of their own, which may be missing
            yield part.data, part.labels

    return _pooled(name, parts(), STL10_CLASSES, classes)


def read_fashion_mnist(name: str, *, root: Root, download: bool) -> Dataset:
    """The 70,000 images of Fashion-MNIST, ``(70000, 1, 28, 28)`` ``uint8``.

    The IDX files, plain or gzipped, are taken from ``root/FashionMNIST/raw`` (torchvision's place) or ``root``; without
    a ``root``, Debian's are found too. A gzipped file of one's own has to have the official checksum.
    """
    checksums = {Path(file).stem: md5 for file, md5 in FashionMNIST.resources}
    packaged = root is None and _complete(DEBIAN_FASHION_MNIST, checksums)
    folder = DEBIAN_FASHION_MNIST if packaged else _idx_folder(name, checksums, root=root, download=download)

    def parts() -> Iterator[Part]:
        for part in ("train", "t10k"):
            images, labels = (_idx_file(folder, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
            for file in (images, labels):
                if file.suffix == ".gz" and not packaged:  # Debian compresses anew, and checks files in its own way
                    check_checksums(name, folder, [(file.name, checksums[file.stem])])
            yield _idx(images, read_image_file).numpy()[:, None], _idx(labels, read_label_file).numpy()

    return _pooled(name, parts(), FASHION_CLASSES, FashionMNIST.classes)


def _pooled(name: str, parts: Iterable[Part], num_classes: int, classes: Sequence[str]) -> Dataset:
    """The pool of ``parts``; the names of the ``classes`` may be known only when these have been read."""
    images, labels = pool(name, parts)
    return Dataset(name, torch.from_numpy(images), torch.from_numpy(labels), num_classes, classes=tuple(classes))


def _official_folder(name: str, reader: Any, files: list[Any], *, root: Root, download: bool) -> Path:
    """The folder that holds the official files, downloaded or unpacked first if they are not there."""
    top = root_folder(name, root, download=download)
    folder = top / reader.base_folder
    archive = top / reader.filename
    absent = any(not (folder / file).is_file() for file, _ in files)
    if absent and not download and archive.is_file():
        check_checksums(name, top, [(reader.filename, reader.tgz_md5)])
    if download or (absent and archive.is_file()):
        damaged = absent or any(not check_integrity(folder / file, md5) for file, md5 in files)
        if damaged:
            fetch(name, top, narrowed(reader, train_list=files, test_list=[]))
    check_files(name, folder, files)
    return folder


def _opened(name: str, folder: Path, files: list[Any], reader: Any, **which: Any) -> Any:
    try:
        return reader(folder.parent, **which)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        check_checksums(name, folder, files)
        raise DataError(f"dataset {name!r}: {folder} cannot be read: {one_line(error)}") from error


def _idx_folder(name: str, checksums: dict[str, str], *, root: Root, download: bool) -> Path:
    top = root_folder(name, root, download=download)
    official = top / "FashionMNIST" / "raw"
    for folder in (official, top):
        if _complete(folder, checksums):
            return folder
    if download:
        fetch(name, top, FashionMNIST)
    absent = next((name for name in checksums if _idx_file(official, name) is None), None)
    if absent is not None:
        hint = "set root, download: true, or install Debian's dataset-fashion-mnist"
        raise DataError(f"dataset {name!r}: missing file {official / absent} (or {absent}.gz; {hint})")
    return official


def _complete(folder: Path, names: dict[str, str]) -> bool:
    return all(_idx_file(folder, name) is not None for name in names)


def _idx_file(folder: Path, name: str) -> Any:
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def _idx(file: Path, read: Any) -> torch.Tensor:
    """The tensor in an IDX file; torchvision's reader knows plain files only."""
    try:
        if file.suffix != ".gz":
            return torch.as_tensor(read(str(file)))
        with tempfile.NamedTemporaryFile() as plain:
            plain.write(gzip.decompress(file.read_bytes()))
            plain.flush()
            return torch.as_tensor(read(plain.name))
    except (OSError, EOFError, zlib.error, RuntimeError, ValueError, TypeError, AssertionError, KeyError) as error:
        raise DataError(f"{file}: cannot be read as an IDX file of bytes ({one_line(error)})") from error
