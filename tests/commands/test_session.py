"""Going on with a run: what is refused, in one line, and what is done already."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from nni_privacy.commands.main import main
from nni_privacy.commands.session import check_resumable, differences
from nni_privacy.config import parse_config
from nni_privacy.errors import ConfigError
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.processes import ProcessId
from nni_privacy.runs.records import TrialRecord

SETTINGS: dict[str, Any] = {
    "name": "small",
    "seed": 1,
    "dataset": {"name": "digits", "limit": 400},
    "search_space": {"name": "darts", "channels": 4, "cells": 3},
    "strategy": {"name": "random"},
    "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"]},
    "trials": 2,
}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run of two trials, of which one is finished."""
    made = RunDirectory(tmp_path / "run")
    made.create(parse_config(SETTINGS).resolved(), {"experiment": "first", "started": "then"})
    made.append(TrialRecord("a", 0, "succeeded", "G", {"accuracy": 0.9, "mia_auc": 0.6}, 1.0))
    return made


def resume(tmp_path: Path, settings: dict[str, Any], *arguments: str) -> int:
    config = tmp_path / "search.yaml"
    config.write_text(yaml.safe_dump(settings))
    return main(["search", str(config), "--output", str(tmp_path / "run"), "--resume", *arguments])


CHANGES = [
    ({"seed": 2}, "seed: 2; the run in"),
    ({"evaluator": {"recipe": {"epochs": 3}, "attacks": ["loss_threshold"]}}, "evaluator.recipe.epochs: 3; the run in"),
    ({"strategy": {"name": "tpe"}}, "strategy.name: 'tpe'; the run in"),
    ({"search_space": {"name": "darts", "channels": 8, "cells": 3}}, "search_space.channels: 8; the run in"),
    ({"pattern": {"name": "demotion", "cells": "reduction", "budget": 2}}, "pattern: "),
    ({"trials": 1}, "trials: 1; the run in"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_another_search_is_refused_and_the_field_is_named(
    change: dict[str, Any], words: str, run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert resume(tmp_path, {**SETTINGS, **change}) == 2
    error = capsys.readouterr().err
    assert words in error and "was started with" in error and len(error.splitlines()) == 1
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_what_may_change_may_change(run: RunDirectory) -> None:
    free = {"trials": 9, "concurrency": 3, "trial_timeout": 60, "name": "other"}
    check_resumable(parse_config({**SETTINGS, **free}), run.path)


def test_a_field_that_the_recorded_version_did_not_know_is_no_difference() -> None:
    assert list(differences({"seed": 1}, {"seed": 1, "newer": True})) == []


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert resume(tmp_path, SETTINGS) == 2
    assert f"{tmp_path / 'run'} holds no run to resume" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="name the directory of the run with --output"):
        check_resumable(parse_config(SETTINGS), None)


def test_a_run_is_not_started_anew_by_accident(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "search.yaml"
    config.write_text(yaml.safe_dump(SETTINGS))
    assert main(["search", str(config), "--output", str(run.path)]) == 2
    assert "holds a run; go on with it by --resume" in capsys.readouterr().err


def test_a_run_that_still_runs_is_refused(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = ProcessId.of(os.getppid())
    assert parent is not None
    (run.path / "running.json").write_text(json.dumps({"process": parent.to_dict()}))
    assert resume(tmp_path, SETTINGS) == 2
    assert f"is still running (process {parent.pid})" in capsys.readouterr().err


def test_a_complete_run_says_so_and_is_reported(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.append(TrialRecord("b", 1, "failed", "H", error="ValueError: no"))
    assert resume(tmp_path, SETTINGS) == 0
    assert "complete: all 2 trials are finished" in capsys.readouterr().out
    assert (run.path / "report.html").is_file()


def test_each_start_is_recorded_and_a_torn_line_is_cut(run: RunDirectory) -> None:
    with (run.path / "trials.jsonl").open("a") as file:
        file.write('{"trial": "b", "seq')
    again = RunDirectory(run.path, resumable=True)
    records = again.open_again({"experiment": "second", "started": "now"}, trials=5)
    assert [record.trial for record in records] == ["a"]
    assert (run.path / "trials.jsonl").read_text().count("\n") == 1
    starts = json.loads((run.path / "environment.json").read_text())["starts"]
    assert [start["experiment"] for start in starts] == ["first", "second"]
    assert again.config()["trials"] == 5


def test_without_its_journal_a_run_goes_on_and_its_trials_count(run: RunDirectory) -> None:
    run.journal.path.unlink()
    again = RunDirectory(run.path, resumable=True)
    assert [record.trial for record in again.open_again({})] == ["a"]
    assert again.journal.read().numbers == {"a": [0]}


def test_a_run_of_which_no_file_knows_the_finished_trials_is_refused_and_left_as_it_is(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.save_scores("a", b"")
    for name in ("trials.jsonl", "journal.jsonl"):
        (run.path / name).write_bytes(b"\0\0\n")
    assert resume(tmp_path, SETTINGS) == 2
    shown = capsys.readouterr()
    assert "neither trials.jsonl nor journal.jsonl says which: put back a copy" in shown.err and not shown.out
    assert all((run.path / name).read_bytes() == b"\0\0\n" for name in ("trials.jsonl", "journal.jsonl"))


@pytest.mark.parametrize("output", ["/proc/run", "file/run", f"{'n' * 300}"])
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_an_output_that_cannot_be_written_is_refused_before_all_else(
    output: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    config = tmp_path / "search.yaml"
    config.write_text(yaml.safe_dump(SETTINGS))
    assert main(["search", str(config), "--output", str(tmp_path / output), *options]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("nni-privacy: output: ") and len(shown.err.splitlines()) == 1 and not shown.out
