"""A run on NNI's manager, as ``search`` and ``measure`` start it: its checks, progress, end, and resumption."""

from __future__ import annotations

import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nni_privacy.commands.interrupts import interruptible
from nni_privacy.commands.options import PORT, ExitCode
from nni_privacy.config import SearchConfig
from nni_privacy.errors import DISK_FAULTS, ConfigError, DataError, PrivacyError, RunStoppedError, RuntimeRepairError
from nni_privacy.files import full_disk, unwritten
from nni_privacy.lazy import quick_imports
from nni_privacy.nni_runtime.access import ManagerAccess, check_host, check_port, manager_access
from nni_privacy.nni_runtime.hidden_modules import check_folder
from nni_privacy.nni_runtime.training_services import check_reachable, experiment_config
from nni_privacy.plugins import plugin_faults
from nni_privacy.report import read_run, write_report
from nni_privacy.report.feasibility import feasibility_info
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.epochs import EpochRecord, TrialEpoch
from nni_privacy.runs.notices import notices_of
from nni_privacy.runs.records import STOPPED, TRIALS, TrialRecord, read_trials
from nni_privacy.strategies.registry import FilterOptions, strategy_options

if TYPE_CHECKING:
    from nni.nas.evaluator import Evaluator
    from nni.nas.nn.pytorch import ModelSpace
    from nni.nas.strategy import Strategy

    from nni_privacy.nni_runtime.experiment import PrivacyExperiment
    from nni_privacy.studies.config import StudyConfig

__all__ = ["SearchProgress", "Session", "check_resumable", "differences", "run_folder", "strategy_faults"]

FREE = (
    "name",
    "trials",
    "confirm",
    "strategy.top_k",
    "concurrency",
    "gpus_per_trial",
    "training_service",
    "trial_timeout",
    "warm_trials",
    "keep",
)
"""Fields that may change from one start of a run to the next; ``trials``, and ``top_k`` with it, may only grow."""


def run_folder(output: str | Path | None, name: str) -> Path:
    """The run directory: ``output``, or by default ``runs/<name>-<time>``."""
    return Path(output or Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}").absolute()


@dataclass(kw_only=True)
class Session:
    """A run from its checks to its conclusion, in the order of the methods.

    Attributes:
        settings: the configuration.
        directory: the run directory.
        trials: how many there are to be.
        resume: whether to go on with the run in ``directory``.
        port: of the web UI on 127.0.0.1.
        host: an address of this machine that the web UI is open at, too, for whoever has its token.
        token: whether the web UI wants the token in the address that is printed.
        exit_when_done: whether the web UI is stopped when the run is done, not by Ctrl-C.
        command: words of the command line that make this run, without ``nni-privacy`` and where and how it runs.
        place: words that name the run directory and ask to go on with it; by default ``--output`` and ``--resume``.
        page: the token of a session that has ended, whose page of the web UI goes on; by default a new one.
        access: of NNI's manager; set while the session is open.
        progress: the observer of finished trials; set while the session is open.
    """

    settings: SearchConfig | StudyConfig
    directory: Path
    trials: int = 0
    resume: bool = False
    port: int = PORT
    host: str | None = None
    token: bool = True
    exit_when_done: bool = False
    command: Sequence[str] = ()
    place: Sequence[str] | None = None
    page: str | None = field(default=None, repr=False)
    access: ManagerAccess = field(init=False)
    progress: SearchProgress = field(init=False)

    @property
    def resume_command(self) -> str:
        """What is to be typed to go on with the run."""
        place = ["--output", str(self.directory), "--resume"] if self.place is None else self.place
        words = ["nni-privacy", *self.command, *place]
        words += ["--port", str(self.port)] if self.port != PORT else []
        words += ["--host", self.host] if self.host is not None else []
        words += ["--no-token"] if not self.token else []
        words += ["--exit-when-done"] if self.exit_when_done else []
        return shlex.join(words)

    def check(self) -> None:
        """Raises ConfigError unless the web UI can be open as wanted, and trials on other machines can reach it."""
        if self.host is not None:
            check_host(self.host, self.port)
            if not self.token:
                raise ConfigError(f"--no-token: not with --host {self.host}; whoever reaches it could run code as you")
        check_reachable(self.settings.training_service, self.host)

    def conclude_complete(self) -> bool:
        """Reports a resumed run that has all its trials; False if there is something left to run."""
        count = len(read_trials(self.directory / TRIALS)[0]) if self.resume else 0
        if not self.resume or count < self.trials:
            return False
        RunDirectory(self.directory, resumable=True).records()  # says what it skips
        report = write_report(self.directory)
        print(f"complete: all {count} trials are finished, there is nothing to resume; report: {report}")
        self._say_what_is_feasible()
        return True

    @property
    def _constrained(self) -> bool:
        return isinstance(self.settings, SearchConfig) and bool(self.settings.constraints)

    def _say_what_is_feasible(self) -> None:
        found = feasibility_info(read_run(self.directory)) if self._constrained else None
        if found is not None:
            print(found.sentence, flush=True)

    @contextmanager
    def opened(self) -> Iterator[Session]:
        """Gives the manager that is started meanwhile its token, shows progress, and takes SIGTERM as Ctrl-C.

        Raises:
            ConfigError: if the port is in use, or a module in the working folder hides one that trials need.
        """
        check_port(self.port)
        with quick_imports():
            import_module("nni_privacy.nni_runtime.experiment")
        check_folder(Path.cwd())
        with manager_access(host=self.host, wants_token=self.token, announce=False, token=self.page) as self.access:
            address = self.access.plain_address(self.port)
            with SearchProgress(self.trials, address) as self.progress, interruptible():
                yield self

    def experiment(self, space: ModelSpace, evaluator: Evaluator, strategy: Strategy) -> PrivacyExperiment:
        """The experiment in this session's run directory, on the configuration's training service.

        Raises:
            PrivacyError: if the parts do not fit together, or NNI does not accept the training service.
        """
        import nni

        from nni_privacy.nni_runtime.experiment import PrivacyExperiment

        nni.silence_stdout()  # its log stays in the run directory, nni/<id>/log
        settings, size = self.settings, self._size()
        service = settings.training_service
        return PrivacyExperiment(
            space,
            evaluator,
            strategy,
            None if service is None else experiment_config(service, host=self.host, **size),
            output=self.directory,
            settings=settings.resolved(),
            observers=[self.progress],
            trial_timeout=settings.trial_timeout,
            stop=getattr(settings, "stop", None),  # a study has none: each of its measurements is wanted
            warm_trials=settings.warm_trials,
            keep=settings.keep,
            **size,
        )

    def check_parts(self, space: ModelSpace, evaluator: Evaluator, strategy: Strategy) -> None:
        """Checks what a start of the run would check, and starts and writes nothing.

        Raises:
            PrivacyError: if the port is in use, the parts do not fit, or NNI does not accept the training service.
        """
        from nni_privacy.nni_runtime.experiment import fit_parts

        check_port(self.port)
        check_folder(Path.cwd())
        fit_parts(space, evaluator, strategy)
        if self.settings.training_service is not None:
            experiment_config(self.settings.training_service, host=self.host, **self._size())

    def plan_of_run(self) -> str:
        """Where a run would go and what of it is finished, as lines of a dry run."""
        finished = len(RunDirectory(self.directory, resumable=True).records()) if self.resume else 0
        lines = [("results", self.directory), *([("finished", f"{finished} of {self.trials}")] if self.resume else [])]
        return "\n".join(f"  {name:<14} {value}" for name, value in lines)

    def _size(self) -> dict[str, Any]:
        settings = self.settings
        size: dict[str, Any] = {key: getattr(settings, key) for key in ("name", "concurrency", "gpus_per_trial")}
        return {**size, "trials": self.trials}

    def run_to_end(self, experiment: PrivacyExperiment, *, what: str = "trials") -> bool:
        """Whether the run went to its end; NNI stops the manager itself when it is interrupted.

        Raises:
            RunStoppedError: if a fault of the machine ends it.
            PrivacyError: if the strategy cannot go on; what there is has been reported.
        """
        word, start = ("resumed, ", experiment.resume) if self.resume else ("", experiment.run)
        self.access.say(f"{self.settings.name}: {word}{self.trials} {what}", self.directory, self.port)
        try:
            with strategy_faults(self.settings):
                return bool(start(self.port))
        except PrivacyError as error:
            # A filter that lets nothing through ends a search that may have results: they are kept and reported.
            _stop_and_report(experiment)
            if isinstance(error, RunStoppedError):
                print(f"go on with: {self.resume_command}", flush=True)
            raise
        except (OSError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno in DISK_FAULTS:
                _stop_and_report(experiment)
                print(f"go on with: {self.resume_command}", flush=True)
                raise RunStoppedError(unwritten(error)) from error
            if (full := full_disk(self.directory)) is not None:
                print(f"go on with: {self.resume_command}", flush=True)
                raise RunStoppedError(f"{full}: NNI's manager failed") from error
            log = experiment.run_directory.path / "nni" / experiment.id / "log"
            raise RuntimeRepairError(f"NNI's manager failed: {' '.join(str(error).split())} (see {log})") from error

    def conclude(
        self,
        experiment: PrivacyExperiment,
        *,
        finished: bool,
        keep_up: bool = True,
        summary: Callable[[], None] | None = None,
    ) -> ExitCode:
        """Reports a run and keeps its web UI up until Ctrl-C, where there is one.

        Args:
            experiment: what has been run.
            finished: whether it went to its end.
            keep_up: whether the web UI stays up, unless ``exit_when_done``.
            summary: called when a run that went to its end has been reported.
        """
        done, failed, stopped = self.progress.done, self.progress.failed, self.progress.stopped
        try:
            report, word = write_report(self.directory), "done" if finished else "interrupted"
            for line in self.progress.notices():
                print(f"notice: {line}")
            early = f", {stopped} stopped early" if stopped else ""
            count = f"{done} trial{'s'[: done != 1]}, {failed} failed{early}"
            print(f"{word}: {count}; report: {report}", flush=True)
            self._say_what_is_feasible()
            if not finished:
                print(f"go on with: {self.resume_command}", flush=True)
                return ExitCode.INTERRUPTED
            if summary is not None:
                summary()
            if keep_up and not self.exit_when_done and experiment.port is not None:
                in_main = threading.current_thread() is threading.main_thread()
                until = "until Ctrl-C" if in_main else "until this program ends"
                print(f"the web UI stays up at {self.access.page(self.port)} {until}", flush=True)
                with interruptible():
                    threading.Event().wait() if in_main else threading.main_thread().join()
        except KeyboardInterrupt:
            print(file=sys.stderr)
        except PrivacyError:
            print(f"the report is written by: {self.resume_command}", flush=True)
            raise
        finally:
            if finished:  # else it has been stopped
                experiment.stop()
        nothing_to_train = self._constrained and not done  # as no architecture is feasible
        return ExitCode.DONE if done > failed + stopped or nothing_to_train else ExitCode.ALL_FAILED


def strategy_faults(settings: SearchConfig | StudyConfig) -> AbstractContextManager[None]:
    """What a strategy of a plugin raises meanwhile is told with its file and line; of one of ours it passes."""
    if not isinstance(settings, SearchConfig):
        return nullcontext()
    name = settings.strategy.name
    return plugin_faults(f"strategy {name!r}", strategy_options(name))


def _stop_and_report(experiment: PrivacyExperiment) -> None:
    """Stops what runs and reports what there is; of a run that this process has not started, nothing."""
    if experiment.run_directory.lock.held:
        experiment.stop()
        with suppress(DataError):  # the disk may be full
            write_report(experiment.run_directory.path)


# --- resumption ---


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
    run.check_resumable()
    recorded, wanted = _with_options_of_now(run.config()), settings.resolved()
    for path, before, now in differences(recorded, wanted):
        raise ConfigError(f"{path}: {now!r:.80}; the run in {directory} was started with {before!r:.80}")
    before = recorded.get("trials")
    if isinstance(before, int) and settings.trials < before:
        raise ConfigError(
            f"trials: {settings.trials}; the run in {directory} was started with {before}: allowed is more"
        )


def _with_options_of_now(recorded: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is recorded of a run, with the defaults of the options that filters have got since."""
    with suppress(ConfigError):  # of a newer version
        return {**recorded, "filter": FilterOptions.from_mapping(recorded.get("filter")).to_dict()}
    return recorded


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


# --- progress ---


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
        self.done = self.failed = self.stopped = self._restored = 0
        self.best_accuracy: float | None = None
        self.lowest_auc: float | None = None
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._lock = threading.Lock()
        self._epoch: EpochRecord | None = None
        self._trial: TrialEpoch | None = None
        self._records: list[TrialRecord] = []
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
            if record.status == STOPPED:
                self._console.print(f"trial {record.trial} stopped early: {record.stopped}", markup=False)
            for notice in self._first_notices(record):
                self._console.print(f"notice, trial {record.trial}: {notice}", markup=False)
            if not self._console.is_terminal:
                self._console.print(self._line())

    def resumed(self, records: Sequence[TrialRecord]) -> None:
        """Takes note of the trials that were finished before a run was resumed."""
        with self._lock:
            for record in records:
                self._count(record)
            self._restored = len(records)

    def notices(self) -> list[str]:
        """Why results may be none, a line a kind: in how many trials, and what the first of them said."""
        return [str(one) for one in notices_of(self._records)]

    def _first_notices(self, record: TrialRecord) -> list[str]:
        """The notices of a record whose kinds no earlier one had."""
        return [one.text for one in notices_of(self._records) if one.first is record] if record.notices else []

    def _count(self, record: TrialRecord) -> None:
        self._records.append(record)
        self.done += 1
        self.failed += record.status == "failed"
        self.stopped += record.status == STOPPED
        accuracy, auc = record.metrics.get("accuracy"), record.metrics.get("mia_auc")
        self.best_accuracy = max((x for x in (self.best_accuracy, accuracy) if x is not None), default=None)
        self.lowest_auc = min((x for x in (self.lowest_auc, auc) if x is not None), default=None)

    def on_epoch(self, record: EpochRecord) -> None:
        """Takes note of an epoch of a one-shot search, which comes before the first trial."""
        with self._lock:
            self._epoch = record
            if not self._console.is_terminal:
                self._console.print(str(record), markup=False)

    def on_trial_epoch(self, epoch: TrialEpoch) -> None:
        """Takes note of an epoch of a running trial; until the first of them has ended, it is all there is to tell."""
        with self._lock:
            if self.done > self._restored or (self._trial is not None and epoch.sequence > self._trial.sequence):
                return
            self._trial = epoch
            if not self._console.is_terminal:
                self._console.print(str(epoch), markup=False)

    def seconds_left(self) -> float | None:
        """Estimated from the pace since the start, in seconds; None before a trial has finished since."""
        here = self.done - self._restored
        return (time.monotonic() - self._started) / here * max(self.trials - self.done, 0) if here else None

    def _line(self) -> Text:
        # In a log the first line has it, with the token; on a screen that line may be gone, and the browser is let in.
        address = [self.address] if self._console.is_terminal else []
        if self._epoch is not None and not self.done and self._epoch.epoch < self._epoch.epochs:
            return Text(self._folded([*str(self._epoch).split("  "), *address]))
        left = self.seconds_left()
        running = [] if left is not None else [str(self._trial or "starting")]
        clock = f"{_duration(time.monotonic() - self._started)} so far"
        counts = {"failed": self.failed, "stopped early": self.stopped}
        others = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        failed = f" ({others})" if others else ""
        parts = [
            f"{self.done}/{self.trials} trials{failed}",
            f"best accuracy {_fraction(self.best_accuracy)}",
            f"lowest AUC {_fraction(self.lowest_auc)}",
            *running,
            clock if left is None else f"{clock}, {_duration(left)} left",
            *address,
        ]
        return Text(self._folded(parts))

    def _folded(self, parts: Sequence[str]) -> str:
        """The parts on one line, or in a terminal on as many as it takes to cut none; what never fits is left out."""
        if not self._console.is_terminal:
            return "  ".join(parts)
        lines: list[str] = []
        for part in parts:
            if lines and len(lines[-1]) + 2 + len(part) <= self._console.width:
                lines[-1] += f"  {part}"
            elif len(part) <= self._console.width:
                lines.append(part)
        return "\n".join(lines)


def _fraction(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
