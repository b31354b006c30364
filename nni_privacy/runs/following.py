"""``trials.jsonl`` followed while it grows: what was read is not read again, unless the file has become another."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from nni_privacy.errors import DataError
from nni_privacy.runs.lines import UTF16, lines_of
from nni_privacy.runs.records import TrialRecord, parse_record

__all__ = ["News", "TrialFollower"]

_EDGE = 4096
"""Bytes at either end of what has been read by which it is known again."""


@dataclass(frozen=True)
class News:
    """What a look at the file has brought.

    Attributes:
        reset: whether it is another file than at the last look, or one that was mended: all is new.
        changed: ids of the trials that are new or differ.
        gone: ids of those that are there no longer.
    """

    reset: bool
    changed: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.reset or bool(self.changed or self.gone)


@dataclass(frozen=True)
class _Known:
    """A file as it was when it was looked at: its identity, and the edges of what has been read of it."""

    device: int
    inode: int
    size: int
    modified: int
    offset: int
    edges: int


class TrialFollower:
    """The trials of a file, as :func:`~nni_privacy.runs.records.read_trials` reads it, at the price of what was added.

    A file that was replaced, cut or mended is read anew. The one thing that passes unseen is a change in the middle
    that keeps the file's inode and every length, made between two looks between which the file has grown as well.

    Args:
        path: of the file; it may be missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: _Known | None = None
        self._lines = 0
        self.spoiled = 0
        """Number of ended lines that are not the whole record of a trial and nothing else."""
        self._settled: dict[str, TrialRecord] = {}
        self._open: dict[str, TrialRecord] = {}
        self.trials: Mapping[str, TrialRecord] = {}
        """Id to record, in the order in which they ended; the last line of a trial wins."""

    def look(self) -> News:
        """Reads what is new.

        Raises:
            DataError: if the file cannot be read; what was read before stays.
        """
        try:
            if not self.path.is_file():  # a pipe would be waited for
                return self._forget()
            with self.path.open("rb") as file:
                state = os.fstat(file.fileno())
                known = self._known
                stamp = state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
                if known is not None and stamp == (known.device, known.inode, known.size, known.modified):
                    return News(reset=False)
                grown = known is not None and stamp[:2] == (known.device, known.inode) and stamp[2] > known.size
                same = grown and known is not None and _edges(file.fileno(), known.offset) == known.edges
                offset = known.offset if same and known is not None else 0
                content = _content(file.fileno(), offset, state.st_size)
                return self._read(content, offset, stamp, file.fileno())
        except FileNotFoundError:
            return self._forget()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror or type(error).__name__})") from None

    def _read(self, content: bytes, offset: int, stamp: tuple[int, int, int, int], descriptor: int) -> News:
        """Takes what stands behind ``offset``; its last line, where it has no end yet, is looked at again next time."""
        before = self.trials
        reset = offset == 0
        if reset:
            self._settled, self._lines, self.spoiled = {}, 0, 0
            content = content.decode("utf-16", errors="replace").encode() if content.startswith(UTF16) else content
        cut = 0 if _is_utf16(descriptor) else content.rfind(b"\n") + 1
        settled = content[:cut].removeprefix(codecs.BOM_UTF8) if reset else content[:cut]
        found = lines_of(settled, parse_record, first=self._lines + 1)
        self._lines += len(settled.splitlines())
        self.spoiled += len(found.spoiled)
        self._settled.update((line.value.trial, line.value) for line in found.whole)
        rest = content[cut:] if offset + cut else content[cut:].removeprefix(codecs.BOM_UTF8)
        unended = lines_of(rest, parse_record, first=self._lines + 1)
        self._open = {line.value.trial: line.value for line in unended.whole}
        self.trials = {**self._settled, **self._open} if self._open else dict(self._settled)
        self._known = _Known(*stamp, offset + cut, _edges(descriptor, offset + cut))
        pairs = ((name, before.get(name), record) for name, record in self.trials.items())
        changed = frozenset(name for name, old, record in pairs if old is not record and old != record)
        return News(reset and bool(before), changed, frozenset(before.keys() - self.trials.keys()))

    def _forget(self) -> News:
        had, self.trials, self._known, self.spoiled = bool(self.trials), {}, None, 0
        return News(reset=had)


def _content(descriptor: int, offset: int, size: int) -> bytes:
    """The bytes from ``offset`` to the size that was seen: what is added meanwhile is for the next look."""
    parts = []
    while offset < size and (part := os.pread(descriptor, size - offset, offset)):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _edges(descriptor: int, offset: int) -> int:
    """A checksum of the first and the last bytes before ``offset``."""
    first = os.pread(descriptor, min(_EDGE, offset), 0)
    return crc32(os.pread(descriptor, min(_EDGE, offset), max(offset - _EDGE, 0)), crc32(first))


def _is_utf16(descriptor: int) -> bool:
    """Whether a file's lines do not end where their bytes say so: such a file is read whole each time."""
    return os.pread(descriptor, len(UTF16[0]), 0) in UTF16
