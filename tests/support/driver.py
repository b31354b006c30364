"""Runs one experiment in a process of its own and keeps its manager up until a file `stop` appears."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from nni_privacy.nni_runtime import install

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["nas", "hpo", "darts"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--without", default="")
    parser.add_argument("--token", action="store_true")
    args = parser.parse_args()
    without = [name for name in args.without.split(",") if name]
    overlay = install(without=without, token=args.token, warm_trials=args.kind == "darts")
    experiment = {"nas": nas, "hpo": hpo, "darts": darts}[args.kind](args)
    try:
        experiment.run(args.port)
        say({"id": experiment.id, "manager": experiment._proc.pid, "overlay": str(overlay)})
        # Not a read from standard input: node shares it and makes it non-blocking.
        parent = os.getppid()
        while not (args.work / "stop").exists() and os.getppid() == parent:
            time.sleep(0.2)
    finally:
        experiment.stop()


def say(message: dict[str, Any]) -> None:
    print("READY " + json.dumps(message), flush=True)


def common(config: Any, args: argparse.Namespace) -> None:
    config.experiment_working_directory = args.work / "experiments"
    config.max_trial_number = args.trials
    config.trial_concurrency = args.concurrency
    config.training_service.use_active_gpu = False


def nas(args: argparse.Namespace) -> Any:
    import tiny_space
    from nni.nas.experiment import NasExperiment
    from nni.nas.strategy import Random

    experiment = NasExperiment(tiny_space.TinySpace(), tiny_space.evaluator(), Random(seed=1))
    common(experiment.config, args)
    return experiment


def darts(args: argparse.Namespace) -> Any:
    """A search of the DARTS space with edges fixed, from warm trials: dozens of them in seconds."""
    import planted_space
    from nni.nas.experiment import NasExperiment
    from nni.nas.strategy import Random

    from nni_privacy.strategies import FixedPattern

    strategy = FixedPattern(Random(seed=1), "demotion-reduction", budget=planted_space.BUDGET)
    experiment = NasExperiment(planted_space.space(), planted_space.evaluator(), strategy)
    common(experiment.config, args)
    return experiment


def hpo(args: argparse.Namespace) -> Any:
    from nni.experiment import Experiment

    experiment = Experiment("local")
    common(experiment.config, args)
    experiment.config.trial_command = f"{sys.executable} {HERE / os.environ.get('TEST_TRIAL', 'tiny_trial.py')}"
    experiment.config.trial_code_directory = HERE
    experiment.config.search_space = {"x": {"_type": "randint", "_value": [0, 1_000_000]}}
    experiment.config.tuner.name = "Random"
    return experiment


if __name__ == "__main__":
    main()
