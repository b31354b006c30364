"""Records that somebody has in a file: an archive of arrays, or a table with a column of labels."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor

from nni_privacy.auditing.records import LABELS
from nni_privacy.data.npz import holds_images, opened_npz, read_npz, whole_labels
from nni_privacy.errors import DataError
from nni_privacy.files import UNREADABLE

__all__ = ["read_record_file"]

Arrays = dict[str, npt.NDArray[Any]]

ANY_NUMBER_OF_CLASSES = 2**31 - 1
"""A file of members need not hold every class; the model says how many there are."""
TABLE = "table"
_UNREADABLE: tuple[type[Exception], ...] = (SafetensorError, *UNREADABLE)
DELIMITERS = ",;\t"


def read_record_file(path: str | PathLike[str]) -> tuple[Any, Tensor]:
    """Inputs of records, see :class:`~nni_privacy.data.Inputs`, and their labels ``(n,)``.

    - ``.npz``: images and labels as :func:`~nni_privacy.data.npz.read_npz` takes them; or labels, by one of the names
      in :data:`~nni_privacy.auditing.records.LABELS`, and one array of inputs of any shape, or several that are named
      as the model calls them.
    - ``.safetensors``: the same.
    - ``.csv`` and ``.parquet`` (with pandas): a table of numbers with names of columns; one of them is the labels.

    Raises:
        DataError: with the file's name, if it or what it holds is not valid.
    """
    file = Path(path).expanduser()
    read = _READERS.get(file.suffix.lower(), _npz)
    if read is _npz and holds_images(file):
        data = read_npz(file, num_classes=ANY_NUMBER_OF_CLASSES)
        return data.images, data.labels
    arrays = read(file)
    label = next((name for name in LABELS if name in arrays), None)
    inputs = {name: array for name, array in arrays.items() if name != label}
    if label is None or not inputs:
        found = ", ".join(arrays) or "nothing"
        raise DataError(f"{file}: found {found}; expected inputs and labels, which are called {' or '.join(LABELS)}")
    truth = torch.from_numpy(whole_labels(file, arrays[label]))
    return (inputs if len(inputs) > 1 else next(iter(inputs.values()))), truth


def _npz(file: Path) -> Arrays:
    with opened_npz(file) as archive:
        return {name: archive[name] for name in archive.files}


def _safetensors(file: Path) -> Arrays:
    try:
        return load_file(file)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except _UNREADABLE as error:
        raise DataError(f"{file}: cannot be read as safetensors ({error})") from error


def _csv(file: Path) -> Arrays:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file without rows, which is told below
            first = lines.readline()
            delimiter = max(DELIMITERS, key=first.count)
            header = next(csv.reader([first], delimiter=delimiter), [])
            rows = np.loadtxt(lines, delimiter=delimiter, quotechar='"', comments=None, ndmin=2)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except UNREADABLE as error:
        raise DataError(f"{file}: expected names of columns, and rows of numbers below ({error})") from error
    return _columns(file, [name.strip() for name in header], rows)


def _parquet(file: Path) -> Arrays:
    try:
        import pandas  # type: ignore[import-untyped,unused-ignore]

        frame = pandas.read_parquet(file)
        rows = frame.to_numpy(dtype=np.float64)
    except ImportError as error:
        raise DataError(
            f"{file}: Parquet needs pandas and pyarrow, write .csv or .npz without them ({error})"
        ) from error
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except UNREADABLE as error:
        raise DataError(f"{file}: cannot be read as a table of numbers ({error})") from error
    return _columns(file, list(map(str, frame.columns)), rows)


def _columns(file: Path, names: list[str], rows: npt.NDArray[np.float64]) -> Arrays:
    """The column of labels, and all others as one array, in their order."""
    if not len(rows) or rows.shape[1] != len(names):
        raise DataError(
            f"{file}: {len(names)} names of columns, but rows of {rows.shape[1]} numbers ({len(rows)} rows)"
        )
    label = next((name for name in LABELS if name in names), None)
    if label is None:
        raise DataError(f"{file}: no column of labels: found {', '.join(names)}; expected {' or '.join(LABELS)}")
    place = names.index(label)
    return {label: rows[:, place], TABLE: np.delete(rows, place, axis=1).astype(np.float32)}


_READERS: Mapping[str, Callable[[Path], Arrays]] = MappingProxyType(
    {".npz": _npz, ".safetensors": _safetensors, ".csv": _csv, ".parquet": _parquet}
)
"""How a file is read, by how its name ends; others as ``.npz``."""
