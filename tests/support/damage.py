"""What crashes, disks and editors do to the files of a run, by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

Change = Callable[[list[bytes], random.Random], list[bytes]]
"""From the lines of a file, with their ends, to what is left of them."""


def _at(insert: Callable[[random.Random], bytes]) -> Change:
    def change(lines: list[bytes], chance: random.Random) -> list[bytes]:
        place = chance.randint(0, len(lines))
        return [*lines[:place], insert(chance), *lines[place:]]

    return change


def _of_one(replace: Callable[[bytes, random.Random], bytes]) -> Change:
    def change(lines: list[bytes], chance: random.Random) -> list[bytes]:
        place = chance.randrange(len(lines))
        return [*lines[:place], replace(lines[place], chance), *lines[place + 1 :]]

    return change


def _of_all(replace: Callable[[bytes, random.Random], bytes]) -> Change:
    return lambda lines, chance: [replace(b"".join(lines), chance)]


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randint(1, 60)) + b"\n"


def _cut_inside(content: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.randrange(len(content)) for _ in range(2))
    return content[:start] + content[min(end, start + 400) :]


def _zeros(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    length = min(chance.randint(1, 400), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def _flip(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


NO_RECORDS = (
    b"[1, 2]",
    b"{}",
    b"null",
    b'"text"',
    b"17",
    b'{"a": 1}',
    b'{"trial": 3}',
    b'{"delivered": "1"}',
    b'{"trial": "x", "sequence": "y", "status": "ok", "metrics": []}',
)

LINES: dict[str, Change] = {
    "noise between": _at(_noise),
    "noise instead": _of_one(lambda _, chance: _noise(chance)),
    "no record": _at(lambda chance: chance.choice(NO_RECORDS) + b"\n"),
    "not utf-8": _of_one(lambda line, chance: line[: (at := chance.randrange(len(line)))] + b"\xff" + line[at:]),
    "twice": _of_one(lambda line, _: line + line),
    "again at the end": lambda lines, chance: [*lines, chance.choice(lines)],
    "line half written": _of_one(lambda line, chance: line[: chance.randrange(1, len(line))]),
    "no line end": _of_one(lambda line, _: line.rstrip(b"\n")),
    "cut off": _of_all(lambda content, chance: content[: chance.randrange(len(content))]),
    "cut inside": _of_all(_cut_inside),
    "zeros": _of_all(_zeros),
    "zeros before": _of_one(lambda line, _: bytes(50) + line),
    "a bit": _of_all(_flip),
    "crlf": _of_all(lambda content, _: content.replace(b"\n", b"\r\n")),
    "cr": _of_all(lambda content, _: content.replace(b"\n", b"\r")),
    "byte-order mark": _of_all(lambda content, _: b"\xef\xbb\xbf" + content),
    "utf-16": _of_all(lambda content, _: content.decode().encode("utf-16")),
    "empty lines": _of_all(lambda content, _: content.replace(b"\n", b"\n\n")),
    "all zeros": _of_all(lambda content, _: bytes(len(content))),
    "empty": lambda *_: [],
}
"""For files of lines; without a file there is a further one, "missing"."""

WHOLE = ("noise between", "cut off", "cut inside", "zeros", "a bit", "crlf", "all zeros", "empty")
"""Those that make sense for other files, too."""


def damage(path: Path, kind: str, chance: random.Random) -> None:
    """Does ``kind`` to a file."""
    if kind == "missing":
        path.unlink()
        return
    path.write_bytes(b"".join(LINES[kind](path.read_bytes().splitlines(keepends=True), chance)))
