"""Official files of a data set on disk: found, checked, fetched, and pooled."""

from __future__ import annotations

import ctypes
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import DataError
from nni_privacy.files import cache_folder, file_lock

__all__ = ["Checksums", "Part", "Root", "check_checksums", "check_files", "default_data_folder", "fetch", "narrowed"]
__all__ += ["one_line", "pool", "root_folder"]

DATA_VARIABLE = "NNI_PRIVACY_DATA"

Root = str | PathLike[str] | None
Part = tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]
"""Images ``(n, C, H, W)`` and labels ``(n,)`` of one file."""

Checksums = Iterable[Any]
"""Pairs of a file, relative to a folder, and its MD5 as torchvision lists it; ``None``: any content is right."""


def default_data_folder() -> Path:
    """The folder in which data sets are looked for: ``$NNI_PRIVACY_DATA``, else ``data`` in the user's cache."""
    chosen = os.environ.get(DATA_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return cache_folder("data")


def root_folder(name: str, root: Root, *, download: bool | None) -> Path:
    """The folder that ``root`` names, or the default one; made if the data set is to be downloaded into it.

    ``download`` is None of data that nobody can download.

    Raises:
        DataError: if the folder is missing (and nothing is to be downloaded), or cannot be made.
    """
    folder = default_data_folder() if root is None else Path(root).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise DataError(f"dataset {name!r}: root is {folder}, which is a file, not a folder")
    if not folder.is_dir() and not download:
        remedy = "" if download is None else ", or download: true"
        raise DataError(f"dataset {name!r}: no such folder: {folder} (set root to where it is{remedy})")
    if download:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"dataset {name!r}: root {folder}: {error.strerror or error}") from None
    return folder


def check_files(name: str, folder: Path, files: Checksums) -> None:
    """Raises a DataError that names the first of the files that is not there; reads none of them."""
    for file, _ in files:
        if not (folder / file).is_file():
            raise DataError(f"dataset {name!r}: missing file {folder / file} (set root, or download: true)")


def check_checksums(name: str, folder: Path, files: Checksums) -> None:
    """Raises a DataError that names the first file whose checksum is not the official one."""
    from torchvision.datasets.utils import calculate_md5

    for file, expected in files:
        if expected is not None and (found := calculate_md5(folder / file)) != expected:
            sums = f"MD5 is {found}, the official file's is {expected} (remove it and set download: true)"
            raise DataError(f"dataset {name!r}: wrong checksum of {folder / file}: {sums}")


_MOST_LETTERS = 500


def one_line(error: BaseException) -> str:
    """The message of another library's error, in one line that is not longer than a line should be."""
    return " ".join(str(error).split())[:_MOST_LETTERS] or type(error).__name__


def narrowed(reader: Any, **tables: Any) -> Any:
    """A reader of torchvision's with other tables of files (its own name kept: torchvision makes paths of it)."""
    return type(reader.__name__, (reader,), tables)


def fetch(name: str, top: Path, reader: Any) -> None:
    """Has torchvision download (with a progress bar), check and unpack; a right archive on disk is only unpacked.

    Raises:
        DataError: in one line, if that fails.
    """
    try:
        with file_lock(top / f".{name}.lock"):
            unopened = reader.__new__(reader)  # the constructor would read and parse everything
            unopened.root = str(top)
            unopened.download()
    except (OSError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DataError(f"dataset {name!r}: cannot be fetched into {top}: {one_line(error)}") from error


def pool(name: str, parts: Iterable[Part]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images ``(n, C, H, W)`` and labels ``(n,)`` of several files as one; ``parts`` are taken one by one.

    The pool grows in place, so that it and one file, not twice the whole, are in memory at once.

    Raises:
        DataError: if the files' images differ in size, or a file's images and labels in number.
    """
    images, labels = np.empty(0, dtype=np.uint8), []
    shape: tuple[int, ...] | None = None
    count = 0
    for pixels, classes in parts:
        if len(pixels) != len(classes):
            found = f"a file of {len(pixels)} images goes with one of {len(classes)} labels"
            raise DataError(f"dataset {name!r}: {found}")
        if shape is not None and pixels.shape[1:] != shape:
            raise DataError(f"dataset {name!r}: images of its files differ in shape: {shape} and {pixels.shape[1:]}")
        shape = pixels.shape[1:]
        count += len(pixels)
        images.resize((count, *shape), refcheck=False)
        images[count - len(pixels) :] = pixels
        labels.append(classes.astype(np.int64))
        del pixels  # before the next file is read
        # Given back to the system: glibc keeps up to four times the file for later use. Other C libraries do not.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
        if trim is not None:
            trim(0)
    return images, np.concatenate(labels)
