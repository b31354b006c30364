"""Whole searches on a machine at fault: a trial that hangs, a disk that fills up, a spoiled file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support_search import Search, wait_for

from nni_privacy.config import parse_config
from nni_privacy.release.loading import read_model
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.journal import Result
from nni_privacy.runs.processes import leftovers
from nni_privacy.runs.records import TrialRecord

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {
    "name": "faults",
    "dataset": {"name": "digits", "limit": 200},
    "search_space": {"name": "darts", "channels": 2, "cells": 3},
    "strategy": {"name": "random"},
    "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"]},
    "trials": 3,
}
FIRST_TRIAL_HANGS = """
import time
from pathlib import Path

from nni_privacy.attacks import register_attack
from nni_privacy.attacks.simple import attack_by_loss

@register_attack("patient")
def patient(signals, *, seed):
    if len(signals) == 20:  # the dry call before the search
        return attack_by_loss(signals)
    try:
        Path({flag!r}).touch(exist_ok=False)
    except FileExistsError:
        return attack_by_loss(signals)
    time.sleep(10_000)
"""


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_trial_that_hangs_is_stopped_and_the_search_goes_on(warm: bool, tmp_path: Path) -> None:
    flag = tmp_path / "the first has been here"
    (tmp_path / "patient.py").write_text(FIRST_TRIAL_HANGS.format(flag=str(flag)))
    evaluator = {**SETTINGS["evaluator"], "plugins": ["patient"], "attacks": ["patient"]}
    settings = {**SETTINGS, "evaluator": evaluator, "trial_timeout": 30, "warm_trials": warm}
    search = Search(tmp_path, settings, "--exit-when-done")
    assert search.wait() == 0, search.text
    assert [trial["status"] for trial in search.trials] == ["failed", "succeeded", "succeeded"]
    assert search.trials[0]["error"] == "timed out after 30 s"
    assert not leftovers(search.output / "nni")


@pytest.fixture
def small_run(tmp_path: Path) -> Iterator[Path]:
    """A run directory with room for 6 MB; where nothing may be mounted, the test is skipped."""
    folder = tmp_path / "run"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a tmpfs: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_disk_that_fills_up_ends_the_run_and_with_room_it_goes_on(warm: bool, small_run: Path) -> None:
    search = Search(small_run.parent, {**SETTINGS, "warm_trials": warm}, "--exit-when-done")
    assert search.output == small_run
    wait_for(lambda: search.trials or search.process.poll() is not None, "the first result")
    assert search.process.poll() is None, search.text
    ballast = small_run / "ballast"
    _fill(ballast)
    assert search.wait() == 3, search.text
    assert "Traceback" not in search.text and "No space left on device" in search.text
    wait_for(lambda: not leftovers(search.output / "nni"), "no process of the run to be left", 60)
    finished = search.trials
    assert 1 <= len(finished) < SETTINGS["trials"] and all(trial["status"] == "succeeded" for trial in finished)
    ballast.unlink()
    resumed = Search(small_run.parent, SETTINGS, "--exit-when-done", "--resume")
    assert resumed.wait() == 0, resumed.text
    assert [trial["status"] for trial in resumed.trials] == ["succeeded"] * SETTINGS["trials"]
    assert resumed.trials[: len(finished)] == finished


def test_a_disk_without_room_for_weights_loses_no_trial_and_leaves_no_half_of_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "models"
    search = Search(tmp_path, {**SETTINGS, "keep": "all"}, "--exit-when-done")
    wait_for(lambda: search.trials or search.process.poll() is not None, "the first result")
    first = search.trials[0]["trial"]
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        assert search.wait() == 0, search.text
        pytest.skip(f"cannot mount a tmpfs: {error}")
    try:
        assert search.wait() == 3, search.text
        assert "Traceback" not in search.text and "No space left on device" in search.text
        assert not list(folder.iterdir()), "half of a model"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    wait_for(lambda: not leftovers(search.output / "nni"), "no process of the run to be left", 60)
    finished = search.trials
    assert 1 <= len(finished) < SETTINGS["trials"]
    resumed = Search(tmp_path, {**SETTINGS, "keep": "all"}, "--exit-when-done", "--resume")
    assert resumed.wait() == 0, resumed.text
    assert [trial["status"] for trial in resumed.trials] == ["succeeded"] * SETTINGS["trials"]
    assert resumed.trials[: len(finished)] == finished and finished[0]["trial"] == first
    assert {path.name for path in folder.iterdir()} == {trial["trial"] for trial in resumed.trials}
    assert all(read_model(path) for path in folder.iterdir())


def _fill(ballast: Path) -> None:
    """Leaves not a byte of the disk."""
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


ONE_SHOT = {**SETTINGS, "strategy": {"name": "darts_v1", "epochs": 40, "batch_size": 16, "top_k": 1}, "trials": 1}


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    """One bit in 64 other than before, so that whatever is read of it is wrong."""
    spoiled = bytearray(content)
    for place in range(7, len(spoiled), 8):
        spoiled[place] ^= 16
    return bytes(spoiled)


def _foreign(content: bytes) -> bytes:
    return b"cos\nsystem\n(S'touch executed'\ntR."


@pytest.mark.parametrize("spoil", [_cut, _flipped, _foreign])
def test_a_spoiled_checkpoint_of_a_search_is_one_clear_line(spoil: Any, interrupted: Path, tmp_path: Path) -> None:
    output = interrupted / "run"
    checkpoint = output / "search" / "checkpoint.pt"
    content, before = checkpoint.read_bytes(), _listing(output)
    try:
        checkpoint.write_bytes(spoil(content))
        resumed = Search(interrupted, ONE_SHOT, "--exit-when-done", "--resume")
        assert resumed.wait() == 2, resumed.text
        lines = [line for line in resumed.text.splitlines() if line.strip()]
        assert len(lines) == 1 and str(checkpoint) in lines[0], resumed.text
        assert not (interrupted / "executed").exists()
        assert _listing(output) == before
    finally:
        checkpoint.write_bytes(content)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a one-shot search that was killed amid its epochs."""
    folder = tmp_path_factory.mktemp("interrupted")
    search = Search(folder, ONE_SHOT, "--exit-when-done")
    checkpoint = search.output / "search" / "checkpoint.pt"
    wait_for(lambda: checkpoint.exists() or search.process.poll() is not None, "a checkpoint")
    assert search.process.poll() is None, search.text
    search.process.kill()
    for process in leftovers(search.output / "nni"):
        psutil.Process(process.pid).kill()
    search.process.wait()
    return folder


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _spoil_both(output: Path) -> None:
    trials, journal = output / "trials.jsonl", output / "journal.jsonl"
    first, *others = trials.read_bytes().splitlines(keepends=True)
    trials.write_bytes(b"".join([first, first, b"\0" * 40, os.urandom(20) + b"\n", *others[:-1], others[-1][:30]]))
    journal.write_bytes(b"[]\n" + journal.read_bytes().replace(b"\n", b"\r\n"))


def _lose_journal_and_config(output: Path) -> None:
    (output / "journal.jsonl").unlink()
    (output / "config.yaml").unlink()


@pytest.mark.parametrize("spoil", [_spoil_both, _lose_journal_and_config])
def test_a_run_whose_files_were_damaged_goes_on_with_what_was_finished(spoil: Any, tmp_path: Path) -> None:
    settings = {**SETTINGS, "trials": 6, "strategy": {"name": "regularized_evolution", "population_size": 3}}
    settings["strategy"]["sample_size"] = 2
    search = Search(tmp_path, settings, "--exit-when-done")
    wait_for(lambda: len(search.trials) >= 3 or search.process.poll() is not None, "results")
    search.process.kill()
    wait_for(lambda: not leftovers(search.output / "nni"), "no process of the run to be left", 60)
    finished = search.trials
    spoil(search.output)
    resumed = Search(tmp_path, settings, "--exit-when-done", "--resume")
    assert resumed.wait() == 0, resumed.text
    assert "Traceback" not in resumed.text
    records = resumed.trials
    assert len(records) == len({trial["sequence"] for trial in records}) == settings["trials"]
    assert all(trial in records for trial in finished)
    assert len({trial["architecture"] for trial in records}) == settings["trials"]  # none was run again
    if spoil is _spoil_both:
        told = [line for line in resumed.text.splitlines() if "set aside in" in line]
        assert len(told) == 2 and "journal.jsonl" in told[0] and "trials.jsonl" in told[1], resumed.text


def test_a_run_that_is_complete_once_it_is_mended_is_only_reported(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.create(parse_config(SETTINGS).resolved(), {})
    for number in range(SETTINGS["trials"]):
        record = TrialRecord(f"t{number}", number, "succeeded", f"G{number}", {"accuracy": 0.5, "mia_auc": 0.6})
        run.journal.proposed(number, f'{{"a": {number}}}')
        run.journal.ended(number, Result(record.trial, True, {"default": 0.5}, record))
        run.journal.delivered(number, 1)
        run.append(record)
    os.truncate(run.path / "trials.jsonl", (run.path / "trials.jsonl").stat().st_size - 30)
    resumed = Search(tmp_path, SETTINGS, "--exit-when-done", "--resume")
    assert resumed.wait() == 0, resumed.text
    assert "Traceback" not in resumed.text and f"done: {SETTINGS['trials']} trials, 0 failed" in resumed.text
    assert resumed.text.count("set aside in trials.jsonl.damaged; written again from journal.jsonl: trial t2") == 1
    assert resumed.text.count("skipped") == 1 and len(resumed.trials) == SETTINGS["trials"]
