"""The one way to a file of a run directory, which may be a stranger's: regular, inside of it, not larger than that."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

from nni_privacy.errors import DataError
from nni_privacy.files import UNREADABLE
from nni_privacy.runs.scores import AttackScores, read_score_file

__all__ = ["LARGEST", "check_inside", "is_inside", "read_inside", "scores_inside"]

LARGEST = 1 << 28
"""Bytes of a file of trials or of scores, unpacked."""


def is_inside(folder: Path, path: Path, most: int = LARGEST) -> bool:
    """Whether a path is a regular file that lies in a folder also after all links are followed.

    Args:
        folder: the run directory.
        path: of the file.
        most: bytes that it may have.
    """
    found = _real(folder, path)
    return found is not None and found[1] <= most


def check_inside(folder: Path, path: Path, most: int = LARGEST) -> None:
    """Says why a file that is there is not read; one that is missing is none's fault.

    Raises:
        DataError: in one line.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None
    found = _real(folder, path)
    if found is None:
        raise DataError(f"{path}: not a regular file inside of the run directory; it is not read")
    if found[1] > most:
        raise DataError(f"{path}: larger than {most:,} bytes; it is not read")


def read_inside(folder: Path, path: Path, most: int, *, end: bool = False, start: bool = False) -> bytes | None:
    """A file of a folder; None of one that lies elsewhere, is no regular file or is larger.

    Args:
        folder: the run directory.
        path: of the file.
        most: bytes.
        end: whether the last bytes are wanted where there are more.
        start: whether the first are.
    """
    found = _real(folder, path)
    if found is None or (found[1] > most and not (end or start)):
        return None
    real, size = found
    try:
        with real.open("rb") as file:
            file.seek(max(size - most, 0) if end else 0)
            return file.read(most)
    except OSError:
        return None


def scores_inside(folder: Path, path: Path, attacks: Sequence[str] = ()) -> tuple[AttackScores, ...]:
    """The scores of a file; none of one that would take more memory than any run's, or is not inside of the folder."""
    if not is_inside(folder, path):
        return ()
    try:
        with zipfile.ZipFile(path) as file:
            unpacked = sum(entry.file_size for entry in file.infolist())
    except UNREADABLE:
        return ()
    return read_score_file(path, attacks) if unpacked <= LARGEST else ()


def _real(folder: Path, path: Path) -> tuple[Path, int] | None:
    """Where a regular file of a folder really lies, and its size."""
    try:
        real = path.resolve(strict=True)
        state = real.stat()
        if S_ISREG(state.st_mode) and real.is_relative_to(folder.resolve()):
            return real, state.st_size
    except (OSError, RuntimeError, ValueError):  # a circle of links; a name that no file can have
        pass
    return None
