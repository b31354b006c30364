"""The answers of trained shadows on disk: one file a shadow, under the hash of everything that defines it.

A file is an ordinary ``.npz`` that numpy loads with ``allow_pickle=False``; its zip comment is the SHA-256 of all bytes
before, so that a damaged file is noticed before it is parsed.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import ConfigError
from nni_privacy.files import atomic_write, cache_folder, file_lock, private_folder

__all__ = ["CacheLocation", "ShadowCache", "opened_cache"]

DESCRIPTION = "description"
"""The member that says in JSON what the file holds; its SHA-256 is the file's key."""

_DIGEST_LENGTH = 64

_logger = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]


class ShadowCache:
    """A folder of trained shadows' answers, safe to share between processes that run at once.

    Writes are atomic, so a reader never meets half a file. :meth:`lock` keeps two processes from training the same
    shadow.

    Args:
        folder: made if missing, for this user alone.

    Raises:
        ConfigError: if the folder cannot be made or written to, or others can write to it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser().absolute()
        try:
            private_folder(self.folder)
        except OSError as error:
            raise ConfigError(f"cache of shadow models: {self.folder}: {error.strerror or error}") from None
        if not os.access(self.folder, os.W_OK):
            raise ConfigError(f"cache of shadow models: {self.folder} is not writable")

    def __repr__(self) -> str:
        return f"ShadowCache({str(self.folder)!r})"

    def path(self, key: str) -> Path:
        """The file of a shadow, there or not."""
        return self.folder / f"{key}.npz"

    def read(self, key: str) -> Arrays | None:
        """The arrays under ``key``; ``None`` if there are none or the file is damaged, which is logged."""
        try:
            content = self.path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _logger.warning("%s cannot be read (%s); the shadow is trained again", self.path(key), error)
            return None
        if _digest(content[:-_DIGEST_LENGTH]) != content[-_DIGEST_LENGTH:]:
            _logger.warning("%s is damaged; the shadow is trained again", self.path(key))
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        description = str(arrays.pop(DESCRIPTION, ""))
        if hashlib.sha256(description.encode()).hexdigest() != key:
            _logger.warning("%s holds another shadow; it is trained again", self.path(key))
            return None
        return arrays

    def write(self, key: str, arrays: Mapping[str, npt.NDArray[Any]], *, description: str) -> None:
        """Puts arrays, no objects, under ``key``, the SHA-256 of ``description`` in JSON; on disk when this returns.

        Raises:
            ConfigError: if the folder is full or cannot be written to.
        """
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{**arrays, DESCRIPTION: np.asarray(description)})
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.comment = b"0" * _DIGEST_LENGTH
        content = buffer.getvalue()[:-_DIGEST_LENGTH]
        try:
            atomic_write(self.path(key), content + _digest(content))
        except OSError as error:
            raise ConfigError(f"cache of shadow models: {self.folder}: {error.strerror or error}") from error

    def lock(self, key: str, *, wait: bool) -> AbstractContextManager[bool]:
        """The lock of a shadow, as a context; see :func:`nni_privacy.files.file_lock`."""
        return file_lock(self.folder / f"{key}.lock", wait=wait)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


CacheLocation = ShadowCache | str | os.PathLike[str] | Literal[False] | None
"""A cache, its folder, ``None``: ``shadows`` in the user's cache, or ``False``: nothing is kept."""


@contextmanager
def opened_cache(location: CacheLocation = None) -> Iterator[ShadowCache]:
    """The cache at a location; for ``False`` a temporary one, through which workers hand over their results."""
    if location is False:
        with tempfile.TemporaryDirectory(prefix="nni-privacy-shadows-") as folder:
            yield ShadowCache(folder)
    elif isinstance(location, ShadowCache):
        yield location
    else:
        yield ShadowCache(cache_folder("shadows") if location is None else location)
