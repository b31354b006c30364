"""A short fuzzing run; the long one is ``make fuzz``."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fuzz import Fuzzer, Target, apply, targets
from fuzz_files import genotype_texts
from hypothesis import strategies as st

from nni_privacy.errors import DataError

KINDS = ["genotypes", "genotype table", "npz", "answers", "answers, npz", "image PNG", "pattern", "trials.jsonl"]


@pytest.mark.parametrize("kind", KINDS)
def test_spoiled_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    fuzzer = Fuzzer(tmp_path)
    fuzzer.run({kind: targets()[kind]}, number=0, examples=40)
    assert fuzzer.faults == {} and fuzzer.cases[kind] >= 20 and fuzzer.refused[kind] > 0


@pytest.mark.parametrize("number", range(len(genotype_texts())))
def test_whole_files_are_read(tmp_path: Path, number: int) -> None:
    fuzzer = Fuzzer(tmp_path)
    fuzzer.case("whole", Target(st.binary(), "genotypes.txt", apply), genotype_texts()[number].encode())
    assert fuzzer.faults == {} and fuzzer.refused["whole"] == 0


def crash(path: Path) -> None:
    raise KeyError(path.name)


def wall(path: Path) -> None:
    raise DataError("a\nb")


def hang(path: Path) -> None:
    time.sleep(60)


def write(path: Path) -> None:
    path.with_name("half").touch()
    raise DataError("no")


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (crash, "KeyError at test_fuzz.py"),
        (wall, "a message of 2 lines"),
        (hang, "longer than 1 s"),
        (write, "written before the refusal: half"),
    ],
)
def test_every_fault_is_noticed(tmp_path: Path, read: object, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.SECONDS", 1)
    fuzzer = Fuzzer(tmp_path, tmp_path / "kept")
    fuzzer.case("x", Target(st.binary(), "file", read), b"content")  # type: ignore[arg-type]
    (found,) = fuzzer.faults.values()
    assert found.startswith(fault)
    assert (tmp_path / "kept" / "1-x-file").read_bytes() == b"content"
