"""Starts experiments with NNI's real manager, talks to it, and stops every process that it started by its id."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent


@dataclass(frozen=True)
class Manager:
    """A manager whose trials are all done."""

    port: int
    work: Path
    experiment: str
    trials: list[dict[str, Any]]

    def request(self, path: str, *, timeout: float = 20) -> tuple[int, bytes]:
        """GET with the path as it is: http.client does not tidy up dots and slashes, as browsers and `requests` do."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.putrequest("GET", path)
            connection.endheaders()
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def trial_folder(self, trial: str) -> Path:
        return self.work / "experiments" / self.experiment / "environments" / "local-env" / "trials" / trial

    @property
    def succeeded(self) -> list[dict[str, Any]]:
        return [trial for trial in self.trials if trial["status"] == "SUCCEEDED"]


def final_metrics(trial: dict[str, Any]) -> dict[str, Any]:
    """What a trial reported: a dict, which NNI keeps as JSON within JSON."""
    metrics = trial["finalMetricData"][0]["data"]
    while isinstance(metrics, str):
        metrics = json.loads(metrics)
    return metrics


def parameters(trial: dict[str, Any]) -> dict[str, Any]:
    """What the manager says was intended for a trial."""
    return json.loads(trial["hyperParameters"][0])["parameters"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(address: str, port: int) -> bool:
    """Whether something listens; only loopback addresses are ever tried."""
    assert address.startswith("127.")
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((address, port)) == 0


@contextmanager
def run_manager(
    kind: str,
    work: Path,
    *,
    trials: int,
    concurrency: int,
    without: str = "",
    delay: float = 0.0,
    crash: str = "",
) -> Iterator[Manager]:
    """Runs an experiment to its end and keeps its manager up."""
    work.mkdir(parents=True, exist_ok=True)
    hook = work / "hook"
    hook.mkdir()
    shutil.copy(HERE / "sitecustomize_for_trials.py", hook / "sitecustomize.py")
    environment = dict(
        os.environ,
        HOME=str(work),
        NNI_PRIVACY_CACHE=str(work.parent / "cache"),
        PYTHONPATH=os.pathsep.join([str(hook), str(HERE), str(REPOSITORY)]),
        TEST_DELAY=str(delay),
        TEST_CRASH=crash,
    )
    port = free_port()
    command = [sys.executable, str(HERE / "driver.py"), kind, f"--port={port}", f"--work={work}"]
    command += [f"--trials={trials}", f"--concurrency={concurrency}", f"--without={without}"]
    with (work / "driver.log").open("w") as log:
        driver = subprocess.Popen(
            command, env=environment, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
        )
    manager_id = 0
    try:
        ready = _wait_ready(driver, work)
        manager_id = ready["manager"]
        manager = Manager(port, work, ready["id"], [])
        _, body = manager.request("/api/v1/nni/trial-jobs")
        yield Manager(port, work, ready["id"], json.loads(body))
    finally:
        (work / "stop").touch()
        _stop(driver, manager_id)


def _wait_ready(driver: subprocess.Popen[str], work: Path) -> dict[str, Any]:
    assert driver.stdout is not None
    for line in driver.stdout:
        if line.startswith("READY "):
            return json.loads(line.removeprefix("READY "))
    raise AssertionError(f"the experiment failed:\n{(work / 'driver.log').read_text()[-3000:]}")


def _stop(driver: subprocess.Popen[str], manager_id: int) -> None:
    assert driver.stdout is not None
    try:
        driver.wait(30)
    except subprocess.TimeoutExpired:
        driver.kill()
        driver.wait(10)
    driver.stdout.close()
    deadline = time.monotonic() + 10
    while manager_id and _alive(manager_id) and time.monotonic() < deadline:
        time.sleep(0.1)
    if manager_id and _alive(manager_id):
        os.kill(manager_id, signal.SIGKILL)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
