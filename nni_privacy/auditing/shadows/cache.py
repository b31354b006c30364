"""The answers of trained shadows on disk: one file a shadow, under the hash of everything that defines it.

A file is an ordinary ``.npz`` that numpy loads with ``allow_pickle=False``; its zip comment is the SHA-256 of all bytes
before, so that a damaged file is noticed before it is parsed.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import logging
import os
import secrets
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import ConfigError
from nni_privacy.files import cache_folder, private_folder

__all__ = ["CacheLocation", "ShadowCache", "default_cache_folder", "opened_cache"]

DESCRIPTION = "description"
"""The member that says in JSON what the file holds; its SHA-256 is the file's key."""

_DIGEST_LENGTH = 64

_logger = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]


def default_cache_folder() -> Path:
    """Where shadows are kept: ``shadows`` in the user's cache (:func:`nni_privacy.files.cache_folder`)."""
    return cache_folder("shadows")


class ShadowCache:
    """A folder of trained shadows' answers, safe to share between processes that run at once.

    Files appear whole or not at all, so a reader never meets half of one. :meth:`lock` keeps two processes from
    training the same shadow; locks are the kernel's (``flock``) and end with the process that holds them, however it
    ends.

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
        """Puts arrays under ``key``; on disk when this returns.

        Args:
            key: SHA-256 of ``description``.
            arrays: no objects, and none of the name ``description``.
            description: JSON that says what they are.

        Raises:
            ConfigError: if the folder is full or cannot be written to.
        """
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{**arrays, DESCRIPTION: np.asarray(description)})
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.comment = b"0" * _DIGEST_LENGTH
        content = buffer.getbuffer()[:-_DIGEST_LENGTH]
        try:
            self._replace(key, content, _digest(content))
        except OSError as error:
            raise ConfigError(f"cache of shadow models: {self.folder}: {error.strerror or error}") from error

    def _replace(self, key: str, content: memoryview, digest: bytes) -> None:
        partial = self.folder / f".{key}-{os.getpid()}-{secrets.token_hex(4)}.partial"
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.write(digest)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path(key))
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    @contextmanager
    def lock(self, key: str, *, wait: bool) -> Iterator[bool]:
        """Holds the lock of a shadow; yields false at once if another holds it and ``wait`` is false.

        The lock's file is removed at the end. On a file system without locks all get it: then two may train the same
        shadow, and the second file replaces an equal first one.
        """
        path = self.folder / f"{key}.lock"
        descriptor = _locked(path, wait=wait)
        if descriptor is None:
            yield False
            return
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)  # while the lock is held: see _locked
            os.close(descriptor)


def _locked(path: Path, *, wait: bool) -> int | None:
    """An open, locked descriptor of ``path``; ``None`` if another holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            _logger.debug("no lock on %s: %s", path, error)
            return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # Whoever held it before has removed the file: then a third one may hold the lock of a new file of that name.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


CacheLocation = ShadowCache | str | os.PathLike[str] | Literal[False] | None
"""A cache, its folder, ``None``: the user's (:func:`default_cache_folder`), or ``False``: nothing is kept."""


@contextmanager
def opened_cache(location: CacheLocation = None) -> Iterator[ShadowCache]:
    """The cache at a location; for ``False`` a temporary one, through which workers hand over their results."""
    if location is False:
        with tempfile.TemporaryDirectory(prefix="nni-privacy-shadows-") as folder:
            yield ShadowCache(folder)
    elif isinstance(location, ShadowCache):
        yield location
    else:
        yield ShadowCache(default_cache_folder() if location is None else location)
