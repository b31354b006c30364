"""`tests/matrix.py` without its environments: its rows and table, and what the package says of Pythons."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nni_privacy.commands import doctor

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("matrix", ROOT / "tests" / "matrix.py")
assert SPEC is not None and SPEC.loader is not None
matrix: Any = importlib.util.module_from_spec(SPEC)
sys.modules["matrix"] = matrix
SPEC.loader.exec_module(matrix)

RULER = "|---|---|---|---|---|---|---|---|"
HERE = ".".join(map(str, sys.version_info[:2]))


def row(python: str, torch: str, **results: Any) -> str:
    return str(matrix.Row(python, torch, **results).line())


def settings() -> configparser.ConfigParser:
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg")
    return read


def test_setup_doctor_and_matrix_speak_of_the_same_pythons() -> None:
    named = re.findall(r"Python :: (3\.\d+)$", settings()["metadata"]["classifiers"], re.MULTILINE)
    assert tuple(named) == matrix.PYTHONS
    least, beyond = (".".join(map(str, version)) for version in doctor._PYTHONS)
    assert settings()["options"]["python_requires"] == f">={least}, <{beyond}"
    assert named[0] == least and f"3.{int(named[-1].partition('.')[2]) + 1}" == beyond


def test_the_page_has_a_row_for_each_python_and_torch() -> None:
    lines = matrix.PAGE.read_text(encoding="utf-8").partition(matrix.HEADER + "\n")[2].splitlines()[1:]
    rows = [matrix.key(line) for line in lines if line.startswith("| 3.")]
    assert rows == [(python, torch) for python in matrix.PYTHONS for torch in matrix.TORCHES]


def test_rows_replace_those_of_the_same_python_and_torch_and_leave_all_else() -> None:
    old = [row("3.9.1", "2.6.0"), row("3.12.1", "2.6.0", numpy="1"), row("3.12.1", "2.9.0 (newest)", numpy="2")]
    page = "\n".join(["# Title", "| other | table |", "", matrix.HEADER, RULER, *old, "", "| after | it |", ""])
    untried = row("3.12", "newest", install="untried: x")
    new = [row("3.12.4", "2.6.1", numpy="3"), row("3.10.2", "2.10.0 (newest)"), untried]
    changed = matrix.put_into(page, new)
    assert changed.splitlines()[5:9] == [old[0], new[1], new[0], old[2]]
    assert changed.startswith("# Title\n| other | table |\n\n" + matrix.HEADER)
    assert changed.endswith("\n\n| after | it |\n")
    assert matrix.put_into(changed, new) == changed
    with pytest.raises(ValueError, match="no table"):
        matrix.put_into("# Title", new)


@pytest.mark.parametrize(
    ("log", "counts"),
    [
        ("....\n12 passed, 3 skipped, 7 deselected in 1.21s\n", {"passed": 12, "skipped": 3, "deselected": 7}),
        ("1 failed\n== 2 failed, 10 passed, 1 error in 61.00s (0:01:01) ==", {"failed": 2, "passed": 10, "error": 1}),
        ("no tests ran in 0.01s", {"errors": 1}),
        ("ImportError: no module", {"errors": 1}),
        ("", {"errors": 1}),
    ],
)
def test_counts_are_those_of_the_last_line_and_none_is_an_error(log: str, counts: dict[str, int]) -> None:
    assert matrix.counts_of(log) == counts


def test_tests_are_summed_over_rooms_and_the_rooms_named_unless_all_were_run() -> None:
    every = {room: {"passed": 600, "deselected": 5} for room in matrix.ROOMS}
    assert matrix.Row("3.12", "2.6", tests=every).told_tests() == f"{600 * len(matrix.ROOMS):,} passed"
    some = {"runs": {"passed": 2, "failed": 1}, "cells": {"passed": 3, "skipped": 1}}
    assert matrix.Row("3.12", "2.6", tests=some).told_tests() == "1 failed, 5 passed, 1 skipped (`cells`, `runs`)"


def test_a_python_is_found_by_version_or_path_and_one_that_does_not_start_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python3.99"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert matrix.version_of(matrix.find_python(HERE)) == HERE
    assert matrix.find_python("3.99") is None
    assert matrix.version_of(broken) is None and matrix.version_of(tmp_path / "none") is None
    assert matrix.find_python(str(broken)) == broken


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands of trials, none of which is run; those with a word of ``faults`` fail."""
    said: list[str] = []
    faults = {"broken.whl": "no such package"}

    def run(self: Any, words: Sequence[object], *, folder: Path, **variables: str) -> int:
        said.append(" ".join(map(str, words)))
        fault = next((told for word, told in faults.items() if word in said[-1]), "")
        text = '["3.12.1", "2.6.0", "2.1"]' if "platform" in said[-1] else "5 passed in 1.0s"
        self.log.write_text(fault or text)
        return int(bool(fault))

    monkeypatch.setattr(matrix.Trial, "_run", run)
    return said


def made(tmp_path: Path, name: str = "good.whl", content: bytes = b"1") -> Any:
    wheel = tmp_path / name
    wheel.write_bytes(content)
    return matrix.Trial(Path(sys.executable), "3.12", "2.6", wheel=wheel, work=tmp_path / "work")


def test_a_trial_goes_on_where_it_was_ended_and_anew_with_another_wheel(tmp_path: Path, commands: list[str]) -> None:
    first = made(tmp_path).run(["install", "doctor", "tests"], ["runs"])
    assert (first.python, first.torch, first.numpy) == ("3.12.1", "2.6.0", "2.1")
    assert first.install == first.doctor == "ok"
    assert any("torch==2.6.*" in said for said in commands) and first.tests == {"runs": {"passed": 5}}
    commands.clear()
    second = made(tmp_path).run(["install", "doctor", "tests"], ["runs", "cells"])
    assert second.tests == {"runs": {"passed": 5}, "cells": {"passed": 5}}
    assert not any("venv" in said and "doctor" in said for said in commands) and len(commands) == 2
    assert made(tmp_path, content=b"2").run(["install"], []).tests == {}


def test_nothing_is_tried_after_an_installation_that_failed(tmp_path: Path, commands: list[str]) -> None:
    failed = made(tmp_path, "broken.whl").run(list(matrix.STEPS), ["runs"])
    assert failed.install == "failed: no such package" and failed.doctor == failed.search == "–" and not failed.tests
    assert not any("doctor" in said for said in commands)


def test_a_search_whose_trials_did_not_succeed_has_failed(tmp_path: Path, commands: list[str]) -> None:
    trial = made(tmp_path)
    run = trial.folder / "run"
    trial.run(["install"], [])

    def with_trials(statuses: list[str]) -> str:
        original = matrix.Trial._run

        def ran(self: Any, words: Sequence[object], **options: Any) -> int:
            run.mkdir(exist_ok=True)
            (run / "trials.jsonl").write_text("".join(json.dumps({"status": status}) + "\n" for status in statuses))
            return int(original(self, words, **options))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(matrix.Trial, "_run", ran)
            trial.search([])
        return str(trial.row.search)

    assert with_trials(["succeeded", "failed"]) == "failed: trials ended as ['succeeded', 'failed']"
    assert with_trials(["succeeded", "succeeded"]) == "ok"


def test_a_python_that_is_not_there_is_written_as_untried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, wheel = tmp_path / "page.md", tmp_path / "x.whl"
    wheel.touch()
    page.write_text(f"{matrix.HEADER}\n{RULER}\n")
    given = ["--page", str(page), "--wheel", str(wheel), "--work", str(tmp_path / "work")]
    assert matrix.main([*given, "--python", "3.99", "--torch", "2.6", "newest"]) == 0
    lines = page.read_text().splitlines()[2:]
    assert [matrix.key(line) for line in lines] == [("3.99", "2.6"), ("3.99", "newest")]
    assert all("untried: no Python 3.99" in line for line in lines)
    assert "no such Python here" in capsys.readouterr().out
