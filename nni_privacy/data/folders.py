"""Folders of class folders: which images belong to which class, and which folders are parts, not classes."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from nni_privacy.data.dataset import MIN_CLASSES, Dataset
from nni_privacy.data.files import Root, root_folder
from nni_privacy.data.pictures import Images, decode, decode_all, is_deep
from nni_privacy.errors import DataError

__all__ = ["read_image_folder"]

_logger = logging.getLogger(__name__)

TRAINING = frozenset({"train", "training", "trainset"})
PARTS = TRAINING | {"val", "valid", "validation", "dev", "eval", "test", "testing", "testset", "holdout"}
"""Words in names of folders that are parts of a data set."""

MIN_IMAGES = 2
"""Of a class: one may be a member, one a non-member."""
MAX_DEPTH = 64
"""Of folders in folders."""
OTHER_FORMATS = (".gif", ".heic", ".heif", ".avif", ".jfif", ".jp2", ".tga", ".dng", ".nef", ".cr2", ".arw", ".svg")
"""Endings of images that are not read."""
DARK = 16
"""Upper halves of 16-bit images that are all below this are those of a camera of 12 bits or fewer."""


@dataclass(frozen=True)
class _Folder:
    """A folder: its own images and its folders by name, both sorted; hidden ones (``.name``) are left out.

    ``others`` are images of formats that are not read.
    """

    path: Path
    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    folders: dict[str, _Folder] = field(default_factory=dict)

    @cached_property
    def count(self) -> int:
        """Images in it, at any depth."""
        return len(self.images) + sum(folder.count for folder in self.folders.values())

    def all_images(self) -> Iterator[Path]:
        yield from self.images
        for folder in self.folders.values():
            yield from folder.all_images()

    def all_others(self) -> Iterator[Path]:
        yield from self.others
        for folder in self.folders.values():
            yield from folder.all_others()


Classes = Mapping[str, list[_Folder]]
"""Folders of each class by its name, in alphabetical order."""


def read_image_folder(
    name: str, *, root: Root, image_size: int | None, channels: int, splits: str = "refuse", **decoding: Any
) -> Dataset:
    """All images in the class folders of ``root``; class 0 is the first one in alphabetical order.

    Args:
        name: of the data set, in errors.
        root: the folder.
        image_size: as in :func:`~nni_privacy.data.pictures.decode`.
        channels: 1 or 3.
        splits: ``refuse``, ``pool`` or ``classes``; see docs/data.md.
        **decoding: further options of :func:`~nni_privacy.data.pictures.decode`.

    Raises:
        DataError: in one line that names the folder or the file.
    """
    top = _scan(root_folder(name, root, download=None))
    where = f"dataset {name!r}: {top.path}"
    classes = _classes(top, where, splits)
    if len(classes) < MIN_CLASSES:
        if not classes:
            raise DataError(f"dataset {name!r}: cannot find any class folder in {top.path}")
        inner = _class_root(top)
        hint = f" (set root to {inner.path})" if inner is not top and len(inner.folders) >= MIN_CLASSES else ""
        raise DataError(f"{where} has one class folder, {next(iter(classes))!r}; expected two or more{hint}")
    files, labels = [], []
    for label, (kind, folders) in enumerate(classes.items()):
        images = [image for folder in folders for image in folder.all_images()]
        if len(images) < MIN_IMAGES:
            place = folders[0].path if len(folders) == 1 else kind
            found = f"class folder {place} has {len(images)} image{'' if len(images) == 1 else 's'}"
            known = "" if images else f" ({', '.join(sorted(IMG_EXTENSIONS))})"
            raise DataError(f"dataset {name!r}: {found}; expected {MIN_IMAGES} or more{known}")
        files += sorted(images, key=lambda image: (str(image.parent), image.name))
        labels += [label] * len(images)
    others = list(top.all_others())
    if others:
        _logger.warning("%s: %d left out, not read as images: %s", where, len(others), _listed(set(map(str, others))))
    pixels = _images(files, image_size, channels=channels, **decoding)
    return Dataset(top.path.name, torch.from_numpy(pixels), torch.tensor(labels), len(classes), classes=tuple(classes))


def _scan(path: Path, above: tuple[tuple[int, int], ...] = ()) -> _Folder:
    """The tree of folders below ``path``; links are followed."""
    folder = _Folder(path)
    try:
        state = path.stat()
        here = state.st_dev, state.st_ino
        if here in above or len(above) > MAX_DEPTH:
            raise DataError(f"{path}: a link to a folder that it lies in, or nested deeper than {MAX_DEPTH} folders")
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if entry.is_dir():
                    folder.folders[entry.name] = _scan(Path(entry.path), (*above, here))
                elif entry.name.lower().endswith(IMG_EXTENSIONS):
                    if not entry.is_file():
                        raise DataError(f"{entry.path}: not a file, or a link to one that is missing")
                    folder.images.append(Path(entry.path))
                elif entry.name.lower().endswith(OTHER_FORMATS):
                    folder.others.append(Path(entry.path))
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from None
    return folder


def _classes(top: _Folder, where: str, splits: str) -> Classes:
    """The class folders of a data set, those inside of its parts if they are to be pooled."""
    classes = {name: [folder] for name, folder in top.folders.items()}
    while splits != "classes" and (why := _parts(classes)):
        if splits == "refuse":
            inner = _class_root(top)
            root = f"set root to {inner.path}, or " if len(inner.folders) >= MIN_CLASSES else "set "
            raise DataError(
                f"{where} holds {_listed(classes)}, which are parts, not classes ({why}): {root}splits: pool to take "
                "all of them together (splits: classes takes them as the classes)"
            )
        pooled: dict[str, list[_Folder]] = {}
        for part in (part for parts in classes.values() for part in parts):
            if part.images:
                raise DataError(f"{part.images[0]}: in no class folder, only in the part {part.path.name!r}")
            for name, folder in part.folders.items():
                pooled.setdefault(name, []).append(folder)
        classes = dict(sorted(pooled.items()))
        _check_case(classes, where)
    return classes


def _check_case(classes: Classes, where: str) -> None:
    """Raises a DataError if a class seems to be written in two ways: Cat in one part, cat in another."""
    seen: dict[str, str] = {}
    for name, folders in classes.items():
        other = seen.setdefault(name.casefold(), name)
        if not {folder.path.parent for folder in classes[other]} & {folder.path.parent for folder in folders}:
            raise DataError(f"{where}: classes {other!r} and {name!r} differ in upper case only: give them one name")


def _parts(classes: Classes) -> str:
    """Why folders are parts of a data set and not classes; empty if they seem to be classes."""
    words = [set(re.findall("[a-z]+", name.casefold())) for name in classes]
    if len(words) > 1 and all(word & PARTS for word in words) and any(word & TRAINING for word in words):
        return "by their names"
    # A folder of images is a class, whatever other folders it holds; where it holds one only, that says nothing.
    inner = [
        {name for folder in folders for name, below in folder.folders.items() if below.count}
        for folders in classes.values()
        if not any(folder.images for folder in folders)
    ]
    for one, other in combinations([names for names in inner if names], 2):
        if (one <= other or other <= one) and len(one | other) >= MIN_CLASSES:
            return f"they hold the same folders: {_listed(one & other)}"
    return ""


def _class_root(folder: _Folder) -> _Folder:
    """The folder whose folders seem to be classes: the training part of the innermost parts."""
    names = list(folder.folders)
    if not names or (len(names) > 1 and not _parts({name: [below] for name, below in folder.folders.items()})):
        return folder
    training = [name for name in names if set(re.findall("[a-z]+", name.casefold())) & TRAINING]
    return _class_root(folder.folders[(training or names)[0]])


def _listed(names: Classes | set[str]) -> str:
    first = [repr(name) for name in sorted(names)[:3]]
    return ", ".join([*first, "..."] if len(names) > len(first) else first)


def _images(files: list[Path], image_size: int | None, **decoding: Any) -> Images:
    """Images ``(n, channels, H, W)`` of the files, in their order."""
    images: Images | None = None

    def load(index: int) -> Images:
        return decode(files[index], str(files[index]), image_size=image_size, **decoding)

    def keep(index: int, image: Images) -> None:
        nonlocal images
        if images is None:
            _check_memory(len(files), image)
            images = np.empty((len(files), *image.shape), dtype=np.uint8)
        if image.shape != images.shape[1:]:
            sizes = [f"{file} is {width} x {height}" for file, (height, width) in
                     ((files[0], images.shape[2:]), (files[index], image.shape[1:]))]  # fmt: skip
            raise DataError(f"images of several sizes: {', but '.join(sizes)} (width x height); set image_size")
        images[index] = image

    decode_all(range(len(files)), load, keep)
    assert images is not None  # noqa: S101 - there are files
    if decoding.get("white") is None and images.max() < DARK and is_deep(files[0]):
        raise DataError(
            f"{files[0]}: 16-bit images that are nearly black (all below {DARK << 8} of 65535): set white to the "
            "largest grey value of the camera, such as 4095, or to 65535 if they are meant to be dark"
        )
    return images


def _check_memory(count: int, image: Images) -> None:
    needed, free = count * image.nbytes, psutil.virtual_memory().available
    if needed > free:
        size = " x ".join(map(str, image.shape))
        sizes = f"{count:,} images of {size} need {needed / 1e9:.1f} GB of memory, free are {free / 1e9:.1f} GB"
        raise DataError(f"{sizes}; set image_size")
