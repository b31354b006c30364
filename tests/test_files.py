"""Files that appear whole or not at all, on disks that are full."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from nni_privacy import files
from nni_privacy.errors import ConfigError, RunStoppedError
from nni_privacy.files import LineFile, atomic_write, file_lock, read_yaml, writing_run
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.records import TrialRecord


def test_a_full_disk_leaves_the_lines_before_and_no_half_of_one(small_disk: Path) -> None:
    file = LineFile(small_disk / "trials.jsonl")
    written = 0

    def write_on() -> None:
        nonlocal written
        while written < 100:
            file.append(f"{written:03} " + "x" * 3000)
            written += 1

    with pytest.raises(OSError, match="No space left") as caught:
        write_on()
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(small_disk / "trials.jsonl")
    assert 0 < written < 100
    assert [line[:3] for line in file.path.read_text().splitlines()] == [f"{number:03}" for number in range(written)]
    assert (small_disk / "trials.jsonl").read_bytes().endswith(b"x\n")


def test_after_room_is_made_a_line_file_goes_on(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 60 * 1024)
    file = LineFile(small_disk / "trials.jsonl")
    file.append("a")
    with pytest.raises(OSError, match="No space left"):
        file.append("b" * 10_000)
    ballast.unlink()
    file.append("b" * 10_000)
    assert [line[0] for line in file.path.read_text().splitlines()] == ["a", "b"]


def test_a_file_that_does_not_fit_leaves_the_last_good_one(small_disk: Path) -> None:
    path = small_disk / "checkpoint.pt"
    atomic_write(path, b"good")
    words = r"checkpoint\.pt: No space left on device; all that is finished is kept"
    with pytest.raises(RunStoppedError, match=words), writing_run():
        atomic_write(path, b"x" * 100_000)
    assert path.read_bytes() == b"good"
    assert [entry.name for entry in small_disk.iterdir()] == ["checkpoint.pt"]


def test_scores_that_do_not_fit_leave_nothing(small_disk: Path) -> None:
    run = RunDirectory(small_disk / "run")
    run.create({"name": "x"}, {})
    run.append(TrialRecord("a", 0, "succeeded", "G"))
    with pytest.raises(OSError, match="No space left"):
        run.save_scores("b", b"x" * 100_000)
    assert list((run.path / "scores").iterdir()) == []
    assert [record.trial for record in run.records()] == ["a"]


class _FullFile:
    """A file whose disk is full after some bytes."""

    def __init__(self, path: Path, room: int) -> None:
        self.file, self.room = open(path, "ab", buffering=0), room  # noqa: PTH123, SIM115 - Path.open is replaced

    def __enter__(self) -> _FullFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def fileno(self) -> int:
        return self.file.fileno()

    def truncate(self, size: int) -> None:
        self.file.truncate(size)

    def write(self, content: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = self.file.write(content[: self.room])
        self.room -= count
        return count


def test_a_line_of_which_a_part_fitted_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path / "trials.jsonl")
    file.append("first")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, *_, **__: _FullFile(self, 4))
        with pytest.raises(OSError, match="No space left"):
            file.append("second")
    assert file.path.read_text() == "first\n"
    file.append("third")
    assert file.path.read_text().splitlines() == ["first", "third"]


def test_an_interrupt_amid_a_line_takes_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_descriptor: int) -> None:
        raise KeyboardInterrupt

    file = LineFile(tmp_path / "trials.jsonl")
    file.append("first")
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.append("second")
    assert file.path.read_text().splitlines() == ["first"]


def test_a_folder_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunStoppedError, match=r"gone/trials\.jsonl: No such file or directory"), writing_run():
        LineFile(tmp_path / "gone" / "trials.jsonl").append("x")


def test_a_written_file_leaves_no_other_file_and_text_is_utf_8(tmp_path: Path) -> None:
    for content in (b"old", "näher"):
        atomic_write(tmp_path / "file", content)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "näher"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    with pytest.raises(FileNotFoundError) as caught:
        atomic_write(tmp_path / "gone" / "file", b"")
    assert caught.value.filename == str(tmp_path / "gone" / "file")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*_: object) -> None:
        raise OSError(code, "no locks here")

    monkeypatch.setattr("fcntl.flock", refused)
    for wait in (True, False):
        with file_lock(tmp_path / "lock", wait=wait) as first, file_lock(tmp_path / "lock", wait=wait) as second:
            assert first and second
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("bracket", ["[", "{a: "])
def test_yaml_in_thousands_of_brackets_is_refused_at_once(tmp_path: Path, bracket: str) -> None:
    (tmp_path / "deep.yaml").write_text("a: " + bracket * 50_000)
    started = time.process_time()
    with pytest.raises(ConfigError, match="more than 200 brackets in brackets"):
        read_yaml(tmp_path / "deep.yaml", error=ConfigError)
    assert time.process_time() - started < 1
