"""A folder of class folders of images, as torchvision's ``ImageFolder`` reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torchvision.datasets import ImageFolder

from nni_privacy.data.dataset import MIN_CLASSES, Dataset
from nni_privacy.data.files import Root, one_line, root_folder
from nni_privacy.data.pictures import Images, decode, decode_all
from nni_privacy.errors import DataError

__all__ = ["read_image_folder"]

MIN_IMAGES = 2
"""Of a class: one may be a member, one a non-member."""


def read_image_folder(name: str, *, root: Root, image_size: int | None, channels: int) -> Dataset:
    """All images below ``root``; class 0 is the first class folder in alphabetical order.

    Raises:
        ConfigError: if an option is not valid.
        DataError: if there are fewer than two class folders, one has fewer than two images, an image cannot be decoded,
            or images differ in size and no ``image_size`` is given.
    """
    folder = root_folder(name, root, download=False)
    try:
        found = ImageFolder(folder)
    except OSError as error:  # FileNotFoundError is also what torchvision raises for class folders without images
        raise DataError(f"dataset {name!r}: {folder}: {one_line(error)}") from error
    labels = np.array(found.targets, dtype=np.int64)
    _check_classes(name, folder, found.classes, labels)
    images = _images([Path(path) for path, _ in found.samples], channels, image_size)
    return Dataset(folder.name, torch.from_numpy(images), torch.from_numpy(labels), len(found.classes))


def _check_classes(name: str, folder: Path, classes: list[str], labels: np.ndarray) -> None:
    if len(classes) < MIN_CLASSES:
        raise DataError(f"dataset {name!r}: {folder} has one class folder, {classes[0]!r}; expected two or more")
    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() < MIN_IMAGES:
        rarest = counts.argmin()
        where = f"class folder {folder / classes[rarest]}"
        raise DataError(f"dataset {name!r}: {where} has {counts[rarest]} image; expected {MIN_IMAGES} or more")


def _images(files: list[Path], channels: int, image_size: int | None) -> Images:
    """Images ``(n, channels, H, W)`` of the files, in their order."""

    def load(index: int) -> Images:
        return decode(files[index], str(files[index]), channels=channels, image_size=image_size)

    first = load(0)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)

    def keep(index: int, image: Images) -> None:
        if image.shape != first.shape:
            sizes = [f"{file} is {width} x {height}" for file, (_, height, width) in
                     ((files[0], first.shape), (files[index], image.shape))]  # fmt: skip
            raise DataError(f"images of several sizes: {', but '.join(sizes)} (width x height); set image_size")
        images[index] = image

    decode_all(range(len(files)), load, keep)
    return images
