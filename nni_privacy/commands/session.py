"""A session of a search or a study: progress in the terminal, interruption, resumption, and its conclusion."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nni_privacy.config import SearchConfig
from nni_privacy.errors import ConfigError, DataError, PrivacyError, RunStoppedError, RuntimeRepairError
from nni_privacy.files import DISK_FAULTS, unwritten
from nni_privacy.nni_runtime.access import check_host
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.epochs import EpochRecord
from nni_privacy.runs.records import TrialRecord

if TYPE_CHECKING:
    from nni_privacy.nni_runtime.experiment import PrivacyExperiment

__all__ = [
    "EXIT_INTERRUPTED",
    "SearchProgress",
    "check_host_and_port",
    "check_resumable",
    "conclude",
    "conclude_complete",
    "differences",
    "interruptible",
    "is_complete",
    "run_to_end",
]

FREE = ("name", "trials", "strategy.top_k", "concurrency", "gpus_per_trial", "training_service", "trial_timeout")
"""Fields that may change from one start of a run to the next; ``trials``, and ``top_k`` with it, may only grow."""

EXIT_ALL_FAILED = 1
EXIT_INTERRUPTED = 130


class SearchProgress:
    """Counts finished trials and shows the best of them; give it to a PrivacyExperiment as an observer.

    Args:
        trials: how many there will be.
        address: of the web UI.
        console: where to write; by default standard output.
    """

    def __init__(self, trials: int, address: str, *, console: Console | None = None) -> None:
        self.trials = trials
        self.address = address
        self.done = self.failed = self._restored = 0
        self.best_accuracy: float | None = None
        self.lowest_auc: float | None = None
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._lock = threading.Lock()
        self._epoch: EpochRecord | None = None
        self._started = time.monotonic()
        self._live = Live(console=self._console, get_renderable=self._line, refresh_per_second=2, transient=True)

    def __enter__(self) -> SearchProgress:
        self._started = time.monotonic()
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, record: TrialRecord) -> None:
        """Takes note of a finished trial."""
        with self._lock:
            self._count(record)
            if record.status == "failed":
                self._console.print(f"trial {record.trial} failed: {record.error}", markup=False)
            if not self._console.is_terminal:
                self._console.print(self._line())

    def resumed(self, records: Sequence[TrialRecord]) -> None:
        """Takes note of the trials that were finished before a run was resumed."""
        with self._lock:
            for record in records:
                self._count(record)
            self._restored = len(records)

    def _count(self, record: TrialRecord) -> None:
        self.done += 1
        self.failed += record.status == "failed"
        accuracy, auc = record.metrics.get("accuracy"), record.metrics.get("mia_auc")
        self.best_accuracy = max((x for x in (self.best_accuracy, accuracy) if x is not None), default=None)
        self.lowest_auc = min((x for x in (self.lowest_auc, auc) if x is not None), default=None)

    def on_epoch(self, record: EpochRecord) -> None:
        """Takes note of an epoch of a one-shot search, which comes before the first trial."""
        with self._lock:
            self._epoch = record
            if not self._console.is_terminal:
                self._console.print(str(record), markup=False)

    def seconds_left(self) -> float | None:
        """Estimated from the pace since the start, in seconds; None before a trial has finished since."""
        here = self.done - self._restored
        if not here:
            return None
        return (time.monotonic() - self._started) / here * max(self.trials - self.done, 0)

    def _line(self) -> Text:
        if self._epoch is not None and not self.done and self._epoch.epoch < self._epoch.epochs:
            return Text(f"{self._epoch}  {self.address}")
        left = self.seconds_left()
        failed = f" ({self.failed} failed)" if self.failed else ""
        parts = [
            f"{self.done}/{self.trials} trials{failed}",
            f"best accuracy {_fraction(self.best_accuracy)}",
            f"lowest AUC {_fraction(self.lowest_auc)}",
            f"{_duration(time.monotonic() - self._started)} so far, {_duration(left)} left",
            self.address,
        ]
        return Text("  ".join(parts))


def _fraction(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def check_resumable(settings: SearchConfig, output: str | Path | None) -> None:
    """Raises ConfigError unless ``output`` holds an interrupted run of this search; changes nothing."""
    if output is None:
        raise ConfigError("--resume: name the directory of the run with --output")
    if settings.predicted:
        raise ConfigError("--resume: with evaluator.kind: predicted a search takes seconds; start it anew")
    directory = Path(output).absolute()
    if not RunDirectory.holds_run(directory):
        raise ConfigError(f"output: {directory} holds no run to resume")
    run = RunDirectory(directory, resumable=True)
    run.lock.check()
    recorded, wanted = run.config(), settings.resolved()
    for field, before, now in differences(recorded, wanted):
        raise ConfigError(f"{field}: {now!r:.80}; the run in {directory} was started with {before!r:.80}")
    before = recorded.get("trials")
    if isinstance(before, int) and settings.trials < before:
        raise ConfigError(
            f"trials: {settings.trials}; the run in {directory} was started with {before}: allowed is more"
        )


def differences(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The fields in which a search differs from the recorded one, of those that matter: path, recorded, wanted.

    >>> list(differences({"trials": 3, "evaluator": {"threads": 1}}, {"trials": 4, "evaluator": {"threads": 2}}))
    [('evaluator.threads', 1, 2)]
    """
    for key in dict.fromkeys((*wanted, *recorded)):
        if key in recorded:  # a newer version may know more
            yield from _differences(key, recorded[key], wanted.get(key))


def _differences(path: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if path in FREE:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*now, *before)):
            yield from _differences(f"{path}.{key}", before.get(key), now.get(key))
    elif before != now:
        yield path, before, now


def is_complete(settings: SearchConfig, directory: Path) -> bool:
    """Whether the run in ``directory`` has all its trials."""
    return len(RunDirectory(directory, resumable=True).records()) >= settings.trials


def conclude_complete(directory: Path) -> int:
    """Reports a run that has all its trials. Returns the exit code, 0."""
    from nni_privacy.report import write_report

    count = len(RunDirectory(directory, resumable=True).records())
    print(f"complete: all {count} trials are finished, there is nothing to resume; report: {write_report(directory)}")
    return 0


def check_host_and_port(host: str | None, port: int) -> None:
    """Raises ConfigError unless the web UI can be open there."""
    from nni_privacy.nni_runtime.experiment import check_port

    check_port(port)
    if host is not None:
        check_host(host, port)


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
