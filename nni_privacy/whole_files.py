"""Files that appear whole or not at all, and that grow by whole lines, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nni_privacy.errors import RunStoppedError

__all__ = ["DISK_FAULTS", "LineFile", "full_disk", "unwritten", "write_whole", "writing_run"]

DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors of the system that mean that nothing can be written any more."""

FULL_BYTES = 1 << 16
"""With less room than this a disk is taken to be full."""


class LineFile:
    """Safe to append to from several threads; a full disk or a crash never leaves half a line behind for good.

    Args:
        path: the file; made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def append(self, line: str) -> None:
        """Adds ``line``; on disk when this returns.

        Raises:
            OSError: if it cannot be written; the file is then as it was.
        """
        content = (line + "\n").encode()
        with self._lock, self.path.open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                while content:
                    content = content[file.write(content) :]
                os.fsync(file.fileno())
            except BaseException as error:
                file.truncate(size)
                if isinstance(error, OSError):
                    raise _named(error, self.path) from None
                raise

    def repair(self) -> None:
        """Cuts off what a crash left of a line that was being written."""
        if not self.path.is_file():
            return
        with self._lock, self.path.open("r+b") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                file.truncate(whole)
                os.fsync(file.fileno())

    def lines(self) -> list[str]:
        """The whole lines that are there, without their ends; none if there is no file."""
        if not self.path.is_file():
            return []
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        return [line for line in whole.decode("utf-8", errors="replace").split("\n") if line.strip()]


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that appears whole, in place of an older one, or not at all.

    Raises:
        OSError: if it cannot be written; what was there before is still there.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _named(error, path) from None


def _named(error: OSError, path: Path) -> OSError:
    """The error with the file's name: writing to an open file tells none."""
    return error if error.errno is None else OSError(error.errno, error.strerror, str(path))


def full_disk(folder: Path) -> str | None:
    """What to say of a folder whose disk is full; None if it has room, or nobody knows."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    return f"{os.strerror(errno.ENOSPC)}: {folder}" if free < FULL_BYTES else None


def unwritten(error: OSError) -> str:
    """What to tell when a file of a run could not be written."""
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}; all that is finished is kept: mend that and go on with --resume"


@contextmanager
def writing_run() -> Iterator[None]:
    """Turns a file that cannot be written into the end of the run.

    Raises:
        RunStoppedError: if it cannot.
    """
    try:
        yield
    except OSError as error:
        raise RunStoppedError(unwritten(error)) from error
