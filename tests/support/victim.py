"""A search whose trials wait for a file `go`, so that somebody can attack it meanwhile (see test_no_way_in.py)."""

from __future__ import annotations

import argparse
from pathlib import Path

import tiny_space
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.strategy import Random

from nni_privacy.nni_runtime import PrivacyExperiment, experiment, install


def main() -> None:
    """Runs two trials and ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--without", default="")
    parser.add_argument("--no-token", action="store_true")
    args = parser.parse_args()
    without = [name for name in args.without.split(",") if name]
    install(without=without, token=not args.no_token)
    experiment.install = lambda: install(without=without)  # type: ignore[attr-defined]
    search = PrivacyExperiment(
        tiny_space.TinySpace(),
        FunctionalEvaluator(tiny_space.wait_and_report),
        Random(seed=1),
        output=args.work / "run",
        trials=2,
    )
    search.run(args.port)
    search.stop()


if __name__ == "__main__":
    main()
