"""Image files (JPEG, PNG, ...) decoded into one array, in memory or in a file that is mapped; folders of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from nni_privacy.data.dataset import MIN_CLASSES, Dataset
from nni_privacy.data.files import Root, one_line, root_folder
from nni_privacy.errors import DataError, PrivacyError
from nni_privacy.files import atomic_write, file_lock, private_folder

__all__ = ["MODES", "decode", "decode_all", "mapped_images", "read_image_folder"]

Images = npt.NDArray[np.uint8]

MODES: Mapping[int, str] = {1: "L", 3: "RGB"}
"""Pillow's modes by number of channels."""

MIN_IMAGES = 2
"""Of a class: one may be a member, one a non-member."""
CHUNK = 1024
"""Images between two notes of how far a cache is: what an interruption costs at most, a second or two."""


def decode(source: Path | IO[bytes], where: str, *, channels: int, image_size: int | None) -> Images:
    """One image ``(channels, H, W)``; with ``image_size`` resized to it (bilinear with antialiasing, stretched).

    Raises:
        DataError: with ``where``, if it is missing or cannot be decoded.
    """
    try:
        with Image.open(source) as file:
            picture = file.convert(MODES[channels])
    except FileNotFoundError:
        raise DataError(f"{where}: no such file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: cannot be read as an image ({one_line(error)})") from error
    if image_size is not None and picture.size != (image_size, image_size):
        picture = picture.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(picture.height, picture.width, channels).transpose(2, 0, 1)


def decode_all(indices: range, load: Callable[[int], Images], keep: Callable[[int, Images], None]) -> None:
    """Calls ``keep(i, load(i))`` for every index, in order; as many threads decode as there are cores."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        for start in range(indices.start, indices.stop, CHUNK):  # so as not to hold all of them decoded
            chunk = range(start, min(start + CHUNK, indices.stop))
            for index, image in zip(chunk, threads.map(load, chunk), strict=True):
                keep(index, image)


def read_image_folder(name: str, *, root: Root, image_size: int | None, channels: int) -> Dataset:
    """All images below ``root``; class 0 is the first class folder in alphabetical order."""
    folder = root_folder(name, root, download=False)
    try:
        found = ImageFolder(folder)
    except OSError as error:  # FileNotFoundError is also what torchvision raises for class folders without images
        raise DataError(f"dataset {name!r}: {folder}: {one_line(error)}") from error
    labels, classes = np.array(found.targets, dtype=np.int64), found.classes
    if len(classes) < MIN_CLASSES:
        raise DataError(f"dataset {name!r}: {folder} has one class folder, {classes[0]!r}; expected two or more")
    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() < MIN_IMAGES:
        rarest = counts.argmin()
        where = f"class folder {folder / classes[rarest]}"
        raise DataError(f"dataset {name!r}: {where} has {counts[rarest]} image; expected {MIN_IMAGES} or more")
    images = _images([Path(path) for path, _ in found.samples], channels, image_size)
    return Dataset(folder.name, torch.from_numpy(images), torch.from_numpy(labels), len(classes))


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


def mapped_images(
    folder: Path,
    description: Mapping[str, Any],
    shape: tuple[int, int, int, int],
    source: Callable[[], Callable[[int], Images]],
) -> Images:
    """Images ``(n, C, H, W)`` from a file in ``folder``, decoded into it first if they are not there.

    The file (``.npy``) and a note of how many of its images are done are named after a digest of ``description``. A
    build that was interrupted goes on where it stopped; of several processes one builds and the others wait.

    Args:
        folder: made if missing, for this user alone.
        description: plain JSON; all that decides what the images are.
        shape: of the whole.
        source: called if there is something to decode; what it returns gives image i as ``(C, H, W)``.

    Returns:
        A copy-on-write map: what is written to it never reaches the file.

    Raises:
        ConfigError: if others may write to the folder.
        DataError: if the folder cannot be written to or has too little space, or an image cannot be decoded.
    """
    text = json.dumps({**description, "shape": shape}, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    file, note = folder / f"{key}.npy", folder / f"{key}.done"
    try:
        private_folder(folder)
        if _done(note) < shape[0] or not file.is_file():
            with file_lock(folder / f"{key}.lock"):
                _build(file, note, shape, source)
        images: Images = np.load(file, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        if isinstance(error, PrivacyError):
            raise
        raise DataError(f"cache of decoded images {file}: {one_line(error)}") from error
    return images


def _build(
    file: Path, note: Path, shape: tuple[int, int, int, int], source: Callable[[], Callable[[int], Images]]
) -> None:
    done = _done(note) if file.is_file() else 0
    if done >= shape[0]:
        return  # another process has built it meanwhile
    load = source()
    if done == 0:
        note.unlink(missing_ok=True)
        # Space that is missing shows here and not as a crash when the map is written to.
        needed, free = int(np.prod(shape)), shutil.disk_usage(file.parent).free
        if needed > free:
            sizes = f"needs {needed / 1e9:.1f} GB, free are {free / 1e9:.1f} GB"
            raise DataError(f"cache of decoded images {file}: {sizes}")
        np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape).flush()
    images = np.lib.format.open_memmap(file, mode="r+")
    with _progress(f"decoding {shape[0]:,} images, once", done, shape[0]) as advance:
        for start in range(done, shape[0], CHUNK):
            chunk = range(start, min(start + CHUNK, shape[0]))
            decode_all(chunk, load, images.__setitem__)
            images.flush()
            atomic_write(note, str(chunk.stop))
            advance(chunk.stop)


def _done(note: Path) -> int:
    try:
        return int(note.read_text())
    except (FileNotFoundError, ValueError):
        return 0


@contextmanager
def _progress(what: str, done: int, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where there is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    texts = TextColumn("{task.description}"), TextColumn("{task.percentage:3.0f}%")
    columns = (texts[0], BarColumn(), texts[1], TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda finished: bar.update(task, completed=finished)
