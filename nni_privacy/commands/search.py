"""The command ``nni-privacy search``: a search from a configuration file to its report.

Where the evaluator only predicts, the search runs in this process, without NNI's manager and its web UI: a prediction
takes milliseconds and a trial of NNI's manager seconds, so thousands of them would take hours there.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy import search_spaces
from nni_privacy.commands.build import (
    build_evaluator,
    build_search_strategy,
    build_space,
    check_objectives,
    training_services,
)
from nni_privacy.commands.session import (
    EXIT_INTERRUPTED,
    SearchProgress,
    check_resumable,
    conclude,
    conclude_complete,
    interruptible,
    is_complete,
    run_to_end,
)
from nni_privacy.config import SearchConfig, load_config
from nni_privacy.errors import ConfigError, PrivacyError
from nni_privacy.nni_runtime.access import ManagerAccess, check_host, manager_access
from nni_privacy.report import write_report
from nni_privacy.runs.directory import RunDirectory, describe_environment
from nni_privacy.runs.records import TrialRecord

if TYPE_CHECKING:
    from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent
    from nni.nas.experiment import NasExperimentConfig
    from nni.nas.space import SimplifiedModelSpace
    from nni.nas.strategy import Strategy

    from nni_privacy.evaluator import PrivacyEvaluator
    from nni_privacy.nni_runtime.experiment import PrivacyExperiment
    from nni_privacy.search_spaces import DARTS, NasBench201

__all__ = ["check_token", "run_predicted", "run_search"]


def run_search(
    config: str | Path,
    *,
    output: str | Path | None = None,
    trials: int | None = None,
    port: int = 8080,
    exit_when_done: bool = False,
    host: str | None = None,
    token: bool = True,
    resume: bool = False,
) -> int:
    """Runs the search that the configuration file describes, writes its report, and keeps the web UI up until Ctrl-C.

    Everything that can be wrong with the input is found before anything is written or started.

    Args:
        config: path of the YAML file.
        output: the run directory; by default ``runs/<name>-<time>``.
        trials: instead of the configuration's.
        port: of the web UI on 127.0.0.1.
        exit_when_done: stop the web UI when the search is done.
        host: an address of this machine that the web UI is open at, too, for whoever has its token.
        token: whether the web UI wants the token in the address that is printed.
        resume: go on with the run in ``output``, which was interrupted; ``trials`` may be more than before.

    Returns:
        The exit code: 0, 1 if no trial succeeded, 130 if interrupted.

    Raises:
        PrivacyError: if the input is not valid, or ``output`` does not hold the run to resume.
        RunStoppedError: if a fault of the machine ends the run.
    """
    settings = load_config(config, trials=trials)
    check_objectives(settings)
    directory = Path(output or Path("runs") / f"{settings.name}-{time.strftime('%Y%m%d-%H%M%S')}").absolute()
    if resume:
        check_resumable(settings, output)
    elif RunDirectory.holds_run(directory):
        raise ConfigError(f"output: {directory} holds a run; go on with it by --resume, or name a new folder")
    else:
        RunDirectory.check_free(directory)
    if host is not None:
        if settings.predicted:
            raise ConfigError(f"host: {host!r}; with evaluator.kind: predicted there is no web UI to open")
        check_host(host, port)
    check_token(host, token=token)
    services = training_services(settings, host, trials=settings.trials)
    if settings.predicted:
        return run_predicted(settings, directory)
    if resume and is_complete(settings, directory):
        return conclude_complete(directory)
    with manager_access(host=host, wants_token=token, announce=False) as access:
        return _run_measured(
            settings,
            directory,
            port=port,
            exit_when_done=exit_when_done,
            access=access,
            services=services,
            resume=resume,
        )


def check_token(host: str | None, *, token: bool) -> None:
    """Raises ConfigError if the web UI is to be open to a network without a token."""
    if host is not None and not token:
        raise ConfigError(f"--no-token: not with --host {host}; whoever reaches it could run code as you")


def _run_measured(
    settings: SearchConfig,
    directory: Path,
    *,
    port: int,
    exit_when_done: bool,
    access: ManagerAccess,
    services: NasExperimentConfig | None,
    resume: bool,
) -> int:
    from nni_privacy.nni_runtime.experiment import check_port

    check_port(port)
    evaluator = build_evaluator(settings)
    data, _ = evaluator.load_data()
    space = build_space(settings, data)
    with SearchProgress(settings.trials, access.plain_address(port)) as progress, interruptible():
        strategy = build_search_strategy(settings, folder=directory / "search", on_epoch=progress.on_epoch)
        experiment = _experiment(settings, space, evaluator, strategy, directory, progress, services)
        word = "resumed, " if resume else ""
        access.say(f"{settings.name}: {word}{settings.trials} trials", directory, port)
        finished = run_to_end(experiment, port, resume=resume)
    return conclude(experiment, progress, access.page(port), finished=finished, exit_when_done=exit_when_done)


def _experiment(
    settings: SearchConfig,
    space: DARTS | NasBench201,
    evaluator: PrivacyEvaluator,
    strategy: Strategy,
    directory: Path,
    progress: SearchProgress,
    services: NasExperimentConfig | None,
) -> PrivacyExperiment:
    import nni

    from nni_privacy.nni_runtime.experiment import PrivacyExperiment

    nni.silence_stdout()  # its log stays in the run directory, nni/<id>/log
    return PrivacyExperiment(
        space,
        evaluator,
        strategy,
        services,
        output=directory,
        name=settings.name,
        trials=settings.trials,
        concurrency=settings.concurrency,
        gpus_per_trial=settings.gpus_per_trial,
        settings=settings.resolved(),
        observers=[progress],
        trial_timeout=settings.trial_timeout,
    )


def run_predicted(settings: SearchConfig, directory: Path) -> int:
    """Runs the search and writes its run directory, in which every AUC is called predicted.

    Args:
        settings: a configuration with ``evaluator: {kind: predicted}``.
        directory: the run directory.

    Returns:
        The exit code: 0, or 130 if interrupted.

    Raises:
        PrivacyError: if the surrogate cannot be read or cannot predict the space; nothing has been written then.
    """
    from nni.nas.space import SimplifiedModelSpace

    from nni_privacy.surrogate.evaluator import PredictedEvaluator

    evaluator = PredictedEvaluator(settings.evaluator.surrogate)
    section = settings.search_space
    space = getattr(search_spaces, search_spaces.SPACES[section.name])(**section.options)
    executable = SimplifiedModelSpace.from_model(space, evaluator)
    evaluator.check_space(executable)
    strategy: Any = build_search_strategy(settings, folder=directory / "search")
    fixed = strategy.fit_to(space).as_lists() if hasattr(strategy, "fit_to") else {}
    if hasattr(strategy, "check"):
        strategy.check(executable)
    recorder = _Recorder(RunDirectory(directory), settings.trials)
    recorder.run.create(settings.resolved(), describe_environment(seed=settings.seed, fixed_edges=fixed))
    print(
        f"{settings.name}: {settings.trials} trials are PREDICTED, none is trained; results in {directory}", flush=True
    )
    finished = _search(strategy, executable, recorder)
    report = write_report(directory)
    lowest = "-" if recorder.lowest is None else f"{recorder.lowest:.4f}"
    word = "done" if finished else "interrupted"
    print(
        f"{word}: {recorder.count} trials, lowest PREDICTED AUC {lowest} (not measured); report: {report}", flush=True
    )
    return 0 if finished else EXIT_INTERRUPTED


def _search(strategy: Any, executable: SimplifiedModelSpace, recorder: _Recorder) -> bool:
    """Whether the search ran to its end."""
    import nni
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.execution.event import ModelEventType

    nni.silence_stdout()
    logging.getLogger("nni").addHandler(logging.NullHandler())  # else its warnings, a page long, end on the screen
    engine = SequentialExecutionEngine(max_model_count=recorder.trials)
    engine.register_model_event_callback(ModelEventType.FinalMetric, recorder.on_metric)
    engine.register_model_event_callback(ModelEventType.TrainingEnd, recorder.on_end)
    try:
        with interruptible():
            strategy(executable, engine)
    except KeyboardInterrupt:
        return False
    except PrivacyError:
        write_report(recorder.run.path)  # what there is before a filter lets nothing through
        raise
    return True


class _Recorder:
    """Writes every prediction to the run directory, and shows how far the search is where there is a screen."""

    def __init__(self, run: RunDirectory, trials: int) -> None:
        self.count = 0
        self.lowest: float | None = None
        self.run = run
        self.trials = trials
        self._reported: dict[str, Any] = {}

    def on_metric(self, event: FinalMetricEvent) -> None:
        """Keeps what a trial reports until it ends; the engine itself keeps only one number of it."""
        self._reported = dict(event.metric)

    def on_end(self, event: TrainingEndEvent) -> None:
        """Appends the trial, unless it was interrupted before it could report."""
        reported, self._reported = self._reported, {}
        if not reported:
            return
        metrics = {key: reported[key] for key in ("predicted_mia_auc", "predicted_mia_auc_sd")}
        name, architecture = f"predicted-{self.count:05}", reported["architecture"]
        record = TrialRecord(name, self.count, "succeeded", architecture, metrics, reported["seconds"])
        self.run.append(record)
        self.count += 1
        auc = metrics["predicted_mia_auc"]
        self.lowest = auc if self.lowest is None else min(self.lowest, auc)
        if sys.stderr.isatty():
            line = f"{self.count}/{self.trials} trials  lowest PREDICTED AUC {self.lowest:.4f}"
            print(f"\r\x1b[K{line}", end="" if self.count < self.trials else "\n", file=sys.stderr, flush=True)
