"""Image files (JPEG, PNG, ...) decoded to eight bits a channel, and a file of many decoded images that is mapped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from nni_privacy.data.files import one_line
from nni_privacy.errors import DataError, PrivacyError
from nni_privacy.files import UNREADABLE, atomic_write, file_lock, private_folder

__all__ = ["MAX_PIXELS", "MODES", "decode", "decode_all", "is_deep", "mapped_images"]

Images = npt.NDArray[np.uint8]

MODES: Mapping[int, str] = {1: "L", 3: "RGB"}
"""Pillow's modes by number of channels."""

MAX_PIXELS = 2**25
"""Of one image: a small file may unfold to more than memory holds (a decompression bomb); this much takes 0.3 GB."""
UNDECODABLE: tuple[type[Exception], ...] = (*UNREADABLE, SyntaxError)
"""What Pillow raises of a damaged file; its PNG reader has a SyntaxError, too."""
DEEP = ("I", "F")
"""What names of Pillow's modes with more than eight bits a pixel begin with; ``I;16`` is one of them."""
CHUNK = 1024
"""Images between two notes of how far a cache is: what an interruption costs at most, a second or two."""


def decode(
    source: Path | IO[bytes],
    where: str,
    *,
    channels: int,
    image_size: int | None,
    exif_orientation: bool = False,
    white: float | None = None,
) -> Images:
    """One image ``(channels, H, W)``; with ``image_size`` resized to it (bilinear with antialiasing, stretched).

    What is transparent shows white. Of 16 bits a channel the upper eight are kept.

    Args:
        source: the file.
        where: its name in errors.
        channels: 1 or 3.
        image_size: height and width.
        exif_orientation: turn it as its EXIF data say.
        white: the grey value of an image of more than eight bits that becomes 255, 0 staying 0; grey images of 32-bit
            integers or floats have no other scale.

    Raises:
        DataError: with ``where``, if it is missing, has more than :data:`MAX_PIXELS`, cannot be decoded, or has grey
            values that are not in ``0..white``.
    """
    try:
        with Image.open(source) as file:
            if file.width * file.height > MAX_PIXELS:
                raise DataError(f"{where}: {file.width} x {file.height} pixels; allowed are {MAX_PIXELS:,}: shrink it")
            sixteen = file.mode.startswith("I;16") or (file.mode == "I" and file.format in ("PNG", "PPM"))
            file.load()
            if exif_orientation:
                ImageOps.exif_transpose(file, in_place=True)
            picture = _plain(_eight_bits(file, where, sixteen=sixteen, white=white), MODES[channels])
    except FileNotFoundError:
        raise DataError(f"{where}: no such file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{where}: too many pixels; allowed are {MAX_PIXELS:,}: shrink it") from error
    except DataError:
        raise
    except UNDECODABLE as error:
        raise DataError(f"{where}: cannot be read as an image ({_reason(source, error)})") from error
    if image_size is not None and picture.size != (image_size, image_size):
        picture = picture.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(picture.height, picture.width, channels).transpose(2, 0, 1)


def is_deep(file: Path) -> bool:
    """Whether an image has more than eight bits a pixel of grey."""
    with Image.open(file) as picture:
        return picture.mode.startswith(DEEP)


def _reason(source: Path | IO[bytes], error: Exception) -> str:
    if isinstance(source, Path) and source.is_file() and not source.stat().st_size:
        return "the file is empty"
    return "no known format" if isinstance(error, UnidentifiedImageError) else one_line(error)


def _eight_bits(picture: Image.Image, where: str, *, sixteen: bool, white: float | None) -> Image.Image:
    """The picture, one of more than eight bits in mode ``L``: Pillow would cut it off at 255."""
    if not picture.mode.startswith(DEEP):
        return picture
    levels = np.asarray(picture)
    if white is None and sixteen:
        return Image.fromarray((levels >> 8).astype(np.uint8))
    if white is None:
        kind = "floats" if picture.mode == "F" else "32-bit integers"
        raise DataError(f"{where}: grey values are {kind}, which have no largest one: set white to what becomes 255")
    low, high = levels.min(), levels.max()
    if not (low >= 0 and high <= white):
        raise DataError(f"{where}: grey values run from {low} to {high}; allowed are 0..{white:g} (white)")
    return Image.fromarray(np.rint(levels * (255 / white)).astype(np.uint8))


def _plain(picture: Image.Image, mode: str) -> Image.Image:
    """The picture in mode ``L`` or ``RGB``, what is transparent over white: what it hides is often black."""
    if picture.has_transparency_data:
        veiled = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        picture = Image.new("RGB", picture.size, "white")
        picture.paste(veiled, mask=veiled)
    if picture.mode not in ("1", mode):
        picture = picture.convert("RGB")  # first: not every mode has a way to L
    return picture.convert(mode) if picture.mode != mode else picture


def decode_all(indices: range, load: Callable[[int], Images], keep: Callable[[int, Images], None]) -> None:
    """Calls ``keep(i, load(i))`` for every index, in order; as many threads decode as there are cores.

    What Pillow warns of is no warning here: an image that is too large is an error, a damaged one is one or is read.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
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
