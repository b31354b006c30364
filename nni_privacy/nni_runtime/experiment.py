"""A NAS experiment on the repaired NNI, with a run directory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import nni
from nni.experiment import RunMode
from nni.nas.evaluator import Evaluator
from nni.nas.execution import ExecutionEngine
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from nni.nas.experiment.config import ExecutionEngineConfig, TrainingServiceEngineConfig
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import Strategy

from nni_privacy.analysis.constraints import Constraints
from nni_privacy.analysis.model_choice import Keep
from nni_privacy.errors import ConfigError, PrivacyError
from nni_privacy.files import writing_run
from nni_privacy.nni_runtime import install
from nni_privacy.nni_runtime.access import check_port, manager_access
from nni_privacy.nni_runtime.engine import AuditedEngine
from nni_privacy.nni_runtime.hidden_modules import check_folder
from nni_privacy.nni_runtime.live_page import LivePage
from nni_privacy.nni_runtime.logs import forgive_unwritable_logs, log_folder, manager_errors_kept
from nni_privacy.nni_runtime.message_repairs import experiment_trust
from nni_privacy.nni_runtime.model_keeper import ModelKeeper, check_keep
from nni_privacy.nni_runtime.surroundings import put_outer_trial_aside
from nni_privacy.report import write_report
from nni_privacy.runs.directory import RunDirectory, describe_environment
from nni_privacy.runs.epochs import TrialEpoch
from nni_privacy.runs.processes import leftovers, stop_processes
from nni_privacy.runs.progress import Progress, ProgressWriter
from nni_privacy.runs.records import TrialRecord
from nni_privacy.runs.replay import Replay
from nni_privacy.runs.stopping import Stopping, StopRule, stop_rule

__all__ = ["PrivacyExperiment", "fit_parts"]

_logger = logging.getLogger(__name__)


class PrivacyExperiment(NasExperiment):
    """NNI's :class:`~nni.nas.experiment.NasExperiment` with NNI's faults repaired and every finished trial on disk.

    The manager (web UI and REST server) listens on 127.0.0.1, shows ``mia_auc`` next to the default metric, gives every
    trial its own parameters, and every result is checked to belong to the architecture that was proposed.

    A run that was interrupted, however hard, goes on with :meth:`resume` on its run directory. The manager ends with
    this process, its trials with it.

    Args:
        model_space: what to search, e.g. :class:`nni_privacy.search_spaces.DARTS`.
        evaluator: e.g. :class:`nni_privacy.PrivacyEvaluator`; any NNI evaluator works.
        strategy: e.g. a :class:`nni_privacy.strategies.FixedPattern` around one of NNI's.
        config: NNI's own configuration, for what the arguments below do not cover (other training services).
        output: the run directory, a new one or, for :meth:`resume`, that of the run: ``config.yaml``,
            ``environment.json``, ``trials.jsonl``, ``journal.jsonl``, ``scores/``, ``models/``; NNI's own files go to
            its folder ``nni``. By default a new folder ``runs/<name>-<experiment id>``.
        name: the experiment's name.
        trials: how many trials to run, failed ones included.
        concurrency: trials at a time.
        gpus_per_trial: GPUs that NNI reserves for each trial; 0 hides GPUs from trials on most services.
        settings: what ``config.yaml`` of the run directory shall hold; by default a summary of the arguments, and
            ``run`` says where the results are and writes the report.
        observers: called with the :class:`TrialRecord` of each finished trial. One that has a method ``resumed`` is
            told by it, at :meth:`resume`, of all that were finished before; one that has ``on_trial_epoch``, of every
            epoch of a running trial, a :class:`~nni_privacy.runs.epochs.TrialEpoch`.
        trial_timeout: seconds after which a running trial is stopped and counts as failed; None: never.
        stop: a rule by which trials are stopped early, a :class:`~nni_privacy.runs.stopping.StopRule` or the mapping of
            a configuration; None: none is.
        keep: the trials whose weights (``model.safetensors`` in a trial's output folder) are kept in ``models/``: those
            of the ``front`` of accuracy and AUC and the most accurate one, ``all`` or ``none``.
        warm_trials: whether trials on this machine are forked from one process that has imported everything and read
            the data: each costs seconds less, and is otherwise the same.
        token: whether the web UI wants the token in the address that is printed; None: as ``install()`` was told.
        allow_pickle: whether what can be sent to trials only as a pickle is; None: as ``install()`` was told.
        id: NNI's id of the experiment.

    Raises:
        ConfigError: if ``output`` holds files already, or evaluator or strategy cannot work on ``model_space``.
        PatternError: if the strategy's pattern does not fit ``model_space``.
        RuntimeRepairError: if ``model_space`` or ``evaluator`` would have to be pickled and that is not allowed.
    """

    refuses_pickles = True
    """A run is resumed and reported by other processes, which would write other pickles."""

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
        trial_timeout: float | None = None,
        stop: StopRule | Mapping[str, Any] | None = None,
        keep: Keep = "front",
        warm_trials: bool = True,
        token: bool | None = None,
        allow_pickle: bool | None = None,
        id: str | None = None,
    ) -> None:
        install()
        self._stop = None if stop is None else _rule_and_epochs(stop, evaluator)
        self._keep = check_keep(keep, settings or {})
        self._fixed_edges = fit_parts(model_space, evaluator, strategy)
        if config is None:
            config = _local_config(name, concurrency=concurrency, trials=trials, gpus_per_trial=gpus_per_trial)
        super().__init__(model_space, evaluator, strategy, config, id=id)
        self.warm_trials, self._token, self._allow_pickle = warm_trials, token, allow_pickle
        if self._nni_manager_required():
            with self._reached():
                experiment_trust(self)
        folder = output if output is not None else Path("runs") / f"{name}-{self.id}"
        self.run_directory = RunDirectory(folder, resumable=True)
        self.config.experiment_working_directory = str(self.run_directory.path / "nni")
        self._settings, self._observers, self._trial_timeout = settings, list(observers), trial_timeout
        self._finished: list[TrialRecord] | None = None
        self._page: LivePage | None = None
        self._progress: ProgressWriter | None = None

    def start(self, port: int = 8080, debug: bool = False, run_mode: RunMode = RunMode.Background) -> None:
        """Starts the manager at 127.0.0.1 and runs the strategy to its end; see NNI's ``NasExperiment.start``.

        Raises:
            ConfigError: if ``port`` is in use, ``output`` holds a run, or a module in the working folder hides one that
                trials need.
            RunStoppedError: if the manager ends, or the run directory cannot be written to.
        """
        put_outer_trial_aside()
        if self._action == "create" and self._finished is None:
            _check_start(port)
            self.run_directory.check_free(self.run_directory.path)
            with writing_run():
                self.run_directory.create(self._settings or self._summary(), self._environment())
                self.run_directory.lock.take()
        super().start(port, debug, run_mode)

    def _run_impl(self, port: int, wait_completion: bool, debug: bool) -> bool | None:
        """Runs it; where no command does that, says where the results are, and reports them at the end."""
        folder, told = self.run_directory.path, self._settings is None and wait_completion
        if told:
            print(f"results in {folder}", flush=True)
        try:
            finished = super()._run_impl(port, wait_completion, debug)
            if self._progress is not None and wait_completion:
                self._progress.close(done=bool(finished))
            return finished
        finally:
            if told and self.run_directory.holds_run(folder):
                try:
                    print(f"report: {write_report(folder)}", flush=True)
                except PrivacyError as error:  # what has ended the run, if anything, says more: that is raised
                    print(f"no report: {error}", flush=True)

    def resume(self, port: int = 8080, wait_completion: bool = True, debug: bool = False) -> bool | None:
        """Goes on with the run in ``output``, which was interrupted by whatever; see :meth:`run`.

        It is a new experiment of NNI in the same run directory: finished trials are not repeated, those that were under
        way are run again, and the strategy is led through its former decisions, so that it goes on where it was. What
        an earlier start left running is stopped first. A run that has all its trials is not started.

        Raises:
            ConfigError: if ``output`` holds no run, or one that is still running; and as :meth:`start`.
            RunStoppedError: as :meth:`start`.
        """
        run = self.run_directory
        if not run.holds_run(run.path):
            raise ConfigError(f"output: {run.path} holds no run to resume")
        with writing_run():
            stopped = run.lock.take()
            if stopped:
                _logger.warning("stopped what an earlier start left behind: processes %s", ", ".join(map(str, stopped)))
            _check_start(port)
            settings, environment = self._settings or self._summary(), self._environment()
            self._finished = run.open_again(environment, trials=self.config.max_trial_number, config=settings)
        for observer in self._observers:
            if hasattr(observer, "resumed"):
                observer.resumed(self._finished)
        if self.config.max_trial_number is not None:
            left = self.config.max_trial_number - len(self._finished)
            if left <= 0:
                run.lock.release()
                return True
            self.config.max_trial_number = left
        return self._run_impl(port, wait_completion, debug)

    def stop(self) -> None:
        """Stops the manager and its trials; what is finished is kept, and :meth:`resume` goes on."""
        if isinstance(self._engine, AuditedEngine):
            self._engine.close()
        super().stop()
        if self._progress is not None:
            self._progress.close(done=False)
        if self._page is not None:
            self._page.close()
        if self.run_directory.lock.held:
            stop_processes(leftovers(self.run_directory.path / "nni"))
            self.run_directory.lock.release()

    def save_checkpoint(self) -> None:
        """Saves the configuration, for NNI's own view of the experiment; the search goes on from the run's journal."""
        try:
            self._checkpoint_directory.mkdir(parents=True, exist_ok=True)
            with (self._checkpoint_directory / "config.json").open("w", encoding="utf-8") as file:
                nni.dump(self.config.json(), fp=file, indent=2)
        except OSError as error:
            _logger.debug("NNI's copy of the configuration cannot be written: %s", error)

    def _start_logging(self, debug: bool) -> None:
        super()._start_logging(debug)
        forgive_unwritable_logs()

    def _start_nni_manager(self, port: int, debug: bool, run_mode: RunMode = RunMode.Background, *more: Any) -> None:
        if run_mode is RunMode.Detach:
            with self._reached():
                super()._start_nni_manager(port, debug, run_mode, *more)
            return
        self._page, self._progress = LivePage(self.run_directory.path), self._progress_writer()
        with self._reached(), self._page.told(), manager_errors_kept(log_folder(self)):
            super()._start_nni_manager(port, debug, run_mode, *more)
        manager: Any = self._proc
        with writing_run():
            self.run_directory.lock.note_manager(manager.pid)

    def _progress_writer(self) -> ProgressWriter:
        before, left = len(self._finished or ()), self.config.max_trial_number
        progress = Progress(
            started=time.time(),
            planned=None if left is None else before + left,
            before=before,
            concurrency=self.config.trial_concurrency,
            experiment=self.id,
        )
        return ProgressWriter(self.run_directory.path, progress)

    def _reached(self) -> AbstractContextManager[object]:
        """Access to a manager that is started meanwhile, as the arguments say."""
        if self._token is None and self._allow_pickle is None:
            return nullcontext()
        return manager_access(wants_token=self._token, allow_pickle=self._allow_pickle)

    def _stop_nni_manager(self) -> None:
        manager: Any = getattr(self, "_proc", None)
        if hasattr(manager, "poll") and manager.poll() is not None:
            self._proc = self.port = None  # there is nobody to be asked to stop
            return
        super()._stop_nni_manager()

    def execution_engine_factory(self, config: ExecutionEngineConfig) -> ExecutionEngine:
        """The engine that checks every result; other engines than the training service's are NNI's own."""
        if not isinstance(config, TrainingServiceEngineConfig):
            return super().execution_engine_factory(config)
        run = self.run_directory
        with writing_run():
            replay = Replay(run.journal, {record.trial for record in self._finished or ()})
            config = self._settings or self._summary()
            self._models = ModelKeeper(run, keep=self._keep, config=config, finished=self._finished or ())
        return AuditedEngine(
            self,
            replay=replay,
            on_trial=self._record,
            on_scores=run.save_scores,
            on_model=self._models.take,
            on_start=self._started,
            on_epoch=self._tell_epoch,
            folder=run.path,
            trial_timeout=self._trial_timeout,
            stopping=None if self._stop is None else Stopping(*self._stop, self._finished or ()),
        )

    def _started(self, number: int) -> None:
        if self._progress is not None:
            self._progress.began(number)

    def _record(self, record: TrialRecord) -> None:
        self.run_directory.append(record)
        if self._progress is not None:
            self._progress.ended(record.sequence)
        self._models.recorded(record)
        for observer in self._observers:
            try:
                observer(record)
            except Exception:  # the trial is finished all the same
                _logger.exception("while telling %r of trial %s", observer, record.trial)

    def _tell_epoch(self, epoch: TrialEpoch) -> None:
        if self._progress is not None:
            self._progress.told(epoch)
        for observer in self._observers:
            if hasattr(observer, "on_trial_epoch"):
                observer.on_trial_epoch(epoch)

    def _summary(self) -> dict[str, Any]:
        try:
            evaluator = self.evaluator._dump()
        except (NotImplementedError, TypeError):  # NNI knows its options, or sends it as a pickle
            evaluator = getattr(self.evaluator, "trace_kwargs", self.evaluator)
        return {
            "name": self.config.experiment_name,
            "search_space": repr(type(self.model_space).__name__),
            "strategy": repr(self.strategy),
            "evaluator": evaluator,
            "trials": self.config.max_trial_number,
            "concurrency": self.config.trial_concurrency,
            "keep": self._keep,
            **({"constraints": constraints.to_dict()} if (constraints := _constraints_of(self.strategy)) else {}),
        }

    def _environment(self) -> dict[str, Any]:
        return describe_environment(
            experiment=self.id,
            seed=getattr(self.evaluator, "seed", None),
            device=getattr(self.evaluator, "device", None),
            fixed_edges=self._fixed_edges,
        )


def fit_parts(model_space: ModelSpace, evaluator: Evaluator, strategy: Strategy) -> dict[str, Any]:
    """The edges that a strategy fixes in a space, by cell; ours say before anything starts whether they fit.

    Raises:
        PrivacyError: if evaluator or strategy cannot work on the space.
    """
    fit_to = getattr(strategy, "fit_to", None)  # a FixedPattern, or what wraps strategies as it does
    fixed: dict[str, Any] = fit_to(model_space).as_lists() if fit_to is not None else {}
    for check in (getattr(evaluator, "check_space", None), getattr(strategy, "check", None)):
        if check is not None:
            check(SimplifiedModelSpace.from_model(model_space, evaluator))
    return fixed


def _rule_and_epochs(stop: StopRule | Mapping[str, Any], evaluator: Evaluator) -> tuple[StopRule, int]:
    """The rule of early stopping, and the epochs of a whole trial."""
    rule, epochs = stop_rule(stop), getattr(getattr(evaluator, "recipe", None), "epochs", None)
    if not isinstance(epochs, int):
        raise ConfigError(f"stop: {type(evaluator).__name__} does not say how many epochs its trials have")
    rule.check_epochs(epochs)
    return rule, epochs


def _constraints_of(strategy: Any) -> Constraints:
    """The constraints of a strategy, or of one inside of it."""
    while strategy is not None:
        found = getattr(strategy, "constraints", None)
        if isinstance(found, Constraints) and found:
            return found
        strategy = getattr(strategy, "strategy", None)
    return Constraints()


def _check_start(port: int) -> None:
    check_port(port)
    check_folder(Path.cwd())


def _local_config(name: str, *, concurrency: int, trials: int | None, gpus_per_trial: int) -> NasExperimentConfig:
    for field, value, least in (
        ("concurrency", concurrency, 1),
        ("trials", trials, 1),
        ("gpus_per_trial", gpus_per_trial, 0),
    ):
        if value is not None and value < least:
            raise ConfigError(f"{field}: {value}; expected at least {least}")
    config = NasExperimentConfig("ts", "simplified", "local")
    config.experiment_name = name
    config.trial_concurrency = concurrency
    config.max_trial_number = trials
    config.trial_gpu_number = gpus_per_trial
    if gpus_per_trial:
        config.training_service.use_active_gpu = True
    config.log_level = "warning"
    return config
