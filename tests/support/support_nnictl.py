"""Runs ``nni-privacy nnictl`` as a user does, whose home is a temporary folder, and stops what it leaves running."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from support_manager import free_port

PROJECT = Path(__file__).parent / "projects" / "hpo"
OURS = ("-m", "nni_privacy", "nnictl")
RUNNER = ("-m", "nni_privacy.nni_runtime", "-m", "nni.tools.nnictl.nnictl")
"""Two ways to NNI's command line."""


class Nnictl:
    """NNI's command line in a copy of the project, for one user."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.web = folder, free_port(), ""
        shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = dict(os.environ, HOME=str(folder), PATH=path, NO_COLOR="1")

    def run(self, *words: str, way: tuple[str, ...] = OURS) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *way, *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )

    def create(self, config: str, *, way: tuple[str, ...] = OURS) -> str:
        """Starts an experiment; what was printed."""
        done = self.run("create", "--config", config, "--port", str(self.port), way=way)
        assert done.returncode == 0, done.stdout + done.stderr
        self.web = done.stdout.partition("web UI: ")[2].split()[0]
        return done.stdout

    def page(self, name: str) -> str:
        root, _, query = self.web.partition("?")
        return f"{root}{name}?{query}"

    @property
    def experiment(self) -> dict[str, Any]:
        """What NNI has written down of the newest experiment."""
        known = json.loads((self.folder / "nni-experiments" / ".experiment").read_text())
        return max(known.values(), key=lambda one: one["startTime"])

    def trials(self) -> list[dict[str, Any]]:
        done = self.run("trial", "ls")
        return json.loads(done.stdout)

    def wait(self, count: int, *, seconds: float = 90) -> list[dict[str, Any]]:
        """The trials, as soon as so many have ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            trials = self.trials()
            if sum(one["status"] not in ("WAITING", "RUNNING") for one in trials) >= count:
                return trials
            time.sleep(1)
        raise AssertionError(f"waited {seconds} s for {count} trials: {trials}")


@contextmanager
def nnictl(folder: Path) -> Iterator[Nnictl]:
    """The command line; at the end managers that still run are killed by their ids."""
    user = Nnictl(folder)
    try:
        yield user
    finally:
        manifest = folder / "nni-experiments" / ".experiment"
        known = json.loads(manifest.read_text()) if manifest.is_file() else {}
        for one in known.values():
            if one["pid"] and runs(one["pid"]):
                psutil.Process(one["pid"]).kill()


def runs(process: int) -> bool:
    """Whether a manager of this id runs; one that has ended may still wait for its parent to look."""
    try:
        found = psutil.Process(process)
        return found.status() != psutil.STATUS_ZOMBIE and "main.js" in " ".join(found.cmdline())
    except psutil.Error:
        return False
