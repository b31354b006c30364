"""A search from a configuration file to its report: what ``nni-privacy search`` does."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from nni_privacy.config import SearchConfig, load_config
from nni_privacy.errors import ConfigError, DataError, PrivacyError, RunStoppedError, RuntimeRepairError
from nni_privacy.nni_runtime.access import ManagerAccess, check_host, manager_access
from nni_privacy.nni_runtime.run_directory import RunDirectory
from nni_privacy.resuming import check_resumable, conclude_complete, is_complete
from nni_privacy.training_services import check_reachable, experiment_config
from nni_privacy.whole_files import DISK_FAULTS, unwritten

if TYPE_CHECKING:
    from nni.nas.experiment import NasExperimentConfig
    from nni.nas.strategy import Strategy

    from nni_privacy.data import Dataset
    from nni_privacy.evaluator import PrivacyEvaluator
    from nni_privacy.nni_runtime.experiment import PrivacyExperiment
    from nni_privacy.progress import SearchProgress
    from nni_privacy.search_spaces import DARTS, NasBench201
    from nni_privacy.strategies.search_log import EpochRecord
    from nni_privacy.study.config import StudyConfig

__all__ = [
    "build_evaluator",
    "build_search_strategy",
    "build_space",
    "check_host_and_port",
    "check_objectives",
    "check_token",
    "conclude",
    "interruptible",
    "run_search",
    "run_to_end",
    "training_services",
]

EXIT_ALL_FAILED = 1
EXIT_INTERRUPTED = 130
SKIPPED_FILE = "skipped.jsonl"


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
        from nni_privacy.predicted_run import run_predicted

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


def training_services(
    settings: SearchConfig | StudyConfig, host: str | None, *, trials: int
) -> NasExperimentConfig | None:
    """Where the trials run; None for this machine."""
    if settings.training_service is None:
        return None
    check_reachable(settings.training_service, host)
    return experiment_config(
        settings.training_service,
        name=settings.name,
        trials=trials,
        concurrency=settings.concurrency,
        gpus_per_trial=settings.gpus_per_trial,
        host=host,
    )


def check_token(host: str | None, *, token: bool) -> None:
    """Raises ConfigError if the web UI is to be open to a network without a token."""
    if host is not None and not token:
        raise ConfigError(f"--no-token: not with --host {host}; whoever reaches it could run code as you")


def check_host_and_port(host: str | None, port: int) -> None:
    """Raises ConfigError unless the web UI can be open there."""
    from nni_privacy.nni_runtime.experiment import check_port

    check_port(port)
    if host is not None:
        check_host(host, port)


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
    from nni_privacy.progress import SearchProgress

    with SearchProgress(settings.trials, access.plain_address(port)) as progress, interruptible():
        strategy = build_search_strategy(settings, folder=directory / "search", on_epoch=progress.on_epoch)
        experiment = _experiment(settings, space, evaluator, strategy, directory, progress, services)
        word = "resumed, " if resume else ""
        access.say(f"{settings.name}: {word}{settings.trials} trials", directory, port)
        finished = run_to_end(experiment, port, resume=resume)
    return conclude(experiment, progress, access.page(port), finished=finished, exit_when_done=exit_when_done)


def build_evaluator(settings: SearchConfig) -> PrivacyEvaluator:
    """The evaluator of a configuration."""
    from nni_privacy.evaluator import PrivacyEvaluator

    if settings.dataset is None:
        raise ConfigError("dataset: missing")
    return PrivacyEvaluator(
        {"name": settings.dataset.name, **settings.dataset.options},
        seed=settings.seed,
        **settings.evaluator.measuring(),
    )


def build_space(settings: SearchConfig, data: Dataset) -> DARTS | NasBench201:
    """The model space of a configuration, for images and classes as in ``data``."""
    from nni_privacy import search_spaces

    section = settings.search_space
    space = getattr(search_spaces, search_spaces.SPACES[section.name])
    return space(**section.options, in_channels=data.image_shape[0], num_classes=data.num_classes)


def check_objectives(settings: SearchConfig) -> None:
    """Raises ConfigError if the strategy is after a metric that the configuration's evaluator does not give."""
    if settings.strategy.name == "pareto":
        from nni_privacy.strategies.objectives import check_metrics_given

        attacks = None if settings.predicted else settings.evaluator.attacks
        check_metrics_given(settings.strategy.options["objectives"], attacks)


def build_search_strategy(
    settings: SearchConfig, *, folder: Path | None = None, on_epoch: Callable[[EpochRecord], None] | None = None
) -> Strategy:
    """The strategy of a configuration, inside a filter and a FixedPattern where there is a filter or a pattern.

    Args:
        settings: the configuration.
        folder: where a one-shot search leaves its checkpoint and its log, and a filter what it skipped.
        on_epoch: called after each epoch of a one-shot search.
    """
    from nni_privacy.patterns.library import warn_unsupported
    from nni_privacy.strategies import FixedPattern, build_strategy
    from nni_privacy.strategies.one_shot import OneShotStrategy
    from nni_privacy.strategies.predicted_filter import PredictedFilter

    strategy = build_strategy(settings.strategy.name, settings.strategy.options, seed=settings.seed)
    if isinstance(strategy, OneShotStrategy):
        strategy.device, strategy.threads = settings.evaluator.device, settings.evaluator.threads
        strategy.folder, strategy.on_epoch = folder, on_epoch
    if settings.filter is not None:
        strategy = PredictedFilter(
            strategy,
            **settings.filter.model_dump(),
            seed=settings.seed,
            log=None if folder is None else folder / SKIPPED_FILE,
        )
    if settings.pattern is None:
        return strategy
    pattern = settings.pattern.load()
    warn_unsupported(pattern)
    return FixedPattern(strategy, pattern, budget=settings.pattern.budget)


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


def run_to_end(experiment: PrivacyExperiment, port: int, *, resume: bool = False) -> bool:
    """Whether the search ran to its end; NNI stops the manager itself when it is interrupted."""
    try:
        return bool(experiment.resume(port) if resume else experiment.run(port))
    except PrivacyError:
        # A filter that lets nothing through ends a search that may have results: they are kept and reported.
        _stop_and_report(experiment)
        raise
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in DISK_FAULTS:
            _stop_and_report(experiment)
            raise RunStoppedError(unwritten(error)) from error
        log = experiment.run_directory.path / "nni" / experiment.id / "log"
        raise RuntimeRepairError(f"NNI's manager failed: {' '.join(str(error).split())} (see {log})") from error


def _stop_and_report(experiment: PrivacyExperiment) -> None:
    """Stops what runs and reports what there is; of a run that this process has not started, nothing."""
    from nni_privacy.report import write_report

    if experiment.run_directory.lock.held:
        experiment.stop()
        with suppress(DataError):  # the disk may be full
            write_report(experiment.run_directory.path)


def conclude(
    experiment: PrivacyExperiment, progress: SearchProgress, address: str, *, finished: bool, exit_when_done: bool
) -> int:
    """Reports a run and keeps its web UI up until Ctrl-C, where there is one. Returns the exit code."""
    from nni_privacy.report import write_report

    report = write_report(experiment.run_directory.path)
    word = "done" if finished else "interrupted"
    print(f"{word}: {progress.done} trials, {progress.failed} failed; report: {report}", flush=True)
    if not finished:
        return EXIT_INTERRUPTED
    try:
        if not exit_when_done and experiment.port is not None:
            print(f"the web UI stays up at {address} until Ctrl-C", flush=True)
            with interruptible():
                threading.Event().wait()
    except KeyboardInterrupt:
        print(file=sys.stderr)
    finally:
        experiment.stop()
    return 0 if progress.done > progress.failed else EXIT_ALL_FAILED


@contextmanager
def interruptible() -> Iterator[None]:
    """Lets SIGTERM end a run as Ctrl-C does: the manager and its trials are stopped, what there is is kept.

    Ctrl-C's own signal is set too: a shell starts a background job with it ignored.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
