"""Starts an experiment of NNI as its own documentation does, after `install()`, and says so; it is killed from outside.

``left_behind.py nas|hpo|detached PORT FOLDER``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from nni.experiment import Experiment, RunMode

from nni_privacy.nni_runtime import install

HERE = Path(__file__).parent


def main(kind: str, port: int, folder: Path) -> None:
    install()
    if kind == "nas":
        import tiny_space
        from nni.nas.evaluator import FunctionalEvaluator
        from nni.nas.experiment import NasExperiment
        from nni.nas.strategy import Random

        made = NasExperiment(tiny_space.TinySpace(), FunctionalEvaluator(tiny_space.wait_and_report), Random())
    else:
        made = Experiment("local")
        made.config.trial_command = f"{sys.executable} {HERE / 'tiny_trial.py'}"
        made.config.trial_code_directory = HERE
        made.config.search_space = {"x": {"_type": "randint", "_value": [0, 9]}}
        made.config.tuner.name = "Random"
    made.config.experiment_working_directory = folder / "experiments"
    made.config.max_trial_number, made.config.trial_concurrency = 1, 1
    made.config.training_service.use_active_gpu = False
    if kind == "detached":
        made.start(port, run_mode=RunMode.Detach)
    else:
        made.run(port, wait_completion=False)
    print("STARTED", flush=True)
    time.sleep(0 if kind == "detached" else 300)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
