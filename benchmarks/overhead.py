"""What NNI costs a trial: the time of a search that is not spent on training and auditing.

    python benchmarks/overhead.py [--trials 6] [--concurrency 1 2]

Runs short searches (digits, 2 epochs) and prints, for each number of trials at a time, the wall time from the first
trial's start to the last one's end, what the trials themselves say they took, and the difference a trial: starting
Python, importing torch, NNI and Lightning, and NNI's own waiting.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

SETTINGS = {
    "name": "overhead",
    "dataset": {"name": "digits"},
    "search_space": {"name": "darts", "channels": 8, "cells": 5},
    "strategy": {"name": "random"},
    "evaluator": {"recipe": {"epochs": 2}, "attacks": ["loss_threshold"]},
}


def measure(trials: int, concurrency: int, port: int) -> tuple[float, float]:
    """Wall seconds of a search, and the sum of the seconds that its trials report."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "overhead.yaml"
        config.write_text(yaml.safe_dump({**SETTINGS, "trials": trials, "concurrency": concurrency}))
        command = [sys.executable, "-m", "nni_privacy.commands.main", "search", str(config), "--exit-when-done"]
        started = time.perf_counter()
        subprocess.run([*command, "--output", f"{folder}/run", "--port", str(port)], check=True, capture_output=True)
        wall = time.perf_counter() - started
        lines = (Path(folder) / "run" / "trials.jsonl").read_text().splitlines()
    return wall, sum(json.loads(line)["seconds"] for line in lines)


def main() -> None:
    """Prints a line for each number of trials at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--port", type=int, default=8099)
    options = parser.parse_args()
    empty, _ = measure(1, 1, options.port)
    for concurrency in options.concurrency:
        wall, inside = measure(options.trials, concurrency, options.port)
        # A search of one trial also starts and stops everything once; what a further trial costs is the slope.
        slope = (wall - empty) / (options.trials - 1)
        overhead = slope * concurrency - inside / options.trials
        print(
            f"concurrency {concurrency}: {options.trials} trials in {wall:.1f} s, {inside:.1f} s of it in trials; "
            f"NNI's overhead {overhead:.1f} s a trial"
        )


if __name__ == "__main__":
    main()
