"""Runs `nni-privacy search` as a user does, in a process of its own, for end-to-end tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 1,
    "dataset": {"name": "digits", "limit": 400},
    "search_space": {"name": "darts", "channels": 4, "cells": 3},
    "pattern": {"name": "demotion", "cells": "reduction", "budget": 4},
    "strategy": {"name": "random"},
    "evaluator": {"recipe": {"epochs": 3}, "attacks": ["black_box_partial", "loss_threshold"]},
    "trials": 4,
    "concurrency": 2,
}
TIMEOUT = 240


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(question: Callable[[], Any], what: str, seconds: float = TIMEOUT) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(0.3)
    raise AssertionError(f"waited {seconds} s for {what}")


class Search:
    """A running or finished search; with another command, whatever else writes a run directory."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        *arguments: str,
        python: str | Path = sys.executable,
        command: str = "search",
        config: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.output, self.port = folder, folder / "run", free_port()
        config = config or folder / "search.yaml"
        config.write_text(yaml.safe_dump(settings))
        self.log = folder / "log.txt"
        words = [str(python), "-m", "nni_privacy.commands.main", command, str(config)]
        words += ["--output", str(self.output), "--port", str(self.port), *arguments]
        environment = dict(os.environ, HOME=str(folder), PYTHONUNBUFFERED="1")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)

    @property
    def text(self) -> str:
        return self.log.read_text()

    def page(self, name: str = "") -> str:
        """The address of a page of the web UI with the token, as a user opens it."""
        root, _, query = self.text.partition("web UI at ")[2].partition("\n")[0].partition("?")
        return f"{root.rstrip('/')}/{name}?{query}"

    @property
    def trials(self) -> list[dict[str, Any]]:
        path = self.output / "trials.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def children(self) -> list[int]:
        """Process ids of the manager and its trials, found by the run's folder in their command lines or parents."""
        import psutil

        return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]

    def wait(self) -> int:
        return self.process.wait(TIMEOUT)

    def wait_until_it_is_done(self) -> None:
        wait_for(lambda: "stays up" in self.text or self.process.poll() is not None, "the search to end")
        assert self.process.poll() is None, self.text

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ends the process if it still runs, by its own id."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
