"""A NAS experiment on the repaired NNI, with a run directory."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nni.experiment import RunMode
from nni.nas.evaluator import Evaluator
from nni.nas.execution import ExecutionEngine
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from nni.nas.experiment.config import ExecutionEngineConfig, TrainingServiceEngineConfig
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import Strategy

from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime import install
from nni_privacy.nni_runtime.engine import AuditedEngine
from nni_privacy.nni_runtime.run_directory import RunDirectory, TrialRecord, describe_environment

__all__ = ["PrivacyExperiment", "check_port"]

_logger = logging.getLogger(__name__)


class PrivacyExperiment(NasExperiment):
    """NNI's :class:`~nni.nas.experiment.NasExperiment` with NNI's faults repaired and every finished trial on disk.

    The manager (web UI and REST server) listens on 127.0.0.1, shows ``mia_auc`` next to the default metric, gives every
    trial its own parameters, and every result is checked to belong to the architecture that was proposed.

    Args:
        model_space: what to search, e.g. :class:`nni_privacy.search_spaces.DARTS`.
        evaluator: e.g. :class:`nni_privacy.PrivacyEvaluator`; any NNI evaluator works.
        strategy: e.g. a :class:`nni_privacy.strategies.FixedPattern` around one of NNI's.
        config: NNI's own configuration, for what the arguments below do not cover (other training services).
        output: the run directory: ``config.yaml``, ``environment.json``, ``trials.jsonl``, ``scores/``; NNI's own files
            go to its folder ``nni``. By default a new folder ``runs/<name>-<experiment id>``.
        name: the experiment's name.
        trials: how many trials to run, failed ones included.
        concurrency: trials at a time.
        gpus_per_trial: GPUs that NNI reserves for each trial; 0 hides GPUs from trials on most services.
        settings: what ``config.yaml`` of the run directory shall hold; by default a summary of the arguments.
        observers: called with the :class:`TrialRecord` of each finished trial.
        id: NNI's id of the experiment.

    Raises:
        ConfigError: if ``output`` holds files already, or evaluator or strategy cannot work on ``model_space``.
        PatternError: if the strategy's pattern does not fit ``model_space``.
    """

    def __init__(
        self,
        model_space: ModelSpace,
        evaluator: Evaluator,
        strategy: Strategy,
        config: NasExperimentConfig | None = None,
        *,
        output: str | Path | None = None,
        name: str = "search",
        trials: int | None = None,
        concurrency: int = 1,
        gpus_per_trial: int = 0,
        settings: Mapping[str, Any] | None = None,
        observers: Sequence[Callable[[TrialRecord], None]] = (),
        id: str | None = None,
    ) -> None:
        install()
        fit_to = getattr(strategy, "fit_to", None)  # a FixedPattern, or what wraps strategies as it does
        self._fixed_edges = fit_to(model_space).as_lists() if fit_to is not None else {}
        # Ours say before anything starts whether they fit.
        for check in (getattr(evaluator, "check_space", None), getattr(strategy, "check", None)):
            if check is not None:
                check(SimplifiedModelSpace.from_model(model_space, evaluator))
        if config is None:
            config = _local_config(name, concurrency=concurrency, trials=trials, gpus_per_trial=gpus_per_trial)
        super().__init__(model_space, evaluator, strategy, config, id=id)
        self.run_directory = RunDirectory(output if output is not None else Path("runs") / f"{name}-{self.id}")
        self.config.experiment_working_directory = str(self.run_directory.path / "nni")
        self._settings = settings
        self._observers = list(observers)

    def start(self, port: int = 8080, debug: bool = False, run_mode: RunMode = RunMode.Background) -> None:
        """Starts the manager at 127.0.0.1 and runs the strategy to its end; see NNI's ``NasExperiment.start``.

        Raises:
            ConfigError: if ``port`` is in use.
        """
        if self._action == "create":
            check_port(port)
            self.run_directory.create(self._settings or self._summary(), self._environment())
        super().start(port, debug, run_mode)

    def execution_engine_factory(self, config: ExecutionEngineConfig) -> ExecutionEngine:
        """The engine that checks every result; other engines than the training service's are NNI's own."""
        if isinstance(config, TrainingServiceEngineConfig):
            return AuditedEngine(self, on_trial=self._record, on_scores=self.run_directory.save_scores)
        return super().execution_engine_factory(config)

    def _record(self, record: TrialRecord) -> None:
        self.run_directory.append(record)
        for observer in self._observers:
            observer(record)

    def _summary(self) -> dict[str, Any]:
        dump = getattr(self.evaluator, "_dump", None)
        return {
            "name": self.config.experiment_name,
            "search_space": repr(type(self.model_space).__name__),
            "strategy": repr(self.strategy),
            "evaluator": dump() if dump is not None else repr(self.evaluator),
            "trials": self.config.max_trial_number,
            "concurrency": self.config.trial_concurrency,
        }

    def _environment(self) -> dict[str, Any]:
        return describe_environment(
            experiment=self.id,
            seed=getattr(self.evaluator, "seed", None),
            device=getattr(self.evaluator, "device", None),
            fixed_edges=self._fixed_edges,
        )


def _local_config(name: str, *, concurrency: int, trials: int | None, gpus_per_trial: int) -> NasExperimentConfig:
    config = NasExperimentConfig("ts", "simplified", "local")
    config.experiment_name = name
    config.trial_concurrency = concurrency
    config.max_trial_number = trials
    config.trial_gpu_number = gpus_per_trial
    if gpus_per_trial:
        config.training_service.use_active_gpu = True
    config.log_level = "warning"
    return config


def check_port(port: int) -> None:
    """Raises ConfigError unless the manager can listen on ``port`` of 127.0.0.1."""
    if not 1 <= port <= 65535:
        raise ConfigError(f"port: {port}; allowed is 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(f"port: {port} is in use or not allowed ({error.strerror}); choose another") from None
