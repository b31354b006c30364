"""Reads images and labels from a ``.npz`` file, and says clearly what is wrong with one that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nni_privacy.data.dataset import Dataset
from nni_privacy.errors import DataError
from nni_privacy.files import UNREADABLE

__all__ = ["holds_images", "opened_npz", "read_npz", "whole_labels"]

Array = npt.NDArray[Any]

LAYOUTS: tuple[tuple[tuple[str, str], ...], ...] = (
    (("x", "y"),),
    (("images", "labels"),),
    (("x_train", "y_train"), ("x_test", "y_test")),
)
"""Names of images and of labels; of several pairs the records are pooled."""
EXPECTED = "x and y, or images and labels, or x_train, y_train, x_test and y_test"
COLOUR_CHANNELS = (1, 3)
UINT8_MAX = 255
IMAGE_DIMS = (3, 4)
"""With channels, or of grey images without."""


def read_npz(path: str | PathLike[str], *, layout: str = "auto", num_classes: int | None = None) -> Dataset:
    """Reads one :class:`Dataset` from a file with ``x, y`` or ``images, labels`` or both halves of a pool.

    Images are ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``; ``uint8`` stays, integers
    within 0..255 become ``uint8``, floats become ``float32``. Labels are integers 0..K-1, shape ``(N,)`` or ``(N, 1)``.
    Pickled objects are refused.

    Raises:
        DataError: with the file's name, if it or its arrays are not valid.
    """
    file = Path(path).expanduser()
    parts = [
        (_images(file, x, layout), whole_labels(file, y), x_name, y_name) for x_name, x, y_name, y in _arrays(file)
    ]
    for images, labels, x_name, y_name in parts:
        if len(images) != len(labels):
            raise DataError(f"{file}: unequal lengths: {x_name} has {len(images)} records, {y_name} has {len(labels)}")
    shapes = {(images.shape[1:], images.dtype) for images, *_ in parts}
    if len(shapes) > 1:
        raise DataError(f"{file}: train and test images differ in shape or type: {' and '.join(map(str, shapes))}")
    pooled = np.concatenate([labels for _, labels, *_ in parts])
    pixels = parts[0][0] if len(parts) == 1 else np.concatenate([images for images, *_ in parts])
    return Dataset(
        file.stem, torch.from_numpy(pixels), torch.from_numpy(pooled), _count_classes(file, pooled, num_classes)
    )


def holds_images(path: str | PathLike[str]) -> bool:
    """Whether a file holds images, for :func:`read_npz`, by the names and dimensions of its arrays.

    Raises:
        DataError: with the file's name, if it cannot be read.
    """
    file = Path(path).expanduser()
    with opened_npz(file) as archive:
        pairs = _pairs(archive)
        if pairs is None or len(archive.files) > sum(map(len, pairs)):
            return False
        with archive.zip.open(f"{pairs[0][0]}.npy") as content:
            version = np.lib.format.read_magic(content)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return len(read(content)[0]) in IMAGE_DIMS


@contextmanager
def opened_npz(file: Path) -> Iterator[Any]:
    """An archive of plain arrays; what goes wrong with it meanwhile is a DataError with its name."""
    try:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{file}: not a .npz archive but a single array; use numpy.savez(file, x=..., y=...)")
        with archive:
            yield archive
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(f"{file}: cannot be read as a .npz file of plain arrays ({error})") from error


def _pairs(archive: Any) -> tuple[tuple[str, str], ...] | None:
    names = set(archive.files)
    return next((choice for choice in LAYOUTS if names >= {name for pair in choice for name in pair}), None)


def _arrays(file: Path) -> Iterator[tuple[str, Array, str, Array]]:
    """Pair by pair, so that a pool in halves is never in memory twice."""
    with opened_npz(file) as archive:
        pairs = _pairs(archive)
        if pairs is None:
            found = ", ".join(archive.files) or "none"
            raise DataError(f"{file}: missing arrays: found {found}; expected {EXPECTED}")
        for x_name, y_name in pairs:
            yield x_name, archive[x_name], y_name, archive[y_name]


def _images(file: Path, images: Array, layout: str) -> Array:
    if images.ndim not in IMAGE_DIMS:
        raise DataError(f"{file}: images have shape {images.shape}, expected (N, H, W), (N, H, W, C) or (N, C, H, W)")
    if images.ndim == 3:
        images = images[:, None]
    else:
        first, last = images.shape[1] in COLOUR_CHANNELS, images.shape[3] in COLOUR_CHANNELS
        square_last = images.shape[1] == images.shape[2] != images.shape[3]
        if layout == "auto" and first == last and (first or square_last):
            raise DataError(f"{file}: cannot tell where the channels are in images of shape {images.shape}; set layout")
        if layout == "channels_last" or (layout == "auto" and last):
            images = images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(_pixels(file, images))


def _pixels(file: Path, images: Array) -> Array:
    if images.dtype == np.uint8:
        return images
    if np.issubdtype(images.dtype, np.integer):
        if images.size and (images.min() < 0 or images.max() > UINT8_MAX):
            raise DataError(
                f"{file}: integer images run from {images.min()} to {images.max()}, expected 0..{UINT8_MAX}"
            )
        return images.astype(np.uint8)
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{file}: images are {images.dtype}, expected uint8 or float")
    with np.errstate(over="ignore"):
        floats = images.astype(np.float32)
    if not np.isfinite(floats).all():
        raise DataError(f"{file}: images contain NaN or infinite values")
    return floats


def whole_labels(file: Path, labels: Array) -> npt.NDArray[np.int64]:
    """Labels ``(N,)`` of whole numbers of any type; DataError with the file if they are others."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = " (one-hot? store the class numbers)" if labels.ndim == 2 else ""
        raise DataError(f"{file}: labels have shape {labels.shape}, expected (N,){hint}")
    if not np.issubdtype(labels.dtype, np.number) or np.issubdtype(labels.dtype, np.complexfloating):
        raise DataError(f"{file}: labels are {labels.dtype}, expected integers 0..K-1")
    if not np.isfinite(labels).all() or (labels != np.floor(labels)).any():
        raise DataError(f"{file}: labels are not whole numbers, expected integers 0..K-1")
    return labels.astype(np.int64)


def _count_classes(file: Path, labels: npt.NDArray[np.int64], num_classes: int | None) -> int:
    if not len(labels):
        raise DataError(f"{file}: no records")
    low, high = int(labels.min()), int(labels.max())
    count = num_classes or high + 1
    if low < 0 or high >= count:
        raise DataError(
            f"{file}: labels run from {low} to {high}, expected integers 0..{'K-1' if low < 0 else count - 1}"
        )
    present = np.unique(labels)
    if num_classes is None and len(present) != count:
        absent = next(label for label, seen in enumerate(present) if label != seen)
        raise DataError(
            f"{file}: labels run from {low} to {high}, expected integers 0..K-1 with every class present, but class "
            f"{absent} has no record (set num_classes if that is meant)"
        )
    return count
