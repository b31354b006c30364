"""How trials end: out of time whatever the clock says, by signals, by themselves."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from nni_privacy.nni_runtime import trial_ends
from nni_privacy.nni_runtime.trial_ends import Timeouts, end_of_trial


class Clock:
    """A steady clock, and one on the wall that jumps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        jumping = SimpleNamespace(monotonic=lambda: self.now, time=lambda: time.perf_counter() * 1e6)
        monkeypatch.setattr(trial_ends, "time", jumping)


def test_a_trial_is_overdue_after_its_seconds_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, timeouts = Clock(monkeypatch), Timeouts(60)
    stopped: list[tuple[float, str]] = []
    while clock.now < 1100:
        running = ["a"] if clock.now < 1020 else ["a", "b"]
        stopped += [(clock.now - 1000, trial) for trial in timeouts.overdue(lambda running=running: running)]
        clock.now += 1
    (first_a, first_b) = (next(second for second, trial in stopped if trial == name) for name in "ab")
    assert 60 < first_a <= 62 and 80 < first_b <= 82
    assert timeouts.ended("a") and not timeouts.ended("a") and not timeouts.ended("c")


def test_one_that_does_not_heed_is_stopped_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, timeouts = Clock(monkeypatch), Timeouts(10)
    seconds = []
    while clock.now < 1100:
        seconds += [clock.now - 1000 for _ in timeouts.overdue(lambda: ["a"])]
        clock.now += 1
    assert len(seconds) == 3 and min(later - earlier for earlier, later in pairwise(seconds)) > 30


def test_without_a_limit_nobody_is_asked_what_runs() -> None:
    def running() -> list[str]:
        raise AssertionError("asked")

    assert list(Timeouts(None).overdue(running)) == []


def end(event: str, final: Any = None, timeout: float | None = None, **files: Any) -> trial_ends.TrialEnd:
    contents = {"exit.json": json.dumps(files["exit"]).encode() if "exit" in files else None}
    contents["stderr"] = files.get("stderr")
    return end_of_trial(event, final, timeout, contents.get)


def test_a_result_in_time_counts_even_if_the_trial_was_to_be_stopped() -> None:
    assert end("SUCCEEDED", {"default": 1}, 5.0) == trial_ends.TrialEnd()
    assert end("USER_CANCELED", {"default": 1}, 5.0).fault == "timed out after 5 s"
    assert end("USER_CANCELED", None, 0.5).fault == "timed out after 0.5 s"


def test_a_trial_that_raised_is_no_trial_that_was_killed() -> None:
    raised = end("FAILED", exit={"code": 1, "signal": None, "asked": False}, stderr=b"Traceback\nValueError: no\n")
    assert (raised.fault, raised.killed_by) == ("ValueError: no", None)
    killed = end("USER_CANCELED", exit={"code": None, "signal": "SIGTERM", "asked": False}, stderr=b"warning\n")
    assert (killed.fault, killed.killed_by) == (None, "killed by SIGTERM")
    assert end("FAILED", stderr=b"boom").fault == "boom"
    assert end("SYS_CANCELED").killed_by == "lost with its machine, or killed"
    assert end("FAILED", exit="not a status", stderr=b"boom").fault == "boom"
