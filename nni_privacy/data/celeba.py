"""CelebA from its official files: aligned JPEGs and the attribute list; the paper's eight classes."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchvision.datasets import CelebA

from nni_privacy.data.dataset import Dataset
from nni_privacy.data.files import Root, check_checksums, check_files, fetch, narrowed, one_line, root_folder
from nni_privacy.data.pictures import decode, mapped_images
from nni_privacy.errors import DataError
from nni_privacy.files import cache_folder

__all__ = ["CLASS_ATTRIBUTES", "NUM_CLASSES", "read_celeba"]

ATTRIBUTES, JPEGS, ZIP = "list_attr_celeba.txt", "img_align_celeba", "img_align_celeba.zip"

CLASS_ATTRIBUTES = ("Heavy_Makeup", "Mouth_Slightly_Open", "Smiling")
"""Bits of the class, the lowest first: the paper's are 1*HeavyMakeup + 2*MouthSlightlyOpen + 4*Smiling."""

NUM_CLASSES = 2 ** len(CLASS_ATTRIBUTES)
HEADER_LINES = 2

Reader = Callable[[int], npt.NDArray[np.uint8]]


def read_celeba(name: str, *, root: Root, download: bool, image_size: int, cache: Root) -> Dataset:
    """The 202,599 aligned faces, ``(202599, 3, image_size, image_size)`` ``uint8``, mapped from a file."""
    top = root_folder(name, root, download=download)
    folder = top / CelebA.base_folder
    wanted = [entry for entry in CelebA.file_list if entry[2] in (ATTRIBUTES, ZIP)]
    if download and not ((folder / ATTRIBUTES).is_file() and ((folder / JPEGS).is_dir() or (folder / ZIP).is_file())):
        fetch(name, top, narrowed(CelebA, file_list=wanted))
    checksums = {file: md5 for _, md5, file in wanted}
    check_files(name, folder, [(ATTRIBUTES, None)])
    check_checksums(name, folder, [(ATTRIBUTES, checksums.get(ATTRIBUTES))])
    files, labels = _parsed(folder / ATTRIBUTES)
    description, source = _source(name, folder, files, image_size, checksums.get(ZIP))
    where = cache_folder("images") if cache is None else Path(cache).expanduser().absolute()
    images = mapped_images(where, description, (len(files), 3, image_size, image_size), source)
    return Dataset(name, torch.from_numpy(images), torch.from_numpy(labels), NUM_CLASSES)


def _parsed(file: Path) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Names of the images and their classes, in the list's order."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
        count, attributes = int(lines[0]), lines[1].split()
        columns = [1 + attributes.index(attribute) for attribute in CLASS_ATTRIBUTES]
        rows = [line.split() for line in lines[HEADER_LINES:] if line.strip()]
        signs = np.array([[int(row[column]) for column in columns] for row in rows])
        names, widths = [row[0] for row in rows], {len(row) for row in rows}
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{file}: not CelebA's list of attributes ({one_line(error)})") from error
    if not rows or count != len(rows):
        raise DataError(f"{file}: says that it lists {count} images, but lists {len(rows)}")
    if widths != {1 + len(attributes)}:
        raise DataError(f"{file}: not CelebA's list of attributes (a line has not a name and {len(attributes)} values)")
    if not np.isin(signs, (-1, 1)).all():
        raise DataError(f"{file}: attributes are {', '.join(map(str, np.unique(signs)))}, expected -1 and 1")
    return names, ((signs > 0) * 2 ** np.arange(len(CLASS_ATTRIBUTES))).sum(axis=1).astype(np.int64)


def _source(
    name: str, folder: Path, files: list[str], image_size: int, zip_checksum: str | None
) -> tuple[dict[str, Any], Callable[[], Reader]]:
    """The description that identifies these images in the cache, and what opens the folder or the zip for decoding."""
    jpegs, archive = folder / JPEGS, folder / ZIP
    place = jpegs if jpegs.is_dir() else archive
    if not place.exists():
        raise DataError(f"dataset {name!r}: missing folder {jpegs} (or {ZIP}; set root, or download: true)")
    changed = place.stat().st_mtime_ns
    description = {"dataset": name, "path": str(place), "changed": changed, "first": files[0], "last": files[-1]}

    def from_folder(index: int) -> npt.NDArray[np.uint8]:
        return decode(jpegs / files[index], str(jpegs / files[index]), channels=3, image_size=image_size)

    def open_zip() -> Reader:
        check_checksums(name, folder, [(ZIP, zip_checksum)])
        return _zip_reader(archive, files, image_size)

    return description, (lambda: from_folder) if place == jpegs else open_zip


def _zip_reader(archive: Path, files: list[str], image_size: int) -> Reader:
    try:
        opened = zipfile.ZipFile(archive)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive}: cannot be read as a zip ({one_line(error)})") from error

    def read(index: int) -> npt.NDArray[np.uint8]:
        member = f"{JPEGS}/{files[index]}"
        try:
            content = opened.read(member)
        except (KeyError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{archive}: {one_line(error)}") from error
        return decode(io.BytesIO(content), f"{archive}: {member}", channels=3, image_size=image_size)

    return read
