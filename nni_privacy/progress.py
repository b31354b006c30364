"""How far a search is, in the terminal: one live line where there is a screen, else a line for each finished trial."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nni_privacy.nni_runtime.run_directory import TrialRecord
from nni_privacy.strategies.search_log import EpochRecord

__all__ = ["SearchProgress"]


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
