"""Processes of a run: told from others, stopped, and one start at a time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nni_privacy.errors import ConfigError
from nni_privacy.runs.lock import LOCK, RunLock
from nni_privacy.runs.processes import ProcessId, leftovers, stop_processes

SLEEP = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that a test starts; ended afterwards by their own ids."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def python(code: str, *words: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], env={**os.environ, **environment}, stdout=subprocess.PIPE
    )


def identity(process: subprocess.Popen[bytes]) -> ProcessId:
    found = ProcessId.of(process.pid)
    assert found is not None
    return found


def test_a_process_is_told_from_another_with_the_same_id(started: list[subprocess.Popen[bytes]]) -> None:
    started.append(python(SLEEP))
    real = identity(started[0])
    reused = ProcessId(real.pid, "another start")
    assert real.alive and not reused.alive
    assert stop_processes([reused]) == []
    assert started[0].poll() is None
    assert ProcessId.from_dict(json.loads(json.dumps(real.to_dict()))) == real
    assert ProcessId.from_dict({"pid": "?"}) is None
    assert stop_processes([real]) == [real.pid]
    assert not real.alive


def test_one_that_ignores_the_polite_signal_is_killed(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nni_privacy.runs.processes._PATIENCE", 0.5)
    started.append(python(STUBBORN))
    assert started[0].stdout is not None and started[0].stdout.readline()
    stubborn = identity(started[0])
    assert stop_processes([stubborn]) == [started[0].pid]
    assert not stubborn.alive


def test_managers_and_trials_of_a_run_are_found_and_no_others(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    folder, other = tmp_path / "run" / "nni", tmp_path / "run-2" / "nni"
    started += [
        python(SLEEP, "--experiments-directory", str(folder)),
        python(SLEEP, NNI_OUTPUT_DIR=str(folder / "abc" / "trials" / "x")),
        python(SLEEP, "--experiments-directory", str(other)),
        python(SLEEP, NNI_OUTPUT_DIR=str(other / "abc" / "trials" / "x")),
        python(SLEEP, str(folder)),
    ]
    deadline = time.monotonic() + 10
    while len(leftovers(folder)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)  # between fork and exec a process still has our own command line
    assert sorted(process.pid for process in leftovers(folder)) == sorted(one.pid for one in started[:2])


def test_a_run_is_taken_by_one_process_at_a_time(started: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    started.append(python(SLEEP))
    content = {"host": socket.gethostname(), "process": identity(started[0]).to_dict()}
    (tmp_path / LOCK).write_text(json.dumps(content))
    lock = RunLock(tmp_path)
    with pytest.raises(ConfigError, match=f"still running \\(process {started[0].pid}\\)"):
        lock.take()
    started[0].kill()
    started[0].wait()
    assert lock.take() == [] and lock.held
    lock.release()
    assert not (tmp_path / LOCK).exists() and not lock.held


def test_a_run_on_another_machine_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(json.dumps({"host": "elsewhere", "process": {"pid": 1, "started": "x"}}))
    with pytest.raises(ConfigError, match="in use on elsewhere"):
        RunLock(tmp_path).check()


def test_what_an_earlier_start_left_is_stopped_by_the_next(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    started += [python(SLEEP), python(SLEEP, NNI_OUTPUT_DIR=str(tmp_path / "nni" / "x"))]
    gone = {"pid": 2**22 - 1, "started": "before"}
    content = {"host": socket.gethostname(), "process": gone, "manager": identity(started[0]).to_dict()}
    (tmp_path / LOCK).write_text(json.dumps(content))
    time.sleep(0.5)
    identities = [identity(process) for process in started]
    lock = RunLock(tmp_path)
    assert sorted(lock.take()) == sorted(process.pid for process in started)
    assert not any(process.alive for process in identities)
    lock.release()


def test_a_torn_lock_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text('{"host": "els')
    RunLock(tmp_path).check()
