"""Ends of a trial: by itself, by a signal from outside, timed out, or disk full."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nni_privacy.nni_runtime.patches.lifetime import EXIT_FILE
from nni_privacy.runs.processes import signal_name

__all__ = ["Timeouts", "TrialEnd", "end_of_trial"]

_LOOK_SECONDS = 2.0
_CANCEL_AGAIN_SECONDS = 30.0

_SHELL_SIGNAL = 128
"""A shell gives a command that was killed by signal n the exit code 128 + n."""

_CANCELED = ("USER_CANCELED", "SYS_CANCELED", "UNKNOWN")
"""NNI's statuses of a trial whose exit code it does not know."""

_DISK_FAULTS = ("No space left on device", "Disk quota exceeded", "Read-only file system")


@dataclass(frozen=True)
class TrialEnd:
    """The end of a trial; with nothing set, a success.

    Attributes:
        fault: why it failed.
        killed_by: what ended it from outside, through no fault of its architecture.
        machine_fault: what keeps this and other trials from being run at all.
    """

    fault: str | None = None
    killed_by: str | None = None
    machine_fault: str | None = None


def end_of_trial(event: str, final: Any, timeout: float | None, file: Callable[[str], bytes | None]) -> TrialEnd:
    """Classifies the end of a trial.

    Args:
        event: NNI's status of it.
        final: its final result, None if it reported none.
        timeout: the seconds after which it was stopped; None if it was not.
        file: reads a file of its folder; None if there is none.
    """
    if event == "SUCCEEDED":
        return TrialEnd() if final is not None else TrialEnd(fault="the trial ended without a final result")
    if timeout is not None:
        return TrialEnd(fault=f"timed out after {timeout:g} s")
    killer = _killer(event, file(EXIT_FILE))
    if killer is not None:
        return TrialEnd(killed_by=killer)
    words = _last_words(file("stderr"))
    if words is not None and any(fault in words for fault in _DISK_FAULTS):
        return TrialEnd(machine_fault=words)
    return TrialEnd(fault=words or f"the trial ended as {event}")


def _killer(event: str, exit_file: bytes | None) -> str | None:
    """The killer of a trial that neither ended by itself nor was stopped by a user."""
    try:
        status = dict(json.loads(exit_file or b""))
    except (ValueError, TypeError):
        return "lost with its machine, or killed" if event in _CANCELED else None
    if status.get("asked"):
        return None
    code, name = status.get("code"), status.get("signal")
    if name is None and isinstance(code, int) and code > _SHELL_SIGNAL:
        name = signal_name(code - _SHELL_SIGNAL)
    if name is None:
        return None if code is not None else "lost with its machine, or killed"
    hint = " (likely out of memory)" if name == signal.SIGKILL.name else ""
    return f"killed by {name}{hint}"


def _last_words(content: bytes | None) -> str | None:
    """The last line that a failed trial wrote to its standard error."""
    lines = [line.strip() for line in (content or b"").decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else None


class Timeouts:
    """Finds trials that have run for too long, by a monotonic clock.

    Args:
        seconds: that a trial may run; None: for ever.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._since: dict[str, float] = {}
        self._cancelled: dict[str, float] = {}
        self._looked = -_LOOK_SECONDS

    def overdue(self, running: Callable[[], Iterable[str]]) -> Iterator[str]:
        """The trials to stop now; ``running`` tells those that run, and is asked every two seconds."""
        now = time.monotonic()
        if self.seconds is None or now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        for trial in running():
            started = self._since.setdefault(trial, now)
            asked = self._cancelled.get(trial)
            if now - started > self.seconds and (asked is None or now - asked > _CANCEL_AGAIN_SECONDS):
                self._cancelled[trial] = now
                yield trial

    def ended(self, trial: str) -> bool:
        """Takes note that a trial has ended; whether it was to be stopped."""
        self._since.pop(trial, None)
        return self._cancelled.pop(trial, None) is not None
