"""Image files (JPEG, PNG, ...) decoded into one array, in memory or in a file that is mapped into memory."""

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
from PIL import Image

from nni_privacy.data.files import one_line
from nni_privacy.errors import DataError, PrivacyError
from nni_privacy.files import atomic_write, file_lock, private_folder

__all__ = ["MODES", "decode", "decode_all", "mapped_images"]

Images = npt.NDArray[np.uint8]

MODES: Mapping[int, str] = {1: "L", 3: "RGB"}
"""Pillow's modes by number of channels."""

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
        _allocate(file, shape)
    images = np.lib.format.open_memmap(file, mode="r+")
    with _progress(f"decoding {shape[0]:,} images, once", done, shape[0]) as advance:
        for start in range(done, shape[0], CHUNK):
            chunk = range(start, min(start + CHUNK, shape[0]))
            decode_all(chunk, load, images.__setitem__)
            images.flush()
            atomic_write(note, str(chunk.stop))
            advance(chunk.stop)


def _allocate(file: Path, shape: tuple[int, int, int, int]) -> None:
    """A file of the right size; space that is missing shows here and not as a crash when the map is written to."""
    needed, free = int(np.prod(shape)), shutil.disk_usage(file.parent).free
    if needed > free:
        raise DataError(f"cache of decoded images {file}: needs {needed / 1e9:.1f} GB, free are {free / 1e9:.1f} GB")
    np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape).flush()


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
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda finished: bar.update(task, completed=finished)
