"""Lines of JSON: what is whole is read, whatever stands around it."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from nni_privacy.runs.epochs import EpochRecord, SearchLog, read_epochs
from nni_privacy.runs.lines import mend, read_lines

ENTRY = b'{"number": 1, "more": {"number": 2}}'


def number_of(row: Any, _: int) -> int | None:
    number = row.get("number") if isinstance(row, dict) else None
    return number if isinstance(number, int) else None


@pytest.mark.parametrize(
    "content",
    [
        ENTRY,
        ENTRY + b"\n",
        ENTRY + b"\r\n",
        ENTRY + b"\r",
        b"\n\n" + ENTRY + b"\n  \n",
        codecs.BOM_UTF8 + ENTRY + b"\n",
        (ENTRY + b"\n").decode().encode("utf-16"),
    ],
)
def test_an_entry_is_whole_however_lines_end(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    lines = read_lines(tmp_path / "file", number_of)
    assert [line.value for line in lines.whole] == [1] and not lines.spoiled


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (b"\0\0\0" + ENTRY, [1]),
        (ENTRY + b"\0\0", [1]),
        (b'{"number": 7, "more": {"num' + ENTRY, [1]),
        (ENTRY + ENTRY, [1, 1]),
        (ENTRY + b"\xff" + ENTRY, [1, 1]),
        (b'{"number": 3, "more": "\xe9"}', []),
        (b"\0" * 90, []),
        (b"[1]", []),
        (b'{"a": 1}', []),
        (b'{"a": ' * 5000, []),
        (b"9" * 5000, []),
        (b"\xe9\x00\xff", []),
    ],
)
def test_what_is_whole_in_a_spoiled_line_is_read_and_the_line_is_told(
    line: bytes, values: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(ENTRY + b"\n" + line + b"\n" + ENTRY + b"\n")
    lines = read_lines(path, number_of)
    assert [one.value for one in lines.whole] == [1, *values, 1]
    assert dict(lines.spoiled) == {2: line}
    mend(path, lines, [one.text for one in lines.whole], {})
    assert [json.loads(text)["number"] for text in path.read_text().splitlines()] == [1, *values, 1]
    assert (tmp_path / "file.damaged").read_bytes() == line + b"\n"


def test_what_is_whole_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(ENTRY + b"\n")
    before = path.stat()
    lines = read_lines(path, number_of)
    mend(path, lines, [line.text for line in lines.whole], {})
    assert path.stat().st_ino == before.st_ino and list(tmp_path.iterdir()) == [path]


def test_a_damaged_log_of_epochs_is_written_on(tmp_path: Path) -> None:
    with SearchLog(tmp_path) as log:
        log.write(EpochRecord(1, 3, "G", 0))
        path = tmp_path / "epochs.jsonl"
        path.write_bytes(path.read_bytes() + b'{"epoch": 2, "ep\n[]\n')
        log.write(EpochRecord(2, 3, "G", 1))
    assert [record.epoch for record in read_epochs(tmp_path)] == [1, 2]
    assert (tmp_path / "epochs.jsonl.damaged").read_bytes() == b'{"epoch": 2, "ep\n[]\n'
