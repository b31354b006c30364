"""What a running search shows: the epochs of its first trial, an address that is never cut, how to go on."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from nni_privacy.commands.main import main
from nni_privacy.commands.options import ExitCode
from nni_privacy.commands.session import SearchProgress, Session
from nni_privacy.config import parse_config
from nni_privacy.nni_runtime.access import ManagerAccess
from nni_privacy.runs.epochs import EpochRecord, TrialEpoch
from nni_privacy.runs.records import TrialRecord

ADDRESS = "http://127.0.0.1:18080"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
SEARCH: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "digits", "limit": 400},
    "search_space": {"name": "darts", "channels": 4, "cells": 3},
    "strategy": {"name": "random"},
    "trials": 2,
}


def progress(*, width: int, terminal: bool) -> SearchProgress:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, highlight=False, soft_wrap=True)
    return SearchProgress(12, ADDRESS, console=console)


def shown(search: SearchProgress) -> str:
    """What has been written so far."""
    file = search._console.file
    assert isinstance(file, io.StringIO)
    return CONTROL.sub("", file.getvalue()).replace("\r", "\n")


def epoch(sequence: int, number: int, loss: float = 0.25) -> TrialEpoch:
    return TrialEpoch(sequence, number, 30, {"default": 0.5, "loss": loss})


def done(sequence: int) -> TrialRecord:
    return TrialRecord("a", sequence, "succeeded", "G", {"accuracy": 0.9, "mia_auc": 0.6}, 1.0)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (TrialEpoch(0, 12, 30, {"default": 0.5, "loss": 0.4123}), "trial 0: epoch 12/30, loss 0.412"),
        (TrialEpoch(3, 2, None, {"default": 0.5}), "trial 3: epoch 2, default 0.500"),
        (TrialEpoch(0, 1, None, 0.75), "trial 0: epoch 1, default 0.750"),
        (TrialEpoch(0, 1, 3, {"note": "text"}), "trial 0: epoch 1/3"),
        (TrialEpoch(0, 1, 3, "text"), "trial 0: epoch 1/3"),
    ],
)
def test_an_epoch_in_words(record: TrialEpoch, text: str) -> None:
    assert str(record) == text


def test_a_log_has_the_epochs_of_the_first_trial_until_it_ends() -> None:
    search = progress(width=80, terminal=False)
    with search:
        search.on_trial_epoch(epoch(0, 1))
        search.on_trial_epoch(epoch(1, 1))
        search.on_trial_epoch(epoch(0, 2, 0.125))
        search(done(0))
        search.on_trial_epoch(epoch(1, 2))
    lines = shown(search).splitlines()
    assert lines[:2] == ["trial 0: epoch 1/30, loss 0.250", "trial 0: epoch 2/30, loss 0.125"]
    assert len(lines) == 3 and lines[2].startswith("1/12 trials") and lines[2].endswith("left")


def test_before_the_first_result_the_line_has_an_epoch_and_no_question_mark() -> None:
    search = progress(width=200, terminal=True)
    assert "?" not in str(search._line()) and "starting" in str(search._line())
    search.on_trial_epoch(epoch(0, 12))
    assert "trial 0: epoch 12/30, loss 0.250" in str(search._line()) and "?" not in str(search._line())
    search(done(0))
    assert "epoch" not in str(search._line()) and " left" in str(search._line())


def test_after_a_resumption_the_first_trial_is_the_first_of_this_start() -> None:
    search = progress(width=200, terminal=True)
    search.resumed([done(0), done(1)])
    search.on_trial_epoch(epoch(2, 4))
    assert str(search._line()).startswith("2/12 trials") and "trial 2: epoch 4/30" in str(search._line())


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
@pytest.mark.parametrize("one_shot", [False, True])
def test_the_address_is_never_cut(width: int, one_shot: bool) -> None:
    search = progress(width=width, terminal=True)
    with search:
        search.on_trial_epoch(epoch(0, 12))
        if one_shot:
            search.on_epoch(EpochRecord(1, 5, "G", 2, 1.0, {"train_loss": 0.5}, 3.0))
        search._live.refresh()
    lines = shown(search).splitlines()
    assert any(line.strip().endswith(ADDRESS) for line in lines)
    assert max(map(len, lines)) <= width


@pytest.fixture
def interrupted(tmp_path: Path) -> Session:
    """A session whose run was interrupted, with what it would write replaced."""
    settings = parse_config(SEARCH)
    command = ("search", "my search.yaml", "--trials", "5")
    session = Session(settings=settings, directory=tmp_path / "my run", port=9313, exit_when_done=True, command=command)
    session.access, session.progress = ManagerAccess(), progress(width=80, terminal=False)
    return session


def test_an_interrupted_run_says_how_to_go_on(
    interrupted: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nni_privacy.commands.session.write_report", lambda folder: folder / "report.html")
    assert interrupted.conclude(SimpleNamespace(port=None), finished=False) == ExitCode.INTERRUPTED  # type: ignore[arg-type]
    line = capsys.readouterr().out.splitlines()[-1]
    words = shlex.split(line.removeprefix("go on with: "))
    assert words[:5] == ["nni-privacy", "search", "my search.yaml", "--trials", "5"]
    assert words[5:] == [
        *("--output", str(interrupted.directory), "--resume", "--port", "9313", "--exit-when-done"),
    ]


def test_the_command_that_goes_on_is_that_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    path, made = tmp_path / "search.yaml", []
    path.write_text(yaml.safe_dump(SEARCH))
    monkeypatch.setattr("nni_privacy.commands.search._search_measured", lambda _, session: made.append(session))
    monkeypatch.setattr("nni_privacy.commands.main.int", lambda code: 0, raising=False)
    main(["search", str(path), "--output", str(tmp_path / "run"), "--trials", "3"])
    assert shlex.split(made[0].resume_command) == [
        *("nni-privacy", "search", str(path), "--trials", "3", "--output", str(tmp_path / "run"), "--resume"),
    ]
