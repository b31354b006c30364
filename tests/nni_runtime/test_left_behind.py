"""What a script that is killed leaves behind: no manager, unless it was started to stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from nni.experiment import Experiment, RunMode
from support_manager import HERE, REPOSITORY, answers, free_port
from support_search import wait_for

from nni_privacy.nni_runtime import install, repairs
from nni_privacy.nni_runtime.patches.lifetime import PARENT_VARIABLE


@contextmanager
def script(kind: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    environment = dict(os.environ, HOME=str(folder), PYTHONPATH=os.pathsep.join([str(HERE), str(REPOSITORY)]))
    environment |= {"TEST_WORK": str(folder), "NNI_PRIVACY_CACHE": str(folder / "cache")}
    words = [sys.executable, str(HERE / "left_behind.py"), kind, str(port), str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()
        (folder / "go").touch()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "number"), [("nas", signal.SIGTERM), ("hpo", signal.SIGKILL)])
def test_the_manager_of_a_killed_script_ends(kind: str, number: int, tmp_path: Path) -> None:
    with script(kind, tmp_path) as (process, port):
        wait_for(lambda: answers("127.0.0.1", port), "the manager to start", 90)
        if kind == "nas":
            wait_for(lambda: list(tmp_path.glob("trial-*")), "the trial to start", 90)
        process.send_signal(number)
        process.wait(30)
        wait_for(lambda: not answers("127.0.0.1", port), "the manager to end", 30)


@pytest.mark.slow
def test_one_that_was_started_to_stay_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNI_PRIVACY_CACHE", str(tmp_path / "cache"))
    with script("detached", tmp_path) as (process, port):
        assert process.wait(90) == 0, (tmp_path / "log").read_text()
        with pytest.raises(AssertionError):
            wait_for(lambda: not answers("127.0.0.1", port), "a manager that stays", 5)
        install()
        found = Experiment.connect(port)
        wait_for(lambda: found.get_status() == "DONE", "its trial to end", 60)
        found.stop()
    assert not answers("127.0.0.1", port)


@pytest.mark.parametrize(("mode", "watched"), [(RunMode.Background, True), (RunMode.Detach, False)])
def test_a_manager_is_told_whom_to_end_with(mode: RunMode, watched: bool) -> None:
    told = str(os.getpid()) if watched else None

    def start(*arguments: object) -> SimpleNamespace:
        return SimpleNamespace(told=os.environ.get(PARENT_VARIABLE))

    assert repairs.watched_manager.make(start)("create", "id", None, 8080, False, mode, None).told == told
    assert PARENT_VARIABLE not in os.environ
