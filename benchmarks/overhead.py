"""What a trial costs besides training and attacks, one by one and forked from a warm process, in turn.

    python benchmarks/overhead.py [--trials 6] [--concurrency 1 2] [--rounds 3]

Runs short searches (digits, 2 epochs). A search also starts and stops everything once; what a further trial costs is
the slope between searches of one and of several trials. Its overhead is that slope without the seconds that trials
report: starting Python, importing torch, NNI and Lightning, and waiting for NNI. Memory is what no other process shares
(unique set size), the most that was seen of any trial.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

SETTINGS = {
    "name": "overhead",
    "dataset": {"name": "digits"},
    "search_space": {"name": "darts", "channels": 8, "cells": 5},
    "strategy": {"name": "random"},
    "evaluator": {"recipe": {"epochs": 2}, "attacks": ["loss_threshold"]},
}


@dataclass(frozen=True)
class Cost:
    """Cost of a search: its wall seconds, those that trials report of themselves, and the most memory of one in MB."""

    wall: float
    inside: float
    memory: float


def measure(trials: int, concurrency: int, port: int, *, warm: bool) -> Cost:
    """Runs one search."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "overhead.yaml"
        settings = {**SETTINGS, "trials": trials, "concurrency": concurrency, "warm_trials": warm}
        config.write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "nni_privacy", "search", str(config), "--exit-when-done"]
        command += ["--output", f"{folder}/run", "--port", str(port)]
        started, seen = time.perf_counter(), [0.0]
        search = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        threading.Thread(target=watch, args=(search, seen), daemon=True).start()
        if search.wait() != 0:
            raise SystemExit("a search has failed")
        wall = time.perf_counter() - started
        lines = (Path(folder) / "run" / "trials.jsonl").read_text().splitlines()
    return Cost(wall, sum(json.loads(line)["seconds"] for line in lines), seen[0])


def watch(search: subprocess.Popen[bytes], seen: list[float]) -> None:
    """Takes down the most memory in MB that one trial has for itself."""
    while search.poll() is None:
        with suppress(psutil.Error):
            for process in psutil.Process(search.pid).children(recursive=True):
                with suppress(psutil.Error):
                    words, parent = process.cmdline(), process.parent()
                    forked = parent is not None and words == parent.cmdline() and "server" in " ".join(words)
                    alone = "nni_privacy.nni_runtime.trial_entry" in words and "-S" not in words
                    if forked or alone:
                        seen[0] = max(seen[0], process.memory_full_info().uss / 1e6)
        time.sleep(0.2)


def main() -> None:
    """Prints a line for each way and number of trials at a time, and how they compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=8099)
    options = parser.parse_args()
    found: dict[tuple[int, bool], list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for warm in (False, True):
            first = measure(1, 1, options.port, warm=warm)
            for concurrency in options.concurrency:
                whole = measure(options.trials, concurrency, options.port, warm=warm)
                slope = (whole.wall - first.wall) / (options.trials - 1)
                overhead = slope * concurrency - whole.inside / options.trials
                found.setdefault((concurrency, warm), []).append((overhead, whole.memory))
    for (concurrency, warm), values in sorted(found.items()):
        overheads, memory = zip(*values, strict=True)
        print(
            f"concurrency {concurrency}, {'warm' if warm else 'cold'}: overhead {statistics.median(overheads):.2f} s a "
            f"trial ({min(overheads):.2f} to {max(overheads):.2f}), memory {statistics.median(memory):.0f} MB"
        )


if __name__ == "__main__":
    main()
