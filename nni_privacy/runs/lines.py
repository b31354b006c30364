"""Lines of JSON as a crash, a disk or an editor may have left them: what is whole is read, the rest is set aside."""

from __future__ import annotations

import codecs
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from nni_privacy.files import atomic_write

__all__ = ["DAMAGED", "UTF16", "Line", "Lines", "lines_of", "listed", "mend", "read_lines"]

DAMAGED = ".damaged"
"""After the name of a file: the file beside it into which what is not whole is set aside."""

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_OBJECT = re.compile(r'\{\s*"')
_FOREIGN = re.compile("[\udc80-\udcff]")
_DECODER = json.JSONDecoder()
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""What a file in such an encoding begins with."""

_SHOWN = 8


@dataclass(frozen=True)
class Line(Generic[T]):
    """A whole entry of a file.

    Attributes:
        number: of its line, from 1.
        text: the JSON.
        value: what was read of it.
    """

    number: int
    text: str
    value: T


@dataclass(frozen=True)
class Lines(Generic[T]):
    """A file's entries.

    Attributes:
        content: the whole file; empty if there is none.
        whole: the entries that are whole, in their order.
        spoiled: number of each line that is not an entry and nothing else, to its bytes.
    """

    content: bytes
    whole: tuple[Line[T], ...]
    spoiled: Mapping[int, bytes]


def read_lines(path: Path, parse: Callable[[Any, int], T | None]) -> Lines[T]:
    """Reads a file of JSON objects, one a line; changes nothing.

    Ends of lines are those of any system, byte-order marks and empty lines mean nothing. In a line that is spoiled, by
    an earlier one that was cut off or by zeros, what is whole is read all the same.

    Args:
        path: of the file; if it is missing, there are no lines.
        parse: reads the object of a line, given its number; None if it is not an entry of this file.

    Raises:
        OSError: if the file cannot be read.
    """
    content = path.read_bytes() if path.is_file() else b""
    text = content.removeprefix(codecs.BOM_UTF8)
    if content.startswith(UTF16):
        text = content.decode("utf-16", errors="replace").encode()
    return replace(lines_of(text, parse), content=content)


def lines_of(text: bytes, parse: Callable[[Any, int], T | None], *, first: int = 1) -> Lines[T]:
    """Reads a part of a file, in UTF-8 and without a byte-order mark, as :func:`read_lines` reads a whole one.

    Args:
        text: whole lines; the last one need not have an end.
        parse: as there.
        first: number of its first line.
    """
    whole: list[Line[T]] = []
    spoiled: dict[int, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=first):
        if not line.strip():
            continue
        found, clean = _entries(line, number, parse)
        whole += found
        if not clean:
            spoiled[number] = line
    return Lines(text, tuple(whole), spoiled)


def _entries(line: bytes, number: int, parse: Callable[[Any, int], T | None]) -> tuple[list[Line[T]], bool]:
    """The entries of a line, and whether it is one and nothing else."""
    text = line.decode("utf-8", errors="surrogateescape").strip()
    found = []
    for start, end, value in _objects(text):
        entry = parse(value, number)
        if entry is not None and _is_utf8(text[start:end]):
            found.append(Line(number, text[start:end], entry))
    return found, len(found) == 1 and found[0].text == text


def _is_utf8(text: str) -> bool:
    """Whether no byte of a text was another encoding's."""
    return _FOREIGN.search(text) is None


def _objects(text: str) -> Iterator[tuple[int, int, Any]]:
    """The JSON objects in a text, the outermost that are whole: start, end, value."""
    match = _OBJECT.search(text)
    while match is not None:
        end = match.start() + 1
        try:
            value, end = _DECODER.raw_decode(text, match.start())
            yield match.start(), end, value
        except (ValueError, RecursionError):
            pass
        match = _OBJECT.search(text, end)


def mend(
    path: Path, lines: Lines[Any], kept: Sequence[str], repeated: Mapping[int, bytes], *, said: Sequence[str] = ()
) -> None:
    """Writes a file anew if it is not just the lines that are kept; says so in one line of the log.

    What is not kept is on disk in a file beside it before.

    Args:
        path: of the file.
        lines: what was read of it.
        kept: the lines that it is to have, without their ends.
        repeated: further lines to set aside, by their numbers.
        said: what else there is to say.

    Raises:
        OSError: if a file cannot be written; nothing is lost then.
    """
    content = "".join(f"{line}\n" for line in kept).encode()
    aside = {**repeated, **lines.spoiled}
    if aside:
        with path.with_name(path.name + DAMAGED).open("ab") as file:
            file.write(b"".join(aside[number] + b"\n" for number in sorted(aside)))
            file.flush()
            os.fsync(file.fileno())
    if content != lines.content:
        atomic_write(path, content)
    notes = [f"skipped, as no whole JSON object: line {listed(lines.spoiled)}"] if lines.spoiled else []
    notes += [f"repeated: line {listed(repeated)}"] if repeated else []
    notes += [f"set aside in {path.name}{DAMAGED}"] if aside else []
    if notes or said:
        _logger.warning("%s: %s", path, "; ".join([*notes, *said]))


def listed(items: Iterable[Any]) -> str:
    """Items for a message that is to stay one line.

    >>> listed(range(10))
    '0, 1, 2, 3, 4, 5, 6, 7 and 2 more'
    """
    texts = [str(item) for item in items]
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
