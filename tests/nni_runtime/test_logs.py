"""The manager's errors in a file, what is said of a manager that ended, and logs on a full disk."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nni.experiment import launcher
from nni.experiment.experiment import RunMode
from support_search import free_port

from nni_privacy.nni_runtime.access import manager_token
from nni_privacy.nni_runtime.logs import forgive_unwritable_logs, manager_errors_kept, why_it_ended

SHOUT = [sys.executable, "-c", "import sys; sys.stderr.write('boom')"]


def test_a_manager_leaves_standard_input_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        launcher, "Popen", lambda *_, **options: seen.append(options) or SimpleNamespace(pid=os.getpid())
    )
    arguments = SimpleNamespace(
        port=free_port(), experiments_directory=str(tmp_path), experiment_id="x", to_command_line_args=list
    )
    manager_token.replacement(launcher._start_rest_server, arguments, RunMode.Background)
    assert [options["stdin"] for options in seen] == [subprocess.DEVNULL]


def test_errors_of_what_the_launcher_starts_are_kept_in_a_file(tmp_path: Path) -> None:
    with manager_errors_kept(tmp_path):
        launcher.Popen(SHOUT, stdout=None, stderr=None).wait()
    assert launcher.Popen is subprocess.Popen
    (file,) = tmp_path.iterdir()
    assert file.read_text() == "boom"
    assert why_it_ended(tmp_path) == f" (see {file})"


def test_a_file_that_was_asked_for_is_the_one_that_is_written(tmp_path: Path) -> None:
    own = tmp_path / "own"
    with own.open("w") as stream, manager_errors_kept(tmp_path):
        launcher.Popen(SHOUT, stdout=None, stderr=stream).wait()
    assert own.read_text() == "boom"
    assert why_it_ended(tmp_path) == ""


def test_a_manager_that_ended_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_it_ended(tmp_path / "missing") == ""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=100, used=100, free=0))
    assert why_it_ended(tmp_path) == f": No space left on device: {tmp_path}"


def test_a_log_that_cannot_be_written_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device that is always full")
    logger = logging.getLogger("nni")
    handler = logging.FileHandler(full)
    logger.addHandler(handler)
    try:
        logger.error("first")
        assert "No space left on device" in capsys.readouterr().err
        forgive_unwritable_logs()
        logger.error("second")
        assert "No space left on device" not in capsys.readouterr().err
    finally:
        logger.removeHandler(handler)
        handler.stream = None  # type: ignore[assignment]
