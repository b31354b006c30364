"""Whether a run goes on, since when, and how long it will take: of files that it keeps while it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from nni_privacy.live.inside import is_inside
from nni_privacy.runs.lock import LOCK, RunLock
from nni_privacy.runs.progress import PROGRESS, Progress, read_progress
from nni_privacy.runs.records import TRIALS, RunInfo

__all__ = ["REPORT", "Clock", "RunState", "Stamp", "State", "stamp_of"]

REPORT = "report.html"
"""Of a run and of an audit."""

State = Literal["running", "finished", "stopped"]

Stamp = tuple[int, int, int] | None

_LARGEST_PROGRESS, _LARGEST_LOCK = 1 << 24, 1 << 20
"""Bytes; no run writes more."""

_SILENT_SECONDS = 900.0
"""A run on another machine that has written nothing for so long is taken to have ended."""


def stamp_of(path: Path) -> Stamp:
    """What tells whether a file is still the one that was read; None if there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


@dataclass(frozen=True)
class Clock:
    """Times of a run.

    Attributes:
        started: when it was started first, as its files say.
        elapsed: seconds of this start; None where nothing tells.
        seconds_left: at this start's pace; None unless it runs and one of its trials has ended.
        concurrency: trials at a time.
    """

    started: str | None
    elapsed: float | None
    seconds_left: float | None
    concurrency: int | None


class RunState:
    """What the files of a run directory say besides its trials.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._progress: tuple[Stamp, Progress | None] = None, None

    @property
    def progress(self) -> Progress | None:
        """What the run told last; None if it tells nothing."""
        stamp = stamp_of(self._folder / PROGRESS)
        if stamp != self._progress[0]:
            readable = is_inside(self._folder, self._folder / PROGRESS, _LARGEST_PROGRESS)
            self._progress = stamp, read_progress(self._folder) if readable else None
        return self._progress[1]

    def planned(self, run: RunInfo) -> int | None:
        """How many trials there are to be; None where nobody knows."""
        progress = self.progress
        if progress is not None and progress.planned is not None:
            return progress.planned
        return _count(run.config.get("trials"))

    def now(self, run: RunInfo, *, ended_early: bool) -> State:
        """Whether the run goes on; a run that has neither all its trials nor a process was stopped.

        Args:
            run: its trials.
            ended_early: whether it says that there was nothing more to try.
        """
        progress, planned = self.progress, self.planned(run)
        if (progress is not None and progress.done) or (planned is not None and len(run.trials) >= planned):
            return "finished"
        locked = is_inside(self._folder, self._folder / LOCK, _LARGEST_LOCK)
        runs = RunLock(self._folder).runs() if locked else False
        if runs or (runs is None and time.time() - (self.modified() or 0.0) < _SILENT_SECONDS):
            return "running"
        return "finished" if ended_early or (planned is None and not locked) else "stopped"

    def clock(self, run: RunInfo, state: State, now: float) -> Clock:
        """The times at ``now``, in seconds of Unix time."""
        progress, planned, running = self.progress, self.planned(run), state == "running"
        configured = _count(run.config.get("concurrency"))
        started = _first_start(run.environment)
        if progress is None:
            return Clock(started, None, None, configured)
        end = now if running else progress.ended or self.modified() or now
        elapsed, here = max(end - progress.started, 0.0), len(run.trials) - progress.before
        known = running and here > 0 and planned is not None
        left = elapsed / here * max((planned or 0) - len(run.trials), 0) if known else None
        return Clock(started, elapsed, left, progress.concurrency or configured)

    def modified(self) -> float | None:
        """When the run last wrote of its trials, in seconds of Unix time."""
        stamps = (stamp_of(self._folder / name) for name in (TRIALS, PROGRESS))
        return max((stamp[2] / 1e9 for stamp in stamps if stamp is not None), default=None)

    def changed(self) -> str | None:
        """The same as a text."""
        modified = self.modified()
        return (
            None if modified is None else datetime.fromtimestamp(modified, timezone.utc).isoformat(timespec="seconds")
        )


def _first_start(environment: Mapping[str, Any]) -> str | None:
    starts = environment.get("starts")
    first = starts[0] if isinstance(starts, list) and starts else None
    told = first.get("started") if isinstance(first, Mapping) else environment.get("started")
    return str(told) if told else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
