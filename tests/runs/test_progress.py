"""What a run says of its trials under way: small, whole, and never its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nni_privacy.runs.epochs import TrialEpoch
from nni_privacy.runs.progress import MOST_EPOCHS, PROGRESS, Progress, ProgressWriter, RunningTrial, read_progress


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def told(folder: Path) -> Progress:
    found = read_progress(folder)
    assert found is not None
    return found


def test_epochs_of_running_trials_can_be_read_and_go_when_the_trial_ends(tmp_path: Path) -> None:
    writer = ProgressWriter(tmp_path, Progress(1.0, planned=4, concurrency=2, experiment="x"), interval=0.01)
    for number in range(4):
        writer.began(number)
    writer.told(TrialEpoch(0, 1, 3, {"default": 0.5, "loss": 2.0}))
    writer.told(TrialEpoch(0, 2, 3, {"default": 0.6, "loss": float("inf")}))
    wait_for(lambda: read_progress(tmp_path) is not None and bool(told(tmp_path).trials))
    wait_for(lambda: told(tmp_path).trials[0].epoch == 2)
    first, *others = told(tmp_path).trials
    assert (first.sequence, first.epochs, dict(first.curves)) == (0, 3, {"default": (0.5, 0.6), "loss": (2.0, None)})
    # Of those that have told nothing, no more than can run besides: a strategy may hand out all at once.
    assert [one.sequence for one in others] == [1]
    writer.ended(0)
    wait_for(lambda: [one.sequence for one in told(tmp_path).trials] == [1, 2])
    writer.close(done=True)
    writer.close(done=False)
    assert told(tmp_path).done and told(tmp_path).trials == () and told(tmp_path).ended is not None


def test_a_trial_that_is_run_again_begins_anew() -> None:
    trial = RunningTrial(0, 0.0)
    for epoch in (1, 2, 1):
        trial = trial.after(TrialEpoch(0, epoch, 5, {"loss": float(epoch)}))
    assert trial.epoch == 1 and trial.curves == {"loss": (1.0,)}


def test_it_does_not_grow_without_end() -> None:
    trial = RunningTrial(0, 0.0, MOST_EPOCHS, None, {"loss": (0.0,) * MOST_EPOCHS})
    trial = trial.after(TrialEpoch(0, MOST_EPOCHS + 1, None, 1.0))
    assert {len(values) for values in trial.curves.values()} == {MOST_EPOCHS}


def test_many_epochs_are_written_at_most_once_an_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []
    monkeypatch.setattr("nni_privacy.runs.progress.atomic_write", lambda path, content: writes.append(content))
    writer = ProgressWriter(tmp_path, Progress(1.0), interval=0.2)
    begun = time.monotonic()
    for epoch in range(1, 1001):
        writer.told(TrialEpoch(0, epoch, None, float(epoch)))
    writer.close(done=False)
    assert len(writes) <= 2 + (time.monotonic() - begun) / 0.2


def test_a_full_disk_delays_nothing_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / PROGRESS))

    monkeypatch.setattr("nni_privacy.runs.progress.atomic_write", refuse)
    writer = ProgressWriter(tmp_path, Progress(1.0), interval=0.0)
    for epoch in range(1, 20):
        writer.told(TrialEpoch(0, epoch, None, float(epoch)))
        time.sleep(0.005)
    writer.close(done=True)
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1 and "No space left" in warned[0].getMessage()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"started": "now"}', b'{"started": NaN}', b"\xff\xfe", b"[" * 100_000],
    ids=str,
)
def test_what_is_none_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PROGRESS).write_bytes(content)
    assert read_progress(tmp_path) is None


def test_of_a_damaged_file_what_makes_sense_is_read(tmp_path: Path) -> None:
    trials = [3, {"sequence": -1}, {"sequence": 1, "curves": {"loss": ["x", 1.0], "other": 3}, "began": "then"}]
    content = {"started": 1, "planned": -2, "done": "yes", "trials": trials, "experiment": 7}
    (tmp_path / PROGRESS).write_text(json.dumps(content))
    assert read_progress(tmp_path) == Progress(1.0, trials=(RunningTrial(1, 0.0, curves={"loss": (None, 1.0)}),))
